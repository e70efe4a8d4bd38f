//! Opening, locking, refusing: the folder as a whole.

use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::domain::clock::{ManualClock, Timestamp};

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_ms(1_760_000_000_000))
}

async fn refused(dir: &Path, role: Role) -> StoreError {
    match Store::open(dir, role, clock()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

async fn sql(file: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_folder_is_private_and_out_of_git() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/data");
    let store = Store::open(&dir, Role::Daemon, clock()).await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.join(".gitignore")).unwrap(), "*\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
    store.close().await;
}

#[tokio::test]
async fn a_second_daemon_is_refused_by_name_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let StoreError::Locked { holder, .. } = refused(dir.path(), Role::Daemon).await else { panic!("not locked") };
    assert!(holder.starts_with(&format!("pid {}, boot ", std::process::id())), "{holder}");
    let beside = Store::open(dir.path(), Role::Client, clock()).await.unwrap();
    beside.state.beat("cli", Timestamp::from_ms(1)).await.unwrap();
    beside.close().await;

    first.close().await;
    assert!(matches!(first.state.ping().await, Err(StoreError::Closed)));
    assert!(matches!(first.state.alerts().await, Err(StoreError::Closed)));
    Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
}

#[tokio::test]
async fn live_connections_have_the_pragmas_that_the_promise_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let pragmas = |db: &db::Db| {
        let writer = db.writer().clone();
        async move {
            writer
                .inspect(|c| {
                    Box::pin(async move {
                        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *c).await?;
                        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(c).await?;
                        Ok((journal, synchronous))
                    })
                })
                .await
                .unwrap()
        }
    };
    assert_eq!(pragmas(store.state.database()).await, ("wal".to_string(), 2), "FULL");
    assert_eq!(pragmas(store.samples.database()).await, ("wal".to_string(), 1), "NORMAL");
    store.samples.database().noticed(StoreError::corrupt("somebody says so"));
    store.samples.renew().await.unwrap();
    assert_eq!(pragmas(store.samples.database()).await, ("wal".to_string(), 1), "of a new file, too");
    for db in [store.state.database(), store.samples.database()] {
        let mut reader = db.reader().await.unwrap();
        let (journal, only): (String, i64) = sqlx::query_as("SELECT * FROM pragma_journal_mode(), pragma_query_only()")
            .fetch_one(&mut *reader)
            .await
            .unwrap();
        assert_eq!((&*journal, only), ("wal", 1));
    }
    let mut reader = store.state.database().reader().await.unwrap();
    assert!(sqlx::query("DELETE FROM outbox").execute(&mut *reader).await.is_err(), "readers cannot write");
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), Role::Daemon, clock()).await.unwrap().close().await;
    sql(&dir.path().join("state.db"), "PRAGMA user_version = 999").await;
    let error = refused(dir.path(), Role::Daemon).await;
    let text = error.to_string();
    assert!(text.contains("state.db was written by a newer hypercare (schema 999"), "{text}");
}

#[tokio::test]
async fn damage_is_named_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.db"), "this is no database, however long it may go on to be ".repeat(100))
        .unwrap();
    let StoreError::Corrupt { file, .. } = refused(dir.path(), Role::Daemon).await else { panic!("not corrupt") };
    assert!(file.ends_with("state.db"), "{file}");

    let foreign = tempfile::tempdir().unwrap();
    let create =
        sqlx::sqlite::SqliteConnectOptions::new().filename(foreign.path().join("samples.db")).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&create).await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (x)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = refused(foreign.path(), Role::Daemon).await;
    assert!(error.to_string().contains("not a hypercare database"), "{error}");
}

#[tokio::test]
async fn writes_run_whole_in_order_and_outlive_their_caller() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let db = store.state.database();
    // Each is polled once, which queues it, then its caller goes away.
    for n in 0..50i64 {
        let write = db.write(move |c| {
            Box::pin(async move {
                sqlx::query("INSERT INTO meta (key, value) VALUES (?1, ?2)")
                    .bind(format!("n{n:02}"))
                    .bind(n)
                    .execute(&mut *c)
                    .await?;
                tokio::task::yield_now().await;
                sqlx::query("INSERT INTO meta (key, value) SELECT 'count' || ?1, count(*) FROM meta")
                    .bind(n)
                    .execute(c)
                    .await?;
                Ok(())
            })
        });
        let mut write = Box::pin(write);
        assert!(futures_util::poll!(&mut write).is_pending());
    }
    store.state.ping().await.unwrap();
    let counts: Vec<i64> = sqlx::query_scalar("SELECT value FROM meta WHERE key LIKE 'count%' ORDER BY value")
        .fetch_all(&mut *db.reader().await.unwrap())
        .await
        .unwrap();
    assert_eq!(counts, (0..50).map(|n| 2 * n + 1).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_failed_or_panicking_write_leaves_nothing_and_the_writer_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let db = store.state.database();
    for panics in [false, true] {
        let result: Result<(), StoreError> = db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO meta (key, value) VALUES ('half', 1)").execute(c).await?;
                    assert!(!panics, "wanted");
                    Err(StoreError::NotFound("the other half".into()))
                })
            })
            .await;
        assert!(result.is_err());
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM meta WHERE key = 'half'")
        .fetch_one(&mut *db.reader().await.unwrap())
        .await
        .unwrap();
    assert_eq!(left, 0);
    store.state.ping().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_has_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let db = store.state.database();
    db.writer()
        .inspect(|c| {
            Box::pin(async move {
                sqlx::raw_sql("PRAGMA max_page_count = 1").execute(c).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let result = db
        .write(|c| {
            Box::pin(async move {
                let fill = "INSERT INTO meta (key, value) VALUES ('big', randomblob(10000000))";
                sqlx::raw_sql(fill).execute(c).await?;
                Ok(())
            })
        })
        .await;
    assert!(matches!(result, Err(StoreError::DiskFull)), "{result:?}");
    store.state.beat("still here", Timestamp::from_ms(1)).await.unwrap();
}

#[tokio::test]
async fn the_revision_changes_with_every_commit_of_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Store::open(dir.path(), Role::Daemon, clock()).await.unwrap();
    let client = Store::open(dir.path(), Role::Client, clock()).await.unwrap();
    let start = daemon.revision().await.unwrap();
    assert_eq!(daemon.revision().await.unwrap(), start);
    client.state.beat("cli", Timestamp::from_ms(1)).await.unwrap();
    let second = daemon.revision().await.unwrap();
    assert_ne!(second, start);
    daemon.state.beat("daemon", Timestamp::from_ms(1)).await.unwrap();
    assert_ne!(daemon.revision().await.unwrap(), second);
}
