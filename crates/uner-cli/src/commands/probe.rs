//! `uner probe`: a model's logits, losses and gradients on given ids, to compare implementations.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use uner_infer::Generator;
use uner_kernels::attention::PADDING;
pub use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_kernels::token_losses;
use uner_model::parameters::visit;
use uner_model::weights::write_safetensors;
use uner_model::{Llama, LlamaConfig, adapter, load_adapter};
use uner_run::folder::resolve;
use uner_trainer::step::forward_backward::accumulate;
use uner_trainer::{Batch, Gradients};

pub use crate::args::ProbeArgs;

/// The report on stdout. Without labels the losses are 0.
#[derive(Debug, Serialize)]
pub struct ProbeReport {
    /// Sum of the trained tokens' losses, nats.
    pub sum_loss: f64,
    /// That sum divided by their number.
    pub mean_loss: f64,
    /// Their number.
    pub num_trained_tokens: usize,
    /// Norm of the mean loss's gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Greedy continuation of each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Vec<Vec<u32>>>,
}

/// The input file. All arrays are `[rows, length]`.
#[derive(Debug, Deserialize)]
struct Case {
    input_ids: Vec<Vec<i32>>,
    attention_mask: Option<Vec<Vec<i32>>>,
    labels: Option<Vec<Vec<i32>>>,
    position_ids: Option<Vec<Vec<i32>>>,
    segment_ids: Option<Vec<Vec<i32>>>,
}

/// Tensors to write, by name, with their shapes.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Computes, writes the tensors to `args.output`, and returns the report for stdout.
///
/// # Errors
/// When the model or the case cannot be read, the case does not fit the model, or the output cannot
/// be written.
pub fn run(args: &ProbeArgs) -> Result<ProbeReport> {
    let device = args.device.open()?;
    let (config, model) = uner_model::folder::load(&resolve(&args.model)?, None, &device)?;
    let model = match &args.adapter {
        Some(folder) => load_adapter(model, folder, &device)?,
        None => model,
    };
    let case = Case::read(&args.input, config.vocab_size)?;
    let length = case.input_ids.iter().map(Vec::len).max().unwrap_or(0);
    let new = args.generate.unwrap_or(0);
    let (window, key) = config.context_limit();
    ensure!(
        length.saturating_add(new) <= window,
        "`{}`: {length} ids and {new} new ones; the model was made for {window} (`{key}`)",
        args.input.display()
    );
    let batch = case.batch();
    let mut tensors = Tensors::new();
    let sum_loss = forward(&model, &config, &batch, &mut tensors)?;
    let num_trained_tokens = batch.num_trained();
    let grad_norm = if args.grads {
        ensure!(
            num_trained_tokens > 0,
            "`{}` has no trained label, so there is no gradient",
            args.input.display()
        );
        Some(gradients(&model, &config, &batch, &mut tensors)?)
    } else {
        None
    };
    let generation = args
        .generate
        .map(|count| {
            Generator { model: &model, config: &config }.greedy(&case.prompts(), count, |_| false)
        })
        .transpose()?;
    write(&tensors, &args.output)?;
    let mean_loss =
        if num_trained_tokens == 0 { 0.0 } else { sum_loss / num_trained_tokens as f64 };
    Ok(ProbeReport { sum_loss, mean_loss, num_trained_tokens, grad_norm, generation })
}

/// Adds `logits` `[rows, length, vocab]` (0 at padding) and `token_loss` `[rows, length - 1]` (0
/// where not trained).
fn forward(
    model: &Llama,
    config: &LlamaConfig,
    batch: &Batch,
    tensors: &mut Tensors,
) -> Result<f64> {
    let (rows, length) = (batch.rows, batch.ids.len() / batch.rows);
    let device = model.head().device();
    let hidden = model.hidden(&batch.ids, &batch.context(config, &device), None);
    let losses: Vec<f32> =
        token_losses(hidden.clone(), model.head(), &batch.labels(&device)).try_into_vec_as()?;
    let mut logits: Vec<f32> = model.logits(hidden).try_into_vec_as()?;
    for (row, &document) in logits.chunks_exact_mut(config.vocab_size).zip(&batch.document) {
        if document == PADDING {
            row.fill(0.0);
        }
    }
    let mut trained = losses.iter();
    let mut token_loss: Vec<f32> = Vec::with_capacity(rows * (length - 1));
    for labels in batch.labels.chunks_exact(length) {
        let loss = |&label: &i32| {
            if label == IGNORE_INDEX { 0.0 } else { *trained.next().expect("one loss a label") }
        };
        token_loss.extend(labels[..length - 1].iter().map(loss));
    }
    tensors.insert("logits".to_owned(), (vec![rows, length, config.vocab_size], logits));
    tensors.insert("token_loss".to_owned(), (vec![rows, length - 1], token_loss));
    Ok(losses.iter().copied().map(f64::from).sum())
}

/// Adds `grad.<parameter>` of the mean loss and returns their norm. One block is recomputed and the
/// others are not, so that both ways of the backward pass are probed. The parameters of an adapter
/// have the names of its file.
fn gradients(
    model: &Llama,
    config: &LlamaConfig,
    batch: &Batch,
    tensors: &mut Tensors,
) -> Result<f64> {
    let mut gradients = Gradients::default();
    accumulate(model, config, batch, 1, &mut gradients);
    let scale = 1.0 / batch.num_trained() as f64;
    let prefix = if model.adapter.is_some() { adapter::PREFIX } else { "" };
    let mut problem = None;
    visit(model, "", |parameter| {
        let Some(gradient) = gradients.get(&parameter.name) else { return };
        match gradient.clone().mul_scalar(scale).try_into_vec_as::<f32>() {
            Ok(values) => {
                tensors
                    .insert(format!("grad.{prefix}{}", parameter.name), (parameter.shape, values));
            }
            Err(error) => problem = Some(error),
        }
    });
    if let Some(error) = problem {
        bail!("a gradient could not be read back: {error:?}");
    }
    Ok(gradients.squared_norm().sqrt() * scale)
}

fn write(tensors: &Tensors, path: &Path) -> Result<()> {
    let views = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(write_safetensors(views, [], path)?)
}

impl Case {
    fn read(path: &Path, vocab_size: usize) -> Result<Self> {
        let text = uner_data::regular::read_to_string(path)?;
        let case: Self = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not an input of `uner probe`", path.display()))?;
        let length = case.input_ids.first().map_or(0, Vec::len);
        ensure!(length > 0, "`{}`: `input_ids` is empty", path.display());
        let arrays = [
            ("input_ids", Some(&case.input_ids)),
            ("attention_mask", case.attention_mask.as_ref()),
            ("labels", case.labels.as_ref()),
            ("position_ids", case.position_ids.as_ref()),
            ("segment_ids", case.segment_ids.as_ref()),
        ];
        for (name, array) in arrays {
            let fits = array.is_none_or(|rows| {
                rows.len() == case.input_ids.len() && rows.iter().all(|row| row.len() == length)
            });
            ensure!(
                fits,
                "`{}`: `{name}` is not {} rows of {length}",
                path.display(),
                case.input_ids.len()
            );
        }
        let inside = |id: &i32| (0..vocab_size as i32).contains(id);
        for (name, array) in
            [("input_ids", Some(&case.input_ids)), ("labels", case.labels.as_ref())]
        {
            let outside = array
                .into_iter()
                .flatten()
                .flatten()
                .find(|id| !(inside(id) || name == "labels" && **id == IGNORE_INDEX));
            if let Some(id) = outside {
                bail!(
                    "`{}`: `{name}` holds {id}, the vocabulary has {vocab_size} ids",
                    path.display()
                );
            }
        }
        Ok(case)
    }

    /// The case as a batch of the trainer.
    fn batch(&self) -> Batch {
        let length = self.input_ids[0].len();
        let of = |array: &Option<Vec<Vec<i32>>>, default: &dyn Fn(usize) -> i32| match array {
            Some(rows) => rows.concat(),
            None => {
                (0..self.input_ids.len() * length).map(|index| default(index % length)).collect()
            }
        };
        let segments = of(&self.segment_ids, &|_| 0);
        let real = of(&self.attention_mask, &|_| 1);
        let document = segments
            .into_iter()
            .zip(real)
            .map(|(segment, real)| if real == 0 { PADDING } else { segment })
            .collect();
        let shifted =
            |row: &Vec<i32>| row[1..].iter().copied().chain([IGNORE_INDEX]).collect::<Vec<_>>();
        let labels = match &self.labels {
            Some(rows) => rows.iter().flat_map(shifted).collect(),
            None => vec![IGNORE_INDEX; self.input_ids.len() * length],
        };
        Batch {
            rows: self.input_ids.len(),
            ids: self.input_ids.concat(),
            positions: of(&self.position_ids, &|column| column as i32),
            document,
            labels,
            spans: None,
            dropout_key: None,
        }
    }

    /// The rows without padding.
    fn prompts(&self) -> Vec<Vec<u32>> {
        let real = |row: usize, column: usize| {
            self.attention_mask.as_ref().is_none_or(|mask| mask[row][column] != 0)
        };
        let unpadded = |(row, ids): (usize, &Vec<i32>)| {
            let ids = ids.iter().enumerate().filter(|(column, _)| real(row, *column));
            ids.map(|(_, &id)| id as u32).collect()
        };
        self.input_ids.iter().enumerate().map(unpadded).collect()
    }
}
