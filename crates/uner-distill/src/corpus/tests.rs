use std::{io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;
use crate::DistillError;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
    folder
}

fn config(toml: &str, folder: &Path) -> CorpusConfig {
    toml::from_str::<CorpusConfig>(toml).unwrap().relative_to(folder)
}

/// The items of a corpus: `subset file:line [id] text`, or the problem of a document.
fn read(toml: &str, folder: &TempDir) -> Result<Vec<String>, DistillError> {
    let (reader, _) = Reader::new(&config(toml, folder.path()))?;
    let items: Result<Vec<Found>, _> = reader.collect();
    let shown = |found| match found {
        Found::Document(CorpusDocument { subset, file, line, key, text }) => {
            format!("{subset} {file}:{line} {key:?} {text}")
        }
        Found::Unreadable { subset, message } => {
            let prefix = format!("{}/", folder.path().display());
            format!("{subset}: {}", message.replace(&prefix, ""))
        }
    };
    Ok(items?.into_iter().map(shown).collect())
}

fn message(toml: &str, folder: &TempDir) -> String {
    let message = read(toml, folder).unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn subsets_are_read_in_order_and_their_files_by_name() {
    let folder = folder(&[
        ("wiki/2.jsonl.zst", &zstd(b"{\"text\": \"two\", \"n\": \"x\"}\n")),
        (
            "wiki/1.jsonl.gz",
            &gzip(b"{\"text\": \"one\", \"n\": 7}\n\n{\"text\": \"1b\", \"n\": 8}"),
        ),
        ("wiki/deep/3.jsonl", b"{\"text\": \"three\", \"n\": 9}"),
        ("wiki/.hidden.jsonl", b"{}"),
        ("mail/b.txt", b"b\r\n"),
        ("mail/a/a.txt.zst", &zstd("\u{feff}é".as_bytes())),
        ("mail/README", b"not text"),
        ("table.csv", b"text\ncell\n"),
        ("lines.log", b"first\n\nthird\n"),
    ]);
    let toml = r#"
        [subsets.wiki]
        paths = ["wiki/**/*.jsonl*", "wiki/1.jsonl.gz"]
        id = "n"
        [subsets.mail]
        paths = ["mail"]
        [subsets.rest]
        paths = ["table.csv"]
        [subsets.lines]
        paths = ["*.log"]
        format = "lines"
    "#;
    assert_eq!(
        read(toml, &folder).unwrap(),
        [
            "wiki 1.jsonl.gz:1 Some(\"7\") one",
            "wiki 1.jsonl.gz:3 Some(\"8\") 1b",
            "wiki 2.jsonl.zst:1 Some(\"x\") two",
            "wiki deep/3.jsonl:1 Some(\"9\") three",
            "mail a/a.txt.zst:1 Some(\"a/a.txt.zst\") é",
            "mail b.txt:1 Some(\"b.txt\") b\r\n",
            "rest table.csv:2 None cell",
            "lines lines.log:1 None first",
            "lines lines.log:3 None third",
        ]
    );
    let (reader, ignored) = Reader::new(&config(toml, folder.path())).unwrap();
    assert_eq!(ignored, [folder.path().join("mail/README")]);
    assert!(reader.num_bytes > 50);
}

#[test]
fn a_key_may_name_the_subset_as_in_the_pile() {
    let rows = concat!(
        "{\"text\": \"a\", \"meta\": {\"pile_set_name\": \"Pile-CC\"}}\n",
        "{\"text\": \"b\", \"meta\": {\"pile_set_name\": \"PubMed Abstracts\"}}\n",
        "{\"text\": \"c\", \"meta\": {}}\n",
    );
    let folder = folder(&[("00.jsonl.zst", &zstd(rows.as_bytes()))]);
    let toml = "[subsets.pile]\npaths = ['00.jsonl.zst']\nsubset = 'meta.pile_set_name'";
    let found = read(toml, &folder).unwrap();
    assert_eq!(
        found[..2],
        ["Pile-CC 00.jsonl.zst:1 None a", "PubMed Abstracts 00.jsonl.zst:2 None b"]
    );
    assert!(found[2].starts_with("pile: 00.jsonl.zst:3: the row has no key `meta.pile_set_name`"));
}

#[test]
fn documents_that_cannot_be_read_are_items_and_damaged_files_errors() {
    let good = b"{\"text\": \"good\"}\n";
    let rows = [&good[..], b"{\"text\": \"bad \xff\"}\n{\"txt\": \"x\"}\n", good].concat();
    let packed = gzip(&good.repeat(1_000));
    let folder = folder(&[
        ("some.jsonl", &rows),
        ("none.jsonl", &b"{\"txt\": \"x\"}\n".repeat(100)),
        ("few.jsonl", &b"{\"txt\": \"x\"}\n".repeat(3)),
        ("empty.jsonl", b""),
        ("cut.jsonl.gz", &packed[..packed.len() / 2]),
        ("cut.jsonl.zst", &zstd(good)[..10]),
    ]);
    let of = |name: &str| format!("[subsets.s]\npaths = ['{name}']");
    let found = read(&of("some.jsonl"), &folder).unwrap();
    assert_eq!(found.len(), 4);
    assert!(found[1].starts_with("s: some.jsonl:2: the line is not UTF-8"), "{}", found[1]);
    assert!(found[2].starts_with("s: some.jsonl:3: the row has no key `text`"), "{}", found[2]);
    assert_eq!(found[3], "s some.jsonl:4 None good");
    for (name, count) in [("none.jsonl", 100), ("few.jsonl", 3)] {
        let message = message(&of(name), &folder);
        let start = format!("none of the first {count} documents of subset `s` can be read");
        assert!(message.starts_with(&start) && message.contains("no key `text`"), "{message}");
    }
    assert_eq!(read(&of("empty.jsonl"), &folder).unwrap(), [""; 0]);
    for name in ["cut.jsonl.gz", "cut.jsonl.zst"] {
        assert!(message(&of(name), &folder).contains(&format!("cannot read `{name}`")), "{name}");
    }
}

#[test]
fn configurations_that_name_no_documents_are_refused() {
    let folder = folder(&[
        ("a/x.jsonl", b"{\"text\": \"a\"}"),
        ("b/x.jsonl", b"{\"text\": \"b\"}"),
        ("c/x.bin", b""),
        ("x.txt", b"text"),
    ]);
    let of = |keys: &str| message(&format!("[subsets.s]\n{keys}"), &folder);
    let twice = of("paths = ['a/x.jsonl', 'b/x.jsonl']");
    assert!(twice.contains("`a/x.jsonl` and `b/x.jsonl`, both of which are named `x.jsonl`"));
    assert!(of("paths = ['none.jsonl']").contains("none.jsonl"));
    assert!(of("paths = ['*.csv']").contains("`subsets.s.paths` has"));
    assert!(of("paths = ['c']").contains("names no file of documents"));
    assert!(of("paths = ['c/*.bin']").contains("does not say the format"));
    assert!(of("paths = ['a/*']\nformat = 'jsonl'").contains("`subsets.s.format` is not possible"));
    assert!(of("paths = ['x.txt']\nid = 'n'").contains("`x.txt` is plain text without keys"));
    let both = read("[subsets.s]\npaths = ['*/*.jsonl']", &folder).unwrap();
    assert_eq!(both, ["s a/x.jsonl:1 None a", "s b/x.jsonl:1 None b"]);
}

#[test]
fn values_that_are_not_possible_name_their_key() {
    let subset = "[subsets.s]\npaths = ['x']";
    let message = |toml: &str| -> String {
        toml::from_str::<CorpusConfig>(toml).unwrap().check().unwrap_err().to_string()
    };
    for (toml, start) in [
        ("subsets = {}".to_owned(), "`subsets` is empty"),
        ("subsets.s.paths = []".to_owned(), "`subsets.s.paths` is empty"),
        (format!("max_tokens = 0\n{subset}"), "`max_tokens` is 0"),
        (format!("sample = {{ passages = 0 }}\n{subset}"), "`sample.passages` is 0"),
        (format!("duplicates = {{ jaccard = 0.0 }}\n{subset}"), "`duplicates.jaccard` is 0,"),
        (format!("duplicates = {{ jaccard = nan }}\n{subset}"), "`duplicates.jaccard` is NaN,"),
        (format!("sample = {{ weights = {{ s = -1 }} }}\n{subset}"), "`sample.weights.s` is -1,"),
    ] {
        assert!(message(&toml).starts_with(start), "{}", message(&toml));
    }
    let unknown = toml::from_str::<CorpusConfig>("subsets = {}\npassages = 3").unwrap_err();
    assert!(unknown.to_string().contains("unknown field `passages`"));
}
