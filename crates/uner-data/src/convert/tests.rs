//! Round trips: import, export, import.

use proptest::prelude::*;

use super::*;
use crate::{DatasetRef, Entity, Span, export::Loss, shared::shared};

mod generated;
mod published;

/// Converts a dataset, and checks that it is read back as the conversion says.
fn converted(source: &Dataset, splits: &[&str], root: &Path, format: ExportFormat) -> Conversion {
    let folder = tempfile::tempdir().unwrap();
    let conversion = convert(source, splits, root, &folder.path().join("to"), format).unwrap();
    for (name, split) in &conversion.splits {
        let path = fs_err::read_to_string(&conversion.description).unwrap();
        assert!(split.differences.is_empty(), "{format:?} {name}: {conversion}\n{path}");
    }
    conversion
}

/// The losses that a format may have on examples as readers give them.
fn lacks(format: ExportFormat) -> Vec<Loss> {
    let spans = [Loss::NoSpan, Loss::AbsentType, Loss::Order];
    let tags = [Loss::EmptyType, Loss::BlankEdges, Loss::Blank, Loss::CutToken];
    let joined = [Loss::Space, Loss::Repeated];
    match format {
        ExportFormat::JsonLines => Vec::new(),
        ExportFormat::Conversations => {
            vec![Loss::Order, Loss::NoOccurrence, Loss::OtherOccurrence]
        }
        ExportFormat::Instructuie => vec![Loss::AbsentType, Loss::Order],
        ExportFormat::Spacy
        | ExportFormat::LabelStudio
        | ExportFormat::Prodigy
        | ExportFormat::Doccano => spans.to_vec(),
        ExportFormat::Brat | ExportFormat::Gliner => [&spans[..], &tags, &joined].concat(),
        ExportFormat::SpacyTraining => [&spans[..], &tags, &[Loss::Overlap]].concat(),
        ExportFormat::Conll | ExportFormat::TokenClassification => {
            [&spans[..], &tags, &joined, &[Loss::Overlap, Loss::NoToken]].concat()
        }
    }
}

#[test]
fn an_output_is_not_overwritten() {
    let source = DatasetRef::Name("demo".to_owned()).resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    for format in ExportFormat::all() {
        fs_err::create_dir(&to).unwrap();
        convert(&source, &["test"], "".as_ref(), &to, format).unwrap();
        let problem = convert(&source, &["test"], "".as_ref(), &to, format).unwrap_err();
        assert!(problem.to_string().contains("it exists already"), "{problem}");
        fs_err::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn problems_of_the_source_are_listed_and_the_other_examples_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.jsonl");
    let rows = r#"{"text": "Zoë saw Rome", "entities": [{"start": 8, "end": 12, "label": "city"}]}
{"text": "Rome", "entities": [{"start": 0, "end": 9, "label": "city"}]}
{"text": "Rome"}
{"text": "Oslo", "entities": [{"start": 0, "end": 4, "label": "city"}, {"start": 0, "end": 4, "label": "city"}]}
"#;
    fs_err::write(&path, rows).unwrap();
    let source = described_file(&path, "jsonl").unwrap();
    let to = folder.path().join("to");
    let conversion = convert(&source, &[], "".as_ref(), &to, ExportFormat::Prodigy).unwrap();
    let shown = conversion.to_string().replace(&format!("{}/", folder.path().display()), "");
    let expected = "\
train: 2 examples, 2 entities: to/train.jsonl
  not read:
    notes.jsonl:2: span 0..9 of `city` is not inside the text of 4 characters
    notes.jsonl:3: the row has no list `entities`
  not read exactly:
    1 x repeated entities (kept once) (first at notes.jsonl:4)
read it back with to/dataset.toml
";
    assert_eq!(shown, expected);
    assert!(!conversion.is_complete());
    let toml = fs_err::read_to_string(to.join(DESCRIPTION)).unwrap();
    let name = path.display();
    let expected = format!(
        "name = \"{name}\"\ntypes = \"as-written\"\n\n[format]\nkind = \"prodigy\"\n\n[splits]\ntrain = \"train.jsonl\"\n"
    );
    assert_eq!(toml, expected);
}

#[test]
fn a_file_of_each_format_is_described() {
    let source = DatasetRef::Name("demo".to_owned()).resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for format in ExportFormat::all() {
        let to = folder.path().join(format.name());
        let conversion = convert(&source, &["test"], "".as_ref(), &to, format).unwrap();
        let split = &conversion.splits["test"];
        let file = described_file(&split.path, format.name()).unwrap();
        let examples: Vec<Example> =
            read(&file, "train", "".as_ref()).unwrap().map(Result::unwrap).collect();
        assert_eq!(examples.len(), split.num_examples, "{format:?}");
        let entities = examples.iter().map(|example| example.entities.len()).sum::<usize>();
        assert_eq!(entities, split.num_entities, "{format:?}");
    }
    let problem = described_file("x".as_ref(), "spcy").unwrap_err().to_string();
    assert!(problem.contains("`spacy`?"), "{problem}");
}

#[test]
fn types_with_blanks_have_labels_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.jsonl");
    let rows = r#"{"id": "a", "text": "x y z", "entities": [[0, 1, "a b"], [2, 3, "a_b"], [4, 5, "a\tb"]]}"#;
    fs_err::write(&path, rows).unwrap();
    let source = described_file(&path, "jsonl").unwrap();
    for format in ExportFormat::all() {
        let conversion = converted(&source, &[], "".as_ref(), format);
        assert!(conversion.is_complete(), "{format:?}: {conversion}");
    }
    let to = folder.path().join("to");
    convert(&source, &[], "".as_ref(), &to, ExportFormat::Conll).unwrap();
    let rows = fs_err::read_to_string(to.join("train.conll")).unwrap();
    assert_eq!(rows, "# id = a\nx\tB-a_b\ny\tB-a_b_2\nz\tB-a_b_3\n\n");
    let toml = fs_err::read_to_string(to.join(DESCRIPTION)).unwrap();
    assert!(
        toml.contains("[types]\na_b = \"a b\"\na_b_2 = \"a_b\"\na_b_3 = \"a\\tb\"\n"),
        "{toml}"
    );
}

/// Texts with characters of every length, line breaks, quotes, overlaps and entities inside words.
fn emoji(folder: &Path) -> Dataset {
    let rows = [
        (
            "🚀 Zoë's\n in \tNew York City.",
            "[[2, 5, \"person\"], [13, 26, \"city\"], [17, 21, \"a & b\"]]",
        ),
        (
            "👩‍👩‍👧 met Åsa-Ann at C\\nafé \"X\"  ",
            "[[0, 5, \"person\"], [14, 17, \"person\"], [21, 27, \"place\"]]",
        ),
        ("", "[]"),
        (
            "e\u{301}a\u{a0}b\r\n<b>x</b> &amp; 🇫🇷🇩🇪",
            "[[4, 5, \"x\\\"y\"], [11, 12, \"tag\"], [23, 25, \"flag\"]]",
        ),
    ];
    let row = |(text, entities): &(&str, &str)| {
        format!("{{\"text\": {}, \"entities\": {entities}}}\n", serde_json::json!(text))
    };
    let path = folder.join("emoji.jsonl");
    fs_err::write(&path, rows.iter().map(row).collect::<String>()).unwrap();
    let mut dataset = described_file(&path, "jsonl").unwrap();
    let files = dataset.splits.swap_remove("train").unwrap();
    dataset.splits = IndexMap::from([("test".to_owned(), files)]);
    dataset
}

/// The formats that `tests/fixtures/formats/check.py` reads.
const CHECKED: [ExportFormat; 4] = [
    ExportFormat::JsonLines,
    ExportFormat::Spacy,
    ExportFormat::SpacyTraining,
    ExportFormat::LabelStudio,
];

/// Writes the files that `tests/fixtures/formats/check.py` checks to the folder `UNER_FORMATS`.
#[test]
#[ignore = "writes files for a script; see tests/fixtures/formats/check.py"]
fn files_for_other_programs() {
    let output = PathBuf::from(std::env::var_os("UNER_FORMATS").expect("UNER_FORMATS is set"));
    let folder = tempfile::tempdir().unwrap();
    let mut sources = vec![("emoji".to_owned(), emoji(folder.path()), PathBuf::new())];
    for domain in ["ai", "literature", "music", "politics", "science"] {
        let name = format!("crossner-{domain}");
        let dataset = DatasetRef::Name(name.clone()).resolve().unwrap();
        sources.extend(shared("data").map(|root| (name, dataset, root)));
    }
    for (name, source, root) in sources {
        for format in CHECKED {
            let to = output.join(&name).join(format.name());
            convert(&source, &["test"], &root, &to, format).unwrap();
        }
    }
}

/// The files that spaCy's and Label Studio's own packages wrote of our exports.
#[test]
fn files_of_the_programs_themselves_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/formats");
    let examples = |dataset: &Dataset, split: &str| -> Vec<Example> {
        read(dataset, split, "".as_ref()).unwrap().map(Result::unwrap).collect()
    };
    let source = examples(&emoji(folder.path()), "test");
    for (file, format, is_flat) in [
        ("spacy.jsonl", "spacy", false),
        ("spacy-training.json", "spacy-training", true),
        ("label-studio.json", "label-studio", false),
        ("label-studio-min.json", "label-studio", false),
    ] {
        let dataset = described_file(&fixtures.join(file), format).unwrap();
        let found = examples(&dataset, "train");
        assert_eq!(found.len(), source.len(), "{file}");
        for (found, source) in found.iter().zip(&source) {
            let mut expected = source.entities.clone();
            // `York` is in `New York City`, and a document of spaCy 2 has no overlaps.
            expected.retain(|entity| !is_flat || entity.text != "York");
            let mut entities = found.entities.clone();
            for list in [&mut entities, &mut expected] {
                list.sort_by_key(|entity| (entity.span, entity.entity_type.clone()));
            }
            assert_eq!((&found.text, entities), (&source.text, expected), "{file}");
        }
    }
}
