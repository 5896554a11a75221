//! TMP105 and LM75: temperature over I²C.
//!
//! Registers and numbers: Texas Instruments, TMP105 datasheet (SBOS648), tables 5 to 9; LM75B datasheet (SNOS808), 7.5.

use super::sensor::Sensor;
use super::{DeviceError, bus_error};
use embedded_hal::i2c::I2c;

/// Pointer of the temperature, two bytes, high one first, left-justified two's complement.
const TEMPERATURE: u8 = 0x00;
const CONFIGURATION: u8 = 0x01;
/// R1 R0 = 11: 12 bits, 220 ms a conversion; everything else as after power-on.
const TWELVE_BITS: u8 = 0x60;
/// Time between two readings; a conversion takes 220 ms of it, an LM75B's 100.
pub const CONVERSION_US: u64 = 250_000;

/// Which chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 12 bits, 0.0625 °C.
    Tmp105,
    /// 9 bits, 0.5 °C; its configuration is left alone.
    Lm75,
}

/// A temperature sensor.
pub struct Tmp105<B> {
    bus: B,
    name: String,
    address: u8,
    kind: Kind,
}

impl<B: I2c> Tmp105<B> {
    /// `name` is what errors call the bus.
    pub fn new(mut bus: B, name: &str, address: u8, kind: Kind) -> Result<Tmp105<B>, DeviceError> {
        if kind == Kind::Tmp105 {
            let set = bus.write(address, &[CONFIGURATION, TWELVE_BITS]);
            set.map_err(|e| bus_error(name, address, &e))?;
        }
        Ok(Tmp105 {
            bus,
            name: name.into(),
            address,
            kind,
        })
    }

    /// The temperature in thousandths of a degree Celsius; -55,000 to 150,000 by the datasheet, -128,000 to 127,937 by its bits.
    pub fn temperature_mc(&mut self) -> Result<i32, DeviceError> {
        let mut bytes = [0; 2];
        let read = self
            .bus
            .write_read(self.address, &[TEMPERATURE], &mut bytes);
        read.map_err(|e| bus_error(&self.name, self.address, &e))?;
        let raw = i32::from(i16::from_be_bytes(bytes));
        Ok(match self.kind {
            // One step is 62.5 thousandths.
            Kind::Tmp105 => (raw >> 4) * 125 / 2,
            Kind::Lm75 => (raw >> 7) * 500,
        })
    }
}

impl<B: I2c> Sensor for Tmp105<B> {
    fn channels(&self) -> &'static [&'static str] {
        &["temperature_c"]
    }

    fn read(&mut self, rows: &mut Vec<f32>) -> Result<usize, DeviceError> {
        rows.push(self.temperature_mc()? as f32 / 1e3);
        Ok(1)
    }
}
