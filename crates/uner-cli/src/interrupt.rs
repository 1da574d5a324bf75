//! Ctrl-C: the first asks the training loop to save and stop, any other ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// Whether there is a loop that can save.
static CAN_SAVE: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C (and for the request to terminate that batch systems send) from here on.
pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        let again = ASKED.swap(true, Ordering::SeqCst);
        if again || !CAN_SAVE.load(Ordering::SeqCst) {
            #[expect(clippy::exit, reason = "whoever asks twice does not want to wait")]
            std::process::exit(130);
        }
        tracing::warn!("interrupted: finishing the step and saving; interrupt again to stop at once");
    })?;
    Ok(())
}

/// From here on an interrupt is answered by [`asked`].
pub(crate) fn defer() {
    CAN_SAVE.store(true, Ordering::SeqCst);
}

/// From here on an interrupt ends the program again. Returns whether there was one before: the handler notes it before it looks
/// whether there is a loop, so none falls in between.
pub(crate) fn stop_deferring() -> bool {
    CAN_SAVE.store(false, Ordering::SeqCst);
    ASKED.load(Ordering::SeqCst)
}

/// Whether there was an interrupt that a loop has to answer.
pub(crate) fn asked() -> bool {
    CAN_SAVE.load(Ordering::SeqCst) && ASKED.load(Ordering::SeqCst)
}
