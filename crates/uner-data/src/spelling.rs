//! Suggests the known word that a misspelt word probably means.

/// Jaro-Winkler similarity (0 to 1) from which a word may be a misspelling of another.
const ALIKE: f64 = 0.8;

/// The known word most similar to `word`, if any is similar enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike =
        candidates.into_iter().map(|candidate| (strsim::jaro_winkler(candidate, word), candidate));
    let near = alike.filter(|(likeness, _)| *likeness >= ALIKE);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// `; did you mean `x`?` for the [`nearest`] known word, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates)
        .map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn only_near_words_are_suggested() {
        let candidates = ["lr", "epochs", "max_seq_len"];
        assert_eq!(did_you_mean("lrr", candidates), "; did you mean `lr`?");
        assert_eq!(did_you_mean("max_sequence_len", candidates), "; did you mean `max_seq_len`?");
        assert_eq!(did_you_mean("epoch", candidates), "; did you mean `epochs`?");
        assert_eq!(did_you_mean("colour", candidates), "");
    }
}
