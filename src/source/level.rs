//! How loud sound is.
//!
//! Owns: the levels of each channel of a window of samples. Does not own: where samples come from (`sound`), or what is advised.
//!
//! Invariant: whatever the samples are, a level is a finite number or none, and a share is in 0..=1. Pure.

/// From here on a sample stands at an end of the scale: the highest that 16 bits hold. Converters of 24 or fewer bits, whose samples
/// are written as 32, end just above it.
pub const CLIPPED_FROM: f32 = 32_767.0 / 32_768.0;

/// How loud one channel is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Greatest distance from zero, in dB relative to full scale; above 0 only in floats. `None` where all samples are zero.
    pub peak_dbfs: Option<f64>,
    /// Root of the mean square, a constant offset included, in dB relative to full scale; `None` as above. A sine of full scale has
    /// −3.01 (AES17 measures from that sine, so that it says 3.01 more).
    pub rms_dbfs: Option<f64>,
    /// Share of samples at either end of the scale.
    pub clipped_share: f64,
    /// Share of samples that are NaN or infinite, which count for nothing else here.
    pub not_finite_share: f64,
    /// Digital silence: all samples are the same number.
    pub silent: bool,
}

/// The level of each channel; `samples` is `[time, channels]`, full scale is 1.
pub fn levels(samples: &[f32], channels: usize) -> Vec<Level> {
    let own = |channel| samples.iter().copied().skip(channel).step_by(channels);
    (0..channels).map(|channel| level(own(channel))).collect()
}

fn level(samples: impl Iterator<Item = f32> + Clone) -> Level {
    let finite = || samples.clone().filter(|x| x.is_finite());
    let [all, numbers] = [samples.clone().count(), finite().count()].map(|n| n.max(1) as f64);
    let peak = finite().map(|x| f64::from(x).abs()).fold(0.0, f64::max);
    let squares: f64 = finite().map(|x| f64::from(x).powi(2)).sum();
    let clipped = finite().filter(|x| x.abs() >= CLIPPED_FROM).count();
    let strange = samples.clone().filter(|x| !x.is_finite()).count();
    Level {
        peak_dbfs: dbfs(peak),
        rms_dbfs: dbfs((squares / numbers).sqrt()),
        clipped_share: clipped as f64 / all,
        not_finite_share: strange as f64 / all,
        silent: samples.clone().zip(samples.skip(1)).all(|(a, b)| a == b),
    }
}

fn dbfs(size: f64) -> Option<f64> {
    (size > 0.0).then(|| 20.0 * size.log10())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SILENCE: Level = Level {
        peak_dbfs: None,
        rms_dbfs: None,
        clipped_share: 0.0,
        not_finite_share: 0.0,
        silent: true,
    };

    fn one(samples: &[f32]) -> Level {
        levels(samples, 1)[0]
    }

    #[test]
    fn a_sine_of_full_scale_peaks_at_zero_and_its_root_of_mean_square_is_three_decibels_below() {
        let turn = std::f32::consts::TAU / 40.0;
        let both: Vec<f32> = (0..400)
            .flat_map(|i| [(turn * i as f32).sin(), 0.0])
            .collect();
        let [left, right] = *levels(&both, 2) else {
            panic!()
        };
        assert!(left.peak_dbfs.unwrap().abs() < 1e-5, "{left:?}");
        assert!((left.rms_dbfs.unwrap() + 3.0103).abs() < 1e-4, "{left:?}");
        // Once up and once down in each of its ten turns.
        assert!(
            (left.clipped_share - 20.0 / 400.0).abs() < 1e-9 && !left.silent,
            "{left:?}"
        );
        assert_eq!(right, SILENCE);
    }

    #[test]
    fn half_of_full_scale_is_six_decibels_below_it() {
        let level = one(&[0.5, -0.5, 0.5, -0.5]);
        for dbfs in [level.peak_dbfs, level.rms_dbfs] {
            assert!((dbfs.unwrap() + 6.0206).abs() < 1e-4, "{level:?}");
        }
        assert_eq!(level.clipped_share, 0.0);
    }

    #[test]
    fn silence_is_no_level_and_what_stands_still_off_zero_is_silent_too() {
        assert_eq!(one(&[0.0; 8]), SILENCE);
        let stuck = one(&[0.1; 8]);
        assert!(
            stuck.silent && (stuck.peak_dbfs.unwrap() + 20.0).abs() < 1e-4,
            "{stuck:?}"
        );
        assert!(!one(&[0.0, 0.0, 1e-9]).silent);
    }

    #[test]
    fn only_the_ends_of_the_scale_are_clipped() {
        let below = 32_766.0 / 32_768.0;
        let level = one(&[CLIPPED_FROM, -CLIPPED_FROM, -1.0, below]);
        assert_eq!(level.clipped_share, 0.75);
    }

    #[test]
    fn what_is_no_number_is_counted_and_leaves_the_levels_alone() {
        let level = one(&[f32::NAN, 0.5, f32::INFINITY, -0.5]);
        assert_eq!((level.not_finite_share, level.clipped_share), (0.5, 0.0));
        assert_eq!(
            (level.peak_dbfs, level.rms_dbfs),
            (dbfs(0.5), dbfs(0.5)),
            "{level:?}"
        );
        let none = one(&[f32::NAN; 4]);
        assert_eq!((none.peak_dbfs, none.not_finite_share), (None, 1.0));
        let loud = one(&[f32::MAX, f32::MIN]);
        assert!(loud.rms_dbfs.unwrap().is_finite(), "{loud:?}");
    }

    proptest! {
        #[test]
        fn levels_of_any_samples_are_numbers_or_none(
            bits in proptest::collection::vec(any::<u32>(), 0..200),
            channels in 0usize..9,
        ) {
            let samples: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let levels = levels(&samples, channels);
            prop_assert_eq!(levels.len(), channels);
            for one in levels {
                for dbfs in [one.peak_dbfs, one.rms_dbfs].into_iter().flatten() {
                    prop_assert!(dbfs.is_finite());
                }
                prop_assert!(one.rms_dbfs.unwrap_or(f64::MIN) <= one.peak_dbfs.unwrap_or(f64::MIN) + 1e-9);
                for share in [one.clipped_share, one.not_finite_share] {
                    prop_assert!((0.0..=1.0).contains(&share));
                }
            }
        }
    }
}
