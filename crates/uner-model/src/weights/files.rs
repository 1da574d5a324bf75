//! Files of a model folder: checks which may be read, and writes safetensors.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use safetensors::tensor::{View, serialize_to_file};

use super::WeightsError;

/// Returns the path of a file that a model folder names. The file must lie in the folder, also
/// after links are followed. A folder of the hub's cache (`models--org--name/snapshots/…`) may link
/// to files of the same repository. A missing file is not an error here: opening it reports it.
///
/// # Errors
/// [`WeightsError::Outside`].
pub fn inside(folder: &Path, name: &str) -> Result<PathBuf, WeightsError> {
    let path = folder.join(name);
    let outside = || WeightsError::Outside { folder: folder.to_owned(), name: name.to_owned() };
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(outside());
    }
    let (Ok(root), Ok(found)) = (folder.canonicalize(), path.canonicalize()) else {
        return Ok(path);
    };
    let in_cache =
        root.parent().filter(|parent| parent.ends_with("snapshots")).and_then(Path::parent);
    if found.starts_with(in_cache.unwrap_or(&root)) { Ok(path) } else { Err(outside()) }
}

/// Opens a regular file: reading a pipe could wait for ever, and a device may have no end.
///
/// # Errors
/// When it is not a regular file, or cannot be opened.
pub fn open_regular(path: &Path) -> std::io::Result<fs_err::File> {
    match fs_err::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(std::io::Error::other(format!("`{}` is not a regular file", path.display())))
        }
        _ => fs_err::File::open(path),
    }
}

/// Writes a safetensors file with the permissions of the user's umask. The library's own writer
/// creates a file that only its owner may read.
///
/// # Errors
/// When the file cannot be written.
pub fn write_safetensors<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    metadata: impl IntoIterator<Item = (String, String)>,
    path: &Path,
) -> std::io::Result<()> {
    let rights = fs_err::File::create(path)?.metadata()?.permissions();
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
    serialize_to_file(tensors, metadata, path).map_err(|error| {
        std::io::Error::other(format!("failed to write `{}`: {error}", path.display()))
    })?;
    fs_err::set_permissions(path, rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_folder_are_inside_and_others_are_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        fs_err::create_dir_all(folder.join("part")).unwrap();
        for name in ["a", "part/b", "missing"] {
            if name != "missing" {
                fs_err::write(folder.join(name), "").unwrap();
            }
            assert_eq!(inside(&folder, name).unwrap(), folder.join(name));
        }
        fs_err::write(root.path().join("secret"), "").unwrap();
        let absolute = root.path().join("secret").to_string_lossy().into_owned();
        for name in ["../secret", "part/../../secret", "./a", &absolute] {
            let message = inside(&folder, name).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
            assert!(inside(&folder, "link").is_err());
            // The layout of the hub's cache.
            let (snapshot, blobs) = (
                root.path().join("models--o--n/snapshots/1"),
                root.path().join("models--o--n/blobs"),
            );
            fs_err::create_dir_all(&snapshot).unwrap();
            fs_err::create_dir_all(&blobs).unwrap();
            fs_err::write(blobs.join("x"), "").unwrap();
            std::os::unix::fs::symlink("../../blobs/x", snapshot.join("w")).unwrap();
            assert!(inside(&snapshot, "w").is_ok());
            std::os::unix::fs::symlink("../../../secret", snapshot.join("s")).unwrap();
            assert!(inside(&snapshot, "s").is_err());
        }
    }

    #[cfg(unix)]
    #[test]
    fn weights_have_the_rights_of_other_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("w.safetensors"), folder.path().join("other"));
        let none: [(&str, safetensors::tensor::TensorView); 0] = [];
        write_safetensors(none, [], &ours).unwrap();
        fs_err::write(&other, "").unwrap();
        let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&other));
    }
}
