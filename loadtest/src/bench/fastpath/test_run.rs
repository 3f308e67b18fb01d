//! The programs alone, by `BPF_PROG_TEST_RUN`: no device, one flow, warm caches, each packet the next one of its flow.

use anyhow::{Context as _, ensure};
use aya::maps::ProgramArray;
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions};
use relay::measure::{Measured, with_program};

use crate::bench::bed::{Action, Subject};
use crate::bench::flood::{Family, party, relay as local, template};
use crate::rig::program::Program;

/// How often the program runs.
const REPEAT: u32 = 2_000_000;
/// What the programs answer.
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
/// The synchronisation source of the template.
const SSRC: u32 = 0x1122_3344;

/// Nanoseconds of a program for one packet, with those of the one that makes the next packet and is the same for all.
pub(super) fn nanoseconds(subject: Subject, family: Family, action: Action) -> anyhow::Result<f64> {
    let mut rig = Program::load()?;
    if subject == Subject::Ours {
        // The frame leaves with the addresses that it came with.
        let (party, local) = ((party(family, 0), 20_000).into(), (local(family, 0), 20_000).into());
        let is_redirect = action == Action::Redirect;
        let expected = if is_redirect { XDP_REDIRECT } else { XDP_TX };
        let measured = Measured { party, local, ssrc: SSRC, is_redirect };
        return with_program(&measured, |program| steps(&mut rig, family, program, expected))?;
    }
    // Without a device to send to, the bare redirector is the reflector and a call that fails; only the reflector is a measure.
    let reflect = rig.xdp("reflect")?.fd()?.try_clone()?;
    steps(&mut rig, family, &reflect, XDP_TX)
}

/// Runs a program again and again, on one packet after another.
fn steps(rig: &mut Program, family: Family, program: &ProgramFd, expected: u32) -> anyhow::Result<f64> {
    let mut measured: ProgramArray<_> = rig.ebpf.map_mut("MEASURED").context("no MEASURED")?.try_into()?;
    measured.set(0, program, 0)?;
    let frame = template(family, [20_000; 2]);
    let options = TestRunOptions { data_in: Some(&frame), repeat: REPEAT, ..TestRunOptions::new() };
    let step = match family {
        Family::Ipv4 => "step4",
        Family::Ipv6 => "step6",
    };
    let result = rig.xdp(step)?.test_run(options)?;
    ensure!(result.return_value == expected, "the program answered {}", result.return_value);
    Ok(result.duration.as_nanos() as f64)
}
