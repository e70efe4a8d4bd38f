//! One read-only connection. With `scratch.rs` the only place in the gates that sends SQL: each text goes out as one unnamed prepared statement
//! without parameters (extended protocol), of which the server takes no second command, in a session that cannot write
//! (`default_transaction_read_only`), with limits on time, rows and bytes. What comes back is text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, ValueRef as _};

use crate::domain::secret::{Revealed, Secret, redact};
use crate::domain::verdict::Outcome;
use crate::net::address::{Reach, reach};

/// Rows of one answer. `pg_stat_statements.max` is 5000 unless somebody has raised it.
const ROWS_MAX: usize = 10_000;
/// Bytes of one answer.
const BYTES_MAX: usize = 32 << 20;
/// From the name's resolution to the end of the sign-in.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longer than the server's own limit, for answers that come slowly.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Limits that the server keeps for us. The planner's own choices stay as they are, but for parallel plans, whose costs and
/// rows are a worker's share.
const SETTINGS: [(&str, &str); 6] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "5s"),
    ("lock_timeout", "200ms"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
];
/// `pg_stat_statements` counts as we do from here on (`total_exec_time`).
pub const VERSION_MIN: u32 = 130_000;

/// Where a session is, as outputs show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `db.example.com:5432`, or the socket's folder.
    pub host: String,
    pub database: String,
    /// `server_version_num`: 150013.
    pub version: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.database, self.host)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    #[error("{0}")]
    Secret(String),
    /// The text may hold a password: it is not repeated.
    #[error("the database's address is no URL such as postgresql://user@host:5432/name")]
    Address,
    #[error("{0}")]
    Unsupported(String),
    #[error("{0} is an address that is never reached")]
    Refused(String),
    #[error("no connection to {0}: {1}")]
    Connect(String, String),
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// SQLSTATE and message.
    #[error("{1} ({0})")]
    Statement(String, String),
    #[error("the answer is larger than {BYTES_MAX} bytes or {ROWS_MAX} rows")]
    TooLarge,
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl DbError {
    /// What a gate answers.
    pub fn outcome(&self) -> Outcome {
        let (reason, hint) = match self {
            DbError::Secret(_) => ("no-credentials", "set the variable that [gates] database names"),
            DbError::Address => ("bad-config", "postgresql://user:password@host:5432/name"),
            DbError::Unsupported(_) => ("unsupported", "PostgreSQL 13 and later can be looked at"),
            DbError::Refused(_) => ("refused", "name the database's own host"),
            DbError::Connect(..) => (
                "unreachable",
                "start the database, correct its address, or name a role that may sign in; connect to the server itself, \
                 not through a pooler",
            ),
            DbError::Timeout(_) => ("timeout", "see whether the database still answers"),
            DbError::Statement(state, _) if state == "42501" => {
                ("no-privilege", "GRANT pg_read_all_stats, pg_read_all_data TO the role")
            }
            DbError::Statement(..) | DbError::TooLarge | DbError::Broken(_) => {
                ("database-error", "ask the same of the database by hand")
            }
        };
        Outcome::error(reason, self.to_string()).hint(hint)
    }
}

pub type Record = Vec<Option<String>>;

pub struct Session {
    connection: PgConnection,
    pub place: Place,
    /// Statements sent so far.
    pub sent: u64,
}

impl Session {
    /// Connects, and makes sure that the session cannot write.
    pub async fn open(url: &Secret, tls: bool) -> Result<Session, DbError> {
        let url = url.reveal().map_err(|e| DbError::Secret(e.to_string()))?;
        let (options, host) = options(&url, tls)?;
        Session::of(&options, host).await
    }

    pub(super) async fn of(options: &PgConnectOptions, host: String) -> Result<Session, DbError> {
        let connection = connect(options, &host).await?;
        let place = Place { host, database: String::new(), version: 0 };
        let mut session = Session { connection, place, sent: 0 };
        let asked = session
            .rows(
                "SELECT /* hypercare */ current_setting('transaction_read_only'), current_setting('server_version_num'), \
                 current_database()::text"
                    .to_string(),
            )
            .await?;
        let told = |nth: usize| asked.first().and_then(|row| row.get(nth)?.clone()).unwrap_or_default();
        if told(0) != "on" {
            return Err(DbError::Connect(session.place.host, "the session cannot be made read-only".into()));
        }
        session.place.version = told(1).parse().unwrap_or(0);
        session.place.database = told(2);
        if session.place.version < VERSION_MIN {
            return Err(DbError::Unsupported(format!("the server's version {} is too old", session.place.version)));
        }
        Ok(session)
    }

    /// Everything that one statement gives. The columns must be text, `json` or `name`.
    pub(super) async fn rows(&mut self, sql: String) -> Result<Vec<Record>, DbError> {
        self.sent += 1;
        let place = self.place.host.clone();
        let work = async {
            let (mut out, mut bytes) = (Vec::new(), 0);
            let mut stream = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch(&mut self.connection);
            while let Some(row) = stream.try_next().await.map_err(|e| failed(&e))? {
                let mut record = Record::with_capacity(row.len());
                for nth in 0..row.len() {
                    let value = row.try_get_raw(nth).map_err(|e| failed(&e))?;
                    let raw =
                        if value.is_null() { None } else { Some(value.as_bytes().map_err(|_| DbError::TooLarge)?) };
                    bytes += raw.map_or(0, <[u8]>::len);
                    record.push(raw.map(|raw| String::from_utf8_lossy(raw).into_owned()));
                }
                out.push(record);
                if bytes > BYTES_MAX || out.len() > ROWS_MAX {
                    return Err(DbError::TooLarge);
                }
            }
            Ok(out)
        };
        tokio::time::timeout(ANSWER_TIME_MAX, work).await.map_err(|_| DbError::Timeout(place))?
    }

    /// The same of a statement that gives nothing.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), DbError> {
        self.rows(sql.to_string()).await.map(drop)
    }
}

/// Within [`CONNECT_TIME_MAX`], and never to an address of metadata.
pub(super) async fn connect(options: &PgConnectOptions, host: &str) -> Result<PgConnection, DbError> {
    let connect = async {
        refuse_metadata(options).await?;
        PgConnection::connect_with(options).await.map_err(|e| DbError::Connect(host.to_string(), said(&e)))
    };
    tokio::time::timeout(CONNECT_TIME_MAX, connect)
        .await
        .map_err(|_| DbError::Connect(host.to_string(), format!("no answer within {} s", CONNECT_TIME_MAX.as_secs())))?
}

/// A string as a literal (`standard_conforming_strings` is on since 9.1).
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}

/// A name as an identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// What to connect to, and how it is shown.
pub(super) fn options(url: &Revealed, tls: bool) -> Result<(PgConnectOptions, String), DbError> {
    let text = url.expose();
    let parsed = url::Url::parse(text).map_err(|_| DbError::Address)?;
    if let Some(password) = parsed.password() {
        // Errors may show it alone, encoded or not.
        let _ = Revealed::new(password.to_string());
        let plain = percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned();
        let _ = Revealed::new(plain);
    }
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        let scheme: String = parsed.scheme().chars().take(20).collect();
        return Err(DbError::Unsupported(format!("databases by {scheme}:// cannot be looked at")));
    }
    let mut options = PgConnectOptions::from_str(text).map_err(|_| DbError::Address)?;
    let socket = options.get_socket().map(|path| path.display().to_string());
    let shown = socket.clone().unwrap_or_else(|| format!("{}:{}", options.get_host(), options.get_port()));
    if socket.is_none() && !is_own(options.get_host()) && tls {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    let options =
        options.application_name("hypercare").options(SETTINGS).statement_cache_capacity(0).disable_statement_logging();
    Ok((options, shown))
}

/// Is it this machine? Decided by the text.
pub(super) fn is_own(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.');
    host.starts_with('/')
        || host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The same of a place as outputs show it: with its port, or a socket's folder.
pub fn is_own_place(host: &str) -> bool {
    is_own(host) || host.rsplit_once(':').is_some_and(|(host, _)| is_own(host))
}

/// Link-local and metadata addresses are never reached, whatever name leads there.
async fn refuse_metadata(options: &PgConnectOptions) -> Result<(), DbError> {
    let host = options.get_host().trim_matches(['[', ']']);
    if options.get_socket().is_some() || host.starts_with('/') {
        return Ok(());
    }
    let shown = format!("{host}:{}", options.get_port());
    let mut found = tokio::net::lookup_host((host, options.get_port()))
        .await
        .map_err(|e| DbError::Connect(shown.clone(), e.to_string()))?;
    if found.any(|address| reach(address.ip()) == Reach::Never) { Err(DbError::Refused(shown)) } else { Ok(()) }
}

/// The server's words, or the driver's, without secrets, on one line.
fn said(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(told) => told.message().to_string(),
        other => other.to_string(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    redact(&line)
}

pub(super) fn failed(error: &sqlx::Error) -> DbError {
    match error {
        sqlx::Error::Database(told) => {
            DbError::Statement(told.code().map(|c| c.into_owned()).unwrap_or_default(), said(error))
        }
        other => DbError::Broken(said(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of = |url: &str, tls| options(&Revealed::new(url.into()), tls);
        let (far, shown) = of("postgresql://app:verysecret@db.example.com/shop?sslmode=disable", true).unwrap();
        assert!(matches!(far.get_ssl_mode(), PgSslMode::VerifyFull), "TLS is verified whatever the address says");
        assert_eq!(shown, "db.example.com:5432");
        assert!(far.get_options().unwrap().ends_with(
            "-c default_transaction_read_only=on -c statement_timeout=5s -c lock_timeout=200ms \
             -c idle_in_transaction_session_timeout=30s -c max_parallel_workers_per_gather=0 -c jit=off"
        ));
        let (private, _) = of("postgresql://app@db.internal/shop?sslmode=disable", false).unwrap();
        assert!(matches!(private.get_ssl_mode(), PgSslMode::Disable));
        let (own, _) =
            of("postgres://app@127.0.0.1:5433/shop?options=-c%20default_transaction_read_only%3Doff", true).unwrap();
        assert!(!matches!(own.get_ssl_mode(), PgSslMode::VerifyFull));
        for (url, error) in [
            ("mysql://app:verysecret@db/shop", "databases by mysql:// cannot be looked at"),
            ("sqlite:shop.db", "databases by sqlite:// cannot be looked at"),
            ("verysecret", "the database's address is no URL such as postgresql://user@host:5432/name"),
        ] {
            assert_eq!(of(url, true).err().unwrap().to_string(), error);
        }
        assert!(is_own("::1") && is_own("[::1]") && is_own("localhost") && !is_own("127.0.0.1.example.com"));
    }

    #[test]
    fn literals_and_names() {
        assert_eq!((quoted("o'hara"), identifier("we\"ird")), ("'o''hara'".into(), "\"we\"\"ird\"".into()));
    }

    #[tokio::test]
    async fn nobody_is_there() {
        crate::net::init();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, format!("postgresql://app:verysecret@127.0.0.1:{free}/shop\n")).unwrap();
        let error = Session::open(&Secret::File(file), true).await.err().unwrap();
        let outcome = error.outcome();
        assert_eq!(outcome.reason.as_deref(), Some("unreachable"));
        assert!(!format!("{outcome:?}").contains("verysecret"), "{outcome:?}");
        let missing = Session::open(&Secret::Env("HC_NO_SUCH_VARIABLE".into()), true).await.err().unwrap();
        assert_eq!(missing.outcome().reason.as_deref(), Some("no-credentials"));
    }
}
