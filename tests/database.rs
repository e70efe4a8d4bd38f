//! The gates about databases beside a real PostgreSQL with real traffic: the good product passes, each defect put in alone is
//! found, and what cannot be seen is an error.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::postgres::Postgres;
use support::wait_within;

const PASSWORD: &str = "verysecretpassword";

/// One gate's row of `check`, and everything that was printed.
fn check(dir: &Path, gate: &str, url: &str, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir)
        .env_remove("HYPERCARE_CONFIG")
        .env("HC_TEST_DATABASE_URL", url)
        .args(["check", "-q", "--no-cache", "--format", "json", "--repo", ".", "--only", gate])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "the password is shown: {out} {err}");
    let run: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    run["gates"].as_array().unwrap().iter().find(|g| g["id"] == gate).unwrap_or_else(|| panic!("{run}")).clone()
}

/// Verdict, reason, and the rules of findings above a note.
fn said(row: &Value) -> (String, String, Vec<String>) {
    let findings = row["findings"].as_array().unwrap();
    let rules = findings.iter().filter(|f| f["severity"] != "info").map(|f| f["rule"].as_str().unwrap().to_string());
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
    (text("verdict"), text("reason"), rules.collect())
}

#[track_caller]
fn says(row: &Value, verdict: &str, reason: &str, rules: &[&str]) {
    let rules: Vec<String> = rules.iter().map(|r| r.to_string()).collect();
    assert_eq!(said(row), (verdict.into(), reason.into(), rules), "{row:#}");
}

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = "[gates]\ndatabase = { url = \"${env:HC_TEST_DATABASE_URL}\" }\n";
    std::fs::write(dir.path().join("hypercare.toml"), config).unwrap();
    std::fs::write(dir.path().join("requirements.txt"), "psycopg2-binary==2.9.10\n").unwrap();
    dir
}

/// A shop of 5,000 customers and 60,000 orders, indexed as it should be.
const SHOP: &str = "
    create table customers (id serial primary key, name text not null);
    create table orders (id serial primary key, customer_id int not null references customers, state text not null,
      email text not null, created timestamptz not null);
    insert into customers (name) select 'c' || i from generate_series(1, 5000) i;
    insert into orders (customer_id, state, email, created)
      select 1 + i % 5000, case when i % 50 = 0 then 'open' else 'done' end, 'u' || i || '@example.com',
        timestamptz '2026-01-01' + i * interval '1 minute' from generate_series(1, 60000) i;
    create index orders_customer_id on orders (customer_id);
    create index orders_created on orders (created);
    create index orders_email on orders (lower(email));
    analyze;";

/// What the product asks, in pgbench's words.
const ASKS: &str = "\\set c random(1, 5000)
    select o.id, o.state from orders o where o.customer_id = :c;
    select o.id, c.name from orders o join customers c on c.id = o.customer_id order by o.created desc limit 20;
    select id from orders where lower(email) = 'u' || :c || '@example.com';
    update customers set name = 'n' || :c where id = :c;
";

struct Shop {
    server: Postgres,
    dir: tempfile::TempDir,
}

impl Shop {
    fn open() -> Shop {
        let server = Postgres::start("pg_stat_statements");
        server.sql("postgres", "create database shop");
        server.sql("shop", "create extension pg_stat_statements; create extension hypopg;");
        server.sql("shop", SHOP);
        server.sql(
            "postgres",
            &format!(
                "create role looker login password '{PASSWORD}'; grant pg_read_all_stats, pg_read_all_data to looker;
                 create role stranger login password '{PASSWORD}';"
            ),
        );
        Shop { server, dir: project() }
    }
    fn url(&self) -> String {
        self.server.url("looker", PASSWORD, "shop")
    }
    /// Counters begin anew, and the product is used.
    fn traffic(&self, database: &str, transactions: u32, asks: &str) {
        self.server.sql(database, "select pg_stat_statements_reset()");
        let script = self.dir.path().join("asks.sql");
        std::fs::write(&script, asks).unwrap();
        let output = self
            .server
            .client("pgbench")
            .args(["-n", "-c", "2", "-j", "2", "-t", &transactions.to_string(), "-f"])
            .arg(&script)
            .arg(database)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // The product's own folder is what is checked.
        std::fs::remove_file(script).unwrap();
    }
    /// One defect, its traffic, what the gate says; and the defect is taken out again.
    fn with(&self, defect: &str, remedy: &str) -> Value {
        self.server.sql("shop", defect);
        self.traffic("shop", 200, ASKS);
        let row = check(self.dir.path(), "performance.db_index", &self.url(), &[]);
        self.server.sql("shop", remedy);
        row
    }
}

#[test]
fn missing_indexes_are_proven_and_nothing_else_is_blamed() {
    let shop = Shop::open();
    shop.traffic("shop", 200, ASKS);
    let good = check(shop.dir.path(), "performance.db_index", &shop.url(), &[]);
    // The looking role may not update: how the update finds its rows is planned.
    says(&good, "pass", "", &[]);
    assert_eq!((&good["covered"], &good["known"]), (&4.into(), &4.into()), "{good:#}");

    let row = shop.with("drop index orders_customer_id", "create index orders_customer_id on orders (customer_id)");
    says(&row, "fail", "", &["missing-index", "bare-foreign-key"]);
    let hint = row["hint"].as_str().unwrap();
    assert!(hint.starts_with("CREATE INDEX CONCURRENTLY ON orders (customer_id); cost "), "{hint}");

    let row = shop.with("drop index orders_created", "create index orders_created on orders (created)");
    says(&row, "fail", "", &["missing-index"]);
    assert!(row["hint"].as_str().unwrap().starts_with("CREATE INDEX CONCURRENTLY ON orders (created); "), "{row:#}");

    // HypoPG is asked for plain columns; an expression's index is a person's to find.
    let row = shop.with("drop index orders_email", "create index orders_email on orders (lower(email))");
    says(&row, "warn", "", &["whole-table"]);

    let row = shop.with("create index orders_again on orders (customer_id, created)", "drop index orders_again");
    says(&row, "warn", "", &["needless-index"]);

    // The build fails on the second row of the same state, and leaves an invalid index behind.
    shop.server.sql_fails("shop", "create unique index concurrently orders_state on orders (state)");
    let row = shop.with("select 1", "drop index orders_state");
    says(&row, "fail", "", &["invalid-index"]);

    let filled = "create table visits (id int primary key); insert into visits select generate_series(1, 5000)";
    let row = shop.with(filled, "drop table visits");
    says(&row, "warn", "", &["stale-statistics"]);

    // Without HypoPG nothing is proven, and nothing passes.
    let row = shop.with(
        "drop extension hypopg; drop index orders_customer_id",
        "create extension hypopg; create index orders_customer_id on orders (customer_id)",
    );
    assert_eq!(said(&row).0, "warn", "{row:#}");
    assert!(said(&row).2.contains(&"whole-table".to_string()), "{row:#}");
}

#[test]
fn what_cannot_be_judged_is_said_so() {
    let shop = Shop::open();
    let gate = "performance.db_index";
    shop.traffic("shop", 10, ASKS);
    says(&check(shop.dir.path(), gate, &shop.url(), &[]), "error", "too-little-traffic", &[]);

    shop.traffic("shop", 200, ASKS);
    let stranger = shop.server.url("stranger", PASSWORD, "shop");
    says(&check(shop.dir.path(), gate, &stranger, &[]), "error", "no-privilege", &[]);
    let wrong = shop.server.url("looker", "anotherpassword", "shop");
    says(&check(shop.dir.path(), gate, &wrong, &[]), "error", "unreachable", &[]);

    // A database as it is on a developer's machine.
    shop.server.sql("postgres", "create database tiny");
    shop.server.sql("tiny", "create extension pg_stat_statements; create extension hypopg;");
    shop.server.sql(
        "tiny",
        "create table orders (id serial primary key, customer_id int);
         insert into orders (customer_id) select i from generate_series(1, 40) i; analyze;",
    );
    shop.traffic("tiny", 600, "\\set c random(1, 40)\nselect * from orders where customer_id = :c;\n");
    let row = check(shop.dir.path(), gate, &shop.server.url("looker", PASSWORD, "tiny"), &[]);
    says(&row, "warn", "", &[]);
    assert!(row["hint"].as_str().unwrap().starts_with("load production-like volume"), "{row:#}");
    assert_eq!((&row["covered"], &row["known"]), (&0.into(), &1.into()), "{row:#}");

    shop.server.sql("postgres", "create database bare");
    let bare = shop.server.url("looker", PASSWORD, "bare");
    says(&check(shop.dir.path(), gate, &bare, &[]), "error", "tool-missing", &[]);
    says(&check(shop.dir.path(), gate, "mysql://looker@127.0.0.1/shop", &[]), "error", "unsupported", &[]);

    let url = shop.url();
    drop(shop.server);
    says(&check(shop.dir.path(), gate, &url, &[]), "error", "unreachable", &[]);

    let plain = tempfile::tempdir().unwrap();
    std::fs::write(plain.path().join("main.go"), "package main\n").unwrap();
    says(&check(plain.path(), gate, "", &[]), "skip", "no-db", &[]);
}

/// Flask with SQLAlchemy. Ended when the test ends, however it ends.
struct App {
    child: Child,
    port: u16,
}

impl App {
    fn start(shop: &Shop, mode: &str) -> App {
        let url = shop.server.url("shop", PASSWORD, "shop").replacen("postgresql:", "postgresql+psycopg2:", 1);
        let mut child = Command::new(support::python())
            .arg(support::root().join("tests/fixtures/n_plus_one/app.py"))
            .env("MODE", mode)
            .env("SHOP_DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the shop prints its port: run tests/setup.sh");
        App { child, port }
    }
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_list_that_asks_once_per_item_is_told_from_one_that_does_not() {
    let shop = Shop::open();
    shop.server.sql(
        "shop",
        &format!("create role shop login password '{PASSWORD}'; grant select on all tables in schema public to shop"),
    );
    let source = support::root().join("tests/fixtures/n_plus_one/app.py");
    std::fs::copy(source, shop.dir.path().join("app.py")).unwrap();
    std::fs::write(shop.dir.path().join("requirements.txt"), "flask==3.1.3\nsqlalchemy==2.0.44\n").unwrap();
    let gate = "code.n_plus_one";
    let quick = ["--set", "code.n_plus_one.idle=1s", "--set", "safety.rps=200"];
    let look = |app: &App, url: &str| {
        let target = app.url();
        check(shop.dir.path(), gate, url, &[&quick[..], &["--url", &target]].concat())
    };

    let lazy = App::start(&shop, "lazy");
    let row = look(&lazy, &shop.url());
    says(&row, "fail", "", &["n1-scaling"]);
    let hint = row["hint"].as_str().unwrap();
    assert!(
        hint.starts_with("GET /orders runs \"SELECT customers.id") && hint.contains("20x for 20 items and 2x for 2"),
        "{hint}"
    );
    assert!(hint.contains("selectinload") && hint.contains("app.py:"), "{hint}");

    says(&look(&App::start(&shop, "lazy-fixed"), &shop.url()), "fail", "", &["n1-per-item"]);
    let selectin = App::start(&shop, "selectin");
    says(&look(&selectin, &shop.url()), "pass", "", &[]);
    let constant = App::start(&shop, "constant");
    says(&look(&constant, &shop.url()), "pass", "", &[]);
    says(&look(&App::start(&shop, "closed"), &shop.url()), "error", "no-credentials", &[]);

    // A list of GraphQL's, with an object in each item.
    let row = look(&App::start(&shop, "graphql-lazy"), &shop.url());
    says(&row, "fail", "", &["n1-scaling"]);
    assert!(row["hint"].as_str().unwrap().starts_with("GraphQL { orders } runs \"SELECT customers.id"), "{row:#}");
    says(&look(&App::start(&shop, "graphql-selectin"), &shop.url()), "pass", "", &[]);

    // The counters of a database that is not the target's.
    shop.server.sql("postgres", "create database other");
    shop.server.sql("other", "create extension pg_stat_statements");
    let other = shop.server.url("looker", PASSWORD, "other");
    says(&look(&constant, &other), "error", "path-mismatch", &[]);

    // Somebody else at work: a role that counts, and then one that does not.
    shop.server.sql("postgres", "create role batch superuser login");
    let script = shop.server.folder().join("batch.sql");
    std::fs::write(&script, "select count(*) from customers where id < 10;\n").unwrap();
    let mut batch = shop.server.client("pgbench");
    batch.env("PGUSER", "batch").args(["-n", "-c", "1", "-R", "200", "-T", "60", "-f"]).arg(&script).arg("shop");
    let mut batch = App { child: batch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), port: 0 };
    wait_within(Duration::from_secs(20), "pgbench", || {
        let calls = "select coalesce(sum(calls), 0) from pg_stat_statements where query like '%id < $1%'";
        shop.server.sql("shop", calls).parse::<u64>().ok().filter(|calls| *calls > 20)
    });
    says(&look(&selectin, &shop.url()), "error", "noisy", &[]);
    let ignoring = "[gates]\ndatabase = { url = \"${env:HC_TEST_DATABASE_URL}\", ignore_users = [\"batch\"] }\n";
    std::fs::write(shop.dir.path().join("hypercare.toml"), ignoring).unwrap();
    says(&look(&selectin, &shop.url()), "pass", "", &[]);
    assert!(batch.child.try_wait().unwrap().is_none(), "pgbench ended early");

    let url = constant.url();
    drop(constant);
    let stopped = check(shop.dir.path(), gate, &shop.url(), &[&quick[..], &["--url", &url]].concat());
    says(&stopped, "error", "unreachable", &[]);
}
