//! The room as a whole, over a real store.

use std::time::Duration;

use super::story::{Plot, Story};
use super::*;
use crate::domain::incident::Incident;
use crate::domain::marker::MarkerKind;
use crate::domain::metric::{LabelledSample, Labels, NAME, Sample};
use crate::domain::notification::MessageKind;
use crate::store::state::alerts::AlertingCommit;

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

/// Equal bytes; says the first line that differs, as whole documents help nobody.
fn same(a: &Rendered, b: &Rendered) {
    for (a, b) in [(&a.md, &b.md), (&a.json, &b.json), (&a.html, &b.html)] {
        if let Some((a, b)) = a.lines().zip(b.lines()).find(|(a, b)| a != b) {
            panic!("{}\n---\n{}", &a[..a.len().min(400)], &b[..b.len().min(400)]);
        }
        assert_eq!(a.len(), b.len());
    }
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
    same(&first.report, &second.report);
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

async fn as_of(story: &Story, share: f64) -> Documents {
    documents(&story.store, &story.inputs(story.share(share))).await.unwrap()
}

#[tokio::test]
async fn a_report_made_in_the_middle_can_be_made_again_later() {
    let story = Story::live(Plot::Broken, DAY, MINUTE).await;
    let early = as_of(&story, 0.61).await;
    look("early", &early);
    assert!(early.model.verdict.so_far && early.report.html.contains("so far"));
    assert!(early.model.incidents.rows[0].to.is_none(), "its end lies in the future of this report");
    assert!(early.model.risks.iter().any(|r| r.text.contains("still fires")));
    // The world goes on: later markers, feedback, moves, gaps and audit rows are none of its business.
    story.store.state.add_marker(story.marker(MarkerKind::Deploy, story.share(0.7), "v1.4.1")).await.unwrap();
    story.walk(&[LaunchState::Hypercare, LaunchState::RolledBack]).await;
    story.store.state.audit(story.share(0.9), "bo", "note", "shop", None).await.unwrap();
    same(&as_of(&story, 0.61).await.report, &early.report);
    let late = as_of(&story, 1.0).await;
    assert!(late.model.verdict.reasons.iter().any(|r| r.rule == "rolled_back"), "{:#?}", late.model.verdict);
    assert!(late.postmortem.unwrap().md.contains("rolled back"));
}

#[tokio::test]
async fn one_minute_after_go_live_there_is_little_to_say_and_it_is_said() {
    let story = Story::live(Plot::Healthy, DAY, Duration::from_secs(15)).await;
    let inputs = story.inputs(story.t0.plus(MINUTE));
    let made = documents(&story.store, &inputs).await.unwrap();
    look("minute", &made);
    assert_eq!(made.model.window, "1 min of 24 h");
    assert!(made.model.verdict.so_far);
    for row in &made.model.compare.rows {
        assert_eq!(row.verdict, "insufficient", "{row:?}");
        assert!(!row.note.is_empty());
    }
    let at_once = documents(&story.store, &story.inputs(story.t0)).await.unwrap();
    assert_eq!(at_once.verdict, Word::Unknown);
    assert!(matches!(
        documents(&story.store, &story.inputs(story.t0.minus(MINUTE))).await,
        Err(ReportError::TooEarly { .. })
    ));
    let mut other = inputs;
    other.launch = "nope".into();
    assert!(matches!(documents(&story.store, &other).await, Err(ReportError::NoLaunch(_))));
}

#[tokio::test]
async fn without_samples_baseline_objectives_or_feedback_the_verdict_is_unknown() {
    let story = Story::planned(Timestamp::parse("2026-11-22T09:30:00Z").unwrap(), DAY, MINUTE).await;
    let not_live = documents(&story.store, &story.inputs(story.t0)).await;
    assert!(matches!(not_live, Err(ReportError::NotLive { state: LaunchState::Planned, .. })));
    story.walk(&[LaunchState::Gating, LaunchState::AwaitingDecision, LaunchState::Cleared, LaunchState::Live]).await;
    let mut inputs = story.inputs(story.share(1.0));
    inputs.slos.clear();
    let made = documents(&story.store, &inputs).await.unwrap();
    look("empty", &made);
    assert_eq!(made.verdict, Word::Unknown);
    safe(&made.report.html);
    for tile in &made.model.scorecard.tiles {
        assert_eq!(tile.now.value, None, "missing is not zero: {tile:?}");
    }
    assert!(made.model.compare.sentence.contains("No baseline"));
    assert!(made.model.feedback.sentence.contains("No feedback source"));
}

#[tokio::test]
async fn no_traffic_is_neither_good_nor_bad() {
    let story = Story::planned(Timestamp::parse("2026-11-22T09:30:00Z").unwrap(), DAY, MINUTE).await;
    let labels = |name: &str| Labels::new([(NAME, name), ("service", "shop"), ("job", "shop"), ("code", "200")]);
    let batch = (-60..=1440).flat_map(|m| {
        let t = story.t0.plus(DAY).minus(MINUTE * 1440).ms() + m * 60_000;
        let at = |v| Sample { t: Timestamp::from_ms(t), v };
        [
            LabelledSample { labels: labels("http_requests_total"), sample: at(7.0) },
            LabelledSample { labels: labels("up"), sample: at(1.0) },
        ]
    });
    story.store.samples.append(batch.collect()).await.unwrap();
    story.walk(&[LaunchState::Gating, LaunchState::AwaitingDecision, LaunchState::Cleared, LaunchState::Live]).await;
    let made = as_of(&story, 1.0).await;
    let tile = |id: &str| made.model.scorecard.tiles.iter().find(|t| t.id == id).unwrap();
    assert_eq!(tile("traffic").word, "no traffic");
    assert_eq!(tile("errors").now.value, None, "no request is no error ratio");
    assert_eq!(made.model.slo[0].met, None);
    assert!(made.model.charts.iter().any(|c| c.title == "Traffic stayed at zero"));
    assert_ne!(made.verdict, Word::Red);
}

#[tokio::test]
async fn hostile_words_stay_words_everywhere() {
    const EVIL: &str = "</svg><script>alert(1)</script>\u{202e}\u{1b}[31m\"'><img src=x onerror=y> | [x](javascript:1) {{ 7*7 }} [[HUMAN:evil | ?]]";
    let story = Story::live(Plot::Broken, DAY, MINUTE).await;
    story.store.state.add_marker(story.marker(MarkerKind::Deploy, story.share(0.2), EVIL)).await.unwrap();
    story.store.state.add_marker(story.marker(MarkerKind::Note, story.share(0.61), EVIL)).await.unwrap();
    let mut commit = AlertingCommit::default();
    commit.transitions.extend(story.transitions(EVIL, "critical", 0.4, None, EVIL));
    commit.incidents.push(Incident {
        id: 0,
        service: "shop".into(),
        title: EVIL.into(),
        sev: 1,
        opened_at: story.share(0.4),
        closed_at: None,
        episodes: vec![],
        opened_by: EVIL.into(),
    });
    story.store.state.commit_alerting(commit).await.unwrap();
    let mut inputs = story.inputs(story.share(1.0));
    inputs.service_config.owner = Some(EVIL.into());
    let made = documents(&story.store, &inputs).await.unwrap();
    let draft = made.postmortem.as_ref().unwrap();
    for html in [&made.report.html, &draft.html, &mail_html(&made.model).unwrap()] {
        let lower = html.to_lowercase();
        for bad in ["<script", "<img", "\u{202e}", "\u{1b}"] {
            assert!(!lower.contains(bad), "{bad}");
        }
    }
    for md in [&made.report.md, &draft.md] {
        assert!(!md.contains("<script") && !md.contains("[x](") && !md.contains('\u{1b}'));
    }
    assert_eq!((lint::lint(&draft.md).len(), lint::lint(&draft.html).len()), (9, 9));
    serde_json::from_str::<serde_json::Value>(&made.report.json).unwrap();
}

#[tokio::test]
async fn a_demo_of_ninety_seconds_is_judged_by_the_same_code() {
    let story = Story::live(Plot::Broken, Duration::from_secs(900), Duration::from_secs(1)).await;
    let made = as_of(&story, 1.0).await;
    look("demo", &made);
    safe(&made.report.html);
    assert!(!made.model.verdict.so_far);
    assert!(made.model.compare.rows.iter().any(|r| r.verdict == "same"), "{:#?}", made.model.compare.rows);
}

#[tokio::test]
async fn stored_documents_are_announced_once_and_attached_by_reference() {
    let story = Story::live(Plot::Broken, DAY, MINUTE).await;
    let made = as_of(&story, 1.0).await;
    let context = NoticeContext {
        channels: vec!["leads".into(), "cto".into()],
        formats: vec!["html".into()],
        now: story.share(1.0),
    };
    for _ in 0..2 {
        let rows = stored(&made, story.share(1.0));
        assert_eq!(rows.len(), 6);
        let notices = notices(&made, &rows, &context).unwrap();
        story.store.state.save_reports(rows, notices).await.unwrap();
    }
    let queued = story.store.state.outbox(None, 100).await.unwrap();
    let ready: Vec<_> = queued.iter().filter(|r| r.new.message.kind == MessageKind::ReportReady).collect();
    assert_eq!(ready.len(), 2, "once per channel however often it is saved");
    let message = &ready[0].new.message;
    let names: Vec<&str> = message.attachments.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["report.html", "postmortem.html"]);
    for (attachment, text) in
        message.attachments.iter().zip([&made.report.html, &made.postmortem.as_ref().unwrap().html])
    {
        let kept = story.store.state.report(attachment.report).await.unwrap().unwrap();
        assert_eq!(kept.bytes, text.as_bytes());
    }
    assert_eq!(message.title, "[shop] Go-live report v1.4.0: RED");
    assert!(message.body.starts_with("RED · shop v1.4.0 · 24 h"), "{}", message.body);
    // Its own announcement is younger than the report: making it again changes nothing.
    same(&as_of(&story, 1.0).await.report, &made.report);
}
