//! Everything that the daemon counts, at one moment: what metrics, the command line and the dashboard tell of it as a whole.

use calls::ng::{ProxyAccount, TransportAccount};
use calls::outcome::RelayAccount;

use crate::homer;
use crate::view::{Beside, HomerView, Itself, RelayView};

/// How the daemon is doing as a whole.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The relay and its calls.
    pub relay: RelayAccount,
    /// What proxies have asked for.
    pub proxies: Vec<ProxyAccount>,
    /// The same by the way that it came.
    pub transports: Vec<TransportAccount>,
    /// Whether calls are put on record, where that is wanted.
    pub journal: Option<bool>,
    /// What Homer was told, where that is wanted.
    pub homer: Option<homer::Counts>,
}

impl Observation {
    /// The same for whoever looks.
    pub fn view(&self, itself: &Itself) -> RelayView {
        let homer = self.homer.map(|homer::Counts { sent, lost, .. }| HomerView { sent, lost });
        RelayView::new(&self.relay, itself, Beside { journal: self.journal, homer })
    }
}
