//! Sound as a picture: WAV files to mel bands over time. Pure.
//!
//! Owns: reading WAV ([`parse`]), bringing it to 16 kHz, and the picture of it ([`picture`]): a column every 10 ms, 32 mel bands with the
//! lowest at the bottom, grey, 0.625 dB a level. Does not own: programs that write sound (`source`), or the network that looks at the
//! picture (`backbone`).
//!
//! Numbers are computed in `f64` in a fixed order, with the functions of the crate `libm`: the same bytes give the same picture on every
//! machine.

use super::spectrum::Transform;
use super::{Image, PreprocessError};
use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// What the network heard when it was trained (as `models/speech-embedding-int8/card.toml` says, Lin et al., 2020).
const RATE_HZ: u32 = 16_000;
/// From telephones to the converters of sound cards.
const RATES_HZ: RangeInclusive<u32> = 8_000..=192_000;
const CHANNELS: RangeInclusive<u16> = 1..=8;
/// The shortest sound that says anything, and the longest that one label fits.
pub const LENGTH_MS: RangeInclusive<u64> = 20..=30_000;

/// What floats may reach where -1 to 1 is the scale: 24 dB more.
const LOUDEST: f64 = 16.0;

/// A frame: a Hann window of 25 ms amid the samples of a transform, and the next 10 ms later.
const FRAME: usize = 512;
const FADE: usize = 400;
const HOP: usize = 160;
/// Rows of the picture; its columns are at least [`FRAMES`], with silence on both sides.
const BANDS: usize = 32;
const FRAMES: usize = 76;
/// Where the bands begin and end.
const EDGES_HZ: [f64; 2] = [60.0, 3_800.0];
/// What is so much quieter than the loudest moment is as good as silent.
const RANGE_DB: f64 = 80.0;
/// A level of 0 stands for this, and each for so much more; of samples as 16-bit integers, full scale is about 110 dB.
const LEAST_DB: f64 = -20.0;
const LEVELS_A_DB: f64 = 1.6;

/// Samples of one channel, from -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    pub rate_hz: u32,
    pub samples: Vec<f64>,
}

/// Whether the first bytes are those of a WAV file (Microsoft, Multimedia Programming Interface, 1991).
pub(super) fn is_sound(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && bytes.starts_with(b"RIFF") && &bytes[8..12] == b"WAVE"
}

/// Reads a WAV file of integers of 8 to 32 bits or of floats; channels become their mean.
pub fn parse(bytes: &[u8]) -> Result<Sound, PreprocessError> {
    let bad = |what: String| PreprocessError::NotASound { what };
    if bytes.is_empty() {
        return Err(PreprocessError::EmptyFile);
    }
    if !is_sound(bytes) {
        return Err(bad("it does not begin as one".into()));
    }
    let mut format = None;
    // What a pipe was written to says nothing of its length.
    let endless = |size: usize| matches!(size, 0 | 0x7fff_ff00..);
    let whole = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
    let mut rest = &bytes[12..];
    while let Some((head, body)) = rest.split_at_checked(8) {
        let named = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let kind = &head[..4];
        // A program that writes to a pipe does not know how much it will be: then what is there counts.
        let chunk = &body[..named.min(body.len())];
        match (kind, &format) {
            (b"fmt ", _) => format = Some(Format::parse(chunk)?),
            (b"data", None) => return Err(bad("its data come before their format".into())),
            (b"data", Some(format)) => {
                let open = endless(named) && (named > 0 || endless(whole));
                if named > body.len() && !open {
                    return Err(bad(format!(
                        "it was cut off: {named} bytes of samples are named, and {} are there",
                        body.len()
                    )));
                }
                return format.read(if open { body } else { chunk });
            }
            _ => {}
        }
        // Chunks begin at even places.
        rest = body.get(named.saturating_add(named % 2)..).unwrap_or(&[]);
    }
    Err(bad("it holds no samples".into()))
}

/// How samples are written.
struct Format {
    floats: bool,
    channels: usize,
    rate_hz: u32,
    bytes: usize,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Format, PreprocessError> {
        let bad = |what: String| Err(PreprocessError::NotASound { what });
        let u16_at = |at: usize| {
            chunk
                .get(at..at + 2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        let (Some(tag), Some(channels), Some(low), Some(high), Some(bits)) =
            (u16_at(0), u16_at(2), u16_at(4), u16_at(6), u16_at(14))
        else {
            return bad("its format is cut off".into());
        };
        // The extensible form names the real one later (Microsoft, WAVEFORMATEXTENSIBLE).
        let tag = match tag {
            0xfffe => u16_at(24).unwrap_or(tag),
            tag => tag,
        };
        let rate_hz = u32::from(high) << 16 | u32::from(low);
        let floats = match (tag, bits) {
            (1, 8 | 16 | 24 | 32) => false,
            (3, 32 | 64) => true,
            _ => {
                return bad(format!(
                    "samples of kind {tag} with {bits} bits, expected integers of 8 to 32 or floats"
                ));
            }
        };
        if !CHANNELS.contains(&channels) || !RATES_HZ.contains(&rate_hz) {
            return bad(format!(
                "{channels} channels at {rate_hz} Hz, expected {} to {} channels at {} to {} Hz",
                CHANNELS.start(),
                CHANNELS.end(),
                RATES_HZ.start(),
                RATES_HZ.end()
            ));
        }
        Ok(Format {
            floats,
            channels: channels.into(),
            rate_hz,
            bytes: usize::from(bits / 8),
        })
    }

    fn read(&self, data: &[u8]) -> Result<Sound, PreprocessError> {
        let step = self.bytes * self.channels;
        let steps = data.len() / step;
        let ms = steps as u64 * 1_000 / u64::from(self.rate_hz);
        if !LENGTH_MS.contains(&ms) {
            return Err(PreprocessError::SoundLength { ms });
        }
        let sample = |bytes: &[u8]| self.sample(bytes);
        let mean = |step: &[u8]| {
            let sum: f64 = step.chunks_exact(self.bytes).map(sample).sum();
            sum / self.channels as f64
        };
        let samples: Vec<f64> = data.chunks_exact(step).map(mean).collect();
        // What is no number is not below, either.
        if !samples.iter().all(|sample| sample.abs() <= LOUDEST) {
            return Err(PreprocessError::NotASound {
                what: "a sample is far from -1 to 1, or no number".into(),
            });
        }
        Ok(Sound {
            rate_hz: self.rate_hz,
            samples,
        })
    }

    /// One sample, from -1 to 1.
    fn sample(&self, bytes: &[u8]) -> f64 {
        match (self.floats, bytes) {
            // Without a sign, unlike all others.
            (false, &[a]) => (f64::from(a) - 128.0) / 128.0,
            (false, &[a, b]) => f64::from(i16::from_le_bytes([a, b])) / 32_768.0,
            (false, &[a, b, c]) => f64::from(i32::from_le_bytes([0, a, b, c])) / 2_147_483_648.0,
            (false, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])) / 2_147_483_648.0,
            (true, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
            (true, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => f64::NAN,
        }
    }
}

/// The picture of a sound.
pub fn picture(sound: &Sound) -> Image {
    let mut samples = resample(sound);
    let missing = (FRAME + (FRAMES - 1) * HOP).saturating_sub(samples.len());
    samples.splice(0..0, std::iter::repeat_n(0.0, missing / 2));
    samples.extend(std::iter::repeat_n(0.0, missing - missing / 2));
    let energies = energies(&samples);
    let decibels: Vec<f64> = energies
        .iter()
        .map(|&energy| 10.0 * libm::log10(energy.max(1e-10)))
        .collect();
    let loudest = decibels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let frames = decibels.len() / BANDS;
    let mut rgb = Vec::with_capacity(3 * decibels.len());
    for row in 0..BANDS {
        for frame in 0..frames {
            let decibel = decibels[frame * BANDS + BANDS - 1 - row].max(loudest - RANGE_DB);
            let level = ((decibel - LEAST_DB) * LEVELS_A_DB).round_ties_even();
            rgb.extend([level.clamp(0.0, 255.0) as u8; 3]);
        }
    }
    Image {
        width: frames as u32,
        height: BANDS as u32,
        rgb,
    }
}

/// The sound as the network hears it, as a WAV file: one channel at 16 kHz and 16 bits.
pub fn reduced(sound: &Sound) -> Vec<u8> {
    let level = |sample: f64| {
        (sample * 32_768.0)
            .round_ties_even()
            .clamp(-32_768.0, 32_767.0)
    };
    let samples = resample(sound)
        .into_iter()
        .map(|sample| level(sample) as i16);
    let bytes: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    file(false, 2, 1, RATE_HZ, &bytes)
}

/// Samples of `bytes` bytes each, floats or integers, as a WAV file.
pub fn file(floats: bool, bytes: u16, channels: u16, rate_hz: u32, samples: &[u8]) -> Vec<u8> {
    let length = samples.len() as u32;
    let step = bytes * channels;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend(if floats { 3u16 } else { 1 }.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * u32::from(step)).to_le_bytes());
    file.extend(step.to_le_bytes());
    file.extend((8 * bytes).to_le_bytes());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// Energy of each band of each frame, `[frames, bands]`, of samples as 16-bit integers.
fn energies(samples: &[f64]) -> Vec<f64> {
    let before = (FRAME - FADE) / 2;
    let fade: Vec<f64> = (0..FADE)
        .map(|at| 32_768.0 * 0.5 * (1.0 - libm::cos(2.0 * PI * at as f64 / FADE as f64)))
        .collect();
    let bands = bands();
    let transform = Transform::new(FRAME);
    let mut energies = Vec::new();
    for frame in samples.windows(FRAME).step_by(HOP) {
        let mut lines = vec![(0.0, 0.0); FRAME];
        let faded = frame[before..].iter().zip(&fade);
        for (line, (x, fade)) in lines[before..].iter_mut().zip(faded) {
            line.0 = x * fade;
        }
        transform.run(&mut lines);
        let energy = |&(re, im): &(f64, f64)| re * re + im * im;
        for (first, weights) in &bands {
            let lines = lines[*first..].iter().map(energy);
            energies.push(lines.zip(weights).map(|(e, w)| e * w).sum());
        }
    }
    energies
}

/// Of each band the first line of the transform and weights from there on: triangles on Slaney's mel scale (Auditory Toolbox, 1998),
/// each of area one.
fn bands() -> Vec<(usize, Vec<f64>)> {
    let corner_mel = 15.0;
    let step = libm::log(6.4) / 27.0;
    let mel = |hz: f64| match hz < 1_000.0 {
        true => hz * 3.0 / 200.0,
        false => corner_mel + libm::log(hz / 1_000.0) / step,
    };
    let hz = |mel: f64| match mel < corner_mel {
        true => mel * 200.0 / 3.0,
        false => 1_000.0 * libm::exp((mel - corner_mel) * step),
    };
    let [low, high] = EDGES_HZ.map(mel);
    let edge = |at: usize| hz(low + (high - low) * at as f64 / (BANDS + 1) as f64);
    let line_hz = f64::from(RATE_HZ) / FRAME as f64;
    let band = |band: usize| {
        let [low, middle, high] = [band, band + 1, band + 2].map(edge);
        let weight = |line: usize| {
            let hz = line as f64 * line_hz;
            let share = ((hz - low) / (middle - low)).min((high - hz) / (high - middle));
            share.max(0.0) * 2.0 / (high - low)
        };
        let first = (low / line_hz) as usize;
        let last = (high / line_hz) as usize;
        (first, (first..=last).map(weight).collect())
    };
    (0..BANDS).map(band).collect()
}

/// The sound at 16 kHz: a sine cardinal that lets through what both rates can hold, faded out after 16 turns (Smith, Digital Audio
/// Resampling, 2002).
fn resample(sound: &Sound) -> Vec<f64> {
    const TURNS: f64 = 16.0;
    const MOST_PLACES: u64 = 1_024;
    let (from, to) = (u64::from(sound.rate_hz), u64::from(RATE_HZ));
    if from == to {
        return sound.samples.clone();
    }
    let common = gcd(from, to);
    let (from, to) = (from / common, to / common);
    let cutoff = (to as f64 / from as f64).min(1.0);
    let reach = TURNS / cutoff;
    // Weights depend on where between two samples an answer lies. These places repeat; where they are many, the nearest of some is
    // taken, half a thousandth of a sample away.
    let places = to.min(MOST_PLACES);
    let mut phases: Vec<Option<Vec<f64>>> = vec![None; places as usize + 1];
    let reach_steps = reach.ceil() as i64;
    let weights = |phase: u64| -> Vec<f64> {
        let between = phase as f64 / places as f64;
        let weight = |step: i64| {
            let turn = (step as f64 - between) * cutoff;
            let fade =
                libm::cos(PI / 2.0 * ((step as f64 - between) / (reach + 1.0)).clamp(-1.0, 1.0));
            let wave = match turn == 0.0 {
                true => 1.0,
                false => libm::sin(PI * turn) / (PI * turn),
            };
            cutoff * wave * fade * fade
        };
        (-reach_steps..=reach_steps + 1).map(weight).collect()
    };
    let samples = &sound.samples;
    let count = samples.len() as u64 * to / from;
    let answer = |at: u64| {
        let whole = at * from / to;
        let phase = (at * from % to * places + to / 2) / to;
        let weights = phases[phase as usize].get_or_insert_with(|| weights(phase));
        let first = whole as i64 - reach_steps;
        let steps = weights.iter().zip(first..).filter_map(|(weight, step)| {
            let sample = samples.get(usize::try_from(step).ok()?)?;
            Some(weight * sample)
        });
        steps.sum()
    };
    (0..count).map(answer).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of 16-bit integers.
    fn wav(rate_hz: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        file(false, 2, channels, rate_hz, &data)
    }

    fn tone(rate_hz: u32, hz: f64, ms: u32) -> Vec<i16> {
        let step = 2.0 * PI * hz / f64::from(rate_hz);
        let count = rate_hz * ms / 1_000;
        (0..count)
            .map(|at| (8_000.0 * (step * f64::from(at)).sin()) as i16)
            .collect()
    }

    #[test]
    fn all_kinds_of_samples_say_the_same() {
        let samples: Vec<i16> = (0..1_000).map(|i| (i * 37 % 256 - 128) * 256).collect();
        let expected = parse(&wav(8_000, 1, &samples)).unwrap();
        assert_eq!((expected.rate_hz, expected.samples.len()), (8_000, 1_000));
        let unit = |x: i16| f64::from(x) / 32_768.0;
        let written = |bytes: &dyn Fn(i16) -> Vec<u8>| -> Vec<u8> {
            samples.iter().flat_map(|&x| bytes(x)).collect()
        };
        for (floats, bytes, data) in [
            (false, 1, written(&|x| vec![(x / 256 + 128) as u8])),
            (
                false,
                3,
                written(&|x| (i32::from(x) << 8).to_le_bytes()[..3].to_vec()),
            ),
            (
                false,
                4,
                written(&|x| (i32::from(x) << 16).to_le_bytes().to_vec()),
            ),
            (
                true,
                4,
                written(&|x| (unit(x) as f32).to_le_bytes().to_vec()),
            ),
            (true, 8, written(&|x| unit(x).to_le_bytes().to_vec())),
        ] {
            assert_eq!(
                parse(&file(floats, bytes, 1, 8_000, &data)).unwrap(),
                expected,
                "{bytes}"
            );
        }
        let twice: Vec<i16> = samples.iter().flat_map(|&x| [x, x]).collect();
        assert_eq!(parse(&wav(8_000, 2, &twice)).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = wav(16_000, 1, &tone(16_000, 440.0, 100));
        let mut adpcm = good.clone();
        (adpcm[20], adpcm[34]) = (2, 4);
        for (bytes, part) in [
            (vec![], "empty"),
            (b"RIFF\0\0\0\0WAVX".to_vec(), "does not begin"),
            (good[..40].to_vec(), "no samples"),
            (good[..good.len() - 9].to_vec(), "cut off: 3200 bytes"),
            (wav(16_000, 1, &[0; 100]), "6 ms long"),
            (
                file(true, 4, 1, 16_000, &2e4f32.to_le_bytes().repeat(2_000)),
                "far from",
            ),
            (wav(8_000, 1, &vec![0; 250_000]), "31250 ms long"),
            (wav(4_000, 1, &[0; 4_000]), "1 channels at 4000 Hz"),
            (wav(16_000, 9, &[0; 16_000]), "9 channels"),
            (adpcm, "kind 2 with 4 bits"),
            (
                file(true, 4, 1, 16_000, &[0xff; 8_000]),
                "far from -1 to 1, or no number",
            ),
        ] {
            let error = parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        // What a pipe was written to names no length.
        let mut open = good.clone();
        open[40..44].fill(0xff);
        assert_eq!(parse(&open).unwrap(), parse(&good).unwrap());
        open[4..8].fill(0xff);
        open[40..44].fill(0);
        assert_eq!(parse(&open).unwrap(), parse(&good).unwrap());
        // Samples that are none, and what follows them.
        open[4..8].copy_from_slice(&3_228u32.to_le_bytes());
        assert!(parse(&open).unwrap_err().to_string().contains("0 ms long"));
    }

    #[test]
    fn a_tone_stands_in_its_band_at_every_rate() {
        let brightest = |rate_hz: u32| {
            let image = picture(&parse(&wav(rate_hz, 1, &tone(rate_hz, 1_000.0, 900))).unwrap());
            assert_eq!((image.height, image.width), (32, 87), "{rate_hz}");
            let level = |row: usize| image.rgb[(row * 87 + 40) * 3];
            let row = (0..32).max_by_key(|&row| level(row)).unwrap();
            (row, level(row))
        };
        let (row, level) = brightest(16_000);
        // 1,000 Hz is mel 15 of 0.9 to 34.4 in 33 steps: the band around 14 steps above the lowest edge.
        assert_eq!(row, 31 - 13);
        for rate_hz in [8_000, 11_025, 22_050, 44_100, 48_000, 44_099, 191_999] {
            let other = brightest(rate_hz);
            assert!(
                other.0 == row && other.1.abs_diff(level) <= 1,
                "{rate_hz}: {other:?} {level}"
            );
        }
    }

    #[test]
    fn silence_is_black_and_a_short_sound_stands_in_the_middle() {
        let silent = picture(&parse(&wav(16_000, 1, &[0; 4_000])).unwrap());
        assert_eq!((silent.width, silent.height), (76, 32));
        assert!(silent.rgb.iter().all(|&level| level == 0));
        let short = picture(&parse(&wav(16_000, 1, &tone(16_000, 440.0, 60))).unwrap());
        let lit = |frame: usize| (0..32).any(|row| short.rgb[(row * 76 + frame) * 3] > 120);
        assert!(lit(38) && !lit(20) && !lit(56));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(head in 0usize..60, bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let mut file = wav(16_000, 1, &[0; 20]);
            file.truncate(head);
            file.extend(bytes);
            if let Ok(sound) = parse(&file) {
                prop_assert!(picture(&sound).width >= 76);
            }
        }
    }
}
