//! A load test that somebody ran elsewhere, judged by the same numbers. What counts: a minute and ten thousand requests
//! at least, against staging, not older than two weeks, of this release. Percentiles of a closed loop hide the stalls
//! that they caused, so they can condemn and not acquit.

use std::time::Duration;

use super::{ABOUT, ACHIEVED_MIN, Config, THROTTLED_MAX};
use crate::domain::clock::Timestamp;
use crate::domain::units::{number, percent};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::GateContext;
use crate::gates::evidence::{Piece, Standing};
use crate::gates::import::kind::Content;
use crate::gates::import::load::{LoadReport, Model};

/// Shorter tests end before queues are full.
const DURATION_MIN: Duration = Duration::from_secs(60);
/// Fewer requests say nothing of the slowest hundredth.
const REQUESTS_MIN: u64 = 10_000;
/// Below the target, but far enough to be worth a warning only.
const SHARE_WARNS: f64 = 0.6;

/// The newest report that counts; else the newest that does not, with the reason; else `None`.
pub(super) fn outcome(ctx: &GateContext, own: &Outcome) -> Option<Outcome> {
    let pieces = ctx.evidence_for(ABOUT.id);
    let chosen = pieces.iter().find(|p| !p.standing.is_stale()).or(pieces.first())?;
    let Content::Load(report) = &chosen.report.content else { return None };
    let now = ctx.clock.now();
    let rows: Vec<_> = pieces.iter().map(|p| p.row(now)).collect();
    let outcome = judge(&ctx.config.performance.load, chosen, report, now);
    Some(
        outcome
            .evidence("imports", rows.into())
            .evidence("not-measured-here", serde_json::json!({"reason": own.reason, "summary": own.summary})),
    )
}

/// Pure: figures → verdict.
fn judge(config: &Config, piece: &Piece<'_>, report: &LoadReport, now: Timestamp) -> Outcome {
    let name = piece.name(now);
    let again =
        "import a bigger run of this release: hypercare evidence import k6 summary.json --commit SHA --target staging";
    if let Standing::Stale(why) = &piece.standing {
        return Outcome::error("stale-evidence", format!("{name}: {why}")).hint(again);
    }
    let seconds = report.duration_s.unwrap_or_default();
    if seconds < DURATION_MIN.as_secs_f64() || report.requests < REQUESTS_MIN {
        let ran = format!("{} requests in {} s", number(report.requests as f64), number(seconds.round()));
        let needs = format!("an import needs {} in {} s", number(REQUESTS_MIN as f64), DURATION_MIN.as_secs());
        return Outcome::error("import-too-small", format!("{name}: {ran}; {needs}")).hint(again);
    }
    let share = |classes: &[&str]| {
        let n: u64 = classes.iter().filter_map(|c| report.errors.get(c)).sum();
        n as f64 / report.requests as f64
    };
    let throttled = share(&["429"]);
    if throttled > THROTTLED_MAX {
        let text = format!("{name}: {} of the answers were 429: a rate limiter was measured", percent(throttled));
        return Outcome::error("throttled", text).hint("exempt the generator from the limiter on staging");
    }
    let (fails, warns) = misses(config, piece, report, share(&["5xx", "timeout", "socket", "failed"]));
    let latency = |name: &str, ms: Option<f64>| ms.map(|ms| format!(", {name} {} ms", number(ms))).unwrap_or_default();
    let summary = format!(
        "{} of {} req/s over {} s{}{} ({name})",
        number(report.achieved_rps.round()),
        number(config.target_rps),
        number(seconds.round()),
        latency("p95", report.latency_ms.p95),
        latency("p99", report.latency_ms.p99),
    );
    let outcome = match (fails.first(), warns.first()) {
        (Some(first), _) => Outcome::fail(summary).hint(format!("{}: {}; {again}", first.message, ABOUT.fix)),
        (None, Some(first)) => {
            Outcome::warn(format!("{summary}; {}", first.message)).hint(format!("{}; or {again}", first.fix))
        }
        (None, None) => Outcome::pass(summary),
    };
    outcome
        .value(report.achieved_rps, config.target_rps)
        .tier(Tier::E2)
        .findings(fails.into_iter().chain(warns).collect())
        .evidence("load", serde_json::to_value(report).unwrap_or_default())
}

/// (what fails, what warns)
fn misses(config: &Config, piece: &Piece<'_>, report: &LoadReport, failed: f64) -> (Vec<Finding>, Vec<Finding>) {
    let (mut fails, mut warns) = (Vec::new(), Vec::new());
    let make = |rule: &str, severity, text: String, fix: &str| {
        Finding::new(rule, severity, text).identified_by(&[ABOUT.id, "import", rule]).fix(fix)
    };
    let fail = |rule: &str, text: String| make(rule, Severity::High, text, ABOUT.fix);
    let warn = |rule: &str, text: String, fix: &str| make(rule, Severity::Medium, text, fix);
    let reached = report.achieved_rps / config.target_rps;
    if reached < SHARE_WARNS {
        fails.push(fail("rate", format!("{} of the target rate", percent(reached))));
    } else if reached < ACHIEVED_MIN {
        warns.push(warn("rate", format!("{} of the target rate", percent(reached)), "test at the full rate"));
    }
    if failed > config.error_rate {
        let text = format!("{} of requests failed (≤ {})", percent(failed), percent(config.error_rate));
        fails.push(fail("errors", text));
    }
    let latency = [("p95", report.latency_ms.p95, config.p95_ms), ("p99", report.latency_ms.p99, config.p99_ms)];
    for (rule, value, limit) in latency {
        match value {
            Some(ms) if ms > limit => {
                fails.push(fail(rule, format!("{rule} {} ms (≤ {} ms)", number(ms), number(limit))))
            }
            Some(_) => {}
            None => {
                let fix = "let the tool write its percentiles (wrk --latency, k6 --summary-trend-stats)";
                warns.push(warn(rule, format!("the report has no {rule}"), fix));
            }
        }
    }
    if let Some(own) = report.thresholds.iter().find(|t| !t.holds.unwrap_or(t.said)) {
        warns.push(warn(
            "own-threshold",
            format!("its own threshold {} was crossed", own.what),
            "see the tool's report",
        ));
    }
    if report.model != Model::Open {
        let text = "its percentiles come from a closed loop, which hides stalls".to_string();
        warns.push(warn(
            "closed-loop",
            text,
            "schedule arrivals: k6 constant-arrival-rate, oha --latency-correction -q, wrk2 -R, vegeta",
        ));
    }
    if let Standing::Unbound(why) = &piece.standing {
        warns.push(warn("unbound", why.clone(), "import it with --commit and --target"));
    }
    (fails, warns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::evidence::Kept;
    use crate::gates::testing::{self, NOW};
    use serde_json::json;

    const MINUTE: i64 = 60_000;

    /// 10,000 req/s over a minute, bound to HEAD of a real repository.
    fn report() -> serde_json::Value {
        json!({"kind": "vegeta", "file": "v.json", "sha256": "sha256:0", "service": "shop",
            "binding": {"commit": "HEAD", "target": "staging", "at": NOW.ms() - 5 * MINUTE, "by": "options"},
            "report": {"load": {"tool": "vegeta", "version": null, "model": "open", "url": "http://127.0.0.1:8099/",
                "started_at": null, "duration_s": 60.0, "requests": 600_000, "achieved_rps": 10_000.0, "errors": {},
                "by_status": {"200": 600_000},
                "latency_ms": {"mean": 4.0, "p50": 3.0, "p90": 8.0, "p95": 9.0, "p99": 20.0, "max": 90.0}}}})
    }

    fn check(change: impl FnOnce(&mut serde_json::Value), expect: &str) {
        let (dir, repo) = testing::git_repo(&[("app.js", "1"), ("README.md", "x")]);
        let head = testing::git(dir.path(), &["rev-parse", "HEAD"]);
        let mut content = report();
        change(&mut content);
        let text = content.to_string().replace("\"HEAD\"", &format!("\"{head}\""));
        let content = serde_json::from_str(&text).unwrap();
        let kept = [Kept { content, imported_at: NOW }];
        let (_runs, ctx) = testing::context(|ctx| {
            ctx.evidence = crate::gates::evidence::Reports::gather(&kept, Some(&repo), "shop", None, NOW);
            ctx.target = Some(crate::net::safety::Target {
                name: "staging".into(),
                url: "http://127.0.0.1:8099/".parse().unwrap(),
                ops_url: None,
                active: true,
                load: false,
            });
        });
        let own = Outcome::error("not-allowed", "no load test here");
        let got = match outcome(&ctx, &own) {
            None => "none".to_string(),
            Some(o) => {
                let rules = o.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
                format!("{} {}", o.verdict.word(), o.reason.clone().unwrap_or(rules)).trim().to_string()
            }
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn figures_decide() {
        check(|_| {}, "pass");
        check(|r| r["report"]["load"]["achieved_rps"] = 7_000.into(), "warn rate");
        check(|r| r["report"]["load"]["achieved_rps"] = 5_000.into(), "fail rate");
        check(|r| r["report"]["load"]["errors"] = json!({"5xx": 9_000}), "fail errors");
        check(|r| r["report"]["load"]["latency_ms"]["p99"] = 1_500.into(), "fail p99");
        check(|r| r["report"]["load"]["latency_ms"]["p99"] = serde_json::Value::Null, "warn p99");
        check(|r| r["report"]["load"]["model"] = "closed".into(), "warn closed-loop");
        check(|r| r["report"]["load"]["errors"] = json!({"429": 60_000}), "error throttled");
    }

    #[test]
    fn small_old_and_foreign_reports_prove_nothing() {
        check(|r| r["report"]["load"]["duration_s"] = 59.into(), "error import-too-small");
        check(|r| r["report"]["load"]["requests"] = 9_999.into(), "error import-too-small");
        check(|r| r["binding"]["at"] = (NOW.ms() - 15 * 1440 * MINUTE).into(), "error stale-evidence");
        check(|r| r["report"]["load"]["url"] = "http://shop.example/".into(), "error stale-evidence");
        check(|r| r["binding"]["target"] = "elsewhere".into(), "error stale-evidence");
        check(|r| r["binding"]["commit"] = "9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a9f3c2e1a".into(), "error stale-evidence");
        check(|r| r["binding"]["commit"] = serde_json::Value::Null, "warn unbound");
        check(|r| r["service"] = "other".into(), "none");
        check(|r| r["report"]["load"]["errors"] = json!({"surprise": 1}), "none");
    }
}
