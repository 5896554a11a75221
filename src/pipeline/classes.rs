//! Changes of whole classes: renamed, merged, removed.
//!
//! Invariant: the head afterwards is the one that training gives on samples that had been collected so from the beginning.

use super::{PipelineError, TrainingSet, check_native, choose, train};
use crate::features::Recipe;
use crate::head::Samples;
use crate::label;
use crate::store::{HeadRecord, Origin, Store};

/// What becomes of a class: its samples get another label, or go.
pub struct ClassChange {
    from: String,
    /// `None` removes it.
    to: Option<String>,
    /// Samples that get the new label.
    moved: Vec<u64>,
    /// Samples that go: all of a class that is removed, and of merged ones those whose picture is in the other class already.
    gone: Vec<u64>,
}

impl ClassChange {
    /// Another name for a class.
    ///
    /// # Errors
    /// There is no such class, or the name is its own, that of another, or not a label.
    pub fn rename(store: &Store, from: &str, to: &str) -> Result<ClassChange, PipelineError> {
        check_two(from, to)?;
        if store.samples()?.values().any(|sample| sample.label == to) {
            return Err(PipelineError::ClassThere { class: to.into() });
        }
        ClassChange::plan(store, from, Some(to))
    }

    /// A class as part of another.
    ///
    /// # Errors
    /// There is no such class, or they are the same, or the other's name is not one of a new sample.
    pub fn merge(store: &Store, from: &str, to: &str) -> Result<ClassChange, PipelineError> {
        check_two(from, to)?;
        if !store.samples()?.values().any(|sample| sample.label == to) {
            return Err(PipelineError::NoClass { class: to.into() });
        }
        ClassChange::plan(store, from, Some(to))
    }

    /// Without a class.
    ///
    /// # Errors
    /// There is no such class.
    pub fn remove(store: &Store, class: &str) -> Result<ClassChange, PipelineError> {
        ClassChange::plan(store, class, None)
    }

    fn plan(store: &Store, from: &str, to: Option<&str>) -> Result<ClassChange, PipelineError> {
        to.map_or(Ok(()), label::check_new)?;
        let mut change = ClassChange {
            from: from.into(),
            to: to.map(str::to_owned),
            moved: Vec::new(),
            gone: Vec::new(),
        };
        for (id, sample) in store.samples()? {
            if sample.label != from {
                continue;
            }
            let twin = to.map(|to| store.find_content(&sample.content, to));
            match twin.transpose()? {
                Some(None) => change.moved.push(id),
                _ => change.gone.push(id),
            }
        }
        if change.moved.is_empty() && change.gone.is_empty() {
            return Err(PipelineError::NoClass { class: from.into() });
        }
        Ok(change)
    }

    /// Samples that get the new label, and samples that go.
    pub fn counts(&self) -> (usize, usize) {
        (self.moved.len(), self.gone.len())
    }

    /// A training set as it will be.
    fn of(&self, set: &TrainingSet) -> Result<TrainingSet, PipelineError> {
        let kept = set.subset(|id| self.gone.binary_search(&id).is_err())?;
        let Some(to) = &self.to else {
            return Ok(kept);
        };
        let label = |row: usize| match kept.samples.label(row) {
            label if label == self.from => to.as_str(),
            label => label,
        };
        let rows = 0..kept.samples.n();
        let mut names: Vec<String> = rows.clone().map(|row| label(row).to_owned()).collect();
        names.sort();
        names.dedup();
        let number = |row| names.binary_search_by(|name| name.as_str().cmp(label(row)));
        let labels = rows.map(|row| number(row).unwrap_or(0) as u32).collect();
        let samples = Samples::new(
            kept.samples.width(),
            kept.samples.rows().to_vec(),
            labels,
            names,
            kept.samples.groups.clone(),
        )?;
        Ok(TrainingSet {
            ids: kept.ids,
            samples,
        })
    }

    /// The head after the change; the other arguments as for [`choose`].
    pub fn head(
        &self,
        record: &HeadRecord,
        candidates: &[Recipe],
        mut set_of: impl FnMut(&Recipe) -> Result<TrainingSet, PipelineError>,
        out_of_time: impl Fn() -> bool,
        time_us: u64,
    ) -> Result<HeadRecord, PipelineError> {
        check_native(record)?;
        let changed = |recipe: &Recipe| self.of(&set_of(recipe)?);
        let chosen = choose(candidates, &record.request, changed, out_of_time)?;
        Ok(train(&chosen, &record.request, time_us)?.record)
    }

    /// Commits the change of the samples, with the head that [`ClassChange::head`] gave; gives its version.
    pub fn commit(
        &self,
        store: &Store,
        head: Option<&HeadRecord>,
        time_us: u64,
    ) -> Result<Option<u64>, PipelineError> {
        let origin = match &self.to {
            Some(to) => Origin::Rename {
                from: self.from.clone(),
                to: to.clone(),
            },
            None => Origin::Remove {
                class: self.from.clone(),
            },
        };
        Ok(store.write(|tx| {
            for &id in &self.gone {
                tx.remove_sample(id, time_us)?;
            }
            if let Some(to) = &self.to {
                for &id in &self.moved {
                    tx.relabel(id, to, time_us)?;
                }
            }
            head.map(|head| tx.put_head(head, origin)).transpose()
        })?)
    }
}

fn check_two(from: &str, to: &str) -> Result<(), PipelineError> {
    match from == to {
        true => Err(PipelineError::SameClass { class: to.into() }),
        false => Ok(()),
    }
}
