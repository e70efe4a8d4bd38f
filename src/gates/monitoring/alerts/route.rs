//! Where Alertmanager's configuration sends an alert: through the routing tree to a receiver that reaches somebody, or
//! to one that drops it; and whether an inhibition rule keeps it down.

use std::collections::BTreeMap;

use serde_json::Value;

/// Routes inside routes.
const DEPTH_MAX: usize = 20;
/// Alerts that always fire, or that exist only to keep others down.
const ALWAYS: &[&str] = &["Watchdog", "InfoInhibitor", "DeadMansSwitch"];

type Labels = BTreeMap<String, String>;

/// Names of the receivers that get the alert.
pub fn receivers(config: &Value, labels: &Labels) -> Vec<String> {
    let mut out = Vec::new();
    walk(&config["route"], labels, "", 0, &mut out);
    out
}

fn walk(route: &Value, labels: &Labels, inherited: &str, depth: usize, out: &mut Vec<String>) {
    let own = route["receiver"].as_str().unwrap_or(inherited);
    let mut taken = false;
    for child in route["routes"].as_array().into_iter().flatten().filter(|_| depth < DEPTH_MAX) {
        if takes(child, "matchers", "match", "match_re", labels) {
            walk(child, labels, own, depth + 1, out);
            taken = true;
            if child["continue"] != true {
                break;
            }
        }
    }
    if !taken {
        out.push(own.to_string());
    }
}

/// Does a route, or one side of an inhibition rule, take the labels?
fn takes(part: &Value, matchers: &str, equal: &str, pattern: &str, labels: &Labels) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    let pairs = |key: &str| -> Vec<(String, String)> {
        part[key].as_object().into_iter().flatten().map(|(n, v)| (n.clone(), plain(v))).collect()
    };
    let listed: Vec<&str> = match &part[matchers] {
        Value::String(one) => one.trim_matches(['{', '}']).split(',').collect(),
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    pairs(equal).iter().all(|(name, wanted)| value(name) == wanted)
        && pairs(pattern).iter().all(|(name, wanted)| anchored(wanted, value(name)))
        && listed.iter().all(|m| one(m, &value))
}

fn one<'a>(matcher: &str, value: &impl Fn(&str) -> &'a str) -> bool {
    for operator in ["!~", "=~", "!=", "="] {
        let Some((name, wanted)) = matcher.split_once(operator) else { continue };
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        let have = value(name.trim().trim_matches('"'));
        return match operator {
            "!~" => !anchored(wanted, have),
            "=~" => anchored(wanted, have),
            "!=" => have != wanted,
            _ => have == wanted,
        };
    }
    false
}

fn anchored(pattern: &str, text: &str) -> bool {
    crate::domain::metric::anchored(pattern).is_ok_and(|r| r.is_match(text))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// Has the receiver no way to reach anybody? `None`: there is no such receiver.
pub fn is_null(config: &Value, name: &str) -> Option<bool> {
    let receiver = config["receivers"].as_array()?.iter().find(|r| r["name"] == name)?;
    Some(
        receiver
            .as_object()
            .is_none_or(|r| r.iter().all(|(key, v)| key == "name" || v.as_array().is_none_or(Vec::is_empty))),
    )
}

/// The always-firing alert whose inhibition rule keeps these labels down.
pub fn muted_by(config: &Value, labels: &Labels) -> Option<&'static str> {
    let rules = config["inhibit_rules"].as_array()?;
    rules.iter().find_map(|rule| {
        let narrow = ["target_matchers", "target_match", "target_match_re"].iter().any(|k| !rule[*k].is_null());
        if !narrow || !takes(rule, "target_matchers", "target_match", "target_match_re", labels) {
            return None;
        }
        ALWAYS.iter().copied().find(|name| {
            let source = Labels::from([("alertname".into(), (*name).into()), ("severity".into(), "none".into())]);
            takes(rule, "source_matchers", "source_match", "source_match_re", &source)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Value {
        let text = "
route:
  receiver: 'null'
  routes:
  - matchers: ['severity =~ \"page|critical\"']
    receiver: pager
  - match: {team: shop}
    continue: true
    receiver: chat
  - match_re: {team: 's.*'}
    routes: [{matchers: ['severity=\"info\"'], receiver: 'null'}]
    receiver: mail
receivers:
- name: 'null'
- name: empty
  webhook_configs: []
- name: pager
  pagerduty_configs: [{}]
inhibit_rules:
- source_matchers: ['alertname = InfoInhibitor']
  target_matchers: ['severity = info']
";
        crate::gates::import::yaml::documents(text).unwrap().remove(0)
    }

    #[test]
    fn the_tree_is_walked() {
        let config = config();
        let to = |pairs: &[(&str, &str)]| {
            receivers(&config, &pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect())
        };
        assert_eq!(to(&[("severity", "critical")]), ["pager"]);
        assert_eq!(to(&[("severity", "warning")]), ["null"]);
        assert_eq!(to(&[("team", "shop")]), ["chat", "mail"]);
        assert_eq!(to(&[("team", "sales"), ("severity", "info")]), ["null"]);
        assert_eq!(is_null(&config, "null"), Some(true));
        assert_eq!(is_null(&config, "empty"), Some(true));
        assert_eq!(is_null(&config, "pager"), Some(false));
        assert_eq!(is_null(&config, "gone"), None);
        let muted = |severity: &str| muted_by(&config, &Labels::from([("severity".into(), severity.into())]));
        assert_eq!((muted("info"), muted("critical")), (Some("InfoInhibitor"), None));
    }
}
