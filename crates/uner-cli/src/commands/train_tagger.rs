//! `uner train` for a recipe with `model.head = "tags"`: a token classifier.

use std::io::Write;

use anyhow::{Result, ensure};
use uner_plan::recipe::{Override, RecipeText, TaggerRecipe, defaults};
use uner_run::tagger;

use crate::Ending;
use crate::args::TrainArgs;
use crate::commands::eval::metered;
use crate::commands::train::with_progress;
use crate::terminal::interrupt;

pub(crate) fn run(
    source: &RecipeText,
    overrides: &[Override],
    args: &TrainArgs,
    out: &mut dyn Write,
) -> Result<Ending> {
    let recipe = TaggerRecipe::parse(source, overrides)?;
    ensure!(
        args.show_mask.is_none() && args.profile.is_none(),
        "`--show-mask` and `--profile` are for language models; `{}` trains a token classifier",
        source.origin
    );
    if args.dry_run {
        write!(out, "{}", tagger::describe(&recipe)?)?;
        for default in defaults(source, overrides, &recipe) {
            writeln!(out, "{:<12}{default}", "default")?;
        }
        return Ok(Ending::Done);
    }
    interrupt::watch()?;
    let Some(trained) = with_progress(args, |options| tagger::train(&recipe, options))? else {
        return Ok(Ending::Interrupted);
    };
    if let Some(report) = trained.measure(&mut metered())? {
        write!(out, "{}", report.terminal(false))?;
    }
    Ok(Ending::Done)
}
