//! Which samples a head holds: enough to refuse to forget what was never learned, eight bytes and a count a sample.

use super::HeadError;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// A multiset of samples by 64-bit fingerprints of row and label. Two of a million different samples share one with a chance of
/// 3 · 10⁻⁸ (birthday bound).
#[derive(Debug, Default)]
pub struct Members(BTreeMap<u64, u32>);

impl Members {
    pub fn insert(&mut self, row: &[f32], label: &str) {
        *self.0.entry(fingerprint(row, label)).or_default() += 1;
    }

    /// Refuses a sample that is not there.
    pub fn check(&self, row: &[f32], label: &str) -> Result<(), HeadError> {
        let there = self.0.contains_key(&fingerprint(row, label));
        there.then_some(()).ok_or_else(|| HeadError::NotLearned {
            label: label.into(),
        })
    }

    /// Takes one sample out, if it is there.
    pub fn remove(&mut self, row: &[f32], label: &str) {
        let key = fingerprint(row, label);
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }
}

fn fingerprint(row: &[f32], label: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(label.as_bytes());
    for &x in row {
        // Adding zero makes -0 and 0, which are equal, the same bits.
        hasher.write_u32((x + 0.0).to_bits());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_can_be_taken_out_as_often_as_it_was_put_in() {
        let mut members = Members::default();
        members.insert(&[1.0, -0.0], "a");
        members.insert(&[1.0, 0.0], "a");
        assert!(members.check(&[1.0, 0.0], "b").is_err());
        assert!(members.check(&[0.0, 1.0], "a").is_err());
        for _ in 0..2 {
            members.check(&[1.0, 0.0], "a").unwrap();
            members.remove(&[1.0, 0.0], "a");
        }
        assert!(members.check(&[1.0, 0.0], "a").is_err());
    }
}
