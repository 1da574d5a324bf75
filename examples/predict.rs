//! Reads a tuned model and prints the entities of a text: type, mention, span in characters,
//! probability.
//!
//! ```text
//! cargo run --release -p uner-examples --example predict -- checkpoints/quickstart/step-003250 \
//!     "Dr. Kelham flew to Balford." person city
//! ```

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use uner_infer::Predictor;

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().context("name the folder of a model")?.into();
    let text = arguments.next().context("give a text")?;
    let types: Vec<String> = arguments.collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();

    let model = Predictor::load(&folder, &Device::flex())?;
    for entity in model.predict(&text, &types)? {
        let (start, end) = (entity.span.start, entity.span.end);
        // Free answers have no probabilities.
        let probability = entity.probability.map(|probability| format!("{probability:.2}"));
        let probability = probability.unwrap_or_default();
        println!("{}\t{}\t{start}..{end}\t{probability}", entity.entity_type, entity.text);
    }
    Ok(())
}
