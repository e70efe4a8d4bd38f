//! A path as a framework writes it, as a template: `/users/{id}`. Pure.

/// How a framework writes parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `:id`, `:id(\\d+)`, `:id?`, `*`, `*rest`: Express, Koa, Fastify, Rails, gin.
    Colon,
    /// `<int:id>`: Flask, Django.
    Angle,
    /// `{id}`, `{id:[0-9]+}`, `{rest...}`, `{*rest}`: FastAPI, Spring, chi, net/http, axum, actix.
    Brace,
    /// axum before 0.8: a segment that begins with `:` or `*`; else as [`Style::Brace`].
    Mixed,
}

/// Longer than any path that somebody typed.
const CHARS_MAX: usize = 500;

/// The template and the names of its parameters in order. A wildcard without a name is `*`.
pub fn normal(path: &str, style: Style) -> (String, Vec<String>) {
    let chars: Vec<char> = path.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect();
    let (mut out, mut params, mut i) = (String::new(), Vec::new(), 0);
    let mut param = |out: &mut String, name: String| {
        out.push_str(&format!("{{{name}}}"));
        params.push(name);
    };
    while i < chars.len() {
        let segment = i == 0 || chars[i - 1] == '/';
        let colon = style == Style::Colon || style == Style::Mixed && segment;
        match chars[i] {
            ':' if colon && chars.get(i + 1).is_some_and(|c| is_word(*c)) => {
                let name: String = chars[i + 1..].iter().take_while(|c| is_word(**c)).collect();
                i += 1 + name.chars().count();
                if chars.get(i) == Some(&'(') {
                    i = after(&chars, i, '(', ')');
                }
                if chars.get(i).is_some_and(|c| matches!(c, '?' | '+' | '*')) && style == Style::Colon {
                    i += 1;
                }
                param(&mut out, name);
            }
            '*' if colon => {
                let name: String = chars[i + 1..].iter().take_while(|c| is_word(**c)).collect();
                i += 1 + name.chars().count();
                param(&mut out, if name.is_empty() { "*".into() } else { name });
            }
            '<' if style == Style::Angle => {
                let end = after(&chars, i, '<', '>');
                let inner: String = chars[i + 1..end.saturating_sub(1).max(i + 1)].iter().collect();
                param(&mut out, inner.rsplit(':').next().unwrap_or_default().trim().to_string());
                i = end;
            }
            '{' if matches!(style, Style::Brace | Style::Mixed) => {
                let end = after(&chars, i, '{', '}');
                let inner: String = chars[i + 1..end.saturating_sub(1).max(i + 1)].iter().collect();
                let name = inner.split(':').next().unwrap_or_default().trim_matches(['*', '.', ' ', '?']);
                // `{$}`: the path itself and nothing below.
                if inner != "$" {
                    param(&mut out, if name.is_empty() { "*".into() } else { name.to_string() });
                }
                i = end;
            }
            // Express 5: `/users{/:id}` has an end that may be missing; brackets of others name nothing either.
            '{' | '}' | '(' | ')' if style == Style::Colon => i += 1,
            c => {
                out.push(c);
                i += 1;
            }
        }
    }
    (out, params)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Behind the bracket that closes the one at `at`; the end when none does.
fn after(chars: &[char], at: usize, open: char, close: char) -> usize {
    let mut depth = 0;
    for (i, c) in chars.iter().enumerate().skip(at) {
        depth += i32::from(*c == open) - i32::from(*c == close);
        if depth == 0 {
            return i + 1;
        }
    }
    chars.len()
}

/// One path below another, with one slash between them. A bare `/` below something is that something, unless `slash`.
pub fn join(above: &str, below: &str, slash: bool) -> String {
    let above = above.trim_end_matches('/');
    let below = below.trim_start_matches('/');
    match (above.is_empty(), below.is_empty()) {
        (true, _) => format!("/{below}"),
        (false, true) if slash => format!("{above}/"),
        (false, true) => lead(above),
        (false, false) => format!("{}/{below}", lead(above)),
    }
}

fn lead(path: &str) -> String {
    if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_dialect_becomes_one() {
        for (style, path, template, names) in [
            (Style::Colon, "/users/:id", "/users/{id}", "id"),
            (Style::Colon, "/f/:from-:to", "/f/{from}-{to}", "from to"),
            (Style::Colon, "/u/:id(\\d+)/x", "/u/{id}/x", "id"),
            (Style::Colon, "/u/:id?", "/u/{id}", "id"),
            (Style::Colon, "/files/*", "/files/{*}", "*"),
            (Style::Colon, "/files/*path", "/files/{path}", "path"),
            (Style::Colon, "/users{/:id}", "/users/{id}", "id"),
            (Style::Colon, "/posts(.:format)", "/posts.{format}", "format"),
            (Style::Angle, "/u/<int:id>/<name>", "/u/{id}/{name}", "id name"),
            (Style::Angle, "/f/<path:p>", "/f/{p}", "p"),
            (Style::Brace, "/u/{id}/{file_path:path}", "/u/{id}/{file_path}", "id file_path"),
            (Style::Brace, "/u/{id:[0-9]{2}}", "/u/{id}", "id"),
            (Style::Brace, "/f/{rest...}", "/f/{rest}", "rest"),
            (Style::Brace, "/f/{*rest}", "/f/{rest}", "rest"),
            (Style::Brace, "/f/{$}", "/f/", ""),
            (Style::Brace, "/a:b", "/a:b", ""),
            (Style::Mixed, "/u/:id/a:b/*rest", "/u/{id}/a:b/{rest}", "id rest"),
        ] {
            let (got, params) = normal(path, style);
            assert_eq!((got.as_str(), params.join(" ").as_str()), (template, names), "{path}");
        }
    }

    #[test]
    fn paths_are_joined_with_one_slash() {
        for (above, below, slash, expect) in [
            ("", "/", false, "/"),
            ("", "a", false, "/a"),
            ("/api/", "/a", false, "/api/a"),
            ("/api", "/", false, "/api"),
            ("/api", "/", true, "/api/"),
            ("api", "a/", false, "/api/a/"),
        ] {
            assert_eq!(join(above, below, slash), expect, "{above} {below}");
        }
    }

    proptest! {
        #[test]
        fn no_path_stops_it(path in "[/:*<>{}()$?a-z.ä\\\\]{0,30}") {
            for style in [Style::Colon, Style::Angle, Style::Brace, Style::Mixed] {
                normal(&path, style);
            }
        }
    }
}
