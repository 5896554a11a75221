//! Windows of a sensor on the board's header.
//!
//! Owns: how many rows make a window, and reading them one step at a time. Does not own: the chips and their bus
//! (`device`), or when a sensor is set up again (`live`).
//!
//! Invariant: rows of a window follow each other without a gap; where the sensor lost some, the window begins anew.

use super::LiveError;
use super::live::{Feed, Form, Shot, Step};
use crate::device::DeviceError;
use crate::device::sensor::{Sensor, SensorSpec};
use crate::preprocess::window::MIN_STEPS;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Rows of a window: at 100 a second, from a tenth of a second to eleven minutes.
pub const STEPS: RangeInclusive<usize> = MIN_STEPS..=65_536;
/// A second of an accelerometer that gives 100 rows a second.
const USUAL_STEPS: usize = 100;
/// The longest wait within a step.
const LONGEST_WAIT_MS: u64 = 250;

/// What `i2c:BUS:ADDRESS,kind=…[,steps=N]` names.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorSource {
    pub spec: SensorSpec,
    pub steps: usize,
}

impl SensorSource {
    /// `text` begins with `i2c:`.
    pub(super) fn parse(text: &str) -> Result<SensorSource, String> {
        let (text, steps) = match text.split_once(",steps=") {
            None => (text, USUAL_STEPS),
            Some((text, steps)) => {
                let steps = steps.parse().ok().filter(|steps| STEPS.contains(steps));
                let (first, last) = (STEPS.start(), STEPS.end());
                let expected = format!("expected steps={first} to {last}, as the last option");
                (text, steps.ok_or(expected)?)
            }
        };
        let spec = crate::device::sensor::spec(text)?;
        Ok(SensorSource { spec, steps })
    }

    /// How long a window takes, in ms.
    pub(super) fn window_ms(&self) -> u64 {
        self.steps as u64 * self.spec.chip.sample_us() / 1_000
    }
}

/// A sensor that is set up by its first step.
pub(super) struct SensorFeed<O> {
    open: O,
    sensor: Option<Box<dyn Sensor + Send>>,
    steps: usize,
    wait_ms: u64,
    rows: Vec<f32>,
}

impl<O: FnMut() -> Result<Box<dyn Sensor + Send>, DeviceError> + Send> SensorFeed<O> {
    pub(super) fn new(source: &SensorSource, open: O) -> SensorFeed<O> {
        // A third of what an ADXL345 keeps; the others give one row at a time.
        let wait_ms = (source.spec.chip.sample_us() / 1_000).max(100);
        SensorFeed {
            open,
            sensor: None,
            steps: source.steps,
            wait_ms: wait_ms.min(LONGEST_WAIT_MS),
            rows: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<Step, DeviceError> {
        let mut sensor = match self.sensor.take() {
            Some(sensor) => sensor,
            None => (self.open)()?,
        };
        // Nothing to wait for but time; an interrupted wait is as good.
        let _ = nix::poll::poll(&mut [], self.wait_ms as u8);
        let read = sensor.read(&mut self.rows);
        let channels = sensor.channels();
        if let Err(DeviceError::Overrun { .. }) = read {
            // Others kept this one from running for a while; the sensor goes on.
            self.rows.clear();
        } else {
            read?;
        }
        self.sensor = Some(sensor);
        let count = self.steps * channels.len();
        if self.rows.len() < count {
            return Ok(Step::Nothing);
        }
        let rows: Vec<f32> = self.rows.drain(..count).collect();
        let shot = Shot {
            form: Form::File,
            bytes: csv(channels, &rows).into_bytes(),
        };
        let overtaken = 0;
        Ok(Step::Shot { shot, overtaken })
    }
}

impl<O: FnMut() -> Result<Box<dyn Sensor + Send>, DeviceError> + Send> Feed for SensorFeed<O> {
    fn step(&mut self, _: u64) -> Step {
        self.read().unwrap_or_else(|error| {
            self.rows.clear();
            Step::Failed(LiveError::Sensor(error))
        })
    }

    fn gives(&self) -> &'static str {
        "window of a sensor"
    }
}

/// A window as a file that people can read.
fn csv(channels: &[&str], rows: &[f32]) -> String {
    let mut text = channels.join(",");
    for row in rows.chunks(channels.len()) {
        for (at, value) in row.iter().enumerate() {
            let before = if at == 0 { '\n' } else { ',' };
            // Writing to a text cannot fail.
            let _ = write!(text, "{before}{value}");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::window::parse;

    /// Rows of 0, 1, 2 …, three a call; every fifth call fails, every eleventh says that rows were lost.
    struct Counter(u16);

    impl Sensor for Counter {
        fn channels(&self) -> &'static [&'static str] {
            &["a", "b"]
        }

        fn read(&mut self, rows: &mut Vec<f32>) -> Result<usize, DeviceError> {
            self.0 += 1;
            if self.0.is_multiple_of(11) {
                return Err(DeviceError::Overrun {
                    sensor: "counter",
                    bus: "bus".into(),
                    address: 9,
                });
            }
            if self.0.is_multiple_of(5) {
                return Err(DeviceError::NoAnswer {
                    bus: "bus".into(),
                    address: 9,
                });
            }
            for row in 3 * (self.0 - 1)..3 * self.0 {
                rows.extend([f32::from(row), -0.5]);
            }
            Ok(3)
        }
    }

    fn feed(
        steps: usize,
    ) -> SensorFeed<impl FnMut() -> Result<Box<dyn Sensor + Send>, DeviceError> + Send> {
        let source =
            SensorSource::parse(&format!("i2c:1:0x53,kind=adxl345,steps={steps}")).unwrap();
        let mut feed = SensorFeed::new(&source, || {
            Ok(Box::new(Counter(0)) as Box<dyn Sensor + Send>)
        });
        feed.wait_ms = 0;
        feed
    }

    #[test]
    fn a_window_is_a_file_of_as_many_rows_as_were_asked_for() {
        let mut feed = feed(8);
        let shots: Vec<Shot> = (0..4)
            .filter_map(|_| match feed.step(0) {
                Step::Shot { shot, .. } => Some(shot),
                _ => None,
            })
            .collect();
        let [shot] = &shots[..] else {
            panic!("{shots:?}")
        };
        let window = parse(&shot.bytes).unwrap();
        assert_eq!((window.steps(), window.channels()), (8, 2));
        assert_eq!(window.channel(0).last(), Some(7.0));
        assert!(shot.bytes.starts_with(b"a,b\n0,-0.5\n1,"));
    }

    #[test]
    fn a_failure_sets_the_sensor_up_again_and_leaves_no_window_with_a_gap() {
        let mut feed = feed(16);
        for _ in 0..4 {
            assert!(matches!(feed.step(0), Step::Nothing));
        }
        assert!(matches!(feed.step(0), Step::Failed(LiveError::Sensor(_))));
        // From its beginning: the four calls before the next failure are not enough for 16 rows.
        assert!(matches!(feed.step(0), Step::Nothing));
        assert_eq!(feed.rows.first(), Some(&0.0));
    }

    #[test]
    fn lost_rows_begin_the_window_anew_with_the_same_sensor() {
        let mut feed = feed(9);
        feed.sensor = Some(Box::new(Counter(10)));
        assert!(matches!(feed.step(0), Step::Nothing));
        assert!(feed.sensor.is_some() && feed.rows.is_empty());
        let steps = [feed.step(0), feed.step(0), feed.step(0)];
        let [Step::Nothing, Step::Nothing, Step::Shot { shot, .. }] = steps else {
            panic!("{steps:?}")
        };
        assert!(shot.bytes.starts_with(b"a,b\n33,"));
    }

    #[test]
    fn the_number_of_rows_is_checked() {
        for text in [
            "i2c:1:0x53,kind=adxl345,steps=7",
            "i2c:1:0x53,kind=adxl345,steps=x",
            "i2c:1:0x53,steps=9,kind=adxl345",
        ] {
            assert!(
                SensorSource::parse(text)
                    .unwrap_err()
                    .contains("steps=8 to 65536"),
                "{text}"
            );
        }
        let usual = SensorSource::parse("i2c:1:0x53,kind=adxl345").unwrap();
        assert_eq!((usual.steps, usual.window_ms()), (100, 1_000));
    }
}
