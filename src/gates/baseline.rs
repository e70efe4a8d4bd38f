//! The baseline: findings that were there before somebody looked, written down so that new ones stand out. A ratchet:
//! it may shrink by itself, and every entry that the base branch does not have needs a waiver (`meta.suppressions`).
//!
//! Only static findings of class B and C can stand in it: a blocker is mended or waived by a person, and what was
//! observed on a running system is not old. Fingerprints name rule and place without the line, and hold no secret.
//! An entry covers as many findings as its `count` says. Read by `run.rs`, written by `hypercare baseline`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::context::Repo;
use super::people::base::{self, Parted, Wanted};
use super::{About, Gate, Stage};
use crate::domain::verdict::{Class, Finding, Severity};

pub const FILE: &str = ".hypercare/baseline.json";
const SCHEMA: &str = "hypercare.baseline/v1";
const BYTES_MAX: u64 = 16 << 20;

/// One known finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub gate: String,
    pub rule: String,
    pub fingerprint: String,
    /// Findings with this fingerprint.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u32,
    /// For people; the fingerprint decides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Day on which it was written down.
    pub since: String,
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(count: &u32) -> bool {
    *count == 1
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub schema: String,
    pub entries: Vec<Entry>,
}

impl Document {
    /// Sorted, so that changes of it are easy to read.
    pub fn new(mut entries: Vec<Entry>) -> Document {
        entries.sort_by(|a, b| {
            (&a.gate, &a.file, &a.rule, &a.fingerprint).cmp(&(&b.gate, &b.file, &b.rule, &b.fingerprint))
        });
        Document { schema: SCHEMA.into(), entries }
    }

    pub fn parse(text: &str) -> Result<Document, String> {
        let document: Document = serde_json::from_str(text).map_err(|e| format!("line {}: {e}", e.line()))?;
        if document.schema != SCHEMA {
            return Err(format!("schema must be {SCHEMA}"));
        }
        Ok(document)
    }

    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// What the file's growth is measured against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Against {
    /// There is nothing: no git, or nothing is committed.
    #[default]
    Nothing,
    Base(Parted),
    /// There should be a base, and it cannot be read. Such a baseline covers nothing.
    Unknown(String),
}

/// The baseline in force.
#[derive(Debug, Default)]
pub struct Baseline {
    pub entries: Vec<Entry>,
    /// Entries that cover nothing, and why.
    pub refused: Vec<(Entry, String)>,
    /// Entries, by how many findings they cover more than at the base.
    pub grown: Vec<(Entry, u32)>,
    pub against: Against,
    /// The file is there and cannot be used.
    pub unreadable: Option<String>,
    /// Findings that each entry may still cover.
    left: Mutex<BTreeMap<(String, String), (u32, String)>>,
}

impl Baseline {
    /// Blocking: asks git. `wanted`: the base branch, as the CI tells it.
    pub fn read(repo: &Repo, wanted: Option<&Wanted>) -> Baseline {
        let text = match repo.read(FILE, BYTES_MAX) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Baseline::default(),
            Err(e) => return Baseline { unreadable: Some(e.to_string()), ..Baseline::default() },
        };
        let document = match Document::parse(&text) {
            Ok(document) => document,
            Err(why) => return Baseline { unreadable: Some(why), ..Baseline::default() },
        };
        let gates = super::all();
        let mut out = Baseline::default();
        for entry in document.entries {
            let gate = gates.iter().find(|g| g.about().id == entry.gate);
            match gate.map_or_else(|| Err("there is no such gate".to_string()), |g| accepts(g.as_ref())) {
                Ok(()) => out.entries.push(entry),
                Err(why) => out.refused.push((entry, why)),
            }
        }
        out.compare(repo, wanted);
        let known = matches!(out.against, Against::Unknown(_));
        let covers = out.entries.iter().filter(|_| !known);
        let mut left = BTreeMap::new();
        for entry in covers {
            let key = (entry.gate.clone(), entry.fingerprint.clone());
            left.entry(key).or_insert((0, entry.since.clone())).0 += entry.count;
        }
        out.left = Mutex::new(left);
        out
    }

    fn compare(&mut self, repo: &Repo, wanted: Option<&Wanted>) {
        let Some(git) = &repo.git else { return };
        let base = match base::parted(repo, wanted) {
            Ok(Some(base)) => base,
            Ok(None) => return,
            Err(why) => {
                self.against = Against::Unknown(why);
                return;
            }
        };
        // A base without the file has an empty one.
        let place = format!("{}:{}{FILE}", base.commit, git.below(&repo.root));
        let there = git.run(&["cat-file", "blob", &place]).unwrap_or_default();
        let mut had: BTreeMap<(String, String), u32> = BTreeMap::new();
        for entry in Document::parse(&there).map(|d| d.entries).unwrap_or_default() {
            *had.entry((entry.gate, entry.fingerprint)).or_default() += entry.count;
        }
        for entry in &self.entries {
            let had = had.get_mut(&(entry.gate.clone(), entry.fingerprint.clone()));
            let covered = had.as_ref().map_or(0, |n| **n).min(entry.count);
            if let Some(left) = had {
                *left -= covered;
            }
            if entry.count > covered {
                self.grown.push((entry.clone(), entry.count - covered));
            }
        }
        self.against = Against::Base(base);
    }

    /// Covers one finding of a gate, in words for the report; each entry as often as it says.
    pub fn cover(&self, gate: &str, finding: &Finding) -> Option<String> {
        if !may_stand(finding) {
            return None;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (n, since) = left.get_mut(&(gate.to_string(), finding.fingerprint.clone())).filter(|(n, _)| *n > 0)?;
        *n -= 1;
        Some(format!("baseline, known since {since}"))
    }
}

/// Does the report's text say that the baseline covers the finding?
pub fn is_ours(suppressed: Option<&String>) -> bool {
    suppressed.is_some_and(|text| text.starts_with("baseline, "))
}

/// Which gates' findings may stand in a baseline; the refusal is a sentence for people.
pub fn accepts(gate: &dyn Gate) -> Result<(), String> {
    let About { id, class, stage, .. } = gate.about();
    if *class == Class::A {
        return Err(format!("{id} is class A: a blocker is mended, or waived by a person, never in a baseline"));
    }
    if *stage != Stage::Static {
        return Err(format!("{id} looks at a running system or at people: what it finds is of now, not of old"));
    }
    if gate.without_findings().is_none() {
        return Err(format!("{id} decides by a measure, which no list of findings changes"));
    }
    Ok(())
}

/// Notes need none, and what is critical or blocks whatever its class is no old habit.
pub fn may_stand(finding: &Finding) -> bool {
    finding.severity > Severity::Info && finding.severity < Severity::Critical && !finding.escalate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing::{self, commit, git, write};

    fn entry(gate: &str, print: &str, count: u32) -> Entry {
        Entry {
            gate: gate.into(),
            rule: "r".into(),
            fingerprint: print.into(),
            count,
            file: Some("a.js".into()),
            since: "2026-11-01".into(),
        }
    }

    fn text(entries: &[Entry]) -> String {
        Document::new(entries.to_vec()).text()
    }

    fn found(print: &str, severity: Severity) -> Finding {
        Finding { fingerprint: print.into(), ..Finding::new("r", severity, "m") }
    }

    const GATE: &str = "code.leftover_debug";

    #[test]
    fn an_entry_covers_as_many_as_it_says() {
        let (_dir, repo) =
            testing::repo(&[(FILE, &text(&[entry(GATE, "p", 2), entry("infrastructure.autoscaling", "q", 1)]))]);
        let baseline = Baseline::read(&repo, None);
        let cover = |gate: &str, print: &str, severity| baseline.cover(gate, &found(print, severity)).is_some();
        assert!(
            cover(GATE, "p", Severity::Low) && cover(GATE, "p", Severity::High) && !cover(GATE, "p", Severity::Low)
        );
        assert!(!cover(GATE, "q", Severity::Low), "another gate's");
        assert!(
            !cover("infrastructure.autoscaling", "q", Severity::Critical)
                && cover("infrastructure.autoscaling", "q", Severity::High)
        );
        assert_eq!(baseline.against, Against::Nothing, "a plain folder has no base");
    }

    #[test]
    fn blockers_measures_and_strangers_are_refused() {
        let named = ["code.secrets", "security.headers", "code.coverage", "code.typo"];
        let (_dir, repo) = testing::repo(&[(FILE, &text(&named.map(|g| entry(g, "p", 1))))]);
        let baseline = Baseline::read(&repo, None);
        assert_eq!(baseline.entries, []);
        let why: Vec<&str> = baseline.refused.iter().map(|(_, why)| why.as_str()).collect();
        assert!(why.iter().any(|w| w.contains("code.secrets is class A")), "{why:?}");
        assert!(why.iter().any(|w| w.contains("security.headers looks at a running system")), "{why:?}");
        assert!(why.iter().any(|w| w.contains("decides by a measure")), "{why:?}");
        assert!(baseline.cover("code.secrets", &found("p", Severity::High)).is_none());
    }

    #[test]
    fn growth_is_measured_against_the_base_branch() {
        let (dir, _) = testing::git_repo(&[(FILE, &text(&[entry(GATE, "p", 2), entry(GATE, "gone", 1)]))]);
        let root = dir.path();
        let grown = |named: Option<&str>| {
            let b = Baseline::read(&testing::open(root), named.map(Wanted::option).as_ref());
            b.grown.iter().map(|(e, n)| format!("{} {n}", e.fingerprint)).collect::<Vec<_>>()
        };
        assert_eq!(grown(None), [""; 0], "committed as it is");
        write(root, FILE, text(&[entry(GATE, "p", 1)]).as_bytes());
        assert_eq!(grown(None), [""; 0], "it may shrink");
        write(root, FILE, text(&[entry(GATE, "p", 5), entry(GATE, "new", 1)]).as_bytes());
        assert_eq!(grown(None), ["new 1", "p 3"], "not even committed");
        git(root, &["checkout", "-q", "-b", "topic"]);
        commit(root, "grow");
        assert_eq!(grown(None), ["new 1", "p 3"], "main is the usual base");
        assert_eq!(grown(Some("main")), ["new 1", "p 3"]);
        let lost = Baseline::read(&testing::open(root), Some(&Wanted::option("release")));
        assert!(matches!(&lost.against, Against::Unknown(why) if why.contains("release")));
        assert!(lost.cover(GATE, &found("p", Severity::Low)).is_none(), "what cannot be compared covers nothing");
    }

    #[test]
    fn a_damaged_file_covers_nothing() {
        for bad in
            ["", "{", "{\"schema\":\"hypercare.baseline/v2\",\"entries\":[]}", "{\"schema\":\"hypercare.baseline/v1\"}"]
        {
            let (_dir, repo) = testing::repo(&[(FILE, bad)]);
            let baseline = Baseline::read(&repo, None);
            assert!(baseline.unreadable.is_some() && baseline.entries.is_empty(), "{bad}");
        }
        let (_dir, repo) = testing::repo(&[("a.js", "")]);
        assert!(Baseline::read(&repo, None).unreadable.is_none(), "no baseline is no trouble");
    }

    /// Every gate that may be in a baseline, on the product that it must stop: the same fingerprints when lines move.
    #[tokio::test]
    async fn fingerprints_survive_when_lines_move() {
        use crate::gates::{facts::Facts, runner, testing};
        use std::sync::Arc;
        let mut tried = 0;
        for gate in crate::gates::all().into_iter().filter(|g| accepts(g.as_ref()).is_ok()) {
            let gate: Arc<dyn Gate> = Arc::from(gate);
            let Some(proof) = gate.proof().filter(|p| p.bad.left.is_empty()) else { continue };
            let mut prints = Vec::new();
            for shift in ["", "\n\n"] {
                let text = |text: &String| format!("{shift}{}", text.replace(crate::gates::proof::TODAY, "2026-11-22"));
                let files: Vec<(&str, String)> = proof.bad.files.iter().map(|(path, t)| (*path, text(t))).collect();
                let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
                let (_dir, repo) = testing::git_repo(&files);
                let (_runs, ctx) = testing::context(|ctx| {
                    ctx.facts = Arc::new(Facts::look(&repo));
                    ctx.profile = proof.bad.profile;
                    ctx.repo = Some(repo);
                    if let Some(change) = proof.bad.settings {
                        change(Arc::make_mut(&mut ctx.config));
                    }
                });
                let results = runner::run(std::slice::from_ref(&gate), &Arc::new(ctx), "").await;
                prints.push(results[0].0.findings.iter().map(|f| f.fingerprint.clone()).collect::<Vec<_>>());
            }
            assert_eq!(prints[0], prints[1], "{}", gate.about().id);
            tried += usize::from(!prints[0].is_empty());
        }
        assert!(tried >= 4, "only {tried} gates had findings");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-z0-9 {}\\[\\]:,\"/.-]{0,200}") {
            let _ = Document::parse(&text);
        }
    }
}
