//! Tests of compose files.

use proptest::prelude::*;

use super::*;

fn file(path: &str, text: &str) -> ComposeFile {
    parse(path, text).unwrap()
}

#[test]
fn a_service_in_full() {
    let text = "x-all: &all\n  restart: ${RESTART:-always}\nservices:\n  web:\n    <<: *all\n    build: {context: ./web, dockerfile: prod.Dockerfile, target: run}\n    healthcheck: {test: [CMD, wget, -q, x], interval: 10s, timeout: 3s}\n    deploy: {replicas: 3}\n    ports: ['127.0.0.1:80:8080/tcp']\n    volumes:\n      - uploads:/app/uploads\n      - ./conf:/conf:ro\n    depends_on:\n      setup: {condition: service_completed_successfully}\n  setup:\n    image: acme/setup\n";
    let compose = file("deploy/compose.yaml", text);
    let web = &compose.services[0];
    assert_eq!((web.place.line, web.restart.clone()), (4, Some(("always".into(), 2))));
    assert_eq!(web.build.as_ref().unwrap().dockerfile, "deploy/web/prod.Dockerfile");
    assert_eq!((web.replicas, web.ports.clone()), (Some((3, 8)), vec![8080]));
    assert!(matches!(&web.health, Health::Test { line: 7, command, .. } if command[0] == "wget"));
    assert_eq!((web.volumes[0].source.as_deref(), web.volumes[0].is_bind()), (Some("uploads"), false));
    assert!(web.volumes[1].is_bind());
    assert!(compose.services[1].is_one_shot() && !web.is_one_shot());
    assert_eq!(compose.purpose(), Purpose::Product);
}

#[test]
fn developers_files_are_told_apart() {
    for text in [
        "services:\n  web:\n    build: .\n    volumes: ['.:/app']\n",
        "services:\n  web:\n    build: ./web\n    volumes: ['./web/src:/app/src']\n",
        "services:\n  web:\n    image: acme\n    environment: [NODE_ENV=development]\n",
        "services:\n  db:\n    image: postgres:16\n  cache:\n    image: bitnami/redis\n",
    ] {
        assert_eq!(file("compose.yaml", text).purpose(), Purpose::Development, "{text}");
    }
    let text = "services:\n  web:\n    build: .\n    volumes: ['./data:/data', './nginx.conf:/etc/nginx.conf']\n";
    assert_eq!(file("compose.yaml", text).purpose(), Purpose::Product);
}

#[test]
fn production_lies_over_the_base() {
    let base = file("docker-compose.yml", "services:\n  web:\n    image: a\n  db:\n    image: postgres\n");
    let prod = "services:\n  web:\n    restart: always\n    image: b\n  proxy:\n    image: nginx\n";
    let all = joined(vec![base, file("docker-compose.prod.yml", prod)]);
    assert_eq!(all[0].services[0].restart, Some(("always".into(), 3)));
    assert_eq!(all[0].services[0].place.file, "docker-compose.yml");
    assert_eq!(all[1].services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["proxy"]);
}

#[test]
fn extends_is_followed() {
    let base = file("base.compose.yml", "services:\n  app:\n    image: a\n    restart: always\n");
    let top =
        file("compose.yml", "services:\n  web:\n    extends: {file: base.compose.yml, service: app}\n    command: x\n");
    let all = joined(vec![base, top]);
    assert_eq!(all[1].services[0].restart.as_ref().unwrap().0, "always");
    assert_eq!((all[1].services[0].name.as_str(), all[1].services[0].place.line), ("web", 2));
}

#[test]
fn defaults_of_variables() {
    for (text, expect) in [
        ("${A:-b}", "b"),
        ("x${A-b}y", "xby"),
        ("${A}", ""),
        ("plain", "plain"),
        ("${A:-${B:-c}}", "c"),
        ("${A", "${A"),
    ] {
        assert_eq!(default_of(text), expect);
    }
    assert_eq!(within("a/b", "../c/./d"), "a/c/d");
}

proptest! {
    #[test]
    fn never_panics(text in "(services:|restart|healthcheck|test|\\$\\{|:-|\\}|[a-z:{}\\[\\], \n-]){0,60}") {
        if let Ok(f) = parse("compose.yml", &text) { let _ = (f.purpose(), joined(vec![f.clone(), f])); }
    }
}
