//! One daemon per folder: an exclusive lock of the operating system, freed by it however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;

pub(super) const FILE: &str = "daemon.lock";
/// The holder's line is short; a foreign file is not read to its end.
const HOLDER_BYTES_MAX: u64 = 200;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// [`StoreError::Locked`] names the holder when another process has it.
    pub(super) fn take(dir: &Path) -> Result<FolderLock, StoreError> {
        let path = dir.join(FILE);
        let io = |source| StoreError::Io { path: path.display().to_string(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: dir.display().to_string(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "pid {}, boot {}", std::process::id(), boot_id()).map_err(io)?;
        Ok(FolderLock { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    let line: String = text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { "holder unknown".into() } else { line }
}

/// The machine's boot, so that a pid seen after a reboot is not mistaken for a living process.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or("unknown".into(), |s| s.trim().to_string())
}
