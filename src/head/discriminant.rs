//! Ridge and LDA: two ways to read the same regression of one-hot targets, behind the seam of all heads.

use super::regression::{self, Read, Regression};
use super::softmax::Space;
use super::{
    Calibration, ClassWeights, Head, HeadError, HeadKind, Learned, Linear, Model, Normalizer,
    Samples, Settings, lda, ridge,
};

/// A ridge or LDA head that can go on learning.
pub struct Discriminant {
    learned: Learned,
    regression: Regression,
    read: Read,
}

/// How a kind of head reads the regression, and its inverse temperature before calibration.
pub(super) fn reading(kind: HeadKind, weights: ClassWeights) -> (Read, f32) {
    match (kind, weights) {
        (HeadKind::Lda, ClassWeights::Balanced) => (lda::scoring, lda::INVERSE_TEMPERATURE),
        (HeadKind::Lda, ClassWeights::None) => {
            (lda::scoring_as_collected, lda::INVERSE_TEMPERATURE)
        }
        _ => (ridge::scoring, ridge::INVERSE_TEMPERATURE),
    }
}

/// Heads of one kind at several penalties, to compare them; `None` where the arithmetic fails. `z` is normalized.
pub fn path(
    z: &Samples,
    space: &Space,
    kind: HeadKind,
    penalties: &[f64],
    weights: ClassWeights,
) -> Vec<Option<Linear>> {
    let (read, _) = reading(kind, weights);
    let gram = match space {
        Space::Span(gram) => Some(gram.as_ref()),
        Space::Features => None,
    };
    let fits = regression::fits(z, gram, penalties).into_iter();
    fits.map(|fit| fit?.linear(read).ok()).collect()
}

impl Discriminant {
    pub fn train(
        samples: &Samples,
        settings: Settings,
        normalizer: Normalizer,
    ) -> Result<Discriminant, HeadError> {
        let (read, inverse_temperature) = reading(settings.kind, settings.class_weights);
        let z = normalizer.apply_all(samples.clone());
        let n_samples = z.n() as u64;
        let regression = Regression::new(z, settings.penalty)?;
        Ok(Discriminant {
            learned: Learned {
                settings,
                labels: samples.names().to_vec(),
                n_samples,
                normalizer,
                model: Model::Linear(regression.fit().linear(read)?),
                calibration: Calibration::new(inverse_temperature),
            },
            regression,
            read,
        })
    }

    /// The head as it was kept, with its regression made again from the samples.
    pub fn resume(samples: Samples, learned: &Learned) -> Result<Discriminant, HeadError> {
        let z = learned.normalizer.apply_all(samples);
        Ok(Discriminant {
            regression: Regression::new(z, learned.settings.penalty)?,
            learned: learned.clone(),
            read: reading(learned.settings.kind, learned.settings.class_weights).0,
        })
    }

    /// Takes over what the regression has become.
    fn adopt(&mut self, model: Model) {
        let fit = self.regression.fit();
        self.learned.labels.clone_from(&fit.names);
        self.learned.n_samples = fit.counts.iter().sum::<f64>() as u64;
        self.learned.model = model;
    }
}

impl Head for Discriminant {
    fn learned(&self) -> &Learned {
        &self.learned
    }

    fn learn(&mut self, features: &[f32], label: &str, group: u64) -> Result<(), HeadError> {
        crate::features::check(features, self.learned.width())?;
        let row = self.learned.normalizer.apply(features);
        let linear = self.regression.learn(&row, label, group, self.read)?;
        self.adopt(Model::Linear(linear));
        Ok(())
    }

    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError> {
        crate::features::check(features, self.learned.width())?;
        let row = self.learned.normalizer.apply(features);
        let linear = self.regression.forget(&row, label, self.read)?;
        self.adopt(Model::Linear(linear));
        Ok(())
    }

    fn calibrate(&mut self, calibration: Calibration) {
        self.learned.calibration = calibration;
    }
}
