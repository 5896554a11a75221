//! Sensors by their text, and windows of what they say.

use super::DeviceError;
use super::adxl345::{Adxl345, SAMPLE_US};
use super::scan::ADDRESSES;
use super::tmp105::{CONVERSION_US, Kind, Tmp105};
use embedded_hal::i2c::I2c;

/// Something that gives rows of numbers.
pub trait Sensor {
    /// What the numbers of a row are, with their units.
    fn channels(&self) -> &'static [&'static str];

    /// Appends the rows that came since the last call, `[rows, channels]`; how many.
    fn read(&mut self, rows: &mut Vec<f32>) -> Result<usize, DeviceError>;
}

/// Which chip is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    Tmp105,
    Lm75,
    Adxl345,
}

impl Chip {
    /// Numbers in a row.
    pub fn channels(self) -> usize {
        match self {
            Chip::Tmp105 | Chip::Lm75 => 1,
            Chip::Adxl345 => 3,
        }
    }

    /// Time between two rows, in µs. A temperature is asked for no sooner than it was measured anew.
    pub fn sample_us(self) -> u64 {
        match self {
            Chip::Tmp105 | Chip::Lm75 => CONVERSION_US,
            Chip::Adxl345 => SAMPLE_US,
        }
    }
}

/// What `i2c:BUS:ADDRESS,kind=…` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSpec {
    /// A path such as `/dev/i2c-1`.
    pub bus: String,
    pub address: u8,
    pub chip: Chip,
}

impl SensorSpec {
    /// Understands a text; BUS is a number or a path, ADDRESS is hexadecimal with `0x`, or decimal.
    pub fn parse(text: &str) -> Result<SensorSpec, DeviceError> {
        spec(text).map_err(|what| DeviceError::Unknown {
            text: text.into(),
            what,
        })
    }

    /// Sets the chip up on its bus.
    pub fn start<B: I2c + Send + 'static>(
        &self,
        bus: B,
    ) -> Result<Box<dyn Sensor + Send>, DeviceError> {
        let (name, address) = (&*self.bus, self.address);
        Ok(match self.chip {
            Chip::Tmp105 => Box::new(Tmp105::new(bus, name, address, Kind::Tmp105)?),
            Chip::Lm75 => Box::new(Tmp105::new(bus, name, address, Kind::Lm75)?),
            Chip::Adxl345 => Box::new(Adxl345::new(bus, name, address)?),
        })
    }
}

/// As [`SensorSpec::parse`], with what is wrong as a text.
pub fn spec(text: &str) -> Result<SensorSpec, String> {
    let rest = text.strip_prefix("i2c:").ok_or("expected i2c: first")?;
    let (place, kind) = rest
        .split_once(",kind=")
        .ok_or("expected ,kind= behind it")?;
    let (bus, address) = place.rsplit_once(':').ok_or("expected BUS:ADDRESS")?;
    let bus = match bus.parse::<u8>() {
        Ok(number) => format!("/dev/i2c-{number}"),
        Err(_) if bus.starts_with("/dev/") => bus.to_owned(),
        Err(_) => return Err(format!("expected the number of a bus, got '{bus}'")),
    };
    let number = match address.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => address.parse(),
    };
    let address = number
        .ok()
        .filter(|address| ADDRESSES.contains(address))
        .ok_or_else(|| {
            let (first, last) = (ADDRESSES.start(), ADDRESSES.end());
            format!("expected an address from {first:#04x} to {last:#04x}, got '{address}'")
        })?;
    let chip = match kind {
        "tmp105" => Chip::Tmp105,
        "lm75" => Chip::Lm75,
        "adxl345" => Chip::Adxl345,
        other => {
            return Err(format!(
                "expected kind=tmp105, lm75 or adxl345, got '{other}'"
            ));
        }
    };
    Ok(SensorSpec { bus, address, chip })
}
