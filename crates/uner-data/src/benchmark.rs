//! The place of a dataset on UniversalNER's benchmarks, how its files are obtained, and the sizes
//! that the paper gives for it. `docs/benchmark.md` describes the lists.

use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A list of datasets that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum List {
    /// The Universal NER benchmark: 43 datasets, 49 with their variants (the paper's figure 9).
    #[serde(rename = "universal-43")]
    Universal43,
    /// The seven sets of the paper's table 3, in the conversion of the released files.
    #[serde(rename = "zero-shot-7")]
    ZeroShot7,
    /// The 20 sets of the supervised comparison (the paper's table 2), in InstructUIE's files.
    #[serde(rename = "instructuie-20")]
    Instructuie20,
    /// The seven sets of `zero-shot-7`, in their publishers' files.
    #[serde(rename = "out-of-domain")]
    OutOfDomain,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 4] =
        [Self::Universal43, Self::ZeroShot7, Self::Instructuie20, Self::OutOfDomain];

    /// Its name in a description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Universal43 => "universal-43",
            Self::ZeroShot7 => "zero-shot-7",
            Self::Instructuie20 => "instructuie-20",
            Self::OutOfDomain => "out-of-domain",
        }
    }
}

/// How the files of a dataset are obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anyone can download them.
    Free,
    /// After registration of an account or by e-mail to the authors.
    Registration,
    /// After an agreement on the use of the data was signed.
    Agreement,
    /// A licence is sold.
    Paid,
}

impl Access {
    /// Its name in a description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Registration => "registration",
            Self::Agreement => "agreement",
            Self::Paid => "paid",
        }
    }
}

/// The sizes in the paper's table 6. Those of the publishers' files may differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Passages for training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Passages for validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Passages of the test split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Entity types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<usize>,
    /// Why the files at hand have other sizes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Expected {
    /// Number of passages of a split, if known.
    pub fn passages(&self, split: &str) -> Option<usize> {
        match split {
            "train" => self.train,
            "validation" => self.validation,
            "test" => self.test,
            _ => None,
        }
    }
}

/// A file at the publisher's address. Nothing is downloaded unless the user asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Its address.
    pub url: String,
    /// Its place below the data root; absent for an archive that is unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// For a `.zip`, `.tar.gz` or `.tgz`: member of the archive → its place below the data root.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub members: IndexMap<String, PathBuf>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of the bytes, in lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Download {
    /// The files that the download makes, below the data root.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.path.iter().chain(self.members.values()).map(PathBuf::as_path)
    }

    /// The contradiction in this entry, if any, with advice.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { url, path, members, sha256, .. } = self;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Some(format!(
                "`url` of a download is `{url}`; it must start with `https://` or `http://`"
            ));
        }
        if path.is_some() != members.is_empty() {
            return Some(format!(
                "the download of `{url}` needs either `path`, or `members` for an archive"
            ));
        }
        let is_archive = [".zip", ".tar.gz", ".tgz"].iter().any(|end| url.ends_with(end));
        if !members.is_empty() && !is_archive {
            return Some(format!(
                "the download of `{url}` has `members`, but is not a `.zip`, `.tar.gz` or `.tgz`"
            ));
        }
        if let Some(path) = self.paths().find(|path| !is_below_root(path)) {
            return Some(format!(
                "the download of `{url}` goes to `{}`; write a path below the data root, without `..`",
                path.display()
            ));
        }
        sha256.as_ref().filter(|digest| !is_digest(digest)).map(|digest| {
            format!(
                "`sha256` of `{url}` is `{digest}`; it must have 64 lower-case hexadecimal digits"
            )
        })
    }
}

fn is_below_root(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::Dataset;

    const HEAD: &str = "name = \"x\"\n";
    const TAIL: &str = "[format]\nkind = \"jsonl\"\n[splits]\ntest = \"x/test.jsonl\"\n";

    fn parse(keys: &str) -> Result<Dataset, String> {
        let text = format!("{HEAD}{keys}{TAIL}");
        Dataset::from_toml(&text, "x").map_err(|error| error.to_string())
    }

    fn download(keys: &str) -> Result<Dataset, String> {
        parse(&format!("[[download]]\n{keys}"))
    }

    #[test]
    fn keys_of_the_benchmark_are_read_and_written() {
        let keys = "lists = [\"universal-43\", \"out-of-domain\"]\naccess = \"paid\"\n[expected]\ntest = 3\ntypes = 2\n";
        let dataset = parse(keys).unwrap();
        assert_eq!(
            dataset.lists.iter().map(|list| list.name()).collect::<Vec<_>>(),
            ["universal-43", "out-of-domain"]
        );
        assert_eq!(dataset.access.unwrap().name(), "paid");
        let expected = dataset.expected.as_ref().unwrap();
        assert_eq!((expected.passages("test"), expected.passages("train")), (Some(3), None));
        let again = toml::to_string(&dataset).unwrap();
        assert_eq!(Dataset::from_toml(&again, "again").unwrap(), dataset);
    }

    #[test]
    fn without_these_keys_nothing_is_written() {
        let text = toml::to_string(&parse("").unwrap()).unwrap();
        for key in ["lists", "access", "expected", "download"] {
            assert!(!text.contains(key), "{text}");
        }
    }

    #[test]
    fn unknown_lists_and_repeated_lists_are_refused() {
        let message = parse("lists = [\"universal-44\"]\n").unwrap_err();
        assert!(message.contains("unknown variant `universal-44`"), "{message}");
        assert!(message.contains("`universal-43`"), "{message}");
        let message = parse("lists = [\"zero-shot-7\", \"zero-shot-7\"]\n").unwrap_err();
        assert!(message.contains("`lists` has `zero-shot-7` twice"), "{message}");
    }

    #[test]
    fn downloads_are_checked() {
        let digest = "0f".repeat(32);
        let file = format!(
            "url = \"https://example.org/a\"\npath = \"x/test.jsonl\"\nbytes = 5\nsha256 = \"{digest}\"\n"
        );
        let dataset = download(&file).unwrap();
        assert_eq!(dataset.downloads[0].bytes, Some(5));
        let archive = "url = \"https://example.org/a.zip\"\nmembers = { \"in/a\" = \"x/a\", \"in/b\" = \"x/b\" }\n";
        let dataset = download(archive).unwrap();
        assert_eq!(dataset.downloads[0].paths().count(), 2);
        for (keys, expected) in [
            ("url = \"ftp://a\"\npath = \"a\"\n", "must start with `https://`"),
            ("url = \"https://a\"\n", "needs either `path`, or `members`"),
            ("url = \"https://a\"\npath = \"../a\"\n", "goes to `../a`"),
            ("url = \"https://a\"\npath = \"/a\"\n", "goes to `/a`"),
            ("url = \"https://a\"\nmembers = { a = \"b\" }\n", "is not a `.zip`"),
            ("url = \"https://a\"\npath = \"a\"\nsha256 = \"AB\"\n", "64 lower-case"),
        ] {
            let message = download(keys).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
