//! The room as a whole, over a real store.

use std::time::Duration;

use super::story::{Plot, Story};
use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// Written where a person can look at them: `HYPERCARE_LOOK=/tmp/look cargo test report::tests`.
fn look(name: &str, documents: &Documents) {
    let Some(dir) = std::env::var_os("HYPERCARE_LOOK") else { return };
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).unwrap();
    for (kind, rendered) in [("report", Some(&documents.report)), ("postmortem", documents.postmortem.as_ref())] {
        let Some(r) = rendered else { continue };
        for (ext, text) in [("html", &r.html), ("md", &r.md), ("json", &r.json)] {
            std::fs::write(dir.join(format!("{name}-{kind}.{ext}")), text).unwrap();
        }
    }
    std::fs::write(dir.join(format!("{name}-mail.html")), mail_html(&documents.model).unwrap()).unwrap();
    std::fs::write(dir.join(format!("{name}-mail.txt")), mail_text(&documents.model).unwrap()).unwrap();
}

/// No script, no handler, nothing that reaches outside; tags well balanced where SVG is concerned.
fn safe(html: &str) {
    let lower = html.to_lowercase();
    for bad in [
        "<script",
        "javascript:",
        "onload=",
        "onerror=",
        "<iframe",
        "<img",
        "src=",
        "@import",
        "url(http",
        "<link",
        "NaN",
        "undefined",
    ] {
        assert!(!lower.contains(&bad.to_lowercase()), "{bad}");
    }
    for part in html.split("href=\"").skip(1) {
        let target = part.split('"').next().unwrap();
        assert!(target.starts_with('#') || target.starts_with("https://store.example/"), "{target}");
    }
}

#[tokio::test]
async fn a_healthy_day_is_green_and_its_bytes_are_the_same_twice() {
    let story = Story::live(Plot::Healthy, DAY, MINUTE).await;
    let inputs = story.inputs(story.share(1.0));
    let first = documents(&story.store, &inputs).await.unwrap();
    look("healthy", &first);
    assert_eq!(first.verdict, Word::Green, "{:#?}", first.model.verdict);
    assert!(first.postmortem.is_none() && !first.model.verdict.so_far);
    let second = documents(&story.store, &inputs).await.unwrap();
    assert_eq!(first.report, second.report);
    assert_eq!(first.model.input_hash, second.model.input_hash);
    safe(&first.report.html);
    let slo = &first.model.slo[0];
    assert!(slo.compliance.value.unwrap() > 0.999 && slo.met == Some(true), "{slo:?}");
    for row in &first.model.compare.rows {
        assert_eq!(row.verdict, "same", "{row:?}");
    }
}

#[tokio::test]
async fn a_broken_day_is_red_and_leaves_a_postmortem() {
    let story = Story::live(Plot::Broken, DAY, MINUTE).await;
    let inputs = story.inputs(story.share(1.0));
    let made = documents(&story.store, &inputs).await.unwrap();
    look("broken", &made);
    assert_eq!(made.verdict, Word::Red, "{:#?}", made.model.verdict);
    safe(&made.report.html);
    let incident = &made.model.incidents.rows[0];
    assert!(incident.nearest_change.as_deref().unwrap().contains("config payment timeout"), "{incident:?}");
    assert!((incident.facts.duration.as_secs() as i64 - 36 * 60).abs() <= 240, "{:?}", incident.facts);
    assert!(incident.facts.failed_requests.unwrap() > 1000.0);
    assert!(incident.facts.mttd.is_some());
    assert_eq!(made.model.hindsight.waivers_came_true, 1);
    assert!(made.model.risks.iter().any(|r| r.text.contains("never reached sms")));
    let draft = made.postmortem.as_ref().unwrap();
    safe(&draft.html);
    assert_eq!(lint::lint(&draft.md).len(), 9);
    assert_eq!(lint::lint(&draft.html).len(), 9, "text from outside opens no block");
    assert!(!made.report.html.contains("<b>every</b>") && made.report.html.contains("&lt;b&gt;every"));
    assert!(made.report.html.contains("{{ 7*7 }}"), "what users write is never a template");
    let mail = mail_html(&made.model).unwrap();
    assert!(mail.len() < deliver::MAIL_BYTES_MAX && !mail.contains("var(--"), "{}", mail.len());
}
