//! Requests over a real connection, answered by whoever tells what the call was.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;

const TOKEN: &str = "0123456789abcdef";

/// A server that replies with the call it understood.
fn served(token: Option<&str>) -> Web {
    let address = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::new(address, token).unwrap();
    let take = |asked: Asked| {
        let (call, waiting) = asked.open();
        let body = format!("{call:?}").into_bytes();
        let kind = Kind::Json;
        waiting.send(Reply {
            status: 200,
            kind,
            body,
        });
        true
    };
    listen(address, guard, Arc::new(take)).unwrap()
}

/// The status and the rest of what a request gets.
fn ask(address: SocketAddr, request: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // One that is refused may not be read to its end.
    let _ = stream.write_all(body);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let status = reply
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), reply)
}

#[test]
fn each_request_is_its_call() {
    let web = served(None);
    let address = web.address();
    let of = |of: Of| (String::from("gear & nut"), of);
    let sent = b"\xff\xd8 bytes".to_vec();
    let (label, frame) = of(Of::Frame {
        seq: 7,
        start: None,
    });
    let calls = [
        ("GET /api/status", &b""[..], Call::Status),
        ("GET /api/live", b"", Call::Live),
        (
            "GET /api/live/18446744073709551615",
            b"",
            Call::Frame { seq: u64::MAX },
        ),
        (
            "POST /api/predict",
            &sent,
            Call::Predict { sent: sent.clone() },
        ),
        (
            "POST /api/samples?label=gear+%26%20nut&frame=7",
            b"",
            Call::Collect {
                label: label.clone(),
                of: frame.clone(),
            },
        ),
        (
            "POST /api/samples?label=x",
            &sent,
            Call::Collect {
                label: "x".into(),
                of: Of::Sent(sent.clone()),
            },
        ),
        (
            "POST /api/correct?label=gear+%26%20nut&frame=7",
            b"",
            Call::Correct { label, of: frame },
        ),
        (
            "POST /api/correct?label=x&sample=3",
            b"",
            Call::Correct {
                label: "x".into(),
                of: Of::Sample(3),
            },
        ),
        ("POST /api/train", b"", Call::Train),
        ("POST /api/forget?sample=3", b"", Call::Forget { sample: 3 }),
        ("GET /api/samples", b"", Call::Samples { suspect: false }),
        (
            "GET /api/samples?suspect=true",
            b"",
            Call::Samples { suspect: true },
        ),
        ("GET /api/samples/12", b"", Call::Sample { id: 12 }),
        ("GET /api/history", b"", Call::History),
        (
            "POST /api/rollback?version=2",
            b"",
            Call::Rollback { version: 2 },
        ),
    ];
    for (request, body, call) in calls {
        let (status, reply) = ask(address, request, "", body);
        assert_eq!(status, 200, "{request}: {reply}");
        assert!(reply.ends_with(&format!("{call:?}")), "{request}: {reply}");
    }
}

#[test]
fn what_is_no_call_is_refused_in_words() {
    let web = served(None);
    let address = web.address();
    for (request, status, part) in [
        ("GET /api/nothing", 404, "nothing of that name"),
        ("GET /api/train", 405, "another method"),
        ("DELETE /api/samples/3", 405, "another method"),
        (
            "GET /api/live/-1",
            400,
            "expected a number for the frame, got '-1'",
        ),
        ("GET /api/samples/..%2f..%2fetc", 400, "got '..%2f..%2fetc'"),
        ("POST /api/predict", 400, "send a file"),
        ("POST /api/samples?label=x", 400, "send a file"),
        ("POST /api/samples", 400, "?label=NAME"),
        (
            "POST /api/correct?label=x&frame=last",
            400,
            "expected a number for frame, got 'last'",
        ),
        ("POST /api/forget", 400, "expected a number for sample"),
        ("GET /api/live/%ff", 400, "expected a number"),
        ("GET /api/samples?suspect=1", 400, "true or false"),
        ("POST /api/samples?label=%ff&frame=1", 400, "text in UTF-8"),
        (
            "POST /api/correct?label=x&frame=1&sample=2",
            400,
            "not both",
        ),
        (
            "POST /api/rollback?version=",
            400,
            "expected a number for version",
        ),
    ] {
        let (got, reply) = ask(address, request, "", b"");
        assert_eq!(got, status, "{request}: {reply}");
        assert!(reply.contains(part), "{request}: {reply}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_and_the_next_one_is_taken() {
    let web = served(None);
    let address = web.address();
    let (status, reply) = ask(
        address,
        "POST /api/predict",
        "",
        &vec![0; MAX_ENCODED_BYTES + 1],
    );
    // Where the rest could not be sent any more, the connection is gone, the reply with it.
    assert!(status == 413 || status == 0, "{reply}");
    assert_eq!(ask(address, "POST /api/predict", "", b"one").0, 200);
}

#[test]
fn without_its_token_a_field_tells_nothing_and_the_page_asks_for_it() {
    let web = served(Some(TOKEN));
    let address = web.address();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask(address, "GET /api/status", &bearer, b"").0, 200);
    for headers in ["", "Authorization: Bearer 0123456789abcdee\r\n"] {
        for request in ["GET /api/status", "POST /api/train", "POST /api/predict"] {
            let (status, reply) = ask(address, request, headers, b"bytes");
            assert_eq!(status, 401, "{request}: {reply}");
            assert!(!reply.contains(TOKEN));
        }
    }
    for part in ["/", "/page.js", "/page.css"] {
        assert_eq!(
            ask(address, &format!("GET {part}"), "", b"").0,
            200,
            "{part}"
        );
    }
}

#[test]
fn another_page_in_the_same_browser_changes_nothing() {
    let web = served(None);
    let address = web.address();
    let other = "Origin: http://evil.example\r\n";
    assert_eq!(ask(address, "POST /api/train", other, b"").0, 403);
    let own = format!("Origin: http://{address}\r\n");
    assert_eq!(ask(address, "POST /api/train", &own, b"").0, 200);
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let web = served(None);
    let address = web.address();
    let (_, page) = ask(address, "GET /", "", b"");
    for part in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "no-referrer",
        "no-store",
        "<title>fieldhead",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for file in [
        include_str!("page.html"),
        include_str!("page.css"),
        include_str!("page.js"),
    ] {
        assert!(
            !file.contains("//cdn") && !file.contains("https://") && !file.contains("innerHTML")
        );
    }
}

#[test]
fn where_too_many_wait_the_next_one_is_told_to_come_again() {
    let address = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::new(address, None).unwrap();
    let web = listen(address, guard, Arc::new(|_| false)).unwrap();
    let address = web.address();
    assert_eq!(ask(address, "GET /api/status", "", b"").0, 503);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let web = served(None);
    let address = web.address();
    let guard = Guard::new(address, None).unwrap();
    let error = listen(address, guard, Arc::new(|_| true)).err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn who_brings_no_file_does_not_wait_for_those_who_do() {
    let web = served(None);
    let address = web.address();
    let head =
        format!("POST /api/predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9\r\n\r\n");
    // More than have a place, and none of them comes to an end.
    let slow: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let (status, reply) = ask(address, "POST /api/correct?label=x&sample=1", "", b"");
    assert_eq!(status, 200, "{reply}");
    drop(slow);
    assert_eq!(ask(address, "POST /api/predict", "", b"one").0, 200);
}

#[test]
fn what_was_replied_is_sent_before_the_end() {
    let address = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::new(address, None).unwrap();
    let (say, asked) = std::sync::mpsc::channel();
    let take = move |asked| say.send(asked).is_ok();
    let web = listen(address, guard, Arc::new(take)).unwrap();
    let address = web.address();
    let asking = std::thread::spawn(move || ask(address, "POST /api/train", "", b""));
    let waits = std::thread::spawn(move || ask(address, "GET /api/status", "", b""));
    let two: [Asked; 2] = std::array::from_fn(|_| asked.recv().unwrap());
    for asked in two {
        let (call, waiting) = asked.open();
        assert!(!waiting.is_for_nobody());
        if call == Call::Train {
            let (status, kind, body) = (200, Kind::Json, vec![b' '; 1 << 20]);
            waiting.send(Reply { status, kind, body });
        }
    }
    web.end();
    assert_eq!(asking.join().unwrap().0, 200);
    let (status, reply) = waits.join().unwrap();
    assert!(
        status == 503 && reply.contains("the program ends"),
        "{reply}"
    );
}
