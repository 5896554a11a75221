//! Opening buses and lines on Linux, by the crates linux-embedded-hal and gpio-cdev.
//!
//! Owns: which file is opened, and what the kernel's refusals mean. Does not own: anything that is said over them.

use super::DeviceError;
use super::button::Active;
use crate::board::{Gpio, Pin};
use embedded_hal::i2c::{self, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags};
use linux_embedded_hal::{CdevPin, I2cdev};
use std::io;
use std::path::Path;

const CONSUMER: &str = "fieldhead";
/// GPIOHANDLE_REQUEST_BIAS_PULL_UP and _DOWN of linux/gpio.h, since Linux 5.5; the library has no names for them.
const PULL_UP: u32 = 1 << 5;
const PULL_DOWN: u32 = 1 << 6;
/// The most chips that are looked at; a Raspberry Pi 5 has 5.
const MAX_CHIPS: usize = 32;

/// An I²C bus.
pub struct Bus(I2cdev);

/// An error of the kernel.
#[derive(Debug)]
pub struct BusError(io::Error);

impl BusError {
    /// A driver of the kernel holds the address.
    pub fn is_held(&self) -> bool {
        self.0.kind() == io::ErrorKind::ResourceBusy
    }
}

impl i2c::Error for BusError {
    /// Linux, Documentation/i2c/fault-codes.rst. The drivers of the Raspberry Pi (EREMOTEIO) and of the Jetson (EREMOTEIO), and others
    /// (ENXIO, ENODEV), say a missing answer each in its own way.
    fn kind(&self) -> ErrorKind {
        const ENXIO: i32 = 6;
        const EAGAIN: i32 = 11;
        const ENODEV: i32 = 19;
        const EREMOTEIO: i32 = 121;
        match self.0.raw_os_error() {
            Some(ENXIO | ENODEV | EREMOTEIO) => {
                ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)
            }
            Some(EAGAIN) => ErrorKind::ArbitrationLoss,
            _ => ErrorKind::Bus,
        }
    }
}

impl ErrorType for Bus {
    type Error = BusError;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, work: &mut [Operation<'_>]) -> Result<(), BusError> {
        let done = I2c::<u8>::transaction(&mut self.0, address, work);
        done.map_err(|e| BusError(from_i2c(e.inner())))
    }
}

fn from_i2c(error: &linux_embedded_hal::i2cdev::linux::LinuxI2CError) -> io::Error {
    use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
    match error {
        LinuxI2CError::Errno(number) => io::Error::from_raw_os_error(*number),
        LinuxI2CError::Io(e) => match e.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::other(e.to_string()),
        },
    }
}

/// Opens a bus such as `/dev/i2c-1`.
pub fn open_bus(path: &str) -> Result<Bus, DeviceError> {
    match I2cdev::new(path) {
        Ok(bus) => Ok(Bus(bus)),
        Err(error) => Err(not_opened(path, "i2c", from_i2c(&error))),
    }
}

/// The chips of the system: path and label; what may not be opened is told by its path alone.
pub fn chips(dev: &Path) -> Vec<(String, Result<String, DeviceError>)> {
    let mut paths: Vec<String> = std::fs::read_dir(dev)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("gpiochip"))
        .map(|entry| entry.path().display().to_string())
        .take(MAX_CHIPS)
        .collect();
    paths.sort();
    let opened = paths.into_iter().map(|path| {
        let label = open_chip(&path).map(|chip| chip.label().to_owned());
        (path, label)
    });
    opened.collect()
}

fn open_chip(path: &str) -> Result<Chip, DeviceError> {
    Chip::new(path).map_err(|error| {
        let io = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
        match io {
            Some(e) => not_opened(path, "gpio", io::Error::from(e.kind())),
            None => line_failed(path, &error),
        }
    })
}

/// A pin of the header as an input, pulled to the level at which it is not active.
pub fn input(gpio: &Gpio, pin: &Pin, active: Active) -> Result<CdevPin, DeviceError> {
    let pull = match active {
        Active::Low => PULL_UP,
        Active::High => PULL_DOWN,
    };
    let flags = LineRequestFlags::from_bits_retain(LineRequestFlags::INPUT.bits() | pull);
    line(gpio, pin, flags, 0)
}

/// A pin of the header as an output, off.
pub fn output(gpio: &Gpio, pin: &Pin, active: Active) -> Result<CdevPin, DeviceError> {
    let off = u8::from(active == Active::Low);
    line(gpio, pin, LineRequestFlags::OUTPUT, off)
}

fn line(gpio: &Gpio, pin: &Pin, flags: LineRequestFlags, off: u8) -> Result<CdevPin, DeviceError> {
    let mut labels = Vec::new();
    for (path, label) in chips(Path::new("/dev")) {
        let label = label?;
        if label != gpio.chip {
            labels.push(label);
            continue;
        }
        let mut chip = open_chip(&path)?;
        let line = chip
            .get_line(pin.line)
            .map_err(|e| line_failed(&pin.name, &e))?;
        let info = line.info().map_err(|e| line_failed(&pin.name, &e))?;
        // A line that was left as an output is free all the same, although the library's `is_used` says otherwise.
        if info.is_kernel() {
            return Err(DeviceError::Busy {
                device: format!("pin {}", pin.name),
                by: info.consumer().unwrap_or("the kernel").into(),
            });
        }
        let handle = line.request(flags, off, CONSUMER);
        let handle = handle.map_err(|e| line_failed(&pin.name, &e))?;
        return CdevPin::new(handle).map_err(|e| line_failed(&pin.name, &e));
    }
    let known = if labels.is_empty() {
        "none is there".to_owned()
    } else {
        format!("there are {}", labels.join(", "))
    };
    Err(DeviceError::Missing {
        device: format!("GPIO chip '{}'", gpio.chip),
        cure: format!("{known}: check --board"),
    })
}

fn line_failed(pin: &str, error: &impl std::fmt::Display) -> DeviceError {
    DeviceError::Line {
        pin: pin.into(),
        what: error.to_string(),
    }
}

fn not_opened(path: &str, group: &'static str, error: io::Error) -> DeviceError {
    let device = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => DeviceError::Missing {
            device,
            cure: "`fieldhead board check` says how to switch it on".into(),
        },
        io::ErrorKind::PermissionDenied => DeviceError::Denied { device, group },
        io::ErrorKind::ResourceBusy => DeviceError::Busy {
            device,
            by: "another program".into(),
        },
        _ => DeviceError::Missing {
            device: format!("bus or chip behind {device} ({error})"),
            cure: "name another".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal::i2c::Error;

    #[test]
    fn the_kernels_ways_of_saying_no_answer_are_one() {
        for number in [6, 19, 121] {
            let kind = BusError(io::Error::from_raw_os_error(number)).kind();
            assert!(matches!(kind, ErrorKind::NoAcknowledge(_)), "{number}");
        }
        let kind = |number| BusError(io::Error::from_raw_os_error(number)).kind();
        assert_eq!(kind(11), ErrorKind::ArbitrationLoss);
        assert_eq!(kind(5), ErrorKind::Bus);
        assert!(BusError(io::Error::from_raw_os_error(16)).is_held());
    }

    #[test]
    fn what_is_not_there_or_is_no_bus_is_told() {
        assert!(matches!(
            open_bus("/dev/i2c-none"),
            Err(DeviceError::Missing { .. })
        ));
        assert!(matches!(
            open_bus("/dev/null"),
            Err(DeviceError::Missing { .. })
        ));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(
            not_opened("/dev/i2c-1", "i2c", denied),
            DeviceError::Denied { group: "i2c", .. }
        ));
        let busy = io::Error::from(io::ErrorKind::ResourceBusy);
        assert!(matches!(
            not_opened("/dev/i2c-1", "i2c", busy),
            DeviceError::Busy { .. }
        ));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gpiochip0"), "").unwrap();
        let [(path, label)] = &chips(folder.path())[..] else {
            panic!()
        };
        assert!(path.ends_with("gpiochip0") && label.is_err());
    }

    #[test]
    fn a_chip_of_another_board_is_told_with_those_that_are_there() {
        let gpio = Gpio {
            chip: "no such chip".into(),
            pins: Vec::new(),
        };
        let pin = Pin {
            header: 11,
            name: "GPIO17".into(),
            line: 17,
        };
        for opened in [
            input(&gpio, &pin, Active::Low),
            output(&gpio, &pin, Active::High),
        ] {
            let error = opened.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("'no such chip'"), "{error}");
        }
    }
}
