//! Rules for images and compose services. Docker marks a container unhealthy and does nothing about it; it restarts one
//! that has ended only when told so.

use super::{Row, Seen};
use crate::gates::manifests::compose::{self, ComposeFile, Health, Service};
use crate::gates::manifests::dockerfile::{self, Dockerfile, Has, HealthCheck};
use crate::gates::manifests::{Manifests, Place, images};

/// `own`: the name under which the repository's image is published.
pub(super) fn compose(all: &Manifests, own: Option<&str>, seen: &mut Seen) {
    for file in &all.compose {
        for service in &file.services {
            let what = format!("compose service {}", service.name);
            let image = image_of(all, service).or_else(|| published(all, service, own));
            let mut row = Row {
                place: service.place.clone(),
                what: what.clone(),
                restart: restart_of(file, service).0,
                health: health_of(service, image),
                orchestrated: false,
                exempt: None,
            };
            if service.in_profile {
                row.exempt = Some("started by name only (profiles)".into());
            } else if service.is_one_shot() {
                row.exempt = Some("does its work and ends".into());
            } else {
                restart(file, service, &what, seen);
                health(service, image, &what, seen);
            }
            seen.rows.push(row);
        }
    }
}

/// The Dockerfile that a service builds, and its stage.
fn image_of<'a>(all: &'a Manifests, service: &'a Service) -> Option<(&'a Dockerfile, Option<&'a str>)> {
    let build = service.build.as_ref()?;
    let file = all.dockerfiles.iter().find(|d| d.file == build.dockerfile)?;
    Some((file, build.target.as_deref()))
}

/// The recipe of an image that the service pulls and this repository makes: of several the one with a health check.
fn published<'a>(
    all: &'a Manifests,
    service: &Service,
    own: Option<&str>,
) -> Option<(&'a Dockerfile, Option<&'a str>)> {
    let image = service.image.as_deref().filter(|_| service.build.is_none())?;
    let ours = images::image_name(image) == own?;
    let checked = |file: &&Dockerfile| file.health(None).is_some();
    let file = all.dockerfiles.iter().find(checked).or(all.dockerfiles.first()).filter(|_| ours)?;
    Some((file, None))
}

/// The policy in force and the line that says so; empty when nothing does.
fn restart_of(file: &ComposeFile, service: &Service) -> (String, u32) {
    let swarm = file.file.rsplit('/').next().is_some_and(|n| n.contains("stack"));
    let said = service.deploy_restart.clone().or_else(|| service.restart.clone());
    // A swarm restarts whatever nobody said anything about.
    said.unwrap_or_else(|| (if swarm { "any" } else { "" }.to_string(), service.place.line))
}

fn restart(file: &ComposeFile, service: &Service, what: &str, seen: &mut Seen) {
    let (policy, line) = restart_of(file, service);
    let said = service.restart.is_some() || service.deploy_restart.is_some();
    let place = Place::new(&service.place.file, line);
    let good = ["always", "unless-stopped", "any", "on-failure"]
        .iter()
        .any(|p| policy == *p || policy.starts_with("on-failure:"));
    if good {
        return;
    }
    if said && policy.is_empty() {
        seen.warn(
            "restart-unknown",
            &place,
            what,
            "its restart policy comes from a variable without a default",
            "write restart: unless-stopped",
        );
        return;
    }
    let problem = match policy.as_str() {
        "" => "no restart policy: once ended, it stays down".to_string(),
        policy => format!("restart: {policy}: once ended, it stays down"),
    };
    seen.fail("no-restart", &place, what, &problem, remedy(service));
}

/// The hint of the specification, with the port filled in.
fn remedy(service: &Service) -> String {
    let port = service.ports.first().copied().unwrap_or(8080);
    let restart = match service.restart.is_some() || service.deploy_restart.is_some() {
        true => "",
        false => "restart: unless-stopped and ",
    };
    match &service.health {
        Health::Unsaid | Health::Off(_) if !service.is_supporting() => format!(
            "add {restart}healthcheck: {{test: [\"CMD\",\"wget\",\"-qO-\",\"http://127.0.0.1:{port}/health\"], interval: 10s, timeout: 3s, retries: 3}}"
        ),
        _ => "add restart: unless-stopped".into(),
    }
}

fn health_of(service: &Service, image: Option<(&Dockerfile, Option<&str>)>) -> String {
    match &service.health {
        Health::Off(_) => "switched off".into(),
        Health::OfImage(_) => "the image's own".into(),
        Health::Test { command, .. } => command.join(" "),
        Health::Unsaid => match image.and_then(|(file, target)| file.health(target)) {
            Some(check) if !check.off => format!("HEALTHCHECK {}", check.command.join(" ")),
            _ => "none".into(),
        },
    }
}

fn health(service: &Service, image: Option<(&Dockerfile, Option<&str>)>, what: &str, seen: &mut Seen) {
    let place = |line: u32| Place::new(&service.place.file, line);
    let own = service.image.as_deref().filter(|_| service.build.is_none());
    match &service.health {
        Health::OfImage(_) => {}
        Health::Unsaid if own.is_some_and(images::checks_itself) => {}
        Health::Off(line) => missing(service, &place(*line), what, "its health check is switched off", seen),
        Health::Unsaid => match image.and_then(|(file, target)| Some((file, target, file.health(target)?))) {
            Some((file, target, check)) if !check.off => built_in(file, target, check, what, seen),
            Some((file, _, check)) => {
                missing(
                    service,
                    &Place::new(&file.file, check.line),
                    what,
                    "HEALTHCHECK NONE switches its health check off",
                    seen,
                );
            }
            None if own.is_some_and(is_variable) => {
                let problem = "no health check here, and its image is named by a variable";
                let fix = "declare a healthcheck, or healthcheck: {disable: false} when the image brings one";
                seen.warn("no-healthcheck", &service.place, what, problem, fix);
            }
            None if own.is_some() && !service.is_supporting() => {
                // Its recipe is elsewhere: the file at least has to say that it relies on the image.
                let problem = "no health check here, and what its image brings cannot be seen";
                missing(service, &service.place, what, problem, seen);
            }
            None => missing(service, &service.place, what, "no health check", seen),
        },
        Health::Test { line, command, interval, timeout } => {
            let seconds = |t: &Option<String>| t.as_deref().and_then(compose::seconds);
            if let (Some(interval), Some(timeout)) = (seconds(interval), seconds(timeout))
                && timeout > interval
            {
                let problem = format!("the health check may take {timeout} s and is asked every {interval} s");
                seen.warn("probe-timeout", &place(*line), what, &problem, "make timeout smaller than interval");
            }
            let has = |program: &str| match (image, &service.image) {
                (Some((file, target)), _) => file.has(target, program),
                (None, Some(image)) if service.build.is_none() => dockerfile::image_has(image, program),
                _ => Has::Unknown,
            };
            client(command, has, &place(*line), what, seen);
        }
    }
}

/// Which image it is, only the environment knows.
fn is_variable(image: &str) -> bool {
    image.contains('$') || images::image_name(image).is_empty()
}

/// No check at all: a defect of what we write, a weakness of what stands behind it.
fn missing(service: &Service, place: &Place, what: &str, problem: &str, seen: &mut Seen) {
    if service.is_supporting() {
        seen.warn(
            "no-healthcheck",
            place,
            what,
            problem,
            "add a healthcheck with the image's own client (pg_isready, redis-cli ping)",
        );
    } else {
        seen.fail("no-healthcheck", place, what, problem, remedy(service));
    }
}

/// A check that starts a client the image does not have never succeeds.
fn client(command: &[String], has: impl Fn(&str) -> Has, place: &Place, what: &str, seen: &mut Seen) {
    let Some(client) = dockerfile::client(command) else { return };
    if has(client) == Has::No {
        let problem = format!("the health check starts {client}, which the image does not have: it always fails");
        seen.fail(
            "probe-client",
            place,
            what,
            &problem,
            format!("install {client} in the image, or use a client that is in it"),
        );
    }
}

fn built_in(file: &Dockerfile, target: Option<&str>, check: &HealthCheck, what: &str, seen: &mut Seen) {
    let place = Place::new(&file.file, check.line);
    if check.needs_shell && file.has(target, "sh") == Has::No {
        let problem = "HEALTHCHECK needs a shell, which the image does not have: it always fails";
        seen.fail("probe-client", &place, what, problem, "write it as [\"CMD\", …] with a program of the image");
        return;
    }
    client(&check.command, |program| file.has(target, program), &place, what, seen);
}

/// Images that nothing in the repository runs: all we know is their HEALTHCHECK.
pub(super) fn images(all: &Manifests, elsewhere: bool, serves: bool, seen: &mut Seen) {
    for file in &all.dockerfiles {
        let what = format!("image of {}", file.file);
        let check = file.health(None).filter(|c| !c.off);
        let exposes = file.lineage(None).iter().any(|s| s.exposes);
        seen.rows.push(Row {
            place: file.place(),
            what: what.clone(),
            restart: "not described".into(),
            health: check.map_or("none".into(), |c| format!("HEALTHCHECK {}", c.command.join(" "))),
            orchestrated: false,
            exempt: None,
        });
        let fix = "add HEALTHCHECK --interval=10s --timeout=3s CMD […], and commit what runs the image (compose file with restart: unless-stopped, manifests); or set deployed_elsewhere = true";
        match check {
            Some(check) => {
                built_in(file, None, check, &what, seen);
                let problem = "has a health check, but nothing says what restarts it: Docker alone does not";
                seen.warn(
                    "runtime-unknown",
                    &file.place(),
                    &what,
                    problem,
                    "commit what runs the image: a compose file with restart: unless-stopped, or manifests",
                );
            }
            None if elsewhere => {
                let problem = "no HEALTHCHECK; what runs it is described elsewhere";
                seen.warn(
                    "no-healthcheck",
                    &file.place(),
                    &what,
                    problem,
                    "see that the other repository declares probes",
                );
            }
            // Without a port and without a web framework it may be a tool that somebody starts by hand.
            None if exposes || serves => {
                seen.fail(
                    "no-healthcheck",
                    &file.place(),
                    &what,
                    "no HEALTHCHECK, and nothing says what restarts it",
                    fix,
                );
            }
            None => {
                seen.warn("no-healthcheck", &file.place(), &what, "no HEALTHCHECK, and nothing says what runs it", fix);
            }
        }
    }
}
