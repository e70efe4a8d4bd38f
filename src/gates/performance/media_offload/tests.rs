//! Tests of the gate: each rule good and bad, what does not apply, and what cannot be told.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::{sweep, testing};

/// Verdict, and `rule file:line` of every finding that is no note.
fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let outcome = judge(&look(&repo, uploads::gather(sweep::alone(&repo, uploads::Looking).1), &Config::default()));
    testing::says(&outcome, verdict, expect);
    outcome
}

const DISK: (&str, &str) =
    ("src/a.js", "const multer = require('multer');\nconst up = multer({ dest: 'uploads/' });\n");
const S3: (&str, &str) = ("src/s.js", "const up = multer({ storage: multerS3({ s3, bucket: 'b' }) });\n");

#[test]
fn an_object_store_passes() {
    let outcome = check(&[S3], Verdict::Pass, &[]);
    assert_eq!((outcome.covered, outcome.tier), (Some(1), Some(Tier::E1)));
    check(&[("src/a.js", "const u = multer();\nawait s3.send(new PutObjectCommand({}));\n")], Verdict::Pass, &[]);
}

#[test]
fn a_local_disk_by_what_keeps_it() {
    let compose = |lines: &str| format!("services:\n  web:\n    build: .\n    restart: always\n{lines}");
    let outcome = check(&[DISK], Verdict::Fail, &["local-ephemeral src/a.js:2"]);
    assert!(outcome.hint.unwrap().contains("Store to S3-compatible storage and return presigned URLs"));
    check(&[DISK, ("compose.yaml", &compose(""))], Verdict::Fail, &["local-ephemeral src/a.js:2"]);
    check(
        &[DISK, ("compose.yaml", &compose("    volumes: ['up:/app/uploads']\n"))],
        Verdict::Warn,
        &["local-volume src/a.js:2"],
    );
    check(
        &[DISK, ("compose.yaml", &compose("    tmpfs: [/app/uploads]\n"))],
        Verdict::Fail,
        &["local-ephemeral src/a.js:2"],
    );
    check(&[DISK, ("Procfile", "web: npm start\n")], Verdict::Fail, &["local-ephemeral src/a.js:2"]);
    check(&[DISK, ("deploy/shop.service", "[Service]\nRestart=always\n")], Verdict::Warn, &["local-volume src/a.js:2"]);
}

#[test]
fn replicas_do_not_share_a_disk() {
    let compose = "services:\n  web:\n    build: .\n    deploy: {replicas: 3}\n";
    let outcome = check(&[DISK, ("compose.yaml", compose)], Verdict::Fail, &["local-replicas src/a.js:2"]);
    assert!(
        outcome.summary.contains("src/a.js:2 writes uploads to uploads/ while 3 replicas run"),
        "{}",
        outcome.summary
    );
    let pod = |claim: &str, replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  replicas: {replicas}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      volumes: [{{name: up, {claim}}}]\n      containers:\n      - name: web\n        image: acme/shop\n        volumeMounts: [{{name: up, mountPath: /app/uploads}}]\n"
        )
    };
    let claim = "persistentVolumeClaim: {claimName: up}";
    check(&[DISK, ("k.yaml", &pod(claim, 2))], Verdict::Fail, &["local-replicas src/a.js:2"]);
    check(&[DISK, ("k.yaml", &pod(claim, 1))], Verdict::Warn, &["local-volume src/a.js:2"]);
    check(&[DISK, ("k.yaml", &pod("emptyDir: {}", 1))], Verdict::Fail, &["local-ephemeral src/a.js:2"]);
    check(&[DISK, ("k.yaml", &pod("nfs: {server: x, path: /}", 2))], Verdict::Warn, &["local-volume src/a.js:2"]);
    let many =
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: up}\nspec: {accessModes: [ReadWriteMany]}\n";
    check(&[DISK, ("k.yaml", &pod(claim, 2)), ("pvc.yaml", many)], Verdict::Warn, &["local-volume src/a.js:2"]);
}

#[test]
fn frameworks_by_their_settings() {
    let model = ("shop/models.py", "class A(models.Model):\n    f = models.ImageField()\n");
    let s3 = "DEFAULT_FILE_STORAGE = 'storages.backends.s3boto3.S3Boto3Storage'\n";
    check(&[model, ("shop/settings.py", s3)], Verdict::Pass, &[]);
    check(
        &[model, ("shop/settings.py", "MEDIA_ROOT = BASE_DIR / 'media'\n")],
        Verdict::Fail,
        &["local-ephemeral shop/settings.py:1"],
    );
    let outcome = check(&[model], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("storage-by-environment"));
    let attached = ("app/models/user.rb", "class User\n  has_one_attached :avatar\nend\n");
    let production = ("config/environments/production.rb", "config.active_storage.service = :local\n");
    let storage = ("config/storage.yml", "local:\n  service: Disk\n");
    check(&[attached, production, storage], Verdict::Fail, &["local-ephemeral config/storage.yml:1"]);
}

#[test]
fn mixed_signs_are_an_error() {
    let outcome = check(&[DISK, S3], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("mixed-signals"));
    let allowed = "// hypercare:allow performance.media_offload -- imports are parsed and deleted\nconst up = multer({ dest: 'uploads/' });\n";
    check(&[("src/a.js", allowed), S3], Verdict::Pass, &[]);
    check(&[("src/a.js", allowed)], Verdict::Warn, &["local-ephemeral src/a.js:2 (allowed)"]);
}

#[test]
fn buckets_and_addresses() {
    let open = ("infra/main.tf", "resource \"aws_s3_bucket\" \"b\" {\n  acl = \"public-read\"\n}\n");
    check(&[S3, open], Verdict::Fail, &["open-bucket infra/main.tf:2"]);
    let long = ("src/u.js", "getSignedUrl(s3, c, { expiresIn: 30 * 24 * 3600 })\n");
    check(&[S3, long], Verdict::Warn, &["long-lived-url src/u.js:1"]);
    let minio = "services:\n  web:\n    build: .\n  store:\n    image: minio/minio\n";
    check(&[S3, ("compose.yaml", minio)], Verdict::Warn, &["same-host-store src/s.js:1"]);
}

#[test]
fn temporary_folders_keep_nothing() {
    let text = "const up = multer({ dest: os.tmpdir() });\nawait s3.upload({});\n";
    check(&[("src/a.js", text)], Verdict::Pass, &[]);
}

#[test]
fn without_uploads_it_is_skipped_with_proof() {
    let outcome = check(&[("src/a.js", "app.get('/', f)\n"), ("tests/b.js", DISK.1)], Verdict::Skip, &[]);
    assert_eq!(
        (outcome.reason.as_deref(), outcome.summary.starts_with("1 source file looked into")),
        (Some("no-uploads"), true)
    );
}

#[test]
fn cannot_tell() {
    let reason = |files: &[(&str, &str)]| check(files, Verdict::Error, &[]).reason.unwrap_or_default();
    assert_eq!(reason(&[("scripts/seed.js", "x\n")]), "nothing-to-inspect");
    // A module of Terraform alone has no program that could take a file.
    let module = check(&[("main.tf", "resource \"aws_eks_cluster\" \"x\" {}\n")], Verdict::Skip, &[]);
    assert_eq!(module.reason.as_deref(), Some("no-source"));
    assert_eq!(reason(&[("src/A.cs", "class A { void F(IFormFile f) {} }\n")]), "uploads-not-understood");
    assert_eq!(reason(&[("src/a.js", "x\n"), ("views/a.ejs", "<input type=\"file\">\n")]), "uploads-not-understood");
    assert_eq!(reason(&[("src/a.js", "const up = multer({ storage });\n")]), "storage-unknown");
}
