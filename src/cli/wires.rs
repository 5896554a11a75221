//! Buttons that collect and lamps that show: what `--button` and `--lamp` name, on the pins of the board's header.

use super::board::chosen;
use super::context::Context;
use anyhow::Result;
use fieldhead::device::DeviceError;
use fieldhead::device::button::Active;
use fieldhead::device::panel::{Action, Panel};
use fieldhead::label;
use fieldhead::source::Clock;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Time between two looks at the buttons: less than half of what a bounce may last.
const LOOK: Duration = Duration::from_millis(4);
/// The name of what has no label.
const UNKNOWN: &str = "unknown";

/// What `LABEL=PIN[:high|:low]` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    pub label: String,
    pub pin: String,
    pub active: Option<Active>,
}

impl Wire {
    pub fn parse(text: &str) -> Result<Wire, String> {
        // A label may hold '='; a pin does not.
        let expected = "expected LABEL=PIN, LABEL=PIN:low or LABEL=PIN:high";
        let (label, rest) = text.rsplit_once('=').ok_or(expected)?;
        label::check(label).map_err(|e| e.to_string())?;
        let (pin, active) = match rest.split_once(':') {
            None => (rest, None),
            Some((pin, "low")) => (pin, Some(Active::Low)),
            Some((pin, "high")) => (pin, Some(Active::High)),
            Some(_) => return Err(expected.into()),
        };
        if pin.is_empty() {
            return Err(expected.into());
        }
        Ok(Wire {
            label: label.into(),
            pin: pin.into(),
            active,
        })
    }
}

/// Becomes true when the program is asked to stop (SIGINT, SIGTERM), so that lamps are put out before it ends: a line keeps its level
/// behind a program that dies where the kernel is told so, as Raspberry Pi OS tells it. Asked again, the program ends at once.
pub fn asked_to_stop() -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // A shell's exit code of a program that a signal ended.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

/// Shows a decision at a time in µs: a label, or `None` for *unknown*.
pub type Show = Box<dyn FnMut(Option<&str>, u64) -> Result<(), DeviceError>>;

/// Looks at the buttons of a panel until `take` says that it is enough; `take` gets the label and the number of the press.
pub fn watch<P: embedded_hal::digital::InputPin>(
    panel: &mut Panel<P>,
    clock: &Clock,
    mut pause: impl FnMut(Duration),
    mut take: impl FnMut(&str, u64) -> Result<bool>,
) -> Result<()> {
    loop {
        for action in panel.poll(clock())? {
            if let Action::Collect { label, press } = action
                && !take(label, press)?
            {
                return Ok(());
            }
        }
        pause(LOOK);
    }
}

#[cfg(target_os = "linux")]
mod opened {
    use super::{Active, Context, DeviceError, Panel, Result, Show, UNKNOWN, Wire, chosen, watch};
    use fieldhead::device::button::Button;
    use fieldhead::device::lamp::{Lamp, Lamps, Timing};
    use fieldhead::device::linux::{input, output};

    /// Collects while a button is held, until `take` says that it is enough.
    pub fn collect(
        context: &Context,
        board: Option<&str>,
        wires: &[Wire],
        take: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        let profile = chosen(board)?.profile;
        let mut buttons = Vec::new();
        for wire in wires {
            let (gpio, pin) = profile.pin(&wire.pin)?;
            let active = wire.active.unwrap_or(Active::Low);
            let button = Button::new(input(gpio, pin, active)?, &pin.name, active);
            buttons.push((wire.label.clone(), button));
        }
        let mut panel = Panel::new(buttons, None);
        watch(&mut panel, &context.clock, std::thread::sleep, take)
    }

    /// Opens the lamps; without any, what shows is nothing.
    pub fn lamps(board: Option<&str>, wires: &[Wire]) -> Result<Show> {
        if wires.is_empty() {
            return Ok(Box::new(|_, _| Ok(())));
        }
        let profile = chosen(board)?.profile;
        let mut lamps = Vec::new();
        for wire in wires {
            let (gpio, pin) = profile.pin(&wire.pin)?;
            let active = wire.active.unwrap_or(Active::High);
            lamps.push(Lamp {
                pin: output(gpio, pin, active)?,
                name: pin.name.clone(),
                active,
                label: (wire.label != UNKNOWN).then(|| wire.label.clone()),
            });
        }
        let mut lamps = Lamps::new(lamps, Timing::default())?;
        Ok(Box::new(move |label, now_us| -> Result<(), DeviceError> {
            lamps.show(label, now_us)
        }))
    }
}

#[cfg(not(target_os = "linux"))]
mod opened {
    use super::super::exit::Usage;
    use super::{Context, Result, Show, Wire};

    pub fn collect(
        _: &Context,
        _: Option<&str>,
        _: &[Wire],
        _: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        Err(Usage("buttons are read on Linux".into()).into())
    }

    pub fn lamps(_: Option<&str>, wires: &[Wire]) -> Result<Show> {
        match wires.is_empty() {
            true => Ok(Box::new(|_, _| Ok(()))),
            false => Err(Usage("lamps are lit on Linux".into()).into()),
        }
    }
}

pub use opened::{collect, lamps};

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};
    use fieldhead::device::button::Button;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_wire_is_a_label_a_pin_and_a_level() {
        let wire = |text: &str| Wire::parse(text).unwrap();
        let plain = wire("hex nut=GPIO17");
        assert_eq!(
            (&*plain.label, &*plain.pin, plain.active),
            ("hex nut", "GPIO17", None)
        );
        assert_eq!(wire("a=b=11:low").label, "a=b");
        assert_eq!(wire("x=11:high").active, Some(Active::High));
        for text in [
            "",
            "gear",
            "gear=",
            "=11",
            "gear=11:up",
            "a/b=11",
            "gear=:low",
        ] {
            assert!(Wire::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_held_button_takes_until_it_is_enough() {
        // Pressed at the third look; looks are 4 ms apart, so 12 ms are three more.
        let down =
            (0..200).map(|look| Transaction::get(if look < 2 { State::High } else { State::Low }));
        let looks: Vec<_> = down.take(6 + 2 * 63).collect();
        let mut pin = Mock::new(&looks);
        let button = Button::new(pin.clone(), "GPIO17", Active::Low);
        let mut panel = Panel::new(vec![("gear".to_owned(), button)], None);
        let time = Arc::new(AtomicU64::new(0));
        let clock: Clock = {
            let time = Arc::clone(&time);
            Arc::new(move || time.load(Ordering::Relaxed))
        };
        let mut taken = Vec::new();
        let pause = |length: Duration| {
            time.fetch_add(length.as_micros() as u64, Ordering::Relaxed);
        };
        watch(&mut panel, &clock, pause, |label, press| {
            taken.push((label.to_owned(), press));
            Ok(taken.len() < 3)
        })
        .unwrap();
        assert_eq!(taken, vec![("gear".to_owned(), 1); 3]);
        pin.done();
    }
}
