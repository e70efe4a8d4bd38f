//! What several sources tell of one operation, as one. A concrete path that was seen (`/users/7`) becomes an example of the
//! template that it fits (`/users/{id}`); where none does, segments that are plainly ids become parameters. Pure.

use std::collections::BTreeMap;

use super::{Operation, Param, SEEN_MAX, Source, openapi, values};

/// By the template's shape, then method.
pub(super) fn merge(found: Vec<Operation>) -> Vec<Operation> {
    let (declared, seen): (Vec<_>, Vec<_>) = found.into_iter().partition(is_declared);
    let mut all: BTreeMap<(String, String), Operation> = BTreeMap::new();
    // A document knows more of an operation than its source does, so it comes first.
    let mut declared = declared;
    declared.sort_by_key(|o| !o.sources.contains(&Source::OpenApi));
    for operation in declared {
        put(&mut all, operation);
    }
    let any: Vec<(String, String)> = all.keys().filter(|(_, method)| method == "ANY").cloned().collect();
    for key in any {
        // A handler that decides itself, of which a document tells the methods.
        if all.keys().any(|(shape, method)| *shape == key.0 && method != "ANY")
            && let Some(vague) = all.remove(&key)
        {
            for (_, exact) in all.range_mut((key.0.clone(), String::new())..).take_while(|((s, _), _)| *s == key.0) {
                exact.sources.extend(vague.sources.iter().copied());
                exact.place = exact.place.take().or_else(|| vague.place.clone());
            }
        }
    }
    for mut operation in seen {
        let fits = all
            .values()
            .filter(|known| known.verb() == operation.verb() && fits(&known.template, &operation.template))
            .min_by_key(|known| (openapi::names(&known.template).len(), known.template.len()))
            .map(|known| (shape(&known.template), known.method.clone()));
        match fits {
            Some(key) => operation.template = all[&key].template.clone(),
            None => {
                let (template, names) = generalised(&operation.template);
                operation.template = template;
                operation.params.extend(names.iter().map(|name| values::in_path(name)));
            }
        }
        put(&mut all, operation);
    }
    all.into_values().collect()
}

fn is_declared(operation: &Operation) -> bool {
    operation.sources.iter().any(|s| matches!(s, Source::OpenApi | Source::Code))
}

fn put(all: &mut BTreeMap<(String, String), Operation>, new: Operation) {
    let mut key = (shape(&new.template), new.method.clone());
    if !all.contains_key(&key) && new.method == "GET" && all.contains_key(&(key.0.clone(), "ANY".into())) {
        key.1 = "ANY".into();
    }
    let Some(known) = all.get_mut(&key) else {
        all.insert(key, new);
        return;
    };
    for param in new.params {
        join(&mut known.params, param);
    }
    known.body = known.body.take().or(new.body);
    known.answer = known.answer.take().or(new.answer);
    known.guarded = known.guarded.or(new.guarded);
    known.place = match (known.place.take(), new.place) {
        // The source is where the mend goes; a document only tells.
        (_, Some(place)) if new.sources.contains(&Source::Code) => Some(place),
        (own, other) => own.or(other),
    };
    known.certain |= new.certain;
    known.sources.extend(new.sources);
    for path in new.seen {
        if known.seen.len() < SEEN_MAX && !known.seen.contains(&path) {
            known.seen.push(path);
        }
    }
}

fn join(params: &mut Vec<Param>, new: Param) {
    // Two sources may call one segment by two names; the first one's template stands.
    if new.place == super::Place::Path {
        return;
    }
    match params.iter_mut().find(|p| p.place == new.place && p.name == new.name) {
        Some(known) => {
            known.required |= new.required;
            known.example = known.example.take().or(new.example);
            if known.schema.is_null() {
                known.schema = new.schema;
            }
        }
        None => params.push(new),
    }
}

/// A template without names of parameters and without the slash at its end: `/users/{}`.
pub fn shape(template: &str) -> String {
    let mut out = String::new();
    let mut depth = 0u32;
    for c in template.trim_end_matches('/').chars() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    out.push('{');
                }
            }
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    out.push('}');
                }
            }
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    if out.is_empty() { "/".into() } else { out }
}

/// Is a concrete path an instance of the template, segment by segment?
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.trim_end_matches('/'), path.trim_end_matches('/'));
    let (mut want, mut have) = (template.split('/'), path.split('/'));
    loop {
        match (want.next(), have.next()) {
            (None, None) => return true,
            (Some(want), Some(have)) if segment_fits(want, have) => {}
            _ => return false,
        }
    }
}

fn segment_fits(want: &str, have: &str) -> bool {
    match (want.find('{'), want.rfind('}')) {
        (Some(open), Some(close)) if open < close => {
            let (before, after) = (&want[..open], &want[close + 1..]);
            have.len() > before.len() + after.len() && have.starts_with(before) && have.ends_with(after)
        }
        _ => want == have,
    }
}

/// Segments that no one typed are ids: numbers, UUIDs, long hexadecimal words.
fn generalised(path: &str) -> (String, Vec<String>) {
    let (mut out, mut names) = (Vec::new(), Vec::new());
    for segment in path.split('/') {
        if is_id(segment) {
            let name = if names.is_empty() { "id".to_string() } else { format!("id{}", names.len() + 1) };
            out.push(format!("{{{name}}}"));
            names.push(name);
        } else {
            out.push(segment.to_string());
        }
    }
    (out.join("/"), names)
}

/// A number, a UUID, or a long word of hexadecimal digits.
pub fn is_id(segment: &str) -> bool {
    let digits = segment.chars().filter(char::is_ascii_digit).count();
    let hex = !segment.is_empty() && segment.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    !segment.is_empty() && digits == segment.len() || hex && segment.len() >= 16 && digits > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(method: &str, path: &str) -> Operation {
        let mut out = Operation::new(method, path, Source::Crawl);
        out.seen.push(path.to_string());
        out
    }

    #[test]
    fn paths_become_examples_of_the_template_they_fit() {
        let mut code = Operation::new("GET", "/teas/{tea}", Source::Code);
        code.place = Some(("app.js".into(), 3));
        let document = Operation::new("GET", "/teas/{id}", Source::OpenApi);
        let own = Operation::new("GET", "/teas/new", Source::Code);
        let found = vec![
            code,
            document,
            own,
            seen("GET", "/teas/7"),
            seen("GET", "/teas/new"),
            seen("GET", "/orders/9/lines/3f2b8c1e-0000-4000-8000-000000000000"),
            seen("GET", "/orders/11/lines/0123456789abcdef"),
        ];
        let all = merge(found);
        let told: Vec<String> = all
            .iter()
            .map(|o| format!("{} {:?} {}", o.name(), o.sources.iter().collect::<Vec<_>>(), o.seen.len()))
            .collect();
        assert_eq!(
            told,
            [
                "GET /orders/{id}/lines/{id2} [Crawl] 2",
                "GET /teas/new [Code, Crawl] 1",
                "GET /teas/{id} [OpenApi, Code, Crawl] 1",
            ]
        );
        assert_eq!(all[2].place, Some(("app.js".into(), 3)));
    }

    #[test]
    fn a_handler_that_takes_all_gives_way_to_a_document() {
        let any = Operation::new("ANY", "/a", Source::Code);
        let alone = Operation::new("ANY", "/b", Source::Code);
        let all = merge(vec![any, alone, Operation::new("POST", "/a", Source::OpenApi), seen("GET", "/b")]);
        let names: Vec<String> = all.iter().map(Operation::name).collect();
        assert_eq!(names, ["POST /a", "ANY /b"]);
        assert_eq!(all[1].seen, ["/b"]);
    }

    #[test]
    fn shapes() {
        for (template, expect) in
            [("/a/{id}/", "/a/{}"), ("/", "/"), ("/a/{x:[0-9]{2}}", "/a/{}"), ("/a}", "/a}"), ("", "/")]
        {
            assert_eq!(shape(template), expect, "{template}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_stops_it(a in "[a-z0-9{}/:*\u{e4}]{0,40}", b in "[a-z0-9{}/\u{e4}]{0,40}") {
            let _ = (shape(&a), fits(&a, &b), generalised(&a));
            merge(vec![Operation::new("GET", &a, Source::Code), seen("GET", &b)]);
        }
    }
}
