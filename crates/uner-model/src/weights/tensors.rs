//! The tensors of a model folder, each taken once by name and shape. Loading, export and merging
//! share this check.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::WeightsError;
use crate::LlamaConfig;

const EMBEDDING: &str = "model.embed_tokens.weight";
/// The name of the language-model head.
pub(crate) const HEAD: &str = "lm_head.weight";
/// Endings of the names of quantised weights, as `GPTQ`, AWQ, bitsandbytes and compressed-tensors
/// write them.
const QUANTISED: [&str; 7] =
    [".qweight", ".qzeros", ".g_idx", ".SCB", ".absmax", ".weight_packed", ".weight_scale"];

/// The tensors that were not taken yet. Problems are collected, and `finish` returns them all.
pub(crate) struct Tensors<'a> {
    left: BTreeMap<String, TensorView<'a>>,
    problems: Vec<String>,
}

impl<'a> Tensors<'a> {
    /// Opens the tensors of a model's weight files.
    ///
    /// # Errors
    /// When a file is damaged.
    pub(crate) fn of_model(
        maps: &'a [(PathBuf, Mmap)],
        config: &LlamaConfig,
    ) -> Result<Self, WeightsError> {
        let mut tensors = Self::of_files(maps)?;
        if config.tie_word_embeddings {
            tensors.tie();
        }
        // Early checkpoints store the rotary frequencies, which follow from the dimensions.
        tensors.retain(|name| !name.ends_with("rotary_emb.inv_freq"));
        Ok(tensors)
    }

    /// Opens the tensors of some files.
    ///
    /// # Errors
    /// When one is damaged.
    pub(crate) fn of_files(maps: &'a [(PathBuf, Mmap)]) -> Result<Self, WeightsError> {
        let mut tensors = Self { left: BTreeMap::new(), problems: Vec::new() };
        for (path, map) in maps {
            tensors.add_file(path, map)?;
        }
        Ok(tensors)
    }

    /// Opens the tensors of one file.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn of_file(path: &Path, map: &'a Mmap) -> Result<Self, WeightsError> {
        let mut tensors = Self { left: BTreeMap::new(), problems: Vec::new() };
        tensors.add_file(path, map)?;
        Ok(tensors)
    }

    fn add_file(&mut self, path: &Path, map: &'a Mmap) -> Result<(), WeightsError> {
        let file = SafeTensors::deserialize(map).map_err(|error| WeightsError::Torn {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        let mut tensors = file.tensors();
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, view) in tensors {
            match self.left.entry(name) {
                Entry::Vacant(free) => drop(free.insert(view)),
                Entry::Occupied(other) => {
                    self.problems.push(format!(
                        "`{}` is in `{}` and in an earlier file",
                        other.key(),
                        path.display()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Ties the head to the embedding. A file may hold the matrix under either name, or under both.
    fn tie(&mut self) {
        let Some(head) = self.left.remove(HEAD) else { return };
        match self.left.get(EMBEDDING) {
            None => drop(self.left.insert(EMBEDDING.to_owned(), head)),
            Some(embedding)
                if (embedding.dtype(), embedding.data()) == (head.dtype(), head.data()) => {}
            Some(_) => self.problems.push(format!(
                "`{HEAD}` is another matrix than `{EMBEDDING}`, but `tie_word_embeddings` is true"
            )),
        }
    }

    /// Leaves out the tensors whose names do not satisfy `keep`.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.left.retain(|name, _| keep(name));
    }

    /// Adds a problem.
    pub(crate) fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Reports a tensor with values that are not finite.
    pub(crate) fn note_not_finite(&mut self, name: &str) {
        self.note(format!("`{name}` holds values that are infinite or NaN"));
    }

    /// The names of the tensors that were not taken yet.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.left.keys()
    }

    /// Whether there are problems so far.
    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether a tensor has this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes a tensor. Adds a problem if it is missing, has another shape, or has a type that
    /// weights do not have.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Option<TensorView<'a>> {
        let problem = match self.left.remove(name) {
            None => format!("missing: `{name}` {shape:?}"),
            Some(view) if view.shape() != shape => {
                format!("`{name}` has the shape {:?}, expected {shape:?}", view.shape())
            }
            Some(view) if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                format!("`{name}` has the type {:?}, expected F32, F16 or BF16", view.dtype())
            }
            Some(view) => return Some(view),
        };
        self.problems.push(problem);
        None
    }

    /// Returns all problems, if any. Tensors that were not taken are problems, too.
    pub(crate) fn finish(mut self) -> Result<(), Vec<String>> {
        let quantised = |name: &&String| QUANTISED.iter().any(|end| name.ends_with(end));
        if let Some(name) = self.left.keys().find(quantised) {
            return Err(vec![format!(
                "the weights are quantised (`{name}`), which is not supported: use the original \
                 model with F32, F16 or BF16 weights"
            )]);
        }
        let unexpected =
            self.left.iter().map(|(name, view)| format!("unexpected: `{name}` {:?}", view.shape()));
        self.problems.extend(unexpected);
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }
}
