//! A device that gives pictures, or windows of sound, on its own time: the latest one wins.
//!
//! Owns: the thread that reads a device or a program ([`Feed`]) one step at a time, the one picture that waits for whoever asks
//! next, and starting again after a failure. Does not own: how a step is done (`camera`, `command`).
//!
//! Invariants: at most two pictures are held, one that waits and one that is being read; a picture that was overtaken, and a
//! failure between two pictures, are gaps in the sequence numbers; nothing here waits longer than its bounds.

use super::mjpeg::complete;
use super::sound::Sound;
use super::{Clock, Frame, LiveError, Payload, Source, SourceError};
use crate::preprocess::PreprocessError;
use crate::preprocess::raw::{self, Layout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one who asks waits for a picture, a failure in between included: a camera that was pulled and is put back in, or a
/// program that is started again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a first failure; it doubles with each further one.
const FIRST_PAUSE_US: u64 = 250_000;
const LONGEST_PAUSE_US: u64 = 8_000_000;
/// The least time between two pictures, 250 a second: more than a classifier has a use for, and the bound for a program that writes
/// as fast as it can.
const SHORTEST_GAP_US: u64 = 4_000;
/// Raw frames in a row that are no pictures, before that is an error: a second of a camera's.
const BROKEN_FRAMES: u32 = 30;

/// A frame, or a window, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shot {
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
}

/// What the bytes of a shot are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Picture {
        layout: Layout,
        width: u32,
        height: u32,
    },
    Sound(Sound),
    /// A file as it would be read from a disk.
    File,
}

fn payload(
    layout: Layout,
    (width, height): (u32, u32),
    bytes: Vec<u8>,
) -> Result<Payload, PreprocessError> {
    Ok(match layout {
        Layout::Mjpeg => Payload::Encoded(complete(bytes)),
        layout => Payload::Decoded(raw::to_image(layout, width, height, &bytes)?),
    })
}

/// What one step of reading came to.
#[derive(Debug)]
pub(super) enum Step {
    /// A picture, and how many came before it in the same step and were passed over.
    Shot { shot: Shot, overtaken: u64 },
    /// Nothing yet; the step waited a little.
    Nothing,
    /// What was open is closed; the next step begins anew.
    Failed(LiveError),
    /// There is no more.
    Ended,
}

/// A device or a program, read one step at a time. A step takes at most some tenths of a second.
pub(super) trait Feed: Send {
    fn step(&mut self, now_us: u64) -> Step;

    /// What it gives one of, for errors.
    fn gives(&self) -> &'static str {
        "picture"
    }
}

/// What the reader and the one who asks share.
#[derive(Default)]
struct Slot {
    waiting: Option<(u64, u64, Shot)>,
    failed: Option<LiveError>,
    ended: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the slot and wakes whoever waits.
    fn change(&self, change: impl FnOnce(&mut Slot)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `enough`, or for so long.
    fn wait(&self, time: Duration, enough: impl Fn(&Slot) -> bool) -> MutexGuard<'_, Slot> {
        let slot = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(slot, time, |slot| !enough(slot));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Pauses the reader; it wakes at once when it has to stop.
    fn pause(&self, us: u64) {
        drop(self.wait(Duration::from_micros(us), |slot| slot.stop));
    }
}

/// A source on a thread of its own.
pub(super) struct Live {
    name: String,
    gives: &'static str,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    patience: Duration,
    /// Whether a picture ever came: before that, a failure is told at once.
    begun: bool,
}

impl Live {
    pub(super) fn start(
        name: String,
        feed: impl Feed + 'static,
        clock: Clock,
        patience: Duration,
    ) -> Result<Live, SourceError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let gives = feed.gives();
        let reader = std::thread::Builder::new()
            .name("source".into())
            .spawn(move || read(feed, &theirs, &clock))
            .map_err(|source| LiveError::Failed {
                name: name.clone(),
                source,
            })?;
        Ok(Live {
            name,
            gives,
            shared,
            reader: Some(reader),
            patience,
            begun: false,
        })
    }

    /// Waits for what comes next: its number, its time and itself; `None` at the end.
    pub(super) fn take(&mut self) -> Result<Option<(u64, u64, Shot)>, LiveError> {
        let begun = self.begun;
        let mut slot = self.shared.wait(self.patience, |slot| {
            slot.waiting.is_some() || slot.ended || (!begun && slot.failed.is_some())
        });
        if let Some(shot) = slot.waiting.take() {
            slot.failed = None;
            self.begun = true;
            return Ok(Some(shot));
        }
        if slot.ended {
            return Ok(None);
        }
        Err(slot.failed.take().unwrap_or(LiveError::Silent {
            name: self.name.clone(),
            what: self.gives,
            seconds: self.patience.as_secs(),
        }))
    }
}

impl Source for Live {
    /// Waits for the next picture. After an error it may be asked again: the reader goes on trying.
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let mut broken = 0;
        loop {
            let Some((seq, time_us, shot)) = self.take()? else {
                return Ok(None);
            };
            let payload = match shot.form {
                Form::Picture {
                    layout,
                    width,
                    height,
                } => payload(layout, (width, height), shot.bytes),
                Form::File => Ok(Payload::Encoded(shot.bytes)),
                Form::Sound(sound) => Ok(Payload::Encoded(sound.file(&shot.bytes))),
            };
            match payload {
                Ok(payload) => {
                    return Ok(Some(Frame {
                        seq,
                        time_us,
                        name: format!("{}#{seq}", self.name),
                        payload,
                    }));
                }
                Err(source) => {
                    broken += 1;
                    if broken == BROKEN_FRAMES {
                        let name = self.name.clone();
                        return Err(LiveError::Broken { name, source }.into());
                    }
                }
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.change(|slot| slot.stop = true);
        if let Some(reader) = self.reader.take() {
            // What the reader ended with is of no interest any more.
            let _ = reader.join();
        }
    }
}

/// The reader: one step after the other until it has to stop or there is no more.
fn read(mut feed: impl Feed, shared: &Shared, clock: &Clock) {
    let opened_us = clock();
    let mut seq = 0;
    let mut pauses = Pauses::default();
    while !shared.lock().stop {
        let now_us = clock();
        match feed.step(now_us) {
            Step::Shot { shot, overtaken } => {
                seq += overtaken;
                let taken = (seq, clock().saturating_sub(opened_us), shot);
                seq += 1;
                shared.change(|slot| slot.waiting = Some(taken));
                shared.pause(SHORTEST_GAP_US);
            }
            Step::Nothing => {}
            Step::Failed(error) => {
                // What was lost is not known; that something was, is.
                seq += u64::from(seq > 0);
                shared.change(|slot| slot.failed = Some(error));
                shared.pause(pauses.next(now_us));
            }
            Step::Ended => {
                shared.change(|slot| slot.ended = true);
                return;
            }
        }
    }
}

/// Pauses between attempts: each twice as long as the one before, until all went well for as long as the longest of them.
#[derive(Default)]
struct Pauses {
    failures: u32,
    last_us: u64,
}

impl Pauses {
    fn next(&mut self, now_us: u64) -> u64 {
        if now_us.saturating_sub(self.last_us) > 2 * LONGEST_PAUSE_US {
            self.failures = 0;
        }
        let pause = FIRST_PAUSE_US << self.failures.min(8);
        self.failures += 1;
        self.last_us = now_us;
        pause.min(LONGEST_PAUSE_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Steps as a test sends them. A step that was sent is done when the next one is taken.
    struct Script(Receiver<Step>);

    impl Feed for Script {
        fn step(&mut self, _: u64) -> Step {
            self.0.recv().unwrap_or(Step::Ended)
        }
    }

    /// The sender goes first, so that no reader waits for a step when its source ends.
    fn scripted(patience: Duration) -> (Live, SyncSender<Step>) {
        let (send, receive) = sync_channel(0);
        let clock: Clock = Arc::new(|| 7);
        let live = Live::start("script".into(), Script(receive), clock, patience).unwrap();
        (live, send)
    }

    fn grey(level: u8) -> Step {
        Step::Shot {
            shot: Shot {
                form: Form::Picture {
                    layout: Layout::Grey,
                    width: 8,
                    height: 8,
                },
                bytes: vec![level; 64],
            },
            overtaken: 0,
        }
    }

    fn failure() -> Step {
        Step::Failed(LiveError::Unplugged {
            device: "camera".into(),
        })
    }

    fn level(frame: &Frame) -> u8 {
        match &frame.payload {
            Payload::Decoded(image) => image.rgb[0],
            Payload::Encoded(_) => panic!("encoded"),
        }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_latest_picture_wins_and_what_it_overtook_is_a_gap() {
        let (mut live, send) = scripted(LONG);
        for step in [grey(1), Step::Nothing, grey(2), grey(3), Step::Nothing] {
            send.send(step).unwrap();
        }
        let frame = live.next().unwrap().unwrap();
        assert_eq!((frame.seq, level(&frame), &*frame.name), (2, 3, "script#2"));
        let Step::Shot { shot, .. } = grey(9) else {
            panic!()
        };
        send.send(Step::Shot { shot, overtaken: 4 }).unwrap();
        let frame = live.next().unwrap().unwrap();
        assert_eq!((frame.seq, level(&frame)), (7, 9));
    }

    #[test]
    fn a_recording_ends_behind_its_last_picture() {
        let (mut live, send) = scripted(LONG);
        send.send(grey(5)).unwrap();
        drop(send);
        assert_eq!(level(&live.next().unwrap().unwrap()), 5);
        assert!(live.next().unwrap().is_none());
        assert!(live.next().unwrap().is_none());
    }

    #[test]
    fn a_failure_before_the_first_picture_is_told_at_once() {
        let (mut live, send) = scripted(LONG);
        send.send(failure()).unwrap();
        assert!(matches!(
            live.next(),
            Err(SourceError::Live(LiveError::Unplugged { .. }))
        ));
    }

    #[test]
    fn a_failure_on_the_way_is_waited_out_and_leaves_a_gap() {
        let (mut live, send) = scripted(LONG);
        send.send(grey(1)).unwrap();
        assert_eq!(live.next().unwrap().unwrap().seq, 0);
        send.send(failure()).unwrap();
        send.send(grey(2)).unwrap();
        assert_eq!(live.next().unwrap().unwrap().seq, 2);
    }

    #[test]
    fn a_failure_that_lasts_is_told_and_then_it_may_be_asked_again() {
        let (mut live, send) = scripted(Duration::ZERO);
        send.send(grey(1)).unwrap();
        send.send(Step::Nothing).unwrap();
        assert!(live.next().is_ok());
        send.send(failure()).unwrap();
        send.send(Step::Nothing).unwrap();
        assert!(matches!(
            live.next(),
            Err(SourceError::Live(LiveError::Unplugged { .. }))
        ));
        let silent = live.next();
        assert!(matches!(
            silent,
            Err(SourceError::Live(LiveError::Silent { .. }))
        ));
        send.send(grey(2)).unwrap();
        send.send(Step::Nothing).unwrap();
        assert_eq!(level(&live.next().unwrap().unwrap()), 2);
    }

    #[test]
    fn a_broken_frame_is_passed_over_and_many_in_a_row_are_an_error() {
        let broken = || Step::Shot {
            shot: Shot {
                form: Form::Picture {
                    layout: Layout::Yuyv,
                    width: 8,
                    height: 8,
                },
                bytes: vec![0; 7],
            },
            overtaken: 0,
        };
        let (mut live, send) = scripted(LONG);
        let sender = std::thread::spawn(move || {
            let script = [broken(), grey(4)].into_iter();
            for step in script.chain(std::iter::repeat_with(broken)) {
                if send.send(step).is_err() {
                    return;
                }
            }
        });
        assert_eq!(level(&live.next().unwrap().unwrap()), 4);
        let error = live.next().unwrap_err().to_string();
        assert!(
            error.contains("YUYV") && error.contains("7 came"),
            "{error}"
        );
        drop(live);
        sender.join().unwrap();
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_good_while() {
        let mut pauses = Pauses::default();
        let all: Vec<u64> = (0..8).map(|i| pauses.next(i) / 1_000).collect();
        assert_eq!(all, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(pauses.next(3 * LONGEST_PAUSE_US), FIRST_PAUSE_US);
    }
}
