//! Where a secret stands: what is served, what tests and pipelines have, what tools keep, and the team's own rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checks::github_token;
use super::shape::Class;
use super::tests::{Dice, found, run, told};
use super::*;
use crate::domain::verdict::Severity;
use crate::domain::verdict::Verdict;

fn token(seed: u64) -> String {
    github_token("ghp_", &Dice(seed).of(Class::Alnum, 30))
}

/// A key that whoever has it can use.
fn key() -> String {
    let body = STANDARD.encode((0..120u8).map(|i| i.wrapping_mul(91).wrapping_add(7)).collect::<Vec<u8>>());
    format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
}

fn severities(outcome: &Outcome) -> Vec<(Severity, Confidence)> {
    outcome.findings.iter().map(|f| (f.severity, f.confidence)).collect()
}

#[test]
fn what_a_browser_gets_is_critical() {
    let hook =
        ["https://hooks.slack.com/services/T", "00A1B2C3/B", "00D4E5F6/", &Dice(2).of(Class::Alnum, 24)].concat();
    for path in ["dist/app.js", "public/app.js.map", "web/static/main.js"] {
        let outcome = run(&[(path, &format!("x('{hook}')"))]);
        assert_eq!(severities(&outcome), [(Severity::Critical, Confidence::High)], "{path}");
    }
    assert_eq!(severities(&run(&[("src/app.js", &format!("x('{hook}')"))])), [(Severity::High, Confidence::High)]);
}

#[test]
fn tests_have_keys_of_their_own() {
    for path in ["scrape/testdata/server.key", "src/test/resources/key.pem", "mod/src/dockerTest/resources/a.key"] {
        let outcome = run(&[(path, &key())]);
        assert_eq!((outcome.verdict, found(&outcome)), (Verdict::Pass, vec![]), "{path}");
        assert!(told(&outcome).contains("\"doubtful\":1") && told(&outcome).contains(path), "told in the evidence");
    }
    // A key that a person or a machine logs in with is no test's own.
    assert_eq!(run(&[("tests/id_rsa", &key())]).verdict, Verdict::Warn);
    assert_eq!(run(&[("deploy/server.key", &key())]).verdict, Verdict::Fail);
    assert_eq!(
        run(&[("tests/a.js", &format!("x('{}')", token(1)))]).verdict,
        Verdict::Fail,
        "a provider's token is one"
    );
    let random = Dice(5).of(Class::Alnum, 32);
    assert_eq!(run(&[("tests/a.js", &format!("apiKey = '{random}'"))]).verdict, Verdict::Pass);
    assert_eq!(run(&[("examples/a.yml", &format!("api_key: {random}"))]).verdict, Verdict::Warn);
    assert_eq!(run(&[("scripts/deploy.sh", &format!("API_KEY={random}"))]).verdict, Verdict::Fail);
}

#[test]
fn comments_and_pipelines_show_examples() {
    for (path, text) in [
        ("src/a.rb", "#   user = User.new(password: 'mUc3m00RsqyRe')"),
        ("docker-compose.yml", "#     SA_PASSWORD: \"Forge4711\""),
        (".github/workflows/test.yml", "  env:\n    PGPASSWORD: forge4711x"),
        ("rules.json", "{\"api_token\": \"[0-9a-f]{32}|xK9mQ2vL8pR4\"}"),
    ] {
        assert_eq!(found(&run(&[(path, text)])), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn what_tools_keep() {
    let (random, uuid) = (Dice(6).of(Class::Alnum, 32), "7b0f1c9e-52d4-4a87-9c3e-1f6a2d8b4e05");
    for (path, line, rule) in [
        (".npmrc", format!("//registry.example.com/:_authToken={uuid}"), "generic-secret"),
        (".pypirc", "[pypi]\nusername = me\npassword = Hx7kQ2vLp".to_string(), "password"),
        (".git-credentials", format!("https://me:{random}@git.shop.io"), "url-password"),
        ("infra/terraform.tfstate", "{\"password\": \"Hx7kQ2vLp\"}".to_string(), "password"),
        ("infra/db.tf", "  admin_password = \"Aa12345678\"".to_string(), "password"),
        ("app.config", "<add key=\"MailPassword\" value=\"Hx7kQ2vLp\" />".to_string(), "password"),
        ("src/Db.cs", format!("var c = \"Server=db1;User=me;Password={random};\";"), "password"),
        ("deploy.sh", "curl -u admin:Hx7kQ2vLp https://shop.io".to_string(), "curl-user"),
        ("src/a.js", format!("headers: {{ 'Authorization': 'Bearer {random}' }}"), "bearer-token"),
        ("kubeconfig", format!("client-key-data: {}", STANDARD.encode(key())), "private-key"),
        ("Dockerfile", format!("ARG NPM_TOKEN={random}"), "generic-secret"),
        ("yarn.lock", format!("  resolved \"https://me:{random}@npm.shop.io/a.tgz\""), "url-password"),
        ("k8s/deploy.yaml", format!("- name: API_KEY\n  value: \"{random}\""), "generic-secret"),
        ("k8s/secret.yaml", "kind: Secret\nstringData:\n  smtp: Hx7kQ2vLp".to_string(), "kubernetes-secret"),
        ("ios/Info.plist", format!("<key>ApiSecret</key>\n<string>{random}</string>"), "generic-secret"),
        ("api/collection.json", format!("[{{\"key\":\"token\",\"value\":\"{random}\"}}]"), "generic-secret"),
        ("infra/vars.tf", "variable \"db_password\" {\n  default = \"Hx7kQ2vLp\"\n}".to_string(), "password"),
        ("infra/db.tf", "  secret_string = \"shop-889877-282341\"".to_string(), "password"),
        ("infra/a.tfstate", "{\"result\": \"Hx7kQ2vLp\"}".to_string(), "password"),
        ("conf/app.ini", format!("[api]\nkey = {random}"), "generic-secret"),
        ("Web.config", format!("<machineKey validationKey=\"{random}\" />"), "generic-secret"),
        ("wg0.conf", format!("PresharedKey = {random}"), "generic-secret"),
        ("src/a.py", format!("API_SECRET = (\n  '{}'\n  '{}'\n)", &random[..16], &random[16..]), "generic-secret"),
        ("src/a.js", format!("const t = 'gh' + '{}';", &token(3)[2..]), "github-token"),
        ("src/b.js", format!("const t = ['{}', '{}'].join('');", &token(3)[..9], &token(3)[9..]), "github-token"),
        ("src/a.h", "#define WIFI_PASSWORD \"Hx7kQ2vLp\"".to_string(), "password"),
        ("src/db.py", "connect(\"host=db1 user=me password=Hx7kQ2vLp\")".to_string(), "password"),
        ("notes.txt", "smtp password: Hx7kQ2vLp".to_string(), "password"),
        ("README.md", format!("    export API_KEY={random}"), "generic-secret"),
        ("logs/app.log", format!("GET /v1 Authorization: Bearer {random}"), "bearer-token"),
        (
            "rootkey.csv",
            format!("AKIAQ7XKLW2LVMZ4MVR5,{}", "hJ8s0aK2lQ9z/T4mVx7cRpW3eHt6Yb1Ns8Du5Gf0"),
            "aws-access-key",
        ),
        ("prod.env", "SMTP_PASS=@uwlWXxdjm2Iog".to_string(), "password"),
        ("cfg/lambda.tpl", "API_KEY = \"BlueFalconRides2023\"".to_string(), "generic-secret"),
        (".gitlab-ci.yml", "  DEPLOY_PASSWORD: Hx7kQ2vLpT9".to_string(), "password"),
        ("secrets/shop", format!("{{\"data\": \"{random}\"}}"), "generic-secret"),
        ("jenkins/master.key", "7dc60f09f102bfb5e0c71fcca2433998".repeat(8), "jenkins-key"),
        ("train.ipynb", format!("\"source\": [\"api_key = \\\"{random}\\\"\\n\"]"), "generic-secret"),
    ] {
        let outcome = run(&[(path, &line)]);
        let places = found(&outcome);
        // A table of keys has an id and a secret.
        let places = if path == "rootkey.csv" { places[..1].to_vec() } else { places };
        assert!(places.len() == 1 && places[0].starts_with(&format!("{rule} ")), "{path}: {line} {places:?}");
        assert!(!told(&outcome).contains(&random) && !told(&outcome).contains(uuid), "{path}");
    }
}

#[test]
fn rules_of_the_teams_own_run_beside_ours() {
    let rule = "[[rules]]\nid = 'shop-pin'\nregex = 'pin-([0-9]{6})'\n";
    let outcome = run(&[(".gitleaks.toml", rule), ("a.js", "x('pin-471108')")]);
    assert_eq!((outcome.verdict, found(&outcome)), (Verdict::Fail, vec!["shop-pin 1:8".to_string()]));
    assert!(!told(&outcome).contains("471108"));
    let allowed = format!("{rule}[[allowlists]]\npaths = ['^a.js$']\n");
    let outcome = run(&[(".gitleaks.toml", &allowed), ("a.js", "x('pin-471108')")]);
    assert_eq!((outcome.verdict, outcome.findings[0].suppressed.is_some()), (Verdict::Pass, true));
    let broken = "[[rules]]\nid = 'shop-pin'\nregex = '('\n";
    let outcome = run(&[(".gitleaks.toml", broken), ("a.js", "1")]);
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("bad-config")));
    assert!(outcome.summary.starts_with(".gitleaks.toml, rule `shop-pin`: "), "{}", outcome.summary);
}

#[test]
fn a_collection_of_tokens_is_no_suite() {
    let random = Dice(5).of(Class::Alnum, 32);
    let other = format!("apiKey = '{random}'");
    let tokens: Vec<(String, String)> =
        (1..=5).map(|n| (format!("pkg/tests/data/{n}.js"), format!("x('{}')", token(n)))).collect();
    let found_with = |count: usize, path: &str| {
        let mut files: Vec<(&str, &str)> = tokens[..count].iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        files.push((path, &other));
        run(&files).findings.iter().filter(|f| f.rule == "generic-secret").count()
    };
    assert_eq!(found_with(5, "pkg/tests/other/a.js"), 1);
    assert_eq!(found_with(4, "pkg/tests/other/a.js"), 0, "a suite may have a few");
    assert_eq!(found_with(5, "lib/tests/a.js"), 0, "another suite");
}

#[test]
fn a_test_that_has_the_products_secret_tells_it() {
    let random = Dice(5).of(Class::Alnum, 32);
    let line = format!("apiKey = '{random}'");
    let outcome = run(&[("src/config.js", &line), ("tests/a.js", &line), ("docs/a.md", &line)]);
    assert_eq!(outcome.findings.len(), 3, "{outcome:?}");
    assert!(!told(&outcome).contains(&random));
    let other = format!("apiKey = '{}'", Dice(6).of(Class::Alnum, 32));
    assert_eq!(run(&[("src/config.js", &line), ("tests/a.js", &other)]).findings.len(), 1);
}
