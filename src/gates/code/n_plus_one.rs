//! Gate `code.n_plus_one`: a list costs as many statements with twenty items as with two.
//!
//! Why at launch: one query per row is quick with the ten rows of a developer and takes the database down with real lists.
//! Needs no instrumentation: reads the database's own counters of statements before and after a list route is asked for two
//! and for twenty items (`n_plus_one/measure.rs`). Growth with the number of items is the definition of the defect, so a page
//! that always runs twelve queries is not blamed. GraphQL lists with nested objects are asked in the same way. Touches the
//! target with GETs alone, some twenty a route, and the database with reads of its counters, which are never reset.
//! Fix: load related rows in one query.

mod measure;
mod subjects;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::measure::{Counted, Measured, Seen};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::{Span, count};
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::context::not_asked;
use crate::gates::database::{self, statements};
use crate::gates::facts::Facts;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.code.n_plus_one]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Statements a request that look like one per item, where the number of items cannot be chosen. Default: 5.
    pub min_count: u64,
    /// Names of query parameters that say how many items are wanted, beside the usual ones.
    pub size_params: Vec<String>,
    /// List routes that are measured. Default: 60.
    pub routes: usize,
    /// How long nobody is asked, to hear who else uses the database. Default: 5s.
    pub idle: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config { min_count: 5, size_params: Vec::new(), routes: 60, idle: Span::secs(5) }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.min_count < 2 {
            problems.push(Problem::at(["min_count"], "one statement is no repetition: 2 or more"));
        }
        if !(1..=500).contains(&self.routes) {
            problems.push(Problem::at(["routes"], "between 1 and 500 routes are measured"));
        }
        if !(1..=60).contains(&self.idle.0.as_secs()) {
            problems.push(Problem::at(["idle"], "between 1s and 60s"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

static ABOUT: About = About {
    id: "code.n_plus_one",
    section: Section::Code,
    class: Class::B,
    line: "no N+1 queries (GraphQL/ORM optimized)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &[],
    timeout: Duration::from_secs(300),
    skipped_for: &[Profile::StaticSite],
    reads: "pg_stat_statements of the target's database before and after list routes are asked for 2 and for 20 items \
            (limit, per_page, pageSize, first …), five times each; GraphQL lists with nested objects by first or limit",
    decides: "a SELECT whose calls grow by half or more per further item fails; without a size to choose, one that runs as often \
              as there are items does; lists below three items show nothing; others who use the database make it an error",
    fix: "load related rows in one query: selectinload, prefetch_related, include, preload, JOIN FETCH, DataLoader",
};

pub struct NPlusOne;

impl Gate for NPlusOne {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let config = &ctx.config.code.n_plus_one;
            if let Err(problems) = config.validate() {
                return Outcome::error("bad-config", problems[0].to_string());
            }
            let mut session = match database::open(ctx).await {
                Ok(session) => session,
                Err(outcome) => return *outcome,
            };
            let target = match ctx.need_target() {
                Ok(target) => target,
                Err(outcome) => return *outcome,
            };
            match measure::look(ctx, &mut session, target, config).await {
                Ok(seen) => judge(&seen, config, &ctx.facts),
                Err(measure::Trouble::Counters(none)) => none.outcome(),
                Err(measure::Trouble::Net(error)) => not_asked(&error),
            }
        })
    }
}

/// Growth per further item from which on it is one query per item: every second item costs one.
const SLOPE_MIN: f64 = 0.5;
/// So many of them without a size to choose, and it is no coincidence.
const SURE_CALLS: f64 = 10.0;
/// Fewer items show nothing.
const ITEMS_MIN: usize = 3;
/// Background calls in an idle time, as a share of what the measuring saw in the same time.
const NOISE_MAX: f64 = 0.2;
/// Covered share below which nothing passes.
const FLOOR: f64 = 0.9;

/// Everything from what was seen. Pure.
fn judge(seen: &Seen, config: &Config, facts: &Facts) -> Outcome {
    let mut findings: Vec<Finding> = seen.measured.iter().flat_map(|m| of_route(m, config, facts)).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let covered = seen.measured.iter().filter(|m| m.items_most() >= ITEMS_MIN).count();
    let known = seen.measured.len() + seen.refused.len() + seen.failed.len();
    let calls: f64 = seen.measured.iter().map(|m| m.calls_total).sum();
    let noise = seen.idle_calls_per_s * seen.window_s;
    let routes = format!("{covered} of {}", count(known, "list route"));
    let outcome = if calls > 0.0 && noise > calls * NOISE_MAX {
        let share = noise / calls * 100.0;
        // Findings would be somebody else's statements as likely as ours.
        findings.clear();
        Outcome::error("noisy", format!("others call the database: {share:.0} % of what was counted"))
            .hint("stop other traffic, workers and schedules while the gate runs, or list their roles in ignore_users")
    } else if let Some(worst) = findings.iter().find(|f| f.severity >= Severity::High) {
        let more = findings.iter().filter(|f| f.severity >= Severity::High).count() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Outcome::fail(format!("{}{more}", worst.message)).hint(format!("{}. {}", worst.message, worst.fix))
    } else if known == 0 {
        Outcome::error("nothing-to-inspect", format!("none of {} routes answered with a list", seen.asked))
            .hint("name routes: an OpenAPI document, [gates.routes] har or access_log; fill the staging database")
    } else if covered == 0 && !seen.refused.is_empty() {
        Outcome::error("no-credentials", format!("{} ask for a login", count(seen.refused.len(), "route")))
            .hint("name an account: [[gates.actor]] name = \"alice\", role = \"user\", bearer = \"${env:HC_ALICE}\"")
    } else if covered == 0 {
        Outcome::error("nothing-to-inspect", format!("no list has {ITEMS_MIN} items: they cannot show it"))
            .hint("fill the staging database, so that lists have twenty items")
    } else if calls == 0.0 {
        Outcome::error(
            "path-mismatch",
            format!("no statement was counted in {}: it is not this target's database", seen.place),
        )
        .hint("name the target's own database in [gates] database")
    } else if let Some(worst) = findings.first() {
        Outcome::warn(worst.message.clone()).hint(format!("{}. {}", worst.message, worst.fix))
    } else if (covered as f64) < known as f64 * FLOOR {
        Outcome::warn(format!("{routes} could be measured, and none grows"))
            .hint("fill the staging database, and name an account that may see the other lists: [[gates.actor]]")
    } else {
        Outcome::pass(format!("{routes} run as many statements for many items as for few"))
    };
    let bad = findings.len();
    outcome
        .value(bad, 0)
        .covered(covered as u64, known as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("statements", evidence(seen))
}

fn of_route(measured: &Measured, config: &Config, facts: &Facts) -> Vec<Finding> {
    if measured.items_most() < ITEMS_MIN {
        return Vec::new();
    }
    measured.statements.iter().filter_map(|counted| of_statement(measured, counted, config, facts)).collect()
}

fn of_statement(measured: &Measured, counted: &Counted, config: &Config, facts: &Facts) -> Option<Finding> {
    let (few, many) = (measured.items_few, measured.items_many);
    let text = statements::shown(&counted.text);
    let (rule, severity, what) = match measured.size_param {
        Some(_) => {
            let slope = counted.slope(few, many)?;
            let what = format!("{}x for {many} items and {}x for {few}", round(counted.many), round(counted.few));
            (slope >= SLOPE_MIN).then_some(("n1-scaling", Severity::High, what))?
        }
        None => {
            let per_item = counted.many >= config.min_count as f64 && (counted.many - many as f64).abs() <= 1.0;
            let severity = if counted.many >= SURE_CALLS { Severity::High } else { Severity::Medium };
            per_item.then_some(("n1-per-item", severity, format!("{}x for {many} items", round(counted.many))))?
        }
    };
    let near = measured.place.as_ref().map_or(String::new(), |(file, line)| format!(" near {file}:{line}"));
    let mut finding = Finding::new(rule, severity, format!("{} runs \"{text}\" {what}", measured.route))
        .confidence(if severity == Severity::High { Confidence::High } else { Confidence::Medium })
        .route(measured.route.clone())
        .identified_by(&["code.n_plus_one", &measured.route, &counted.text])
        .fix(format!("load it in one query ({}){near}", remedy(measured, facts)));
    if let Some((file, line)) = &measured.place {
        finding = finding.at(file.clone(), *line, 1);
    }
    Some(finding)
}

/// 20, not 20.0; 2.5 stays.
fn round(calls: f64) -> String {
    if (calls - calls.round()).abs() < 0.05 { format!("{calls:.0}") } else { format!("{calls:.1}") }
}

/// What the product's own mapper calls it.
fn remedy(measured: &Measured, facts: &Facts) -> &'static str {
    const BY_ORM: [(&str, &str); 10] = [
        ("sqlalchemy", "selectinload or joinedload"),
        ("prisma", "include"),
        ("sequelize", "include"),
        ("typeorm", "relations, or leftJoinAndSelect"),
        ("jpa", "JOIN FETCH, or an entity graph"),
        ("gorm", "Preload"),
        ("ent", "With…"),
        ("entity-framework", "Include"),
        ("doctrine", "a fetch join"),
        ("ecto", "preload"),
    ];
    if measured.is_graphql {
        return "DataLoader";
    }
    let of_orm = BY_ORM.iter().find(|(orm, _)| facts.has("orm", orm)).map(|(_, remedy)| *remedy);
    of_orm.unwrap_or_else(|| match () {
        () if facts.has("framework", "django") => "select_related or prefetch_related",
        () if facts.has("framework", "rails") => "includes or preload",
        () if facts.has("framework", "laravel") => "with()",
        () => "a join, or one IN over all ids",
    })
}

/// Routes that are kept as evidence.
const ROUTES_KEPT: usize = 100;

fn evidence(seen: &Seen) -> serde_json::Value {
    json!({
        "database": seen.place, "asked": seen.asked, "refused": seen.refused, "failed": seen.failed,
        "left_out": seen.left_out, "idle_calls_per_s": seen.idle_calls_per_s, "measured_s": seen.window_s,
        "routes": seen.measured.iter().take(ROUTES_KEPT).collect::<Vec<_>>(),
    })
}
