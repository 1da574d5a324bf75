use std::io::{Cursor, Write as _};

use uner_download::Phase;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A dataset whose files are the members `in/test` and `in/train` of an archive.
fn case(server: &Server, archive: &[u8]) -> Case {
    let mut case = Case::new(server, archive);
    let entry = &mut case.dataset.downloads[0];
    entry.url = server.url("all.zip");
    entry.path = None;
    let members = [("in/test", "x/test.txt"), ("in/train", "x/train.txt")];
    entry.members = members.map(|(name, path)| (name.to_owned(), path.into())).into();
    case
}

/// The names of the files in the dataset's folder, sorted.
fn names(case: &Case) -> Vec<String> {
    let entries = fs_err::read_dir(case.root.path().join("x")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn members_become_files_and_the_archive_goes() {
    let large = body(300_000);
    let archive = zipped(&[("in/test", b"text"), ("in/train", &large), ("../other", b"evil")]);
    let server = faultless(&archive);
    let case = case(&server, &archive);
    let summary = case.run().unwrap();
    assert_eq!(names(&case), ["test.txt", "train.txt"]);
    assert_eq!(fs_err::read_to_string(case.path()).unwrap(), "text");
    assert!(fs_err::read(case.root.path().join("x/train.txt")).unwrap() == large);
    assert!(summary.files.iter().all(|file| file.is_new && file.is_verified));
    case.run().unwrap();
    assert_eq!(server.seen().len(), 1);
    // Only the missing member is written again.
    fs_err::write(case.path(), "user").unwrap();
    fs_err::remove_file(case.root.path().join("x/train.txt")).unwrap();
    let summary = case.run().unwrap();
    let states = summary.files.iter().map(|file| (file.is_new, file.is_verified));
    assert_eq!(states.collect::<Vec<_>>(), [(false, false), (true, true)]);
    assert_eq!(fs_err::read_to_string(case.path()).unwrap(), "user");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_stopped_unpacking_needs_no_second_download() {
    let archive = zipped(&[("in/test", b"text"), ("in/train", b"more")]);
    let server = faultless(&archive);
    let case = case(&server, &archive);
    let stopped = case.run_until(|progress| {
        matches!(progress.phase, Phase::Unpacking) && progress.path.ends_with("train.txt")
    });
    assert!(matches!(stopped, Err(DownloadError::Cancelled)), "{stopped:?}");
    assert_eq!(names(&case), ["all.zip.part", "test.txt"]);
    case.run().unwrap();
    assert_eq!(names(&case), ["test.txt", "train.txt"]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_member_that_leaves_the_folder_is_refused() {
    let archive = zipped(&[("../../evil", b"evil")]);
    let server = faultless(&archive);
    let mut case = case(&server, &archive);
    case.dataset.downloads[0].members =
        [("../../evil".to_owned(), "x/test.txt".into())].into_iter().collect();
    let message = case.message();
    assert!(message.contains("leaves the archive's folder"), "{message}");
    assert!(message.contains(&server.url("all.zip")), "{message}");
    assert!(names(&case).is_empty());
}

#[test]
fn a_missing_member_is_an_error() {
    let archive = zipped(&[("in/test", b"text")]);
    let case = case(&faultless(&archive), &archive);
    let message = case.message();
    assert!(message.contains("its member `in/train` does not exist"), "{message}");
    assert_eq!(names(&case), ["test.txt"]);
}
