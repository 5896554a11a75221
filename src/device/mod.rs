//! What hangs on a board's header: buttons, lamps and relays, sensors on the I²C bus.
//!
//! Owns: what a level means once it stopped bouncing ([`button`], [`panel`]), when a lamp changes ([`lamp`]), and what sensors say
//! ([`tmp105`], [`adxl345`], [`scan`]), all over embedded-hal, with time passed in. Does not own: which pin is which (`board`), what
//! a press leads to (`cli`). Only `linux` opens anything.
//!
//! Invariant: a failure of a bus or a line is an error, never a value.

pub mod adxl345;
pub mod button;
pub mod lamp;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod panel;
pub mod scan;
pub mod sensor;
#[cfg(test)]
mod tests;
pub mod tmp105;

use embedded_hal::{digital, i2c};

/// What can go wrong with what hangs on the header.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("there is no {device}; {cure}")]
    Missing { device: String, cure: String },
    #[error(
        "{device} may not be opened; put the user into the group {group} (`sudo usermod -aG {group} $USER`) and log in again"
    )]
    Denied { device: String, group: &'static str },
    #[error("{device} is used by {by}; stop that, or take another")]
    Busy { device: String, by: String },
    #[error(
        "nothing answers at address {address:#04x} of {bus}; check power, wires and address (`fieldhead board check` lists what answers)"
    )]
    NoAnswer { bus: String, address: u8 },
    #[error(
        "{bus} failed at address {address:#04x}: {what}; check the wires and their pull-up resistors"
    )]
    Bus {
        bus: String,
        address: u8,
        what: String,
    },
    #[error(
        "at address {address:#04x} of {bus} is no {expected}: its identity is {got:#04x}; check the kind"
    )]
    OtherChip {
        bus: String,
        address: u8,
        expected: &'static str,
        got: u8,
    },
    #[error(
        "the {sensor} at {address:#04x} of {bus} lost samples: it was not read for too long; read it more often"
    )]
    Overrun {
        sensor: &'static str,
        bus: String,
        address: u8,
    },
    #[error("the line of pin {pin} failed: {what}; check that nothing else drives it")]
    Line { pin: String, what: String },
    #[error(
        "the sensor '{text}' is not known: {what}; use i2c:BUS:ADDRESS,kind=tmp105 (or lm75, adxl345), or of a microphone command,format=s16le:PROGRAM …"
    )]
    Unknown { text: String, what: String },
}

/// What an error of a bus means.
fn bus_error(bus: &str, address: u8, error: &impl i2c::Error) -> DeviceError {
    let bus = bus.to_owned();
    match error.kind() {
        i2c::ErrorKind::NoAcknowledge(_) => DeviceError::NoAnswer { bus, address },
        kind => DeviceError::Bus {
            bus,
            address,
            what: format!("{kind} ({error:?})"),
        },
    }
}

/// What an error of a line means.
fn line_error(pin: &str, error: &impl digital::Error) -> DeviceError {
    DeviceError::Line {
        pin: pin.into(),
        what: format!("{error:?}"),
    }
}
