//! Ctrl-C: the first asks the training loop to save and stop, any other ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether there is a loop that can save.
static CAN_SAVE: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C, for the request to terminate that batch systems send, and for the loss of
/// the terminal from here on. What the parent has the program ignore, as `nohup` does, stays
/// ignored.
pub(crate) fn watch() -> Result<()> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let heeded =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal, &status));
    let mut signals = Signals::new(heeded)?;
    std::thread::spawn(move || signals.forever().for_each(|_| interrupt()));
    Ok(())
}

fn interrupt() {
    let again = ASKED.swap(true, Ordering::SeqCst);
    if again || !CAN_SAVE.load(Ordering::SeqCst) {
        tracing::warn!("interrupted: stopping at once");
        #[expect(clippy::exit, reason = "whoever asks twice does not want to wait")]
        std::process::exit(130);
    }
    tracing::warn!("interrupted: finishing the step and saving; interrupt again to stop at once");
}

/// Whether a process whose `/proc/…/status` this is ignores the signal. (`SigIgn` is a set of bits
/// in hexadecimal.)
fn is_ignored(signal: i32, status: &str) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    set >> (signal - 1) & 1 == 1
}

/// From here on an interrupt is answered by [`asked`].
pub(crate) fn defer() {
    CAN_SAVE.store(true, Ordering::SeqCst);
}

/// From here on an interrupt ends the program again. Returns whether there was one before: the
/// handler notes it before it looks whether there is a loop, so none falls in between.
pub(crate) fn stop_deferring() -> bool {
    CAN_SAVE.store(false, Ordering::SeqCst);
    ASKED.load(Ordering::SeqCst)
}

/// Whether there was an interrupt that a loop has to answer.
pub(crate) fn asked() -> bool {
    CAN_SAVE.load(Ordering::SeqCst) && ASKED.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read() {
        let status =
            "SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert_eq!(
            [SIGHUP, SIGINT, SIGTERM].map(|signal| is_ignored(signal, status)),
            [true, false, false]
        );
        assert!(!is_ignored(SIGHUP, ""));
    }
}
