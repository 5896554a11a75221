//! Feature vectors, and the recipe by which pixels became them.
//!
//! Owns: the fixed-width, finite vector a head learns from, its identity ([`Recipe`]), and many of them as a file ([`npz`]). Does not
//! own: running the network (`backbone`), or scaling features for a particular head (`head`).
//!
//! Invariant: two vectors may be compared, or stand in one training set, only when their recipes are equal.

pub mod npz;

use crate::preprocess::{Fit, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The widest feature vector any room accepts. The widest installed today is 2,688 (final layer and taps).
pub const MAX_WIDTH: usize = 65_536;

/// Which of the backbone's outputs make up the feature vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSet {
    /// The pooled last layer as the network gives it.
    #[default]
    Final,
    /// The pooled last layer and the pooled inner stages (taps), each part scaled to length one.
    Multi,
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FeatureSet::Final => "final",
            FeatureSet::Multi => "multi",
        })
    }
}

impl FromStr for FeatureSet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "final" => Ok(FeatureSet::Final),
            "multi" => Ok(FeatureSet::Multi),
            other => Err(format!(
                "features is '{other}', expected auto, final or multi"
            )),
        }
    }
}

/// How a picture became a feature vector: everything that has to be equal for two vectors to be comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Name of the backbone; for people. The hash decides.
    pub backbone: String,
    /// SHA-256 of the backbone's ONNX file.
    pub backbone_hash: Hash,
    /// How the picture is fitted to the network's input.
    pub view: View,
    pub set: FeatureSet,
    /// Numbers in one vector.
    pub width: u32,
}

impl Recipe {
    /// SHA-256 over the view and the choice of outputs: a head made with another preprocessing is refused by it.
    pub fn preprocess_hash(&self) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.view.hash());
        hasher.update(self.set.to_string().as_bytes());
        hasher.finalize().into()
    }

    /// This recipe with another fit.
    pub fn with_fit(&self, fit: Fit) -> Recipe {
        let view = View {
            fit,
            ..self.view.clone()
        };
        Recipe {
            view,
            ..self.clone()
        }
    }

    /// Whether vectors of both recipes mean the same.
    pub fn same_space(&self, other: &Recipe) -> bool {
        self.backbone_hash == other.backbone_hash
            && self.preprocess_hash() == other.preprocess_hash()
            && self.width == other.width
    }
}

/// A vector that no head may see.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FeatureError {
    #[error(
        "feature {index} of {width} is {value}, expected a finite number; the photo or the backbone is damaged"
    )]
    NotFinite {
        index: usize,
        width: usize,
        value: f32,
    },
    #[error(
        "a feature vector has {got} numbers, expected {expected}; it was made by another backbone"
    )]
    Width { expected: usize, got: usize },
}

/// Joins the outputs of one inference to one vector.
///
/// `parts` are the outputs in card order, the final one first. For [`FeatureSet::Final`] only the first is taken, as it is;
/// for [`FeatureSet::Multi`] every part is scaled to Euclidean length one (a part of zeros stays zeros), so that no stage
/// outweighs another by its scale. Sums run in f64 in index order: the result is the same on every machine.
pub fn join(parts: &[Vec<f32>], set: FeatureSet) -> Result<Vec<f32>, FeatureError> {
    let joined = match set {
        FeatureSet::Final => parts.first().cloned().unwrap_or_default(),
        FeatureSet::Multi => parts.iter().flat_map(|part| unit(part)).collect(),
    };
    check(&joined, joined.len())?;
    Ok(joined)
}

/// The mean of the vectors of several views of one picture, all of one width.
pub fn mean(views: &[Vec<f32>]) -> Vec<f32> {
    let width = views.first().map_or(0, Vec::len);
    let sum = |at: usize| views.iter().map(|view| f64::from(view[at])).sum::<f64>();
    (0..width)
        .map(|at| (sum(at) / views.len() as f64) as f32)
        .collect()
}

/// Refuses a vector of another width, or with a number that is not finite.
pub fn check(features: &[f32], width: usize) -> Result<(), FeatureError> {
    if features.len() != width {
        return Err(FeatureError::Width {
            expected: width,
            got: features.len(),
        });
    }
    match features.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(FeatureError::NotFinite {
            index,
            width,
            value: features[index],
        }),
        None => Ok(()),
    }
}

fn unit(part: &[f32]) -> Vec<f32> {
    let square: f64 = part.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = square.sqrt();
    if length > 0.0 {
        part.iter()
            .map(|&x| (f64::from(x) / length) as f32)
            .collect()
    } else {
        part.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_takes_the_first_part_as_it_is() {
        let parts = [vec![3.0, 4.0], vec![9.0]];
        assert_eq!(join(&parts, FeatureSet::Final), Ok(vec![3.0, 4.0]));
    }

    #[test]
    fn multi_scales_every_part_to_length_one() {
        let parts = [vec![3.0, 4.0], vec![0.0, 0.0], vec![-2.0]];
        let joined = join(&parts, FeatureSet::Multi).unwrap();
        assert_eq!(joined, vec![0.6, 0.8, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn a_number_that_is_not_finite_is_named() {
        let error = join(&[vec![0.0, f32::NAN]], FeatureSet::Final).unwrap_err();
        assert!(error.to_string().starts_with("feature 1 of 2 is NaN"));
    }
}
