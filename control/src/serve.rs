//! `intertrunk serve`: from a configuration to a running daemon, and to its end.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use border::Ports;
use relay::{Keep, Relay};
use tokio::sync::Notify;

use crate::config::{Config, OnStop, TakeOver};
use crate::console::console;
use crate::ctl;
use crate::daemon::Daemon;
use crate::dashboard::dashboard;
use crate::homer::Homer;
use crate::instance;
use crate::journal::{self, Heading, Journal, Log};
use crate::library::Library;
use crate::listen;
use crate::logging::Logging;
use crate::metrics::Metrics;
use crate::orders::{Order, Orders, Reload};
use crate::records::Records;
use crate::service::Manager;
use crate::state::{StateError, StateFolder, boot_id, since_boot};
use crate::view::Itself;
use calls::call::{Calls, Clock};
use calls::ng::Exchange;

/// How often it is told how many lines were left out of the log.
const TELL: Duration = Duration::from_secs(10);
/// How often it is looked whether the last call has ended, when no new ones are taken.
const LOOK: Duration = Duration::from_millis(100);

/// Why the daemon has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It was told to take no new calls, whether it has lost its last one or was told to stop before.
    Drained,
}

/// Runs the daemon until it is told to stop, or has lost its last call when it takes no more.
///
/// # Errors
/// When something that is configured cannot be had.
pub async fn serve(mut config: Config, mut orders: Orders, mut logging: Logging) -> anyhow::Result<Ended> {
    let (now, clock) = (Instant::now(), Clock::new(Instant::now(), since_boot()));
    relay::raise_descriptor_limit();
    // The control sockets come first: a second daemon that was started by mistake ends here, before it touches the first one's media.
    let mut udp = Vec::new();
    for addr in &config.listen_ng.0 {
        udp.push(listen::udp(*addr, config.listen_ng.1.clone()).await?);
    }
    let (mut tcp, mut http) = (Vec::new(), Vec::new());
    for addr in &config.listen_tcp_ng.0 {
        tcp.push(listen::tcp(*addr, config.listen_tcp_ng.1.clone()).await?);
    }
    for addr in &config.listen_http.0 {
        http.push(listen::http(*addr, config.listen_http.1.clone()).await?);
    }
    let mut ctls = Vec::new();
    for addr in &config.listen_cli.0 {
        ctls.push(ctl::ctl(*addr, config.listen_cli.1.clone()).await?);
    }
    let mut pages = Vec::new();
    for addr in &config.listen_dashboard.0 {
        pages.push(dashboard(*addr, config.listen_dashboard.1.clone()).await?);
    }
    let mut scraped = Vec::new();
    for addr in &config.listen_metrics.0 {
        scraped.push(listen::scraped(*addr, config.listen_metrics.1.clone()).await?);
    }
    let unix = config.listen_ng_unix.as_ref().map(listen::unix).transpose()?;
    let unixgram = config.listen_ng_unixgram.as_ref().map(listen::unixgram).transpose()?;

    // Whatever may be refused because of a mistake in the configuration comes before anything of this daemon is in the kernel, and before
    // anything of an earlier one is ended.
    let library = Library::start()?;
    let records = if config.records.is_empty() { None } else { Some(Records::start(&config.records)?) };

    let ports = Ports::of(&config.relay.interfaces, (config.relay.port_min, config.relay.port_max))?;
    let folder = if config.take_over.is_wanted { state_folder(&config.take_over)? } else { None };
    let boot = boot_id().context("the kernel does not tell which time it was booted")?;
    let found = folder.as_ref().map(|folder| journal::find(folder.path(), &boot)).unwrap_or_default();
    let mark = found.mark.clone().unwrap_or_else(mark);
    let calls =
        Calls::new(config.relay.interfaces.clone(), ports, config.calls.clone(), mark.clone().into_bytes(), clock);
    let mut calls = calls.with_entropy(entropy);
    let mut exchange = Exchange::new();
    let mut restored = journal::restore(&found, &mut calls, &mut exchange, clock, now);
    let is_whole = found.is_whole;
    drop(found);
    if let Some(folder) = &folder {
        let TakeOver { pin_dir, instance, .. } = &config.take_over;
        let pins = pin_dir.join(instance);
        if let Err(error) = folder.set_pins(&pins) {
            tracing::warn!(%error, "it cannot be noted where the kernel's part of this instance is: flush has to be told");
        }
        config.relay.keep = Some(Keep { pins, notes: folder.path().join("notes"), has_orphans: !is_whole });
    } else {
        // What an earlier daemon has left would forward beside this one, and nobody would ever end it.
        instance::clear(&config.take_over);
    }
    let news = Arc::new(Notify::new());
    let notified = Arc::clone(&news);
    let measures_rtcp = config.relay.measure_rtcp;
    let relay = Relay::start(&config.relay, move || notified.notify_one(), &calls.desired())?;
    // A call that is refused can go elsewhere; one without sockets would be silent.
    calls.limit_sessions(relay.max_calls());
    calls.set_orphans(relay.orphans(), now);
    let (engine, why) = (relay.engine(), relay.why().to_owned());
    let ports = if relay.has_bound_ports() { "bound" } else { "steered" };
    let journal = folder.as_ref().map(|folder| {
        let log = Log::new(folder.path(), Heading { boot, mark });
        let mut journal = Journal::new(Box::new(log), clock, Instant::now());
        // Some hundred bytes each, and nobody else wants them.
        journal.keep(&std::mem::take(&mut restored.replies), now);
        journal.complete(&calls, now);
        journal
    });
    let daemon = Arc::new(Daemon::new(calls, exchange, relay, library, (journal, config.take_over.is_wanted)));
    if let Some(records) = records {
        daemon.keep_records(records);
    }
    if let Some(config) = &config.homer {
        if config.has_rtcp && !measures_rtcp {
            tracing::warn!("Homer is not told of RTCP, because measure-rtcp is off");
        }
        let named = Arc::downgrade(&daemon);
        let names = move |numbers: &[u64]| named.upgrade().map(|daemon| daemon.names(numbers)).unwrap_or_default();
        daemon.tell_homer(Homer::start(config.clone(), names)?);
    }
    if restored.calls + restored.lost > 0 {
        tracing::info!(calls = restored.calls, lost = restored.lost, "calls of the daemon before go on");
    }

    let mut tasks = tokio::task::JoinSet::new();
    for socket in udp {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    for socket in tcp {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    let itself = Itself { instance: config.take_over.instance.clone(), engine: engine.to_string(), why: why.clone() };
    let itself = Arc::new(itself);
    let metrics = Metrics::new(Arc::clone(&daemon), Arc::clone(&itself), config.metrics_names);
    for socket in http {
        tasks.spawn(socket.serve(Arc::clone(&daemon), metrics.clone()));
    }
    for socket in ctls {
        tasks.spawn(socket.serve(Arc::clone(&daemon), orders.asks()));
    }
    for page in pages {
        let (daemon, itself) = (Arc::clone(&daemon), Arc::clone(&itself));
        tasks.spawn(page.serve(daemon, itself, orders.asks(), config.dashboard_token.clone()));
    }
    for socket in scraped {
        tasks.spawn(socket.serve(metrics.clone()));
    }
    if let Some(socket) = unix {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    if let Some(socket) = unixgram {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    match console(&config.listen_control) {
        Ok(console) => drop(tasks.spawn(console.serve(
            Arc::clone(&daemon),
            Arc::clone(&itself),
            orders.asks(),
            config.may_decrypt,
        ))),
        // Calls are worth more.
        Err(error) => tracing::warn!("the command line does not find this daemon: {error:#}"),
    }
    tasks.spawn(tick(Arc::clone(&daemon)));
    tasks.spawn(hear(Arc::clone(&daemon), news));
    tracing::info!(%engine, why, ports, "ready");
    let manager = Manager::find();
    manager.ready(&format!("{engine}: {why}"));

    let mut is_draining = folder.as_ref().is_some_and(StateFolder::is_draining);
    if is_draining {
        daemon.drain();
        tracing::info!(
            calls = daemon.calls(),
            "no new calls are taken, as in the daemon before; this ends with the last one"
        );
    }
    let mut tell = tokio::time::interval(TELL);
    let mut pulse = manager.pulse().map(tokio::time::interval);
    loop {
        tokio::select! {
            order = orders.next() => match order {
                Order::Stop => break,
                Order::Drain => {
                    is_draining = true;
                    daemon.drain();
                    drains(folder.as_ref(), true);
                    tracing::info!(calls = daemon.calls(), "no new calls are taken; this ends with the last one");
                }
                Order::Reload(reload) => {
                    let Reload { config, needs_restart } = *reload;
                    logging.set_level(config.log_level);
                    daemon.reload(config.calls);
                    tracing::info!(?needs_restart, "the configuration was read again; what needs another start is as it was");
                }
                Order::Set(key, value, config) => {
                    logging.set_level(config.log_level);
                    daemon.reload(config.calls);
                    tracing::info!(key, %value, "the operator has changed a setting, until the next start or reload");
                }
            },
            _ = tell.tick() => logging.tell(),
            // Whoever cannot have the daemon's lock does not live.
            () = beat(&mut pulse) => {
                let calls = daemon.calls();
                manager.alive();
                manager.status(&format!("{engine}, {calls} calls"));
            }
            () = tokio::time::sleep(LOOK), if is_draining => {
                if daemon.calls() == 0 {
                    break;
                }
            }
            // No task ends by itself; one that does has panicked, or has seen that the relay is broken.
            Some(ended) = tasks.join_next() => anyhow::bail!("a part of the daemon has ended: {ended:?}"),
        }
    }
    manager.stopping();
    // Whoever starts it again wants it to serve.
    drains(folder.as_ref(), false);
    tasks.shutdown().await;
    let (passed, dropped) = daemon.reasons();
    tracing::info!(calls = daemon.calls(), passed, dropped, "stopped");
    let keeps = folder.is_some() && config.take_over.on_stop == OnStop::Keep;
    // Connections may still have it; none of them has a turn any more.
    if keeps {
        daemon.leave();
    } else {
        daemon.end();
    }
    Ok(if is_draining { Ended::Drained } else { Ended::Stopped })
}

/// Tells whoever comes next whether no new calls are taken.
fn drains(folder: Option<&StateFolder>, is_draining: bool) {
    if let Some(Err(error)) = folder.map(|folder| folder.set_draining(is_draining)) {
        tracing::warn!(%error, "whoever comes after this daemon, should it be killed, will not know whether new calls are taken");
    }
}

/// The folder in which this instance keeps what the next daemon needs; none where the host permits none: calls are carried all the same.
fn state_folder(take_over: &TakeOver) -> anyhow::Result<Option<StateFolder>> {
    match StateFolder::open(&take_over.state_dir, &take_over.instance) {
        Ok(folder) => Ok(Some(folder)),
        Err(error @ StateError::Taken(_)) => Err(error.into()),
        Err(error @ StateError::Folder { .. }) => {
            tracing::warn!("calls end with this process, because nothing can be kept for the next one: {error}");
            Ok(None)
        }
    }
}

/// What nobody can foresee, for keys: the system's own.
fn entropy(mut into: &mut [u8]) {
    while !into.is_empty() {
        // It fails only when it is interrupted.
        let filled = rustix::rand::getrandom(&mut *into, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
        into = into.get_mut(filled..).unwrap_or_default();
    }
}

/// What nobody else marks descriptions with.
fn mark() -> String {
    // Its keys are from the system's random numbers.
    let secret = RandomState::new();
    format!("{:016x}{:016x}", secret.hash_one(1), secret.hash_one(2))
}

/// Waits for the next time to tell that the daemon lives; for ever where nobody wants to hear that.
async fn beat(pulse: &mut Option<tokio::time::Interval>) {
    match pulse {
        Some(pulse) => drop(pulse.tick().await),
        None => std::future::pending().await,
    }
}

/// Takes what the relay tells, some events at a time: commands are served in between.
async fn hear(daemon: Arc<Daemon>, news: Arc<Notify>) {
    loop {
        news.notified().await;
        while daemon.hear() {
            tokio::task::yield_now().await;
        }
    }
}

async fn tick(daemon: Arc<Daemon>) {
    loop {
        match daemon.tick() {
            Ok(Duration::ZERO) => tokio::task::yield_now().await,
            Ok(pause) => tokio::time::sleep(pause).await,
            Err(dead) => return tracing::error!("{dead}"),
        }
    }
}
