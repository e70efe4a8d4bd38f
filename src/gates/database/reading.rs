//! What a statement that writes must read first: a role that may only read cannot plan an UPDATE, but can plan the SELECT that
//! finds its rows. Pure.

use std::collections::BTreeMap;

/// `update t set a = $1 where id = $2` → `select 1 from t where id = $1`. Empty: it reads nothing (`insert … values`). `None`: it
/// is of another form.
pub fn reading_part(text: &str) -> Option<String> {
    let words = top_words(text);
    let at = |word: &str| words.iter().find(|(w, _)| w == word).map(|(_, at)| *at);
    let until = |from: usize, stops: &[&str]| {
        let stop = words.iter().find(|(w, at)| *at > from && stops.contains(&w.as_str()));
        text[from..stop.map_or(text.len(), |(_, at)| *at)].trim()
    };
    let found = match words.first()?.0.as_str() {
        "update" if at("from").is_none() => {
            let table = until(at("update")? + "update".len(), &["set"]);
            let condition = at("where").map_or("", |from| until(from, &["returning"]));
            format!("select 1 from {table} {condition}")
        }
        "delete" if at("using").is_none() => {
            format!("select 1 from {}", until(at("from")? + "from".len(), &["returning"]))
        }
        "insert" => match (at("select"), at("values")) {
            (Some(select), None) => until(select, &["on", "returning"]).to_string(),
            (None, Some(_)) => return Some(String::new()),
            _ => return None,
        },
        _ => return None,
    };
    Some(renumbered(&found))
}

/// Words outside parentheses, quotes and comments, in lower case, with where they begin.
fn top_words(text: &str) -> Vec<(String, usize)> {
    let (mut out, mut depth, mut at) = (Vec::new(), 0usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += 1;
                }
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = text[at..].find("*/").map_or(bytes.len(), |end| at + end + 1)
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = text[at..].find('\n').map_or(bytes.len(), |end| at + end),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            c if c.is_ascii_alphabetic() || c == b'_' || c == b'$' => {
                let start = at;
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b'$' | b'.'))
                {
                    at += 1;
                }
                if depth == 0 {
                    out.push((text[start..at].to_ascii_lowercase(), start));
                }
                continue;
            }
            _ => (),
        }
        at += 1;
    }
    out
}

/// Parameters counted anew from `$1`: the server wants to know the type of each number below the last.
fn renumbered(text: &str) -> String {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        out.push('$');
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        rest = &after[digits.len()..];
        if !digits.is_empty() {
            let next = known.len() + 1;
            out.push_str(&known.entry(digits).or_insert(next).to_string());
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writes_reads_first() {
        let of = |text| reading_part(text).unwrap();
        assert_eq!(
            of(
                "UPDATE orders o SET state = $1, n = (select 1 from x where a = $2) WHERE o.id = $3 and b = $4 RETURNING id"
            ),
            "select 1 from orders o WHERE o.id = $1 and b = $2"
        );
        assert_eq!(of("delete from \"where\" where id in ($2, $1)"), "select 1 from \"where\" where id in ($1, $2)");
        assert_eq!(of("insert into a (b) values ($1, $2) on conflict do nothing"), "");
        assert_eq!(of("insert into a (b) select c from d where e = $3 returning b"), "select c from d where e = $1");
        assert_eq!(of("update a set b = $1"), "select 1 from a ");
        for other in
            ["update a set b = c.d from c where c.id = a.id", "delete from a using b where a.i = b.i", "merge into a"]
        {
            assert_eq!(reading_part(other), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(update|delete from|insert into)? ?\\PC{0,60}") {
            let _ = reading_part(&text);
        }
    }
}
