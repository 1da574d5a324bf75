use super::*;
use crate::shared::shared;

fn own(splits: &str) -> Dataset {
    let text = format!("name = \"own\"\n[format]\nkind = \"jsonl\"\n[splits]\n{splits}");
    Dataset::from_toml(&text, "own").unwrap()
}

#[test]
fn presence_and_sizes_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let dataset = own("train = [\"a\", \"b\"]\ntest = \"a\"\n");
    let of = || status(&dataset, root).unwrap();
    assert_eq!(of().presence(), Presence::Missing);
    assert_eq!(of().missing(), [root.join("a"), root.join("b")]);
    assert_eq!(of().bytes(), 0);
    fs_err::write(root.join("a"), "12345").unwrap();
    let partial = of();
    assert_eq!(partial.presence(), Presence::Partial);
    assert_eq!(partial.missing(), [root.join("b")]);
    assert_eq!(partial.bytes(), 5);
    assert!(!partial.splits[0].is_present() && partial.splits[1].is_present());
    fs_err::write(root.join("b"), "").unwrap();
    assert_eq!(of().presence(), Presence::Present);
}

#[test]
fn folders_and_zip_files_have_one_size() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs_err::create_dir_all(root.join("docs/deep")).unwrap();
    fs_err::write(root.join("docs/a.txt"), "123").unwrap();
    fs_err::write(root.join("docs/deep/a.ann"), "45").unwrap();
    fs_err::write(root.join("all.zip"), "1234567").unwrap();
    let found =
        status(&own("train = \"all.zip/Train\"\ntest = \"all.zip/Test\"\ndev = \"docs\"\n"), root)
            .unwrap();
    assert_eq!(found.bytes(), 7 + 5);
    assert_eq!(found.presence(), Presence::Present);
}

#[test]
fn a_generated_corpus_is_present() {
    let found = status(&find("demo").unwrap(), Path::new("nowhere")).unwrap();
    assert_eq!((found.presence(), found.bytes()), (Presence::Present, 0));
}

#[test]
fn unknown_lists_are_named() {
    let message = in_list("universal").unwrap_err().to_string();
    assert!(message.contains("did you mean `universal-43`?"), "{message}");
    assert!(message.contains("`instructuie-20`"), "{message}");
}

#[test]
fn lists_have_as_many_datasets_as_the_paper() {
    for (list, number) in
        [("universal-43", 49), ("zero-shot-7", 7), ("instructuie-20", 20), ("out-of-domain", 7)]
    {
        assert_eq!(in_list(list).unwrap().len(), number, "{list}");
    }
}

/// The nine domains of the paper's benchmark.
const DOMAINS: [&str; 9] = [
    "general",
    "biomedicine",
    "clinics",
    "STEM",
    "programming",
    "social media",
    "law",
    "finance",
    "transportation",
];

#[test]
fn members_of_the_benchmark_say_all_that_the_paper_says() {
    for dataset in in_list("universal-43").unwrap() {
        let name = &dataset.name;
        assert!(DOMAINS.contains(&dataset.domain.as_str()), "{name}: {}", dataset.domain);
        assert!(dataset.access.is_some(), "{name}");
        let expected = dataset.expected.as_ref().unwrap();
        let counts = [expected.train, expected.validation, expected.test, expected.types];
        assert!(counts.iter().all(Option::is_some), "{name}");
        let types = dataset.entity_types().len();
        assert!(
            Some(types) == expected.types || !expected.note.is_empty(),
            "{name}: {types} types, and no note says why"
        );
    }
}

#[test]
fn downloads_are_files_of_a_split() {
    for name in names() {
        let dataset = find(name).unwrap();
        let files: Vec<_> = dataset
            .splits
            .keys()
            .flat_map(|split| dataset.files(split, Path::new("")).unwrap())
            .collect();
        for path in dataset.downloads.iter().flat_map(crate::Download::paths) {
            assert!(files.iter().any(|file| file.starts_with(path)), "{name}: {}", path.display());
        }
        assert!(
            dataset.downloads.is_empty() || dataset.access == Some(crate::Access::Free),
            "{name}: only free files have a download"
        );
    }
}

/// The checksums are those of published files at hand.
#[test]
fn downloads_are_the_files_at_hand() {
    let Some(root) = shared("data") else { return };
    let mut compared = 0;
    for name in names() {
        for download in find(name).unwrap().downloads {
            let (Some(path), Some(digest)) = (&download.path, &download.sha256) else { continue };
            let bytes = fs_err::read(root.join(path)).unwrap();
            assert_eq!(Some(bytes.len() as u64), download.bytes, "{name}: {}", path.display());
            assert_eq!(crate::shared::sha256(&bytes), *digest, "{name}: {}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 50, "only {compared} files have a checksum");
}

#[test]
fn published_files_are_present() {
    let Some(root) = shared("data") else { return };
    let presence = |name: &str| status(&find(name).unwrap(), &root).unwrap().presence();
    assert_eq!(presence("crossner-ai"), Presence::Present);
    assert_eq!(presence("ddi"), Presence::Present);
    assert_eq!(presence("ace05"), Presence::Missing);
}

#[test]
fn the_page_of_the_benchmark_has_every_label_and_type() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmark.md");
    let page = fs_err::read_to_string(page).unwrap();
    for dataset in in_list("universal-43").unwrap() {
        let name = &dataset.name;
        let heading = format!("### `{name}`\n");
        let section = page.split_once(&heading).unwrap_or_else(|| panic!("{name}")).1;
        let section = section.split("### ").next().unwrap();
        let Some(crate::dataset::Types::Named(types)) = &dataset.types else { panic!("{name}") };
        let labels = types.keys().chain(&dataset.drop);
        let lacking = labels.filter(|label| !section.contains(&format!("`{label}`")));
        assert_eq!(lacking.collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        let lacking = types.values().filter(|name| !section.contains(&format!("| {name} |")));
        assert_eq!(lacking.collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
    }
}
