use super::*;

#[test]
fn nothing_is_requested_before_the_licence_is_accepted() {
    let server = faultless(b"text");
    let mut case = Case::new(&server, b"text");
    case.options.licence_accepted = false;
    let message = case.message();
    for expected in
        ["`MIT`", "https://example.org/paper", "`--accept-licence`", "`1` files (`4` bytes)"]
    {
        assert!(message.contains(expected), "{message}");
    }
    assert!(server.seen().is_empty());
    assert!(!Options::default().licence_accepted);
}

#[test]
fn a_dataset_that_is_not_free_says_how_to_get_it() {
    let server = faultless(b"text");
    let mut case = Case::new(&server, b"text");
    for access in [Access::Registration, Access::Agreement, Access::Paid] {
        case.dataset.access = Some(access);
        let message = case.message();
        for expected in [access.name(), "`MIT`", "test.txt, as x/", "https://example.org/paper"] {
            assert!(message.contains(expected), "{message}");
        }
    }
    assert!(server.seen().is_empty());
    case.dataset.access = None;
    case.run().unwrap();
}

#[test]
fn a_dataset_without_addresses_says_how_to_get_it() {
    let mut case = Case::new(&faultless(b""), b"");
    case.dataset.downloads.clear();
    let message = case.message();
    for expected in ["no `[[download]]`", "`MIT`", "test.txt, as x/", "https://example.org/paper"] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_path_outside_the_root_is_refused() {
    let mut case = Case::new(&faultless(b""), b"");
    case.dataset.downloads[0].path = Some("../test.txt".into());
    assert!(case.message().contains("goes to `../test.txt`"), "{}", case.message());
}

/// The shipped descriptions can be downloaded or say why not.
#[test]
fn every_shipped_description_has_an_answer() {
    let root = tempfile::tempdir().unwrap();
    let (mut free, mut others) = (0, 0);
    for name in uner_data::registry::names() {
        let dataset = uner_data::DatasetRef::Name(name.to_owned()).resolve().unwrap();
        let mut on_progress = |_: &Progress<'_>| ControlFlow::Continue(());
        let error =
            download(&dataset, root.path(), &Options::default(), &mut on_progress).unwrap_err();
        match error {
            DownloadError::LicenceNotAccepted { files, .. } => {
                assert!(files > 0);
                free += 1;
            }
            DownloadError::NotFree { .. } | DownloadError::NoAddress { .. } => others += 1,
            error => panic!("{name}: {error}"),
        }
    }
    assert!(free >= 36 && others > 0, "{free} {others}");
}
