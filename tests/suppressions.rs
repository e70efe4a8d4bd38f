//! What does not count, as people see it: the real binary on real git repositories. Comments, the baseline and its
//! ratchet, imported reports; what is suppressed stands in every output, and no secret's value in any.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SECRET: &str = "hunter2hunter2hunter2";

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(files: &[(&str, &str)]) -> World {
        let world = World { dir: tempfile::tempdir().unwrap() };
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.write("repo/package.json", "{\"name\": \"shop\", \"version\": \"1.0.0\"}\n");
        for (path, text) in files {
            world.write(&format!("repo/{path}"), text);
        }
        world.commit("first");
        world
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("repo")
    }

    fn write(&self, path: &str, text: &str) {
        let full = self.dir.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        std::fs::create_dir_all(self.root()).unwrap();
        let out = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false", "-C"])
            .arg(self.root())
            .args(args)
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_string()
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn run(&self, args: &[&str], base: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        command.args(args).current_dir(self.root()).env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        for name in
            ["GITHUB_SHA", "CI_COMMIT_SHA", "GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "GITHUB_TOKEN"]
        {
            command.env_remove(name);
        }
        if let Some(base) = base {
            command.env("GITHUB_BASE_REF", base);
        }
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains(SECRET), "{said}");
        out
    }

    fn check(&self, only: &str, base: Option<&str>) -> Value {
        let out = self.run(&["check", "--only", only, "--format", "json"], base);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

fn verdict<'r>(run: &'r Value, gate: &str) -> &'r str {
    let row = run["gates"].as_array().unwrap().iter().find(|g| g["id"] == gate);
    row.unwrap_or_else(|| panic!("no {gate}: {run:#}"))["verdict"].as_str().unwrap()
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const CART: &str = "export function total(a) {\n  console.log(a)\n  return a\n}\n";

#[test]
fn comments_are_listed_in_every_output() {
    let allowed = CART.replace("log(a)", "log(a) // hypercare:allow code.leftover_debug -- the till prints it");
    let world = World::new(&[("src/cart.js", &allowed), ("src/b.js", CART)]);
    let only = "code.leftover_debug,meta.suppressions";
    let run = world.check(only, None);
    assert_eq!(verdict(&run, "code.leftover_debug"), "fail", "the other file has none");
    assert_eq!(verdict(&run, "meta.suppressions"), "pass");
    let one = &run["suppressions"][0];
    assert_eq!((&one["means"], &one["file"], &one["line"]), (&"inline".into(), &"src/cart.js".into(), &2.into()));
    assert!(one["justification"].as_str().unwrap().contains("the till prints it"));
    let human = text(&world.run(&["check", "--only", only], None));
    assert!(human.contains("SUPPRESSED 1 inline") && human.contains("src/cart.js:2"), "{human}");
    let markdown = text(&world.run(&["check", "--only", only, "--format", "markdown"], None));
    assert!(markdown.contains("1 suppressed: 1 inline") && markdown.contains("the till prints it"), "{markdown}");
    let out = world.run(&["check", "--only", only, "--format", "sarif"], None);
    let sarif: Value = serde_json::from_slice(&out.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let marked: Vec<&Value> = results.iter().flat_map(|r| r["suppressions"].as_array().unwrap()).collect();
    assert_eq!((marked.len(), &marked[0]["kind"]), (1, &"inSource".into()));
    world.write("repo/src/b.js", &CART.replace("log(a)", "log(a) // hypercare:allow code.leftover_debug"));
    let run = world.check(only, None);
    assert_eq!(verdict(&run, "code.leftover_debug"), "fail", "no reason, no effect");
    let said = run["gates"].to_string();
    assert!(said.contains("gives no reason"), "{said}");
}

#[test]
fn the_baseline_is_a_ratchet() {
    let world = World::new(&[("src/cart.js", CART), (".gitignore", "hypercare-data\n")]);
    let gate = "code.leftover_debug";
    assert_eq!(verdict(&world.check(gate, None), gate), "fail");
    let made = world.run(&["baseline", "create", "--only", gate], None);
    assert!(made.status.success() && text(&made).contains("1 known finding"), "{}", text(&made));
    assert_eq!(world.run(&["baseline", "create"], None).status.code(), Some(1), "it is there already");
    let refused = world.run(&["baseline", "update", "--only", "code.secrets"], None);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("class A"), "{said}");
    // Known, listed, and it decides nothing; but nobody answered for it yet.
    let run = world.check("code.leftover_debug,meta.suppressions", None);
    assert_eq!((verdict(&run, gate), verdict(&run, "meta.suppressions")), ("pass", "fail"), "{run:#}");
    assert_eq!((&run["decision"], &run["suppressions"][0]["means"]), (&"no_go".into(), &"baseline".into()));
    let waived = world.run(
        &[
            "waive",
            "meta.suppressions",
            "--reason",
            "the baseline is introduced today",
            "--approver",
            "bob",
            "--requester",
            "ann",
        ],
        None,
    );
    assert!(waived.status.success(), "{}", String::from_utf8_lossy(&waived.stderr));
    let run = world.check("code.leftover_debug,meta.suppressions", None);
    assert_eq!(run["decision"], "go_with_risks", "{run:#}");
    std::fs::remove_dir_all(world.root().join(".hypercare/waivers")).unwrap();
    world.commit("the baseline");
    assert_eq!(verdict(&world.check("meta.suppressions", None), "meta.suppressions"), "pass");
    // Lines move, the finding stays known; a new one does not become so by standing beside it.
    world.write("repo/src/cart.js", &format!("// a comment\n\n{CART}"));
    assert_eq!(verdict(&world.check(gate, None), gate), "pass");
    world.write("repo/src/new.js", CART);
    assert_eq!(verdict(&world.check(gate, None), gate), "fail");
    // A branch that grows it, against the base that the CI names.
    world.git(&["checkout", "--quiet", "-b", "topic"]);
    assert!(world.run(&["baseline", "update", "--only", gate], None).status.success());
    world.commit("grown");
    let run = world.check("code.leftover_debug,meta.suppressions", Some("main"));
    assert_eq!((verdict(&run, gate), verdict(&run, "meta.suppressions")), ("pass", "fail"));
    let human = text(&world.run(&["check", "--only", "meta"], Some("main")));
    assert!(human.contains("the baseline has grown against main"), "{human}");
    // A base that is not there: nothing is known any more.
    let run = world.check("code.leftover_debug,meta.suppressions", Some("release"));
    assert_eq!((verdict(&run, gate), verdict(&run, "meta.suppressions")), ("fail", "error"));
    // Mended: the ratchet lets go.
    world.write("repo/src/new.js", "export const a = 1\n");
    assert!(text(&world.run(&["baseline", "prune"], Some("main"))).contains("1 known finding"));
    let shown = world.run(&["baseline", "show", "--format", "json"], Some("main"));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((shown["entries"].as_array().unwrap().len(), shown["grown"].as_array().unwrap().len()), (1, 0));
}

const VEGETA: &str = r#"{"latencies":{"total":1,"mean":4000000,"50th":3000000,"90th":8000000,"95th":9000000,"99th":20000000,"max":90000000,"min":1},"bytes_in":{"total":1,"mean":1},"bytes_out":{"total":0,"mean":0},"earliest":"2026-11-22T10:00:00Z","latest":"2026-11-22T10:01:00Z","end":"2026-11-22T10:01:00Z","duration":60000000000,"wait":1,"requests":600000,"rate":10000.0,"throughput":10000.0,"success":1,"status_codes":{"200":600000},"errors":[]}"#;

#[test]
fn imported_reports_answer_and_join() {
    let world = World::new(&[("src/cart.js", "export const a = 1\n"), (".gitignore", "hypercare-data\n")]);
    world.write(
        "repo/hypercare.toml",
        "[service.shop]\nrepo = \".\"\n[[gates.target]]\nname = \"staging\"\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let head = world.commit("settings");
    let import = |kind: &str, file: &str, more: &[&str]| {
        let args: Vec<&str> = ["evidence", "import", kind, file].into_iter().chain(more.iter().copied()).collect();
        let out = world.run(&args, None);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let gate = "performance.load";
    let at = text(&Command::new("date").args(["-u", "-d", "1 hour ago", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap());
    let bound = ["--commit", &head, "--target", "staging", "--at", at.trim()];
    assert_eq!(verdict(&world.check(gate, None), gate), "error", "nobody listens there");
    world.write("repo/vegeta.json", VEGETA);
    import("vegeta", "vegeta.json", &bound);
    let run = world.check(gate, None);
    assert_eq!(verdict(&run, gate), "pass", "{run:#}");
    assert_eq!(run["gates"][0]["tier"], "E2");
    // The same run, unbound: a warning at best. The newer one of the same name takes its place.
    world.write("repo/v2.json", VEGETA);
    world.write("repo/src/cart.js", "export const a = 2\n");
    let run = world.check(gate, None);
    assert!(verdict(&run, gate) == "error" && run["gates"][0]["reason"] == "stale-evidence", "{run:#}");
    import("vegeta", "v2.json", &["--target", "staging", "--at", at.trim()]);
    assert_eq!(verdict(&world.check(gate, None), gate), "warn");

    let leaks = format!(
        r#"[{{"RuleID":"stripe-access-token","Description":"a token","StartLine":1,"Match":"{SECRET}","Secret":"{SECRET}","File":"src/cart.js","Commit":""}}]"#
    );
    world.write("leaks.json", &leaks);
    let secrets = "code.secrets";
    assert_eq!(verdict(&world.check(secrets, None), secrets), "pass");
    import("gitleaks", "../leaks.json", &["--commit", &world.commit("now")]);
    let run = world.check(secrets, None);
    assert_eq!(verdict(&run, secrets), "fail", "{run:#}");
    assert_eq!(run["gates"][0]["findings"][0]["rule"], "gitleaks/stripe-access-token");
    world.write("repo/src/cart.js", "export const a = 2 // hypercare:allow code.secrets -- a public test token\n");
    let run = world.check(secrets, None);
    assert!(run["gates"][0]["findings"][0]["suppressed"].is_string(), "{run:#}");
    assert_ne!(verdict(&run, secrets), "fail");
    holds_nothing(&world.root().join("hypercare-data"));
    holds_nothing(&world.dir.path().join("cache"));
    holds_nothing(&world.root().join(".hypercare"));
}

/// No file below has the secret in it.
fn holds_nothing(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds_nothing(&path);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let holds = bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
            assert!(!holds, "the secret stands in {}", path.display());
        }
    }
}
