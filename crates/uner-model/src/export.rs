//! Exports a model folder as another one: with another element type, other shards, or an adapter
//! merged into its weights. Tensors are copied one at a time, so a model need not fit into memory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView, View};

use crate::adapter::{BASE_FILE, Base, CONFIG_FILE, PREFIX, peft};
use crate::weights::{
    HEAD, ParameterSource, Tensors, WeightsError, are_finite, dtype_of, open, read_config, stored,
    to_f32, torch_dtype, write_config, write_file, write_weights,
};
use crate::{Llama, LlamaConfig};

/// Settings of an export.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// A Hugging Face folder.
    pub model: &'a Path,
    /// An adapter of that model to merge: `W + scale · B·A`, computed in f32 and rounded once.
    pub adapter: Option<&'a Path>,
    /// The element type of the weights; `None` keeps the model's.
    pub dtype: Option<Dtype>,
    /// Largest size of a weight file, in bytes.
    pub max_shard_bytes: usize,
}

/// Writes a plain Hugging Face folder: `config.json` and the weights. `output` must exist.
///
/// # Errors
/// When a file is missing, damaged or cannot be written, or when model, `config.json` and adapter
/// do not fit together; the error then names every tensor at fault.
pub fn model(export: &Export, output: &Path) -> Result<(), WeightsError> {
    with_tensors(export, |config, dtype, tensors| {
        let torch_dtype = torch_dtype(dtype).to_owned();
        write_config(&LlamaConfig { torch_dtype, ..config.clone() }, output)?;
        write_weights(tensors, output, export.max_shard_bytes)
    })
}

/// Opens and checks a model and its adapter, then calls `work` with the dimensions, the element
/// type to write and every tensor by name.
pub(crate) fn with_tensors(
    export: &Export,
    work: impl FnOnce(&LlamaConfig, Dtype, Vec<(String, Exported)>) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let mut config = read_config(export.model)?;
    let dtype = match export.dtype {
        Some(dtype) => dtype,
        None => dtype_of(&config, &export.model.join("config.json"))?,
    };
    let maps = open(export.model)?;
    let mut weights = Tensors::of_model(&maps, &config)?;
    let adapter =
        export.adapter.map(|folder| AdapterFile::open(folder, export.model)).transpose()?;
    let mut factors = adapter.as_ref().map(AdapterFile::factors).transpose()?;
    if adapter.as_ref().is_some_and(|adapter| adapter.config.has_span_head) {
        config = config.with_span_head();
        weights.retain(|name| name != HEAD);
    }
    let mut tensors = Vec::new();
    for (name, shape) in parameters(&config) {
        let own = factors.as_mut().and_then(|all| all.take(&name, &shape));
        let whole = factors.as_mut().and_then(|all| all.take_whole(&name, &shape));
        if let Some(weight) = whole.or_else(|| weights.take(&name, &shape)) {
            if is_float(weight.dtype()) && !are_finite(&to_f32(&weight)) {
                weights.note_not_finite(&name);
            }
            let exported = Exported { weight, factors: own, dtype };
            if exported.factors.is_some() && !are_finite(&exported.values()) {
                weights.note(format!(
                    "`{name}` with its adapter is not finite: the factors or the scale are too large"
                ));
            }
            tensors.push((name, exported));
        }
    }
    let path = export.model.to_owned();
    weights.finish().map_err(|problems| WeightsError::Mismatch { path, problems })?;
    if let (Some(factors), Some(folder)) = (factors, export.adapter) {
        let path = folder.to_owned();
        factors.tensors.finish().map_err(|problems| WeightsError::Adapter { path, problems })?;
    }
    work(&config, dtype, tensors)
}

/// Copies the adapter in `folder` in PEFT's format, with factors of type `dtype` (`None` keeps
/// theirs). `output` must exist.
///
/// # Errors
/// When a file is missing, damaged or cannot be written.
pub fn adapter(folder: &Path, dtype: Option<Dtype>, output: &Path) -> Result<(), WeightsError> {
    peft::read(folder)?;
    let (path, map) = peft::open(folder)?;
    let torn = |problem: String| WeightsError::Torn { path: path.clone(), problem };
    let file = SafeTensors::deserialize(&map).map_err(|error| torn(error.to_string()))?;
    let mut tensors = file.tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some((name, view)) = tensors.iter().find(|(_, view)| !is_float(view.dtype())) {
        return Err(torn(format!("`{name}` has the type {:?}", view.dtype())));
    }
    let tensors = tensors.into_iter().map(|(name, weight)| {
        let dtype = dtype.unwrap_or(weight.dtype());
        (name, Exported { weight, factors: None, dtype })
    });
    write_file(tensors.collect(), &output.join(peft::TENSORS_FILE))?;
    for name in [CONFIG_FILE, BASE_FILE] {
        if folder.join(name).exists() {
            fs_err::copy(folder.join(name), output.join(name))?;
        }
    }
    Ok(())
}

/// An opened adapter.
struct AdapterFile {
    path: PathBuf,
    map: Mmap,
    config: peft::PeftConfig,
}

/// The factors of an adapter that no layer has taken yet, by PEFT's names.
struct AllFactors<'a> {
    tensors: Tensors<'a>,
    rank: usize,
    scale: f64,
}

impl AdapterFile {
    /// Opens the adapter in `folder` and checks that it belongs to the model in `base`.
    fn open(folder: &Path, base: &Path) -> Result<Self, WeightsError> {
        Base::of(base)?.check(folder)?;
        let config = peft::read(folder)?;
        let (path, map) = peft::open(folder)?;
        Ok(Self { path, map, config })
    }

    fn factors(&self) -> Result<AllFactors<'_>, WeightsError> {
        let mut tensors = Tensors::of_file(&self.path, &self.map)?;
        self.config.problems(tensors.names()).into_iter().for_each(|problem| tensors.note(problem));
        Ok(AllFactors { tensors, rank: self.config.r, scale: self.config.scale() })
    }
}

impl<'a> AllFactors<'a> {
    /// Takes the factors of the parameter `name`, `[out, in]`; `None` if it has none.
    fn take(&mut self, name: &str, shape: &[usize]) -> Option<Factors<'a>> {
        let layer = name.trim_end_matches(".weight");
        let [down, up] = ["A", "B"].map(|factor| format!("{PREFIX}{layer}.lora_{factor}.weight"));
        if !self.tensors.contains(&down) && !self.tensors.contains(&up) {
            return None;
        }
        let shapes = [[self.rank, *shape.get(1)?], [shape[0], self.rank]];
        let [down, up] = [(down, shapes[0]), (up, shapes[1])].map(|(name, shape)| {
            let view = self.tensors.take(&name, &shape);
            if view.as_ref().is_some_and(|view| !are_finite(&to_f32(view))) {
                self.tensors.note_not_finite(&name);
            }
            view
        });
        Some(Factors { down: down?, up: up?, scale: self.scale })
    }

    /// Takes the parameter `name` if the adapter trains it whole.
    fn take_whole(&mut self, name: &str, shape: &[usize]) -> Option<TensorView<'a>> {
        let name = format!("{PREFIX}{name}");
        if self.tensors.contains(&name) { self.tensors.take(&name, shape) } else { None }
    }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Returns name and shape of every parameter of a model, in the order of building.
pub(crate) fn parameters(config: &LlamaConfig) -> Vec<(String, Vec<usize>)> {
    #[derive(Default)]
    struct Recorder(Vec<(String, Vec<usize>)>);
    impl ParameterSource for Recorder {
        fn tensor<const D: usize>(
            &mut self,
            name: &str,
            shape: [usize; D],
        ) -> Result<Tensor<D>, WeightsError> {
            self.0.push((name.to_owned(), shape.to_vec()));
            Ok(Tensor::empty([0; D], &Device::flex()))
        }
    }
    let mut recorder = Recorder::default();
    Llama::build(config, &mut recorder).expect("this source returns every parameter");
    recorder.0
}

/// The two factors of a layer.
struct Factors<'a> {
    /// `[rank, in]`
    down: TensorView<'a>,
    /// `[out, rank]`
    up: TensorView<'a>,
    scale: f64,
}

/// A tensor whose bytes are computed only when they are written.
pub(crate) struct Exported<'a> {
    weight: TensorView<'a>,
    factors: Option<Factors<'a>>,
    dtype: Dtype,
}

impl Exported<'_> {
    /// Returns the weight in f32, with the adapter's product added if it has one.
    fn values(&self) -> Vec<f32> {
        let mut values = to_f32(&self.weight);
        if let Some(factors) = &self.factors {
            values.iter_mut().zip(factors.product()).for_each(|(value, change)| *value += change);
        }
        values
    }

    /// The same tensor, to be written in another element type.
    pub(crate) fn stored_as(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }
}

impl View for Exported<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.weight.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.factors.is_none() && self.weight.dtype() == self.dtype {
            return Cow::Borrowed(self.weight.data());
        }
        Cow::Owned(stored(&self.values(), self.dtype))
    }

    fn data_len(&self) -> usize {
        self.weight.shape().iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

impl Factors<'_> {
    /// Computes `scale · B·A`, `[out, in]`, row by row.
    fn product(&self) -> Vec<f32> {
        let matrix = |view: &TensorView| {
            let data = TensorData::new(to_f32(view), [view.shape()[0], view.shape()[1]]);
            Tensor::<2>::from_data(data, &Device::flex())
        };
        let product = matrix(&self.up).matmul(matrix(&self.down)).mul_scalar(self.scale);
        product.try_into_vec_as().expect("a product of floats")
    }
}
