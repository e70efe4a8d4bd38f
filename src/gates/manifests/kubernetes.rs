//! Kubernetes manifests: every object with its place. Documents, `List` kinds and inline patches are taken apart; files
//! with template marks are reported as templates, not as broken YAML; kustomize patches are recognised and left out.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::compose::within;
use super::{Place, Unread, broken};
use crate::gates::import::located::{self, Node};

/// One object as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub place: Place,
    /// `apps/v1`.
    pub api: String,
    pub kind: String,
    pub name: String,
    /// Empty when the manifest leaves it to whoever applies it.
    pub namespace: String,
    pub body: Node,
}

static API: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?m)^\s*(?:-\s+)?["']?apiVersion["']?\s*:\s*["']?[\w./{]"#).ok());
static KIND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?m)^\s*(?:-\s+)?["']?kind["']?\s*:\s*["']?[A-Z{]"#).ok());

/// Has it what every Kubernetes object has?
pub fn looks_like(text: &str) -> bool {
    text.contains("apiVersion") && text.contains("kind") && {
        let says = |pattern: &LazyLock<Option<Regex>>| pattern.as_ref().is_some_and(|r| r.is_match(text));
        says(&API) && says(&KIND)
    }
}

/// The line of the first template mark outside a comment.
fn template_mark(text: &str) -> Option<u32> {
    let marked = |l: &str| {
        let code = l.trim_start();
        !code.starts_with('#') && (code.starts_with("{{") || code.contains(": {{") || code.contains("{{-"))
    };
    text.lines().position(marked).map(|i| i as u32 + 1)
}

/// All objects of a file.
pub fn parse(path: &str, text: &str) -> Result<Vec<Object>, Unread> {
    match located::documents(text) {
        Ok(documents) => {
            let mut out = Vec::new();
            for document in &documents {
                gather(path, document, &mut out, 0);
            }
            Ok(out)
        }
        Err(error) => Err(match template_mark(text) {
            Some(line) => {
                Unread { place: Place::new(path, line), template: true, why: "a template outside a chart".into() }
            }
            None => broken(path, &error),
        }),
    }
}

/// A list may hold lists; nobody nests them deeper.
const LISTS_DEEP_MAX: usize = 4;

fn gather(path: &str, node: &Node, out: &mut Vec<Object>, depth: usize) {
    let Some(kind) = node.get("kind").text() else {
        return node.items().iter().filter(|_| depth < LISTS_DEEP_MAX).for_each(|n| gather(path, n, out, depth + 1));
    };
    if kind.ends_with("List") && !node.get("items").items().is_empty() {
        return node
            .get("items")
            .items()
            .iter()
            .filter(|_| depth < LISTS_DEEP_MAX)
            .for_each(|n| gather(path, n, out, depth + 1));
    }
    let meta = node.get("metadata");
    let text = |node: &Node, key: &str| node.get(key).text().unwrap_or_default().to_string();
    out.push(Object {
        place: Place::new(path, node.line),
        api: text(node, "apiVersion"),
        kind: kind.to_string(),
        name: if meta.has("name") { text(meta, "name") } else { text(meta, "generateName") },
        namespace: text(meta, "namespace"),
        body: node.clone(),
    });
}

impl Object {
    /// The API group: `apps` of `apps/v1`, empty for the core.
    pub fn group(&self) -> &str {
        self.api.split_once('/').map_or("", |(g, _)| g)
    }
    pub fn spec(&self) -> &Node {
        self.body.get("spec")
    }
    pub fn annotations(&self) -> &Node {
        self.body.at(&["metadata", "annotations"])
    }
}

/// Without the files that kustomizations name as patches: they are pieces of objects, not objects.
pub fn without_patches(objects: Vec<Object>) -> Vec<Object> {
    let mut patches: BTreeSet<String> = BTreeSet::new();
    for object in objects.iter().filter(|o| o.group() == "kustomize.config.k8s.io") {
        let folder = object.place.file.rsplit_once('/').map_or("", |(f, _)| f);
        let body = &object.body;
        let listed = body.get("patchesStrategicMerge").texts();
        let named = ["patches", "patchesJson6902"].into_iter().flat_map(|k| body.get(k).items());
        let paths = listed.into_iter().chain(named.filter_map(|p| p.get("path").text()));
        // An inline patch is text with line breaks, no path.
        patches.extend(paths.filter(|p| !p.contains('\n')).map(|p| within(folder, p)));
    }
    objects.into_iter().filter(|o| !patches.contains(&o.place.file)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_lists_and_places() {
        let text = "# top\napiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: a, namespace: n}\n---\n---\nkind: Service\napiVersion: v1\nmetadata:\n  name: b\n";
        assert!(looks_like(text));
        let objects = parse("k.yaml", text).unwrap();
        let seen: Vec<_> = objects.iter().map(|o| (o.kind.as_str(), o.name.as_str(), o.place.line)).collect();
        assert_eq!(seen, [("Deployment", "a", 5), ("Service", "b", 10)]);
        assert_eq!((objects[0].group(), objects[0].namespace.as_str(), objects[1].group()), ("apps", "n", ""));
    }

    #[test]
    fn templates_are_no_broken_yaml() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.name }}\n{{- if x }}\n";
        let unread = parse("k.yaml", text).unwrap_err();
        assert!(unread.template && unread.place.line == 4, "{unread:?}");
        let unread = parse("k.yaml", "apiVersion: v1\nkind: Pod\nmetadata: [\n").unwrap_err();
        assert!(!unread.template, "{unread:?}");
        assert!(!looks_like("name: CI\non: push\njobs: {}\n"));
    }

    #[test]
    fn patches_are_not_objects() {
        let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches:\n- path: ../p.yaml\n- patch: |-\n    - op: add\n";
        let mut objects = parse("k/base/kustomization.yaml", kustomization).unwrap();
        objects.extend(parse("k/p.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n").unwrap());
        let left = without_patches(objects);
        assert_eq!(left.iter().map(|o| o.kind.as_str()).collect::<Vec<_>>(), ["Kustomization"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(apiVersion: v1\n|kind: List\n|items:\n|- |metadata:\n|  name: a\n|---\n|[a-z:{}\\[\\] \n]){0,40}") {
            let _ = parse("k.yaml", &text).map(without_patches);
        }
    }
}
