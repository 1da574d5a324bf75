//! The model of a folder, of either kind.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use uner_eval::System;
use uner_infer::{LoadOptions, Predictor};
use uner_model::bert::TokenClassifier;

use crate::system::ModelSystem;
use crate::tagger::{Tagger, TaggerSystem};

/// A model of either kind that was read from a folder.
#[derive(Debug)]
pub enum OpenModel {
    /// A language model.
    Language(Box<Predictor<'static>>),
    /// A token classifier.
    Tagger(Box<(Tagger, TokenClassifier)>),
}

impl OpenModel {
    /// Reads the model of a folder. The options are for language models.
    ///
    /// # Errors
    /// When a file is missing, damaged or does not fit the others.
    pub fn load(folder: &Path, device: &Device, options: &LoadOptions) -> Result<Self> {
        Ok(if uner_model::bert::read_config(folder).is_ok() {
            Self::Tagger(Box::new(Tagger::load(folder, device)?))
        } else {
            Self::Language(Box::new(Predictor::load_with(folder, device, options)?))
        })
    }

    /// The model as a system with a name.
    pub fn system(&self, name: String) -> Box<dyn System + '_> {
        match self {
            Self::Language(predictor) => Box::new(ModelSystem { name, predictor }),
            Self::Tagger(open) => Box::new(TaggerSystem { name, tagger: &open.0, model: &open.1 }),
        }
    }
}
