//! The functions: Go's own and Prometheus' (`template/template.go`). Values in, value or message out.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::exec::{Machine, Stop, Value};
use super::number::{format_g, general};
use super::{OUTPUT_BYTES_MAX, QUERIES_MAX};
use crate::domain::clock::Timestamp;
use crate::domain::units::Span;

/// Every function there is, sorted; anything else is a warning when a file is loaded and nothing at run time.
const NAMES: [&str; 47] = [
    "and",
    "args",
    "eq",
    "externalURL",
    "first",
    "ge",
    "graphLink",
    "gt",
    "html",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "index",
    "js",
    "label",
    "le",
    "len",
    "lt",
    "match",
    "ne",
    "not",
    "now",
    "or",
    "parseDuration",
    "pathPrefix",
    "print",
    "printf",
    "println",
    "query",
    "reReplaceAll",
    "safeHtml",
    "slice",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "urlquery",
    "value",
];

pub fn known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Longest regular expression, so that compiling one stays cheap.
const PATTERN_BYTES_MAX: usize = 1000;

pub fn call(machine: &mut Machine<'_>, name: &str, args: Vec<Value>) -> Result<Value, Stop> {
    let one = || args.first().ok_or_else(|| Stop::Error(format!("wrong number of args for {name}: want 1 got 0")));
    let at = |i: usize| args.get(i).ok_or_else(|| Stop::Error(format!("wrong number of args for {name}: got {i}")));
    let text = |s: String| Ok(Value::Text(s));
    match name {
        "not" => Ok(Value::Bool(!one()?.truth())),
        "eq" => {
            let first = one()?;
            at(1)?;
            Ok(Value::Bool(args[1..].iter().any(|v| compare(first, v) == Some(Ordering::Equal))))
        }
        "ne" => Ok(Value::Bool(compare(one()?, at(1)?) != Some(Ordering::Equal))),
        "lt" | "le" | "gt" | "ge" => {
            let (a, b) = (one()?, at(1)?);
            let incomparable = || format!("incompatible types for comparison: {} and {}", a.print(), b.print());
            if [a, b].iter().any(|v| matches!(v, Value::Float(f) if f.is_nan())) {
                return Ok(Value::Bool(false));
            }
            let order = compare(a, b).ok_or_else(incomparable)?;
            Ok(Value::Bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        "len" => match one()? {
            Value::Text(t) => Ok(Value::Int(t.len() as i64)),
            Value::List(l) => Ok(Value::Int(l.len() as i64)),
            Value::Map(m) => Ok(Value::Int(m.len() as i64)),
            other => Err(Stop::Error(format!("len of {}", other.print()))),
        },
        "index" => {
            at(1)?;
            args[1..].iter().try_fold(args[0].clone(), index)
        }
        "slice" => slice(one()?, &args[1..]),
        "print" => text(args.iter().map(Value::print).collect()),
        "println" => text(args.iter().map(Value::print).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => {
            let Value::Text(format) = one()? else { return Err(Stop::Error("printf needs a format".into())) };
            text(printf(format, &args[1..])?)
        }
        "html" | "js" => text(
            one()?
                .print()
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&#34;")
                .replace('\'', "&#39;"),
        ),
        "safeHtml" => Ok(one()?.clone()),
        "urlquery" | "urlQueryEscape" => text(escape(&one()?.print())),
        "humanize" => text(humanize(number(one()?)?)),
        "humanize1024" => text(humanize1024(number(one()?)?)),
        "humanizeDuration" => text(humanize_duration(number(one()?)?)),
        "humanizePercentage" => text(format!("{}%", general(number(one()?)? * 100.0, 4))),
        "humanizeTimestamp" | "toTime" => text(timestamp(number(one()?)?)),
        "toDuration" => text(humanize_duration(number(one()?)?)),
        "parseDuration" => {
            let raw = one()?.print();
            let span: Span = raw.parse().map_err(Stop::Error)?;
            Ok(Value::Float(span.get().as_secs_f64()))
        }
        "now" => Ok(Value::Float(machine.data.now.seconds())),
        "title" => text(title(&one()?.print())),
        "toUpper" => text(one()?.print().to_uppercase()),
        "toLower" => text(one()?.print().to_lowercase()),
        "stripPort" => text(strip_port(&one()?.print())),
        "stripDomain" => text(strip_domain(&one()?.print())),
        "match" => {
            let (pattern, subject) = (pattern(one()?)?, at(1)?.print());
            Ok(Value::Bool(pattern.is_match(&subject)))
        }
        "reReplaceAll" => {
            let pattern = pattern(one()?)?;
            let (with, subject) = (at(1)?.print(), at(2)?.print());
            text(pattern.replace_all(&subject, with.as_str()).into_owned())
        }
        "args" => Ok(Value::Map(args.into_iter().enumerate().map(|(i, v)| (format!("arg{i}"), v)).collect())),
        "externalURL" => text(machine.data.external_url.to_string()),
        "pathPrefix" => text(
            url::Url::parse(machine.data.external_url)
                .map(|u| u.path().trim_end_matches('/').to_string())
                .unwrap_or_default(),
        ),
        "graphLink" => text(format!("/graph?g0.expr={}&g0.tab=0", escape(&one()?.print()))),
        "tableLink" => text(format!("/graph?g0.expr={}&g0.tab=1", escape(&one()?.print()))),
        "query" => query(machine, &one()?.print()),
        "first" => match one()? {
            Value::List(list) => {
                list.first().cloned().ok_or_else(|| Stop::Error("first() called on vector with no elements".into()))
            }
            other => Err(Stop::Error(format!("first() called on {}", other.print()))),
        },
        "value" => Ok(part(one()?, "Value")),
        "strvalue" => Ok(match part(one()?, "Labels") {
            Value::Map(labels) => labels.get("__value__").cloned().unwrap_or(Value::Text(String::new())),
            _ => Value::Text(String::new()),
        }),
        "label" => {
            let name = one()?.print();
            Ok(match part(at(1)?, "Labels") {
                Value::Map(labels) => labels.get(&name).cloned().unwrap_or(Value::Text(String::new())),
                _ => Value::Text(String::new()),
            })
        }
        "sortByLabel" => {
            let name = one()?.print();
            let Value::List(mut list) = at(1)?.clone() else {
                return Err(Stop::Error("sortByLabel needs a vector".into()));
            };
            list.sort_by_key(|sample| match part(sample, "Labels") {
                Value::Map(labels) => labels.get(&name).map(Value::print).unwrap_or_default(),
                _ => String::new(),
            });
            Ok(Value::List(list))
        }
        // Unknown: named when the file was loaded, nothing now. The alert matters more.
        _ => text(String::new()),
    }
}

fn query(machine: &Machine<'_>, expr: &str) -> Result<Value, Stop> {
    match machine.answers.get(expr) {
        Some(Ok(vector)) => Ok(Value::List(
            vector
                .iter()
                .map(|(labels, value)| {
                    let labels = labels.iter().map(|(k, v)| (k.to_string(), Value::Text(v.into()))).collect();
                    Value::Record(BTreeMap::from([
                        ("Labels".to_string(), Value::Map(labels)),
                        ("Value".to_string(), Value::Float(*value)),
                    ]))
                })
                .collect(),
        )),
        Some(Err(message)) => Err(Stop::Error(message.clone())),
        None if machine.answers.len() >= QUERIES_MAX => Err(Stop::Error(format!("more than {QUERIES_MAX} queries"))),
        None => Err(Stop::Query(expr.into())),
    }
}

fn part(sample: &Value, name: &str) -> Value {
    match sample {
        Value::Record(fields) | Value::Map(fields) => fields.get(name).cloned().unwrap_or(Value::Nil),
        _ => Value::Nil,
    }
}

/// Numbers compare by value, whatever their type: stricter rules would reject `gt $value 5`.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            number(a).ok()?.partial_cmp(&number(b).ok()?)
        }
        _ => None,
    }
}

/// As Prometheus converts: numbers, text that is a number, booleans not.
fn number(value: &Value) -> Result<f64, Stop> {
    match value {
        Value::Int(n) => Ok(*n as f64),
        Value::Float(n) => Ok(*n),
        Value::Text(t) => t.trim().parse().map_err(|_| Stop::Error(format!("can't convert {t:?} to float"))),
        other => Err(Stop::Error(format!("can't convert {} to float", other.print()))),
    }
}

fn index(of: Value, key: &Value) -> Result<Value, Stop> {
    match (of, key) {
        (Value::Map(map), key) => Ok(map.get(&key.print()).cloned().unwrap_or(Value::Text(String::new()))),
        (Value::List(list), Value::Int(i)) => usize::try_from(*i)
            .ok()
            .and_then(|i| list.get(i).cloned())
            .ok_or_else(|| Stop::Error(format!("index out of range: {i}"))),
        (of, key) => Err(Stop::Error(format!("can't index {} with {}", of.print(), key.print()))),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Result<Value, Stop> {
    let bound = |i: usize, default: usize| match bounds.get(i) {
        None => Ok(default),
        Some(Value::Int(n)) => usize::try_from(*n).map_err(|_| Stop::Error("slice index out of range".into())),
        Some(other) => Err(Stop::Error(format!("can't slice with {}", other.print()))),
    };
    let outside = || Stop::Error("slice index out of range".into());
    match of {
        Value::Text(t) => Ok(Value::Text(t.get(bound(0, 0)?..bound(1, t.len())?).ok_or_else(outside)?.into())),
        Value::List(l) => Ok(Value::List(l.get(bound(0, 0)?..bound(1, l.len())?).ok_or_else(outside)?.to_vec())),
        other => Err(Stop::Error(format!("can't slice {}", other.print()))),
    }
}

fn pattern(value: &Value) -> Result<regex::Regex, Stop> {
    let text = value.print();
    if text.len() > PATTERN_BYTES_MAX {
        return Err(Stop::Error("regular expression is too long".into()));
    }
    regex::Regex::new(&text)
        .map_err(|e| Stop::Error(format!("bad regular expression: {}", e.to_string().replace('\n', " "))))
}

/// Four significant digits with an SI prefix: 1.235M, 1.23m.
pub fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return general(v, 4);
    }
    let (mut v, mut prefix) = (v, "");
    if v.abs() >= 1.0 {
        for p in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if v.abs() < 1000.0 {
                break;
            }
            (v, prefix) = (v / 1000.0, p);
        }
    } else {
        (v, prefix) = small(v);
    }
    format!("{}{prefix}", general(v, 4))
}

fn small(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        (v, prefix) = (v * 1000.0, p);
    }
    (v, prefix)
}

fn humanize1024(v: f64) -> String {
    let (mut v, mut prefix) = (v, "");
    if v.abs() > 1.0 && v.is_finite() {
        for p in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if v.abs() < 1024.0 {
                break;
            }
            (v, prefix) = (v / 1024.0, p);
        }
    }
    format!("{}{prefix}", general(v, 4))
}

/// Seconds as `1d 1h 1m 1s`, `1.2ms`.
pub fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return general(v, 4);
    }
    if v.abs() < 1.0 {
        let (v, prefix) = if v == 0.0 { (v, "") } else { small(v) };
        return format!("{}{prefix}s", general(v, 4));
    }
    let (sign, v) = if v < 0.0 { ("-", -v) } else { ("", v) };
    let whole = v as i64;
    let (d, h, m, s) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{sign}{}s", general(v, 4)),
        (0, 0, m) => format!("{sign}{m}m {s}s"),
        (0, h, m) => format!("{sign}{h}h {m}m {s}s"),
        (d, h, m) => format!("{sign}{d}d {h}h {m}m {s}s"),
    }
}

fn timestamp(seconds: f64) -> String {
    if !seconds.is_finite() || seconds.abs() > 1e13 {
        return format_g(seconds);
    }
    Timestamp::from_seconds(seconds).utc().format("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn strip_port(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name.trim_start_matches('[').trim_end_matches(']').to_string()
        }
        _ => host.to_string(),
    }
}

fn strip_domain(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (host, None),
    };
    if host.parse::<std::net::IpAddr>().is_ok() || name.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return host.to_string();
    }
    let short = name.split('.').next().unwrap_or(name);
    port.map_or(short.to_string(), |port| format!("{short}:{port}"))
}

fn escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Widest field of `printf`; Go's own limit is a million.
const WIDTH_MAX: usize = 1000;

/// `%[flags][width][.precision]verb` for s, q, v, d, f, F, g, e, x, t, c and %%.
fn printf(format: &str, args: &[Value]) -> Result<String, Stop> {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut next = args.iter();
    while let Some(c) = chars.next() {
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(Stop::Error("printf writes too much".into()));
        }
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(f) = chars.next_if(|c| "-+ #0".contains(*c)) {
            flags.push(f);
        }
        let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut n = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                n.push(d);
            }
            n.parse::<usize>().ok().map(|n| n.min(WIDTH_MAX))
        };
        let width = digits(&mut chars).unwrap_or(0);
        let precision = chars.next_if_eq(&'.').map(|_| digits(&mut chars).unwrap_or(0));
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = next.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let mut text = verb_text(verb, value, precision, flags.contains('+'));
        let missing = width.saturating_sub(text.chars().count());
        if flags.contains('-') {
            text.push_str(&" ".repeat(missing));
        } else if flags.contains('0') && matches!(value, Value::Int(_) | Value::Float(_)) {
            let sign = usize::from(text.starts_with(['-', '+']));
            text.insert_str(sign, &"0".repeat(missing));
        } else {
            text.insert_str(0, &" ".repeat(missing));
        }
        out.push_str(&text);
    }
    for extra in next {
        out.push_str(&format!("%!(EXTRA {})", extra.print()));
    }
    Ok(out)
}

fn verb_text(verb: char, value: &Value, precision: Option<usize>, plus: bool) -> String {
    let wrong = || format!("%!{verb}({})", value.print());
    let signed = |text: String| if plus && !text.starts_with(['-', '+']) { format!("+{text}") } else { text };
    match (verb, value) {
        ('v', Value::Float(_)) if precision.is_some() => verb_text('g', value, precision, plus),
        ('s' | 'v', Value::Text(t)) => precision.map_or(t.clone(), |p| t.chars().take(p).collect()),
        ('s', Value::Int(_) | Value::Float(_) | Value::Bool(_)) => wrong(),
        ('s' | 'v', other) => signed_if_number(other, signed),
        ('q', Value::Text(t)) => format!("{t:?}"),
        ('d', Value::Int(n)) => signed(n.to_string()),
        ('x', Value::Int(n)) => format!("{n:x}"),
        ('x', Value::Text(t)) => t.bytes().map(|b| format!("{b:02x}")).collect(),
        ('c', Value::Int(n)) => u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string(),
        ('t', Value::Bool(b)) => b.to_string(),
        ('f' | 'F' | 'g' | 'e', Value::Float(n)) if !n.is_finite() => signed(format_g(*n)),
        ('f' | 'F', Value::Float(n)) => signed(format!("{n:.*}", precision.unwrap_or(6).min(100))),
        ('e', Value::Float(n)) => {
            let text = format!("{n:.*e}", precision.unwrap_or(6).min(100));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            signed(format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()))
        }
        ('g', Value::Float(n)) => signed(precision.map_or_else(|| format_g(*n), |p| general(*n, p))),
        _ => wrong(),
    }
}

fn signed_if_number(value: &Value, signed: impl Fn(String) -> String) -> String {
    match value {
        Value::Int(_) | Value::Float(_) => signed(value.print()),
        other => other.print(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values() {
        assert_eq!(humanize(1234567.0), "1.235M");
        assert_eq!(humanize(0.00123), "1.23m");
        assert_eq!(humanize1024(1048576.0), "1Mi");
        assert_eq!(humanize_duration(90061.0), "1d 1h 1m 1s");
        assert_eq!(humanize_duration(0.0012), "1.2ms");
        assert_eq!(humanize_duration(75.0), "1m 15s");
    }

    #[test]
    fn printf_as_go() {
        for (format, args, text) in [
            (
                "%s|%5s|%-5s|",
                vec![Value::Text("a".into()), Value::Text("b".into()), Value::Text("c".into())],
                "a|    b|c    |",
            ),
            ("%05.1f %+d %x", vec![Value::Float(2.345), Value::Int(3), Value::Int(255)], "002.3 +3 ff"),
            ("%d %s", vec![Value::Float(1.5)], "%!d(1.5) %!s(MISSING)"),
            ("100%% %v", vec![Value::Bool(true)], "100% true"),
            (
                "%e %g %.3g",
                vec![Value::Float(1234.5), Value::Float(0.5), Value::Float(1234.5)],
                "1.234500e+03 0.5 1.23e+03",
            ),
            ("x", vec![Value::Int(1)], "x%!(EXTRA 1)"),
        ] {
            assert_eq!(printf(format, &args).unwrap(), text, "{format}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(strip_port("shop:9000"), "shop");
        assert_eq!(strip_port("[::1]:9000"), "::1");
        assert_eq!(strip_port("::1"), "::1");
        assert_eq!(strip_domain("a.b.example:80"), "a:80");
        assert_eq!(strip_domain("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(title("hello wide world"), "Hello Wide World");
    }
}
