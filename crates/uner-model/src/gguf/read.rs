//! Imports a file as a model folder. Tensors are widened one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gguf_rs_lib::format::Metadata;
use gguf_rs_lib::reader::GGUFFileReader;
use gguf_rs_lib::tensor::TensorType;
use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::View;

use super::names::{interleaved_heads, renamed, separated};
use super::{Vocabulary, config, dequantize, vocabulary};
use crate::LlamaConfig;
use crate::export::parameters;
use crate::weights::{
    WeightsError, are_finite, map_file, stored, torch_dtype, write_config, write_weights,
};

/// Tensor of the factors of LLaMA 3's rotary frequencies.
const ROPE_FACTORS: &str = "rope_freqs.weight";
const EMBEDDING: &str = "token_embd.weight";

/// An opened GGUF file.
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    tensors: BTreeMap<String, Stored>,
    config: LlamaConfig,
    vocabulary: Vocabulary,
}

/// Where a tensor lies in the file.
struct Stored {
    kind: TensorType,
    /// As in a Hugging Face folder: the contiguous dimension last.
    shape: Vec<usize>,
    /// First byte and number of bytes.
    bytes: [usize; 2],
}

impl Gguf {
    /// Opens a file, and reads its dimensions and vocabulary.
    ///
    /// # Errors
    /// When the file is missing or damaged, or describes what is not supported; the message names
    /// the key or tensor.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let (_, map) = map_file(path.to_owned())?;
        let failed = |problem| WeightsError::Gguf { path: path.to_owned(), problem };
        let mut reader = reader(&map).map_err(failed)?;
        reader.validate_integrity().map_err(|error| failed(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for info in reader.tensor_infos() {
            let start = reader.tensor_data_offset() + info.data_offset();
            let size = info.expected_data_size();
            let shape = info.shape().dims().iter().rev().map(|&size| size as usize).collect();
            let bytes = [start as usize, size as usize];
            tensors
                .insert(info.name().to_owned(), Stored { kind: info.tensor_type(), shape, bytes });
        }
        let metadata = reader.metadata().clone();
        let vocabulary = vocabulary::read(&metadata).map_err(failed)?;
        let rope_factors = tensors.get(ROPE_FACTORS).map(|stored| stored.values(&map));
        let rope_factors = rope_factors.transpose().map_err(failed)?;
        let found = config::Tensors {
            vocab_size: tensors
                .get(EMBEDDING)
                .map_or(0, |stored| stored.shape.first().copied().unwrap_or(0)),
            contains: &|name| tensors.contains_key(name),
            rope_factors,
        };
        let config = config::read(&metadata, &found, &vocabulary).map_err(failed)?;
        Ok(Self { path: path.to_owned(), map, metadata, tensors, config, vocabulary })
    }

    /// Reads only the vocabulary of a file, which may have no tensors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn vocabulary_of(path: &Path) -> Result<Vocabulary, WeightsError> {
        let (_, map) = map_file(path.to_owned())?;
        reader(&map)
            .and_then(|reader| vocabulary::read(reader.metadata()))
            .map_err(|problem| WeightsError::Gguf { path: path.to_owned(), problem })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The dimensions.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Name and licence of the model, as far as the file has them.
    pub fn origin(&self) -> [Option<&str>; 2] {
        ["general.name", "general.license"].map(|key| self.metadata.get_string(key))
    }

    /// Numbers of tensors by type.
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for stored in self.tensors.values() {
            *kinds.entry(format!("{:?}", stored.kind)).or_default() += 1;
        }
        kinds
    }

    /// The element type that keeps all values: f16 or bf16 if all matrices have it, else f32.
    pub fn dtype(&self) -> Dtype {
        let mut matrices =
            self.tensors.values().filter(|stored| stored.shape.len() > 1).map(|stored| stored.kind);
        let first = matrices.next();
        match first.filter(|first| matrices.all(|kind| kind == *first)) {
            Some(TensorType::F16) => Dtype::F16,
            Some(TensorType::BF16) => Dtype::BF16,
            _ => Dtype::F32,
        }
    }

    /// Writes `config.json` and the weights in the element type `dtype`. The folder must exist.
    ///
    /// # Errors
    /// When tensors are missing, unexpected, of another shape or type, or not finite (the error
    /// names them all), or a file cannot be written.
    pub fn write_folder(
        &self,
        dtype: Dtype,
        folder: &Path,
        max_shard_bytes: usize,
    ) -> Result<(), WeightsError> {
        let mismatch = |problems| WeightsError::Tensors { path: self.path.clone(), problems };
        let problems = Mutex::new(self.problems());
        if let Ok(found) = problems.lock()
            && !found.is_empty()
        {
            return Err(mismatch(found.clone()));
        }
        let mut tensors = Vec::new();
        for (name, _) in parameters(&self.config) {
            if let Some(stored) = renamed(&name).and_then(|name| self.tensors.get(&name)) {
                let heads = interleaved_heads(&name, &self.config);
                tensors.push((
                    name.clone(),
                    Imported { name, stored, heads, file: self, dtype, problems: &problems },
                ));
            }
        }
        let config =
            LlamaConfig { torch_dtype: torch_dtype(dtype).to_owned(), ..self.config.clone() };
        write_config(&config, folder)?;
        write_weights(tensors, folder, max_shard_bytes)?;
        let found = problems.into_inner().unwrap_or_default();
        if found.is_empty() { Ok(()) } else { Err(mismatch(found)) }
    }

    /// Compares the tensors with the dimensions.
    fn problems(&self) -> Vec<String> {
        let mut left: BTreeMap<&str, &Stored> =
            self.tensors.iter().map(|(name, stored)| (name.as_str(), stored)).collect();
        left.remove(ROPE_FACTORS);
        let mut problems = Vec::new();
        for (name, shape) in parameters(&self.config) {
            let name = renamed(&name).expect("every parameter has a name in GGUF");
            match left.remove(name.as_str()) {
                None => problems.push(format!("`{name}` {shape:?} is missing")),
                Some(stored) if stored.shape != shape => {
                    problems.push(format!("`{name}` is {:?}, not {shape:?}", stored.shape));
                }
                Some(stored) if dequantize::dequantized(stored.kind, &[]).is_none() => {
                    problems.push(format!("`{name}`: {}", stored.unsupported()));
                }
                Some(_) => {}
            }
        }
        let unexpected =
            left.into_keys().map(|name| format!("`{name}` is not a tensor of this family"));
        problems.extend(unexpected);
        problems
    }
}

fn reader(map: &Mmap) -> Result<GGUFFileReader<Cursor<&[u8]>>, String> {
    GGUFFileReader::new(Cursor::new(&map[..]))
        .map_err(|error| format!("it is not a complete GGUF file: {error}"))
}

impl Stored {
    fn unsupported(&self) -> String {
        format!("its type is {:?}; only {} are supported", self.kind, dequantize::SUPPORTED)
    }

    /// The values in f32.
    fn values(&self, map: &[u8]) -> Result<Vec<f32>, String> {
        let [start, size] = self.bytes;
        dequantize::dequantized(self.kind, &map[start..][..size]).ok_or_else(|| self.unsupported())
    }
}

/// A tensor that is widened when it is written.
struct Imported<'a> {
    name: String,
    stored: &'a Stored,
    /// Number of heads whose rows are interleaved; 0 if their order stays.
    heads: usize,
    file: &'a Gguf,
    dtype: Dtype,
    problems: &'a Mutex<Vec<String>>,
}

impl View for Imported<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.stored.values(&self.file.map).expect("the type was checked");
        let bytes = match self.heads {
            0 => stored(&values, self.dtype),
            heads => stored(&separated(&values, self.stored.shape[0], heads), self.dtype),
        };
        if !are_finite(&values)
            && let Ok(mut problems) = self.problems.lock()
        {
            problems.push(format!("`{}` has values that are not finite", self.name));
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.stored.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}
