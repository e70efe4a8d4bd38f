//! A Dockerfile: its stages, what the last one inherits, its health check, and which HTTP clients the image has.

use super::Place;

/// The image that a Dockerfile builds: its last stage, with what that inherits from the stages it starts from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dockerfile {
    pub file: String,
    pub stages: Vec<Stage>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stage {
    pub name: Option<String>,
    /// As written: `node:22-slim`, `builder`, `$BASE`.
    pub from: String,
    pub line: u32,
    /// The last HEALTHCHECK of the stage.
    pub health: Option<HealthCheck>,
    /// All RUN and COPY texts, for what they install.
    pub installs: String,
    /// The last CMD or ENTRYPOINT: line and text.
    pub command: Option<(u32, String)>,
    pub workdir: Option<String>,
    /// Paths of VOLUME.
    pub volumes: Vec<String>,
    /// EXPOSE names a port.
    pub exposes: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub line: u32,
    /// `HEALTHCHECK NONE`.
    pub off: bool,
    pub timeout_given: bool,
    /// Words of the command, and whether it needs a shell.
    pub command: Vec<String>,
    pub needs_shell: bool,
}

/// Can the image run a program?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    Yes,
    No,
    Unknown,
}

/// By a lower-case file name.
pub fn is_one(name: &str) -> bool {
    let stem = ["dockerfile", "containerfile"].into_iter().find_map(|s| name.strip_prefix(s));
    let ends = name.ends_with(".dockerfile") && name.len() > ".dockerfile".len();
    let other =
        [".md", ".txt", ".template", ".j2", ".sh", ".yml", ".yaml", ".json", ".dockerignore", ".py", ".go", ".rb"];
    ends || stem
        .is_some_and(|s| s.is_empty() || s.starts_with(['.', '-', '_']) && !other.iter().any(|e| name.ends_with(e)))
}

pub fn parse(path: &str, text: &str) -> Dockerfile {
    let mut stages: Vec<Stage> = Vec::new();
    for (line, words) in instructions(text) {
        let (verb, rest) = words.split_once(char::is_whitespace).unwrap_or((&words, ""));
        let rest = rest.trim();
        if verb.eq_ignore_ascii_case("from") {
            stages.push(from(line, rest));
            continue;
        }
        let Some(stage) = stages.last_mut() else { continue };
        match verb.to_ascii_uppercase().as_str() {
            "HEALTHCHECK" => stage.health = Some(health(line, rest)),
            "RUN" | "COPY" | "ADD" => {
                stage.installs.push_str(rest);
                stage.installs.push('\n');
            }
            "CMD" | "ENTRYPOINT" => stage.command = Some((line, rest.to_string())),
            "WORKDIR" => stage.workdir = Some(rest.trim_matches('"').to_string()),
            "EXPOSE" => stage.exposes = true,
            "VOLUME" => stage.volumes.extend(words_of(rest)),
            _ => {}
        }
    }
    Dockerfile { file: path.to_string(), stages }
}

impl Dockerfile {
    /// The stage that is built when nobody names one (or the one named `target`), and those below it, nearest first.
    pub fn lineage(&self, target: Option<&str>) -> Vec<&Stage> {
        let named = |name: &str| {
            let same = |s: &&Stage| s.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
            self.stages.iter().position(|s| same(&s))
        };
        let mut at = target.and_then(named).or_else(|| self.stages.len().checked_sub(1));
        let mut out = Vec::new();
        while let Some(i) = at {
            let stage = &self.stages[i];
            out.push(stage);
            // Only earlier stages: a stage cannot start from itself.
            at = named(&stage.from).filter(|below| *below < i);
        }
        out
    }

    /// The health check in force: the last one of the nearest stage that has one.
    pub fn health(&self, target: Option<&str>) -> Option<&HealthCheck> {
        self.lineage(target).into_iter().find_map(|s| s.health.as_ref())
    }

    pub fn place(&self) -> Place {
        Place::new(&self.file, self.stages.last().map_or(1, |s| s.line))
    }

    /// The image below all stages.
    pub fn base(&self, target: Option<&str>) -> &str {
        self.lineage(target).last().map_or("", |s| s.from.as_str())
    }

    /// Is `program` in the image? Certain only about well-known bases.
    pub fn has(&self, target: Option<&str>, program: &str) -> Has {
        let installed = self.lineage(target).iter().any(|s| contains_word(&s.installs, program));
        if installed { Has::Yes } else { image_has(self.base(target), program) }
    }
}

/// Does a public image carry `curl`, `wget`, `nc` or a shell? From the images' own recipes.
pub fn image_has(image: &str, program: &str) -> Has {
    let image = image.to_ascii_lowercase();
    let (repository, tag) = image.rsplit_once(':').filter(|(_, t)| !t.contains('/')).unwrap_or((&image, ""));
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let official =
        !repository.contains('/') || repository.starts_with("docker.io/library/") || repository.starts_with("library/");
    let distroless = repository.contains("distroless") || name == "scratch";
    if distroless {
        return if tag.contains("debug") && program != "curl" { Has::Unknown } else { Has::No };
    }
    if program == "sh" {
        return if official { Has::Yes } else { Has::Unknown };
    }
    if !official {
        return Has::Unknown;
    }
    let alpine = name == "alpine" || tag.contains("alpine");
    let slim = tag.contains("slim");
    match (name, program) {
        (_, "wget" | "nc") if alpine || name == "busybox" => Has::Yes,
        ("nginx" | "httpd", "curl") if !slim => {
            if name == "nginx" {
                Has::Yes
            } else {
                Has::No
            }
        }
        ("caddy" | "traefik", "curl") => Has::No,
        ("node" | "python" | "ruby" | "golang" | "php" | "alpine" | "redis" | "postgres", "curl") if alpine => {
            if name == "php" { Has::Yes } else { Has::No }
        }
        ("php", "curl") => Has::Yes,
        ("node" | "python" | "ruby" | "rust" | "perl", "curl" | "wget") => {
            if slim {
                Has::No
            } else {
                Has::Yes
            }
        }
        ("golang", "curl" | "wget") => Has::Yes,
        ("debian" | "ubuntu", "curl" | "wget") => Has::No,
        _ => Has::Unknown,
    }
}

fn contains_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).any(|w| w == word)
}

/// Logical lines: continuations joined, comments and heredoc bodies out. Line of the first physical line, from 1.
fn instructions(text: &str) -> Vec<(u32, String)> {
    let mut out: Vec<(u32, String)> = Vec::new();
    let (mut open, mut heredoc): (Option<(u32, String)>, Option<String>) = (None, None);
    for (i, line) in text.lines().enumerate() {
        if let Some(end) = &heredoc {
            if line.trim() == end {
                heredoc = None;
            } else if let Some((_, last)) = out.last_mut() {
                last.push(' ');
                last.push_str(line.trim());
            }
            continue;
        }
        let trimmed = line.trim();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (mut start, mut joined) = open.take().unwrap_or((i as u32 + 1, String::new()));
        if joined.is_empty() {
            start = i as u32 + 1;
        }
        let (part, more) = trimmed.strip_suffix(['\\', '`']).map_or((trimmed, false), |p| (p, true));
        joined.push_str(part);
        joined.push(' ');
        if more {
            open = Some((start, joined));
        } else {
            heredoc = heredoc_end(&joined);
            out.push((start, joined.trim().to_string()));
        }
    }
    out.extend(open);
    out
}

/// `RUN <<EOF` and `COPY <<-"EOF" /x`.
fn heredoc_end(line: &str) -> Option<String> {
    let verb = line.split_whitespace().next()?.to_ascii_uppercase();
    let at = line.find("<<").filter(|_| matches!(verb.as_str(), "RUN" | "COPY" | "ADD"))?;
    let word = line[at + 2..].trim_start_matches('-').split_whitespace().next()?;
    let word = word.trim_matches(['"', '\'']);
    let name = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    name.then(|| word.to_string())
}

fn from(line: u32, rest: &str) -> Stage {
    let words: Vec<&str> = rest.split_whitespace().filter(|w| !w.starts_with("--")).collect();
    let name = words.iter().position(|w| w.eq_ignore_ascii_case("as")).and_then(|i| words.get(i + 1));
    Stage {
        name: name.map(|n| n.to_string()),
        from: words.first().map(|w| w.to_string()).unwrap_or_default(),
        line,
        ..Stage::default()
    }
}

fn health(line: u32, rest: &str) -> HealthCheck {
    let mut timeout_given = false;
    let mut left = rest;
    while let Some(option) = left.strip_prefix("--") {
        timeout_given |= option.starts_with("timeout");
        left = option.split_once(char::is_whitespace).map_or("", |(_, r)| r.trim_start());
    }
    let off = left.eq_ignore_ascii_case("none");
    let command = left.strip_prefix("CMD").or_else(|| left.strip_prefix("cmd")).unwrap_or(left).trim();
    HealthCheck { line, off, timeout_given, command: words_of(command), needs_shell: !command.starts_with('[') }
}

/// Words of the exec form (`["a", "b"]`) or of the shell form.
pub fn words_of(command: &str) -> Vec<String> {
    if let Ok(words) = serde_json::from_str::<Vec<String>>(command) {
        return words;
    }
    command.split_whitespace().map(|w| w.trim_matches(['"', '\'']).to_string()).collect()
}

/// The HTTP client that a check's words start, behind a shell too: `curl`, `wget` or `nc`.
pub fn client(words: &[String]) -> Option<&'static str> {
    let text = words.join(" ");
    let first = |w: &str| w.rsplit('/').next().unwrap_or(w).to_string();
    let starts: Vec<String> = text
        .split(['|', ';', '&', '('])
        .filter_map(|part| {
            let mut words = part.split_whitespace().skip_while(|w| {
                matches!(*w, "sh" | "/bin/sh" | "bash" | "/bin/bash" | "-c" | "-ec" | "!" | "if" | "exec")
            });
            words.next().map(first)
        })
        .collect();
    ["curl", "wget", "nc"].into_iter().find(|c| starts.iter().any(|s| s.trim_matches(['"', '\'']) == *c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for (name, yes) in [
            ("dockerfile", true),
            ("dockerfile.alpine", true),
            ("api.dockerfile", true),
            ("dockerfile.md", false),
            ("dockerfiles", false),
            ("dockerfile-debian.template", false),
            ("containerfile", true),
            (".dockerignore", false),
        ] {
            assert_eq!(is_one(name), yes, "{name}");
        }
    }

    #[test]
    fn the_last_health_check_of_the_last_stage_wins() {
        let text = "FROM node:22 AS build\nHEALTHCHECK CMD curl a\nFROM build AS run\nHEALTHCHECK --interval=5s \\\n  --timeout=3s \\\n # why\n  CMD [\"wget\", \"-qO-\", \"http://127.0.0.1/\"]\nCMD [\"node\", \"a.js\"]\n";
        let file = parse("Dockerfile", text);
        let health = file.health(None).unwrap();
        assert_eq!((health.line, health.off, health.timeout_given, health.needs_shell), (4, false, true, false));
        assert_eq!(health.command[0], "wget");
        assert_eq!(file.health(Some("build")).unwrap().line, 2);
        assert_eq!(file.base(None), "node:22");
        let inherited = parse("Dockerfile", "FROM a AS b\nHEALTHCHECK CMD x\nFROM b\nRUN y\n");
        assert_eq!(inherited.health(None).unwrap().line, 2);
        let off = parse("Dockerfile", "FROM a AS b\nHEALTHCHECK CMD x\nFROM b\nHEALTHCHECK NONE\n");
        assert!(off.health(None).unwrap().off);
        assert!(parse("Dockerfile", "FROM a AS b\nHEALTHCHECK CMD x\nFROM c\n").health(None).is_none());
    }

    #[test]
    fn which_clients_an_image_has() {
        let has = |text: &str, program| parse("Dockerfile", text).has(None, program);
        assert_eq!(has("FROM node:22-slim\n", "curl"), Has::No);
        assert_eq!(has("FROM node:22\n", "curl"), Has::Yes);
        assert_eq!(has("FROM node:22-alpine\n", "wget"), Has::Yes);
        assert_eq!(has("FROM node:22-alpine\nRUN apk add --no-cache curl\n", "curl"), Has::Yes);
        assert_eq!(
            has("FROM golang:1 AS b\nRUN apt-get install curl\nFROM gcr.io/distroless/static\n", "curl"),
            Has::No
        );
        assert_eq!(has("FROM scratch\n", "sh"), Has::No);
        assert_eq!(has("FROM ghcr.io/acme/base\n", "curl"), Has::Unknown);
    }

    #[test]
    fn which_client_a_check_uses() {
        let of = |c: &str| client(&words_of(c));
        assert_eq!(of("curl -f http://localhost/ || exit 1"), Some("curl"));
        assert_eq!(of("[\"CMD-SHELL\", \"true\"]"), None);
        assert_eq!(of("[\"sh\", \"-c\", \"/usr/bin/wget -q x\"]"), Some("wget"));
        assert_eq!(of("python check.py curl"), None);
    }

    #[test]
    fn heredocs_hold_no_instructions() {
        let file = parse("Dockerfile", "FROM alpine\nRUN <<EOF\nHEALTHCHECK CMD x\nFROM y\nEOF\nCMD [\"a\"]\n");
        assert_eq!((file.stages.len(), file.health(None)), (1, None));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(FROM|HEALTHCHECK|RUN|CMD|<<E|--|\\[|\"|[a-z :\\\\\n]){0,60}") {
            let file = parse("Dockerfile", &text);
            let _ = (file.health(None), file.has(Some("a"), "curl"), file.base(None));
        }
    }
}
