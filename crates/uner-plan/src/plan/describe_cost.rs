//! The numbers of a plan for people: memory, layout, operations, time.

use std::fmt::Write as _;

use super::{DataSize, Numbers, Steps};
use crate::cost::Layout;
use crate::human::{bytes, count, duration, operations};

/// Changes that are told when a plan does not fit.
const CHANGES: usize = 4;

impl Numbers {
    /// Name and value of each line. `layers` is how many blocks the model has.
    pub(super) fn lines(&self, layers: usize) -> Vec<(&'static str, String)> {
        let mut lines = vec![("memory", self.budget_line())];
        for (name, size) in self.choice.memory.categories() {
            if size > 0 {
                lines.push(("", format!("{name:<16}{:>12}", bytes(size))));
            }
        }
        lines.push(("", format!("{:<16}{:>12}", "in all", bytes(self.choice.memory.total()))));
        lines.push(("layout", self.layout_line(layers)));
        lines.push(("a token", self.flops_line()));
        lines.extend(self.steps.map(|steps| ("compute", self.compute_line(steps))));
        lines.push(("speed", self.speed_line()));
        if let Some(problem) = self.problem() {
            lines.push(("TOO MUCH", problem));
        }
        lines
    }

    fn budget_line(&self) -> String {
        let Self { budget, .. } = self;
        let of = if budget.known { "available" } else { "assumed (the device is not here)" };
        format!(
            "planned with {} of {} {of}; at the largest moment of a step:",
            bytes(budget.usable()),
            bytes(budget.available)
        )
    }

    fn layout_line(&self, layers: usize) -> String {
        let Layout { micro_batch_rows, kept_blocks, divided } = self.choice.layout;
        let ranks = self.ranks;
        let whole =
            if divided { format!(", blocks divided among {ranks} ranks") } else { String::new() };
        format!(
            "micro-batches of {micro_batch_rows} rows, graphs of {kept_blocks} of {layers} blocks kept, the others run again{whole}"
        )
    }

    fn flops_line(&self) -> String {
        let each = if self.size.adapter() > 0 {
            "4 for each frozen parameter, 6 for each of the adapter"
        } else {
            "6 for each parameter"
        };
        format!(
            "{} by the count of the literature ({each}, and attention), {} executed",
            operations(self.flops.model),
            operations(self.flops.executed)
        )
    }

    fn compute_line(&self, steps: Steps) -> String {
        let bound = if matches!(self.data, DataSize::Counted { .. }) { "about" } else { "at most" };
        let tokens = steps.tokens * steps.total as f64;
        let time = self.seconds().map_or_else(String::new, duration);
        format!(
            "{bound} {} tokens, {}: {time} of matrix products, to which all else comes on top",
            count(tokens as u64),
            operations(self.operations().unwrap_or_default()),
        )
    }

    fn speed_line(&self) -> String {
        let rates = self.speed.rates;
        let rate = format!("{}/s", operations(rates.matmul));
        match self.speed.measured {
            Some([m, k, n]) => format!(
                "{rate} measured on a product of {m} x {k} x {n}, {:.1} GB/s on an addition",
                rates.memory / 1e9
            ),
            None => format!("{rate} assumed: the device is not here to be measured"),
        }
    }

    /// What is wrong where the plan does not fit, and what to do about it.
    pub fn problem(&self) -> Option<String> {
        let changes = self.too_much.as_ref()?;
        let mut text = format!(
            "the run takes {} of the device's memory even in its smallest layout; {} can be planned with",
            bytes(self.choice.memory.total()),
            bytes(self.budget.usable())
        );
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
    use super::super::{Machine, Plan, RankCount};
    use super::*;
    use crate::cost::Rates;
    use crate::machine::{Place, Speed};
    use uner_kernels::device::DeviceName;

    /// The lines of the recipe `zero-shot` on a GPU of so many bytes.
    fn lines(available: u64) -> String {
        let recipe = toml::from_str(crate::builtin::recipe("zero-shot").unwrap()).unwrap();
        let plan = Plan::resolve(recipe).unwrap();
        let data = DataSize::Counted {
            conversations: 45_000,
            tokens: 36_000_000,
            trained_tokens: 6_000_000,
        };
        let place = Place {
            name: DeviceName::Cuda(0),
            about: Ok("a GPU".to_owned()),
            available: Some(available),
        };
        let rates = Rates { matmul: 6e14, memory: 2e12 };
        let speed = Speed { rates, measured: Some([1024, 4096, 8192]) };
        let numbers = Numbers::on(
            &plan,
            data,
            Machine { place, speed, ranks: RankCount { all: 1, here: 1, divided: false } },
        );
        let lines = numbers.lines(plan.model.config.num_hidden_layers);
        lines
            .into_iter()
            .map(|(name, value)| format!("{name:<12}{value}\n"))
            .collect::<Vec<_>>()
            .concat()
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
