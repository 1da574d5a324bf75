//! `uner data download` from a server on this machine.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;

use sha2::{Digest, Sha256};

use crate::Desk;

const CONTENT: &str = "Ada\tB-PER\nran\tO\n\n";

/// A server with one file, `/train.tsv`. Returns its address.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = head.next().unwrap().unwrap();
            head.find(|line| line.as_ref().unwrap().is_empty());
            let (status, body) = if first.starts_with("GET /train.tsv ") {
                ("200 OK", CONTENT)
            } else {
                ("404 Not Found", "")
            };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    address
}

fn describe(desk: &Desk, name: &str, url: &str) {
    let mut sum = String::new();
    for byte in Sha256::digest(CONTENT) {
        write!(sum, "{byte:02x}").unwrap();
    }
    desk.write(
        &format!("{name}.toml"),
        &format!(
            "name = \"{name}\"\ndomain = \"general\"\nsource = \"made up\"\n\
             licence = \"CC BY 4.0\"\naccess = \"free\"\nobtain = \"ask its author\"\n\
             [types]\nPER = \"person\"\n\
             [format]\nkind = \"columns\"\nseparator = \"\\t\"\ntoken = 0\ntags = [1]\n\
             scheme = \"bio\"\n\
             [splits]\ntrain = \"{name}/train.tsv\"\ntest = \"{name}/test.tsv\"\n\
             [[download]]\nurl = \"{url}\"\npath = \"{name}/train.tsv\"\nbytes = {}\n\
             sha256 = \"{sum}\"\n",
            CONTENT.len()
        ),
    );
}

#[test]
fn a_dataset_is_downloaded_once_its_licence_is_accepted() {
    let desk = Desk::new();
    let address = server();
    describe(&desk, "people", &format!("{address}/train.tsv"));
    describe(&desk, "nobody", &format!("{address}/gone.tsv"));
    let download = |args: &[&str]| desk.uner(&[&["data", "download"], args].concat());

    download(&["people.toml"]).fails(1, &["CC BY 4.0", "--accept-licence"]);
    assert!(!desk.path("people").exists());
    let first = download(&["people.toml", "--accept-licence"]);
    assert!(first.succeeds().stdout.contains("train.tsv: downloaded\n"), "{}", first.stdout);
    assert!(first.stdout.contains("test.tsv: missing; ask its author"), "{}", first.stdout);
    assert_eq!(desk.read("people/train.tsv"), CONTENT);
    let again = download(&["people.toml", "--accept-licence"]);
    assert!(again.succeeds().stdout.contains("train.tsv: exists\n"), "{}", again.stdout);
    desk.uner(&["data", "stats", "people.toml"]).succeeds();

    download(&["nobody.toml", "--accept-licence"]).fails(1, &["404", "gone.tsv"]);
    // One that fails does not end the others.
    fs_err::remove_dir_all(desk.path("people")).unwrap();
    download(&["nobody.toml", "people.toml", "--accept-licence"])
        .fails(1, &["1 of 2 datasets were not downloaded"]);
    assert_eq!(desk.read("people/train.tsv"), CONTENT);
    download(&["ace05", "--accept-licence"]).fails(1, &["LDC"]);
}
