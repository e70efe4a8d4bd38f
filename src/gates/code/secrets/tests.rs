//! Every rule with a token made here, near misses, encodings, the history, what is allowed, and what must never come out.
//! No token stands in this file: they are made at run time, so that nobody's scanner, ours included, finds one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::checks::{age_key, github_token};
use super::rules::rules;
use super::shape::{Class, Part};
use super::*;
use crate::domain::verdict::{Severity, Verdict};
use crate::gates::{sweep, testing};

/// As the gate does it.
pub(super) fn look(repo: &Repo, config: &Config) -> Seen {
    let (looking, found) = sweep::alone(repo, Looking::new(repo, config));
    gather(repo, &looking, found, config)
}

/// Random letters that are the same in every run.
pub(super) struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }
    pub fn of(&mut self, class: Class, n: usize) -> String {
        let all: Vec<char> = (33..127u8).filter(|b| class.has(*b) && *b != b'=').map(char::from).collect();
        let case = |c: char| if class == Class::Hex { c.to_ascii_lowercase() } else { c };
        (0..n).map(|_| case(all[self.next() % all.len()])).collect()
    }
    fn part(&mut self, part: &Part) -> String {
        match part {
            Part::Text(text) => text.to_string(),
            Part::Run(class, min, max) => {
                // As long as an ordinary one, and ending as none of the placeholders does.
                let text = self.of(*class, (*min).max(20).min(*max));
                text.trim_end_matches(['-', '_', '.', '~']).to_string()
                    + &"7".repeat(text.len() - text.trim_end_matches(['-', '_', '.', '~']).len())
            }
        }
    }
}

/// One token of a rule's shape, with the checksum that belongs there.
fn made(rule: &super::rules::Rule, nth: usize, dice: &mut Dice) -> String {
    let (prefix, parts) = rule.shapes[nth];
    match rule.id {
        "github-token" | "npm-token" => return github_token(prefix, &dice.of(Class::Alnum, 30)),
        "age-secret-key" => return age_key(&std::array::from_fn(|_| dice.next() as u32 % 32)),
        "grafana-token" => {
            let body = format!("{prefix}{}", dice.of(Class::Alnum, 32));
            return format!("{body}_{:08x}", crc32fast::hash(body.as_bytes()));
        }
        "discord-bot-token" => {
            // A user's number begins with the digit that makes the prefix.
            let user = STANDARD_NO_PAD.encode(format!("{}0{}", nth + 1, dice.of(Class::Digit, 16)));
            return format!("{user}.{}.{}", dice.of(Class::Alnum, 6), dice.of(Class::Alnum, 38));
        }
        "jwt" => {
            let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
            return format!(
                "{}.{}.{}",
                part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"),
                part("{\"sub\":\"4711\"}"),
                dice.of(Class::Alnum, 43)
            );
        }
        _ => {}
    }
    let before = rule.before.map_or(String::new(), |(class, _, max)| dice.of(class, max));
    before + prefix + &parts.iter().map(|p| dice.part(p)).collect::<String>()
}

pub(super) fn run(files: &[(&str, &str)]) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    judge(&look(&repo, &Config { history: false, ..Config::default() }))
}

/// Rule, line and column of every finding.
pub(super) fn found(outcome: &Outcome) -> Vec<String> {
    let one = |f: &Finding| format!("{} {}:{}", f.rule, f.line.unwrap_or_default(), f.column.unwrap_or_default());
    outcome.findings.iter().map(one).collect()
}

/// Everything that leaves the gate, as text.
pub(super) fn told(outcome: &Outcome) -> String {
    let evidence: Vec<String> = outcome.evidence.iter().map(|e| e.content.to_string()).collect();
    format!("{:?} {} {:?} {}", outcome.findings, outcome.summary, outcome.hint, evidence.concat())
}

#[test]
fn every_rule_finds_its_token_and_never_shows_it() {
    let mut dice = Dice(4711);
    for rule in rules() {
        for nth in 0..rule.shapes.len() {
            let token = made(rule, nth, &mut dice);
            let outcome = run(&[("src/app.js", &format!("const a = 1;\nuse(\"{token}\");\n"))]);
            let places = found(&outcome);
            assert_eq!(places.len(), 1, "{}: {token} {places:?}", rule.id);
            // A few providers share a prefix: the first row that fits names it.
            assert!(places[0].starts_with(&format!("{} 2:", rule.id)), "{}: {token} {places:?}", rule.id);
            assert!(!told(&outcome).contains(&token), "{}", rule.id);
            let expect = if rule.severity >= Severity::High {
                Verdict::Fail
            } else if rule.severity == Severity::Medium {
                Verdict::Warn
            } else {
                Verdict::Pass
            };
            assert_eq!(outcome.verdict, expect, "{}", rule.id);
            // As part of something longer it is none.
            let longer = run(&[("src/app.js", &format!("use(\"x{token}\");\n"))]);
            let joined = rule.before.is_none() && token.starts_with(|c: char| c.is_ascii_alphanumeric());
            assert!(!joined || !found(&longer).iter().any(|f| f.starts_with(rule.id)), "{}: {longer:?}", rule.id);
        }
    }
}

#[test]
fn rules_have_names_of_their_own() {
    let ids: std::collections::BTreeSet<&str> = rules().map(|r| r.id).collect();
    assert_eq!(ids.len(), rules().count());
}

#[test]
fn a_wrong_checksum_is_doubted() {
    let good = github_token("ghp_", &Dice(1).of(Class::Alnum, 30));
    let bad = format!("{}0", &good[..good.len() - 1]);
    assert_eq!(run(&[("a.js", &format!("x = '{good}'"))]).verdict, Verdict::Fail);
    let outcome = run(&[("a.js", &format!("x = '{bad}'"))]);
    assert_eq!((outcome.verdict, outcome.findings.len()), (Verdict::Warn, 1), "somebody has to look");
    let outcome = run(&[("test/a.js", &format!("x = '{bad}'"))]);
    assert_eq!((outcome.verdict, outcome.findings.len()), (Verdict::Pass, 0), "a test's invented one");
    assert!(told(&outcome).contains("\"doubtful\":1"));
}

#[test]
fn secrets_that_only_their_name_gives_away() {
    let mut dice = Dice(5);
    let random = dice.of(Class::Alnum, 32);
    let aws = dice.of(Class::Alnum, 40);
    for (path, line, rule) in [
        ("src/a.py", format!("API_KEY = '{random}'"), "generic-secret"),
        ("src/a.ts", format!("const o = {{ clientSecret: \"{random}\" }}"), "generic-secret"),
        ("config/app.yml", format!("  auth_token: {random}"), "generic-secret"),
        ("app.properties", format!("spring.datasource.password={random}"), "password"),
        ("settings.xml", format!("<password>{random}</password>"), "password"),
        ("deploy.sh", format!("export AWS_SECRET_ACCESS_KEY={aws}"), "aws-secret-key"),
        (".npmrc", format!("//registry.example.com/:_authToken={random}"), "generic-secret"),
        ("wp-config.php", format!("define('DB_PASSWORD', '{random}');"), "password"),
        (".netrc", format!("machine api.shop.example login me password {random}"), "password"),
        ("src/db.go", format!("url := \"postgres://shop:{random}@db1.shop.io:5432/shop\""), "url-password"),
        (".docker/config.json", format!("\"auth\": \"{}\"", STANDARD.encode(format!("shop:{random}"))), "basic-auth"),
        (
            "src/h.js",
            format!("headers: {{ Authorization: 'Basic {}' }}", STANDARD.encode(format!("shop:{random}"))),
            "basic-auth",
        ),
    ] {
        let outcome = run(&[(path, &line)]);
        let places = found(&outcome);
        assert!(places.len() == 1 && places[0].starts_with(&format!("{rule} 1:")), "{line} {places:?}");
        assert_ne!(outcome.verdict, Verdict::Pass, "{line}");
        assert!(!told(&outcome).contains(&random), "{line}");
    }
}

#[test]
fn what_a_manual_signs_with_is_published() {
    let outcome = run(&[("src/server.js", "app.use(session({\n  secret: 'keyboard cat',\n}))\n")]);
    assert_eq!((outcome.verdict, found(&outcome)), (Verdict::Warn, vec!["published-secret 2:12".to_string()]));
}

#[test]
fn what_a_test_keeps_of_other_peoples_pages_is_theirs() {
    let token = super::checks::github_token("ghp_", &"aZbY3c".repeat(5));
    let page = format!("<a data-t=\"{token}\">x</a>\n");
    assert_eq!(run(&[("tests/data/pizza.html", &page)]).verdict, Verdict::Warn);
    assert_eq!(run(&[("web/pizza.html", &page)]).verdict, Verdict::Fail);
    let mut dice = Dice(7);
    let key = format!("AKIA{}", dice.of(Class::Upper32, 16));
    let signed = format!("const photo = 'https://s3.shop.io/a.png?X-Amz-Credential={key}%2F20240101';\n");
    assert_eq!(run(&[("src/photo.js", &signed)]).verdict, Verdict::Pass);
}

#[test]
fn what_is_no_secret() {
    for (path, text) in [
        ("src/a.js", "const token = process.env.TOKEN; const password = req.body.password;"),
        ("src/a.js", "const passwordField = 'password-input-2'; token = 'access_token_v2';"),
        (
            "src/a.py",
            "SECRET_KEY = os.environ['SECRET_KEY']\nPASSWORD_HASHERS = ['django.contrib.auth.hashers.Argon2PasswordHasher']",
        ),
        ("config/app.yml", "password: ${DB_PASSWORD}\ntoken: {{ vault_token }}\nsecret: changeme\napi_key: <your key>"),
        ("config/app.yml", "secretName: shop-db-credentials-v1\ntokenPath: /run/secrets/token1"),
        ("locale/de.json", "{\"password\": \"Passwort\", \"token\": \"Zugangsschlüssel 2\"}"),
        ("src/a.ts", "const id = '6f9619ff-8b86-d011-b42d-00c04fc964ff'; const accessKey = 'uuid-6f9619ff';"),
        ("src/a.ts", "const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';"),
        ("src/a.ts", "integrity=\"sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC\""),
        ("package-lock.json", "\"integrity\": \"sha512-abc\", \"token\": \"h3Kd92mZpQ7xL1vT8sWc4Rb6YtUu\""),
        ("src/a.ts", "// -----BEGIN PRIVATE KEY-----\nconst pem = '-----BEGIN RSA PRIVATE KEY-----';"),
        (
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2hlY2sgbWUgaWYgeW91IGNhbiB0b2RheSBwbGVhc2U=\n-----END CERTIFICATE-----\n",
        ),
        ("src/a.go", "u := \"postgres://user:pass@localhost/db\"\nv := \"https://${USER}:${PASS}@shop.example\""),
        ("README.md", "Set `API_TOKEN=abc123def456` and `curl -u user:password https://api.example.com`"),
        ("src/page.ts", "nextPageToken: 'CAoQAA9XkZ7mQ2pL5vR8tW1y', csrfToken: 'h3Kd92mZpQ7xL1vT8sWc4Rb6'"),
        ("tests/auth.test.js", "login({ password: 'Sup3rPassw0rd!' })"),
        ("examples/session.js", "session({ secret: 'keyboard cat' })"),
        ("src/pets.js", "const name = 'keyboard cat';"),
    ] {
        let outcome = run(&[(path, text)]);
        assert_eq!((outcome.verdict, found(&outcome)), (Verdict::Pass, vec![]), "{path}: {text}");
    }
}

#[test]
fn keys_in_files() {
    let body = STANDARD.encode((0..120u8).map(|i| i.wrapping_mul(91).wrapping_add(7)).collect::<Vec<u8>>());
    let key = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let outcome = run(&[("id_rsa", &key("RSA PRIVATE KEY")), ("enc.pem", &key("ENCRYPTED PRIVATE KEY"))]);
    assert_eq!(outcome.verdict, Verdict::Fail);
    let rules: Vec<&str> = outcome.findings.iter().map(|f| &*f.rule).collect();
    assert_eq!(rules, ["encrypted-private-key", "private-key"]);
    let json = serde_json::json!({"type": "service_account", "private_key": key("PRIVATE KEY")}).to_string();
    assert_eq!(found(&run(&[("sa.json", &json)])).len(), 1);
    assert!(!told(&outcome).contains(&body[..40]));
}

#[test]
fn encoded_secrets_are_found() {
    let token = github_token("ghp_", &Dice(9).of(Class::Alnum, 30));
    let line = format!("{{\"user\":\"shop\",\"token\":\"{token}\"}}");
    let hex: String = line.bytes().map(|b| format!("{b:02x}")).collect();
    let percent: String = format!(
        "q={}",
        line.replace('"', "%22").replace('{', "%7B").replace('}', "%7D").replace(':', "%3A").replace(',', "%2C")
    );
    for (how, text) in [
        ("base64", STANDARD.encode(&line)),
        ("base64", STANDARD.encode(STANDARD.encode(&line))),
        ("hex", hex),
        ("percent signs", percent),
    ] {
        let outcome = run(&[("src/a.js", &format!("const blob = \"{text}\";\n"))]);
        assert!(
            outcome.findings.len() == 1 && outcome.findings[0].message.contains(&format!(", in {how}")),
            "{how}: {outcome:?}"
        );
        assert!(!told(&outcome).contains(&token) && !told(&outcome).contains(&text));
    }
}

#[test]
fn archives_are_looked_into() {
    let token = github_token("ghp_", &Dice(8).of(Class::Alnum, 30));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, format!("a\ntoken={token}\n").as_bytes()).unwrap();
    let (dir, _) = testing::repo(&[("a.js", "1")]);
    testing::write(dir.path(), "dump.env.gz", &packed.finish().unwrap());
    let outcome = judge(&look(&testing::open(dir.path()), &Config::default()));
    assert_eq!(found(&outcome), ["github-token 2:7"]);
    assert_eq!(outcome.findings[0].file.as_deref(), Some("dump.env.gz!dump.env"));
    assert!(!told(&outcome).contains(&token));
}

#[test]
fn the_history_remembers_what_was_deleted() {
    let token = github_token("ghp_", &Dice(3).of(Class::Alnum, 30));
    let other = github_token("gho_", &Dice(4).of(Class::Alnum, 30));
    let (dir, _) = testing::git_repo(&[
        ("a.js", &format!("let a;\nlet b;\nlet c = '{token}';\n")),
        ("b.js", &format!("x('{other}')")),
    ]);
    let brought = testing::git(dir.path(), &["rev-parse", "HEAD"]);
    testing::write(dir.path(), "a.js", b"let a;\nlet b;\n");
    testing::commit(dir.path(), "remove it");
    let repo = testing::open(dir.path());
    let outcome = judge(&look(&repo, &Config::default()));
    assert_eq!(outcome.verdict, Verdict::Fail);
    let past: Vec<&Finding> = outcome.findings.iter().filter(|f| f.message.contains("no longer there")).collect();
    assert_eq!(past.len(), 1, "what is still there is told once: {outcome:?}");
    assert!(past[0].message.contains(&brought[..12]) && past[0].line == Some(3), "{past:?}");
    assert!(!told(&outcome).contains(&token[4..]) && !told(&outcome).contains(&other[4..]));

    let without = judge(&look(&repo, &Config { history: false, ..Config::default() }));
    assert!(without.findings.len() == 1 && without.summary.contains("not looked at"), "{without:?}");
    let excluding = Config { exclude: vec!["*.js".into()], ..Config::default() };
    assert_eq!(judge(&look(&repo, &excluding)).findings, []);
}

#[test]
fn a_shallow_clone_is_no_proof() {
    let (dir, _) = testing::git_repo(&[("a.js", "1")]);
    testing::write(dir.path(), "a.js", b"2");
    testing::commit(dir.path(), "second");
    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", dir.path().display());
    testing::git(clone.path(), &["clone", "-q", "--depth", "1", &from, "c"]);
    let outcome = judge(&look(&testing::open(&clone.path().join("c")), &Config::default()));
    assert_eq!(outcome.verdict, Verdict::Warn);
    assert!(outcome.summary.contains("fetch-depth: 0"), "{}", outcome.summary);
    let whole = judge(&look(&testing::open(dir.path()), &Config::default()));
    assert_eq!((whole.verdict, &*whole.summary), (Verdict::Pass, "no secrets in 1 file and 2 commits"));
}

#[test]
fn allowed_here_and_elsewhere() {
    let token = github_token("ghp_", &Dice(3).of(Class::Alnum, 30));
    for comment in
        ["// hypercare:allow code.secrets -- revoked in 2024", "// gitleaks:allow", "// pragma: allowlist secret"]
    {
        let outcome = run(&[("a.js", &format!("x('{token}') {comment}\n"))]);
        assert_eq!(outcome.verdict, Verdict::Pass, "{comment}");
        assert!(outcome.findings[0].suppressed.is_some(), "{comment}");
    }
    let outcome = run(&[("a.js", &format!("x('{token}') // hypercare:allow code.secrets\n"))]);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.findings[0].message.contains("gives no reason"));
}

#[test]
fn fingerprints_survive_moves_and_rotation() {
    let line = |dice: u64| format!("x('{}')\n", github_token("ghp_", &Dice(dice).of(Class::Alnum, 30)));
    let fingerprint = |text: &str| run(&[("a.js", text)]).findings[0].fingerprint.clone();
    let first = fingerprint(&line(1));
    assert_eq!(first, fingerprint(&format!("\n\n{}", line(1))));
    assert_eq!(first, fingerprint(&line(2)), "the value is no part of it");
    let twice = run(&[("a.js", &(line(1) + &line(2)))]);
    assert_ne!(twice.findings[0].fingerprint, twice.findings[1].fingerprint);
}

#[test]
fn nothing_to_look_at_is_no_pass() {
    let (_dir, plain) = testing::repo(&[("a.js", "1")]);
    let outcome = judge(&look(&plain, &Config::default()));
    assert_eq!((outcome.verdict, outcome.summary.contains("not a git repository")), (Verdict::Warn, true));
    let (_dir, repo) = testing::repo(&[]);
    assert_eq!(judge(&look(&repo, &Config::default())).reason.as_deref(), Some("nothing-to-inspect"));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_looked_through(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), path in 0..4usize) {
        let path = ["a.js", ".env", ".netrc", "a.yml"][path];
        if let Some(view) = files::view(path, &bytes) {
            for hit in scan(&bytes, path, view) {
                proptest::prop_assert!(hit.place.end <= bytes.len());
                let _ = masked(&bytes, &hit.place);
            }
        }
    }

    #[test]
    fn words_of_the_trade_are_looked_through(parts in proptest::collection::vec(0..18usize, 0..40)) {
        let words = ["password", "=", " ", "\"", "://", "@", ":", "-----BEGIN ", "PRIVATE KEY-----", "\n", "ghp_", "eyJ", ".", "\\", "%2", "'", "é", ">"];
        let text: String = parts.into_iter().map(|i| words[i]).collect();
        for path in ["a.js", ".env", ".netrc"] {
            let view = files::view(path, text.as_bytes());
            for hit in view.map(|view| scan(text.as_bytes(), path, view)).unwrap_or_default() {
                let _ = masked(text.as_bytes(), &hit.place);
            }
        }
    }
}
