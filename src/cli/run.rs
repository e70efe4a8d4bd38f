//! `hypercare run`: the daemon. Here the parts meet: store, daemon and web under one shutdown token.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::config::Need;
use super::{Exit, Failure, Global, query_facts};
use crate::config::Secrets;
use crate::daemon::launches::{self, Order};
use crate::daemon::tasks::{self, Daemon};
use crate::daemon::{Setup, feedback, tell};
use crate::remote;
use crate::sources::feedback::form::Form;
use crate::store::{Role, Store};
use crate::web::{self, FormAnswer, FormHandler, FormRequest};

/// Watch: gates, go-live, metrics, rules, messages, report
#[derive(Debug, clap::Args)]
#[command(after_help = "Stays in the foreground. Loopback only: http://127.0.0.1:9095/ is the launch room.\n\
Plans a launch for each [launch.NAME] that has none open, runs its gates, and waits for `hypercare go`.")]
pub struct Args {
    /// Do not plan launches; watch what is live already
    #[arg(long)]
    no_plan: bool,
    /// Let gates run commands that the repository names
    #[arg(long)]
    allow_exec: bool,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MustResolve)?;
    let listen = loaded.config.web.listen;
    web::check_listen(listen).map_err(|why| Failure::new(Exit::Usage, why))?;
    let setup = Arc::new(loaded.setup(args.allow_exec));
    let store = Store::open(&loaded.store_dir(), Role::Daemon, global.clock.clone()).await?;
    let store = remote::attach(store, &loaded.config.store.engine);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; is another daemon running? [web] listen names another"))?;

    if !args.no_plan {
        plan(&store, &setup).await?;
    }
    let daemon = tasks::start(store.clone(), setup.clone(), global.shutdown.clone()).await?;
    let told = setup.clone();
    let parts = web::Parts {
        store: store.clone(),
        services: setup.services.clone(),
        ready: daemon.ready.clone(),
        external_url: setup.external_url.clone(),
        listen: listener.local_addr()?,
        forms: forms(&daemon, &store),
        open: loaded.config.web.open(),
        facts: query_facts::of(&setup, daemon.board.clone(), store.clock.now(), listener.local_addr()?),
    };
    let app = web::App::with_report_inputs(parts, Arc::new(move |launch, as_of| tell::inputs(&told, launch, as_of)));
    tracing::info!(url = %setup.external_url, "launch room");
    let ended = web::serve(listener, app, global.shutdown.clone().cancelled_owned()).await;
    global.shutdown.cancel();
    daemon.stopped().await;
    ended.context("serving the launch room")?;
    Ok(Exit::Yes)
}

/// A launch for each `[launch.NAME]` that has none yet. One that ended is not planned again: `go` starts the next.
async fn plan(store: &Store, setup: &Setup) -> anyhow::Result<()> {
    let known = store.state.launches().await?;
    for service in setup.launches.keys().filter(|s| !known.iter().any(|l| l.service == **s)) {
        let order = Order::new("hypercare", store.clock.now());
        let launch = launches::plan(store, setup, service, &order).await?;
        tracing::info!(launch = %launch.id, "planned");
    }
    Ok(())
}

/// What `POST /f/NAME` does: the form reads and redacts, the daemon stores.
fn forms(daemon: &Daemon, store: &Store) -> BTreeMap<String, FormHandler> {
    let handler = |service: &str, form: &Arc<Form>| -> FormHandler {
        let (service, form) = (service.to_string(), form.clone());
        let (store, arrived) = (store.clone(), daemon.arrived.clone());
        Arc::new(move |request: FormRequest| {
            let (service, form, store, arrived) = (service.clone(), form.clone(), store.clone(), arrived.clone());
            Box::pin(async move {
                if !form.origin_allowed(request.origin.as_deref()) {
                    return FormAnswer::WrongOrigin;
                }
                let now = store.clock.now();
                match form.accept(&request.body, &request.content_type, request.remote, now) {
                    Ok(page) => match feedback::save(&store, &service, form.name(), &page, &arrived).await {
                        Ok(_) => FormAnswer::Thanks,
                        Err(error) => {
                            tracing::error!(form = form.name(), %error, "saving feedback failed");
                            FormAnswer::Failed
                        }
                    },
                    Err(refused) => {
                        tracing::debug!(form = form.name(), %refused, "feedback refused");
                        FormAnswer::Thanks
                    }
                }
            })
        })
    };
    daemon.forms.iter().map(|(name, (service, form))| (name.clone(), handler(service, form))).collect()
}
