//! Tests that errors on bad input name the location and what to do, and tests of formats without a
//! published file at hand.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::Note;
use crate::validate;

mod entities;
mod exports;
mod files;

const SPANS: &str = "kind = \"jsonl\"";
const CONVERSATIONS: &str = "kind = \"conversations\"\ncontainer = \"lines\"";
const COLUMNS: &str =
    "kind = \"columns\"\nseparator = \" \"\ntoken = 0\ntags = [1]\nscheme = \"bio\"";

fn dataset(format: &str, types: &str) -> Dataset {
    let text = format!("name = \"own\"\n{types}\n[format]\n{format}\n[splits]\ntrain = \"file\"");
    Dataset::from_toml(&text, "own").unwrap()
}

fn folder_with(content: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("file"), content).unwrap();
    folder
}

/// A mention, its type and its span.
type Found<'a> = (&'a str, &'a str, Option<(usize, usize)>);

/// The items (examples, or error messages without the folder) and the notes.
fn items(dataset: &Dataset, content: &str) -> (Vec<Result<Example, String>>, Notes) {
    let folder = folder_with(content.as_bytes());
    let prefix = format!("{}/", folder.path().display());
    let mut examples = read(dataset, "train", folder.path()).unwrap();
    let items = examples
        .by_ref()
        .map(|item| item.map_err(|error| error.to_string().replace(&prefix, "")))
        .collect();
    (items, examples.notes().clone())
}

fn found(example: &Result<Example, String>) -> Vec<Found<'_>> {
    let entities = &example.as_ref().unwrap().entities;
    entities
        .iter()
        .map(|e| {
            (e.text.as_str(), e.entity_type.as_str(), e.span.map(|span| (span.start, span.end)))
        })
        .collect()
}

#[test]
fn malformed_rows_are_named_and_the_other_sentences_read() {
    let dataset = dataset(COLUMNS, "types = { PER = \"person\" }");
    let (items, _) = items(
        &dataset,
        "Ada B-PER\n\nBob B-PER\nruns\nfar X-PER\n\nEve B-ORG\r\n\r\nDan B-PER\r\n",
    );
    assert_eq!(found(&items[0]), [("Ada", "person", Some((0, 3)))]);
    assert_eq!(items[1].as_ref().unwrap_err(), "file:4: expected 2 columns, found 1: `runs`");
    assert_eq!(
        items[2].as_ref().unwrap_err(),
        "file:5: tag `X-PER` does not belong to the scheme BIO (`O`, `B-label`, `I-label`); correct the file or map the tag in \
         `format.tag_map`"
    );
    assert_eq!(
        items[3].as_ref().unwrap_err(),
        "file:7: label `ORG` is not in the dataset's description; add `\"ORG\" = \"its name in plain words\"` to its \
         `[types]` or `\"ORG\"` to its `drop`"
    );
    assert_eq!(found(&items[4]), [("Dan", "person", Some((0, 3)))]);
    assert_eq!(items.len(), 5);
}

#[test]
fn every_option_of_columns() {
    let format = "kind = \"columns\"\nseparator = \"whitespace\"\ntoken = 1\ntags = [2, 3]\nscheme = \"iobes\"\n\
                  header = 1\ncomment_rows = [\"# \"]\ntag_map = { _ = \"O\" }";
    let dataset = dataset(format, "types = \"as-written\"");
    let (items, notes) =
        items(&dataset, "id form ner\n# x\n1  New B-a S-b\n2\tYork E-a _\n\n1 é S-a _\n");
    assert_eq!(found(&items[0]), [("New York", "a", Some((0, 8))), ("New", "b", Some((0, 3)))]);
    assert_eq!(items[0].as_ref().unwrap().id, "train_0");
    assert_eq!(found(&items[1]), [("é", "a", Some((0, 1)))]);
    assert!(notes.is_empty(), "{notes}");
}

#[test]
fn the_lost_last_sentence_is_lost_and_counted() {
    let dataset =
        dataset(&format!("{COLUMNS}\ndefects = [\"last-sentence\"]"), "types = \"as-written\"");
    for end in ["", "\n", "\n\n\n"] {
        let (items, notes) = items(&dataset, &format!("a B-x\n\nb B-x\n\nc B-x{end}"));
        let texts: Vec<&str> =
            items.iter().map(|item| item.as_ref().unwrap().text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(notes.count(&Note::ConversionDefect), 1);
    }
}

#[test]
fn spans_must_be_inside_and_what_they_say() {
    let dataset = dataset(SPANS, "drop = [\"misc\"]");
    let rows = [
        r#"{"id": 7, "text": "Zoë saw Rome", "entities": [{"start": 0, "end": 3, "label": "person"}, [8, 12, "city"]]}"#,
        r#"{"text": "Rome", "entities": [[0, 5, "city"]]}"#,
        r#"{"text": "Rome", "entities": [{"start": 0, "end": 3, "label": "city", "text": "Rome"}]}"#,
        r#"{"text": "Rome", "entities": [[0, 4, "misc"]]}"#,
        "",
        r#"{"text": "Rome""#,
        r#"{"txt": "Rome", "entities": []}"#,
    ];
    let (items, notes) = items(&dataset, &rows.join("\n"));
    assert_eq!(
        found(&items[0]),
        [("Zoë", "person", Some((0, 3))), ("Rome", "city", Some((8, 12)))]
    );
    assert_eq!(items[0].as_ref().unwrap().id, "7");
    let errors: Vec<&str> =
        items.iter().filter_map(|item| item.as_ref().err()).map(String::as_str).collect();
    assert_eq!(
        errors,
        [
            "file:2: span 0..5 of `city` is not inside the text of 4 characters",
            "file:3: span 0..3 is `Rom`, not `Rome`",
            "file:6: EOF while parsing an object",
            "file:7: the row has no string `text`",
        ]
    );
    assert_eq!(found(&items[3]), []);
    assert_eq!(notes.count(&Note::DroppedLabel("misc".to_owned())), 1);
}

#[test]
fn conversations_keep_their_queries_and_refuse_what_breaks_the_protocol() {
    let row = |turns: &[(&str, &str)]| {
        let turns: Vec<_> = turns
            .iter()
            .map(|(from, value)| serde_json::json!({"from": from, "value": value}))
            .collect();
        serde_json::json!({"id": "a", "conversations": turns}).to_string()
    };
    let read = ("gpt", "I've read this text.");
    let text = ("human", "Text: He met the heir Jo and Jo");
    let ask = ("human", "What describes person in the text?");
    let sound = [
        text,
        read,
        ask,
        ("gpt", "[\"Jo\", \"He\", \"Jo\", \"Jo\"]"),
        ("human", "What describes date in the text?"),
        ("gpt", "[]"),
    ];
    let rows = [
        row(&sound),
        row(&[("gpt", "hello"), text]),
        row(&[text, read, ask]),
        row(&[text, read, ask, ("gpt", "Jo")]),
        row(&[text, read, ("human", "Who?"), ("gpt", "[]")]),
        row(&[("human", "Dataset: own\nText: Jo"), read, ask, ("gpt", "[\"Jo\"]")]),
    ];
    let (items, notes) = items(&dataset(CONVERSATIONS, ""), &rows.join("\n"));
    let person = |text, span| (text, "person", span);
    assert_eq!(
        found(&items[0]),
        [person("Jo", Some((16, 18))), person("He", Some((0, 2))), person("Jo", Some((23, 25))),]
    );
    assert_eq!(items[0].as_ref().unwrap().queries, ["person", "date"]);
    assert_eq!((notes.count(&Note::RepeatedEntity), notes.count(&Note::MentionNotInText)), (1, 0));
    let errors: Vec<&str> =
        items.iter().filter_map(|item| item.as_ref().err()).map(String::as_str).collect();
    assert_eq!(
        errors,
        [
            "file:2: conversation `a`: it starts with the assistant (`gpt`); the user (`human`) must start",
            "file:3: conversation `a`: it has 3 turns; they must come in pairs, the passage first",
            "file:4: conversation `a`: the answer `Jo` to `What describes person in the text?` is not a JSON list of \
             strings",
            "file:5: conversation `a`: `Who?` is not `What describes <type> in the text?`",
        ]
    );
    assert_eq!(found(&items[5]), [person("Jo", Some((0, 2)))]);
}

#[test]
fn a_message_is_short_and_its_hint_can_be_pasted() {
    let dataset = dataset(SPANS, "types = { city = \"city\" }");
    let row =
        |label: &str| serde_json::json!({"text": "Rome", "entities": [[0, 4, label]]}).to_string();
    let (items, _) =
        items(&dataset, &format!("{}\n{}", row("ci\u{a0}\"ty\""), row(&"x".repeat(3_000_000))));
    let hint = items[0].as_ref().unwrap_err();
    assert!(hint.contains(r#"add `"ci\U000000A0\"ty\"" = "its"#), "{hint}");
    let long = items[1].as_ref().unwrap_err();
    assert!(long.len() < 1000 && long.ends_with("`drop`"), "{long}");
}

#[test]
fn instructuie_positions_are_checked() {
    let dataset = dataset("kind = \"instructuie\"", "");
    let content = r#"[
 {"sentence": "to be or to go", "entities": [{"name": "to", "type": "a", "pos": [9, 11]}]},
 {"sentence": "to be or to go", "entities": [{"name": "to", "type": "a", "pos": [0, 0]}, {"name": "so", "type": "a", "pos": [-1, -1]}]},
 {"sentence": 3, "entities": []},
 {"sentence": "a ] \" { b", "entities": []}
]"#;
    let (items, notes) = items(&dataset, content);
    assert_eq!(found(&items[0]), [("to", "a", Some((9, 11)))]);
    assert_eq!(found(&items[1]), [("to", "a", Some((0, 2))), ("so", "a", None)]);
    assert_eq!(
        items[2].as_ref().unwrap_err(),
        "file:4: record 3: invalid type: integer `3`, expected a string"
    );
    assert_eq!(items[3].as_ref().unwrap().text, "a ] \" { b");
    assert_eq!((notes.count(&Note::WrongPosition), notes.count(&Note::MentionNotInText)), (1, 1));
}

#[test]
fn torn_arrays_are_errors_and_what_came_before_is_read() {
    let dataset = dataset("kind = \"gliner\"", "");
    let whole = r#"[{"tokenized_text": ["a", "b"], "ner": [[0, 1, "x"]]}"#;
    for (rest, message) in [
        ("", "file:1: record 1: the file ends after this record, inside its array"),
        (", {\"tok", "file:1: record 2: the file ends inside a record"),
        ("\n{}]", "file:2: record 1: expected `,` or `]` after this record"),
        ("] []", "file:1: record 1: the file has text after its array"),
    ] {
        let (items, _) = items(&dataset, &format!("{whole}{rest}"));
        assert_eq!(found(&items[0]), [("a b", "x", Some((0, 3)))]);
        assert_eq!(items[1].as_ref().unwrap_err(), message);
        assert_eq!(items.len(), 2);
    }
    let (items, _) = items(&dataset, "{}");
    assert_eq!(
        items[0].as_ref().unwrap_err(),
        "file:1: the file does not start with `[`, so it is not a JSON array; if it has one record per line, set \
         `container = \"lines\"` in the description's `[format]`"
    );
}

#[test]
fn brat_folders_pair_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    write("b.txt", "Zoë and Bo Ray");
    write("b.ann", "T1\tPER 8 10;11 14\tBo Ray\nR1\tKnows Arg1:T1 Arg2:T2\nT2\tPER 0 3\tZoë\n");
    write("a.txt", "alone");
    let text = "name = \"own\"\ntypes = { PER = \"person\" }\nformat = { kind = \"brat\" }\nsplits = { train = \".\" }";
    let dataset = Dataset::from_toml(text, "own").unwrap();
    let validation = validate(&dataset, "train", folder.path()).unwrap();
    assert_eq!((validation.num_examples, validation.num_entities), (1, 2));
    assert_eq!(validation.notes.count(&Note::Discontinuous), 1);
    assert!(validation.problems[0].to_string().ends_with("a.txt:1: `a.ann` is missing beside this file; set `unannotated` in the description's `[format]` to `\"skip\"` \
         if such files are not documents, or to `\"empty\"` if they have no entities"), "{}", validation.problems[0]);

    write("a.ann", "T1\tPER 0 9\talone\nT2\tPER 0 2\talone\nT3 PER\n");
    let problems: Vec<String> = validate(&dataset, "train", folder.path())
        .unwrap()
        .problems
        .iter()
        .map(|problem| problem.to_string().rsplit_once("a.ann:").unwrap().1.to_owned())
        .collect();
    assert_eq!(
        problems,
        [
            "1: span 0..9 of `PER` is not inside the text of 5 characters",
            "2: span 0..2 is `al`, not `alone`",
            "3: standoff line `T3 PER` is not `T<number> TAB label start end TAB mention`",
        ]
    );
}

#[test]
fn what_is_missing_or_empty_is_said() {
    let dataset = dataset(SPANS, "obtain = \"ask Ada\"");
    let folder = folder_with(b"\n");
    let error = |result: Result<Examples, DataError>| {
        result.err().unwrap().to_string().replace(&folder.path().display().to_string(), "ROOT")
    };
    assert_eq!(
        error(read(&dataset, "train", &folder.path().join("no"))),
        "`ROOT/no/file` does not exist (split `train` of dataset `own`); how to get it: ask Ada"
    );
    assert_eq!(
        error(read(&dataset, "tset", folder.path())),
        "dataset `own` has no split `tset`; it has `train`"
    );
    let mut examples = read(&dataset, "train", folder.path()).unwrap();
    let empty = examples.next().unwrap().unwrap_err();
    assert!(matches!(empty, DataError::Empty { .. }), "{empty}");
    assert!(examples.next().is_none());
}

#[test]
fn descriptions_are_checked() {
    let error = |text: &str| Dataset::from_toml(text, "own").unwrap_err().to_string();
    let rest = "[splits]\ntrain = \"file\"";
    assert!(
        error(&format!("name = \"a\"\nlicense = \"b\"\n[format]\n{SPANS}\n{rest}"))
            .contains("unknown field `license`")
    );
    assert!(
        error(&format!("name = \"a\"\n[format]\n{SPANS}\ntxt = \"b\"\n{rest}"))
            .contains("unknown field `txt`")
    );
    assert!(
        error(&format!("name = \"a\"\n[format]\n{COLUMNS}\n{rest}")).contains("`types` is missing")
    );
    let both =
        format!("name = \"a\"\ndrop = [\"x\"]\n[types]\nx = \"y\"\n[format]\n{SPANS}\n{rest}");
    assert_eq!(
        error(&both),
        "dataset `a`: label `x` is in `types` and in `drop`; remove it from one of them"
    );
    assert_eq!(
        crate::registry::find("crosner-ai").unwrap_err().to_string(),
        "dataset `crosner-ai` does not exist; did you mean `crossner-ai`? (or give the path of a `.toml` file)"
    );
}

#[test]
fn descriptions_of_the_documentation_are_sound() {
    let page = include_str!("../../../../docs/datasets.md");
    let snippets: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(snippets.len(), 5);
    for snippet in snippets {
        Dataset::from_toml(snippet, "docs/datasets.md").unwrap();
    }
}

#[test]
fn gzip_is_read_and_a_torn_one_is_an_error() {
    use std::io::Write;
    let text = "Ada B-PER\n\n".repeat(2000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut dataset = dataset(COLUMNS, "types = { PER = \"person\" }");
    dataset.splits["train"] = crate::dataset::Files::One(PathBuf::from("file.gz"));
    fs_err::write(folder.path().join("file.gz"), &bytes).unwrap();
    assert_eq!(read(&dataset, "train", folder.path()).unwrap().map(Result::unwrap).count(), 2000);
    fs_err::write(folder.path().join("file.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let torn =
        read(&dataset, "train", folder.path()).unwrap().find_map(Result::err).unwrap().to_string();
    assert!(torn.contains("file.gz"), "{torn}");
}

/// Every format that reads a file.
const FORMATS: [&str; 13] = [
    SPANS,
    CONVERSATIONS,
    COLUMNS,
    "kind = \"conversations\"\ncontainer = \"array\"\nmerge = true",
    "kind = \"instructuie\"",
    "kind = \"gliner\"",
    "kind = \"label-studio\"",
    "kind = \"spacy\"\noffsets = \"utf-16\"",
    "kind = \"prodigy\"\noffsets = \"bytes\"",
    "kind = \"doccano\"",
    "kind = \"columns\"\nseparator = \"whitespace\"\ntoken = 0\ntags = [1]\nscheme = \"bio\"\nencoding = \"utf-16\"",
    "kind = \"queries\"\ntext = \"t\"\nlabel = \"l\"\nanswer = \"a\"",
    "kind = \"columns\"\nseparator = \",\"\ntoken = 0\ntags = [1]\nscheme = \"iobes\"\nquoted = true",
];

/// Bytes that sometimes resemble a format.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\",
        ",",
        ":",
        "\n",
        "\r\n",
        " ",
        "\t",
        "B-x",
        "I-x",
        "O",
        "é",
        "\u{feff}",
        "\"sentence\": ",
        "\"entities\": []",
        "\"text\": \"a\"",
        "\"spans\": [",
        "NaN",
        "\\ud83d",
        "\"label\": ",
        "\"conversations\": []",
        "[0, 9, \"x\"]",
        "-1",
        "null",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn garbage_never_panics_and_every_entity_is_in_its_text(bytes in garbage()) {
        let folder = folder_with(&bytes);
        for format in FORMATS {
            let dataset = dataset(format, "types = \"as-written\"");
            for example in read(&dataset, "train", folder.path()).unwrap().flatten() {
                for entity in &example.entities {
                    let found = entity.span.and_then(|span| span.slice(&example.text));
                    prop_assert!(entity.span.is_none() || found == Some(&entity.text), "{:?}", example);
                }
            }
        }
    }
}

/// Links may lead back to a parent folder.
#[test]
fn every_folder_of_brat_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("a")).unwrap();
    fs_err::write(folder.path().join("a/x.txt"), "Bo").unwrap();
    fs_err::write(folder.path().join("a/x.ann"), "T1\tPER 0 2\tBo\n").unwrap();
    for name in ["a/loop", "a/again", "b"] {
        std::os::unix::fs::symlink(folder.path(), folder.path().join(name)).unwrap();
    }
    let text = "name = \"own\"\ntypes = { PER = \"person\" }\nformat = { kind = \"brat\" }\nsplits = { train = \".\" }";
    let dataset = Dataset::from_toml(text, "own").unwrap();
    assert_eq!(validate(&dataset, "train", folder.path()).unwrap().num_examples, 1);
}

#[test]
fn a_docbin_is_no_text() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("x.spacy"), b"x\x9c\xff").unwrap();
    let text = "name = \"own\"\nformat = { kind = \"spacy\" }\nsplits = { train = \"x.spacy\" }";
    let dataset = Dataset::from_toml(text, "own").unwrap();
    let error = validate(&dataset, "train", folder.path()).unwrap().problems[0].to_string();
    assert!(error.contains("`doc.to_json()`"), "{error}");
}
