//! Tunes a tiny LLaMA from random weights on conversations of its own, and reads the checkpoint
//! back: training without a recipe or the command line.
//!
//! ```text
//! cargo run --release -p uner-examples --example train
//! ```

use std::ops::ControlFlow;

use anyhow::Result;
use burn::tensor::Device;
use uner_data::{Entity, Example, Span};
use uner_model::LlamaConfig;
use uner_model::weights::random;
use uner_prompt::{Template, Tokenizer, encode, mission, render};
use uner_trainer::data::store::StoreWriter;
use uner_trainer::{Event, Group, Run, TrainConfig, TrainState, checkpoint, train};

/// A text with the people in it.
fn example(number: usize) -> Example {
    let name = ["Ada", "Grace", "Alan", "Edsger"][number % 4];
    let text = format!("{name} wrote program {number}.");
    let span = Some(Span { start: 0, end: name.chars().count() });
    let entity = Entity { text: name.to_owned(), entity_type: "person".to_owned(), span };
    let queries = vec!["person".to_owned(), "city".to_owned()];
    Example { queries, ..Example::new(number.to_string(), text, vec![entity]) }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let template = Template::load("zero-shot")?;
    let conversations: Vec<_> =
        (0..64).map(|number| mission::conversation(&example(number), &template, None)).collect();

    let texts = conversations.iter().map(|conversation| render(conversation, &template));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let segments = texts.into_iter().flatten().map(|segment| segment.text);
    let tokenizer = Tokenizer::train(segments, 512)?;

    let config =
        TrainConfig { max_steps: Some(20), max_seq_len: 256, lr: 1e-3, ..TrainConfig::default() };
    let mut writer = StoreWriter::new(folder.path(), config.max_seq_len)?;
    for conversation in &conversations {
        writer.push(&encode(conversation, &template, &tokenizer)?)?;
    }
    let store = writer.finish()?;

    let model_config: LlamaConfig = toml::from_str(
        "hidden_size = 64\nintermediate_size = 128\nnum_hidden_layers = 2\n\
         num_attention_heads = 4\nvocab_size = 512\nmax_position_embeddings = 512",
    )?;
    let (group, device) = (Group::single(), Device::flex());
    let run = Run { seed: 1, ..Run::new((&config, &model_config), &store, folder.path(), &group) };
    let state = TrainState::new(random(&model_config, run.seed, &device), &group);
    train(&run, state, &mut |event| {
        if let Event::Step(step) = event {
            println!("step {}: loss {:.3}", step.step, step.loss);
        }
        Ok(ControlFlow::Continue(()))
    })?;

    let saved = checkpoint::latest(folder.path())?.expect("the last step is saved");
    let (config, _) = uner_model::folder::load(&saved, None, &device)?;
    println!("`{}` holds {} layers", saved.display(), config.num_hidden_layers);
    Ok(())
}
