//! What the daemon gets of the configuration: each room's own slice, files found, defaults that need the whole.

use std::path::{Path, PathBuf};

use super::Loaded;
use crate::{daemon, report};

impl Loaded {
    /// Folder of `state.db` and `samples.db`: as written (and resolved) in the configuration, the default beside it.
    pub fn store_dir(&self) -> PathBuf {
        let path = &self.config.store.path;
        if *path == crate::store::Config::default().path { self.dir().join(path) } else { path.clone() }
    }

    /// The daemon's slices. Rule files are looked up now; a pattern that matches nothing is in `rule_files` as written,
    /// so that loading it says which file is missing.
    pub fn setup(&self, allow_exec: bool) -> daemon::Setup {
        let c = &self.config;
        let only = c.only_service();
        let owner = |name: &String, slo: &crate::alerts::SloConfig| {
            let namesake = || c.service.contains_key(name).then(|| name.clone());
            slo.service.clone().or_else(namesake).or(only.map(Into::into))
        };
        let objectives = c.slo.iter().map(|(name, slo)| daemon::ServiceObjective {
            service: owner(name, slo),
            objective: report::Objective {
                name: name.clone(),
                objective: slo.objective,
                bad: slo.bad.clone(),
                good: slo.good.clone(),
                total: slo.total.clone(),
                period: slo.period.get(),
            },
        });
        let room = || url::Url::parse(&format!("http://{}/", c.web.listen)).ok();
        daemon::Setup {
            services: c.service.clone(),
            launches: c.launch.clone(),
            gates: c.gates_told(),
            metrics: c.metric.clone(),
            feedback: c.feedback.clone(),
            objectives: objectives.collect(),
            alerts: c.alerts.clone(),
            rule_files: c.alerts.rule_files.iter().flat_map(|p| matching(&self.dir().join(p))).collect(),
            routes: c.route.clone(),
            channels: c.channel.clone(),
            retention: c.store.retention,
            rollup_retention: c.store.rollup_retention,
            remote: c.store.engine.remote().cloned(),
            samples_bytes_max: u64::from(c.store.max_gib) << 30,
            external_url: c.web.external_url.clone().or_else(room).map(String::from).unwrap_or_default(),
            config_hash: self.hash.clone(),
            run_dir: self.store_dir().join("runs"),
            allow_exec,
        }
    }
}

/// Files that a path with `*` in its last part stands for, sorted; the path itself when it has none or matches nothing.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(folder) = pattern.parent().filter(|_| name.contains('*')) else { return vec![pattern.to_path_buf()] };
    let expression = format!("^{}$", regex::escape(&name).replace("\\*", ".*"));
    let mut found: Vec<PathBuf> = match (regex::Regex::new(&expression), std::fs::read_dir(folder)) {
        (Ok(wanted), Ok(entries)) => entries
            .filter_map(Result::ok)
            .filter(|e| wanted.is_match(&e.file_name().to_string_lossy()))
            .map(|e| e.path())
            .collect(),
        _ => Vec::new(),
    };
    found.sort();
    if found.is_empty() { vec![pattern.to_path_buf()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_sorted_files_and_missing_ones_stay_visible() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.yaml"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(matching(&dir.path().join("*.yml")), [dir.path().join("a.yml"), dir.path().join("b.yml")]);
        assert_eq!(matching(&dir.path().join("no/*.yml")), [dir.path().join("no/*.yml")]);
        assert_eq!(matching(&dir.path().join("one.yml")), [dir.path().join("one.yml")]);
    }
}
