//! The tensors of a model folder, each taken once by name and shape: the one check that loading,
//! export and merging go through.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::WeightsError;
use crate::LlamaConfig;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
/// What the names of quantised weights end with, as `GPTQ`, AWQ, bitsandbytes and
/// compressed-tensors have them.
const QUANTISED: [&str; 7] =
    [".qweight", ".qzeros", ".g_idx", ".SCB", ".absmax", ".weight_packed", ".weight_scale"];

/// Those that nobody has taken yet. What does not fit is collected and told at the end, all at
/// once.
pub(crate) struct Tensors<'a> {
    left: BTreeMap<String, TensorView<'a>>,
    problems: Vec<String>,
}

impl<'a> Tensors<'a> {
    /// Those of the weight files of a model.
    ///
    /// # Errors
    /// When a file is torn.
    pub(crate) fn of_model(
        maps: &'a [(PathBuf, Mmap)],
        config: &LlamaConfig,
    ) -> Result<Self, WeightsError> {
        let mut tensors = Self { left: BTreeMap::new(), problems: Vec::new() };
        for (path, map) in maps {
            tensors.add_file(path, map)?;
        }
        if config.tie_word_embeddings {
            tensors.tie();
        }
        // Early checkpoints store the rotary frequencies, which follow from the dimensions.
        tensors.left.retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
        Ok(tensors)
    }

    /// Those of one file.
    ///
    /// # Errors
    /// When it is torn.
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
                        "`{}` is in `{}` and in a file before it",
                        other.key(),
                        path.display()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Makes the head the embedding. Files that hold a tied matrix once may hold it under either
    /// name.
    fn tie(&mut self) {
        let Some(head) = self.left.remove(HEAD) else { return };
        match self.left.get(EMBEDDING) {
            None => drop(self.left.insert(EMBEDDING.to_owned(), head)),
            Some(embedding) if (embedding.dtype(), embedding.data()) == (head.dtype(), head.data()) => {}
            Some(_) => self.problems.push(format!(
                "`{HEAD}` is another matrix than `{EMBEDDING}`, and `tie_word_embeddings` says that they are one"
            )),
        }
    }

    /// Adds to what is wrong.
    pub(crate) fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Adds that a tensor holds what is no number.
    pub(crate) fn note_not_finite(&mut self, name: &str) {
        self.note(format!("`{name}` holds numbers that are infinite or none (NaN)"));
    }

    /// The names of those that nobody has taken yet.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.left.keys()
    }

    /// Whether something is wrong so far.
    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// The tensor, where it is there and of this shape and a type that weights have; else a problem
    /// is noted.
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

    /// What is wrong, where something is: also what nobody has taken.
    pub(crate) fn finish(mut self) -> Result<(), Vec<String>> {
        let quantised = |name: &&String| QUANTISED.iter().any(|end| name.ends_with(end));
        if let Some(name) = self.left.keys().find(quantised) {
            return Err(vec![format!(
                "the weights are quantised (`{name}`), which is not read: take the model that they were made from, with F32, F16 or BF16 \
                 weights"
            )]);
        }
        let unexpected =
            self.left.iter().map(|(name, view)| format!("unexpected: `{name}` {:?}", view.shape()));
        self.problems.extend(unexpected);
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }
}
