//! Calls that somebody who watches them should look at again: for others nothing has happened that could have made them worse.

use border::Event;

/// So many wait at most for whoever watches: he asks each second.
const MOST: usize = 65_536;

/// What has happened since this was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Calls that were signalled: whether media flows is not known at once.
    pub signalled: Vec<Vec<u8>>,
    /// Calls of which somebody has fallen silent, or reports worse than before.
    pub fallen: Vec<Vec<u8>>,
    /// Calls that have ended.
    pub ended: Vec<Vec<u8>>,
    /// There was more than there is room for: each call may be among them.
    pub is_incomplete: bool,
}

impl Watched {
    pub(super) fn note_signalled(&mut self, call_id: &[u8]) {
        put(&mut self.signalled, call_id, &mut self.is_incomplete);
    }

    pub(super) fn note_ended(&mut self, call_id: &[u8]) {
        put(&mut self.ended, call_id, &mut self.is_incomplete);
    }

    /// Notes what the data plane tells of the call of this name.
    pub(super) fn note_event(&mut self, event: &Event, call_id: Option<&[u8]>) {
        match event {
            Event::Silent { .. } | Event::Poor { .. } | Event::Doubted { .. } => {
                if let Some(call_id) = call_id {
                    put(&mut self.fallen, call_id, &mut self.is_incomplete);
                }
            }
            Event::Dropped(_) => self.is_incomplete = true,
            Event::Learned { .. } | Event::Faulty { .. } | Event::Ended { .. } => {}
        }
    }
}

fn put(list: &mut Vec<Vec<u8>>, call_id: &[u8], is_incomplete: &mut bool) {
    if list.len() < MOST {
        list.push(call_id.to_vec());
    } else {
        *is_incomplete = true;
    }
}
