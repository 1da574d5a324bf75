//! Detects the format of a column file that a tagger wrote.

use std::path::Path;

use indexmap::IndexMap;

use crate::{
    DataError, Problem,
    encoding::Encoding,
    format::{Columns, Scheme},
    lines::{self, Lines},
};

/// The starts of rows that are not tokens, in files of taggers and of `uner predict`.
const COMMENT: &str = "# ";
const DOCUMENT: &str = "-DOCSTART-";

impl Columns {
    /// The format of a file with a token in the first column of each row and its tag in the last.
    /// Tabs separate the columns if the first row has one, else white space. The scheme is IOBES or
    /// BILOU if a tag has a letter of theirs, else BIO, as which IOB1 is read, too.
    ///
    /// # Errors
    /// If the file cannot be read, or its first row has one column only.
    pub fn detect(file: &Path) -> Result<Self, DataError> {
        let mut rows = Lines::new(lines::open(file, Encoding::default())?);
        let mut found: Option<Self> = None;
        while let Some(line) = rows.next_bytes(file) {
            let line = line?;
            let row = String::from_utf8_lossy(line.bytes);
            let is_token =
                !row.trim().is_empty() && !row.starts_with(COMMENT) && !row.starts_with(DOCUMENT);
            if !is_token {
                continue;
            }
            if found.is_none() {
                found = Some(first(&row).ok_or_else(|| DataError::Malformed {
                    file: file.to_owned(),
                    line: line.number,
                    record: None,
                    problem: Problem::Columns { expected: 2, found: 1, row: row.to_string() },
                })?);
            }
            if let (Some(columns), Some(scheme)) = (&mut found, scheme(&row)) {
                columns.scheme = scheme;
                break;
            }
        }
        Ok(found.unwrap_or_else(|| described("whitespace", 1)))
    }
}

/// The format by the first row.
fn first(row: &str) -> Option<Columns> {
    let (separator, width) = if row.contains('\t') {
        ("\t", row.split('\t').count())
    } else {
        ("whitespace", row.split_ascii_whitespace().count())
    };
    (width > 1).then(|| described(separator, width - 1))
}

/// The scheme that only has the row's tag, if there is one.
fn scheme(row: &str) -> Option<Scheme> {
    let (letter, label) = row.split_ascii_whitespace().next_back()?.split_once('-')?;
    match letter {
        _ if label.is_empty() => None,
        "E" | "S" => Some(Scheme::Iobes),
        "L" | "U" => Some(Scheme::Bilou),
        _ => None,
    }
}

fn described(separator: &str, tag: usize) -> Columns {
    Columns {
        separator: separator.to_owned(),
        token: 0,
        tags: vec![tag],
        scheme: Scheme::Bio,
        quoted: false,
        header: 0,
        group: None,
        break_rows: Vec::new(),
        document_rows: vec![DOCUMENT.to_owned()],
        comment_rows: vec![COMMENT.to_owned()],
        id_rows: None,
        metadata: Vec::new(),
        tag_map: IndexMap::new(),
        defects: Vec::new(),
        encoding: Encoding::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, format::Format, read};

    fn detect(text: &str) -> Result<Columns, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.conll");
        fs_err::write(&path, text).unwrap();
        Columns::detect(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn separator_tags_and_scheme_are_found() {
        let found = |text: &str| {
            let columns = detect(text).unwrap();
            (columns.separator, columns.tags, columns.scheme)
        };
        let is = |separator: &str, tag, scheme| (separator.to_owned(), vec![tag], scheme);
        assert_eq!(found("# id = 1\nZoë\tB-person\n"), is("\t", 1, Scheme::Bio));
        assert_eq!(found("-DOCSTART- -X- O\n\nZoë NN I-PER\r\n"), is("whitespace", 2, Scheme::Bio));
        assert_eq!(found("a O\nb B-x\nc E-x\n"), is("whitespace", 1, Scheme::Iobes));
        assert_eq!(found("a\tx\tO\n\nb\tx\tU-x"), is("\t", 2, Scheme::Bilou));
        assert_eq!(found("a O\nb S-"), is("whitespace", 1, Scheme::Bio));
        let message = detect("\nword\n").unwrap_err();
        assert!(message.contains(":2: expected 2 columns, found 1: `word`"), "{message}");
    }

    #[test]
    fn a_detected_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.conll");
        fs_err::write(&path, "# id = 7\nZoë\tS-person\nsaw\tO\nRome\tS-city\n").unwrap();
        let dataset = Dataset::of_file(&path, Format::Columns(Columns::detect(&path).unwrap()));
        let examples: Vec<_> =
            read(&dataset, "file", "".as_ref()).unwrap().map(Result::unwrap).collect();
        assert_eq!(examples[0].text, "Zoë saw Rome");
        assert_eq!(examples[0].queries, ["person", "city"]);
    }
}
