//! Severity cues: phrases that speak of harm, found by a lexicon (`cues.tsv`) with negation scope.
//!
//! A lexicon and not a sentiment: "the app crashes every time I open it" has no sad word in it. Acceptance is a
//! hand-labelled set in `tests/fixtures/feedback_cues.tsv`: precision ≥ .85, recall ≥ .80.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::feedback::Cue;

/// Every cue there is, in the lexicon's order.
pub const NAMES: [&str; 9] =
    ["crash", "login", "payment", "data_loss", "security", "slow", "install", "register", "accessibility"];

/// Cues that can make a launch a failure; three people with one of them in an hour page somebody.
pub const SEVERE: [&str; 5] = ["crash", "login", "payment", "data_loss", "security"];

/// What `NOT` stands for in the lexicon.
const NOT: &str = r"can(?:no|['’]?)t|can\s+not|could\s*n['’]?t|could\s+not|unable\s+to|not\s+able\s+to|am\s+unable\s+to|not\s+possible\s+to|impossible\s+to|no\s+way\s+to|wo\s*n['’]?t|will\s+not|would\s*n['’]?t|does\s*n['’]?t|does\s+not|do\s*n['’]?t|do\s+not|did\s*n['’]?t|did\s+not|is\s*n['’]?t|is\s+not|are\s*n['’]?t|are\s+not|has\s*n['’]?t|has\s+not|not|no\s+longer|never|refuses\s+to|fails\s+to|failed\s+to|stopped|nobody\s+can|no\s+one\s+can";

struct Phrase {
    cue: &'static str,
    pattern: Regex,
    /// The phrase says NOT itself: "cannot log in" is not negated by its own word.
    except: Option<Regex>,
}

static LEXICON: LazyLock<Vec<Phrase>> = LazyLock::new(|| {
    let phrase = |line: &str| {
        let (cue, pattern) = line.split_once('\t')?;
        let cue = NAMES.into_iter().find(|n| *n == cue)?;
        // The regex crate has no lookahead: `(?!x)` at the end of a phrase is a second expression on what follows.
        let (pattern, except) = match pattern.split_once("(?!") {
            Some((head, tail)) => (head, tail.strip_suffix(')')),
            None => (pattern, None),
        };
        let full = format!(r"(?i)\b(?:{})\b", pattern.replace("NOT", &format!("(?:{NOT})")));
        let except = except.map(|e| Regex::new(&format!(r"(?i)^(?:{e})")).expect("a fixed pattern"));
        Some(Phrase { cue, pattern: Regex::new(&full).expect("a fixed pattern"), except })
    };
    include_str!("cues.tsv").lines().filter(|l| !l.starts_with('#')).filter_map(phrase).collect()
});

/// Words before a phrase that turn it into its opposite ("no longer crashes", "fixed the crash").
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\b(?:no\s+longer|never|not|no|without|zero|stopped|stops|fix(?:ed|es|ing)?|solved|solves|resolved|resolves|prevents?|avoids?|any|haven['’]?t|hasn['’]?t|didn['’]?t|doesn['’]?t|don['’]?t|isn['’]?t|wasn['’]?t|won['’]?t|hardly|rarely|instead\s+of|worried|afraid|if|unless|would|could|might|imagine|rather\s+than|less|nothing|cured|used\s+to|how\s+to|how\s+do\s+i|please\s+add|whether)\b)(?:\s+\S+){0,4}\s*$")
        .expect("a fixed pattern")
});
/// The same words when they do the opposite: "not only slow", "no idea why it crashes".
static STILL_MEANT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:not\s+only|no\s+idea|don['’]?t\s+know|not\s+sure|no\s+doubt|no\s+matter|never\s+(?:had|seen|used)\b.*\bso|not\s+fixed|isn['’]?t\s+fixed|not\s+(?:been\s+)?(?:solved|resolved)|didn['’]?t\s+(?:fix|solve)|doesn['’]?t\s+(?:fix|solve|help)|not\s+to\s+mention|please\s+fix|need\s+to\s+fix|fix\s+(?:this|it|your|the)|if\s+i|if\s+you|any\s*time|would\s+love|could\s+you)\b")
        .expect("a fixed pattern")
});
/// Words after a phrase that say it is over.
static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^(?:\s+\S+){0,3}?\s+(?:(?:is|are|was|were|has\s+been|have\s+been|got|seems?|now|finally)\s+(?:now\s+|all\s+|finally\s+|been\s+)?(?:fixed|gone|solved|resolved|history|sorted)|fixed|went\s+away|no\s+more)\b")
        .expect("a fixed pattern")
});

/// Cues in `text`, by start; one per cue and place (overlapping hits of one cue are one).
pub fn find(text: &str) -> Vec<Cue> {
    let mut found: Vec<Cue> = Vec::new();
    for phrase in LEXICON.iter() {
        for hit in phrase.pattern.find_iter(text) {
            let rest = &text[hit.end()..];
            if phrase.except.as_ref().is_some_and(|e| e.is_match(rest)) || negated(text, hit.start(), hit.end()) {
                continue;
            }
            match found.iter_mut().find(|c| c.name == phrase.cue && c.start < hit.end() && hit.start() < c.end) {
                Some(cue) => (cue.start, cue.end) = (cue.start.min(hit.start()), cue.end.max(hit.end())),
                None => found.push(Cue { name: phrase.cue.into(), start: hit.start(), end: hit.end() }),
            }
        }
    }
    found.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
    found
}

/// Looks only inside the clause: negation does not cross a full stop, a comma or a "but".
fn negated(text: &str, start: usize, end: usize) -> bool {
    static CLAUSE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)[.!?;:,\n()]|\b(?:but|and\s+(?:it|then|now)|yet|however|because|since|although)\b")
            .expect("a fixed pattern")
    });
    let before = &text[..start];
    let from = CLAUSE.find_iter(before).last().map_or(0, |m| m.end());
    let after = &text[end..];
    let to = CLAUSE.find(after).map_or(after.len(), |m| m.start());
    let (before, through, after) = (&before[from..], &text[from..end], &after[..to]);
    (BEFORE.is_match(before) && !STILL_MEANT.is_match(through)) || AFTER.is_match(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn check(text: &str, expect: &[&str]) {
        let names: BTreeSet<String> = find(text).into_iter().map(|c| c.name).collect();
        assert_eq!(names, expect.iter().map(|n| n.to_string()).collect(), "{text}");
    }

    #[test]
    fn finds_harm_and_its_span() {
        let text = "Since 1.4 the app crashes when I pay";
        let cue = &find(text)[0];
        assert_eq!((&*cue.name, &text[cue.start..cue.end]), ("crash", "app crashes"));
        check("I can't log in since the update", &["login"]);
        check("Was charged twice!!", &["payment"]);
    }

    #[test]
    fn negation_turns_it_around_but_only_in_its_clause() {
        check("it no longer crashes", &[]);
        check("never crashed on me", &[]);
        check("the crash on start is fixed", &[]);
        check("It does not load, just crashes", &["crash"]);
        check("not only slow, it also crashes", &["slow", "crash"]);
    }

    #[test]
    fn every_line_of_the_lexicon_is_used() {
        let lines = include_str!("cues.tsv").lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(LEXICON.len(), lines);
    }

    /// `cues` (comma-separated, `-` for none), tab, message.
    #[test]
    fn precision_and_recall_on_the_labelled_set() {
        let set = include_str!("../../../tests/fixtures/feedback_cues.tsv");
        let (mut hit, mut wrong, mut missed, mut total) = (0.0, 0.0, 0.0, 0);
        let mut notes = Vec::new();
        for line in set.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let (labels, text) = line.split_once('\t').expect("two columns");
            let truth: BTreeSet<&str> = labels.split(',').filter(|l| *l != "-").collect();
            assert!(truth.iter().all(|t| NAMES.contains(t)), "unknown cue in: {line}");
            let cues = find(text);
            let got: BTreeSet<&str> = cues.iter().map(|c| c.name.as_str()).collect();
            hit += truth.intersection(&got).count() as f64;
            wrong += got.difference(&truth).count() as f64;
            missed += truth.difference(&got).count() as f64;
            if truth != got {
                notes.push(format!("{text}: labelled {truth:?}, found {got:?}"));
            }
            total += 1;
        }
        assert!(total >= 120, "the set has {total} messages");
        let (precision, recall) = (hit / (hit + wrong), hit / (hit + missed));
        assert!(
            precision >= 0.85 && recall >= 0.80,
            "precision {precision:.3}, recall {recall:.3}\n{}",
            notes.join("\n")
        );
    }
}
