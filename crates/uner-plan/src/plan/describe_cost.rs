//! Memory, layout, operations and time of a plan as text.

use std::fmt::Write as _;

use super::{DataSize, Plan, Steps};
use crate::cost::{Layout, Sharding};
use crate::human::{bytes, count, duration, operations};
use crate::machine::MemorySource;

/// Most changes that a message names.
const CHANGES: usize = 4;

impl Plan {
    /// Name and value of each line.
    pub(super) fn cost_lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("memory", self.memory_line())];
        for (name, size) in self.memory.categories() {
            if size > 0 {
                lines.push(("", format!("{name:<16}{:>12}", bytes(size))));
            }
        }
        lines.push(("", format!("{:<16}{:>12}", "in all", bytes(self.memory.total()))));
        lines.push(("layout", self.layout_line()));
        lines.push(("a token", self.flops_line()));
        lines.extend(self.steps.map(|steps| ("compute", self.compute_line(steps))));
        lines.push(("speed", self.speed_line()));
        lines.extend(self.problem().map(|problem| ("TOO MUCH", problem)));
        lines
    }

    fn memory_line(&self) -> String {
        let memory = &self.machine.memory;
        let of = match memory.source {
            MemorySource::Device => "available",
            MemorySource::Recipe => "set by `run.memory`",
            MemorySource::Assumed if self.machine.rates.measured => {
                "assumed (the device does not report its memory)"
            }
            MemorySource::Assumed => "assumed (the device is not here)",
        };
        format!(
            "planned with {} of {} {of}; at the peak of a step:",
            bytes(memory.usable),
            bytes(memory.available)
        )
    }

    fn layout_line(&self) -> String {
        let Layout { micro_batch_rows, recomputed_blocks, sharding } = self.layout;
        let blocks = self.model.num_hidden_layers;
        let ranks = self.machine.ranks;
        let sharded = match sharding {
            Sharding::None => String::new(),
            Sharding::Zero1 => format!(", optimizer state sharded over {ranks} ranks (ZeRO-1)"),
            Sharding::Zero3 => format!(", blocks sharded over {ranks} ranks (ZeRO-3)"),
        };
        format!(
            "micro-batches of {micro_batch_rows} rows, activations of {recomputed_blocks} of \
             {blocks} blocks recomputed{sharded}"
        )
    }

    fn flops_line(&self) -> String {
        let each = if self.parameters.adapter() > 0 {
            "4 per frozen parameter, 6 per parameter of the adapter"
        } else {
            "6 per parameter"
        };
        format!(
            "{} of the model ({each}, and attention), {} executed",
            operations(self.flops.model),
            operations(self.flops.executed)
        )
    }

    fn compute_line(&self, steps: Steps) -> String {
        let is_counted = matches!(self.data.size, DataSize::Counted { .. });
        let bound = if is_counted { "about" } else { "at most" };
        let tokens = steps.tokens * steps.total as f64;
        let time = self.seconds().map_or_else(String::new, duration);
        format!(
            "{bound} {} tokens, {}: {time} for the matrix products alone",
            count(tokens as u64),
            operations(self.operations().unwrap_or_default()),
        )
    }

    fn speed_line(&self) -> String {
        let rates = self.machine.rates;
        let fastest = format!("{}/s", operations(rates.fastest()));
        if !rates.measured {
            return format!("{fastest} assumed: the device is not here to be measured");
        }
        let [few, many] = rates.products.map(|product| {
            let [m, k, n] = product.shape;
            format!("{}/s on a product of {m} x {k} x {n}", operations(product.flops))
        });
        format!("{few}, {many}, {:.1} GB/s on an addition", rates.memory / 1e9)
    }

    /// Says why the plan does not fit and what to do about it; `None` if it fits.
    pub fn problem(&self) -> Option<String> {
        if self.fits() {
            return None;
        }
        let mut text = format!(
            "the run takes {} of the device's memory even in its smallest layout; the \
             plan may use {}",
            bytes(self.memory.total()),
            bytes(self.machine.memory.usable)
        );
        let changes = self.changes();
        let mut before = "; the cheapest change that makes it fit:";
        for outcome in changes.iter().take(CHANGES) {
            let _ = write!(text, "{before} {} ({})", outcome.change, bytes(outcome.needed));
            before = "; or";
        }
        if changes.is_empty() {
            text.push_str("; no single change makes it fit: choose a smaller model");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan_on;
    use crate::machine::{Budget, Machine, Product, Rates};
    use uner_kernels::device::DeviceName;

    /// The lines of the recipe `zero-shot` on a GPU with this many bytes.
    fn lines(available: u64) -> String {
        let product = |rows, flops| Product { shape: [rows, 4096, 8192], flops };
        let machine = Machine {
            device: "cuda:0 (a GPU)".to_owned(),
            peak_flops: None,
            ranks: 1,
            memory: Budget::new(DeviceName::Cuda(0), Some(available), None),
            rates: Rates {
                products: [product(2048, 5e14), product(8192, 6e14)],
                memory: 2e12,
                measured: true,
            },
        };
        let lines = plan_on(machine).cost_lines().into_iter();
        lines.map(|(name, value)| format!("{name:<12}{value}\n")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_plan_that_fits() {
        insta::assert_snapshot!(lines(192 << 30));
    }

    #[test]
    fn a_plan_that_does_not_fit_says_what_would() {
        insta::assert_snapshot!(lines(80_000_000_000));
    }
}
