use std::sync::Arc;

use parquet::{
    basic::{Compression, GzipLevel, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::super::{DocumentFormat, DocumentOptions, documents};

const SCHEMA: &str = "message rows {
    required binary text (UTF8);
    optional int64 number;
    optional group meta { optional binary source (UTF8); }
    optional binary types (UTF8);
    repeated binary words (UTF8);
}";

/// A file with two groups of rows: of row *i*, the text is `text i`, the number `10 + i`, but null
/// of row 1, and the source `a` or `b`.
fn written(compression: Compression, num_rows: usize) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let (file, _) = fs_err::File::create(&path).unwrap().into_parts();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let half = num_rows / 2;
    for rows in [0..half, half..num_rows] {
        let rows: Vec<usize> = rows.collect();
        let bytes = |value: String| ByteArray::from(value.into_bytes());
        let mut group = writer.next_row_group().unwrap();
        let mut at = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            match (at, column.untyped()) {
                (0, ColumnWriter::ByteArrayColumnWriter(out)) => {
                    let values: Vec<_> =
                        rows.iter().map(|i| bytes(format!("text {i} é"))).collect();
                    out.write_batch(&values, None, None).unwrap();
                }
                (1, ColumnWriter::Int64ColumnWriter(out)) => {
                    let set: Vec<&usize> = rows.iter().filter(|i| **i != 1).collect();
                    let values: Vec<i64> = set.iter().map(|i| 10 + **i as i64).collect();
                    let levels: Vec<i16> = rows.iter().map(|i| i16::from(*i != 1)).collect();
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (2, ColumnWriter::ByteArrayColumnWriter(out)) => {
                    let value = |i: &usize| bytes(["a", "b"][i % 2].to_owned());
                    let values: Vec<_> = rows.iter().map(value).collect();
                    out.write_batch(&values, Some(&vec![2; rows.len()]), None).unwrap();
                }
                (3, ColumnWriter::ByteArrayColumnWriter(out)) => {
                    let value = ByteArray::from(vec![0xff, b'x']);
                    let levels: Vec<i16> = rows.iter().map(|i| i16::from(*i == 2)).collect();
                    let values = vec![value; levels.iter().filter(|level| **level > 0).count()];
                    out.write_batch(&values, Some(&levels), None).unwrap();
                }
                (_, ColumnWriter::ByteArrayColumnWriter(out)) => {
                    let zeros = vec![0; rows.len()];
                    out.write_batch(&[], Some(&zeros), Some(&zeros)).unwrap();
                }
                _ => unreachable!("the schema has no other columns"),
            }
            column.close().unwrap();
            at += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    (folder, path)
}

fn options(keys: [Option<&str>; 3]) -> DocumentOptions {
    let [id, types, subset] = keys.map(|key| key.map(str::to_owned));
    DocumentOptions { id, types, subset, ..DocumentOptions::default() }
}

#[test]
fn rows_are_documents_in_every_compression() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for compression in codecs {
        let (_folder, path) = written(compression, 300);
        assert_eq!(DocumentFormat::of(&path).unwrap(), DocumentFormat::Parquet);
        let found: Vec<_> =
            documents(&path, &options([None, None, Some("meta.source")])).unwrap().collect();
        assert_eq!(found.len(), 300);
        for (at, document) in found.into_iter().enumerate() {
            let document = document.unwrap();
            assert_eq!(document.text, format!("text {at} é"));
            assert_eq!((document.id, document.line), ((at + 1).to_string(), at + 1));
            assert_eq!(document.subset.unwrap(), ["a", "b"][at % 2]);
        }
    }
}

#[test]
fn problems_name_the_row_and_reading_continues() {
    let (_folder, path) = written(Compression::SNAPPY, 5);
    let shown = |options| -> Vec<String> {
        let name = path.display().to_string();
        let documents = documents(&path, &options).unwrap();
        let shown = documents.map(|document| match document {
            Ok(document) => format!("{} {:?}", document.id, document.types),
            Err(error) => error.to_string().replace(&name, "FILE"),
        });
        shown.collect()
    };
    assert_eq!(
        shown(options([Some("number"), None, None])),
        ["10 None", "FILE:2: the value of `number` is null", "12 None", "13 None", "14 None"]
    );
    assert_eq!(
        shown(options([None, Some("types"), None]))[..4],
        ["1 None", "2 None", "FILE:3: the value of `types` is not UTF-8", "4 None"]
    );
}

#[test]
fn columns_and_files_that_cannot_be_read_are_refused() {
    let (folder, path) = written(Compression::SNAPPY, 4);
    let message =
        |options: &DocumentOptions| documents(&path, options).map(|_| ()).unwrap_err().to_string();
    let missing = message(&options([Some("nmber"), None, None]));
    assert!(missing.contains("no column `nmber`; did you mean `number`?"), "{missing}");
    assert!(missing.contains("`text`, `number`, `meta.source`, `types`, `words`"), "{missing}");
    assert!(message(&options([None, None, Some("number")])).contains("does not have text"));
    assert!(message(&options([Some("words"), None, None])).contains("`words` does not have"));

    let read = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        let found = documents(&path, &DocumentOptions::default());
        found.and_then(Iterator::collect::<Result<Vec<_>, _>>).unwrap_err().to_string()
    };
    let bytes = fs_err::read(&path).unwrap();
    assert!(read("cut.parquet", &bytes[..bytes.len() - 3]).contains("is not a Parquet file"));
    assert!(read("text.parquet", b"text").contains("is not a Parquet file"));
    assert!(read("x.parquet.gz", &bytes).contains("not compressed as a whole"));
    let mut damaged = bytes.clone();
    damaged[4..60].fill(0xee);
    let message = read("damaged.parquet", &damaged);
    assert!(message.contains("row group 1"), "{message}");
}
