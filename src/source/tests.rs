//! A camera step by step: every call that is made of V4L2 is scripted, and each fails in turn.

use super::camera::{Camera, CameraSpec, Mode, Video, negotiate};
use super::live::{Feed, Live, Step};
use super::*;
use crate::preprocess::raw::Layout;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What a call of V4L2 answers.
enum Answer {
    Open(io::Result<Vec<[u8; 4]>>),
    Mode(io::Result<Mode>),
    Start(io::Result<()>),
    Wait(io::Result<bool>),
    Take(io::Result<(bool, Vec<u8>)>),
}

/// A driver that answers by a script; what is asked out of turn fails the test.
struct Script(VecDeque<Answer>);

macro_rules! answer {
    ($script:expr, $kind:ident) => {
        match $script.0.pop_front() {
            Some(Answer::$kind(answer)) => answer,
            _ => panic!(concat!(stringify!($kind), " out of turn")),
        }
    };
}

impl Video for Script {
    fn open(&mut self, _: &Path) -> io::Result<Vec<[u8; 4]>> {
        answer!(self, Open)
    }
    fn set_mode(&mut self, _: &Mode) -> io::Result<Mode> {
        answer!(self, Mode)
    }
    fn start(&mut self) -> io::Result<()> {
        answer!(self, Start)
    }
    fn wait(&mut self, _: u16) -> io::Result<bool> {
        if self.0.is_empty() {
            return Ok(false);
        }
        answer!(self, Wait)
    }
    fn take(&mut self, limit: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let (sound, frame) = answer!(self, Take)?;
        bytes.extend(frame.iter().take(limit));
        Ok(sound)
    }
    fn close(&mut self) {}
}

fn os(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;

fn mode(fourcc: &[u8; 4], width: u32, height: u32, stride: u32) -> Mode {
    Mode {
        fourcc: *fourcc,
        width,
        height,
        stride,
    }
}

/// A camera of 8x8 grey pixels that opens well.
fn opening() -> Vec<Answer> {
    vec![
        Answer::Open(Ok(vec![*b"GREY"])),
        Answer::Mode(Ok(mode(b"GREY", 8, 8, 8))),
        Answer::Start(Ok(())),
    ]
}

fn frame(level: u8) -> Vec<Answer> {
    vec![
        Answer::Wait(Ok(true)),
        Answer::Take(Ok((true, vec![level; 64]))),
    ]
}

fn spec(text: &str) -> CameraSpec {
    match parse(text) {
        Ok(Spec::Camera(spec)) => spec,
        _ => panic!("{text}"),
    }
}

fn grey() -> CameraSpec {
    spec("camera:/dev/video7,format=grey,width=8,height=8")
}

fn camera(script: Vec<Vec<Answer>>) -> Camera<Script> {
    Camera::new(Script(script.into_iter().flatten().collect()), grey())
}

fn failure(camera: &mut Camera<Script>, now_us: u64) -> String {
    match camera.step(now_us) {
        Step::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What is said of a driver's answers to `text`.
fn negotiated(
    text: &str,
    offered: &[&[u8; 4]],
    got: Option<Mode>,
) -> Result<(Layout, Mode), String> {
    let mut answers = VecDeque::from([Answer::Open(Ok(offered.iter().map(|f| **f).collect()))]);
    answers.extend(got.map(|mode| Answer::Mode(Ok(mode))));
    let mut script = Script(answers);
    let negotiated = negotiate(&mut script, &spec(text)).map_err(|e| e.to_string());
    assert!(script.0.is_empty(), "{text}: not all was asked");
    negotiated
}

#[test]
fn each_call_fails_in_turn_and_the_error_says_what_to_do() {
    let cures = [
        (ENOENT, "there is no camera /dev/video7; plug it in"),
        (EACCES, "group video"),
        (EBUSY, "fuser /dev/video7"),
        (ENODEV, "unplugged"),
        (ENOTTY, "gives no pictures"),
        (EINVAL, "gives no pictures"),
        (ENOSPC, "USB bus has no room"),
        (EIO, "failed"),
    ];
    for (number, cure) in cures {
        for at in 0..5 {
            let mut script = opening();
            script.extend(frame(1));
            script.truncate(at);
            script.push(match at {
                0 => Answer::Open(Err(os(number))),
                1 => Answer::Mode(Err(os(number))),
                2 => Answer::Start(Err(os(number))),
                3 => Answer::Wait(Err(os(number))),
                _ => Answer::Take(Err(os(number))),
            });
            let mut camera = camera(vec![script, opening(), frame(3)]);
            let said = failure(&mut camera, 0);
            assert!(said.contains(cure), "{number} at {at}: {said}");
            // Then it is opened anew.
            assert!(matches!(camera.step(1), Step::Shot { shot, .. } if shot.bytes == [3; 64]));
        }
    }
}

#[test]
fn the_format_is_chosen_among_what_is_offered() {
    for (text, offered, got, layout) in [
        (
            "camera",
            &[b"MJPG", b"YUYV"][..],
            mode(b"YUYV", 640, 480, 1280),
            Layout::Yuyv,
        ),
        (
            "camera",
            &[b"H264", b"JPEG"],
            mode(b"JPEG", 640, 480, 0),
            Layout::Mjpeg,
        ),
        (
            "camera",
            &[b"GREY", b"RGB3"],
            mode(b"RGB3", 320, 240, 960),
            Layout::Rgb24,
        ),
        (
            "camera,width=1280,height=720",
            &[b"YUYV", b"MJPG"],
            mode(b"MJPG", 1280, 720, 0),
            Layout::Mjpeg,
        ),
        (
            "camera,width=1280,height=720",
            &[b"YUYV", b"H264"],
            mode(b"YUYV", 1280, 720, 2560),
            Layout::Yuyv,
        ),
        (
            "camera,format=mjpeg",
            &[b"YUYV", b"MJPG"],
            mode(b"MJPG", 640, 480, 0),
            Layout::Mjpeg,
        ),
    ] {
        let (chosen, _) = negotiated(text, offered, Some(got)).unwrap();
        assert_eq!(chosen, layout, "{text}");
    }
}

#[test]
fn a_format_that_is_not_offered_or_silently_replaced_is_told() {
    let none = negotiated("camera", &[], None).unwrap_err();
    assert!(none.contains("does not capture"), "{none}");
    let h264 = negotiated("camera", &[b"H264", b"NV12"], None).unwrap_err();
    assert!(h264.contains("offers H264, NV12"), "{h264}");
    assert!(h264.contains("use the board's own program"), "{h264}");
    let many: [&[u8; 4]; 4] = [b"YUYV", b"UYVY", b"GREY", b"Y16\xa0"];
    let asked = negotiated("camera,format=rgb", &many, None).unwrap_err();
    assert!(
        asked.contains("does not offer RGB, it offers YUYV, GREY; name one"),
        "{asked}"
    );
    assert_eq!(
        [camera::text(b"Y16 "), camera::text(b"Y16\xa0")],
        ["Y16", "Y16-BE"]
    );
    for (text, got) in [
        ("camera", mode(b"MJPG", 640, 480, 0)),
        ("camera,width=320,height=240", mode(b"YUYV", 352, 288, 704)),
    ] {
        let said = negotiated(text, &[b"YUYV"], Some(got)).unwrap_err();
        assert!(
            said.contains("was asked for") && said.contains("would give"),
            "{said}"
        );
    }
    // Without a size of one's own, the driver's is taken.
    let (_, taken) = negotiated("camera", &[b"YUYV"], Some(mode(b"YUYV", 352, 288, 0))).unwrap();
    assert_eq!(taken, mode(b"YUYV", 352, 288, 704));
    for nonsense in [
        mode(b"YUYV", 0, 0, 0),
        mode(b"YUYV", 640, 480, 3),
        mode(b"YUYV", 640, 480, u32::MAX),
        mode(b"YUYV", u32::MAX, u32::MAX, 0),
    ] {
        let said = negotiated("camera", &[b"YUYV"], Some(nonsense)).unwrap_err();
        assert!(said.contains("is no picture"), "{said}");
    }
}

#[test]
fn gaps_between_rows_are_taken_out() {
    let script = vec![
        Answer::Open(Ok(vec![*b"GREY"])),
        Answer::Mode(Ok(mode(b"GREY", 8, 8, 10))),
        Answer::Start(Ok(())),
        Answer::Wait(Ok(true)),
        Answer::Take(Ok((true, (0..90u8).collect()))),
    ];
    let Step::Shot { shot, .. } = camera(vec![script]).step(0) else {
        panic!()
    };
    assert_eq!(
        (shot.bytes.len(), &shot.bytes[6..10]),
        (64, &[6, 7, 10, 11][..])
    );
}

#[test]
fn a_damaged_frame_is_passed_over_and_silence_is_told_when_it_lasts() {
    let damaged = vec![
        Answer::Wait(Ok(true)),
        Answer::Take(Ok((false, vec![0; 64]))),
    ];
    let mut camera = camera(vec![opening(), damaged, frame(2)]);
    assert!(matches!(camera.step(0), Step::Nothing));
    assert!(matches!(camera.step(1_000), Step::Shot { .. }));
    assert!(matches!(camera.step(5_000_000), Step::Nothing));
    let said = failure(&mut camera, 5_002_000);
    assert!(said.contains("no picture for 5 s"), "{said}");
}

#[test]
fn a_camera_that_is_pulled_and_put_back_goes_on_with_a_gap() {
    let pulled = || vec![Answer::Wait(Err(os(ENODEV)))];
    let gone = || vec![Answer::Open(Err(os(ENOENT)))];
    let mut alone = camera(vec![opening(), frame(1), pulled(), gone()]);
    assert!(matches!(alone.step(0), Step::Shot { .. }));
    for now_us in 1..3 {
        assert!(failure(&mut alone, now_us).contains("was unplugged"));
    }
    let all = camera(vec![
        opening(),
        frame(1),
        pulled(),
        gone(),
        opening(),
        frame(9),
    ]);
    let clock: Clock = Arc::new(|| 5);
    let mut live = Live::start("camera".into(), all, clock, Duration::from_secs(60)).unwrap();
    let mut last = live.next().unwrap().unwrap();
    if last.seq == 0 {
        last = live.next().unwrap().unwrap();
    }
    let Payload::Decoded(image) = last.payload else {
        panic!()
    };
    assert_eq!((last.seq, image.rgb[0]), (3, 9));
}
