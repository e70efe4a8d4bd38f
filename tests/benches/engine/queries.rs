//! Questions of dashboards and rules, to all servers in turn: medians, CPU of each answer, and whether answers agree.

use std::time::Instant;

use bytes::Bytes;
use url::form_urlencoded::Serializer;

use super::answer::Answer;
use super::client::Connection;
use super::history::{History, at_ms};
use super::server::{Kind, Server};
use super::table::{Figures, Table, median};
use super::{Fleet, Result};

/// Dashboards that are looked at again, each a step later. The day's end is kept for them.
const REFRESHES: i64 = 20;
const STEP_S: i64 = 60;
/// A day, less the first window and the refreshes.
const SPAN_S: i64 = 86_400 - 300 - REFRESHES * STEP_S;
/// Seconds for all the answers of the slowest server to one question.
const PATIENCE_S: f64 = 1.5;
/// What sums in another order may differ by.
const AGREES_PROMETHEUS: f64 = 1e-9;
/// VictoriaMetrics rounds what it stores.
const AGREES_VICTORIA_METRICS: f64 = 1e-6;

const RATE: &str = "sum(rate(http_requests_total[5m])) by (code)";
const QUANTILE: &str = "histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket[5m])) by (le))";
const ONE: &str = r#"node_load1{instance="host-0:9100"}"#;

#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Range,
    /// As [`Kept::Range`], with caches.
    Again,
    /// With caches, and one step later each time.
    Refresh,
    Instant,
}

struct Question {
    what: &'static str,
    query: String,
    kept: Kept,
    /// VictoriaMetrics' `rate` takes the sample before the window too and extrapolates nothing: other values by design.
    rate: bool,
}

fn questions() -> Vec<Question> {
    let ask = |what, kept, query: &str| Question { what, query: query.into(), kept, rate: query.contains("rate(") };
    vec![
        ask("day: sum by(code)(rate(…[5m]))", Kept::Range, RATE),
        ask("day: histogram_quantile(.99, …)", Kept::Range, QUANTILE),
        ask("day: one series, max_over_time(…[5m])", Kept::Range, &format!("max_over_time({ONE}[5m])")),
        ask("day: one series, avg_over_time(…[5m])", Kept::Range, &format!("avg_over_time({ONE}[5m])")),
        ask("again: sum by(code)(rate(…[5m]))", Kept::Again, RATE),
        ask("again: histogram_quantile(.99, …)", Kept::Again, QUANTILE),
        ask("a step later: sum by(code)(rate(…[5m]))", Kept::Refresh, RATE),
        ask("a step later: histogram_quantile(.99, …)", Kept::Refresh, QUANTILE),
        ask("now: sum by(code)(rate(…[5m]))", Kept::Instant, RATE),
        ask("now: histogram_quantile(.99, …)", Kept::Instant, QUANTILE),
        ask("now: max_over_time(…[24h]) of each host", Kept::Instant, "max_over_time(node_load1[24h])"),
        ask("now: one series, avg_over_time(…[24h])", Kept::Instant, &format!("avg_over_time({ONE}[24h])")),
        ask("now: one series, 24 h raw", Kept::Instant, &format!("{ONE}[24h]")),
    ]
}

impl Question {
    fn path(&self, server: &Server, history: &History, nth: usize) -> String {
        let end = history.end_ms / 1000;
        let mut form = Serializer::new(String::new());
        form.append_pair("query", &self.query);
        let uncached = match self.kept {
            Kept::Again | Kept::Refresh => "",
            Kept::Range | Kept::Instant => server.uncached(),
        };
        if self.kept == Kept::Instant {
            let form = form.append_pair("time", &end.to_string()).finish();
            return format!("/api/v1/query?{form}{uncached}");
        }
        let moved = if self.kept == Kept::Refresh { (nth as i64).min(REFRESHES) } else { 0 };
        let end = end - (REFRESHES - moved) * STEP_S;
        let form = form
            .append_pair("start", &(end - SPAN_S).to_string())
            .append_pair("end", &end.to_string())
            .append_pair("step", &STEP_S.to_string())
            .finish();
        format!("/api/v1/query_range?{form}{uncached}")
    }
}

/// Prints the tables; what does not agree comes back in words.
pub async fn ask_all(fleet: &Fleet, history: &History) -> Result<Vec<String>> {
    for server in fleet.each() {
        server.process.forget_peak()?;
    }
    let mut wall = Table::titled("queries: ms, median");
    let mut cpu = Table::titled("queries: ms of CPU");
    let mut agreement = Table::titled("answers: rows x points; differ from ours by");
    let mut disagree = Vec::new();
    for question in questions() {
        let asked = ask(fleet, history, &question).await?;
        wall.row(question.what, 2, asked.wall_ms);
        cpu.row(question.what, 2, asked.cpu_ms);
        let (facts, wrong) = compare(&question, &asked);
        agreement.facts(question.what, facts);
        disagree.extend(wrong);
    }
    agreement.facts("samples with the same bits as were sent", exact(fleet, history).await?);
    let peak = fleet.figures(|server| server.process.memory_peak())?;
    wall.row("memory while answering, MiB at most", 1, peak);
    for table in [wall, cpu, agreement] {
        table.print();
    }
    Ok(disagree)
}

struct Asked {
    wall_ms: Figures,
    cpu_ms: Figures,
    /// The last of each.
    bodies: [Option<Bytes>; 3],
}

async fn ask(fleet: &Fleet, history: &History, question: &Question) -> Result<Asked> {
    let mut connections: Vec<(usize, &Server, Connection)> =
        fleet.with_columns().map(|(column, server)| (column, server, server.connection())).collect();
    let mut slowest = 0.0f64;
    for (_, server, connection) in &mut connections {
        let path = question.path(server, history, 0);
        // The second time: the first may read from disk.
        connection.get(&path).await?;
        let started = Instant::now();
        connection.get(&path).await?;
        slowest = slowest.max(started.elapsed().as_secs_f64());
    }
    let times = match question.kept {
        Kept::Refresh => REFRESHES as usize,
        _ => ((PATIENCE_S / slowest) as usize).clamp(7, 100),
    };
    let mut taken: [Vec<f64>; 3] = Default::default();
    let mut bodies = [const { None }; 3];
    let before = fleet.figures(|server| server.process.cpu())?;
    for nth in 1..=times {
        for (column, server, connection) in &mut connections {
            let path = question.path(server, history, nth);
            let started = Instant::now();
            let body = connection.get(&path).await?;
            taken[*column].push(started.elapsed().as_secs_f64() * 1e3);
            bodies[*column] = Some(body);
        }
    }
    let after = fleet.figures(|server| server.process.cpu())?;
    let cpu_of = |column: usize| Some((after[column]? - before[column]?) * 1e3 / times as f64);
    let wall_ms = taken.map(|t| (!t.is_empty()).then(|| median(t)));
    Ok(Asked { wall_ms, cpu_ms: [cpu_of(0), cpu_of(1), cpu_of(2)], bodies })
}

/// The figures to print, and what they say that should not be.
fn compare(question: &Question, asked: &Asked) -> ([Option<String>; 3], Vec<String>) {
    let read = |body: &Option<Bytes>| body.as_ref().map(|b| Answer::read(b).map_err(|e| e.to_string())).transpose();
    let mut facts = [const { None }; 3];
    let mut wrong = Vec::new();
    let ours = match read(&asked.bodies[0]) {
        Ok(Some(ours)) if ours.points() > 0 => ours,
        _ => return (facts, vec![format!("{}: no answer of ours to compare", question.what)]),
    };
    facts[0] = Some(format!("{} x {}", ours.rows(), ours.points() / ours.rows()));
    for (column, kind) in [(1, Kind::Prometheus), (2, Kind::VictoriaMetrics)] {
        let differs = read(&asked.bodies[column]).and_then(|theirs| theirs.map(|t| ours.differs(&t)).transpose());
        let allowed = match kind {
            Kind::VictoriaMetrics if question.rate => f64::INFINITY,
            Kind::VictoriaMetrics => AGREES_VICTORIA_METRICS,
            _ => AGREES_PROMETHEUS,
        };
        match differs {
            Ok(None) => {}
            Ok(Some(most)) => {
                facts[column] = Some(format!("{most:.0e}"));
                if most > allowed {
                    wrong.push(format!("{}: {kind:?} differs by {most:e}, {allowed:e} is allowed", question.what));
                }
            }
            Err(error) => wrong.push(format!("{}: {kind:?}: {error}", question.what)),
        }
    }
    (facts, wrong)
}

/// Per cent of a few series' samples.
async fn exact(fleet: &Fleet, history: &History) -> Result<[Option<String>; 3]> {
    let mut shares = [const { None }; 3];
    for (column, server) in fleet.with_columns() {
        let (mut same, mut all, mut connection) = (0, 0, server.connection());
        for (labels, values) in &history.witnesses {
            let query = format!("{labels}[24h]");
            let time = (history.end_ms / 1000).to_string();
            let form = Serializer::new(String::new()).append_pair("query", &query).append_pair("time", &time).finish();
            let answer = Answer::read(&connection.get(&format!("/api/v1/query?{form}")).await?)?;
            let wanted = values.iter().enumerate().map(|(nth, v)| (at_ms(history.end_ms, nth), *v));
            same += answer.exact(wanted);
            all += values.len();
        }
        shares[column] = Some(format!("{:.2} %", same as f64 * 100.0 / all as f64));
    }
    Ok(shares)
}
