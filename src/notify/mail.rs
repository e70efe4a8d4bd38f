//! Composes the mail of one outbox row: headers that thread, identify and keep robots quiet; text and HTML; attachments.
//! Pure given the rendered parts; `smtp.rs` carries it.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

use super::channel::AttachedFile;
use super::message::{subject, tidy_line};
use crate::domain::notification::OutboxRow;

/// Everything a mail is made of.
pub struct Draft<'a> {
    pub row: &'a OutboxRow,
    pub from: &'a Mailbox,
    pub to: &'a [Mailbox],
    pub text: String,
    pub html: Option<String>,
    pub files: &'a [AttachedFile],
}

/// The row's own Message-ID, the same on every try. The first message of a thread is its root and carries the root's.
pub fn message_id(row: &OutboxRow, from: &Mailbox) -> String {
    match &row.new.message.thread {
        Some(thread) if thread.root => root_id(&thread.key, row, from),
        _ => format!("<{}@{}>", id_part(&row.new.id), from.email.domain()),
    }
}

fn root_id(key: &str, row: &OutboxRow, from: &Mailbox) -> String {
    format!("<{}.{}@{}>", id_part(key), id_part(&row.new.channel), from.email.domain())
}

/// Only what RFC 5322 allows left of the `@` without quotes.
fn id_part(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect()
}

/// The whole message as sent after DATA. The error is a fragment for `outbox show`.
pub fn compose(draft: &Draft<'_>) -> Result<Vec<u8>, String> {
    let row = draft.row;
    let message = &row.new.message;
    let enqueued = UNIX_EPOCH + Duration::from_millis(row.new.enqueued_at.ms().max(0) as u64);
    let mut builder = lettre::Message::builder()
        .from(draft.from.clone())
        .subject(subject(message))
        .date(enqueued)
        .message_id(Some(message_id(row, draft.from)));
    for to in draft.to {
        builder = builder.to(to.clone());
    }
    if let Some(thread) = message.thread.as_ref().filter(|t| !t.root) {
        let root = root_id(&thread.key, row, draft.from);
        builder = builder.in_reply_to(root.clone()).references(root);
    }
    let mut headers = vec![
        // RFC 3834: nobody's vacation notice should answer, and Exchange listens to the second only.
        ("Auto-Submitted", "auto-generated".to_string()),
        ("X-Auto-Response-Suppress", "All".to_string()),
        ("X-Hypercare-Id", row.new.id.clone()),
    ];
    if let Some(thread) = &message.thread {
        headers.push(("X-Hypercare-Episode", thread.key.clone()));
    }
    for (name, value) in headers {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), tidy_line(&value, 200)));
    }

    let text = SinglePart::plain(draft.text.clone());
    let body = match &draft.html {
        Some(html) => MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(html.clone())),
        None => MultiPart::alternative().singlepart(text),
    };
    let body = match draft.files {
        [] => body,
        files => files.iter().fold(MultiPart::mixed().multipart(body), |mixed, file| {
            let kind = ContentType::parse(&file.mime)
                .or_else(|_| ContentType::parse("application/octet-stream"))
                .unwrap_or(ContentType::TEXT_PLAIN);
            mixed.singlepart(Attachment::new(tidy_line(&file.name, 120)).body(file.bytes.clone(), kind))
        }),
    };
    builder.multipart(body).map(|m| m.formatted()).map_err(|e| format!("the mail cannot be composed: {e}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::message::tests::example;
    use super::*;
    use crate::domain::alert::{AlertSeverity, NotifyReason};
    use crate::domain::notification::{Message, NewOutbox, OutboxState, Thread};

    /// A row of `message` for channel `oncall`, on its first try.
    pub(crate) fn row(message: Message) -> OutboxRow {
        OutboxRow {
            new: NewOutbox {
                id: "0192aaaa-0000-7000-8000-000000000001".into(),
                channel: "oncall".into(),
                group_key: "0{}".into(),
                seq: 1,
                reason: NotifyReason::First,
                priority: AlertSeverity::Critical,
                not_before: message.created_at,
                give_up_at: message.created_at.plus(Duration::from_secs(86_400)),
                failover: None,
                enqueued_at: message.created_at,
                message,
            },
            state: OutboxState::Leased,
            attempts: 1,
            lease_until: None,
            accepted_at: None,
            last_error: None,
            remote_id: None,
        }
    }

    fn composed(message: Message, files: &[AttachedFile]) -> String {
        let row = row(message);
        let from: Mailbox = "hypercare <hypercare@shop.example>".parse().unwrap();
        let to = ["ops@shop.example".parse().unwrap(), "Jörg <j@shop.example>".parse().unwrap()];
        let draft = Draft { row: &row, from: &from, to: &to, text: "text".into(), html: Some("<p>".into()), files };
        String::from_utf8(compose(&draft).unwrap()).unwrap()
    }

    fn header<'a>(mail: &'a str, name: &str) -> Option<&'a str> {
        let head = mail.split("\r\n\r\n").next()?;
        head.split("\r\n").find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn root_and_follower_make_a_thread() {
        let root = composed(example(), &[]);
        let id = "<0192-episode.oncall@shop.example>";
        assert_eq!(header(&root, "Message-ID"), Some(id));
        assert_eq!(header(&root, "Subject"), Some("[checkout] Http5xxHigh"));
        assert_eq!(header(&root, "In-Reply-To"), None);
        assert_eq!(header(&root, "Date"), Some("Sun, 22 Nov 2026 01:14:30 +0000"));
        assert_eq!(header(&root, "Auto-Submitted"), Some("auto-generated"));
        assert_eq!(header(&root, "X-Hypercare-Episode"), Some("0192-episode"));
        assert_eq!(header(&root, "List-Unsubscribe"), None, "a scanner's click must not silence the on-call");

        let mut message = example();
        message.thread = Some(Thread { key: "0192-episode".into(), root: false });
        let follower = composed(message.clone(), &[]);
        assert_eq!(header(&follower, "Message-ID"), Some("<0192aaaa-0000-7000-8000-000000000001@shop.example>"));
        assert_eq!(header(&follower, "In-Reply-To"), Some(id));
        assert_eq!(header(&follower, "References"), Some(id));
        assert_eq!(header(&follower, "Subject"), Some("Re: [checkout] Http5xxHigh"));
        // Parts are separated by random boundaries; what identifies the mail is not.
        assert_eq!(header(&composed(message, &[]), "Message-ID"), header(&follower, "Message-ID"));
    }

    #[test]
    fn nothing_from_outside_makes_a_header() {
        let mut message = example();
        message.title = "a\r\nBcc: evil@example.org\r\n\r\nbody\0".into();
        message.thread = Some(Thread { key: "k\r\nX-Evil: 1@x>".into(), root: true });
        let mail =
            composed(message, &[AttachedFile { name: "a\r\nX-Evil: 1".into(), mime: "no\r\n".into(), bytes: vec![0] }]);
        assert!(!mail.contains("\r\nBcc") && !mail.contains("\r\nX-Evil"), "{mail}");
        assert_eq!(header(&mail, "Message-ID"), Some("<k--X-Evil--1-x-.oncall@shop.example>"));
    }

    #[test]
    fn attachments_wrap_the_alternatives() {
        let file = AttachedFile {
            name: "report.html".into(),
            mime: "text/html; charset=utf-8".into(),
            bytes: b"<p>".to_vec(),
        };
        let mail = composed(example(), &[file]);
        let (mixed, alternative) = (mail.find("multipart/mixed").unwrap(), mail.find("multipart/alternative").unwrap());
        assert!(mixed < alternative && mail.contains("filename=\"report.html\""), "{mail}");
    }
}
