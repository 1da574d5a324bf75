//! Annotates documents: reads them from a file or a folder, and writes their entities as JSON
//! Lines. `uner predict --input` does the same, and can resume.
//!
//! ```text
//! cargo run --release -p uner-examples --example extract -- checkpoints/quickstart/step-003250 \
//!     texts.jsonl entities.jsonl person city
//! ```
//!
//! `docs/predictions.md` describes both files.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use uner_data::documents::{Document, DocumentOptions, documents};
use uner_data::predictions::{PredictionFormat, PredictionWriter};
use uner_infer::{Predictor, Request};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().context("name the folder of a model")?.into();
    let input: PathBuf = arguments.next().context("name a file or folder of documents")?.into();
    let output: PathBuf = arguments.next().context("name a file for the entities")?.into();
    let types: Vec<String> = arguments.collect();

    // A fault in the last document is found before the first is answered.
    let documents = documents(&input, &DocumentOptions::default())?;
    let documents: Vec<Document> = documents.collect::<Result<_, _>>()?;
    let model = Predictor::load(&folder, &Device::flex())?;
    let mut writer = PredictionWriter::create(&output, PredictionFormat::JsonLines)?;

    let request = |Document { id, text, .. }| Request { id, text, types: types.clone() };
    let requests = documents.into_iter().map(request);
    let mut unwritable = None;
    let outcome = model.extract(requests, |prediction| match writer.write(&prediction) {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => {
            unwritable = Some(error);
            ControlFlow::Break(())
        }
    });
    if let Some(error) = unwritable {
        return Err(error.into());
    }
    outcome?;
    writer.finish()?;
    Ok(())
}
