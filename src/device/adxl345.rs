//! ADXL345: acceleration on three axes over I²C, 100 samples a second kept by the chip itself until they are read.
//!
//! Registers and numbers: Analog Devices, ADXL345 datasheet, revision G, table 19 and the pages behind it.

use super::sensor::Sensor;
use super::{DeviceError, bus_error};
use embedded_hal::i2c::I2c;

const DEVID: u8 = 0x00;
const IDENTITY: u8 = 0xe5;
const BW_RATE: u8 = 0x2c;
const POWER_CTL: u8 = 0x2d;
const INT_SOURCE: u8 = 0x30;
const DATA_FORMAT: u8 = 0x31;
const DATAX0: u8 = 0x32;
const FIFO_CTL: u8 = 0x38;
const FIFO_STATUS: u8 = 0x39;

/// 100 samples a second, normal power (table 7).
const RATE_100_HZ: u8 = 0x0a;
/// Full resolution, ±16 g, right-justified.
const FULL_RANGE: u8 = 0x0b;
/// Stream: the newest samples are kept.
const STREAM: u8 = 0x80;
const MEASURE: u8 = 0x08;
const STANDBY: u8 = 0x00;
/// Nothing is kept, and what was is gone.
const BYPASS: u8 = 0x00;
const OVERRUN: u8 = 0x01;
/// Bits of FIFO_STATUS that count entries; 32 and the one in the data registers at most.
const ENTRIES: u8 = 0x3f;
const MOST_ENTRIES: u8 = 33;

/// Time between two samples.
pub const SAMPLE_US: u64 = 10_000;

/// An accelerometer.
pub struct Adxl345<B> {
    bus: B,
    name: String,
    address: u8,
}

impl<B: I2c> Adxl345<B> {
    /// `name` is what errors call the bus.
    pub fn new(bus: B, name: &str, address: u8) -> Result<Adxl345<B>, DeviceError> {
        let mut sensor = Adxl345 {
            bus,
            name: name.into(),
            address,
        };
        let got = sensor.register(DEVID)?;
        if got != IDENTITY {
            return Err(DeviceError::OtherChip {
                bus: sensor.name,
                address,
                expected: "ADXL345",
                got,
            });
        }
        // A chip that was left measuring is stopped, and forgets what it kept; measuring begins last, as the datasheet asks.
        for (register, value) in [
            (POWER_CTL, STANDBY),
            (FIFO_CTL, BYPASS),
            (BW_RATE, RATE_100_HZ),
            (DATA_FORMAT, FULL_RANGE),
            (FIFO_CTL, STREAM),
            (POWER_CTL, MEASURE),
        ] {
            let set = sensor.bus.write(address, &[register, value]);
            set.map_err(|e| bus_error(&sensor.name, address, &e))?;
        }
        Ok(sensor)
    }

    /// All samples since the last call, `[x, y, z]` in thousandths of g (3.9 a step), oldest first.
    ///
    /// # Errors
    /// The bus; or samples were lost, which 330 ms without a call lead to. The next call goes on with what is there.
    pub fn samples_mg(&mut self) -> Result<Vec<[i32; 3]>, DeviceError> {
        let lost = self.register(INT_SOURCE)? & OVERRUN != 0;
        let entries = (self.register(FIFO_STATUS)? & ENTRIES).min(MOST_ENTRIES);
        let mut samples = Vec::with_capacity(usize::from(entries));
        for _ in 0..entries {
            let mut bytes = [0; 6];
            let read = self.bus.write_read(self.address, &[DATAX0], &mut bytes);
            read.map_err(|e| bus_error(&self.name, self.address, &e))?;
            let [x0, x1, y0, y1, z0, z1] = bytes;
            samples.push([[x0, x1], [y0, y1], [z0, z1]].map(|two| {
                let raw = i32::from(i16::from_le_bytes(two));
                raw * 39 / 10
            }));
        }
        if lost {
            return Err(DeviceError::Overrun {
                sensor: "ADXL345",
                bus: self.name.clone(),
                address: self.address,
            });
        }
        Ok(samples)
    }

    fn register(&mut self, register: u8) -> Result<u8, DeviceError> {
        let mut byte = [0];
        let read = self.bus.write_read(self.address, &[register], &mut byte);
        read.map_err(|e| bus_error(&self.name, self.address, &e))?;
        Ok(byte[0])
    }
}

impl<B: I2c> Sensor for Adxl345<B> {
    fn channels(&self) -> &'static [&'static str] {
        &["x_g", "y_g", "z_g"]
    }

    fn read(&mut self, rows: &mut Vec<f32>) -> Result<usize, DeviceError> {
        let samples = self.samples_mg()?;
        rows.extend(samples.iter().flatten().map(|&mg| mg as f32 / 1e3));
        Ok(samples.len())
    }
}
