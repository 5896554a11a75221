//! Checksums of rows: what a disk changed since it was written is noticed when it is read, and named.
//!
//! Owns: the table of checksums, and the reading of rows that have one ([`Checked`]). Does not own: heads, which carry a SHA-256 of
//! their own (`fhead`), nor the counters of `meta` and the index `content`, which hold no bytes.
//!
//! redb compares the checksums of its pages only when it repairs a file. The CRC-32 (that of IEEE 802.3) of a row stands under the
//! row's own key in a table beside it: a row that lands under another key is noticed too, and a field of version 1 gets its checksums
//! without its photos being written again, for which a card would need room twice.
//!
//! Invariant: from format version 2 on every row of a [`Table`] but heads has its checksum, written, replaced and removed in one
//! transaction with it.

use super::{META, StoreError, Table, from_redb, from_storage};
use redb::{
    AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use std::ops::RangeBounds;

/// Name of the table, number of the recipe (0 where there is none), number of the row.
pub(super) type SumKey = (&'static str, u32, u64);
/// The CRC-32 of a row.
pub(super) const SUMS: TableDefinition<SumKey, u32> = TableDefinition::new("sums");

/// A key of a table whose rows have checksums.
pub(super) trait Place:
    redb::Key + for<'a> redb::Value<SelfType<'a> = Self> + Copy + 'static
{
    /// Number of the recipe (0 where there is none), and number of the row.
    fn place(self) -> (u32, u64);
}

impl Place for u64 {
    fn place(self) -> (u32, u64) {
        (0, self)
    }
}

impl Place for u32 {
    fn place(self) -> (u32, u64) {
        (0, self.into())
    }
}

impl Place for (u32, u64) {
    fn place(self) -> (u32, u64) {
        self
    }
}

/// Where the checksum of a row stands.
pub(super) fn key<K: Place>(table: &Table<K>, key: K) -> (&str, u32, u64) {
    let (recipe, number) = key.place();
    (table.name(), recipe, number)
}

/// The checksum of a row's bytes.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The checksums that a reader sees; `None` in a field of version 1.
pub(super) fn of(
    transaction: &ReadTransaction,
) -> Result<Option<ReadOnlyTable<SumKey, u32>>, StoreError> {
    let meta = transaction.open_table(META).map_err(from_redb)?;
    let format = meta.get("format").map_err(from_storage)?;
    match format.map(|format| format.value()) {
        Some(1) => Ok(None),
        _ => transaction.open_table(SUMS).map(Some).map_err(from_redb),
    }
}

/// Gives every row of a table its checksum; one row is held at a time.
pub(super) fn add<K: Place>(
    transaction: &WriteTransaction,
    table: Table<K>,
) -> Result<(), StoreError> {
    let rows = transaction.open_table(table).map_err(from_redb)?;
    let mut sums = transaction.open_table(SUMS).map_err(from_redb)?;
    for row in rows.iter().map_err(from_storage)? {
        let (place, value) = row.map_err(from_storage)?;
        sums.insert(key(&table, place.value()), sum(value.value()))
            .map_err(from_storage)?;
    }
    Ok(())
}

/// The error that names a row.
pub(super) fn damaged<K: Place>(table: &Table<K>, key: K) -> StoreError {
    let (_, number) = key.place();
    let of_sample = |what| StoreError::DamagedSample { id: number, what };
    let row = |what| StoreError::DamagedRow { what, number };
    match table.name() {
        "samples" => of_sample("record is"),
        "photos" => of_sample("photo is"),
        "features" => of_sample("features are"),
        "recipes" => row("recipe"),
        "versions" => row("the line on head version"),
        _ => row("journal entry"),
    }
}

/// A table of which only rows that are as they were written come out.
pub(super) struct Checked<K: Place, R, S> {
    pub table: Table<K>,
    pub rows: R,
    /// `None` in a field of version 1, whose rows are taken as they are.
    pub sums: Option<S>,
}

impl<K: Place, R: ReadableTable<K, &'static [u8]>, S: ReadableTable<SumKey, u32>> Checked<K, R, S> {
    fn check(&self, place: K, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(sums) = &self.sums else {
            return Ok(());
        };
        let expected = sums.get(key(&self.table, place)).map_err(from_storage)?;
        let fits = expected.is_some_and(|expected| expected.value() == sum(bytes));
        fits.then_some(())
            .ok_or_else(|| damaged(&self.table, place))
    }

    /// The bytes of a row.
    pub fn get(&self, key: K) -> Result<Option<AccessGuard<'_, &'static [u8]>>, StoreError> {
        let value = self.rows.get(key).map_err(from_storage)?;
        if let Some(value) = &value {
            self.check(key, value.value())?;
        }
        Ok(value)
    }

    /// The record of a row.
    pub fn record<T: DeserializeOwned>(&self, key: K) -> Result<Option<T>, StoreError> {
        let value = self.get(key)?;
        let record = value.map(|value| parse(value.value()).ok_or(damaged(&self.table, key)));
        record.transpose()
    }

    /// Gives `take` the rows of a range in order of their keys, but those that `wanted` refuses, which are not looked at. `take`
    /// answers `None` to bytes that make no sense.
    pub fn each(
        &self,
        range: impl RangeBounds<K>,
        wanted: impl Fn(K) -> bool,
        mut take: impl FnMut(K, &[u8]) -> Option<()>,
    ) -> Result<(), StoreError> {
        for row in self.rows.range::<K>(range).map_err(from_storage)? {
            let (key, value) = row.map_err(from_storage)?;
            let key = key.value();
            if wanted(key) {
                self.check(key, value.value())?;
                take(key, value.value()).ok_or_else(|| damaged(&self.table, key))?;
            }
        }
        Ok(())
    }
}

/// All of a row as a record.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_flipped_bit_changes_the_checksum(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..6000),
            at in any::<prop::sample::Index>(),
            bit in 0..8u32,
        ) {
            let before = sum(&bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert_ne!(sum(&bytes), before);
        }
    }

    #[test]
    fn every_table_names_its_rows() {
        use super::super::{FEATURES, JOURNAL, PHOTOS, RECIPES, SAMPLES, VERSIONS};
        let said = [
            damaged(&SAMPLES, 3),
            damaged(&PHOTOS, 3),
            damaged(&FEATURES, (1, 3)),
            damaged(&RECIPES, 3),
            damaged(&VERSIONS, 3),
            damaged(&JOURNAL, 3),
        ];
        let begins = [
            "sample 3's record is damaged",
            "sample 3's photo is damaged",
            "sample 3's features are damaged",
            "recipe 3 is damaged",
            "the line on head version 3 is damaged",
            "journal entry 3 is damaged",
        ];
        for (error, begin) in said.iter().zip(begins) {
            assert!(error.to_string().starts_with(begin), "{error}");
        }
    }
}
