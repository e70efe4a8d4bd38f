//! `hypercare evidence import` as people run it: the real binary, real files, a real store. What is bound is kept with its
//! digest, what is damaged or about another host is refused, and no secret's value is left anywhere.

use std::path::Path;
use std::process::{Command, Output};

const SECRET: &str = "hunter2hunter2hunter2";
const COMMIT: &str = "9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a";

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let world = World { dir: tempfile::tempdir().unwrap() };
        world.write(
            "hypercare.toml",
            "[service.shop]\n[[gates.target]]\nname = \"staging\"\nurl = \"http://127.0.0.1:8099/\"\nactive = true\nload = true\n",
        );
        world
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.dir.path().join(path), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        command.arg("--config").arg(self.dir.path().join("hypercare.toml")).args(args).current_dir(self.dir.path());
        for name in [
            "GITHUB_SHA",
            "CI_COMMIT_SHA",
            "BITBUCKET_COMMIT",
            "BUILD_SOURCEVERSION",
            "CIRCLE_SHA1",
            "DRONE_COMMIT_SHA",
        ] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    fn import(&self, kind: &str, file: &str, more: &[&str]) -> (i32, String) {
        let args: Vec<&str> = ["evidence", "import", kind, file].into_iter().chain(more.iter().copied()).collect();
        let out = self.run(&args);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains(SECRET), "{said}");
        (out.status.code().unwrap(), said)
    }
}

const WRK: &str = "Running 3s test @ http://127.0.0.1:8099/\n  1 threads and 4 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     5.40ms    3.23ms  23.79ms   73.47%\n    Req/Sec   756.87    178.34     1.04k    66.67%\n  2271 requests in 3.01s, 845.12KB read\nRequests/sec:    753.92\nTransfer/sec:    280.56KB\n";

fn gitleaks() -> String {
    format!(
        r#"[{{"RuleID":"generic-api-key","Description":"Generic API Key","StartLine":3,"Match":"key={SECRET}","Secret":"{SECRET}","File":"src/a.py","Commit":"","Message":"{SECRET}"}}]"#
    )
}

#[test]
fn a_bound_report_is_kept_with_its_digest() {
    let world = World::new();
    world.write("wrk.txt", WRK);
    let (code, said) = world.import(
        "wrk",
        "wrk.txt",
        &["--commit", COMMIT, "--target", "staging", "--at", "2026-11-22T10:00:00Z", "--format", "json"],
    );
    assert_eq!(code, 0, "{said}");
    let kept: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(kept["schema"], "hypercare.evidence-import/v1");
    assert_eq!((&kept["gate"], &kept["binding"]["by"]), (&"performance.load".into(), &"options".into()));
    assert_eq!((&kept["binding"]["commit"], &kept["binding"]["target"]), (&COMMIT.into(), &"staging".into()));

    let shown = world.run(&["evidence", "show", kept["digest"].as_str().unwrap()]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["report"]["load"]["label"], "co-biased");
    assert_eq!(shown["report"]["load"]["requests"], 2271);
    assert!(shown["sha256"].as_str().unwrap().starts_with("sha256:"));
    let listed = world.run(&["evidence", "list", "--gate", "performance.load"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("import:wrk"));
    assert_eq!(world.run(&["evidence", "verify"]).status.code(), Some(0));
}

#[test]
fn sidecars_bind_and_nothing_is_said_aloud() {
    let world = World::new();
    world.write("wrk.txt", WRK);
    let (code, said) = world.import("wrk", "wrk.txt", &[]);
    assert!(code == 0 && said.contains("unbound"), "{said}");
    world.write("wrk.txt.hc.json", &format!(r#"{{"commit":"{COMMIT}","target":"staging"}}"#));
    let (code, said) = world.import("wrk", "wrk.txt", &[]);
    assert!(code == 0 && said.contains("bound to 9f3c2e1 by sidecar, target staging"), "{said}");
    world.write("wrk.txt.hc.json", "{");
    assert_eq!(world.import("wrk", "wrk.txt", &[]).0, 1);
}

#[test]
fn what_is_damaged_or_about_another_host_is_refused() {
    let world = World::new();
    world.write("cut.txt", &WRK[..WRK.len() - 20]);
    let (code, said) = world.import("wrk", "cut.txt", &[]);
    assert!(code == 1 && said.contains("cut short"), "{said}");
    world.write("other.txt", &WRK.replace("127.0.0.1:8099", "shop.example"));
    let (code, said) = world.import("wrk", "other.txt", &[]);
    assert!(code == 1 && said.contains("about shop.example, not about 127.0.0.1"), "{said}");
    world.write("wrk.txt", WRK);
    assert_eq!(world.import("wrk", "wrk.txt", &["--target", "nowhere"]).0, 2);
    assert_eq!(world.import("wrk", "wrk.txt", &["--commit", "main"]).0, 2);
    assert_eq!(world.import("wrk", "wrk.txt", &["--at", "yesterday"]).0, 2);
    assert_eq!(world.import("wrk", "absent.txt", &[]).0, 74);
    assert_eq!(world.import("papyrus", "wrk.txt", &[]).0, 2);
    assert!(!world.dir.path().join("hypercare-data/state.db").exists(), "nothing was kept");
}

#[test]
fn no_secret_reaches_output_or_store() {
    let world = World::new();
    world.write("gitleaks.json", &gitleaks());
    let (code, said) = world.import("gitleaks", "gitleaks.json", &["--commit", COMMIT]);
    assert!(code == 0 && said.contains("1 open finding(s)"), "{said}");
    // A report of another shape must not be quoted either.
    assert_eq!(world.import("kube-score", "gitleaks.json", &[]).0, 1);
    fn files(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, out) } else { out.push(path) }
        }
    }
    let mut kept = Vec::new();
    files(&world.dir.path().join("hypercare-data"), &mut kept);
    assert!(!kept.is_empty());
    for file in kept {
        let bytes = std::fs::read(&file).unwrap();
        let holds = bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
        assert!(!holds, "the secret stands in {}", file.display());
    }
}
