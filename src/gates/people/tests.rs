//! Who may sign what, on real repositories, with keys made in memory; `tests/people.rs` does the same with ssh-keygen.

use std::time::Duration;

use super::base::Wanted;
use super::statement::{self, Answer, Bound, NAMESPACE, Rotated, SCHEMA, Statement};
use super::*;
use crate::domain::sshsig::Ephemeral;
use crate::domain::verdict::{Class, Finding, GateResult, Goal, GoalState, Outcome, Overlay, Severity, Tier, Verdict};
use crate::gates::facts::git::scratch::Scratch;
use crate::gates::facts::{rid, walk};
use crate::gates::testing::NOW;
use crate::gates::waiver::{WaiverFile, draft};
use crate::gates::{all, decision, judge};

const DAY: Duration = Duration::from_secs(86_400);

/// Sue and Bob may sign, Ann too, but she has written everything; nobody knows Eve.
struct House {
    repo: Scratch,
    keys: Vec<(&'static str, Ephemeral)>,
}

impl House {
    fn new() -> House {
        let keys = ["sue", "bob", "ann", "eve"].map(|who| (who, Ephemeral::new().unwrap())).into();
        let house = House { repo: Scratch::new(), keys };
        let signers: String = ["sue", "bob", "ann"].map(|who| house.line(who)).concat();
        let roles = "[people]\nsenior = [\"sue@example.com\", \"ann@example.com\"]\nqa = [\"bob@example.com\"]\nops = [\"Sue@example.com\"]\n";
        house.repo.write(".hypercare/allowed_signers", &signers).write(".hypercare/roles.toml", roles);
        house.repo.write("a.txt", "1\n").commit("start").tag("v1.0.0");
        house.repo.write("a.txt", "2\n").commit("change");
        house
    }
    fn key(&self, who: &str) -> &Ephemeral {
        &self.keys.iter().find(|(name, _)| *name == who).unwrap().1
    }
    fn line(&self, who: &str) -> String {
        format!("{who}@example.com {}\n", self.key(who).public().line())
    }
    fn about(&self, change: Option<&str>) -> About {
        let repo = walk::open(self.repo.path()).unwrap();
        let wanted = |branch: &str| Wanted { branch: Some(branch.into()), told_by: "GITHUB_BASE_REF".into() };
        let change = change.map(|b| Change { differs: vec!["target".into()], ..Change::find(&repo, wanted(b)) });
        About { service: "shop".into(), rid: rid::identify(Some(&repo), None, vec![]).rid, external: false, change }
    }
    fn people(&self) -> People {
        People::open(&walk::open(self.repo.path()).unwrap(), &self.about(None), NOW)
    }
    fn statement(&self, gate: &str, who: &str) -> Statement {
        let rid = self.about(None).rid;
        let bound = Bound { commit: rid.commit.unwrap(), tree: rid.tree.unwrap(), version: rid.version };
        let line = attestation::line_of(gate).unwrap();
        Statement {
            schema: SCHEMA.into(),
            gate: gate.into(),
            subject: None,
            statement: statement::words(gate, &line, None, "shop", &bound, Answer::Yes),
            service: "shop".into(),
            rid: bound,
            answer: Answer::Yes,
            rotated: None,
            evidence: vec![],
            signer: format!("{who}@example.com"),
            role: None,
            issued: NOW.minus(DAY).rfc3339(),
            expires: NOW.plus(DAY).rfc3339(),
        }
    }
    fn lay(&self, statement: &Statement, who: &str) {
        let text = statement.canonical().unwrap();
        let signature = self.key(who).sign(NAMESPACE, text.as_bytes());
        self.repo
            .write(".hypercare/attestations/a.json", &text)
            .write(".hypercare/attestations/a.json.sig", &signature);
    }
    /// The only attestation there is, or why it does not count.
    fn judged(&self) -> Result<Attestation, String> {
        let mut list = self.people().attestations;
        assert_eq!(list.valid.len() + list.invalid.len(), 1, "{list:?}");
        list.valid.pop().ok_or_else(|| list.invalid.remove(0).1)
    }
    fn refused(&self, why: &str) {
        let said = self.judged().expect_err(why);
        assert!(said.contains(why), "{said}, not: {why}");
    }
    fn waive(&self, file: &WaiverFile, by: &[&str]) {
        let value = serde_json::to_value(file).unwrap();
        let text = crate::domain::canonical::canonical(&value).unwrap();
        self.repo.write(".hypercare/waivers/w.json", &text);
        for (n, who) in by.iter().enumerate() {
            let name = if n == 0 { "w.json.sig".into() } else { format!("w.json.{}.sig", n + 1) };
            let signature = self.key(who).sign(waiver::NAMESPACE, text.as_bytes());
            self.repo.write(&format!(".hypercare/waivers/{name}"), &signature);
        }
    }
}

fn result(id: &str, outcome: Outcome) -> GateResult {
    let gates = all();
    let about = gates.iter().map(|g| g.about()).find(|a| a.id == id).unwrap();
    judge::judge(about, outcome, Duration::ZERO, 0).0
}

#[test]
fn a_known_seniors_word_stands_in_for_what_could_not_be_seen() {
    let house = House::new();
    house.lay(&house.statement("code.review", "sue"), "sue");
    let valid = house.judged().unwrap();
    assert_eq!((valid.signer.as_str(), valid.yes), ("sue@example.com", true));
    // To commit it changes the commit, and nothing that it is about.
    house.repo.commit("sign");
    assert!(house.judged().is_ok());
    let people = house.people();
    assert_eq!(people.attested("code.review").count(), 1);
    assert_eq!(people.attested("release.qa").count(), 0);
    let lay = |outcome: Outcome| {
        let mut r = result("code.review", outcome);
        attestation::apply(&mut r, true, &people.attestations);
        r
    };
    let unseen = lay(Outcome::error("no-review-evidence", "no token"));
    assert_eq!((unseen.verdict, unseen.tier, unseen.blocks()), (Verdict::Error, Some(Tier::E0), false));
    assert!(matches!(&unseen.overlay, Some(Overlay::Attested { role: Some(role), .. }) if role == "senior"));
    assert!(lay(Outcome::warn("a trailer").tier(Tier::E2)).overlay.is_some());
    assert!(lay(Outcome::pass("approved").tier(Tier::E2)).overlay.is_none());
    // What was shown stays shown.
    let bad =
        Outcome::fail("1 change").tier(Tier::E2).findings(vec![Finding::new("self-approval", Severity::High, "x")]);
    let bad = lay(bad);
    assert!(bad.overlay.is_none() && bad.hint.unwrap().contains("stands against that"));
    let mut other = result("code.review", Outcome::error("x", "y"));
    attestation::apply(&mut other, false, &people.attestations);
    assert!(other.overlay.is_none(), "not attestable");
}

#[test]
fn what_does_not_count() {
    let house = House::new();
    let good = || house.statement("code.review", "sue");
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut s = good();
        change(&mut s);
        house.lay(&s, "sue");
    };
    with(&|s| s.expires = NOW.minus(Duration::from_secs(3600)).rfc3339());
    house.refused("lapsed 1 h ago");
    with(&|s| s.expires = NOW.plus(100 * DAY).rfc3339());
    house.refused("between now and");
    with(&|s| s.issued = NOW.plus(DAY / 2).rfc3339());
    house.refused("in the future");
    with(&|s| s.statement.text = "I looked at it from afar".into());
    house.refused("words");
    with(&|s| s.service = "other".into());
    house.refused("words");
    with(&|s| s.signer = "bob@example.com".into());
    house.refused("signed by sue@example.com, not by bob@example.com");
    with(&|s| s.rid.commit = "f".repeat(40));
    house.refused("words");
    with(&|s| s.gate = "code.nothing".into());
    house.refused("no gate");
    // Signed for something else.
    let text = good().canonical().unwrap();
    house.repo.write(".hypercare/attestations/a.json", &text);
    house.repo.write(".hypercare/attestations/a.json.sig", &house.key("sue").sign("file", text.as_bytes()));
    house.refused("signed for \"file\"");
    std::fs::remove_file(house.repo.path().join(".hypercare/attestations/a.json.sig")).unwrap();
    house.refused("not signed");
    // Changed after it was signed.
    house.lay(&good(), "sue");
    let tampered = text.replace("\"answer\":\"yes\"", "\"answer\":\"no\"");
    house.repo.write(".hypercare/attestations/a.json", &tampered);
    house.refused("does not fit the message");
    house.repo.write(".hypercare/attestations/a.json", &format!("{text}\n"));
    assert!(house.judged().is_ok(), "an editor's line end says nothing else");
    house.lay(&house.statement("code.review", "eve"), "eve");
    house.refused("is not in .hypercare/allowed_signers of main");
    house.lay(&house.statement("code.review", "bob"), "bob");
    house.refused("bob@example.com is not named as senior");
    house.lay(&house.statement("code.review", "ann"), "ann");
    house.refused("ann@example.com wrote a part");
}

/// Not of the gate, but of secrets in the history, by their fingerprints.
#[test]
fn rotated_secrets_are_named_and_stay_rotated() {
    let house = House::new();
    let print = "0123456789abcdef".to_string();
    let with = |who: &str, change: &dyn Fn(&mut Statement)| {
        let mut s = house.statement("code.secrets", "sue");
        let on = "2026-11-20".into();
        s.rotated = Some(Rotated { fingerprints: vec![print.clone()], on, by: "Olga of operations".into() });
        s.expires = NOW.plus(400 * DAY).rfc3339();
        change(&mut s);
        s.statement = s.todays_words("");
        house.lay(&s, who);
    };
    with("sue", &|_| {});
    let valid = house.judged().unwrap();
    assert_eq!(valid.rotated.map(|r| r.fingerprints), Some(vec![print.clone()]));
    let people = house.people();
    assert_eq!(
        (people.rotations().len(), people.attested("code.secrets").count()),
        (1, 0),
        "it says nothing of the gate"
    );
    let text = std::fs::read_to_string(house.repo.path().join(".hypercare/attestations/a.json")).unwrap();
    assert!(text.contains(&format!("revoked at its provider on 2026-11-20 by Olga of operations: {print}.")), "{text}");
    house.repo.write("a.txt", "3\n").commit("more");
    assert!(house.judged().is_ok(), "what was revoked stays so");
    let rotated = |change: fn(&mut Rotated)| with("sue", &|s| s.rotated.iter_mut().for_each(change));
    rotated(|r| r.fingerprints.clear());
    house.refused("from 1 to 1000 fingerprints");
    rotated(|r| r.fingerprints.push("hunter2".into()));
    house.refused("is no fingerprint of a finding");
    rotated(|r| r.on = "2026-11-24".into());
    house.refused("after it was signed");
    rotated(|r| r.on = "yesterday".into());
    house.refused("must be written as 2026-11-20");
    rotated(|r| r.by = " ".into());
    house.refused("who has revoked them");
    with("sue", &|s| s.answer = Answer::No);
    house.refused("the answer is yes");
    with("sue", &|s| s.gate = "code.review".into());
    house.refused("rotated secrets are of code.secrets");
    with("sue", &|s| s.expires = NOW.plus(731 * DAY).rfc3339());
    house.refused("between now and");
    with("sue", &|s| s.expires = NOW.minus(Duration::from_secs(3600)).rfc3339());
    house.refused("lapsed 1 h ago");
    with("eve", &|_| {});
    house.refused("is not in .hypercare/allowed_signers");
    // Refused ones are told of beside the failure.
    let mut r = result("code.secrets", Outcome::fail("1 secret").tier(Tier::E1).hint("revoke it"));
    attestation::apply(&mut r, false, &house.people().attestations);
    assert!(r.overlay.is_none() && r.hint.unwrap().starts_with("revoke it; .hypercare/attestations/a.json: the key"));
}

#[test]
fn it_lapses_when_what_it_is_about_changes() {
    let house = House::new();
    house.lay(&house.statement("code.review", "sue"), "sue");
    house.repo.commit("sign");
    assert!(house.judged().is_ok());
    house.repo.write("a.txt", "3\n");
    house.refused("a.txt has changed since commit");
    house.repo.git(&["checkout", "--quiet", "a.txt"]);
    house.repo.write("new.txt", "3\n");
    house.refused("new.txt has changed");
    house.repo.commit("more");
    house.refused("new.txt has changed");
    // An announcement is of a version, whatever the files do.
    house.repo.tag("v1.1.0");
    house.lay(&house.statement("release.announcement", "bob"), "bob");
    house.repo.write("a.txt", "4\n");
    assert!(house.judged().is_ok());
    let mut fail = result(
        "release.announcement",
        Outcome::fail("not announced").findings(vec![Finding::new("not-sent", Severity::High, "x")]),
    );
    attestation::apply(&mut fail, true, &house.people().attestations);
    assert!(fail.overlay.is_some(), "sent by other means");
    house.repo.commit("next").tag("v1.2.0");
    house.refused("it is about v1.1.0, and this is v1.2.0");
}

#[test]
fn a_mailmap_makes_nobody_another_person() {
    let house = House::new();
    house.repo.write(".mailmap", "Nobody <nobody@example.com> Ann <ann@example.com>\n").commit("map");
    house.lay(&house.statement("code.review", "ann"), "ann");
    house.refused("wrote a part");
    // Sue under her other address.
    house.repo.write(".mailmap", "Sue <sue@example.com> <sue@old.example>\n").write("a.txt", "5\n");
    house.repo.git(&["add", "--all"]);
    house.repo.git(&["-c", "user.email=sue@old.example", "commit", "--quiet", "-m", "by sue"]);
    house.lay(&house.statement("code.review", "sue"), "sue");
    house.refused("wrote a part");
}

#[test]
fn revoked_keys_are_revoked_at_once_and_a_list_that_cannot_be_read_revokes_all() {
    let house = House::new();
    house.lay(&house.statement("code.review", "sue"), "sue");
    assert!(house.judged().is_ok());
    // Not committed: it only takes away.
    for line in [house.key("sue").public().line(), house.key("sue").public().fingerprint() + " stolen"] {
        house.repo.write(".hypercare/revoked_keys", &format!("# stolen\n{line}\n"));
        house.refused("is revoked");
    }
    house.repo.write(".hypercare/revoked_keys", &house.key("bob").public().line());
    assert!(house.judged().is_ok());
    house.repo.write(".hypercare/revoked_keys", "SSHKRL\n\u{0}\u{0}");
    house.refused("cannot be read");
    assert!(house.people().ignored().iter().any(|i| i.why.contains("binary revocation lists")));
}

#[test]
fn nobody_enrols_himself_in_the_change_under_check() {
    let house = House::new();
    house.repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let all = ["sue", "bob", "ann", "eve"].map(|who| house.line(who)).concat();
    house.repo.write(".hypercare/allowed_signers", &all).write("b.txt", "1\n").commit("enrol");
    house.lay(&house.statement("release.announcement", "eve"), "eve");
    house.refused("is not in .hypercare/allowed_signers of main");
    house.lay(&house.statement("release.announcement", "bob"), "bob");
    assert!(house.judged().is_ok());
    house.repo.commit("sign");
    // Under a pull request not even Bob's counts before it is merged.
    let repo = walk::open(house.repo.path()).unwrap();
    let people = People::open(&repo, &house.about(Some("main")), NOW);
    assert_eq!((people.attestations.valid.len(), people.attestations.invalid.len()), (0, 0));
    let base = people.base.unwrap();
    assert_eq!(base.differs, ["target", "allowed_signers", "attestations"]);
    assert!(base.commit.is_some() && base.not_trusted.is_empty());
    let unknown = People::open(&repo, &house.about(Some("release")), NOW);
    assert!(!unknown.trust.in_force && unknown.waivers.valid.is_empty());
    assert_eq!(unknown.base.unwrap().not_trusted.len(), 5);
}

#[test]
fn waivers_need_their_approvers_signature_where_there_are_signers() {
    let house = House::new();
    let file = || draft("code.coverage", "the importer is broken until Monday", "ann", "bob@example.com", NOW, DAY);
    let state = |by: &[&str]| {
        house.waive(&file(), by);
        let waivers = house.people().waivers;
        waivers.valid.first().map(|w| w.signed).ok_or_else(|| waivers.invalid[0].1.clone())
    };
    let unsigned = state(&[]).unwrap_err();
    assert!(unsigned.contains("it is not signed, and there is a list of signers on main"), "{unsigned}");
    assert!(state(&["sue"]).unwrap_err().contains("not by bob@example.com"));
    assert!(state(&["eve"]).unwrap_err().contains("is not in .hypercare/allowed_signers"));
    assert_eq!(state(&["bob"]), Ok(true));
    let own = WaiverFile { requester: "Bob@example.com ".into(), approver: "bob@example.com".into(), ..file() };
    house.waive(&own, &["bob"]);
    assert!(house.people().waivers.invalid[0].1.contains("same person"));
    // Without a list everything is as before, and says so.
    house.repo.git(&["rm", "--quiet", ".hypercare/allowed_signers"]);
    house.repo.commit("no signers");
    house.waive(&file(), &[]);
    let waivers = house.people().waivers;
    assert_eq!((waivers.unsigned_will_do, waivers.valid[0].signed), (true, false));
}

#[test]
fn what_is_critical_takes_two_people_and_three_days() {
    let house = House::new();
    let leak = || {
        let finding = Finding::new("aws-access-key", Severity::Critical, "aws-access-key (AWS)").at("a", 1, 1);
        result("code.secrets", Outcome::fail("1 secret").tier(Tier::E1).findings(vec![finding]))
    };
    let covered = |second: Option<&str>, life: Duration, by: &[&str]| {
        let file = draft("code.secrets", "the vendor revokes it within the day", "ann", "bob@example.com", NOW, life);
        let second = second.map(|who| format!("{who}@example.com"));
        for old in ["w.json.sig", "w.json.2.sig"] {
            let _ = std::fs::remove_file(house.repo.path().join(".hypercare/waivers").join(old));
        }
        house.waive(&WaiverFile { second, ..file }, by);
        let mut r = leak();
        waiver::apply(&mut r, &house.people().waivers.valid, NOW);
        r.overlay.map(|o| matches!(o, Overlay::Waived { signed: true, .. })).ok_or(r.hint.unwrap_or_default())
    };
    assert!(covered(None, DAY, &["bob"]).unwrap_err().contains("takes two approvers, and one has signed"));
    assert!(covered(Some("sue"), DAY, &["bob"]).unwrap_err().contains("sue@example.com has not signed"));
    assert!(covered(Some("sue"), 4 * DAY, &["bob", "sue"]).unwrap_err().contains("3 d at most"));
    assert!(covered(Some("ann"), DAY, &["bob", "ann"]).unwrap_err().contains("wrote a part"));
    assert_eq!(covered(Some("sue"), DAY, &["bob", "sue"]), Ok(true));
    let mut past = leak();
    past.findings[0].message.push_str(", no longer there, but in commit 1234");
    let one = draft("code.secrets", "revoked at the vendor on Friday", "ann", "bob@example.com", NOW, DAY);
    let _ = std::fs::remove_file(house.repo.path().join(".hypercare/waivers/w.json.2.sig"));
    house.waive(&one, &["bob"]);
    waiver::apply(&mut past, &house.people().waivers.valid, NOW);
    assert!(past.overlay.is_some(), "what is only in the history is not live at HEAD");
}

#[test]
fn operations_may_say_that_a_goal_does_not_apply() {
    let house = House::new();
    let skipped = |id| result(id, Outcome::skip("profile:static-site", "nothing runs"));
    let results = [skipped("performance.load"), skipped("performance.concurrency")];
    let state = |goals: &[Goal]| goals.iter().find(|g| g.id == "load").unwrap().state;
    let goals = |list: &Attestations, results: &[GateResult]| {
        let mut goals = decision::goals(results);
        attestation::apply_to_goals(&mut goals, results, list);
        state(&goals)
    };
    assert_eq!(goals(&Attestations::default(), &results), GoalState::Unknown);
    house.lay(&house.statement("goal.load", "bob"), "bob");
    house.refused("not named as ops");
    house.lay(&house.statement("goal.load", "sue"), "sue");
    let list = house.people().attestations;
    assert_eq!(goals(&list, &results), GoalState::Ready);
    let unknown = [skipped("performance.load"), result("performance.concurrency", Outcome::error("x", "y"))];
    assert_eq!(goals(&list, &unknown), GoalState::Unknown);
    assert_eq!(unknown[0].class, Class::A);
}

#[test]
fn an_in_toto_statement_carries_the_whole() {
    let house = House::new();
    let statement = house.statement("code.review", "sue");
    let out = statement::in_toto(&statement, "-----BEGIN SSH SIGNATURE-----");
    assert_eq!(out["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(out["subject"][0]["digest"]["gitCommit"], house.repo.git(&["rev-parse", "HEAD"]));
    assert_eq!(out["predicate"]["gate"], "code.review");
    assert_eq!(out["predicate"]["signature"]["format"], "SSHSIG");
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "\\PC{0,300}", key in "[a-z_]{0,12}") {
        let _ = attestation::parse(text.as_bytes());
        let _ = waiver::parse(text.as_bytes());
        let _ = attestation::parse(format!("{{\"schema\":\"{SCHEMA}\",\"{key}\":{text:?}}}").as_bytes());
    }
}
