//! Environments in compose files and Kubernetes manifests, as far as this gate needs them: names, literal values, and
//! whether more comes from a place that the file does not show. Pure.

use serde_json::Value;

use super::dotenv::{Entry, Hidden};
use crate::gates::import::{ImportError, yaml};

/// What one manifest sets.
#[derive(Debug, Default, PartialEq)]
pub struct Environment {
    pub entries: Vec<Entry>,
    /// More variables come from elsewhere: a secret, a config map of another repository, a file on the host.
    pub open: bool,
    /// Loopback may be another container of the same pod or network.
    pub shares_loopback: bool,
    /// Files that compose reads: `env_file`.
    pub files: Vec<String>,
}

/// `None`: neither compose nor Kubernetes.
pub fn read(path: &str, text: &str) -> Result<Option<Environment>, ImportError> {
    let documents = yaml::documents(text)?;
    let mut out = Environment::default();
    let mut known = false;
    let mut lines = Lines { text, from: 1 };
    for document in &documents {
        if document["kind"].is_string() && document["apiVersion"].is_string() {
            known = true;
            kubernetes(document, &mut lines, &mut out);
        } else if is_compose(path) && document["services"].is_object() {
            known = true;
            compose(document, &mut lines, &mut out);
        }
    }
    Ok(known.then_some(out))
}

pub fn is_compose(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    (name.starts_with("docker-compose") || name.starts_with("compose"))
        && (name.ends_with(".yml") || name.ends_with(".yaml"))
}

/// Finds the line of a key, going down the file.
struct Lines<'a> {
    text: &'a str,
    from: u32,
}

impl Lines<'_> {
    fn of(&mut self, name: &str) -> u32 {
        let holds = |line: &str| {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            line.match_indices(name).any(|(i, _)| {
                !line[..i].ends_with(word)
                    && !line[i + name.len()..].starts_with(word)
                    && !line.trim_start().starts_with('#')
            })
        };
        let find = |from: u32| {
            self.text.lines().enumerate().skip(from as usize - 1).find(|(_, l)| holds(l)).map(|(i, _)| i as u32 + 1)
        };
        let line = find(self.from).or_else(|| find(1)).unwrap_or(1);
        self.from = line;
        line
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn compose(document: &Value, lines: &mut Lines<'_>, out: &mut Environment) {
    for service in document["services"].as_object().into_iter().flat_map(|s| s.values()) {
        out.shares_loopback |=
            service["network_mode"].as_str().is_some_and(|m| m == "host" || m.starts_with("service:"));
        match &service["environment"] {
            Value::Object(map) => {
                for (name, value) in map {
                    // Without a value the host's is handed through.
                    let value = if value.is_null() { format!("${{{name}}}") } else { text_of(value) };
                    out.entries.push(entry(name, value, lines));
                }
            }
            Value::Array(list) => {
                for item in list.iter().filter_map(Value::as_str) {
                    let (name, value) =
                        item.split_once('=').map_or((item, format!("${{{item}}}")), |(n, v)| (n, v.to_string()));
                    out.entries.push(entry(name, value, lines));
                }
            }
            _ => {}
        }
        let files: Vec<&Value> = match &service["env_file"] {
            Value::Array(list) => list.iter().collect(),
            Value::Null => vec![],
            one => vec![one],
        };
        out.files.extend(files.iter().filter_map(|f| f.as_str().or(f["path"].as_str())).map(str::to_string));
    }
}

fn entry(name: &str, value: String, lines: &mut Lines<'_>) -> Entry {
    Entry { name: name.to_string(), value: Hidden::new(value), line: lines.of(name), flaws: vec![] }
}

fn kubernetes(document: &Value, lines: &mut Lines<'_>, out: &mut Environment) {
    let kind = document["kind"].as_str().unwrap_or_default();
    if kind == "ConfigMap" {
        for (name, value) in document["data"].as_object().into_iter().flatten() {
            // A whole file in a config map is no variable.
            let is_name = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if is_name && !text_of(value).contains('\n') {
                out.entries.push(entry(name, text_of(value), lines));
            }
        }
        return;
    }
    let spec = match kind {
        "Pod" => &document["spec"],
        "CronJob" => &document["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        _ => &document["spec"]["template"]["spec"],
    };
    let containers = |key: &str| spec[key].as_array().map_or(&[][..], Vec::as_slice);
    out.shares_loopback |= containers("containers").len() + containers("initContainers").len() > 1;
    for container in containers("initContainers").iter().chain(containers("containers")) {
        for variable in container["env"].as_array().into_iter().flatten() {
            let Some(name) = variable["name"].as_str() else { continue };
            let value = match &variable["valueFrom"] {
                Value::Null => text_of(&variable["value"]),
                _ => format!("${{{name}}}"),
            };
            out.entries.push(entry(name, value, lines));
        }
        out.open |= container["envFrom"].as_array().is_some_and(|list| !list.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &str, text: &str) -> Vec<(String, String, u32)> {
        let environment = read(path, text).unwrap().unwrap();
        environment.entries.into_iter().map(|e| (e.name, e.value.expose().to_string(), e.line)).collect()
    }

    fn row(name: &str, value: &str, line: u32) -> (String, String, u32) {
        (name.into(), value.into(), line)
    }

    #[test]
    fn compose_environments() {
        let text = "services:\n  web:\n    env_file: [.env.production, {path: b.env}]\n    environment:\n      - NODE_ENV=production\n      - TOKEN\n  db:\n    environment:\n      PORT: 5432\n      NODE_ENV: x\n";
        let environment = read("compose.prod.yml", text).unwrap().unwrap();
        assert_eq!(environment.files, [".env.production", "b.env"]);
        // Services in the order of their names.
        assert_eq!(rows("compose.prod.yml", text)[0].0, "NODE_ENV");
        assert!(rows("compose.prod.yml", text).contains(&row("TOKEN", "${TOKEN}", 6)));
        assert!(rows("compose.prod.yml", text).iter().any(|r| r.0 == "PORT" && r.1 == "5432" && r.2 == 9));
        assert_eq!(read("values.yaml", "services:\n  web: {}\n"), Ok(None));
    }

    #[test]
    fn kubernetes_environments() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n        - name: web\n          env:\n            - name: NODE_ENV\n              value: production\n            - name: TOKEN\n              valueFrom: {secretKeyRef: {name: s, key: t}}\n          envFrom: [{secretRef: {name: s}}]\n---\napiVersion: v1\nkind: ConfigMap\ndata:\n  API_URL: http://api\n  nginx.conf: |\n    x\n";
        let environment = read("k8s/web.yaml", text).unwrap().unwrap();
        assert!(environment.open && !environment.shares_loopback);
        assert_eq!(
            rows("k8s/web.yaml", text),
            [row("NODE_ENV", "production", 9), row("TOKEN", "${TOKEN}", 11), row("API_URL", "http://api", 18)]
        );
        assert!(read("a.yaml", "a: [").is_err());
    }
}
