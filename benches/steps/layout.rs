//! The plan of a run: by the arithmetic of `uner train --dry-run`, for a model that no recipe
//! names.

use burn::tensor::DType;
use serde_json::json;
use uner_kernels::device::DeviceName;
use uner_kernels::linear_cross_entropy::{CPU_LOGITS_BYTES, GPU_LOGITS_BYTES};
use uner_model::LlamaConfig;
use uner_plan::cost::{Choice, Layout, OnFrozen, Rows, Setup, Storage, choose};
use uner_plan::machine::{Budget, Place, Speed};
use uner_trainer::step::precision;

use crate::{Mode, model};

/// A layout, and what it was chosen by.
pub(crate) struct Planned {
    pub(crate) choice: Choice,
    pub(crate) speed: Speed,
    budget: Budget,
}

impl Planned {
    pub(crate) fn layout(&self) -> Layout {
        self.choice.layout
    }

    pub(crate) fn line(&self) -> serde_json::Value {
        let bytes =
            self.choice.memory.categories().map(|(name, bytes)| (name.to_owned(), bytes.into()));
        json!({
            "what": "plan",
            "micro_batch_rows": self.layout().micro_batch_rows,
            "kept_blocks": self.layout().kept_blocks,
            "bytes": serde_json::Map::from_iter(bytes),
            "total_bytes": self.choice.memory.total(),
            "usable_bytes": self.budget.usable(),
            "matmul_flops_per_second": self.speed.rates.matmul,
            "bytes_per_second": self.speed.rates.memory,
        })
    }
}

/// How a device stores a model of this mode; the rows and what of them is trained are the caller's
/// to fill in.
pub(crate) fn setup(name: DeviceName, model: &LlamaConfig, mode: Mode) -> Setup<'_> {
    let device = name.open().unwrap_or_else(|error| panic!("{error}"));
    let is_short = precision::parameters(&device) != DType::F32;
    let storage = match (is_short, name.is_host()) {
        (true, _) => Storage::MIXED,
        (false, true) => Storage::F32,
        (false, false) => Storage { snapshot: 0.0, ..Storage::F32 },
    };
    Setup {
        model,
        storage,
        adapter: (mode == Mode::Lora).then(|| OnFrozen { adapter: &model::ADAPTER, base: None }),
        ranks: 1,
        divided: false,
        row_length: 0,
        step_rows: 0,
        trained_share: 1.0,
        logits_limit: if name.is_host() { CPU_LOGITS_BYTES } else { GPU_LOGITS_BYTES },
    }
}

/// Measures the device and chooses.
///
/// # Panics
/// When nothing fits, with what the least would take.
pub(crate) fn plan(name: DeviceName, setup: &Setup, limit_gib: Option<f64>) -> Planned {
    let device = name.open().unwrap_or_else(|error| panic!("{error}"));
    let speed = Speed::measure(name, &device, setup.model, setup.row_length);
    let budget = Budget::new(name, Place::look(name).available, limit_gib);
    let choice = choose(setup, Rows::Auto, speed.rates, budget.usable()).unwrap_or_else(|least| {
        panic!(
            "nothing fits {} bytes; the least would be {}",
            budget.usable(),
            least.memory.total()
        )
    });
    Planned { choice, speed, budget }
}
