//! One target of one source: when it is due, which labels its samples get, which series vanished, what a failure means.
//! The rules are Prometheus' own (watch.md 2.1), so that known queries and dashboards work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::memory::{Difference, Memory};
use super::{Batch, Context, MetricSource, Scrape, SourceError};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{
    LabelledSample, Labels, Metadata, MetricKind, NAME, Roster, Round, Sample, Text, stale_marker,
};
use crate::sources::schedule;

/// Samples from further ahead than this are dropped: a target's clock that runs wild must not poison the store.
const AHEAD_MAX: Duration = Duration::from_secs(600);

/// One target of one source, with its schedule and its memory of which series it gave last.
pub struct Collector {
    /// `NAME` or `NAME/instance`: the target in gaps.
    pub name: String,
    pub service: String,
    pub interval: Duration,
    /// Covers everything from connect to the last byte, and a probe's confirmation.
    pub timeout: Duration,
    pub source: Box<dyn MetricSource>,
    clock: SharedClock,
    offset: Duration,
    labeller: Labeller,
    /// `up` and what else is told of each poll.
    report: Arc<Roster>,
    sample_limit: usize,
    memory: Memory,
    last_metadata: Arc<Vec<Metadata>>,
}

/// Gives series their target's labels.
#[derive(Clone)]
pub(super) struct Labeller {
    /// Sorted by name.
    target_labels: Vec<(Text, Text)>,
    honor_labels: bool,
}

/// What a source says about one of its targets.
pub(super) struct Target<'a> {
    /// The name in `[metric.NAME]`, the label `job`.
    pub(super) job: &'a str,
    /// Is it the only target of its job? Then the collector's name is the job alone.
    pub(super) only: bool,
    pub(super) instance: String,
    pub(super) service: String,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) honor_labels: bool,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// 0 where no limit applies.
    pub(super) sample_limit: usize,
}

impl Target<'_> {
    pub(super) fn labeller(&self) -> Labeller {
        let own = [("job", self.job), ("instance", &self.instance), ("service", &self.service)];
        let given = self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let target_labels = Labels::new(own.into_iter().chain(given)).pairs().to_vec();
        Labeller { target_labels, honor_labels: self.honor_labels }
    }
}

impl Collector {
    pub(super) fn new(target: Target<'_>, source: Box<dyn MetricSource>, ctx: &Context) -> Collector {
        let name = if target.only { target.job.to_string() } else { format!("{}/{}", target.job, target.instance) };
        let labeller = target.labeller();
        let report = REPORT.iter().map(|name| labeller.own(name)).collect();
        Collector {
            offset: schedule::offset(&name, ctx.instance_seed, target.interval),
            name,
            labeller,
            report: Arc::new(Roster::new(report)),
            service: target.service,
            interval: target.interval,
            timeout: target.timeout,
            source,
            clock: ctx.clock.clone(),
            sample_limit: target.sample_limit,
            memory: Memory::default(),
            last_metadata: Arc::default(),
        }
    }

    /// First slot after `after`: absolute multiples of the interval, offset by a hash of name and seed.
    pub fn next_slot(&self, after: Timestamp) -> Timestamp {
        schedule::next_slot(after, self.interval, self.offset)
    }

    /// Polls once within the timeout. Never fails: a failure is a gap, `up 0` and stale markers. Samples without a time
    /// of their own get `slot`.
    pub async fn collect(&mut self, slot: Timestamp) -> Batch {
        let started = self.clock.monotonic();
        let polled = tokio::time::timeout(self.timeout, self.source.poll(slot)).await;
        let took = self.clock.monotonic().saturating_sub(started);
        match polled {
            Ok(Ok(scrape)) => self.good(slot, scrape, took),
            Ok(Err(error)) => self.bad(slot, error, took),
            Err(_) => {
                let detail = format!("no answer within {:?}", self.timeout);
                self.bad(slot, SourceError::new(GapReason::Timeout, detail), took)
            }
        }
    }

    /// Stale markers for everything, when the target is removed.
    pub fn retire(&mut self, slot: Timestamp) -> Batch {
        let vanished = self.memory.turn(&Arc::default(), Vec::new()).vanished;
        let samples = gone(vanished, slot).chain(gone(self.report.series().to_vec(), slot)).collect();
        Batch { target: self.name.clone(), samples, ..Batch::default() }
    }

    fn good(&mut self, slot: Timestamp, scrape: Scrape, took: Duration) -> Batch {
        let mut round = scrape.round.unwrap_or_default();
        if !scrape.samples.is_empty() {
            round = self.rounded(scrape.samples);
        }
        let scraped = round.samples.len();
        let latest = self.clock.now().max(slot).plus(AHEAD_MAX);
        if round.samples.iter().any(|s| s.t > latest) {
            let kept = round.listed().filter(|s| s.sample.t <= latest).collect();
            round = self.memory.round(kept);
        }
        let ahead = scraped - round.samples.len();
        // Samples with a time of their own get no stale markers: nobody knows when they end.
        let timed = round.samples.iter().enumerate().filter(|(_, s)| s.t != slot).map(|(at, _)| at).collect();
        let Difference { added, vanished } = self.memory.turn(&round.roster, timed);
        let twice = self.memory.repeats().len();
        if ahead + twice > 0 {
            tracing::debug!(target_name = %self.name, ahead, twice, "samples dropped");
        }
        let (mut rounds, mut samples) = (Vec::with_capacity(2), Vec::new());
        if twice == 0 {
            rounds.push(round);
        } else {
            let repeats = self.memory.repeats();
            let all = round.listed().enumerate();
            samples.extend(all.filter(|(at, _)| repeats.binary_search(at).is_err()).map(|(_, sample)| sample));
        }
        samples.extend(gone(vanished, slot));
        let kept = scraped - ahead - twice;
        rounds.push(self.report(slot, took, Report { up: true, scraped, kept, added, bytes: scrape.body_bytes }));
        Batch { target: self.name.clone(), rounds, samples, metadata: self.news(scrape.metadata), gap: None }
    }

    /// Metadata that say something, if they are not the last poll's.
    fn news(&mut self, metadata: Arc<Vec<Metadata>>) -> Vec<Metadata> {
        let last = std::mem::replace(&mut self.last_metadata, metadata);
        let described = |f: &&Metadata| f.kind != MetricKind::Unknown || !f.help.is_empty();
        let said = || self.last_metadata.iter().filter(described);
        if Arc::ptr_eq(&last, &self.last_metadata) || said().eq(last.iter().filter(described)) {
            return Vec::new();
        }
        said().cloned().collect()
    }

    fn bad(&mut self, slot: Timestamp, error: SourceError, took: Duration) -> Batch {
        let round = self.rounded(error.samples);
        let vanished = self.memory.turn(&round.roster, Vec::new()).vanished;
        let samples = gone(vanished, slot).collect();
        let gap = Gap {
            target: self.name.clone(),
            from: slot,
            to: slot.plus(self.interval),
            reason: error.reason,
            detail: error.detail,
        };
        let rounds = vec![round, self.report(slot, took, Report::default())];
        Batch { target: self.name.clone(), rounds, samples, metadata: Vec::new(), gap: Some(gap) }
    }

    /// With the target's labels.
    fn rounded(&self, samples: Vec<LabelledSample>) -> Round {
        let complete = |s: LabelledSample| LabelledSample { labels: self.labeller.complete(&s.labels), ..s };
        self.memory.round(samples.into_iter().map(complete).collect())
    }

    fn report(&self, slot: Timestamp, took: Duration, report: Report) -> Round {
        let values = [
            f64::from(u8::from(report.up)),
            took.as_secs_f64(),
            report.scraped as f64,
            report.kept as f64,
            report.added as f64,
            self.timeout.as_secs_f64(),
            self.sample_limit as f64,
            report.bytes as f64,
        ];
        let samples = values.into_iter().map(|v| Sample { t: slot, v }).collect();
        Round { roster: self.report.clone(), samples }
    }
}

/// What every poll tells of itself, in the order of [`Collector::report`].
const REPORT: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];

impl Labeller {
    /// The series' labels with the target's. A conflict is renamed `exported_…`, or with `honor_labels` won by the series.
    pub(super) fn complete(&self, scraped: &Labels) -> Labels {
        let mut pairs: Vec<(Text, Text)> = Vec::with_capacity(scraped.len() + self.target_labels.len());
        let is_ours = |name: &str| self.target_labels.iter().any(|(n, _)| **n == *name);
        for (name, value) in scraped.pairs() {
            if self.honor_labels || !is_ours(name) {
                pairs.push((name.clone(), value.clone()));
                continue;
            }
            let mut renamed = format!("exported_{name}");
            while is_ours(&renamed) || scraped.get(&renamed).is_some() {
                renamed.insert_str(0, "exported_");
            }
            pairs.push((renamed.into(), value.clone()));
        }
        let theirs = |name: &str| self.honor_labels && scraped.get(name).is_some();
        pairs.extend(self.target_labels.iter().filter(|(n, _)| !theirs(n)).cloned());
        Labels::new(pairs)
    }

    /// A series of the target itself.
    fn own(&self, name: &str) -> Labels {
        Labels::new(self.target_labels.iter().cloned().chain([(NAME.into(), name.into())]))
    }
}

#[derive(Default)]
struct Report {
    up: bool,
    scraped: usize,
    kept: usize,
    added: usize,
    bytes: u64,
}

/// Stale markers for series that were there last time.
fn gone(series: Vec<Labels>, slot: Timestamp) -> impl Iterator<Item = LabelledSample> {
    series.into_iter().map(move |labels| LabelledSample { labels, sample: stale(slot) })
}

fn stale(slot: Timestamp) -> Sample {
    Sample { t: slot, v: stale_marker() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::super::{sample, test_context};
    use super::*;
    use crate::domain::metric::is_stale;

    /// Gives what it is told to, poll by poll.
    struct Told(Mutex<Vec<Result<Scrape, SourceError>>>);

    impl MetricSource for Told {
        fn poll<'a>(&'a self, _: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>> {
            let next = self.0.lock().unwrap().remove(0);
            async move { next }.boxed()
        }
    }

    fn collector(honor_labels: bool, polls: Vec<Result<Scrape, SourceError>>) -> Collector {
        let labels = BTreeMap::from([("zone".to_string(), "a".to_string())]);
        let target = Target {
            job: "app",
            only: true,
            instance: "shop:80".into(),
            service: "shop".into(),
            labels: &labels,
            honor_labels,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            sample_limit: 50_000,
        };
        Collector::new(target, Box::new(Told(Mutex::new(polls))), &test_context())
    }

    fn scrape(names: &[&str], slot: Timestamp) -> Result<Scrape, SourceError> {
        Ok(Scrape { samples: names.iter().map(|n| sample(n, &[], slot, 1.0)).collect(), ..Scrape::default() })
    }

    fn value(batch: &Batch, name: &str) -> Option<f64> {
        batch.clone().flattened().samples.iter().find(|s| s.labels.name() == name).map(|s| s.sample.v)
    }

    const SLOT: Timestamp = Timestamp::from_ms(1_800_000_000_000);

    #[tokio::test]
    async fn vanished_series_and_failures_leave_stale_markers() {
        let later = SLOT.plus(Duration::from_secs(15));
        let failed = SourceError::new(GapReason::Connect, "connection refused");
        let polls = vec![scrape(&["a", "b"], SLOT), scrape(&["b", "c"], later), Err(failed.clone()), Err(failed)];
        let mut collector = collector(false, polls);
        let first = collector.collect(SLOT).await;
        assert_eq!((value(&first, "up"), value(&first, "scrape_series_added")), (Some(1.0), Some(2.0)));
        assert_eq!(
            first.flattened().samples[0].labels.to_string(),
            "a{instance=\"shop:80\",job=\"app\",service=\"shop\",zone=\"a\"}"
        );
        let second = collector.collect(later).await;
        assert!(is_stale(value(&second, "a").unwrap()) && second.gap.is_none());
        assert_eq!(value(&second, "scrape_series_added"), Some(1.0));
        let third = collector.collect(later).await;
        assert_eq!((value(&third, "up"), value(&third, "scrape_samples_scraped")), (Some(0.0), Some(0.0)));
        assert!(["b", "c"].iter().all(|n| is_stale(value(&third, n).unwrap())));
        let gap = third.gap.unwrap();
        assert_eq!((gap.reason, gap.from, gap.to), (GapReason::Connect, later, later.plus(Duration::from_secs(15))));
        let fourth = collector.collect(later).await;
        assert_eq!(value(&fourth, "b"), None, "marked once");
    }

    #[tokio::test]
    async fn labels_in_conflict_are_renamed_or_honoured() {
        let given = || {
            let labels = [("job", "theirs"), ("exported_job", "x"), ("zone", "b")];
            Ok(Scrape { samples: vec![sample("a", &labels, SLOT, 1.0)], ..Scrape::default() })
        };
        let renamed = collector(false, vec![given()]).collect(SLOT).await.flattened().samples.remove(0).labels;
        assert_eq!(renamed.get("exported_exported_job"), Some("theirs"));
        assert_eq!(
            (renamed.get("job"), renamed.get("zone"), renamed.get("exported_zone")),
            (Some("app"), Some("a"), Some("b"))
        );
        let honoured = collector(true, vec![given()]).collect(SLOT).await.flattened().samples.remove(0).labels;
        assert_eq!(
            (honoured.get("job"), honoured.get("zone"), honoured.get("instance")),
            (Some("theirs"), Some("b"), Some("shop:80"))
        );
    }

    #[tokio::test]
    async fn own_timestamps_are_kept_unless_they_lie_far_ahead() {
        let clock_now = test_context().clock.now();
        let mut samples: Vec<_> =
            ["old", "ahead", "twice", "twice"].iter().map(|n| sample(n, &[], SLOT, 1.0)).collect();
        samples[0].sample.t = Timestamp::from_ms(1000);
        samples[1].sample.t = clock_now.max(SLOT).plus(Duration::from_secs(700));
        let polls = vec![Ok(Scrape { samples, ..Scrape::default() }), scrape(&[], SLOT)];
        let mut collector = collector(false, polls);
        let batch = collector.collect(SLOT).await;
        let old = batch.samples.iter().find(|s| s.labels.name() == "old").unwrap();
        assert_eq!(old.sample.t.ms(), 1000);
        assert_eq!((value(&batch, "ahead"), value(&batch, "scrape_samples_post_metric_relabeling")), (None, Some(2.0)));
        let next = collector.collect(SLOT).await;
        assert_eq!(value(&next, "old"), None, "no stale marker for a series with its own times");
        assert!(is_stale(value(&next, "twice").unwrap()));
    }

    #[tokio::test]
    async fn a_removed_target_leaves_nothing_alive() {
        let mut collector = collector(false, vec![scrape(&["a"], SLOT)]);
        collector.collect(SLOT).await;
        let last = collector.retire(SLOT);
        assert!(["a", "up", "scrape_duration_seconds"].iter().all(|n| is_stale(value(&last, n).unwrap())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_is_a_timeout() {
        struct Hangs;
        impl MetricSource for Hangs {
            fn poll<'a>(&'a self, _: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>> {
                std::future::pending().boxed()
            }
        }
        let mut collector = collector(false, vec![]);
        collector.source = Box::new(Hangs);
        let batch = collector.collect(SLOT).await;
        assert_eq!(batch.gap.unwrap().reason, GapReason::Timeout);
    }
}
