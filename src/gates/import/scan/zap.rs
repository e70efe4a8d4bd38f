//! ZAP's traditional reports, JSON and XML. Its numbers are strings: risk 0 to 3, confidence 0 (a false positive) to 4.
//! Instances may be listed in part while `count` tells all. A baseline scan is passive: unless an active rule fired, the
//! report proves nothing about injection, and says so.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Found, Scan, Standing, address};
use crate::domain::verdict::Severity;
use crate::gates::import::xml::{Step, walk};
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "@version")]
    version: Option<String>,
    site: Vec<Site>,
}

#[derive(Deserialize)]
struct Site {
    #[serde(default)]
    alerts: Vec<Alert>,
}

#[derive(Debug, Default, Deserialize)]
struct Alert {
    #[serde(default)]
    pluginid: String,
    #[serde(default)]
    name: String,
    riskcode: String,
    confidence: String,
    #[serde(default)]
    count: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Debug, Default, Deserialize)]
struct Instance {
    #[serde(default)]
    uri: String,
    #[serde(default)]
    method: String,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return xml(text);
    }
    let report: Report = json::read(text)?;
    if report.site.is_empty() {
        return Err(ImportError::Empty("site"));
    }
    scan(report.version.as_deref(), report.site.into_iter().flat_map(|s| s.alerts))
}

fn xml(text: &str) -> Result<Scan, ImportError> {
    let (mut version, mut sites) = (None, 0_u64);
    let mut alerts: Vec<Alert> = Vec::new();
    let mut alert: Option<Alert> = None;
    let mut words = String::new();
    walk(text, |path, step| {
        match step {
            Step::Open { name, attributes } => {
                words.clear();
                match name {
                    "OWASPZAPReport" => version = attributes.get("version").cloned(),
                    _ if path.len() == 1 => return Err("the root element is not <OWASPZAPReport>".into()),
                    "site" => sites += 1,
                    "alertitem" => alert = Some(Alert::default()),
                    "instance" => alert.iter_mut().for_each(|a| a.instances.push(Instance::default())),
                    _ => {}
                }
            }
            Step::Text(text) => words.push_str(text),
            Step::Close { name } => {
                let Some(open) = &mut alert else { return Ok(()) };
                let said = words.trim().to_string();
                let last = open.instances.last_mut();
                match (name, last) {
                    ("pluginid", _) => open.pluginid = said,
                    ("name", _) => open.name = said,
                    ("riskcode", _) => open.riskcode = said,
                    ("confidence", _) => open.confidence = said,
                    ("count", _) => open.count = said,
                    ("uri", Some(instance)) => instance.uri = said,
                    ("method", Some(instance)) => instance.method = said,
                    ("alertitem", _) => alerts.extend(alert.take()),
                    _ => {}
                }
                words.clear();
            }
        }
        Ok(())
    })?;
    if sites == 0 {
        return Err(ImportError::Empty("<site>"));
    }
    scan(version.as_deref(), alerts.into_iter())
}

fn scan(version: Option<&str>, alerts: impl Iterator<Item = Alert>) -> Result<Scan, ImportError> {
    let (mut findings, mut unlisted, mut active) = (Vec::new(), 0, false);
    for alert in alerts {
        let number = |text: &str, max: u64| text.trim().parse::<u64>().ok().filter(|n| *n <= max);
        let (Some(risk), Some(confidence)) = (number(&alert.riskcode, 3), number(&alert.confidence, 4)) else {
            return Err(ImportError::at(1, "an alert without riskcode 0 to 3 and confidence 0 to 4"));
        };
        let severity = [Severity::Info, Severity::Low, Severity::Medium, Severity::High][risk as usize];
        let standing = if confidence == 0 { Standing::FalsePositive } else { Standing::Open };
        // Passive rules have the numbers from 10000 to 19999.
        active |= alert.pluginid.trim().parse::<u64>().is_ok_and(|id| !(10_000..20_000).contains(&id) && id > 2);
        let listed = alert.instances.len() as u64;
        unlisted += number(&alert.count, u64::MAX).unwrap_or(listed).saturating_sub(listed);
        let found = |place: Option<String>| {
            let out = Found::new(&alert.pluginid, severity, &alert.name).standing(standing);
            if let Some(place) = place { out.place(place) } else { out }
        };
        if alert.instances.is_empty() {
            findings.push(found(None));
        }
        let places: BTreeMap<String, ()> = alert
            .instances
            .iter()
            .map(|i| (format!("{} {}", i.method, address(&i.uri)).trim().to_string(), ()))
            .collect();
        findings.extend(places.into_keys().map(|place| found(Some(place))));
    }
    let mut scan = Scan::new("ZAP", version, findings);
    scan.unlisted += unlisted;
    if !active {
        scan.limits.push("no active rule fired: a passive scan proves nothing about injection".into());
    }
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;
    use crate::gates::import::cuts;

    const JSON: &str = r#"{"@programName": "ZAP", "@version": "2.15.0", "site": [{"@name": "https://shop.io", "alerts": [
      {"pluginid": "10038", "alertRef": "10038-1", "alert": "CSP", "name": "CSP not set", "riskcode": "2", "confidence": "3", "count": "5",
       "instances": [{"uri": "https://shop.io/?token=hunter2hunter2", "method": "GET", "param": "", "evidence": "hunter2hunter2"}, {"uri": "https://u:hunter2@shop.io/a", "method": "GET"}]},
      {"pluginid": "40018", "name": "SQL Injection", "riskcode": "3", "confidence": "0", "count": "1", "instances": []}]}]}"#;
    const XML: &str = r#"<?xml version="1.0"?><OWASPZAPReport programName="ZAP" version="2.15.0"><site name="https://shop.io" host="shop.io"><alerts>
      <alertitem><pluginid>10020</pluginid><alert>A</alert><name>Missing header</name><riskcode>1</riskcode><confidence>2</confidence><desc>&lt;p&gt;x</desc>
      <instances><instance><uri>https://shop.io/b?x=1</uri><method>GET</method></instance></instances><count>3</count></alertitem></alerts></site></OWASPZAPReport>"#;

    #[test]
    fn contract_numbers_are_strings() {
        let scan = parse(JSON).unwrap();
        let rows: Vec<_> =
            scan.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.standing, f.place.as_deref())).collect();
        assert_eq!(
            rows,
            [
                ("10038", Severity::Medium, Standing::Open, Some("GET https://shop.io/")),
                ("10038", Severity::Medium, Standing::Open, Some("GET https://shop.io/a")),
                ("40018", Severity::High, Standing::FalsePositive, None),
            ]
        );
        assert_eq!((scan.unlisted, scan.limits.len()), (4, 0));
        tells_nothing(&scan, &["hunter2"]);
        let scan = parse(XML).unwrap();
        assert_eq!(
            (scan.findings[0].severity, scan.findings[0].place.as_deref()),
            (Severity::Low, Some("GET https://shop.io/b"))
        );
        assert_eq!((scan.unlisted, scan.limits.len(), scan.version.as_deref()), (2, 1, Some("2.15.0")));
        for bad in [
            "{}",
            r#"{"site": []}"#,
            "<a/>",
            "<OWASPZAPReport/>",
            r#"{"site": [{"alerts": [{"riskcode": "9", "confidence": "1"}]}]}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..JSON.len(), there in 0..XML.len()) {
            cuts::refused(JSON, at, parse)?;
            cuts::refused(XML, there, parse)?;
        }
    }
}
