//! Launches, their events, and markers.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::audit::{self, Deed};
use super::outbox;
use super::row::{int, maybe_text, maybe_time, ms, text, time, word};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchEvent, LaunchState, Move, MoveRefused};
use crate::domain::marker::{Marker, MarkerKind};
use crate::domain::notification::NewOutbox;
use crate::store::StoreError;

impl State {
    /// Inserts a planned launch with its audit row. Refused when the service has an open launch.
    pub async fn plan_launch(&self, launch: &Launch, actor: &str) -> Result<()> {
        let (launch, actor) = (launch.clone(), actor.to_string());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    if let Some(open) = open(c, &launch.service).await? {
                        let (service, launch) = (launch.service, open.id);
                        return Err(MoveRefused::AlreadyOpen { service, launch }.into());
                    }
                    insert(c, &launch).await?;
                    audit::append(
                        c,
                        Deed {
                            at: launch.state_since,
                            actor: &actor,
                            action: "launch.plan",
                            subject: &launch.id,
                            after: Some(launch.state.word()),
                            ..Deed::default()
                        },
                    )
                    .await
                })
            })
            .await
    }
    /// Compare-and-set on `rev`; state, fields, event, audit row, `marker` and `notices` commit together.
    /// A repeated idempotency key returns the launch as it is now without moving it.
    pub async fn move_launch(
        &self,
        id: &str,
        mv: Move,
        marker: Option<Marker>,
        notices: Vec<NewOutbox>,
    ) -> Result<Launch> {
        let id = id.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    if let Some(key) = &mv.idempotency_key
                        && let Some(moved) = answered(c, key).await?
                    {
                        return find(c, &moved).await;
                    }
                    let old = find(c, &id).await?;
                    if old.rev != mv.expected_rev {
                        return Err(MoveRefused::Stale { state: old.state, rev: old.rev }.into());
                    }
                    if !old.state.may_become(mv.to) {
                        return Err(MoveRefused::Illegal { from: old.state, to: mv.to }.into());
                    }
                    let new = moved(&old, &mv);
                    update(c, &new).await?;
                    let event = LaunchEvent {
                        launch: id.clone(),
                        at: mv.at,
                        kind: "move".into(),
                        from: Some(old.state),
                        to: Some(new.state),
                        actor: mv.actor.clone(),
                        text: mv.reason.clone().unwrap_or_default(),
                    };
                    insert_event(c, &event).await?;
                    if let Some(key) = &mv.idempotency_key {
                        remember(c, key, &id, mv.at).await?;
                    }
                    if let Some(marker) = &marker {
                        insert_marker(c, marker).await?;
                    }
                    for notice in &notices {
                        outbox::insert(c, notice).await?;
                    }
                    audit::append(
                        c,
                        Deed {
                            at: mv.at,
                            actor: &mv.actor,
                            action: "launch.move",
                            subject: &id,
                            before: Some(old.state.word()),
                            after: Some(new.state.word()),
                            reason: mv.reason.as_deref(),
                        },
                    )
                    .await?;
                    Ok(new)
                })
            })
            .await
    }
    /// Sets a new window end and length, with event and audit row; compare-and-set on `expected_rev`.
    pub async fn extend_window(
        &self,
        id: &str,
        expected_rev: i64,
        window_end: Timestamp,
        window_ms: i64,
        actor: &str,
        reason: &str,
    ) -> Result<Launch> {
        let (id, actor, reason) = (id.to_string(), actor.to_string(), reason.to_string());
        let at = self.clock.now();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let old = find(c, &id).await?;
                    if old.rev != expected_rev {
                        return Err(MoveRefused::Stale { state: old.state, rev: old.rev }.into());
                    }
                    let new = Launch { rev: old.rev + 1, window_end: Some(window_end), window_ms, ..old.clone() };
                    update(c, &new).await?;
                    let event = LaunchEvent {
                        launch: id.clone(),
                        at,
                        kind: "extend".into(),
                        from: Some(old.state),
                        to: Some(old.state),
                        actor: actor.clone(),
                        text: reason.clone(),
                    };
                    insert_event(c, &event).await?;
                    let before = old.window_end.map(Timestamp::rfc3339);
                    audit::append(
                        c,
                        Deed {
                            at,
                            actor: &actor,
                            action: "launch.extend",
                            subject: &id,
                            before: before.as_deref(),
                            after: Some(&window_end.rfc3339()),
                            reason: Some(&reason),
                        },
                    )
                    .await?;
                    Ok(new)
                })
            })
            .await
    }
    pub async fn launch(&self, id: &str) -> Result<Option<Launch>> {
        let row = sqlx::query("SELECT * FROM launch WHERE id = ?1")
            .bind(id)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(launch).transpose()
    }
    pub async fn open_launch(&self, service: &str) -> Result<Option<Launch>> {
        open(&mut *self.reader().await?, service).await
    }
    /// All launches, newest plan first.
    pub async fn launches(&self) -> Result<Vec<Launch>> {
        let rows = sqlx::query("SELECT * FROM launch ORDER BY planned_at DESC, id DESC")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(launch).collect()
    }
    pub async fn add_launch_event(&self, event: LaunchEvent) -> Result<()> {
        self.db.write(move |c| Box::pin(async move { insert_event(c, &event).await })).await
    }
    /// Oldest first.
    pub async fn launch_events(&self, launch: &str) -> Result<Vec<LaunchEvent>> {
        let rows = sqlx::query("SELECT * FROM launch_event WHERE launch = ?1 ORDER BY seq")
            .bind(launch)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(event).collect()
    }
    /// False when a marker with this service and `dedup_key` exists already.
    pub async fn add_marker(&self, marker: Marker) -> Result<bool> {
        self.db.write(move |c| Box::pin(async move { insert_marker(c, &marker).await })).await
    }
    /// Markers of `service` with `from <= at <= to`, oldest first.
    pub async fn markers(&self, service: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Marker>> {
        let rows = sqlx::query("SELECT * FROM marker WHERE service = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at, id")
            .bind(service)
            .bind(from.ms())
            .bind(to.ms())
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(marker).collect()
    }
}

fn moved(old: &Launch, mv: &Move) -> Launch {
    Launch {
        state: mv.to,
        rev: old.rev + 1,
        state_since: mv.at,
        live_at: mv.live_at.or(old.live_at),
        window_end: mv.window_end.or(old.window_end),
        gate_run: mv.gate_run.clone().or_else(|| old.gate_run.clone()),
        version: mv.version.clone().or_else(|| old.version.clone()),
        commit: mv.commit.clone().or_else(|| old.commit.clone()),
        ..old.clone()
    }
}

async fn find(connection: &mut SqliteConnection, id: &str) -> Result<Launch> {
    let row = sqlx::query("SELECT * FROM launch WHERE id = ?1").bind(id).fetch_optional(connection).await?;
    row.as_ref().map(launch).transpose()?.ok_or_else(|| StoreError::NotFound(format!("launch {id}")))
}

async fn open(connection: &mut SqliteConnection, service: &str) -> Result<Option<Launch>> {
    let row = sqlx::query("SELECT * FROM launch WHERE service = ?1 AND state NOT IN ('closed', 'aborted')")
        .bind(service)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(launch).transpose()
}

async fn insert(connection: &mut SqliteConnection, l: &Launch) -> Result<()> {
    sqlx::query(
        "INSERT INTO launch (id, service, version, commit_id, state, rev, planned_at, live_at, window_end, state_since,
                             window_ms, tz, config_hash, gate_run)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(&l.id)
    .bind(&l.service)
    .bind(&l.version)
    .bind(&l.commit)
    .bind(l.state.word())
    .bind(l.rev)
    .bind(l.planned_at.ms())
    .bind(ms(l.live_at))
    .bind(ms(l.window_end))
    .bind(l.state_since.ms())
    .bind(l.window_ms)
    .bind(&l.timezone)
    .bind(&l.config_hash)
    .bind(&l.gate_run)
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut SqliteConnection, l: &Launch) -> Result<()> {
    sqlx::query(
        "UPDATE launch SET version = ?2, commit_id = ?3, state = ?4, rev = ?5, live_at = ?6, window_end = ?7,
                           state_since = ?8, window_ms = ?9, gate_run = ?10
         WHERE id = ?1",
    )
    .bind(&l.id)
    .bind(&l.version)
    .bind(&l.commit)
    .bind(l.state.word())
    .bind(l.rev)
    .bind(ms(l.live_at))
    .bind(ms(l.window_end))
    .bind(l.state_since.ms())
    .bind(l.window_ms)
    .bind(&l.gate_run)
    .execute(connection)
    .await?;
    Ok(())
}

async fn answered(connection: &mut SqliteConnection, key: &str) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT launch FROM idempotency WHERE key = ?1").bind(key).fetch_optional(connection).await?)
}

async fn remember(connection: &mut SqliteConnection, key: &str, launch: &str, at: Timestamp) -> Result<()> {
    sqlx::query("INSERT INTO idempotency (key, launch, at) VALUES (?1, ?2, ?3)")
        .bind(key)
        .bind(launch)
        .bind(at.ms())
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_event(connection: &mut SqliteConnection, e: &LaunchEvent) -> Result<()> {
    sqlx::query(
        "INSERT INTO launch_event (launch, at, kind, from_state, to_state, actor, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(&e.launch)
    .bind(e.at.ms())
    .bind(&e.kind)
    .bind(e.from.map(LaunchState::word))
    .bind(e.to.map(LaunchState::word))
    .bind(&e.actor)
    .bind(&e.text)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_marker(connection: &mut SqliteConnection, m: &Marker) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO marker (service, kind, at, received_at, source, actor, text, dedup_key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (service, dedup_key) DO NOTHING",
    )
    .bind(&m.service)
    .bind(m.kind.word())
    .bind(m.at.ms())
    .bind(m.received_at.ms())
    .bind(&m.source)
    .bind(&m.actor)
    .bind(&m.text)
    .bind(&m.dedup_key)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

fn launch(row: &SqliteRow) -> Result<Launch> {
    Ok(Launch {
        id: text(row, "id")?,
        service: text(row, "service")?,
        version: maybe_text(row, "version")?,
        commit: maybe_text(row, "commit_id")?,
        state: word(row, "state", LaunchState::parse)?,
        rev: int(row, "rev")?,
        planned_at: time(row, "planned_at")?,
        live_at: maybe_time(row, "live_at")?,
        window_end: maybe_time(row, "window_end")?,
        state_since: time(row, "state_since")?,
        window_ms: int(row, "window_ms")?,
        timezone: text(row, "tz")?,
        config_hash: text(row, "config_hash")?,
        gate_run: maybe_text(row, "gate_run")?,
    })
}

fn event(row: &SqliteRow) -> Result<LaunchEvent> {
    let state = |column: &str| {
        maybe_text(row, column)?
            .map(|w| LaunchState::parse(&w).ok_or_else(|| StoreError::corrupt(format!("unknown launch state {w:?}"))))
            .transpose()
    };
    Ok(LaunchEvent {
        launch: text(row, "launch")?,
        at: time(row, "at")?,
        kind: text(row, "kind")?,
        from: state("from_state")?,
        to: state("to_state")?,
        actor: text(row, "actor")?,
        text: text(row, "text")?,
    })
}

fn marker(row: &SqliteRow) -> Result<Marker> {
    Ok(Marker {
        service: text(row, "service")?,
        kind: word(row, "kind", MarkerKind::parse)?,
        at: time(row, "at")?,
        received_at: time(row, "received_at")?,
        source: text(row, "source")?,
        actor: text(row, "actor")?,
        text: text(row, "text")?,
        dedup_key: text(row, "dedup_key")?,
    })
}
