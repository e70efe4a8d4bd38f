//! Tests of the verdict on made-up ways. The real Alertmanager is in `tests/alert_delivery.rs`.

use std::collections::BTreeMap;

use super::alertmanager::Counters;
use super::judge::{Seen, Way, acknowledged, awaited, blocked, not_allowed, nowhere, posted};
use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::verdict::Verdict;
use crate::gates::testing::{NOW, says};

fn way(alert: &str) -> Way {
    Way { alert: alert.into(), receivers: vec!["oncall".into()], nowhere: false, muted_by: None }
}

fn seen() -> Seen {
    let url = Url::parse("http://127.0.0.1:9093/").unwrap();
    Seen {
        place: url.to_string(),
        active: Some(vec![url]),
        labels: BTreeMap::from([("severity".into(), "critical".into())]),
        ways: vec![way(canary::ALERT), way("Errors")],
        ..Seen::default()
    }
}

fn canary() -> Canary {
    Canary::new("http://127.0.0.1:9093/", &Labels::new(), "r1", NOW).unwrap().0
}

#[test]
fn the_way_is_judged_before_anything_is_sent() {
    assert!(blocked(&seen()).is_none());
    let lost = Seen { ways: vec![Way { nowhere: true, ..way("Errors") }], ..seen() };
    says(&blocked(&lost).unwrap(), Verdict::Fail, &["null-route :0"]);
    let muted = Seen { ways: vec![Way { muted_by: Some("Watchdog"), ..way("Errors") }], ..seen() };
    says(&blocked(&muted).unwrap(), Verdict::Fail, &["inhibited :0"]);
    let silenced = Seen { silence: Some("the move".into()), ..seen() };
    says(&blocked(&silenced).unwrap(), Verdict::Fail, &["silenced :0"]);
    says(&nowhere(&Seen { active: Some(vec![]), ..seen() }), Verdict::Fail, &["no-alertmanager :0"]);
    assert_eq!(nowhere(&Seen { active: None, ..seen() }).reason.as_deref(), Some("no-alertmanager"));
    assert_eq!(not_allowed(&seen()).reason.as_deref(), Some("canary-not-allowed"));
}

#[test]
fn what_left_and_what_came_back() {
    let after = |sent, failed| {
        let by_integration = BTreeMap::from([("webhook".to_string(), (sent, failed))]);
        let rise = Counters { sent, failed, by_integration };
        posted(&Seen { rise: Some((rise, Duration::from_secs(3))), ..seen() }, &canary())
    };
    says(&after(1, 0), Verdict::Warn, &["not-acknowledged :0"]);
    says(&after(1, 1), Verdict::Fail, &["failing-integration :0"]);
    says(&after(0, 0), Verdict::Fail, &["not-delivered :0"]);
    says(&awaited(&seen(), &canary(), NOW), Verdict::Warn, &["not-acknowledged :0"]);
    let answer = |at: Timestamp| canary::Answer { code: "7F3K9QWD".into(), at, by: "ada".into() };
    let mut given = canary();
    given.answer = Some(answer(NOW.plus(Duration::from_secs(95))));
    let good = acknowledged(&seen(), &given);
    says(&good, Verdict::Pass, &[]);
    assert!(good.summary.starts_with("ada had the canary"), "{}", good.summary);
    says(&acknowledged(&Seen { active: None, ..seen() }, &given), Verdict::Warn, &[]);
}

#[test]
fn settings_that_cannot_work_are_told() {
    let wrong = |toml: &str| {
        let config: Config = toml::from_str(toml).unwrap();
        config.validate().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("labels = { severity = \"page\", team = \"shop\" }"), "");
    assert!(wrong("labels = { alertname = \"X\" }").contains("no label"));
    assert!(wrong("labels = { \"a-b\" = \"X\" }").contains("no label"));
    assert!(wrong("max_wait = \"1h\"").contains("between 1s and 10m"));
}
