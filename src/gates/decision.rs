//! From results to goals and decision. Pure: no clock, no files, no network.
//!
//! The table of goals is the READY TO GO LIVE list of the checklist: every line of it feeds exactly one goal. Gates about
//! the check itself (section `meta`) feed none: how much is suppressed is a risk of the decision, not of the load test.

use crate::domain::verdict::{Class, Decision, GateResult, Goal, GoalState, Overlay, Verdict};

/// NO-GO if an unwaived A or B gate failed or any finding escalated; UNDECIDED if one could not be checked, or nothing
/// was; GO WITH RISKS on any warning, waiver, or trouble in class C; else GO. An
/// attested gate counts as passed.
pub fn decide(results: &[GateResult]) -> Decision {
    // That little is suppressed shows nothing of the product.
    let meta = |r: &GateResult| r.section == "meta" && results.iter().any(|r| r.section != "meta");
    let shown =
        |r: &&GateResult| !meta(r) && (r.overlay.is_some() || matches!(r.verdict, Verdict::Pass | Verdict::Warn));
    if results.iter().any(refuses) {
        Decision::NoGo
    } else if results.iter().any(|r| r.blocks()) || !results.iter().any(|r| shown(&r)) {
        Decision::Undecided
    } else if results.iter().any(is_risk) {
        Decision::GoWithRisks
    } else {
        Decision::Go
    }
}

/// A defect was shown that nobody waived and that this gate's class, or the finding itself, does not let pass.
fn refuses(r: &GateResult) -> bool {
    r.blocks() && r.verdict != Verdict::Error || r.overlay.is_none() && escalated(r)
}

fn escalated(r: &GateResult) -> bool {
    r.findings.iter().any(|f| f.escalate && f.suppressed.is_none())
}

fn is_risk(r: &GateResult) -> bool {
    match r.overlay {
        Some(Overlay::Waived { .. }) => true,
        // A pass, by a person's word.
        Some(Overlay::Attested { .. }) => false,
        None => matches!(r.verdict, Verdict::Warn | Verdict::Fail | Verdict::Error),
    }
}

/// The five goals in their order. A goal none of whose gates ran is unknown: silence is not readiness.
pub fn goals(results: &[GateResult]) -> Vec<Goal> {
    GOALS.iter().map(|plan| goal(plan, results)).collect()
}

fn goal(plan: &GoalPlan, results: &[GateResult]) -> Goal {
    let pick = |ids: &[&str]| ids.iter().filter_map(|id| results.iter().find(|r| r.id == *id)).collect::<Vec<_>>();
    let critical = pick(plan.critical);
    let feeders: Vec<&GateResult> = critical.iter().copied().chain(pick(plan.other)).collect();
    let failing: Vec<_> = feeders.iter().copied().filter(|r| refuses(r)).collect();
    let unknown: Vec<_> = feeders.iter().copied().filter(|r| r.blocks() && !refuses(r)).collect();
    let risky: Vec<_> = feeders.iter().copied().filter(|r| r.overlay.is_none() && is_risk(r)).collect();
    let proved = critical.iter().any(|r| r.overlay.is_some() || r.verdict != Verdict::Skip);
    let (state, summary) = if feeders.is_empty() {
        (GoalState::Unknown, "not looked at in this run".to_string())
    } else if !failing.is_empty() {
        (GoalState::NotReady, reasons(&failing, "gates fail"))
    } else if !unknown.is_empty() {
        (GoalState::Unknown, reasons(&unknown, "gates could not be checked"))
    } else if proved {
        let waived = feeders.iter().filter(|r| matches!(r.overlay, Some(Overlay::Waived { .. }))).count();
        let attested = feeders.iter().filter(|r| matches!(r.overlay, Some(Overlay::Attested { .. }))).count();
        let shown = critical.iter().find(|r| r.overlay.is_none() && r.verdict == Verdict::Pass);
        let (state, says) = match risky.is_empty() {
            true => (GoalState::Ready, shown.map(|r| r.summary.clone())),
            false => (GoalState::AtRisk, Some(reasons(&risky, "warnings"))),
        };
        let waived = (waived > 0).then(|| format!("{waived} waived"));
        let attested = (attested > 0).then(|| format!("{attested} attested"));
        (state, says.into_iter().chain(attested).chain(waived).collect::<Vec<_>>().join(" · "))
    } else if critical.is_empty() {
        (GoalState::Unknown, "no critical gate in this run".to_string())
    } else {
        (GoalState::Unknown, "every critical gate was skipped".to_string())
    };
    Goal {
        id: plan.id.into(),
        title: plan.title.into(),
        state,
        summary,
        gates: plan.feeders().map(String::from).collect(),
    }
}

/// One: what it says. Several: how many.
fn reasons(of: &[&GateResult], many: &str) -> String {
    match of {
        [one] => format!("{}: {}", one.id, one.summary),
        _ => format!("{} {many}", of.len()),
    }
}

/// Counts behind the decision's line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub pass: usize,
    pub warn: usize,
    /// Unwaived.
    pub fail: usize,
    /// Unwaived.
    pub error: usize,
    pub skip: usize,
    pub waived: usize,
    pub attested: usize,
}

pub fn tally(results: &[GateResult]) -> Tally {
    let mut t = Tally::default();
    for r in results {
        match (&r.overlay, r.verdict) {
            (Some(Overlay::Waived { .. }), _) => t.waived += 1,
            (Some(Overlay::Attested { .. }), _) => t.attested += 1,
            (_, Verdict::Pass) => t.pass += 1,
            (_, Verdict::Warn) => t.warn += 1,
            (_, Verdict::Fail) => t.fail += 1,
            (_, Verdict::Error) => t.error += 1,
            (_, Verdict::Skip) => t.skip += 1,
        }
    }
    t
}

/// The order in which people should read: failures of class A first.
pub fn gravity(r: &GateResult) -> impl Ord + use<> {
    let verdict = match r.verdict {
        Verdict::Fail => 0,
        Verdict::Error => 1,
        Verdict::Warn => 2,
        Verdict::Pass => 3,
        Verdict::Skip => 4,
    };
    (!r.blocks(), verdict, r.class == Class::C, r.class)
}

/// One line of READY TO GO LIVE and the gates that feed it.
#[derive(Debug)]
pub struct GoalPlan {
    pub id: &'static str,
    pub title: &'static str,
    /// Must pass or be waived.
    pub critical: &'static [&'static str],
    pub other: &'static [&'static str],
}

impl GoalPlan {
    /// Critical feeders first.
    pub fn feeders(&self) -> impl Iterator<Item = &'static str> {
        self.critical.iter().chain(self.other).copied()
    }
}

pub const GOALS: [GoalPlan; 5] = [
    GoalPlan {
        id: "code",
        title: "Code clean and stable",
        critical: &[
            "code.review",
            "code.coverage",
            "code.secrets",
            "code.edge_cases",
            "delivery.pipeline",
            "security.auth",
            "security.authz",
            "security.exposure",
            "security.injection",
            "security.rate_limit",
        ],
        other: &[
            "code.n_plus_one",
            "code.leftover_debug",
            "delivery.naming",
            "delivery.env_config",
            "security.headers",
            "infrastructure.env_encrypted",
            "release.qa",
            "release.fallback_ui",
            "performance.payload",
        ],
    },
    GoalPlan {
        id: "load",
        title: "Load test passed",
        critical: &["performance.load", "performance.concurrency"],
        other: &[
            "performance.db_index",
            "performance.caching",
            "performance.media_offload",
            "infrastructure.load_balancer",
            "infrastructure.autoscaling",
        ],
    },
    GoalPlan {
        id: "monitoring",
        title: "Monitoring in place",
        critical: &[
            "monitoring.metrics",
            "monitoring.logging",
            "monitoring.alert_errors",
            "monitoring.alert_delivery",
            "release.endpoints",
        ],
        other: &[
            "monitoring.log_context",
            "monitoring.alert_cpu",
            "monitoring.alert_memory",
            "monitoring.alert_backlog",
            "infrastructure.restart_health",
        ],
    },
    GoalPlan {
        id: "rollback",
        title: "Rollback plan confirmed",
        critical: &["delivery.rollback", "infrastructure.backup_restore", "delivery.staging"],
        other: &["release.post_deploy"],
    },
    GoalPlan {
        id: "stakeholders",
        title: "Stakeholders notified",
        critical: &["release.announcement"],
        other: &["release.changelog"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::verdict::{Finding, Severity, Tier};

    fn result(id: &str, class: Class, verdict: Verdict) -> GateResult {
        GateResult {
            id: id.into(),
            section: "code".into(),
            class,
            line: "line".into(),
            verdict,
            overlay: None,
            reason: None,
            summary: format!("{id} said so"),
            value: None,
            threshold: None,
            covered: None,
            known: None,
            tier: None,
            min_tier: Tier::E1,
            findings: Vec::new(),
            hint: None,
            evidence: Vec::new(),
            duration_ms: 0,
            requests: 0,
            age_s: 0,
        }
    }

    fn waived(mut r: GateResult) -> GateResult {
        let (reason, approver, expires) = ("r".into(), "a".into(), Timestamp::from_ms(1));
        r.overlay = Some(Overlay::Waived { reason, approver, expires, signed: false });
        r
    }

    fn attested(mut r: GateResult) -> GateResult {
        r.overlay = Some(Overlay::Attested { signer: "s".into(), role: None, expires: Timestamp::from_ms(1) });
        r
    }

    fn escalating(mut r: GateResult) -> GateResult {
        r.findings.push(Finding { escalate: true, ..Finding::new("leak", Severity::Critical, "shows another's page") });
        r
    }

    /// Every verdict of every class, waived or not, escalating or not.
    fn every_result(id: &str) -> Vec<GateResult> {
        let mut out = Vec::new();
        for class in [Class::A, Class::B, Class::C] {
            for verdict in Verdict::ALL {
                let plain = result(id, class, verdict);
                out.extend([
                    waived(plain.clone()),
                    escalating(plain.clone()),
                    waived(escalating(plain.clone())),
                    plain,
                ]);
            }
        }
        out
    }

    #[test]
    fn every_pair_of_results_decides_as_the_rule_says() {
        for a in every_result("code.review") {
            for b in every_result("code.coverage") {
                let both = [a.clone(), b.clone()];
                let open = |r: &&GateResult| r.overlay.is_none();
                let leaks = |r: &GateResult| r.findings.iter().any(|f| f.escalate);
                let required = |r: &GateResult| r.class != Class::C;
                let refused = both.iter().filter(open).any(|r| leaks(r) || (required(r) && r.verdict == Verdict::Fail));
                let unknown = both.iter().filter(open).any(|r| required(r) && r.verdict == Verdict::Error);
                let nothing_shown = both
                    .iter()
                    .all(|r| open(&r) && matches!(r.verdict, Verdict::Skip | Verdict::Fail | Verdict::Error));
                let clean = both.iter().all(|r| open(&r) && matches!(r.verdict, Verdict::Pass | Verdict::Skip));
                let expect = match (refused, unknown || nothing_shown, clean) {
                    (true, _, _) => Decision::NoGo,
                    (_, true, _) => Decision::Undecided,
                    (_, _, true) => Decision::Go,
                    _ => Decision::GoWithRisks,
                };
                assert_eq!(decide(&both), expect, "{a:#?} {b:#?}");
                // Order never matters.
                assert_eq!(decide(&[b.clone(), a.clone()]), expect);
            }
        }
        assert_eq!(decide(&[]), Decision::Undecided);
    }

    #[test]
    fn what_is_about_the_check_shows_nothing_of_the_product() {
        let meta = |verdict| GateResult { section: "meta".into(), ..result("meta.suppressions", Class::C, verdict) };
        let skipped = result("code.review", Class::A, Verdict::Skip);
        assert_eq!(decide(&[skipped.clone(), meta(Verdict::Pass)]), Decision::Undecided);
        assert_eq!(decide(&[meta(Verdict::Pass)]), Decision::Go, "asked for alone");
        assert_eq!(
            decide(&[result("code.review", Class::A, Verdict::Pass), meta(Verdict::Warn)]),
            Decision::GoWithRisks
        );
        let grown = escalating(meta(Verdict::Fail));
        assert_eq!(decide(&[result("code.review", Class::A, Verdict::Pass), grown.clone()]), Decision::NoGo);
        assert_eq!(decide(&[result("code.review", Class::A, Verdict::Pass), waived(grown)]), Decision::GoWithRisks);
    }

    #[test]
    fn a_waiver_never_makes_a_plain_go() {
        for r in every_result("code.review").into_iter().map(waived) {
            assert_eq!(decide(&[result("code.coverage", Class::A, Verdict::Pass), r]), Decision::GoWithRisks);
        }
    }

    #[test]
    fn an_attested_gate_counts_as_passed() {
        let pass = || result("code.coverage", Class::A, Verdict::Pass);
        for verdict in [Verdict::Warn, Verdict::Error] {
            let both = [pass(), attested(result("code.review", Class::A, verdict))];
            assert_eq!(decide(&both), Decision::Go, "{verdict:?}");
            assert_eq!((tally(&both).attested, tally(&both).pass, tally(&both).error), (1, 1, 0));
            let code = &goals(&both)[0];
            assert_eq!((code.state, code.summary.as_str()), (GoalState::Ready, "code.coverage said so · 1 attested"));
        }
    }

    fn state(results: &[GateResult], goal: &str) -> GoalState {
        goals(results).into_iter().find(|g| g.id == goal).unwrap().state
    }

    #[test]
    fn goals_follow_their_feeders() {
        use Verdict::*;
        let critical = |v| result("performance.load", Class::A, v);
        let other = |v| result("performance.media_offload", Class::B, v);
        let advisory = |v| result("performance.caching", Class::C, v);
        for (results, expect) in [
            (vec![critical(Pass)], GoalState::Ready),
            (vec![critical(Pass), other(Skip)], GoalState::Ready),
            (vec![waived(critical(Fail)), other(Pass)], GoalState::Ready),
            (vec![critical(Warn)], GoalState::AtRisk),
            (vec![critical(Pass), other(Warn)], GoalState::AtRisk),
            (vec![critical(Pass), advisory(Fail)], GoalState::AtRisk),
            (vec![critical(Pass), advisory(Error)], GoalState::AtRisk),
            (vec![critical(Pass), escalating(advisory(Warn))], GoalState::NotReady),
            (vec![critical(Fail)], GoalState::NotReady),
            (vec![critical(Pass), other(Fail)], GoalState::NotReady),
            (vec![critical(Error), other(Fail)], GoalState::NotReady),
            (vec![critical(Error)], GoalState::Unknown),
            (vec![critical(Pass), other(Error)], GoalState::Unknown),
            (vec![critical(Skip), other(Pass)], GoalState::Unknown),
            (vec![other(Pass)], GoalState::Unknown),
            (vec![], GoalState::Unknown),
        ] {
            assert_eq!(state(&results, "load"), expect, "{results:#?}");
        }
    }

    #[test]
    fn a_goal_says_why() {
        let one = goals(&[result("performance.load", Class::A, Verdict::Fail)]);
        assert_eq!(one[1].summary, "performance.load: performance.load said so");
        let two = goals(&[
            result("performance.load", Class::A, Verdict::Fail),
            result("performance.concurrency", Class::B, Verdict::Fail),
        ]);
        assert_eq!(two[1].summary, "2 gates fail");
    }

    #[test]
    fn failures_are_read_first() {
        let mut all = [
            result("a", Class::A, Verdict::Pass),
            result("b", Class::B, Verdict::Warn),
            waived(result("c", Class::A, Verdict::Fail)),
            result("d", Class::B, Verdict::Fail),
            result("e", Class::A, Verdict::Fail),
        ];
        all.sort_by_key(gravity);
        assert_eq!(all.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["e", "d", "c", "b", "a"]);
    }
}
