//! The training set: feature rows with a label and a capture burst each.

use super::HeadError;
use crate::features::{self, MAX_WIDTH};
use crate::label::{self, MAX_LABELS};
use rayon::prelude::*;

/// Rows that are changed as one piece of work.
const ROWS: usize = 64;

/// Labelled feature vectors. Invariant: rows are finite and of one width; names are sorted, distinct, and each is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    width: usize,
    /// `[n, width]`, row by row.
    rows: Vec<f32>,
    /// Index into `names`, one a row.
    pub labels: Vec<u32>,
    names: Vec<String>,
    /// Capture burst, one a row; equal numbers never stand on both sides of a split.
    pub groups: Vec<u64>,
}

impl Samples {
    /// Checks and takes rows of `width` numbers. Names may come in any order, some may be unused.
    pub fn new(
        width: usize,
        rows: Vec<f32>,
        labels: Vec<u32>,
        names: Vec<String>,
        groups: Vec<u64>,
    ) -> Result<Samples, HeadError> {
        let n = labels.len();
        let wrong = |what: String| Err(HeadError::Inconsistent { what });
        if width == 0 || width > MAX_WIDTH {
            return wrong(format!(
                "rows of {width} numbers, expected 1 to {MAX_WIDTH}"
            ));
        }
        if rows.len() != n * width || groups.len() != n {
            return wrong(format!(
                "{n} labels, {} groups and {} numbers, expected {n} rows of {width}",
                groups.len(),
                rows.len()
            ));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= names.len()) {
            return wrong(format!("label number {label} of {} names", names.len()));
        }
        for row in rows.chunks_exact(width) {
            features::check(row, width)?;
        }
        let mut samples = Samples {
            width,
            rows,
            labels,
            names,
            groups,
        };
        samples.settle_names();
        for name in &samples.names {
            label::check(name)?;
        }
        Ok(samples)
    }

    /// Sorts the names and drops those without a row.
    fn settle_names(&mut self) {
        let mut names: Vec<String> = self
            .labels
            .iter()
            .map(|&label| self.names[label as usize].clone())
            .collect();
        names.sort();
        names.dedup();
        for label in &mut self.labels {
            let found = names.binary_search(&self.names[*label as usize]);
            *label = found.unwrap_or_default() as u32;
        }
        self.names = names;
    }

    pub fn n(&self) -> usize {
        self.labels.len()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn classes(&self) -> usize {
        self.names.len()
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All rows, `[n, width]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.width..][..self.width]
    }

    pub fn label(&self, index: usize) -> &str {
        &self.names[self.labels[index] as usize]
    }

    /// Samples of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Refuses a set that no head can learn from.
    pub fn check_classes(&self) -> Result<(), HeadError> {
        match self.names.as_slice() {
            [] => Err(HeadError::NoSamples),
            [only] => Err(HeadError::OneClass {
                label: only.clone(),
                n: self.n(),
            }),
            names if names.len() > MAX_LABELS => Err(HeadError::TooManyClasses {
                got: names.len(),
                max: MAX_LABELS,
            }),
            _ => Ok(()),
        }
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Result<Samples, HeadError> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.n()) {
            return Err(HeadError::Inconsistent {
                what: format!("row {index} of {}", self.n()),
            });
        }
        let mut chosen = Samples {
            width: self.width,
            rows: Vec::with_capacity(indices.len() * self.width),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            names: self.names.clone(),
            groups: indices.iter().map(|&i| self.groups[i]).collect(),
        };
        for &index in indices {
            chosen.rows.extend_from_slice(self.row(index));
        }
        chosen.settle_names();
        Ok(chosen)
    }

    /// Changes every row in its place.
    pub(super) fn map_rows(mut self, change: impl Fn(&mut [f32]) + Sync) -> Samples {
        let width = self.width;
        let blocks = self.rows.par_chunks_mut(ROWS * width);
        blocks.for_each(|block| block.chunks_exact_mut(width).for_each(&change));
        self
    }

    /// Adds a row at `index`; all or nothing.
    pub(super) fn insert(
        &mut self,
        index: usize,
        row: &[f32],
        name: &str,
        group: u64,
    ) -> Result<(), HeadError> {
        label::check(name)?;
        features::check(row, self.width)?;
        let at = index * self.width;
        self.rows.splice(at..at, row.iter().copied());
        self.groups.insert(index, group);
        self.labels.insert(index, self.names.len() as u32);
        self.names.push(name.to_owned());
        self.settle_names();
        Ok(())
    }

    /// The last row that has these numbers and this label.
    pub(super) fn find(&self, row: &[f32], name: &str) -> Result<usize, HeadError> {
        (0..self.n())
            .rev()
            .find(|&i| self.label(i) == name && self.row(i) == row)
            .ok_or_else(|| HeadError::NotLearned { label: name.into() })
    }

    /// Takes a row out; a class without rows goes with it.
    pub(super) fn remove(&mut self, index: usize) {
        self.rows
            .drain(index * self.width..(index + 1) * self.width);
        self.labels.remove(index);
        self.groups.remove(index);
        self.settle_names();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Samples {
        let names = ["b", "unused", "a"].map(String::from).to_vec();
        Samples::new(
            2,
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            vec![0, 2, 0],
            names,
            vec![0, 1, 2],
        )
        .unwrap()
    }

    #[test]
    fn names_are_sorted_and_unused_ones_dropped() {
        let samples = three();
        assert_eq!(samples.names(), ["a", "b"]);
        assert_eq!(
            (samples.label(0), samples.label(1), samples.label(2)),
            ("b", "a", "b")
        );
        assert_eq!(samples.counts(), [1, 2]);
    }

    #[test]
    fn adding_then_removing_changes_nothing() {
        let mut samples = three();
        samples.insert(1, &[7.0, 8.0], "ab", 9).unwrap();
        assert_eq!((samples.label(1), samples.label(2)), ("ab", "a"));
        assert_eq!(samples.names(), ["a", "ab", "b"]);
        let index = samples.find(&[7.0, 8.0], "ab").unwrap();
        samples.remove(index);
        assert_eq!(samples, three());
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let names = vec!["a".to_string()];
        assert!(Samples::new(2, vec![1.0; 3], vec![0], names.clone(), vec![0]).is_err());
        assert!(Samples::new(0, vec![], vec![], vec![], vec![]).is_err());
        assert!(Samples::new(1, vec![1.0], vec![1], names.clone(), vec![0]).is_err());
        assert!(Samples::new(1, vec![f32::NAN], vec![0], names, vec![0]).is_err());
        assert!(three().select(&[3]).is_err());
    }
}
