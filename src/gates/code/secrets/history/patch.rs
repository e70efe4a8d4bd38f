//! git's patches without context, line by line: the commits, what each added to which file, and which files it calls
//! binary. Pure; knows no secret.
//!
//! Source: git's documentation of `diff-tree --patch` and of `core.quotePath`.

/// One commit, as far as it is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Commit {
    pub hash: String,
    /// Seconds since 1970, of the author.
    pub at: i64,
    /// The same, ISO 8601.
    pub author_date: String,
}

/// How `diff-tree` has to write a commit's head for [`Reader`]: its message lies between two NULs.
pub(super) const FORMAT: &str = "--format=%x00%H %at %aI%x00%B%x00";

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A commit begins; its message.
    Commit(Vec<u8>),
    /// Lines that were added to a file, one after the other.
    Added(Added),
    /// The file is not shown; the id of what it is now.
    Binary { path: String, blob: String },
}

/// Lines that a commit added to a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    pub path: String,
    pub text: Vec<u8>,
    /// (offset in the text, line in the file) where each hunk begins.
    pub hunks: Vec<(usize, u32)>,
}

impl Added {
    /// The line in the file of a place in the text.
    pub fn line(&self, at: usize) -> u32 {
        let hunk = self.hunks.iter().rev().find(|(from, _)| *from <= at).copied().unwrap_or((0, 1));
        hunk.1 + self.text[hunk.0..at].iter().filter(|b| **b == b'\n').count() as u32
    }
}

/// A patch larger than this is data.
const PATCH_BYTES_MAX: usize = 8 << 20;

/// Where in the stream we are.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Between commits, or in the head of a file.
    #[default]
    Heads,
    Message,
    /// So many lines of the hunk's new side are to come.
    Hunk(u32),
}

/// Takes the stream apart.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub commit: Commit,
    state: State,
    message: Vec<u8>,
    added: Added,
    blob: String,
    /// The last piece did not end its line.
    within: bool,
    /// And that line was an added one.
    adding: bool,
}

impl Reader {
    /// A line, or a piece of a very long one; `each` is handed what is complete.
    pub fn line(&mut self, line: &[u8], each: &mut impl FnMut(&Commit, Piece)) {
        let goes_on = std::mem::replace(&mut self.within, !line.ends_with(b"\n"));
        match self.state {
            State::Message => self.message(line, each),
            State::Hunk(_) if goes_on => self.add(line),
            State::Hunk(left) if line.first().is_some_and(|b| b"+-\\".contains(b)) => self.hunk(line, left),
            _ if goes_on => {}
            _ => self.head(line, each),
        }
    }

    /// Nothing more comes.
    pub fn end(&mut self, each: &mut impl FnMut(&Commit, Piece)) {
        let added = std::mem::take(&mut self.added);
        if !added.text.is_empty() {
            each(&self.commit, Piece::Added(added));
        }
    }

    fn head(&mut self, line: &[u8], each: &mut impl FnMut(&Commit, Piece)) {
        if let Some(head) = line.strip_prefix(b"\0") {
            self.end(each);
            let end = head.iter().position(|b| *b == 0).unwrap_or(head.len());
            let said = String::from_utf8_lossy(&head[..end]).into_owned();
            let mut words = said.split_whitespace();
            let mut word = || words.next().unwrap_or_default();
            self.commit = Commit { hash: word().into(), at: word().parse().unwrap_or(0), author_date: word().into() };
            self.state = State::Message;
            self.message(head.get(end + 1..).unwrap_or_default(), each);
        } else if let Some(names) = line.strip_prefix(b"diff --git ") {
            self.end(each);
            self.state = State::Heads;
            self.added.path = named(names).unwrap_or_default();
            self.added.hunks.clear();
            self.blob.clear();
        } else if let Some(ids) = line.strip_prefix(b"index ") {
            let ids = String::from_utf8_lossy(ids);
            let new = ids.split_once("..").map_or("", |(_, new)| new);
            self.blob = new.chars().take_while(char::is_ascii_hexdigit).collect();
        } else if line.starts_with(b"Binary files ") {
            each(&self.commit, Piece::Binary { path: self.added.path.clone(), blob: self.blob.clone() });
        } else if line.starts_with(b"@@ ") {
            let (from, lines) = new_side(line);
            self.added.hunks.push((self.added.text.len(), from));
            self.state = State::Hunk(lines);
        }
    }

    fn message(&mut self, line: &[u8], each: &mut impl FnMut(&Commit, Piece)) {
        /// Nobody writes more.
        const BYTES_MAX: usize = 64 * 1024;
        let end = line.iter().position(|b| *b == 0);
        let room = BYTES_MAX.saturating_sub(self.message.len());
        self.message.extend(line[..end.unwrap_or(line.len())].iter().take(room));
        if end.is_some() {
            self.state = State::Heads;
            each(&self.commit, Piece::Commit(std::mem::take(&mut self.message)));
        }
    }

    fn hunk(&mut self, line: &[u8], left: u32) {
        self.adding = left > 0 && line.starts_with(b"+");
        if self.adding {
            self.state = State::Hunk(left - 1);
            self.add(&line[1..]);
        }
    }

    fn add(&mut self, text: &[u8]) {
        if self.adding && self.added.text.len() < PATCH_BYTES_MAX {
            self.added.text.extend_from_slice(text);
        }
    }
}

/// `@@ -1,2 +3,4 @@`: line 3, 4 lines.
fn new_side(hunk: &[u8]) -> (u32, u32) {
    let text = String::from_utf8_lossy(&hunk[..hunk.len().min(80)]);
    let side = text.split(" +").nth(1).and_then(|side| side.split(' ').next()).unwrap_or_default();
    let (from, lines) = side.split_once(',').unwrap_or((side, "1"));
    (from.parse().unwrap_or(1), lines.trim().parse().unwrap_or(0))
}

/// The path of `a/x b/x`; both are the same, as renames are not looked for.
fn named(names: &[u8]) -> Option<String> {
    let names = names.strip_suffix(b"\n").unwrap_or(names);
    let second = names.get(names.len() / 2 + 1..)?;
    Some(String::from_utf8_lossy(bare(second)?.strip_prefix(b"b/")?).into_owned())
}

/// Path and blob of `::100644 100644 100644 <id> <id> <id of the result> MM<TAB>path`, which has a colon for each parent,
/// and one where there is none.
pub(super) fn made(line: &[u8]) -> Option<(String, String)> {
    const SUBMODULE: &str = "160000";
    let parents = line.iter().take_while(|b| **b == b':').count();
    let tab = line.iter().position(|b| *b == b'\t').filter(|_| parents > 0)?;
    let head = String::from_utf8_lossy(line.get(parents..tab)?);
    let words: Vec<&str> = head.split_whitespace().collect();
    let (mode, blob) = (words.get(parents)?, words.get(2 * parents + 1)?);
    let path = bare(line[tab + 1..].strip_suffix(b"\n").unwrap_or(&line[tab + 1..]))?;
    let is_file = *mode != SUBMODULE && blob.bytes().any(|b| b != b'0');
    is_file.then(|| (String::from_utf8_lossy(&path).into_owned(), blob.to_string()))
}

/// A name out of its quotes, if it has any.
fn bare(name: &[u8]) -> Option<Vec<u8>> {
    match name.strip_prefix(b"\"") {
        Some(quoted) => Some(unquoted(quoted.strip_suffix(b"\"")?)),
        None => Some(name.to_vec()),
    }
}

/// As a C program would read it.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let octal = text.get(at..at + 3).filter(|d| d.iter().all(|b| (b'0'..=b'7').contains(b)));
        if let Some(digits) = octal {
            out.push(digits.iter().fold(0u8, |sum, d| sum.wrapping_mul(8).wrapping_add(d - b'0')));
            at += 3;
        } else if let Some(&escaped) = text.get(at) {
            out.push(match escaped {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                other => other,
            });
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], piece_bytes: usize) -> Vec<(String, Piece)> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        let mut each = |commit: &Commit, piece: Piece| out.push((commit.hash.clone(), piece));
        for line in text.split_inclusive(|b| *b == b'\n').flat_map(|line| line.chunks(piece_bytes)) {
            reader.line(line, &mut each);
        }
        reader.end(&mut each);
        out
    }

    const TWO: &[u8] = b"\0c1 100 2026-01-01T00:00:00Z\0subject\n\n@@ -1 +1 @@ is no hunk\n\0\n\ndiff --git a/a b.txt b/a b.txt\nindex 11..22 100644\n--- a/a b.txt\t\n+++ b/a b.txt\t\n@@ -1,2 +5,2 @@ fn x\n-old\n-older\n+++ b/no/header\n+new\n@@ -9,0 +20 @@\n+last\n\\ No newline at end of file\ndiff --git \"a/\\303\\244\\\"\" \"b/\\303\\244\\\"\"\nnew file mode 100644\nindex 00..33\nBinary files /dev/null and \"b/\\303\\244\\\"\" differ\n\0c2 50 2025-01-01T00:00:00Z\0m\0\n";

    #[test]
    fn commits_hunks_and_binaries() {
        let pieces = read(TWO, 1000);
        let shown: Vec<(&str, &Piece)> = pieces.iter().map(|(c, p)| (c.as_str(), p)).collect();
        let added = Added {
            path: "a b.txt".into(),
            text: b"++ b/no/header\nnew\nlast\n".to_vec(),
            hunks: vec![(0, 5), (19, 20)],
        };
        assert_eq!((added.line(0), added.line(16), added.line(20)), (5, 6, 20));
        let message = Piece::Commit(b"subject\n\n@@ -1 +1 @@ is no hunk\n".to_vec());
        let binary = Piece::Binary { path: "ä\"".into(), blob: "33".into() };
        let second = Piece::Commit(b"m".to_vec());
        assert_eq!(shown, [("c1", &message), ("c1", &Piece::Added(added)), ("c1", &binary), ("c2", &second)]);
        // Very long lines come in pieces.
        for bytes in [30, 44] {
            let again = read(TWO, bytes);
            assert!(again.iter().any(|(_, p)| matches!(p, Piece::Added(a) if a.text.ends_with(b"last\n"))), "{bytes}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_patches_never_panic(at in 0usize..500, byte in proptest::prelude::any::<u8>(), piece in 1usize..90) {
            let mut bytes = TWO.to_vec();
            let place = at % bytes.len();
            bytes[place] = byte;
            for (_, piece) in read(&bytes, piece) {
                if let Piece::Added(added) = piece {
                    let _ = added.line(added.text.len());
                }
            }
        }
    }
}
