//! The buttons of one board together: a button a label, and one that says "wrong".
//!
//! A label's button collects samples of that label, as long as it is held: one press is one burst. "Wrong" and then a label's button
//! corrects what had been decided last when "wrong" was pressed.

use super::DeviceError;
use super::button::{Button, Event};
use embedded_hal::digital::InputPin;

/// How long "wrong" waits for the label that would have been right.
pub const CORRECTION_US: u64 = 10_000_000;

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Take a sample. `press` counts presses from 1: samples of one press are one burst.
    Collect { label: &'a str, press: u64 },
    /// What was decided last at that time was wrong; which label is right comes next, or not at all.
    Wrong { since_us: u64 },
    /// What was wrong should have been this.
    Correct { label: &'a str },
}

/// Buttons that are read together.
pub struct Panel<P> {
    labels: Vec<(String, Button<P>)>,
    wrong: Option<Button<P>>,
    presses: u64,
    /// The label whose button collects at the moment.
    collecting: Option<usize>,
    /// Until when a label's button corrects instead of collecting.
    corrects_until_us: Option<u64>,
}

impl<P: InputPin> Panel<P> {
    pub fn new(labels: Vec<(String, Button<P>)>, wrong: Option<Button<P>>) -> Panel<P> {
        Panel {
            labels,
            wrong,
            presses: 0,
            collecting: None,
            corrects_until_us: None,
        }
    }

    /// Reads all buttons; to be called every few milliseconds. What two buttons ask for at the same moment comes one after the
    /// other; while one collects, the others do not.
    pub fn poll(&mut self, now_us: u64) -> Result<Vec<Action<'_>>, DeviceError> {
        let mut asked = Vec::new();
        if let Some(wrong) = &mut self.wrong
            && let Some(Event::Pressed { since_us }) = wrong.poll(now_us)?
        {
            self.corrects_until_us = Some(now_us.saturating_add(CORRECTION_US));
            asked.push(Action::Wrong { since_us });
        }
        // A correction does not wait for another button, which may be stuck, to be let go.
        let corrects = &mut self.corrects_until_us;
        corrects.take_if(|until| *until <= now_us);
        for (at, (label, button)) in self.labels.iter_mut().enumerate() {
            let event = button.poll(now_us)?;
            let free = self.collecting.is_none();
            match event {
                Some(Event::Pressed { .. }) if corrects.take().is_some() => {
                    asked.push(Action::Correct { label });
                    continue;
                }
                Some(Event::Pressed { .. }) if free => {
                    self.presses += 1;
                    self.collecting = Some(at);
                }
                Some(Event::Held) => {}
                Some(Event::Released) => {
                    if self.collecting == Some(at) {
                        self.collecting = None;
                    }
                    continue;
                }
                Some(Event::Pressed { .. }) | None => continue,
            }
            if self.collecting == Some(at) {
                let press = self.presses;
                asked.push(Action::Collect { label, press });
            }
        }
        Ok(asked)
    }
}
