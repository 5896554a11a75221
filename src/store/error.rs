//! What can go wrong with the store, in words that name the next step; and redb's errors in them.

use super::{FORMAT_VERSION, FheadError};
use redb::{DatabaseError, StorageError};
use std::path::{Path, PathBuf};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no field in {folder}; make one with `fieldhead collect --from DIR`, or name another with --field", folder = .0.display())]
    Missing(PathBuf),
    #[error("the field in {folder} is in use by another process; stop it, or name another with --field", folder = .0.display())]
    InUse(PathBuf),
    #[error(
        "the disk of the field is full ({0}); this change was not made, what came before it is kept: free some space and try again"
    )]
    Full(std::io::Error),
    #[error(
        "the field cannot be read or written ({0}); this change was not made: check its permissions and that the disk is not mounted read-only"
    )]
    ReadOnly(std::io::Error),
    #[error(
        "the field's disk failed ({0}); this change was not made: check the disk or the SD card, then try again"
    )]
    Io(std::io::Error),
    #[error("field.redb is damaged: {0}; restore it from a copy, or start a new field")]
    Damaged(String),
    #[error(
        "the field has format version {0}, this program reads versions 1 to {FORMAT_VERSION}; update fieldhead"
    )]
    Format(u64),
    #[error("there is no sample {0}; `fieldhead samples` lists them")]
    NoSample(u64),
    #[error("there is no head version {0}; `fieldhead history` lists them")]
    NoVersion(u64),
    #[error("the field has no head yet; make one with `fieldhead train`")]
    NoHead,
    #[error(
        "head version {0} is damaged inside field.redb; put another one back with `fieldhead rollback VERSION` (`fieldhead history` lists them), or make a new one with `fieldhead train`"
    )]
    DamagedHead(u64),
    #[error(
        "sample {id}'s {what} damaged inside field.redb; take it out with `fieldhead forget --sample {id}`, or restore field.redb from a copy"
    )]
    DamagedSample { id: u64, what: &'static str },
    #[error(
        "{what} {number} is damaged inside field.redb; restore it from a copy, or start a new field"
    )]
    DamagedRow { what: &'static str, number: u64 },
    #[error(transparent)]
    Fhead(#[from] FheadError),
}

impl StoreError {
    /// Whether single rows are damaged, beside which others can be changed.
    pub fn is_of_rows(&self) -> bool {
        matches!(
            self,
            StoreError::DamagedHead(_)
                | StoreError::DamagedSample { .. }
                | StoreError::DamagedRow { .. }
        )
    }
}

pub(super) fn opening(error: DatabaseError, folder: &Path) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::InUse(folder.to_path_buf())
        }
        DatabaseError::Storage(storage) => from_storage(storage),
        other => StoreError::Damaged(other.to_string()),
    }
}

pub(super) fn from_storage(error: StorageError) -> StoreError {
    match error {
        StorageError::Io(io) => from_io(io),
        StorageError::PreviousIo => {
            StoreError::Io(std::io::Error::other("an earlier write had failed"))
        }
        other => StoreError::Damaged(other.to_string()),
    }
}

pub(super) fn from_redb(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(io) => from_io(io),
        redb::Error::PreviousIo => from_storage(StorageError::PreviousIo),
        other => StoreError::Damaged(other.to_string()),
    }
}

pub(super) fn from_io(error: std::io::Error) -> StoreError {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => StoreError::Full(error),
        Kind::ReadOnlyFilesystem | Kind::PermissionDenied => StoreError::ReadOnly(error),
        // redb reports bytes that are no database of its own as invalid data.
        Kind::InvalidData | Kind::UnexpectedEof => StoreError::Damaged(error.to_string()),
        _ => StoreError::Io(error),
    }
}
