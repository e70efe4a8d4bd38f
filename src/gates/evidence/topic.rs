//! Which report speaks to which gate, which of its findings matter there, and which files of the repository a gate
//! looks at. Pure.

use std::collections::BTreeSet;

use url::Url;

use super::Imported;
use crate::domain::verdict::Severity;
use crate::gates::code::role::Role;
use crate::gates::code::syntax::Source;
use crate::gates::import::kind::{Content, Kind};
use crate::gates::import::scan::Found;

/// Scanners by a word of their names, where their reports come as SARIF.
const SECRET_SCANNERS: [&str; 7] =
    ["gitleaks", "kingfisher", "trufflehog", "detect-secrets", "betterleaks", "noseyparker", "ggshield"];
const CI_LINTERS: [&str; 2] = ["actionlint", "zizmor"];
const MANIFEST_LINTERS: [&str; 4] = ["kube-score", "kube-linter", "hadolint", "checkov"];

/// ZAP's passive rules on headers and cookies (gates.md, security.headers) with our rule for the same thing.
const ZAP_HEADERS: [(&str, &str); 7] = [
    ("10010", "cookie-httponly"),
    ("10011", "cookie-secure"),
    ("10020", "frames"),
    ("10021", "nosniff"),
    ("10035", "hsts"),
    ("10038", "csp"),
    ("10098", "cors-wildcard"),
];
/// ZAP's rules on what is served and should not be: listings, version control, source, `.env`, `.htaccess`, traces,
/// actuators, hidden files.
const ZAP_EXPOSED: [&str; 12] =
    ["0", "41", "42", "10033", "10045", "10099", "40028", "40029", "40032", "40034", "40035", "40042"];
/// nuclei's folders about the same.
const NUCLEI_EXPOSED: [&str; 5] = ["exposures", "misconfiguration", "exposed-panels", "default-logins", "takeovers"];

/// Checks of kube-score, kube-linter, hadolint and checkov about restarts and health.
const RESTARTS: [&str; 22] = [
    "pod-probes",
    "pod-probes-identical",
    "no-readiness-probe",
    "no-liveness-probe",
    "liveness-port",
    "readiness-port",
    "startup-port",
    "deployment-has-poddisruptionbudget",
    "statefulset-has-poddisruptionbudget",
    "deployment-replicas",
    "minimum-three-replicas",
    "deployment-strategy",
    "no-rolling-update-strategy",
    "container-memory-limits",
    "unset-memory-requirements",
    "restart-policy",
    "DL3012",
    "DL3057",
    "CKV_DOCKER_2",
    "CKV_K8S_8",
    "CKV_K8S_9",
    "CKV_K8S_13",
];
/// The same about scaling.
const SCALING: [&str; 12] = [
    "horizontalpodautoscaler-has-target",
    "horizontalpodautoscaler-replicas",
    "deployment-targeted-by-hpa-does-not-have-replicas-configured",
    "dangling-horizontalpodautoscaler",
    "hpa-minimum-replicas",
    "hpa-minimum-three-replicas",
    "deployment-has-host-podantiaffinity",
    "statefulset-has-host-podantiaffinity",
    "no-anti-affinity",
    "container-resources",
    "unset-cpu-requirements",
    "CKV_K8S_10",
];

pub fn speaks_to(report: &Imported, gate: &str) -> bool {
    let of_tool = |tools: &[&str]| tool(&report.content).is_some_and(|t| tools.iter().any(|w| t.contains(w)));
    match (gate, report.kind) {
        ("code.secrets", Kind::Sarif) => of_tool(&SECRET_SCANNERS),
        ("code.leftover_debug", Kind::Sarif) => of_tool(&["eslint"]),
        ("delivery.pipeline", Kind::Sarif) => of_tool(&CI_LINTERS),
        ("infrastructure.restart_health" | "infrastructure.autoscaling", Kind::Sarif) => of_tool(&MANIFEST_LINTERS),
        ("security.injection", Kind::Sarif) => {
            !(of_tool(&SECRET_SCANNERS) || of_tool(&CI_LINTERS) || of_tool(&MANIFEST_LINTERS) || of_tool(&["eslint"]))
        }
        ("security.exposure" | "security.injection", Kind::Zap | Kind::Nuclei) => true,
        ("security.headers", Kind::Zap) => true,
        ("infrastructure.restart_health", Kind::KubeScore | Kind::KubeLinter | Kind::Hadolint) => true,
        ("infrastructure.autoscaling", Kind::KubeScore | Kind::KubeLinter) => true,
        ("code.coverage", Kind::JUnit | Kind::Tap | Kind::Ctrf) => true,
        ("delivery.staging", _) => matches!(report.content, Content::Tests(_)) && report.target.is_some(),
        (_, Kind::Sarif) => false,
        (gate, kind) => kind.gate() == gate,
    }
}

/// Does a scanner's finding answer the gate's question?
pub fn is_about(gate: &str, kind: Kind, found: &Found) -> bool {
    // SARIF of GitHub's actions puts a class before the rule.
    let rule = found.rule.rsplit('/').next().unwrap_or(&found.rule);
    match (gate, kind) {
        ("security.headers", Kind::Zap) => same_header(&found.rule).is_some(),
        ("security.exposure", Kind::Zap) => ZAP_EXPOSED.contains(&found.rule.as_str()),
        ("security.exposure", Kind::Nuclei) => {
            found.topic.as_deref().is_none_or(|t| NUCLEI_EXPOSED.contains(&t)) && found.severity >= Severity::Low
        }
        ("infrastructure.restart_health", _) => RESTARTS.contains(&rule),
        ("infrastructure.autoscaling", _) => SCALING.contains(&rule),
        ("code.leftover_debug", _) => matches!(rule, "no-console" | "no-debugger" | "no-alert"),
        _ => true,
    }
}

/// Our rule behind one of ZAP's.
pub fn same_header(zap: &str) -> Option<&'static str> {
    ZAP_HEADERS.iter().find(|(id, _)| *id == zap).map(|(_, own)| *own)
}

fn tool(content: &Content) -> Option<String> {
    content.tool().0.map(str::to_ascii_lowercase)
}

/// Its answer is about a running system, not about files.
pub fn is_runtime(gate: &str) -> bool {
    gate == "delivery.staging" || matches!(gate.split('.').next(), Some("security" | "performance"))
}

/// Looking at production is no proof about staging, but what it shows is shown; load belongs on staging alone.
pub fn may_be_live(report: &Imported) -> bool {
    !matches!(report.content, Content::Load(_))
}

/// Hosts that a report speaks of.
pub fn hosts(content: &Content) -> BTreeSet<String> {
    let host = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_string);
    match content {
        Content::Load(load) => load.url.as_deref().and_then(host).into_iter().collect(),
        Content::Scan(scan) => {
            let places = scan.findings.iter().filter_map(|f| f.place.as_deref());
            places.filter_map(|p| host(p.split_whitespace().last()?)).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Is a file that git does not track part of the product?
pub fn is_work(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    Source::of(path).is_some()
        || name.starts_with(".env")
        || name.contains("Dockerfile")
        || [".yaml", ".yml", ".tf", ".tpl", ".sql"].iter().any(|e| name.ends_with(e))
}

/// May a change of this file change the gate's answer?
pub fn matters(gate: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ours = path.starts_with(".hypercare/") || name.ends_with(".hc.json") || name == "hypercare.toml";
    let tests = Role::of_path(path) == Role::Test || path.starts_with(".github/") || name == ".gitlab-ci.yml";
    let prose = [".md", ".rst", ".adoc"].iter().any(|e| name.ends_with(e)) || name.starts_with("LICENSE");
    let manifest =
        [".yaml", ".yml", ".json", ".tf", ".tpl"].iter().any(|e| name.ends_with(e)) || name.contains("Dockerfile");
    match gate {
        _ if ours => false,
        // A secret may stand anywhere.
        "code.secrets" => true,
        "code.coverage" | "code.leftover_debug" => Source::of(path).is_some(),
        "delivery.pipeline" => manifest || name == "Jenkinsfile" || name == "Makefile",
        _ if gate.starts_with("infrastructure.") => manifest,
        // What runs is made of everything but words about it.
        _ => !prose && !tests && !path.starts_with("docs/"),
    }
}
