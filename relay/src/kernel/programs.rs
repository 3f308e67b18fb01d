//! The BPF programs: loading, attaching, and the maps behind them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Array, DevMap, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray, SockMap, XskMap};
use aya::pin::PinError;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, loaded_programs};
use aya::{Ebpf, EbpfError, EbpfLoader};
use flow::counters::Timing;
use flow::{Epoch, HopCell, Locals, Reason, Slot};

use crate::host::Device;
use crate::host::Mapped;
use crate::host::permit;
use crate::kernel::pins::{Pins, STEER};
use crate::kernel::sizes::Sizes;

/// The object that the build script made of the `ebpf` crate.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/intertrunk-ebpf"));

/// How the XDP program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// By the driver, before the kernel makes a socket buffer of the frame.
    #[default]
    Native,
    /// By the stack, for drivers without XDP: works everywhere, and is hardly faster than the slow path.
    Generic,
}

impl From<XdpMode> for aya::programs::XdpMode {
    fn from(mode: XdpMode) -> Self {
        match mode {
            XdpMode::Native => Self::Driver,
            XdpMode::Generic => Self::Skb,
        }
    }
}

/// Why the programs could not be put to work.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The object was refused.
    #[error("the BPF programs cannot be loaded: {text}", text = permit::explain(.0))]
    Load(#[from] EbpfError),
    /// A program was refused by the verifier, or may not be loaded.
    #[error("the BPF program {0} cannot be loaded: {text}", text = permit::explain(.1))]
    Program(&'static str, #[source] ProgramError),
    /// The XDP program could not be attached.
    #[error("XDP cannot be attached to {device} in {mode:?} mode: {text}", text = permit::explain_attach(.error))]
    Attach {
        /// The device.
        device: String,
        /// The mode.
        mode: XdpMode,
        /// What the kernel said.
        #[source]
        error: ProgramError,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "XDP cannot be attached to {device}: the program \"{program}\" (number {id}) is attached there already. End what attached it, or \
         `ip link set dev {device} xdp off`"
    )]
    Occupied {
        /// The device.
        device: String,
        /// The program's name.
        program: String,
        /// The program's number.
        id: u32,
    },
    /// Steering could not be set up.
    #[error("media ports cannot be steered to the workers: {text}", text = permit::explain(.0))]
    Steer(#[source] ProgramError),
    /// A map is missing or not what it should be.
    #[error("the BPF map {0}: {1}")]
    Map(&'static str, #[source] MapError),
    /// Memory could not be mapped, or a file not opened.
    #[error("the flow table's memory: {0}")]
    Memory(#[from] io::Error),
    /// Something could not be left in the kernel for the next process.
    #[error("{0} cannot be pinned: {1}")]
    Pin(String, #[source] PinError),
    /// The object does not hold what this daemon expects.
    #[error("the BPF object has no {0}: rebuild with cargo xtask setup")]
    Missing(&'static str),
}

/// What the programs have to know of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Packets may come with a checksum that their sender, on this machine, has left to its device.
    pub(crate) has_unfinished: bool,
    /// The media ports are the relay's alone.
    pub(crate) owns_ports: bool,
}

/// The loaded programs.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    slots: usize,
    hops: usize,
    /// Where the XDP program is attached, by device.
    links: HashMap<u32, Hold>,
    /// What outlives this process, where something is to.
    pins: Option<Pins>,
    /// The steering program is held by a pin.
    pub(super) is_steer_kept: bool,
    /// The maps are those of an earlier process.
    has_rules: bool,
    /// The devices that frames may be redirected to, and the place of each in the device map.
    devices: HashMap<u32, u16>,
    /// The devices whose queues may have AF_XDP sockets, by place.
    pub(super) intakes: [Option<u32>; DEVICES as usize],
}

/// What holds the XDP program at a device.
enum Hold {
    /// A link that ends with this process.
    Own(XdpLinkId),
    /// One that is pinned under this name, and does not.
    Pinned { name: String, _link: FdLink },
}

/// The maps that the next process goes on with.
const KEPT: [&str; 7] = ["SLOTS", "TIMINGS", "HOPS", "DEVICES", "EPOCH", "REASONS", "WORKERS"];
/// How many places the device map has.
const DEVICES: u32 = 64;
/// So many queues of a device can have AF_XDP sockets.
pub(super) const QUEUES: u32 = 64;

impl Kernel {
    /// Loads the object: maps of these sizes, programs that know these addresses and these facts.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn load(locals: &Locals, sizes: Sizes, facts: Facts, pins: Option<Pins>) -> Result<Self, KernelError> {
        let has_rules = pins.as_ref().is_some_and(Pins::has_maps);
        match Self::load_with(locals, sizes, facts, pins.clone()) {
            Err(error) if has_rules => {
                tracing::error!(%error, "the maps that an earlier process has left cannot be gone on with: there are new ones");
                if let Some(pins) = &pins {
                    pins.remove_maps()?;
                }
                Self::load_with(locals, sizes, facts, pins)
            }
            loaded => loaded,
        }
    }

    fn load_with(locals: &Locals, sizes: Sizes, facts: Facts, pins: Option<Pins>) -> Result<Self, KernelError> {
        let Sizes { slots, hops, workers } = sizes;
        let has_rules = pins.as_ref().is_some_and(Pins::has_maps);
        let words = locals.words();
        let [has_unfinished, owns_ports] = [facts.has_unfinished, facts.owns_ports].map(u32::from);
        let mut loader = EbpfLoader::new();
        if let Some(pins) = &pins {
            for name in KEPT {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let ebpf = loader
            .override_global("LOCALS", words.as_slice(), true)
            .override_global("HAS_UNFINISHED", &has_unfinished, true)
            .override_global("OWNS_PORTS", &owns_ports, true)
            .map_max_entries("SLOTS", slots as u32)
            .map_max_entries("TIMINGS", slots as u32)
            .map_max_entries("HOPS", hops as u32)
            .map_max_entries("WORKERS", workers as u32)
            .load(OBJECT)?;
        let mut kernel = Self {
            ebpf,
            slots,
            hops,
            links: HashMap::new(),
            pins,
            is_steer_kept: false,
            has_rules,
            devices: HashMap::new(),
            intakes: [None; DEVICES as usize],
        };
        if has_rules {
            kernel.read_devices()?;
        }
        Ok(kernel)
    }

    /// Whether the slots are those of an earlier process.
    pub(crate) const fn has_rules(&self) -> bool {
        self.has_rules
    }

    /// What outlives this process.
    pub(crate) const fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// The place of a device in the device map.
    pub(crate) fn place_of(&self, device: u32) -> Option<u16> {
        self.devices.get(&device).copied()
    }

    /// Whether a place of the device map is a device's.
    pub(crate) fn is_taken(&self, place: u16) -> bool {
        self.devices.values().any(|taken| *taken == place)
    }

    /// Finds out which devices an earlier process has put into the device map: next hops that it has left name their places.
    fn read_devices(&mut self) -> Result<(), KernelError> {
        let map = self.ebpf.map("DEVICES").ok_or(KernelError::Missing("DEVICES"))?;
        let devices = DevMap::try_from(map).map_err(|error| KernelError::Map("DEVICES", error))?;
        // A place that is empty cannot be read.
        let taken = (0..DEVICES).filter_map(|place| Some((devices.get(place, 0).ok()?.if_index, place as u16)));
        self.devices = taken.filter(|(device, _)| *device != 0).collect();
        Ok(())
    }

    /// The time, as the programs know it.
    pub(crate) fn epoch(&self) -> Result<Epoch, KernelError> {
        let map = self.ebpf.map("EPOCH").ok_or(KernelError::Missing("EPOCH"))?;
        let epochs: Array<&MapData, u32> = Array::try_from(map).map_err(|error| KernelError::Map("EPOCH", error))?;
        let word = epochs.get(&0, 0).map_err(|error| KernelError::Map("EPOCH", error))?;
        Ok(if word == 0 { Epoch::FIRST } else { Epoch::from_word(word) })
    }

    /// The flow table's memory.
    pub(crate) fn map_slots(&self) -> Result<Mapped<Slot>, KernelError> {
        Ok(Mapped::of_map(self.array("SLOTS")?.fd().as_fd(), self.slots)?)
    }

    /// The memory of what is counted now and then.
    pub(crate) fn map_timings(&self) -> Result<Mapped<Timing>, KernelError> {
        Ok(Mapped::of_map(self.array("TIMINGS")?.fd().as_fd(), self.slots)?)
    }

    /// The next-hop table's memory.
    pub(crate) fn map_hops(&self) -> Result<Mapped<HopCell>, KernelError> {
        Ok(Mapped::of_map(self.array("HOPS")?.fd().as_fd(), self.hops)?)
    }

    fn array(&self, name: &'static str) -> Result<&MapData, KernelError> {
        match self.ebpf.map(name) {
            Some(Map::Array(data)) => Ok(data),
            Some(_) | None => Err(KernelError::Missing(name)),
        }
    }

    /// Loads the XDP program; it can be attached, or run on frames of a test.
    pub(crate) fn load_xdp(&mut self) -> Result<&mut Xdp, KernelError> {
        let program = self.program("relay")?;
        let program: &mut Xdp = program.try_into().map_err(|error| KernelError::Program("relay", error))?;
        if program.fd().is_err() {
            program.load().map_err(|error| KernelError::Program("relay", error))?;
        }
        Ok(program)
    }

    /// Whether an earlier process has left its program at a device, with maps of another shape: it forwards by its own, and may go on until this one
    /// knows as much.
    pub(crate) fn is_preceded(&self, device: &Device, mode: XdpMode) -> bool {
        let left = |pins: &Pins| pins.link(&link_name(device, mode)).exists();
        !self.has_rules && device.program.is_some() && self.pins.as_ref().is_some_and(left)
    }

    /// Attaches the XDP program to a device, until `self` is dropped or, where it is pinned, the pin is removed. Where an earlier process has left
    /// its program there, this one takes its place between two frames.
    pub(crate) fn attach_xdp(&mut self, device: &Device, mode: XdpMode) -> Result<(), KernelError> {
        let other = if mode == XdpMode::Native { XdpMode::Generic } else { XdpMode::Native };
        let [name, other] = [mode, other].map(|mode| link_name(device, mode));
        let pin = self.pins.as_ref().map(|pins| (pins.link(&name), name));
        let mut was_ours = false;
        if let Some(pins) = self.pins.as_ref().filter(|pins| pins.link(&other).exists()) {
            pins.remove_link(&other);
            was_ours = true;
        }
        let old = self.links.remove(&device.index);
        let program = self.load_xdp()?;
        match old {
            Some(Hold::Own(id)) => {
                if let Err(error) = program.detach(id) {
                    tracing::debug!(%error, device = device.name, "a link that was detached by somebody is gone already");
                }
            }
            Some(Hold::Pinned { .. }) | None => {}
        }
        let failed = |error| KernelError::Attach { device: device.name.clone(), mode, error };
        if let Some((path, name)) = &pin
            && let Ok(link) = PinnedLink::from_pin(path)
        {
            match take_place(program, link) {
                Ok(link) => {
                    self.links.insert(device.index, Hold::Pinned { name: name.clone(), _link: link });
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%error, device = device.name, "a link of an earlier process holds nothing any more");
                    super::pins::remove(path);
                    was_ours = true;
                }
            }
        }
        if let Some(id) = device.program.filter(|_| !was_ours) {
            return Err(KernelError::Occupied { device: device.name.clone(), program: program_name(id), id });
        }
        let id = program.attach_to_if_index(device.index, mode.into()).map_err(failed)?;
        let hold = match pin {
            None => Hold::Own(id),
            Some((path, name)) => {
                let link = program.take_link(id).map_err(failed)?;
                let link = FdLink::try_from(link).map_err(|error| failed(link_error(error)))?;
                let link = link.pin(path).map_err(|error| KernelError::Pin(name.clone(), error))?;
                Hold::Pinned { name, _link: link.into() }
            }
        };
        self.links.insert(device.index, hold);
        Ok(())
    }

    /// Removes the pins of links that an earlier process has left and this one does not hold, and the maps of other shapes.
    pub(crate) fn forget_others(&self) {
        let Some(pins) = &self.pins else { return };
        let held = |name: &String| {
            let is_it = |hold: &Hold| matches!(hold, Hold::Pinned { name: held, .. } if held == name);
            (self.is_steer_kept && name == STEER) || self.links.values().any(is_it)
        };
        pins.links().iter().filter(|name| !held(name)).for_each(|name| pins.remove_link(name));
        pins.remove_other_shapes();
        if let Err(error) = pins.set_live() {
            tracing::warn!(%error, "the next process will not know that the maps are in use, and begin with others");
        }
    }

    /// The number of the XDP program, by which devices name it.
    pub(crate) fn xdp_id(&mut self) -> Result<u32, KernelError> {
        let info = self.load_xdp()?.info().map_err(|error| KernelError::Program("relay", error))?;
        Ok(info.id())
    }

    /// Detaches the XDP program from every device.
    pub(crate) fn detach_xdp(&mut self) -> Result<(), KernelError> {
        let program = self.program("relay")?;
        let program: &mut Xdp = program.try_into().map_err(|error| KernelError::Program("relay", error))?;
        if program.fd().is_err() {
            // It could not even be loaded.
            return Ok(());
        }
        for hold in std::mem::take(&mut self.links).into_values() {
            if let (Hold::Pinned { name, .. }, Some(pins)) = (hold, &self.pins) {
                pins.remove_link(&name);
            }
        }
        let program = self.program("relay")?;
        let program: &mut Xdp = program.try_into().map_err(|error| KernelError::Program("relay", error))?;
        // Unloading a program drops its links, and a link that is dropped detaches.
        program.unload().map_err(|error| KernelError::Program("relay", error))
    }

    /// Lets frames be redirected to a device.
    pub(crate) fn set_device(&mut self, port: u16, index: u32) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("DEVICES").ok_or(KernelError::Missing("DEVICES"))?;
        let mut devices = DevMap::try_from(map).map_err(|error| KernelError::Map("DEVICES", error))?;
        devices.set(u32::from(port), index, None, 0).map_err(|error| KernelError::Memory(io::Error::other(error)))?;
        self.devices.retain(|_, place| *place != port);
        self.devices.insert(index, port);
        Ok(())
    }

    /// Tells the programs the time, as slots remember it.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("EPOCH").ok_or(KernelError::Missing("EPOCH"))?;
        let mut epochs: Array<&mut MapData, u32> =
            Array::try_from(map).map_err(|error| KernelError::Map("EPOCH", error))?;
        epochs.set(0, epoch.word(), 0).map_err(|error| KernelError::Map("EPOCH", error))
    }

    /// Gives a worker's socket to the steering program.
    pub(crate) fn set_worker(&mut self, number: usize, socket: &impl AsRawFd) -> Result<(), KernelError> {
        let map = self.ebpf.map_mut("WORKERS").ok_or(KernelError::Missing("WORKERS"))?;
        let mut workers: SockMap<&mut MapData> =
            SockMap::try_from(map).map_err(|error| KernelError::Map("WORKERS", error))?;
        workers.set(number as u32, socket, 0).map_err(|error| KernelError::Map("WORKERS", error))
    }

    /// The places of the devices' queues.
    pub(super) fn intake_map(&mut self) -> Result<BpfHashMap<&mut MapData, u32, u32>, KernelError> {
        let map = self.ebpf.map_mut("INTAKES").ok_or(KernelError::Missing("INTAKES"))?;
        BpfHashMap::try_from(map).map_err(|error| KernelError::Map("INTAKES", error))
    }

    fn queue_map(&mut self) -> Result<XskMap<&mut MapData>, KernelError> {
        let map = self.ebpf.map_mut("QUEUES").ok_or(KernelError::Missing("QUEUES"))?;
        XskMap::try_from(map).map_err(|error| KernelError::Map("QUEUES", error))
    }

    /// Has the XDP program hand over to a socket what it does not forward of a queue.
    pub(super) fn set_queue(&mut self, place: u32, socket: &impl AsRawFd) -> Result<(), KernelError> {
        self.queue_map()?.set(place, socket.as_raw_fd(), 0).map_err(|error| KernelError::Map("QUEUES", error))
    }

    /// Has it hand over nothing of a queue.
    pub(super) fn unset_queue(&mut self, place: u32) {
        // One that is closed is gone from there already.
        let removed = self.queue_map().map(|mut map| map.unset(place));
        tracing::debug!(place, ?removed, "a queue's packets go to the stack");
    }

    /// A program of the object.
    pub(super) fn program(&mut self, name: &'static str) -> Result<&mut aya::programs::Program, KernelError> {
        self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))
    }

    /// Frames that the XDP program did not forward, by reason.
    pub(crate) fn reasons(&self) -> Result<[u64; Reason::COUNT], KernelError> {
        let map = self.ebpf.map("REASONS").ok_or(KernelError::Missing("REASONS"))?;
        let reasons: PerCpuArray<_, u64> =
            PerCpuArray::try_from(map).map_err(|error| KernelError::Map("REASONS", error))?;
        let mut sums = [0; Reason::COUNT];
        for (reason, sum) in sums.iter_mut().enumerate() {
            let values = reasons.get(&(reason as u32), 0).map_err(|error| KernelError::Map("REASONS", error))?;
            *sum = values.iter().sum();
        }
        Ok(sums)
    }
}

/// What the pin of the link is called that holds the XDP program at a device.
fn link_name(device: &Device, mode: XdpMode) -> String {
    let mode = match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
    };
    format!("xdp-{mode}-{}", device.index)
}

fn link_error(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}

/// Has the program take the place of whatever a link holds.
fn take_place(program: &mut Xdp, link: PinnedLink) -> Result<FdLink, ProgramError> {
    let link = XdpLink::try_from(FdLink::from(link)).map_err(link_error)?;
    let id = program.attach_to_link(link)?;
    FdLink::try_from(program.take_link(id)?).map_err(link_error)
}

/// The name of a loaded BPF program.
pub(crate) fn program_name(id: u32) -> String {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let found = programs.find(|program| program.id() == id);
    found.and_then(|program| program.name_as_str().map(str::to_owned)).unwrap_or_else(|| "without a name".to_owned())
}

#[cfg(test)]
mod tests;
