//! Which backups there are: files of one folder whose names fit, newest first.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ignore::gitignore::GitignoreBuilder;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Without its folder.
    pub name: String,
    #[serde(skip)]
    pub path: PathBuf,
    pub bytes: u64,
    pub at: Timestamp,
}

/// One that is still being written is not yet one, as long as there is another.
const WRITING: Duration = Duration::from_secs(60);
const ENTRIES_MAX: usize = 100_000;

pub fn list(pattern: &Path, now: Timestamp) -> io::Result<Vec<Backup>> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = GitignoreBuilder::new("");
    // As it stands, and in this folder alone.
    let _ = builder.add_line(None, &format!("/{name}"));
    let matcher = builder.build().map_err(io::Error::other)?;
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(ENTRIES_MAX) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !matcher.matched(&name, false).is_ignore() {
            continue;
        }
        let path = entry.path();
        let about = std::fs::metadata(&path)?;
        let (bytes, at) = if about.is_dir() { folder_of(&path)? } else { (about.len(), about.modified()?) };
        out.push(Backup { name, path, bytes, at: stamp(at) });
    }
    out.sort_by_key(|backup| std::cmp::Reverse(backup.at));
    if out.len() > 1 && now.since(out[0].at) < WRITING {
        let first = out.remove(0);
        out.push(first);
        out[1..].sort_by_key(|backup| std::cmp::Reverse(backup.at));
    }
    Ok(out)
}

/// A dump in many files.
fn folder_of(path: &Path) -> io::Result<(u64, SystemTime)> {
    let (mut bytes, mut newest) = (0, SystemTime::UNIX_EPOCH);
    for entry in std::fs::read_dir(path)?.take(ENTRIES_MAX) {
        let about = entry?.metadata()?;
        bytes += about.len();
        newest = newest.max(about.modified()?);
    }
    Ok((bytes, newest))
}

fn stamp(at: SystemTime) -> Timestamp {
    let ms = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    Timestamp::from_ms(ms)
}
