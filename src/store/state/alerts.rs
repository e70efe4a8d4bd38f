//! Alerts, transitions, notification groups, silences and acknowledgements.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::audit::{self, Deed};
use super::row::{json, maybe_text, maybe_time, ms, real, text, time, to_json, word};
use super::{Result, State, incidents, outbox};
use crate::domain::alert::{Ack, Alert, AlertState, NotifGroup, Silence, Transition};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Incident;
use crate::domain::notification::NewOutbox;
use crate::store::StoreError;

/// Everything one evaluation or one flush decided. Commits as a whole or not at all: a state change and the intent to
/// tell someone about it are one transaction.
#[derive(Debug, Clone, Default)]
pub struct AlertingCommit {
    /// Upserted by (rule, fingerprint).
    pub alerts: Vec<Alert>,
    /// (rule, fingerprint) of alerts that are over and forgotten.
    pub forget: Vec<(String, String)>,
    pub transitions: Vec<Transition>,
    /// Upserted by key.
    pub groups: Vec<NotifGroup>,
    /// Ignored when (channel, group_key, seq) exists.
    pub outbox: Vec<NewOutbox>,
    /// Upserted by id; id 0 is new.
    pub incidents: Vec<Incident>,
}

impl AlertingCommit {
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
            && self.forget.is_empty()
            && self.transitions.is_empty()
            && self.groups.is_empty()
            && self.outbox.is_empty()
            && self.incidents.is_empty()
    }
}

impl State {
    /// Unsent older rows of the same (channel, group_key) become `coalesced` when a newer one is inserted.
    pub async fn commit_alerting(&self, commit: AlertingCommit) -> Result<()> {
        self.db
            .write(move |c| {
                Box::pin(async move {
                    for alert in &commit.alerts {
                        upsert_alert(c, alert).await?;
                    }
                    for (rule, fingerprint) in &commit.forget {
                        sqlx::query("DELETE FROM alert WHERE rule = ?1 AND fingerprint = ?2")
                            .bind(rule)
                            .bind(fingerprint)
                            .execute(&mut *c)
                            .await?;
                    }
                    for transition in &commit.transitions {
                        insert_transition(c, transition).await?;
                    }
                    for group in &commit.groups {
                        upsert_group(c, group).await?;
                    }
                    for row in &commit.outbox {
                        outbox::insert(c, row).await?;
                    }
                    for incident in &commit.incidents {
                        incidents::save(c, incident).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
    /// Every alert that is not forgotten, by rule and fingerprint.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        let rows =
            sqlx::query("SELECT * FROM alert ORDER BY rule, fingerprint").fetch_all(&mut *self.reader().await?).await?;
        rows.iter().map(alert).collect()
    }
    /// Oldest first, `from <= at <= to`; of one service when given.
    pub async fn transitions(&self, service: Option<&str>, from: Timestamp, to: Timestamp) -> Result<Vec<Transition>> {
        let rows = sqlx::query(
            "SELECT * FROM alert_transition WHERE at BETWEEN ?1 AND ?2 AND (?3 IS NULL OR service = ?3)
             ORDER BY at, seq",
        )
        .bind(from.ms())
        .bind(to.ms())
        .bind(service)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(transition).collect()
    }
    /// By key.
    pub async fn notif_groups(&self) -> Result<Vec<NotifGroup>> {
        let rows =
            sqlx::query("SELECT body FROM notif_group ORDER BY key").fetch_all(&mut *self.reader().await?).await?;
        rows.iter().map(|row| json(row, "body")).collect()
    }
    /// Next running number for an episode.
    pub async fn next_episode_number(&self) -> Result<i64> {
        self.db
            .write(|c| {
                Box::pin(async move {
                    let next = "INSERT INTO meta (key, value) VALUES ('episode_number', 1)
                                ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value";
                    Ok(sqlx::query_scalar(next).fetch_one(c).await?)
                })
            })
            .await
    }
    pub async fn add_silence(&self, silence: Silence, actor: &str) -> Result<()> {
        let actor = actor.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let matchers = to_json(&silence.matchers)?;
                    sqlx::query(
                        "INSERT INTO silence (id, matchers, author, comment, from_at, until_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )
                    .bind(&silence.id)
                    .bind(&matchers)
                    .bind(&silence.author)
                    .bind(&silence.comment)
                    .bind(silence.from.ms())
                    .bind(silence.until.ms())
                    .execute(&mut *c)
                    .await?;
                    let after = format!("{matchers} until {}", silence.until);
                    audit::append(
                        c,
                        Deed {
                            at: silence.from,
                            actor: &actor,
                            action: "silence.add",
                            subject: &silence.id,
                            after: Some(&after),
                            reason: Some(&silence.comment),
                            ..Deed::default()
                        },
                    )
                    .await
                })
            })
            .await
    }
    /// Ends a silence now; false when there is none.
    pub async fn expire_silence(&self, id: &str, at: Timestamp, actor: &str) -> Result<bool> {
        let (id, actor) = (id.to_string(), actor.to_string());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let done = sqlx::query("UPDATE silence SET until_at = ?2 WHERE id = ?1 AND until_at > ?2")
                        .bind(&id)
                        .bind(at.ms())
                        .execute(&mut *c)
                        .await?;
                    if done.rows_affected() == 0 {
                        return Ok(false);
                    }
                    let deed = Deed { at, actor: &actor, action: "silence.expire", subject: &id, ..Deed::default() };
                    audit::append(c, deed).await?;
                    Ok(true)
                })
            })
            .await
    }
    /// Silences that end after `at`, by end.
    pub async fn silences(&self, at: Timestamp) -> Result<Vec<Silence>> {
        let rows = sqlx::query("SELECT * FROM silence WHERE until_at > ?1 ORDER BY until_at, id")
            .bind(at.ms())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(silence).collect()
    }
    /// Records the ack, sets `acked_until` of the group with this episode, audits. Error when no open group has it.
    pub async fn add_ack(&self, ack: Ack) -> Result<NotifGroup> {
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT body FROM notif_group WHERE episode = ?1 AND closed_at IS NULL")
                        .bind(&ack.episode)
                        .fetch_optional(&mut *c)
                        .await?;
                    let Some(row) = row else {
                        return Err(StoreError::NotFound(format!("open episode {}", ack.episode)));
                    };
                    let old: NotifGroup = json(&row, "body")?;
                    let group = NotifGroup { acked_until: Some(ack.until), acked_by: Some(ack.by.clone()), ..old };
                    upsert_group(c, &group).await?;
                    insert_ack(c, &ack).await?;
                    let after = format!("until {}", ack.until);
                    audit::append(
                        c,
                        Deed {
                            at: ack.at,
                            actor: &ack.by,
                            action: "alert.ack",
                            subject: &ack.episode,
                            after: Some(&after),
                            reason: Some(&ack.comment),
                            ..Deed::default()
                        },
                    )
                    .await?;
                    Ok(group)
                })
            })
            .await
    }
    /// `from <= at <= to`, oldest first.
    pub async fn acks(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Ack>> {
        let rows = sqlx::query("SELECT * FROM ack WHERE at BETWEEN ?1 AND ?2 ORDER BY at, id")
            .bind(from.ms())
            .bind(to.ms())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(ack).collect()
    }
}

async fn upsert_alert(connection: &mut SqliteConnection, a: &Alert) -> Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO alert (rule, fingerprint, service, state, active_at, fired_at, resolved_at, last_eval,
                                       data_as_of, last_true, missing_since, value, labels, annotations, episode, expr)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )
    .bind(&a.rule)
    .bind(&a.fingerprint)
    .bind(&a.service)
    .bind(a.state.word())
    .bind(ms(a.active_at))
    .bind(ms(a.fired_at))
    .bind(ms(a.resolved_at))
    .bind(a.last_eval.ms())
    .bind(ms(a.data_as_of))
    .bind(ms(a.last_true))
    .bind(ms(a.missing_since))
    .bind(a.value)
    .bind(to_json(&a.labels)?)
    .bind(to_json(&a.annotations)?)
    .bind(&a.episode)
    .bind(&a.expr)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_transition(connection: &mut SqliteConnection, t: &Transition) -> Result<()> {
    sqlx::query(
        "INSERT INTO alert_transition (at, rule, fingerprint, service, from_state, to_state, episode, value, reason,
                                       text, labels)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(t.at.ms())
    .bind(&t.rule)
    .bind(&t.fingerprint)
    .bind(&t.service)
    .bind(t.from.word())
    .bind(t.to.word())
    .bind(&t.episode)
    .bind(t.value)
    .bind(&t.reason)
    .bind(&t.text)
    .bind(to_json(&t.labels)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn upsert_group(connection: &mut SqliteConnection, g: &NotifGroup) -> Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO notif_group (key, service, episode, number, seq, next_flush, closed_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(&g.key)
    .bind(&g.service)
    .bind(&g.episode)
    .bind(g.number)
    .bind(g.seq)
    .bind(ms(g.next_flush))
    .bind(ms(g.closed_at))
    .bind(to_json(g)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_ack(connection: &mut SqliteConnection, a: &Ack) -> Result<()> {
    sqlx::query("INSERT INTO ack (episode, by_whom, at, until_at, comment) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(&a.episode)
        .bind(&a.by)
        .bind(a.at.ms())
        .bind(a.until.ms())
        .bind(&a.comment)
        .execute(connection)
        .await?;
    Ok(())
}

fn alert(row: &SqliteRow) -> Result<Alert> {
    Ok(Alert {
        fingerprint: text(row, "fingerprint")?,
        rule: text(row, "rule")?,
        service: text(row, "service")?,
        labels: json(row, "labels")?,
        annotations: json(row, "annotations")?,
        state: word(row, "state", AlertState::parse)?,
        value: real(row, "value")?,
        active_at: maybe_time(row, "active_at")?,
        fired_at: maybe_time(row, "fired_at")?,
        resolved_at: maybe_time(row, "resolved_at")?,
        last_eval: time(row, "last_eval")?,
        data_as_of: maybe_time(row, "data_as_of")?,
        last_true: maybe_time(row, "last_true")?,
        missing_since: maybe_time(row, "missing_since")?,
        episode: maybe_text(row, "episode")?,
        expr: text(row, "expr")?,
    })
}

fn transition(row: &SqliteRow) -> Result<Transition> {
    Ok(Transition {
        at: time(row, "at")?,
        fingerprint: text(row, "fingerprint")?,
        rule: text(row, "rule")?,
        service: text(row, "service")?,
        labels: json(row, "labels")?,
        from: word(row, "from_state", AlertState::parse)?,
        to: word(row, "to_state", AlertState::parse)?,
        episode: maybe_text(row, "episode")?,
        value: real(row, "value")?,
        reason: text(row, "reason")?,
        text: text(row, "text")?,
    })
}

fn silence(row: &SqliteRow) -> Result<Silence> {
    Ok(Silence {
        id: text(row, "id")?,
        matchers: json(row, "matchers")?,
        author: text(row, "author")?,
        comment: text(row, "comment")?,
        from: time(row, "from_at")?,
        until: time(row, "until_at")?,
    })
}

fn ack(row: &SqliteRow) -> Result<Ack> {
    Ok(Ack {
        episode: text(row, "episode")?,
        by: text(row, "by_whom")?,
        at: time(row, "at")?,
        until: time(row, "until_at")?,
        comment: text(row, "comment")?,
    })
}
