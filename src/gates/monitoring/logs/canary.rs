//! What a marked request carries, and what of it came back in the log. Pure. The values are synthetic: letters and
//! digits only, so that no encoding on the way changes them. A value encoded as a whole (base64) is not recognised.
//! Sources: ASVS 5 16.2.5 (no secrets in logs), 16.4.1 and CWE-117 (no forged records).

use ring::rand::{SecureRandom as _, SystemRandom};

use super::Lines;
use super::record::{Format, Record, Stamp};

/// Marks of one look.
#[derive(Debug, Clone)]
pub struct Canary {
    /// In every path, and nowhere else.
    pub nonce: String,
    pub password: String,
    pub bearer: String,
    /// Sixteen digits with a right check digit (ISO/IEC 7812-1).
    pub card: String,
}

/// What must not come back, and where it did: line numbers from 0 among the lines read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Leak {
    pub what: &'static str,
    pub line: usize,
}

/// What the lines say of the marked requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sighting {
    /// By request: has a line with its path arrived?
    pub arrived: Vec<bool>,
    pub leaks: Vec<Leak>,
    /// Lines that begin with what stood after a line end in a request.
    pub forged: Vec<usize>,
    /// Of the lines that carry a path of ours.
    pub json: usize,
    pub logfmt: usize,
    pub text: usize,
    pub without_zone: usize,
    /// A limit cut the lines short.
    pub cut: bool,
}

impl Canary {
    /// New marks. `None`: the system gives no random numbers.
    pub fn fresh() -> Option<Canary> {
        let mut bits = [0u8; 16];
        SystemRandom::new().fill(&mut bits).ok()?;
        Some(Canary::from_random(u128::from_le_bytes(bits)))
    }

    /// From 128 random bits or more.
    pub fn from_random(bits: u128) -> Canary {
        let hex = format!("{bits:032x}");
        let digits = format!("411111{:09}", bits % 1_000_000_000);
        let card = format!("{digits}{}", check_digit(&digits));
        Canary {
            nonce: format!("hcv{}", &hex[..16]),
            password: format!("HcPw{}", &hex[8..24]),
            bearer: format!("HcTk{}{}", &hex[16..], &hex[..16]),
            card,
        }
    }

    /// Path of the nth request.
    pub fn path(&self, nth: usize) -> String {
        format!("/{}-{nth}", self.nonce)
    }

    /// What stands after CR LF in a request; a line that begins with it was forged.
    pub fn forged_start(&self) -> String {
        format!("{}forged", self.nonce)
    }

    /// The same text with the values named instead of shown.
    pub fn mask(&self, line: &str) -> String {
        let grouped = [self.grouped(' '), self.grouped('-')];
        let line = line.replace(&self.password, "[password]").replace(&self.bearer, "[bearer]");
        grouped.iter().fold(line.replace(&self.card, "[card]"), |line, card| line.replace(card, "[card]"))
    }

    /// Looks for `sent` requests among the lines.
    pub fn look(&self, lines: &Lines, sent: usize) -> Sighting {
        // The slash and the end keep request 1 apart from 10.
        let paths: Vec<String> = (0..sent).map(|nth| self.path(nth)).collect();
        let mut seen = Sighting { arrived: vec![false; sent], cut: lines.cut, ..Sighting::default() };
        let cards = [self.card.clone(), self.grouped(' '), self.grouped('-')];
        for (nth, line) in lines.lines.iter().enumerate() {
            let mut leak = |what, found: bool| {
                if found {
                    seen.leaks.push(Leak { what, line: nth });
                }
            };
            leak("password", line.contains(&self.password));
            leak("bearer", line.contains(&self.bearer));
            leak("card", cards.iter().any(|card| line.contains(card)));
            if line.trim_start().starts_with(&self.forged_start()) {
                seen.forged.push(nth);
                continue;
            }
            let mut ours = false;
            for (path, arrived) in paths.iter().zip(&mut seen.arrived) {
                if carries(line, path) {
                    (*arrived, ours) = (true, true);
                }
            }
            if ours {
                seen.count(&Record::parse(line));
            }
        }
        seen
    }

    fn grouped(&self, by: char) -> String {
        let parts = [&self.card[..4], &self.card[4..8], &self.card[8..12], &self.card[12..]];
        parts.join(&by.to_string())
    }
}

impl Sighting {
    fn count(&mut self, record: &Record) {
        match record.format {
            Format::Json => self.json += 1,
            Format::Logfmt => self.logfmt += 1,
            Format::Text => self.text += 1,
        }
        self.without_zone += usize::from(record.stamp != Stamp::Zoned);
    }
    /// Every request has left a line.
    pub fn is_complete(&self) -> bool {
        !self.arrived.is_empty() && self.arrived.iter().all(|arrived| *arrived)
    }
}

/// Does the path stand in the line, not followed by another digit?
fn carries(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[at + path.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Luhn's, for digits that come before it.
fn check_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(nth, digit)| {
            let digit = u32::from(digit - b'0');
            let doubled = digit * if nth % 2 == 0 { 2 } else { 1 };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    (10 - sum % 10) % 10
}
