//! A push button: bounces taken out, and what a press that lasts means.

use super::{DeviceError, line_error};
use embedded_hal::digital::InputPin;

/// A level that lasted so long is meant: switches bounce for 1.5 ms on average and 6.2 ms at worst in Ganssle's measurements ("A Guide
/// to Debouncing"); twice the worst is still far below what a hand notices.
const SETTLED_US: u64 = 12_000;
/// How often a button that is held asks for a sample: four a second differ from each other, and a hand can count them.
const AGAIN_US: u64 = 250_000;

/// Which level of a pin means "pressed" or "on".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// To ground, with a pull-up resistor: the usual wiring of a button.
    #[default]
    Low,
    High,
}

/// What a button came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Down since so long, told once that had lasted.
    Pressed {
        since_us: u64,
    },
    /// Held on since it was pressed or since the last time this was said.
    Held,
    Released,
}

/// The level behind the bounces. A change counts once it lasted for `SETTLED_US`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Debounce {
    down: bool,
    /// Since when the raw level differs from `down`.
    differs_us: Option<u64>,
}

impl Debounce {
    /// Takes the raw level; the settled one, where it changed.
    pub fn update(&mut self, raw: bool, now_us: u64) -> Option<bool> {
        if raw == self.down {
            self.differs_us = None;
            return None;
        }
        let since = *self.differs_us.get_or_insert(now_us);
        if now_us.saturating_sub(since) < SETTLED_US {
            return None;
        }
        self.down = raw;
        self.differs_us = None;
        Some(raw)
    }
}

/// A button on a pin.
pub struct Button<P> {
    pin: P,
    name: String,
    active: Active,
    level: Debounce,
    /// While it is down: when it was last told.
    told_us: Option<u64>,
}

impl<P: InputPin> Button<P> {
    pub fn new(pin: P, name: &str, active: Active) -> Button<P> {
        Button {
            pin,
            name: name.into(),
            active,
            level: Debounce::default(),
            told_us: None,
        }
    }

    /// Reads the pin; to be called every few milliseconds.
    pub fn poll(&mut self, now_us: u64) -> Result<Option<Event>, DeviceError> {
        let down = match self.active {
            Active::Low => self.pin.is_low(),
            Active::High => self.pin.is_high(),
        };
        let down = down.map_err(|e| line_error(&self.name, &e))?;
        let since_us = self.level.differs_us.unwrap_or(now_us);
        match self.level.update(down, now_us) {
            Some(true) => {
                self.told_us = Some(now_us);
                return Ok(Some(Event::Pressed { since_us }));
            }
            Some(false) => {
                self.told_us = None;
                return Ok(Some(Event::Released));
            }
            None => {}
        }
        match self.told_us {
            Some(told) if now_us.saturating_sub(told) >= AGAIN_US => {
                self.told_us = Some(now_us);
                Ok(Some(Event::Held))
            }
            _ => Ok(None),
        }
    }
}
