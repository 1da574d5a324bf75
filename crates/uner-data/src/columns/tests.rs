//! Tests that entities written in each scheme are read back.

use std::fmt::Write;

use proptest::prelude::*;

use crate::{Dataset, Entity, Span, read};

/// A sentence as pieces: words, and the label of the entity they make, if any.
type Pieces = Vec<(Vec<String>, Option<&'static str>)>;

fn sentence() -> impl Strategy<Value = Pieces> {
    let word = "[a-zA-Zé0-9.,'’#-]{1,6}";
    let label = prop::sample::select(vec![None, None, Some("PER"), Some("LOC-x")]);
    prop::collection::vec((prop::collection::vec(word, 1..4), label), 1..6)
}

/// The tags of a piece; `adjacent` if an entity of the same label ends right before it.
fn tags(label: Option<&str>, length: usize, scheme: &str, adjacent: bool) -> Vec<String> {
    let Some(label) = label else { return vec!["O".to_owned(); length] };
    (0..length)
        .map(|at| {
            let prefix = match (scheme, at == 0, at + 1 == length) {
                ("iobes", true, true) => 'S',
                ("iobes", false, true) => 'E',
                ("bilou", true, true) => 'U',
                ("bilou", false, true) => 'L',
                ("iob1", true, _) if !adjacent => 'I',
                (_, true, _) => 'B',
                _ => 'I',
            };
            format!("{prefix}-{label}")
        })
        .collect()
}

fn written(sentences: &[Pieces], scheme: &str, separator: &str, end: &str) -> String {
    let mut file = String::new();
    for pieces in sentences {
        let mut before = None;
        for (words, label) in pieces {
            let tags = tags(*label, words.len(), scheme, before.is_some() && before == *label);
            for (word, tag) in words.iter().zip(tags) {
                write!(file, "{tag}{separator}{word}{end}").unwrap();
            }
            before = *label;
        }
        file.push_str(end);
    }
    file
}

fn expected(pieces: &Pieces) -> (String, Vec<Entity>) {
    let words: Vec<&str> = pieces.iter().flat_map(|(words, _)| words).map(String::as_str).collect();
    let mut entities = Vec::new();
    let mut start = 0;
    for (words, label) in pieces {
        let text = words.join(" ");
        let end = start + text.chars().count();
        if let Some(label) = label {
            let entity_type = if *label == "PER" { "person" } else { "place" }.to_owned();
            entities.push(Entity { text, entity_type, span: Some(Span { start, end }) });
        }
        start = end + 1;
    }
    (words.join(" "), entities)
}

proptest! {
    #[test]
    fn every_scheme_is_read_back(
        sentences in prop::collection::vec(sentence(), 1..5),
        scheme in prop::sample::select(vec!["bio", "iob1", "iobes", "bilou"]),
        separator in prop::sample::select(vec!["\t", " ", " ||| "]),
        end in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("file"), written(&sentences, scheme, separator, end)).unwrap();
        let description = format!(
            "name = \"own\"\ntypes = {{ PER = \"person\", LOC-x = \"place\" }}\nsplits = {{ train = \"file\" }}\n\
             [format]\nkind = \"columns\"\nseparator = \"{}\"\ntoken = 1\ntags = [0]\nscheme = \"{scheme}\"",
            separator.replace('\t', "\\t")
        );
        let dataset = Dataset::from_toml(&description, "own").unwrap();
        let mut examples = read(&dataset, "train", folder.path()).unwrap();
        let found: Vec<_> = examples.by_ref().map(|example| example.map(|e| (e.text, e.entities)).unwrap()).collect();
        prop_assert_eq!(found, sentences.iter().map(expected).collect::<Vec<_>>());
        prop_assert!(examples.notes().is_empty());
    }
}
