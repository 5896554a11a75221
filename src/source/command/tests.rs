//! Programs that speak, flood, stall and die.

use super::*;

/// A JPEG of the least length that is one by its markers.
const JPEG: &str = r"\377\330\377\331";

fn shell(script: &str, frames: Frames) -> Command {
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    Command::new(CommandSpec { words, frames })
}

fn raw(bytes: usize) -> Frames {
    Frames::Raw {
        layout: Layout::Grey,
        width: 8,
        height: 8,
        bytes,
    }
}

/// Steps until something comes of it, at a standing clock.
fn outcome(command: &mut Command) -> Step {
    loop {
        match command.step(0) {
            Step::Nothing => {}
            other => return other,
        }
    }
}

fn failure(command: &mut Command) -> LiveError {
    match outcome(command) {
        Step::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pictures_come_as_they_were_written_and_the_end_is_the_end() {
    let script = format!("printf 'words {JPEG}'; printf words >&2");
    let mut command = shell(&script, Frames::Mjpeg);
    let Step::Shot { shot, .. } = outcome(&mut command) else {
        panic!()
    };
    assert_eq!(
        (shot.layout, &*shot.bytes),
        (Layout::Mjpeg, &b"\xff\xd8\xff\xd9"[..])
    );
    assert!(matches!(outcome(&mut command), Step::Ended));
}

#[test]
fn raw_frames_are_cut_by_their_size() {
    let mut command = shell("printf 'aabbccd'", raw(2));
    let Step::Shot { shot, overtaken } = outcome(&mut command) else {
        panic!()
    };
    assert_eq!((&*shot.bytes, overtaken), (&b"cc"[..], 2));
    assert!(matches!(outcome(&mut command), Step::Ended));
}

#[test]
fn a_program_that_is_not_there_or_may_not_be_run_is_told() {
    let words = vec!["/no/such/program".to_owned()];
    let frames = Frames::Mjpeg;
    let error = failure(&mut Command::new(CommandSpec { words, frames }));
    assert!(matches!(error, LiveError::NoProgram { .. }), "{error}");
    let words = vec!["/dev/null".to_owned()];
    let error = failure(&mut Command::new(CommandSpec { words, frames }));
    assert!(matches!(error, LiveError::NotExecutable { .. }), "{error}");
}

#[test]
fn a_program_that_dies_is_told_with_its_last_words_and_started_again() {
    let script = "echo first >&2; echo 'no cameras available' >&2; exit 3";
    let mut command = shell(script, Frames::Mjpeg);
    for _ in 0..2 {
        let error = failure(&mut command).to_string();
        for part in [
            "exit status: 3",
            "without a picture",
            "saying: no cameras available",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    let mut killed = shell("kill -9 $$", Frames::Mjpeg);
    assert!(failure(&mut killed).to_string().contains("signal: 9"));
    // Success without a picture is none.
    let error = failure(&mut shell("true", Frames::Mjpeg)).to_string();
    assert!(
        error.contains("exit status: 0, without a picture"),
        "{error}"
    );
}

#[test]
fn a_program_that_stalls_is_told_and_ended_with_all_that_it_started() {
    let mut command = shell("sleep 1000 & echo $! >&2; wait", Frames::Mjpeg);
    let mut child = String::new();
    while child.is_empty() {
        assert!(matches!(command.step(0), Step::Nothing));
        let running = command.running.as_ref().unwrap();
        child = String::from_utf8(running.said.clone()).unwrap();
    }
    let Step::Failed(error) = command.step(SILENT_US + 1) else {
        panic!()
    };
    assert!(
        matches!(error, LiveError::Silent { seconds: 10, .. }),
        "{error}"
    );
    assert!(command.running.is_none());
    let status = format!("/proc/{}/status", child.trim());
    let gone = || match std::fs::read_to_string(&status) {
        Ok(text) => text.contains("State:\tZ"),
        Err(_) => true,
    };
    // The signal was sent; its receiver ends when the kernel comes to it.
    while !gone() {
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_floods_is_told_within_a_bound_and_frames_are_passed_over() {
    let mut command = shell("cat /dev/zero", Frames::Mjpeg);
    let error = failure(&mut command);
    assert!(matches!(error, LiveError::Flood { .. }), "{error}");
    let mut command = shell("cat /dev/zero", raw(64));
    for _ in 0..50 {
        let Step::Shot { shot, .. } = outcome(&mut command) else {
            panic!()
        };
        assert_eq!(shot.bytes.len(), 64);
    }
}

#[test]
fn a_program_that_closes_its_output_and_goes_on_is_ended() {
    let mut command = shell("exec >&-; sleep 1000", Frames::Mjpeg);
    while command
        .running
        .as_ref()
        .is_none_or(|r| r.closed_us.is_none())
    {
        assert!(matches!(command.step(0), Step::Nothing));
    }
    let Step::Failed(error) = command.step(ENDING_US + 1) else {
        panic!()
    };
    assert!(error.to_string().contains("went on"), "{error}");
}

#[test]
fn a_flood_of_words_is_heard_within_a_bound() {
    let script = "head -c 100000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo end >&2";
    let error = failure(&mut shell(script, Frames::Mjpeg)).to_string();
    assert!(
        error.contains("saying: end") && error.len() < 300,
        "{error}"
    );
}
