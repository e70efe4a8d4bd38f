//! What people sign, as they do it: the real binary, real git, the real ssh-keygen. What it signs is accepted, what it
//! would refuse is refused, and nobody enrols, excuses or redirects himself in the change under check.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Variables by which a CI tells that a change is not merged.
const CI: [&str; 12] = [
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    "CHANGE_TARGET",
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
    "DRONE_PULL_REQUEST",
    "CI_COMMIT_PULL_REQUEST",
    "TRAVIS_PULL_REQUEST",
    "APPVEYOR_PULL_REQUEST_NUMBER",
    "CIRCLE_PULL_REQUEST",
    "CIRCLE_PULL_REQUESTS",
];

const KINDS: [(&str, &[&str]); 4] = [
    ("sue", &["-t", "ed25519"]),
    ("bob", &["-t", "ecdsa", "-b", "256"]),
    ("cara", &["-t", "rsa", "-b", "2048"]),
    ("eve", &["-t", "ed25519"]),
];

/// A shop's repository by Ann; Sue, Bob and Cara may sign, nobody knows Eve.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        let house = House { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(house.repo()).unwrap();
        for (who, kind) in KINDS {
            let args = [&["-q", "-N", "", "-C", "", "-f", who], kind].concat();
            let out = Command::new("ssh-keygen").current_dir(house.dir.path()).args(args).output();
            assert!(out.expect("ssh-keygen is needed for this test").status.success());
        }
        let signers: String = ["sue", "bob", "cara"].map(|who| house.line(who)).concat();
        house.write(".hypercare/allowed_signers", &signers);
        house.write(".hypercare/roles.toml", "[people]\nsenior = [\"sue@example.com\"]\nqa = [\"bob@example.com\"]\n");
        house.write("hypercare.toml", "[service.shop]\nrepo = \".\"\nurl = \"http://127.0.0.1:9/\"\n");
        house.write(".gitignore", "hypercare-data/\n");
        house.write("CODEOWNERS", "* sue@example.com\n");
        house.write("a.txt", "1\n");
        house.git(&["init", "--quiet", "--initial-branch=main"]);
        house.git(&["config", "user.name", "Ann"]);
        house.git(&["config", "user.email", "ann@example.com"]);
        house.commit("start");
        house.git(&["tag", "-a", "v1.0.0", "-m", "v1.0.0"]);
        house.write("a.txt", "2\n");
        house.commit("change");
        house
    }
    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }
    fn key(&self, who: &str) -> String {
        self.dir.path().join(who).to_string_lossy().into_owned()
    }
    fn line(&self, who: &str) -> String {
        format!("{who}@example.com {}", std::fs::read_to_string(self.key(who) + ".pub").unwrap())
    }
    fn write(&self, path: &str, text: &str) {
        let full = self.repo().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
    }
    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repo()).args(["-c", "commit.gpgSign=false"]).args(args);
        let out = git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_string()
    }
    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
    }
    fn run_in(&self, env: &[(&str, &str)], args: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        for name in CI {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.repo()).stdin(Stdio::null());
        command
            .env("XDG_CACHE_HOME", self.dir.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("SSH_AUTH_SOCK");
        let out: Output = command.envs(env.iter().copied()).output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &err;
        self.no_key_in(&said);
        // Where a line is broken depends on the terminal.
        (out.status.code().unwrap(), said.split_whitespace().collect::<Vec<_>>().join(" "))
    }
    fn run(&self, args: &[&str]) -> String {
        let (code, said) = self.run_in(&[], args);
        assert_eq!(code, 0, "{args:?}: {said}");
        said
    }
    /// One gate, as JSON.
    fn check(&self, gate: &str, env: &[(&str, &str)], more: &[&str]) -> Value {
        let args = [&["--quiet", "check", "--only", gate, "--format", "json"], more].concat();
        let (_, said) = self.run_in(env, &args);
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
    /// What the real `ssh-keygen -Y verify` says.
    fn verifies(&self, who: &str, namespace: &str, file: &Path) -> bool {
        let mut signature = file.as_os_str().to_owned();
        signature.push(".sig");
        let name = format!("{who}@example.com");
        let out = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-I", &name, "-n", namespace, "-f"])
            .arg(self.repo().join(".hypercare/allowed_signers"))
            .arg("-s")
            .arg(signature)
            .stdin(std::fs::File::open(file).unwrap())
            .output();
        out.unwrap().status.success()
    }
    /// The only file with this ending in a folder of `.hypercare`.
    fn only(&self, folder: &str, ending: &str) -> PathBuf {
        let files = std::fs::read_dir(self.repo().join(".hypercare").join(folder)).unwrap();
        let mut found: Vec<PathBuf> =
            files.map(|f| f.unwrap().path()).filter(|p| p.to_string_lossy().ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
    fn clear(&self, folder: &str) {
        let _ = std::fs::remove_dir_all(self.repo().join(".hypercare").join(folder));
    }
    /// No line of a private key is anywhere.
    fn no_key_in(&self, text: &str) {
        for (who, _) in KINDS {
            let key = std::fs::read_to_string(self.key(who)).unwrap();
            // The public half stands in the same file.
            let public = std::fs::read_to_string(self.key(who) + ".pub").unwrap();
            let lines: Vec<&str> = key.lines().filter(|l| l.len() == 70 && !public.contains(l)).collect();
            assert!(lines.len() > 2 && lines.iter().all(|line| !text.contains(line)), "{who}'s key: {text}");
        }
    }
    fn no_key_below(&self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.no_key_below(&path),
                false => self.no_key_in(&String::from_utf8_lossy(&std::fs::read(path).unwrap())),
            }
        }
    }
}

const ANNOUNCED: &str = "release.announcement";

fn gate(run: &Value) -> &Value {
    &run["gates"][0]
}

#[test]
fn an_attestation_is_byte_for_byte_what_ssh_keygen_signs_and_verifies() {
    let house = House::new();
    let before = house.check(ANNOUNCED, &[], &[]);
    assert_eq!((&gate(&before)["verdict"], &before["decision"]), (&"error".into(), &"undecided".into()));
    std::fs::write(house.dir.path().join("mail.eml"), "Subject: 1.1 is coming\n").unwrap();
    for who in ["sue", "bob", "cara"] {
        house.clear("attestations");
        let mail = house.dir.path().join("mail.eml").to_string_lossy().into_owned();
        let said = house.run(&[
            "attest",
            ANNOUNCED,
            "--evidence",
            &mail,
            "--evidence",
            "http://127.0.0.1:9/gone",
            "--key",
            &house.key(who),
        ]);
        assert!(said.contains("My answer is yes") && said.contains("UNVERIFIABLE"), "{said}");
        let file = house.only("attestations", ".json");
        assert!(house.verifies(who, "hypercare-attest", &file), "{who}");
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((&kept["evidence"][0]["name"], &kept["evidence"][0]["bytes"]), (&"mail.eml".into(), &23.into()));
        let run = house.check(ANNOUNCED, &[], &[]);
        assert_eq!((&gate(&run)["verdict"], &gate(&run)["tier"]), (&"error".into(), &"E0".into()), "{run}");
        assert_eq!(gate(&run)["overlay"]["signer"], format!("{who}@example.com"));
        assert_eq!((&run["decision"], run["ignored"].as_array().unwrap().len()), (&"go".into(), 0));
        // Theirs for ours: the same file, signed by hand.
        let signature = format!("{}.sig", file.display());
        std::fs::remove_file(&signature).unwrap();
        assert!(house.check(ANNOUNCED, &[], &[])["ignored"][0]["why"].as_str().unwrap().contains("not signed"));
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", "hypercare-attest", "-f", &house.key(who)]).arg(&file);
        assert!(sign.output().unwrap().status.success());
        assert_eq!(house.check(ANNOUNCED, &[], &[])["decision"], "go");
        // One letter.
        let text = std::fs::read_to_string(&file).unwrap().replace("\"answer\":\"yes\"", "\"answer\":\"yet\"");
        std::fs::write(&file, text).unwrap();
        assert!(!house.verifies(who, "hypercare-attest", &file));
        assert_eq!(house.check(ANNOUNCED, &[], &[])["decision"], "undecided");
    }
    house.no_key_below(&house.repo());
}

#[test]
fn what_is_exported_said_and_refused() {
    let house = House::new();
    let (code, said) = house.run_in(&[], &["attest", "performance.load", "--key", &house.key("sue")]);
    assert!(code == 2 && said.contains("nobody's word can stand in"), "{said}");
    house.write("a.txt", "dirty\n");
    let (code, said) = house.run_in(&[], &["attest", ANNOUNCED, "--key", &house.key("sue")]);
    assert!(code == 2 && said.contains("an attestation is about a commit"), "{said}");
    house.git(&["checkout", "--quiet", "a.txt"]);
    let said = house.run(&["attest", ANNOUNCED, "--dry-run"]);
    assert!(said.contains("nothing was signed"), "{said}");
    let said = house.run(&["attest", ANNOUNCED, "--key", &house.key("eve"), "--signer", "eve@example.com"]);
    assert!(said.contains("it does not count yet") && said.contains("not in .hypercare/allowed_signers"), "{said}");
    let run = house.check(ANNOUNCED, &[], &[]);
    assert_eq!((&run["decision"], &gate(&run)["overlay"]), (&"undecided".into(), &Value::Null));
    let exported: Value = serde_json::from_str(&house.run(&["attest", ANNOUNCED, "--export", "in-toto"])).unwrap();
    assert_eq!(exported["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(exported["subject"][0]["digest"]["gitCommit"], house.git(&["rev-parse", "HEAD"]));
    // A flow is a part of the gate: it covers that flow, not the gate.
    house.clear("attestations");
    house.run(&["attest", "release.qa", "--flow", "checkout", "--key", &house.key("bob")]);
    let kept: Value = serde_json::from_slice(&std::fs::read(house.only("attestations", ".json")).unwrap()).unwrap();
    assert_eq!((&kept["subject"], &kept["role"]), (&"checkout".into(), &"qa".into()));
    assert_eq!(house.check("release.qa", &[], &[])["ignored"], serde_json::json!([]));
}

#[test]
fn a_change_under_review_changes_neither_signers_nor_targets() {
    let house = House::new();
    house.git(&["checkout", "--quiet", "-b", "topic"]);
    house.write(
        "hypercare.toml",
        "[service.shop]\nrepo = \".\"\nurl = \"http://127.0.0.9:9/\"\n[gates.safety]\nrps = 900\n",
    );
    let signers = std::fs::read_to_string(house.repo().join(".hypercare/allowed_signers")).unwrap();
    house.write(".hypercare/allowed_signers", &(signers + &house.line("eve")));
    house.commit("mine");
    house.run(&["attest", ANNOUNCED, "--key", &house.key("eve")]);
    house.commit("sign");
    // Nobody says that it is a change: signers are still those of main.
    let alone = house.check(ANNOUNCED, &[], &[]);
    assert_eq!((&alone["base"], &alone["decision"]), (&Value::Null, &"undecided".into()));
    assert_eq!(alone["rid"]["targets"][0], "http://127.0.0.9:9/");
    for (env, more) in [(&[("GITHUB_BASE_REF", "main")][..], &[][..]), (&[], &["--base", "main"])] {
        let run = house.check(ANNOUNCED, env, more);
        assert_eq!(run["rid"]["targets"][0], "http://127.0.0.1:9/", "{run}");
        let differs = ["safety", "service.shop.url", "allowed_signers", "attestations"];
        assert_eq!(run["base"]["differs"], serde_json::json!(differs));
        assert_eq!((&run["base"]["name"], &run["decision"]), (&"main".into(), &"undecided".into()));
    }
    let (_, page) = house.run_in(&[("GITHUB_BASE_REF", "main")], &["check", "--only", ANNOUNCED]);
    assert!(page.contains("the change would change: safety, service.shop.url"), "{page}");
    // A shallow clone without the base.
    let run = house.check(ANNOUNCED, &[("CHANGE_TARGET", "release")], &[]);
    assert_eq!((&run["base"]["commit"], &run["rid"]["targets"]), (&Value::Null, &serde_json::json!([])));
    assert!(run["base"]["not_trusted"].as_array().unwrap().iter().any(|k| k == "waivers"), "{run}");
    // What the operator says on the command line is his own.
    let own = house.check(ANNOUNCED, &[("GITHUB_BASE_REF", "main")], &["--url", "http://127.0.0.7:9/"]);
    assert_eq!(own["rid"]["targets"][0], "http://127.0.0.7:9/");
}

#[test]
fn a_waiver_is_worth_its_signature() {
    let house = House::new();
    let waive = |more: &[&str]| {
        house.clear("waivers");
        let args = ["waive", ANNOUNCED, "--reason", "everybody is in the room", "--approver", "bob@example.com"];
        house.run(&[&args[..], &["--requester", "ann@example.com"], more].concat())
    };
    assert!(waive(&[]).contains("it does not count yet: it is not signed"));
    assert_eq!(house.check(ANNOUNCED, &[], &[])["decision"], "undecided");
    let file = house.only("waivers", ".json").to_string_lossy().into_owned();
    let said = house.run(&["waive", "--sign", &file, "--key", &house.key("bob")]);
    assert!(said.contains("ann@example.com asks to waive") && said.contains(", signed"), "{said}");
    assert!(house.verifies("bob", "hypercare-waive", Path::new(&file)));
    let run = house.check(ANNOUNCED, &[], &[]);
    assert_eq!((&run["decision"], &gate(&run)["overlay"]["signed"]), (&"go_with_risks".into(), &true.into()));
    assert!(waive(&["--key", &house.key("sue")]).contains("not by bob@example.com"));
    let listed = house.run(&["waivers"]);
    assert!(listed.contains("? ignored") && !listed.contains("active"), "{listed}");
    // Before there is a list of signers.
    house.clear("waivers");
    house.git(&["rm", "--quiet", ".hypercare/allowed_signers"]);
    house.commit("first day");
    assert!(waive(&[]).contains("UNSIGNED"));
    let (_, page) = house.run_in(&[], &["check", "--only", ANNOUNCED]);
    assert!(page.contains("by bob@example.com, UNSIGNED") && page.contains("unsigned: a waiver here"), "{page}");
}

/// A live payment key that no scanner finds in this file.
fn leaked(tail: &str) -> String {
    ["sk_", "live_", "51H8x2LKq9ZtV7bNw", "3RfYcD6mPj", tail].concat()
}

#[test]
fn a_leaked_secret_is_rotated_and_somebody_answers_for_it() {
    let house = House::new();
    let (old, key) = (leaked("A4sEu"), "k".repeat(40));
    house.write("src/pay.js", &format!("export const key = \"{old}\";\n"));
    house.commit("pay");
    let look = |env: &[(&str, &str)]| {
        let run = house.check("code.secrets", env, &[]);
        assert!(!run.to_string().contains(&old[8..]), "{run}");
        run
    };
    let verdict = |env: &[(&str, &str)]| gate(&look(env))["verdict"].as_str().unwrap().to_string();
    let print = |env: &[(&str, &str)]| gate(&look(env))["findings"][0]["fingerprint"].as_str().unwrap().to_string();
    let sign = |who: &str, print: &str, env: &[(&str, &str)]| {
        house.clear("attestations");
        let args = ["attest", "code.secrets", "--rotated", print, "--on", "2026-01-05", "--key", &house.key(who)];
        let (code, said) = house.run_in(env, &args);
        assert_eq!(code, 0, "{said}");
        said
    };
    assert_eq!(verdict(&[]), "fail");
    // While it stands there, nobody's word helps.
    sign("sue", &print(&[]), &[]);
    assert_eq!(verdict(&[]), "fail");
    house.write("src/pay.js", "export const key = process.env.PAY_KEY;\n");
    house.clear("attestations");
    house.commit("clean");
    assert_eq!(verdict(&[]), "fail");
    let by_place = print(&[]);
    let said = sign("sue", &by_place, &[]);
    assert!(
        said.contains("revoked at its provider on 2026-01-05 by sue@example.com") && said.contains(&by_place),
        "{said}"
    );
    let file = house.only("attestations", ".json");
    assert!(house.verifies("sue", "hypercare-attest", &file));
    let run = look(&[]);
    let finding = &gate(&run)["findings"][0];
    assert_eq!((&gate(&run)["verdict"], &run["ignored"]), (&"pass".into(), &serde_json::json!([])), "{run}");
    assert!(
        finding["suppressed"].as_str().unwrap().starts_with("rotated on 2026-01-05 by sue@example.com"),
        "{finding}"
    );
    assert_eq!(run["suppressions"][0]["means"], "attestation");
    // One letter.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("2026-01-05", "2026-01-06")).unwrap();
    let run = look(&[]);
    assert_eq!(gate(&run)["verdict"], "fail");
    assert!(run["ignored"][0]["why"].as_str().unwrap().contains("does not fit the message"), "{run}");
    // Nobody knows Eve.
    assert!(sign("eve", &by_place, &[]).contains("it does not count yet"));
    assert_eq!(verdict(&[]), "fail");
    // With the team's key the secret itself is meant, and with no other.
    let (ours, other) =
        ([("HYPERCARE_KEY", key.as_str())], [("HYPERCARE_KEY", "another-key-of-forty-characters-or-so")]);
    let by_value = print(&ours);
    assert!(by_value.starts_with(&format!("{by_place}-")), "{by_value}");
    sign("sue", &by_value, &ours);
    assert_eq!(verdict(&ours), "pass");
    for (env, why) in [(&other[..], "another HYPERCARE_KEY"), (&[], "HYPERCARE_KEY, which is not set here")] {
        let run = look(env);
        let fix = gate(&run)["findings"][0]["fix"].as_str().unwrap();
        assert!(gate(&run)["verdict"] == "fail" && fix.contains(why), "{run}");
    }
    let (code, said) = house.run_in(&[("HYPERCARE_KEY", "hunter2")], &["check", "--only", "code.secrets"]);
    assert!(
        code == 2 && said.contains("HYPERCARE_KEY has fewer than 32 characters") && !said.contains("hunter2"),
        "{said}"
    );
    for wrong in [&["code.secrets", "--rotated", "hunter2hunter2"][..], &["release.qa", "--rotated", &by_place]] {
        let (code, said) = house.run_in(&[], &[&["attest", "--key", &house.key("sue")], wrong].concat());
        assert!(code == 2 && (said.contains("is no fingerprint") || said.contains("attest code.secrets")), "{said}");
    }
    house.no_key_below(&house.repo());
}

#[test]
fn a_review_on_the_forge_is_exported_and_counts() {
    let house = House::new();
    house.write(
        "hypercare.toml",
        "[service.shop]\nrepo = \".\"\nurl = \"http://127.0.0.1:9/\"\n[gates.code.review]\nsenior = [\"sue\"]\n",
    );
    house.commit("seniors");
    let verdict = || gate(&house.check("code.review", &[], &[]))["verdict"].as_str().unwrap().to_string();
    assert_eq!(verdict(), "error");
    let pull = |number: u32, commit: &str| {
        let head = "b".repeat(40);
        serde_json::json!({"number": number, "url": format!("https://github.com/acme/shop/pull/{number}"),
            "author": {"login": "ann"}, "headRefOid": head, "mergeCommit": {"oid": house.git(&["rev-parse", commit])},
            "mergedBy": {"login": "ann"}, "commits": [],
            "reviews": [{"author": {"login": "sue"}, "state": "APPROVED", "commit": {"oid": head}}]})
    };
    let file = house.dir.path().join("reviews.json").to_string_lossy().into_owned();
    let import = |list: Value| {
        std::fs::write(&file, list.to_string()).unwrap();
        house.run(&["evidence", "import", "reviews", &file])
    };
    let said = import(serde_json::json!([pull(1, "HEAD")]));
    assert!(said.contains("1 change request(s), 1 approved") && said.contains("bound by the commits"), "{said}");
    assert_eq!(verdict(), "error", "one of two is not known");
    import(serde_json::json!([pull(1, "HEAD"), pull(2, "HEAD~1")]));
    assert_eq!(verdict(), "pass");
    // Of somebody else's repository.
    house.git(&["remote", "add", "origin", "git@github.com:acme/other.git"]);
    let run = house.check("code.review", &[("GITHUB_TOKEN", "")], &[]);
    assert!(gate(&run)["verdict"] == "error" && run.to_string().contains("about another repository"), "{run}");
    let (code, said) = house.run_in(&[("GITHUB_TOKEN", "")], &["review", "export"]);
    assert!(code == 2 && said.contains("GITHUB_TOKEN is not set"), "{said}");
}

#[test]
fn a_review_is_signed_and_counts() {
    let house = House::new();
    let review = || {
        let run = house.check("code.review", &[], &[]);
        (gate(&run)["verdict"].as_str().unwrap().to_string(), gate(&run)["hint"].to_string())
    };
    assert_eq!(review().0, "error");
    let said = house.run(&["review", "sign", "HEAD~1", "--key", &house.key("bob")]);
    assert!(said.contains("verdict: approved") && said.contains("signed by bob@example.com"), "{said}");
    let (verdict, hint) = review();
    let head = house.git(&["rev-parse", "HEAD"]);
    assert!(verdict == "fail" && hint.contains(&format!("hypercare review sign {head}")), "{hint}");
    house.run(&["review", "sign", "HEAD", "--key", &house.key("sue")]);
    assert_eq!(review().0, "pass");
    house.run(&["review", "sign", "HEAD", "--reject", "--key", &house.key("sue")]);
    assert_eq!(review().0, "fail");
    let (code, said) = house.run_in(&[], &["review", "sign", "nothing", "--key", &house.key("sue")]);
    assert!(code == 2 && said.contains("no commit of this repository"), "{said}");
}
