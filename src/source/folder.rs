//! Folders of photos: `DIR/<label>/<file>`, and plain lists of files.
//!
//! Owns: finding files in a fixed order and reading them within bounds. Invariant: the order is by label, then by file name in
//! bytes, whatever the file system gives.

use super::SourceError;
use crate::label;
use crate::preprocess::MAX_ENCODED_BYTES;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file of a folder-per-class tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    pub label: String,
    pub path: PathBuf,
}

/// Something in the tree that is not a sample, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    pub path: PathBuf,
    pub reason: String,
}

/// What a folder-per-class tree holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    pub files: Vec<Labelled>,
    pub skipped: Vec<Skipped>,
}

/// Lists `DIR/<label>/<file>`. Hidden files are passed over; anything else that cannot be a sample is named in `skipped`.
///
/// # Errors
/// The folder is missing, unreadable, holds nothing in a class folder, or files and no class folder.
pub fn scan(dir: &Path) -> Result<Tree, SourceError> {
    let mut tree = Tree::default();
    let classes = entries(dir).map_err(|e| not_a_folder(dir, e))?;
    if !classes.is_empty() && !classes.iter().any(|class| class.is_dir()) {
        return Err(SourceError::NotAFolder { path: dir.into() });
    }
    for class in classes {
        if !class.is_dir() {
            tree.skip(&class, "it stands outside the class folders");
            continue;
        }
        match class_label(&class) {
            Ok(label) => tree.scan_class(&class, &label),
            Err(reason) => tree.skip(&class, &reason),
        }
    }
    if tree.files.is_empty() && tree.skipped.is_empty() {
        return Err(SourceError::Empty { path: dir.into() });
    }
    Ok(tree)
}

impl Tree {
    /// Where its files are, in their order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    fn scan_class(&mut self, class: &Path, label: &str) {
        match entries(class) {
            Ok(files) => {
                for path in files {
                    if path.is_dir() {
                        let class = class.display();
                        let reason = format!(
                            "it is a folder inside a class folder; if {class} holds the classes, name that"
                        );
                        self.skip(&path, &reason);
                    } else {
                        self.files.push(Labelled {
                            label: label.to_owned(),
                            path,
                        });
                    }
                }
            }
            Err(e) => self.skip(class, &e.to_string()),
        }
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        self.skipped.push(Skipped {
            path: path.into(),
            reason: reason.into(),
        });
    }
}

fn class_label(class: &Path) -> Result<String, String> {
    let name = class
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("the folder's name is not UTF-8 text and cannot be a label; rename it")?;
    label::check(name).map_err(|e| e.to_string())?;
    Ok(name.to_owned())
}

/// The entries of a folder that are not hidden, sorted by their bytes.
fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt;
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"."));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn not_a_folder(dir: &Path, error: std::io::Error) -> SourceError {
    if error.kind() == std::io::ErrorKind::NotADirectory {
        return SourceError::NotAFolder { path: dir.into() };
    }
    SourceError::Read {
        path: dir.into(),
        source: error,
    }
}

/// Reads a whole file, refusing one that is larger than any photo.
pub fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    read_up_to(MAX_ENCODED_BYTES as u64, path)
}

/// Reads a whole file, refusing one of more than `limit` bytes.
pub fn read_up_to(limit: u64, path: &Path) -> Result<Vec<u8>, SourceError> {
    let io = |source| SourceError::Read {
        path: path.into(),
        source,
    };
    // Before it is opened: opening a pipe waits for its writer, and opening a device may do anything.
    let about = fs::metadata(path).map_err(io)?;
    if about.is_dir() {
        return Err(io(std::io::Error::other("it is a folder")));
    }
    if !about.is_file() {
        return Err(SourceError::NotAFile { path: path.into() });
    }
    let file = fs::File::open(path).map_err(io)?;
    let too_large = |bytes| SourceError::TooLarge {
        path: path.into(),
        bytes,
        limit,
    };
    if about.len() > limit {
        return Err(too_large(about.len()));
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// The files of a folder in order of their names, or the one file that `path` is.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    match entries(path) {
        Ok(paths) => Ok(paths.into_iter().filter(|p| !p.is_dir()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => Ok(vec![path.to_path_buf()]),
        Err(source) => Err(SourceError::Read {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        dir
    }

    #[test]
    fn files_come_by_label_then_name_and_hidden_ones_not_at_all() {
        let dir = tree(&["b/2.jpg", "b/10.jpg", "a/z.jpg", "a/.hidden", ".git/config"]);
        let found = scan(dir.path()).unwrap();
        let names: Vec<String> = found
            .files
            .iter()
            .map(|f| format!("{}/{}", f.label, f.path.file_name().unwrap().display()))
            .collect();
        assert_eq!(names, ["a/z.jpg", "b/10.jpg", "b/2.jpg"]);
        assert!(found.skipped.is_empty());
    }

    #[test]
    fn what_is_no_sample_is_named_with_its_reason() {
        let dir = tree(&["readme.txt", "a/1.jpg", "a/deeper/2.jpg"]);
        let found = scan(dir.path()).unwrap();
        assert_eq!(found.files.len(), 1);
        assert_eq!(found.skipped.len(), 2);
    }

    #[test]
    fn a_missing_an_empty_and_a_wrong_folder_are_told_apart() {
        let dir = tree(&["file"]);
        assert!(matches!(
            scan(&dir.path().join("none")),
            Err(SourceError::Read { .. })
        ));
        assert!(matches!(
            scan(&dir.path().join("file")),
            Err(SourceError::NotAFolder { .. })
        ));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(scan(empty.path()), Err(SourceError::Empty { .. })));
    }

    #[test]
    fn a_class_folder_that_is_not_utf8_is_skipped() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&["a/1.jpg"]);
        let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join("1.jpg"), b"x").unwrap();
        let found = scan(dir.path()).unwrap();
        assert_eq!((found.files.len(), found.skipped.len()), (1, 1));
    }
}
