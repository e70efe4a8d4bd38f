//! THE list of reports that can be imported: the word for each on the command line, its parser, and the gate that it
//! speaks to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::backup::Backups;
use super::junit::TestRun;
use super::load::LoadReport;
use super::reviews::Reviews;
use super::scan::Scan;
use super::{Coverage, ImportError, backup, load, scan};

/// One format. The order is that of the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sarif,
    Gitleaks,
    TruffleHog,
    DetectSecrets,
    Kingfisher,
    Zap,
    Nuclei,
    JUnit,
    Tap,
    Ctrf,
    K6,
    Oha,
    Wrk,
    Wrk2,
    Hey,
    Autocannon,
    Artillery,
    Gatling,
    Locust,
    JMeter,
    Vegeta,
    Bombardier,
    Lcov,
    Cobertura,
    JaCoCo,
    Clover,
    GoCover,
    Istanbul,
    IstanbulSummary,
    CoveragePy,
    LlvmCov,
    SimpleCov,
    PgBackRest,
    Barman,
    Restic,
    Borg,
    KubeScore,
    KubeLinter,
    Hadolint,
    Reviews,
}

/// A report in our own values. Values of secrets were dropped while reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    Scan(Scan),
    Tests(TestRun),
    Load(LoadReport),
    /// Files, covered and total, in the report's own unit.
    Coverage {
        files: u64,
        covered: u64,
        total: u64,
        /// Covered and total of each file, in the report's own paths; empty when there are too many to be kept.
        #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
        by_file: BTreeMap<String, (u64, u64)>,
    },
    Backups(Backups),
    Reviews(Reviews),
}

impl Kind {
    pub const ALL: [Kind; 40] = [
        Kind::Sarif,
        Kind::Gitleaks,
        Kind::TruffleHog,
        Kind::DetectSecrets,
        Kind::Kingfisher,
        Kind::Zap,
        Kind::Nuclei,
        Kind::JUnit,
        Kind::Tap,
        Kind::Ctrf,
        Kind::K6,
        Kind::Oha,
        Kind::Wrk,
        Kind::Wrk2,
        Kind::Hey,
        Kind::Autocannon,
        Kind::Artillery,
        Kind::Gatling,
        Kind::Locust,
        Kind::JMeter,
        Kind::Vegeta,
        Kind::Bombardier,
        Kind::Lcov,
        Kind::Cobertura,
        Kind::JaCoCo,
        Kind::Clover,
        Kind::GoCover,
        Kind::Istanbul,
        Kind::IstanbulSummary,
        Kind::CoveragePy,
        Kind::LlvmCov,
        Kind::SimpleCov,
        Kind::PgBackRest,
        Kind::Barman,
        Kind::Restic,
        Kind::Borg,
        Kind::KubeScore,
        Kind::KubeLinter,
        Kind::Hadolint,
        Kind::Reviews,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Kind::Sarif => "sarif",
            Kind::Gitleaks => "gitleaks",
            Kind::TruffleHog => "trufflehog",
            Kind::DetectSecrets => "detect-secrets",
            Kind::Kingfisher => "kingfisher",
            Kind::Zap => "zap",
            Kind::Nuclei => "nuclei",
            Kind::JUnit => "junit",
            Kind::Tap => "tap",
            Kind::Ctrf => "ctrf",
            Kind::K6 => "k6",
            Kind::Oha => "oha",
            Kind::Wrk => "wrk",
            Kind::Wrk2 => "wrk2",
            Kind::Hey => "hey",
            Kind::Autocannon => "autocannon",
            Kind::Artillery => "artillery",
            Kind::Gatling => "gatling",
            Kind::Locust => "locust",
            Kind::JMeter => "jmeter",
            Kind::Vegeta => "vegeta",
            Kind::Bombardier => "bombardier",
            Kind::Lcov => "lcov",
            Kind::Cobertura => "cobertura",
            Kind::JaCoCo => "jacoco",
            Kind::Clover => "clover",
            Kind::GoCover => "go-cover",
            Kind::Istanbul => "istanbul",
            Kind::IstanbulSummary => "istanbul-summary",
            Kind::CoveragePy => "coveragepy",
            Kind::LlvmCov => "llvm-cov",
            Kind::SimpleCov => "simplecov",
            Kind::PgBackRest => "pgbackrest",
            Kind::Barman => "barman",
            Kind::Restic => "restic",
            Kind::Borg => "borg",
            Kind::KubeScore => "kube-score",
            Kind::KubeLinter => "kube-linter",
            Kind::Hadolint => "hadolint",
            Kind::Reviews => "reviews",
        }
    }

    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.word() == word)
    }

    /// The gate whose question the report helps to answer.
    pub fn gate(self) -> &'static str {
        match self {
            Kind::Sarif | Kind::Zap | Kind::Nuclei => "security.injection",
            Kind::Gitleaks | Kind::TruffleHog | Kind::DetectSecrets | Kind::Kingfisher => "code.secrets",
            Kind::JUnit | Kind::Tap | Kind::Ctrf => "release.qa",
            Kind::K6 | Kind::Oha | Kind::Wrk | Kind::Wrk2 | Kind::Hey | Kind::Autocannon | Kind::Artillery => {
                "performance.load"
            }
            Kind::Gatling | Kind::Locust | Kind::JMeter | Kind::Vegeta | Kind::Bombardier => "performance.load",
            Kind::Lcov | Kind::Cobertura | Kind::JaCoCo | Kind::Clover | Kind::GoCover => "code.coverage",
            Kind::Istanbul | Kind::IstanbulSummary | Kind::CoveragePy => "code.coverage",
            Kind::LlvmCov | Kind::SimpleCov => "code.coverage",
            Kind::PgBackRest | Kind::Barman | Kind::Restic | Kind::Borg => "infrastructure.backup_restore",
            Kind::KubeScore | Kind::KubeLinter => "infrastructure.autoscaling",
            Kind::Hadolint => "infrastructure.restart_health",
            Kind::Reviews => "code.review",
        }
    }

    /// Reads a report. A run without a test, and a load test without a request, is an error.
    pub fn read(self, text: &str) -> Result<Content, ImportError> {
        Ok(match self {
            Kind::Sarif => Content::Scan(scan::sarif::parse(text)?),
            Kind::Gitleaks => Content::Scan(scan::gitleaks::parse(text)?),
            Kind::TruffleHog => Content::Scan(scan::trufflehog::parse(text)?),
            Kind::DetectSecrets => Content::Scan(scan::detect_secrets::parse(text)?),
            Kind::Kingfisher => Content::Scan(scan::kingfisher::parse(text)?),
            Kind::Zap => Content::Scan(scan::zap::parse(text)?),
            Kind::Nuclei => Content::Scan(scan::nuclei::parse(text)?),
            Kind::KubeScore => Content::Scan(scan::kube_score::parse(text)?),
            Kind::KubeLinter => Content::Scan(scan::kube_linter::parse(text)?),
            Kind::Hadolint => Content::Scan(scan::hadolint::parse(text)?),
            Kind::JUnit => tests(super::junit::parse(text)?)?,
            Kind::Tap => tests(super::tap::parse(text)?)?,
            Kind::Ctrf => tests(super::ctrf::parse(text)?)?,
            Kind::K6 => Content::Load(load::k6::parse(text)?),
            Kind::Oha => Content::Load(load::oha::parse(text)?),
            Kind::Wrk | Kind::Wrk2 => Content::Load(load::wrk::parse(text)?),
            Kind::Hey => Content::Load(load::hey::parse(text)?),
            Kind::Autocannon => Content::Load(load::autocannon::parse(text)?),
            Kind::Artillery => Content::Load(load::artillery::parse(text)?),
            Kind::Gatling => Content::Load(load::gatling::parse(text)?),
            Kind::Locust => Content::Load(load::locust::parse(text)?),
            Kind::JMeter => Content::Load(load::jmeter::parse(text)?),
            Kind::Vegeta => Content::Load(load::vegeta::parse(text)?),
            Kind::Bombardier => Content::Load(load::bombardier::parse(text)?),
            Kind::Lcov => coverage(&super::lcov::parse(text)?),
            Kind::Cobertura => coverage(&super::cobertura::parse(text)?),
            Kind::JaCoCo => coverage(&super::jacoco::parse(text)?),
            Kind::Clover => coverage(&super::clover::parse(text)?),
            Kind::GoCover => coverage(&super::go_cover::parse(text)?),
            Kind::Istanbul => coverage(&super::istanbul::parse(text)?),
            Kind::IstanbulSummary => coverage(&super::istanbul_summary::parse(text)?),
            Kind::CoveragePy => coverage(&super::coveragepy::parse(text)?),
            Kind::LlvmCov => coverage(&super::llvm_cov::parse(text)?),
            Kind::SimpleCov => coverage(&super::simplecov::parse(text)?),
            Kind::PgBackRest => Content::Backups(backup::pgbackrest::parse(text)?),
            Kind::Barman => Content::Backups(backup::barman::parse(text)?),
            Kind::Restic => Content::Backups(backup::restic::parse(text)?),
            Kind::Borg => Content::Backups(backup::borg::parse(text)?),
            Kind::Reviews => Content::Reviews(super::reviews::parse(text)?),
        })
    }
}

/// Of the table of files: the whole must stay below what one piece of evidence may have.
const BY_FILE_BYTES_MAX: usize = 700 * 1024;

fn tests(run: TestRun) -> Result<Content, ImportError> {
    if run.tests == 0 { Err(ImportError::Empty("test")) } else { Ok(Content::Tests(run)) }
}

fn coverage(report: &Coverage) -> Content {
    let sum = |(a, b): (u64, u64), t: super::Tally| (a + t.covered, b + t.total);
    let (covered, total) = report.files.keys().map(|file| report.tally(file)).fold((0, 0), sum);
    let bytes: usize = report.files.keys().map(|file| file.len() + 24).sum();
    let of = |file: &String| {
        let t = report.tally(file);
        (file.clone(), (t.covered, t.total))
    };
    let by_file = if bytes <= BY_FILE_BYTES_MAX { report.files.keys().map(of).collect() } else { BTreeMap::new() };
    Content::Coverage { files: report.files.len() as u64, covered, total, by_file }
}

impl Content {
    /// Tool and version, where the report names them.
    pub fn tool(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Content::Scan(scan) => (Some(&scan.tool), scan.version.as_deref()),
            Content::Load(load) => (Some(load.tool), load.version.as_deref()),
            Content::Backups(list) => (Some(list.tool), list.version.as_deref()),
            Content::Tests(_) | Content::Coverage { .. } | Content::Reviews(_) => (None, None),
        }
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        match self {
            Content::Scan(scan) => {
                let closed = scan.findings.len() - scan.open();
                let more =
                    if scan.unlisted > 0 { format!(", {} more not listed", scan.unlisted) } else { String::new() };
                let limits = scan.limits.iter().map(|l| format!("; {l}")).collect::<String>();
                format!("{} open finding(s), {closed} suppressed or ruled out{more}{limits}", scan.open())
            }
            Content::Tests(run) => {
                format!("{} tests, {} failed, {} skipped, {} flaky", run.tests, run.failures, run.skipped, run.flaky)
            }
            Content::Load(load) => {
                let p = |name: &str, v: Option<f64>| v.map(|ms| format!(", {name} {ms:.1} ms")).unwrap_or_default();
                let errors: u64 = load.errors.values().sum();
                let label = load.label.map(|l| format!(" ({l})")).unwrap_or_default();
                let (p95, p99) = (p("p95", load.latency_ms.p95), p("p99", load.latency_ms.p99));
                format!("{} requests, {:.1} req/s{p95}{p99}{label}, {errors} errors", load.requests, load.achieved_rps)
            }
            Content::Coverage { files, covered, total, .. } => {
                format!("{covered} of {total} covered in {files} file(s)")
            }
            Content::Backups(list) => {
                let newest =
                    list.newest().and_then(|b| b.ended_at).map(|t| format!(", newest good one {}", t.rfc3339()));
                format!("{} backup(s){}", list.backups.len(), newest.unwrap_or_default())
            }
            Content::Reviews(list) => {
                let approved = list.changes.iter().filter(|l| l.change.reviews.iter().any(|r| r.approves && !r.stale));
                format!("{} change request(s), {} approved", list.changes.len(), approved.count())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_word_and_a_gate_that_exists_and_refuses_nonsense() {
        let gates: BTreeSet<&str> = crate::gates::all().iter().map(|g| g.about().id).collect();
        let words: BTreeSet<&str> = Kind::ALL.iter().map(|k| k.word()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.word()), Some(kind));
            assert!(gates.contains(kind.gate()), "{}", kind.word());
            for nonsense in ["", "\u{feff}", "hello", "null", "{", "<a>", "0", "\"x\"", "[[[["] {
                assert!(kind.read(nonsense).is_err(), "{} reads {nonsense:?}", kind.word());
            }
        }
    }

    #[test]
    fn zero_tests_are_no_result() {
        assert_eq!(Kind::JUnit.read("<testsuites/>"), Err(ImportError::Empty("test")));
        assert_eq!(Kind::Tap.read("1..0\n"), Err(ImportError::Empty("test")));
    }

    proptest::proptest! {
        #[test]
        fn no_importer_panics(text in "[\\[\\]{}<>\"':,#%a-z0-9\u{e4}\n ./=-]{0,60}") {
            for kind in Kind::ALL {
                let _ = kind.read(&text);
            }
        }
    }
}
