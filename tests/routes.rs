//! Routes read from source beside those that the frameworks themselves have, on applications written for it: Express,
//! Fastify, Koa and Nest from npm, Flask, FastAPI and Django from PyPI. What Go's routers and Rails said of theirs is
//! written down beside the application (`truth.txt`): their tools are too much to install for it.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Method and template.
type Routes = BTreeSet<(String, String)>;

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said()))
}

fn compare(framework: &str, truth: Routes) {
    let folder = support::root().join("tests/fixtures/routes").join(framework);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
    let document = json(command.args(["facts", "--routes", "--format", "json", "--repo"]).arg(folder));
    let inventory = &document["routes"];
    let source = match framework {
        "nest" => "nestjs",
        "gorilla" => "gorilla-mux",
        other => other,
    };
    let text = |route: &Value, key: &str| route[key].as_str().unwrap().to_string();
    let routes = inventory["routes"].as_array().unwrap();
    let ours: Routes = routes.iter().map(|r| (text(r, "method"), text(r, "template"))).collect();
    assert_eq!(ours, truth, "{framework}\n{document:#}");
    assert!(
        routes.iter().all(|r| r["certain"] == true && r["source"].as_str().unwrap().starts_with(source)),
        "{framework}\n{document:#}"
    );
    assert_eq!(inventory["unread"].as_array().unwrap().len(), 0, "{framework}\n{document:#}");
    assert!(truth.len() >= 8, "{framework} has too few routes to show anything");
}

/// What the framework's own list says. `colon`: it writes `:id`.
fn told(command: &mut Command, colon: bool) -> Routes {
    let list = json(command);
    let pair = |route: &Value| {
        let (method, path) = (route[0].as_str().unwrap(), route[1].as_str().unwrap());
        (method.to_string(), if colon { braces(path) } else { path.to_string() })
    };
    list.as_array().unwrap().iter().map(pair).collect()
}

/// `/a/:id(\d+)/*` as `/a/{id}/{*}`
fn braces(path: &str) -> String {
    let pattern = regex::Regex::new(r":(\w+)(?:\([^)]*\))?").unwrap();
    pattern.replace_all(path, "{$1}").replace('*', "{*}")
}

fn node(framework: &str) -> Routes {
    let root = support::root();
    let mut command = Command::new("node");
    command.env("NODE_PATH", root.join("target/test-node/node_modules"));
    command.arg(root.join("tests/fixtures/routes").join(framework).join("truth.js"));
    told(&mut command, true)
}

fn python(framework: &str) -> Routes {
    let folder = support::root().join("tests/fixtures/routes").join(framework);
    let mut command = Command::new(support::python());
    told(command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder).arg("truth.py"), false)
}

/// What the framework said once.
fn written(framework: &str) -> Routes {
    let file = support::root().join("tests/fixtures/routes").join(framework).join("truth.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once(' ').unwrap());
    lines.map(|(method, path)| (method.to_string(), path.to_string())).collect()
}

#[test]
fn express_says_the_same() {
    compare("express", node("express"));
}

#[test]
fn fastify_says_the_same() {
    compare("fastify", node("fastify"));
}

#[test]
fn flask_says_the_same() {
    compare("flask", python("flask"));
}

#[test]
fn fastapi_says_the_same() {
    compare("fastapi", python("fastapi"));
}

#[test]
fn koa_says_the_same() {
    compare("koa", node("koa"));
}

#[test]
fn nest_says_the_same() {
    compare("nest", node("nest"));
}

#[test]
fn django_says_the_same() {
    compare("django", python("django"));
}

#[test]
fn gos_routers_said_the_same() {
    for framework in ["gin", "chi", "echo", "gorilla"] {
        compare(framework, written(framework));
    }
}

#[test]
fn rails_said_the_same() {
    compare("rails", written("rails"));
}
