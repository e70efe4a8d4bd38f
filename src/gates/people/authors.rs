//! Who wrote this release: nobody signs for his own work where two pairs of eyes are asked for.
//!
//! Names count as the commits give them and as `.mailmap` maps them, both: a change to `.mailmap` must not make an author
//! another person. Commits that touch `.hypercare/` alone make nobody an author: a signed statement is committed too.

use std::collections::BTreeSet;

use crate::gates::code::review::history::Person;
use crate::gates::facts::git::Git;
use crate::gates::facts::versions;

/// More commits in one release are the import of a history; its authors are not all known then.
const COMMITS_MAX: usize = 5000;
const FORMAT: &str =
    "--format=%x01%an%x00%ae%x00%aN%x00%aE%x00%(trailers:key=Co-authored-by,valueonly,unfold,separator=%x02)";

/// Identities of everybody who wrote a part since the previous release tag. The words say why nobody knows.
pub fn of_release(git: &Git) -> Result<BTreeSet<String>, String> {
    let ask = |args: &[&str]| git.run(args).map_err(|e| e.to_string());
    if ask(&["rev-parse", "--is-shallow-repository"])?.trim() == "true" {
        return Err("the clone is shallow, so the release's authors are not known".into());
    }
    let tags = ask(&["tag", "--merged", "HEAD", "--no-contains", "HEAD"])?;
    let release = |tag: &str| Some((versions::of_tag(tag).filter(|v| !v.is_prerelease())?, tag.to_string()));
    let previous = tags.lines().filter_map(release).max_by(|a, b| a.0.precedence(&b.0)).map(|(_, tag)| tag);
    let range = previous.map_or("HEAD".to_string(), |tag| format!("refs/tags/{tag}..HEAD"));
    let count = format!("--max-count={}", COMMITS_MAX + 1);
    let log =
        ask(&["log", "--no-merges", &count, FORMAT, &range, "--", ":(top)", ":(top,glob,exclude)**/.hypercare/**"])?;
    let mut out = BTreeSet::new();
    for (index, record) in log.split('\u{1}').skip(1).enumerate() {
        if index == COMMITS_MAX {
            return Err(format!("the release has more than {COMMITS_MAX} commits, so its authors are not all known"));
        }
        let fields: Vec<&str> = record.trim_end_matches('\n').split('\0').collect();
        let [name, email, mapped_name, mapped_email, trailers] = fields[..] else { continue };
        out.extend(person(name, email));
        out.extend(person(mapped_name, mapped_email));
        for trailer in trailers.split('\u{2}') {
            if let Some((name, rest)) = trailer.split_once('<') {
                out.extend(person(name, rest.split('>').next().unwrap_or_default()));
            }
        }
    }
    Ok(out)
}

fn person(name: &str, email: &str) -> BTreeSet<String> {
    Person { name: name.trim().into(), email: email.trim().to_lowercase(), mapped: None }.identities()
}

/// Is one of these names one of the authors? A name without `@` is held against logins, names and the first part of
/// addresses: better one refusal too many.
pub fn wrote(authors: &BTreeSet<String>, names: &BTreeSet<String>, git: Option<&Git>) -> bool {
    names.iter().any(|name| {
        let local = |author: &String| author.split_once('@').is_some_and(|(local, _)| local == name);
        authors.contains(name)
            || authors.contains(&format!("name:{name}"))
            || (!name.contains('@') && authors.iter().any(local))
            || mapped(name, git).is_some_and(|other| authors.contains(&other))
    })
}

fn mapped(name: &str, git: Option<&Git>) -> Option<String> {
    let contact = name.contains('@').then(|| format!("<{name}>"))?;
    let answer = git?.run(&["check-mailmap", &contact]).ok()?;
    let (_, rest) = answer.trim().rsplit_once('<')?;
    Some(rest.trim_end_matches('>').to_lowercase())
}
