//! Text from outside made plain: no markup, no control, bidi or zero-width characters, bounded in length.
//!
//! Knows no source. Composed and decomposed letters are left as they came: cues and redaction look at ASCII.

/// Keeps newlines, turns tabs and odd spaces into spaces, drops control, bidi and zero-width characters, squeezes runs
/// of blanks and more than one empty line, cuts at `limit` bytes on a character boundary.
pub fn clean(raw: &str, limit: usize) -> String {
    let mut out = String::with_capacity(raw.len().min(limit));
    let mut newlines = 2; // leading blank lines are dropped
    let mut blank = true;
    for c in raw.chars() {
        match c {
            '\n' => {
                while out.ends_with(' ') {
                    out.pop();
                }
                newlines += 1;
                blank = true;
                if newlines <= 2 && out.len() < limit {
                    out.push('\n');
                }
            }
            '\r' => {}
            c if invisible(c) => {}
            c if c == '\t' || c.is_whitespace() => {
                if !blank && out.len() < limit {
                    out.push(' ');
                }
                blank = true;
            }
            c if c.is_control() => {}
            c => {
                if out.len() + c.len_utf8() > limit {
                    break;
                }
                out.push(c);
                (newlines, blank) = (0, false);
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Zero-width, bidi and other format characters that change how text looks without being seen.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Elements whose content is not for readers.
const SILENT: [&str; 5] = ["script", "style", "template", "noscript", "head"];
/// Elements that end a line.
const BLOCK: [&str; 22] = [
    "address",
    "article",
    "blockquote",
    "br",
    "dd",
    "div",
    "dt",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "p",
    "pre",
    "section",
    "tr",
    "ul",
];

/// The text a reader would see, at most `limit` bytes. Not a parser of HTML but a forgiving reader: what it cannot
/// understand it drops. The result is text; whoever shows it escapes it.
pub fn html_to_text(html: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut rest = html;
    while !rest.is_empty() && out.len() < limit {
        let Some(open) = rest.find(['<', '&']) else {
            push_text(&mut out, rest);
            break;
        };
        push_text(&mut out, &rest[..open]);
        rest = &rest[open..];
        if rest.starts_with('&') {
            let (text, used) = entity(rest);
            out.push_str(&text);
            rest = &rest[used..];
        } else {
            rest = tag(rest, &mut out);
        }
    }
    cut(&mut out, limit);
    out
}

/// Whitespace in HTML, newlines included, is one space.
fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        if !c.is_whitespace() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with([' ', '\n']) {
            out.push(' ');
        }
    }
}

/// Consumes one tag, comment or lone `<`; returns what is left.
fn tag<'a>(text: &'a str, out: &mut String) -> &'a str {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.find("-->").map_or("", |end| &comment[end + 3..]);
    }
    let inner = &text[1..];
    let closing = inner.starts_with('/');
    let name: String = inner
        .trim_start_matches(['/', '!', '?'])
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .take(16)
        .collect::<String>()
        .to_ascii_lowercase();
    if name.is_empty() {
        // "a < b" is text.
        out.push('<');
        return inner;
    }
    let Some(end) = tag_end(inner) else { return "" };
    let after = &inner[end + 1..];
    if BLOCK.contains(&name.as_str()) {
        while out.ends_with(' ') {
            out.pop();
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
    }
    if !closing && SILENT.contains(&name.as_str()) {
        let close = format!("</{name}");
        let lower = after.to_ascii_lowercase();
        return match lower.find(&close) {
            Some(at) => tag_end(&after[at..]).map_or("", |end| &after[at + end + 1..]),
            None => "",
        };
    }
    after
}

/// Index of the `>` that ends the tag; quoted attributes may hold one.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(i),
            _ => {}
        }
    }
    // An unclosed quote: the first > ends it after all.
    text.find('>')
}

/// Longest entity looked at: `&#x10FFFF;`.
const ENTITY_BYTES_MAX: usize = 12;

/// One entity at the start of `text`: what it stands for, and its length. An unknown one is itself.
fn entity(text: &str) -> (String, usize) {
    let window = &text.as_bytes()[..text.len().min(ENTITY_BYTES_MAX)];
    let Some(end) = window.iter().position(|b| *b == b';') else { return ("&".into(), 1) };
    let name = &text[1..end];
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let c = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "mdash" => Some('—'),
        "ndash" => Some('–'),
        "hellip" => Some('…'),
        "rsquo" => Some('’'),
        "lsquo" => Some('‘'),
        _ => name
            .strip_prefix("#x")
            .or(name.strip_prefix("#X"))
            .map_or_else(|| name.strip_prefix('#').and_then(|d| number(d, 10)), |d| number(d, 16)),
    };
    c.map_or_else(|| ("&".into(), 1), |c| (c.to_string(), end + 1))
}

fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_what_cannot_be_seen() {
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{0}\u{1b}[31m\td", 100), "abc[31m d");
        assert_eq!(clean("  \n\n a  b \r\n\n\n\nc ", 100), "a b\n\nc");
        assert_eq!(clean("äöü", 3), "ä");
    }

    #[test]
    fn html_becomes_text() {
        for (html, text) in [
            ("<p>Hi &amp; bye</p><p>x</p>", "Hi & bye\nx\n"),
            ("a <br/> b", "a\nb"),
            ("1 < 2 && 3 > 2", "1 < 2 && 3 > 2"),
            ("<a href=\"x>y\" onclick='z'>link</a>", "link"),
            ("<script>if (a < b) { x }</script>ok", "ok"),
            ("<SCRIPT>never closed", ""),
            ("<!-- <b> -->t", "t"),
            ("&#65;&#x42;&bogus;&#xffffffff;", "AB&bogus;&#xffffffff;"),
            ("<b", ""),
        ] {
            assert_eq!(html_to_text(html, 1000), text, "{html}");
        }
        assert_eq!(html_to_text(&"ä".repeat(100), 7), "äää");
    }
}
