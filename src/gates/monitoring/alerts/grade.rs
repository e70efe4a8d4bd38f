//! How good a rule is for what it is there for: tried at every level, with a table of when it fired.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::roles::{self, Role, role, triggers};
use super::simulate::{self, Subject, World};
use super::world::{self, Case, HEALTHY, Queue};
use super::{Config, Family};
use crate::domain::metric::Matcher;
use crate::domain::units::{number, prose};

/// From bad to good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Does not do what it is there for.
    Bad,
    /// Classified only: its behaviour could not be tried.
    Unproved,
    Weak,
    Good,
}

/// One thing to say about a rule: a word for machines, the message, what to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    pub rule: &'static str,
    pub message: String,
    pub fix: String,
}

#[derive(Debug, Clone)]
pub struct Grade {
    pub standing: Standing,
    pub reasons: Vec<Reason>,
    /// Level, and the minute at which it fired.
    pub table: Vec<(String, Option<i64>)>,
    /// What was found when all was well with it, in words: "fires at 85 %".
    pub measured: String,
    /// The generated promtool test of the case that matters.
    pub test: Option<(String, String)>,
}

impl Grade {
    fn new() -> Grade {
        Grade { standing: Standing::Good, reasons: Vec::new(), table: Vec::new(), measured: String::new(), test: None }
    }
    fn say(&mut self, standing: Standing, rule: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        self.standing = self.standing.min(standing);
        self.reasons.push(Reason { rule, message: message.into(), fix: fix.into() });
    }
    /// `when` ends the words "never fires".
    fn percent_against_ratio(&mut self, subject: &Subject<'_>, when: &str) {
        let (limit, expr) = (subject.limit.unwrap_or(0.0), &subject.rule.text);
        let message = format!("never fires{when}: {} is a percentage, the expression gives a ratio", number(limit));
        let fix = format!("write {} or multiply by 100: {expr}", number(limit / 100.0));
        self.say(Standing::Bad, "percent-against-ratio", message, fix);
    }
    fn inverted(&mut self, subject: &Subject<'_>, message: impl Into<String>) {
        self.say(Standing::Bad, "inverted", message, format!("turn the comparison round: {}", subject.rule.text));
    }
    pub fn json(&self) -> Json {
        let table: Vec<Json> =
            self.table.iter().map(|(level, at)| json!({"case": level, "fired_at_minute": at})).collect();
        json!({"standing": format!("{:?}", self.standing).to_lowercase(), "fired": table,
            "reasons": self.reasons.iter().map(|r| &r.message).collect::<Vec<_>>()})
    }
}

/// Does the rule belong to the family? By what it selects and that it compares, never by its name.
pub fn serves(subject: &Subject<'_>, family: Family) -> bool {
    let compares = subject.expr.compares() || subject.records.iter().any(|r| r.expr.compares());
    compares && subject.selectors.iter().zip(&subject.ranged).any(|(m, ranged)| is_trigger(subject, family, m, *ranged))
}

fn is_trigger(subject: &Subject<'_>, family: Family, matchers: &[Matcher], ranged: bool) -> bool {
    let name = world::name_of(matchers).unwrap_or_default();
    triggers(family, role(&name, matchers, subject.limit), matchers, ranged)
}

fn has_role(subject: &Subject<'_>, wanted: Role) -> bool {
    subject.selectors.iter().any(|m| role(&world::name_of(m).unwrap_or_default(), m, subject.limit) == wanted)
}

/// Tries the rule.
pub async fn grade(subject: &Subject<'_>, family: Family, config: &Config) -> Grade {
    let mut grade = Grade::new();
    if let Some((label, place)) = simulate::staging_only(&subject.selectors) {
        let message = format!("watches {label}=\"{place}\" only");
        grade.say(
            Standing::Bad,
            "staging-only",
            message,
            format!("let it watch production: drop {label} from its selectors"),
        );
        return grade;
    }
    if subject.rule.templated {
        let message = "holds values that only its template knows, so it was not tried";
        grade.say(Standing::Unproved, "templated", message, "commit the rendered rules, or name a Prometheus server");
        return grade;
    }
    let worst: &[Case] = match family {
        Family::Errors => &[Case { errors: 1.0, traffic: 100.0, ..HEALTHY }],
        Family::Cpu => &[Case { cpu: 0.999, ..HEALTHY }, Case { cpu: 0.01, ..HEALTHY }],
        Family::Memory => &[Case { memory: 0.995, ..HEALTHY }, Case { oom: true, ..HEALTHY }],
        Family::Backlog => &[Case { queue: Queue::Rising(5.0, 1000.0), ..HEALTHY }],
    };
    let tried = match subject.world(worst).await {
        Ok(world) => match family {
            Family::Errors => errors(&mut grade, subject, &world, config).await,
            Family::Cpu => cpu(&mut grade, subject, &world, config).await,
            Family::Memory => memory(&mut grade, subject, &world, config).await,
            Family::Backlog => backlog(&mut grade, subject, &world, config).await,
        },
        Err(why) => Err(why),
    };
    match tried {
        Ok(()) => habits(&mut grade, subject, family),
        Err(why) => grade.say(
            Standing::Unproved,
            "not-tried",
            format!("could not be tried on made-up series: {why}"),
            "name a Prometheus server, so that the rule's own state can be read",
        ),
    }
    grade
}

/// What is weak about a rule that works.
fn habits(grade: &mut Grade, subject: &Subject<'_>, family: Family) {
    let wait = subject.rule.wait.as_secs();
    let oom_only =
        family == Family::Memory && (has_role(subject, Role::OomCounter) || has_role(subject, Role::OomFlag));
    let window = subject.expr.window().is_some() || subject.records.iter().any(|r| r.expr.window().is_some());
    if wait == 0 && !window && !oom_only {
        grade.say(
            Standing::Weak,
            "no-for",
            "a single scrape fires it: it has neither `for` nor a window",
            "add for: 5m",
        );
    }
    // Two scrapes at Prometheus' default interval.
    if wait < 120 && (subject.expr.calls("absent") || subject.expr.calls("absent_over_time")) {
        grade.say(
            Standing::Weak,
            "absent-too-soon",
            "absent() with a `for` below two scrapes fires on one that is lost",
            "add for: 5m",
        );
    }
    if family == Family::Errors && subject.selectors.iter().any(|m| roles::only_500(m)) {
        let message = "watches status 500 only: a dead upstream answers 502, 503 or 504";
        grade.say(Standing::Weak, "only-500", message, "match status=~\"5..\"");
    }
}

/// An alert that takes longer than two hours is a report.
const FAR_TOO_LATE: i64 = 120;

/// Says so when it fires later than asked.
fn in_time(grade: &mut Grade, fired: i64, config: &Config) {
    let limit = config.max_detection.get().as_secs() as i64 / 60;
    if fired > limit {
        let message =
            format!("fires after {}, {limit} minutes are asked", prose(Duration::from_secs(fired as u64 * 60)));
        let standing = if fired > FAR_TOO_LATE { Standing::Bad } else { Standing::Weak };
        grade.say(standing, "late", message, "shorten its `for` or its window");
    }
}

fn percent(share: f64) -> String {
    format!("{} %", number((share * 1000.0).round() / 10.0))
}

/// A little above a tenth: `> 0.1` is meant to fire then, whatever rounding does.
const BAD: f64 = 0.101;
/// Few and many requests per second: a share does not depend on them, a count does.
const TRAFFIC: [f64; 2] = [1.0, 100.0];

async fn errors(grade: &mut Grade, subject: &Subject<'_>, world: &World, config: &Config) -> Result<(), String> {
    let at = |errors: f64, traffic: f64| Case { errors, traffic, ..HEALTHY };
    let [mut quiet, mut loud] = [[false; 2]; 2];
    let mut fired = None;
    for (i, traffic) in TRAFFIC.into_iter().enumerate() {
        let healthy = subject.fires(world, &at(HEALTHY.errors, traffic)).await?;
        let bad = subject.fires(world, &at(BAD, traffic)).await?;
        quiet[i] = healthy.is_none();
        loud[i] = bad.is_some();
        fired = bad.or(fired);
        grade.table.push((format!("0.1 % at {traffic} requests/s"), healthy));
        grade.table.push((format!("10 % at {traffic} requests/s"), bad));
    }
    let busy = TRAFFIC[1];
    let mut first = None;
    for share in [0.01, 0.02, 0.05, 0.2, 0.5, 1.0] {
        let at_share = subject.fires(world, &at(share, busy)).await?;
        grade.table.push((percent(share), at_share));
        first = first.or(at_share.map(|_| share));
    }
    let case = at(BAD, busy);
    grade.test = Some(subject.promtool_test(world, &case, subject.fires(world, &case).await?));
    let expr = &subject.rule.text;
    if !quiet[0] && !quiet[1] {
        if !loud[0] && !loud[1] {
            grade.inverted(subject, "fires while all is well and is silent when 10 % fail");
        } else {
            grade.say(
                Standing::Bad,
                "fires-when-healthy",
                "fires while only 0.1 % of requests fail",
                format!("compare the share of errors with a limit such as 0.05: {expr}"),
            );
        }
    } else if !loud[0] && !loud[1] {
        match first {
            Some(share) => {
                let message = format!("fires at {} of errors, silent at 10 %", percent(share));
                grade.say(Standing::Bad, "too-high", message, format!("lower its limit to 0.05: {expr}"));
            }
            None if subject.fires_as_ratio(world, &at(1.0, busy)).await? => {
                grade.percent_against_ratio(subject, ", not even when every request fails");
            }
            None => grade.say(
                Standing::Bad,
                "never-fires",
                "never fires, not even when every request fails",
                format!("change {expr}"),
            ),
        }
    } else if quiet != [true; 2] || loud != [true; 2] {
        let message =
            "counts errors instead of their share: the same limit is too much for few requests or too little for many";
        grade.say(Standing::Weak, "absolute", message, "divide by the rate of all requests");
    }
    if grade.standing > Standing::Bad {
        in_time(grade, fired.unwrap_or(0), config);
        grade.measured = format!("fires {} min into 10 % of errors, silent at 0.1 %", fired.unwrap_or(0));
    }
    Ok(())
}

/// A level is tried a little below itself: `> 80` is silent at 80 and fires at 85, whatever rounding does.
const BELOW: f64 = 0.001;

/// Tries the rule at levels in percent: the first at which it fires and the minute of that, and when it fires at the last.
async fn at_each(
    grade: &mut Grade,
    subject: &Subject<'_>,
    world: &World,
    levels: impl IntoIterator<Item = i32>,
    case: impl Fn(f64) -> Case,
) -> Result<(Option<(i32, i64)>, Option<i64>), String> {
    let (mut first, mut last) = (None, None);
    for level in levels {
        let fired = subject.fires(world, &case(f64::from(level) / 100.0)).await?;
        grade.table.push((format!("{level} %"), fired));
        first = first.or(fired.map(|minute| (level, minute)));
        last = fired;
    }
    Ok((first, last))
}

async fn cpu(grade: &mut Grade, subject: &Subject<'_>, world: &World, config: &Config) -> Result<(), String> {
    let at = |cpu: f64| Case { cpu: cpu - BELOW, ..HEALTHY };
    let levels = (20..=50).step_by(10).chain((55..=95).step_by(5));
    let (first, last) = at_each(grade, subject, world, levels, at).await?;
    let expr = &subject.rule.text;
    let shown = first.map_or(85, |(level, _)| level);
    let case = at(f64::from(shown) / 100.0);
    grade.test = Some(subject.promtool_test(world, &case, subject.fires(world, &case).await?));
    let name = &subject.rule.name;
    let hint = |level: i32| format!("\"{name}\" fires at {level} %, asked 80 %: change {expr}");
    match first {
        None if subject.fires_as_ratio(world, &at(0.95)).await? => grade.percent_against_ratio(subject, ""),
        None => grade.say(Standing::Bad, "never-fires", "is silent at 95 % CPU, asked 80 %", format!("change {expr}")),
        Some((level, _)) if last.is_none() => {
            grade.inverted(subject, format!("fires at {level} % CPU and is silent at 95 %"));
        }
        Some((level, _)) if level <= 20 => {
            grade.say(Standing::Bad, "fires-when-healthy", format!("fires at {level} % CPU already"), hint(level))
        }
        Some((level, _)) if level <= 60 => {
            grade.say(Standing::Weak, "too-low", format!("fires at {level} % CPU, asked 80 %"), hint(level))
        }
        Some((level, _)) if level <= 85 => {}
        Some((level, _)) if level <= 90 => {
            grade.say(Standing::Weak, "too-high", format!("fires at {level} % CPU only, asked 80 %"), hint(level))
        }
        Some((level, _)) => grade.say(
            Standing::Bad,
            "too-high",
            format!("is silent at 90 % CPU, fires at {level} %; asked 80 %"),
            hint(level),
        ),
    }
    if let Some((level, minute)) = first.filter(|_| grade.standing > Standing::Bad) {
        in_time(grade, minute, config);
        grade.measured = format!("fires at {level} % CPU after {minute} min");
    }
    Ok(())
}

async fn memory(grade: &mut Grade, subject: &Subject<'_>, world: &World, config: &Config) -> Result<(), String> {
    let at = |memory: f64| Case { memory: memory - BELOW, ..HEALTHY };
    let levels = [50, 60, 70, 75, 80, 85, 90, 95, 98];
    let (first, last) = at_each(grade, subject, world, levels, at).await?;
    let killed = Case { oom: true, ..HEALTHY };
    let oom = subject.fires(world, &killed).await?;
    grade.table.push(("killed for want of memory".into(), oom));
    let expr = &subject.rule.text;
    let case = first.map_or(killed, |(level, _)| at(f64::from(level) / 100.0));
    grade.test = Some(subject.promtool_test(world, &case, subject.fires(world, &case).await?));
    let limit = subject.limit.unwrap_or(0.0);
    // An amount in bytes depends on the machine: nobody here knows how much memory there is.
    let amount = limit.abs() > 1000.0;
    match first {
        _ if amount => grade.say(
            Standing::Unproved,
            "absolute",
            format!("compares with {} bytes: whether that is nearly full depends on the machine", number(limit)),
            "compare a share: used / limit > 0.9",
        ),
        None if oom.is_some() => {
            grade.say(
                Standing::Weak,
                "after-the-fact",
                "fires only once a container was killed for want of memory",
                "add an alert on the share in use: used / limit > 0.9",
            );
        }
        None if subject.fires(world, &at(0.995)).await?.is_some() => {
            grade.say(
                Standing::Weak,
                "too-high",
                "fires above 98 % of memory only",
                format!("lower its limit to 90 %: {expr}"),
            );
        }
        None if subject.fires_as_ratio(world, &at(0.98)).await? => grade.percent_against_ratio(subject, ""),
        None => grade.say(Standing::Bad, "never-fires", "is silent at 98 % of memory", format!("change {expr}")),
        Some((level, _)) if last.is_none() => {
            grade.inverted(subject, format!("fires at {level} % of memory and is silent at 98 %"));
        }
        Some((level, _)) if level <= 50 => {
            let free = subject
                .selectors
                .iter()
                .any(|m| world::name_of(m).is_some_and(|n| n.ends_with("MemFree_bytes") || n.ends_with("MemFree")));
            let fix = match free {
                true => "use node_memory_MemAvailable_bytes: free memory is little on every healthy Linux".to_string(),
                false => format!("change {expr}"),
            };
            grade.say(Standing::Bad, "fires-when-healthy", format!("fires at {level} % of memory already"), fix);
        }
        Some((level, _)) if level >= 98 => {
            grade.say(
                Standing::Weak,
                "too-high",
                format!("fires at {level} % of memory only"),
                format!("lower its limit to 90 %: {expr}"),
            );
        }
        Some(_) => {}
    }
    if let Some((level, minute)) = first.filter(|_| grade.standing > Standing::Unproved) {
        in_time(grade, minute, config);
        grade.measured = format!("fires at {level} % of memory after {minute} min");
    } else if grade.standing > Standing::Bad {
        grade.measured = oom.map(|minute| format!("fires {minute} min after a kill")).unwrap_or_default();
    }
    Ok(())
}

async fn backlog(grade: &mut Grade, subject: &Subject<'_>, world: &World, config: &Config) -> Result<(), String> {
    let at = |queue: Queue| Case { queue, ..HEALTHY };
    let cases = [
        ("empty", Queue::Flat(5.0)),
        ("rising by 1 a minute", Queue::Rising(5.0, 1.0 / 60.0)),
        ("rising by 1 a second", Queue::Rising(5.0, 1.0)),
        ("rising by 1000 a second", Queue::Rising(5.0, 1000.0)),
        ("long and flat", Queue::Flat(900_000.0)),
    ];
    let mut fired = [None; 5];
    for (i, (name, queue)) in cases.into_iter().enumerate() {
        fired[i] = subject.fires(world, &at(queue)).await?;
        grade.table.push((name.into(), fired[i]));
    }
    let [empty, tiny, slow, steep, flat] = fired;
    let case = at(Queue::Rising(5.0, 1000.0));
    grade.test = Some(subject.promtool_test(world, &case, steep));
    let expr = &subject.rule.text;
    let by_age = has_role(subject, Role::QueueAge);
    let by_growth = ["deriv", "delta", "predict_linear", "rate", "increase"].iter().any(|f| subject.expr.calls(f));
    match steep {
        _ if empty.is_some() && steep.is_none() => {
            grade.say(
                Standing::Bad,
                "inverted",
                "fires on an empty queue and is silent on one that grows",
                format!("turn the comparison round: {expr}"),
            );
        }
        _ if empty.is_some() => {
            grade.say(
                Standing::Bad,
                "fires-when-healthy",
                "fires on a queue that stays at five messages",
                format!("change {expr}"),
            );
        }
        None => grade.say(
            Standing::Bad,
            "never-fires",
            "is silent while a queue grows by 1000 a second",
            format!("change {expr}"),
        ),
        Some(_) if flat.is_some() && tiny.is_none() && !by_age && !by_growth => {
            let message =
                "goes by the queue's size only: a long queue that is being worked off looks like one that grows";
            grade.say(Standing::Weak, "fixed-size", message, "add a condition on growth: and deriv(QUEUE[15m]) > 0");
        }
        Some(_) => {}
    }
    if let Some(minute) = slow.or(steep).filter(|_| grade.standing > Standing::Bad) {
        in_time(grade, steep.unwrap_or(minute), config);
        grade.measured = format!("fires {minute} min into a growing backlog");
    }
    Ok(())
}
