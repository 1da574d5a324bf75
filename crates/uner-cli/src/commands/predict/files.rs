//! Entities of documents, from files to a file.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use uner_data::DataError;
use uner_data::documents::{Document, DocumentOptions, Stamp, documents};
use uner_data::predictions::{PredictionWriter, Written};
use uner_infer::{InferError, Request};

use crate::Ending;
use crate::args::{FilesArgs, PredictArgs};
use crate::model;
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;

/// Counts of what was written.
#[derive(Default)]
struct Counts {
    entities: usize,
    /// Entities that the format cannot represent.
    left_out: usize,
    problems: usize,
}

pub(super) fn run(args: &PredictArgs, input: &Path, types: &[String]) -> Result<Ending> {
    let FilesArgs { input_format, text_key, id_key, types_key, .. } = &args.files;
    ensure!(
        !types.is_empty() || types_key.is_some(),
        "name the entity types to find: `--types person,city`, `--types-file`, or the documents' \
         own by `--types-key`"
    );
    let options = DocumentOptions {
        format: *input_format,
        text: text_key.clone(),
        id: id_key.clone(),
        types: types_key.clone(),
        subset: None,
    };
    let stamp = Stamp::of(input)?;
    let total = count(input, &options)?;
    // A model that cannot be read leaves no output behind.
    let predictor = model::load(&args.model, &args.options)?.with_sampling((&args.sampling).into());
    let (mut writer, written) = open(args)?;
    let mut documents = documents(input, &options)?;
    skip(&mut documents, &written, input)?;

    let mut meter = Meter::new(written.num_documents as u64, total.map(|total| total as u64));
    let (mut done, mut counts) = (written.num_documents, Counts::default());
    let mut unreadable: Option<DataError> = None;
    let requests = std::iter::from_fn(|| match documents.next()? {
        Ok(document) => Some(request(document, types)),
        Err(error) => {
            // What was read before is still answered and written.
            unreadable = Some(error);
            None
        }
    });
    let mut unwritable: Option<DataError> = None;
    interrupt::defer();
    let outcome = predictor.extract(requests, |mut prediction| {
        prediction.entities.retain(|entity| entity.probability.is_none_or(|p| p >= args.threshold));
        if let Some(problem) = &prediction.problem {
            meter.say(&format!("document `{}`: {problem}", prediction.id));
            counts.problems += 1;
        }
        counts.entities += prediction.entities.len();
        match writer.write(&prediction) {
            Ok(left_out) => counts.left_out += left_out,
            Err(error) => {
                unwritable = Some(error);
                return ControlFlow::Break(());
            }
        }
        done += 1;
        meter.show(done as u64, || format!("documents, {} entities", counts.entities));
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let is_interrupted = interrupt::stop_deferring();
    drop(meter);
    if let Some(error) = unwritable.or(unreadable) {
        return Err(error.into());
    }
    match outcome {
        Err(InferError::Stopped) if is_interrupted => {
            tracing::info!("stopped after {done} documents; go on with `--resume`");
            return Ok(Ending::Interrupted);
        }
        outcome => outcome?,
    }
    writer.finish()?;
    report(args, done, &counts);
    if let Some(file) = stamp.changed(&Stamp::of(input)?) {
        bail!(
            "`{}` changed while it was read, so the output may have documents of its old and of its \
             new content; predict again, to another output",
            file.display()
        );
    }
    Ok(Ending::Done)
}

/// Reads all documents once, so that a fault in the last one is reported before hours of work.
/// `None` for the standard input, which can only be read once.
fn count(input: &Path, options: &DocumentOptions) -> Result<Option<usize>> {
    if input == Path::new("-") {
        return Ok(None);
    }
    let mut count = 0;
    for document in documents(input, options)? {
        document?;
        count += 1;
    }
    Ok(Some(count))
}

fn open(args: &PredictArgs) -> Result<(PredictionWriter, Written)> {
    let FilesArgs { output, output_format, resume, .. } = &args.files;
    let output = output.as_deref().unwrap_or(Path::new(""));
    Ok(if *resume {
        PredictionWriter::resume(output, *output_format)?
    } else {
        (PredictionWriter::create(output, *output_format)?, Written::default())
    })
}

/// Skips the documents that are written already.
fn skip(
    documents: &mut impl Iterator<Item = Result<Document, DataError>>,
    written: &Written,
    input: &Path,
) -> Result<()> {
    let mut last = None;
    for document in documents.take(written.num_documents) {
        last = Some(document?.id);
    }
    ensure!(
        written.last_id.is_none() || last == written.last_id,
        "`{}` has changed: the output ends with the document `{}`, at whose place the input has \
         {}; start again with another output",
        input.display(),
        written.last_id.as_deref().unwrap_or_default(),
        last.map_or_else(|| "no document".to_owned(), |id| format!("`{id}`"))
    );
    Ok(())
}

fn request(document: Document, types: &[String]) -> Request {
    let Document { id, text, types: own, .. } = document;
    Request { id, text, types: own.unwrap_or_else(|| types.to_vec()) }
}

fn report(args: &PredictArgs, done: usize, counts: &Counts) {
    let Counts { entities, left_out, problems } = counts;
    let output = args.files.output.as_deref().unwrap_or(Path::new(""));
    tracing::info!("wrote `{}`: {done} documents, {entities} entities", output.display());
    if *left_out > 0 {
        tracing::warn!("{left_out} entities overlap others, which this format cannot represent");
    }
    if *problems > 0 {
        tracing::warn!("{problems} documents could not be answered, or not completely");
    }
}
