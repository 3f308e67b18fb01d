//! The programs alone, by `BPF_PROG_TEST_RUN`: no device, one flow, warm caches.

use anyhow::ensure;
use aya::programs::{TestRun as _, TestRunOptions};
use relay::measure::{Measured, test_run};

use crate::bench::bed::{Action, Subject};
use crate::bench::flood::{Family, party, relay as local, template};
use crate::rig::program::Program;

/// How often the program runs.
const REPEAT: u32 = 2_000_000;
/// What the bare programs answer.
const XDP_TX: u32 = 3;

/// Nanoseconds of a program for one packet.
pub(super) fn nanoseconds(subject: Subject, family: Family, action: Action) -> anyhow::Result<f64> {
    let frame = template(family, [20_000; 2]);
    if subject == Subject::Ours {
        // The frame leaves as it came, so that every run finds it the same.
        let (party, local) = ((party(family, 0), 20_000).into(), (local(family, 0), 20_000).into());
        let is_redirect = action == Action::Redirect;
        return Ok(test_run(&Measured { frame: &frame, party, local, is_redirect, repeat: REPEAT })?);
    }
    let mut program = Program::load()?;
    // Without a device to send to, the bare redirector is the reflector and a call that fails; only the reflector is a measure.
    let options = TestRunOptions { data_in: Some(&frame), repeat: REPEAT, ..TestRunOptions::new() };
    let result = program.xdp("reflect")?.test_run(options)?;
    ensure!(result.return_value == XDP_TX, "the bare reflector answered {}", result.return_value);
    Ok(result.duration.as_nanos() as f64)
}
