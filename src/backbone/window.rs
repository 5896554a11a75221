//! The backbone of sensor windows: what is told of each channel, by formulas instead of a network.
//!
//! Owns: three descriptions of a window, and the card of the backbone. The *spectrum* (seven moments, and the logarithm of the energy in
//! 64 equal bands) tells vibrations and motions apart, the *curve* (means over 32 equal times) and the *path* (means over 32 equal
//! distances along it) gestures. The final output is all of them; curve and path are taps.
//!
//! Numbers are computed in `f64` in a fixed order, with the logarithms and sines of the crate `libm` instead of the system's: the same
//! window gives the same features, bit for bit, on every machine.

use super::BackboneError;
use super::card::{Card, Input, Output};
use crate::preprocess::Modality;
use crate::preprocess::spectrum::Transform;
use crate::preprocess::window::{MAX_CHANNELS, Window};
use sha2::{Digest, Sha256};
use std::f64::consts::PI;

/// The name of the backbone for one channel is this with a 1 behind it, and so on.
pub const PREFIX: &str = "window-";
/// Changes with every change of a number that comes out.
const ARITHMETIC: &str = "fieldhead window 1";

/// What is told of a channel beside its spectrum.
const MOMENTS: usize = 7;
/// Of 16, 32 and 64 bands, 64 tell nine faults of bearings apart (98 % with five samples a class, at a load three horsepower from the
/// one they were collected at) where 32 confuse some (79 %); motions and gestures do not care.
const BANDS: usize = 64;
/// Pieces of a curve or a path: a stroke of the hand has about ten bends.
const POINTS: usize = 32;
/// How much moments, curve and path count beside the bands in the final output. With one sample a class, which lets nothing be chosen,
/// motions, faults of bearings (at another load, at a far one) and gestures are told apart in 94, 97, 96 and 73 % with 1 and 2, in 96, 97,
/// 96 and 85 % with 2 and 4.
const MOMENT_WEIGHT: f64 = 2.0;
const SHAPE_WEIGHT: f64 = 4.0;
/// Below all energies of a channel that moves, so that a silent one has a logarithm.
const FLOOR: f64 = 1e-9;

/// The card of the backbone for windows of so many channels.
pub fn card(channels: usize) -> Card {
    let output = |name: &str, width: usize| Output {
        name: name.into(),
        width: width * channels,
    };
    let identity = format!("{ARITHMETIC}: {channels} channels");
    Card {
        name: format!("{PREFIX}{channels}"),
        description: format!(
            "Moments, spectrum and shape of sensor windows, channels: {channels}; {PREFIX}2 to {PREFIX}{MAX_CHANNELS} are there too"
        ),
        licence: "MIT OR Apache-2.0".into(),
        trained_on: "nothing: formulas".into(),
        published_top1: None,
        modality: Modality::Window { channels },
        file: String::new(),
        sha256: Sha256::digest(identity.as_bytes()).into(),
        model_bytes: 0,
        macs: 0,
        input: Input {
            name: "window".into(),
            width: 0,
            height: channels as u32,
            channels: 1,
            pad_value: 0,
        },
        outputs: vec![
            output("all", MOMENTS + BANDS + 2 * POINTS),
            output("curve", POINTS),
            output("path", POINTS),
        ],
        cuts: Vec::new(),
        golden: None,
    }
}

/// The number of channels in a backbone's name.
pub fn channels_of(name: &str) -> Option<usize> {
    let number = name.strip_prefix(PREFIX)?;
    let channels = number.parse().ok()?;
    let plain = (1..=MAX_CHANNELS).contains(&channels) && !number.starts_with(['0', '+']);
    plain.then_some(channels)
}

/// All outputs of the card, the final one first.
pub fn outputs(window: &Window) -> Result<Vec<Vec<f32>>, BackboneError> {
    let channels: Vec<Vec<f64>> = (0..window.channels())
        .map(|channel| window.channel(channel).map(f64::from).collect())
        .collect();
    let mut all: Vec<f64> = Vec::new();
    for channel in &channels {
        let mean = mean(channel.iter().copied());
        let centred: Vec<f64> = channel.iter().map(|x| x - mean).collect();
        all.extend(moments(channel, mean, &centred).map(|moment| MOMENT_WEIGHT * moment));
        all.extend(bands(&centred));
    }
    let steps = window.steps();
    let even: Vec<f64> = (0..steps).map(|step| step as f64).collect();
    let curve = shape(&channels, &even);
    let path = shape(&channels, &along(&channels, steps));
    all.extend(curve.iter().chain(&path).map(|x| SHAPE_WEIGHT * x));
    [all, curve, path].into_iter().map(narrow).collect()
}

fn narrow(output: Vec<f64>) -> Result<Vec<f32>, BackboneError> {
    let output: Vec<f32> = output.into_iter().map(|x| x as f32).collect();
    crate::features::check(&output, output.len())?;
    Ok(output)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Mean, standard deviation (ln), skewness, kurtosis (ln), least and greatest value, crest factor (ln). What has a unit is bent by the
/// area hyperbolic sine, which is the value itself near zero and its logarithm far from it: units do not decide what counts.
fn moments(channel: &[f64], level: f64, centred: &[f64]) -> [f64; MOMENTS] {
    let power = |exponent: i32, by: f64| {
        mean(centred.iter().map(|x| {
            let ratio = x / by;
            (1..exponent).fold(ratio, |power, _| power * ratio)
        }))
    };
    let deviation = power(2, 1.0).sqrt();
    let by = deviation + FLOOR;
    // Which of two zeros the least one is, is not said: of a processor's or a library's choice only the positive one is left.
    let least = channel.iter().copied().fold(f64::INFINITY, f64::min) + 0.0;
    let greatest = channel.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 0.0;
    let peak = centred.iter().fold(0.0f64, |peak, x| peak.max(x.abs()));
    [
        libm::asinh(level),
        libm::log(by),
        power(3, by),
        libm::log(power(4, by) + FLOOR),
        libm::asinh(least),
        libm::asinh(greatest),
        libm::log(peak / by + FLOOR),
    ]
}

/// Mean energy in equal bands of the spectrum from zero, which is left out, to half the sampling rate; natural logarithm. The window is
/// faded in and out by a squared sine (Hann's window) and filled up with zeros to a power of two that has a line for each band.
fn bands(centred: &[f64]) -> Vec<f64> {
    let n = centred.len() as f64;
    let length = centred.len().next_power_of_two().max(2 * BANDS);
    let mut lines = vec![(0.0, 0.0); length];
    for (step, (line, x)) in lines.iter_mut().zip(centred).enumerate() {
        let fade = libm::sin(PI * (step as f64 + 0.5) / n);
        line.0 = x * fade * fade;
    }
    Transform::new(length).run(&mut lines);
    let energy = |&(re, im): &(f64, f64)| (re * re + im * im) / n;
    // As many lines in each: both are powers of two.
    let each = length / 2 / BANDS;
    let bands = lines[1..=length / 2].chunks_exact(each);
    bands
        .map(|band| libm::log(mean(band.iter().map(energy)) + FLOOR))
        .collect()
}

/// How far along its path the point of each step is.
fn along(channels: &[Vec<f64>], steps: usize) -> Vec<f64> {
    let mut way = 0.0;
    let mut along = vec![0.0; steps];
    for step in 1..steps {
        let squares = channels.iter().map(|channel| {
            let difference = channel[step] - channel[step - 1];
            difference * difference
        });
        way += squares.sum::<f64>().sqrt();
        along[step] = way;
    }
    along
}

/// The means of all channels over [`POINTS`] equal pieces of the way along `place`, which never falls, less the mean of them all, and
/// divided by the farthest that any step is from there: where a gesture was made, and how large, does not count, and what swings many
/// times in a piece, as a vibration does, leaves next to nothing. Channel by channel.
fn shape(channels: &[Vec<f64>], place: &[f64]) -> Vec<f64> {
    let last = place.last().copied().unwrap_or(0.0);
    let mut shape = Vec::with_capacity(channels.len() * POINTS);
    let mut farthest = 0.0f64;
    for channel in channels {
        let pieces = pieces(channel, place, last);
        let level = mean(pieces.iter().copied());
        farthest = channel
            .iter()
            .fold(farthest, |far, x| far.max((x - level).abs()));
        shape.extend(pieces.iter().map(|piece| piece - level));
    }
    let by = match farthest > 0.0 {
        true => farthest,
        false => 1.0,
    };
    shape.iter().map(|x| x / by).collect()
}

/// The mean over each piece of a line through the steps of a channel.
fn pieces(channel: &[f64], place: &[f64], last: f64) -> [f64; POINTS] {
    if last <= 0.0 {
        return [channel[0]; POINTS];
    }
    // The integral up to `step`, and from there to `wanted`.
    let (mut step, mut whole) = (0, 0.0);
    let mut upto = |wanted: f64| {
        while step + 2 < place.len() && place[step + 1] < wanted {
            whole += (channel[step] + channel[step + 1]) / 2.0 * (place[step + 1] - place[step]);
            step += 1;
        }
        let between = place[step + 1] - place[step];
        let part = (wanted - place[step]).clamp(0.0, between);
        let slope = match between > 0.0 {
            true => (channel[step + 1] - channel[step]) / between,
            false => 0.0,
        };
        whole + channel[step] * part + slope * part * part / 2.0
    };
    let piece = last / POINTS as f64;
    let mut before = 0.0;
    std::array::from_fn(|at| {
        let now = upto(piece * (at + 1) as f64);
        (now - std::mem::replace(&mut before, now)) / piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::hex;
    use proptest::prelude::*;

    fn window(channels: usize, steps: usize, value: impl Fn(usize, usize) -> f32) -> Window {
        let at = |i: usize| value(i / channels, i % channels);
        Window::new(channels, (0..channels * steps).map(at).collect()).unwrap()
    }

    /// A triangle and a saw: no sine of any library in it.
    fn example() -> Window {
        window(2, 300, |step, channel| match channel {
            0 => (step % 20).abs_diff(10) as f32 / 8.0,
            _ => (step * step % 101) as f32 / 64.0 - 0.5,
        })
    }

    #[test]
    fn the_features_of_a_window_are_the_committed_ones_on_every_machine() {
        let bytes: Vec<u8> = outputs(&example())
            .unwrap()
            .concat()
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(
            hex(&Sha256::digest(bytes)),
            "303ae65f3adcee4c7bb033a705269973701ff50db43553e7c0131ced33b7a546"
        );
    }

    #[test]
    fn the_sign_of_a_zero_leaves_no_trace() {
        let zeros = [[0.0, -0.0], [-0.0, 0.0]].map(|pair| {
            let all = outputs(&window(1, 8, |step, _| pair[step % 2]))
                .unwrap()
                .concat();
            all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        });
        assert_eq!(zeros[0], zeros[1]);
    }

    #[test]
    fn outputs_are_as_wide_as_the_card_says() {
        for (channels, steps) in [(1, 8), (2, 300), (6, 100), (16, 1025)] {
            let window = window(channels, steps, |step, channel| {
                (step * (channel + 3) % 17) as f32
            });
            let widths: Vec<usize> = outputs(&window).unwrap().iter().map(Vec::len).collect();
            let of_card: Vec<usize> = card(channels).outputs.iter().map(|o| o.width).collect();
            assert_eq!(widths, of_card);
        }
    }

    #[test]
    fn a_tone_stands_in_its_band() {
        // 40 turns in 256 steps are line 40 of 128, band 19 of 64 counted from 0.
        let tone = window(1, 256, |step, _| {
            (2.0 * PI * 40.0 * step as f64 / 256.0).sin() as f32
        });
        let all = outputs(&tone).unwrap().swap_remove(0);
        let bands = &all[MOMENTS..MOMENTS + BANDS];
        let loudest = (0..BANDS).max_by(|&a, &b| bands[a].total_cmp(&bands[b]));
        assert_eq!(loudest, Some(19));
        // The sine's deviation is √½, its crest factor √2; logarithms count twice.
        assert!(
            (all[1] - 2.0 * 0.5f32.sqrt().ln()).abs() < 1e-4
                && (all[6] - 2.0 * 2f32.sqrt().ln()).abs() < 1e-3
        );
    }

    #[test]
    fn where_how_large_and_how_fast_a_path_is_drawn_does_not_matter() {
        // An L, once at one speed, once moved, three times as large, and slowly at its beginning.
        let corner = |at: f32| match at < 1.0 {
            true => [at, 0.0],
            false => [1.0, at - 1.0],
        };
        let even = window(2, 65, |step, axis| corner(step as f32 / 32.0)[axis]);
        let slow = |step: usize| match step < 64 {
            true => step as f32 / 128.0,
            false => 0.5 + (step - 64) as f32 / 32.0,
        };
        let other = window(2, 113, |step, axis| 7.0 + 3.0 * corner(slow(step))[axis]);
        let path = |window: &Window| outputs(window).unwrap().swap_remove(2);
        for (a, b) in path(&even).iter().zip(path(&other)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_name_tells_the_channels_or_is_another_backbone() {
        assert_eq!(channels_of("window-6"), Some(6));
        for name in [
            "window-0",
            "window-17",
            "window-06",
            "window-+6",
            "window-",
            "window",
            "x",
        ] {
            assert_eq!(channels_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_window_has_finite_features(
            values in proptest::collection::vec(prop_oneof![-1e3f32..1e3, any::<f32>(), Just(0.0)], 24..200)
        ) {
            if let Ok(window) = Window::new(3, values) {
                let outputs = outputs(&window).unwrap();
                prop_assert!(outputs.concat().iter().all(|x| x.is_finite()));
            }
        }
    }
}
