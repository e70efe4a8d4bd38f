//! Asks each list for few and for many items, and reads the database's counters in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use url::Url;

use super::subjects::{self, Subject, items};
use super::{Config, ITEMS_MIN};
use crate::gates::GateContext;
use crate::gates::actors::Headers;
use crate::gates::database::statements::{NoCounters, is_read, normal_form};
use crate::gates::database::{Place, Session};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response};

/// Everything that the verdict rests on.
#[derive(Debug, Clone)]
pub struct Seen {
    pub place: Place,
    /// Lists.
    pub measured: Vec<Measured>,
    /// Routes that were asked.
    pub asked: usize,
    /// Routes that ask for a login, and lists that failed while they were measured.
    pub refused: Vec<String>,
    pub failed: Vec<String>,
    /// Routes beyond the configured number, or the time.
    pub left_out: usize,
    /// SELECTs a second while nobody was asked.
    pub idle_calls_per_s: f64,
    /// Seconds of measuring.
    pub window_s: f64,
}

/// One list.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub route: String,
    pub is_graphql: bool,
    pub place: Option<(String, u32)>,
    /// What says how many items are wanted; `None`: nothing does.
    pub size_param: Option<String>,
    pub items_few: usize,
    pub items_many: usize,
    pub statements: Vec<Counted>,
    /// Calls in all windows.
    pub calls_total: f64,
}

impl Measured {
    pub fn items_most(&self) -> usize {
        self.items_few.max(self.items_many)
    }
}

/// One SELECT: calls a request, the worse of cold and warm.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    pub text: String,
    pub few: f64,
    pub many: f64,
}

impl Counted {
    /// Calls per further item.
    pub fn slope(&self, few: usize, many: usize) -> Option<f64> {
        (many > few).then(|| (self.many - self.few) / (many - few) as f64)
    }
}

#[derive(Debug)]
pub enum Trouble {
    Counters(NoCounters),
    Net(NetError),
}

impl From<NoCounters> for Trouble {
    fn from(none: NoCounters) -> Trouble {
        Trouble::Counters(none)
    }
}

/// Identical requests of one window.
const REPEATS: u32 = 5;
/// For work that goes on after the answer.
const SETTLE: Duration = Duration::from_millis(30);
/// Time for all routes; what is left then is left out.
const TIME_MAX: Duration = Duration::from_secs(240);

/// Calls of each SELECT, by normal form.
type Calls = BTreeMap<String, u64>;

pub async fn look(ctx: &GateContext, session: &mut Session, target: &Target, config: &Config) -> Result<Seen, Trouble> {
    let prober = ctx.prober(super::ABOUT.id, Intent::Active);
    let actor = match ctx.actors().first() {
        Some(actor) => ctx.signed_in(actor).await.ok(),
        None => None,
    };
    let headers = actor.unwrap_or_default();
    let inventory = ctx.inventory().await;
    let subjects = subjects::of(&inventory, &target.url, config);
    let mut probe = Probe { session, prober, headers, ignored: ctx.config.database.ignore_users.clone(), windows: 0.0 };
    (ctx.progress)(super::ABOUT.id, "listens to the idle database");
    let before = probe.calls().await?;
    tokio::time::sleep(config.idle.0).await;
    let idle: u64 = difference(&before, &probe.calls().await?).values().sum();
    let mut seen = Seen {
        place: probe.session.place.clone(),
        measured: Vec::new(),
        asked: 0,
        refused: Vec::new(),
        failed: Vec::new(),
        left_out: 0,
        idle_calls_per_s: idle as f64 / config.idle.0.as_secs_f64(),
        window_s: 0.0,
    };
    let began = Instant::now();
    for (nth, subject) in subjects.iter().enumerate() {
        if seen.measured.len() >= config.routes || began.elapsed() > TIME_MAX {
            seen.left_out = subjects.len() - nth;
            break;
        }
        (ctx.progress)(super::ABOUT.id, &format!("{} of {} routes", nth + 1, subjects.len()));
        seen.asked += 1;
        match probe.measure(subject).await {
            Ok(Some(measured)) => seen.measured.push(measured),
            Ok(None) => (),
            Err(Stop::Refused) => seen.refused.push(subject.name.clone()),
            Err(Stop::Failed(why)) => seen.failed.push(format!("{}: {why}", subject.name)),
            Err(Stop::Counters(none)) => return Err(Trouble::Counters(none)),
            // One route that answers slowly or not at all is that route's trouble.
            Err(Stop::Net(error @ (NetError::Refused(_) | NetError::Stopped(_)))) => return Err(Trouble::Net(error)),
            Err(Stop::Net(error)) if seen.asked == 1 && subjects.len() == 1 => return Err(Trouble::Net(error)),
            Err(Stop::Net(error)) => seen.failed.push(format!("{}: {error}", subject.name)),
        }
    }
    seen.window_s = probe.windows;
    Ok(seen)
}

enum Stop {
    /// It asks for a login.
    Refused,
    /// A list that stopped being one.
    Failed(String),
    Net(NetError),
    Counters(NoCounters),
}

impl From<NoCounters> for Stop {
    fn from(none: NoCounters) -> Stop {
        Stop::Counters(none)
    }
}

struct Probe<'s> {
    session: &'s mut Session,
    prober: Prober,
    headers: Headers,
    ignored: Vec<String>,
    /// Seconds between counters so far.
    windows: f64,
}

/// What one address cost.
struct Window {
    items: usize,
    /// The worse of the first request alone and the mean of those after it.
    calls: BTreeMap<String, f64>,
    total: f64,
}

impl Probe<'_> {
    async fn calls(&mut self) -> Result<Calls, NoCounters> {
        let traffic = self.session.traffic(&self.ignored).await?;
        let mut out = Calls::new();
        for statement in traffic.statements.iter().filter(|s| is_read(&s.text)) {
            *out.entry(normal_form(&statement.text)).or_default() += statement.calls;
        }
        Ok(out)
    }

    async fn get(&self, url: &Url) -> Result<Response, Stop> {
        // Servers that guard GraphQL against forms of other sites ask for a header that no form can send.
        let mut request = Request { truncate: true, ..Request::get(url.clone()) };
        request = request.header("accept", "application/json, text/html;q=0.9, */*;q=0.1");
        request = request.header("apollo-require-preflight", "true");
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        let response = self.prober.send(request).await.map_err(Stop::Net)?;
        match response.status {
            401 | 403 => Err(Stop::Refused),
            200..300 => Ok(response),
            status => Err(Stop::Failed(format!("answered {status}"))),
        }
    }

    /// `None`: it is no list.
    async fn measure(&mut self, subject: &Subject) -> Result<Option<Measured>, Stop> {
        let first = match self.get(&subject.url).await {
            Ok(response) => response,
            // Whatever does not answer well was no list to begin with.
            Err(Stop::Failed(_)) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        let Some(own) = items(&first) else { return Ok(None) };
        let mut out = Measured {
            route: subject.name.clone(),
            is_graphql: subject.is_graphql,
            place: subject.place.clone(),
            size_param: None,
            items_few: own,
            items_many: own,
            statements: Vec::new(),
            calls_total: 0.0,
        };
        // A list of two has nothing to choose from.
        for (param, few, many) in subject.sizes.iter().filter(|_| own >= ITEMS_MIN) {
            let Some((few_items, many_items)) = self.obeys(few, many, own).await? else { continue };
            let (a, b) = (self.window(few).await?, self.window(many).await?);
            out.size_param = Some(param.clone());
            (out.items_few, out.items_many) = (few_items.min(a.items), many_items.max(b.items));
            out.calls_total = a.total + b.total;
            out.statements = side_by_side(a.calls, b.calls);
            return Ok(Some(out));
        }
        if own >= ITEMS_MIN {
            let window = self.window(&subject.url).await?;
            out.calls_total = window.total;
            out.items_many = window.items;
            out.statements = side_by_side(window.calls.clone(), window.calls);
        }
        Ok(Some(out))
    }

    /// Items for few and for many, when the parameter decides.
    async fn obeys(&mut self, few: &Url, many: &Url, own: usize) -> Result<Option<(usize, usize)>, Stop> {
        let asked = match self.get(few).await {
            Err(Stop::Failed(_)) => return Ok(None),
            asked => asked?,
        };
        let Some(few_items) = items(&asked).filter(|n| *n > 0 && *n < own) else { return Ok(None) };
        let asked = match self.get(many).await {
            Err(Stop::Failed(_)) => return Ok(None),
            asked => asked?,
        };
        Ok(items(&asked).filter(|n| *n > few_items && *n >= ITEMS_MIN).map(|many_items| (few_items, many_items)))
    }

    /// Asks once, and then [`REPEATS`] times more.
    async fn window(&mut self, url: &Url) -> Result<Window, Stop> {
        let began = Instant::now();
        let start = self.calls().await?;
        let count = items(&self.get(url).await?).ok_or_else(|| Stop::Failed("its list was gone".into()))?;
        tokio::time::sleep(SETTLE).await;
        let cold = self.calls().await?;
        for _ in 0..REPEATS {
            self.get(url).await?;
        }
        tokio::time::sleep(SETTLE).await;
        let warm = self.calls().await?;
        self.windows += began.elapsed().as_secs_f64();
        let (first, later) = (difference(&start, &cold), difference(&cold, &warm));
        let total = first.values().chain(later.values()).sum::<u64>() as f64;
        let mut calls: BTreeMap<String, f64> = first.into_iter().map(|(text, n)| (text, n as f64)).collect();
        for (text, n) in later {
            let mean = n as f64 / f64::from(REPEATS);
            let known = calls.entry(text).or_insert(mean);
            *known = known.max(mean);
        }
        Ok(Window { items: count, calls, total })
    }
}

fn side_by_side(few: BTreeMap<String, f64>, mut many: BTreeMap<String, f64>) -> Vec<Counted> {
    let mut out: Vec<Counted> = Vec::new();
    for (text, few) in few {
        let many = many.remove(&text).unwrap_or(0.0);
        out.push(Counted { text, few, many });
    }
    out.extend(many.into_iter().map(|(text, many)| Counted { text, few: 0.0, many }));
    out.sort_by(|a, b| b.many.total_cmp(&a.many));
    out
}

/// What came on top. A statement that the server has forgotten in between is left out.
fn difference(before: &Calls, after: &Calls) -> Calls {
    after
        .iter()
        .map(|(text, n)| (text.clone(), n.saturating_sub(before.get(text).copied().unwrap_or(0))))
        .filter(|(_, n)| *n > 0)
        .collect()
}
