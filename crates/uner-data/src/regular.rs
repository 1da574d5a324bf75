//! Opens regular files only. A pipe waits for its writer, and a device may never end.

use std::io;
use std::path::Path;

/// Opens a regular file, but not a pipe, device or folder.
///
/// # Errors
/// If it is not a regular file, is missing, or cannot be read.
pub fn open(path: &Path) -> io::Result<fs_err::File> {
    check(path)?;
    fs_err::File::open(path)
}

/// Reads the bytes of a regular file.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    check(path)?;
    fs_err::read(path)
}

/// Reads the text of a regular file in UTF-8.
///
/// # Errors
/// As [`open`], and if it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    check(path)?;
    fs_err::read_to_string(path)
}

/// Refuses everything but regular files. A missing file passes: opening it gives the error.
fn check(path: &Path) -> io::Result<()> {
    match fs_err::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{}` is not a regular file", path.display()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_an_end_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs_err::write(&file, "text").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "text");
        assert_eq!(read(&file).unwrap(), b"text");
        assert!(open(&file).is_ok());
        for other in
            [folder.path(), Path::new("/dev/zero")].into_iter().filter(|path| path.exists())
        {
            let message = read(other).unwrap_err().to_string();
            assert!(message.contains("is not a regular file"), "{message}");
            assert!(open(other).is_err() && read_to_string(other).is_err());
        }
        assert_eq!(read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
