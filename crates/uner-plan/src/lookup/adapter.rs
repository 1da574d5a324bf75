//! `[model.adapter]` of a recipe.

use std::path::Path;

use uner_model::adapter::CONFIG_FILE;
use uner_model::{AdapterConfig, BaseFormat};

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
                "`model.base` quantises a frozen model, but without `[model.adapter]` the whole model is trained; add an \
                 adapter, or remove `model.base`"
                    .to_owned(),
            )),
        };
    };
    if let Some(token) = model.add_tokens.first() {
        return Err(RecipeError::Contradiction(format!(
            "`model.add_tokens` names `{token}`, but with `[model.adapter]` the embedding is frozen, so new tokens would \
             stay equal; remove one of the two"
        )));
    }
    adapter.check().map_err(RecipeError::Contradiction)?;
    if model.weights == RANDOM {
        return Err(RecipeError::Contradiction(format!(
            "`model.weights = \"{RANDOM}\"` cannot have an adapter, since an adapter needs the model that it changes; \
             set `model.weights` to a model folder, or remove `[model.adapter]`"
        )));
    }
    Ok(())
}

/// Whether a folder contains an adapter but no model.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).exists() && !folder.join("config.json").exists()
}

/// Describes an adapter in words.
pub fn described(adapter: Option<(&AdapterConfig, Option<BaseFormat>)>) -> String {
    let Some((AdapterConfig { rank, alpha, dropout, target_modules }, form)) = adapter else {
        return "absent".to_owned();
    };
    let targets: Vec<&str> = target_modules.iter().map(|target| target.name()).collect();
    let base = match form {
        None => "",
        Some(BaseFormat::EightBit) => " of a base in 8 bits",
        Some(BaseFormat::FourBit) => " of a base in 4 bits",
    };
    format!("rank {rank}, alpha {alpha}, dropout {dropout} on {}{base}", targets.join(", "))
}
