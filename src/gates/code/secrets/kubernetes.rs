//! Kubernetes' Secret objects in manifests: base64 hides nothing. Read by lines, as templates are no YAML. Pure.

use super::named;
use super::scan::{Hit, People, View, hit};
use super::values::{is_placeholder, is_random, is_reference, is_wordy};
use crate::domain::verdict::Confidence;
use crate::gates::infrastructure::secret_values::is_secret_name;

/// Manifests are small.
const BYTES_MAX: usize = 1 << 20;

/// The values of `data:` of every `kind: Secret`.
pub(super) fn secrets(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = Vec::new();
    let yaml = [".yaml", ".yml", ".tpl"].iter().any(|end| path.ends_with(end));
    let Some(text) = (yaml && text.len() <= BYTES_MAX).then(|| std::str::from_utf8(text).ok()).flatten() else {
        return hits;
    };
    if matches!(view.people, People::Readers | People::Prose) || !text.contains("kind: Secret") {
        return hits;
    }
    let mut at = 0;
    for document in text.split_inclusive("\n---") {
        let is_secret = document.lines().any(|line| line.trim_end() == "kind: Secret");
        if is_secret {
            data(document, at, view, &mut hits);
        }
        at += document.len();
    }
    hits
}

fn data(document: &str, mut at: usize, view: View, hits: &mut Vec<Hit>) {
    let (mut within, mut clear) = (false, false);
    for line in document.split_inclusive('\n') {
        let begins = at;
        at += line.len();
        let bare = line.trim();
        if !line.starts_with([' ', '\t']) && !bare.is_empty() && !bare.starts_with('#') {
            within = matches!(bare, "data:" | "stringData:");
            clear = bare == "stringData:";
            continue;
        }
        let Some((name, value)) = bare.split_once(':').filter(|_| within && !bare.starts_with('#')) else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        let start = begins + line.rfind(value).unwrap_or_default();
        if clear {
            // Whatever it is called: the manifest says that it is one.
            let found = named::given(value, start..start + value.len(), view);
            hits.extend(found.map(|hit| Hit { rule: "kubernetes-secret", ..hit }));
            continue;
        }
        let Some(confidence) = judged(name.trim().trim_matches(['"', '\'']), value) else { continue };
        let confidence = match view.people {
            People::Users => confidence,
            People::Samples => Confidence::Medium.min(confidence),
            _ => Confidence::Low,
        };
        let found = hit("kubernetes-secret", "whoever issued it", start..start + value.len(), value);
        hits.push(Hit { confidence, encoded: Some("base64"), ..found });
    }
}

/// `None`: it is no secret.
fn judged(name: &str, value: &str) -> Option<Confidence> {
    let decoded = super::checks::base64(value)?;
    let plain = std::str::from_utf8(&decoded).ok()?.trim();
    let printable = !plain.is_empty() && plain.chars().all(|c| !c.is_control() || c == '\n');
    if !printable || value.len() < 8 || is_placeholder(plain) || is_reference(plain) {
        return None;
    }
    match is_secret_name(name) {
        true if is_random(plain) => Some(Confidence::High),
        true if plain.len() >= 6 && !(is_wordy(plain) && plain.len() < 8) => Some(Confidence::Medium),
        false if is_random(plain) && plain.len() >= 20 => Some(Confidence::Medium),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::gates::code::secrets::files;

    fn found(path: &str, data: &str) -> Vec<(usize, Confidence)> {
        let text = format!("a: 1\n---\napiVersion: v1\nkind: Secret\ndata:\n{data}type: Opaque\n");
        let view = files::view(path, text.as_bytes()).unwrap();
        let hits = secrets(text.as_bytes(), path, view);
        hits.iter().map(|h| (text[..h.place.start].lines().count(), h.confidence)).collect()
    }

    #[test]
    fn base64_hides_nothing() {
        let line = |name: &str, value: &str| format!("  {name}: {}\n", STANDARD.encode(value));
        let random = line("db-password", "hJ8s0aK2lQ9zT4mVx7");
        assert_eq!(found("k8s/a.yaml", &random), [(6, Confidence::High)]);
        assert_eq!(found("k8s/a.yaml", &line("password", "correct horse")), [(6, Confidence::Medium)]);
        let clear = "stringData:\n  smtp: \"Hx7kQ2vLp\"\n  host: mail.corp.net\n  port: \"25\"\n";
        assert_eq!(found("k8s/a.yaml", clear), [(7, Confidence::Medium)]);
        assert_eq!(found("examples/a.yaml", &random), [(6, Confidence::Medium)]);
        for clean in [
            line("username", "admin"),
            line("password", "changeme"),
            line("password", "${DB_PASSWORD}"),
            "  password: {{ .Values.password | b64enc }}\n".into(),
            "  # password: aEo4czBhSzJsUTl6VDRtVng3\n".into(),
        ] {
            assert_eq!(found("k8s/a.yaml", &clean), [], "{clean}");
        }
        let sealed = random.replace("db-", "");
        assert_eq!(
            secrets(
                format!("kind: SealedSecret\ndata:\n{sealed}").as_bytes(),
                "a.yaml",
                files::view("a.yaml", b"x").unwrap()
            ),
            []
        );
    }
}
