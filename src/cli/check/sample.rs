//! A run with one of everything, for snapshots of the outputs.

use crate::domain::clock::Timestamp;
use crate::domain::release::ReleaseId;
use crate::domain::verdict::{Class, Finding, GateResult, GateRun, Ignored, Outcome, Overlay, Severity, Tier};
use crate::gates::{all, decision, judge};

pub const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

/// Runs a script with the Python of `tests/setup.sh`, a file with `text` as its argument, and gives what it prints.
pub fn python(script: &str, text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    let output = std::process::Command::new(&python).arg("-c").arg(script).arg(file.path()).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; run tests/setup.sh", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn result(id: &str, outcome: Outcome) -> GateResult {
    let gates = all();
    let about = gates.iter().map(|g| g.about()).find(|a| a.id == id).unwrap();
    judge::judge(about, outcome, std::time::Duration::from_millis(12), 0).0
}

pub fn run() -> GateRun {
    let leftover = |line, call: &str| {
        Finding::new("console", Severity::Low, format!("{call} in applyCoupon"))
            .at("src/cart.js", line, 5)
            .fix("remove it, or // hypercare:allow code.leftover_debug -- reason")
    };
    let mut review =
        result("code.review", Outcome::error("no-credentials", "no token for the forge").hint("set GITHUB_TOKEN"));
    review.overlay = Some(Overlay::Waived {
        reason: "reviewed on paper, the forge is down".into(),
        approver: "bob".into(),
        expires: NOW.plus(std::time::Duration::from_secs(3 * 86_400)),
        signed: false,
    });
    let mut coverage = result(
        "code.coverage",
        Outcome::pass("86.2 % of lines (≥ 80 %), 112 files").tier(Tier::E2).value(0.862, 0.8).covered(112, 112),
    );
    coverage.age_s = 180;
    let gates = vec![
        review,
        coverage,
        result(
            "code.leftover_debug",
            Outcome::fail("4 leftovers in 1 file").tier(Tier::E1).value(4, 0).covered(12, 12).findings(vec![
                leftover(41, "console.log"),
                leftover(52, "console.log"),
                leftover(66, "debugger"),
                leftover(80, "console.trace"),
            ]),
        ),
        result("delivery.rollback", Outcome::error("not-built", "not built yet: check it by hand").hint("by hand")),
        result(
            "security.headers",
            Outcome::warn(
                "score 75 of 100: Content-Security-Policy allows inline scripts on every page that was looked at",
            )
            .tier(Tier::E3)
            .findings(vec![
                Finding::new("csp.inline", Severity::Low, "script-src allows 'unsafe-inline'").route("GET /"),
            ]),
        ),
        result("performance.load", Outcome::pass("10,000 req/s held 120 s, p99 41 ms").tier(Tier::E3)),
        result(
            "infrastructure.load_balancer",
            Outcome::skip("profile:worker", "does not apply: bullmq (package.json:7)"),
        ),
        result("release.announcement", Outcome::fail("not announced").hint("hypercare announce (preview: --dry-run)")),
    ];
    assert!(gates.iter().any(|g| g.class == Class::A));
    GateRun {
        schema: "hypercare.check/v1".into(),
        run: "0190-test".into(),
        service: "shop".into(),
        started_at: NOW,
        duration_ms: 41_000,
        rid: ReleaseId {
            commit: Some("9f3c2e1aa0b1c2d3e4f5".into()),
            tree: Some("00".into()),
            dirty: true,
            version: Some("v1.4.0".into()),
            tag: Some("v1.4.0".into()),
            targets: vec!["https://staging.shop.example/".into()],
        },
        decision: decision::decide(&gates),
        goals: decision::goals(&gates),
        gates,
        changed_thresholds: vec![("performance.load.target_rps".into(), "10000".into(), "200".into())],
        requests: 37,
        scope: None,
        suppressions: vec![],
        base: None,
        ignored: vec![Ignored {
            file: ".hypercare/waivers/old.json".into(),
            why: "the reason is shorter than 20 characters".into(),
        }],
    }
}
