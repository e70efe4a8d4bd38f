//! Groups of machines or tasks that a cloud scales: Terraform resources and CloudFormation, by presence and by what their
//! numbers say. Expressions are not evaluated: a number is known only when it is written as one.

use std::sync::LazyLock;

use regex::Regex;

use super::{Place, Unread, broken};
use crate::gates::import::located;

/// One group or one policy on a group.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingGroup {
    pub place: Place,
    /// `aws_autoscaling_group`, `AWS::AutoScaling::AutoScalingGroup`, …
    pub kind: String,
    pub name: String,
    pub role: Role,
    pub min: Option<i64>,
    pub max: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Has bounds, needs a policy to move between them.
    Group,
    /// Moves a group; some kinds are group and policy in one.
    Policy,
    Both,
}

/// Kinds we know, and what they are.
const KINDS: [(&str, Role); 19] = [
    ("aws_autoscaling_group", Role::Group),
    ("aws_autoscaling_policy", Role::Policy),
    ("aws_autoscaling_schedule", Role::Policy),
    ("aws_autoscalingplans_scaling_plan", Role::Policy),
    ("aws_appautoscaling_target", Role::Group),
    ("aws_appautoscaling_policy", Role::Policy),
    ("google_compute_autoscaler", Role::Both),
    ("google_compute_region_autoscaler", Role::Both),
    ("azurerm_monitor_autoscale_setting", Role::Both),
    ("kubernetes_horizontal_pod_autoscaler", Role::Both),
    ("kubernetes_horizontal_pod_autoscaler_v1", Role::Both),
    ("kubernetes_horizontal_pod_autoscaler_v2", Role::Both),
    ("openstack_autoscaling_group_v1", Role::Group),
    ("alicloud_ess_scaling_group", Role::Group),
    ("alicloud_ess_scaling_rule", Role::Policy),
    ("AWS::AutoScaling::AutoScalingGroup", Role::Group),
    ("AWS::AutoScaling::ScalingPolicy", Role::Policy),
    ("AWS::ApplicationAutoScaling::ScalableTarget", Role::Group),
    ("AWS::ApplicationAutoScaling::ScalingPolicy", Role::Policy),
];

static RESOURCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^\s*resource\s+"([a-z0-9_]+)"\s+"([^"]+)""#).ok());
static BOUND: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\s*(min_size|max_size|min_capacity|max_capacity|min_replicas|max_replicas|minimum|maximum)\s*=\s*(\d{1,9})\s*(?:#.*)?$").ok()
});

/// Resources of a Terraform file, by lines: blocks end where the next resource begins.
pub fn terraform(path: &str, text: &str) -> Vec<ScalingGroup> {
    let (Some(resource), Some(bound)) = (RESOURCE.as_ref(), BOUND.as_ref()) else { return Vec::new() };
    let mut out: Vec<ScalingGroup> = Vec::new();
    let mut open = false;
    for (i, line) in text.lines().enumerate() {
        if let Some(found) = resource.captures(line) {
            let known = KINDS.iter().find(|(k, _)| *k == &found[1]);
            open = known.is_some();
            out.extend(known.map(|(kind, role)| ScalingGroup {
                place: Place::new(path, i as u32 + 1),
                kind: kind.to_string(),
                name: found[2].to_string(),
                role: *role,
                min: None,
                max: None,
            }));
        } else if let (true, Some(found), Some(group)) = (open, bound.captures(line), out.last_mut()) {
            let value = found[2].parse().ok();
            if found[1].starts_with("min") { group.min = value } else { group.max = value }
        }
    }
    out
}

/// Is it worth parsing?
pub fn looks_like_cloudformation(text: &str) -> bool {
    text.contains("AWS::AutoScaling::") || text.contains("AWS::ApplicationAutoScaling::")
}

pub fn cloudformation(path: &str, text: &str) -> Result<Vec<ScalingGroup>, Unread> {
    let documents = located::documents(text).map_err(|e| broken(path, &e))?;
    let resources = documents.iter().flat_map(|d| d.get("Resources").entries());
    let group = |(name, line, node): &(String, u32, located::Node)| {
        let (kind, role) = KINDS.iter().find(|(k, _)| Some(*k) == node.get("Type").text())?;
        let properties = node.get("Properties");
        let number = |keys: [&str; 2]| keys.into_iter().find_map(|k| properties.get(k).integer());
        Some(ScalingGroup {
            place: Place::new(path, *line),
            kind: kind.to_string(),
            name: name.clone(),
            role: *role,
            min: number(["MinSize", "MinCapacity"]),
            max: number(["MaxSize", "MaxCapacity"]),
        })
    };
    Ok(resources.filter_map(group).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terraform_and_cloudformation() {
        let tf = "resource \"aws_s3_bucket\" \"b\" {\n  min_size = 9\n}\nresource \"aws_autoscaling_group\" \"web\" {\n  min_size = 2 # two\n  max_size = var.max\n}\n\nresource \"aws_autoscaling_policy\" \"p\" {}\n";
        let groups = terraform("main.tf", tf);
        let seen: Vec<_> = groups.iter().map(|g| (g.name.as_str(), g.role, g.min, g.max, g.place.line)).collect();
        assert_eq!(seen, [("web", Role::Group, Some(2), None, 4), ("p", Role::Policy, None, None, 9)]);
        let cf = "Resources:\n  Web:\n    Type: AWS::AutoScaling::AutoScalingGroup\n    Properties: {MinSize: '1', MaxSize: !Ref Max}\n  B: {Type: AWS::S3::Bucket}\n";
        assert!(looks_like_cloudformation(cf));
        let groups = cloudformation("stack.yaml", cf).unwrap();
        assert_eq!((groups.len(), groups[0].min, groups[0].max, groups[0].place.line), (1, Some(1), None, 2));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(resource \"aws_autoscaling_group\" \"a\"|min_size = 9|Resources:|Type: AWS::AutoScaling::AutoScalingGroup|[a-z:{}= \n]){0,30}") {
            let _ = (terraform("a.tf", &text), cloudformation("a.yaml", &text));
        }
    }
}
