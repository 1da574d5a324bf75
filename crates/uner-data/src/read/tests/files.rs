//! Tests of files as editors, archives and other systems write them.

use super::*;

#[test]
fn compressed_files_and_other_normal_forms_are_named() {
    let columns = dataset(COLUMNS, "types = \"as-written\"");
    for (start, said) in [
        (&b"\x1f\x8b\x08\0"[..], "compressed with gzip; give it a name that ends in `.gz`"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"PK\x03\x04", "compressed with zip"),
    ] {
        let folder = folder_with(start);
        let error = read(&columns, "train", folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
    let row = "{\"text\": \"e\u{301}\", \"entities\": [{\"start\": 0, \"end\": 2, \"label\": \"x\", \"text\": \"\u{e9}\"}]}";
    let (wrong, _) = items(&dataset(SPANS, ""), row);
    assert!(wrong[0].as_ref().unwrap_err().contains("normal form"), "{:?}", wrong[0]);
}

/// Joined files have the byte order mark of the second file in their middle.
#[test]
fn a_byte_order_mark_at_the_start_of_a_line_is_left_out_and_counted() {
    let columns = dataset(COLUMNS, "types = \"as-written\"");
    let (joined, notes) = items(&columns, "Ann B-x\n\n\u{feff}Bo B-x\n");
    let texts: Vec<&str> = joined.iter().map(|item| item.as_ref().unwrap().text.as_str()).collect();
    assert_eq!((texts, notes.count(&Note::ByteOrderMark)), (vec!["Ann", "Bo"], 1));
    let lines =
        "{\"text\": \"Ann\", \"entities\": []}\n\u{feff}{\"text\": \"Bo\", \"entities\": []}\n";
    let (joined, notes) = items(&dataset("kind = \"jsonl\"", ""), lines);
    assert_eq!(
        (joined[1].as_ref().unwrap().text.as_str(), notes.count(&Note::ByteOrderMark)),
        ("Bo", 1)
    );
}

#[test]
fn byte_order_marks_are_left_out() {
    let conversation = r#"{"conversations": [{"from": "human", "value": "Text: Jo"}, {"from": "gpt", "value": "ok"},
        {"from": "human", "value": "What describes x in the text?"}, {"from": "gpt", "value": "[\"Jo\"]"}]}"#;
    let queries = "kind = \"queries\"\ntext = \"t\"\nlabel = \"l\"\nanswer = \"a\"";
    let gliner = r#"{"tokenized_text": ["Jo"], "ner": [[0, 0, "x"]]}"#;
    let instructuie =
        r#"{"sentence": "Jo", "entities": [{"name": "Jo", "type": "x", "pos": [0, 2]}]}"#;
    for (format, content) in [
        (COLUMNS, "Jo B-x\n".to_owned()),
        (SPANS, r#"{"text": "Jo", "entities": [[0, 2, "x"]]}"#.to_owned()),
        (SPANS, r#"[{"text": "Jo", "entities": [[0, 2, "x"]]}]"#.to_owned()),
        ("kind = \"conversations\"\ncontainer = \"array\"", format!("[{conversation}]")),
        (CONVERSATIONS, conversation.replace('\n', " ")),
        (queries, r#"{"t": "Jo", "l": "x", "a": ["Jo"]}"#.to_owned()),
        ("kind = \"gliner\"", format!(" [{gliner}]")),
        ("kind = \"gliner\"\ncontainer = \"lines\"", gliner.to_owned()),
        ("kind = \"instructuie\"", format!("[{instructuie}]")),
    ] {
        let (items, notes) =
            items(&dataset(format, "types = \"as-written\""), &format!("\u{feff}{content}"));
        assert_eq!(found(&items[0]), [("Jo", "x", Some((0, 2)))], "{format}");
        assert!(items.len() == 1 && notes.is_empty(), "{format}: {items:?} {notes}");
    }
}

#[test]
fn other_encodings_are_read_by_their_key() {
    let read_as = |bytes: &[u8], encoding: &str| {
        let folder = folder_with(bytes);
        let dataset = dataset(&format!("{COLUMNS}{encoding}"), "types = \"as-written\"");
        let items = read(&dataset, "train", folder.path()).unwrap();
        items
            .map(|item| item.map(|example| example.text).map_err(|error| error.to_string()))
            .collect::<Vec<_>>()
    };
    let utf16 =
        |text: &str, to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let text = "José B-x\n\n🚀 O\n";
    for (bytes, encoding) in [
        (utf16(&format!("\u{feff}{text}"), u16::to_le_bytes), "utf-16"),
        (utf16(&format!("\u{feff}{text}"), u16::to_be_bytes), "utf-16"),
        (utf16(text, u16::to_be_bytes), "utf-16be"),
        (text.as_bytes().to_vec(), "utf_8"),
    ] {
        let found = read_as(&bytes, &format!("\nencoding = \"{encoding}\""));
        assert_eq!(found, [Ok("José".to_owned()), Ok("🚀".to_owned())], "{encoding}");
    }
    let latin1 = b"Jos\xe9 B-x\n\nMa O\n";
    for encoding in ["latin1", "latin-1", "iso-8859-1", "cp1252"] {
        assert_eq!(
            read_as(latin1, &format!("\nencoding = \"{encoding}\""))[0],
            Ok("José".to_owned())
        );
    }
    let error = read_as(latin1, "")[0].clone().unwrap_err();
    assert!(error.contains("file:1: the line is not UTF-8: its byte 4 is 0xe9"), "{error}");
    assert!(error.contains("`encoding = \"latin1\"`") && error.contains("iconv"), "{error}");
    let found = read_as(b"a O\n\nb\x93 O\n\nc O\n", "\nencoding = \"shift_jis\"");
    assert_eq!((&found[0], &found[2]), (&Ok("a".to_owned()), &Ok("c".to_owned())));
    let error = found[1].clone().unwrap_err();
    assert!(error.contains("file:3: the line is not `Shift_JIS`"), "{error}");
    let error = read_as(b"\xff\xfeJ\0", "")[0].clone().unwrap_err();
    assert!(
        error.contains("file:1: the file starts with the byte order mark of UTF-16; set `encoding"),
        "{error}"
    );
    let text = format!(
        "name = \"a\"\ntypes = \"as-written\"\n[format]\n{COLUMNS}\nencoding = \"latin-99\"\n[splits]"
    );
    let error = Dataset::from_toml(&text, "own").unwrap_err().to_string();
    assert!(error.contains("unknown encoding `latin-99`"), "{error}");
}

#[test]
fn rows_that_start_like_comments_are_tokens_when_they_carry_a_tag() {
    let content = "# id = 17\nat O\n#Cup B-x\n#\n# not O\n#y B\n\n#Tarno B-x\n";
    let dataset = dataset(&format!("{COLUMNS}\ncomment_rows = [\"#\"]"), "types = \"as-written\"");
    let (items, notes) = items(&dataset, content);
    assert_eq!(found(&items[0]), [("#Cup", "x", Some((3, 7)))]);
    assert_eq!(found(&items[1]), [("#Tarno", "x", Some((0, 6)))]);
    assert_eq!(notes.count(&Note::TaggedComment), 2);
    assert!(notes.to_string().ends_with("file:3)\n"), "{notes}");
}

#[test]
fn only_spaces_and_tabs_separate_columns() {
    let format = COLUMNS.replace("\" \"", "\"whitespace\"");
    let content = "10\u{a0}000 \t B-x\n  Euro\tI-x\n\n東京\u{3000}本社 B-x\nx\u{2009}y\u{85}z O\n";
    let (items, notes) = items(&dataset(&format, "types = \"as-written\""), content);
    assert_eq!(found(&items[0]), [("10\u{a0}000 Euro", "x", Some((0, 11)))]);
    assert_eq!(found(&items[1]), [("東京\u{3000}本社", "x", Some((0, 5)))]);
    assert!(notes.is_empty(), "{notes}");
}

#[test]
fn messages_show_what_cannot_be_seen() {
    let errors = |content: &str| {
        let (items, _) = items(&dataset(COLUMNS, "types = { PER = \"person\" }"), content);
        items.into_iter().map(Result::unwrap_err).collect::<Vec<String>>()
    };
    let doubled = "the row contains `\\r`: the file's lines end with `\\r\\r\\n`, not with `\\n` or `\\r\\n`; convert them: \
                   `tr -d '\\r'`";
    assert_eq!(errors("Ines B-PER\r\r\n\r\r\n"), [format!("file:1: {doubled}: `Ines B-PER\\r`")]);
    let [error] = &errors("Ines B-PER\rOkart I-PER\r\rmet O\r")[..] else { panic!("one line") };
    assert!(
        error.contains("lines end with `\\r`, not") && error.contains("tr '\\r' '\\n'"),
        "{error}"
    );
    for (label, shown) in [
        ("PER\u{1b}[2K", "`PER\\u{1b}[2K`"),
        ("PER\u{200b}", "`PER\\u{200b}`"),
        ("\u{202e}PER", "`\\u{202e}PER`"),
        ("PER\u{a0}", "`PER\\u{a0}`"),
        ("PER\u{9b}", "`PER\\u{9b}`"),
    ] {
        let [error] = &errors(&format!("Ines B-{label}\n"))[..] else { panic!("one label") };
        assert!(error.starts_with(&format!("file:1: label {shown} is not")), "{error}");
        assert!(!error.chars().any(char::is_control), "{error}");
    }
}

#[test]
fn slips_of_json_are_named() {
    let instructuie = "kind = \"instructuie\"";
    let record = r#"{"sentence": "Bo", "entities": []}"#;
    let array =
        "; if the file is one array, set `container = \"array\"` in the description's `[format]`";
    for (format, content, message) in [
        (instructuie, format!("[\n{record},\n]"), "file:2: record 1: the array has a comma before its `]`; remove the comma".to_owned()),
        (
            instructuie,
            format!("{record}\n{record}\n"),
            "file:1: the file does not start with `[`, so it is not a JSON array; if it has one record per line, set \
             `container = \"lines\"` in the description's `[format]`"
                .to_owned(),
        ),
        (CONVERSATIONS, "[\n".to_owned(), format!("file:1: EOF while parsing a list{array}")),
        (
            SPANS,
            "{\"text\":\n1}".to_owned(),
            "file:1: EOF while parsing a value".to_owned(),
        ),
        (
            SPANS,
            r#"{"text": "Ines \ud83d Okart", "entities": []}"#.to_owned(),
            "file:1: the lone surrogate `\\ud83d` is half of a character; write the character, or both halves"
                .to_owned(),
        ),
        (
            SPANS,
            r#"{"text": "Bo", "text": "Al", "entities": []}"#.to_owned(),
            "file:1: the key `text` occurs twice in one object".to_owned(),
        ),
        (
            SPANS,
            r#"{"text": 'Bo', "entities": []}"#.to_owned(),
            "file:1: expected value in column 10 (`'Bo', \"entit`)".to_owned(),
        ),
        (
            instructuie,
            format!("[{record},\n  {{\"sentence\": None}}]"),
            "file:2: record 2: expected value in column 16 (`None}`)".to_owned(),
        ),
        (SPANS, r#"{"text": NaN, "entities": []}"#.to_owned(), "file:1: the row has no string `text`".to_owned()),
    ] {
        let (items, _) = items(&dataset(format, ""), &content);
        let error = items.iter().find_map(|item| item.as_ref().err()).unwrap();
        assert_eq!(*error, message, "{content}");
    }
    let row =
        r#"{"id": NaN, "text": "NaN \"NaN\" 🚀", "entities": [[0, 3, "x"]], "score": -Infinity}"#;
    let (items, notes) = items(&dataset(SPANS, ""), row);
    assert_eq!(found(&items[0]), [("NaN", "x", Some((0, 3)))]);
    assert_eq!(items[0].as_ref().unwrap().id, "train_0");
    assert!(notes.is_empty());
}

/// Nested spans copy the text many times.
#[test]
fn nested_spans_do_not_fill_the_memory() {
    let text = "a".repeat(10_000);
    let spans: Vec<String> = (0..8_000).map(|start| format!("[{start}, 10000, \"x\"]")).collect();
    let row = |spans: &[String]| {
        format!("{{\"text\": \"{text}\", \"entities\": [{}]}}", spans.join(", "))
    };
    let (few, _) = items(&dataset(SPANS, ""), &row(&spans));
    assert_eq!(few[0].as_ref().unwrap().entities.len(), 8_000);
    let others: Vec<String> = spans.iter().map(|span| span.replace('x', "y")).collect();
    let (many, _) = items(&dataset(SPANS, ""), &row(&[spans, others].concat()));
    let error = many[0].as_ref().unwrap_err();
    assert!(
        error.starts_with("file:1: the entities of the text have more than 64 MiB in total"),
        "{error}"
    );
}

#[test]
fn hidden_files_and_copies_are_no_documents() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write("sub/a.txt", "Bo");
    write("sub/a.ann", "T1\tx 0 2\tBo\n");
    for copy in [
        ".ipynb_checkpoints/a-checkpoint.txt",
        "sub/._a.txt",
        "sub/~$a.txt",
        "sub/#a.txt",
        "__MACOSX/sub/a.txt",
        "sub/a.txt~",
    ] {
        write(copy, "Bo");
    }
    let validate = |format: &str| {
        let text = format!(
            "name = \"own\"\ntypes = \"as-written\"\n[format]\nkind = \"brat\"\n{format}\n[splits]\ntrain = \".\""
        );
        validate(&Dataset::from_toml(&text, "own").unwrap(), "train", folder.path()).unwrap()
    };
    let found = validate("");
    assert_eq!((found.num_examples, found.problems.len(), found.notes.is_empty()), (1, 0, true));

    write("README.txt", "About this corpus");
    let error = validate("").problems[0].to_string();
    assert!(
        error.contains("README.txt:1: `README.ann` is missing beside this file; set `unannotated`"),
        "{error}"
    );
    for (value, num_examples) in [("skip", 1), ("empty", 2)] {
        let found = validate(&format!("unannotated = \"{value}\""));
        assert_eq!(
            (found.num_examples, found.num_entities, found.problems.len()),
            (num_examples, 1, 0)
        );
        assert_eq!(found.notes.count(&Note::Unannotated), 1);
    }
}

#[test]
fn standoff_offsets_are_those_of_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let validate = |text: &str, annotations: &str, format: &str| {
        fs_err::write(folder.path().join("a.txt"), text).unwrap();
        fs_err::write(folder.path().join("a.ann"), annotations).unwrap();
        let description = format!(
            "name = \"own\"\ntypes = \"as-written\"\n[format]\nkind = \"brat\"\n{format}\n[splits]\ntrain = \".\""
        );
        let dataset = Dataset::from_toml(&description, "own").unwrap();
        let items: Vec<_> = read(&dataset, "train", folder.path()).unwrap().collect();
        items.into_iter().map(|item| item.map_err(|error| error.to_string())).collect::<Vec<_>>()
    };
    // brat counts a byte order mark as a character, other tools do not.
    for offsets in ["1 6", "0 5"] {
        let items =
            validate("\u{feff}Ruvel Systems", &format!("\u{feff}T1\tx {offsets}\tRuvel\n"), "");
        assert_eq!(items[0].as_ref().unwrap().text, "Ruvel Systems");
        assert_eq!(found(&items[0]), [("Ruvel", "x", Some((0, 5)))]);
    }
    let items = validate(
        "left and right lung",
        "T1\tx 15 19;0 4\tlung left\nT2\tx 0 4;15 19\tleft lung\n",
        "",
    );
    assert_eq!(found(&items[0]), [("left and right lung", "x", Some((0, 19)))]);
    let items = validate("🚀 Bo", "T1\tx 3 5\tBo\n", "offsets = \"utf-16\"");
    assert_eq!(found(&items[0]), [("Bo", "x", Some((2, 4)))]);
    let items = validate("🚀 Bo", "T1\tx 3 5\tBo\nT2\tx 0 1;2 4\tBo\n", "");
    let errors: Vec<&str> = items.iter().map(|item| item.as_ref().unwrap_err().as_str()).collect();
    assert!(
        errors[0].contains("a.ann:1: span 3..5 of `x`")
            && errors[0].contains("set `offsets = \"utf-16\"`")
    );
    assert!(errors[1].ends_with("a.ann:2: span 0..4 is `🚀 Bo`, not `Bo`"), "{}", errors[1]);
}

#[test]
fn ascii_is_no_other_name_of_windows_1252() {
    let text = "name = \"own\"\n[format]\nkind = \"jsonl\"\nencoding = \"us-ascii\"\n[splits]\ntrain = \"file\"";
    let message = Dataset::from_toml(text, "own").unwrap_err().to_string();
    assert!(message.contains("`us-ascii`") && message.contains("`utf-8`"), "{message}");
}

#[test]
fn a_row_of_an_entity_parts_no_documents() {
    let format = format!("{COLUMNS}\ndocument_rows = [\"-DOCSTART-\"]");
    let rows = "-DOCSTART- O\n\nAnn B-PER\n\n-DOCSTART-Okart B-PER\nmet O\n";
    let (read, notes) = items(&dataset(&format, "types = { PER = \"person\" }"), rows);
    assert_eq!(
        (read.len(), found(&read[1])),
        (2, vec![("-DOCSTART-Okart", "person", Some((0, 15)))])
    );
    assert_eq!(notes.count(&Note::TaggedComment), 1);
}

#[test]
fn annotation_rows_of_no_kind_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs");
    fs_err::create_dir(&docs).unwrap();
    fs_err::write(docs.join("a.txt"), "Okart met Ruvel.").unwrap();
    let brat = Dataset::from_toml(
        "name = \"own\"\ntypes = { PER = \"person\" }\n[format]\nkind = \"brat\"\n[splits]\ntrain = \"docs\"",
        "own",
    )
    .unwrap();
    let good = "T2\tPER 10 15\tRuvel\nR1\tMet Arg1:T2 Arg2:T2\n#1\tAnnotatorNotes T2\tx\n*\tEquiv T2 T2\n\n";
    for (row, problems, entities) in [
        ("", 0, 1),
        ("\u{feff}\u{feff}", 0, 1),
        (" T1\tPER 0 5\tOkart\n", 0, 2),
        ("t1\tPER 0 5\tOkart\n", 0, 2),
        ("<<<<<<< HEAD\n", 1, 0),
    ] {
        fs_err::write(docs.join("a.ann"), format!("{row}{good}")).unwrap();
        let found = validate(&brat, "train", folder.path()).unwrap();
        assert_eq!((found.num_problems(), found.num_entities), (problems, entities), "{row:?}");
    }
}

#[test]
fn problems_of_a_kind_are_shown_up_to_twenty_and_counted() {
    let rows = "Okart met Ruvel\n".repeat(50);
    let folder = folder_with(rows.as_bytes());
    let tabs = COLUMNS.replace("separator = \" \"", "separator = \"\\t\"");
    let found =
        validate(&dataset(&tabs, "types = { PER = \"person\" }"), "train", folder.path()).unwrap();
    assert!(found.num_problems() > 20 && found.problems.len() <= 20 + 1, "{found:?}");
    let first = found.problems[0].to_string();
    assert!(first.contains("found 1") && first.contains("separator = \"whitespace\""), "{first}");
    assert_eq!(
        found.more.iter().map(|(_, count)| count).sum::<usize>() + found.problems.len(),
        found.num_problems()
    );
}
