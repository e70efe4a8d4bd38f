//! The part of Go's `text/template` that Prometheus rule files use: `{{ $labels.instance }}`, pipelines, `if`, `range`,
//! `with`, variables, `define`, and Prometheus' functions.
//!
//! A template never loses an alert: what cannot be expanded becomes `<error expanding template: …>` and the alert is
//! sent all the same. Budgets bound what a hostile file can cost. `parse.rs` reads, `exec.rs` runs, `funcs.rs` knows the
//! functions, `number.rs` prints numbers as Go does.

mod exec;
mod funcs;
mod number;
mod parse;

use std::collections::BTreeMap;

use crate::domain::clock::Timestamp;
use crate::domain::metric::Labels;

pub use funcs::{humanize, humanize_duration};
pub use number::{format_g, general};

/// Nodes one expansion may run.
pub const NODES_MAX: usize = 10_000;
/// Bytes one expansion may write.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Different queries one expansion may ask.
pub const QUERIES_MAX: usize = 5;
/// Nested blocks and parentheses.
const DEPTH_MAX: usize = 50;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
    defines: BTreeMap<String, Vec<parse::Node>>,
    unknown: Vec<String>,
}

/// What a template may speak of.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    pub labels: &'a Labels,
    pub value: f64,
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    pub now: Timestamp,
}

/// Answers of `query` by expression; the caller fills it when [`Outcome::NeedsQuery`] asks.
pub type Answers = BTreeMap<String, Result<Vec<(Labels, f64)>, String>>;

/// How an expansion ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(String),
    /// Evaluate this expression, put the answer into `answers`, and expand again.
    NeedsQuery(String),
    /// What replaces the text: `<error expanding template: …>`.
    Failed(String),
}

impl Template {
    /// The error says what is wrong and at which byte of `source`.
    pub fn parse(source: &str) -> Result<Template, String> {
        let parsed = parse::parse(source)?;
        let mut unknown: Vec<String> = parsed.functions.into_iter().filter(|f| !funcs::known(f)).collect();
        unknown.sort();
        unknown.dedup();
        Ok(Template { source: source.into(), nodes: parsed.nodes, defines: parsed.defines, unknown })
    }

    /// A template that cannot be read; it expands to its error.
    pub fn literal(text: &str) -> Template {
        Template {
            source: text.into(),
            nodes: vec![parse::Node::Text(text.into())],
            defines: BTreeMap::new(),
            unknown: Vec::new(),
        }
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Functions it calls that do not exist here; they expand to nothing. Sorted.
    pub fn unknown_functions(&self) -> &[String] {
        &self.unknown
    }

    pub fn expand(&self, data: &Data<'_>, answers: &Answers) -> Outcome {
        // Most labels are plain words.
        if let [parse::Node::Text(text)] = self.nodes.as_slice() {
            return Outcome::Done(text.clone());
        }
        match exec::run(&self.nodes, &self.defines, data, answers) {
            Ok(text) => Outcome::Done(text),
            Err(exec::Stop::Query(expr)) => Outcome::NeedsQuery(expr),
            Err(exec::Stop::Error(message)) => Outcome::Failed(format!("<error expanding template: {message}>")),
            Err(exec::Stop::Break | exec::Stop::Continue) => {
                Outcome::Failed("<error expanding template: break outside range>".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_with(template: &str, value: f64, answers: &Answers) -> Outcome {
        let labels = Labels::new([("instance", "shop:9000"), ("job", "shop"), ("severity", "page")]);
        let external = BTreeMap::new();
        let data = Data {
            labels: &labels,
            value,
            external_labels: &external,
            external_url: "http://hc.example",
            now: Timestamp::from_ms(1_600_000_000_000),
        };
        match Template::parse(template) {
            Ok(t) => t.expand(&data, answers),
            Err(e) => Outcome::Failed(e),
        }
    }

    fn check(template: &str, value: f64, expect: &str) {
        assert_eq!(expand_with(template, value, &Answers::new()), Outcome::Done(expect.into()), "{template}");
    }

    #[test]
    fn what_rule_files_write() {
        check("{{ $labels.instance }} of {{ .Labels.job }} has {{ $value }}", 0.25, "shop:9000 of shop has 0.25");
        check("[{{$labels.missing}}]", 0.0, "[]");
        check("{{ $value | humanizePercentage }}", 0.1234, "12.34%");
        check("{{ printf \"%.2f\" $value }}%", 12.3456, "12.35%");
        check("{{ humanize $value }} {{ $value | humanize1024 }}B", 1234567.0, "1.235M 1.177MiB");
        check("{{ humanizeDuration 90061.0 }}", 0.0, "1d 1h 1m 1s");
        check("{{ $value }}", 1234567.0, "1.234567e+06");
        check("{{ $value }}", 3.0, "3");
        check("{{ if gt $value 0.5 }}high{{ else if gt $value 0.1 }}mid{{ else }}low{{ end }}", 0.2, "mid");
        check("{{ if eq $labels.severity \"page\" \"critical\" }}P{{ end }}", 0.0, "P");
        check("{{- /* a comment */ -}}  x  {{- \" y\" }}", 0.0, "x y");
        check("{{ with $labels.job }}job {{ . }}{{ end }}{{ with $labels.no }}a{{ else }}b{{ end }}", 0.0, "job shopb");
        check("{{ $x := $labels.job | toUpper }}{{ $x }}{{ $x = \"z\" }}{{ $x }}", 0.0, "SHOPz");
        check(
            "{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}",
            0.0,
            "instance=shop:9000,job=shop,severity=page,",
        );
        check("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", 0.0, "shop");
        check("{{ $labels.instance | stripPort | title }}", 0.0, "Shop");
        check("{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" $labels.job }}", 0.0, "<shop>");
        check("{{ and $labels.job (not $labels.no) }} {{ or $labels.no \"d\" }}", 0.0, "true d");
        check("{{ (printf \"%s-%d\" .Labels.job 7) | printf \"%q\" }}", 0.0, "\"shop-7\"");
        check("{{ len $labels.job }} {{ index $labels \"job\" }}", 0.0, "4 shop");
        check(
            "{{ externalURL }} {{ graphLink \"up == 0\" }}",
            0.0,
            "http://hc.example /graph?g0.expr=up+%3D%3D+0&g0.tab=0",
        );
        check("{{ humanizeTimestamp 1600000000.0 }}", 0.0, "2020-09-13 12:26:40 +0000 UTC");
        check("{{ `raw \"text\"` }} {{ 'x' }}", 0.0, "raw \"text\" 120");
    }

    #[test]
    fn an_unknown_function_is_named_and_expands_to_nothing() {
        let template = Template::parse("a{{ frobnicate $value | title }}b").unwrap();
        assert_eq!(template.unknown_functions(), ["frobnicate"]);
        check("a{{ frobnicate $value }}b", 1.0, "ab");
    }

    #[test]
    fn what_cannot_be_expanded_says_so() {
        for (template, word) in [
            ("{{ .Nope }}", "Nope"),
            ("{{ printf }}", "printf"),
            ("{{ $undefined }}", "undefined"),
            ("{{ index $labels }}", "index"),
            ("{{ template \"no\" }}", "no"),
            ("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}", "deep"),
        ] {
            match expand_with(template, 1.0, &Answers::new()) {
                Outcome::Failed(text) => assert!(text.contains(word), "{template}: {text}"),
                other => panic!("{template}: {other:?}"),
            }
        }
        for bad in ["{{ if }}", "{{ $x", "{{ end }}", "{{ if true }}x", "{{ \"open }}", "{{ ) }}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queries_are_asked_for_and_answered() {
        let template =
            "{{ with query \"up\" }}{{ . | first | value }} on {{ . | first | label \"instance\" }}{{ end }}";
        assert_eq!(expand_with(template, 0.0, &Answers::new()), Outcome::NeedsQuery("up".into()));
        let answer = vec![(Labels::new([("instance", "a:1")]), 1.0)];
        let answers = Answers::from([("up".to_string(), Ok(answer))]);
        assert_eq!(expand_with(template, 0.0, &answers), Outcome::Done("1 on a:1".into()));
    }

    #[test]
    fn budgets_hold() {
        let deep = format!("{}x{}", "{{ if true }}".repeat(500), "{{ end }}".repeat(500));
        assert!(Template::parse(&deep).is_err());
        let wide = "{{ define \"a\" }}xxxxxxxxxx{{ end }}".to_string() + &"{{ template \"a\" }}".repeat(9000);
        assert!(matches!(expand_with(&wide, 0.0, &Answers::new()), Outcome::Failed(_)));
        let long = format!("{{{{ printf \"%{}d\" 1 }}}}", 99_999_999);
        assert!(matches!(expand_with(&long, 0.0, &Answers::new()), Outcome::Failed(_) | Outcome::Done(_)));
    }
}
