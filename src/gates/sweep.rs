//! One read of each file for all the gates that look through the whole repository.
//!
//! Such a gate hands in a [`Reader`] before its stage begins ([`Gate::reader`](super::Gate::reader)). The sweep reads
//! each wanted file once, on as many threads as there are processors, and shows it to every reader; what they made of
//! it lies in [`Swept`] until their gates take it. Knows no gate.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::context::{Repo, RepoFile, on_every_core};

/// What one gate wants of the files. Called on any thread, for the files in no order.
pub trait Reader: Send + Sync + 'static {
    /// What is made of one file.
    type Found: Send + 'static;
    /// The most bytes of it that are looked at; `None`: it is not wanted. By its name, before it is opened.
    fn wants(&self, file: &RepoFile) -> Option<u64>;
    /// `text` is all of it; `None`: larger than wanted, or not readable.
    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Self::Found;
}

/// What a reader made of the files that it wanted: (place in the repository's list, what was found), in that order.
pub type Found<R> = Vec<(usize, <R as Reader>::Found)>;

/// A gate's part in a sweep.
pub struct Part(Box<dyn Shelf>);

impl Part {
    pub fn new<R: Reader>(reader: R) -> Part {
        Part(Box::new(Shelved { reader, found: Mutex::new(Ok(Vec::new())) }))
    }
}

/// A [`Reader`] with what it found so far, whatever the type of that.
trait Shelf: Send + Sync {
    fn wants(&self, file: &RepoFile) -> Option<u64>;
    fn read(&self, nth: usize, file: &RepoFile, text: Option<&[u8]>);
    /// The reader and its [`Found`], or a panic's message.
    fn close(self: Box<Self>) -> Box<dyn Any + Send>;
}

struct Shelved<R: Reader> {
    reader: R,
    /// An error is a panic's message.
    found: Mutex<Result<Found<R>, String>>,
}

impl<R: Reader> Shelf for Shelved<R> {
    fn wants(&self, file: &RepoFile) -> Option<u64> {
        self.reader.wants(file)
    }

    fn read(&self, nth: usize, file: &RepoFile, text: Option<&[u8]>) {
        // One reader's fault on one file is not the others'.
        let made = catch_unwind(AssertUnwindSafe(|| self.reader.read(file, text)));
        let mut found = locked(&self.found);
        match (made, &mut *found) {
            (Ok(made), Ok(all)) => all.push((nth, made)),
            (Err(panic), Ok(_)) => *found = Err(format!("{}: {}", file.path, said(panic.as_ref()))),
            (_, Err(_)) => {}
        }
    }

    fn close(self: Box<Self>) -> Box<dyn Any + Send> {
        let Shelved { reader, found } = *self;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Box::new(found.map(|mut all| {
            all.sort_by_key(|(nth, _)| *nth);
            (reader, all)
        }))
    }
}

/// What a panic said.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// What the last sweep found, by gate, until its gate comes for it.
#[derive(Default)]
pub struct Swept(Mutex<BTreeMap<&'static str, Box<dyn Any + Send>>>);

impl Swept {
    fn put(&self, gate: &'static str, part: Part) {
        let found = part.0.close();
        locked(&self.0).insert(gate, found);
    }

    /// `None`: the sweep did not come to its end, or the gate had no part in it. An error is a panic's message.
    pub fn take<R: Reader>(&self, gate: &str) -> Option<Result<(R, Found<R>), String>> {
        let found = locked(&self.0).remove(gate)?;
        found.downcast().ok().map(|found| *found)
    }
}

/// Reads every file that a part wants. Blocking; ends early, leaving nothing in `swept`, once `stop` is set. `progress`
/// is told how many of the files have been seen, now and then.
pub fn sweep(
    repo: &Repo,
    parts: Vec<(&'static str, Part)>,
    stop: &AtomicBool,
    progress: impl Fn(usize) + Sync,
    swept: &Swept,
) {
    /// Files between two words about progress.
    const STEP: usize = 500;
    let seen = AtomicUsize::new(0);
    let nths: Vec<usize> = (0..repo.files.len()).collect();
    on_every_core(&nths, |&nth| {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        show(repo, nth, &parts);
        let seen = seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.is_multiple_of(STEP) {
            progress(seen);
        }
    });
    if !stop.load(Ordering::Relaxed) {
        parts.into_iter().for_each(|(gate, part)| swept.put(gate, part));
    }
}

/// One file to all parts that want it.
fn show(repo: &Repo, nth: usize, parts: &[(&'static str, Part)]) {
    let file = &repo.files[nth];
    let wanted: Vec<Option<u64>> = parts.iter().map(|(_, part)| part.0.wants(file)).collect();
    let Some(most) = wanted.iter().flatten().max() else { return };
    let text = if file.bytes <= *most { repo.read_listed(file, *most).ok() } else { None };
    for ((_, part), wanted) in parts.iter().zip(&wanted) {
        if let Some(most) = wanted {
            part.0.read(nth, file, text.as_deref().filter(|t| t.len() as u64 <= *most));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sweep for one reader.
#[cfg(test)]
pub(crate) fn alone<R: Reader>(repo: &Repo, reader: R) -> (R, Found<R>) {
    let swept = Swept::default();
    sweep(repo, vec![("alone", Part::new(reader))], &AtomicBool::new(false), |_| {}, &swept);
    swept.take::<R>("alone").unwrap().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    /// Counts bytes of files with an ending.
    #[derive(Debug, PartialEq)]
    struct Bytes(&'static str, u64);

    impl Reader for Bytes {
        type Found = Option<usize>;
        fn wants(&self, file: &RepoFile) -> Option<u64> {
            file.path.ends_with(self.0).then_some(self.1)
        }
        fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Option<usize> {
            assert!(file.path != "b/bad.py", "on purpose");
            text.map(<[u8]>::len)
        }
    }

    const FILES: &[(&str, &str)] = &[("a.js", "12345"), ("b/b.py", "1"), ("c.js", "123456789"), ("d.md", "")];

    #[test]
    fn each_reader_gets_what_it_wants_whole_and_in_order() {
        let (_dir, repo) = testing::repo(FILES);
        let swept = Swept::default();
        let parts = vec![("js", Part::new(Bytes(".js", 6))), ("all", Part::new(Bytes("", 100)))];
        sweep(&repo, parts, &AtomicBool::new(false), |_| {}, &swept);
        let js = (Bytes(".js", 6), vec![(0, Some(5)), (2, None)]);
        assert_eq!(swept.take::<Bytes>("js"), Some(Ok(js)), "a limit is each reader's own");
        let all = vec![(0, Some(5)), (1, Some(1)), (2, Some(9)), (3, Some(0))];
        assert_eq!(swept.take::<Bytes>("all"), Some(Ok((Bytes("", 100), all))));
        assert_eq!(swept.take::<Bytes>("all"), None, "taken");
    }

    #[test]
    fn one_readers_panic_is_its_own() {
        let (_dir, repo) = testing::repo(&[FILES, &[("b/bad.py", "")]].concat());
        let swept = Swept::default();
        let parts = vec![("py", Part::new(Bytes(".py", 9))), ("js", Part::new(Bytes(".js", 9)))];
        sweep(&repo, parts, &AtomicBool::new(false), |_| {}, &swept);
        let error = swept.take::<Bytes>("py").unwrap().unwrap_err();
        assert_eq!(error, "b/bad.py: on purpose");
        assert_eq!(swept.take::<Bytes>("js").unwrap().unwrap().1.len(), 2);
    }

    #[test]
    fn a_stop_leaves_nothing() {
        let (_dir, repo) = testing::repo(FILES);
        let swept = Swept::default();
        sweep(&repo, vec![("all", Part::new(Bytes("", 9)))], &AtomicBool::new(true), |_| {}, &swept);
        assert_eq!(swept.take::<Bytes>("all"), None);
    }
}
