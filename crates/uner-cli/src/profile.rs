//! `--profile N`: where the time of a training step goes.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use uner_kernels::profile::Pass;
use uner_plan::cost::Layout;
use uner_trainer::run::{Profile, profile};
use uner_trainer::{Callbacks, Group, Run, TrainConfig};

use crate::assemble::{assemble, scratch};
use crate::rate::matmul_rate;
use crate::start::begin;
use uner_plan::plan::{Numbers, Plan, RankCount};

/// Trains some steps in a folder that is gone afterwards, and prints the table.
pub(crate) fn run(plan: &Plan, steps: u64, out: &mut dyn Write) -> Result<()> {
    let device = plan.recipe.run.device.first().open_for_training()?;
    let scratch = scratch()?;
    let assembled = assemble(plan, scratch.path(), None)?;
    let numbers = Numbers::new(
        plan,
        assembled.train.summary().into(),
        RankCount { all: 1, here: 1, divided: false },
    );
    let Layout { micro_batch_rows, kept_blocks, divided: _ } = numbers.choice.layout;
    let config = TrainConfig { micro_batch_rows, ..plan.recipe.train.clone() };
    let run = Run {
        config: &config,
        model_config: &assembled.config,
        seed: plan.recipe.run.seed,
        store: &assembled.train,
        validation: None,
        kept_blocks,
        folder: scratch.path(),
        companions: &[],
        callbacks: Callbacks::default(),
        deterministic: false,
        group: &Group::alone(),
    };
    let progress = begin(plan, &run, None, &device)?;
    let rate = matmul_rate(progress.model.held(), &device);
    let found = profile(&run, progress, steps)?;
    write!(out, "{}", table(&found, rate))?;
    Ok(())
}

/// The profile as text: parts of the step, then ops, longest first, with their share of the step's
/// time.
fn table(profile: &Profile, rate: f64) -> String {
    let Profile { steps, seconds, tokens, breakdown, ops, other } = profile;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:.3} ms a step of {tokens:.0} tokens ({:.0} tokens/s), mean of {steps} steps, every op waited for\n\
         forward {:.3} ms, backward {:.3} ms, optimizer {:.3} ms; the device multiplies matrices at {:.1} GFLOP/s\n",
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
