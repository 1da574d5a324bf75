use std::{io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

/// The documents of a file with this name and content, or the messages without the folder.
fn read_as(name: &str, content: &[u8], options: &DocumentOptions) -> Vec<Result<Document, String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs_err::write(&file, content).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let shown = |error: DataError| error.to_string().replace(&prefix, "");
    match documents(&file, options) {
        Ok(documents) => documents.map(|document| document.map_err(shown)).collect(),
        Err(error) => vec![Err(shown(error))],
    }
}

fn with(id: Option<&str>, types: Option<&str>) -> DocumentOptions {
    DocumentOptions {
        id: id.map(str::to_owned),
        types: types.map(str::to_owned),
        ..DocumentOptions::default()
    }
}

fn plain() -> DocumentOptions {
    DocumentOptions::default()
}

/// Id, text, line and types.
type Found<'a> = (&'a str, &'a str, usize, Option<Vec<&'a str>>);

fn found(document: &Result<Document, String>) -> Found<'_> {
    let document = document.as_ref().unwrap();
    let types = document.types.as_ref();
    let types = types.map(|types| types.iter().map(String::as_str).collect());
    (&document.id, &document.text, document.line, types)
}

fn message(document: &Result<Document, String>) -> &str {
    document.as_ref().unwrap_err()
}

#[test]
fn json_lines_have_keys_for_text_id_and_types() {
    let rows = concat!(
        "\u{feff}{\"text\": \"Zoë\\nsaw\", \"n\": 7, \"t\": [\"city\", \" city\", \"x; y\"]}\r\n",
        "\r\n",
        "{\"text\": \"\", \"n\": \"a/b\", \"t\": null}\n",
        "{\"text\": \"b\", \"n\": 2.5, \"t\": \"person; city ;\", \"score\": NaN}",
    );
    let found_all = read_as("x.jsonl", rows.as_bytes(), &with(Some("n"), Some("t")));
    assert_eq!(found_all.len(), 3);
    assert_eq!(found(&found_all[0]), ("7", "Zoë\nsaw", 1, Some(vec!["city", "x; y"])));
    assert_eq!(found(&found_all[1]), ("a/b", "", 3, None));
    assert_eq!(found(&found_all[2]), ("2.5", "b", 4, Some(vec!["person", "city"])));
    let numbered = read_as("x.NDJSON", rows.as_bytes(), &plain());
    let ids: Vec<&str> = numbered.iter().map(|document| found(document).0).collect();
    assert_eq!(ids, ["1", "3", "4"]);
}

#[test]
fn problems_of_json_lines_name_line_and_key() {
    let rows = [
        r#"{"body": "x", "title": "y"}"#,
        r#"{"text": 3}"#,
        r#"{"text": "x""#,
        r#"["x"]"#,
        r#"{"text": "x", "text": "y"}"#,
        r#"{"text": "\ud83d"}"#,
        r#"{"text": "good"}"#,
    ];
    let items = read_as("x.jsonl", rows.join("\n").as_bytes(), &plain());
    let messages: Vec<&str> = items[..6].iter().map(message).collect();
    assert_eq!(
        messages,
        [
            "x.jsonl:1: the row has no key `text`; its keys are `body`, `title`",
            "x.jsonl:2: the value of `text` is not a string",
            "x.jsonl:3: EOF while parsing an object in column 12",
            "x.jsonl:4: the line is a JSON array, not an object; write one object a line: `jq -c '.[]'`",
            "x.jsonl:5: the key `text` occurs twice in one object in column 26",
            "x.jsonl:6: the lone surrogate `\\ud83d` is half of a character; write the character, or both halves",
        ]
    );
    assert_eq!(found(&items[6]).1, "good");
    let items = read_as("x.jsonl", b"[\n{\"text\": \"x\"}\n]", &plain());
    assert!(message(&items[0]).contains("jq -c"), "{items:?}");
    let items = read_as("x.jsonl", br#"{"text": "x", "n": [], "t": [1]}"#, &with(Some("n"), None));
    assert_eq!(message(&items[0]), "x.jsonl:1: the id `n` is `[]`, not a string or a number");
    let items = read_as("x.jsonl", br#"{"text": "x", "t": [1]}"#, &with(None, Some("t")));
    assert_eq!(message(&items[0]), "x.jsonl:1: the types `t`: `[1]` is not a list of strings");
}

#[test]
fn a_table_counts_lines_whatever_ends_them() {
    let table = "id,text,t\n1,\"a \"\"b\"\", c\",person\n\n\n2,\"d\ne\",\"[\"\"x; y\"\"]\"\n3,f,";
    for (content, gap) in [(table.to_owned(), "\n"), (table.replace('\n', "\r\n"), "\r\n")] {
        for end in ["", gap, "\n\n"] {
            let content = format!("\u{feff}{content}{end}");
            let items = read_as("x.csv", content.as_bytes(), &with(None, Some("t")));
            assert_eq!(items.len(), 3, "{content:?}");
            assert_eq!(found(&items[0]), ("1", "a \"b\", c", 2, Some(vec!["person"])));
            let text = format!("d{gap}e");
            assert_eq!(found(&items[1]), ("2", text.as_str(), 5, Some(vec!["x; y"])));
            assert_eq!(found(&items[2]), ("3", "f", 7, None), "{content:?}");
        }
    }
    let items = read_as("x.tsv", b"text\tname\na, b\t-\nc\td\n", &with(Some("name"), None));
    assert_eq!(found(&items[1]), ("d", "c", 3, None));
}

#[test]
fn problems_of_tables_name_line_and_columns() {
    let message_of = |content: &[u8]| message(&read_as("x.csv", content, &plain())[0]).to_owned();
    assert_eq!(
        message_of(b"id,txt\n1,a\n"),
        "x.csv:1: the table has no column `text`; did you mean `txt`?; its first row names the columns `id`, `txt`"
    );
    assert!(message_of(b"").contains("no column `text`"));
    assert!(message_of(b"text,text\na,b\n").contains("two columns `text`"));
    let items = read_as("x.csv", b"id,text\n\n1,a,b\n2,c\n3,\"d\n4,e\n5,f", &plain());
    assert!(message(&items[0]).starts_with("x.csv:3: the row has 3 cells and the first row 2"));
    assert_eq!(found(&items[1]), ("2", "c", 4, None));
    assert!(message(&items[2]).starts_with("x.csv:5: a cell of this row starts with a quote"));
    assert_eq!(items.len(), 3);
    let items = read_as("x.csv", b"id,text\n1,\"a\nb\xe9\"\n2,c\n", &plain());
    assert!(
        message(&items[0]).starts_with("x.csv:3: the line is not UTF-8: it contains the byte 0xe9")
    );
    assert_eq!(found(&items[1]).1, "c");
    let items = read_as("x.csv", b"text,t\na,[b\n", &with(None, Some("t")));
    assert!(message(&items[0]).starts_with("x.csv:2: the types: `[b` starts like a JSON list"));
}

#[test]
fn lines_and_files_are_texts_as_written() {
    let content = b"\xef\xbb\xbfa \r\n\r\nb\xff\nc";
    let lines = DocumentOptions { format: Some(DocumentFormat::Lines), ..plain() };
    let items = read_as("x.txt", content, &lines);
    assert_eq!(found(&items[0]), ("1", "a ", 1, None));
    assert_eq!(
        message(&items[1]),
        "x.txt:3: the line is not UTF-8: it contains the byte 0xff; convert the file: `iconv -f latin1 -t utf-8`"
    );
    assert_eq!(found(&items[2]), ("4", "c", 4, None));
    let items = read_as("x.txt", b"\xef\xbb\xbfa \r\n\r\nb\n", &plain());
    assert_eq!(items.iter().map(found).collect::<Vec<_>>(), [("x.txt", "a \r\n\r\nb\n", 1, None)]);
    let items = read_as("x.txt", content, &plain());
    assert!(message(&items[0]).starts_with("x.txt:3: the line is not UTF-8"));
}

#[test]
fn a_folder_is_read_in_sorted_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    };
    assert!(
        documents(folder.path(), &plain())
            .is_err_and(|error| { error.to_string().contains("the folder has no `.txt` files") })
    );
    for name in ["b.txt", "a/z.txt", "a.TXT", ".hidden.txt", "notes.md", "a/.git/x.txt"] {
        write(name, name);
    }
    let found: Vec<(String, String)> = documents(folder.path(), &plain())
        .unwrap()
        .map(|document| document.map(|document| (document.id, document.text)).unwrap())
        .collect();
    let expected = ["a/z.txt", "a.TXT", "b.txt"].map(|name| (name.to_owned(), name.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn compressed_files_are_read_and_other_formats_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, b"{\"text\": \"a\"}\n").unwrap();
    let compressed = encoder.finish().unwrap();
    let items = read_as("x.jsonl.gz", &compressed, &plain());
    assert_eq!(found(&items[0]).1, "a");
    let cut = &compressed[..compressed.len() - 4];
    assert!(read_as("x.jsonl.gz", cut, &plain()).iter().any(Result::is_err), "a cut file");
    assert!(message(&read_as("x.jsonl", &compressed, &plain())[0]).contains("`.gz`"));
    assert!(message(&read_as("x.jsonl", b"\xff\xfea\0", &plain())[0]).contains("iconv -f utf-16"));
    let message = message(&read_as("x.docx", b"", &plain())[0]).to_owned();
    assert!(message.starts_with("`x.docx`: its name does not say the format"), "{message}");
    assert!(documents(Path::new("-"), &plain()).is_err());
    assert!(documents(&PathBuf::from("none.csv"), &plain()).is_err());
    assert_eq!("json-lines".parse(), Ok(DocumentFormat::JsonLines));
    assert!(
        "jsonlines".parse::<DocumentFormat>().unwrap_err().contains("did you mean `json-lines`?")
    );
}

proptest! {
    #[test]
    fn a_written_table_is_read_as_it_was(
        rows in prop::collection::vec((".*", "[\"a,\r\n\t ]{0,8}"), 0..6),
        delimiter in prop::sample::select(vec![b',', b'\t']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["id", "text", "end"]).unwrap();
        for (id, text) in &rows {
            writer.write_record([id.as_str(), text, "."]).unwrap();
        }
        let name = if delimiter == b',' { "x.csv" } else { "x.tsv" };
        let items = read_as(name, &writer.into_inner().unwrap(), &with(Some("id"), None));
        let read: Vec<(String, String)> = items
            .into_iter()
            .map(|document| document.map(|document| (document.id, document.text)).unwrap())
            .collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(content in prop::collection::vec(any::<u8>(), 0..60)) {
        for name in ["x.csv", "x.tsv", "x.jsonl", "x.txt", "x.txt.gz"] {
            for item in read_as(name, &content, &plain()) {
                prop_assert!(item.is_err() || item.is_ok_and(|document| document.line > 0));
            }
        }
    }
}

#[test]
fn zstandard_and_gzip_may_be_several_streams() {
    let rows = ["{\"text\": \"Zo\u{eb}\"}\n", "{\"text\": \"b\"}\n"];
    let zstd: Vec<u8> =
        rows.iter().flat_map(|row| zstd::encode_all(row.as_bytes(), 3).unwrap()).collect();
    let gzip: Vec<u8> = rows
        .iter()
        .flat_map(|row| {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(row.as_bytes()).unwrap();
            out.finish().unwrap()
        })
        .collect();
    for (name, bytes) in [("x.jsonl.zst", &zstd), ("x.jsonl.gz", &gzip)] {
        let items = read_as(name, bytes, &plain());
        let texts: Vec<&str> = items.iter().map(|item| found(item).1).collect();
        assert_eq!(texts, ["Zo\u{eb}", "b"], "{name}");
        let cut = read_as(name, &bytes[..bytes.len() - 2], &plain());
        assert!(message(cut.last().unwrap()).contains(name), "{name}");
    }
    assert!(message(&read_as("x.jsonl", &zstd, &plain())[0]).contains("`.zst`"));
    assert_eq!(read_as("x.txt.zst", &zstd, &plain()).len(), 1);
}

#[test]
fn subsets_and_other_keys_may_be_inside_objects() {
    let rows = concat!(
        "{\"text\": \"a\", \"meta\": {\"pile_set_name\": \"Pile-CC\", \"id\": 3}}\n",
        "{\"text\": \"b\", \"meta.pile_set_name\": \"x\", \"meta\": {\"id\": 4}}\n",
        "{\"text\": \"c\", \"meta\": {\"pile_set_name\": 7, \"id\": 5}}\n",
        "{\"text\": \"d\", \"meta\": \"y\"}\n",
    );
    let subset = Some("meta.pile_set_name".to_owned());
    let options = DocumentOptions { subset, ..with(Some("meta.id"), None) };
    let items = read_as("x.jsonl", rows.as_bytes(), &options);
    let found: Vec<_> = items[..2]
        .iter()
        .map(|item| item.as_ref().unwrap())
        .map(|document| (document.id.as_str(), document.subset.as_deref()))
        .collect();
    assert_eq!(found, [("3", Some("Pile-CC")), ("4", Some("x"))]);
    assert!(message(&items[2]).contains("the subset `meta.pile_set_name` is not a string"));
    assert!(message(&items[3]).contains("the row has no key `meta.id`"));
    let subset = Some("kind".to_owned());
    let options = DocumentOptions { subset, ..plain() };
    let items = read_as("x.csv", b"text,kind\na,news\n", &options);
    assert_eq!(items[0].as_ref().unwrap().subset.as_deref(), Some("news"));
}
