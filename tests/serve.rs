//! `run` and `serve`: answers without end, by a head that others change, and the field over HTTP.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use support::Bench;

/// The program at work until the end of a test.
struct Working {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Working {
    fn start(bench: &Bench, args: &[&str]) -> Working {
        let mut command = bench.command(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Working { child, lines }
    }

    /// The next line of JSON.
    fn json(&mut self) -> Value {
        let line = self.lines.next().expect("the program ended").unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of so many samples of each of three parts.
fn taught(bench: &Bench, a_class: usize) {
    bench.photos("parts", a_class, 1);
    bench.ok(&["collect", "--from", "parts"]);
}

/// A photo that was not collected.
fn photo(bench: &Bench) -> Vec<u8> {
    bench.photos("others", 1, 9);
    std::fs::read(bench.path("others/washer/00.jpg")).unwrap()
}

/// A field that is served.
struct Served {
    working: Working,
    address: String,
    headers: String,
}

impl Served {
    fn start(bench: &Bench, more: &[&str]) -> Served {
        let args = [&["--json", "serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut working = Working::start(bench, &args);
        let address = working.json()["listening"].as_str().unwrap().to_owned();
        Served {
            working,
            address,
            headers: String::new(),
        }
    }

    /// The status and the body of what a request gets.
    fn ask(&self, request: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
            self.address,
            body.len(),
            self.headers
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        let end = reply
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let status = String::from_utf8_lossy(&reply[9..12]).parse().unwrap();
        (status, reply.split_off(end + 4))
    }

    /// The objects that a request gets, one a line.
    fn all(&self, request: &str, body: &[u8]) -> Vec<Value> {
        let (status, body) = self.ask(request, body);
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{request}: {text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn one(&self, request: &str, body: &[u8]) -> Value {
        let mut all = self.all(request, body);
        assert_eq!(all.len(), 1, "{request}");
        all.remove(0)
    }

    /// A frame that comes after one with this number.
    fn frame_after(&self, seq: Option<u64>) -> (u64, Value) {
        loop {
            let live = self.one("GET /api/live", b"");
            match live["seq"].as_u64() {
                Some(now) if seq.is_none_or(|seq| now > seq) => return (now, live),
                _ => {}
            }
        }
    }
}

#[test]
fn run_takes_up_a_head_that_is_trained_corrected_or_put_back_meanwhile() {
    let bench = Bench::new();
    taught(&bench, 3);
    bench.ok(&["train"]);
    let mut run = Working::start(&bench, &["--json", "run", "--source", "line:5"]);
    let mut until = |version: u64| {
        loop {
            let answer = run.json();
            match answer["version"].as_u64().unwrap() {
                now if now == version => return answer,
                now => assert!(now < version || version == 1, "{answer}"),
            }
        }
    };
    until(1);
    bench.ok(&["correct", "--label", "bolt", "--sample", "1"]);
    assert!(until(2)["scores"]["bolt"].is_number());
    bench.ok(&["rollback", "1"]);
    assert!(until(1)["scores"].get("bolt").is_none());
    // Another view asks for another embedder.
    bench.ok(&["train", "--features", "multi", "--fit", "crop"]);
    until(3);
}

#[test]
fn run_takes_up_another_field_in_the_same_place() {
    let bench = Bench::new();
    taught(&bench, 2);
    bench.ok(&["train"]);
    let mut run = Working::start(&bench, &["--json", "run", "--source", "line:5"]);
    assert!(run.json()["scores"]["gear"].is_number());
    std::fs::remove_dir_all(bench.path("field")).unwrap();
    for (label, part) in [("wheel", "gear"), ("ring", "washer")] {
        let source = format!("line:8,part={part}");
        bench.ok(&[
            "collect", "--label", label, "--source", &source, "--count", "2",
        ]);
    }
    bench.ok(&["train"]);
    while run.json()["scores"]["wheel"].is_null() {}
}

#[test]
fn run_without_a_head_or_with_files_says_what_to_do() {
    let bench = Bench::new();
    let run = ["run", "--source", "line:1"];
    bench.refused(&run, 5, "there is no field");
    taught(&bench, 1);
    bench.refused(&run, 6, "fieldhead train");
    bench.ok(&["train"]);
    bench.refused(
        &["run", "--source", "file:parts/washer"],
        2,
        "fieldhead predict",
    );
    bench.refused(&["run"], 2, "--source");
}

#[test]
fn a_field_is_made_taught_corrected_and_looked_at_over_http() {
    let bench = Bench::new();
    let served = Served::start(&bench, &["--source", "line:5"]);
    let status = served.one("GET /api/status", b"");
    assert_eq!(
        (&status["samples"], &status["version"]),
        (&0.into(), &Value::Null)
    );
    assert!(served.all("GET /api/samples", b"").is_empty());
    assert!(served.all("GET /api/history", b"").is_empty());
    let (status, reply) = served.ask("POST /api/train", b"");
    assert_eq!(status, 422, "{}", String::from_utf8_lossy(&reply));
    // Nothing was asked for that makes a field.
    assert!(!bench.path("field").exists());

    let (mut seq, answer) = served.frame_after(None);
    assert_eq!(answer["label"], Value::Null);
    for round in 0..3 {
        for label in ["gear", "nut"] {
            let words = format!("POST /api/samples?label={label}&frame={seq}");
            let collected = served.one(&words, b"");
            assert_eq!(collected["label"], label, "{round}");
            seq = served.frame_after(Some(seq)).0;
        }
    }
    let trained = served.one("POST /api/train", b"");
    assert_eq!((&trained["version"], &trained["n"]), (&1.into(), &6.into()));
    let (seq, answer) = served.frame_after(Some(seq));
    let answer = match answer["label"].is_null() {
        // That frame came before the head.
        true => served.frame_after(Some(seq)).1,
        false => answer,
    };
    assert_eq!(answer["version"], 1);
    let seq = answer["seq"].as_u64().unwrap();

    let (status, picture) = served.ask(&format!("GET /api/live/{seq}"), b"");
    assert_eq!((status, &picture[..2]), (200, &b"\xff\xd8"[..]));
    let corrected = served.one(&format!("POST /api/correct?label=washer&frame={seq}"), b"");
    assert_eq!(corrected["version"], 2);
    assert!(corrected["ms_learn"].is_number() && corrected["ms_commit"].is_number());
    let (status, picture) = served.ask("GET /api/samples/7", b"");
    assert_eq!((status, &picture[..2]), (200, &b"\xff\xd8"[..]));

    let photo = photo(&bench);
    let predicted = served.one("POST /api/predict", &photo);
    assert!(predicted["scores"]["washer"].is_number(), "{predicted}");
    let sent = served.one("POST /api/samples?label=washer", &photo);
    assert_eq!(sent["id"], 8);
    assert_eq!(served.ask("POST /api/samples?label=washer", &photo).0, 422);
    assert_eq!(
        served.one("POST /api/correct?label=ring&sample=7", b"")["version"],
        3
    );
    assert_eq!(served.one("POST /api/forget?sample=8", b"")["version"], 4);
    assert_eq!(
        served.one("POST /api/rollback?version=2", b"")["version"],
        2
    );

    // What others see is what was done here.
    let samples = bench.run(&["samples", "--json"]).json();
    assert_eq!(samples, served.all("GET /api/samples", b""));
    assert_eq!(samples.len(), 7);
    assert_eq!(
        bench.run(&["history", "--json"]).json(),
        served.all("GET /api/history", b"")
    );
    let bursts: std::collections::BTreeSet<&str> = samples
        .iter()
        .map(|it| it["burst"].as_str().unwrap())
        .collect();
    assert_eq!(bursts.len(), 7, "another label is another scene");
}

#[test]
fn what_a_call_gets_wrong_it_is_told_and_the_next_one_is_answered() {
    let bench = Bench::new();
    taught(&bench, 2);
    bench.ok(&["train"]);
    let served = Served::start(&bench, &[]);
    let cut = &photo(&bench)[..300];
    for (request, body, status, part) in [
        (
            "POST /api/predict",
            &b"words, words"[..],
            422,
            "neither a JPEG nor a PNG",
        ),
        ("POST /api/predict", cut, 422, ""),
        (
            "POST /api/samples?label=a%2Fb",
            cut,
            400,
            "not allowed in a label",
        ),
        ("POST /api/samples?label=unknown", cut, 400, "no class"),
        (
            "POST /api/samples?label=x&sample=1",
            b"",
            400,
            "in the field already",
        ),
        ("POST /api/correct?label=x&frame=1", b"", 404, "look again"),
        (
            "POST /api/correct?label=x&sample=999",
            b"",
            422,
            "no sample 999",
        ),
        ("POST /api/forget?sample=999", b"", 422, "no sample 999"),
        (
            "POST /api/rollback?version=999",
            b"",
            422,
            "no head version 999",
        ),
        ("GET /api/samples/999", b"", 404, "without its picture"),
        ("GET /api/live/3", b"", 404, "look again"),
    ] {
        let (got, reply) = served.ask(request, body);
        let reply = String::from_utf8_lossy(&reply);
        assert_eq!(got, status, "{request}: {reply}");
        assert!(reply.contains(part), "{request}: {reply}");
        let told: Value = serde_json::from_str(&reply).unwrap();
        assert!(told["error"].is_string(), "{request}: {reply}");
    }
    let live = served.one("GET /api/live", b"");
    assert!(
        live["error"].as_str().unwrap().contains("--source camera"),
        "{live}"
    );
    assert_eq!(bench.run(&["samples", "--json"]).json().len(), 6);
    assert_eq!(bench.run(&["history", "--json"]).json().len(), 1);
}

#[test]
fn windows_make_a_field_of_windows() {
    let bench = Bench::new();
    let served = Served::start(&bench, &[]);
    let window = |label: &str, scale: usize| {
        let height = |step: usize| match label {
            "steady" => step,
            _ => step % 7 * 9,
        };
        let rows = (0..80).map(|step| format!("{}\n", scale * height(step)));
        rows.collect::<String>().into_bytes()
    };
    for scale in [1, 2, 3] {
        for label in ["steady", "shaken"] {
            let words = format!("POST /api/samples?label={label}");
            served.one(&words, &window(label, scale));
        }
    }
    let status = served.one("GET /api/status", b"");
    assert_eq!(status["samples"], 6);
    assert_eq!(status["backbone"], "window-1");
    assert_eq!(served.one("POST /api/train", b"")["n"], 6);
    let answer = served.one("POST /api/predict", &window("shaken", 4));
    assert_eq!(answer["label"], "shaken", "{answer}");
    let (status, picture) = served.ask("GET /api/samples/1", b"");
    assert_eq!((status, &picture[..2]), (200, &b"\xff\xd8"[..]));
}

#[test]
fn beyond_this_machine_a_token_is_asked_for() {
    let bench = Bench::new();
    std::fs::write(bench.path("token"), "0123456789abcdef\n").unwrap();
    std::fs::write(bench.path("short"), "secret").unwrap();
    let far = ["serve", "--listen", "0.0.0.0:0"];
    let with = |file| [&far[..], &["--token-file", file]].concat();
    bench.refused(&far, 2, "--token-file");
    bench.refused(&with("none"), 3, "cannot read none");
    bench.refused(&with("short"), 2, "16 to 256");
    let mut served = Served::start(&bench, &["--token-file", "token"]);
    assert_eq!(served.ask("GET /api/status", b"").0, 401);
    served.headers = "Authorization: Bearer 0123456789abcdef\r\n".into();
    assert_eq!(served.one("GET /api/status", b"")["samples"], 0);
}

#[test]
fn serve_refuses_a_source_that_is_none_and_ends_when_it_is_asked_to() {
    let bench = Bench::new();
    photo(&bench);
    let mut served = Served::start(&bench, &[]);
    let taken = ["serve", "--listen", &served.address];
    bench.refused(&taken, 1, "name another address or port");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--source"];
    let of = |source| [&serve[..], &[source]].concat();
    bench.refused(&of("nothing"), 2, "is not known");
    bench.refused(&of("file:others/washer"), 2, "open the page and send them");
    let id = nix::unistd::Pid::from_raw(served.working.child.id() as i32);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(served.working.child.wait().unwrap().code(), Some(0));
}
