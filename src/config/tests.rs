//! Malformed configurations and what is said about them; every shipped file parses.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn env() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("HOOK_SECRET".to_string(), "whsec_x".to_string()),
        ("HOST".into(), "shop.example".into()),
        ("PORT".into(), "9095".into()),
    ])
}

fn loaded(text: &str) -> Result<Loaded, Invalid> {
    load_text(text, Path::new("hypercare.toml"), Secrets::MustResolve, &env())
}

/// All diagnostics, one a line.
fn complaints(text: &str) -> String {
    match loaded(text) {
        Ok(loaded) => {
            let lines: Vec<String> = loaded.warnings.iter().map(|d| explain::plain(d, &loaded.files)).collect();
            format!("loads\n{}", lines.join("\n"))
        }
        Err(invalid) => invalid.to_string(),
    }
}

macro_rules! wrong {
    ($name:ident, $text:expr) => {
        #[test]
        fn $name() {
            let text = $text;
            insta::assert_snapshot!(format!("{}\n---\n{}", text.trim(), complaints(text)));
        }
    };
}

wrong!(
    unknown_keys_name_the_nearest,
    "
[service.shop]
urll = \"https://shop.example\"
owners = \"me\"
[alert]
pack = false
[web]
zzz = 1
"
);

wrong!(
    wrong_types_and_words,
    "
route = 5
[service.shop]
url = 7
profile = \"webapp\"
roles = [\"a\"]
[alerts]
pack = \"yes\"
interval = 15
[store]
max_gib = -1
engine = \"postgres\"
[launch.shop]
window = \"a day\"
settle = \"10 min\"
report = { formats = [\"html\", \"docx\"] }
"
);

wrong!(
    missing_and_misspelt_required_keys,
    "
[service.shop]
[slo.shop]
objective = 99.9
[slo.b]
service = \"shop\"
objektive = 99
total = 'x'
bad = 'y'
[channel.a.via.email]
[channel.b]
[channel.c.via]
"
);

wrong!(
    unknown_kinds,
    "
[service.shop]
[metric.a.from.promethius]
[metric.b.from.carrier_pigeon]
[channel.oncall.via.smoke]
[channel.both.via.email]
to = [\"a@b.example\"]
[channel.both.via.webhook]
url = \"https://b.example\"
"
);

wrong!(
    names_that_point_nowhere,
    "
[service.shop]
timezone = \"berlin\"
[service.pay]
timezone = \"Europe/Lodnon\"
[slo.x]
objective = 120
total = 'a'
[channel.oncall.via.webhook]
url = \"https://hooks.example/a\"
[[route]]
channels = [\"on-call\", \"nobody\"]
failover = \"sms\"
[[route]]
channels = []
[launch.shopp]
report = { to = [\"oncall\", \"boss\"], formats = [\"pdf\"] }
"
);

wrong!(
    dangerous_settings,
    "
[service.shop]
url = \"https://staging.shop.example\"
live_url = \"https://shop.example\"
[web]
listen = \"0.0.0.0:80\"
[gates]
target = [
  { name = \"production\", url = \"https://other.example\", active = true },
  { name = \"staging\", url = \"https://shop.example\", load = true },
  { name = \"staging\", url = \"https://staging.shop.example\", active = true },
]
[service.\"../x\"]
"
);

wrong!(
    references_that_do_not_resolve,
    "
[service.shop]
url = \"https://${env:NOPE}/${file:nope}\"
owner = \"${env:NOPE:-fallback} ${cred:x}\"
[channel.oncall.via.webhook]
url = \"https://hooks.example/a\"
secret = \"${env:NO_SECRET}\"
[channel.b.via.webhook]
url = \"https://hooks.example/a\"
secret = \"${file:no/such/file}\"
"
);

wrong!(
    one_syntax_error_a_line,
    "
[service.shop
url = \"x\"
owner = \"me
[web]
listen = 5 5
"
);

wrong!(
    a_key_twice_in_one_file,
    "
[service.shop]
url = \"https://a.example\"
url = \"https://b.example\"
"
);

#[test]
fn a_pasted_secret_is_never_repeated() {
    let text = "
[service.shop]
url = \"https://user:hunter2pw@shop.example\"
[channel.a.via.webhook]
url = \"https://hooks.example/a\"
secret = \"hunter2pw\"
[channel.b.via.email]
to = [\"a@b.example\"]
pasword = \"hunter2pw\"
password = \"${env:X:-hunter2pw}\"
[channel.c.via.email]
to = [\"a@b.example\"]
password = [\"hunter2pw\"]
";
    let invalid = loaded(text).unwrap_err();
    let mut all = invalid.to_string();
    for d in &invalid.diagnostics {
        all.push_str(&explain::pretty(d, &invalid.files, 100));
        all.push_str(&serde_json::to_string(&explain::locate(d, &invalid.files)).unwrap());
    }
    assert_eq!(invalid.diagnostics.len(), 5, "{invalid}");
    assert!(!all.contains("hunter2"), "{all}");
    assert!(all.contains("****"), "{all}");

    let broken = "password = \"hunter2pw\ntoken=hunter2pw\n";
    let invalid = loaded(broken).unwrap_err();
    let all: String = invalid.diagnostics.iter().map(|d| explain::pretty(d, &invalid.files, 100)).collect();
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn pretty_shows_the_line_and_both_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), "[web]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    std::fs::write(dir.path().join("b.toml"), "[web]\nlisten = \"127.0.0.1:2\"\nlissten = 1\n").unwrap();
    let mut invalid = load_with(dir.path(), Secrets::MustResolve, &env()).unwrap_err();
    for file in &mut invalid.files {
        file.path = file.path.file_name().unwrap().into();
    }
    let text: Vec<String> = invalid
        .diagnostics
        .iter()
        .map(|d| anstream::adapter::strip_str(&explain::pretty(d, &invalid.files, 100)).to_string())
        .collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn a_folder_merges_and_paths_start_at_their_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "10-shop.toml",
        "[service.shop]\nrepo = \".\"\n[[route]]\nchannels=[\"a\"]\n[alerts]\nrule_files=[\"r/*.yml\"]\n",
    );
    write(
        "20-channel.toml",
        "[channel.a.via.webhook]\nurl = \"https://h.example\"\nsecret = \"${file:key}\"\n[[route]]\nchannels=[\"a\"]\n",
    );
    write("note.txt", "not toml");
    write("key", "whsec_x");
    let loaded = load_with(dir.path(), Secrets::MustResolve, &env()).map_err(|e| e.to_string()).unwrap();
    assert_eq!(loaded.config.route.len(), 2);
    assert_eq!(loaded.config.service["shop"].repo.as_deref(), Some(dir.path().join(".").as_path()));
    assert_eq!(loaded.config.alerts.rule_files, [dir.path().join("r/*.yml").to_string_lossy()]);
    let notify::channel::Via::Webhook(hook) = &loaded.config.channel["a"].via else { panic!("not a webhook") };
    assert_eq!(hook.secret, Some(Secret::File(dir.path().join("key"))));
    // What is shown, and hashed, is what was written.
    assert_eq!(loaded.shown()["service"]["shop"]["repo"], ".");
    assert_eq!(loaded.shown()["channel"]["a"]["via"]["webhook"]["secret"], "${file:key}");
    assert!(loaded.shown_toml().contains("secret = \"${file:key}\""));
}

#[test]
fn expansion_reaches_values_of_any_type_and_is_not_shown() {
    let text = "
[service.shop]
url = \"https://${env:HOST}/\"
[store]
max_gib = \"${env:PORT}\"
";
    let loaded = loaded(text).map_err(|e| e.to_string()).unwrap();
    assert_eq!(loaded.config.service["shop"].url.as_ref().unwrap().as_str(), "https://shop.example/");
    assert_eq!(loaded.config.store.max_gib, 9095);
    assert!(!loaded.shown_toml().contains("shop.example"));
    assert!(loaded.shown_toml().contains("https://${env:HOST}/"));
}

#[test]
fn the_hash_ignores_comments_and_secrets_but_not_settings() {
    let hash = |text: &str| loaded(text).map_err(|e| e.to_string()).unwrap().hash;
    let a = hash("[service.shop]\nowner = \"me\"\n");
    assert_eq!(a, hash("# hello\nservice = { shop = { owner = 'me' } }\n"));
    assert_ne!(a, hash("[service.shop]\nowner = \"you\"\n"));
    assert_eq!(a.len(), 64);
}

#[test]
fn missing_secrets_may_be_forgiven() {
    let text = "[service.shop]\n[channel.a.via.webhook]\nurl = \"https://h.example\"\nsecret = \"${env:NO_SECRET}\"\n";
    assert!(load_text(text, Path::new("x.toml"), Secrets::MustResolve, &env()).is_err());
    let loaded = load_text(text, Path::new("x.toml"), Secrets::MayBeMissing, &env()).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_secret_file_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "whsec_x").unwrap();
    let file = dir.path().join("hypercare.toml");
    std::fs::write(
        &file,
        "[service.shop]\n[channel.a.via.webhook]\nurl = \"https://h.example\"\nsecret = \"${file:key}\"\n",
    )
    .unwrap();
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o666, 1)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_with(&file, Secrets::MustResolve, &env()).map_err(|e| e.to_string()).unwrap();
        assert_eq!(loaded.warnings.len(), warnings, "{mode:o}");
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path, part: &str| {
        let text = load_with(path, Secrets::MustResolve, &env()).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    };
    check(&dir.path().join("nope.toml"), "cannot read");
    check(dir.path(), "holds no *.toml file");
    let path = dir.path().join("x.toml");
    std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    check(&path, "not UTF-8 text (line 2)");
    std::fs::write(&path, vec![b'#'; 1_100_000]).unwrap();
    check(&path, "longer than");
    std::fs::write(&path, format!("a = {}{}", "[".repeat(60), "]".repeat(60))).unwrap();
    check(&path, "deep");
}

#[test]
fn every_shipped_file_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            count += 1;
            let loaded = load_with(&path, Secrets::MayBeMissing, &env()).map_err(|e| e.to_string()).unwrap();
            // What `config show` prints is a configuration again, and the same one.
            let again = load_text(&loaded.shown_toml(), &path, Secrets::MayBeMissing, &env());
            assert_eq!(again.map_err(|e| e.to_string()).unwrap().hash, loaded.hash, "{}", path.display());
        }
    }
    assert!(count >= 2, "the examples moved");
}

#[test]
fn an_empty_file_and_no_file_are_the_defaults() {
    assert_eq!(loaded("").unwrap().hash, Loaded::defaults().hash);
}

#[test]
fn gates_tables_are_checked_and_told_what_the_watch_scrapes() {
    let shop = "[service.shop]\nurl = \"http://127.0.0.1:1/\"\n";
    let complaint = complaints(&format!("{shop}[gates.code.coverage]\nminimum = 80.0\n"));
    assert!(complaint.contains("80 is not a share") && complaint.contains("4:"), "{complaint}");

    let scrape = "[metric.app.from.prometheus]\ntargets = [\"http://shop:9000/metrics\"]\n";
    let watched = loaded(&format!("{shop}{scrape}")).unwrap().config.gates_told().monitoring.metrics.watched;
    assert_eq!(watched.iter().map(|u| u.as_str()).collect::<Vec<_>>(), ["http://shop:9000/metrics"]);
}

#[test]
fn the_smallest_file_probes_tells_and_reports() {
    let loaded = load_text(MINIMAL, Path::new("hypercare.toml"), Secrets::MustResolve, &env());
    let config = loaded.map_err(|e| e.to_string()).unwrap().config;
    let sources::metric::From::Http(probe) = &config.metric["shop"].from else { panic!("not a probe") };
    assert_eq!(probe.url.as_str(), "https://shop.example/");
    assert_eq!(config.route[0].channels, ["me"]);
    assert_eq!(config.launch["shop"].report.to, ["me"]);
}

wrong!(
    rooms_find_their_own_mistakes_at_their_places,
    "
[service.shop]
[metric.a.from.prometheus]
targets = [\"ftp://x.example\"]
interval = \"0s\"
[metric.b.from.http]
url = \"https://shop.example\"
expect = { body = \"(\" }
[slo.shop]
objective = 99
bad = 'sum('
total = 'x'
[channel.a.via.email]
to = [\"nobody\"]
smtp = \"http://x.example\"
[channel.b.via.webhook]
url = \"http://127.0.0.1:1\"
[[route]]
match = 'severity=='
channels = [\"a\"]
[gates.performance.load]
target_rps = -1
[gates.delivery.naming]
tag = \"(\"
[gates.release.announcement]
channels = [\"nobody\"]
"
);

/// The example teaches: a key that it does not show does not exist for most people.
#[test]
fn the_example_shows_every_key() {
    fn keys(schema: &Json, root: &Json, depth: usize, out: &mut std::collections::BTreeSet<String>) {
        // Indexing what is no object gives null, which would branch for ever.
        if depth > 24 || !schema.is_object() {
            return;
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|r| root.pointer(r.trim_start_matches('#'))) {
            keys(target, root, depth + 1, out);
        }
        for (key, sub) in schema["properties"].as_object().into_iter().flatten() {
            out.insert(key.clone());
            keys(sub, root, depth + 1, out);
        }
        for list in ["oneOf", "anyOf"] {
            for sub in schema[list].as_array().into_iter().flatten() {
                keys(sub, root, depth + 1, out);
            }
        }
        for sub in [&schema["additionalProperties"], &schema["items"]] {
            keys(sub, root, depth + 1, out);
        }
    }
    let (schema, mut all) = (schema(), std::collections::BTreeSet::new());
    keys(&schema, &schema, 0, &mut all);
    assert!(all.len() > 80, "the walk finds the keys: {}", all.len());
    // A key is shown as `key =`, or as a part of a `[table.header]`; commented lines count.
    let mut shown = std::collections::BTreeSet::new();
    for line in EXAMPLE.lines().map(|l| l.trim_start_matches(['#', ' '])) {
        if let Some(header) = line.strip_prefix('[') {
            shown.extend(header.split(']').next().unwrap().trim_start_matches('[').split('.').map(str::to_string));
        }
        for (at, _) in line.match_indices('=') {
            let before = line[..at].trim_end();
            let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |i| i + 1);
            shown.insert(before[start..].to_string());
        }
    }
    let missing: Vec<&String> = all.iter().filter(|k| !shown.contains(*k)).collect();
    assert!(missing.is_empty(), "add to config/hypercare.example.toml: {missing:?}");
}
