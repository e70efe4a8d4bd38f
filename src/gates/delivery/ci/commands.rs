//! What a command in a pipeline does: build, test, deploy or publish; and whether its failure would count. Knows shells
//! a little (continuations, `&&`, `||`, prefixes like `npx`) and looks into the package.json scripts, make targets and shell
//! scripts that a command names, as [`Indirect`] holds them. Pure. Matched against what begins a command: `echo npm test` tests nothing.

use super::indirect::{Indirect, behind};
use super::vocabulary::{LINTS, VOCABULARY, WORDS, is_rehearsal};

/// What a step is for. `Install` is the weakest build; `Publish` counts as deploy where nothing else deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A script of this repository in which nothing was recognised: what it does is not known.
    Script,
    Install,
    Build,
    Test,
    Publish,
    Deploy,
}

/// One command that does something known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Command {
    /// Runs only under a condition of its own: a step for tags, a script that asks which branch it is on.
    pub restricted: bool,
    pub work: Work,
    /// The command, at most 80 characters.
    pub text: String,
    /// Why its failure would go unnoticed, or why it tests nothing.
    pub neutralised: Option<String>,
}

/// A script that stands for nothing: npm's own placeholder, or mere messages.
fn is_hollow(script: &str) -> bool {
    let script = script.trim();
    let says_only = |line: &str| {
        let line = line.trim();
        line.is_empty() || (line.starts_with("echo ") && !line.contains("&&") && !line.contains(';'))
    };
    script.contains("no test specified") || matches!(script, "true" | ":" | "exit 0") || script.lines().all(says_only)
}

/// Everything known that a shell text does, in order. `folder` is where it runs.
pub fn commands(script: &str, folder: &str, indirect: &Indirect) -> Vec<Command> {
    let mut out = Vec::new();
    let joined = script.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut forgiving = false;
    let restricted = ASKS_WHERE.iter().any(|name| script.contains(name));
    for line in joined.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("set ") && line.split_whitespace().any(|w| w == "+e") {
            forgiving = true;
        } else if line.starts_with("set ") && line.split_whitespace().any(|w| w.starts_with('-') && w.contains('e')) {
            forgiving = false;
        }
        for (text, excuse) in split(line) {
            let excuse = excuse.or(forgiving.then(|| "set +e".to_string()));
            classify(&text, excuse.as_deref(), folder, indirect, 0, &mut out);
        }
    }
    for command in &mut out {
        command.restricted |= restricted;
    }
    out
}

/// A script that looks at one of these decides by branch or tag what it does.
const ASKS_WHERE: [&str; 10] = [
    "GITHUB_REF",
    "github.ref",
    "CI_COMMIT_TAG",
    "CI_COMMIT_BRANCH",
    "CIRCLE_TAG",
    "CIRCLE_BRANCH",
    "DRONE_TAG",
    "BUILD_SOURCEBRANCH",
    "BRANCH_NAME",
    "TAG_NAME",
];

/// One line into simple commands, each with what excuses its failure: `a && b || true` gives (a, `|| true`), (b, …).
fn split(line: &str) -> Vec<(String, Option<String>)> {
    let mut out: Vec<(String, Option<String>)> = Vec::new();
    for list in separate(line, &[";"]) {
        let alternatives = separate(&list, &["||"]);
        let excuse = alternatives.get(1).filter(|rescue| excuses(rescue)).map(|r| format!("|| {}", r.trim()));
        for command in alternatives.first().map(|a| separate(a, &["&&"])).unwrap_or_default() {
            out.push((command, excuse.clone()));
        }
        for rescue in alternatives.iter().skip(1) {
            out.push((rescue.clone(), None));
        }
    }
    out
}

fn excuses(rescue: &str) -> bool {
    let first = rescue.trim();
    matches!(first, "true" | ":" | "exit 0" | "/bin/true")
        || first.starts_with("echo")
        || first.starts_with("true ")
        || first.starts_with("printf")
}

/// Splits outside quotes.
fn separate(text: &str, marks: &[&str]) -> Vec<String> {
    let (mut out, mut part, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if quote.is_none()
            && let Some(mark) = marks.iter().find(|m| rest.starts_with(**m))
        {
            out.push(std::mem::take(&mut part));
            rest = &rest[mark.len()..];
            continue;
        }
        match quote {
            Some(q) if c == q => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        part.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out.push(part);
    out.into_iter().map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect()
}

const TEXT_CHARS_MAX: usize = 80;
/// A script calls make, whose target calls npm, whose script calls jest.
const DEPTH_MAX: usize = 4;
/// A script of a hundred tests says nothing more than one of thirty.
const INNER_MAX: usize = 40;

fn classify(
    command: &str,
    excuse: Option<&str>,
    folder: &str,
    indirect: &Indirect,
    depth: usize,
    out: &mut Vec<Command>,
) {
    let bare = super::vocabulary::bare(command);
    let Some(words) = WORDS.as_ref() else { return };
    let text: String = command.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    let behind = if depth < DEPTH_MAX { behind(&bare, folder, indirect) } else { None };
    // What stands behind the name decides; the name alone where nothing can be read.
    if let Some(script) = behind.as_deref().filter(|s| !is_hollow(s)) {
        let mut inner = Vec::new();
        for line in script.replace("\\\n", " ").lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            for (inside, inner_excuse) in split(line) {
                let both = inner_excuse.as_deref().or(excuse);
                if inner.len() < INNER_MAX {
                    classify(&inside, both, folder, indirect, depth + 1, &mut inner);
                }
            }
        }
        // `make test-e2e` builds, then runs a script that nobody here understands: it tests, as its name says.
        let says_test = words.matches(&bare).into_iter().any(|i| VOCABULARY[i].0 == Work::Test);
        let unknown =
            || script.lines().flat_map(split).any(|(inside, _)| is_own_script(&super::vocabulary::bare(&inside)));
        if says_test
            && !inner.is_empty()
            && inner.iter().all(|c| c.work < Work::Test)
            && unknown()
            && !is_rehearsal(Work::Test, &bare)
        {
            inner.push(Command {
                work: Work::Test,
                text: text.clone(),
                neutralised: excuse.map(str::to_string),
                restricted: false,
            });
        }
        if inner.iter().any(|c| matches!(c.work, Work::Test | Work::Deploy | Work::Build | Work::Publish)) {
            let restricted = ASKS_WHERE.iter().any(|name| script.contains(name));
            out.extend(inner.into_iter().map(|c| Command {
                text: text.clone(),
                restricted: c.restricted || restricted,
                ..c
            }));
            return;
        }
        let lint = |text: &String| LINTS.as_ref().is_some_and(|l| l.is_match(&super::vocabulary::bare(text)));
        if script.lines().flat_map(split).all(|(inside, _)| lint(&inside)) {
            return;
        }
    }
    let known = out.len();
    for index in words.matches(&bare) {
        let work = VOCABULARY[index].0;
        // A recipe that was read and does nothing of the kind is not believed its name; a test runner of one's own is,
        // and so is a program behind an npm script.
        let recipe = bare.starts_with("make ") || bare.starts_with("gmake ");
        let by_name_alone = recipe && behind.is_some() && matches!(work, Work::Deploy | Work::Publish);
        if is_rehearsal(work, &bare) || by_name_alone {
            continue;
        }
        let neutralised = match () {
            _ if behind.as_deref().is_some_and(is_hollow) => Some("the script behind it does nothing".to_string()),
            _ if work != Work::Test => excuse.map(str::to_string),
            _ if bare.contains("--passWithNoTests") || bare.contains("--pass-with-no-tests") => {
                Some("--passWithNoTests".to_string())
            }
            _ => excuse.map(str::to_string),
        };
        out.push(Command { work, text: text.clone(), neutralised, restricted: false });
    }
    if out.len() == known && depth == 0 && is_own_script(&bare) {
        out.push(Command { work: Work::Script, text, neutralised: None, restricted: false });
    }
}

/// `./build.ps1`, `sh ci/all.sh`: a script of the repository.
fn is_own_script(command: &str) -> bool {
    let mut words = command.split(' ').map(|w| w.trim_matches(['"', '\'']));
    let first = words.next().unwrap_or_default();
    let path = match first {
        "sh" | "bash" | "pwsh" | "powershell" => words.find(|w| !w.starts_with('-')).unwrap_or_default(),
        other if other.starts_with("./") || other.starts_with(".\\") => other,
        _ => return false,
    };
    let ending = path.rsplit(['/', '\\']).next().unwrap_or_default();
    !ending.contains('.') || [".sh", ".ps1", ".cmd", ".bat", ".py"].iter().any(|e| ending.ends_with(e))
}

#[cfg(test)]
mod tests {
    use super::super::indirect::makefile_targets;
    use super::*;

    fn indirect() -> Indirect {
        let script = |name: &str, text: &str| ((String::new(), name.to_string()), text.to_string());
        Indirect {
            scripts: [
                script("test", "jest"),
                script("test:hollow", "echo \"Error: no test specified\" && exit 1"),
                script("test:soft", "jest || true"),
                script("test:style", "eslint . && prettier --check ."),
                script("ci", "tsc && vitest run"),
            ]
            .into(),
            targets: makefile_targets(
                "test: deps\n\tcargo test\nsoft:\n\t-pytest\nVAR = a\nship: deps\n\t@kubectl apply -f k8s\nloud:\n\t@echo '>> tests'\n\t$(GO) test ./...\n",
            ),
            shell: [("ci/all.sh".to_string(), "#!/bin/sh\n# make deploy\nset -e\nmake test\n".to_string())].into(),
            wheels_are_tested: false,
            maven_goal: Some("clean verify".into()),
        }
    }

    /// `work` or `work!reason` of each command.
    fn check(script: &str, expect: &[&str]) {
        let got: Vec<String> = commands(script, "", &indirect())
            .into_iter()
            .map(|c| match c.neutralised {
                Some(why) => format!("{:?}!{why}", c.work),
                None => format!("{:?}", c.work),
            })
            .collect();
        assert_eq!(got, expect, "{script}");
    }

    #[test]
    fn what_commands_do() {
        check("npm ci\nnpm run build && npm test", &["Install", "Build", "Test"]);
        check("CI=1 npx jest --ci", &["Test"]);
        check("poetry run pytest -q", &["Test"]);
        check("docker compose run --rm app pytest", &["Test"]);
        check("cargo test --locked", &["Test", "Build"]);
        check("./mvnw -B package", &["Test", "Build"]);
        check("./mvnw -B package -DskipTests", &["Build"]);
        check("kubectl -n shop apply -f k8s", &["Deploy"]);
        check("ssh deploy@host 'docker compose up -d'", &["Deploy"]);
        check("./scripts/deploy.sh production", &["Deploy"]);
        check("docker build -t a .\ndocker push a", &["Build", "Publish"]);
        check("${{ env.CARGO }} test --workspace", &["Test", "Build"]);
        check("\"$CARGO\" build", &["Build"]);
        check("sudo env \"PATH=$PATH\" \"GOROOT=$GOROOT\" go test ./... -race", &["Test", "Build"]);
        check("uv run --locked --group dev tox run", &["Test", "Build"]);
        check("bash -lc 'sh ci/test.sh'", &["Test"]);
        check("./node_modules/.bin/jest --ci", &["Test"]);
        check("make -C sub test-e2e", &["Test"]);
        check("GOOS=linux   GOARCH=arm64   go build -o x ./y", &["Build"]);
        check("uv run fastapi deploy", &["Deploy"]);
        check("yarn release-tool check", &[]);
        check("./run.ps1 -all", &["Script"]);
        check("meson test -C build", &["Test", "Build"]);
        check("cargo publish --dry-run", &[]);
        check("script/cibuild", &["Test", "Build"]);
        check("gh release create \"$VERSION\" \\\n  --draft --title \"$VERSION\"", &[]);
        check("gh release create \"$VERSION\" --notes-file x.md", &["Publish"]);
        check("python testdata/pymod/pya_tests.py", &["Test"]);
        check("helm upgrade \\\n  --install shop ./chart", &["Deploy"]);
    }

    #[test]
    fn look_alikes_do_nothing() {
        for script in [
            "echo npm test",
            "# npm test",
            "cat test.sh",
            "npm run lint",
            "grep -r 'kubectl apply' .",
            "pytest-watch --help",
            "testing",
            "test -f package.json",
            "docker images",
            "git checkout tests",
        ] {
            check(script, &[]);
        }
    }

    #[test]
    fn excuses_are_seen() {
        check("npm test || true", &["Test!|| true"]);
        check("jest --passWithNoTests", &["Test!--passWithNoTests"]);
        check("set +e\npytest", &["Test!set +e"]);
        check("set +e\nset -e\npytest", &["Test"]);
        check("pytest || echo failed", &["Test!|| echo failed"]);
        check("pytest || exit 1", &["Test"]);
        check("pytest && echo 'a || true'", &["Test"]);
    }

    #[test]
    fn one_level_of_indirection() {
        check("npm run test:hollow", &["Test!the script behind it does nothing"]);
        check("npm run test:soft", &["Test!|| true"]);
        check("npm run ci", &["Build", "Test"]);
        check("make test", &["Test", "Build"]);
        check("make soft", &["Test!|| true"]);
        check("make ship", &["Deploy"]);
        check("make loud", &["Test", "Build"]);
        check("npm run test:style", &[]);
        check("sh ci/all.sh", &["Test", "Build"]);
        check("./ci/all.sh --fast", &["Test", "Build"]);
        check("make -j4", &["Test", "Build"]);
        check("mvn --batch-mode -Ddoclint=all", &["Test", "Build"]);
    }
}
