//! Lamps and relays: one a decision, without flicker.

use super::button::Active;
use super::{DeviceError, line_error};
use embedded_hal::digital::{OutputPin, PinState};

/// How a decision becomes a light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// A new decision has to last so long before anything changes.
    pub settle_us: u64,
    /// What was switched on stays on for at least so long.
    pub hold_us: u64,
}

impl Default for Timing {
    /// Three frames at 15 a second, so that a single wrong one changes nothing; half a second for the eye, and for a relay, whose
    /// contacts live longer the less often they switch.
    fn default() -> Timing {
        Timing {
            settle_us: 200_000,
            hold_us: 500_000,
        }
    }
}

/// Which of several outputs is on, behind decisions that waver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hysteresis {
    timing: Timing,
    on: Option<usize>,
    since_us: u64,
    wanted: Option<usize>,
    wanted_us: u64,
}

impl Hysteresis {
    pub fn new(timing: Timing) -> Hysteresis {
        Hysteresis {
            timing,
            ..Hysteresis::default()
        }
    }

    /// Takes a decision, the number of its output or none; what is on now.
    pub fn update(&mut self, decided: Option<usize>, now_us: u64) -> Option<usize> {
        if decided != self.wanted {
            self.wanted = decided;
            self.wanted_us = now_us;
        }
        let settled = now_us.saturating_sub(self.wanted_us) >= self.timing.settle_us;
        let held = self.on.is_none() || now_us.saturating_sub(self.since_us) >= self.timing.hold_us;
        if self.wanted != self.on && settled && held {
            self.on = self.wanted;
            self.since_us = now_us;
        }
        self.on
    }
}

/// One output.
pub struct Lamp<P: OutputPin> {
    pub pin: P,
    /// What errors call it.
    pub name: String,
    pub active: Active,
    /// The label it stands for; `None` for *unknown*.
    pub label: Option<String>,
}

impl<P: OutputPin> Lamp<P> {
    fn set(&mut self, on: bool) -> Result<(), DeviceError> {
        let level = PinState::from(on == (self.active == Active::High));
        let set = self.pin.set_state(level);
        set.map_err(|e| line_error(&self.name, &e))
    }
}

/// The outputs of one board. They are off at the beginning and, as far as their lines still work, at the end.
pub struct Lamps<P: OutputPin> {
    lamps: Vec<Lamp<P>>,
    hysteresis: Hysteresis,
    on: Option<usize>,
}

impl<P: OutputPin> Lamps<P> {
    pub fn new(mut lamps: Vec<Lamp<P>>, timing: Timing) -> Result<Lamps<P>, DeviceError> {
        lamps.iter_mut().try_for_each(|lamp| lamp.set(false))?;
        Ok(Lamps {
            lamps,
            hysteresis: Hysteresis::new(timing),
            on: None,
        })
    }

    /// Shows a decision: a label, or `None` for *unknown*. A label without a lamp lights none. What is off is switched before what
    /// is on, so that two relays are never closed together.
    pub fn show(&mut self, label: Option<&str>, now_us: u64) -> Result<(), DeviceError> {
        let mut lamps = self.lamps.iter();
        let decided = lamps.position(|lamp| lamp.label.as_deref() == label);
        let on = self.hysteresis.update(decided, now_us);
        if on == self.on {
            return Ok(());
        }
        if let Some(lamp) = self.on.and_then(|old| self.lamps.get_mut(old)) {
            lamp.set(false)?;
        }
        self.on = None;
        if let Some(lamp) = on.and_then(|new| self.lamps.get_mut(new)) {
            lamp.set(true)?;
        }
        self.on = on;
        Ok(())
    }
}

impl<P: OutputPin> Drop for Lamps<P> {
    fn drop(&mut self) {
        for lamp in &mut self.lamps {
            // A line that fails at the end has nobody left to tell.
            let _ = lamp.set(false);
        }
    }
}
