//! Who hears what: label matchers as people write them, and the list of routes. Pure.

use crate::domain::metric::{Labels, MatchOp, Matcher, anchored};
use crate::domain::units::Span;

use super::RouteConfig;

/// Labels that make a group when a route does not say.
pub const GROUP_BY: [&str; 2] = ["service", "alertname"];

/// A route with its matchers parsed.
#[derive(Debug, Clone)]
pub struct Route {
    pub matchers: Vec<Matcher>,
    pub channels: Vec<String>,
    pub failover: Option<String>,
    pub group_by: Vec<String>,
    pub group_wait: Option<Span>,
    pub group_interval: Option<Span>,
    pub repeat_interval: Option<Span>,
    pub continues: bool,
}

/// Parses `severity="critical",service=~"shop|pay"`; `=`, `!=`, `=~`, `!~`; quotes may be left out around plain words.
/// Empty text gives no matcher and so matches everything.
pub fn matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    if let Some(inner) = rest.strip_prefix('{').and_then(|r| r.strip_suffix('}')) {
        rest = inner.trim();
    }
    while !rest.is_empty() {
        let name_len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..name_len];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("expected a label's name at `{rest}`; write for example severity=\"critical\""));
        }
        rest = rest[name_len..].trim_start();
        let op = ["=~", "!~", "!=", "="].into_iter().find(|op| rest.starts_with(op));
        let op = op.ok_or_else(|| format!("expected =, !=, =~ or !~ after `{name}`"))?;
        rest = rest[op.len()..].trim_start();
        let (value, after) = value(rest)?;
        let regex = || anchored(&value).map_err(|e| format!("`{value}` is not a regular expression: {e}"));
        out.push(Matcher {
            label: name.into(),
            op: match op {
                "=~" => MatchOp::Regex(regex()?),
                "!~" => MatchOp::NotRegex(regex()?),
                "!=" => MatchOp::NotEqual(value),
                _ => MatchOp::Equal(value),
            },
        });
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(format!("expected a comma at `{rest}`")),
        }
    }
    Ok(out)
}

fn value(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let word = &text[..end];
        if word.is_empty() || word.contains(['"', '=', '{', '}']) {
            return Err(format!("expected a value in quotes at `{text}`"));
        }
        return Ok((word.into(), &text[end..]));
    };
    let mut out = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &quoted[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                // `\.` is the regular expression's own.
                Some(c) => out.extend(['\\', c]),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a quote is not closed".into())
}

/// Parses the routes; when none is given, everything goes to every channel.
pub fn routes(configured: &[RouteConfig], channels: &[String]) -> Result<Vec<Route>, (usize, String)> {
    let defaults = || GROUP_BY.iter().map(|l| l.to_string()).collect::<Vec<_>>();
    let mut out = Vec::new();
    for (i, route) in configured.iter().enumerate() {
        out.push(Route {
            matchers: matchers(&route.matchers).map_err(|e| (i, e))?,
            channels: route.channels.clone(),
            failover: route.failover.clone(),
            group_by: route.group_by.clone().unwrap_or_else(defaults),
            group_wait: route.group_wait,
            group_interval: route.group_interval,
            repeat_interval: route.repeat_interval,
            continues: route.continue_,
        });
    }
    // What no route takes is not lost: it goes everywhere.
    out.push(Route {
        matchers: Vec::new(),
        channels: channels.to_vec(),
        failover: None,
        group_by: defaults(),
        group_wait: None,
        group_interval: None,
        repeat_interval: None,
        continues: false,
    });
    Ok(out)
}

/// Indices of the routes that take an alert: the first that fits, and further ones while they say `continue`.
pub fn takes(routes: &[Route], labels: &Labels) -> Vec<usize> {
    let mut out = Vec::new();
    for (i, route) in routes.iter().enumerate() {
        // The last one is the net under the others.
        if i + 1 == routes.len() && !out.is_empty() {
            break;
        }
        if route.matchers.iter().all(|m| m.matches(labels)) {
            out.push(i);
            if !route.continues {
                break;
            }
        }
    }
    out
}

/// Route index and group labels as text: what identifies a group over restarts.
pub fn group_key(index: usize, group: &Labels) -> String {
    format!("{index}/{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        Labels::new(text.iter().copied())
    }

    #[test]
    fn matchers_as_people_write_them() {
        let all = |text: &str, l: &[(&str, &str)]| matchers(text).unwrap().iter().all(|m| m.matches(&labels(l)));
        assert!(all(r#"severity="critical",service=~"shop|pay""#, &[("severity", "critical"), ("service", "pay")]));
        assert!(!all(r#"severity="critical""#, &[("severity", "warning")]));
        assert!(all(r#"{ a != "b" , c !~ "x.*", }"#, &[("c", "y")]));
        assert!(all("severity=critical", &[("severity", "critical")]));
        assert!(all(r#"a="x\"y",b=~"1\.2""#, &[("a", "x\"y"), ("b", "1.2")]));
        assert!(all("", &[]));
        for bad in ["=x", "a", "a=", "a=\"x", "a=~\"(\"", "a=\"x\" b=\"y\"", "1a=x"] {
            assert!(matchers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_that_fits_unless_it_goes_on() {
        let route = |m: &str, c: &str, continue_: bool| RouteConfig {
            matchers: m.into(),
            channels: vec![c.into()],
            continue_,
            ..RouteConfig::default()
        };
        let configured = [route("severity=critical", "pager", true), route("service=shop", "team", false)];
        let routes = routes(&configured, &["all".into()]).unwrap();
        assert_eq!(takes(&routes, &labels(&[("severity", "critical"), ("service", "shop")])), [0, 1]);
        assert_eq!(takes(&routes, &labels(&[("severity", "critical")])), [0]);
        assert_eq!(takes(&routes, &labels(&[("severity", "info")])), [2]);
        assert_eq!(routes[2].channels, ["all"]);
    }
}
