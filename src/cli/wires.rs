//! Buttons and lamps: what `--button`, `--wrong` and `--lamp` name, on the pins of the board's header.

use super::board::chosen;
use super::context::Context;
use anyhow::Result;
use embedded_hal::digital::InputPin;
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

/// What `PIN[:high|:low]` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    pub pin: String,
    pub active: Option<Active>,
}

impl Contact {
    pub fn parse(text: &str) -> Result<Contact, String> {
        let expected = "expected PIN, PIN:low or PIN:high";
        let (pin, active) = match text.split_once(':') {
            None => (text, None),
            Some((pin, "low")) => (pin, Some(Active::Low)),
            Some((pin, "high")) => (pin, Some(Active::High)),
            Some(_) => return Err(expected.into()),
        };
        if pin.is_empty() || pin.contains('=') {
            return Err(expected.into());
        }
        Ok(Contact {
            pin: pin.into(),
            active,
        })
    }
}

/// What `LABEL=PIN[:high|:low]` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    pub label: String,
    pub contact: Contact,
}

impl Wire {
    pub fn parse(text: &str) -> Result<Wire, String> {
        // A label may hold '='; a pin does not.
        let expected = "expected LABEL=PIN, LABEL=PIN:low or LABEL=PIN:high";
        let (label, rest) = text.rsplit_once('=').ok_or(expected)?;
        label::check(label).map_err(|e| e.to_string())?;
        Ok(Wire {
            label: label.into(),
            contact: Contact::parse(rest).map_err(|_| expected)?,
        })
    }

    /// As [`Wire::parse`], of a button: its label is given to samples.
    pub fn button(text: &str) -> Result<Wire, String> {
        let wire = Wire::parse(text)?;
        label::check_new(&wire.label).map_err(|e| e.to_string())?;
        Ok(wire)
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

/// Looks at the buttons of a panel until `take` or `pause`, which pauses for so long, says that it is enough.
pub fn watch<P: InputPin>(
    panel: &mut Panel<P>,
    clock: &Clock,
    mut pause: impl FnMut(Duration) -> bool,
    mut take: impl FnMut(Action) -> Result<bool>,
) -> Result<()> {
    loop {
        for action in panel.poll(clock())? {
            if !take(action)? {
                return Ok(());
            }
        }
        if !pause(LOOK) {
            return Ok(());
        }
    }
}

#[cfg(target_os = "linux")]
mod opened {
    use super::super::exit::Usage;
    use super::super::mistakes::Presses;
    use super::{
        Action, Active, Contact, Context, DeviceError, Panel, Result, Show, Wire, chosen, watch,
    };
    use fieldhead::board::Profile;
    use fieldhead::device::button::Button;
    use fieldhead::device::lamp::{Lamp, Lamps, Timing};
    use fieldhead::device::linux::{input, output};
    use fieldhead::label::UNKNOWN;
    use linux_embedded_hal::CdevPin;

    /// Refuses a pin that is named twice, by its name or its number, before any line is opened.
    pub fn each_once<'a>(
        board: Option<&str>,
        contacts: impl Iterator<Item = &'a Contact>,
    ) -> Result<()> {
        let contacts: Vec<&Contact> = contacts.collect();
        if contacts.len() < 2 {
            return Ok(());
        }
        let profile = chosen(board)?.profile;
        let mut seen = Vec::new();
        for contact in contacts {
            let (_, pin) = profile.pin(&contact.pin)?;
            if seen.contains(&pin.header) {
                let text = format!(
                    "pin {} is named twice; each button and each lamp has a pin of its own",
                    pin.name
                );
                return Err(Usage(text).into());
            }
            seen.push(pin.header);
        }
        Ok(())
    }

    /// Collects while a button is held, until `take`, given the label and the number of the press, says that it is enough.
    pub fn collect(
        context: &Context,
        board: Option<&str>,
        wires: &[Wire],
        mut take: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        each_once(board, wires.iter().map(|wire| &wire.contact))?;
        let mut panel = panel(board, wires, None)?;
        let pause = |length| {
            std::thread::sleep(length);
            true
        };
        watch(&mut panel, &context.clock, pause, |action| match action {
            Action::Collect { label, press } => take(label, press),
            Action::Wrong { .. } | Action::Correct { .. } => Ok(true),
        })
    }

    /// Opens a button a label and the one that says "wrong", and looks at them from now on.
    pub fn presses(
        context: &Context,
        board: Option<&str>,
        wires: &[Wire],
        wrong: &Contact,
    ) -> Result<Presses> {
        let panel = panel(board, wires, Some(wrong))?;
        Presses::start(panel, context.clock.clone())
    }

    fn panel(
        board: Option<&str>,
        wires: &[Wire],
        wrong: Option<&Contact>,
    ) -> Result<Panel<CdevPin>> {
        let profile = chosen(board)?.profile;
        let labels = wires
            .iter()
            .map(|wire| Ok((wire.label.clone(), button(&profile, &wire.contact)?)));
        let labels = labels.collect::<Result<_>>()?;
        let wrong = wrong.map(|contact| button(&profile, contact)).transpose()?;
        Ok(Panel::new(labels, wrong))
    }

    fn button(profile: &Profile, contact: &Contact) -> Result<Button<CdevPin>> {
        let (gpio, pin) = profile.pin(&contact.pin)?;
        let active = contact.active.unwrap_or(Active::Low);
        Ok(Button::new(input(gpio, pin, active)?, &pin.name, active))
    }

    /// Opens the lamps; without any, what shows is nothing.
    pub fn lamps(board: Option<&str>, wires: &[Wire]) -> Result<Show> {
        if wires.is_empty() {
            return Ok(Box::new(|_, _| Ok(())));
        }
        let profile = chosen(board)?.profile;
        let mut lamps = Vec::new();
        for wire in wires {
            let (gpio, pin) = profile.pin(&wire.contact.pin)?;
            let active = wire.contact.active.unwrap_or(Active::High);
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
    use super::super::mistakes::Presses;
    use super::{Contact, Context, Result, Show, Wire};

    pub fn each_once<'a>(_: Option<&str>, _: impl Iterator<Item = &'a Contact>) -> Result<()> {
        Ok(())
    }

    pub fn collect(
        _: &Context,
        _: Option<&str>,
        _: &[Wire],
        _: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        Err(Usage("buttons are read on Linux".into()).into())
    }

    pub fn presses(_: &Context, _: Option<&str>, _: &[Wire], _: &Contact) -> Result<Presses> {
        Err(Usage("buttons are read on Linux".into()).into())
    }

    pub fn lamps(_: Option<&str>, wires: &[Wire]) -> Result<Show> {
        match wires.is_empty() {
            true => Ok(Box::new(|_, _| Ok(()))),
            false => Err(Usage("lamps are lit on Linux".into()).into()),
        }
    }
}

pub use opened::{collect, each_once, lamps, presses};

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
            (&*plain.label, &*plain.contact.pin, plain.contact.active),
            ("hex nut", "GPIO17", None)
        );
        assert_eq!(wire("a=b=11:low").label, "a=b");
        assert_eq!(wire("x=11:high").contact.active, Some(Active::High));
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
        // A lamp may show it; a button would give it.
        assert!(Wire::parse("unknown=11").is_ok());
        assert!(Wire::button("unknown=11").unwrap_err().contains("no class"));
        assert!(Wire::button("gear=11").is_ok());
        let contact = Contact::parse("GPIO4:high").unwrap();
        assert_eq!(
            (&*contact.pin, contact.active),
            ("GPIO4", Some(Active::High))
        );
        for text in ["", ":low", "GPIO4:on", "gear=GPIO4"] {
            assert!(Contact::parse(text).is_err(), "{text}");
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
            true
        };
        watch(&mut panel, &clock, pause, |action| {
            if let Action::Collect { label, press } = action {
                taken.push((label.to_owned(), press));
            }
            Ok(taken.len() < 3)
        })
        .unwrap();
        assert_eq!(taken, vec![("gear".to_owned(), 1); 3]);
        pin.done();
    }
}
