//! Progress of a long job: a bar on a terminal, otherwise a line every few seconds.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use uner_data::printable;

/// Time between two lines, without a terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows the progress of one job.
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    /// `None` if the number of parts is not known.
    total: Option<u64>,
    last: Instant,
}

impl Meter {
    /// A job of `total` parts, of which `done` are done already.
    pub(crate) fn new(done: u64, total: Option<u64>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(match total {
                Some(_) => "{bar:30} {pos}/{len} {msg} [{elapsed} < {eta}]",
                None => "{spinner} {pos} {msg} [{elapsed}]",
            });
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let bar = bar.with_position(done);
            bar.set_style(style.expect("the template is well formed"));
            bar
        });
        Self { bar, total, last: Instant::now() }
    }

    /// Shows that `done` parts are done. `message` adds details, and is called only if it is shown.
    pub(crate) fn show(&mut self, done: u64, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(printable(&message()));
        } else if Some(done) == self.total || self.last.elapsed() >= PAUSE {
            self.last = Instant::now();
            let total = self.total.map_or_else(String::new, |total| format!("/{total}"));
            tracing::info!("{done}{total} {}", message());
        }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, line: &str) {
        let tell = || tracing::info!("{line}");
        self.bar.as_ref().map_or_else(tell, |bar| bar.suspend(tell));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
