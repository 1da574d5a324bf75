//! The book has every page of `docs`, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use super::assert_tidy;
use crate::shared::repository;

/// Pages that the summary lacks, and links of it that are no pages.
fn problems(summary: &str, pages: &BTreeSet<String>) -> Vec<String> {
    let links = summary.lines().filter_map(|line| line.rsplit_once("](")?.1.strip_suffix(')'));
    let listed: BTreeSet<String> = links.map(str::to_owned).collect();
    let missing = pages.difference(&listed).map(|page| format!("`docs/{page}` is not in the book"));
    let wrong = listed.difference(pages).map(|page| format!("the book has no page `docs/{page}`"));
    missing.chain(wrong).collect()
}

#[test]
fn the_book_has_every_page() {
    let docs = repository().join("docs");
    let summary = fs_err::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let pages = ["", "book/"].into_iter().flat_map(|folder| {
        let entries = fs_err::read_dir(docs.join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"))
            .map(move |name| format!("{folder}{name}"))
    });
    let pages = pages.filter(|name| name != "SUMMARY.md").collect();
    assert_tidy(&problems(&summary, &pages));
}

#[test]
fn missing_and_wrong_pages_are_found() {
    let pages = ["a.md", "b.md"].map(str::to_owned).into();
    let found = problems("# Summary\n\n- [A](a.md)\n- [C](c.md)\n", &pages);
    assert_eq!(found, ["`docs/b.md` is not in the book", "the book has no page `docs/c.md`"]);
}
