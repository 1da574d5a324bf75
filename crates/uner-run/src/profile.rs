//! `--profile N`: where the time of a training step goes.

use std::fmt::Write as _;

use anyhow::Result;
use uner_kernels::profile::Pass;
use uner_plan::assemble::{assemble, scratch};
use uner_plan::machine::Ranks;
use uner_plan::{Plan, Sources};
use uner_trainer::run::Profile;
use uner_trainer::{Group, Run};

use crate::start::{detect_machine, initial_state};

/// Trains some steps in a temporary folder, on the first device. Returns a table: what each op of a
/// step takes.
///
/// # Errors
/// As [`train`](crate::train()), of which it is the start.
pub fn profile(sources: &Sources, steps: u64) -> Result<String> {
    let device = sources.recipe.run.device.first().open_for_training()?;
    let scratch = scratch()?;
    let assembled = assemble(sources, scratch.path(), None)?;
    let machine = detect_machine(sources, Ranks { all: 1, here: 1 });
    let plan = Plan::new(sources, assembled.train.summary().into(), machine, None);
    let group = Group::single();
    let run = Run {
        seed: plan.recipe.run.seed,
        layout: plan.layout,
        ..Run::new(
            (&plan.recipe.train, &assembled.config),
            &assembled.train,
            scratch.path(),
            &group,
        )
    };
    let added = &assembled.added_tokens;
    let state = initial_state((sources, &plan), &run, added, None, &device)?;
    let found = uner_trainer::run::profile(&run, state, steps)?;
    Ok(table(&found, plan.machine.rates.fastest()))
}

/// The profile as text: parts of the step, then ops, longest first, with their share of the step's
/// time.
fn table(profile: &Profile, rate: f64) -> String {
    let Profile { steps, seconds, tokens, breakdown, ops, other } = profile;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:.3} ms a step of {tokens:.0} tokens ({:.0} tokens/s), mean of {steps} steps, synchronised after every op\n\
         forward {:.3} ms, backward {:.3} ms, optimizer {:.3} ms; measured matmul rate {:.1} GFLOP/s\n",
        1e3 * seconds,
        tokens / seconds,
        1e3 * breakdown.forward,
        1e3 * breakdown.backward,
        1e3 * breakdown.optimizer,
        rate / 1e9,
    );
    let _ =
        writeln!(text, "op                    pass        calls    ms a step       %   GFLOP/s");
    let mut line = |op: &str, pass: &str, calls: &str, time: f64, speed: &str| {
        let share = 100.0 * time / seconds;
        let _ = writeln!(
            text,
            "{op:<21} {pass:<9} {calls:>7} {:>12.3} {share:>7.2} {speed:>9}",
            1e3 * time
        );
    };
    for time in ops {
        let speed = if time.flops > 0.0 {
            format!("{:.1}", time.flops / time.seconds / 1e9)
        } else {
            String::new()
        };
        line(time.op, pass(time.pass), &format!("{:.0}", time.calls), time.seconds, &speed);
    }
    line("other", "", "", *other, "");
    line("step", "", "", *seconds, "");
    text
}

fn pass(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::Backward => "backward",
    }
}
