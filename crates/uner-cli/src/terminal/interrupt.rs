//! Ctrl-C: the first makes a loop save and stop, or a server finish its requests; any other ends
//! the program.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether a training loop runs, which can save.
static CAN_SAVE: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// Starts to watch for interrupts, for a command that can save.
pub(crate) fn watch() -> Result<()> {
    let mut signals = signals()?;
    std::thread::spawn(move || signals.forever().for_each(|_| interrupt()));
    Ok(())
}

/// From now on, the first interrupt calls `stop`, and any other ends the program.
pub(crate) fn stop_with(stop: impl FnOnce() + Send + 'static) -> Result<()> {
    let (mut signals, mut stop) = (signals()?, Some(stop));
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let Some(stop) = stop.take() else { exit() };
            tracing::warn!("interrupted: finishing the requests; interrupt again to stop at once");
            stop();
        }
    });
    Ok(())
}

/// SIGINT (Ctrl-C), SIGTERM (from batch systems) and SIGHUP (the loss of the terminal). Signals
/// that the parent has set to be ignored, as `nohup` does, stay ignored.
fn signals() -> Result<Signals> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let heeded =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal, &status));
    Ok(Signals::new(heeded)?)
}

fn interrupt() {
    let again = ASKED.swap(true, Ordering::SeqCst);
    if again || !CAN_SAVE.load(Ordering::SeqCst) {
        exit();
    }
    tracing::warn!("interrupted: finishing the step and saving; interrupt again to stop at once");
}

fn exit() -> ! {
    tracing::warn!("interrupted: stopping at once");
    #[expect(clippy::exit, reason = "after a second interrupt the user does not want to wait")]
    std::process::exit(130)
}

/// Whether the process with this `/proc/…/status` ignores the signal. (`SigIgn` is a hexadecimal
/// bit set.)
fn is_ignored(signal: i32, status: &str) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    set >> (signal - 1) & 1 == 1
}

/// From now on, an interrupt only sets [`asked`].
pub(crate) fn defer() {
    CAN_SAVE.store(true, Ordering::SeqCst);
}

/// From now on, an interrupt ends the program again. Returns whether one came before. None is lost:
/// the handler sets its flag before it checks for a loop.
pub(crate) fn stop_deferring() -> bool {
    CAN_SAVE.store(false, Ordering::SeqCst);
    ASKED.load(Ordering::SeqCst)
}

/// Whether an interrupt came after which the loop has to stop.
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
