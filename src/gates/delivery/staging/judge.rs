//! What staging answered and what the repository says of it, to a verdict. Pure.

use std::collections::BTreeSet;

use serde_json::json;

use super::environments::Store;
use super::{Config, Seen};
use crate::domain::release::ReleaseId;
use crate::domain::units::count;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::import::junit::CaseResult;
use crate::gates::release::endpoint_answers::{Named, same_commit, same_version};
use crate::gates::release::qa::{Bound, Report};

pub fn judge(seen: &Seen, config: &Config, rid: &ReleaseId) -> Outcome {
    let evidence = json!({
        "url": seen.url, "health": seen.health, "woke_s": seen.woke_s, "version_path": seen.version_path,
        "versions": seen.versions, "release": {"commit": rid.commit, "version": rid.version},
        "smoke": seen.smoke.as_ref().map(|(v, s)| json!({"verdict": v.word(), "summary": s})),
        "imported": seen.imported, "reports": seen.reports, "environments": seen.environments,
    });
    let mut findings = Vec::new();
    let build = build(seen, rid, &mut findings);
    let tested = tested(seen, config, &mut findings);
    surroundings(seen, &mut findings);
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let fails = findings.iter().filter(|f| f.severity >= Severity::High).count();
    let worst = findings.first().filter(|f| f.severity >= Severity::Medium).cloned();
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let outcome = match (worst, build, tested) {
        (Some(first), _, _) if fails > 0 => {
            Outcome::fail(format!("{}{}", first.message, more(fails))).hint(first.fix).tier(Tier::E3)
        }
        (_, Err((reason, text, hint)), _) | (_, _, Err((reason, text, hint))) => {
            Outcome::error(reason, text).hint(hint)
        }
        (Some(first), _, _) => {
            let warns = findings.iter().filter(|f| f.severity == Severity::Medium).count();
            Outcome::warn(format!("{}{}", first.message, more(warns))).hint(first.fix).tier(Tier::E3)
        }
        (None, Ok(serves), Ok(how)) => {
            Outcome::pass(format!("{} serves {serves} and was tested: {how}", seen.target)).tier(Tier::E3)
        }
    };
    outcome.findings(findings).evidence("staging", evidence)
}

/// Reason, text and hint of what could not be told.
type Unknown = (&'static str, String, String);

fn finding(rule: &str, severity: Severity, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(rule, severity, message).fix(fix).identified_by(&[rule])
}

/// Is it up, itself, and this build? Gives what it serves.
fn build(seen: &Seen, rid: &ReleaseId, out: &mut Vec<Finding>) -> Result<String, Unknown> {
    if let Some(name) = &seen.production {
        let text = match *name == seen.target {
            true => format!("{name} is the target that was checked: production is no staging"),
            false => format!("{} and {name} are one address, {}", seen.target, seen.url),
        };
        let fix = "set up a system of its own for staging, and name it in [gates] target";
        out.push(finding("is-production", Severity::Critical, text, fix));
        return Ok(String::new());
    }
    if let Some((path, status)) = seen.health.as_ref().filter(|(_, status)| *status >= 500) {
        let waited = if seen.woke_s > 5 { format!(", for {} s", seen.woke_s) } else { String::new() };
        let text = format!("{} is down: {path} answers {status}{waited}", seen.target);
        out.push(
            finding("down", Severity::High, text, "bring staging up, then check again").route(format!("GET {path}")),
        );
        return Ok(String::new());
    }
    if seen.url.starts_with("http://") && !is_local(&seen.url) {
        let text = format!("{} is asked over plain http: production will not behave so", seen.target);
        out.push(finding("plain-http", Severity::Medium, text, "give staging a certificate, as production has one"));
    }
    if seen.versions.is_empty() {
        let wall = seen.health.as_ref().filter(|(_, s)| matches!(s, 401 | 403));
        let text = match wall {
            Some((_, status)) => {
                format!("{} stands behind a wall ({status}): which build it runs cannot be seen", seen.target)
            }
            None => format!("{} does not say which build it runs", seen.target),
        };
        return Err(("no-version", text, "expose the commit in /version, open to the check".into()));
    }
    let release = shown(&Named { version: rid.version.clone(), commit: rid.short_commit().map(str::to_string) });
    let mut others = BTreeSet::new();
    let (mut same, mut unknown) = (0, 0);
    for named in &seen.versions {
        match is_release(named, rid) {
            Some(true) => same += 1,
            Some(false) => drop(others.insert(shown(named))),
            None => unknown += 1,
        }
    }
    let path = seen.version_path.clone().unwrap_or_default();
    if !others.is_empty() {
        let served = others.into_iter().collect::<Vec<_>>().join(" and ");
        let text = match (same > 0, seen.cached) {
            (true, _) => {
                format!("{} serves {served} beside {release}: not every instance runs this release", seen.target)
            }
            (false, true) => format!("{} serves {served} out of a cache, the release is {release}", seen.target),
            (false, false) => format!("{} serves {served}, the release is {release}", seen.target),
        };
        let found = finding("other-build", Severity::High, text, "deploy this release to staging first");
        out.push(found.route(format!("GET {path}")));
        return Ok(String::new());
    }
    if unknown > 0 {
        let served = seen.versions.iter().find(|n| is_release(n, rid).is_none()).map(shown).unwrap_or_default();
        let text = format!("{path} names {served}, which cannot be compared with the release ({release})");
        return Err(("no-version", text, "expose the commit in /version".into()));
    }
    Ok(release)
}

fn is_local(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|u| crate::net::address::is_loopback(&u))
}

/// By the commit where both know one, else by the version. `None`: there is nothing to compare.
fn is_release(named: &Named, rid: &ReleaseId) -> Option<bool> {
    let commit = named.commit.as_deref().zip(rid.commit.as_deref()).map(|(a, b)| same_commit(a, b));
    commit.or_else(|| named.version.as_deref().zip(rid.version.as_deref()).map(|(a, b)| same_version(a, b)))
}

fn shown(named: &Named) -> String {
    let commit = named.commit.as_deref().map(|c| c.chars().take(7).collect::<String>());
    match (&named.version, commit) {
        (Some(version), Some(commit)) => format!("{version} ({commit})"),
        (Some(one), None) => one.clone(),
        (None, Some(one)) => one,
        (None, None) => "nothing".into(),
    }
}

/// Does the report tell of the running system, by its name or by its tool, rather than of units?
fn is_end_to_end(report: &Report) -> bool {
    const WORDS: [&str; 12] = [
        "e2e",
        "uat",
        "acceptance",
        "end",
        "staging",
        "system",
        "functional",
        "smoke",
        "playwright",
        "cypress",
        "newman",
        "integration",
    ];
    matches!(report.format, "playwright") || words(&report.path).any(|w| WORDS.contains(&w.as_str()))
}

fn words(path: &str) -> impl Iterator<Item = String> {
    path.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase)
}

fn is_acceptance(name: &str) -> bool {
    words(name).any(|w| matches!(w.as_str(), "uat" | "acceptance"))
}

/// Gives what has tested it.
fn tested(seen: &Seen, config: &Config, out: &mut Vec<Finding>) -> Result<String, Unknown> {
    if seen.production.is_some() {
        return Ok(String::new());
    }
    let mut good: Vec<String> = Vec::new();
    let mut accepted = seen.signed;
    let (mut unbound, mut old) = (None, None);
    if let Some((verdict, summary)) = &seen.smoke {
        match verdict {
            Verdict::Pass | Verdict::Warn => good.push("the smoke list is green now".into()),
            Verdict::Fail => out.push(finding(
                "smoke-red",
                Severity::High,
                format!("the smoke list is red: {summary}"),
                "mend it on staging before anybody deploys",
            )),
            Verdict::Skip | Verdict::Error => {}
        }
    }
    let rows = seen.imported.iter().map(|i| (i.file.clone(), i.tests, i.failures, i.flaky, i.stale.clone(), false));
    let own = seen.reports.iter().filter(|r| is_end_to_end(r)).map(|report| {
        let of = |result: CaseResult| report.cases.iter().filter(|c| c.result == result).count() as u64;
        let flaky = report.cases.iter().filter(|c| c.flaky).count() as u64;
        let failed = of(CaseResult::Failed);
        let (why, loose) = match &report.bound {
            Bound::Yes { .. } => (None, false),
            Bound::Unbound => (None, true),
            Bound::Old { why } => (Some(why.clone()), false),
        };
        (report.path.clone(), of(CaseResult::Passed) + failed, failed, flaky, why, loose)
    });
    for (file, tests, failures, flaky, stale, loose) in rows.chain(own) {
        if let Some(why) = stale {
            old.get_or_insert(format!("{file}: {why}"));
            continue;
        }
        if failures > 0 {
            let text = format!("{file}: {} of {tests} failed", count(failures as usize, "test"));
            out.push(
                finding("red-tests", Severity::High, text, "mend what failed, run the suite again").in_file(&file),
            );
            continue;
        }
        if tests == 0 {
            old.get_or_insert(format!("{file}: no test ran"));
            continue;
        }
        if flaky > 0 {
            let text = format!("{file}: {} passed only when run again", count(flaky as usize, "test"));
            let fix = "mend the flaky tests: a retry hides what users will meet";
            out.push(finding("flaky", Severity::Medium, text, fix).in_file(&file));
        }
        accepted |= is_acceptance(&file) && !loose;
        match loose {
            true => unbound = unbound.or(Some(file)),
            false => good.push(format!("{} in {file}", count(tests as usize, "test"))),
        }
    }
    for (file, why) in &seen.unreadable {
        out.push(
            finding("unreadable", Severity::Low, format!("{file}: {why}"), "write the report again").in_file(file),
        );
    }
    if config.require_uat && !accepted {
        let text = "nobody has accepted it: no report called uat or acceptance, and no signature for release.qa";
        out.push(finding("no-uat", Severity::High, text, "run the acceptance tests, or hypercare attest release.qa"));
    }
    if !good.is_empty() {
        return Ok(good.join(", "));
    }
    if let Some(file) = unbound {
        let text = format!("{file}: nothing says that this build was tested");
        let fix = format!("write {file}.hc.json with {{\"commit\": \"SHA\"}} where the tests run, or run them in CI");
        out.push(finding("unbound", Severity::Medium, text, fix).in_file(&file));
        return Ok(String::new());
    }
    let text = match old {
        Some(why) => format!("no test of this release on {}: {why}", seen.target),
        None => format!("no test of this release on {}: neither a smoke list nor a report of its tests", seen.target),
    };
    let hint = format!(
        "hypercare smoke init, or hypercare evidence import junit e2e.xml --commit SHA --target {}",
        seen.target
    );
    Err(("not-tested", text, hint))
}

/// What staging and production share, and where they differ.
fn surroundings(seen: &Seen, out: &mut Vec<Finding>) {
    for shared in &seen.environments.shared {
        let (rule, severity, what) = match shared.kind {
            Store::Database => ("shared-database", Severity::Critical, "database"),
            Store::Cache => ("shared-cache", Severity::Medium, "cache"),
        };
        let name = if shared.name.is_empty() { String::new() } else { format!(" {}", shared.name) };
        let text =
            format!("staging ({}) and production ({}) share one {what}{name}", shared.staging, shared.production);
        let (file, line) = shared.staging.rsplit_once(':').unwrap_or((&shared.staging, "1"));
        let found = Finding::new(rule, severity, text)
            .at(file, line.parse().unwrap_or(1), 1)
            .fix(format!("separate them before any test: give staging a {what} of its own"))
            .identified_by(&[rule, &shared.name, file]);
        out.push(found);
    }
    for version in seen.environments.versions.iter().filter(|v| v.differs()) {
        let ((staging, place), (production, other)) = (&version.staging, &version.production);
        let text =
            format!("staging runs {p} {staging} ({place}), production {p} {production} ({other})", p = version.program);
        let (file, line) = place.rsplit_once(':').unwrap_or((place, "1"));
        let found = Finding::new("parity", Severity::Medium, text)
            .at(file, line.parse().unwrap_or(1), 1)
            .fix(format!("run {} {production} on staging, as production does", version.program))
            .identified_by(&["parity", &version.program]);
        out.push(found);
    }
}
