//! Tests of looking through a whole repository.

use super::*;
use crate::gates::testing;

#[test]
fn everything_in_one_repository() {
    let (_dir, repo) = testing::repo(&[
        ("Dockerfile", "FROM alpine\n"),
        ("compose.yaml", "services:\n  web:\n    build: .\n"),
        ("docker-compose.dev.yml", "services:\n  web:\n    build: .\n"),
        ("k8s/all.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {}}\n"),
        ("k8s/shape.yml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.x }}\n"),
        ("examples/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n"),
        (".github/workflows/ci.yml", "on: push\njobs: {}\n"),
        ("ecosystem.config.js", "module.exports = { apps: [{ script: 'a.js' }] }\n"),
        ("deploy/shop.service", "[Service]\nExecStart=/bin/shop\n"),
        ("deploy/supervisord.conf", "[program:web]\ncommand=web\n"),
        ("Procfile", "web: npm start\n"),
        ("infra/main.tf", "resource \"aws_autoscaling_group\" \"g\" {\n}\n"),
        ("chart/Chart.yaml", "name: c\n"),
        ("chart/templates/x.yaml", "kind: {{ x }}\n"),
    ]);
    let all = look(&repo, &[]);
    assert_eq!((all.dockerfiles.len(), all.compose.len(), all.cluster.workloads.len()), (1, 1, 1));
    assert_eq!((all.pm2.len(), all.units.len(), all.programs.len(), all.platforms.len()), (1, 1, 1, 1));
    assert_eq!((all.scaling_groups.len(), all.runs_something()), (1, true));
    let templates: Vec<String> = all.unread.iter().filter(|u| u.template).map(|u| u.place.to_string()).collect();
    assert!(templates.contains(&"k8s/shape.yml:4".to_string()), "{templates:?}");
    assert_eq!(
        all.left_out,
        [("docker-compose.dev.yml".into(), Purpose::Development), ("examples/pod.yaml".into(), Purpose::Example)]
    );
}

#[test]
fn broken_files_are_named() {
    let (_dir, repo) = testing::repo(&[
        ("compose.yaml", "services: [\n"),
        ("k8s/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: [\n"),
        ("config/locale.yml", "a: [\n"),
    ]);
    let all = look(&repo, &[]);
    let unread: Vec<&str> = all.unread.iter().map(|u| u.place.file.as_str()).collect();
    assert_eq!(unread, ["compose.yaml", "k8s/a.yaml"]);
    assert!(!all.runs_something());
}
