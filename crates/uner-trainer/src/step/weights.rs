//! A copy of the trained weights on the host, which later steps do not change.

use std::path::Path;

use uner_model::LlamaConfig;
use uner_model::adapter::{self, AdapterFiles};
use uner_model::bert::{self, BertConfig};
use uner_model::weights::{self, HostTensor, MAX_SHARD_BYTES};

use super::rank_model::RankModel;
use crate::distributed::Group;
use crate::error::TrainError;

/// A copy of the trained weights on the host.
#[derive(Debug)]
pub enum Weights {
    /// All weights of a language model, by checkpoint name.
    Whole(Vec<(String, HostTensor)>, Box<LlamaConfig>),
    /// Those of an adapter.
    Adapter(AdapterFiles),
    /// Those of a token classifier, by checkpoint name.
    Classifier(Vec<(String, HostTensor)>, Box<BertConfig>),
}

impl Weights {
    /// Copies the weights of a language model to the host of rank 0. Every rank has to call.
    ///
    /// # Errors
    /// When `config.torch_dtype` cannot be written, or another rank has failed.
    pub fn of_language_model(
        model: &RankModel,
        config: &LlamaConfig,
        group: &Group,
    ) -> Result<Self, TrainError> {
        Ok(match adapter::files(model.local()) {
            Some(files) => Self::Adapter(files),
            None => Self::Whole(whole(model, config, group)?, Box::new(config.clone())),
        })
    }

    pub(crate) fn write(self, folder: &Path) -> Result<(), TrainError> {
        match self {
            Self::Whole(weights, config) => {
                weights::write(weights, &config, folder, MAX_SHARD_BYTES)?;
            }
            Self::Adapter(files) => files.write(folder)?,
            Self::Classifier(weights, config) => bert::write(weights, &config, folder)?,
        }
        Ok(())
    }
}

/// Copies all parameters to the host, in the type of their files. Later steps do not change the
/// copy.
fn whole(
    model: &RankModel,
    config: &LlamaConfig,
    group: &Group,
) -> Result<Vec<(String, HostTensor)>, TrainError> {
    let dtype = weights::dtype_of(config, Path::new("config.json"))?;
    let mut parameters = Vec::new();
    model.read(
        |_| true,
        group,
        |name, shape, values| parameters.push((name, HostTensor::of(values, shape, dtype))),
    )?;
    Ok(parameters)
}
