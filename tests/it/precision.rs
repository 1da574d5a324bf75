//! Parameters in a short type with f32 masters train like f32 parameters, and writing and reading a
//! file loses nothing of the masters.

use burn::tensor::{DType, Device, Tensor};
use uner_infer::Generator;
use uner_model::Llama;
use uner_model::parameters::{map, visit};
use uner_model::weights::random;
use uner_trainer::data::pack::pack_tokens;
use uner_trainer::step::forward_backward::accumulate;
use uner_trainer::step::optimizer::{Update, clip_factor};
use uner_trainer::step::precision;
use uner_trainer::{AdamW, Batch, Gradients, Group, Precision, RankModel, TrainConfig};

use crate::devices::setups;
use crate::model::{conversation, small_config, small_model, train_config};

/// Weights and activations are rounded to 8 bits of mantissa: over ten steps, 3 % of the loss.
const TOLERANCE: f64 = 0.03;

struct Run {
    model: Llama,
    optimizer: AdamW,
    losses: Vec<f64>,
}

impl Run {
    fn new(device: &Device, dtype: DType) -> Self {
        let (model, optimizer) =
            AdamW::new(random(&small_config(), 7, device), Precision::of(dtype), &Group::single());
        Self { model, optimizer, losses: Vec::new() }
    }

    fn steps(mut self, count: usize, lr: f64) -> Self {
        let batches = batches();
        let train = TrainConfig { weight_decay: 0.1, ..train_config() };
        for _ in 0..count {
            let mut gradients = Gradients::default();
            let losses: Vec<Tensor<1>> = batches
                .iter()
                .map(|batch| accumulate(&self.model, &small_config(), batch, 1, &mut gradients))
                .collect();
            let trained: usize = batches.iter().map(Batch::num_trained).sum();
            let loss: f64 =
                losses.into_iter().map(|loss| f64::from(loss.into_scalar::<f32>())).sum();
            self.losses.push(loss / trained as f64);
            let norm = gradients.squared_norm().sqrt() / trained as f64;
            let grad_scale = clip_factor(norm, 1.0) / trained as f64;
            let update = Update { lr, step: self.losses.len() as u64, grad_scale };
            self.model = self
                .optimizer
                .step(self.model, gradients, &train, update, &Group::single())
                .unwrap();
        }
        self
    }
}

fn batches() -> Vec<Batch> {
    let rows = pack_tokens((0..8).map(|number| conversation(number, 1 + number % 4)).collect(), 48);
    rows.chunks(2).map(Batch::new).collect()
}

fn weights(model: &Llama) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    visit(model, "", |parameter| {
        all.push(parameter.values.cast(DType::F32).try_into_vec_as().unwrap());
    });
    all
}

#[test]
fn short_parameters_with_masters_train_as_f32_does() {
    let expected = Run::new(&Device::flex(), DType::F32).steps(10, 3e-3).losses;
    assert!(expected[9] < 0.8 * expected[0], "nothing was learnt: {expected:?}");
    let on_gpus = setups(&[DType::BF16]);
    let all = on_gpus.iter().map(|setup| (setup.device.clone(), setup.dtype));
    for (device, dtype) in
        all.chain([(Device::flex(), DType::BF16)]).filter(|(_, dtype)| *dtype != DType::F32)
    {
        let run = Run::new(&device, dtype).steps(10, 3e-3);
        for (step, (got, expected)) in run.losses.iter().zip(&expected).enumerate() {
            let near = (got / expected - 1.0).abs() < TOLERANCE;
            assert!(near, "{dtype:?} on {device:?}, step {}: {got} is not {expected}", step + 1);
        }
        visit(&run.model, "", |parameter| {
            assert_eq!(parameter.values.dtype(), dtype, "{}", parameter.name);
        });
        let generator = Generator { model: &run.model, config: &small_config() };
        assert_eq!(generator.greedy(&[vec![1, 5, 9], vec![1]], 4, |_| false).unwrap()[0].len(), 4);
    }
}

/// Losses and weights equal bitwise those of a separate f32 model that is rounded to bf16 for every
/// step. (Values halfway between two bf16 numbers lose their last bit in the 16-bit rest; none
/// occur here.)
#[test]
fn upper_halves_and_rests_train_as_whole_masters_do() {
    let (group, train) = (Group::single(), TrainConfig { weight_decay: 0.1, ..train_config() });
    let round = |model: &Llama| map(model.clone(), "", |_, _, values| values.cast(DType::BF16));
    let mut master = random(&small_config(), 7, &Device::flex());
    let (mut optimizer, mut losses) = (AdamW::default(), Vec::new());
    for step in 1..=10 {
        let (model, mut gradients, batches) = (round(&master), Gradients::default(), batches());
        let sums: Vec<Tensor<1>> = batches
            .iter()
            .map(|batch| accumulate(&model, &small_config(), batch, 1, &mut gradients))
            .collect();
        let trained = batches.iter().map(Batch::num_trained).sum::<usize>() as f64;
        let loss: f64 = sums.into_iter().map(|loss| f64::from(loss.into_scalar::<f32>())).sum();
        losses.push(loss / trained);
        let grad_scale = clip_factor(gradients.squared_norm().sqrt() / trained, 1.0) / trained;
        let update = Update { lr: 3e-3, step, grad_scale };
        master = optimizer.step(master, gradients, &train, update, &group).unwrap();
    }
    let run = Run::new(&Device::flex(), DType::BF16).steps(10, 3e-3);
    assert_eq!(run.losses, losses);
    assert_eq!(weights(&run.model), weights(&round(&master)));
}

/// An update of a thousandth of a weight is less than half a unit in bf16's last place.
#[test]
fn masters_remember_updates_that_are_too_small_to_show() {
    let run = Run::new(&Device::flex(), DType::BF16);
    let before = weights(&run.model);
    let run = run.steps(1, 1e-6);
    assert_eq!(weights(&run.model)[1], before[1], "one update shows already");
    let run = run.steps(300, 1e-4);
    assert_ne!(weights(&run.model)[1], before[1], "three hundred do not show");
}

#[test]
fn a_short_model_goes_on_from_its_masters_bitwise() {
    let group = &Group::single();
    for parameters in [DType::BF16, DType::F32] {
        let run = Run::new(&Device::flex(), parameters).steps(3, 3e-3);
        let whole =
            run.optimizer.gathered(&RankModel::from(run.model.clone()), true, group).unwrap();
        // Files of a short type would contain these values.
        let rounded =
            |_: &str, _: &[usize], values: Tensor<1>| values.cast(DType::BF16).cast(DType::F32);
        let read = map(run.model.clone(), "", rounded);
        let (model, optimizer) =
            AdamW::restore(read, whole, Precision::of(parameters), group).unwrap();
        assert_eq!(weights(&model), weights(&run.model), "{parameters:?}");
        let resumed = Run { model, optimizer, losses: run.losses.clone() }.steps(3, 3e-3);
        let expected = run.steps(3, 3e-3);
        assert_eq!(resumed.losses, expected.losses, "{parameters:?}");
        assert_eq!(weights(&resumed.model), weights(&expected.model), "{parameters:?}");
    }
}

#[test]
fn a_lost_moment_is_told() {
    let run = Run::new(&Device::flex(), DType::F32).steps(1, 1e-3);
    let mut whole = run
        .optimizer
        .gathered(&RankModel::from(run.model.clone()), false, &Group::single())
        .unwrap();
    whole.remove("exp_avg_sq.model.norm.weight").unwrap();
    let problem =
        AdamW::restore(run.model, whole, Precision::default(), &Group::single()).unwrap_err();
    assert_eq!(problem, "a moment of `model.norm.weight` is missing");
}

#[test]
fn the_cpu_trains_in_f32() {
    assert_eq!(precision::parameters(&small_model(1).head().device()), DType::F32);
}
