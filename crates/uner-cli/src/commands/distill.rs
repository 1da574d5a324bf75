//! `uner distill`: from raw text to training data, by a teacher.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Result, bail};
use uner_distill::annotate::{Progress, Summary};
use uner_distill::{DistillReport, folder::Shard};
use uner_endpoint::{End, Estimate};
use uner_plan::human::duration;
use uner_plan::recipe::find_distillation;
use uner_run::distill::{DistillRecipe, Stage, distill, merge};

use crate::Ending;
use crate::args::{DistillArgs, DistillCommand, DistillMergeArgs};
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;

/// `uner distill`
pub(crate) fn run(args: &DistillArgs, out: &mut dyn Write) -> Result<Ending> {
    if let Some(DistillCommand::Merge(args)) = &args.command {
        return join(args, out);
    }
    interrupt::watch()?;
    let name = args.recipe.as_deref().unwrap_or_default();
    let recipe = DistillRecipe::parse(&find_distillation(name)?, &args.set)?;
    let mut shown = Shown { dry_run: args.dry_run, ..Shown::default() };
    interrupt::defer();
    let mut on_stage = |stage: Stage| shown.show(&stage);
    let outcome = distill(&recipe, args.shard, &args.accept_licence, &mut on_stage);
    let interrupted = interrupt::stop_deferring();
    if let Some(estimate) = shown.estimate.filter(|_| args.dry_run) {
        write!(out, "{}", forecast(&estimate))?;
        return Ok(Ending::Done);
    }
    drop(shown);
    let (summary, report) = match outcome {
        Err(error) if interrupted => {
            tracing::warn!("interrupted ({error}); go on with the same command");
            return Ok(Ending::Interrupted);
        }
        outcome => outcome?,
    };
    say(&summary);
    finish(&recipe, args.shard, &summary, report.as_ref(), out)
}

fn finish(
    recipe: &DistillRecipe,
    shard: Option<Shard>,
    summary: &Summary,
    report: Option<&DistillReport>,
    out: &mut dyn Write,
) -> Result<Ending> {
    match (summary.end, report) {
        (End::Interrupted, _) => {
            tracing::warn!("interrupted; go on with the same command");
            Ok(Ending::Interrupted)
        }
        (End::BudgetReached, _) => bail!(
            "the budget has no room for the next request; {} passages have no answer: raise \
             `teacher.endpoint.budget`, and run the same command",
            summary.unanswered()
        ),
        (End::Complete, None) => {
            let shard = shard.map_or_else(String::new, |shard| {
                format!("shard {}/{} is complete; ", shard.index(), shard.count())
            });
            tracing::info!("{shard}`uner distill merge` joins all shards");
            Ok(Ending::Done)
        }
        (End::Complete, Some(report)) => {
            write!(out, "{}", report.markdown())?;
            tracing::info!("wrote the training data to `{}`", recipe.run.dir.display());
            Ok(Ending::Done)
        }
    }
}

/// `uner distill merge`
fn join(args: &DistillMergeArgs, out: &mut dyn Write) -> Result<Ending> {
    let recipe = DistillRecipe::parse(&find_distillation(&args.recipe)?, &args.set)?;
    let report = merge(&recipe, args.allow_unanswered)?;
    write!(out, "{}", report.markdown())?;
    tracing::info!("wrote the training data to `{}`", recipe.run.dir.display());
    Ok(Ending::Done)
}

/// The progress on the terminal.
#[derive(Default)]
struct Shown {
    dry_run: bool,
    meter: Option<Meter>,
    estimate: Option<Estimate>,
}

impl Shown {
    fn show(&mut self, stage: &Stage) -> ControlFlow<()> {
        match stage {
            Stage::Corpus(progress) => {
                let total = progress.num_bytes >> 20;
                let meter = self.meter.get_or_insert_with(|| Meter::new(0, Some(total)));
                let message = || format!("MiB, {} passages", progress.num_passages);
                meter.show(progress.num_bytes_read >> 20, message);
            }
            Stage::Estimate(estimate) => {
                self.meter = None;
                self.estimate = Some(*estimate);
                if self.dry_run {
                    return ControlFlow::Break(());
                }
                forecast(estimate).lines().for_each(|line| tracing::info!("{line}"));
            }
            Stage::Teacher(progress) => self.answers(progress),
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn answers(&mut self, progress: &Progress) {
        let Progress { total, answered, failed, money, .. } = *progress;
        let meter = self.meter.get_or_insert_with(|| Meter::new(answered, Some(total)));
        let left = progress
            .remaining
            .map_or_else(String::new, |left| format!(", {} left", duration(left.as_secs_f64())));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let money = if money > 0.0 { format!(", {money:.2} spent") } else { String::new() };
        meter.show(answered, || format!("passages{failed}{money}{left}"));
    }
}

/// What a run will cost.
fn forecast(estimate: &Estimate) -> String {
    let Estimate { requests, cached, tokens, money } = estimate;
    let answers = if tokens.output > 0 {
        format!("at most {} of answers", tokens.output)
    } else {
        "answers of any length (`max_tokens` is not set)".to_owned()
    };
    let price = if *money > 0.0 { format!(", at most {money:.2} in all") } else { String::new() };
    format!(
        "{requests} requests ({cached} answers are known): about {} tokens of prompts, {answers}{price}\n",
        tokens.input
    )
}

fn say(summary: &Summary) {
    let Summary { answered, cached, cut_off, failed, tokens, elapsed, .. } = summary;
    tracing::info!(
        "{answered} passages answered in {} ({cached} known, {cut_off} cut off): {} and {} tokens",
        duration(elapsed.as_secs_f64()),
        tokens.input,
        tokens.output
    );
    if *failed > 0 {
        tracing::warn!("{failed} passages have no answer; the same command tries them again");
        for failure in &summary.failures {
            tracing::warn!("`{}`: {}", failure.passage, failure.reason);
        }
    }
}
