//! brat standoff: each `x.txt` is a passage, `x.ann` beside it holds `T<n> TAB label start end TAB mention` rows,
//! with offsets in characters and several ranges `start end;start end` for a discontinuous mention. Other rows
//! (relations, events, notes) are no entities and are left alone.

use std::{
    collections::{BTreeSet, VecDeque},
    io::Read,
    path::{Path, PathBuf},
};

use zip::ZipArchive;

use crate::{
    DataError, Entity, Example, Note, Problem, Span,
    lines::named,
    read::{Context, Reader, entity},
};

/// Opens a folder, or a folder inside the zip file that `on_disk` is.
pub(crate) fn open(path: &Path, on_disk: &Path) -> Result<Box<dyn Reader>, DataError> {
    let (store, names) = if on_disk.is_dir() {
        (Store::Folder(on_disk.to_owned()), folder(on_disk)?)
    } else {
        let archive =
            ZipArchive::new(fs_err::File::open(on_disk)?).map_err(|error| named(on_disk, &error.into()))?;
        let inside = path.strip_prefix(on_disk).unwrap_or(Path::new("")).to_owned();
        let names = archive
            .file_names()
            .filter_map(Result::ok)
            .map(|name| PathBuf::from(name.into_owned()))
            .filter(|name| name.starts_with(&inside))
            .collect();
        (Store::Zip(on_disk.to_owned(), archive), names)
    };
    Ok(Box::new(BratReader { store, documents: documents(names), errors: VecDeque::new() }))
}

enum Store {
    Folder(PathBuf),
    Zip(PathBuf, ZipArchive<fs_err::File>),
}

impl Store {
    /// What a document's file is called in messages.
    fn path(&self, name: &Path) -> PathBuf {
        match self {
            Self::Folder(root) | Self::Zip(root, _) => root.join(name),
        }
    }

    fn text(&mut self, name: &Path) -> Result<String, DataError> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        match self {
            Self::Folder(_) => bytes = fs_err::read(&path)?,
            Self::Zip(_, archive) => archive
                .by_name(&name.to_string_lossy())
                .map_err(std::io::Error::from)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map(|_| ())
                .map_err(|error| named(&path, &error))?,
        }
        String::from_utf8(bytes).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = sound.split(|byte| *byte == b'\n').count();
            DataError::Malformed { file: path, line, problem: Problem::Encoding }
        })
    }
}

/// A document's text and annotations; either may be missing.
struct Document {
    stem: PathBuf,
    has_text: bool,
    has_annotations: bool,
}

struct BratReader {
    store: Store,
    documents: VecDeque<Document>,
    errors: VecDeque<DataError>,
}

fn folder(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut names, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = left.pop() {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if let Ok(name) = path.strip_prefix(root) {
                names.push(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The documents, sorted by name so that every file system gives the same order.
fn documents(names: Vec<PathBuf>) -> VecDeque<Document> {
    let names: BTreeSet<PathBuf> = names.into_iter().collect();
    let is = |name: &Path, wanted: &str| name.extension().is_some_and(|extension| extension == wanted);
    let stems: BTreeSet<PathBuf> = names
        .iter()
        .filter(|name| is(name, "txt") || is(name, "ann"))
        .map(|name| name.with_extension(""))
        .collect();
    let has = |stem: &Path, extension: &str| names.contains(&stem.with_added_extension(extension));
    stems
        .into_iter()
        .map(|stem| Document { has_text: has(&stem, "txt"), has_annotations: has(&stem, "ann"), stem })
        .collect()
}

impl BratReader {
    fn document(&mut self, document: &Document, context: &mut Context<'_>) -> Result<Example, DataError> {
        let text_name = document.stem.with_added_extension("txt");
        let annotation_name = document.stem.with_added_extension("ann");
        let unpaired = |store: &Store, present: &Path, missing: &Path| DataError::Malformed {
            file: store.path(present),
            line: 1,
            problem: Problem::Unpaired(
                missing.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ),
        };
        if !document.has_text {
            return Err(unpaired(&self.store, &annotation_name, &text_name));
        }
        if !document.has_annotations {
            return Err(unpaired(&self.store, &text_name, &annotation_name));
        }
        let text = self.store.text(&text_name)?;
        let annotations = self.store.text(&annotation_name)?;
        let file = self.store.path(&annotation_name);
        let mut context = Context { dataset: context.dataset, notes: &mut *context.notes, file: &file };
        let mut entities = Vec::new();
        for (index, row) in annotations.lines().enumerate().filter(|(_, row)| row.starts_with('T')) {
            match annotation(row, &text, index + 1, &mut context) {
                Ok(entity) => entities.extend(entity),
                Err(error) => self.errors.push_back(error),
            }
        }
        entities
            .sort_by_key(|entity: &Entity| entity.span.map(|span| (span.start, std::cmp::Reverse(span.end))));
        Ok(Example::new(document.stem.to_string_lossy().into_owned(), text, entities))
    }
}

impl Reader for BratReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Some(Err(error));
            }
            let document = self.documents.pop_front()?;
            let example = self.document(&document, context);
            if self.errors.is_empty() {
                return Some(example);
            }
        }
    }
}

/// The entity of a row; `None` for a dropped label.
fn annotation(
    row: &str,
    text: &str,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Option<Entity>, DataError> {
    let Some((label, pieces, stated)) = parse(row) else {
        return Err(context.malformed(line, Problem::Standoff(row.to_owned())));
    };
    let (start, end) = (pieces[0].start, pieces.iter().map(|piece| piece.end).max().unwrap_or_default());
    let span = Span { start, end };
    let Some(found) = pieces.iter().map(|piece| piece.slice(text)).collect::<Option<Vec<&str>>>() else {
        let (start, end, length) = (start as i64, end as i64, text.chars().count());
        return Err(
            context.malformed(line, Problem::SpanOutside { start, end, label: label.to_owned(), length })
        );
    };
    if squeeze(&found.concat()) != squeeze(stated) {
        let found = found.join(" ");
        return Err(
            context.malformed(line, Problem::SpanText { start, end, found, stated: stated.to_owned() })
        );
    }
    let Some(entity_type) = context.entity_type(label, 1, line)? else { return Ok(None) };
    if pieces.len() > 1 {
        context.note(Note::Discontinuous, line);
    }
    Ok(span.slice(text).map(|_| entity(text, span, entity_type)))
}

/// Label, ranges and mention of a row.
fn parse(row: &str) -> Option<(&str, Vec<Span>, &str)> {
    let mut fields = row.splitn(3, '\t').skip(1);
    let (label, ranges) = fields.next()?.split_once(' ')?;
    let pieces = ranges.split(';').map(|range| {
        let (start, end) = range.split_once(' ')?;
        Some(Span { start: start.parse().ok()?, end: end.parse().ok()? })
    });
    Some((label, pieces.collect::<Option<Vec<Span>>>()?, fields.next()?))
}

/// Without blanks: brat writes line breaks and the gaps of discontinuous mentions as it likes.
fn squeeze(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}
