//! Would a settings file enter the image? The final stage's `COPY . .` against the `.dockerignore` of its context. Pure.

/// A `COPY` or `ADD` of the whole context into what is shipped: its line.
pub fn copies_context(dockerfile: &str) -> Option<u32> {
    struct StageOf<'a> {
        name: String,
        from: &'a str,
        copy: Option<u32>,
    }
    let mut stages: Vec<StageOf<'_>> = Vec::new();
    for (row, line) in dockerfile.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().map(|w| w.to_ascii_uppercase()).as_deref() {
            Some("FROM") => {
                let plain: Vec<&str> = words[1..].iter().filter(|w| !w.starts_with("--")).copied().collect();
                let name = plain.iter().position(|w| w.eq_ignore_ascii_case("as")).and_then(|i| plain.get(i + 1));
                let name = name.map_or_else(|| stages.len().to_string(), |n| n.to_ascii_lowercase());
                stages.push(StageOf { name, from: plain.first().copied().unwrap_or_default(), copy: None });
            }
            Some("COPY" | "ADD") => {
                let copies = whole_context(&words[1..]);
                if let Some(stage) = stages.last_mut().filter(|_| copies) {
                    stage.copy.get_or_insert(row as u32 + 1);
                }
            }
            _ => {}
        }
    }
    // What ships is the last stage and the stages it is built upon; a builder is thrown away.
    let mut at = stages.len().checked_sub(1)?;
    loop {
        if let Some(line) = stages[at].copy {
            return Some(line);
        }
        let from = stages[at].from.to_ascii_lowercase();
        at = stages[..at].iter().position(|s| s.name == from)?;
    }
}

fn whole_context(words: &[&str]) -> bool {
    if words.iter().any(|w| w.starts_with("--from")) {
        return false;
    }
    let joined = words.iter().filter(|w| !w.starts_with("--")).copied().collect::<Vec<_>>().join(" ");
    let list = joined.trim_matches(['[', ']']).replace(['"', ','], " ");
    let paths: Vec<&str> = list.split_whitespace().collect();
    paths.split_last().is_some_and(|(_, sources)| sources.iter().any(|s| matches!(*s, "." | "./" | "*" | "./*" | "/")))
}

/// Does `.dockerignore` keep `path` (relative to the context) out? The last rule that matches wins.
pub fn ignores(dockerignore: &str, path: &str) -> bool {
    let mut out = false;
    for line in dockerignore
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let (keep, rule) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
        let rule: Vec<&str> = rule.trim_start_matches("./").trim_matches('/').split('/').collect();
        let parts: Vec<&str> = path.split('/').collect();
        // A rule that matches a folder holds for all below it.
        if (1..=parts.len()).any(|n| matches(&rule, &parts[..n])) {
            out = !keep;
        }
    }
    out
}

fn matches(rule: &[&str], path: &[&str]) -> bool {
    match (rule.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| matches(rest, &path[skip..])),
        (Some((r, rest)), Some((p, tail))) => segment(r.as_bytes(), p.as_bytes()) && matches(rest, tail),
        _ => false,
    }
}

/// `*` and `?` inside a path's part, without backtracking over more than the last star.
fn segment(rule: &[u8], text: &[u8]) -> bool {
    let (mut r, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match rule.get(r) {
            Some(b'*') => {
                star = Some((r, t));
                r += 1;
            }
            Some(b'?') => (r, t) = (r + 1, t + 1),
            Some(c) if *c == text[t] => (r, t) = (r + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    (r, t) = (at + 1, from + 1);
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    rule[r..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ships_counts() {
        assert_eq!(copies_context("FROM node:22\nWORKDIR /app\nCOPY . .\n"), Some(3));
        assert_eq!(copies_context("FROM node\nCOPY --chown=node:node ./ /app\n"), Some(2));
        assert_eq!(copies_context("FROM node\nADD [\".\", \"/app\"]\n"), Some(2));
        assert_eq!(
            copies_context("FROM node AS build\nCOPY . .\nFROM nginx\nCOPY --from=build /app/dist /www\n"),
            None
        );
        assert_eq!(copies_context("FROM node AS base\nCOPY . .\nFROM base\nRUN x\n"), Some(2));
        assert_eq!(copies_context("FROM node\nCOPY package.json ./\nCOPY src ./src\n"), None);
        assert_eq!(copies_context(""), None);
    }

    #[test]
    fn dockerignore_rules() {
        let check =
            |rules: &str, path: &str, expect: bool| assert_eq!(ignores(rules, path), expect, "{rules:?} {path}");
        check(".env\n", ".env", true);
        check(".env\n", "backend/.env", false);
        check("**/.env*\n", "backend/.env.local", true);
        check(".env*\n!.env.example\n", ".env.example", false);
        check(".env*\n!.env.example\n", ".env.production", true);
        check("backend/\n", "backend/.env", true);
        check("*\n!src\n", ".env", true);
        check("# .env\n/.env\n", ".env", true);
        check("*.log\n", ".env", false);
    }
}
