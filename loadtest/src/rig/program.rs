//! The XDP programs of test hosts: the object that is built beside the relay's.

use std::path::PathBuf;

use anyhow::Context as _;
use aya::maps::DevMap;
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode, tc};
use aya::{Ebpf, EbpfLoader};

use super::host::{Host, in_namespace};

/// A loaded object, with what it is attached to. Dropping it detaches.
#[derive(Debug)]
pub struct Program {
    /// The object.
    pub ebpf: Ebpf,
}

impl Program {
    /// Loads the object.
    ///
    /// # Errors
    /// When it was not built, or the kernel refuses it.
    pub fn load() -> anyhow::Result<Self> {
        let path = object()?;
        let ebpf = EbpfLoader::new().load_file(&path).with_context(|| path.display().to_string())?;
        Ok(Self { ebpf })
    }

    /// Gives a device the program that leaves every frame to the stack.
    ///
    /// What the other end of a veth sends by XDP arrives only where the receiving end has a program. (GRO would do for redirected frames, when
    /// it is switched on while the device is up, but not for those that XDP_TX sends back: Linux 6.18.)
    ///
    /// # Errors
    /// As [`Program::load`], or when the device cannot have it.
    pub fn attach_pass(host: &Host, device: &str) -> anyhow::Result<Self> {
        let mut program = Self::load()?;
        program.attach("pass", host, device)?;
        Ok(program)
    }

    /// Attaches one of the object's programs to a device.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, name: &str, host: &Host, device: &str) -> anyhow::Result<()> {
        let program = self.xdp(name)?;
        in_namespace(host, || {
            program.attach(device, XdpMode::Driver)?;
            Ok(())
        })
        .with_context(|| format!("{name} cannot be attached to {device}"))
    }

    /// Attaches one of the object's programs to what the stack takes in from a device.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach_ingress(&mut self, name: &str, host: &Host, device: &str) -> anyhow::Result<()> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        let program: &mut SchedClassifier = program.try_into()?;
        program.load()?;
        in_namespace(host, || {
            tc::qdisc_add_clsact(device)?;
            program.attach(device, TcAttachType::Ingress)?;
            Ok(())
        })
        .with_context(|| format!("{name} cannot be attached to {device}"))
    }

    /// Names the device that the bare redirector sends to.
    ///
    /// # Errors
    /// When the host has no such device.
    pub fn set_egress(&mut self, host: &Host, device: &str) -> anyhow::Result<()> {
        let index = host.device_index(device)?;
        let map = self.ebpf.map_mut("EGRESS").context("the object has no EGRESS")?;
        let mut egress = DevMap::try_from(map)?;
        // Device numbers are the namespace's, so the entry is made from within.
        in_namespace(host, || Ok(egress.set(0, index, None, 0)?))
    }

    /// One of the object's programs, which [`Program::xdp`] has loaded before.
    ///
    /// # Errors
    /// When there is none of the name.
    pub fn loaded(&self, name: &str) -> anyhow::Result<&Xdp> {
        let program = self.ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// One of the object's programs, loaded.
    ///
    /// # Errors
    /// When there is none of the name, or the kernel refuses it.
    pub fn xdp(&mut self, name: &str) -> anyhow::Result<&mut Xdp> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
        let program: &mut Xdp = program.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }
}

/// Where the relay's build script left the object: in the target folder that this program is in.
fn object() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    here.ancestors()
        .map(|folder| folder.join("bpf/bpfel-unknown-none/bpf/intertrunk-rig"))
        .find(|path| path.is_file())
        .context("there is no intertrunk-rig in the target folder: cargo build --package relay")
}
