//! Windows of a sensor: bytes to steps and channels. Pure.
//!
//! Owns: reading CSV (one row a time step, one column a channel, names in the first row if they are there) and raw little-endian `f32`
//! of one channel, and drawing a window for people. Does not own: what is told of a window (`backbone`).
//!
//! Invariant: a [`Window`] has at least [`MIN_STEPS`] steps, at most [`MAX_CHANNELS`] channels, and only finite numbers.

use super::{Image, PreprocessError};

/// The fewest steps that have a spectrum worth the name.
pub const MIN_STEPS: usize = 8;
/// The most steps: 40 seconds at 25.6 kHz, the highest rate of the usual vibration recorders.
pub const MAX_STEPS: usize = 1 << 20;
/// The most channels: two sensors of nine axes would be 18, and nobody puts these into one window.
pub const MAX_CHANNELS: usize = 16;
/// The most numbers in all, 16 MB of them.
const MAX_VALUES: usize = 1 << 22;

/// Numbers of a sensor, `[steps, channels]`, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    channels: usize,
    values: Vec<f32>,
}

impl Window {
    /// Checks and takes the numbers of `channels` channels, `[steps, channels]`.
    pub fn new(channels: usize, values: Vec<f32>) -> Result<Window, PreprocessError> {
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(PreprocessError::Channels { channels });
        }
        if !values.len().is_multiple_of(channels) {
            return Err(PreprocessError::NotAWindow {
                what: format!("{} numbers for {channels} channels", values.len()),
            });
        }
        let steps = values.len() / channels;
        if !(MIN_STEPS..=MAX_STEPS).contains(&steps) || values.len() > MAX_VALUES {
            return Err(PreprocessError::Steps { steps, channels });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(PreprocessError::NotFinite {
                step: at / channels + 1,
                value: values[at],
            }),
            None => Ok(Window { channels, values }),
        }
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub fn steps(&self) -> usize {
        self.values.len() / self.channels
    }

    /// One channel over time.
    pub fn channel(&self, channel: usize) -> impl Iterator<Item = f32> + Clone + '_ {
        let steps = self.values.chunks_exact(self.channels);
        steps.filter_map(move |step| step.get(channel).copied())
    }

    /// A picture of it: each channel in a strip of its own, from its least value to its greatest, time to the right.
    pub fn draw(&self) -> Image {
        const WIDTH: usize = 200;
        const PAPER: u8 = 250;
        const INK: [u8; 3] = [30, 80, 160];
        let strip = (120 / self.channels).max(12);
        let height = strip * self.channels;
        let mut rgb = vec![PAPER; WIDTH * height * 3];
        for channel in 0..self.channels {
            let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
            self.channel(channel).for_each(|value| {
                least = least.min(value);
                greatest = greatest.max(value);
            });
            let span = f64::from(greatest) - f64::from(least);
            let row = |value: f32| {
                let share = match span > 0.0 {
                    true => (f64::from(value) - f64::from(least)) / span,
                    false => 0.5,
                };
                strip * channel + 1 + ((1.0 - share) * (strip - 3) as f64).round() as usize
            };
            let mut last: Option<(usize, usize)> = None;
            for (step, value) in self.channel(channel).enumerate() {
                let (x, y) = (step * (WIDTH - 1) / (self.steps() - 1), row(value));
                let (from, to) = last.map_or((y, y), |(_, before)| (before.min(y), before.max(y)));
                for x in last.map_or(x, |(before, _)| (before + 1).min(x))..=x {
                    for y in from..=to {
                        rgb[(y * WIDTH + x) * 3..][..3].copy_from_slice(&INK);
                    }
                }
                last = Some((x, y));
            }
        }
        Image {
            width: WIDTH as u32,
            height: height as u32,
            rgb,
        }
    }
}

/// Reads a window: text is CSV, anything else raw `f32`.
pub fn parse(bytes: &[u8]) -> Result<Window, PreprocessError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(PreprocessError::NotAWindow {
            what: "it is text in UTF-16, save it as UTF-8".into(),
        });
    }
    // Numbers as raw bytes have control characters among them; a file of numbers as text has none.
    let controls = bytes
        .iter()
        .any(|b| b.is_ascii_control() && !b.is_ascii_whitespace());
    match std::str::from_utf8(bytes) {
        Ok(text) if !controls => csv(text),
        // Names in an older encoding, such as °C in Latin-1, where each byte is its character.
        Err(_) if !controls && bytes.contains(&b'\n') => csv(&bytes
            .iter()
            .map(|&byte| char::from(byte))
            .collect::<String>()),
        _ => raw(bytes),
    }
}

/// A number; behind other separators than a comma the decimal point may be one.
fn number(field: &str, commas: bool) -> Result<f32, &str> {
    let number = match commas && !field.contains('.') {
        true => field.replacen(',', ".", 1).parse(),
        false => field.parse(),
    };
    number.map_err(|_| field)
}

fn raw(bytes: &[u8]) -> Result<Window, PreprocessError> {
    if !bytes.len().is_multiple_of(4) {
        return Err(PreprocessError::NotAWindow {
            what: format!("{} bytes are no whole number of f32", bytes.len()),
        });
    }
    let steps = bytes.len() / 4;
    if steps > MAX_STEPS {
        return Err(PreprocessError::Steps { steps, channels: 1 });
    }
    let values = bytes.chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Window::new(1, values.collect())
}

fn csv(text: &str) -> Result<Window, PreprocessError> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let separator = |line: &str| [';', '\t', ','].into_iter().find(|&c| line.contains(c));
    let (mut channels, mut values) = (0, Vec::new());
    let mut between = None;
    let mut named = false;
    for (at, line) in lines {
        if channels == 0 {
            between = separator(line);
        }
        // One separator too many at the end of each row is no column.
        let line = line.trim_end();
        let line = between.and_then(|c| line.strip_suffix(c)).unwrap_or(line);
        let fields = line.split(|c| Some(c) == between).map(str::trim);
        let count = fields.clone().count();
        if channels == 0 {
            channels = count;
            if channels > MAX_CHANNELS {
                return Err(PreprocessError::Channels { channels });
            }
        }
        if count != channels {
            return Err(PreprocessError::Row {
                line: at + 1,
                got: count,
                expected: channels,
            });
        }
        let commas = between != Some(',');
        let numbers = fields.clone().map(|field| number(field, commas));
        let none = numbers.clone().all(|number| number.is_err());
        match numbers.collect::<Result<Vec<f32>, &str>>() {
            Ok(numbers) => values.extend(numbers),
            // The names of the channels, once, before all numbers.
            Err(_) if none && values.is_empty() && !named => named = true,
            Err(field) => {
                let field: String = field.chars().take(20).collect();
                return Err(PreprocessError::NotANumber {
                    line: at + 1,
                    field,
                });
            }
        }
        if values.len() > MAX_VALUES {
            let steps = values.len() / channels;
            return Err(PreprocessError::Steps { steps, channels });
        }
    }
    if values.is_empty() {
        return Err(PreprocessError::NotAWindow {
            what: "there are no numbers in it".into(),
        });
    }
    Window::new(channels, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(n: usize) -> String {
        (0..n).map(|i| format!("{i},-{i}.5\n")).collect()
    }

    #[test]
    fn names_in_the_first_row_are_passed_over() {
        let plain = parse(rows(9).as_bytes()).unwrap();
        assert_eq!((plain.steps(), plain.channels()), (9, 2));
        assert_eq!(plain.channel(1).nth(3), Some(-3.5));
        for head in ["x,y\n", "\u{feff}x, y\r\n\r\n"] {
            assert_eq!(
                parse((head.to_owned() + &rows(9)).as_bytes()).unwrap(),
                plain
            );
        }
        let other = rows(9).replace(',', ";").replace('\n', "\r\n");
        for text in [
            other.clone(),
            other.replace('.', ","),
            rows(9).replace('\n', ",\n"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), plain, "{text}");
        }
        let latin = [&b"x,\xb0C\n"[..], rows(9).as_bytes()].concat();
        assert_eq!(parse(&latin).unwrap(), plain);
    }

    #[test]
    fn raw_floats_are_one_channel() {
        let bytes: Vec<u8> = (0..20)
            .flat_map(|i| (i as f32 * 0.37).to_le_bytes())
            .collect();
        let window = parse(&bytes).unwrap();
        assert_eq!((window.steps(), window.channels()), (20, 1));
        assert_eq!(window.channel(0).nth(2), Some(0.74));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, part) in [
            (
                "x,y\n".to_owned() + &rows(9) + "1\n",
                "line 11 has 1 number",
            ),
            (rows(9) + "1,two\n", "line 10 has 'two'"),
            ("a,b\nc,d\n".to_owned() + &rows(9), "line 2 has 'c'"),
            (rows(3), "3 rows of 2"),
            ("nan\n".repeat(9), "step 1 is NaN"),
            ("1e39\n".repeat(9), "step 1 is inf"),
            ("1.0,x\n".to_owned() + &rows(9), "line 1 has 'x'"),
            ("1,,2\n".repeat(9), "line 1 has ''"),
            ("1,".repeat(40), "40 channels"),
            ("x,y\n".into(), "no numbers"),
            (" \n".into(), "no numbers"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let wide: Vec<u8> = rows(9).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = parse(&[&[0xff, 0xfe][..], &wide].concat()).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
        let error = parse(&[0, 1, 2]).unwrap_err().to_string();
        assert!(error.contains("3 bytes"), "{error}");
        let error = parse(&[0xff; 64]).unwrap_err().to_string();
        assert!(error.contains("step 1 is NaN"), "{error}");
    }

    #[test]
    fn a_drawing_shows_each_channel_in_its_own_strip() {
        let image = parse(rows(50).as_bytes()).unwrap().draw();
        assert_eq!((image.width, image.height), (200, 120));
        let ink = |rows: std::ops::Range<usize>| {
            let rows = &image.rgb[rows.start * 600..rows.end * 600];
            rows.iter().filter(|&&level| level == 30).count()
        };
        assert!(ink(0..60) >= 200 && ink(60..120) >= 200);
        // A constant is a line, not a failure.
        assert_eq!(
            parse("7\n".repeat(9).as_bytes()).unwrap().draw().height,
            120
        );
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(window) = parse(&bytes) {
                prop_assert!(window.steps() >= MIN_STEPS && window.channels() <= MAX_CHANNELS);
                window.draw();
            }
        }

        #[test]
        fn what_is_written_as_text_is_read_back(values in proptest::collection::vec(-1e30f32..1e30, 24)) {
            let text: String = values.chunks(3).map(|r| format!("{},{},{}\n", r[0], r[1], r[2])).collect();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), Window::new(3, values).unwrap());
        }
    }
}
