//! Rules of buckets in the repository: may everybody list or write one? Terraform, CloudFormation and policy documents are
//! read as lines; a bucket without rules here is closed by its provider's default.

use std::sync::LazyLock;

use ignore::gitignore::Gitignore;
use regex::Regex;

use crate::domain::verdict::{Finding, Severity};
use crate::gates::context::Repo;
use crate::gates::manifests::{Manifests, Purpose};
use crate::gates::patterns;

/// Rules are written by hand.
const BYTES_MAX: u64 = 512 * 1024;

/// A canned ACL that lets everybody list (`public-read`) or write.
static OPEN_ACL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)^\s*(?:acl\s*=\s*"(public-read(?:-write)?)"|AccessControl:\s*(PublicRead(?:Write)?)\b)"#).ok()
});
/// Everybody, in a policy.
static EVERYBODY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)["']?Principal["']?\s*[:=]\s*(?:["']\*["']|\{\s*["']?AWS["']?\s*[:=]\s*\[?\s*["']\*["'])|identifiers\s*=\s*\[\s*"\*""#).ok()
});
/// Listing or writing, in a policy.
static LISTS_OR_WRITES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"["'](s3:(?:\*|ListBucket|PutObject|DeleteObject|Put\*|List\*))["']"#).ok());
/// `mc anonymous set public`, in a compose command.
static MINIO_PUBLIC: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"mc\s+(?:anonymous|policy)\s+set\s+(public|upload)\b").ok());

/// Lines of a policy's statement that belong together.
const STATEMENT_LINES: usize = 12;

pub fn judge(repo: &Repo, all: &Manifests, excluded: Option<&Gitignore>, fails: &mut Vec<Finding>) {
    let kinds = [".tf", ".json", ".yml", ".yaml", ".template"];
    for file in repo.files.iter().filter(|f| f.bytes <= BYTES_MAX && kinds.iter().any(|k| f.path.ends_with(k))) {
        if Purpose::of_path(&file.path) != Purpose::Product || patterns::covers(excluded, &file.path) {
            continue;
        }
        let Ok(text) = repo.read_text(&file.path, BYTES_MAX) else { continue };
        if text.contains("s3") || text.contains("S3") {
            of(&file.path, &text, fails);
        }
    }
    for service in all.compose.iter().flat_map(|f| &f.services) {
        if let Some(found) = MINIO_PUBLIC.as_ref().and_then(|r| r.captures(&service.command)) {
            fails.push(open(&service.place.file, service.place.line, &format!("mc sets the bucket {}", &found[1])));
        }
    }
}

fn of(path: &str, text: &str, fails: &mut Vec<Finding>) {
    let lines: Vec<&str> = text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with(['#', '/']) {
            continue;
        }
        if let Some(acl) = OPEN_ACL.as_ref().and_then(|r| r.captures(line)) {
            let word = acl.get(1).or(acl.get(2)).map_or("", |m| m.as_str());
            fails.push(open(path, i as u32 + 1, &format!("acl {word} lets everybody list it")));
        } else if EVERYBODY.as_ref().is_some_and(|r| r.is_match(line)) {
            let around = &lines[i.saturating_sub(STATEMENT_LINES)..(i + STATEMENT_LINES).min(lines.len())];
            let denied = around.iter().any(|l| l.contains("Deny"));
            let action = around.iter().find_map(|l| LISTS_OR_WRITES.as_ref()?.captures(l));
            if let Some(action) = action.filter(|_| !denied) {
                fails.push(open(path, i as u32 + 1, &format!("everybody may {}", &action[1])));
            }
        }
    }
}

fn open(path: &str, line: u32, problem: &str) -> Finding {
    Finding::new("open-bucket", Severity::Critical, format!("{path}:{line} bucket open to all: {problem}"))
        .at(path, line, 1)
        .fix("Keep the bucket private, block public access, and return presigned URLs")
        .identified_by(&["open-bucket", path, problem])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_list_or_write() {
        let policy = |principal: &str, action: &str| {
            format!(
                "resource \"aws_s3_bucket_policy\" \"p\" {{\n policy = jsonencode({{\n  Statement = [{{\n   Effect = \"Allow\"\n   Principal = {principal}\n   Action = [\"{action}\"]\n  }}]\n }})\n}}\n"
            )
        };
        for (text, expect) in [
            ("resource \"aws_s3_bucket\" \"b\" {\n  acl = \"public-read\"\n}\n".to_string(), vec![2]),
            ("resource \"aws_s3_bucket\" \"b\" {\n  # acl = \"public-read\"\n  acl = \"private\"\n}\n".into(), vec![]),
            ("Type: AWS::S3::Bucket\nProperties:\n  AccessControl: PublicReadWrite\n".into(), vec![3]),
            (policy("\"*\"", "s3:GetObject"), vec![]),
            (policy("\"*\"", "s3:ListBucket"), vec![5]),
            (policy("{ AWS = \"*\" }", "s3:*"), vec![5]),
            (policy("{ AWS = \"arn:aws:iam::1:root\" }", "s3:*"), vec![]),
            (policy("\"*\"", "s3:*").replace("Allow", "Deny"), vec![]),
        ] {
            let mut fails = Vec::new();
            of("main.tf", &text, &mut fails);
            assert_eq!(fails.iter().filter_map(|f| f.line).collect::<Vec<_>>(), expect, "{text}");
        }
    }
}
