//! An environment for each rule of `delivery.env_config`; no output holds a value.

use super::checks::WEAK_RULES;
use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::{sweep, testing};

const CODE: &str = "const db = process.env.DATABASE_URL!\nconst secret = process.env.SESSION_SECRET\nconst port = process.env.PORT || 80\n";
/// 43 characters of base64: 256 bits. Made up for the test.
const KEY: &str = "uJ3k9fZs1QxYv7LrTn5BhC2dWm8EpGa6KtRiOy0HqNs";
const PASSWORD: &str = "Zx81kQpw7Lm2";

fn production(more: &str) -> String {
    format!(
        "NODE_ENV=production\nDATABASE_URL=postgres://shop:{PASSWORD}@db.internal/shop\nSESSION_SECRET={KEY}\n{more}"
    )
}

fn seen(repo: &Repo, config: &Config) -> Seen {
    let (looking, found) = sweep::alone(repo, Looking::new(repo, config));
    look(repo, &looking, found, config, &RULES)
}

fn run_with(files: &[(&str, &str)], config: &Config) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let outcome = judge(&seen(&repo, config), config, Ok(None));
    silent(&outcome, files);
    outcome
}

fn run(files: &[(&str, &str)]) -> Outcome {
    run_with(files, &Config::default())
}

/// Not one value longer than a word stands in anything that leaves the gate.
fn silent(outcome: &Outcome, files: &[(&str, &str)]) {
    let said = format!("{outcome:?}{}", serde_json::to_string(&outcome.evidence).unwrap());
    for (path, text) in files.iter().filter(|(p, _)| p.contains(".env")) {
        for value in text.lines().filter_map(|l| l.split_once('=')).map(|(_, v)| v.trim().trim_matches(['"', '\''])) {
            assert!(
                value.len() < 8 || value == "production" || !said.contains(value),
                "a value of {path} stands in {said}"
            );
        }
    }
}

/// The base, `.env.production` with one more line, and the rules that break.
fn breaks(line: &str, rules: &[&str]) -> Outcome {
    let settings = production(&format!("{line}\n"));
    let outcome = run(&[("src/app.ts", CODE), (".env.production", &settings)]);
    let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(got, rules, "{line}: {outcome:#?}");
    outcome
}

#[test]
fn good_settings_pass() {
    let outcome = breaks("API_URL=https://api.shop.io", &[]);
    assert_eq!((outcome.verdict, outcome.tier), (Verdict::Pass, Some(Tier::E1)), "{outcome:#?}");
    assert!(outcome.summary.contains("4 value(s) in .env.production"), "{}", outcome.summary);
}

#[test]
fn e01_missing_and_empty() {
    let files = [
        ("src/app.ts", CODE),
        (".env.production", "NODE_ENV=production\nSESSION_SECRET=\n"),
        (".env.example", "DATABASE_URL=\nSESSION_SECRET=\n"),
    ];
    let outcome = run(&files);
    assert_eq!(outcome.verdict, Verdict::Fail);
    let places: Vec<_> =
        outcome.findings.iter().map(|f| (f.rule.as_str(), f.file.as_deref().unwrap(), f.line.unwrap())).collect();
    assert_eq!(places, [("E01", "src/app.ts", 1), ("E01", ".env.production", 2)]);
    assert!(
        outcome
            .hint
            .unwrap()
            .starts_with("DATABASE_URL in src/app.ts:1 is read here, but .env.production does not set it")
    );
    // A compose file that reads a file we do not have may set it.
    let compose = "services:\n  web:\n    env_file: secrets.env\n    environment:\n      NODE_ENV: production\n";
    let outcome = run(&[("src/app.ts", CODE), ("compose.prod.yml", compose)]);
    assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
    assert!(
        outcome.summary.contains("the values of 2 variables come from a place that cannot be seen"),
        "{}",
        outcome.summary
    );
}

#[test]
fn e02_and_e10_secrets_met_again() {
    let settings = production("");
    let twin = |path: &str, line: &str, rule: &str, says: &str| {
        let text = format!("{line}\n");
        let outcome = run(&[("src/app.ts", CODE), (".env.production", &settings), (path, &text)]);
        assert_eq!(outcome.verdict, Verdict::Fail, "{path} {line}: {outcome:#?}");
        let found: Vec<_> = outcome.findings.iter().filter(|f| f.rule != "E12").collect();
        assert_eq!((found.len(), found[0].rule.as_str()), (1, rule), "{outcome:#?}");
        assert!(found[0].message.contains(says), "{}", found[0].message);
    };
    twin(".env", &format!("SESSION_SECRET={KEY}"), "E02", "SESSION_SECRET is equal to the one in .env:1");
    twin(".env.example", &format!("SESSION_SECRET=\"{KEY}\""), "E02", "equal to the one in .env.example:1");
    twin(".env.staging", &format!("SESSION_SECRET={KEY}"), "E10", "is the same secret as in .env.staging:1");
    twin(".env", &format!("OTHER_SECRET={KEY}"), "E10", "the same secret as OTHER_SECRET in .env:1");
    let outcome = breaks(&format!("MAIL_TOKEN={KEY}"), &["E10"]);
    assert!(outcome.findings[0].message.contains("the same secret as MAIL_TOKEN in .env.production:4"), "{outcome:#?}");
    // A password for the server and for its client is one secret with two names; flags and public keys may be equal.
    breaks(&format!("DB_PASSWORD={PASSWORD}\nPOSTGRES_PASSWORD={PASSWORD}"), &[]);
    let outcome = run(&[
        ("src/app.ts", CODE),
        (".env.production", &production("FEATURE_X=enabled-for-all\n")),
        (".env", "FEATURE_X=enabled-for-all\n"),
    ]);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
}

#[test]
fn each_value_rule_fails() {
    breaks("API_URL=http://localhost:3000", &["E03"]);
    breaks("API_TOKEN=changeme", &["E04"]);
    breaks("DEBUG=true", &["E05"]);
    breaks("STRIPE_KEY=sk_test_51Habcdefghijk", &["E06"]);
    breaks("JWT_SECRET=correct-horse", &["E07"]);
    breaks("CORS_ORIGIN=http://localhost:5173", &["E13"]);
    for rule in ["E03", "E04", "E05", "E06", "E07", "E13"] {
        assert!(!WEAK_RULES.contains(&rule));
    }
    let allowed = Config { allow_loopback: vec!["REDIS_URL".into()], ..Config::default() };
    let settings = production("REDIS_URL=redis://localhost\n");
    assert_eq!(run_with(&[("src/app.ts", CODE), (".env.production", &settings)], &allowed).verdict, Verdict::Pass);
}

#[test]
fn weak_rules_warn() {
    assert_eq!(breaks("API_URL=http://api.shop.io", &["E08"]).verdict, Verdict::Warn);
    assert_eq!(breaks("A=1\nA=2", &["E09"]).verdict, Verdict::Warn);
    assert_eq!(breaks("TITLE=My Shop", &["E09"]).verdict, Verdict::Warn);
    let crlf = production("").replace('\n', "\r\n");
    let outcome = run(&[("src/app.ts", CODE), (".env.production", &crlf)]);
    assert_eq!((outcome.verdict, outcome.findings[0].rule.as_str()), (Verdict::Warn, "E09"));
    let settings = production("");
    let outcome = run(&[("src/app.ts", CODE), (".env.production", &settings), (".env.example", "DATABASE_URL=\n")]);
    let found: Vec<_> = outcome.findings.iter().map(|f| (f.rule.as_str(), f.line)).collect();
    assert_eq!((outcome.verdict, found), (Verdict::Warn, vec![("E12", Some(2))]));
}

#[cfg(unix)]
#[test]
fn e14_open_files_warn() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, _) = testing::git_repo(&[("src/app.ts", CODE), (".gitignore", ".env.production\n")]);
    testing::write(dir.path(), ".env.production", production("").as_bytes());
    let mode = |mode| {
        std::fs::set_permissions(dir.path().join(".env.production"), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    let check = || judge(&seen(&testing::open(dir.path()), &Config::default()), &Config::default(), Ok(None));
    mode(0o644);
    let outcome = check();
    assert_eq!((outcome.verdict, outcome.findings[0].rule.as_str()), (Verdict::Warn, "E14"), "{outcome:#?}");
    mode(0o600);
    assert_eq!(check().verdict, Verdict::Pass);
}

#[test]
fn e11_the_image() {
    let settings = production("");
    let base = [("src/app.ts", CODE), (".env.production", settings.as_str()), ("package.json", "{\"name\": \"shop\"}")];
    let with = |more: &[(&'static str, &'static str)]| {
        let files: Vec<_> = base.iter().copied().chain(more.iter().copied()).collect();
        run(&files)
    };
    let docker = ("Dockerfile", "FROM node:22\nCOPY . .\n");
    let outcome = with(&[docker]);
    assert_eq!(
        (outcome.verdict, outcome.findings[0].rule.as_str(), outcome.findings[0].line),
        (Verdict::Fail, "E11", Some(2))
    );
    assert_eq!(with(&[docker, (".dockerignore", ".env*\n")]).verdict, Verdict::Pass);
    assert_eq!(
        with(&[("Dockerfile", "FROM node AS b\nCOPY . .\nFROM nginx\nCOPY --from=b /dist /\n")]).verdict,
        Verdict::Pass
    );
    let outcome = with(&[("Dockerfile", "FROM node:22\nCOPY . .\n"), (".dockerignore", ".env.production\n")]);
    assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
}

#[test]
fn manifests_are_production_too() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n        - name: web\n          env:\n            - name: NODE_ENV\n              value: development\n            - {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: s, key: u}}}\n            - {name: SESSION_SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}\n";
    let outcome = run(&[("src/app.ts", CODE), ("k8s/web.yaml", deployment)]);
    assert_eq!(
        (outcome.verdict, outcome.findings[0].rule.as_str(), outcome.findings[0].line),
        (Verdict::Fail, "E05", Some(9))
    );
    let good = deployment.replace("development", "production");
    let outcome = run(&[("src/app.ts", CODE), ("k8s/web.yaml", &good)]);
    assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
    assert!(
        outcome.summary.starts_with("2 value(s) are encrypted or kept elsewhere (DATABASE_URL, SESSION_SECRET)"),
        "{}",
        outcome.summary
    );
    // A developer's overlay is not production.
    let outcome = run(&[("src/app.ts", CODE), ("k8s/dev/web.yaml", deployment)]);
    assert_eq!(outcome.reason.as_deref(), Some("no-production-config"));
}

#[test]
fn encrypted_values_are_checked_by_name_until_revealed() {
    let sealed = format!(
        "DOTENV_PUBLIC_KEY_PRODUCTION=\"03{}\"\nNODE_ENV=production\nDATABASE_URL=\"encrypted:{}\"\nSESSION_SECRET=\"encrypted:{}\"\n",
        "a".repeat(64),
        "QUJD".repeat(30),
        "QUJE".repeat(30)
    );
    let (_dir, repo) = testing::repo(&[("src/app.ts", CODE), (".env.production", &sealed)]);
    let config = Config::default();
    let judged = |revealed: Revealed| judge(&seen(&repo, &config), &config, revealed);
    assert_eq!(judged(Ok(None)).verdict, Verdict::Warn);
    let shown = |text: &str| Ok(Some(dotenv::parse(text, Dialect::Compose)));
    assert_eq!(judged(shown(&production(""))).verdict, Verdict::Pass);
    let outcome = judged(shown("DATABASE_URL=postgres://localhost/shop\nSESSION_SECRET=short1\n"));
    let rules: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!((outcome.verdict, rules), (Verdict::Fail, vec!["E03", "E07"]), "{outcome:#?}");
    assert_eq!(judged(Err(("exec-not-trusted", "no".into()))).reason.as_deref(), Some("exec-not-trusted"));
}

#[tokio::test]
async fn the_command_runs_only_when_trusted_and_stays_silent() {
    let command = format!(
        "printf 'NODE_ENV=production\\nDATABASE_URL=postgres://u:{PASSWORD}@db.internal/s\\nSESSION_SECRET={KEY}\\n'"
    );
    for (allow_exec, verdict) in [(false, Verdict::Error), (true, Verdict::Pass)] {
        let (_files, repo) = testing::repo(&[("src/app.ts", CODE)]);
        let mut config = crate::gates::Config::default();
        config.delivery.env_config.reveal_cmd = Some(command.clone());
        let (_dir, ctx) = testing::context(|ctx| {
            ctx.repo = Some(repo);
            ctx.allow_exec = allow_exec;
            ctx.config = std::sync::Arc::new(config);
        });
        let outcome = testing::answer(&EnvConfig, &ctx).await;
        assert_eq!(outcome.verdict, verdict, "{outcome:#?}");
        assert!(!format!("{outcome:?}").contains(KEY) && !format!("{outcome:?}").contains(PASSWORD));
    }
    let (_files, repo) = testing::repo(&[]);
    assert!(reveal(&repo, "exit 3").await.unwrap_err().1.contains("exit status: 3"));
    assert!(reveal(&repo, "true").await.is_err());
}

#[test]
fn cannot_tell_and_does_not_apply() {
    assert_eq!(run(&[("src/app.ts", CODE)]).reason.as_deref(), Some("no-production-config"));
    assert_eq!(
        run(&[("src/app.ts", CODE), (".env", "DATABASE_URL=postgres://localhost/shop\n")]).reason.as_deref(),
        Some("no-production-config")
    );
    let outcome = run(&[("src/app.ts", "const p = process.env.LEVEL || 'info'\n")]);
    assert_eq!(outcome.reason.as_deref(), Some("no-required-env"));
    assert!(outcome.summary.contains("demands none of the 1 variable that"), "{}", outcome.summary);
    assert_eq!(run(&[("main.go", "x := os.Getenv(\"START_DELAY\")\n")]).reason.as_deref(), Some("no-required-env"));
    let outcome = run(&[("src/app.ts", "x()\n"), (".env.example", "DATABASE_URL=\nPORT=80\n")]);
    assert_eq!(outcome.reason.as_deref(), Some("no-production-config"));
    assert!(outcome.summary.contains(".env.example declares 2 variables"), "{}", outcome.summary);
    assert_eq!(run(&[("README.md", "# hello")]).reason.as_deref(), Some("no-required-env"));
}

#[test]
fn named_files_and_suppressions() {
    let named = Config { production: vec!["deploy/live.settings.env".into()], ..Config::default() };
    let settings = production("API_URL=http://localhost:1\n");
    let files = [("src/app.ts", CODE), ("deploy/live.settings.env", settings.as_str())];
    assert_eq!(run_with(&files, &named).findings[0].rule, "E03");

    let allowed = production("# hypercare:allow delivery.env_config/E03 -- the sidecar\nAPI_URL=http://localhost:1\n");
    let outcome = run(&[("src/app.ts", CODE), (".env.production", &allowed)]);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(outcome.findings[0].suppressed.as_ref().unwrap().contains("the sidecar"));
    let bare = production("API_URL=http://localhost:1 # hypercare:allow delivery.env_config\n");
    let outcome = run(&[("src/app.ts", CODE), (".env.production", &bare)]);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.findings.iter().any(|f| f.rule == "suppression-without-reason"));
}

#[test]
fn config_is_checked() {
    assert_eq!(Config::default().validate(), []);
    let bad = Config { production: vec!["a{b".into()], reveal_cmd: Some(" ".into()), ..Config::default() };
    let keys: Vec<String> = bad.validate().iter().map(|p| p.path.join(".")).collect();
    assert_eq!(keys, ["production", "reveal_cmd"]);
}
