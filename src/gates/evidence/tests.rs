//! What reports are worth, on real repositories; and what they add to gates.

use serde_json::{Value, json};

use super::*;
use crate::domain::verdict::{Outcome, Verdict};
use crate::gates::testing::{self, NOW, commit, git, write};
use crate::gates::{About, all};

fn about(id: &str) -> &'static About {
    all().iter().map(|g| g.about()).find(|a| a.id == id).unwrap()
}

fn kept(kind: &str, report: Value, commit: Option<&str>) -> Kept {
    let content = json!({"kind": kind, "file": format!("{kind}.json"), "sha256": "sha256:0", "service": "shop",
        "binding": {"commit": commit, "target": null, "at": NOW, "by": "options"}, "report": report});
    Kept { content, imported_at: NOW }
}

fn scan(tool: &str, findings: Value) -> Value {
    json!({"scan": {"tool": tool, "version": "1", "findings": findings, "unlisted": 0, "limits": []}})
}

fn found(rule: &str, severity: &str, file: &str, line: u32, more: Value) -> Value {
    let mut out =
        json!({"rule": rule, "severity": severity, "standing": "open", "file": file, "line": line, "message": "said"});
    out.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    out
}

struct World {
    dir: tempfile::TempDir,
    head: String,
}

impl World {
    fn new(files: &[(&str, &str)]) -> World {
        let (dir, _) = testing::git_repo(files);
        let head = git(dir.path(), &["rev-parse", "HEAD"]);
        World { dir, head }
    }

    /// The context of a run over the work tree as it is now.
    fn context(&self, kept: &[Kept]) -> (tempfile::TempDir, GateContext) {
        let repo = testing::open(self.dir.path());
        testing::context(|ctx| {
            ctx.evidence = Reports::gather(kept, Some(&repo), "shop", None, NOW);
            ctx.repo = Some(repo);
        })
    }

    fn standing(&self, gate: &str, kept: Kept) -> String {
        let (_runs, ctx) = self.context(&[kept]);
        let pieces = ctx.evidence_for(gate);
        let why = pieces.first().and_then(|p| p.standing.why().map(str::to_string)).unwrap_or_default();
        format!("{} {why}", pieces.first().map_or("none", |p| p.standing.word())).trim().to_string()
    }

    fn joined(&self, gate: &str, own: Outcome, kept: &[Kept]) -> (String, Outcome) {
        let (_runs, ctx) = self.context(kept);
        let out = ctx.with_imports(about(gate), own);
        let rules = out.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
        let reason = out.reason.as_deref().map(|r| format!(" {r}")).unwrap_or_default();
        (format!("{}{reason} [{rules}]", out.verdict.word()), out)
    }
}

#[test]
fn a_report_counts_until_an_input_of_the_gate_changes() {
    let world = World::new(&[("app.js", "1"), ("k8s/web.yaml", "a: 1\n"), ("README.md", "x")]);
    let head = world.head.clone();
    let lint = |commit: Option<&str>| kept("kube-linter", scan("kube-linter", json!([])), commit);
    let gate = "infrastructure.autoscaling";
    assert_eq!(world.standing(gate, lint(Some(&head))), "bound");
    assert_eq!(world.standing("code.secrets", lint(Some(&head))), "none", "another gate's report");
    assert!(world.standing(gate, lint(None)).starts_with("unbound nothing binds it"));
    write(world.dir.path(), "kube-linter.json", b"{}");
    assert_eq!(world.standing(gate, lint(Some(&head))), "bound", "the report itself is no change");
    std::fs::remove_file(world.dir.path().join("kube-linter.json")).unwrap();
    write(world.dir.path(), "app.js", b"2");
    commit(world.dir.path(), "code only");
    assert_eq!(world.standing(gate, lint(Some(&head))), "bound", "no manifest changed");
    write(world.dir.path(), "k8s/new.yaml", b"b: 1\n");
    let why = format!("stale it is about commit {}, and k8s/new.yaml changed since", &head[..7]);
    assert_eq!(world.standing(gate, lint(Some(&head))), why, "not even committed");
    let absent = "9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a";
    assert_eq!(world.standing(gate, lint(Some(absent))), "stale its commit 9f3c2e1 is not in this repository");
    assert!(world.standing(gate, lint(Some("--output=x"))).starts_with("unbound"), "git gets no options from a report");
}

#[test]
fn the_commit_dates_a_report_that_nothing_else_dates() {
    let world = World::new(&[("app.js", "1")]);
    let mut lint = kept("kube-linter", scan("kube-linter", json!([])), Some(&world.head));
    lint.content["binding"]["at"] = Value::Null;
    lint.imported_at = NOW;
    let (_runs, ctx) = world.context(&[lint]);
    let pieces = ctx.evidence_for("infrastructure.autoscaling");
    let made: i64 = git(world.dir.path(), &["show", "-s", "--format=%ct", "HEAD"]).parse().unwrap();
    assert_eq!(pieces[0].report.ran_at, Timestamp::from_ms(made * 1000).min(NOW));
}

#[test]
fn a_newer_report_takes_the_place_of_the_older() {
    let world = World::new(&[("a.js", "1")]);
    let old =
        kept("gitleaks", scan("gitleaks", json!([found("aws", "high", "a.js", 1, json!({}))])), Some(&world.head));
    let mut old = old;
    old.content["binding"]["at"] = (NOW.ms() - 60_000).into();
    let new = kept("gitleaks", scan("gitleaks", json!([])), Some(&world.head));
    for both in [[old.clone(), new.clone()], [new, old]] {
        let (said, _) = world.joined("code.secrets", Outcome::pass("none"), &both);
        assert_eq!(said, "pass []");
    }
}

#[test]
fn secrets_of_other_scanners_join_ours() {
    let world = World::new(&[("a.js", "1")]);
    let head = Some(world.head.as_str());
    let leaks = |rows: Value| [kept("gitleaks", scan("gitleaks", rows), head)];
    let hog = |rows: Value| [kept("trufflehog", scan("trufflehog", rows), head)];
    let check = |own: Outcome, kept: &[Kept], expect: &str| {
        let (said, out) = world.joined("code.secrets", own, kept);
        assert_eq!(said, expect, "{out:#?}");
        out
    };
    let pass = || Outcome::pass("none").tier(crate::domain::verdict::Tier::E1);
    check(
        pass(),
        &leaks(json!([found("aws-access-token", "high", "a.js", 1, json!({}))])),
        "fail [gitleaks/aws-access-token]",
    );
    check(
        pass(),
        &leaks(json!([found("generic-api-key", "high", "a.js", 1, json!({}))])),
        "warn [gitleaks/generic-api-key]",
    );
    let verified = hog(json!([found("AWS", "critical", "a.js", 4, json!({"live": "yes"}))]));
    check(pass(), &verified, "fail [trufflehog/AWS]");
    check(pass(), &hog(json!([found("AWS", "high", "a.js", 4, json!({"live": "no"}))])), "pass [trufflehog/AWS]");
    let ruled = hog(json!([found("AWS", "high", "a.js", 4, json!({"standing": "false-positive"}))]));
    let out = check(pass(), &ruled, "pass [trufflehog/AWS]");
    assert_eq!(out.findings[0].suppressed.as_deref(), Some("ruled out in the report of trufflehog"));
    // The same place: ours stays, and is worse when it was seen to work.
    let ours = || {
        let finding = crate::domain::verdict::Finding::new("aws", crate::domain::verdict::Severity::Medium, "aws key");
        Outcome::warn("one").findings(vec![finding.at("a.js", 4, 1)])
    };
    check(ours(), &hog(json!([found("AWS", "high", "/src/a.js", 4, json!({}))])), "warn [aws]");
    let worse = check(ours(), &verified, "fail [aws]");
    assert_eq!(worse.findings[0].severity, crate::domain::verdict::Severity::Critical);
    // A new commit does not make a leaked key good again.
    write(world.dir.path(), "b.js", b"1");
    check(
        pass(),
        &leaks(json!([found("aws-access-token", "high", "a.js", 1, json!({}))])),
        "warn [gitleaks/aws-access-token]",
    );
    check(pass(), &verified, "fail [trufflehog/AWS]");
}

#[test]
fn a_report_answers_where_the_gate_could_not_look() {
    let world = World::new(&[("chart/templates/web.yaml", "a: 1\n")]);
    let blind = || Outcome::error("not-rendered", "chart/: helm is not installed").hint("install helm");
    let lint = |rows: Value, commit: Option<&str>| [kept("kube-linter", scan("kube-linter", rows), commit)];
    let gate = "infrastructure.restart_health";
    let head = Some(world.head.as_str());
    assert_eq!(world.joined(gate, blind(), &[]).0, "error not-rendered []");
    assert_eq!(world.joined(gate, blind(), &lint(json!([]), head)).0, "pass []");
    assert_eq!(world.joined(gate, blind(), &lint(json!([]), None)).0, "warn []");
    let probe = json!([found("no-liveness-probe", "high", "chart/templates/web.yaml", 1, json!({}))]);
    assert_eq!(world.joined(gate, blind(), &lint(probe.clone(), head)).0, "warn [kube-linter/no-liveness-probe]");
    let other = json!([found("latest-tag", "high", "chart/templates/web.yaml", 1, json!({}))]);
    assert_eq!(world.joined(gate, blind(), &lint(other, head)).0, "pass []", "not this gate's question");
    write(world.dir.path(), "chart/values.yaml", b"a: 2\n");
    let (said, out) = world.joined(gate, blind(), &lint(probe, head));
    assert!(said == "error stale-evidence []" && out.summary.contains("chart/values.yaml changed since"), "{out:#?}");
    let refused = Outcome::error("refused", "no");
    assert_eq!(world.joined(gate, refused, &lint(json!([]), None)).0, "error refused []", "a refusal stays one");
}

#[test]
fn scanners_of_running_systems_must_speak_of_the_target() {
    let world = World::new(&[("a.js", "1")]);
    let zap = |host: &str| {
        let place = format!("GET https://{host}/login");
        let row = json!([{"rule": "10021", "severity": "low", "standing": "open", "place": place, "message": "nosniff"},
            {"rule": "10035", "severity": "medium", "standing": "open", "place": place, "message": "HSTS"}]);
        [kept("zap", scan("ZAP", row), Some(&world.head))]
    };
    let check = |host: &str, own: Outcome, expect: &str| {
        let (_runs, mut ctx) = world.context(&zap(host));
        ctx.target = Some(Target {
            name: "staging".into(),
            url: "https://st.example/".parse().unwrap(),
            ops_url: None,
            active: false,
            load: false,
        });
        let out = ctx.with_imports(about("security.headers"), own);
        let rules = out.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
        assert_eq!(format!("{} [{rules}]", out.verdict.word()), expect, "{out:#?}");
    };
    let own = crate::domain::verdict::Finding::new("nosniff", crate::domain::verdict::Severity::Low, "no nosniff");
    check("st.example", Outcome::pass("ok").findings(vec![own]), "warn [nosniff,zap/10035]");
    check("other.example", Outcome::pass("ok"), "pass []");
    check("other.example", Outcome::error("unreachable", "down"), "error []");
}

#[test]
fn reports_in_the_usual_folders_are_found_and_bound_by_their_sidecars() {
    let world = World::new(&[("a.js", "1"), (".gitignore", "reports\n")]);
    let sarif = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "actionlint"}}, "results": [
        {"ruleId": "expression", "level": "error", "message": {"text": "undefined"}, "locations": [{"physicalLocation":
        {"artifactLocation": {"uri": ".github/workflows/ci.yml"}, "region": {"startLine": 7}}}]}]}]}"#;
    let root = world.dir.path();
    write(root, "reports/actionlint.sarif", sarif.as_bytes());
    write(root, "reports/ours.sarif", sarif.replace("actionlint", "hypercare").as_bytes());
    write(root, "reports/zap-notes.json", b"{}");
    let repo = testing::open(root);
    let standing = |ci: Option<&str>| {
        let (_runs, ctx) = testing::context(|ctx| {
            ctx.evidence = Reports::gather(&[], Some(&repo), "shop", ci, NOW);
        });
        let pieces = ctx.evidence_for("delivery.pipeline");
        pieces.iter().map(|p| format!("{} {}", p.report.file, p.standing.word())).collect::<Vec<_>>()
    };
    assert_eq!(standing(None), ["reports/actionlint.sarif unbound"]);
    assert_eq!(standing(Some(&world.head)), ["reports/actionlint.sarif bound"], "a CI job made it");
    let sidecar = format!(r#"{{"commit": "{}"}}"#, world.head);
    write(root, "reports/actionlint.sarif.hc.json", sidecar.as_bytes());
    assert_eq!(standing(None), ["reports/actionlint.sarif bound"]);
    let (said, out) = {
        let (_runs, mut ctx) = testing::context(|_| {});
        ctx.evidence = Reports::gather(&[], Some(&repo), "shop", None, NOW);
        let out = ctx.with_imports(about("delivery.pipeline"), Outcome::pass("fine"));
        (out.verdict, out)
    };
    assert_eq!((said, out.findings[0].line), (Verdict::Warn, Some(7)), "{out:#?}");
}

proptest::proptest! {
    #[test]
    fn what_a_store_holds_never_panics(text in "[a-z0-9 .:/{}\\[\\]\"-]{0,200}", commit in "[0-9a-f-]{0,45}") {
        let content = serde_json::from_str(&text).unwrap_or_else(|_| json!({"kind": "zap", "file": text, "sha256": "",
            "binding": {"commit": commit}, "report": scan(&text, json!([found(&text, "high", &text, 1, json!({"place": text}))]))}));
        let kept = [Kept { content, imported_at: NOW }];
        let (_runs, ctx) = testing::context(|ctx| ctx.evidence = Reports::gather(&kept, None, "shop", None, NOW));
        for gate in ["security.exposure", "security.headers", "code.secrets"] {
            let _ = ctx.with_imports(about(gate), Outcome::error("unreachable", "down"));
        }
    }
}
