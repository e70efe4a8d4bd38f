//! What a command in a pipeline does: build, test, deploy or publish; and whether its failure would count. Knows shells
//! a little (continuations, `&&`, `||`, pipes, prefixes like `npx`) and looks one level into package.json scripts and
//! Makefile targets. Pure but for those two files. Matched against what begins a command: `echo npm test` tests nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// What a step is for. `Install` is the weakest build; `Publish` counts as deploy where nothing else deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    Install,
    Build,
    Test,
    Publish,
    Deploy,
}

/// One command that does something known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Command {
    pub work: Work,
    /// The command, at most 80 characters.
    pub text: String,
    /// Why its failure would go unnoticed, or why it tests nothing.
    pub neutralised: Option<String>,
}

/// First match wins within one kind; a command may be of several kinds.
const VOCABULARY: [(Work, &str); 5] = [
    (
        Work::Test,
        r"^(npm (t|test|tst)\b|(npm|pnpm|yarn|bun)( run)? (test|t)([:\w.-]*)( |$)|(jest|vitest|mocha|ava|tap|karma start|nyc|c8)\b|playwright test|cypress run|node .*--test\b|deno test|bun test|pytest\b|py\.test|python3? -m (pytest|unittest|tox|nox)|python3? manage\.py test|tox\b|nox\b|coverage run|go test|gotestsum|cargo (test|nextest|llvm-cov|tarpaulin)|(mvn|mvnw|\./mvnw)\b.* (test|verify|package|install|deploy)\b|(gradle|gradlew|\./gradlew)\b.* (test|check|build)\b|rspec\b|rake (test|spec)|rails test|bin/rails test|(bin/)?phpunit|vendor/bin/(phpunit|pest)|composer (run )?test|dotnet test|make (test|tests|check|ci)\b|just test|task test|ctest|bats |swift test|xcodebuild .*\btest\b|mix test|lein test|sbt .*test|bazel test|nx (test|affected.*test)|turbo (run )?test|\./(scripts/|bin/)?(run[-_]?)?tests?(\.sh)?\b|(scripts|bin)/(run[-_]?)?tests?(\.sh)?\b)",
    ),
    (
        Work::Deploy,
        r"^(kubectl( -\S+( \S+)?)* (apply|set image|rollout restart|replace|patch)|kustomize .*\| *kubectl|helm( -\S+)* (upgrade|install)|helmfile (apply|sync)|terraform( -chdir=\S+)? apply|tofu apply|terragrunt .*apply|pulumi up|aws (s3 (sync|cp)|ecs update-service|ecs deploy|lambda update-function|cloudformation deploy|deploy |elasticbeanstalk|apprunner|amplify)|sam deploy|cdk deploy|(serverless|sls) deploy|gcloud .*\bdeploy\b|az .*(deploy|up)\b|(flyctl|fly) deploy|heroku |git push .*(heroku|dokku|production)|vercel\b|netlify deploy|wrangler (deploy|publish|pages deploy)|firebase deploy|rsync .*:|scp .*:|ssh |ansible-playbook|cap \w+ deploy|kamal (deploy|redeploy)|docker stack deploy|docker(-| )compose .*(-H|--context).* up|argocd app (sync|set)|flux reconcile|eb deploy|railway up|skaffold run|nomad (job )?run|oc (apply|rollout|deploy)|pm2 (deploy|reload)|dokku |cf push|caprover deploy|copilot .*deploy|surge |gh-pages |make (deploy|release|ship)\b|(npm|pnpm|yarn|bun)( run)? (deploy|release|ship)([:\w.-]*)( |$)|(bash |sh )?(\./|scripts/|bin/|\./scripts/|\./bin/|deploy/|ci/|\./ci/)[\w/.-]*deploy[\w.-]*|deploy\.sh)",
    ),
    (
        Work::Publish,
        r"^(docker( image)? push|docker buildx build .*--push|docker buildx bake .*--push|buildah push|podman push|skopeo copy|npm publish|pnpm publish|yarn (npm )?publish|cargo publish|twine upload|poetry publish|uv publish|gem push|mvn\b.* deploy\b|(gradle|\./gradlew)\b.* publish|gh release create|goreleaser|dotnet nuget push|semantic-release|helm push)",
    ),
    (
        Work::Build,
        r"^((npm|pnpm|yarn|bun)( run)? build|npm run (compile|bundle|package)|(tsc|vite build|webpack|rollup|esbuild|next build|nuxt build|ng build|react-scripts build|parcel build|turbo (run )?build|nx (build|affected.*build))\b|cargo (build|check|clippy|test|install)|go (build|install|vet|test)|(mvn|mvnw|\./mvnw)\b.* (compile|package|verify|install|test|deploy)\b|(gradle|\./gradlew)\b.* (build|assemble|jar|bootJar|test|check)\b|docker( image)? build|docker buildx (build|bake)|docker(-| )compose build|podman build|buildah (bud|build)|kaniko|/kaniko/executor|pack build|python3? -m build|python3? setup\.py|poetry build|uv build|pip wheel|dotnet (build|publish|test)|make( -\S+)*( all| build| dist)?$|make (build|all|dist|compile|release)\b|cmake|ninja|bazel build|mix compile|swift build|xcodebuild|sbt .*(compile|package|assembly)|rake assets:precompile|hugo\b|jekyll build|mkdocs build|python3? -m compileall)",
    ),
    (
        Work::Install,
        r"^(npm (ci|i|install)\b|yarn( install)?( --\S+)*$|pnpm (i|install)\b|bun install|pip3? install|python3? -m pip install|poetry install|uv (sync|pip install)|pipenv (install|sync)|bundle( install)?( --\S+)*$|composer install|go mod download|cargo fetch|dotnet restore|mix deps\.get)",
    ),
];

static WORDS: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(VOCABULARY.map(|(_, p)| p)).ok());

/// Prefixes that run another command.
static PREFIX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^((\w+=\S*|sudo|time|env|exec|command|nohup|npx( --\S+| -y)*|bunx|pnpm (exec|dlx)|yarn (dlx|exec)|bundle exec|poetry run|pipenv run|uv run|hatch run|xvfb-run( -\S+)*|dotenv( -\S+)* --|timeout \S+|nice|retry|docker(-| )compose( -f \S+)* (run|exec)( --?\S+)* \w+|docker run( --?\S+(=\S+)?)* [\w./:@-]+|coverage run -m|if|then|do|!|\() )+",
    )
    .ok()
});

/// Scripts and targets that a command may name.
#[derive(Debug, Clone, Default)]
pub struct Indirect {
    /// package.json scripts by folder (empty for the root) and name.
    pub scripts: BTreeMap<(String, String), String>,
    /// Makefile recipes of the root by target.
    pub targets: BTreeMap<String, String>,
}

/// A script that stands for nothing: npm's own placeholder, or a mere message.
fn is_hollow(script: &str) -> bool {
    let script = script.trim();
    script.is_empty()
        || script.contains("no test specified")
        || matches!(script, "true" | ":" | "exit 0")
        || (script.starts_with("echo ") && !script.contains("&&") && !script.contains(';'))
}

/// Everything known that a shell text does, in order. `folder` is where it runs.
pub fn commands(script: &str, folder: &str, indirect: &Indirect) -> Vec<Command> {
    let mut out = Vec::new();
    let joined = script.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut forgiving = false;
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
            classify(&text, excuse.as_deref(), folder, indirect, &mut out);
        }
    }
    out
}

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

fn classify(command: &str, excuse: Option<&str>, folder: &str, indirect: &Indirect, out: &mut Vec<Command>) {
    let bare = PREFIX.as_ref().map_or(command.into(), |p| p.replace(command, ""));
    let bare = bare.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some(words) = WORDS.as_ref() else { return };
    let text: String = command.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    let hollow = behind(&bare, folder, indirect);
    // What stands behind the name decides; the name alone where nothing can be read.
    if let Some(script) = hollow.as_deref().filter(|s| !is_hollow(s)) {
        let mut inner = Vec::new();
        for (inside, inner_excuse) in script.lines().flat_map(split) {
            let both = inner_excuse.as_deref().or(excuse);
            classify(&inside, both, folder, &Indirect::default(), &mut inner);
        }
        if inner.iter().any(|c| matches!(c.work, Work::Test | Work::Deploy | Work::Build | Work::Publish)) {
            out.extend(inner.into_iter().map(|c| Command { text: text.clone(), ..c }));
            return;
        }
    }
    for index in words.matches(&bare) {
        let work = VOCABULARY[index].0;
        if work == Work::Test && skips_tests(&bare) {
            continue;
        }
        let neutralised = match () {
            _ if hollow.as_deref().is_some_and(is_hollow) => Some("the script behind it does nothing".to_string()),
            _ if work != Work::Test => excuse.map(str::to_string),
            _ if bare.contains("--passWithNoTests") || bare.contains("--pass-with-no-tests") => {
                Some("--passWithNoTests".to_string())
            }
            _ => excuse.map(str::to_string),
        };
        out.push(Command { work, text: text.clone(), neutralised });
    }
}

fn skips_tests(command: &str) -> bool {
    ["-DskipTests", "-Dmaven.test.skip", "-x test", "--no-run", "--collect-only", "--help", "--version", "--listTests"]
        .iter()
        .any(|flag| command.contains(flag))
}

/// The script or recipe that `npm run x` or `make x` names.
fn behind(command: &str, folder: &str, indirect: &Indirect) -> Option<String> {
    let mut words = command.split(' ');
    let (tool, first) = (words.next()?, words.next()?);
    match tool {
        "npm" | "yarn" | "pnpm" | "bun" => {
            let name = match first {
                "run" | "run-script" => words.find(|w| !w.starts_with('-'))?,
                "t" | "tst" => "test",
                // `npm ci` installs; only a few scripts have a command of their own.
                other if tool == "npm" && !matches!(other, "test" | "start") => return None,
                other => other,
            };
            if tool == "bun" && first == "test" {
                return None;
            }
            let key = |folder: &str| (folder.to_string(), name.to_string());
            indirect.scripts.get(&key(folder)).cloned()
        }
        "make" => indirect.targets.get(first).cloned(),
        _ => None,
    }
}

/// Recipes of a Makefile by target, one command a line.
pub fn makefile_targets(text: &str) -> BTreeMap<String, String> {
    let mut targets: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(recipe) = line.strip_prefix('\t') {
            let recipe = recipe.trim_start_matches(['@', '+']).trim();
            // A leading dash tells make to go on after a failure.
            let recipe = recipe.strip_prefix('-').map_or(recipe.to_string(), |r| format!("{r} || true"));
            for target in &current {
                let body = targets.entry(target.clone()).or_default();
                body.push_str(&recipe);
                body.push('\n');
            }
        } else if let Some((names, _)) =
            line.split_once(':').filter(|(n, r)| !n.contains(['=', '#', '.']) && !r.starts_with('='))
        {
            current = names.split_whitespace().map(str::to_string).collect();
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            current.clear();
        }
    }
    targets
}

/// Actions and images by what they do, for systems that name them instead of commands.
pub fn action_work(action: &str, pushes: bool) -> Option<Work> {
    let name = action.split('@').next().unwrap_or(action).to_ascii_lowercase();
    match name.as_str() {
        "cypress-io/github-action" => Some(Work::Test),
        "docker/build-push-action" | "docker/bake-action" => Some(if pushes { Work::Publish } else { Work::Build }),
        "pypa/gh-action-pypi-publish"
        | "softprops/action-gh-release"
        | "ncipollo/release-action"
        | "changesets/action"
        | "goreleaser/goreleaser-action"
        | "js-devtools/npm-publish" => Some(Work::Publish),
        "appleboy/ssh-action"
        | "appleboy/scp-action"
        | "cloudflare/wrangler-action"
        | "cloudflare/pages-action"
        | "peaceiris/actions-gh-pages"
        | "amondnet/vercel-action"
        | "nwtgck/actions-netlify"
        | "easingthemes/ssh-deploy" => Some(Work::Deploy),
        _ if name.contains("deploy") && !name.contains("setup") => Some(Work::Deploy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indirect() -> Indirect {
        let script = |name: &str, text: &str| ((String::new(), name.to_string()), text.to_string());
        Indirect {
            scripts: [
                script("test", "jest"),
                script("test:hollow", "echo \"Error: no test specified\" && exit 1"),
                script("test:soft", "jest || true"),
                script("ci", "tsc && vitest run"),
            ]
            .into(),
            targets: makefile_targets(
                "test: build\n\tcargo test\nsoft:\n\t-pytest\nVAR = a\nship: build\n\t@kubectl apply -f k8s\n",
            ),
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
    }

    #[test]
    fn actions() {
        assert_eq!(action_work("actions/deploy-pages@v4", false), Some(Work::Deploy));
        assert_eq!(action_work("docker/build-push-action@v6", true), Some(Work::Publish));
        assert_eq!(action_work("actions/checkout@v4", false), None);
    }
}
