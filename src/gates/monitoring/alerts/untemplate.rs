//! Rule files that Helm, Ansible or the like will render: their tags are taken out, so that what stays is YAML. A tag
//! where a number belongs leaves a placeholder, and the rule is judged by its form only.

use crate::domain::metric::{MatchOp, NAME};
use crate::promql::Expr;

/// Stands for what is known only after rendering. A name in PromQL, a word in YAML.
const OPEN: &str = "templated_value";

/// Text without tags. Lines that hold nothing but tags go.
pub fn untemplate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in without_comments(text).lines() {
        let (clean, tags) = line_without_tags(line);
        if tags > 0 && clean.replace(OPEN, "").trim().trim_matches(['-', ' ']).is_empty() {
            continue;
        }
        out.push_str(&clean);
        out.push('\n');
    }
    out
}

/// Helm's comments, and Jinja's, may span lines.
fn without_comments(text: &str) -> String {
    let mut out = text.to_string();
    for (open, close) in [("{{/*", "*/}}"), ("{{- /*", "*/ -}}"), ("{{- /*", "*/}}"), ("{#", "#}")] {
        while let Some(start) = out.find(open)
            && let Some(end) = out[start..].find(close)
        {
            out.replace_range(start..start + end + close.len(), "");
        }
    }
    out
}

fn line_without_tags(line: &str) -> (String, usize) {
    let (mut out, mut rest, mut tags) = (String::new(), line, 0);
    while let Some(at) = [rest.find("{{"), rest.find("{%")].into_iter().flatten().min() {
        let statement = rest[at..].starts_with("{%");
        let Some(length) = tag_length(&rest[at..], if statement { "%}" } else { "}}" }) else { break };
        out.push_str(&rest[..at]);
        let tag = &rest[at..at + length];
        rest = &rest[at + length..];
        tags += 1;
        if statement {
            continue;
        }
        let inside = tag.trim_matches(['{', '}', '-', ' ']);
        let control = ["if", "else", "end", "range", "with", "define", "block", "template", "$"];
        let word = inside.split([' ', '(']).next().unwrap_or_default();
        if control.contains(&word) || (word.starts_with('$') && inside.contains(":=")) {
            continue;
        }
        // A range needs a duration, whatever it will be.
        out.push_str(if out.ends_with('[') { "5m" } else { OPEN });
    }
    out.push_str(rest);
    (out, tags)
}

/// Length of the tag at the start of the text. What stands in backticks is Helm's way to write braces.
fn tag_length(text: &str, close: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().skip(2).find_map(|(i, c)| {
        quoted ^= c == '`';
        (!quoted && text[i..].starts_with(close)).then_some(i + close.len())
    })
}

/// Does something unknown stand where a number or a metric belongs?
pub fn is_open(expr: &Expr) -> bool {
    let names =
        |m: &crate::domain::metric::Matcher| m.label == NAME && matches!(&m.op, MatchOp::Equal(n) if n.contains(OPEN));
    expr.selectors().iter().flatten().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go() {
        let text = "{{- if .a }}\na: {{ .b | quote }}\nb: '{{`{{`}} $x {{`}}`}}'\nc: x[{{ .w }}]\n{{- end }}\n{% for x in y %}\nd: 1{# note #}\n";
        let clean = untemplate(text);
        assert_eq!(clean, "a: templated_value\nb: 'templated_value $x templated_value'\nc: x[5m]\nd: 1\n");
        assert!(is_open(&crate::promql::parse("up > templated_value").unwrap()));
        assert!(!is_open(&crate::promql::parse("up{job=\"templated_value\"} > 1").unwrap()));
        assert_eq!(untemplate("a: {{ open"), "a: {{ open\n");
    }
}
