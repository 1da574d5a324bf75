//! `[model.adapter]` of a recipe.

use std::path::Path;

use uner_model::adapter::CONFIG_FILE;
use uner_model::{AdapterConfig, BaseForm};

use crate::recipe::{ModelConfig, RANDOM, RecipeError};

/// Refuses an adapter that cannot be trained.
///
/// # Errors
/// Names the key at fault.
pub(crate) fn check(model: &ModelConfig) -> Result<(), RecipeError> {
    let Some(adapter) = &model.adapter else {
        return match model.base {
            None => Ok(()),
            Some(_) => Err(RecipeError::Contradiction(
                "`model.base` quantises a frozen model, and without `[model.adapter]` all of it is trained; add an adapter, \
                 or take `model.base` out"
                    .to_owned(),
            )),
        };
    };
    adapter.check().map_err(RecipeError::Contradiction)?;
    if model.weights == RANDOM {
        return Err(RecipeError::Contradiction(format!(
            "`model.weights = \"{RANDOM}\"` goes with no adapter: an adapter changes a model that can be found again; set \
             `model.weights` to a model folder, or take `[model.adapter]` out"
        )));
    }
    Ok(())
}

/// Whether a folder holds an adapter and no model of its own.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).exists() && !folder.join("config.json").exists()
}

/// The settings in words.
pub fn described(adapter: Option<(&AdapterConfig, Option<BaseForm>)>) -> String {
    let Some((AdapterConfig { rank, alpha, dropout, target_modules }, form)) = adapter else {
        return "absent".to_owned();
    };
    let targets: Vec<&str> = target_modules.iter().map(|target| target.name()).collect();
    let base = match form {
        None => "",
        Some(BaseForm::EightBit) => " of a base in 8 bits",
        Some(BaseForm::FourBit) => " of a base in 4 bits",
    };
    format!("rank {rank}, alpha {alpha}, dropout {dropout} on {}{base}", targets.join(", "))
}
