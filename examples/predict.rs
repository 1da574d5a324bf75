//! Reads a tuned model and prints the entities of a text.
//!
//! ```text
//! cargo run --release -p uner-examples --example predict -- checkpoints/quickstart/best \
//!     "Tim Cook runs Apple." person organization
//! ```

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use uner_infer::{Predictor, Query};

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().context("name the folder of a model")?.into();
    let text = arguments.next().context("give a text")?;
    let types: Vec<String> = arguments.collect();

    let model = Predictor::load(&folder, &Device::flex())?;
    let query = |entity_type| Query { text: &text, entity_type, dataset: None };
    let queries: Vec<Query> = types.iter().map(|entity_type| query(entity_type)).collect();
    for response in model.answer(&queries, |_| ControlFlow::Continue(()))? {
        for found in response.entities {
            let entity = found.entity;
            let span = entity.span.map(|span| format!("{}..{}", span.start, span.end));
            let span = span.unwrap_or_default();
            println!("{}\t{}\t{span}", entity.entity_type, entity.text);
        }
    }
    Ok(())
}
