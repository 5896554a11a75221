//! One write transaction: the small steps that a change of the field is composed of.
//!
//! Invariant: nothing here is visible, and nothing is on disk, before [`Transaction::commit`] returned `Ok`.

use super::records::{Entry, Event, HeadRecord, NewSample, Origin, Sample, Version};
use super::sums::{self, Checked, Place, SUMS, SumKey};
use super::{
    CONTENT, FEATURES, FORMAT_VERSION, HEADS, JOURNAL, META, PHOTOS, RECIPES, SAMPLES, StoreError,
    Table, VERSIONS, content_key, fhead, find_recipe, from_redb, from_storage, stored_head,
};
use crate::features::Recipe;
use redb::{ReadableTable, WriteTransaction};
use serde::Serialize;

/// A change of the field in the making.
pub struct Transaction {
    inner: WriteTransaction,
}

impl Transaction {
    pub(super) fn new(inner: WriteTransaction) -> Self {
        Transaction { inner }
    }

    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().map_err(from_redb)
    }

    pub(super) fn initialize(&mut self, time_us: u64) -> Result<(), StoreError> {
        for key in ["current", "photo_bytes", "demo"] {
            self.set_meta(key, 0)?;
        }
        for key in ["next_sample", "next_version", "next_entry"] {
            self.set_meta(key, 1)?;
        }
        self.set_meta("format", FORMAT_VERSION)?;
        let program = concat!("fieldhead ", env!("CARGO_PKG_VERSION")).to_owned();
        self.log(time_us, Event::Created { program })
    }

    /// Gives the rows of a field of version 1 their checksums. They stay where they are, and a reader that opened the field before
    /// goes on reading.
    pub(super) fn upgrade(&mut self) -> Result<(), StoreError> {
        if self.find_meta("format")? != Some(1) {
            return Ok(());
        }
        for table in [SAMPLES, PHOTOS, VERSIONS, JOURNAL] {
            sums::add(&self.inner, table)?;
        }
        sums::add(&self.inner, RECIPES)?;
        sums::add(&self.inner, FEATURES)?;
        self.set_meta("format", FORMAT_VERSION)
    }

    /// Says whether the field is the demonstration's own.
    pub(super) fn mark_demo(&mut self, demo: bool) -> Result<(), StoreError> {
        self.set_meta("demo", u64::from(demo))
    }

    /// Adds a sample with its features under `recipe`; returns its id. Ids are never used again.
    pub fn add_sample(&mut self, new: &NewSample, recipe: &Recipe) -> Result<u64, StoreError> {
        let id = self.take_number("next_sample")?;
        self.put(SAMPLES, id, &new.sample)?;
        self.index_content(&new.sample, id)?;
        if let Some(photo) = &new.photo {
            self.insert(PHOTOS, id, photo)?;
            self.add_photo_bytes(photo.len() as i64)?;
        }
        self.put_features(recipe, id, &new.features)?;
        let label = new.sample.label.clone();
        self.log(new.sample.time_us, Event::Collected { sample: id, label })?;
        Ok(id)
    }

    /// Stores the features of a sample under a recipe.
    pub fn put_features(
        &mut self,
        recipe: &Recipe,
        id: u64,
        features: &[f32],
    ) -> Result<(), StoreError> {
        crate::features::check(features, recipe.width as usize)
            .map_err(|e| StoreError::Damaged(e.to_string()))?;
        let number = self.recipe_number(recipe)?;
        let bytes: Vec<u8> = features.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.insert(FEATURES, (number, id), &bytes)
    }

    /// Removes a sample, its photo and its features, which may be damaged.
    pub fn remove_sample(&mut self, id: u64, time_us: u64) -> Result<(), StoreError> {
        match self.sample(id) {
            Ok(sample) => self.unindex_content(&sample, id)?,
            // Under which content it stands is not known any more.
            Err(StoreError::DamagedSample { .. }) => {
                let mut table = self.inner.open_table(CONTENT).map_err(from_redb)?;
                table.retain(|_, other| other != id).map_err(from_storage)?;
            }
            Err(other) => return Err(other),
        }
        self.remove(SAMPLES, id)?;
        if let Some(photo_bytes) = self.remove(PHOTOS, id)? {
            self.add_photo_bytes(-(photo_bytes as i64))?;
        }
        let recipes: Vec<u32> = {
            let table = self.inner.open_table(RECIPES).map_err(from_redb)?;
            let rows = table.iter().map_err(from_storage)?;
            rows.map(|row| row.map(|(number, _)| number.value()))
                .collect::<Result<_, _>>()
                .map_err(from_storage)?
        };
        for recipe in recipes {
            self.remove(FEATURES, (recipe, id))?;
        }
        self.log(time_us, Event::Forgot { sample: id })
    }

    /// Gives a sample another label.
    pub fn relabel(&mut self, id: u64, label: &str, time_us: u64) -> Result<(), StoreError> {
        let mut sample = self.sample(id)?;
        self.unindex_content(&sample, id)?;
        let from = std::mem::replace(&mut sample.label, label.to_owned());
        self.put(SAMPLES, id, &sample)?;
        self.index_content(&sample, id)?;
        let to = label.to_owned();
        self.log(
            time_us,
            Event::Relabelled {
                sample: id,
                from,
                to,
            },
        )
    }

    /// Stores a new head version, reads it back, checks it, and makes it the one in use.
    pub fn put_head(&mut self, head: &HeadRecord, origin: Origin) -> Result<u64, StoreError> {
        let version = self.take_number("next_version")?;
        let read_back = {
            let mut table = self.inner.open_table(HEADS).map_err(from_redb)?;
            let bytes = fhead::encode(head)?;
            table
                .insert(version, bytes.as_slice())
                .map_err(from_storage)?;
            let bytes = table.get(version).map_err(from_storage)?;
            fhead::decode(bytes.ok_or(StoreError::NoVersion(version))?.value())?
        };
        if read_back != *head {
            return Err(StoreError::Damaged(
                "a head that was written came back different".into(),
            ));
        }
        let line = Version {
            number: version,
            time_us: head.time_us,
            origin: origin.clone(),
            kind: head.learned.settings.kind.to_string(),
            samples: head.learned.n_samples,
            classes: head.learned.labels.len() as u32,
        };
        self.put(VERSIONS, version, &line)?;
        self.set_meta("current", version)?;
        self.log(head.time_us, Event::Head { version, origin })?;
        Ok(version)
    }

    /// Makes an earlier version the one in use; it is checked first.
    pub fn roll_back(&mut self, to: u64, time_us: u64) -> Result<(), StoreError> {
        {
            let table = self.inner.open_table(HEADS).map_err(from_redb)?;
            let bytes = table.get(to).map_err(from_storage)?;
            stored_head(to, bytes.ok_or(StoreError::NoVersion(to))?.value())?;
        }
        let from = self.meta("current")?;
        self.set_meta("current", to)?;
        self.log(time_us, Event::RolledBack { from, to })
    }

    fn log(&mut self, time_us: u64, event: Event) -> Result<(), StoreError> {
        let number = self.take_number("next_entry")?;
        self.put(JOURNAL, number, &Entry { time_us, event })
    }

    fn sample(&self, id: u64) -> Result<Sample, StoreError> {
        let sample = self.checked(SAMPLES)?.record(id)?;
        sample.ok_or(StoreError::NoSample(id))
    }

    fn recipe_number(&mut self, recipe: &Recipe) -> Result<u32, StoreError> {
        let (known, next) = {
            let table = self.checked(RECIPES)?;
            let last = table.rows.last().map_err(from_storage)?;
            (
                find_recipe(&table, recipe)?,
                last.map_or(0, |(number, _)| number.value() + 1),
            )
        };
        match known {
            Some(number) => Ok(number),
            None => {
                self.put(RECIPES, next, recipe)?;
                Ok(next)
            }
        }
    }

    fn index_content(&mut self, sample: &Sample, id: u64) -> Result<(), StoreError> {
        let mut table = self.inner.open_table(CONTENT).map_err(from_redb)?;
        let key = content_key(&sample.content, &sample.label);
        table.insert(key, id).map_err(from_storage)?;
        Ok(())
    }

    /// Takes a sample out of the index of contents, unless another one with the same content and label stands there.
    fn unindex_content(&mut self, sample: &Sample, id: u64) -> Result<(), StoreError> {
        let mut table = self.inner.open_table(CONTENT).map_err(from_redb)?;
        let key = content_key(&sample.content, &sample.label);
        let indexed = table.get(key).map_err(from_storage)?.map(|id| id.value());
        if indexed == Some(id) {
            table.remove(key).map_err(from_storage)?;
        }
        Ok(())
    }

    fn add_photo_bytes(&mut self, change: i64) -> Result<(), StoreError> {
        let total = self.meta("photo_bytes")?.saturating_add_signed(change);
        self.set_meta("photo_bytes", total)
    }

    fn take_number(&mut self, key: &str) -> Result<u64, StoreError> {
        let number = self.meta(key)?;
        self.set_meta(key, number.saturating_add(1))?;
        Ok(number)
    }

    fn meta(&self, key: &str) -> Result<u64, StoreError> {
        self.find_meta(key)?
            .ok_or_else(|| StoreError::Damaged(format!("the counter '{key}' is missing")))
    }

    fn find_meta(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let table = self.inner.open_table(META).map_err(from_redb)?;
        let value = table.get(key).map_err(from_storage)?;
        Ok(value.map(|v| v.value()))
    }

    fn set_meta(&mut self, key: &str, value: u64) -> Result<(), StoreError> {
        let mut table = self.inner.open_table(META).map_err(from_redb)?;
        table.insert(key, value).map_err(from_storage)?;
        Ok(())
    }

    /// A table whose rows are checked.
    #[expect(clippy::type_complexity, reason = "redb's types, and only here")]
    fn checked<K: Place>(
        &self,
        table: Table<K>,
    ) -> Result<
        Checked<K, redb::Table<'_, K, &'static [u8]>, redb::Table<'_, SumKey, u32>>,
        StoreError,
    > {
        Ok(Checked {
            table,
            rows: self.inner.open_table(table).map_err(from_redb)?,
            sums: Some(self.inner.open_table(SUMS).map_err(from_redb)?),
        })
    }

    fn put<K: Place>(
        &mut self,
        table: Table<K>,
        key: K,
        value: &impl Serialize,
    ) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(value).map_err(|e| StoreError::Damaged(e.to_string()))?;
        self.insert(table, key, &bytes)
    }

    /// Writes a row and its checksum.
    fn insert<K: Place>(
        &mut self,
        table: Table<K>,
        key: K,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut rows = self.inner.open_table(table).map_err(from_redb)?;
        rows.insert(key, bytes).map_err(from_storage)?;
        let mut sums = self.inner.open_table(SUMS).map_err(from_redb)?;
        sums.insert(sums::key(&table, key), sums::sum(bytes))
            .map_err(from_storage)?;
        Ok(())
    }

    /// Removes a row and its checksum; returns the length of its value when there was one.
    fn remove<K: Place>(&mut self, table: Table<K>, key: K) -> Result<Option<usize>, StoreError> {
        let mut rows = self.inner.open_table(table).map_err(from_redb)?;
        let removed = rows.remove(key).map_err(from_storage)?;
        let mut sums = self.inner.open_table(SUMS).map_err(from_redb)?;
        sums.remove(sums::key(&table, key)).map_err(from_storage)?;
        Ok(removed.map(|value| value.value().len()))
    }
}
