//! Which known word a slip is meant to be.

/// How alike two words must be, from 0 to 1 (Jaro-Winkler), for one to be taken for a slip of the
/// other.
const ALIKE: f64 = 0.8;

/// The known word that is most like `word`, where one is like it.
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
