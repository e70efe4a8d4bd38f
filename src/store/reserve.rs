//! Room for the day the disk is full: a file beside the databases that nobody needs. When a write finds no room the file
//! goes, so that alerts, the one about the disk among them, can still be recorded and sent. Samples wait until it is back.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const FILE: &str = "reserve";
/// Days of alerts and messages.
const BYTES: u64 = 32 << 20;
/// At start it is made when this much is free.
const FREE_TO_START: u64 = 2 * BYTES;
/// It comes back when this much is free: later than it went, so that it does not come and go.
const FREE_TO_RETURN: u64 = 3 * BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    /// Nobody asked for it: a command line tool's store.
    Nothing,
    Room,
    Spent,
}

pub(super) struct Reserve {
    dir: PathBuf,
    has: Mutex<Has>,
}

impl Reserve {
    pub(super) fn new(dir: &Path) -> Reserve {
        Reserve { dir: dir.to_path_buf(), has: Mutex::new(Has::Nothing) }
    }

    /// Makes the file unless it is there. Without room for it samples wait from the start.
    pub(super) fn keep(&self) {
        let mut has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        let there = std::fs::metadata(self.path()).is_ok_and(|m| m.len() == BYTES);
        *has = if there || self.make(FREE_TO_START) { Has::Room } else { Has::Spent };
    }

    /// The disk was full: gives the file's room to whoever writes next. A database that is full while its disk is not
    /// would gain nothing.
    pub(super) fn spend(&self) {
        let mut has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        if *has == Has::Room && free_bytes(&self.dir) < FREE_TO_RETURN {
            tracing::error!(dir = %self.dir.display(), "the disk is full: the reserve is given to alerts, samples wait");
            let _ = std::fs::remove_file(self.path());
            *has = Has::Spent;
        }
    }

    /// May what can be done without be written? Looks whether there is room for the reserve again.
    pub(super) fn stands(&self) -> bool {
        let mut has = self.has.lock().unwrap_or_else(PoisonError::into_inner);
        if *has == Has::Spent && self.make(FREE_TO_RETURN) {
            tracing::info!(dir = %self.dir.display(), "there is room on the disk again: samples are stored");
            *has = Has::Room;
        }
        *has != Has::Spent
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn make(&self, free_min: u64) -> bool {
        if free_bytes(&self.dir) < free_min {
            return false;
        }
        let made = fill(&self.path());
        if let Err(error) = &made {
            tracing::warn!(%error, "the reserve for a full disk could not be made");
            let _ = std::fs::remove_file(self.path());
        }
        made.is_ok()
    }
}

/// Bytes that no file system packs into nothing.
fn fill(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunk = Vec::with_capacity(1 << 20);
    while chunk.len() < chunk.capacity() {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        chunk.extend_from_slice(&noise.to_le_bytes());
    }
    for _ in 0..BYTES / chunk.len() as u64 {
        file.write_all(&chunk)?;
    }
    file.sync_all()
}

#[cfg(unix)]
fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |s| s.f_bavail * s.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_from_when_it_is_kept_and_is_not_spent_while_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path());
        assert!(reserve.stands() && !dir.path().join(FILE).exists(), "nobody asked for it");
        reserve.keep();
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().len(), BYTES);
        // The disk that tests run on is not full.
        reserve.spend();
        assert!(reserve.stands() && dir.path().join(FILE).exists());
    }
}
