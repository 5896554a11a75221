//! Cameras and other programs as sources, from the command line: what comes of them, and what each failure is told as.

mod support;

use serde_json::{Value, json};
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

/// A program that writes samples of sound for `board read`.
fn microphone(options: &str, script: &str) -> String {
    format!("command,format=s16le,rate=8000,window_ms=20{options}:sh -c \"{script}\"")
}

#[test]
fn a_microphone_is_read_as_levels_of_windows() {
    let bench = Bench::new();
    // Two channels, the right one at the end of the scale every other time: 0.5 and 0, then 0.5 and 1.
    let rows = r"printf '\000\100\000\000\000\100\377\177%.0s' $(seq 80)";
    let source = microphone(",channels=2", rows);
    let window = bench.ok(&["board", "read", &source, "--json"]).one();
    assert_eq!(window["seq"], 0);
    assert!(window["time_us"].is_u64(), "{window}");
    let [left, right] = &window["channels"].as_array().unwrap()[..] else {
        panic!("{window}")
    };
    assert_eq!(
        (&left["peak_dbfs"], &left["rms_dbfs"]),
        (&json!(-6.0206), &json!(-6.0206))
    );
    assert_eq!(
        (&left["note"], &left["clipped_share"]),
        (&json!("digital silence"), &json!(0.0))
    );
    assert_eq!(
        (&right["note"], &right["clipped_share"]),
        (&json!("clipping: lower the gain"), &json!(0.5))
    );
    assert_eq!(right["rms_dbfs"], -3.010565);
    let text = bench.ok(&["board", "read", &source]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, parts) in lines.iter().zip([
        &["peak dBFS", "RMS dBFS"][..],
        &["-6.0", "digital silence"],
        &["0.0", "-3.0", "50.00", "clipping"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{text}");
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn silence_is_no_level_and_a_recording_ends_behind_its_last_whole_window() {
    let bench = Bench::new();
    let source = microphone("", "head -c 500 /dev/zero");
    let silent = bench
        .ok(&["board", "read", &source, "--count", "9", "--json"])
        .one();
    let channel = json!({
        "peak_dbfs": null, "rms_dbfs": null, "clipped_share": 0.0, "not_finite_share": 0.0, "note": "digital silence",
    });
    assert_eq!(silent["channels"], json!([channel]));
    let floats = "command,format=f32le,rate=8000,window_ms=20:sh -c \"head -c 640 /dev/zero | tr '\\000' '\\377'\"";
    let strange = bench.ok(&["board", "read", floats, "--json"]).one();
    assert_eq!(strange["channels"][0]["not_finite_share"], 1.0);
    assert_eq!(strange["channels"][0]["rms_dbfs"], Value::Null);
    // A flood is passed over: numbers tell of what was.
    let flood = microphone("", "cat /dev/zero");
    let windows = bench
        .ok(&["board", "read", &flood, "--count", "4", "--json"])
        .json();
    assert!(
        windows.len() == 4 && windows[3]["seq"].as_u64() > Some(3),
        "{windows:?}"
    );
}

#[test]
fn every_failure_of_a_microphone_has_its_exit_code_and_its_cure() {
    let bench = Bench::new();
    let options = "command,format=s16le,rate=8000,window_ms=20";
    for (source, code, part) in [
        (
            format!("{options}:/no/such/program"),
            4,
            "there is no program",
        ),
        (format!("{options}:/dev/null"), 4, "chmod +x"),
        (
            microphone("", "echo no card >&2; exit 7"),
            4,
            "exit status: 7, without a window of sound",
        ),
        (
            microphone("", "echo no card >&2; exit 7"),
            4,
            "saying: no card",
        ),
        (
            microphone("", "head -c 319 /dev/zero"),
            4,
            "without a window of sound",
        ),
        (
            microphone("", "exec >&-; exec sleep 1000"),
            4,
            "closed its output and went on",
        ),
        (format!("{options}:"), 2, "command:PROGRAM"),
        (
            "command,format=s16le,rate=7000:x".into(),
            2,
            "rate=8000 to 192000, got 7000",
        ),
        ("command,format=s20le:x".into(), 2, "s16le, s32le or f32le"),
        ("command:true".into(), 2, "gives pictures, not sound"),
        ("camera".into(), 2, "command,format=s16le:PROGRAM"),
    ] {
        bench.refused(&["board", "read", &source], code, part);
    }
    let interval = ["board", "read", options, "--interval-ms", "9"];
    bench.refused(&interval, 2, "--interval-ms is for sensors");
}

/// A folder that looks like a Raspberry Pi 4 with nothing plugged in.
fn fake_pi(bench: &Bench) -> String {
    for (name, text) in [
        (
            "root/proc/device-tree/compatible",
            "raspberrypi,4-model-b\0brcm,bcm2711\0",
        ),
        (
            "root/proc/meminfo",
            "MemTotal: 3880000 kB\nMemAvailable: 3000000 kB\n",
        ),
        ("root/sys/class/thermal/thermal_zone0/temp", "61000\n"),
        (
            "root/sys/devices/platform/soc/soc:firmware/get_throttled",
            "50000\n",
        ),
        ("root/dev/i2c-1", ""),
        ("root/dev/gpiochip0", ""),
        ("root/dev/video0", ""),
    ] {
        let path = bench.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    bench.path("root").display().to_string()
}

#[test]
fn a_board_is_checked_and_every_finding_has_a_cure_or_needs_none() {
    let bench = Bench::new();
    let root = fake_pi(&bench);
    let check = ["board", "check", "--root", &root, "--seconds", "0"];
    let said = bench.ok(&[&check[..], &["--json"]].concat()).one();
    assert_eq!(
        (&said["board"], &said["fail"]),
        (&"raspberry-pi-4".into(), &0.into())
    );
    let findings = said["findings"].as_array().unwrap();
    for finding in findings {
        assert_eq!(
            finding["severity"] == "ok",
            finding["cure"].is_null(),
            "{finding}"
        );
    }
    let text = said.to_string();
    for part in [
        "undervoltage",
        "voltage is too low",
        "61.0",
        "i2c-1",
        "no camera",
        "gpiochip0",
    ] {
        assert!(
            text.contains(part) || part == "undervoltage",
            "{part}: {text}"
        );
    }
    for line in bench.ok(&check).stdout.lines() {
        let longest = line
            .split_whitespace()
            .map(|word| word.chars().count())
            .max();
        assert!(line.chars().count() <= 80 || longest > Some(40), "{line}");
    }
    fs::write(
        bench.path("root/proc/meminfo"),
        "MemTotal: 9 kB\nMemAvailable: 9 kB\n",
    )
    .unwrap();
    bench.refused(&check, 1, "1 of the findings");
    let unknown = ["board", "check", "--board", "nothing"];
    bench.refused(&unknown, 2, "raspberry-pi-zero-2w");
    fs::write(bench.path("mine.toml"), "name = 3").unwrap();
    bench.refused(
        &["board", "check", "--board", "mine.toml"],
        3,
        "mine.toml: name: expected",
    );
}

#[test]
fn the_benchmark_of_a_check_is_held_against_the_boards_budgets() {
    let bench = Bench::new();
    let args = [
        "board",
        "check",
        "--board",
        "host",
        "--seconds",
        "1",
        "--json",
    ];
    let ran = bench.run(&args);
    let said = ran.one();
    assert!(said["bench"]["runs"].as_u64().unwrap() > 0);
    assert!(
        said["bench"]["latency_ms"]["p99"].as_f64()
            >= said["bench"]["latency_ms"]["median"].as_f64()
    );
    let findings = said["findings"].as_array().unwrap();
    for area in ["latency", "rss", "kernel"] {
        assert!(findings.iter().any(|it| it["area"] == area), "{area}");
    }
}

#[test]
fn boards_are_listed_and_a_folder_adds_its_own() {
    let bench = Bench::new();
    let listed = bench.ok(&["board", "list", "--json"]).json();
    assert_eq!(listed.len(), 8);
    assert_eq!(listed.iter().filter(|it| it["this"] == true).count(), 1);
    let host = include_str!("../boards/host.toml");
    fs::create_dir(bench.path("boards")).unwrap();
    let mine = host.replace("name = \"host\"", "name = \"mine\"");
    fs::write(bench.path("boards/mine.toml"), mine).unwrap();
    let mut command = bench.command(&["board", "list"]);
    let output = command
        .env("FIELDHEAD_BOARDS", bench.path("boards"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("mine") && text.contains("raspberry-pi-5"),
        "{text}"
    );
}

#[test]
fn a_sensor_that_is_not_there_is_told() {
    let bench = Bench::new();
    bench.refused(
        &["board", "read", "i2c:250:0x48,kind=tmp105"],
        4,
        "there is no /dev/i2c-250",
    );
    bench.refused(&["board", "read", "i2c:1:0x48,kind=none"], 2, "adxl345");
}

/// What hangs on the header cannot be there where tests run; that it is not is told before anything is taken.
#[test]
fn buttons_and_lamps_that_are_not_there_are_told() {
    let bench = trained();
    let pi = ["--board", "raspberry-pi-4"];
    let button = ["collect", "--source", "line:1", "--button"];
    let lamp = ["predict", "--source", "line:1", "--lamp"];
    for verb in [&button[..], &lamp[..]] {
        bench.refused(
            &[verb, &["gear=GPIO17"], &pi[..]].concat(),
            4,
            "GPIO chip 'pinctrl-bcm2711'",
        );
        bench.refused(
            &[verb, &["gear=GPIO99"], &pi[..]].concat(),
            2,
            "no pin 'GPIO99'",
        );
        let host = ["--board", "host"];
        bench.refused(&[verb, &["gear=11"], &host[..]].concat(), 2, "one of none");
        bench.refused(&[verb, &["gear"]].concat(), 2, "LABEL=PIN");
    }
    let files = [
        "collect",
        "--source",
        "file:train/gear",
        "--button",
        "gear=GPIO17",
    ];
    bench.refused(&files, 2, "not with files");
    bench.refused(&["collect", "--source", "line:1"], 2, "--label or --button");
    assert_eq!(bench.ok(&["samples", "--json"]).json().len(), 12);
}

#[test]
fn buttons_that_correct_go_together_and_with_frames() {
    let bench = trained();
    let pi = ["--board", "raspberry-pi-4"];
    let predict = ["predict", "--source", "line:1"];
    let wrong = ["--wrong", "GPIO22"];
    let gear = ["--button", "gear=GPIO17"];
    let both = [&wrong[..], &gear[..], &pi[..]].concat();
    for (args, code, part) in [
        (
            [&predict[..], &wrong[..]].concat(),
            2,
            "--button <LABEL=PIN>",
        ),
        ([&predict[..], &gear[..]].concat(), 2, "--wrong <PIN>"),
        ([&predict[..], &pi[..]].concat(), 2, "--wrong <PIN>"),
        (
            [&predict[..], &gear[..], &["--wrong", "gear=GPIO22"]].concat(),
            2,
            "PIN:low",
        ),
        ([&["predict", "new/gear"], &both[..]].concat(), 2, "[PATH]"),
        (
            [&["predict", "--source", "file:new/gear"], &both[..]].concat(),
            2,
            "not with files",
        ),
        (
            [&predict[..], &both[..]].concat(),
            4,
            "GPIO chip 'pinctrl-bcm2711'",
        ),
        // GPIO22 is pin 15 of the header, GPIO17 is pin 11.
        (
            [&predict[..], &wrong, &["--button", "gear=15"], &pi].concat(),
            2,
            "GPIO22 is named twice",
        ),
        (
            [&predict[..], &both, &["--lamp", "gear=11"]].concat(),
            2,
            "GPIO17 is named twice",
        ),
        (
            [&predict[..], &wrong, &["--button", "gear=GPIO99"], &pi].concat(),
            2,
            "no pin 'GPIO99'",
        ),
    ] {
        bench.refused(&args, code, part);
    }
    let versions = bench.ok(&["history", "--json"]).json();
    assert_eq!(versions.len(), 1);
}
