//! Looks at what is attached once a second, for nobody tells when somebody detaches a program, and an address may move (keepalived's), or come only
//! later.
//!
//! By a thread of its own: the kernel answers about devices, and attaches, under a lock that a slow driver can hold for seconds, and neither
//! commands nor the sweep may wait for that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use border::{PastStack, Turns};

use crate::kernel::attachment::{Attachments, Found};
use crate::supervise::Restarts;

/// How often the devices are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The running thread.
pub(crate) struct Guard {
    thread: Option<JoinHandle<()>>,
    is_stopped: Arc<AtomicBool>,
    found: Arc<Found>,
}

impl Guard {
    /// Guards these attachments; what becomes of them is told to the table.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub(crate) fn start(mut attachments: Attachments, restarts: Restarts) -> io::Result<Self> {
        let (found, is_stopped) = (attachments.found(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&is_stopped);
        let mut look = move || {
            while !ends.load(Ordering::Relaxed) {
                std::thread::park_timeout(INTERVAL);
                attachments.look();
            }
        };
        let thread = std::thread::Builder::new()
            .name("attachments".to_owned())
            .spawn(move || restarts.supervise("the thread that guards the programs", &mut look))?;
        Ok(Self { thread: Some(thread), is_stopped, found })
    }

    /// How many devices that are there have no fast path now.
    pub(crate) fn missing(&self) -> usize {
        self.found.missing.load(Ordering::Relaxed)
    }

    /// How often the fast path was lost and came back.
    pub(crate) fn turns(&self) -> Turns {
        Turns { lost: self.found.lost.load(Ordering::Relaxed), regained: self.found.regained.load(Ordering::Relaxed) }
    }

    /// How often steering was lost and came back.
    pub(crate) fn steering_turns(&self) -> Turns {
        let Found { steering_lost, steering_regained, .. } = &*self.found;
        Turns { lost: steering_lost.load(Ordering::Relaxed), regained: steering_regained.load(Ordering::Relaxed) }
    }

    /// What comes to the workers past the stack.
    pub(crate) fn past_stack(&self) -> PastStack {
        let Found { queues, past_stack, .. } = &*self.found;
        PastStack { queues: queues.load(Ordering::Relaxed), packets: past_stack.load(Ordering::Relaxed) }
    }

    /// Whether the thread has ended although nobody asked it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that guards the XDP program had panicked");
            }
        }
    }
}
