//! One of Grafana's provisioned alerts as one PromQL expression: queries, reductions, thresholds and maths are put into
//! each other until the condition stands there.

use serde_json::Value;

/// Expressions that refer to expressions.
const DEPTH_MAX: usize = 10;

/// The condition as PromQL; `None` when it asks something else than Prometheus, or in a way that is not understood.
pub fn expression(rule: &Value) -> Option<String> {
    build(rule, rule["condition"].as_str()?, 0)
}

fn build(rule: &Value, id: &str, depth: usize) -> Option<String> {
    let query = rule["data"].as_array()?.iter().find(|q| q["refId"] == id)?;
    let model = &query["model"];
    if depth > DEPTH_MAX {
        return None;
    }
    let source = query["datasourceUid"].as_str().unwrap_or_default();
    if !matches!(source, "__expr__" | "-100")
        && model["type"].as_str().is_none_or(|t| model["expr"].is_string() || t.is_empty())
    {
        return Some(queried(model["expr"].as_str()?));
    }
    let inner = |id: &Value| build(rule, id.as_str()?.trim_start_matches('$'), depth + 1);
    match model["type"].as_str()? {
        // The last value, a mean over some minutes: the number is of the same kind.
        "reduce" | "resample" => inner(&model["expression"]),
        "threshold" => compared(&inner(&model["expression"])?, &model["conditions"][0]["evaluator"]),
        "math" => maths(rule, model["expression"].as_str()?, depth),
        "classic_conditions" => {
            let one = |c: &Value| compared(&inner(&c["query"]["params"][0])?, &c["evaluator"]);
            let conditions = model["conditions"].as_array()?;
            let parts: Vec<String> = conditions.iter().map(one).collect::<Option<_>>()?;
            let any = conditions.iter().skip(1).any(|c| c["operator"]["type"] == "or");
            (!parts.is_empty()).then(|| parts.join(if any { " or " } else { " and " }))
        }
        _ => None,
    }
}

fn queried(expr: &str) -> String {
    let mut out = expr.to_string();
    for name in ["$__rate_interval", "${__rate_interval}", "$__interval", "${__interval}", "$__range", "${__range}"] {
        out = out.replace(name, "5m");
    }
    out
}

fn compared(inner: &str, evaluator: &Value) -> Option<String> {
    let limit = |nth: usize| evaluator["params"][nth].as_f64();
    let inner = format!("({inner})");
    Some(match evaluator["type"].as_str()? {
        "gt" => format!("{inner} > {}", limit(0)?),
        "gte" => format!("{inner} >= {}", limit(0)?),
        "lt" => format!("{inner} < {}", limit(0)?),
        "lte" => format!("{inner} <= {}", limit(0)?),
        "eq" => format!("{inner} == {}", limit(0)?),
        "ne" => format!("{inner} != {}", limit(0)?),
        "within_range" => format!("{inner} > {} and {inner} < {}", limit(0)?, limit(1)?),
        "outside_range" => format!("{inner} < {} or {inner} > {}", limit(0)?, limit(1)?),
        _ => return None,
    })
}

/// `$A / $B > 0.05 && $C`: names become what they stand for.
fn maths(rule: &Value, text: &str, depth: usize) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (id, next) = match after.strip_prefix('{') {
            Some(after) => after.split_once('}')?,
            None => after.split_at(after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        out.push_str(&format!("({})", build(rule, id, depth + 1)?));
        rest = next;
    }
    out.push_str(rest);
    Some(out.replace("&&", " and ").replace("||", " or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_put_together() {
        let rule = serde_json::json!({"condition": "C", "data": [
            {"refId": "A", "datasourceUid": "prom", "model": {"expr": "rate(x[$__rate_interval])", "refId": "A"}},
            {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "reduce", "expression": "A", "reducer": "last"}},
            {"refId": "C", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "B",
                "conditions": [{"evaluator": {"type": "gt", "params": [0.05]}}]}},
            {"refId": "M", "datasourceUid": "__expr__", "model": {"type": "math", "expression": "$A / ${B} > 5 || $A > 1"}},
            {"refId": "O", "datasourceUid": "-100", "model": {"type": "classic_conditions", "conditions": [
                {"evaluator": {"type": "within_range", "params": [1, 2]}, "query": {"params": ["A"]}}]}},
            {"refId": "L", "datasourceUid": "__expr__", "model": {"type": "math", "expression": "$L"}},
        ]});
        let with = |id: &str| {
            let mut rule = rule.clone();
            rule["condition"] = id.into();
            expression(&rule)
        };
        assert_eq!(with("C").unwrap(), "(rate(x[5m])) > 0.05");
        assert_eq!(with("M").unwrap(), "(rate(x[5m])) / (rate(x[5m])) > 5  or  (rate(x[5m])) > 1");
        assert_eq!(with("O").unwrap(), "(rate(x[5m])) > 1 and (rate(x[5m])) < 2");
        assert_eq!((with("L"), with("Z")), (None, None));
    }
}
