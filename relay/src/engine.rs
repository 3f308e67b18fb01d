//! Which paths there are.

use std::fmt;
use std::str::FromStr;

/// What the operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Engine {
    /// XDP where it can be had, or else the slow path alone; the choice and its cause are logged.
    #[default]
    Auto,
    /// XDP on every interface's device; a start-up error where it cannot be had.
    Xdp,
    /// The slow path alone, by io_uring; a start-up error where that is forbidden.
    Uring,
    /// The slow path alone, without io_uring.
    Epoll,
}

/// Where the workers hand the packets that they send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Output {
    /// To the device, as the XDP program does, when the next hop is known: past routing, netfilter and queueing disciplines.
    #[default]
    Device,
    /// The same, by the AF_XDP sockets that packets come by, where there is one for the device.
    Xsk,
    /// To the IP stack.
    Stack,
}

impl Output {
    /// Whether packets go to the device.
    pub(crate) const fn is_device(self) -> bool {
        match self {
            Self::Device | Self::Xsk => true,
            Self::Stack => false,
        }
    }
}

/// How datagrams for media ports come to the workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Intake {
    /// By AF_XDP on devices with XDP and queues enough, steered elsewhere, or else by bound sockets; the choice and its cause are logged.
    #[default]
    Auto,
    /// The XDP program hands packets to a socket for each worker and queue, past the stack (AF_XDP); where it cannot, they are steered. A start-up error
    /// where no device has that.
    Xsk,
    /// A BPF program steers all ports to one socket for each worker; a start-up error where it cannot be had.
    Steered,
    /// A socket for each port.
    Bound,
}

impl Intake {
    /// Whether ports have to be steered: AF_XDP as well leaves to the stack what only that can judge.
    pub(crate) const fn is_steered(self) -> bool {
        matches!(self, Self::Steered | Self::Xsk)
    }
}

/// How workers wait, receive and send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loop {
    /// By io_uring.
    Ring,
    /// By epoll and plain system calls, where io_uring is forbidden.
    Epoll,
}

/// Not the name of an engine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no engine: choose auto, xdp, uring or epoll")]
pub struct UnknownEngine(String);

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "auto" => Ok(Self::Auto),
            "xdp" => Ok(Self::Xdp),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownEngine(text.to_owned())),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}
