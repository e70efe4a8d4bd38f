//! Approvals from a file, where no forge could be asked: `evidence import reviews FILE`. A change counts when the file says
//! that it brought a commit of this history, and when its address is the repository's own. What the file does not mention
//! is not known, and never a push without a request.

use url::Url;

use super::history::Changeset;
use super::judge::Asked;
use crate::gates::evidence::Piece;
use crate::gates::forge::origin::Origin;
use crate::gates::import::kind::Content;
use crate::gates::import::reviews::Landed;

#[derive(Debug, Default)]
pub(super) struct Exported {
    /// Those that count.
    pub files: Vec<String>,
    /// Those that do not, and why.
    pub stale: Vec<String>,
    changes: Vec<Landed>,
}

impl Exported {
    #[cfg(test)]
    pub fn holding(file: &str, changes: Vec<Landed>) -> Exported {
        Exported { files: vec![file.into()], stale: Vec::new(), changes }
    }

    /// `remote`: git's URL of `origin`, where there is one.
    pub fn of(pieces: &[Piece<'_>], remote: Option<&str>) -> Exported {
        let origin = remote.and_then(Origin::parse);
        let mut out = Exported::default();
        for piece in pieces {
            let Content::Reviews(list) = &piece.report.content else { continue };
            let file = &piece.report.file;
            if let Some(why) = piece.standing.why().filter(|_| piece.standing.is_stale()) {
                out.stale.push(format!("{file}: {why}"));
                continue;
            }
            let ours: Vec<&Landed> =
                list.changes.iter().filter(|l| origin.as_ref().is_none_or(|o| is_from(o, &l.change.url))).collect();
            if ours.is_empty() {
                out.stale.push(format!("{file}: it is about another repository"));
                continue;
            }
            out.files.push(file.clone());
            out.changes.extend(ours.into_iter().cloned());
        }
        out
    }

    /// What the files say of a changeset.
    pub fn answer(&self, changeset: &Changeset) -> Asked {
        let brought = |l: &&Landed| {
            let names = |commit: &String| l.commits.contains(commit) || l.change.head == *commit;
            names(&changeset.landed.id) || names(&changeset.head)
        };
        let mut found: Vec<_> = self.changes.iter().filter(brought).map(|l| l.change.clone()).collect();
        // A commit may stand in several requests; the merged ones brought it.
        if found.iter().any(|c| c.merged) {
            found.retain(|c| c.merged);
        }
        match (found.is_empty(), self.files.first(), self.stale.first()) {
            (false, ..) => Asked::Answered(found),
            (true, Some(file), _) => Asked::Failed(format!("{file} mentions no request that brought it")),
            (true, None, Some(why)) => Asked::Failed(why.clone()),
            (true, None, None) => Asked::No,
        }
    }
}

fn is_from(origin: &Origin, url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let host = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
    let below = format!("/{}/", origin.path).to_ascii_lowercase();
    host == origin.host && url.path().to_ascii_lowercase().starts_with(&below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_repository() {
        for (remote, url, expect) in [
            ("git@github.com:Acme/shop.git", "https://github.com/acme/shop/pull/7", true),
            ("https://git.acme.example:8443/a/b.git", "https://git.acme.example:8443/a/b/-/merge_requests/3", true),
            ("https://github.com/acme/shop", "https://github.com/acme/shop-two/pull/7", false),
            ("https://github.com/acme/shop", "https://github.com.evil.example/acme/shop/pull/7", false),
            ("https://github.com/acme/shop", "nonsense", false),
        ] {
            assert_eq!(is_from(&Origin::parse(remote).unwrap(), url), expect, "{remote} {url}");
        }
    }
}
