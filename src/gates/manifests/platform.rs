//! Platform files: who runs the product for us, and whether it is told how to see its health.

use super::Place;
use crate::gates::import::located::{self, Node};

/// One application on one platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Platform {
    pub place: Place,
    /// `Fly.io`.
    pub name: &'static str,
    pub care: Care,
    /// What is run: a service's or process' name.
    pub runs: String,
    /// Copies, where the file says so.
    pub instances: Option<i64>,
    /// A disk that outlives the process.
    pub disk: bool,
    /// Autoscaling is switched on.
    pub scales: bool,
}

/// What the platform sees to by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Functions and static pages: nothing of ours keeps running.
    Managed,
    /// Restarts crashed processes; whether it checks their health stands in the file.
    Restarts { checked: bool },
    /// Told not to restart.
    NoRestart { line: u32 },
}

/// By path: most of these count at the root of a service only.
pub fn is_one(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // A Procfile below the root is read by a process manager inside an image.
    if name == "Procfile" {
        return path == name;
    }
    matches!(
        name,
        "fly.toml"
            | "render.yaml"
            | "render.yml"
            | "railway.json"
            | "railway.toml"
            | "vercel.json"
            | "netlify.toml"
            | "serverless.yml"
            | "serverless.yaml"
            | "wrangler.toml"
            | "wrangler.jsonc"
            | "wrangler.json"
            | "firebase.json"
            | "amplify.yml"
            | "app.json"
            | "app.yaml"
    ) || path.ends_with(".do/app.yaml")
}

/// Nothing when the file is of another kind (`app.json` of a phone app) or cannot be read.
pub fn parse(path: &str, text: &str) -> Vec<Platform> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let managed = |platform| vec![new(path, 1, platform, Care::Managed, name)];
    match name {
        "Procfile" => procfile(path, text),
        "fly.toml" => fly(path, text),
        "railway.toml" => railway(path, &toml_value(text)),
        "railway.json" => railway(path, &serde_json::from_str(text).unwrap_or_default()),
        "vercel.json" => managed("Vercel"),
        "netlify.toml" => managed("Netlify"),
        "serverless.yml" | "serverless.yaml" => managed("Serverless Framework"),
        "wrangler.toml" | "wrangler.jsonc" | "wrangler.json" => managed("Cloudflare Workers"),
        "firebase.json" => managed("Firebase"),
        "amplify.yml" => managed("AWS Amplify"),
        "app.json" => app_json(path, text),
        _ => located::documents(text).unwrap_or_default().iter().flat_map(|d| document(path, d)).collect(),
    }
}

fn new(path: &str, line: u32, name: &'static str, care: Care, runs: &str) -> Platform {
    Platform {
        place: Place::new(path, line),
        name,
        care,
        runs: runs.to_string(),
        instances: None,
        disk: false,
        scales: false,
    }
}

fn document(path: &str, document: &Node) -> Vec<Platform> {
    if path.ends_with(".do/app.yaml") {
        digital_ocean(path, document)
    } else if path.ends_with("app.yaml") {
        app_engine(path, document)
    } else {
        render(path, document)
    }
}

fn procfile(path: &str, text: &str) -> Vec<Platform> {
    let process = |(i, line): (usize, &str)| {
        let (name, command) = line.split_once(':')?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        // A release phase runs once per deploy.
        (plain && !command.trim().is_empty() && name != "release")
            .then(|| new(path, i as u32 + 1, "Procfile platform", Care::Restarts { checked: false }, name))
    };
    text.lines().enumerate().filter_map(process).collect()
}

fn toml_value(text: &str) -> serde_json::Value {
    text.parse::<toml::Table>().ok().and_then(|t| serde_json::to_value(t).ok()).unwrap_or_default()
}

fn fly(path: &str, text: &str) -> Vec<Platform> {
    let file = toml_value(text);
    let Some(app) = file.as_object() else { return Vec::new() };
    let services: Vec<&serde_json::Value> = ["http_service", "services"]
        .iter()
        .filter_map(|k| app.get(*k))
        .flat_map(|v| v.as_array().map_or(vec![v], |a| a.iter().collect()))
        .collect();
    let some = |v: &serde_json::Value| {
        v.as_array().is_some_and(|a| !a.is_empty()) || v.as_object().is_some_and(|o| !o.is_empty())
    };
    let checked = app.get("checks").is_some_and(some)
        || services.iter().any(|s| ["checks", "http_checks", "tcp_checks"].iter().any(|k| some(&s[*k])));
    let line = |key: &str| text.lines().position(|l| l.trim_start().starts_with(key)).map_or(1, |i| i as u32 + 1);
    let restart = app.get("restart").map(|r| if r.is_array() { &r[0] } else { r });
    let never = restart.is_some_and(|r| r["policy"] == "no" || r["policy"] == "never");
    let care = if never { Care::NoRestart { line: line("policy") } } else { Care::Restarts { checked } };
    let runs = app.get("app").and_then(|a| a.as_str()).unwrap_or("app");
    let mut out = new(path, line("app"), "Fly.io", care, runs);
    out.disk = app.contains_key("mounts");
    out.instances = services.iter().find_map(|s| s["min_machines_running"].as_i64());
    vec![out]
}

fn railway(path: &str, file: &serde_json::Value) -> Vec<Platform> {
    let Some(deploy) = file.get("deploy") else { return Vec::new() };
    let never = deploy["restartPolicyType"].as_str().is_some_and(|p| p.eq_ignore_ascii_case("never"));
    let care = match never {
        true => Care::NoRestart { line: 1 },
        false => Care::Restarts { checked: deploy["healthcheckPath"].is_string() },
    };
    let mut out = new(path, 1, "Railway", care, "service");
    out.instances = deploy["numReplicas"].as_i64();
    vec![out]
}

fn render(path: &str, document: &Node) -> Vec<Platform> {
    let service = |node: &Node| {
        let kind = node.get("type").text()?;
        let is_static = kind == "static" || node.get("runtime").text().or(node.get("env").text()) == Some("static");
        let care = match kind {
            _ if is_static => Care::Managed,
            "web" | "pserv" => Care::Restarts { checked: node.has("healthCheckPath") || kind == "pserv" },
            "worker" => Care::Restarts { checked: true },
            _ => return None,
        };
        let mut out = new(path, node.line, "Render", care, node.get("name").text().unwrap_or("service"));
        out.instances = node.get("numInstances").integer();
        out.disk = node.has("disk");
        out.scales = node.has("scaling");
        Some(out)
    };
    document.get("services").items().iter().filter_map(service).collect()
}

fn digital_ocean(path: &str, document: &Node) -> Vec<Platform> {
    let service = |node: &Node| {
        let care = Care::Restarts { checked: node.has("health_check") };
        let mut out =
            new(path, node.line, "DigitalOcean App Platform", care, node.get("name").text().unwrap_or("service"));
        out.instances = node.get("instance_count").integer();
        out.scales = node.has("autoscaling");
        out
    };
    let worker = |node: &Node| {
        new(
            path,
            node.line,
            "DigitalOcean App Platform",
            Care::Restarts { checked: true },
            node.get("name").text().unwrap_or("worker"),
        )
    };
    let services = document.get("services").items().iter().map(service);
    services.chain(document.get("workers").items().iter().map(worker)).collect()
}

fn app_engine(path: &str, document: &Node) -> Vec<Platform> {
    let Some(runtime) = document.get("runtime").text() else { return Vec::new() };
    let flexible = document.get("env").text() == Some("flex");
    let checked = document.has("liveness_check") || document.has("readiness_check");
    let care = if flexible { Care::Restarts { checked } } else { Care::Managed };
    let mut out = new(path, document.line_of("runtime"), "App Engine", care, runtime);
    out.scales = document.has("automatic_scaling");
    vec![out]
}

/// Heroku's and Dokku's; Expo and others use the same name.
fn app_json(path: &str, text: &str) -> Vec<Platform> {
    let file: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let theirs = ["formation", "buildpacks", "addons", "healthchecks"].iter().any(|k| file.get(*k).is_some());
    if !theirs || file.get("expo").is_some() {
        return Vec::new();
    }
    let checked = file["healthchecks"].as_object().is_some_and(|h| !h.is_empty());
    vec![new(path, 1, "Heroku or Dokku", Care::Restarts { checked }, file["name"].as_str().unwrap_or("app"))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn platforms_and_their_care() {
        let restarts = |checked| Care::Restarts { checked };
        for (path, text, expect) in [
            (
                "fly.toml",
                "app = \"a\"\n[http_service]\ninternal_port = 1\n[[http_service.checks]]\npath = \"/h\"\n",
                vec![restarts(true)],
            ),
            ("fly.toml", "app = \"a\"\n[[services]]\ninternal_port = 1\n", vec![restarts(false)]),
            ("fly.toml", "[[restart]]\npolicy = \"never\"\n", vec![Care::NoRestart { line: 2 }]),
            ("fly.toml", "[[[", vec![]),
            (
                "render.yaml",
                "services:\n- type: web\n  name: a\n  healthCheckPath: /h\n- {type: web, name: b}\n- {type: cron}\n",
                vec![restarts(true), restarts(false)],
            ),
            ("Procfile", "# x\nweb: npm start\nrelease: migrate\nworker: w\n", vec![restarts(false), restarts(false)]),
            ("vercel.json", "{}", vec![Care::Managed]),
            ("app.json", "{\"expo\": {}}", vec![]),
            ("app.json", "{\"buildpacks\": [], \"healthchecks\": {\"web\": []}}", vec![restarts(true)]),
            ("railway.json", "{\"deploy\": {\"healthcheckPath\": \"/h\"}}", vec![restarts(true)]),
            ("app.yaml", "runtime: nodejs22\n", vec![Care::Managed]),
            ("app.yaml", "apiVersion: v1\n", vec![]),
            (".do/app.yaml", "services:\n- name: web\n  health_check: {http_path: /h}\n", vec![restarts(true)]),
        ] {
            let care: Vec<Care> = parse(path, text).into_iter().map(|p| p.care).collect();
            assert_eq!(care, expect, "{path} {text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(services|checks|deploy|type: web|restart|healthchecks|\\[\\[|\\]\\]|= |: |\\{|\\}|\"a\"|[a-z \n-]){0,40}") {
            for path in ["fly.toml", "render.yaml", "railway.json", "railway.toml", "Procfile", "app.json", "app.yaml", ".do/app.yaml"] {
                let _ = parse(path, &text);
            }
        }
    }
}
