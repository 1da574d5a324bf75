use super::*;

#[test]
fn a_file_is_downloaded_once() {
    let body = body(300_000);
    let server = faultless(&body);
    let case = Case::new(&server, &body);
    let mut reported = Vec::new();
    let summary = case.run_until(|progress| {
        assert_eq!((progress.path.to_str(), progress.total), (Some("x/test.txt"), Some(300_000)));
        reported.push(progress.bytes);
        false
    });
    let summary = summary.unwrap();
    case.assert_complete(&body);
    assert!(reported.is_sorted() && reported.last() == Some(&300_000), "{reported:?}");
    assert!(summary.files[0].is_new && summary.files[0].is_verified);
    assert_eq!((summary.received, summary.missing.len()), (300_000, 0));
    assert_eq!(summary.files[0].path, case.path());

    let again = case.run().unwrap();
    assert!(!again.files[0].is_new && again.files[0].is_verified);
    assert_eq!((again.received, server.seen().len()), (0, 1));
}

#[test]
fn a_file_without_a_checksum_is_not_verified() {
    let server = faultless(b"text");
    let case = Case::without_checksum(&server);
    assert!(!case.run().unwrap().files[0].is_verified);
    case.assert_complete(b"text");
    assert!(!case.run().unwrap().files[0].is_verified);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_file_that_exists_is_never_changed() {
    let server = faultless(b"text");
    let case = Case::new(&server, b"text");
    for (there, expected) in [("user", digest(b"user")), ("longer", "`6` bytes".to_owned())] {
        write(&case.path(), there.as_bytes());
        let message = case.message();
        assert!(message.contains(&expected) && message.contains("move it away"), "{message}");
        assert_eq!(fs_err::read_to_string(case.path()).unwrap(), there);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_file_that_comes_meanwhile_is_not_changed() {
    let body = body(200_000);
    let case = Case::new(&faultless(&body), &body);
    let path = case.path();
    let error = case.run_until(|_| {
        fs_err::write(&path, "user").unwrap();
        false
    });
    assert!(matches!(error, Err(DownloadError::Different { .. })), "{error:?}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "user");
}

#[test]
fn splits_without_an_address_are_missing() {
    let mut case = Case::new(&faultless(b"text"), b"text");
    let file = uner_data::dataset::Files::One("x/train.txt".into());
    case.dataset.splits.insert("train".to_owned(), file);
    assert_eq!(case.run().unwrap().missing, [case.root.path().join("x/train.txt")]);
}

#[test]
fn files_of_a_users_description_are_beside_it() {
    let mut case = Case::new(&faultless(b"text"), b"text");
    let folder = tempfile::tempdir().unwrap();
    case.dataset.folder = Some(folder.path().to_owned());
    let summary = case.run().unwrap();
    assert_eq!(summary.files[0].path, folder.path().join("x/test.txt"));
    assert!(summary.missing.is_empty() && !case.path().exists());
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let server = faultless(b"test");
    let case = Case::new(&server, b"text");
    let message = case.message();
    for expected in [digest(b"text"), digest(b"test"), server.url("test.txt")] {
        assert!(message.contains(&expected), "{message}");
    }
    assert!(!case.part().exists() && !case.path().exists());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_wrong_size_leaves_nothing_and_is_not_read() {
    let body = body(1 << 20);
    let server = faultless(&body);
    let case = Case::new(&server, b"text");
    let message = case.message();
    assert!(message.contains("has `1048576` bytes") && message.contains("says `4`"), "{message}");
    assert!(!case.part().exists() && !case.path().exists());
}

#[test]
fn a_body_of_unknown_length_is_limited() {
    let chunked = |body: &'static str| {
        Server::start(move |_, _| {
            Reply::whole(body.as_bytes()).header("Transfer-Encoding", "chunked")
        })
    };
    let server = chunked("4\r\ntext\r\n0\r\n\r\n");
    let case = Case::new(&server, b"text");
    case.run().unwrap();
    case.assert_complete(b"text");
    let server = chunked("8\r\ntexttext\r\n0\r\n\r\n");
    let case = Case::new(&server, b"text");
    assert!(case.message().contains("has more bytes"), "{}", case.message());
    assert!(!case.part().exists());
}

#[test]
fn redirects_are_followed_to_a_limit() {
    let server = Server::start(|_, seen| match seen.path.as_str() {
        "/test.txt" => Reply::new(302, b"").header("Location", "/moved/test.txt"),
        "/moved/test.txt" => Reply::file(seen, b"text", "\"1\""),
        path => Reply::new(301, b"").header("Location", path),
    });
    let mut case = Case::new(&server, b"text");
    case.run().unwrap();
    case.assert_complete(b"text");
    case.dataset.downloads[0].url = server.url("circle");
    case.dataset.downloads[0].path = Some("x/other.txt".into());
    assert!(case.message().contains("redirects more than `5` times"), "{}", case.message());
}

#[test]
fn a_missing_file_names_its_source() {
    for (status, expected) in [(404, "not there any more"), (403, "refuses access"), (400, "`400`")]
    {
        let server = Server::start(move |_, _| Reply::new(status, b"page"));
        let case = Case::new(&server, b"text");
        let message = case.message();
        for expected in [expected, "https://example.org/paper", "test.txt, as x/"] {
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(server.seen().len(), 1);
        assert!(!case.part().exists());
    }
}

#[test]
fn two_downloads_do_not_write_one_file() {
    let body = body(200_000);
    let text = body.clone();
    let server = Server::start(move |_, seen| Reply::file(seen, &text, "\"1\""));
    let case = Case::new(&server, &body);
    let mut other = None;
    case.run_until(|_| {
        other.get_or_insert_with(|| case.message());
        false
    })
    .unwrap();
    let message = other.unwrap();
    assert!(message.contains("in use by another download"), "{message}");
    case.assert_complete(&body);
    assert_eq!(server.seen().len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let case = Case::new(&faultless(b"text"), b"text");
    fs_err::create_dir_all(case.path().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", case.part()).unwrap();
    let message = case.message();
    assert!(message.contains("no space left") && message.contains("test.txt.part"), "{message}");
    assert!(!case.path().exists());
}
