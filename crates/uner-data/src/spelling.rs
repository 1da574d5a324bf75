//! Suggests the known word that a misspelt word probably means.

/// Jaro-Winkler similarity (0 to 1) from which a word may be a misspelling of another.
const ALIKE: f64 = 0.8;

/// The known word most similar to `word`, if any is similar enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.into_iter().map(|known| (strsim::jaro_winkler(known, word), known));
    let near = alike.filter(|(likeness, _)| *likeness >= ALIKE);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// `; did you mean `x`?` for the [`nearest`] known word, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["lr", "epochs", "max_seq_len"];
        assert_eq!(did_you_mean("lrr", known), "; did you mean `lr`?");
        assert_eq!(did_you_mean("max_sequence_len", known), "; did you mean `max_seq_len`?");
        assert_eq!(did_you_mean("epoch", known), "; did you mean `epochs`?");
        assert_eq!(did_you_mean("colour", known), "");
    }
}
