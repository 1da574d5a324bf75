//! Folders to search for NVIDIA's libraries when the loader does not find them.

use std::path::PathBuf;

use cubecl::cuda::install::cuda_path;

/// The folders that may have a library.
pub(super) struct LibraryFolders {
    /// Below the toolkit.
    pub(super) in_toolkit: &'static [&'static str],
    /// Below the folder of Python packages.
    pub(super) in_packages: &'static [&'static str],
}

impl LibraryFolders {
    /// The folders of the toolkit, then those of the packages of the shell's `python3`.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let toolkit = cuda_path().into_iter().flat_map(|root| below(root, self.in_toolkit));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let python = std::env::split_paths(&path).find(|folder| folder.join("python3").is_file());
        let lib = python.and_then(|bin| Some(bin.parent()?.join("lib")));
        let entries =
            lib.and_then(|lib| fs_err::read_dir(lib).ok()).into_iter().flatten().flatten();
        let pythons = entries
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains("/lib/python3"));
        let packages = pythons
            .flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.join(name)));
        toolkit.chain(packages.flat_map(|folder| below(folder, self.in_packages))).collect()
    }
}

fn below(root: PathBuf, folders: &'static [&'static str]) -> impl Iterator<Item = PathBuf> {
    folders.iter().map(move |folder| root.join(folder))
}
