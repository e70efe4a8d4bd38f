//! Contents by their ids: what git shows no lines of, and what merges made. Each is read once, with the means of the work
//! tree: archives are opened, other encodings understood.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Instant;

use super::{Found, Met, left, past};
use crate::gates::code::secrets::gitleaks::Gitleaks;
use crate::gates::code::secrets::scan::Value;
use crate::gates::code::secrets::{FILE_BYTES_MAX, content, files, hits, masked};
use crate::gates::context::on_every_core;
use crate::gates::facts::git::{Git, GitError};

/// All that are read: a history of large binaries is looked at in part, and that is said.
const TOTAL_BYTES_MAX: u64 = 2 << 30;
/// That one `git cat-file` is asked for.
const CHUNK: usize = 500;

/// What was found, how many contents were read, and how many were left out.
pub(super) fn look(
    git: &Git,
    mut met: HashMap<String, Met>,
    own: &Gitleaks,
    present: &HashSet<Value>,
    until: Instant,
) -> Result<(Found, u64, u64), GitError> {
    if met.is_empty() {
        return Ok((Found::default(), 0, 0));
    }
    // What the disk has as the index knows it was read there.
    let unstaged: HashSet<&str> = git.work_tree().unstaged()?.collect();
    for (blob, path) in git.work_tree().blobs()?.filter(|(_, path)| !unstaged.contains(path)) {
        if met.get(blob).is_some_and(|met| met.path == path) {
            met.remove(blob);
        }
    }
    let mut names: Vec<&String> = met.keys().collect();
    names.sort();
    let (mut wanted, mut out_of, mut bytes) = (Vec::new(), 0, 0);
    let ask = names.iter().map(|name| format!("{name}\n")).collect::<String>();
    let check = ["cat-file", "--batch-check=%(objectname) %(objectsize)", "--buffer"];
    git.stream_with(&check, ask, left(until), |line| {
        let line = String::from_utf8_lossy(line);
        let (name, size) = line.trim_end().split_once(' ').unwrap_or((&line, ""));
        // `<id> missing`.
        let size = size.parse::<u64>().ok().filter(|size| *size <= FILE_BYTES_MAX && bytes + size <= TOTAL_BYTES_MAX);
        match size {
            Some(size) => {
                bytes += size;
                wanted.push(name.to_string());
            }
            None => out_of += 1,
        }
        ControlFlow::Continue(())
    })?;
    let chunks: Vec<&[String]> = wanted.chunks(CHUNK).collect();
    let mut found = Found::default();
    for part in on_every_core(&chunks, |chunk| read(git, chunk, &met, own, present, until)) {
        let (part, partly) = part?;
        found.join(part);
        out_of += partly;
    }
    Ok((found, wanted.len() as u64, out_of))
}

/// What these hold, and how many of them could not be read in whole.
fn read(
    git: &Git,
    chunk: &[String],
    met: &HashMap<String, Met>,
    own: &Gitleaks,
    present: &HashSet<Value>,
    until: Instant,
) -> Result<(Found, u64), GitError> {
    let (mut found, mut partly) = (Found::default(), 0);
    let (mut name, mut size, mut bytes_read) = (String::new(), None, Vec::new());
    git.stream_with(&["cat-file", "--batch", "--buffer"], chunk.join("\n") + "\n", left(until), |line| {
        let Some(bytes) = size else {
            let head = String::from_utf8_lossy(line);
            let mut words = head.split_whitespace();
            name = words.next().unwrap_or_default().to_string();
            size = words.nth(1).and_then(|size| size.parse::<usize>().ok());
            return ControlFlow::Continue(());
        };
        bytes_read.extend_from_slice(line);
        // A line's end stands behind each content.
        if bytes_read.len() > bytes {
            bytes_read.truncate(bytes);
            if let Some(met) = met.get(&name) {
                let whole = content::texts(&met.path, &bytes_read, &mut |path, text| {
                    let Some(view) = files::view(path, text) else { return };
                    for hit in hits(text, path, view, own).into_iter().filter(|hit| !present.contains(&hit.value)) {
                        let line = text[..hit.place.start].iter().filter(|b| **b == b'\n').count() as u32 + 1;
                        let masked = masked(text, &hit.place);
                        found.keep(past(hit, path.to_string(), line, masked, &met.commit));
                    }
                });
                partly += u64::from(!whole);
            }
            bytes_read.clear();
            size = None;
        }
        ControlFlow::Continue(())
    })?;
    Ok((found, partly))
}
