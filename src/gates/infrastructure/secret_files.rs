//! How a settings file keeps its secrets: recognised by signature as a whole (ansible-vault, age, git-crypt, OpenSSL,
//! PGP, Rails), else read value by value (dotenv, YAML, JSON, tfvars, Kubernetes manifests). Pure: path and bytes in,
//! [`FileReport`] out, with the names of keys and never a value.

use serde_json::Value as Json;

use super::secret_values::{self, Value};
use crate::gates::import::{ImportError, yaml};

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, with dots between the parts.
    pub name: String,
    /// From 1.
    pub line: u32,
    pub value: Value,
}

/// Something wrong with the scheme itself: (rule, what).
pub type Flaw = (&'static str, String);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileReport {
    /// `dotenvx`, `sops`, `ansible-vault`, `age`, `git-crypt`, `openssl`, `pgp`, `rails-credentials`, `sealed-secret`,
    /// `external-secret`, `kubernetes-secret`, or `plain`.
    pub scheme: &'static str,
    /// The whole file is ciphertext.
    pub whole: bool,
    pub entries: Vec<Entry>,
    pub flaws: Vec<Flaw>,
    /// Who can decrypt, where the file says so.
    pub recipients: u64,
    /// The file's own settings say which keys stay clear.
    pub partial_by_choice: bool,
}

impl FileReport {
    fn whole(scheme: &'static str) -> FileReport {
        FileReport { scheme, whole: true, ..FileReport::default() }
    }
    pub fn count(&self, value: Value) -> usize {
        self.entries.iter().filter(|e| e.value == value).count()
    }
}

/// How to read a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dotenv,
    Yaml,
    Json,
    /// `key = "value"` lines: tfvars, ini, properties, TOML.
    Assignments,
    /// Only a signature can tell.
    Opaque,
}

/// Files that a secret scheme may be found in; `None` for all others.
pub fn kind_of(path: &str) -> Option<Kind> {
    let lower = path.to_ascii_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    if is_template(name) {
        return None;
    }
    if is_dotenv(name) {
        return Some(Kind::Dotenv);
    }
    let in_secrets = folder.split('/').any(|f| matches!(f, "secrets" | "secret" | ".secrets" | "credentials"));
    let named = ["secret", "credential", "vault"].iter().any(|w| name.contains(w)) || name.contains(".sops.");
    let helm = name.starts_with("values") && (name.ends_with(".yaml") || name.ends_with(".yml"));
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    match extension {
        "enc" | "age" | "gpg" | "pgp" | "asc" if extension != "asc" || in_secrets => Some(Kind::Opaque),
        "tfvars" => Some(Kind::Assignments),
        "yaml" | "yml" if in_secrets || named || helm => Some(Kind::Yaml),
        "json" if in_secrets || named => Some(Kind::Json),
        "ini" | "properties" | "toml" | "conf" if in_secrets || named => Some(Kind::Assignments),
        "" | "txt" if in_secrets => Some(Kind::Opaque),
        _ => None,
    }
}

fn is_dotenv(name: &str) -> bool {
    (name.starts_with(".env")
        && (name.len() == 4 || name[4..].starts_with('.'))
        && name != ".env.keys"
        && name != ".env.vault")
        || (name.ends_with(".env") && name.len() > 4)
}

/// Examples and templates hold no real value.
fn is_template(name: &str) -> bool {
    ["example", "sample", "template", "dist", "defaults", "schema", "tmpl", "tpl", "j2"]
        .iter()
        .any(|t| name.split(['.', '-', '_']).any(|part| part == *t))
}

/// Everything the file tells about its secrets. `Err` when it cannot be read as its kind.
pub fn read(kind: Kind, bytes: &[u8]) -> Result<FileReport, ImportError> {
    if let Some(report) = by_signature(bytes) {
        return Ok(report);
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    match kind {
        Kind::Dotenv | Kind::Assignments => Ok(assignments(text)),
        Kind::Yaml => yaml_file(text),
        Kind::Json => match serde_json::from_str::<Json>(text) {
            Ok(value) => Ok(tree(&[value], text)),
            Err(e) => Err(ImportError::at(e.line() as u32, "not JSON")),
        },
        Kind::Opaque => Ok(FileReport {
            scheme: "unknown",
            flaws: vec![("unknown-scheme", "no known encryption by its first bytes".into())],
            ..FileReport::default()
        }),
    }
}

/// Whole-file schemes by their first bytes.
fn by_signature(bytes: &[u8]) -> Option<FileReport> {
    let head = &bytes[..bytes.len().min(4096)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches(['\u{feff}', '\r', '\n', ' ']);
    let first = text.lines().next().unwrap_or_default().trim_end();
    if head.starts_with(b"\0GITCRYPT\0") {
        return Some(FileReport::whole("git-crypt"));
    }
    if let Some(rest) = first.strip_prefix("$ANSIBLE_VAULT;") {
        let mut report = FileReport::whole("ansible-vault");
        let mut parts = rest.split(';');
        let (version, cipher) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !matches!(version, "1.1" | "1.2") || cipher != "AES256" {
            report.flaws.push(("old-scheme", format!("ansible-vault {version} with {cipher}; rekey it")));
        }
        let body = text.lines().nth(1).unwrap_or_default().trim();
        if body.is_empty() || !body.bytes().all(|b| b.is_ascii_hexdigit()) {
            report.flaws.push(("broken", "an ansible-vault header without ciphertext".into()));
        }
        return Some(report);
    }
    if first == "age-encryption.org/v1" || first == "-----BEGIN AGE ENCRYPTED FILE-----" {
        let recipients =
            text.lines().skip(1).take_while(|l| !l.starts_with("---")).filter(|l| l.starts_with("-> ")).count();
        return Some(FileReport { recipients: recipients as u64, ..FileReport::whole("age") });
    }
    if head.starts_with(b"Salted__") || first.starts_with("U2FsdGVkX1") {
        return Some(FileReport::whole("openssl"));
    }
    if first == "-----BEGIN PGP MESSAGE-----"
        || (head.first().is_some_and(|b| matches!(b, 0x84 | 0x85 | 0x8c | 0xc1 | 0xc3))
            && std::str::from_utf8(head).is_err())
    {
        return Some(FileReport::whole("pgp"));
    }
    // Rails: base64(ciphertext)--base64(iv)--base64(tag).
    let base64 =
        |part: &str| part.len() >= 16 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let parts: Vec<&str> = text.trim_end().split("--").collect();
    if let [ciphertext, iv, tag] = parts[..]
        && base64(ciphertext.trim_end())
        && base64(iv)
        && base64(tag)
        && bytes.len() <= head.len()
    {
        return Some(FileReport::whole("rails-credentials"));
    }
    None
}

/// `[export ]KEY=value` or `key = "value"`, quotes over several lines, comments.
fn assignments(text: &str) -> FileReport {
    let mut report = FileReport { scheme: "plain", ..FileReport::default() };
    let (mut dotenvx, mut sops, mut mac) = (false, false, false);
    let mut lines = text.lines().enumerate();
    while let Some((row, line)) = lines.next() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with(['#', ';', '[']) || line.starts_with("//") {
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let name = name.trim().trim_matches(['"', '\'']);
        let mut value = value.trim().to_string();
        if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) {
            // A private key may span lines inside its quotes.
            while !closes(&value, quote) {
                let Some((_, more)) = lines.next() else { break };
                value.push('\n');
                value.push_str(more);
            }
            value = value
                .trim_start_matches(quote)
                .rsplit_once(quote)
                .map_or(value.clone(), |(inside, _)| inside.to_string());
        } else if let Some((before, _)) = value.split_once(" #") {
            value = before.trim_end().to_string();
        }
        if name.starts_with("DOTENV_PUBLIC_KEY") {
            dotenvx = true;
            continue;
        }
        if let Some(field) = name.strip_prefix("sops_") {
            sops = true;
            mac |= field == "mac" && !value.is_empty();
            report.recipients +=
                u64::from(field.ends_with("recipient") || field.ends_with("_fp") || field.ends_with("_arn"));
            report.partial_by_choice |= field.starts_with("encrypted_") && !value.is_empty();
            continue;
        }
        let state = secret_values::classify(name, &value);
        report.entries.push(Entry { name: name.to_string(), line: row as u32 + 1, value: state });
    }
    let encrypted = report.count(Value::Encrypted) > 0;
    report.scheme = match (sops, dotenvx || encrypted) {
        (true, _) => "sops",
        (_, true) => "dotenvx",
        _ => "plain",
    };
    if sops && !mac {
        report.flaws.push(("no-mac", "sops metadata without a MAC: changes would go unnoticed".into()));
    }
    report
}

fn closes(value: &str, quote: char) -> bool {
    value.char_indices().skip(1).any(|(i, c)| c == quote && !value[..i].ends_with('\\'))
}

fn yaml_file(text: &str) -> Result<FileReport, ImportError> {
    match yaml::documents(text) {
        Ok(documents) => Ok(tree(&documents, text)),
        // A Helm template is not YAML before it is rendered; its values come from elsewhere.
        Err(_) if text.contains("{{") => Ok(template(text)),
        Err(e) => Err(e),
    }
}

fn template(text: &str) -> FileReport {
    let mut report = FileReport { scheme: "plain", ..FileReport::default() };
    for (row, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim().trim_start_matches("- "), value.trim().trim_matches(['"', '\'']));
        // `{{- $password := …}}` is the template's own variable, and `# password: x` says nothing.
        if name.starts_with('#') || name.contains(['{', '$', ' ']) {
            continue;
        }
        let state = if value.contains("{{") { Value::Reference } else { secret_values::classify(name, value) };
        if !value.is_empty() && secret_values::is_secret_name(name) {
            report.entries.push(Entry { name: name.into(), line: row as u32 + 1, value: state });
        }
    }
    report
}

/// Kubernetes' own secrets, else every leaf.
fn tree(documents: &[Json], text: &str) -> FileReport {
    let mut report = FileReport { scheme: "plain", ..FileReport::default() };
    for document in documents {
        if let Some(sops) = document.get("sops").filter(|s| s.is_object()) {
            report.scheme = "sops";
            if sops["mac"].as_str().is_none_or(str::is_empty) {
                report.flaws.push(("no-mac", "sops metadata without a MAC: changes would go unnoticed".into()));
            }
            report.partial_by_choice |=
                ["encrypted_regex", "encrypted_suffix", "unencrypted_regex", "encrypted_comment_regex"]
                    .iter()
                    .any(|k| sops[*k].as_str().is_some_and(|v| !v.is_empty()));
            for group in ["age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault"] {
                report.recipients += sops[group].as_array().map_or(0, |a| a.len() as u64);
            }
        }
        match document["kind"].as_str() {
            Some("SealedSecret") => report.scheme = "sealed-secret",
            Some(
                "ExternalSecret"
                | "ClusterExternalSecret"
                | "SecretStore"
                | "ClusterSecretStore"
                | "SecretProviderClass",
            ) => {
                report.scheme = "external-secret";
            }
            Some("Secret") => kubernetes_secret(&mut report, document, text),
            _ => leaves(&mut report, document, &Place { path: String::new(), line: 1 }, text, 0),
        }
    }
    if report.scheme == "plain" && report.count(Value::Encrypted) > 0 {
        report.scheme = "ansible-vault";
    }
    report
}

/// Base64 is an alphabet, not encryption: whatever `data` holds stands in clear.
fn kubernetes_secret(report: &mut FileReport, document: &Json, text: &str) {
    if report.scheme == "plain" {
        report.scheme = "kubernetes-secret";
    }
    for section in ["data", "stringData"] {
        for (name, value) in document[section].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let state = match secret_values::classify(name, value) {
                Value::Encrypted => Value::Encrypted,
                Value::Reference => Value::Reference,
                _ if value.trim().is_empty() || section == "stringData" && is_address(name) => Value::Plain,
                _ => Value::Secret,
            };
            report.entries.push(Entry {
                name: format!("{section}.{name}"),
                line: yaml::line_of(text, name, 1, 0),
                value: state,
            });
        }
    }
}

/// Where something is and who asks for it; people put these beside the password, and they are none.
fn is_address(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.rsplit(['.', '_', '-']).next().unwrap_or(&name);
    ["host", "port", "type", "provider", "database", "username", "user", "dbname", "region", "scheme"].contains(&last)
}

/// Settings nest a few levels; the YAML parser's own budget is wider.
const DEPTH_MAX: usize = 64;

/// Where a value hangs: its keys, and the line of the last of them.
struct Place {
    path: String,
    line: u32,
}

impl Place {
    /// The key below this one: the first of its name from here on.
    fn below(&self, key: &str, text: &str) -> Place {
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        Place { path, line: yaml::line_of(text, key, self.line, 0) }
    }
}

fn leaves(report: &mut FileReport, value: &Json, at: &Place, text: &str, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Json::Object(map) => {
            for (key, inner) in map {
                if !(depth == 0 && key == "sops") {
                    leaves(report, inner, &at.below(key, text), text, depth + 1);
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|inner| leaves(report, inner, at, text, depth + 1)),
        Json::Null => {}
        leaf => {
            let key = at.path.rsplit('.').next().unwrap_or(&at.path);
            let text_value = leaf.as_str().map_or_else(|| leaf.to_string(), str::to_string);
            let state = secret_values::classify(key, &text_value);
            report.entries.push(Entry { name: at.path.clone(), line: at.line, value: state });
        }
    }
}

/// Keys that open what is encrypted: the file's whole purpose, or one inside. The rule says which.
pub fn key_material(path: &str, bytes: &[u8]) -> Option<(u32, &'static str)> {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(256 * 1024)]);
    let line_with = |test: &dyn Fn(&str) -> bool| text.lines().position(test).map(|i| i as u32 + 1);
    if let Some(line) = line_with(&|l| {
        l.trim_start().trim_start_matches("export ").starts_with("DOTENV_PRIVATE_KEY")
            && l.split_once('=').is_some_and(|(_, v)| {
                let value = v.trim().trim_matches(['"', '\'']);
                value.len() >= 32 && value.split(',').all(|k| k.bytes().all(|b| b.is_ascii_hexdigit()))
            })
    }) {
        return Some((line, "dotenvx private key"));
    }
    if let Some(line) = line_with(&|l| {
        l.find("AGE-SECRET-KEY-1")
            .is_some_and(|at| l[at + 16..].bytes().take_while(u8::is_ascii_alphanumeric).count() >= 50)
    }) {
        return Some((line, "age identity"));
    }
    let hex = |min: usize| text.trim().len() >= min && text.trim().bytes().all(|b| b.is_ascii_hexdigit());
    if (name == "master.key" || (lower.contains("config/credentials/") && name.ends_with(".key"))) && hex(32) {
        return Some((1, "Rails master key"));
    }
    let vault_password =
        [".vault_pass", "vault_pass", "vault-pass", ".vault-pass", "vault_password", ".vault_password"]
            .iter()
            .any(|p| name.strip_prefix(p).is_some_and(|rest| !rest.ends_with(".py") && !rest.ends_with(".sh")));
    let script = text.starts_with("#!");
    (vault_password
        && !script
        && !text.trim().is_empty()
        && text.lines().count() <= 2
        && !text.starts_with("$ANSIBLE_VAULT"))
    .then_some((1, "ansible-vault password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, bytes: &[u8], scheme: &str, whole: bool, expect: &[(&str, Value)]) -> FileReport {
        let report = read(kind_of(path).unwrap(), bytes).unwrap();
        assert_eq!((report.scheme, report.whole), (scheme, whole), "{path}: {report:?}");
        let got: Vec<_> = report.entries.iter().map(|e| (e.name.as_str(), e.value)).collect();
        assert_eq!(got, expect, "{path}");
        report
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/env_encrypted/", $name))
        };
    }

    #[test]
    fn files_of_real_tools() {
        use Value::Encrypted as E;
        check(".env.production", fixture!("dotenvx.env"), "dotenvx", false, &[("DB_PASSWORD", E), ("PORT", E)]);
        let sops = check("secrets/a.yaml", fixture!("sops.yaml"), "sops", false, &[("db_password", E), ("port", E)]);
        assert_eq!((sops.recipients, sops.flaws.len()), (1, 0));
        let sops = check(".env.production", fixture!("sops.env"), "sops", false, &[("DB_PASSWORD", E), ("PORT", E)]);
        assert_eq!((sops.recipients, sops.flaws.len()), (1, 0));
        let vault = check("group_vars/vault.yml", fixture!("ansible-vault.yml"), "ansible-vault", true, &[]);
        assert_eq!(vault.flaws, []);
        check("group_vars/vault.yml", fixture!("ansible-inline.yml"), "ansible-vault", false, &[("db_password", E)]);
        check("secrets/a.age", fixture!("armored.age"), "age", true, &[]);
    }

    #[test]
    fn signatures() {
        check("a.age", b"age-encryption.org/v1\n-> X25519 a\nb\n-> X25519 c\nd\n--- e\n\x00\xff", "age", true, &[]);
        check(".env", b"\0GITCRYPT\0\x12", "git-crypt", true, &[]);
        check("a.enc", b"Salted__\x01\xff", "openssl", true, &[]);
        check("a.enc", b"U2FsdGVkX1+hSdR0\n", "openssl", true, &[]);
        check("a.gpg", b"\x85\x01\x0c\x03\xff\xfe", "pgp", true, &[]);
        check("a.enc", b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n", "pgp", true, &[]);
        let rails = b"7Y3aQvS5w0hM1yq0--a1b2c3d4e5f6a7b8==--c3d4e5f6a7b8a1b2==";
        check("config/credentials.yml.enc", rails, "rails-credentials", true, &[]);
        let old = check("vault.yml", b"\xef\xbb\xbf$ANSIBLE_VAULT;1.0;AES\r\n6162\r\n", "ansible-vault", true, &[]);
        assert_eq!(old.flaws[0].0, "old-scheme");
        let empty = check("vault.yml", b"$ANSIBLE_VAULT;1.1;AES256\nDB_PASSWORD=x\n", "ansible-vault", true, &[]);
        assert_eq!(empty.flaws[0].0, "broken");
        let unknown = check("secrets/a.enc", b"hello", "unknown", false, &[]);
        assert_eq!(unknown.flaws[0].0, "unknown-scheme");
    }

    #[test]
    fn dotenv_grammar() {
        use Value::{Plain, Reference, Secret};
        let text = b"# c\nexport DB_PASSWORD='hunter2hunter2' # x\nPORT=3000\n\nA_SECRET=${FROM_VAULT}\nKEY=\"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\"\nLAST=1\n";
        let report = check(
            ".env.production",
            text,
            "plain",
            false,
            &[("DB_PASSWORD", Secret), ("PORT", Plain), ("A_SECRET", Reference), ("KEY", Secret), ("LAST", Plain)],
        );
        assert_eq!(report.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [2, 3, 5, 6, 9]);
    }

    #[test]
    fn kubernetes() {
        use Value::Secret;
        let secret = b"kind: Secret\nmetadata:\n  name: a\ndata:\n  password: aHVudGVyMg==\n";
        let report = check("k8s/secret.yaml", secret, "kubernetes-secret", false, &[("data.password", Secret)]);
        assert_eq!(report.entries[0].line, 5);
        check(
            "k8s/secret.yaml",
            b"kind: SealedSecret\nspec:\n  encryptedData:\n    password: AgB\n",
            "sealed-secret",
            false,
            &[],
        );
        check("k8s/secret.yaml", b"kind: ExternalSecret\nspec: {}\n", "external-secret", false, &[]);
        let helm = b"kind: Secret\ndata:\n  {{- if .x }}\n  password: {{ .Values.password | b64enc }}\n  {{- end }}\n";
        check("templates/secret.yaml", helm, "plain", false, &[("password", Value::Reference)]);
        let variable =
            b"{{- $password := randAlphaNum 12 }}\nkind: Secret\n# password: old\ndata:\n  password: {{ $password }}\n";
        check("templates/secret.yaml", variable, "plain", false, &[("password", Value::Reference)]);
    }

    /// Two keys of one name, each with its own line.
    #[test]
    fn a_nested_key_has_its_own_line() {
        let values = b"blog:\n  db:\n    password: hunter2hunter2\n  rootUser:\n    password: correct horse\n";
        let report = read(Kind::Yaml, values).unwrap();
        let got: Vec<_> = report.entries.iter().map(|e| (e.name.as_str(), e.line)).collect();
        assert_eq!(got, [("blog.db.password", 3), ("blog.rootUser.password", 5)]);
    }

    #[test]
    fn which_files() {
        for path in [
            ".env",
            ".env.production",
            "deploy/prod.env",
            "secrets/db.yaml",
            "config/credentials.yml.enc",
            "prod.tfvars",
            "chart/values-prod.yaml",
            "secrets/key",
        ] {
            assert!(kind_of(path).is_some(), "{path}");
        }
        for path in [
            ".env.example",
            ".env.production.sample",
            "env.ts",
            "src/environment.js",
            "values.go",
            "secrets.example.yaml",
            ".env.j2",
            ".envrc.md",
        ] {
            assert_eq!(kind_of(path), None, "{path}");
        }
    }

    #[test]
    fn keys_of_the_lock() {
        let dotenvx = format!("# keys\nDOTENV_PRIVATE_KEY_PRODUCTION={}\n", "ab".repeat(32));
        assert_eq!(key_material(".env.keys", dotenvx.as_bytes()), Some((2, "dotenvx private key")));
        let age = format!("# public key: age1x\nAGE-SECRET-KEY-1{}\n", "Q".repeat(58));
        assert_eq!(key_material("keys.txt", age.as_bytes()), Some((2, "age identity")));
        assert_eq!(key_material("config/master.key", "0".repeat(32).as_bytes()), Some((1, "Rails master key")));
        assert_eq!(key_material(".vault_pass", b"hunter2\n"), Some((1, "ansible-vault password")));
        for (path, text) in [
            (".vault_pass.sh", "#!/bin/sh\npass show vault\n"),
            ("README.md", "Put AGE-SECRET-KEY-1... into keys.txt, set DOTENV_PRIVATE_KEY=..."),
            ("ci.yml", "DOTENV_PRIVATE_KEY: ${{ secrets.KEY }}"),
        ] {
            assert_eq!(key_material(path, text.as_bytes()), None, "{path}");
        }
    }
}
