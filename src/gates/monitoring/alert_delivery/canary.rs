//! The canary: an alert that says TEST, with a code that only its reader knows. What is kept of it lies beside the runs,
//! with the code's digest; whoever enters the code puts it there in clear, and by then it is worth nothing.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::alertmanager::Labels;
use crate::domain::clock::Timestamp;
use crate::domain::evidence::hex;
use crate::domain::secret::Revealed;

/// Its name, for routes, silences and people.
pub const ALERT: &str = "HypercareCanary";
/// It resolves itself after this time.
pub const LIFE: Duration = Duration::from_secs(120);
/// Whoever answers later would have come too late.
pub const ANSWER_MAX: Duration = Duration::from_secs(30 * 60);

/// Without what looks alike: no 0 and O, no 1, I and L, no U and V. Thirty of them.
const LETTERS: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 8;
/// Thirty to the eighth codes, each so many rounds: nobody finds the code from the record.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// What is kept: `canary.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub run: String,
    /// The Alertmanager.
    pub place: String,
    pub labels: Labels,
    pub posted: Timestamp,
    salt: String,
    /// PBKDF2-HMAC-SHA256 of the code.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// Somebody entered the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub code: String,
    pub at: Timestamp,
    pub by: String,
}

/// Why a code was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("no canary has been posted")]
    None,
    #[error("this is not the code of the canary of {0}")]
    Wrong(String),
    #[error("the canary of {0} is older than 30 minutes")]
    Late(String),
    #[error("the code was entered at {0}")]
    Again(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Canary {
    /// A new one and its code. `None`: no randomness.
    pub fn new(place: &str, labels: &Labels, run: &str, now: Timestamp) -> Option<(Canary, Revealed)> {
        let random = SystemRandom::new();
        let mut salt = [0u8; 16];
        random.fill(&mut salt).ok()?;
        let mut code = String::new();
        while code.len() < LENGTH {
            let mut byte = [0u8; 1];
            random.fill(&mut byte).ok()?;
            // The rest of the byte's range would favour the first letters.
            if let Some(letter) = LETTERS.get(usize::from(byte[0] & 31)) {
                code.push(char::from(*letter));
            }
        }
        let digest = digest(&salt, &code);
        let canary = Canary {
            run: run.into(),
            place: place.into(),
            labels: labels.clone(),
            posted: now,
            salt: hex(&salt),
            digest,
            answer: None,
        };
        Some((canary, Revealed::new(code)))
    }

    /// Beside the folders of the runs.
    fn path(run_dir: &Path) -> PathBuf {
        run_dir.parent().unwrap_or(run_dir).join("canary.json")
    }

    /// The last one. `None`: there is none, or it cannot be read.
    pub fn read(run_dir: &Path) -> Option<Canary> {
        use std::io::Read as _;
        let mut text = String::new();
        let file = std::fs::File::open(Canary::path(run_dir)).ok()?;
        file.take(RECORD_BYTES_MAX).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub fn write(&self, run_dir: &Path) -> std::io::Result<()> {
        let path = Canary::path(run_dir);
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, serde_json::to_string_pretty(self)?)?;
        std::fs::rename(&beside, &path)
    }

    /// Takes a code; capitals, blanks and hyphens do not matter. `run_dir` is any folder beside those of the runs.
    pub fn answer(run_dir: &Path, code: &str, by: &str, now: Timestamp) -> Result<Canary, Refused> {
        let mut canary = Canary::read(run_dir).ok_or(Refused::None)?;
        if let Some(answer) = &canary.answer {
            return Err(Refused::Again(answer.at.rfc3339()));
        }
        let code = plain(code);
        if !canary.is_code(&code) {
            return Err(Refused::Wrong(canary.posted.rfc3339()));
        }
        if now.since(canary.posted) > ANSWER_MAX {
            return Err(Refused::Late(canary.posted.rfc3339()));
        }
        canary.answer = Some(Answer { code, at: now, by: by.into() });
        canary.write(run_dir)?;
        Ok(canary)
    }

    fn is_code(&self, code: &str) -> bool {
        let (Some(salt), Some(known)) = (unhex(&self.salt), unhex(&self.digest)) else { return false };
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, code.as_bytes(), &known).is_ok()
    }

    /// Was the right code given back in time, and not too long ago?
    pub fn counts(&self, now: Timestamp, max_age: Duration) -> bool {
        self.answer.as_ref().is_some_and(|answer| {
            answer.at >= self.posted
                && answer.at.since(self.posted) <= ANSWER_MAX
                && now.since(self.posted) <= max_age
                && self.is_code(&answer.code)
        })
    }

    /// May its code still come?
    pub fn is_awaited(&self, now: Timestamp) -> bool {
        self.answer.is_none() && now.since(self.posted) <= ANSWER_MAX
    }
}

/// `7F3K-9QWD`: easier to read out.
pub fn spoken(code: &str) -> String {
    format!("{}-{}", &code[..LENGTH / 2], &code[LENGTH / 2..])
}

fn plain(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).take(LENGTH * 2).collect()
}

fn digest(salt: &[u8], code: &str) -> String {
    let mut out = [0u8; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, code.as_bytes(), &mut out);
    hex(&out)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (text.len().is_multiple_of(2) && text.is_ascii())
        .then(|| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_code_comes_back_once_and_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/r1");
        std::fs::create_dir_all(&run).unwrap();
        assert!(matches!(Canary::answer(&run, "7F3K9QWD", "ada", NOW), Err(Refused::None)));
        let (canary, code) = Canary::new("http://am/", &Labels::new(), "r1", NOW).unwrap();
        canary.write(&run).unwrap();
        let record = std::fs::read_to_string(dir.path().join("runs/canary.json")).unwrap();
        assert!(!record.contains(code.expose()), "the record does not tell the code");
        assert!(canary.is_awaited(later(1800)) && !canary.is_awaited(later(1801)));
        assert!(matches!(Canary::answer(&run, "AAAA-AAAA", "ada", NOW), Err(Refused::Wrong(_))));
        assert!(matches!(Canary::answer(&run, code.expose(), "ada", later(1801)), Err(Refused::Late(_))));
        let typed = spoken(code.expose()).to_lowercase();
        let answered = Canary::answer(&run, &typed, "ada", later(95)).unwrap();
        assert!(answered.counts(later(3600), Duration::from_secs(86_400)));
        assert!(!answered.counts(later(86_401), Duration::from_secs(86_400)), "it lapses");
        assert!(matches!(Canary::answer(&run, &typed, "ada", later(96)), Err(Refused::Again(_))));
        let mut forged = canary.clone();
        forged.answer = Some(Answer { code: "AAAAAAAA".into(), at: later(5), by: "eve".into() });
        assert!(!forged.counts(later(6), Duration::from_secs(60)), "an answer without the code is none");
        let mut slow = answered.clone();
        slow.answer.as_mut().unwrap().at = later(1801);
        assert!(!slow.counts(later(1802), Duration::from_secs(86_400)));
    }

    #[test]
    fn codes_differ_and_can_be_read_out() {
        let (_, one) = Canary::new("p", &Labels::new(), "r", NOW).unwrap();
        let (_, two) = Canary::new("p", &Labels::new(), "r", NOW).unwrap();
        assert_ne!(one.expose(), two.expose());
        assert_eq!((one.expose().len(), spoken(one.expose()).len()), (8, 9));
        assert!(one.expose().bytes().all(|b| LETTERS.contains(&b)));
        assert!(unhex("zz").is_none() && unhex("abc").is_none() && unhex("äö").is_none());
    }
}
