//! `uner score`: scores of given predictions, as JSON.

use std::io::Write;

use anyhow::Result;

use crate::args::ScoreArgs;

pub(crate) fn run(args: &ScoreArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(folder) = &args.evaluation {
        let report = uner_eval::folder::rescore(folder, None)?;
        uner_run::write_report(folder, &report)?;
        write!(out, "{}", report.terminal(false))?;
        return Ok(());
    }
    let json = match (&args.gold, &args.predictions, &args.bio) {
        (Some(gold), Some(predictions), _) => {
            serde_json::to_string_pretty(&uner_eval::score_queries(gold, predictions)?)?
        }
        (_, _, Some(bio)) => serde_json::to_string_pretty(&uner_eval::score_bio(bio)?)?,
        _ => unreachable!("clap requires one of both"),
    };
    writeln!(out, "{json}")?;
    Ok(())
}
