//! What scanners report, beside what a gate found itself. A gate that looked keeps its own findings and gets those that
//! it has not; one that could not look is answered by the report, at the report's own tier.

use super::{Piece, Standing, topic};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::import::kind::{Content, Kind};
use crate::gates::import::scan::{Found, Live, Scan, Standing as Ruled};
use crate::gates::{About, GateContext, suppression};

/// Findings of one report that are listed.
const FINDINGS_MAX: usize = 300;
/// Errors that say nothing of whether the gate could look: they stay.
const FINAL_ERRORS: [&str; 7] =
    ["refused", "stopped", "interrupted", "panicked", "bad-config", "not-run", "exec-not-trusted"];

/// The gate could not look; another tool's report may answer.
pub fn looked_not(own: &Outcome) -> bool {
    own.verdict == Verdict::Error && !FINAL_ERRORS.contains(&own.reason.as_deref().unwrap_or_default())
}

impl GateContext {
    /// The gate's own answer, with what other scanners found. Without their reports it is the gate's own.
    pub fn with_imports(&self, about: &About, own: Outcome) -> Outcome {
        join(self, about, own)
    }
}

fn join(ctx: &GateContext, about: &About, own: Outcome) -> Outcome {
    let pieces: Vec<Piece<'_>> = ctx.evidence_for(about.id);
    let scans: Vec<(&Piece<'_>, &Scan)> = pieces
        .iter()
        .filter_map(|p| if let Content::Scan(scan) = &p.report.content { Some((p, scan)) } else { None })
        .collect();
    if scans.is_empty() {
        return own;
    }
    let now = ctx.clock.now();
    let mut own = own;
    let known = Known::of(&own.findings);
    let mut added = Vec::new();
    for (piece, scan) in &scans {
        // What was wrong with a secret then is still wrong with it; anything else may have been mended.
        if piece.standing.is_stale() && about.id != "code.secrets" {
            continue;
        }
        let relevant = scan.findings.iter().filter(|f| topic::is_about(about.id, piece.report.kind, f));
        for found in relevant.take(FINDINGS_MAX) {
            match known.same(about.id, found) {
                Some(nth) => agree(&mut own, nth, scan, found),
                None => added.push(finding(about.id, piece, scan, found)),
            }
        }
    }
    if let Some(repo) = &ctx.repo {
        suppression::mark(repo, about.id, &mut added);
    }
    let rows: Vec<_> = scans.iter().map(|(piece, _)| piece.row(now)).collect();
    let counts: Vec<&(&Piece<'_>, &Scan)> = scans.iter().filter(|(p, _)| !p.standing.is_stale()).collect();
    if looked_not(&own) {
        own = match (counts.first(), scans.first()) {
            (Some((piece, scan)), _) => by_report(own, piece, scan, now),
            (None, Some((piece, _))) => {
                let why = piece.standing.why().unwrap_or_default();
                let said = format!("{}; {}: {why}", own.summary, piece.name(now));
                Outcome { reason: Some("stale-evidence".into()), summary: said, ..own }
            }
            (None, None) => own,
        };
    }
    raise(own, added).evidence("imports", rows.into())
}

/// A report instead of a look.
fn by_report(own: Outcome, piece: &Piece<'_>, scan: &Scan, now: crate::domain::clock::Timestamp) -> Outcome {
    let reason = own.reason.clone().unwrap_or_default();
    let said = format!("{} ({}) reports nothing else; not looked at here: {reason}", scan.tool, piece.name(now));
    let outcome = match &piece.standing {
        Standing::Unbound(why) => Outcome::warn(format!("{said}; {why}")),
        _ => Outcome::pass(said),
    };
    let outcome = Outcome { findings: own.findings, evidence: own.evidence, ..outcome };
    match own.hint {
        Some(hint) => outcome.tier(Tier::E2).hint(hint),
        None => outcome.tier(Tier::E2),
    }
}

/// The verdict that open findings of others demand, on top of the gate's own.
fn raise(own: Outcome, added: Vec<Finding>) -> Outcome {
    let weight = |f: &Finding| match (f.severity, f.confidence) {
        _ if f.suppressed.is_some() => Verdict::Skip,
        (Severity::Critical | Severity::High, Confidence::High) => Verdict::Fail,
        (Severity::Info | Severity::Low, _) => Verdict::Skip,
        _ => Verdict::Warn,
    };
    let worst = added.iter().map(weight).max().unwrap_or(Verdict::Skip);
    let mut out = own;
    if worst > out.verdict {
        let first = added.iter().find(|f| weight(f) == worst);
        let n = added.iter().filter(|f| weight(f) == worst).count();
        let more = if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
        if let Some(first) = first {
            out.summary = format!("{}{more}; own look: {}", first.message, out.summary);
            out.hint = Some(format!("{}: {}", first.message, first.fix));
        }
        (out.verdict, out.reason) = (worst, None);
        out.tier = out.tier.or(Some(Tier::E2));
    }
    out.findings.extend(added);
    out
}

/// Places that the gate has a finding for.
struct Known {
    lines: Vec<(String, u32)>,
    routes: Vec<Option<String>>,
    rules: Vec<String>,
}

impl Known {
    fn of(findings: &[Finding]) -> Known {
        Known {
            lines: findings.iter().map(|f| (f.file.clone().unwrap_or_default(), f.line.unwrap_or_default())).collect(),
            routes: findings.iter().map(|f| f.route.clone()).collect(),
            rules: findings.iter().map(|f| f.rule.clone()).collect(),
        }
    }

    /// The gate's own finding that says the same; by place, and headers by what they are about.
    fn same(&self, gate: &str, found: &Found) -> Option<usize> {
        if gate == "security.headers" {
            let own = topic::same_header(&found.rule)?;
            return self.rules.iter().position(|rule| rule == own);
        }
        if let (Some(file), Some(line)) = (&found.file, found.line) {
            // Tools number from another line where a secret spans several.
            let near = |own: &(String, u32)| same_file(&own.0, file) && own.1.abs_diff(line) <= 1;
            return self.lines.iter().position(near);
        }
        let path = route(found)?;
        self.routes.iter().position(|own| own.as_ref() == Some(&path))
    }
}

/// Scanners write paths of their own machine: `/src/app.js` in a container, `/home/runner/work/shop/shop/app.js`.
fn same_file(own: &str, theirs: &str) -> bool {
    !own.is_empty() && (own == theirs || theirs.strip_suffix(own).is_some_and(|rest| rest.ends_with('/')))
}

/// `GET /path` of an address.
fn route(found: &Found) -> Option<String> {
    let place = found.place.as_deref()?;
    let (method, address) = place.rsplit_once(' ').unwrap_or(("GET", place));
    let path = url::Url::parse(address).ok()?.path().to_string();
    Some(format!("{method} {path}"))
}

/// Two tools agree: a credential that one of them tried and found live is worse than it looked.
fn agree(own: &mut Outcome, nth: usize, scan: &Scan, found: &Found) {
    if found.live != Some(Live::Yes) || !matches!(found.standing, Ruled::Open) {
        return;
    }
    let Some(finding) = own.findings.get_mut(nth) else { return };
    (finding.severity, finding.confidence) = (Severity::Critical, Confidence::High);
    finding.message.push_str(&format!(", and {} has seen it work", scan.tool));
    if finding.suppressed.is_none() && own.verdict < Verdict::Fail {
        own.verdict = Verdict::Fail;
        own.reason = None;
        own.summary = format!("a live credential; {}", own.summary);
    }
}

fn finding(gate: &str, piece: &Piece<'_>, scan: &Scan, found: &Found) -> Finding {
    let tool = scan.tool.as_str();
    let word = piece.report.kind.word();
    let mut message = if found.message.is_empty() { found.rule.clone() } else { found.message.clone() };
    if let Some(place) = &found.place {
        message = format!("{message} ({place})");
    }
    if found.live == Some(Live::Yes) {
        message.push_str(", and it works");
    }
    if let Some(commit) = &found.commit {
        message.push_str(&format!(", in commit {}", commit.get(..12).unwrap_or(commit)));
    }
    let place = found.file.as_deref().or(found.place.as_deref()).unwrap_or_default();
    let mut out = Finding::new(format!("{word}/{}", found.rule), severity(gate, found), format!("{tool}: {message}"))
        .confidence(confidence(gate, piece, found))
        .fix(fix(gate, found))
        .identified_by(&[word, &found.rule, place, &found.message]);
    out.file.clone_from(&found.file);
    out.line = found.line;
    out.route = route(found).or_else(|| found.place.clone().filter(|_| found.file.is_none()));
    out.suppressed = match found.standing {
        Ruled::Open => None,
        Ruled::Suppressed => Some(format!("suppressed in the report of {tool}")),
        Ruled::FalsePositive => Some(format!("ruled out in the report of {tool}")),
    };
    out
}

fn severity(gate: &str, found: &Found) -> Severity {
    match (gate, found.live) {
        ("code.secrets", Some(Live::Yes)) => Severity::Critical,
        // It was tried, and nobody answered to it any more.
        ("code.secrets", Some(Live::No)) => Severity::Low,
        _ => found.severity,
    }
}

/// Of secrets and open doors another tool may be sure; elsewhere our own rules know more of the product, and what another
/// tool says is worth a look.
fn confidence(gate: &str, piece: &Piece<'_>, found: &Found) -> Confidence {
    let rule = found.rule.to_ascii_lowercase();
    let vague = ["generic", "entropy", "keyword"].iter().any(|w| rule.contains(w));
    match gate {
        _ if piece.standing != Standing::Bound && found.live != Some(Live::Yes) => Confidence::Medium,
        "code.secrets" if !vague || found.live == Some(Live::Yes) => Confidence::High,
        "security.exposure" if piece.report.kind == Kind::Nuclei => Confidence::High,
        _ => Confidence::Medium,
    }
}

fn fix(gate: &str, found: &Found) -> String {
    match gate {
        "code.secrets" => "revoke it first, then move it to a vault or the environment".into(),
        "security.exposure" => "deny it at the edge, and rotate anything it showed".into(),
        _ => format!("see the rule {}, or suppress it there with a reason", found.rule),
    }
}
