//! Documents without keys: lines, whole files, and the files of a folder.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Document, DocumentFormat, Documents, decoded, malformed, open};
use crate::{
    DataError, Problem, folder as listing,
    lines::{Input, Lines, MOST_BYTES, named},
};

/// A document for each line that is not blank.
pub(super) fn lines(
    input: Input,
    file: Arc<Path>,
) -> impl Iterator<Item = Result<Document, DataError>> + Send {
    filled_lines(input, Arc::clone(&file)).map(move |line| {
        let (number, text) = line?;
        let file = Arc::clone(&file);
        Ok(Document { id: number.to_string(), text, types: None, subset: None, file, line: number })
    })
}

/// The lines that are not blank, with their numbers from 1.
pub(super) fn filled_lines(
    input: Input,
    file: Arc<Path>,
) -> impl Iterator<Item = Result<(usize, String), DataError>> + Send {
    let mut lines = Lines::new(input);
    let all =
        std::iter::from_fn(move || {
            Some(lines.next_bytes(&file)?.and_then(|line| {
                Ok((line.number, decoded(line.bytes.to_vec(), &file, line.number)?))
            }))
        });
    all.filter(|line| !line.as_ref().is_ok_and(|(_, text)| text.trim().is_empty()))
}

/// The whole input as one document.
pub(super) fn whole(input: Input, file: Arc<Path>, id: String) -> Result<Document, DataError> {
    let mut bytes = Vec::new();
    input.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| named(&file, &error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(malformed(&file, 1, Problem::Long { what: "document" }));
    }
    let text = decoded(bytes, &file, 1)?;
    Ok(Document { id, text, types: None, subset: None, file, line: 1 })
}

/// The texts of a folder. A file is opened when its turn comes.
pub(super) fn folder(root: &Path) -> Result<Documents, DataError> {
    let names = texts_of(root)?;
    if names.is_empty() {
        return Err(DataError::Unusable {
            path: root.to_owned(),
            message: "the folder has no `.txt` files; name a file instead, or give each text a file with this ending"
                .to_owned(),
        });
    }
    let root = root.to_owned();
    Ok(Box::new(names.into_iter().map(move |name| {
        let path = root.join(&name);
        whole(open(&path)?, Arc::from(path), path_id(&name))
    })))
}

/// The id of a file in a folder: its path, with `/` on every system.
fn path_id(name: &Path) -> String {
    let parts: Vec<_> =
        name.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}

/// The files of a folder whose name ends in `.txt`, `.txt.gz` or `.txt.zst`, sorted.
pub(super) fn texts_of(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut names = listing::files(root)?;
    names.retain(|name| DocumentFormat::of_file(name) == Some(DocumentFormat::Text));
    names.sort();
    Ok(names)
}
