//! Tests of the gate: encrypted files as the tools write them, and files that only look so.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::context::Repo;
use crate::gates::{sweep, testing};

const DOTENVX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/env_encrypted/dotenvx.env"));
const SOPS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/env_encrypted/sops.yaml"));

/// Verdict, and `file rule` of every finding.
fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    let (_dir, repo) = testing::git_repo(files);
    check_repo(&repo, verdict, expect)
}

fn check_repo(repo: &Repo, verdict: Verdict, expect: &[&str]) -> Outcome {
    let (looking, found) = sweep::alone(repo, Looking::new(repo, &Config::default()));
    let outcome = judge(&gather(repo, &looking, found));
    let got: Vec<String> =
        outcome.findings.iter().map(|f| format!("{} {}", f.file.as_deref().unwrap_or_default(), f.rule)).collect();
    assert_eq!(
        (outcome.verdict, got.iter().map(String::as_str).collect::<Vec<_>>()),
        (verdict, expect.to_vec()),
        "{outcome:#?}"
    );
    let shown = format!("{outcome:?}");
    for secret in ["hunter2", "aHVudGVyMg", "s3cret"] {
        assert!(!shown.contains(secret), "a value is shown: {shown}");
    }
    outcome
}

#[test]
fn encrypted_files_pass() {
    let outcome = check(&[(".env.production", DOTENVX), ("secrets/db.yaml", SOPS)], Verdict::Pass, &[]);
    assert_eq!(outcome.summary, "4 values encrypted; kept by dotenvx, sops");
    assert_eq!((outcome.covered, outcome.known, outcome.tier), (Some(2), Some(2), Some(Tier::E1)));
}

#[test]
fn clear_secrets_fail_by_name_only() {
    let outcome = check(
        &[(".env.production", "DB_PASSWORD=hunter2hunter2\nPORT=1\nAPI_KEY=${FROM_CI}\n")],
        Verdict::Fail,
        &[".env.production clear-secret"],
    );
    assert_eq!(outcome.findings[0].message, "DB_PASSWORD stands in clear");
    assert!(outcome.hint.unwrap().contains("dotenvx encrypt -f .env.production, or sops -e -i .env.production"));
    let two = [("secrets/a.yaml", "db_password: hunter2hunter2\n"), ("secrets/b.yaml", "api_key: hunter2hunter2\n")];
    let outcome = check(&two, Verdict::Fail, &["secrets/a.yaml clear-secret", "secrets/b.yaml clear-secret"]);
    assert_eq!(
        outcome.hint.as_deref(),
        Some(
            "secrets/a.yaml: in clear: db_password. Encrypt: sops -e -i secrets/a.yaml; rotate them, history keeps the old ones"
        ),
        "dotenvx reads no YAML, and the other file's keys are not here"
    );
    assert_eq!(outcome.summary, "2 secrets in 2 files open to every clone");
}

#[test]
fn partly_encrypted_is_not_encrypted() {
    let mixed = format!("{DOTENVX}DB_PASSWORD=hunter2hunter2\n");
    check(&[(".env.production", &mixed)], Verdict::Fail, &[".env.production clear-secret"]);
    let mixed = format!("{DOTENVX}LOG_LEVEL=info\n");
    check(&[(".env.production", &mixed)], Verdict::Warn, &[".env.production clear-beside-encrypted"]);
}

#[test]
fn a_key_beside_the_lock_fails() {
    let keys = format!("DOTENV_PRIVATE_KEY_PRODUCTION={}\n", "ab".repeat(32));
    let files = [(".env.production", DOTENVX), (".env.keys", keys.as_str())];
    let outcome = check(&files, Verdict::Fail, &[".env.keys key-tracked"]);
    let hint = outcome.hint.unwrap();
    assert!(hint.contains("git rm --cached it") && !hint.contains("encrypt -f"), "a key is not encrypted: {hint}");
    let ignored = [(".env.production", DOTENVX), (".env.keys", keys.as_str()), (".gitignore", ".env.keys\n")];
    check(&ignored, Verdict::Pass, &[]);
}

#[test]
fn base64_is_not_encryption() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  password: aHVudGVyMg==\n";
    check(&[("deploy/app.yaml", secret)], Verdict::Fail, &["deploy/app.yaml base64-secret"]);
    let external = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nspec: {}\n";
    check(&[("deploy/app.yaml", external)], Verdict::Pass, &[]);
}

#[test]
fn an_ignored_plain_file_on_disk_warns() {
    let files = [(".gitignore", ".env.production\n"), (".env.production", "DB_PASSWORD=hunter2hunter2\n")];
    let outcome = check(&files, Verdict::Warn, &[".env.production clear-on-disk"]);
    assert!(outcome.summary.contains("not tracked"), "{}", outcome.summary);
}

#[test]
fn development_settings_only_warn_and_templates_do_nothing() {
    check(&[(".env.development", "DB_PASSWORD=hunter2hunter2\n")], Verdict::Warn, &[".env.development clear-secret"]);
    check(&[(".env.example", "DB_PASSWORD=hunter2hunter2\n")], Verdict::Error, &[]);
    let tried = [("charts/shop/ci/secret-values.yaml", "password: hunter2hunter2\n")];
    check(&tried, Verdict::Warn, &["charts/shop/ci/secret-values.yaml clear-secret"]);
}

#[test]
fn a_missing_mac_and_an_old_scheme_warn() {
    let no_mac: String = SOPS.lines().filter(|l| !l.trim_start().starts_with("mac:")).flat_map(|l| [l, "\n"]).collect();
    check(&[("secrets/db.yaml", &no_mac)], Verdict::Warn, &["secrets/db.yaml no-mac"]);
    check(&[("vault.yml", "$ANSIBLE_VAULT;1.0;AES\n6162\n")], Verdict::Warn, &["vault.yml old-scheme"]);
}

#[test]
fn cannot_tell_and_nothing_to_tell() {
    let outcome = check(&[("src/a.js", "connect(process.env.DB_PASSWORD)\n")], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("no-evidence"));
    assert!(outcome.hint.unwrap().starts_with("DB_PASSWORD (src/a.js:1)"));
    let outcome = check(&[("src/a.js", "f(process.env.PORT)\n")], Verdict::Skip, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("no-server-env"));
    let outcome = check(&[("secrets/db.yaml", "a: [\n")], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("unreadable"));
}

#[test]
fn a_store_named_in_a_manifest_passes() {
    let ci = "jobs:\n  deploy:\n    env:\n      DB_PASSWORD: ${{ secrets.DB_PASSWORD }}\n";
    let files = [("src/a.js", "connect(process.env.DB_PASSWORD)\n"), (".github/workflows/ci.yml", ci)];
    let outcome = check(&files, Verdict::Pass, &[]);
    assert_eq!(outcome.summary, "kept by CI secrets");
    let own = "env:\n  T: ${{ secrets.GITHUB_TOKEN }}\n";
    let files = [("src/a.js", "connect(process.env.DB_PASSWORD)\n"), (".github/workflows/ci.yml", own)];
    check(&files, Verdict::Error, &[]);
    // What publishes, measures and reports is the pipeline's own.
    let own = "env:\n  A: ${{ secrets.CODECOV_TOKEN }}\n  B: ${{ secrets.DOCKERHUB_PASSWORD }}\n  C: ${{ secrets.BOT_PAT }}\n";
    check(
        &[("src/a.js", "connect(process.env.DB_PASSWORD)\n"), (".github/workflows/ci.yml", own)],
        Verdict::Error,
        &[],
    );
}

#[test]
fn springs_settings_ask_for_secrets() {
    let yaml = "spring:\n  ai:\n    api-key: ${OPENAI_KEY}\n    model: ${MODEL:x}\n    # ${OLD_KEY}\n";
    let outcome = check(&[("shop/src/main/resources/application.yml", yaml)], Verdict::Error, &[]);
    assert!(outcome.hint.unwrap().starts_with("OPENAI_KEY (shop/src/main/resources/application.yml:3)"));
    let given = "spring:\n  ai:\n    api-key: ${OPENAI_KEY:demo}\n";
    check(&[("src/main/resources/application.yml", given)], Verdict::Skip, &[]);
}

#[test]
fn git_crypt_is_seen_in_the_blob_not_in_the_work_tree() {
    let (dir, _) = testing::git_repo(&[(".gitattributes", ".env.production filter=git-crypt diff=git-crypt\n")]);
    // What `git-crypt` leaves in an unlocked clone: ciphertext in the index, clear text in the work tree.
    testing::write(dir.path(), "blob", b"\0GITCRYPT\0\x01\x02\xff\xfe");
    let blob = testing::git(dir.path(), &["hash-object", "-w", "--no-filters", "blob"]);
    std::fs::remove_file(dir.path().join("blob")).unwrap();
    testing::git(dir.path(), &["update-index", "--add", "--cacheinfo", &format!("100644,{blob},.env.production")]);
    testing::write(dir.path(), ".env.production", b"DB_PASSWORD=hunter2hunter2\n");
    let outcome = check_repo(&testing::open(dir.path()), Verdict::Pass, &[]);
    assert_eq!(outcome.summary, "1 file(s) encrypted; kept by git-crypt");
}

/// A binding's address stands beside its password; only the password is one.
#[test]
fn a_manifest_in_clear_is_told_by_its_secrets() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n  host: db\n  port: \"5432\"\n  type: postgresql\n  username: shop\n  password: hunter2\n";
    let outcome = check(&[("k8s/db.yaml", secret)], Verdict::Fail, &["k8s/db.yaml clear-secret"]);
    assert_eq!(outcome.findings[0].message, "stringData.password stands in clear in a manifest");
}
