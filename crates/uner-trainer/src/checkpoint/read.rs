//! Reading a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use safetensors::{Dtype, SafeTensors};
use uner_model::bert::TokenClassifier;
use uner_model::{Llama, LlamaConfig};

use super::state::State;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::state::TrainState;
use crate::step::optimizer::AdamW;
use crate::step::precision::Precision;

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model's dimensions.
    pub config: LlamaConfig,
    /// Its weights.
    pub model: Llama,
    /// The optimizer with its moments.
    pub optimizer: AdamW,
    /// The state of the run.
    pub state: State,
}

/// Reads a checkpoint, after a comparison of every file with its checksum. Keeps this rank's shards
/// of the optimizer's state.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load(folder: &Path, group: &Group, device: &Device) -> Result<Checkpoint, TrainError> {
    load_onto(folder, None, group, device)
}

/// As [`load`], for a checkpoint of an adapter whose base may have moved to `base`.
///
/// # Errors
/// As [`load`], and when the base is another model than the one that was adapted.
pub fn load_onto(
    folder: &Path,
    base: Option<&Path>,
    group: &Group,
    device: &Device,
) -> Result<Checkpoint, TrainError> {
    let (config, model) = uner_model::folder::load(folder, base, device)?;
    let (model, optimizer, state) = restored(folder, model, group, device)?;
    Ok(Checkpoint { config, model, optimizer, state })
}

/// Reads a checkpoint of a token classifier, as [`load`] does: the state to resume with, and the
/// content of `state.json`.
///
/// # Errors
/// As [`load`].
pub fn load_classifier(
    folder: &Path,
    group: &Group,
    device: &Device,
) -> Result<(TrainState<TokenClassifier>, State), TrainError> {
    uner_model::folder::verify(folder)?;
    let (_, model) = uner_model::bert::load(folder, device)?;
    let (model, optimizer, state) = restored(folder, model, group, device)?;
    Ok((state_of(model, optimizer, state.clone()), state))
}

/// The model with its masters, the optimizer, and the state of the run.
fn restored<M: Module>(
    folder: &Path,
    model: M,
    group: &Group,
    device: &Device,
) -> Result<(M, AdamW, State), TrainError> {
    let state = State::read(&folder.join("state.json"))?;
    let path = folder.join("optimizer.safetensors");
    let whole = read_optimizer(&path)?;
    let precision = Precision::new(Some(state.precision), device)?;
    let (model, optimizer) = AdamW::restore(model, whole, precision, group)
        .map_err(|problem| TrainError::Checkpoint { path, problem })?;
    Ok((model, optimizer, state))
}

fn state_of<T>(model: T, optimizer: AdamW, state: State) -> TrainState<T> {
    TrainState {
        run: state.run,
        model,
        optimizer,
        step: state.step,
        best_tracker: state.best_tracker,
        guard: state.guard,
    }
}

fn read_optimizer(path: &Path) -> Result<BTreeMap<String, TensorData>, TrainError> {
    let bytes = fs_err::read(path)?;
    let damaged = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let tensors = file.iter().map(|(name, view)| {
        let shape = view.shape().to_vec();
        let values = match view.dtype() {
            Dtype::F32 => {
                TensorData::new::<f32, _>(bytemuck::pod_collect_to_vec(view.data()), shape)
            }
            Dtype::U8 => TensorData::new(view.data().to_vec(), shape),
            other => return Err(damaged(format!("`{name}` is {other:?}, not f32 or bytes"))),
        };
        Ok((name.to_owned(), values))
    });
    tensors.collect()
}

impl From<Checkpoint> for TrainState {
    fn from(found: Checkpoint) -> Self {
        let Checkpoint { model, optimizer, state, .. } = found;
        state_of(model.into(), optimizer, state)
    }
}
