//! From a breach to a message, and through kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::world::{World, get, wait};

const RULES: &str = "groups:
- name: shop
  rules:
  - alert: ShopBroken
    expr: shop_broken == 1
    labels: { severity: critical, service: shop }
    annotations: { summary: 'every page fails' }
";

/// Episodes are what receivers group by.
fn episode(hook: &crate::world::Hook) -> String {
    hook.body["data"]["episode"].as_str().unwrap_or_else(|| panic!("no episode in {}", hook.body)).to_string()
}

#[test]
fn a_breach_is_told_once_acknowledged_and_resolved_in_its_thread() {
    let mut world = World::new(RULES, "");
    world.mail.start();
    world.start();
    assert!(world.receiver.hooks().is_empty(), "nothing is wrong yet");

    world.service.set_broken(true);
    let fired = wait("the webhook", || world.receiver.of("alert.firing").first().cloned());
    let root = wait("the mail", || world.mail.mails().first().cloned());
    assert!(root.headers["subject"].contains("ShopBroken"), "{root:?}");
    assert!(root.body.contains("every page fails"), "{}", root.body);

    let alerts = world.json(&["alerts"]);
    let group = &alerts["groups"][0];
    assert_eq!(group["episode"], fired.body["data"]["episode"]);
    let number = group["number"].as_i64().unwrap().to_string();
    let acked = world.cli(&["ack", &number, "--comment", "mine"]);
    assert!(acked.status.success(), "{}", String::from_utf8_lossy(&acked.stderr));
    assert_eq!(world.cli(&["ack", "999", "--comment", "nobody's"]).status.code(), Some(1));

    // Several group intervals pass: an unchanged alert is not told again.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(world.receiver.of("alert.firing").len(), 1);
    assert_eq!(world.mail.mails().len(), 1);

    world.service.set_broken(false);
    let resolved = wait("the resolve", || world.receiver.of("alert.resolved").first().cloned());
    assert_eq!(episode(&resolved), episode(&fired));
    assert_ne!(resolved.id, fired.id);
    let reply = wait("the resolving mail", || world.mail.mails().get(1).cloned());
    assert_eq!(reply.headers["in-reply-to"], root.headers["message-id"], "the resolve stays in the thread");
    assert!(reply.headers["subject"].contains(&root.headers["subject"]), "{reply:?}");
    assert_eq!(world.receiver.hooks().len(), 2);
}

#[test]
fn a_kill_between_commit_and_send_delivers_once_under_the_id_that_was_committed() {
    let mut world = World::new(RULES, "");
    // Nobody listens yet: mail is down and the receiver refuses.
    world.receiver.answer.store(503, Ordering::SeqCst);
    world.start();
    world.service.set_broken(true);
    let committed = wait("rows in the outbox", || {
        let rows = world.json(&["outbox", "list"]);
        let rows: BTreeMap<String, String> =
            rows["messages"].as_array()?.iter().map(|r| (text(&r["channel"]), text(&r["id"]))).collect();
        (rows.len() == 2).then_some(rows)
    });
    world.kill_9();
    assert!(world.receiver.hooks().is_empty() && world.mail.mails().is_empty());

    world.mail.start();
    world.receiver.answer.store(204, Ordering::SeqCst);
    world.start();
    let hook = wait("the webhook", || world.receiver.of("alert.firing").first().cloned());
    assert_eq!(hook.id, committed["hook"]);
    let mail = wait("the mail", || world.mail.mails().first().cloned());
    assert_eq!(mail.headers["x-hypercare-id"], committed["mail"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((world.receiver.hooks().len(), world.mail.mails().len()), (1, 1), "told once");
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// Kills in the long test below.
const KILLS: usize = 50;

#[test]
fn fifty_kills_lose_no_alert_and_rename_none() {
    let mut world = World::new(RULES, "");
    world.mail.start();
    world.start();
    // A fixed seed: the moments are spread, and the same in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for kill in 0..KILLS {
        world.service.set_broken(kill % 2 == 0);
        std::thread::sleep(Duration::from_millis(random(1800)));
        world.kill_9();
        world.spawn();
        std::thread::sleep(Duration::from_millis(200 + random(900)));
    }
    world.service.set_broken(true);
    wait("the last breach to fire", || {
        let alerts = world.json(&["alerts"]);
        alerts["alerts"].as_array()?.iter().any(|a| a["state"] == "firing").then_some(())
    });
    world.service.set_broken(false);
    wait("everything to be resolved and delivered", || {
        let open = world.json(&["outbox", "list", "--limit", "1000"]);
        let waiting = open["messages"].as_array()?.iter().any(|r| r["state"] == "pending" || r["state"] == "leased");
        let alerts = world.json(&["alerts"]);
        let firing = alerts["alerts"].as_array()?.iter().any(|a| a["state"] == "firing" || a["state"] == "pending");
        let told = alerts["groups"].as_array()?.iter().all(|g| !g["closed_at"].is_null());
        (!waiting && !firing && told).then_some(())
    });

    let rows = world.json(&["outbox", "list", "--limit", "1000"]);
    let rows = rows["messages"].as_array().unwrap();
    let hooks = world.receiver.hooks();
    let received: BTreeSet<&str> = hooks.iter().map(|h| h.id.as_str()).collect();
    let known: BTreeSet<&str> =
        rows.iter().filter(|r| r["channel"] == "hook").map(|r| r["id"].as_str().unwrap()).collect();
    assert!(received.is_subset(&known), "an id that is in no row was received");
    for row in rows.iter().filter(|r| r["channel"] == "hook") {
        let id = row["id"].as_str().unwrap();
        match row["state"].as_str().unwrap() {
            "delivered" => assert!(received.contains(id), "{id} is said to be delivered and never came"),
            "coalesced" => {}
            other => panic!("{id} ended {other}"),
        }
    }
    // A repeat carries the same body under its id, and there is at most one more per kill.
    let mut first: BTreeMap<&str, &serde_json::Value> = BTreeMap::new();
    for hook in &hooks {
        let data = first.entry(&hook.id).or_insert(&hook.body["data"]);
        assert_eq!(**data, hook.body["data"], "{} came twice with different content", hook.id);
    }
    assert!(hooks.len() <= received.len() + KILLS, "{} of {}", hooks.len(), received.len());

    // Every episode that was committed was told, and told to be over.
    let told: BTreeSet<String> = hooks.iter().map(episode).collect();
    let over: BTreeSet<String> = hooks.iter().filter(|h| h.kind == "alert.resolved").map(episode).collect();
    assert_eq!(told, over, "an episode was told and never resolved");
    let groups: BTreeSet<String> =
        rows.iter().filter(|r| r["channel"] == "hook").map(|r| text(&r["message"]["thread"]["key"])).collect();
    assert_eq!(told, groups, "an episode was committed and never told");
    println!(
        "{KILLS} kills: {} episodes, {} webhooks, {} repeats",
        told.len(),
        hooks.len(),
        hooks.len() - received.len()
    );
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_by_name() {
    let mut world = World::new(RULES, "");
    world.start();
    let second = world.cli(&["run", "--no-plan"]);
    assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(String::from_utf8_lossy(&second.stderr).contains("pid"), "it says who holds the store");
}

#[test]
fn the_daemon_shows_what_it_asks_of_others() {
    let mut world = World::new(RULES, "");
    world.start();
    let port = world.web_port;
    for (path, words) in [
        ("/health", "\"pass\""),
        ("/ready", ""),
        ("/status", "hypercare.status/v1"),
        ("/version", env!("CARGO_PKG_VERSION")),
        ("/metrics", "hypercare_"),
        ("/", "shop"),
    ] {
        let answer = get(port, path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(words), "{path}: {answer}");
    }
    let query = wait("up to be stored", || {
        let answer = get(port, "/api/v1/query?query=up%7Bjob%3D%22shop%22%7D");
        answer.contains("\"value\":[").then_some(answer)
    });
    assert!(query.contains("\"resultType\":\"vector\"") && query.contains("\"1\"]"), "{query}");
    assert!(get(port, "/no-such-page").starts_with("HTTP/1.1 404"));
}
