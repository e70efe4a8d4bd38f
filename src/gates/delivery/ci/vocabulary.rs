//! The words by which commands are known: what builds, tests, publishes, deploys; prefixes and wrappers around them; and
//! what takes the meaning back (`--dry-run`, `-DskipTests`). Pure.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::commands::Work;

/// By kind, what begins a command, one alternative a line; a command may be of several kinds.
pub const VOCABULARY: [(Work, &[&str]); 5] = [
    (
        Work::Test,
        &[
            r"npm (t|test|tst)\b",
            r"(npm|pnpm|yarn|bun)( -\S+( \S+)?)*( workspaces?( \S+)?)?( run| foreach.*)? (test|t|unit|e2e|integration|spec|coverage)([:\w.-]*)( |$)",
            r"(jest|vitest|mocha|ava|tap|karma start|nyc|c8|uvu|lerna run test|rushx? test|deno test|bun test|hatch test)\b",
            r"playwright test|cypress run|node .*--test\b|nx (test|affected.*test|run-many.* test)|turbo (run )?test",
            r"pytest\b|py\.test|python\S*( -\w+)* -m (pytest|unittest|tox|nox|coverage run)|python\S* \S*manage\.py test|tox\b|nox\b|coverage run|python\S* (\S*/)?(run_?)?\w*_?tests?\.py\b|runtests",
            r"go( -C \S+)? test|gotestsum|ginkgo\b",
            r"(cargo|cross)( \+\S+)? (hack .*)?(test|nextest|llvm-cov|tarpaulin|miri test|xtask test)\b",
            r"(mvn|mvnw|\./mvnw|mvnw\.cmd)\b.* (test|verify|package|install|deploy)\b|(gradle|gradlew|\./gradlew|\.\\gradlew\S*)\b.* (\S*:)?(\w*[tT]est|check|build)\b",
            // Without a goal both do what the project does by default: for Maven and for Ruby that is the tests.
            r"(mvn|mvnw|\./mvnw|mvnw\.cmd)( -\S+)+$|rake$|ct (install|lint-and-install)|helm test|kuttl test|chainsaw test",
            r"rspec\b|rake( \S+)* (test|spec)|rails test|bin/rails test|(bin/)?phpunit|(\./)?vendor/bin/(phpunit|pest|behat)|composer (run(-script)? )?test|php artisan test",
            r"dotnet test|vstest\S*|ctest|bats |swift test|xcodebuild .*\btest\b|fastlane test|mix test|lein test|sbt .*test|bazel(isk)? test|meson test|ninja( -\S+( \S+)?)* (test|check)|prove\b|busted\b|opam .*with-test|dune (runtest|test)|stack test|cabal test|zig build test|flutter test|dart test",
            r"(g|mingw32-)?make( -\S+( [\d.]+)?)*( \w+=\S*)*( \S+)* (tests?|check|ci|unit|e2e|integration|fuzz)([\w.-]*)( |$)|(just|task|mise run|invoke|inv|doit) ((\S*:)?(tests?|check|unit|e2e|integration)([\w.-]*)|ci)( |$)",
            r"((bash|sh|zsh|pwsh|powershell)( -\w+)* )?(\S*/)?(run[-_]?)?(all[-_]?)?(unit|integration|e2e|smoke)?[-_]?[tT]ests?([-_]\w[\w-]*)?(\.sh|\.ps1|\.bash)?( |$)",
            r"((bash|sh) )?(\./)?(script/cibuild|bin/ci)( |$)",
        ],
    ),
    (
        Work::Deploy,
        &[
            r"kubectl( -\S+( \S+)?)* (apply|set image|rollout restart|replace|patch)|kustomize .*\| *kubectl|helm( -\S+)* (upgrade|install)|helmfile (apply|sync)",
            r"terraform( -chdir=\S+)? apply|tofu apply|terragrunt .*apply|pulumi up",
            r"aws (s3 (sync|cp)|ecs update-service|ecs deploy|lambda update-function|cloudformation deploy|deploy |elasticbeanstalk|apprunner|amplify)|sam deploy|cdk deploy|(serverless|sls) deploy",
            r"gcloud .*\bdeploy\b|gsutil .*(rsync|cp)\b|az .*(deploy|upload-batch|up)\b|azcopy (sync|copy|cp)|s3cmd (sync|put)",
            r"(flyctl|fly) deploy|heroku |git push .*(heroku|dokku|production)|vercel\b|netlify deploy|netlify-deploy|wrangler (deploy|publish|pages deploy)|firebase deploy|railway up",
            r"rsync .*:|scp .*:|ssh |lftp |ansible-playbook|cap \w+ deploy|kamal (deploy|redeploy)|docker stack deploy|docker(-| )compose .*(-H|--context).* up|eb deploy",
            r"argocd app (sync|set)|flux reconcile|skaffold run|nomad (job )?run|oc (apply|rollout|deploy)|pm2 (deploy|reload)|dokku |cf push|caprover deploy|copilot .*deploy|surge |gh-pages ",
            r"\S+ deploy( |$)|make (\S+ )*(deploy|ship)([\w-]*)( |$)|(just|task|mise run|invoke) (\S*:)?deploy\S*|(npm|pnpm|yarn|bun)( run)? (deploy|ship)([:\w.-]*)( |$)",
            r"((bash|sh) )?(\./|scripts?/|bin/|\./scripts?/|\./bin/|deploy/|ci/|\./ci/|\.\w+/)[\w/.-]*deploy[\w.-]*|((bash|sh) )?deploy\.sh",
        ],
    ),
    (
        Work::Publish,
        &[
            r"docker( image)? push|docker buildx build .*--push|docker buildx bake .*--push|docker buildx imagetools create|docker(-| )compose push|buildah push|podman push|skopeo copy|helm push|oras push",
            r"npm publish|pnpm( -r)? publish|yarn (npm )?publish|lerna publish|changeset publish|npx? jsr publish|jsr publish",
            r"cargo( \+\S+)? publish|release-plz release|cargo release|twine upload|python\S* -m twine upload|poetry publish|uv publish|flit publish|hatch publish|gem push|rake release\b|mix hex\.publish",
            r"mvn\S*\b.* deploy\b|(\./)?mvnw\b.* deploy\b|(gradle|gradlew|\./gradlew)\b.* \S*(publish|release|upload)|sbt .*publish|lein deploy",
            r"gh release (create|upload)|goreleaser (.* )?release|dotnet nuget push|nuget push|(npx )?semantic-release|vsce publish|snapcraft (upload|push)",
            r"make (\S+ )*(release|publish)([\w-]*)( |$)|(just|task|mise run|invoke) (\S*:)*(release|publish)\S*|(npm|pnpm|yarn|bun)( run)? (\S*:)?(release|publish)(:[\w.-]*)?( |$)",
        ],
    ),
    (
        Work::Build,
        &[
            r"(npm|pnpm|yarn|bun)( -\S+( \S+)?)*( workspaces?( \S+)?)?( run| foreach.*)? (build|compile|bundle|package)([:\w.-]*)( |$)|tsc\b|vite build|webpack|rollup|esbuild|next build|nuxt build|ng build|react-scripts build|parcel build|turbo (run )?build|nx (build|affected.*build)",
            r"(cargo|cross)( \+\S+)? (build|check|clippy|test|nextest|install|hack|rustc)|go( -C \S+)? (build|install|vet|test)",
            r"(mvn|mvnw|\./mvnw|mvnw\.cmd)\b.* (compile|package|verify|install|test|deploy)\b|(gradle|gradlew|\./gradlew|\.\\gradlew\S*)\b.* (\S*:)?(build|assemble|jar|bootJar|test|check)\b|sbt .*(compile|package|assembly|test)|lein\b",
            r"docker( image)? build|docker buildx (build|bake)|docker(-| )compose .*\bbuild|podman build|buildah (bud|build)|kaniko|/kaniko/executor|pack build|nix(-build| build| flake check)",
            r"python\S* -m build|python\S* setup\.py|poetry build|uv build|pip wheel|flit build|hatch build|cibuildwheel|tox\b|nox\b|conda build|python\S* -m compileall",
            r"dotnet (build|publish|test|pack|msbuild)|msbuild\b|xcodebuild|swift (build|test)|flutter build|mix (compile|test)",
            r"(g|mingw32-)?make( -\S+( [\d.]+)?)*( \w+=\S*)*( all| build| dist)?$|make (\S+ )*(build|all|dist|compile|release|install)\b|cmake|ninja|meson|bazel(isk)? (build|test)|(\./)?configure\b|scons\b|promu (cross)?build|goreleaser (build|.*--snapshot)",
            r"rake assets:precompile|hugo\b|jekyll build|mkdocs build|(just|task|mise run) (\S*:)*build\S*|((bash|sh) )?(\./|scripts?/|bin/|ci/|\./\w+/)[\w/.-]*build[\w.-]*",
        ],
    ),
    (
        Work::Install,
        &[
            r"npm (ci|i|install)\b|yarn( install)?( --\S+)*$|pnpm (i|install)\b|bun install|corepack",
            r"pip3? install|python\S* -m pip install|poetry install|uv (sync|pip install|run)|pipenv (install|sync)|pdm (install|sync)|conda (env|install)",
            r"bundle( install)?( --\S+)*$|composer (install|update)|go mod (download|vendor)|cargo fetch|dotnet restore|mix deps\.get|(\S*/)?install[-_](deps|dependencies)\S*",
        ],
    ),
];

pub static WORDS: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSet::new(VOCABULARY.map(|(_, alternatives)| format!("^({})", alternatives.join("|")))).ok());

/// Prefixes that run another command.
static PREFIX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        "^(({}) +)+",
        [
            r#""?\w+=("[^"]*"|'[^']*'|\S*)|sudo( -\S+)*|time|env|exec|command|nohup|nice|retry( -\S+( \d+)?)*|timeout( -\S+)* \S+|if|then|else|do|!|\(|&|xvfb-run( -\S+| "[^"]*")*|arch -\S+|winpty|@"#,
            r"npx( --\S+| -y)*|bunx|(pnpm|npm) (exec|dlx)( --)?|yarn (dlx|exec)|corepack|dotenv( -\S+)* --|wireit",
            r"bundle exec|poetry run|pipenv run|pdm run|rye run|hatch( -\S+)* run|pixi run( -\S+ \S+)*|conda run( -\S+ \S+)*|coverage run -m",
            r"uv run( (--group|--extra|--with|--python|--package|--directory|--env-file|-p) \S+| -\S+)*|uvx|opam exec --|mise (exec|x) --|nix develop .*-c|devbox run|direnv exec \S+",
            r"docker(-| )compose( -f \S+)* (run|exec)( --?\S+)* \w+|docker run( --?\S+(=\S+)?)* [\w./:@-]+",
        ]
        .join("|")
    ))
    .ok()
});

/// `bash -lc 'x'` and its like.
static WRAPPED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^(ba|z|da|k)?sh( -\w+)* -\w*c\w* ['"](.*)['"]$"#).ok());

/// A variable in the place of the program, as GitHub and as shells write it.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"^["']?(\$\{\{[^}]*\}\}|\$\{?\w+\}?|\$\(\w+\)|%\w+%)["']? (test|build|nextest|check)\b"#).ok()
});

/// Programs known by their last name: `./node_modules/.bin/jest`, `$HOME/go/bin/promu`.
const BY_LAST_NAME: [&str; 24] = [
    "jest", "vitest", "mocha", "pytest", "tox", "nox", "mvn", "gradle", "make", "gmake", "go", "cargo", "npm", "yarn",
    "pnpm", "python", "python3", "pip", "twine", "promu", "dotnet", "phpunit", "rspec", "cross",
];

/// The command as the vocabulary knows it: without prefixes, wrappers, quotes and folders around its program.
pub fn bare(command: &str) -> String {
    let strip = |text: &str| PREFIX.as_ref().map_or(text.to_string(), |p| p.replace(text, "").into_owned());
    let mut text = strip(command.trim());
    if let Some(inner) = WRAPPED.as_ref().and_then(|w| w.captures(&text)).and_then(|c| c.get(3)) {
        text = strip(inner.as_str());
    }
    // `${PREFIX}twine upload`: a folder, or nothing.
    if let Some(rest) = text.strip_prefix("${").and_then(|t| t.split_once('}')).map(|(_, rest)| rest)
        && rest.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        text = rest.to_string();
    }
    // Whatever the variable holds, `$X test` is how every tool chain spells it.
    if let Some(found) = VARIABLE.as_ref().and_then(|v| v.captures(&text)) {
        let end = found.get(1).map_or(0, |m| m.end());
        text = format!("cargo{}", text[end..].trim_start_matches(['"', '\'']));
    }
    let (program, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    let program = program.trim_matches(['"', '\'']);
    let last = program.rsplit(['/', '\\']).next().unwrap_or(program);
    let program = if BY_LAST_NAME.contains(&last) { last } else { program };
    // The text before a pipe is what runs; what it is piped to only looks on.
    let words: Vec<&str> = std::iter::once(program).chain(rest.split_whitespace()).collect();
    words.join(" ")
}

/// Checks of style and types; a script of these alone is no test, whatever its name.
pub static LINTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^((yarn|pnpm|bun)( run)? )?(eslint|prettier|stylelint|tslint|biome|oxlint|tsc|vue-tsc|flow|standard|xo|ruff|flake8|pylint|black|isort|mypy|pyright|golangci-lint|gofmt|cargo (fmt|clippy)|rubocop|shellcheck|echo|cd|export)\b").ok()
});

/// Words that make a command of this kind do nothing of the kind.
pub fn is_rehearsal(work: Work, command: &str) -> bool {
    match work {
        Work::Test => skips_tests(command),
        // `mvn deploy` hands a package to a repository.
        Work::Deploy if command.starts_with("mvn") || command.starts_with("./mvnw") => true,
        // Nobody gets a draft.
        Work::Publish if command.starts_with("gh release create") && command.contains("--draft") => true,
        Work::Deploy | Work::Publish => ["--dry-run", "--dryrun", "--help", "--version", "--snapshot", "--whatif"]
            .iter()
            .any(|flag| command.contains(flag)),
        Work::Build | Work::Install | Work::Script => false,
    }
}

fn skips_tests(command: &str) -> bool {
    const FLAGS: [&str; 15] = [
        // Links and spelling of the documentation.
        " docs:",
        "-DskipTests",
        "-Dmaven.test.skip",
        "-x test",
        "--no-run",
        "--collect-only",
        "--help",
        "--version",
        "--listTests",
        "check-fmt",
        "check-format",
        "check-license",
        "check-style",
        "install-browsers",
        "-e typing",
    ];
    // `test -f x` and `test x$A = x` ask the shell.
    let shell = command.starts_with("test ");
    let asks = command.starts_with("mvn") && command.ends_with(" -v");
    shell || asks || FLAGS.iter().any(|flag| command.contains(flag))
}
