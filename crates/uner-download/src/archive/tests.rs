use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.add_directory("folder", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn tarred(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        // `set_path` refuses `..`, and hostile archives do not.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "link", "/etc/passwd").unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

struct Unpacked {
    folder: TempDir,
    result: Result<(), DownloadError>,
}

impl Unpacked {
    fn message(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }

    /// The files in the folder, sorted, without the archive.
    fn files(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "archive").collect();
        names.sort();
        names
    }
}

/// Unpacks `names` to files `0`, `1`, …
fn unpack(url: &str, archive: &[u8], names: &[&str], allowance: u64) -> Unpacked {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs_err::write(&path, archive).unwrap();
    let members = names.iter().enumerate();
    let members = members
        .map(|(index, name)| Member { name, target: folder.path().join(index.to_string()) })
        .collect::<Vec<_>>();
    let mut on_bytes = |_: &Path, _| Ok(());
    let mut unpack = Unpack { url, allowance, on_bytes: &mut on_bytes };
    let result = unpack.run(fs_err::File::open(path).unwrap(), &members);
    Unpacked { folder, result }
}

const MEMBERS: [(&str, &[u8]); 3] = [("a/train", b"one"), ("a/test", b"two"), ("other", b"three")];

/// Both kinds of archives, with addresses.
fn archives(members: &[(&str, &[u8])]) -> [(&'static str, Vec<u8>); 2] {
    [("http://x/a.zip", zipped(members)), ("http://x/a.tar.gz", tarred(members))]
}

#[test]
fn only_named_members_are_written() {
    for (url, archive) in archives(&MEMBERS) {
        let unpacked = unpack(url, &archive, &["a/test", "a/train"], 6);
        unpacked.result.as_ref().unwrap();
        assert_eq!(unpacked.files(), ["0", "1"], "{url}");
        assert_eq!(fs_err::read(unpacked.folder.path().join("0")).unwrap(), b"two");
        assert_eq!(fs_err::read(unpacked.folder.path().join("1")).unwrap(), b"one");
    }
}

#[test]
fn names_of_tar_may_begin_with_a_dot() {
    let archive = tarred(&[("./a/train", b"one")]);
    unpack("http://x/a.tgz", &archive, &["a/train"], 6).result.unwrap();
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil"] {
        for (url, archive) in archives(&[(name, b"evil")]) {
            let unpacked = unpack(url, &archive, &[name], 100);
            assert!(unpacked.message().contains("leaves the archive's folder"), "{url} {name}");
            assert!(unpacked.files().is_empty());
            assert!(!unpacked.folder.path().parent().unwrap().join("evil").exists());
        }
    }
}

#[test]
fn links_missing_members_and_large_ones_are_refused() {
    for (url, archive) in archives(&MEMBERS) {
        for (names, allowance, expected) in [
            (["link"].as_slice(), 100, "`link` is a link or a folder"),
            (&["a/train", "a/absent"], 100, "`a/absent` does not exist"),
            (&["a/train", "other"], 7, "`other` is too large"),
        ] {
            let unpacked = unpack(url, &archive, names, allowance);
            assert!(unpacked.message().contains(expected), "{}", unpacked.message());
            let complete = usize::from(names.len() == 2);
            assert_eq!(unpacked.files().len(), complete, "{url} {:?}", unpacked.files());
        }
    }
    let folder = unpack("http://x/a.zip", &zipped(&MEMBERS), &["folder/"], 100);
    assert!(folder.message().contains("is a link or a folder"), "{}", folder.message());
}

#[test]
fn damaged_archives_are_errors() {
    for (url, mut archive) in archives(&MEMBERS) {
        archive.truncate(archive.len() / 2);
        let unpacked = unpack(url, &archive, &["other"], 100);
        assert!(matches!(unpacked.result, Err(DownloadError::Archive { .. })), "{url}");
        assert!(unpacked.files().is_empty());
    }
}

#[test]
fn the_allowance_grows_with_the_archive() {
    let mut on_bytes = |_: &Path, _| Ok(());
    assert_eq!(Unpack::new("", 5, &mut on_bytes).allowance, 64 << 20);
    assert_eq!(Unpack::new("", 1 << 30, &mut on_bytes).allowance, 100 << 30);
}
