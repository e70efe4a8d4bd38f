//! Helm charts: rendered by `helm template` when helm is installed, otherwise named as templates that nobody rendered.
//! Templates are never parsed as plain YAML: what they say depends on values.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::kubernetes::{self, Object};
use super::{Place, Unread};
use crate::gates::context::Repo;

/// A folder with a `Chart.yaml`; not one that lies in another chart's `charts/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Relative to the repository; empty for the root.
    pub folder: String,
    pub file: String,
}

/// Charts that make objects, outermost only.
pub fn charts(repo: &Repo) -> Vec<Chart> {
    let mut out: Vec<Chart> = Vec::new();
    for file in repo.files.iter() {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let chart = Chart { folder: folder.to_string(), file: file.path.clone() };
        let makes = || repo.files.iter().any(|f| below(folder, &f.path).is_some_and(|p| p.starts_with("templates/")));
        if name == "Chart.yaml" && !out.iter().any(|c| below(&c.folder, folder).is_some()) && makes() {
            out.push(chart);
        }
    }
    out
}

/// The rest of `path` below `folder`.
fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    if folder.is_empty() { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

/// Does the file belong to a chart's templates, sub-charts or definitions?
pub fn is_part(charts: &[Chart], path: &str) -> bool {
    charts.iter().filter_map(|c| below(&c.folder, path)).any(|rest| {
        ["templates/", "charts/", "crds/"].iter().any(|f| rest.starts_with(f))
            || rest.starts_with("values")
            || rest == "Chart.yaml"
    })
}

/// Objects of a chart with its own values, at the chart's place.
pub fn render(repo: &Repo, chart: &Chart) -> Result<Vec<Object>, Unread> {
    render_with("helm", repo, chart)
}

/// Rendering reads files only; a chart that takes longer is stuck.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Rendered manifests larger than this are cut, and then refused.
const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

fn render_with(program: &str, repo: &Repo, chart: &Chart) -> Result<Vec<Object>, Unread> {
    let place = Place::new(&chart.file, 1);
    let refuse = |why: String| Unread { place: place.clone(), template: true, why };
    let text = run(program, &repo.root().join(&chart.folder)).map_err(&refuse)?;
    let objects = kubernetes::parse(&chart.file, &text).map_err(|e| refuse(format!("rendered, but {}", e.why)))?;
    // Lines of the rendered text are nobody's lines.
    Ok(objects.into_iter().map(|o| Object { place: place.clone(), ..o }).collect())
}

fn run(program: &str, folder: &Path) -> Result<String, String> {
    let spawned = Command::new(program)
        .args(["template", "hypercare"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|_| "a Helm chart, and helm is not on PATH to render it".to_string())?;
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = out.map(|pipe| pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
        read.transpose().map(|_| bytes)
    });
    let until = Instant::now() + TIME_MAX;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            // An output beyond the limit blocks the child until it is killed here.
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("helm template did not end within {} s", TIME_MAX.as_secs()));
            }
        }
    };
    if !status.success() {
        return Err("helm template refused the chart: see `helm template`, and `helm dependency build`".into());
    }
    let bytes = reader.join().map_err(|_| "helm's output could not be read".to_string())?;
    bytes.map(|b| String::from_utf8_lossy(&b).into_owned()).map_err(|e| format!("helm's output could not be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    fn chart() -> (tempfile::TempDir, Repo) {
        testing::repo(&[
            ("chart/Chart.yaml", "name: shop\n"),
            ("chart/values.yaml", "a: 1\n"),
            ("chart/templates/d.yaml", "kind: {{ .Values.kind }}\n"),
            ("chart/charts/redis/Chart.yaml", "name: redis\n"),
            ("chart/charts/redis/templates/s.yaml", "x\n"),
            ("docs/Chart.yaml", "name: no templates\n"),
            ("k8s/d.yaml", "kind: Pod\n"),
        ])
    }

    #[test]
    fn charts_and_their_parts() {
        let (_dir, repo) = chart();
        let charts = charts(&repo);
        assert_eq!(charts, [Chart { folder: "chart".into(), file: "chart/Chart.yaml".into() }]);
        assert!(is_part(&charts, "chart/templates/d.yaml") && is_part(&charts, "chart/charts/redis/x.yaml"));
        assert!(!is_part(&charts, "k8s/d.yaml"));
    }

    #[test]
    fn without_helm_a_chart_is_named_and_not_parsed() {
        let (_dir, repo) = chart();
        let why = render_with("no-such-helm-program", &repo, &charts(&repo)[0]).unwrap_err();
        assert!(why.template && why.why.contains("not on PATH"), "{why:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_helm_prints_is_read_and_what_it_refuses_is_said() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, repo) = chart();
        let try_with = |script: &str| {
            let program = dir.path().join("stand-in");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            render_with(program.to_str().unwrap(), &repo, &charts(&repo)[0])
        };
        let objects =
            try_with("test -d \"$3\" && printf 'apiVersion: v1\\nkind: Pod\\nmetadata: {name: a}\\n'").unwrap();
        assert_eq!((objects[0].kind.as_str(), objects[0].place.to_string().as_str()), ("Pod", "chart/Chart.yaml:1"));
        assert!(try_with("exit 1").unwrap_err().why.contains("refused"));
    }
}
