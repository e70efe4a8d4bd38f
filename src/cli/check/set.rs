//! `--set KEY=VALUE`: one run with another number, without touching the file.

use serde_json::Value as Json;

use crate::cli::{Exit, Failure};
use crate::config::Config;

/// Lays the assignments over the configuration. A key is the path in the file; `gates.` may be left out. A value is TOML,
/// or text when it is not.
pub fn overlay(config: &Config, assignments: &[String]) -> Result<Config, Failure> {
    if assignments.is_empty() {
        return Ok(config.clone());
    }
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let mut json = serde_json::to_value(config).map_err(|e| usage(e.to_string()))?;
    for assignment in assignments {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            usage(format!("--set {assignment}: write KEY=VALUE")).hint("--set performance.load.target_rps=200")
        })?;
        let mut path: Vec<&str> = key.trim().split('.').collect();
        if json.get(path[0]).is_none() {
            path.insert(0, "gates");
        }
        put(&mut json, &path, parse(value.trim())).map_err(|why| usage(format!("--set {key}: {why}")))?;
    }
    serde_path_to_error::deserialize(json).map_err(|e| {
        let key = e.path().to_string();
        usage(format!("--set {}: {}", key.trim_start_matches("gates."), e.inner()))
    })
}

fn put(json: &mut Json, path: &[&str], value: Json) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        *json = value;
        return Ok(());
    };
    let Json::Object(map) = json else { return Err(format!("`{key}` does not lie in a table")) };
    // A new key is allowed only where deserialising will judge it: tables with free names, optional tables.
    let slot = map.entry(key.to_string()).or_insert(Json::Null);
    if slot.is_null() && !rest.is_empty() {
        *slot = Json::Object(Default::default());
    }
    put(slot, rest, value)
}

fn parse(text: &str) -> Json {
    let document = format!("value = {text}");
    toml::from_str::<Json>(&document).ok().and_then(|v| v.get("value").cloned()).unwrap_or_else(|| Json::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_durations() {
        let set = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|s| s.to_string()).collect();
            overlay(&Config::default(), &list)
        };
        let config =
            set(&["delivery.naming.max_branch_age=30d", "gates.delivery.naming.tag=v.+", "safety.rps=3"]).unwrap();
        assert_eq!(config.gates.delivery.naming.max_branch_age.to_string(), "30d");
        assert_eq!(config.gates.delivery.naming.tag, "v.+");
        assert_eq!(config.gates.safety.rps, 3);
        let refused = |text: &str| set(&[text]).unwrap_err();
        assert_eq!(refused("delivery.naming.tags=x").exit, Exit::Usage);
        assert!(refused("delivery.naming.tags=x").message.contains("tags"), "{}", refused("delivery.naming.tags=x"));
        assert!(refused("delivery.naming.max_branch_age=soon").message.contains("not a duration"));
        assert!(refused("nonsense").message.contains("KEY=VALUE"));
        assert!(refused("safety.rps.x=1").message.contains("table"));
    }
}
