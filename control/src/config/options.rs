//! What can be said in the file and by flags, before anything is made of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What can be configured, each as a key of the file and as a flag. `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// A local media address, NAME/ADDRESS or NAME/ADDRESS!ADVERTISED; give one for each. The first is the default.
    #[arg(long, value_name = "NAME/ADDRESS")]
    pub interface: Option<Vec<String>>,
    /// The first media port [default: 30000]
    #[arg(long, value_name = "PORT")]
    pub port_min: Option<u16>,
    /// The last media port [default: 40000]
    #[arg(long, value_name = "PORT")]
    pub port_max: Option<u16>,
    /// Which path carries media: auto, xdp, uring or epoll [default: auto]
    #[arg(long)]
    pub engine: Option<String>,
    /// How XDP is attached: native or generic [default: native]
    #[arg(long, value_name = "MODE")]
    pub xdp_mode: Option<String>,
    /// How datagrams come to the slow path: auto, steered or bound [default: auto]
    #[arg(long, value_name = "HOW")]
    pub intake: Option<String>,
    /// Where the slow path sends: device or stack [default: device]
    #[arg(long, value_name = "WHERE")]
    pub output: Option<String>,
    /// Threads of the slow path [default: one for each core]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Keep each thread of the slow path on a core of its own [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pin_workers: Option<bool>,
    /// Microseconds that a thread of the slow path looks for the next packet before it sleeps [default: 0]
    #[arg(long, value_name = "MICROSECONDS")]
    pub busy_poll_us: Option<u32>,
    /// NG over UDP; give one for each address [default: 127.0.0.1:2223]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_ng: Option<Vec<SocketAddr>>,
    /// NG over TCP; give one for each address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_tcp_ng: Option<Vec<SocketAddr>>,
    /// NG over HTTP and WebSocket; give one for each address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_http: Option<Vec<SocketAddr>>,
    /// Metrics over HTTP, and nothing else; give one for each address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_metrics: Option<Vec<SocketAddr>>,
    /// The line socket of rtpengine-ctl; give one for each address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_cli: Option<Vec<SocketAddr>>,
    /// The dashboard, a page for browsers; give one for each address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen_dashboard: Option<Vec<SocketAddr>>,
    /// Who may use listen-dashboard
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_dashboard: Option<Vec<String>>,
    /// Whoever says this may drain by the dashboard [default: nobody may]
    #[arg(long, value_name = "SECRET")]
    pub dashboard_token: Option<String>,
    /// Who may use listen-cli
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_cli: Option<Vec<String>>,
    /// A proxy, or a network of proxies, that may use listen-ng besides this host; give one for each
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_ng: Option<Vec<String>>,
    /// The same for listen-tcp-ng
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_tcp_ng: Option<Vec<String>>,
    /// The same for listen-http
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_http: Option<Vec<String>>,
    /// Who may use listen-metrics
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub allow_metrics: Option<Vec<String>>,
    /// Under which names there are metrics: own, or both, their own and rtpengine's [default: own]
    #[arg(long, value_name = "WHICH")]
    pub metrics_names: Option<String>,
    /// NG over a unix stream socket, without cookies, as OpenSIPS speaks it
    #[arg(long, value_name = "PATH")]
    pub listen_ng_unix: Option<PathBuf>,
    /// NG over a unix datagram socket, with cookies
    #[arg(long, value_name = "PATH")]
    pub listen_ng_unixgram: Option<PathBuf>,
    /// Where the command line finds this daemon: a unix socket [default: control.sock in the folder of its state]
    #[arg(long, value_name = "PATH")]
    pub listen_control: Option<PathBuf>,
    /// Permissions of the unix sockets [default: 0660]
    #[arg(long, value_name = "OCTAL")]
    pub unix_mode: Option<String>,
    /// Owner of the unix sockets: a name or a number
    #[arg(long, value_name = "USER")]
    pub unix_owner: Option<String>,
    /// Group of the unix sockets: a name or a number
    #[arg(long, value_name = "GROUP")]
    pub unix_group: Option<String>,
    /// Seconds without media after which a call is ended [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// The same for a call on hold [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub silent_timeout: Option<u64>,
    /// The same for a call that nobody has answered [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub offer_timeout: Option<u64>,
    /// Seconds after which a call is ended in any case; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub final_timeout: Option<u64>,
    /// Seconds that a deleted call goes on, unless the delete says otherwise [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub delete_delay: Option<u64>,
    /// A network where no party may be; give one for each
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub media_deny: Option<Vec<String>>,
    /// A network where parties may be although media-deny or the default forbids it; on this host: for more than RTP and RTCP
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    pub media_allow: Option<Vec<String>>,
    /// Type of service of all media, 0 to 255 [default: left as it is]
    #[arg(long)]
    pub tos: Option<u8>,
    /// How the sender of a stream is found: heuristic, immediate, delayed or off [default: heuristic]
    #[arg(long, value_name = "MODE")]
    pub endpoint_learning: Option<String>,
    /// How many calls there may be at once [default: as many as there are ports]
    #[arg(long, value_name = "N")]
    pub max_sessions: Option<usize>,
    /// The load average over one minute at which new calls are refused [default: never]
    #[arg(long, value_name = "LOAD")]
    pub max_load: Option<f64>,
    /// The percentage of busy processors at which new calls are refused [default: never]
    #[arg(long, value_name = "PERCENT")]
    pub max_cpu: Option<f64>,
    /// The bytes of media in a second at which new calls are refused [default: never]
    #[arg(long, value_name = "BYTES")]
    pub max_bandwidth: Option<u64>,
    /// What is done about words that need a part which does not exist yet: ignore or refuse [default: ignore]
    #[arg(long, value_name = "HOW")]
    pub unsupported: Option<String>,
    /// Read RTCP, for the calls' quality, by the slow path [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub measure_rtcp: Option<bool>,
    /// What this daemon is called among those of this host [default: default]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Keep what the next daemon of this name needs to go on with the calls when this one ends unasked [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub take_over: Option<bool>,
    /// The folder where that is kept; in memory is best (tmpfs) [default: /run/intertrunk]
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,
    /// The folder where the kernel's part of it is kept, in a BPF file system [default: /sys/fs/bpf/intertrunk]
    #[arg(long, value_name = "PATH")]
    pub pin_dir: Option<PathBuf>,
    /// What becomes of the calls when this daemon is told to stop: end, or keep them for the next one [default: end]
    #[arg(long, value_name = "WHAT")]
    pub on_stop: Option<String>,
    /// Where records of ended calls go: a file, to whose end a line of JSON is written for each, or journald; give one for each
    #[arg(long, value_name = "FILE")]
    pub records: Option<Vec<String>>,
    /// Homer, which is told of RTCP and of how calls have fared
    #[arg(long, value_name = "HOST:PORT")]
    pub homer: Option<String>,
    /// By what Homer is told: udp or tcp [default: udp]
    #[arg(long, value_name = "HOW")]
    pub homer_protocol: Option<String>,
    /// What this relay is called among those that tell Homer [default: 2001]
    #[arg(long, value_name = "NUMBER")]
    pub homer_id: Option<u32>,
    /// Do not tell Homer of RTCP [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub homer_disable_rtcp_stats: Option<bool>,
    /// Tell Homer what proxies say, and what they are answered [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub homer_enable_ng: Option<bool>,
    /// What that is called in Homer: a protocol's number [default: 61]
    #[arg(long, value_name = "NUMBER")]
    pub homer_ng_capture_proto: Option<u8>,
    /// Whether captures may have what is behind SRTP [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub capture_decrypted: Option<bool>,
    /// What is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Options {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or holds what is no option; with the line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("the configuration {} is not valid", path.display()))
    }

    /// These options, and the other's where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            interface: self.interface.or(other.interface),
            port_min: self.port_min.or(other.port_min),
            port_max: self.port_max.or(other.port_max),
            engine: self.engine.or(other.engine),
            xdp_mode: self.xdp_mode.or(other.xdp_mode),
            intake: self.intake.or(other.intake),
            output: self.output.or(other.output),
            workers: self.workers.or(other.workers),
            pin_workers: self.pin_workers.or(other.pin_workers),
            busy_poll_us: self.busy_poll_us.or(other.busy_poll_us),
            listen_ng: self.listen_ng.or(other.listen_ng),
            listen_tcp_ng: self.listen_tcp_ng.or(other.listen_tcp_ng),
            listen_http: self.listen_http.or(other.listen_http),
            listen_cli: self.listen_cli.or(other.listen_cli),
            allow_cli: self.allow_cli.or(other.allow_cli),
            listen_dashboard: self.listen_dashboard.or(other.listen_dashboard),
            allow_dashboard: self.allow_dashboard.or(other.allow_dashboard),
            dashboard_token: self.dashboard_token.or(other.dashboard_token),
            listen_metrics: self.listen_metrics.or(other.listen_metrics),
            allow_metrics: self.allow_metrics.or(other.allow_metrics),
            metrics_names: self.metrics_names.or(other.metrics_names),
            allow_ng: self.allow_ng.or(other.allow_ng),
            allow_tcp_ng: self.allow_tcp_ng.or(other.allow_tcp_ng),
            allow_http: self.allow_http.or(other.allow_http),
            listen_ng_unix: self.listen_ng_unix.or(other.listen_ng_unix),
            listen_ng_unixgram: self.listen_ng_unixgram.or(other.listen_ng_unixgram),
            listen_control: self.listen_control.or(other.listen_control),
            unix_mode: self.unix_mode.or(other.unix_mode),
            unix_owner: self.unix_owner.or(other.unix_owner),
            unix_group: self.unix_group.or(other.unix_group),
            timeout: self.timeout.or(other.timeout),
            silent_timeout: self.silent_timeout.or(other.silent_timeout),
            offer_timeout: self.offer_timeout.or(other.offer_timeout),
            final_timeout: self.final_timeout.or(other.final_timeout),
            delete_delay: self.delete_delay.or(other.delete_delay),
            media_deny: self.media_deny.or(other.media_deny),
            media_allow: self.media_allow.or(other.media_allow),
            tos: self.tos.or(other.tos),
            endpoint_learning: self.endpoint_learning.or(other.endpoint_learning),
            max_sessions: self.max_sessions.or(other.max_sessions),
            max_load: self.max_load.or(other.max_load),
            max_cpu: self.max_cpu.or(other.max_cpu),
            max_bandwidth: self.max_bandwidth.or(other.max_bandwidth),
            unsupported: self.unsupported.or(other.unsupported),
            measure_rtcp: self.measure_rtcp.or(other.measure_rtcp),
            instance: self.instance.or(other.instance),
            take_over: self.take_over.or(other.take_over),
            state_dir: self.state_dir.or(other.state_dir),
            pin_dir: self.pin_dir.or(other.pin_dir),
            on_stop: self.on_stop.or(other.on_stop),
            records: self.records.or(other.records),
            homer: self.homer.or(other.homer),
            homer_protocol: self.homer_protocol.or(other.homer_protocol),
            homer_id: self.homer_id.or(other.homer_id),
            homer_disable_rtcp_stats: self.homer_disable_rtcp_stats.or(other.homer_disable_rtcp_stats),
            homer_enable_ng: self.homer_enable_ng.or(other.homer_enable_ng),
            homer_ng_capture_proto: self.homer_ng_capture_proto.or(other.homer_ng_capture_proto),
            capture_decrypted: self.capture_decrypted.or(other.capture_decrypted),
            log_level: self.log_level.or(other.log_level),
            log_format: self.log_format.or(other.log_format),
        }
    }
}
