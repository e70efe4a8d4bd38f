//! Log lines as the gates on logging see them: read since a mark (`source.rs`, `file.rs`), taken apart (`record.rs`), and searched
//! for what marked requests left behind (`canary.rs`). Pure apart from the one read; every read is bounded.

pub mod canary;
pub mod file;
pub mod record;
pub mod source;

#[cfg(test)]
mod tests;

/// Most bytes taken from a source in one look.
pub const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most lines taken from a source in one look.
pub const LINES_MAX: usize = 20_000;

/// What a source had to say since a mark.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    /// Whole lines in the order written, without their ends.
    pub lines: Vec<String>,
    /// A limit was met: later lines were not seen, so that absence proves nothing.
    pub cut: bool,
}

impl Lines {
    /// Adds the whole lines of `bytes`; what follows the last line feed is still being written and waits.
    fn take(&mut self, bytes: &[u8]) {
        let Some(end) = bytes.iter().rposition(|b| *b == b'\n') else { return };
        for line in bytes[..end].split(|b| *b == b'\n') {
            if self.lines.len() == LINES_MAX {
                self.cut = true;
                return;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                self.lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
    }
}
