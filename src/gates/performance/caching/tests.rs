//! Headers as they come, and verdicts from what was seen.

use proptest::prelude::*;

use super::directives::{directives, hit, is_hashed, shared};
use super::judge::{Seen, judge};
use super::look::{Asset, Look, Route};
use super::*;
use crate::domain::verdict::Verdict;
use crate::net::Response;
use crate::net::redis::Info;

fn answer(headers: &[(&str, &str)]) -> Response {
    Response {
        status: 200,
        headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        body: bytes::Bytes::new(),
        truncated: false,
        duration: Duration::ZERO,
        url: "http://shop.invalid/".parse().unwrap(),
        tls: None,
    }
}

#[test]
fn what_a_shared_cache_may_keep_follows_rfc_9111() {
    let kept = |cache: &str, authorized| shared(&answer(&[("cache-control", cache)]), authorized).is_some();
    for (cache, with, without) in [
        ("public, max-age=60", true, true),
        ("max-age=60", false, true),
        ("max-age=60, must-revalidate", true, true),
        ("s-maxage=60, private", false, false),
        ("s-maxage=60", true, true),
        ("s-maxage=0, max-age=60", false, false),
        ("private, max-age=60", false, false),
        ("Private=\"set-cookie\", Public, Max-Age=\"60\"", true, true),
        ("no-store", false, false),
        ("public, no-cache", false, false),
        ("public, max-age=0", false, false),
        ("", false, false),
    ] {
        assert_eq!((kept(cache, true), kept(cache, false)), (with, without), "{cache}");
    }
    assert!(shared(&answer(&[("cache-control", "public, max-age=9"), ("vary", "Accept, Cookie")]), false).is_none());
    assert!(shared(&answer(&[("cache-control", "private"), ("surrogate-control", "max-age=9")]), true).is_some());
    assert!(shared(&answer(&[]), false).is_none());
}

#[test]
fn caches_are_known_by_their_traces() {
    for (name, value) in [
        ("cache-status", "ExampleCache; hit; ttl=30"),
        ("x-cache", "Hit from cloudfront"),
        ("cf-cache-status", "HIT"),
        ("x-cache-status", "HIT"),
        ("x-varnish", "32770 3"),
        ("age", "12"),
    ] {
        assert!(hit(&answer(&[(name, value)])).is_some(), "{name}: {value}");
    }
    for (name, value) in
        [("cache-status", "C; fwd=uri-miss"), ("x-cache", "MISS"), ("x-varnish", "32770"), ("age", "0")]
    {
        assert!(hit(&answer(&[(name, value)])).is_none(), "{name}: {value}");
    }
}

#[test]
fn names_that_change_with_the_content_are_told_from_names() {
    for hashed in
        ["/a/app.3f2a9c1b.js", "/assets/index-DkJ3x9aP.css", "/main.9f86d081884c7d65.min.js", "/logo-BxKqZmTw.svg"]
    {
        assert!(is_hashed(hashed), "{hashed}");
    }
    for plain in [
        "/app.js",
        "/style-homepage.css",
        "/jquery.validate.js",
        "/bootstrap-datepicker.min.js",
        "/own.css",
        "/photo-20241103.jpeg/",
    ] {
        assert!(!is_hashed(plain), "{plain}");
    }
}

fn seen(change: impl FnOnce(&mut Seen)) -> Seen {
    let route = Route { name: "GET /".into(), status: 200, ..Route::default() };
    let look = Look { assets: Vec::new(), routes: vec![route], unread: Vec::new() };
    let mut seen = Seen { look, redis: None, declared: None, load: None, actors: 2 };
    change(&mut seen);
    seen
}

#[test]
fn each_verdict_has_its_reason() {
    let say = |change: fn(&mut Seen)| {
        let outcome = judge(&seen(change), &Config::default());
        let rules: Vec<String> = outcome.findings.iter().map(|f| f.rule.clone()).collect();
        (outcome.verdict, rules.join(" "), outcome.findings.iter().any(|f| f.escalate))
    };
    assert_eq!(say(|_| ()), (Verdict::Warn, String::new(), false));
    assert_eq!(say(|s| s.load = Some(Verdict::Pass)).0, Verdict::Warn);
    assert_eq!(say(|s| s.load = Some(Verdict::Fail)).0, Verdict::Fail);
    assert_eq!(say(|s| s.declared = Some("redis".into())).0, Verdict::Warn);
    assert_eq!(say(|s| s.look.routes[0].hit = Some("Age")).0, Verdict::Pass);
    assert_eq!(say(|s| s.look.routes.clear()).0, Verdict::Error);
    assert_eq!(say(|s| s.redis = Some(Err("gone".into()))).0, Verdict::Error);
    let redis = |hits, misses| Info { hits, misses, max_bytes: 1, policy: "allkeys-lru".into(), ..Info::default() };
    let with = |info: Info| {
        let outcome = judge(&seen(|s| s.redis = Some(Ok(info))), &Config::default());
        (outcome.verdict, outcome.findings.iter().map(|f| f.rule.clone()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(with(redis(900, 100)), (Verdict::Pass, String::new()));
    assert_eq!(with(redis(600, 400)), (Verdict::Warn, "hit-ratio".into()));
    assert_eq!(with(redis(100, 900)), (Verdict::Fail, "hit-ratio".into()));
    assert_eq!(with(redis(9, 1)), (Verdict::Warn, String::new()), "too few look-ups");
    assert_eq!(with(Info { policy: "noeviction".into(), ..redis(900, 100) }), (Verdict::Warn, "noeviction".into()));
    let leak = |s: &mut Seen| {
        s.look.routes[0] =
            Route { private: true, shared: Some("public".into()), hit: Some("Age"), ..s.look.routes[0].clone() };
    };
    assert_eq!(say(leak), (Verdict::Fail, "private-answer-cacheable".into(), true));
    let served = |s: &mut Seen| s.look.routes[0].leaked_to = Some("nobody");
    assert_eq!(say(served), (Verdict::Fail, "serves-anothers-answer".into(), true));
    let careless = |s: &mut Seen| {
        s.look.routes[0].hit = Some("Age");
        let file = |path: &str, hashed| Asset { path: path.into(), status: 200, hashed, ..Asset::default() };
        s.look.assets = vec![file("/app-3f2a9c1b.js", true), file("/own.css", false)];
    };
    assert_eq!(say(careless), (Verdict::Warn, "short-lived-hashed uncached-asset".into(), false));
}

#[test]
fn settings_out_of_range_are_told() {
    assert!(Config::default().validate().is_empty());
    let config = Config { hit_ratio: f64::NAN, paths: vec!["me".into()], max_routes: 0, ..Config::default() };
    assert_eq!(config.validate().len(), 3);
}

proptest! {
    #[test]
    fn any_header_can_be_read(text in ".{0,80}") {
        let d = directives([text.as_str()].into_iter());
        prop_assert!(!d.no_store || text.to_ascii_lowercase().contains("no-store"));
        let _ = (hit(&answer(&[("age", &text), ("x-cache", &text)])), is_hashed(&text));
    }
}
