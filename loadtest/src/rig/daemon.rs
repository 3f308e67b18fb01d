//! The relay daemon, and a client of its control protocol.

use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::Value;

use super::host::{Host, in_namespace};
use super::process::{Process, wait_until};
use super::trunks::Trunks;

/// Where the daemon listens for NG.
pub const NG: &str = "127.0.0.1:2223";

/// How the daemon is started.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// `auto`, `xdp`, `uring` or `epoll`.
    pub engine: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// Words before the program: what starts it.
    pub before: Vec<String>,
}

impl DaemonOptions {
    /// With this engine and nothing special.
    pub fn new(engine: &str) -> Self {
        Self { engine: engine.to_owned(), args: Vec::new(), before: Vec::new() }
    }
}

/// The running daemon. What it would leave for another one goes with it.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    kept: Kept,
    /// How it was started: program, then arguments.
    line: Vec<OsString>,
    folder: PathBuf,
    /// How often.
    starts: u32,
}

/// Where a scene's daemon keeps what the next one goes on with: each scene is an instance of its own.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the daemon is called.
    pub instance: String,
    /// The folder of its journal.
    pub state: PathBuf,
}

impl Kept {
    /// Of a scene with this folder.
    pub fn of(folder: &Path) -> Self {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        Self { instance: format!("rig{name}"), state: folder.join("state") }
    }

    /// As the daemon is told.
    pub fn args(&self) -> [String; 2] {
        [format!("--instance={}", self.instance), format!("--state-dir={}", self.state.display())]
    }

    /// Where what is written down is, and the command line's socket.
    pub fn folder(&self) -> PathBuf {
        self.state.join(&self.instance)
    }

    /// Where the kernel's part of it is.
    pub fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/intertrunk").join(&self.instance)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.process.stop() {
            eprintln!("{error}");
        }
        // One that was killed has left its pins.
        let _none_left = std::fs::remove_dir_all(self.kept.pins());
    }
}

impl Daemon {
    /// Starts the daemon on the relay's host, with an interface to each trunk; returns when it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn start(trunks: &Trunks, options: &DaemonOptions, folder: &Path) -> anyhow::Result<Self> {
        let program = binary()?.to_string_lossy().into_owned();
        let mut words = options.before.iter().chain([&program]);
        let mut command = trunks.relay.command(words.next().unwrap_or(&program));
        command.args(words);
        command.args(["serve", "--log-format", "json", "--engine", &options.engine]);
        if !options.args.iter().any(|arg| arg == "--listen-ng") {
            command.args(["--listen-ng", NG]);
        }
        for interface in trunks.interfaces() {
            command.args(["--interface", &interface]);
        }
        // A scene is over when its calls are, not half a minute later.
        if !options.args.iter().any(|arg| arg == "--delete-delay") {
            command.args(["--delete-delay", "0"]);
        }
        command.args(&options.args);
        Self::start_command(command, folder)
    }

    /// Starts the daemon by a command of the caller's, which logs in JSON.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_command(mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let kept = Kept::of(folder);
        command.args(kept.args());
        let line = std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_owned).collect();
        let process = ready(command, &folder.join("intertrunk.log"))?;
        Ok(Self { process, kept, line, folder: folder.to_owned(), starts: 1 })
    }

    /// Kills the daemon, as nothing could keep it from being killed.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::KILL)?;
        wait_until("the daemon is gone", Duration::from_secs(5), || {
            self.process.ended().is_ok_and(|ended| ended.is_some())
        })
    }

    /// Starts the daemon anew, after it has ended, just as it was started; returns when it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let (command, log) = self.again()?;
        self.process = ready(command, &log)?;
        Ok(())
    }

    /// Starts another version in the place of this one, which has ended: another program, with the same arguments.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn restart_as(&mut self, ordinary: &Path, version: &Path) -> anyhow::Result<()> {
        let is_program =
            |word: &&mut OsString| [ordinary, &ordinary.with_file_name("intertrunk-other")].contains(&Path::new(word));
        let program = self.line.iter_mut().find(is_program).context("it is not started by its path")?;
        *program = version.into();
        self.restart()
    }

    /// Starts the daemon anew and kills it after so long, whether it is ready or not.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_and_kill(&mut self, after: Duration) -> anyhow::Result<()> {
        let (command, log) = self.again()?;
        self.process = Process::start("intertrunk", command, &log)?;
        std::thread::sleep(after);
        self.kill()
    }

    /// The same command once more, and a log of its own for it.
    fn again(&mut self) -> anyhow::Result<(Command, PathBuf)> {
        let (program, args) = self.line.split_first().context("it was never started")?;
        let mut command = Command::new(program);
        command.args(args);
        let log = self.folder.join(format!("intertrunk-{}.log", self.starts));
        self.starts += 1;
        Ok((command, log))
    }

    /// Where it keeps what the next one goes on with.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The process' number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The engine that the daemon runs, by its own word.
    ///
    /// # Errors
    /// When its log does not tell.
    pub fn engine(&self) -> anyhow::Result<String> {
        let ready = self.log()?.into_iter().find(|line| message(line) == Some("ready"));
        let engine = ready.as_ref().and_then(|line| line.get("fields")?.get("engine")?.as_str());
        Ok(engine.context("the daemon's log does not tell its engine")?.to_owned())
    }

    /// The accounts of the calls that have ended.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn ended_calls(&self) -> anyhow::Result<Vec<EndedCall>> {
        Ok(EndedCall::all(&self.process.output()?))
    }

    /// The lines of the log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> anyhow::Result<Vec<Value>> {
        Ok(self.process.output()?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Waits until the daemon has said something: the log is written by a thread of its own, after what it tells of.
    ///
    /// # Errors
    /// When it does not say so.
    pub fn wait_for_log(&mut self, text: &str) -> anyhow::Result<()> {
        self.process.wait_for_output(text, Duration::from_secs(3))
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.process.signal(signal)?)
    }
}

fn ready(command: Command, log: &Path) -> anyhow::Result<Process> {
    let mut process = Process::start("intertrunk", command, log)?;
    process.wait_for_output("\"ready\"", Duration::from_secs(20))?;
    Ok(process)
}

/// What the daemon logged of a call when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedCall {
    /// Packets that the XDP program carried.
    pub fast_packets: u64,
    /// Packets that the workers carried.
    pub slow_packets: u64,
}

impl EndedCall {
    /// All that a daemon's log tells of.
    pub fn all(log: &str) -> Vec<Self> {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ended = |line: Value| {
            let number = |name: &str| line.get("fields")?.get(name)?.as_u64();
            (message(&line) == Some("call ended")).then_some(())?;
            Some(Self { fast_packets: number("fast_packets")?, slow_packets: number("slow_packets")? })
        };
        lines.filter_map(ended).collect()
    }
}

fn message(line: &Value) -> Option<&str> {
    line.get("fields")?.get("message")?.as_str()
}

/// A build of the daemon; unless told, the one beside this program.
#[derive(Clone, Debug, Default)]
pub struct Build(Option<PathBuf>);

impl Build {
    /// The one that is this file.
    pub const fn at(program: PathBuf) -> Self {
        Self(Some(program))
    }

    /// Its file.
    ///
    /// # Errors
    /// When there is none beside this program.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        self.0.clone().map_or_else(binary, Ok)
    }
}

/// The daemon that was built together with this program.
///
/// # Errors
/// When it was not.
pub fn binary() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("intertrunk"))
        .find(|path| path.is_file())
        .context("there is no intertrunk beside this program: cargo build --package control")
}

/// A client of the daemon's NG protocol, in JSON.
#[derive(Debug)]
pub struct NgClient {
    socket: UdpSocket,
}

/// The requests of all clients: who asked the same under the same cookie as another would be told what that one was.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

impl NgClient {
    /// A client on the relay's host.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn new(trunks: &Trunks) -> anyhow::Result<Self> {
        Self::on(&trunks.relay)
    }

    /// A client on any host.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn on(host: &Host) -> anyhow::Result<Self> {
        let socket = in_namespace(host, || Ok(UdpSocket::bind("127.0.0.1:0")?))?;
        socket.connect(NG.parse::<SocketAddr>()?)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self { socket })
    }

    /// Sends a command and returns the reply.
    ///
    /// # Errors
    /// When none comes, or none that is JSON under the request's cookie.
    pub fn request(&mut self, command: &Value) -> anyhow::Result<Value> {
        let cookie = format!("{}_{}", std::process::id(), REQUESTS.fetch_add(1, Ordering::Relaxed));
        self.socket.send(format!("{cookie} {command}").as_bytes())?;
        let mut buffer = vec![0; 1 << 16];
        let len = loop {
            match self.socket.recv(&mut buffer) {
                // A machine that was held for a while.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.context("the relay does not answer")?,
            }
        };
        let reply = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
        let Some(dictionary) = reply.strip_prefix(&format!("{cookie} ")) else {
            bail!("not the reply to {cookie}: {reply}")
        };
        Ok(serde_json::from_str(dictionary)?)
    }
}
