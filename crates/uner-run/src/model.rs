//! The model of a folder, of either kind.

use std::path::Path;

use anyhow::{Result, ensure};
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
    /// When a file is missing, damaged or does not fit the others; when a token classifier is read
    /// with options.
    pub fn load(folder: &Path, device: &Device, options: &LoadOptions) -> Result<Self> {
        if uner_model::bert::read_config(folder).is_err() {
            let predictor = Predictor::load_with(folder, device, options)?;
            return Ok(Self::Language(Box::new(predictor)));
        }
        ensure!(
            *options == LoadOptions::default(),
            "`{}` is a token classifier: it has no prompt, and its answers are not decoded; leave out \
             the options of language models (template, decoding, quantisation, …)",
            folder.display()
        );
        Ok(Self::Tagger(Box::new(Tagger::load(folder, device)?)))
    }

    /// The model as a system with a name.
    pub fn system(&self, name: String) -> Box<dyn System + '_> {
        match self {
            Self::Language(predictor) => Box::new(ModelSystem { name, predictor }),
            Self::Tagger(open) => Box::new(TaggerSystem { name, tagger: &open.0, model: &open.1 }),
        }
    }
}
