//! Who answers on an I²C bus.

use super::{DeviceError, bus_error};
use embedded_hal::i2c::I2c;
use std::ops::RangeInclusive;

/// Addresses of devices: the others are reserved (I²C-bus specification UM10204, 3.1.12).
pub const ADDRESSES: RangeInclusive<u8> = 0x08..=0x77;

/// An address at which somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Answers(u8),
    /// A driver of the kernel holds the address.
    Held(u8),
}

/// Reads one byte from every address, as `i2cdetect -r` does; `held` tells that an error means a driver of the kernel.
///
/// # Errors
/// What is no missing answer: the bus itself is broken then, and there is no use in going on.
pub fn scan<B: I2c>(
    bus: &mut B,
    name: &str,
    held: impl Fn(&B::Error) -> bool,
) -> Result<Vec<Presence>, DeviceError> {
    let mut found = Vec::new();
    for address in ADDRESSES {
        match bus.read(address, &mut [0]) {
            Ok(()) => found.push(Presence::Answers(address)),
            Err(error) if held(&error) => found.push(Presence::Held(address)),
            Err(error) => match bus_error(name, address, &error) {
                DeviceError::NoAnswer { .. } => {}
                other => return Err(other),
            },
        }
    }
    Ok(found)
}
