//! From results to goals and decision. Pure: no clock, no files, no network.
//!
//! The table of goals is the READY TO GO LIVE list of the checklist: every gate feeds exactly one goal.

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
