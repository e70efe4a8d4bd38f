//! No rule of the family was found: why, and a rule that would do.

use super::Family;
use super::read::{Found, Rule};
use super::roles::{Role, role};
use super::world::name_of;
use crate::domain::units::count;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::GateContext;
use crate::gates::delivery::packages;

/// Files that say who runs the code, when it is nobody's machine.
const SERVERLESS: &[(&str, &str)] = &[
    ("serverless.yml", "Serverless Framework"),
    ("serverless.yaml", "Serverless Framework"),
    ("vercel.json", "Vercel"),
    ("netlify.toml", "Netlify"),
    ("wrangler.toml", "Cloudflare Workers"),
    ("wrangler.jsonc", "Cloudflare Workers"),
    ("samconfig.toml", "AWS SAM"),
];

pub fn outcome(ctx: &GateContext, family: Family, found: &Found, live: bool) -> Outcome {
    if let Some(skip) = skip(ctx, family) {
        return skip;
    }
    let words = family.words();
    if let Some(unloaded) = found.alerts.iter().find(|r| live && mentions(family, r)) {
        let message =
            format!("no alert on the server watches {words}; \"{}\" is written but not loaded", unloaded.name);
        let finding = Finding::new("not-loaded", Severity::High, message.clone())
            .at(&unloaded.file, unloaded.line, 1)
            .fix("name the file under rule_files, or let the operator select it")
            .identified_by(&["not-loaded", &unloaded.name]);
        return Outcome::fail(message).tier(Tier::E3).hint(finding.fix.clone()).findings(vec![finding]);
    }
    if let Some(declared) = found.declared.iter().find(|d| d.family == family) {
        let all = found.declared.iter().filter(|d| d.family == family).count();
        let message = format!("{} in {}, classified by its metric only", count(all, "alarm"), declared.system);
        let finding = Finding::new("declared-elsewhere", Severity::Medium, format!("\"{}\": {message}", declared.name))
            .at(&declared.file, declared.line, 1)
            .fix("prove it by a firing: nobody here can run it")
            .identified_by(&["declared-elsewhere", &declared.name]);
        return Outcome::warn(message).tier(Tier::E1).hint(finding.fix.clone()).findings(vec![finding]);
    }
    if let Some(outcome) = unreadable(family, found) {
        return outcome;
    }
    let suggestion = suggestion(ctx, family, found);
    let known = match found.alerts.len() {
        0 if found.examples.is_empty() => "there are no alert rules".to_string(),
        0 => format!("rules stand in examples and tests only ({})", found.examples.first().map_or("", String::as_str)),
        n => format!("{} found, none for it", count(n, "alert rule")),
    };
    let message = format!("no alert watches {words}: {known}");
    let finding = Finding::new("no-alert", Severity::High, message.clone())
        .fix(suggestion.clone())
        .identified_by(&["no-alert", words]);
    Outcome::fail(message).tier(Tier::E1).findings(vec![finding]).hint(suggestion)
}

/// Not applicable, with the proof.
fn skip(ctx: &GateContext, family: Family) -> Option<Outcome> {
    let published = || packages::published(ctx.repo.as_ref()?, &ctx.facts);
    by_family(ctx, family).or_else(|| published().map(|proof| Outcome::skip("not-deployed", proof)))
}

fn by_family(ctx: &GateContext, family: Family) -> Option<Outcome> {
    let repo = ctx.repo.as_ref()?;
    match family {
        Family::Backlog if !ctx.facts.any("queue") => Some(Outcome::skip(
            "no-queue",
            "no queue library in the manifests, no queue among the containers, no rule on one",
        )),
        Family::Cpu => {
            // Whoever also builds containers has a CPU to watch.
            let own = ["container", "kubernetes", "process-manager"].iter().any(|k| ctx.facts.any(k));
            let (file, platform) = SERVERLESS.iter().find(|(name, _)| repo.files.iter().any(|f| f.path == *name))?;
            (!own).then(|| {
                Outcome::skip("serverless", format!("{file}: {platform} runs the code, there is no CPU to watch"))
            })
        }
        _ => None,
    }
}

/// Does the rule's text speak of the family?
fn mentions(family: Family, rule: &Rule) -> bool {
    let text = format!("{} {}", rule.name, rule.text).to_lowercase();
    let words: &[&str] = match family {
        Family::Errors => &["5xx", "5..", "50.", "\"500\""],
        Family::Cpu => &["cpu"],
        Family::Memory => &["mem", "oom"],
        Family::Backlog => &["queue", "lag", "backlog"],
    };
    words.iter().any(|w| text.contains(w))
}

/// Rules that might serve, had they been readable.
fn unreadable(family: Family, found: &Found) -> Option<Outcome> {
    if let Some((file, line, why)) = found.unreadable.first() {
        let finding = Finding::new("unreadable-rules", Severity::High, why.clone())
            .at(file, *line, 1)
            .fix("mend the file: promtool check rules names every mistake");
        let message = format!("{} could not be read: {why}", count(found.unreadable.len(), "rule file"));
        return Some(Outcome::error("unreadable-rules", message).hint(finding.fix.clone()).findings(vec![finding]));
    }
    let broken: Vec<&Rule> =
        found.alerts.iter().filter(|r| r.expr.is_err() && mentions(family, r) && !is_logql(&r.text)).collect();
    if let Some(rule) = broken.first() {
        let why = rule.expr.as_ref().err().cloned().unwrap_or_default();
        let message = format!("\"{}\" is no PromQL: {why}", rule.name);
        let finding = Finding::new("unreadable-rules", Severity::High, message.clone())
            .at(&rule.file, rule.line, 1)
            .fix("hypercare rules check FILE shows the place");
        return Some(Outcome::error("unreadable-rules", message).hint(finding.fix.clone()).findings(vec![finding]));
    }
    // Beside rendered rules they are most likely their source.
    let file = found.jsonnet.first().filter(|_| found.alerts.is_empty())?;
    let message =
        format!("rules are written in jsonnet ({}), which is not rendered here", count(found.jsonnet.len(), "file"));
    let finding = Finding::new("jsonnet", Severity::Medium, message.clone())
        .in_file(file)
        .fix("commit the rendered rules, or set prometheus in [gates.monitoring.alerts]");
    Some(Outcome::error("not-rendered", message).hint(finding.fix.clone()).findings(vec![finding]))
}

/// Loki's rules have the same form and another language.
fn is_logql(text: &str) -> bool {
    ["|=", "|~", "| json", "| logfmt", "!= `", "|json", "count_over_time({", "rate({"].iter().any(|w| text.contains(w))
}

/// Does a rule of the repository name it?
fn metric_is_seen(found: &Found, metric: &str) -> bool {
    let exprs = found.alerts.iter().filter_map(|r| r.expr.as_ref().ok());
    let mut exprs = exprs.chain(found.records.values().flatten().map(|r| &r.expr));
    let base = metric.strip_suffix("_count").unwrap_or(metric);
    exprs.any(|e| e.selectors().iter().any(|s| name_of(s).is_some_and(|n| n.starts_with(base))))
}

/// A rule to start from, on a metric that the product has.
fn suggestion(ctx: &GateContext, family: Family, found: &Found) -> String {
    let known = |wanted: fn(Role) -> bool| {
        let exprs = found.alerts.iter().filter_map(|r| r.expr.as_ref().ok());
        let exprs = exprs.chain(found.records.values().flatten().map(|r| &r.expr));
        let selectors = exprs.flat_map(|e| e.selectors());
        selectors.filter_map(|s| name_of(&s).filter(|n| wanted(role(n, &s, None)))).next()
    };
    let fact = |value: &str| ctx.facts.has("metrics", value);
    let (metric, rule) = match family {
        Family::Errors => {
            let plain = |name: &String| !name.contains(':') && name.contains("request") && !name.contains("grafana");
            let metric = known(|r| r == Role::Requests).filter(plain).unwrap_or_else(|| {
                let guess =
                    if fact("micrometer") { "http_server_requests_seconds_count" } else { "http_requests_total" };
                guess.into()
            });
            let metric = metric.strip_suffix("_bucket").map_or(metric.clone(), |base| format!("{base}_count"));
            // What OpenTelemetry calls it.
            let label = if metric.contains("server_request_duration") { "http_response_status_code" } else { "status" };
            let rule = format!("sum(rate({metric}{{{label}=~\"5..\"}}[5m])) / sum(rate({metric}[5m])) > 0.05");
            (metric, rule)
        }
        Family::Cpu => {
            let container = ctx.facts.any("kubernetes");
            let metric = if container { "container_cpu_usage_seconds_total" } else { "node_cpu_seconds_total" };
            let rule = match container {
                true => {
                    "sum by (pod) (rate(container_cpu_usage_seconds_total[5m])) / sum by (pod) (kube_pod_container_resource_limits{resource=\"cpu\"}) > 0.8"
                }
                false => "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 0.8",
            };
            (metric.to_string(), rule.to_string())
        }
        Family::Memory => {
            let metric = "node_memory_MemAvailable_bytes".to_string();
            let rule = format!("1 - {metric} / node_memory_MemTotal_bytes > 0.9");
            (metric, rule)
        }
        Family::Backlog => {
            let metric = known(|r| r == Role::QueueLength).unwrap_or_else(|| {
                match ctx.facts.of("queue").next().map(|f| f.value.as_str()) {
                    Some("rabbitmq") => "rabbitmq_queue_messages_ready",
                    Some("kafka") => "kafka_consumergroup_lag",
                    Some("bullmq") => "bullmq_queue_waiting_jobs",
                    Some("sidekiq") => "sidekiq_queue_size",
                    Some("celery") => "celery_queue_length",
                    _ => "queue_length",
                }
                .into()
            });
            let rule = format!("{metric} > 100 and deriv({metric}[10m]) > 0");
            (metric, rule)
        }
    };
    // A library that counts says nothing of what the machine's exporter is called.
    let seen = metric_is_seen(found, &metric);
    let counts = family == Family::Errors && ctx.facts.any("metrics");
    let own = seen || counts;
    let whose = if own { "for your metric" } else { "on a metric such as" };
    format!("a rule {whose} {metric}: {rule}, for: 5m")
}
