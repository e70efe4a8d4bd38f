//! From documents to rows: what the store keeps, and what the outbox carries to the stakeholders. Nothing is sent here.

use std::time::Duration;

use super::model::{ReportModel, Word};
use super::{Documents, ReportError, render};
use crate::domain::alert::{AlertSeverity, NotifyReason};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::notification::{Attachment, Fact, Message, MessageKind, NewOutbox};
use crate::store::state::reports::{Notices, StoredReport};

/// A report is worth delivering late, but not after the next day's work has begun without it.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// Gmail clips bodies above 102 KB; headers and encoding take their part.
pub const MAIL_BYTES_MAX: usize = 90 * 1024;

/// Who hears of a report, and how.
#[derive(Debug, Clone)]
pub struct NoticeContext {
    pub channels: Vec<String>,
    /// `html`, `md`, `json`: which documents are attached.
    pub formats: Vec<String>,
    pub now: Timestamp,
}

/// The documents as rows for `save_reports`: report first, then the postmortem; html, md, json each.
pub fn stored(documents: &Documents, made_at: Timestamp) -> Vec<StoredReport> {
    let model = &documents.model;
    let kinds = [("go_live", Some(&documents.report)), ("postmortem", documents.postmortem.as_ref())];
    kinds
        .into_iter()
        .filter_map(|(kind, rendered)| rendered.map(|r| (kind, r)))
        .flat_map(|(kind, r)| {
            [("html", &r.html), ("md", &r.md), ("json", &r.json)].map(|(format, text)| StoredReport {
                id: 0,
                launch: model.launch.clone(),
                kind: kind.into(),
                format: format.into(),
                as_of: model.as_of.at,
                input_hash: model.input_hash.clone(),
                bytes_hash: sha256_hex(text.as_bytes()),
                bytes: text.clone().into_bytes(),
                made_at,
            })
        })
        .collect()
}

/// One `report.ready` message per channel, with the documents attached by reference. Keyed by launch and `as_of`, so that
/// it is sent once however often it is enqueued. Call with the same `reports` that go to `save_reports`.
pub fn notices(
    documents: &Documents,
    reports: &[StoredReport],
    context: &NoticeContext,
) -> Result<Notices, ReportError> {
    let model = &documents.model;
    let message = message(documents, context.now)?;
    let group_key = format!("report:{}:{}", model.launch, model.as_of.at.ms());
    let files: Vec<(usize, String, &'static str)> = reports
        .iter()
        .enumerate()
        .filter(|(_, r)| context.formats.contains(&r.format))
        .map(|(i, r)| {
            let stem = if r.kind == "postmortem" { "postmortem" } else { "report" };
            let mime = match r.format.as_str() {
                "html" => "text/html; charset=utf-8",
                "json" => "application/json",
                _ => "text/markdown; charset=utf-8",
            };
            (i, format!("{stem}.{}", r.format), mime)
        })
        .collect();
    let context = context.clone();
    let priority = message.severity;
    Ok(Box::new(move |ids: &[i64]| {
        let attachments: Vec<Attachment> = files
            .iter()
            .filter_map(|(i, name, mime)| {
                Some(Attachment { name: name.clone(), mime: (*mime).into(), report: *ids.get(*i)? })
            })
            .collect();
        context
            .channels
            .iter()
            .map(|channel| NewOutbox {
                id: uuid::Uuid::now_v7().to_string(),
                channel: channel.clone(),
                group_key: group_key.clone(),
                seq: 1,
                reason: NotifyReason::None,
                priority,
                message: Message { attachments: attachments.clone(), ..message.clone() },
                not_before: context.now,
                give_up_at: context.now.plus(GIVE_UP),
                failover: None,
                enqueued_at: context.now,
            })
            .collect()
    }))
}

fn message(documents: &Documents, now: Timestamp) -> Result<Message, ReportError> {
    let model = &documents.model;
    let version = model.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let mut facts = vec![Fact::new("verdict", format!("{}: {}", model.verdict.title, model.verdict.sentence))];
    facts.extend(model.scorecard.tiles.iter().map(|t| {
        let before = t.before.as_ref().map(|b| format!(", before {}", b.text)).unwrap_or_default();
        Fact::new(t.title.to_lowercase(), format!("{}{before} ({})", t.now.text, t.word))
    }));
    Ok(Message {
        kind: MessageKind::ReportReady,
        service: model.service.clone(),
        severity: if model.verdict.word == Word::Red { AlertSeverity::Warning } else { AlertSeverity::Info },
        title: format!(
            "[{}] {} report{version}: {}",
            model.service,
            if model.verdict.so_far { "Interim" } else { "Go-live" },
            model.verdict.title
        ),
        headline: format!("{} · {}{version} · {}", model.verdict.title, model.service, model.window),
        facts,
        alerts: Vec::new(),
        runbook: None,
        rollback: None,
        thread: None,
        created_at: now,
        timezone: model.timezone.clone(),
        body: mail_text(model)?,
        html: Some(mail_html(model)?),
        attachments: Vec::new(),
        data: serde_json::json!({
            "launch": model.launch,
            "version": model.version,
            "as_of": model.as_of.utc,
            "verdict": model.verdict.word,
            "sentence": model.verdict.sentence,
            "reasons": model.verdict.reasons,
            "postmortem": model.has_postmortem,
            "input_hash": model.input_hash,
        }),
    })
}

/// The mail's body: verdict, tiles, what happened. Inline styles, at most [`MAIL_BYTES_MAX`].
pub fn mail_html(model: &ReportModel) -> Result<String, ReportError> {
    let html = render::mail(model, false)?;
    if html.len() <= MAIL_BYTES_MAX {
        return Ok(html);
    }
    // Texts from outside made it long; the attachment has them all.
    let mut short = model.clone();
    short.happened.truncate(5);
    for line in &mut short.happened {
        line.text = line.text.chars().take(300).collect();
    }
    short.verdict.reasons.truncate(3);
    short.verdict.sentence = short.verdict.sentence.chars().take(500).collect();
    render::mail(&short, false)
}

/// The same as plain text.
pub fn mail_text(model: &ReportModel) -> Result<String, ReportError> {
    render::mail(model, true)
}
