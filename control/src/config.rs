//! The configuration: what is decided by what was said, and where nothing was said.

mod checks;
mod options;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use border::{Interface, Interfaces, Learning};
use calls::call;
use relay::{Engine, Intake, Output, RelayConfig, TrustConfig, XdpMode};

use crate::homer::{HomerConfig, Transport};
use crate::listen::{Guests, SocketFile};
use crate::metrics::Names;
use crate::records::Target;
use checks::{guarded, id_of, positive, prefixes, with_aliases, word};
pub use options::Options;

/// The configuration that is meant when nothing is said: that of the package.
pub const USUAL: &str = "/etc/intertrunk/intertrunk.toml";

/// The first and the last media port when nothing is configured: those of rtpengine.
pub const MEDIA_PORTS: (u16, u16) = (30_000, 40_000);

/// Where NG is listened for when nothing is configured: loopback, the port of rtpengine's sample configuration.
const DEFAULT_NG: &str = "127.0.0.1:2223";

/// What rtpengine calls itself in Homer, and its dialogue with proxies: the first protocol that Homer gives to nobody.
const HOMER_ID: u32 = 2001;
const NG_IN_HOMER: u8 = 61;

/// A shorter one is guessed.
const SHORTEST_TOKEN: usize = 16;

/// What becomes of calls when the daemon is told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnStop {
    /// They end.
    End,
    /// They go on, in the kernel, until the next daemon takes them over.
    Keep,
}

/// How the next daemon goes on with the calls of this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TakeOver {
    /// Whether it does.
    pub is_wanted: bool,
    /// What the daemon is called among those of this host.
    pub instance: String,
    /// Where what is written down is kept.
    pub state_dir: PathBuf,
    /// Where what is in the kernel is kept.
    pub pin_dir: PathBuf,
    /// What becomes of calls when the daemon is told to stop.
    pub on_stop: OnStop,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Everything decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the data plane.
    pub relay: RelayConfig,
    /// For the calls.
    pub calls: call::Settings,
    /// UDP addresses of NG, and who may use them.
    pub listen_ng: (Vec<SocketAddr>, Guests),
    /// TCP addresses of NG.
    pub listen_tcp_ng: (Vec<SocketAddr>, Guests),
    /// TCP addresses of NG over HTTP and WebSocket.
    pub listen_http: (Vec<SocketAddr>, Guests),
    /// TCP addresses of the line socket of rtpengine-ctl.
    pub listen_cli: (Vec<SocketAddr>, Guests),
    /// TCP addresses of the dashboard.
    pub listen_dashboard: (Vec<SocketAddr>, Guests),
    /// Whoever says this may drain by it.
    pub dashboard_token: Option<Arc<str>>,
    /// TCP addresses where metrics are told.
    pub listen_metrics: (Vec<SocketAddr>, Guests),
    /// Under which names.
    pub metrics_names: Names,
    /// The stream socket of NG.
    pub listen_ng_unix: Option<SocketFile>,
    /// The datagram socket of NG.
    pub listen_ng_unixgram: Option<SocketFile>,
    /// The socket of the command line.
    pub listen_control: SocketFile,
    /// How the next daemon goes on; `None`: it does not.
    pub take_over: TakeOver,
    /// Where records of ended calls go.
    pub records: Vec<Target>,
    /// Homer, and what it is told.
    pub homer: Option<HomerConfig>,
    /// Whether captures may have what is behind SRTP.
    pub may_decrypt: bool,
    /// What is logged.
    pub log_level: tracing::Level,
    /// How.
    pub log_format: LogFormat,
}

impl Options {
    /// Decides everything.
    ///
    /// # Errors
    /// When something that was said makes no sense; with the key.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let texts = self.interface.clone().unwrap_or_default();
        let (aliases, texts): (Vec<_>, Vec<_>) =
            texts.iter().partition(|text| text.contains('=') && !text.contains('/'));
        let interfaces: Vec<Interface> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let defaults = call::Settings::default();
        let (port_min, port_max) = (self.port_min.unwrap_or(MEDIA_PORTS.0), self.port_max.unwrap_or(MEDIA_PORTS.1));
        if port_min < 1024 || port_min >= port_max {
            bail!("port-min {port_min} and port-max {port_max} are no range: want 1024 <= port-min < port-max");
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = self.workers.unwrap_or(cores);
        if workers == 0 {
            bail!("workers = 0: the slow path needs at least one");
        }
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        Ok(Config {
            relay: RelayConfig {
                interfaces: with_aliases(Interfaces::new(interfaces)?, &aliases)?,
                port_min,
                port_max,
                engine: self.engine.as_deref().map_or(Ok(Engine::default()), str::parse).context("engine")?,
                xdp_mode: word(
                    "xdp-mode",
                    self.xdp_mode.as_deref(),
                    &[("native", XdpMode::Native), ("generic", XdpMode::Generic)],
                )?,
                intake: word(
                    "intake",
                    self.intake.as_deref(),
                    &[
                        ("auto", Intake::Auto),
                        ("xsk", Intake::Xsk),
                        ("steered", Intake::Steered),
                        ("bound", Intake::Bound),
                    ],
                )?,
                output: word(
                    "output",
                    self.output.as_deref(),
                    &[("device", Output::Device), ("xsk", Output::Xsk), ("stack", Output::Stack)],
                )?,
                workers,
                pin_workers: self.pin_workers.unwrap_or(false),
                busy_poll: Duration::from_micros(self.busy_poll_us.unwrap_or(0).into()),
                measure_rtcp: self.measure_rtcp.unwrap_or(true),
                trust: TrustConfig {
                    deny: prefixes("media-deny", self.media_deny.as_deref())?,
                    allow: prefixes("media-allow", self.media_allow.as_deref())?,
                },
                // Where it is is known when the folders are there.
                keep: None,
            },
            calls: call::Settings {
                tos: self.tos,
                learning: word(
                    "endpoint-learning",
                    self.endpoint_learning.as_deref(),
                    &[
                        ("heuristic", Learning::Heuristic),
                        ("immediate", Learning::Immediate),
                        ("delayed", Learning::Delayed),
                        ("off", Learning::Off),
                    ],
                )?,
                timeout: checks::seconds("timeout", self.timeout, defaults.timeout)?,
                silent_timeout: checks::seconds("silent-timeout", self.silent_timeout, defaults.silent_timeout)?,
                offer_timeout: checks::seconds("offer-timeout", self.offer_timeout, defaults.offer_timeout)?,
                final_timeout: self.final_timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs),
                delete_delay: seconds(self.delete_delay, defaults.delete_delay),
                limits: call::Limits {
                    sessions: self.max_sessions,
                    load: positive("max-load", self.max_load)?,
                    cpu: positive("max-cpu", self.max_cpu)?,
                    bandwidth: self.max_bandwidth.filter(|bytes| *bytes > 0),
                },
                unsupported: word(
                    "unsupported",
                    self.unsupported.as_deref(),
                    &[("ignore", call::Unsupported::Ignore), ("refuse", call::Unsupported::Refuse)],
                )?,
            },
            listen_ng: guarded(
                match self.listen_ng.clone() {
                    Some(listen) => listen,
                    None => vec![DEFAULT_NG.parse()?],
                },
                self.allow_ng.as_deref(),
                ["listen-ng", "allow-ng"],
            )?,
            listen_tcp_ng: guarded(
                self.listen_tcp_ng.clone().unwrap_or_default(),
                self.allow_tcp_ng.as_deref(),
                ["listen-tcp-ng", "allow-tcp-ng"],
            )?,
            listen_http: guarded(
                self.listen_http.clone().unwrap_or_default(),
                self.allow_http.as_deref(),
                ["listen-http", "allow-http"],
            )?,
            listen_cli: guarded(
                self.listen_cli.clone().unwrap_or_default(),
                self.allow_cli.as_deref(),
                ["listen-cli", "allow-cli"],
            )?,
            listen_dashboard: guarded(
                self.listen_dashboard.clone().unwrap_or_default(),
                self.allow_dashboard.as_deref(),
                ["listen-dashboard", "allow-dashboard"],
            )?,
            dashboard_token: match self.dashboard_token.as_deref() {
                Some(token) if token.len() < SHORTEST_TOKEN => {
                    bail!(
                        "dashboard-token has to have {SHORTEST_TOKEN} letters at least: `openssl rand -hex 16` makes one"
                    )
                }
                token => token.map(Arc::from),
            },
            listen_metrics: guarded(
                self.listen_metrics.clone().unwrap_or_default(),
                self.allow_metrics.as_deref(),
                ["listen-metrics", "allow-metrics"],
            )?,
            metrics_names: word(
                "metrics-names",
                self.metrics_names.as_deref(),
                &[("own", Names::Own), ("both", Names::Both)],
            )?,
            listen_control: self.control_socket()?,
            take_over: self.take_over()?,
            listen_ng_unix: self.socket_file(self.listen_ng_unix.as_deref())?,
            listen_ng_unixgram: self.socket_file(self.listen_ng_unixgram.as_deref())?,
            records: self.records.iter().flatten().map(|target| target.as_str().into()).collect(),
            homer: self.homer()?,
            may_decrypt: self.capture_decrypted.unwrap_or(false),
            log_level: self.log_level.as_deref().unwrap_or("info").parse().context("log-level")?,
            log_format: word(
                "log-format",
                self.log_format.as_deref(),
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
        })
    }

    /// How the next daemon goes on, as far as these say.
    ///
    /// # Errors
    /// When something that was said makes no sense; with the key.
    pub fn take_over(&self) -> anyhow::Result<TakeOver> {
        let on_stop = word("on-stop", self.on_stop.as_deref(), &[("end", OnStop::End), ("keep", OnStop::Keep)])?;
        let instance = self.instance.clone().unwrap_or_else(|| "default".to_owned());
        checks::instance(&instance)?;
        let folder = |said: &Option<PathBuf>, usual: &str| said.clone().unwrap_or_else(|| PathBuf::from(usual));
        Ok(TakeOver {
            is_wanted: self.take_over.unwrap_or(true),
            instance,
            state_dir: folder(&self.state_dir, "/run/intertrunk"),
            pin_dir: folder(&self.pin_dir, "/sys/fs/bpf/intertrunk"),
            on_stop,
        })
    }

    fn homer(&self) -> anyhow::Result<Option<HomerConfig>> {
        let Some(address) = &self.homer else { return Ok(None) };
        let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
        let protocol = self.homer_ng_capture_proto.unwrap_or(NG_IN_HOMER);
        Ok(Some(HomerConfig {
            address: address.parse().map_err(anyhow::Error::msg).context("homer")?,
            transport: word("homer-protocol", self.homer_protocol.as_deref(), &transports)?,
            id: self.homer_id.unwrap_or(HOMER_ID),
            has_rtcp: !self.homer_disable_rtcp_stats.unwrap_or(false),
            dialogue: self.homer_enable_ng.unwrap_or(false).then_some(protocol),
        }))
    }

    /// Where the command line finds the daemon.
    ///
    /// # Errors
    /// As [`Options::take_over`].
    pub fn control_socket(&self) -> anyhow::Result<SocketFile> {
        let TakeOver { state_dir, instance, .. } = self.take_over()?;
        let path = self.listen_control.clone().unwrap_or_else(|| state_dir.join(instance).join("control.sock"));
        self.socket_file(Some(&path))?.context("listen-control")
    }

    fn socket_file(&self, path: Option<&Path>) -> anyhow::Result<Option<SocketFile>> {
        let Some(path) = path else { return Ok(None) };
        let mode = self.unix_mode.as_deref().unwrap_or("0660");
        let mode = u32::from_str_radix(mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .with_context(|| format!("unix-mode \"{mode}\" is no octal number like 0660"))?;
        let id = |key, list, name: &Option<String>| match name.as_deref() {
            Some(name) => id_of(key, list, name).map(Some),
            None => Ok(None),
        };
        Ok(Some(SocketFile {
            path: path.to_owned(),
            mode,
            owner: id("unix-owner", "/etc/passwd", &self.unix_owner)?,
            group: id("unix-group", "/etc/group", &self.unix_group)?,
        }))
    }
}

#[cfg(test)]
mod tests;
