//! Corrections by buttons: scripted pins, and presses that a test says itself.

use super::*;
use crate::cli::args::{Args, Verb};
use crate::cli::{change, train};
use clap::Parser;
use embedded_hal::digital::ErrorType;
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};
use fieldhead::device::button::{Active, Button};
use fieldhead::pipeline::Naming;
use fieldhead::source::Payload;
use fieldhead::source::line::{Light, Line, Part};
use fieldhead::store::HeadRecord;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_press_means_what_was_decided_last_when_it_began_however_late_it_is_told() {
    let mut lately = Lately::new();
    assert_eq!(lately.wrong(5), None);
    for frame in 1..=4 {
        lately.decide(frame, frame * 100);
    }
    for (since_us, meant) in [
        (99, None),
        (100, Some(1)),
        (399, Some(3)),
        (400, Some(4)),
        (9_000, Some(4)),
    ] {
        assert_eq!(lately.wrong(since_us).copied(), meant, "{since_us}");
    }
}

#[test]
fn the_second_of_two_presses_counts_and_what_is_meant_stays_while_others_are_decided() {
    let mut lately = Lately::new();
    lately.decide(1, 100);
    lately.decide(2, 200);
    assert_eq!(lately.wrong(150), Some(&1));
    assert_eq!(lately.wrong(250), Some(&2));
    for frame in 3..99 {
        lately.decide(frame, frame * 100);
    }
    assert_eq!(lately.decided.len(), KEPT);
    assert_eq!(lately.wrong.take().as_deref(), Some(&2));
    // It is corrected once, and a press from before all that is kept means nothing, not something later.
    assert!(lately.wrong.is_none());
    assert_eq!(lately.wrong(250), None);
}

#[test]
fn a_frame_that_was_overtaken_long_ago_is_let_go() {
    let mut lately = Lately::new();
    lately.decide(1, 0);
    lately.decide(2, 300_000);
    // A press that began before the second was decided may still be told.
    assert_eq!(lately.wrong(290_000), Some(&1));
    lately.decide(3, 600_000);
    assert_eq!(lately.decided.len(), 2);
    assert_eq!(lately.wrong(590_000), Some(&2));
}

/// Pins that are pressed where the text has a 1, a look a digit; the line of the first fails at the look behind its last.
fn panel(wrong: &str, gear: &str) -> (Panel<Mock>, [Mock; 2]) {
    let looks = |levels: &str| -> Vec<Transaction> {
        let level = |c| if c == '1' { State::Low } else { State::High };
        levels.chars().map(|c| Transaction::get(level(c))).collect()
    };
    let broken = MockError::Io(std::io::ErrorKind::Other);
    let mut of_wrong = looks(wrong);
    of_wrong.push(Transaction::get(State::High).with_error(broken));
    let pins = [Mock::new(&of_wrong), Mock::new(&looks(gear))];
    let [first, second] = &pins;
    let button = |pin: &Mock, name| Button::new(pin.clone(), name, Active::Low);
    let labels = vec![("gear".to_owned(), button(second, "GPIO17"))];
    let panel = Panel::new(labels, Some(button(first, "GPIO4")));
    (panel, pins)
}

/// 4 ms pass from one look to the next.
fn ticking() -> Clock {
    let time = AtomicU64::new(0);
    Arc::new(move || time.fetch_add(4_000, Ordering::Relaxed))
}

const WRONG: &str = "000111110000000000000000";
const GEAR: &str = "000000000001111000001111";

#[test]
fn a_thread_tells_presses_in_order_and_last_a_line_that_fails() {
    let (panel, mut pins) = panel(WRONG, GEAR);
    let presses = Presses::start(panel, ticking()).unwrap();
    let mut said = presses.said.iter();
    let mut next = || said.next().unwrap();
    assert_eq!(next().unwrap(), Press::Wrong { since_us: 12_000 });
    let gear = Press::Is {
        label: "gear".into(),
    };
    assert_eq!(next().unwrap(), gear);
    let error = next().unwrap_err();
    assert_eq!(crate::cli::code(&error), 4, "{error}");
    assert!(said.next().is_none());
    pins.iter_mut().for_each(Mock::done);
}

#[test]
fn a_label_that_comes_too_late_for_its_wrong_is_told_once_and_one_that_is_held_is_not() {
    let mut label_of = LabelOf::default();
    let mut press = |action| label_of.press(action);
    let alone = |press| Action::Collect {
        label: "gear",
        press,
    };
    let wrong = Action::Wrong { since_us: 7 };
    let late = Some(Press::Late {
        label: "gear".into(),
    });
    assert_eq!(press(alone(1)), None);
    assert!(press(wrong).is_some());
    // Held since before.
    assert_eq!(press(alone(1)), None);
    assert_eq!(press(alone(2)), late);
    assert_eq!(press(alone(2)), None);
    assert_eq!(press(alone(3)), None);
    assert!(press(wrong).is_some());
    assert!(press(Action::Correct { label: "gear" }).is_some());
    assert_eq!(press(alone(4)), None);
}

#[test]
fn ten_seconds_after_wrong_a_labels_button_is_late() {
    let looks = [&"1".repeat(9)[..], &"0".repeat(2_600)].concat();
    let gear = [&"0".repeat(2_590)[..], &"1".repeat(19)].concat();
    let (panel, mut pins) = panel(&looks, &gear);
    let presses = Presses::start(panel, ticking()).unwrap();
    let said: Vec<_> = presses.said.iter().map(|it| it.ok()).collect();
    let late = Press::Late {
        label: "gear".into(),
    };
    assert_eq!(said, [Some(Press::Wrong { since_us: 0 }), Some(late), None]);
    pins.iter_mut().for_each(Mock::done);
}

/// Somebody who presses without end, or never.
struct Hand(Option<u64>);

impl ErrorType for Hand {
    type Error = Infallible;
}

impl InputPin for Hand {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        self.is_low().map(|low| !low)
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        let Some(looks) = &mut self.0 else {
            return Ok(false);
        };
        *looks += 1;
        Ok(*looks % 10 < 5)
    }
}

/// A panel whose only button says "wrong".
fn handled(hand: Hand) -> Panel<Hand> {
    Panel::new(Vec::new(), Some(Button::new(hand, "GPIO4", Active::Low)))
}

#[test]
fn a_thread_that_looks_ends_when_nobody_listens_any_more() {
    drop(Presses::start(handled(Hand(None)), ticking()).unwrap());
}

#[test]
fn a_thread_that_waits_to_tell_ends_when_nobody_listens_any_more() {
    let (say, said) = mpsc::sync_channel(0);
    let (_stop, stopped) = mpsc::channel();
    let panel = handled(Hand(Some(0)));
    let looking = thread::spawn(move || look(panel, &ticking(), &stopped, &say));
    assert!(said.recv().unwrap().is_ok());
    drop(said);
    looking.join().unwrap();
}

pub fn field(folder: &Path) -> Context {
    let context = Context::of(folder);
    let embedder = context.embedder().unwrap();
    let mut line = Line::new(1, Light::day());
    let mut samples = Vec::new();
    for number in 0..6 {
        let part = [Part::Gear, Part::Screw][number % 2];
        let naming = Naming {
            label: part.label().into(),
            burst: number.to_string(),
            source: "line".into(),
            time_us: 0,
        };
        let payload = Payload::Decoded(line.frame(part));
        samples.push(pipeline::take_in(&embedder, &payload, naming, true, 1).unwrap());
    }
    pipeline::add(&context.create().unwrap(), &embedder, &samples).unwrap();
    let Verb::Train(options) = Args::parse_from(["fieldhead", "train", "--head", "ridge"]).verb
    else {
        panic!()
    };
    train::run(&context, &options).unwrap();
    context
}

pub fn frame(seq: u64, part: Part) -> Frame {
    let image = Line::new(2 + seq, Light::day()).frame(part);
    let rgb = image::RgbImage::from_raw(image.width, image.height, image.rgb).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    rgb.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    Frame {
        seq,
        time_us: 0,
        name: format!("camera#{seq}"),
        payload: Payload::Encoded(bytes.into_inner()),
    }
}

fn head(context: &Context) -> (u64, HeadRecord) {
    context.open_read_only().unwrap().current_head().unwrap()
}

#[test]
fn buttons_correct_as_the_verb_does_and_each_press_its_own_frame() {
    let [folder, twin] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let context = field(folder.path());
    let name = fieldhead::store::FILE_NAME;
    std::fs::copy(folder.path().join(name), twin.path().join(name)).unwrap();
    let embedder = context.embedder().unwrap();
    let (panel, mut pins) = panel(WRONG, GEAR);
    let presses = Presses::start(panel, ticking()).unwrap();
    let mut mistakes = Mistakes::new(Some(presses));
    // Decided before the press began, and behind.
    let meant = frame(0, Part::Washer);
    mistakes.decided(meant.clone(), 11_999);
    mistakes.decided(frame(1, Part::Washer), 12_001);
    let failed = loop {
        match mistakes.correct(&context, &embedder) {
            Ok(_) => thread::yield_now(),
            Err(error) => break error.to_string(),
        }
    };
    assert!(failed.contains("GPIO4"), "{failed}");
    pins.iter_mut().for_each(Mock::done);

    let Payload::Encoded(bytes) = &meant.payload else {
        panic!()
    };
    let photo = twin.path().join("photo.png");
    std::fs::write(&photo, bytes).unwrap();
    let args = ["fieldhead", "correct", "--label", "gear"];
    let args = args.map(Into::into).into_iter().chain([photo.into()]);
    let Verb::Correct(options) = Args::parse_from::<_, std::ffi::OsString>(args).verb else {
        panic!()
    };
    let other = Context::of(twin.path());
    change::correct(&other, &options).unwrap();
    let ((version, by_button), (_, by_verb)) = (head(&context), head(&other));
    assert_eq!(version, 2);
    assert_eq!(by_button.learned, by_verb.learned);
    let rows = |it: &Context| it.open().unwrap().features(embedder.recipe()).unwrap();
    assert_eq!(rows(&context), rows(&other));
    let sample = context.open().unwrap().sample(7).unwrap();
    assert_eq!((&*sample.label, &*sample.source), ("gear", "camera#0"));
}

/// Corrections whose presses a test says.
pub fn by_hand() -> (Mistakes, SyncSender<Result<Press>>) {
    let (say, said) = mpsc::sync_channel(WAITING);
    let presses = Presses {
        said,
        _stop: mpsc::channel().0,
        _looking: Looking(None),
    };
    (Mistakes::new(Some(presses)), say)
}

#[test]
fn a_correction_that_fails_is_none_and_the_next_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let context = field(folder.path());
    let embedder = context.embedder().unwrap();
    let (mut mistakes, say) = by_hand();
    mistakes.decided(frame(0, Part::Washer), 5);
    let mut correct = |label: &str, embedder: &Embedder| {
        let label = label.to_owned();
        say.send(Ok(Press::Wrong { since_us: 9 })).unwrap();
        say.send(Ok(Press::Is { label })).unwrap();
        mistakes.correct(&context, embedder).unwrap()
    };
    let before = head(&context);
    let busy = context.open().unwrap();
    assert!(correct("gear", &embedder).is_none());
    drop(busy);
    let mut other = Context::of(folder.path());
    other.settings.fit = Some(fieldhead::preprocess::Fit::Letterbox);
    assert!(correct("gear", &other.embedder().unwrap()).is_none());
    assert!(correct("a/b", &embedder).is_none());
    assert_eq!(head(&context), before);
    assert_eq!(context.open().unwrap().samples().unwrap().len(), 6);

    // A class that the head did not know; the field is free again at once.
    let learned = correct("washer", &embedder).unwrap();
    let (version, after) = head(&context);
    assert_eq!((version, &after.learned), (before.0 + 1, &learned.1));
    assert_eq!(learned.0, version);
    assert_eq!(learned.1.labels.len(), 3);
    // The same once more is told, as it is of a photo.
    assert!(correct("washer", &embedder).is_none());
    drop(context.open().unwrap());
    // Too late, it changes nothing, and the frame is let go.
    let label = "gear".to_owned();
    say.send(Ok(Press::Wrong { since_us: 9 })).unwrap();
    say.send(Ok(Press::Late { label })).unwrap();
    // A label alone says nothing.
    say.send(Ok(Press::Is {
        label: "gear".into(),
    }))
    .unwrap();
    assert!(mistakes.correct(&context, &embedder).unwrap().is_none());
    assert_eq!(head(&context).0, version);
}
