//! What people say of secrets that were found: fingerprints by which they can name one, and signed statements that those
//! of the history are worth nothing any more (`hypercare attest code.secrets --rotated`).
//!
//! A secret that still stands in the work tree is covered by no such statement: whoever reads the product would take it
//! for a good one, and the next one put there would be leaked with it.

use crate::domain::fingerprint::{FingerprintKey, Meant, meant};
use crate::domain::verdict::Finding;
use crate::gates::people::attestation::Attestation;

#[derive(Debug, Default)]
pub(super) struct Revoked {
    pub key: Option<FingerprintKey>,
    /// Those that count today.
    pub said: Vec<Attestation>,
}

impl Revoked {
    /// The place, and with `HYPERCARE_KEY` the value too.
    pub fn fingerprint(&self, place: &str, value: &[u8]) -> String {
        self.key.as_ref().map_or_else(|| place.to_string(), |key| key.bind(place, value))
    }

    /// Lists a finding of the history without counting it, when somebody answers for its secret's end. Says beside the
    /// advice why a statement about its place does not cover it.
    pub fn cover(&self, finding: &mut Finding) {
        let mut doubt = None;
        for said in &self.said {
            let Some(rotated) = &said.rotated else { continue };
            for noted in &rotated.fingerprints {
                match meant(noted, &finding.fingerprint) {
                    Meant::Yes if finding.suppressed.is_none() => {
                        let (on, by, signer, until) = (&rotated.on, &rotated.by, &said.signer, said.expires);
                        finding.suppressed =
                            Some(format!("rotated on {on} by {by}, says {signer} by signature until {until}"));
                    }
                    Meant::Doubtful(why) => doubt = Some(format!("{} does not cover it: {why}", said.file)),
                    Meant::Yes | Meant::No => {}
                }
            }
        }
        if finding.suppressed.is_some() {
            return;
        }
        finding.fix.push_str(&format!(
            "; once it is revoked, let somebody sign that: hypercare attest code.secrets --rotated {}",
            finding.fingerprint
        ));
        // First, because long advice is cut.
        if let Some(doubt) = doubt {
            finding.fix = format!("{doubt}; {}", finding.fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::clock::Timestamp;
    use crate::domain::fingerprint::FingerprintKey;
    use crate::domain::verdict::{Finding, Outcome, Verdict};
    use crate::gates::code::secrets::checks::github_token;
    use crate::gates::code::secrets::revoked::Revoked;
    use crate::gates::code::secrets::{Config, Looking, gather, judge};
    use crate::gates::facts::git::scratch::Scratch;
    use crate::gates::people::attestation::Attestation;
    use crate::gates::people::statement::Rotated;
    use crate::gates::{sweep, testing};

    fn token(letters: &str) -> String {
        github_token("ghp_", &letters.repeat(5))
    }

    fn key(text: &str) -> Option<FingerprintKey> {
        FingerprintKey::read(|_| Some(text.repeat(32))).unwrap()
    }

    fn said(prints: &[&Finding]) -> Attestation {
        Attestation {
            file: ".hypercare/attestations/r.json".into(),
            gate: "code.secrets".into(),
            subject: None,
            yes: true,
            signer: "sue@example.com".into(),
            roles: Default::default(),
            key: String::new(),
            commit: String::new(),
            issued: testing::NOW,
            expires: Timestamp::parse("2027-11-22T10:00:00Z").unwrap(),
            evidence: 0,
            unverifiable: 0,
            rotated: Some(Rotated {
                fingerprints: prints.iter().map(|f| f.fingerprint.clone()).collect(),
                on: "2026-11-20".into(),
                by: "Olga".into(),
            }),
        }
    }

    fn judged(repo: &Scratch, key: Option<FingerprintKey>, said: &[Attestation]) -> Outcome {
        let (repo, config) = (testing::open(repo.path()), Config::default());
        let revoked = Revoked { key, said: said.to_vec() };
        let (looking, found) = sweep::alone(&repo, Looking { revoked, ..Looking::new(&repo, &config) });
        judge(&gather(&repo, &looking, found, &config))
    }

    /// One line that held one token after the other, and holds none now.
    fn leaky(tokens: &[&str]) -> Scratch {
        let repo = Scratch::new();
        for (nth, letters) in tokens.iter().enumerate() {
            let when = format!("2026-11-{:02}T10:00:00Z", nth + 1);
            repo.write("pay.js", &format!("pay('{}')\n", token(letters)));
            repo.git(&["add", "--all"]);
            repo.git_at(&when, &["commit", "--quiet", "-m", "pay"]);
        }
        repo.write("pay.js", "pay(process.env.KEY)\n").commit("clean");
        repo
    }

    #[test]
    fn a_rotated_secret_of_the_history_is_listed_and_does_not_count() {
        let repo = leaky(&["aZbY3c", "XdW4eV"]);
        let before = judged(&repo, None, &[]);
        assert_eq!((before.verdict, before.findings.len()), (Verdict::Fail, 2), "{before:#?}");
        let [first, second] = &before.findings[..] else { panic!("{before:#?}") };
        assert_ne!(first.fingerprint, second.fingerprint, "one line, two secrets");
        assert!(first.fix.contains(&format!("attest code.secrets --rotated {}", first.fingerprint)), "{}", first.fix);
        let half = judged(&repo, None, &[said(&[first])]);
        assert_eq!(half.verdict, Verdict::Fail);
        assert!(half.summary.starts_with("1 secret in") && half.summary.ends_with("1 secret of the history rotated"));
        let both = judged(&repo, None, &[said(&[first]), said(&[second])]);
        assert_eq!((both.verdict, both.findings.len()), (Verdict::Pass, 2), "{both:#?}");
        assert!(both.summary.ends_with("; 2 secrets of the history rotated"), "{}", both.summary);
        let why = both.findings[0].suppressed.as_deref().unwrap();
        assert!(
            why.starts_with("rotated on 2026-11-20 by Olga, says sue@example.com by signature until 2027"),
            "{why}"
        );
        // A third one on that line is nobody's word.
        let text = format!("pay('{}')\n", token("5gT6hS"));
        repo.write("pay.js", &text).commit("again");
        let all = [said(&[first]), said(&[second])];
        assert_eq!(judged(&repo, None, &all).verdict, Verdict::Fail, "it is there");
        repo.write("pay.js", "pay()\n").commit("gone again");
        let third = judged(&repo, None, &all);
        assert_eq!((third.verdict, third.findings.len()), (Verdict::Fail, 3), "{third:#?}");
        for letters in ["aZbY3c", "XdW4eV", "5gT6hS"] {
            assert!(!format!("{third:?}").contains(&token(letters)[8..]));
        }
    }

    #[test]
    fn what_still_stands_there_is_not_covered() {
        let repo = Scratch::new();
        repo.write("pay.js", &format!("pay('{}')\n", token("aZbY3c"))).commit("pay");
        let now = judged(&repo, None, &[]);
        let after = judged(&repo, None, &[said(&[&now.findings[0]])]);
        assert_eq!(after.verdict, Verdict::Fail);
        assert!(!after.findings[0].message.contains("no longer there"), "{after:#?}");
    }

    #[test]
    fn with_the_key_the_value_is_meant_too() {
        let repo = leaky(&["aZbY3c"]);
        let bare = judged(&repo, None, &[]).findings.remove(0);
        let bound = judged(&repo, key("k"), &[]).findings.remove(0);
        assert!(bound.fingerprint.starts_with(&format!("{}-", bare.fingerprint)), "{}", bound.fingerprint);
        let (by_place, by_value) = ([said(&[&bare])], [said(&[&bound])]);
        assert_eq!(judged(&repo, key("k"), &by_value).verdict, Verdict::Pass);
        for (key, said, why) in [
            (key("k"), &by_place, "was made without HYPERCARE_KEY"),
            (key("l"), &by_value, "made with another HYPERCARE_KEY"),
            (None, &by_value, "HYPERCARE_KEY, which is not set here"),
        ] {
            let outcome = judged(&repo, key, said);
            let fix = &outcome.findings[0].fix;
            assert!(
                outcome.verdict == Verdict::Fail && fix.contains("r.json does not cover it: it") && fix.contains(why),
                "{fix}"
            );
        }
    }
}
