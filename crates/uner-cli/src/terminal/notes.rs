//! What readers could not represent exactly, told to the user.

use uner_data::Notes;

/// One line a kind, with the first place of each.
pub(crate) fn tell(notes: &Notes) {
    for line in notes.to_string().lines() {
        tracing::info!("data: {line}");
    }
}
