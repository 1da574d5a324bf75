//! Reads brat standoff: each `x.txt` is a passage, and `x.ann` beside it has rows
//! `T<n> TAB label start end TAB mention`. Offsets count characters by default; a discontinuous
//! mention has several ranges `start end;start end`. Other rows (relations, events, notes) are
//! ignored, and so are hidden files and the copies that programs make.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use zip::ZipArchive;

use crate::{
    DataError, Entity, Example, Note, Problem, Span, folder,
    format::{Brat, Encoding, Offsets, Unannotated},
    lines::named,
    passage::Passage,
    reader::{Context, Reader},
    regular,
    text::{Text, squeeze},
};

/// The byte order mark of UTF-8. brat counts it as a character of the text.
const MARK: char = '\u{feff}';

/// Opens a folder, or a folder inside the zip file `on_disk`.
pub(crate) fn open(
    format: &Brat,
    path: &Path,
    on_disk: &Path,
) -> Result<Box<dyn Reader>, DataError> {
    let (store, names) = if on_disk.is_dir() {
        (Store::Folder(on_disk.to_owned()), folder::files(on_disk)?)
    } else {
        let archive = ZipArchive::new(regular::open(on_disk)?)
            .map_err(|error| named(on_disk, &error.into()))?;
        let inside = path.strip_prefix(on_disk).unwrap_or(Path::new("")).to_owned();
        let names = archive
            .file_names()
            .filter_map(Result::ok)
            .map(|name| PathBuf::from(name.into_owned()))
            .filter(|name| name.strip_prefix(&inside).is_ok_and(folder::is_visible))
            .collect();
        (Store::Zip(on_disk.to_owned(), archive), names)
    };
    let (mut store, documents) = (store, documents(names));
    let ids = match &format.index {
        Some(index) => Some(ids(&mut store, index, format.encoding)?),
        None => None,
    };
    Ok(Box::new(BratReader { format: format.clone(), store, ids, documents }))
}

/// The ids of the documents, by the names of their files without endings.
fn ids(
    store: &mut Store,
    index: &Path,
    encoding: Encoding,
) -> Result<HashMap<PathBuf, String>, DataError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        file: PathBuf,
    }
    let text = store.text(index, encoding)?;
    let rows = text.lines().zip(1..).filter(|(row, _)| !row.trim().is_empty());
    rows.map(|(row, line)| {
        let row: Row = serde_json::from_str(row).map_err(|error| {
            let message = format!("the row is not `{{\"id\": \"…\", \"file\": \"…\"}}`: {error}");
            let (file, problem) = (store.path(index), Problem::Json(message));
            DataError::Malformed { file, line, record: None, problem }
        })?;
        Ok((row.file, row.id))
    })
    .collect()
}

enum Store {
    Folder(PathBuf),
    Zip(PathBuf, ZipArchive<fs_err::File>),
}

impl Store {
    /// The path of a document's file; for a zip file, it is only used in messages.
    fn path(&self, name: &Path) -> PathBuf {
        match self {
            Self::Folder(root) | Self::Zip(root, _) => root.join(name),
        }
    }

    /// Reads a file as UTF-8. A byte order mark of UTF-8 is kept.
    fn text(&mut self, name: &Path, encoding: Encoding) -> Result<String, DataError> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        match self {
            Self::Folder(_) => bytes = regular::read(&path)?,
            Self::Zip(_, archive) => archive
                .by_name(&name.to_string_lossy())
                .map_err(std::io::Error::from)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map(|_| ())
                .map_err(|error| named(&path, &error))?,
        }
        let has_mark = bytes.starts_with(b"\xef\xbb\xbf");
        let mut decoded = if has_mark { MARK.to_string().into_bytes() } else { Vec::new() };
        let input = encoding.decode(Box::new(Cursor::new(bytes)));
        let malformed = |line, problem| DataError::Malformed {
            file: path.clone(),
            line,
            record: None,
            problem,
        };
        input
            .map_err(|error| named(&path, &error))?
            .map_err(|problem| malformed(1, problem))?
            .read_to_end(&mut decoded)
            .map_err(|error| named(&path, &error))?;
        String::from_utf8(decoded).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let column =
                sound.len() - sound.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let problem = encoding.problem(error.as_bytes()[sound.len()], column);
            malformed(sound.split(|byte| *byte == b'\n').count(), problem)
        })
    }
}

/// A document: a text file and an annotation file, of which one may be missing.
struct Document {
    stem: PathBuf,
    has_text: bool,
    has_annotations: bool,
}

struct BratReader {
    format: Brat,
    store: Store,
    /// The ids of the documents, if the description names an index.
    ids: Option<HashMap<PathBuf, String>>,
    documents: VecDeque<Document>,
}

/// The documents, sorted by name so that every file system gives the same order.
fn documents(names: Vec<PathBuf>) -> VecDeque<Document> {
    let names: BTreeSet<PathBuf> = names.into_iter().collect();
    let is =
        |name: &Path, wanted: &str| name.extension().is_some_and(|extension| extension == wanted);
    let stems: BTreeSet<PathBuf> = names
        .iter()
        .filter(|name| is(name, "txt") || is(name, "ann"))
        .map(|name| name.with_extension(""))
        .collect();
    let has = |stem: &Path, extension: &str| names.contains(&stem.with_added_extension(extension));
    stems
        .into_iter()
        .map(|stem| Document {
            has_text: has(&stem, "txt"),
            has_annotations: has(&stem, "ann"),
            stem,
        })
        .collect()
}

impl BratReader {
    /// The example of a document; `None` if the document is skipped.
    fn document(
        &mut self,
        document: &Document,
        context: &mut Context<'_>,
    ) -> Result<Option<Example>, DataError> {
        let name = |extension| document.stem.with_added_extension(extension);
        let base =
            |name: &Path| name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (text_file, annotation_file) =
            (self.store.path(&name("txt")), self.store.path(&name("ann")));
        let mut context = Context {
            record: None,
            dataset: context.dataset,
            notes: &mut *context.notes,
            further: &mut *context.further,
            file: if document.has_annotations { &annotation_file } else { &text_file },
        };
        if !document.has_text {
            return Err(context.malformed(1, Problem::Unpaired(base(&text_file))));
        }
        if !document.has_annotations && self.format.unannotated == Unannotated::Error {
            return Err(context.malformed(1, Problem::Unannotated(base(&annotation_file))));
        }
        if !document.has_annotations {
            context.note(Note::Unannotated, 1);
        }
        if !document.has_annotations && self.format.unannotated == Unannotated::Skip {
            return Ok(None);
        }
        let text = self.store.text(&name("txt"), self.format.encoding)?;
        let annotations = if document.has_annotations {
            self.store.text(&name("ann"), self.format.encoding)?
        } else {
            String::new()
        };
        let id = match &self.ids {
            None => document.stem.to_string_lossy().into_owned(),
            Some(ids) => ids
                .get(&document.stem)
                .cloned()
                .ok_or_else(|| context.malformed(1, Problem::NotInIndex(base(&document.stem))))?,
        };
        example(id, &text, &annotations, self.format.offsets, &mut context).map(Some)
    }
}

impl Reader for BratReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        loop {
            let document = self.documents.pop_front()?;
            if let Some(example) = self.document(&document, context).transpose() {
                return Some(example);
            }
        }
    }
}

/// A text with or without its byte order mark: tools differ in whether offsets count the mark.
struct Reading<'a> {
    text: Text<'a>,
    /// Characters before the text of the example.
    before: usize,
}

fn example(
    id: String,
    text: &str,
    annotations: &str,
    offsets: Offsets,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let plain = text.strip_prefix(MARK).unwrap_or(text);
    let mut readings = vec![Reading { text: Text::new(plain), before: 0 }];
    if plain.len() < text.len() {
        readings.insert(0, Reading { text: Text::new(text), before: 1 });
    }
    let whole = Text::new(plain);
    let mut passage = Passage::new(&whole);
    let mut problems = Vec::new();
    let rows = annotations.trim_start_matches(MARK).lines().zip(1..);
    for (row, line) in rows.filter(|(row, _)| !row.trim().is_empty() && !is_of_entities(row)) {
        let added = annotation(row, &readings, offsets, line, context).and_then(|found| {
            found
                .map_or(Ok(()), |(span, entity_type)| passage.add(span, entity_type, line, context))
        });
        problems.extend(added.err());
    }
    let mut entities = passage.into_entities();
    entities.sort_by_key(|entity: &Entity| {
        entity.span.map(|span| (span.start, std::cmp::Reverse(span.end)))
    });
    context.unless(problems, || Example::new(id, plain.to_owned(), entities))
}

/// Whether a row describes entities but is not one: a relation, event, attribute, modification,
/// normalisation, equivalence or comment.
fn is_of_entities(row: &str) -> bool {
    row.starts_with(['R', 'E', 'A', 'M', 'N', '*', '#']) && row.contains('\t')
}

/// Span and type of a row; `None` for a dropped label.
fn annotation(
    row: &str,
    readings: &[Reading<'_>],
    offsets: Offsets,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Option<(Span, String)>, DataError> {
    if row.trim_end().contains('\r') {
        return Err(
            context.malformed(line, Problem::LineEnds { doubled: false, row: row.to_owned() })
        );
    }
    let Some((label, pieces, stated)) = parse(row) else {
        return Err(context.malformed(line, Problem::Standoff(row.to_owned())));
    };
    let Some(span) = readings.iter().find_map(|reading| placed(&pieces, stated, reading, offsets))
    else {
        let last = readings.last().expect("a text is read in some way");
        return Err(context.malformed(line, misplaced(label, &pieces, stated, last, offsets)));
    };
    let Some(entity_type) = context.entity_type(label, 1, line)? else { return Ok(None) };
    if pieces.len() > 1 {
        context.note(Note::Discontinuous, line);
    }
    Ok(Some((span, entity_type)))
}

/// The range from the first to the last character of a mention. `None` if its pieces, in the order
/// of the row or of the text, do not give the stated mention.
fn placed(
    pieces: &[(i64, i64)],
    stated: &str,
    reading: &Reading<'_>,
    offsets: Offsets,
) -> Option<Span> {
    let mut spans = pieces
        .iter()
        .map(|&(start, end)| reading.text.span(start, end, offsets))
        .collect::<Option<Vec<Span>>>()?;
    let written = |spans: &[Span]| {
        spans.iter().map(|span| squeeze(reading.text.slice(*span))).collect::<String>()
    };
    let as_listed = written(&spans);
    spans.sort_unstable();
    let stated = squeeze(stated);
    if as_listed != stated && written(&spans) != stated {
        return None;
    }
    let start = spans.first()?.start.saturating_sub(reading.before);
    let end = spans.iter().map(|span| span.end).max()?.saturating_sub(reading.before);
    Some(Span { start, end })
}

fn misplaced(
    label: &str,
    pieces: &[(i64, i64)],
    stated: &str,
    reading: &Reading<'_>,
    offsets: Offsets,
) -> Problem {
    let start = pieces.iter().map(|piece| piece.0).min().unwrap_or_default();
    let end = pieces.iter().map(|piece| piece.1).max().unwrap_or_default();
    let fits =
        Offsets::ALL.into_iter().find(|unit| placed(pieces, stated, reading, *unit).is_some());
    let found: Option<Vec<&str>> = pieces
        .iter()
        .map(|&(start, end)| Some(reading.text.slice(reading.text.span(start, end, offsets)?)))
        .collect();
    let (label, stated) = (label.to_owned(), stated.to_owned());
    match found {
        Some(found) => Problem::SpanText { start, end, found: found.join(" "), stated, fits },
        None => Problem::SpanOutside {
            start,
            end,
            label,
            length: reading.text.length(offsets),
            offsets,
            fits,
        },
    }
}

/// The ranges of a mention, in the order of the row.
type Pieces = Vec<(i64, i64)>;

/// Parses the label, ranges and mention of a row.
fn parse(row: &str) -> Option<(&str, Pieces, &str)> {
    let mut fields = row.splitn(3, '\t').skip(1);
    let (label, ranges) = fields.next()?.split_once(' ')?;
    let pieces = ranges.split(';').map(|range| {
        let (start, end) = range.split_once(' ')?;
        Some((start.parse().ok()?, end.parse().ok()?))
    });
    Some((label, pieces.collect::<Option<Pieces>>()?, fields.next()?))
}
