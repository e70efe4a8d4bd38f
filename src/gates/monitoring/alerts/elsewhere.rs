//! Alerts in other systems' languages: CloudWatch alarms and Datadog monitors in Terraform and CloudFormation. Nobody
//! here can run them, so they are classified by the metric they name and prove no more than that they are declared.

use serde_json::Value;

use super::Family;

/// An alarm of another system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub family: Family,
    pub system: &'static str,
    pub name: String,
    pub file: String,
    pub line: u32,
}

/// Resources of Terraform that are alarms.
const RESOURCES: &[(&str, &str)] = &[
    ("aws_cloudwatch_metric_alarm", "CloudWatch"),
    ("datadog_monitor", "Datadog"),
    ("google_monitoring_alert_policy", "Google Cloud Monitoring"),
    ("azurerm_monitor_metric_alert", "Azure Monitor"),
];

/// Words of a metric's name or query, by family. The first that is found decides.
const WORDS: &[(&str, Family)] = &[
    ("httpcode_target_5xx", Family::Errors),
    ("httpcode_elb_5xx", Family::Errors),
    ("httpcode_backend_5xx", Family::Errors),
    ("5xxerror", Family::Errors),
    ("http5xx", Family::Errors),
    ("http_5xx", Family::Errors),
    ("status:5", Family::Errors),
    ("http.status_code:5", Family::Errors),
    ("response_code_class=\"500\"", Family::Errors),
    ("response_code_class = \"500\"", Family::Errors),
    (".errors", Family::Errors),
    ("approximatenumberofmessages", Family::Backlog),
    ("approximateageofoldestmessage", Family::Backlog),
    ("num_undelivered_messages", Family::Backlog),
    ("rabbitmq.queue.messages", Family::Backlog),
    ("kafka.consumer_lag", Family::Backlog),
    ("memoryutilization", Family::Memory),
    ("mem_used_percent", Family::Memory),
    ("memory_percent", Family::Memory),
    ("system.mem", Family::Memory),
    ("memory/utilization", Family::Memory),
    ("cpuutilization", Family::Cpu),
    ("cpu_percent", Family::Cpu),
    ("percentage cpu", Family::Cpu),
    ("system.cpu", Family::Cpu),
    ("cpu/utilization", Family::Cpu),
];

fn family(text: &str) -> Option<Family> {
    let lower = text.to_lowercase();
    // A database's own CPU or memory is another promise.
    if ["aws/rds", "aws/elasticache", "aws/redshift", "aws/es\"", "aws/docdb"].iter().any(|n| lower.contains(n)) {
        return None;
    }
    WORDS.iter().find(|(word, _)| lower.contains(word)).map(|(_, family)| *family)
}

/// Alarms of a Terraform file.
pub fn terraform(path: &str, text: &str) -> Vec<Declared> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let mut words = line.strip_prefix("resource").into_iter().flat_map(|rest| rest.split('"'));
        let (Some(kind), Some(name)) = (words.nth(1), words.nth(1)) else { continue };
        let Some((_, system)) = RESOURCES.iter().find(|(resource, _)| *resource == kind) else { continue };
        let body: Vec<&str> = lines[i..].iter().take_while(|l| !l.starts_with('}')).copied().collect();
        if let Some(family) = family(&body.join("\n")) {
            out.push(Declared { family, system, name: name.into(), file: path.into(), line: i as u32 + 1 });
        }
    }
    out
}

/// Alarms of a CloudFormation template.
pub fn cloudformation(path: &str, text: &str, document: &Value, out: &mut Vec<Declared>) {
    for (name, resource) in document["Resources"].as_object().into_iter().flatten() {
        if resource["Type"] == "AWS::CloudWatch::Alarm"
            && let Some(family) = family(&resource["Properties"].to_string())
        {
            let line = crate::gates::import::yaml::line_of(text, name, 1, 0);
            out.push(Declared { family, system: "CloudWatch", name: name.clone(), file: path.into(), line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_by_what_they_measure() {
        let text = "resource \"aws_cloudwatch_metric_alarm\" \"web\" {\n  namespace = \"AWS/ApplicationELB\"\n  metric_name = \"HTTPCode_Target_5XX_Count\"\n}\nresource \"datadog_monitor\" \"cpu\" {\n  query = \"avg(last_5m):avg:system.cpu.user{*} > 80\"\n}\nresource \"aws_cloudwatch_metric_alarm\" \"db\" {\n  namespace = \"AWS/RDS\"\n  metric_name = \"CPUUtilization\"\n}\nresource \"aws_s3_bucket\" \"cpuutilization\" {\n}\n";
        let found: Vec<_> = terraform("a.tf", text).into_iter().map(|d| (d.family, d.name, d.line)).collect();
        assert_eq!(found, [(Family::Errors, "web".into(), 1), (Family::Cpu, "cpu".into(), 5)]);
        let template = "Resources:\n  Backlog:\n    Type: AWS::CloudWatch::Alarm\n    Properties:\n      MetricName: ApproximateAgeOfOldestMessage\n";
        let mut out = Vec::new();
        let documents = crate::gates::import::yaml::documents(template).unwrap();
        cloudformation("t.yaml", template, &documents[0], &mut out);
        assert_eq!((out[0].family, out[0].line), (Family::Backlog, 2));
    }
}
