//! What a Prometheus server says about one of its targets: `/api/v1/targets`, read defensively. Pure.

use serde_json::Value as Json;
use url::Url;

use crate::domain::clock::Timestamp;

/// A scrape target as Prometheus sees it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ScrapeTarget {
    pub url: String,
    pub up: bool,
    /// Empty when the last scrape went well.
    pub last_error: String,
    pub last_scrape: Option<Timestamp>,
    pub interval_s: Option<f64>,
}

/// The target that scrapes `endpoint`: same port and path, and the same host unless Prometheus knows it by another name.
/// `Err` when the body is no answer of this API.
pub fn target_of(body: &str, endpoint: &Url) -> Result<Option<ScrapeTarget>, String> {
    let json: Json = serde_json::from_str(body).map_err(|e| format!("no JSON at line {}", e.line()))?;
    let active = json["data"]["activeTargets"].as_array().ok_or("no data.activeTargets in the answer")?;
    let text = |value: &Json| {
        value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect::<String>()
    };
    let mut same_path = Vec::new();
    for target in active {
        let Ok(url) = Url::parse(target["scrapeUrl"].as_str().unwrap_or_default()) else { continue };
        if url.port_or_known_default() != endpoint.port_or_known_default() || url.path() != endpoint.path() {
            continue;
        }
        let found = ScrapeTarget {
            url: text(&target["scrapeUrl"]),
            up: target["health"] == "up",
            last_error: text(&target["lastError"]),
            last_scrape: target["lastScrape"].as_str().and_then(Timestamp::parse),
            interval_s: target["scrapeInterval"]
                .as_str()
                .and_then(|t| t.parse::<crate::domain::units::Span>().ok())
                .map(|s| s.get().as_secs_f64()),
        };
        if url.host() == endpoint.host() {
            return Ok(Some(found));
        }
        same_path.push(found);
    }
    // Inside a cluster the host has another name; with one candidate there is no doubt which it is.
    Ok(if same_path.len() == 1 { same_path.pop() } else { None })
}

impl ScrapeTarget {
    /// Why the target is not well; `None` when it is.
    pub fn trouble(&self, now: Timestamp) -> Option<String> {
        if !self.up {
            return Some(format!("{} is down: {}", self.url, self.last_error));
        }
        if !self.last_error.is_empty() {
            return Some(format!("{}: {}", self.url, self.last_error));
        }
        let age = now.since(self.last_scrape?).as_secs_f64();
        let limit = 2.0 * self.interval_s?;
        (age > limit).then(|| format!("{} was scraped {age:.0} s ago, twice its interval is {limit:.0} s", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(url: &str, health: &str, error: &str, last: &str) -> String {
        serde_json::json!({"status": "success", "data": {"activeTargets": [{
            "scrapeUrl": url, "health": health, "lastError": error, "lastScrape": last, "scrapeInterval": "15s",
        }]}})
        .to_string()
    }

    #[test]
    fn finds_the_target_and_its_trouble() {
        let endpoint = Url::parse("http://127.0.0.1:9100/metrics").unwrap();
        let now = Timestamp::parse("2026-11-22T10:00:30Z").unwrap();
        let of = |url, health, error, last| target_of(&body(url, health, error, last), &endpoint).unwrap();
        let at = "2026-11-22T10:00:20.5Z";
        let good = of("http://127.0.0.1:9100/metrics", "up", "", at).unwrap();
        assert_eq!((good.trouble(now), good.interval_s), (None, Some(15.0)));
        assert!(
            of("http://shop:9100/metrics", "down", "refused", at).unwrap().trouble(now).unwrap().contains("refused")
        );
        let old = of("http://shop:9100/metrics", "up", "", "2026-11-22T09:59:00Z").unwrap();
        assert!(old.trouble(now).unwrap().contains("90 s ago"));
        assert_eq!(of("http://127.0.0.1:9101/metrics", "up", "", at), None);
        assert!(target_of("<html>", &endpoint).is_err() && target_of("{}", &endpoint).is_err());
    }
}
