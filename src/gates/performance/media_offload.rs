//! Gate `performance.media_offload`: do uploaded files leave the machine that took them?
//!
//! A file on a container's disk is gone with the next deploy, and with two replicas every other request does not find it.
//! The code tells where uploads go (`code/uploads.rs`, `code/upload_settings.rs`), the manifests whether that place
//! outlives the process (`place.rs`), Terraform and policies who may read the bucket (`bucket.rs`). What served URLs show
//! comes later. To fix a failure: store to S3-compatible storage and hand out signed URLs. WSTG-CONF-11.

mod bucket;
mod place;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::code::syntax::Source;
use crate::gates::code::upload_settings;
use crate::gates::code::uploads::{self, Code, Framework, Sign, Trace, What};
use crate::gates::context::Repo;
use crate::gates::delivery::packages;
use crate::gates::facts::Facts;
use crate::gates::manifests;
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::suppression;
use crate::gates::{About, Gate, GateContext, Lock, Part, Section, Stage};
use place::Keeping;

/// `[gates.performance.media_offload]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Files to leave out, as gitignore patterns relative to the repository. Default: empty.
    pub exclude: Vec<String>,
}

impl Config {
    /// Problems by path below `gates.performance.media_offload`.
    pub fn validate(&self) -> Vec<Problem> {
        patterns::problems("exclude", &self.exclude)
    }
}

pub struct MediaOffload;

pub static ABOUT: About = About {
    id: "performance.media_offload",
    section: Section::Performance,
    class: Class::B,
    line: "file/media offloaded to external storage (e.g. S3)",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "upload handlers and storage clients in the source (JavaScript, TypeScript, Python, Ruby, PHP, Go, Java), \
            storage settings of Django, Rails and Laravel, volumes and replicas in compose files and Kubernetes \
            manifests, and bucket rules in Terraform and policies",
    decides: "passes when uploads end in an object store; fails when they stay on a local disk that no volume keeps, or \
              that several replicas do not share, and when a bucket may be listed or written by everybody; warns on a \
              local disk with one volume; is an error when the signs disagree; skipped without uploads",
    fix: "store uploads in S3-compatible storage and return presigned URLs that live a day at most",
};

impl Gate for MediaOffload {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, packages: &str, storage: &str| {
            let code = format!(
                "const multer = require('multer')\n{storage}\nconst upload = multer({{ storage }})\n\
                 app.post('/photos', upload.single('photo'), (req, res) => res.end())\n"
            );
            Fixture::of(what)
                .file("package.json", format!("{{\"name\": \"shop\", \"dependencies\": {{{packages}}}}}\n"))
                .file("src/photos.js", code)
                .file(
                    "compose.yaml",
                    "services:\n  shop:\n    image: registry.example/shop:1.0.0\n    deploy: { replicas: 3 }\n",
                )
        };
        let s3 = "const multerS3 = require('multer-s3')\nconst storage = multerS3({ s3, bucket: 'photos' })";
        let disk = "const storage = multer.diskStorage({ destination: 'uploads/' })";
        Some(Proof {
            good: shop("photos go to a bucket", "\"express\": \"4\", \"multer\": \"2\", \"multer-s3\": \"3\"", s3),
            bad: shop("photos go to the disk of one of three replicas", "\"express\": \"4\", \"multer\": \"2\"", disk),
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        let known = ctx.repo.as_ref()?.recall::<Code>(SIGNS);
        known.is_none().then(|| Part::new(uploads::Looking))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let known = ctx.repo.as_ref().and_then(|repo| repo.recall::<Code>(SIGNS));
            let facts = ctx.facts.clone();
            let answer = move |repo: &Repo, config: &crate::gates::Config, code| {
                let config = &config.performance.media_offload;
                let outcome = brought(judge(&look(repo, code, config)), repo, &facts, config);
                packages::settled(outcome, &["uploads-not-understood"], repo, &facts)
            };
            match known {
                Some(code) => ctx.in_repo(move |repo, config| answer(repo, config, code)).await,
                None => {
                    ctx.in_sweep(ABOUT.id, move |repo, config, _: &uploads::Looking, found| {
                        let code = uploads::gather(found);
                        repo.remember(SIGNS, &code);
                        answer(repo, config, code)
                    })
                    .await
                }
            }
        })
    }
}

/// What the code says of uploads is known from one run to the next, whether or not it could be judged.
const SIGNS: &str = "code.uploads";

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    /// Upload handlers.
    uploads: Vec<Sign>,
    disks: Vec<Sign>,
    stores: Vec<Sign>,
    /// What the environment decides: `FILESYSTEM_DISK`.
    by_environment: Vec<String>,
    /// What happens to a file on the local disk.
    keeping: Keeping,
    warns: Vec<Finding>,
    fails: Vec<Finding>,
    notes: Vec<Finding>,
    inspected: usize,
    /// Is there program code of any kind?
    has_code: bool,
    /// Words of uploads where no sign was found.
    traces: Vec<Trace>,
    /// MinIO in the product's own compose file or manifests.
    own_store: Option<String>,
}

/// Signed addresses live no longer: WSTG-CONF-11.
const SIGNED_SECONDS_MAX: u64 = 24 * 3600;

fn look(repo: &Repo, mut code: Code, config: &Config) -> Seen {
    let excluded = patterns::matcher(repo.root(), &config.exclude);
    code.signs.retain(|s| !patterns::covers(excluded.as_ref(), &s.file));
    if !code.signs.iter().any(|s| framework(&s.what) == Some(Framework::Django)) {
        code.signs.extend(upload_settings::apps(repo));
    }
    let frameworks: BTreeSet<Framework> = code.signs.iter().filter_map(|s| framework(&s.what)).collect();
    code.traces.retain(|t| !patterns::covers(excluded.as_ref(), &t.file));
    let traces = std::mem::take(&mut code.traces);
    let has_code = repo.files.iter().any(|f| Source::of(&f.path).is_some());
    let mut seen = Seen { inspected: code.inspected, has_code, traces, ..Seen::default() };
    for framework in frameworks {
        let (signs, unknown) = upload_settings::look(repo, framework);
        code.signs.extend(signs);
        seen.by_environment.extend(unknown);
    }
    sort(code, &mut seen);
    allowed_disks(repo, &mut seen);
    if !(seen.uploads.is_empty() && seen.disks.is_empty() && seen.stores.is_empty()) {
        let all = manifests::look(repo, &config.exclude);
        seen.keeping = place::of(&all, seen.disks.first().map_or("", |s| dir_of(&s.what)));
        seen.own_store = place::own_store(&all);
        bucket::judge(repo, &all, excluded.as_ref(), &mut seen.fails);
    }
    verdicts(&mut seen);
    for list in [&mut seen.fails, &mut seen.warns, &mut seen.notes] {
        suppression::mark(repo, ABOUT.id, list);
    }
    seen
}

/// Beside a store, a disk that somebody allowed where it stands is no sign against it.
fn allowed_disks(repo: &Repo, seen: &mut Seen) {
    if seen.stores.is_empty() {
        return;
    }
    for sign in std::mem::take(&mut seen.disks) {
        let problem = format!("writes to {}", dir_of(&sign.what));
        let mut found = [finding("local-beside-store", Severity::Info, &sign, &problem)];
        suppression::mark(repo, ABOUT.id, &mut found);
        if found[0].suppressed.is_none() {
            seen.disks.push(sign);
        } else {
            seen.notes.extend(found);
        }
    }
}

fn framework(what: &What) -> Option<Framework> {
    match what {
        What::Upload { framework } => *framework,
        _ => None,
    }
}

fn dir_of(what: &What) -> &str {
    match what {
        // A program may work out where.
        What::Disk { dir } | What::Serves { dir } if matches!(dir.as_str(), "" | "-") => "its own disk",
        What::Disk { dir } | What::Serves { dir } => dir,
        _ => "",
    }
}

/// Signs by what they say. A folder of uploads that the app serves itself is on its disk.
fn sort(code: Code, seen: &mut Seen) {
    for sign in code.signs {
        match &sign.what {
            What::Upload { .. } => seen.uploads.push(sign),
            What::Disk { .. } => seen.disks.push(sign),
            What::Store { .. } => seen.stores.push(sign),
            What::Signed { seconds } if *seconds > SIGNED_SECONDS_MAX => {
                let hours = seconds / 3600;
                let finding = finding("long-lived-url", Severity::Medium, &sign, &format!("signs URLs for {hours} h"))
                    .fix("sign for a day at most: a leaked URL is an open file until it ends");
                seen.warns.push(finding);
            }
            What::Signed { .. } => {}
            What::Serves { dir } => {
                let finding = finding("serves-uploads", Severity::Info, &sign, &format!("serves {dir} itself"))
                    .fix("let the object store or a CDN serve media");
                seen.notes.push(finding);
            }
        }
    }
}

fn finding(rule: &str, severity: Severity, sign: &Sign, problem: &str) -> Finding {
    Finding::new(rule, severity, format!("{}:{} {problem}", sign.file, sign.line))
        .at(&sign.file, sign.line, 1)
        .identified_by(&[rule, &sign.file, &sign.by])
}

/// Findings for each disk that takes uploads, and for a store that is not really outside.
fn verdicts(seen: &mut Seen) {
    let only_disk = seen.stores.is_empty();
    for sign in seen.disks.iter().filter(|_| only_disk) {
        let dir = dir_of(&sign.what);
        let remedy = "Store to S3-compatible storage and return presigned URLs";
        let found = match &seen.keeping {
            Keeping::Replicas { n, who } => {
                let problem = format!("writes uploads to {dir} while {n} replicas run ({who})");
                (true, finding("local-replicas", Severity::High, sign, &problem))
            }
            Keeping::Nothing { who } => {
                let problem = format!(
                    "writes uploads to {dir}, and no volume keeps it ({who}): files vanish with the next deploy"
                );
                (true, finding("local-ephemeral", Severity::High, sign, &problem))
            }
            Keeping::Volume { who } => {
                let problem = format!(
                    "writes uploads to {dir} on one volume ({who}): one machine, and only as safe as its backup"
                );
                (false, finding("local-volume", Severity::Medium, sign, &problem))
            }
        };
        let (list, found) = if found.0 { (&mut seen.fails, found.1) } else { (&mut seen.warns, found.1) };
        list.push(found.fix(remedy));
    }
    if let (Some(place), Some(store)) = (&seen.own_store, seen.stores.first()) {
        let problem = format!("stores uploads in MinIO beside the product ({place}): another process, the same disk");
        let fix = "keep the bucket on other machines, or replicate it";
        seen.warns.push(finding("same-host-store", Severity::Low, store, &problem).fix(fix));
    }
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    let open = |list: &[Finding]| list.iter().filter(|f| f.suppressed.is_none()).cloned().collect::<Vec<_>>();
    let (fails, warns) = (open(&seen.fails), open(&seen.warns));
    let more = |list: &[Finding]| if list.len() > 1 { format!(" and {} more", list.len() - 1) } else { String::new() };
    let hint = |f: &Finding| format!("{}. {}", f.message, f.fix);
    let outcome = if seen.uploads.is_empty() && seen.disks.is_empty() && seen.stores.is_empty() {
        return nothing(seen);
    } else if let Some(first) = fails.first() {
        Outcome::fail(format!("{}{}", first.message, more(&fails))).hint(hint(first))
    } else if let (Some(disk), Some(store)) = (local(seen), seen.stores.first()) {
        Outcome::error(
            "mixed-signals",
            format!("{}:{} keeps uploads on disk, {}:{} hands them to {}", disk.file, disk.line, store.file, store.line, store.by),
        )
        .hint("take the disk out, or allow it where it stands: hypercare:allow performance.media_offload -- why it keeps no media")
    } else if seen.stores.is_empty() && seen.disks.is_empty() {
        unknown_sink(seen)
    } else if let Some(first) = warns.first() {
        Outcome::warn(format!("{}{}", first.message, more(&warns))).hint(hint(first))
    } else if let Some(store) = seen.stores.first() {
        let what = if seen.uploads.is_empty() { "files".into() } else { count(seen.uploads.len(), "upload handler") };
        Outcome::pass(format!("{what} end in an object store ({}, {}:{})", store.by, store.file, store.line))
    } else {
        Outcome::warn("the local disk is allowed where it stands").hint("store uploads in S3-compatible storage")
    };
    let handlers = seen.uploads.len().max(1) as u64;
    let findings = [&seen.fails, &seen.warns, &seen.notes].into_iter().flatten().cloned().collect();
    outcome
        .value(fails.len(), 0)
        .tier(Tier::E1)
        .covered(handlers, handlers)
        .findings(findings)
        .evidence("uploads", evidence(seen))
}

/// A disk that takes uploads although there is a store, and whose file does not speak to the store itself.
fn local(seen: &Seen) -> Option<&Sign> {
    seen.disks.iter().find(|d| !seen.stores.iter().any(|s| s.file == d.file))
}

fn unknown_sink(seen: &Seen) -> Outcome {
    let place = seen.uploads.first().map_or("the code".into(), |s| format!("{}:{}", s.file, s.line));
    match seen.by_environment.first() {
        Some(variable) => Outcome::error("storage-by-environment", format!("{place} takes uploads, and {variable} decides where they go"))
            .hint(format!("commit production's value of {variable} (.env.production may be encrypted but for it), or name the storage in the settings")),
        None => Outcome::error("storage-unknown", format!("{place} takes uploads, and nothing shows where they go"))
            .hint("hand them to an object store in the same service, or name the storage in its settings"),
    }
}

/// No sign: shown to be absent only when no file speaks of uploads at all.
fn nothing(seen: &Seen) -> Outcome {
    let outcome = if let Some(Trace { file, line, word }) = seen.traces.first() {
        Outcome::error(
            "uploads-not-understood",
            format!("{file}:{line} speaks of uploads ({word}), and nothing shows where they go"),
        )
        .hint("name the storage in the settings, or check by hand and leave the file out with exclude")
    } else if seen.inspected == 0 && !seen.has_code {
        Outcome::skip("no-source", "no file of the repository is program code")
    } else if seen.inspected == 0 {
        Outcome::error("nothing-to-inspect", "no source file that runs in production")
            .hint("give --repo the product's own repository")
    } else {
        let files = count(seen.inspected, "source file");
        Outcome::skip("no-uploads", format!("{files} looked into: no upload handler, no file field, no storage client"))
    };
    outcome.findings(seen.notes.clone()).evidence("uploads", evidence(seen))
}

/// A storage client among the dependencies says that files go somewhere, whether or not its calls are understood here.
fn brought(outcome: Outcome, repo: &Repo, facts: &Facts, config: &Config) -> Outcome {
    let excluded = patterns::matcher(repo.root(), &config.exclude);
    // The whole of a cloud's kit may be there for anything.
    let client = facts.of("storage").find(|f| f.value != "aws-sdk" && !patterns::covers(excluded.as_ref(), &f.file));
    match client.filter(|_| outcome.reason.as_deref() == Some("no-uploads")) {
        Some(client) => {
            let text =
                format!("{} brings {}, and no call that stores with it was understood", client.place(), client.value);
            let hint =
                "see where it puts files; if none of them are people's uploads, leave its manifest out with exclude";
            Outcome { reason: Some("uploads-not-understood".into()), verdict: Verdict::Error, summary: text, ..outcome }
                .hint(hint)
        }
        None => outcome,
    }
}

/// Rows of the table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 200;

fn evidence(seen: &Seen) -> serde_json::Value {
    let signs = |list: &[Sign]| serde_json::json!(list.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>());
    serde_json::json!({
        "uploads": signs(&seen.uploads), "disks": signs(&seen.disks), "stores": signs(&seen.stores),
        "by_environment": seen.by_environment, "kept_by": seen.keeping, "inspected": seen.inspected,
        "traces": seen.traces.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
