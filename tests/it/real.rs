//! Equalities of inference on trained models: golden ones, and whatever models a folder has.
//!
//! `UNER_MODELS` names a folder of model folders, such as a pre-trained LLaMA and checkpoints of
//! uner. Without it only the golden models are tested.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use uner_data::{Example, read, registry};
use uner_infer::engine::{Engine, FreeDecoder, Limits, Prompt, Sampling};
use uner_infer::{Decoding, Generator, LoadOptions, Predictor, Query, Response};
use uner_kernels::Visibility;
use uner_model::{Context, Llama, LlamaConfig};

use crate::shared::shared;

const NEW_TOKENS: usize = 12;
/// Logits that sum in another order differ by less, so that either token may be the largest.
const GAP: f32 = 1e-3;

/// The folders of language models in `UNER_MODELS`.
fn own_models() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("UNER_MODELS") else {
        eprintln!("SKIPPED: set UNER_MODELS to a folder of model folders");
        return Vec::new();
    };
    let entries = fs_err::read_dir(PathBuf::from(folder)).unwrap();
    let is_model = |path: &PathBuf| {
        let config = fs_err::read_to_string(path.join("config.json")).unwrap_or_default();
        config.contains("ForCausalLM")
    };
    entries.map(|entry| entry.unwrap().path()).filter(is_model).collect()
}

fn golden_models() -> Vec<PathBuf> {
    let names = ["gqa", "mha", "odd"].map(|name| format!("golden/models/{name}"));
    names.iter().filter_map(|name| shared(name)).collect()
}

/// Prompts of pseudo-random ids: passages with questions behind them, which all begin alike.
fn passages(vocab_size: usize) -> Vec<Vec<Vec<u32>>> {
    let id = |seed: usize| (3 + seed * 7919 % (vocab_size - 3)) as u32;
    let ids = |from: usize, count: usize| (from..from + count).map(id);
    let passage = |number: usize| {
        let question = |index: usize| {
            let passage = ids(1000 * number, 9 + 17 * number);
            ids(7, 4).chain(passage).chain(ids(90 + 10 * index, 1 + index)).collect()
        };
        (0..4).map(question).collect()
    };
    (0..3).map(passage).collect()
}

/// The logits of the token after some tokens, computed without a cache.
fn uncached(model: &Llama, config: &LlamaConfig, ids: &[u32]) -> Vec<f32> {
    let device = Device::flex();
    let positions: Vec<i32> = (0..ids.len() as i32).collect();
    let visibility = Visibility::causal(1, ids.len(), &device);
    let context = Context::new(config, &positions, 1, visibility, &device);
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let hidden = model.hidden(&ids, &context, None).narrow(0, ids.len() - 1, 1);
    model.logits(hidden).try_into_vec_as().unwrap()
}

fn assert_shared_equals_separate(folder: &Path) {
    let (config, model) = uner_model::folder::load(folder, None, &Device::flex()).unwrap();
    let model = model.pack();
    let passages = passages(config.vocab_size);
    let prompt = |ids: &Vec<u32>| Prompt::new(ids.clone(), FreeDecoder::new(|_| false));
    let limits = Limits { max_new_tokens: NEW_TOKENS, prompts: 5, slots: usize::MAX };
    let mut engine = Engine::new(&model, &config, limits, Sampling::Greedy);
    engine.share(passages[0][0][..4].to_vec());
    let mut shared = vec![Vec::new(); passages.len()];
    let prompts = passages.iter().map(|passage| passage.iter().map(prompt).collect());
    let outcome = engine.run(prompts, |index, answers| {
        shared[index] = answers;
        ControlFlow::Continue(())
    });
    assert_eq!(outcome, Ok(()));

    let generator = Generator { model: &model, config: &config };
    for (prompt, shared) in passages.iter().flatten().zip(shared.iter().flatten()) {
        let alone = generator.greedy(std::slice::from_ref(prompt), NEW_TOKENS, |_| false);
        assert_eq!(alone.unwrap(), std::slice::from_ref(&shared.ids), "{}", folder.display());
        for count in 0..shared.ids.len() {
            let before = [&prompt[..], &shared.ids[..count]].concat();
            let logits = uncached(&model, &config, &before);
            let largest = logits.iter().copied().fold(f32::MIN, f32::max);
            let gap = largest - logits[shared.ids[count] as usize];
            assert!(gap < GAP, "{}: token {count} differs by {gap}", folder.display());
        }
    }
}

#[test]
fn shared_prefixes_equal_separate_prompts_without_a_cache() {
    for folder in golden_models().into_iter().chain(own_models()) {
        assert_shared_equals_separate(&folder);
    }
}

/// Two passages of each test set of CrossNER.
fn crossner() -> Vec<Example> {
    let Some(root) = shared("data/crossner") else { return Vec::new() };
    let names = ["ai", "literature", "music", "politics", "science"];
    let passages = names.iter().flat_map(|name| {
        let dataset = registry::find(&format!("crossner-{name}")).unwrap();
        let queries: Vec<String> = dataset.entity_types().into_iter().map(str::to_owned).collect();
        let examples = read(&dataset, "test", root.parent().unwrap()).unwrap();
        let first: Vec<Example> = examples.take(2).map(Result::unwrap).collect();
        first.into_iter().map(move |example| Example { queries: queries.clone(), ..example })
    });
    passages.collect()
}

/// Grounded decoding only changes answers that are not lists of substrings.
#[test]
fn grounded_answers_equal_free_ones_that_are_grounded() {
    let passages = crossner();
    for folder in own_models().iter().filter(|folder| folder.join("template.toml").exists()) {
        let answers = |decoding| -> Vec<Response> {
            let options = LoadOptions { decoding: Some(decoding), ..LoadOptions::default() };
            let model = Predictor::load_with(folder, &Device::flex(), &options).unwrap();
            let queries: Vec<Query> = passages
                .iter()
                .flat_map(|passage| {
                    let text = &passage.text;
                    passage.queries.iter().map(|name| Query {
                        text,
                        entity_type: name,
                        dataset: None,
                    })
                })
                .filter(|query| model.fits(&[*query]).unwrap())
                .collect();
            model.answer(&queries, |_| ControlFlow::Continue(())).unwrap()
        };
        let is_grounded = |free: &Response| {
            free.well_formed && free.entities.iter().all(|found| found.entity.span.is_some())
        };
        let pairs = answers(Decoding::Free).into_iter().zip(answers(Decoding::Grounded));
        let pairs: Vec<_> = pairs.filter(|(free, _)| is_grounded(free)).collect();
        for (free, grounded) in &pairs {
            assert_eq!(free.raw, grounded.raw, "{}", folder.display());
        }
        eprintln!("{}: {} free answers are grounded", folder.display(), pairs.len());
        assert!(!pairs.is_empty(), "no free answer of `{}` is grounded", folder.display());
    }
}
