//! The built-in pack follows what exists: when the set of metrics changes, roles are guessed anew and the pack rebuilt.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Engine, EngineError, Scheduled};
use crate::alerts::pack::{self, Subject};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Matcher, NAME};
use crate::domain::roles::{Roles, with_matcher};
use crate::domain::service::ServiceConfig;

/// How often is looked for metrics that came or went: in intervals, between these bounds.
const REFRESH_INTERVALS: u32 = 4;
const REFRESH_MAX: Duration = Duration::from_secs(60);
/// A series without a sample for this long plays no role.
const ALIVE: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Packs {
    pub(super) groups: Vec<Scheduled>,
    pub(super) blind: BTreeMap<String, Vec<&'static str>>,
    built_from: BTreeMap<String, (Roles, BTreeSet<String>)>,
    checked_at: Option<Timestamp>,
}

impl Engine {
    pub(super) async fn refresh_packs(&mut self, now: Timestamp) -> Result<(), EngineError> {
        if !self.setup.config.pack {
            return Ok(());
        }
        let every = (self.setup.config.interval.get() * REFRESH_INTERVALS).min(REFRESH_MAX);
        if self.packs.checked_at.is_some_and(|at| now.since(at) < every) {
            return Ok(());
        }
        self.packs.checked_at = Some(now);
        let services: Vec<(String, ServiceConfig)> =
            self.setup.services.iter().map(|(n, s)| (n.clone(), s.clone())).collect();
        let alone = services.len() == 1;
        for (name, config) in services {
            let names = self.metric_names(&name, alone, now).await?;
            let roles = self.roles(&name, &config, alone, &names, now).await?;
            let built_from = (roles, names);
            if self.packs.built_from.get(&name) == Some(&built_from) {
                continue;
            }
            let subject = Subject {
                service: &name,
                roles: &built_from.0,
                exists: &|metric| built_from.1.contains(metric),
                own: if alone { String::new() } else { own_matcher(&name) },
            };
            let (group, problems) = pack::group(&subject, &self.setup.config.disable);
            for problem in problems {
                tracing::warn!(problem, "a role does not give an expression");
            }
            self.packs.blind.insert(name.clone(), pack::blind(&subject));
            let known = self.packs.groups.iter_mut().find(|s| s.group.name == group.name);
            match known {
                Some(known) => (known.group, known.rules_took) = (Arc::new(group), Vec::new()),
                None => {
                    let interval = self.setup.config.interval.get();
                    self.packs.groups.push(Scheduled::new(group, interval));
                }
            }
            self.packs.built_from.insert(name, built_from);
        }
        Ok(())
    }

    async fn metric_names(&self, service: &str, alone: bool, now: Timestamp) -> Result<BTreeSet<String>, EngineError> {
        if alone {
            return Ok(self.store.samples.label_values(NAME).await?.into_iter().collect());
        }
        let own = [Matcher::equal("service", service)];
        let series = self.store.samples.series(&own, now.minus(ALIVE), now).await?;
        Ok(series.iter().map(|l| l.name().to_string()).collect())
    }

    async fn roles(
        &self,
        service: &str,
        config: &ServiceConfig,
        alone: bool,
        names: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Roles, EngineError> {
        // First pass: whose labels does it want to know? Second pass: with the answer.
        let asked = RefCell::new(BTreeSet::new());
        Roles::resolve(&config.roles, &|n| names.contains(n), &|n| {
            asked.borrow_mut().insert(n.to_string());
            Vec::new()
        });
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in asked.into_inner() {
            let series: Vec<Labels> =
                self.store.samples.series(&[Matcher::equal(NAME, &name)], now.minus(ALIVE), now).await?;
            let found: BTreeSet<String> = series.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_string())).collect();
            labels.insert(name, found.into_iter().collect());
        }
        let mut roles =
            Roles::resolve(&config.roles, &|n| names.contains(n), &|n| labels.get(n).cloned().unwrap_or_default());
        if !alone {
            // A guess names every service's series; what the user wrote is taken as it is.
            let given = |keys: &[&str]| keys.iter().any(|k| config.roles.contains_key(*k));
            let own = |role: &mut Option<String>, keys: &[&str]| {
                if !given(keys) {
                    *role = role.take().map(|r| with_matcher(&r, &own_matcher(service)));
                }
            };
            own(&mut roles.requests, &["http_requests", "requests"]);
            own(&mut roles.latency_bucket, &["latency", "latency_bucket"]);
            own(&mut roles.queue_depth, &["queue_depth", "queue"]);
            own(&mut roles.cpu, &["cpu"]);
            own(&mut roles.memory, &["memory"]);
        }
        Ok(roles)
    }
}

fn own_matcher(service: &str) -> String {
    format!("service=\"{}\"", service.replace('\\', "\\\\").replace('"', "\\\""))
}
