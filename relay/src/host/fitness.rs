//! Whether what the XDP program sends by a device arrives: a driver that loses frames tells the program of success.

use crate::host::devices::Device;
use crate::host::ethtool;
use crate::host::features::Features;

/// Why frames that a program sends do not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// A veth device whose other end does not take frames: neither those that come back nor those that come from elsewhere.
    #[error(
        "the other end of a veth device takes no frames from an XDP program unless it has one itself, or receive offload: at the other end, \
         with the device up, `ethtool -K DEVICE gro on`"
    )]
    Veth,
    /// A veth device, on a kernel that does not tell about its other end.
    #[error(
        "whether the other end of a veth device takes frames from an XDP program this kernel does not tell (Linux 6.3 does); engine = \"xdp\" \
         takes it for granted"
    )]
    UnknownVeth,
    /// The driver sends no frames that came by another device.
    #[error("its driver sends no frames that came by another device")]
    NoRedirects,
}

impl Unfit {
    /// Whether frames do not even leave by the device that they came by.
    pub(crate) const fn is_for_all(self) -> bool {
        matches!(self, Self::Veth | Self::UnknownVeth)
    }
}

/// Whether frames that a program sends by the device arrive. `is_wanted`: what cannot be known is taken for good.
///
/// # Errors
/// Why they do not.
pub(crate) fn of(device: &Device, is_wanted: bool) -> Result<(), Unfit> {
    let features = Features::of(device.index).unwrap_or_else(|error| {
        tracing::debug!(%error, device = device.name, "the kernel does not tell what the device can do");
        None
    });
    judge(ethtool::driver(&device.name).as_deref() == Some(VETH), features, is_wanted)
}

/// Whether frames that came by the device may leave by it as they would from any program. The other end of a veth device takes such frames up
/// only where it has a program itself, while for redirected ones receive offload will do (Linux 6.18), and which of the two it has the kernel
/// does not tell. `is_wanted`: what cannot be known is taken for good.
pub(crate) fn reflects(device: &Device, is_wanted: bool) -> bool {
    is_wanted || ethtool::driver(&device.name).as_deref() != Some(VETH)
}

/// The name of the driver of virtual cables, as containers have them.
pub(crate) const VETH: &str = "veth";

const fn judge(is_veth: bool, features: Option<Features>, is_wanted: bool) -> Result<(), Unfit> {
    match (features, is_veth) {
        // A veth device says that it takes redirected frames when its other end takes frames at all.
        (Some(Features { takes_redirects: false, .. }), true) => Err(Unfit::Veth),
        (Some(Features { takes_redirects: false, .. }), false) => Err(Unfit::NoRedirects),
        (None, true) if !is_wanted => Err(Unfit::UnknownVeth),
        (Some(_) | None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_trusted_by_its_driver_and_its_other_end() {
        let features = |takes_redirects| Some(Features { runs_programs: true, redirects: true, takes_redirects });
        for (is_veth, features, is_wanted, expected) in [
            (false, features(true), false, Ok(())),
            (false, features(false), true, Err(Unfit::NoRedirects)),
            (false, None, false, Ok(())),
            (true, features(true), false, Ok(())),
            (true, features(false), true, Err(Unfit::Veth)),
            (true, None, false, Err(Unfit::UnknownVeth)),
            (true, None, true, Ok(())),
        ] {
            assert_eq!(judge(is_veth, features, is_wanted), expected, "{is_veth} {features:?} {is_wanted}");
        }
    }
}
