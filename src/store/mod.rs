//! The store: samples, features, photos, every head version and the journal, in one crash-safe file `field.redb`.
//!
//! Owns: what is on disk, and the promise that goes with it. Does not own: what a head means (`head`), or when something is
//! stored (`pipeline`).
//!
//! Invariants: what [`Store::write`] returned `Ok` for is on disk (redb commits with fsync); what failed leaves no trace; a head
//! is read back and checked before the transaction that makes it current commits; a row that is not as it was written is an error that
//! names it, not a number (`sums`). One process writes; any number may read. A field is the demonstration's own as long as nothing
//! but a demonstration wrote to it.

mod error;
pub mod fhead;
pub mod records;
mod sums;
mod transaction;
mod v1;

pub use error::StoreError;
pub use fhead::FheadError;
pub use records::{Entry, Event, HeadRecord, NewSample, Origin, Photo, Sample, Version};
pub use transaction::Transaction;

use crate::features::Recipe;
use error::{from_io, from_redb, from_storage, opening};
use redb::{
    ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction,
    ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sums::{Checked, Place, SumKey};

/// The file inside a field folder.
pub const FILE_NAME: &str = "field.redb";
/// The layout of the tables below. Version 1, without checksums of rows, is read as it is; the first change of such a field brings it to
/// version 2.
pub const FORMAT_VERSION: u64 = 2;
/// redb's page cache. Its default of 1 GiB is more than many boards have, and every verb reads what it needs once: a large cache only
/// costs page faults (features of 480 samples: 3 ms with 2 MiB, 6 to 9 ms with 16 MiB).
const CACHE_BYTES: usize = 2 << 20;

type Table<K> = TableDefinition<'static, K, &'static [u8]>;
/// Counters and flags by name.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Sample id → postcard [`Sample`].
const SAMPLES: Table<u64> = TableDefinition::new("samples");
/// Sample id → encoded picture.
const PHOTOS: Table<u64> = TableDefinition::new("photos");
/// SHA-256 of content and label → sample id.
const CONTENT: TableDefinition<[u8; 32], u64> = TableDefinition::new("content");
/// Number of a recipe → postcard [`Recipe`].
const RECIPES: Table<u32> = TableDefinition::new("recipes");
/// (recipe, sample id) → f32 little-endian.
const FEATURES: Table<(u32, u64)> = TableDefinition::new("features");
/// Version → `.fhead` bytes.
const HEADS: Table<u64> = TableDefinition::new("heads");
/// Version → postcard [`Version`].
const VERSIONS: Table<u64> = TableDefinition::new("versions");
/// Sequence number → postcard [`Entry`].
const JOURNAL: Table<u64> = TableDefinition::new("journal");

/// Feature vectors of samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Ascending.
    pub ids: Vec<u64>,
    /// `[ids, width]`, row by row.
    pub numbers: Vec<f32>,
}

enum Db {
    Writer(Database),
    Reader(ReadOnlyDatabase),
}

/// An open field store.
pub struct Store {
    /// `None` only while it is dropped.
    db: Option<Db>,
    /// Whether what is written is a demonstration's.
    demo: bool,
    /// A sample that is not read.
    left_out: Option<u64>,
}

/// A call into redb, which may panic on a file that something else overwrote.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let damaged = |_| Err(StoreError::Damaged("its pages do not make sense".into()));
    crate::guard::guarded(work).unwrap_or_else(damaged)
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing a damaged file may panic; it was refused already, and nothing more can be done about it.
        let _ = guarded(|| {
            drop(self.db.take());
            Ok(())
        });
    }
}

impl Store {
    /// Opens the store of `folder` for writing and makes it when it is not there.
    pub fn create(folder: &Path, time_us: u64) -> Result<Store, StoreError> {
        std::fs::create_dir_all(folder).map_err(from_io)?;
        let path = folder.join(FILE_NAME);
        let db = guarded(|| builder().create(&path).map_err(|e| opening(e, folder)))?;
        Store::initialize(db, time_us)
    }

    /// Opens an existing store for writing.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let path = existing(folder)?;
        let db = guarded(|| builder().open(&path).map_err(|e| opening(e, folder)))?;
        Store::new(Db::Writer(db)).checked()
    }

    /// Opens an existing store for reading; works beside a writer and on a read-only disk.
    pub fn open_read_only(folder: &Path) -> Result<Store, StoreError> {
        let path = existing(folder)?;
        let open = || guarded(|| Ok(builder().open_read_only(&path)));
        let db = match open()? {
            Err(DatabaseError::RepairAborted) => {
                // The last writer lost its power. Opening for writing brings the file to its last commit.
                drop(Store::open(folder)?);
                match open()? {
                    // Nothing can be written there, as on a full disk: whoever repairs the file in memory reads it.
                    Err(DatabaseError::RepairAborted) => return Store::open(folder),
                    other => other,
                }
            }
            other => other,
        };
        let db = db.map_err(|e| opening(e, folder))?;
        Store::new(Db::Reader(db)).checked()
    }

    /// A store on any storage: the seam at which tests cut the power.
    pub fn on(backend: impl StorageBackend, time_us: u64) -> Result<Store, StoreError> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let db = guarded(|| {
            builder
                .create_with_backend(backend)
                .map_err(|e| opening(e, Path::new("memory")))
        })?;
        Store::initialize(db, time_us)
    }

    fn new(db: Db) -> Store {
        Store {
            db: Some(db),
            demo: false,
            left_out: None,
        }
    }

    fn initialize(db: Database, time_us: u64) -> Result<Store, StoreError> {
        let store = Store::new(Db::Writer(db));
        let fresh = match store.meta("format") {
            Ok(None) => true,
            Ok(Some(_)) => false,
            Err(StoreError::Missing(_)) => true,
            Err(other) => return Err(other),
        };
        if fresh {
            store.write(|tx| tx.initialize(time_us))?;
        }
        store.checked()
    }

    fn checked(self) -> Result<Store, StoreError> {
        match self.meta("format")? {
            Some(1..=FORMAT_VERSION) => Ok(self),
            Some(other) => Err(StoreError::Format(other)),
            None => Err(StoreError::Damaged("it holds no field".into())),
        }
    }

    /// Runs `work` in one transaction: all of it is on disk when this returns `Ok`, none of it otherwise.
    pub fn write<T>(
        &self,
        work: impl FnOnce(&mut Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(Db::Writer(db)) = &self.db else {
            return Err(StoreError::ReadOnly(std::io::Error::other(
                "opened for reading",
            )));
        };
        guarded(|| {
            let mut transaction = Transaction::new(db.begin_write().map_err(from_redb)?);
            transaction.upgrade()?;
            let result = work(&mut transaction)?;
            transaction.mark_demo(self.demo)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// Makes the field the demonstration's own, which a later demonstration may replace. What any other store writes to it makes
    /// it the user's again.
    pub fn for_demo(mut self) -> Result<Store, StoreError> {
        self.demo = true;
        self.write(|_| Ok(()))?;
        Ok(self)
    }

    /// The field as it reads without a sample, whose own rows are not looked at: they may be damaged.
    ///
    /// # Errors
    /// There is no such sample.
    pub fn without(mut self, id: u64) -> Result<Store, StoreError> {
        let there = self.read(SAMPLES, |table| {
            Ok(table.get(id).map_err(from_storage)?.is_some())
        })?;
        self.left_out = Some(id);
        (there == Some(true))
            .then_some(self)
            .ok_or(StoreError::NoSample(id))
    }

    fn is_read(&self, id: u64) -> bool {
        self.left_out != Some(id)
    }

    /// All samples by id.
    pub fn samples(&self) -> Result<BTreeMap<u64, Sample>, StoreError> {
        self.records(SAMPLES, |id| self.is_read(id))
    }

    pub fn sample(&self, id: u64) -> Result<Sample, StoreError> {
        let sample = self.read_checked(SAMPLES, |table| table.record(id))?;
        sample.flatten().ok_or(StoreError::NoSample(id))
    }

    /// Reads all rows of a sample.
    ///
    /// # Errors
    /// One of them is damaged, or there is no such sample.
    pub fn check_sample(&self, id: u64) -> Result<(), StoreError> {
        self.sample(id)?;
        self.photo(id)?;
        let own = |(_, other)| other == id;
        self.read_checked(FEATURES, |table| table.each(.., own, |_, _| Some(())))?;
        Ok(())
    }

    /// The kept picture of a sample, encoded.
    pub fn photo(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let photo = self.read_checked(PHOTOS, |table| {
            Ok(table.get(id)?.map(|bytes| bytes.value().to_vec()))
        })?;
        Ok(photo.flatten())
    }

    /// The sample that was collected from these bytes under this label.
    pub fn find_content(&self, content: &[u8; 32], label: &str) -> Result<Option<u64>, StoreError> {
        let id = self.read(CONTENT, |table| {
            let value = table
                .get(content_key(content, label))
                .map_err(from_storage)?;
            Ok(value.map(|id| id.value()))
        })?;
        Ok(id.flatten())
    }

    /// Stored vectors of a recipe in order of their samples; samples that were never embedded by it are missing.
    pub fn features(&self, recipe: &Recipe) -> Result<Rows, StoreError> {
        let number = self.read_checked(RECIPES, |table| find_recipe(&table, recipe))?;
        let Some(number) = number.flatten() else {
            return Ok(Rows::default());
        };
        let width = recipe.width as usize;
        let rows = self.read_checked(FEATURES, |table| {
            let mut found = Rows::default();
            let all = (number, 0)..=(number, u64::MAX);
            table.each(
                all,
                |(_, id)| self.is_read(id),
                |(_, id), bytes| {
                    let start = found.numbers.len();
                    let numbers = bytes.chunks_exact(4);
                    found
                        .numbers
                        .extend(numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                    found.ids.push(id);
                    crate::features::check(&found.numbers[start..], width).ok()
                },
            )?;
            Ok(found)
        })?;
        Ok(rows.unwrap_or_default())
    }

    /// The head in use and its version.
    pub fn current_head(&self) -> Result<(u64, HeadRecord), StoreError> {
        let version = self.current_version()?.ok_or(StoreError::NoHead)?;
        Ok((version, self.head(version)?))
    }

    pub fn current_version(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.meta("current")?.filter(|&version| version != 0))
    }

    /// Any version of the head, checked.
    pub fn head(&self, version: u64) -> Result<HeadRecord, StoreError> {
        self.read(HEADS, |table| {
            let value = table.get(version).map_err(from_storage)?;
            let bytes = value.ok_or(StoreError::NoVersion(version))?;
            stored_head(version, bytes.value())
        })?
        .ok_or(StoreError::NoVersion(version))
    }

    /// All head versions, oldest first.
    pub fn versions(&self) -> Result<Vec<Version>, StoreError> {
        Ok(self.records(VERSIONS, |_| true)?.into_values().collect())
    }

    /// The journal, oldest first.
    pub fn journal(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.records(JOURNAL, |_| true)?.into_values().collect())
    }

    /// Bytes of all kept pictures.
    pub fn photo_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.meta("photo_bytes")?.unwrap_or(0))
    }

    /// Whether this field was made by `fieldhead demo`.
    pub fn is_demo(&self) -> Result<bool, StoreError> {
        Ok(self.meta("demo")? == Some(1))
    }

    fn meta(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let value = self.read(META, |table| {
            let value = table.get(key).map_err(from_storage)?;
            Ok(value.map(|v| v.value()))
        })?;
        Ok(value.flatten())
    }

    /// The records of a table but those that are not wanted.
    fn records<T: DeserializeOwned>(
        &self,
        definition: Table<u64>,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<BTreeMap<u64, T>, StoreError> {
        let records = self.read_checked(definition, |table| {
            let mut records = BTreeMap::new();
            table.each(.., wanted, |id, bytes| {
                records.insert(id, sums::parse(bytes)?);
                Some(())
            })?;
            Ok(records)
        })?;
        Ok(records.unwrap_or_default())
    }

    /// Runs `work` on a table whose rows are checked; `None` when there is no such table.
    fn read_checked<K: Place, T>(
        &self,
        definition: Table<K>,
        work: impl FnOnce(
            Checked<K, ReadOnlyTable<K, &'static [u8]>, ReadOnlyTable<SumKey, u32>>,
        ) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.read_beside(definition, |transaction, rows| {
            work(Checked {
                table: definition,
                rows,
                sums: sums::of(transaction)?,
            })
        })
    }

    /// Runs `work` on a table; `None` when there is no such table.
    fn read<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        definition: TableDefinition<K, V>,
        work: impl FnOnce(ReadOnlyTable<K, V>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.read_beside(definition, |_, table| work(table))
    }

    /// Runs `work` on a table and the transaction that it is read in; `None` when there is no such table.
    fn read_beside<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        definition: TableDefinition<K, V>,
        work: impl FnOnce(&ReadTransaction, ReadOnlyTable<K, V>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        guarded(|| {
            let read = match &self.db {
                Some(Db::Writer(db)) => db.begin_read(),
                Some(Db::Reader(db)) => db.begin_read(),
                None => return Ok(None),
            };
            let transaction = read.map_err(from_redb)?;
            match transaction.open_table(definition) {
                Ok(table) => work(&transaction, table).map(Some),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(other) => Err(from_redb(other)),
            }
        })
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

fn existing(folder: &Path) -> Result<PathBuf, StoreError> {
    let path = folder.join(FILE_NAME);
    match std::fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::Missing(folder.to_path_buf()))
        }
        Err(e) => Err(from_io(e)),
    }
}

/// Reads a head out of the store. One that a newer program wrote is told as such; any other fault is damage done here.
fn stored_head(version: u64, bytes: &[u8]) -> Result<HeadRecord, StoreError> {
    fhead::decode(bytes).map_err(|error| match error {
        newer @ (FheadError::Version { .. } | FheadError::Flags { .. }) => newer.into(),
        _ => StoreError::DamagedHead(version),
    })
}

fn content_key(content: &[u8; 32], label: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    hasher.update(content);
    hasher.update(label.as_bytes());
    hasher.finalize().into()
}

fn find_recipe<R: ReadableTable<u32, &'static [u8]>, S: ReadableTable<SumKey, u32>>(
    table: &Checked<u32, R, S>,
    recipe: &Recipe,
) -> Result<Option<u32>, StoreError> {
    let mut found = None;
    table.each(
        ..,
        |_| true,
        |number, bytes| {
            let known: Recipe = sums::parse(bytes)?;
            if known.same_space(recipe) {
                found = found.or(Some(number));
            }
            Some(())
        },
    )?;
    Ok(found)
}
