//! A database of our own on a server that is there for it: made for a restore, and dropped afterwards. The only place where
//! gates change a server; it touches no database but those whose name begins with [`PREFIX`].

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::session::{self, DbError, Session};
use crate::domain::secret::{Revealed, Secret};

pub const PREFIX: &str = "hc_restore_";
/// One that a killed run left behind is dropped after this time.
const LEFT_AFTER: u64 = 24 * 3600;
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(120);

pub struct Scratch {
    connection: PgConnection,
    /// Where the server is, as outputs show it.
    pub host: String,
    pub name: String,
    url: Revealed,
    tls: bool,
}

/// How a program of PostgreSQL's reaches it: the address without the password, which travels by the environment.
pub struct Reached {
    pub url: String,
    pub password: Option<Revealed>,
}

impl Scratch {
    /// Makes `hc_restore_SECONDS`, empty, in the same encoding as the source.
    pub async fn create(url: &Secret, tls: bool, encoding: &str, now_s: u64) -> Result<Scratch, DbError> {
        let url = url.reveal().map_err(|e| DbError::Secret(e.to_string()))?;
        let (options, host) = session::options(&url, tls)?;
        let writing = options.options([
            ("default_transaction_read_only", "off"),
            ("statement_timeout", "110s"),
            ("lock_timeout", "10s"),
        ]);
        let connection = session::connect(&writing, &host).await?;
        let name = format!("{PREFIX}{now_s}_{}", std::process::id());
        let mut scratch = Scratch { connection, host, name, url, tls };
        scratch.sweep(now_s).await;
        scratch
            .run(format!(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING {}",
                session::identifier(&scratch.name),
                session::quoted(encoding)
            ))
            .await?;
        Ok(scratch)
    }

    async fn run(&mut self, sql: String) -> Result<(), DbError> {
        let work = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(&mut self.connection);
        match tokio::time::timeout(STATEMENT_TIME_MAX, work).await {
            Ok(done) => done.map(drop).map_err(|e| session::failed(&e)),
            Err(_) => Err(DbError::Timeout(self.host.clone())),
        }
    }

    /// What killed runs left.
    async fn sweep(&mut self, now_s: u64) {
        let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE datname LIKE 'hc\\_restore\\_%'";
        let Ok(rows) = sqlx::query_as::<_, (String,)>(sql).persistent(false).fetch_all(&mut self.connection).await
        else {
            return;
        };
        for (name,) in rows {
            let made = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
            if made.is_some_and(|made| made + LEFT_AFTER < now_s) {
                let _ = self.run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", session::identifier(&name))).await;
            }
        }
    }

    pub fn reached(&self) -> Result<Reached, DbError> {
        let mut url = url::Url::parse(self.url.expose()).map_err(|_| DbError::Address)?;
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = url.password().map(|text| Revealed::new(plain(text)));
        url.set_password(None).map_err(|()| DbError::Address)?;
        url.set_path(&format!("/{}", self.name));
        if self.tls && !session::is_own(url.host_str().unwrap_or("localhost")) {
            let others: Vec<(String, String)> =
                url.query_pairs().filter(|(key, _)| key != "sslmode").map(|(k, v)| (k.into(), v.into())).collect();
            url.query_pairs_mut().clear().extend_pairs(others).append_pair("sslmode", "verify-full");
        }
        Ok(Reached { url: url.into(), password })
    }

    /// A read-only look into it.
    pub async fn session(&self) -> Result<Session, DbError> {
        let (options, host) = session::options(&self.url, self.tls)?;
        Session::of(&options.database(&self.name), host).await
    }

    /// Fresh statistics: what was just loaded has none.
    pub async fn analyze(&self) -> Result<(), DbError> {
        let (options, host) = session::options(&self.url, self.tls)?;
        let writing: PgConnectOptions = options
            .database(&self.name)
            .options([("default_transaction_read_only", "off"), ("statement_timeout", "110s")]);
        let mut connection = session::connect(&writing, &host).await?;
        let work = sqlx::query("ANALYZE").persistent(false).execute(&mut connection);
        match tokio::time::timeout(STATEMENT_TIME_MAX, work).await {
            Ok(done) => done.map(drop).map_err(|e| session::failed(&e)),
            Err(_) => Err(DbError::Timeout(host)),
        }
    }

    /// Everybody in it is sent away.
    pub async fn drop(mut self) -> Result<(), DbError> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", session::identifier(&self.name));
        self.run(sql).await?;
        let _ = self.connection.close().await;
        Ok(())
    }
}
