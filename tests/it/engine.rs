//! The engine gives every prompt the answer that it would get alone, whatever shares its passage,
//! its batch or its cache.

use std::ops::ControlFlow;

use uner_infer::Generator;
use uner_infer::engine::{Answer, Engine, FreeDecoder, Limits, Prompt, Sampling, Stop};

use crate::model::{small_config, small_model};

/// Passages of prompts that begin alike, all with the same two tokens first.
fn passages() -> Vec<Vec<Vec<u32>>> {
    let prompt = |passage: u32, length: u32, question: &[u32]| {
        let passage = (0..length).map(|index| 3 + (index * 17 + passage) % 50);
        [5, 6].into_iter().chain(passage).chain(question.iter().copied()).collect::<Vec<u32>>()
    };
    vec![
        vec![prompt(1, 30, &[7, 8, 9]), prompt(1, 30, &[7, 9]), prompt(1, 30, &[7])],
        vec![prompt(2, 3, &[])],
        vec![],
        vec![prompt(3, 70, &[10, 11]), prompt(3, 70, &[12, 11, 13, 14])],
        // One prompt is the beginning of the other, and two are equal.
        vec![prompt(4, 9, &[]), prompt(4, 9, &[20]), prompt(4, 9, &[20])],
        vec![vec![5, 6], vec![5]],
    ]
}

fn prompts(passages: &[Vec<Vec<u32>>]) -> Vec<Vec<Prompt<'static>>> {
    let prompt =
        |ids: &Vec<u32>| Prompt::new(ids.clone(), FreeDecoder::new(|id: u32| id % 13 == 0));
    passages.iter().map(|passage| passage.iter().map(prompt).collect()).collect()
}

/// The answers of each passage.
fn run(engine: &mut Engine) -> Vec<Vec<Answer>> {
    let mut answers = vec![None; passages().len()];
    let outcome = engine.run(prompts(&passages()), |index, found| {
        assert!(answers[index].replace(found).is_none(), "passage {index} finished twice");
        ControlFlow::Continue(())
    });
    assert_eq!(outcome, Ok(()));
    answers.into_iter().map(|answers| answers.expect("every passage finishes")).collect()
}

#[test]
fn a_shared_beginning_equals_separate_prompts() {
    let (config, model) = (small_config(), small_model(9));
    let generator = Generator { model: &model, config: &config };
    let alone = |ids: &Vec<u32>| {
        generator.greedy(std::slice::from_ref(ids), 20, |id| id % 13 == 0).unwrap().remove(0)
    };
    let expected: Vec<Vec<Vec<u32>>> =
        passages().iter().map(|passage| passage.iter().map(alone).collect()).collect();
    let unlimited = usize::MAX;
    // With few slots, prompts pause.
    for (prompts, slots) in
        [(1, unlimited), (2, unlimited), (64, unlimited), (64, 120), (64, 60), (3, 1)]
    {
        for system in [&[][..], &[5, 6], &[5, 6, 9]] {
            let limits = Limits { max_new_tokens: 20, prompts, slots };
            let mut engine = Engine::new(&model, &config, limits, Sampling::Greedy);
            engine.share(system.to_vec());
            for turn in 0..2 {
                let got = run(&mut engine);
                for (passage, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let ids: Vec<&Vec<u32>> = got.iter().map(|answer| &answer.ids).collect();
                    let what = format!("passage {passage}, {limits:?}, {system:?}, run {turn}");
                    assert_eq!(ids, expected.iter().collect::<Vec<_>>(), "{what}");
                }
                let of_all = got.iter().flatten();
                assert!(of_all.clone().any(|answer| answer.ended), "some answers end");
                for answer in of_all {
                    let ended = usize::from(answer.ended);
                    assert_eq!(answer.probabilities.len(), answer.ids.len() + ended);
                    assert!(answer.probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
                    assert!(answer.ended || answer.ids.len() == 20);
                }
            }
        }
    }
}

#[test]
fn a_cancelled_run_returns_its_slots() {
    let (config, model) = (small_config(), small_model(9));
    let limits = Limits { max_new_tokens: 20, prompts: 3, slots: usize::MAX };
    let mut engine = Engine::new(&model, &config, limits, Sampling::Greedy);
    let expected = run(&mut engine);
    let before = engine.free_slots();
    let outcome = engine.run(prompts(&passages()), |_, _| ControlFlow::Break(()));
    assert_eq!(outcome, Err(Stop::Cancelled));
    assert_eq!(engine.free_slots(), before);
    assert_eq!(run(&mut engine), expected);
    assert_eq!(engine.free_slots(), before);
}

#[test]
fn sampled_answers_depend_on_the_seed_alone() {
    let (config, model) = (small_config(), small_model(9));
    let sampled = |prompts: usize, seed: u64| {
        let sampling = Sampling::Random { temperature: 1.0, top_p: 0.9, seed };
        let limits = Limits { max_new_tokens: 20, prompts, slots: usize::MAX };
        run(&mut Engine::new(&model, &config, limits, sampling))
    };
    let ids = |answers: Vec<Vec<Answer>>| -> Vec<Vec<u32>> {
        answers.into_iter().flatten().map(|answer| answer.ids).collect()
    };
    let first = ids(sampled(1, 3));
    assert_eq!(ids(sampled(64, 3)), first);
    assert_ne!(ids(sampled(64, 4)), first);
}
