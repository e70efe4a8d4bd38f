//! A log file read from where it ended before the requests were sent. Files are rotated under their readers: renamed to
//! `NAME.1` with a new file in their place, or copied and cut short (logrotate's `create` and `copytruncate`).

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{BYTES_MAX, Lines};

/// Where a file ended, and which file it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    identity: Option<u64>,
    offset: u64,
}

/// The file's end as of now. A file that is not there yet is read from its beginning later.
///
/// Errors: it is no plain file (a pipe would be waited for without end), or it cannot be looked at.
pub fn mark(path: &Path) -> io::Result<Mark> {
    match std::fs::metadata(path) {
        Ok(meta) => plain(path, &meta).map(|()| Mark { identity: identity(&meta), offset: meta.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark { identity: None, offset: 0 }),
        Err(error) => Err(error),
    }
}

/// Whole lines written since `mark`, those of a file rotated away in between first.
///
/// Errors: the file is not there, is no plain file, or cannot be read.
pub fn since(path: &Path, mark: &Mark) -> io::Result<Lines> {
    let meta = std::fs::metadata(path)?;
    plain(path, &meta)?;
    let mut lines = Lines::default();
    let same = mark.identity == identity(&meta);
    if !same && mark.identity.is_some() {
        let old = rotated(path);
        if std::fs::metadata(&old).is_ok_and(|m| m.is_file() && identity(&m) == mark.identity) {
            read(&old, mark.offset, &mut lines)?;
        }
    }
    let offset = if same && meta.len() >= mark.offset { mark.offset } else { 0 };
    read(path, offset, &mut lines)?;
    Ok(lines)
}

fn read(path: &Path, offset: u64, lines: &mut Lines) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    lines.cut |= bytes.len() as u64 == BYTES_MAX;
    lines.take(&bytes);
    Ok(())
}

fn plain(path: &Path, meta: &Metadata) -> io::Result<()> {
    if meta.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no plain file", path.display())))
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(unix)]
fn identity(meta: &Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Some(meta.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<u64> {
    // Without a number for the file, a rotation is seen only as a file that became shorter.
    Some(0)
}
