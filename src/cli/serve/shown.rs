//! The frames that somebody was shown, and what is said of them afterwards.

use fieldhead::source::{Frame, Payload};
use std::collections::VecDeque;
use std::rc::Rc;

/// Frames that were shown and may be named: so many, or fewer large ones, but several whatever they take.
const SHOWN: usize = 64;
const SHOWN_BYTES: usize = 16 << 20;
const SHOWN_ANYWAY: usize = 4;
/// Frames of one label that are collected at shorter intervals are one burst.
const BURST_US: u64 = 10_000_000;
/// A frame and the answer to it, as JSON.
pub struct Shown {
    pub frame: Frame,
    pub answer: Vec<u8>,
}

impl Shown {
    fn bytes(&self) -> usize {
        match &self.frame.payload {
            Payload::Encoded(bytes) => bytes.len(),
            Payload::Decoded(image) => image.rgb.len(),
        }
    }
}

/// The latest frame, and those that were shown lately.
pub struct Frames {
    /// When their counting began, in µs since 1970: those of another program have the same numbers.
    pub start: u64,
    pub latest: Option<Rc<Shown>>,
    /// Oldest first.
    shown: VecDeque<Rc<Shown>>,
}

impl Frames {
    pub fn since(start: u64) -> Frames {
        Frames {
            start,
            latest: None,
            shown: VecDeque::new(),
        }
    }

    /// Keeps a frame for what may be said of it, and lets go of the oldest.
    pub fn show(&mut self, one: Rc<Shown>) {
        if self.shown.iter().any(|shown| Rc::ptr_eq(shown, &one)) {
            return;
        }
        self.shown.push_back(one);
        let mut bytes: usize = self.shown.iter().map(|shown| shown.bytes()).sum();
        while self.shown.len() > SHOWN || (self.shown.len() > SHOWN_ANYWAY && bytes > SHOWN_BYTES) {
            let oldest = self.shown.pop_front();
            bytes -= oldest.map_or(0, |shown| shown.bytes());
        }
    }

    /// A frame that was shown, by its number and, where that is told, by the start of its counting.
    pub fn find(&self, seq: u64, start: Option<u64>) -> Option<Rc<Shown>> {
        let shown = self.shown.iter().find(|shown| shown.frame.seq == seq);
        let own = start.is_none_or(|start| start == self.start);
        shown.filter(|_| own).map(Rc::clone)
    }
}

/// Frames of one label, one shortly after the other: they show the same scene.
pub struct Burst {
    pub name: String,
    label: String,
    /// Of the last frame.
    clock_us: u64,
}

impl Burst {
    /// That of a frame which is collected now, after `last`.
    pub fn after(last: Option<&Burst>, label: &str, clock_us: u64, time_us: u64) -> Burst {
        let goes_on = |last: &&Burst| {
            last.label == label && clock_us.saturating_sub(last.clock_us) < BURST_US
        };
        let name = last.filter(goes_on).map(|last| last.name.clone());
        Burst {
            name: name.unwrap_or_else(|| format!("page@{time_us}")),
            label: label.to_owned(),
            clock_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_ends_with_another_label_or_a_pause() {
        let first = Burst::after(None, "gear", 1, 100);
        assert_eq!(first.name, "page@100");
        let second = Burst::after(Some(&first), "gear", BURST_US, 200);
        assert_eq!(second.name, "page@100");
        // From the last frame on, not from the first.
        let third = Burst::after(Some(&second), "gear", 2 * BURST_US - 1, 300);
        assert_eq!(third.name, "page@100");
        let paused = Burst::after(Some(&second), "gear", 2 * BURST_US, 300);
        assert_eq!(paused.name, "page@300");
        assert_eq!(Burst::after(Some(&second), "nut", 5, 400).name, "page@400");
    }

    fn frame(seq: u64, bytes: usize) -> Rc<Shown> {
        Rc::new(Shown {
            frame: Frame {
                seq,
                time_us: 0,
                name: String::new(),
                payload: Payload::Encoded(vec![0; bytes]),
            },
            answer: Vec::new(),
        })
    }

    #[test]
    fn frames_are_kept_by_what_they_take_and_found_by_who_counted_them() {
        for (bytes, kept) in [
            (1, SHOWN),
            (SHOWN_BYTES / 8, 8),
            (SHOWN_BYTES, SHOWN_ANYWAY),
        ] {
            let mut frames = Frames::since(5);
            for seq in 0..100 {
                let one = frame(seq, bytes);
                frames.show(Rc::clone(&one));
                frames.show(one);
            }
            let found = (0..100).filter(|&seq| frames.find(seq, None).is_some());
            assert_eq!(found.count(), kept, "{bytes}");
            assert!(frames.find(99, Some(5)).is_some());
            assert!(frames.find(99, Some(6)).is_none());
        }
    }
}
