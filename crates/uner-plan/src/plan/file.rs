//! `plan.toml`: a plan in the folder of its run and in every checkpoint.

use std::path::Path;

use toml::Table;

use super::Plan;
use crate::recipe::{Recipe, RecipeError, rebase};

/// The file of a plan.
pub const PLAN: &str = "plan.toml";

impl Plan {
    /// The plan as TOML, from which [`Plan::parse`] reads the same plan.
    ///
    /// # Panics
    /// Never: every plan can be serialised.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is TOML")
    }

    /// Reads a plan from the text of the file `origin`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RecipeError> {
        toml::from_str(text).map_err(|error| RecipeError::Key {
            place: origin.display().to_string(),
            problem: format!("it is not the plan of a run: {}", error.message()),
        })
    }

    /// Reads the plan in a folder.
    ///
    /// # Errors
    /// As [`Plan::parse`], and when the file cannot be read.
    pub fn read(folder: &Path) -> Result<Self, RecipeError> {
        let file = folder.join(PLAN);
        Self::parse(&uner_data::regular::read_to_string(&file)?, &file)
    }

    /// The plan with absolute paths, which mean the same wherever it is read.
    ///
    /// # Errors
    /// When there is no current folder.
    pub fn recorded(&self) -> Result<Self, RecipeError> {
        let mut plan = self.clone();
        plan.recipe = absolute(&self.recipe)?;
        let data = &mut plan.data;
        let splits = data.train.iter_mut().chain(&mut data.validation).chain(&mut data.benchmarks);
        let files = splits.flat_map(|split| &mut split.files).map(|file| &mut file.path);
        for path in files.chain(plan.prompt.tokenizer.as_mut()) {
            *path = std::path::absolute(&path)?.to_string_lossy().into_owned();
        }
        Ok(plan)
    }
}

/// A recipe with absolute paths.
fn absolute(recipe: &Recipe) -> Result<Recipe, RecipeError> {
    let mut table = Table::try_from(recipe).expect("a recipe is TOML");
    rebase(&mut table, &std::env::current_dir()?);
    Ok(table.try_into().expect("a recipe whose paths are absolute is a recipe"))
}
