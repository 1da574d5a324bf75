//! The fastest algorithms, in a file of the user's cache. Another process does not search again
//! and, with the same algorithm, computes the same bits.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use cudarc::cublaslt::sys::{self, cublasLtMatmulAlgo_t};
use fs_err::OpenOptions;

use super::shape::Shape;
use crate::device::cache_folder;

/// The algorithms for one kind of GPU and one version of the library, keyed by the text of the
/// class of shapes.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    known: HashMap<String, cublasLtMatmulAlgo_t>,
    /// The file to write; `None` without a cache folder.
    file: Option<PathBuf>,
}

impl Remembered {
    /// Reads the algorithms for a GPU of this name; none if the file or its folder is missing.
    /// Skips incomplete lines.
    pub(super) fn read(gpu: &str) -> Self {
        // SAFETY: takes nothing and returns a number.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let version = unsafe { sys::cublasLtGetVersion() };
        let gpu: String =
            gpu.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        let file = cache_folder()
            .map(|folder| folder.join(format!("products-{gpu}-cublaslt-{version}.txt")));
        let text =
            file.as_ref().and_then(|file| fs_err::read_to_string(file).ok()).unwrap_or_default();
        let mut known = HashMap::new();
        for (shape, code) in text.lines().filter_map(parse) {
            // If several processes searched at the same time, all use the first result.
            known.entry(shape).or_insert(code);
        }
        Self { known, file }
    }

    pub(super) fn get(&self, shape: &Shape) -> Option<cublasLtMatmulAlgo_t> {
        self.known.get(&shape.class().to_string()).copied()
    }

    /// Stores the first result for the class of a shape, and returns it. Ignores a file that cannot
    /// be written.
    pub(super) fn add(
        &mut self,
        shape: &Shape,
        code: cublasLtMatmulAlgo_t,
    ) -> cublasLtMatmulAlgo_t {
        let class = shape.class().to_string();
        if let Some(first) = self.known.get(&class) {
            return *first;
        }
        self.write(&class, code);
        self.known.insert(class, code);
        code
    }

    fn write(&self, class: &str, code: cublasLtMatmulAlgo_t) {
        let Some(file) = &self.file else { return };
        let folder = file.parent().map(fs_err::create_dir_all);
        let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) else { return };
        let words: Vec<String> = code.data.iter().map(|word| format!("{word:016x}")).collect();
        // In one write, so that lines of several processes do not mix.
        let written = file.write_all(format!("{class}\t{}\n", words.join(" ")).as_bytes());
        drop((folder, written));
    }
}

fn parse(line: &str) -> Option<(String, cublasLtMatmulAlgo_t)> {
    let (shape, words) = line.split_once('\t')?;
    let words: Option<Vec<u64>> =
        words.split(' ').map(|word| u64::from_str_radix(word, 16).ok()).collect();
    Some((shape.to_owned(), cublasLtMatmulAlgo_t { data: words?.try_into().ok()? }))
}
