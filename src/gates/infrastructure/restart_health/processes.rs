//! Rules for processes on a host (PM2, systemd, supervisor) and on platforms that restart them for us.

use super::{Row, Seen};
use crate::gates::context::Repo;
use crate::gates::manifests::ini::{Program, Unit};
use crate::gates::manifests::platform::{Care, Platform};
use crate::gates::manifests::pm2::App;
use crate::gates::manifests::{Manifests, Place};

pub(super) fn judge(repo: &Repo, all: &Manifests, seen: &mut Seen) {
    all.pm2.iter().for_each(|app| pm2(app, seen));
    all.units.iter().for_each(|u| unit(repo, u, seen));
    all.programs.iter().for_each(|p| program(p, seen));
    all.platforms.iter().for_each(|p| platform(p, seen));
}

fn row(place: &Place, what: &str, restart: &str, health: &str) -> Row {
    let (restart, health) = (restart.to_string(), health.to_string());
    Row { place: place.clone(), what: what.to_string(), restart, health, orchestrated: false, exempt: None }
}

/// PM2 starts a process again unless told otherwise, and gives up after `max_restarts` quick deaths.
fn pm2(app: &App, seen: &mut Seen) {
    let what = format!("PM2 app {}", app.name);
    let off = app.get("autorestart") == Some("false");
    let mut row = row(&app.place, &what, if off { "autorestart: false" } else { "autorestart" }, "its process only");
    let at = |key: &str| Place::new(&app.place.file, app.line_of(key));
    if off && app.has("cron_restart") {
        row.exempt = Some("started by the clock".into());
    } else {
        if off {
            seen.fail(
                "no-restart",
                &at("autorestart"),
                &what,
                "autorestart: false: once ended, it stays down",
                "remove autorestart: false",
            );
        }
        if app.get("max_restarts") == Some("0") {
            seen.fail(
                "no-restart",
                &at("max_restarts"),
                &what,
                "max_restarts: 0: PM2 gives up at once",
                "set max_restarts: 10 and min_uptime: '10s'",
            );
        }
        if matches!(app.get("watch"), Some("true")) {
            seen.warn("watch", &at("watch"), &what, "watch: true: a written file restarts it", "set watch: false");
        }
        if !app.has("max_memory_restart") {
            seen.warn(
                "no-memory-limit",
                &app.place,
                &what,
                "no max_memory_restart: a leak takes the host with it",
                "set max_memory_restart: '512M'",
            );
        }
        if !app.has("max_restarts") || !app.has("min_uptime") {
            let problem =
                "min_uptime and max_restarts are PM2's own: 16 deaths within a second each, then it stays down";
            seen.note(
                "restart-limits",
                &app.place,
                &what,
                problem,
                "set min_uptime: '10s' and max_restarts: 10, and watch the restart count",
            );
        }
        let problem = "no file shows whether PM2 itself comes back with the host";
        seen.note("pm2-startup", &app.place, &what, problem, "run pm2 startup and pm2 save on the host");
    }
    seen.rows.push(row);
}

fn unit(repo: &Repo, unit: &Unit, seen: &mut Seen) {
    let what = format!("unit {}", unit.name);
    let get = |key: &str| unit.get("Service", key);
    let policy = get("Restart").unwrap_or("no");
    let mut row = row(
        &unit.place,
        &what,
        &format!("Restart={policy}"),
        get("WatchdogSec").map_or("its process only", |_| "watchdog"),
    );
    let timer = unit.name.replace(".service", ".timer");
    let stays = get("RemainAfterExit").is_some_and(|v| matches!(v, "yes" | "true" | "1"));
    if get("Type") == Some("oneshot") || stays || repo.files.iter().any(|f| f.path.rsplit('/').next() == Some(&timer)) {
        row.exempt = Some("does its work and ends".into());
        seen.rows.push(row);
        return;
    }
    let place = Place::new(&unit.place.file, unit.line_of("Service", "Restart"));
    match policy {
        "always" | "on-failure" => {}
        "on-abnormal" | "on-abort" | "on-watchdog" => {
            let problem = format!("Restart={policy} leaves it down after an error exit");
            seen.warn("weak-restart", &place, &what, &problem, "set Restart=on-failure");
        }
        "no" | "false" => {
            seen.fail(
                "no-restart",
                &place,
                &what,
                "no Restart=: once ended, it stays down",
                "add Restart=on-failure and RestartSec=5",
            );
        }
        // `on-success` and words that systemd does not know.
        other => {
            let problem = format!("Restart={other} does not restart it after a failure");
            seen.fail("no-restart", &place, &what, &problem, "set Restart=on-failure and RestartSec=5");
        }
    }
    // Five starts in ten seconds are the limit, and the pause between them is a tenth of a second by default.
    let unlimited =
        unit.get("Unit", "StartLimitIntervalSec").or(get("StartLimitInterval")).is_some_and(|v| v == "0" || v == "0s");
    if matches!(policy, "always" | "on-failure") && get("RestartSec").is_none() && !unlimited {
        let problem = "no RestartSec: five quick deaths take half a second, and then systemd gives up";
        seen.warn("restart-limits", &place, &what, problem, "add RestartSec=5");
    }
    if get("WatchdogSec").is_none() {
        seen.note(
            "no-watchdog",
            &unit.place,
            &what,
            "no WatchdogSec: a stuck process stays",
            "let it notify the watchdog and set WatchdogSec=30",
        );
    }
    seen.rows.push(row);
}

fn program(program: &Program, seen: &mut Seen) {
    let what = format!("supervisor program {}", program.name);
    let get = |key: &str| program.keys.get(key).map(|(v, line)| (v.as_str(), Place::new(&program.place.file, *line)));
    let policy = get("autorestart").map_or("unexpected", |(v, _)| v);
    let mut row = row(&program.place, &what, &format!("autorestart={policy}"), "its process only");
    if get("autostart").is_some_and(|(v, _)| v == "false") {
        row.exempt = Some("started by hand".into());
    } else if let Some((value, place)) = get("autorestart").filter(|(v, _)| *v == "false") {
        // What starts once and ends well is a job: supervisor has no other word for it.
        if get("startsecs").is_some_and(|(v, _)| v == "0") {
            row.exempt = Some("does its work and ends".into());
        } else {
            let problem = format!("autorestart={value}: once ended, it stays down");
            seen.fail("no-restart", &place, &what, &problem, "set autorestart=true");
        }
    }
    seen.rows.push(row);
}

fn platform(platform: &Platform, seen: &mut Seen) {
    let what = format!("{} on {}", platform.runs, platform.name);
    let mut row = row(&platform.place, &what, "by the platform", "none");
    row.orchestrated = true;
    match platform.care {
        Care::Managed => row.exempt = Some(format!("managed by {}", platform.name)),
        Care::NoRestart { line } => {
            row.restart = "never".into();
            let place = Place::new(&platform.place.file, line);
            seen.fail(
                "no-restart",
                &place,
                &what,
                "told not to restart: once ended, it stays down",
                "set the restart policy to on-failure",
            );
        }
        Care::Restarts { checked: true } => row.health = "by the platform".into(),
        Care::Restarts { checked: false } => {
            let worker = platform.name == "Procfile platform" && platform.runs != "web";
            if !worker {
                let problem = "no health check: the platform sends it requests as soon as its port is open";
                seen.warn(
                    "no-healthcheck",
                    &platform.place,
                    &what,
                    problem,
                    "declare the platform's health check on /health",
                );
            }
        }
    }
    seen.rows.push(row);
}
