//! What people see: stdout with colours that carry a verdict, wrapped text, JSON, and nothing that a terminal obeys.
//!
//! Everything is rendered with colours; [`Out`] drops them when stdout is no terminal or `NO_COLOR` is set. Look:
//! calm, colour only beside the word and mark that say the same.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::ColorWhen;
use crate::domain::alert::{AlertSeverity, AlertState};
use crate::domain::verdict::Verdict;

/// Width of the page when the terminal does not say.
pub const WIDTH_UNKNOWN: usize = 100;
/// Narrower terminals get this much and wrap by themselves.
const WIDTH_MIN: usize = 40;

/// `--format human|json` of commands that have no other formats. Flatten it into the command's `Args`.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct FormatArg {
    /// Text for people, or one JSON document
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

impl FormatArg {
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// What a piece of text means; each meaning has one colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Pass,
    Warn,
    Fail,
    Error,
    Skip,
    /// Headings, the answer.
    Strong,
    /// Furniture: units, times, labels.
    Soft,
    /// Commands to type, links.
    Accent,
}

impl From<Verdict> for Tone {
    fn from(verdict: Verdict) -> Tone {
        match verdict {
            Verdict::Pass => Tone::Pass,
            Verdict::Warn => Tone::Warn,
            Verdict::Fail => Tone::Fail,
            Verdict::Error => Tone::Error,
            Verdict::Skip => Tone::Skip,
        }
    }
}

impl From<AlertSeverity> for Tone {
    fn from(severity: AlertSeverity) -> Tone {
        match severity {
            AlertSeverity::Critical => Tone::Fail,
            AlertSeverity::Warning => Tone::Warn,
            AlertSeverity::Info => Tone::Accent,
        }
    }
}

impl From<AlertState> for Tone {
    fn from(state: AlertState) -> Tone {
        match state {
            AlertState::Firing => Tone::Fail,
            AlertState::Pending => Tone::Warn,
            AlertState::Unknown => Tone::Error,
            AlertState::Resolved => Tone::Pass,
            AlertState::Inactive => Tone::Skip,
        }
    }
}

impl Tone {
    pub fn style(self) -> Style {
        match self {
            Tone::Pass => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Fail => AnsiColor::Red.on_default().bold(),
            Tone::Error => AnsiColor::Magenta.on_default(),
            Tone::Skip | Tone::Soft => AnsiColor::BrightBlack.on_default(),
            Tone::Strong => Style::new().bold(),
            Tone::Accent => AnsiColor::Blue.on_default(),
        }
    }
}

/// `text` in the colour of `tone`. Does not clean it: call [`clean`] on what comes from outside.
pub fn paint(tone: Tone, text: impl std::fmt::Display) -> String {
    let style = tone.style();
    format!("{style}{text}{style:#}")
}

/// Decides once for the process; called by `cli::start`.
pub(super) fn choose_color(when: ColorWhen) {
    match when {
        ColorWhen::Auto => anstream::ColorChoice::Auto,
        ColorWhen::Always => anstream::ColorChoice::Always,
        ColorWhen::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Stdout, buffered, colours dropped where they do not belong. Call [`Out::flush`] at the end to hear of a closed pipe.
pub struct Out {
    to: Box<dyn Write + Send>,
}

impl Out {
    pub fn stdout() -> Out {
        Out { to: Box::new(io::BufWriter::new(anstream::stdout())) }
    }
    /// Writes elsewhere, for tests.
    pub fn to(writer: impl Write + Send + 'static) -> Out {
        Out { to: Box::new(writer) }
    }
    pub fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.to, "{text}")
    }
    /// As it is, without a line end.
    pub fn text(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        write!(self.to, "{text}")
    }
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }
    /// One indented JSON document with a line end.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.to, value)?;
        writeln!(self.to)
    }
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Prints one JSON document to stdout. Every document starts with `"schema":"hypercare.<kind>/v1"`: put that field
/// first in a struct (maps sort by name).
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = Out::stdout();
    out.json(value)?;
    out.flush()
}

/// Prints a finished page of text to stdout.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = Out::stdout();
    out.text(text)?;
    out.flush()
}

/// Columns of the terminal on stdout, [`WIDTH_UNKNOWN`] when there is none. `COLUMNS` wins.
pub fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse::<usize>().ok()).filter(|c| *c > 0);
    said.or_else(|| terminal_size::terminal_size().map(|(w, _)| w.0 as usize)).unwrap_or(WIDTH_UNKNOWN).max(WIDTH_MIN)
}

/// Live progress may be drawn on stderr.
pub fn is_live() -> bool {
    use std::io::IsTerminal as _;
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns that `text` takes on a terminal; escape sequences take none.
pub fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(UnicodeWidthStr::width).sum()
}

/// `text` filled up with spaces to `width` columns; longer text stays as it is.
pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Cuts to `width` columns, the last of them `…`.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Breaks plain text at spaces into lines of at most `width` columns; a longer word is broken inside. Line ends in
/// `text` stay. Never empty.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for c in word.chars() {
                if line.width() + c.width().unwrap_or(0) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    lines
}

/// [`wrap`] with every line after the first indented by `indent` columns; `width` counts the whole line.
pub fn hang(text: &str, indent: usize, width: usize) -> String {
    wrap(text, width.saturating_sub(indent)).join(&format!("\n{}", " ".repeat(indent)))
}

/// Text from outside, made harmless for a terminal: control characters (escape sequences among them) and characters
/// that reverse the reading direction become `·`; tabs become a space; line ends stay.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' => Some('\n'),
            '\t' => Some(' '),
            '\r' => None,
            c if c.is_control() => Some('·'),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('·'),
            c => Some(c),
        })
        .collect()
}

/// [`clean`] on one line.
pub fn clean_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_by_columns_not_bytes() {
        assert_eq!(wrap("three leftovers in two files", 12), ["three", "leftovers in", "two files"]);
        assert_eq!(wrap("日本語日本語", 8), ["日本語日", "本語"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(hang("one two three", 4, 12), "one two\n    three");
    }

    #[test]
    fn cuts_and_pads_by_columns() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(columns(&pad(&paint(Tone::Fail, "✘ fail"), 10)), 10);
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mred\u{7}\u{9b}2J\r\nb\tc"), "a·[31mred··2J\nb c");
        assert_eq!(clean("user\u{202e}gpj.exe"), "user·gpj.exe");
        assert_eq!(clean_line("a\nb"), "a b");
    }

    #[test]
    fn json_keeps_the_order_of_a_struct() {
        #[derive(Serialize)]
        struct Doc {
            schema: &'static str,
            a: u8,
        }
        let text = serde_json::to_string(&Doc { schema: "hypercare.x/v1", a: 1 }).unwrap();
        assert_eq!(text, r#"{"schema":"hypercare.x/v1","a":1}"#);
    }
}
