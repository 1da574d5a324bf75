//! Turns panics of the `tokenizers` crate into errors. One cause is a regular expression in a
//! tokenizer file that the crate's engine gives up on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught below, and so not printed.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`. A panic becomes an error and is not printed.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                before(info);
            }
        }));
    });
    CAUGHT.set(true);
    // Unwind-safe: `work` only reads the tokenizer.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(false);
    outcome.unwrap_or_else(|payload| {
        Err(format!("the text cannot be tokenised: {}", message(&*payload)))
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("the tokenizer failed")
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_is_an_error_and_errors_and_values_stay() {
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert_eq!(guarded(|| Err::<(), _>("no".to_owned())), Err("no".to_owned()));
        let found = guarded(|| -> Result<(), String> { panic!("retry limit {}", 7) });
        assert_eq!(found, Err("the text cannot be tokenised: retry limit 7".to_owned()));
    }
}
