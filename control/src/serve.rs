//! `intertrunk serve`: from a configuration to a running daemon, and to its end.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use border::Ports;
use relay::Relay;
use tokio::sync::Notify;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::library::Library;
use crate::listen;
use calls::call::Calls;

/// Runs the daemon until `stop` completes.
///
/// # Errors
/// When something that is configured cannot be had.
pub async fn serve(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let now = Instant::now();
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
    let unix = config.listen_ng_unix.as_ref().map(listen::unix).transpose()?;
    let unixgram = config.listen_ng_unixgram.as_ref().map(listen::unixgram).transpose()?;

    let ports = Ports::of(&config.relay.interfaces, (config.relay.port_min, config.relay.port_max))?;
    let news = Arc::new(Notify::new());
    let notified = Arc::clone(&news);
    let relay = Relay::start(&config.relay, move || notified.notify_one())?;
    let mut settings = config.calls.clone();
    // A call that is refused can go elsewhere; one without sockets would be silent.
    settings.limits.sessions = settings.limits.sessions.into_iter().chain(relay.max_calls()).min();
    let calls = Calls::new(config.relay.interfaces.clone(), ports, settings, mark(), now);
    let (engine, why) = (relay.engine(), relay.why().to_owned());
    let ports = if relay.has_bound_ports() { "bound" } else { "steered" };
    let daemon = Arc::new(Daemon::new(calls, relay, Library::start()?));

    let mut tasks = tokio::task::JoinSet::new();
    for socket in udp {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    for socket in tcp {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    for socket in http {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    if let Some(socket) = unix {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    if let Some(socket) = unixgram {
        tasks.spawn(socket.serve(Arc::clone(&daemon)));
    }
    tasks.spawn(tick(Arc::clone(&daemon)));
    tasks.spawn(hear(Arc::clone(&daemon), news));
    tracing::info!(%engine, why, ports, "ready");

    tokio::select! {
        () = stop => {}
        // No task ends by itself; one that does has panicked, or has seen that the relay is broken.
        Some(ended) = tasks.join_next() => anyhow::bail!("a part of the daemon has ended: {ended:?}"),
    }
    tasks.shutdown().await;
    let (passed, dropped) = daemon.reasons();
    tracing::info!(calls = daemon.calls(), passed, dropped, "stopped");
    Ok(())
}

/// What nobody else marks descriptions with.
fn mark() -> Vec<u8> {
    // Its keys are from the system's random numbers.
    let secret = RandomState::new();
    format!("{:016x}{:016x}", secret.hash_one(1), secret.hash_one(2)).into_bytes()
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
