//! Tests of the verdict, of the odd values, and of a target that is not there; real frameworks stand in `tests/limits.rs`.

use serde_json::json;

use super::ask::{Asked, Defect, Seen, What};
use super::cases::{self, cases};
use super::{Config, judge::judge};
use crate::domain::verdict::{Outcome, Verdict};
use crate::gates::inventory::{Body, Operation, Param, Place, Source};
use crate::net::NetError;

fn asked(name: &str, defects: &[What]) -> Asked {
    let defect = |what: &What| Defect {
        what: *what,
        case: "page=-1".into(),
        part: "page".into(),
        status: Some(500),
        detail: String::new(),
        excerpt: String::new(),
        curl: "curl".into(),
    };
    Asked {
        name: name.into(),
        template: "/teas".into(),
        cases: 9,
        valid: Some(200),
        defects: defects.iter().map(defect).collect(),
        ..Asked::default()
    }
}

fn verdict(operations: Vec<Asked>) -> (Verdict, Vec<String>) {
    let outcome = judge(&Seen { operations, ..Seen::default() }, &Config::default());
    (outcome.verdict, rules(&outcome))
}

fn rules(outcome: &Outcome) -> Vec<String> {
    outcome.findings.iter().map(|f| f.rule.clone()).collect()
}

#[test]
fn every_defect_has_its_verdict() {
    assert_eq!(verdict(vec![asked("GET /teas", &[])]), (Verdict::Pass, vec![]));
    for (what, expect, rule) in [
        (What::ServerError, Verdict::Fail, "server-error"),
        (What::Broken, Verdict::Fail, "broken-connection"),
        (What::Leak, Verdict::Fail, "leak"),
        (What::Gateway, Verdict::Warn, "gateway-error"),
        (What::Accepted, Verdict::Warn, "invalid-accepted"),
        (What::NoAllow, Verdict::Warn, "no-allow"),
        (What::Slow, Verdict::Warn, "slow-refusal"),
        (What::ValidFails, Verdict::Warn, "valid-fails"),
    ] {
        assert_eq!(verdict(vec![asked("GET /teas", &[what, what])]), (expect, vec![rule.to_string()]), "{what:?}");
    }
}

#[test]
fn nothing_asked_is_no_pass() {
    assert_eq!(verdict(vec![]).0, Verdict::Error);
    let guarded = || Asked { unasked: Some("answers 401".into()), ..asked("GET /mine", &[]) };
    assert_eq!(verdict(vec![guarded()]).0, Verdict::Error);
    assert_eq!(verdict(vec![asked("GET /teas", &[]), guarded()]).0, Verdict::Warn, "under the floor");
    let stopped = |operations| Seen { operations, stopped: Some(NetError::Stopped("x".into())), ..Seen::default() };
    assert_eq!(judge(&stopped(vec![]), &Config::default()).reason.as_deref(), Some("stopped"));
    // What was found before a stop stays found.
    let found = judge(&stopped(vec![asked("GET /teas", &[What::ServerError])]), &Config::default());
    assert_eq!(found.verdict, Verdict::Fail);
    assert_eq!(judge(&stopped(vec![asked("GET /teas", &[])]), &Config::default()).verdict, Verdict::Warn);
}

#[test]
fn errors_in_two_shapes_warn() {
    let mut one = asked("GET /teas", &[]);
    one.shapes = [("JSON with error".to_string(), "a".to_string())].into();
    let mut two = asked("GET /cups", &[]);
    two.shapes = [("text/html".to_string(), "b".to_string())].into();
    assert_eq!(verdict(vec![one, two]), (Verdict::Warn, vec!["error-shapes".to_string()]));
}

#[test]
fn odd_values_cover_the_list_and_unsafe_methods_get_nothing_valid() {
    let mut get = Operation::new("GET", "/teas", Source::OpenApi);
    let schema = json!({ "type": "integer", "minimum": 1 });
    get.params.push(Param {
        name: "page".into(),
        place: Place::Query,
        required: true,
        schema,
        example: Some("2".into()),
    });
    let made = cases(&get, &["GET"], "hc-r1", 100);
    let has = |path: &str, invalid: bool| made.iter().any(|c| c.path == path && c.invalid == invalid);
    for path in ["/teas", "/teas?page=NaN", "/teas?page=1e309", "/teas?page=-1", "/teas?page=0", "/teas?page=%00"] {
        assert!(has(path, true), "{path} in {made:#?}");
    }
    for path in ["/teas?page=%FF%FE", "/teas?page=2147483648", "/teas?page[]=1&page[a]=1", "/teas?page=2&page=hc"] {
        assert!(has(path, false), "{path} in {made:#?}");
    }
    assert!(made.iter().any(|c| c.method == "PROPFIND" && c.other_method));
    assert_eq!(cases(&get, &["GET"], "hc-r1", 5).len(), 5);

    let mut put = Operation::new("PUT", "/teas/{id}", Source::OpenApi);
    put.params.push(Param {
        name: "id".into(),
        place: Place::Path,
        required: true,
        schema: json!({ "type": "integer" }),
        example: Some("7".into()),
    });
    let schema = json!({ "type": "object", "required": ["name", "grams"], "properties": {
        "name": { "type": "string", "maxLength": 20 }, "grams": { "type": "integer" } } });
    put.body = Some(Body { media: "application/json".into(), schema, required: true, example: None });
    assert_eq!(cases::valid(&put), None);
    let made = cases(&put, &["PUT"], "hc-r1", 100);
    assert!(made.iter().all(|c| c.path == "/teas/2147483646"), "only an id that nobody has: {made:#?}");
    assert!(made.iter().filter(|c| !c.other_method).all(|c| c.invalid && c.body.is_some()), "{made:#?}");
    for body in ["{\"grams\":1}", "null", "{\"hc\": ", "{\"grams\":\"hc\",\"name\":\"hc-probe\"}", "{}"] {
        assert!(made.iter().any(|c| c.body.as_ref().is_some_and(|(_, text)| text == body)), "{body} in {made:#?}");
    }
    assert!(made.iter().any(|c| c.method == "GET" && c.other_method), "GET is not offered there");
    assert!(!cases::askable(&Operation::new("DELETE", "/teas", Source::Code)), "all teas");
}
