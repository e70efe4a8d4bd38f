//! `infrastructure.backup_restore` with real dumps of a real PostgreSQL, restored into a second one. Each way in which a
//! backup is none is put in one at a time.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::gate::{self, says};
use support::postgres::Postgres;

const GATE: &str = "infrastructure.backup_restore";
const PASSWORD: &str = "verysecretpassword";

const SHOP: &str = "
    create table customers (id serial primary key, name text not null);
    create table orders (id serial primary key, customer_id int not null references customers, state text not null,
      created timestamptz not null);
    create view open_orders as select * from orders where state = 'open';
    create function total() returns bigint language sql as 'select count(*) from orders';
    insert into customers (name) select 'c' || i from generate_series(1, 50) i;
    insert into orders (customer_id, state, created)
      select 1 + i % 50, 'open', now() - i * interval '1 minute' from generate_series(1, 600) i;";

struct Shop {
    source: Postgres,
    scratch: Postgres,
    dir: tempfile::TempDir,
}

impl Shop {
    fn open() -> Shop {
        let (source, scratch) = (Postgres::start(""), Postgres::start(""));
        source.sql("postgres", "create database shop");
        source.sql("shop", SHOP);
        source.sql(
            "postgres",
            &format!("create role looker login password '{PASSWORD}'; grant pg_read_all_data to looker;"),
        );
        scratch.sql("postgres", &format!("create role restorer superuser login password '{PASSWORD}'"));
        Shop { source, scratch, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A dump into a file of this name, by its ending.
    fn dump(&self, name: &str, options: &[&str]) {
        let format = match Path::new(name).extension().and_then(|e| e.to_str()) {
            Some("sql") => "-Fp",
            Some("tar") => "-Ft",
            Some("dir") => "-Fd",
            _ => "-Fc",
        };
        let output = self
            .source
            .client("pg_dump")
            .arg(format)
            .args(options)
            .arg("-f")
            .arg(self.path(name))
            .arg("shop")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn settings(&self, name: &str, more: &str) -> String {
        format!(
            "[gates]\ndatabase = {{ url = \"${{env:HC_SOURCE}}\" }}\n[gates.infrastructure.backup_restore]\n\
             artifact = \"{}\"\nscratch = \"${{env:HC_SCRATCH}}\"\noff_host = true\nencrypted = true\n{more}",
            self.path(name).display()
        )
    }

    fn env(&self) -> [(&'static str, String); 2] {
        [
            ("HC_SOURCE", self.source.url("looker", PASSWORD, "shop")),
            ("HC_SCRATCH", self.scratch.url("restorer", PASSWORD, "postgres")),
        ]
    }

    fn check(&self, name: &str, more: &str) -> Value {
        let env = self.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let row = gate::check_with(&["--allow-exec"], GATE, &self.settings(name, more), &[], &env);
        assert!(!row.to_string().contains(PASSWORD), "the password is shown: {row}");
        assert_eq!(
            self.scratch.sql("postgres", "select count(*) from pg_database where datname like 'hc%'"),
            "0",
            "a database was left behind"
        );
        row
    }
}

const CLOCK: &str = "clock = \"orders.created\"\nsmoke = [\"SELECT id FROM open_orders LIMIT 1\"]\n";

#[test]
fn a_dump_that_comes_back_passes() {
    let shop = Shop::open();
    for name in ["shop.dump", "shop.sql", "shop.tar", "shop.dir"] {
        shop.dump(name, &[]);
        let row = shop.check(name, CLOCK);
        says(&row, "pass", &[]);
        assert!(row["summary"].as_str().unwrap().contains("2 tables with 650 rows"), "{row:#}");
    }
    let own = "command = [\"sh\", \"-c\", \"pg_restore -d $PGDATABASE {artifact}\"]\n";
    says(&shop.check("shop.dump", own), "pass", &[]);
    // Said by nobody: where it lies, and whether somebody could read it.
    let env = shop.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let bare = shop.settings("shop.dump", "").replace("off_host = true\nencrypted = true\n", "");
    let bare = gate::check_with(&["--allow-exec"], GATE, &bare, &[], &env);
    says(&bare, "warn", &["same-host", "unencrypted"]);
}

#[test]
fn each_backup_that_is_none_is_named() {
    let shop = Shop::open();
    shop.dump("shop.dump", &[]);
    says(&shop.check("none-*.dump", ""), "fail", &["no-backup"]);
    std::fs::write(shop.path("zero.dump"), "").unwrap();
    says(&shop.check("zero.dump", ""), "fail", &["empty-backup"]);

    let whole = std::fs::read(shop.path("shop.dump")).unwrap();
    std::fs::write(shop.path("half.dump"), &whole[..whole.len() / 2]).unwrap();
    says(&shop.check("half.dump", ""), "fail", &["restore-failed"]);

    let day = Duration::from_secs(86_400);
    let old = std::fs::File::options().write(true).open(shop.path("shop.dump")).unwrap();
    let written = old.metadata().unwrap().modified().unwrap();
    old.set_modified(written - day * 2).unwrap();
    says(&shop.check("shop.dump", ""), "fail", &["stale-backup"]);
    old.set_modified(written).unwrap();

    shop.dump("schema.dump", &["--schema-only"]);
    says(&shop.check("schema.dump", CLOCK), "fail", &["missing-rows", "stale-content", "smoke"]);
    shop.dump("part.dump", &["--table=customers"]);
    says(&shop.check("part.dump", ""), "fail", &["missing-table"]);
    shop.dump("data.sql", &[]);
    let text = std::fs::read_to_string(shop.path("data.sql")).unwrap();
    let without: String =
        text.lines().filter(|l| !l.contains("pg_catalog.setval(")).map(|l| format!("{l}\n")).collect();
    std::fs::write(shop.path("data.sql"), without).unwrap();
    says(&shop.check("data.sql", ""), "fail", &["sequence-behind"]);

    says(&shop.check("shop.dump", "smoke = [\"SELECT 1 WHERE false\"]\n"), "fail", &["smoke"]);
    says(&shop.check("shop.dump", "command = [\"false\"]\n"), "fail", &["restore-failed"]);
    says(&shop.check("shop.dump", "command = [\"true\"]\n"), "fail", &["missing-table"]);

    // A role that only the source has.
    shop.source.sql("shop", "create role seller; grant select on orders to seller;");
    shop.dump("roles.dump", &[]);
    let roles = shop.check("roles.dump", "");
    says(&roles, "fail", &["restore-failed"]);
    assert!(roles["summary"].as_str().unwrap().contains("role \"seller\" does not exist"), "{roles:#}");
    shop.scratch.sql("postgres", "create role seller");
    says(&shop.check("roles.dump", ""), "pass", &[]);

    // Migrated since, and gone on for two days.
    shop.source.sql("shop", "alter table orders add column note text");
    says(&shop.check("roles.dump", ""), "warn", &["schema-differs"]);
    shop.source
        .sql("shop", "insert into orders (customer_id, state, created) values (1, 'open', now() + interval '2 days')");
    says(&shop.check("roles.dump", CLOCK), "fail", &["stale-content", "schema-differs"]);
}

#[test]
fn what_was_not_restored_is_an_error() {
    let shop = Shop::open();
    shop.dump("shop.dump", &[]);
    let env = shop.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reason = |row: &Value, expect: &str| {
        assert_eq!((row["verdict"].as_str(), row["reason"].as_str()), (Some("error"), Some(expect)), "{row:#}");
    };
    let settings = shop.settings("shop.dump", "");
    reason(&gate::check_with(&[], GATE, &settings, &[], &env), "not-rehearsed");
    let nowhere = settings.replace("scratch = \"${env:HC_SCRATCH}\"\n", "");
    reason(&gate::check_with(&["--allow-exec"], GATE, &nowhere, &[], &env), "not-rehearsed");
    let unnamed = "[gates]\ndatabase = { url = \"${env:HC_SOURCE}\" }\n";
    reason(&gate::check_with(&["--allow-exec"], GATE, unnamed, &[], &env), "no-artifact");
    let itself = settings.replace("HC_SCRATCH", "HC_SOURCE");
    reason(&gate::check_with(&["--allow-exec"], GATE, &itself, &[], &env), "same-server");
    std::fs::write(shop.path("sealed.dump"), "\u{1f}\u{8b}\0\0").unwrap();
    reason(&shop.check("sealed.dump", ""), "unknown-format");
    reason(&shop.check("no/such/*.dump", ""), "unreadable");
    shop.scratch.sql("postgres", "alter role restorer nosuperuser");
    reason(&shop.check("shop.dump", ""), "no-privilege");
}

#[test]
fn a_rehearsal_counts_for_its_time() {
    let shop = Shop::open();
    shop.dump("shop.dump", &[]);
    let project = tempfile::tempdir().unwrap();
    std::fs::write(project.path().join("hypercare.toml"), shop.settings("shop.dump", "")).unwrap();
    let check = |options: &[&str]| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_hypercare"))
            .current_dir(project.path())
            .env_remove("HYPERCARE_CONFIG")
            .envs(shop.env())
            .args(["check", "--repo", ".", "--only", GATE, "--format", "json", "--no-cache"])
            .args(options)
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["gates"][0].clone()
    };
    says(&check(&["--allow-exec"]), "pass", &[]);
    // What was seen then still counts.
    says(&check(&[]), "pass", &[]);
    // A restore that fails takes its place.
    let whole = std::fs::read(shop.path("shop.dump")).unwrap();
    std::fs::write(shop.path("shop.dump"), &whole[..whole.len() / 2]).unwrap();
    says(&check(&["--allow-exec"]), "fail", &["restore-failed"]);
    says(&check(&[]), "fail", &["restore-failed"]);
}
