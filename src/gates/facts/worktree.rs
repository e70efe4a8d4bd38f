//! What git says of the whole work tree: the index, what differs from it, HEAD and the refs. Asked once, for the walk,
//! the release's identity and the answers kept between runs, because each question costs a look at every file.

use std::thread;

use super::git::{Git, GitError};

#[derive(Debug)]
pub struct WorkTree {
    /// `ls-files --stage -z`: MODE OBJECT STAGE TAB PATH.
    index: Result<String, GitError>,
    /// `status --porcelain -z`: two letters, a blank, PATH.
    status: Result<String, GitError>,
    /// A mark for the branch that is checked out, object, object of an annotated tag's commit, name.
    refs: Result<String, GitError>,
    /// Of HEAD: commit and tree.
    head: Option<(String, String)>,
    pub shallow: bool,
}

const REFS: &str = "--format=%(HEAD)%(objectname) %(*objectname) %(refname)";

impl WorkTree {
    /// Blocking; the questions run side by side.
    pub fn ask(git: &Git) -> WorkTree {
        thread::scope(|scope| {
            // The costly one first: it looks at every file. Renames are nobody's business here.
            let status =
                scope.spawn(|| git.run(&["status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"]));
            let refs = scope.spawn(|| git.run(&["for-each-ref", REFS]));
            let head = scope.spawn(|| git.run(&["log", "-1", "--no-show-signature", "--format=%H %T", "HEAD", "--"]));
            let index = git.run(&["ls-files", "--stage", "-z"]);
            let shallow = git.run(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|s| s.trim() == "true");
            let said = |answer: thread::ScopedJoinHandle<'_, Result<String, GitError>>| {
                answer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let head = said(head).ok().and_then(|h| h.trim().split_once(' ').map(|(c, t)| (c.into(), t.into())));
            WorkTree { index, status: said(status), refs: said(refs), head, shallow }
        })
    }

    /// `None` on a branch without commits.
    pub fn commit(&self) -> Option<&str> {
        self.head.as_ref().map(|(commit, _)| commit.as_str())
    }

    /// HEAD's tree.
    pub fn tree(&self) -> Option<&str> {
        self.head.as_ref().map(|(_, tree)| tree.as_str())
    }

    /// Tracked paths, relative to git's top level. A path in conflict comes once for each side.
    pub fn tracked(&self) -> Result<impl Iterator<Item = &str>, GitError> {
        Ok(self.blobs()?.map(|(_, path)| path))
    }

    /// The same with the contents' ids, before them: (blob, path).
    pub fn blobs(&self) -> Result<impl Iterator<Item = (&str, &str)>, GitError> {
        let index = self.index.as_ref().map_err(Clone::clone)?;
        let rows = index.split('\0').filter_map(|row| row.split_once('\t'));
        Ok(rows.map(|(head, path)| (head.split(' ').nth(1).unwrap_or_default(), path)))
    }

    /// What differs from HEAD or the index, or is new and not ignored: (two letters of git-status(1), path).
    pub fn changes(&self) -> Result<impl Iterator<Item = (&str, &str)>, GitError> {
        let status = self.status.as_ref().map_err(Clone::clone)?;
        Ok(status.split('\0').filter_map(|row| Some((row.get(..2)?, row.get(3..)?))))
    }

    /// New and not ignored; none where git cannot compare with HEAD.
    pub fn untracked(&self) -> impl Iterator<Item = &str> {
        self.changes().into_iter().flatten().filter(|(letters, _)| *letters == "??").map(|(_, path)| path)
    }

    /// Paths that are on the disk as the index does not know them.
    pub fn unstaged(&self) -> Result<impl Iterator<Item = &str>, GitError> {
        Ok(self.changes()?.filter(|(letters, _)| !letters.ends_with(' ')).map(|(_, path)| path))
    }

    /// Names of the tags on HEAD's commit.
    pub fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        let refs = self.refs.as_deref().unwrap_or_default();
        refs.lines().filter_map(|row| {
            let (object, rest) = row.get(1..)?.split_once(' ')?;
            let (commit, name) = rest.split_once(' ')?;
            let head = self.commit()?;
            (object == head || commit == head).then(|| name.strip_prefix("refs/tags/")).flatten()
        })
    }

    /// All that an answer from the repository rests on, but for the content of [`WorkTree::unstaged`].
    pub fn state(&self) -> Result<[&str; 3], GitError> {
        let said = |answer: &'_ Result<String, GitError>| answer.as_ref().map(|_| ()).map_err(Clone::clone);
        said(&self.index).and(said(&self.refs))?;
        let [index, refs] = [&self.index, &self.refs].map(|answer| answer.as_deref().unwrap_or_default());
        Ok([index, refs, self.commit().unwrap_or_default()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::git::scratch::Scratch;
    use super::*;

    fn ask(repo: &Scratch) -> WorkTree {
        WorkTree::ask(&Git::discover(repo.path()).unwrap())
    }

    #[test]
    fn says_what_the_work_tree_is() {
        let repo = Scratch::new();
        repo.write("ä b", "1").write("gone", "1").write("staged", "1").write(".gitignore", "*.log\n");
        let unborn = ask(&repo);
        assert_eq!((unborn.commit(), unborn.tree(), unborn.tags().count()), (None, None, 0));
        assert_eq!(unborn.untracked().count(), 4);
        repo.commit("first").tag("v1");
        repo.git(&["tag", "light"]);
        repo.git(&["branch", "other"]);
        let clean = ask(&repo);
        assert_eq!(clean.commit(), Some(repo.git(&["rev-parse", "HEAD"]).as_str()));
        assert_eq!(clean.tree(), Some(repo.git(&["rev-parse", "HEAD^{tree}"]).as_str()));
        assert_eq!(clean.tags().collect::<Vec<_>>(), ["light", "v1"]);
        assert_eq!((clean.changes().unwrap().count(), clean.shallow), (0, false));

        repo.write("staged", "2").git(&["add", "staged"]);
        std::fs::remove_file(repo.path().join("gone")).unwrap();
        repo.write("d/new", "1").write("x.log", "1").write("ä b", "22");
        let seen = ask(&repo);
        assert_eq!(seen.tracked().unwrap().collect::<Vec<_>>(), [".gitignore", "gone", "staged", "ä b"]);
        assert_eq!(seen.untracked().collect::<Vec<_>>(), ["d/new"]);
        let mut unstaged: Vec<&str> = seen.unstaged().unwrap().collect();
        unstaged.sort();
        assert_eq!(unstaged, ["d/new", "gone", "ä b"]);
        assert_eq!(seen.changes().unwrap().count(), 4);
    }

    #[test]
    fn another_branch_on_the_same_commit_is_another_state() {
        let repo = Scratch::new();
        repo.write("a", "1").commit("first").git(&["branch", "other"]);
        let before = ask(&repo).state().unwrap().concat();
        repo.git(&["switch", "--quiet", "other"]);
        assert_ne!(ask(&repo).state().unwrap().concat(), before);
    }
}
