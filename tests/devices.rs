//! Cameras and other programs as sources, from the command line: what comes of them, and what each failure is told as.

mod support;

use std::fs;
use support::Bench;

/// A field with a head for three parts, and `stream`: six gears as one stream of JPEG pictures.
fn trained() -> Bench {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.photos("new", 6, 2);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let mut stream = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    for number in 0..6 {
        stream.extend(fs::read(bench.path(&format!("new/gear/{number:02}.jpg"))).unwrap());
        stream.extend(b"\r\n--frame\r\n\r\n");
    }
    fs::write(bench.path("stream"), stream).unwrap();
    bench
}

#[test]
fn a_program_that_writes_pictures_is_collected_and_predicted() {
    let bench = trained();
    let seen = bench
        .ok(&["predict", "--source", "command:cat stream", "--json"])
        .one();
    assert_eq!(seen["label"], "gear");
    // The latest picture won: what was written with it was passed over.
    assert!(seen["seq"].as_u64().unwrap() > 0);
    let script = "command:sh -c 'cat stream; exec sleep 1000'";
    let args = ["collect", "--label", "gear", "--source", script, "--json"];
    let taken = bench.ok(&args).json();
    assert_eq!(taken[1]["collected"], 1);
    assert!(
        taken[0]["path"]
            .as_str()
            .unwrap()
            .starts_with("command:sh#")
    );
    // A recording ends, however many were asked for.
    let all = bench.ok(&[
        "predict",
        "--source",
        "command:cat stream",
        "--count",
        "99",
        "--json",
    ]);
    assert!((1..=6).contains(&all.json().len()));
}

#[test]
fn frames_of_one_call_are_one_burst() {
    let bench = Bench::new();
    bench.photos("new", 2, 2);
    let script = "command:sh -c 'for i in 0 1; do cat new/gear/0$i.jpg; read x < wait; done'";
    fs::write(bench.path("wait"), "").unwrap();
    // The second picture is written whether or not the first was taken; both lines of samples are the same burst.
    let args = [
        "collect", "--label", "gear", "--source", script, "--count", "2",
    ];
    bench.ok(&args);
    let samples = bench.ok(&["samples", "--json"]).json();
    for sample in &samples {
        assert_eq!(sample["burst"], samples[0]["burst"]);
        assert!(
            sample["burst"]
                .as_str()
                .unwrap()
                .starts_with("command:sh -c")
        );
    }
}

#[test]
fn raw_frames_are_read_by_the_size_that_was_given() {
    let bench = trained();
    fs::write(bench.path("raw"), [90; 64 * 48 * 2]).unwrap();
    let source = "command,format=yuyv,width=64,height=48:cat raw";
    bench.ok(&["predict", "--source", source]);
    let short = "command,format=yuyv,width=640,height=480:cat raw";
    bench.refused(&["predict", "--source", short], 4, "without a picture");
}

#[test]
fn every_failure_of_a_device_has_its_exit_code_and_its_cure() {
    let bench = trained();
    for (source, code, part) in [
        (
            "camera:/dev/video-none",
            4,
            "there is no camera /dev/video-none",
        ),
        ("camera:/dev/null", 4, "gives no pictures"),
        ("command:/no/such/program", 4, "there is no program"),
        ("command:/dev/null", 4, "chmod +x"),
        (
            "command:sh -c 'echo no lens >&2; exit 7'",
            4,
            "exit status: 7",
        ),
        (
            "command:sh -c 'echo no lens >&2; exit 7'",
            4,
            "saying: no lens",
        ),
        ("command:cat /dev/zero", 4, "without one whole picture"),
        ("camera:video0", 2, "such as /dev/video0"),
        ("command:", 2, "command:PROGRAM"),
    ] {
        bench.refused(&["predict", "--source", source], code, part);
        let args = [
            "--field", "other", "collect", "--label", "a", "--source", source,
        ];
        bench.refused(&args, code, part);
        assert!(
            !bench.path("other").exists(),
            "{source} left a field behind"
        );
    }
}
