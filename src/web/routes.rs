//! Which request is which call, and which part of the page.

use super::{Asked, Call, Guard, Kind, MAX_ENCODED_BYTES, Of, PATIENCE, Reply, Take, Waiting};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use std::collections::HashMap;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

/// The page loads nothing from elsewhere, and stands in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];
/// Files that are held at a time, from their first byte to the reply; the next one waits.
const FILES: usize = 2;

type Words = HashMap<String, String>;
type Place<'a> = SemaphorePermit<'a>;

/// Where requests are looked at and calls are handed on.
pub struct Desk {
    guard: Guard,
    take: Take,
    files: Semaphore,
}

impl Desk {
    pub fn new(guard: Guard, take: Take) -> Desk {
        Desk {
            guard,
            take,
            files: Semaphore::new(FILES),
        }
    }

    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answered = match self.guard.admits(request.headers()) {
            Ok(()) => self.answer(request).await,
            Err(refused) => Err(refused),
        };
        let mut response = answered.unwrap_or_else(response_of);
        for (name, value) in HEADERS {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// A part of the page, or what comes of a call.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reply> {
        let (head, body) = request.into_parts();
        let page = |kind, text: &'static str| Ok(response(StatusCode::OK, kind, text));
        let path = head.uri.path();
        match (head.method.as_str(), path) {
            ("GET", "/") => return page("text/html; charset=utf-8", include_str!("page.html")),
            ("GET", "/page.css") => return page("text/css", include_str!("page.css")),
            ("GET", "/page.js") => return page("text/javascript", include_str!("page.js")),
            _ => {}
        }
        let path = path.strip_prefix("/api/").ok_or_else(nothing)?;
        self.guard.knows(&head.headers)?;
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let words: Words = form_urlencoded::parse(query).into_owned().collect();
        // The place is held until the reply is there.
        let (call, _place) = self.call(head.method.as_str(), path, &words, body).await?;
        Ok(response_of(self.ask(call).await))
    }

    /// What a request asks for, and its place where it brought a file.
    async fn call(
        &self,
        method: &str,
        path: &str,
        words: &Words,
        body: Incoming,
    ) -> Result<(Call, Option<Place<'_>>), Reply> {
        let (verb, rest) = match path.split_once('/') {
            Some((verb, rest)) => (verb, Some(rest)),
            None => (path, None),
        };
        let call = match (method, verb, rest) {
            ("GET", "status", None) => Call::Status,
            ("GET", "live", None) => Call::Live,
            ("GET", "live", Some(seq)) => Call::Frame {
                seq: number("the frame", seq)?,
            },
            ("POST", "predict", None) => {
                let (sent, place) = self.sent(body).await?;
                return Ok((Call::Predict { sent }, Some(place)));
            }
            ("GET", "samples", None) => Call::Samples {
                suspect: match words.get("suspect").map(String::as_str) {
                    None | Some("false") => false,
                    Some("true") => true,
                    Some(other) => return Err(expected("true or false", "suspect", other)),
                },
            },
            ("GET", "samples", Some(id)) => Call::Sample {
                id: number("the sample", id)?,
            },
            ("POST", "samples" | "correct", None) => {
                let (label, of, place) = self.named(words, body).await?;
                let call = match verb {
                    "samples" => Call::Collect { label, of },
                    _ => Call::Correct { label, of },
                };
                return Ok((call, place));
            }
            ("POST", "train", None) => Call::Train,
            ("POST", "forget", None) => Call::Forget {
                sample: word(words, "sample")?,
            },
            ("GET", "history", None) => Call::History,
            ("POST", "rollback", None) => Call::Rollback {
                version: word(words, "version")?,
            },
            (
                _,
                "status" | "live" | "predict" | "samples" | "correct" | "train" | "forget"
                | "history" | "rollback",
                _,
            ) => {
                let what = "this is asked for by another method, GET or POST";
                return Err(Reply::error(405, what));
            }
            _ => return Err(nothing()),
        };
        Ok((call, None))
    }

    /// A label, and what has it: a frame or a sample by its number, else the file that was sent.
    async fn named(
        &self,
        words: &Words,
        body: Incoming,
    ) -> Result<(String, Of, Option<Place<'_>>), Reply> {
        let missing = || Reply::error(400, "name what it is: ?label=NAME");
        let label = words.get("label").ok_or_else(missing)?;
        // What stands for bytes that are no text.
        if label.contains(char::REPLACEMENT_CHARACTER) {
            return Err(expected("text in UTF-8", "label", label));
        }
        let (of, place) = match (words.contains_key("frame"), words.contains_key("sample")) {
            (true, true) => return Err(Reply::error(400, "name a frame or a sample, not both")),
            (true, false) => {
                let start = words.contains_key("start").then(|| word(words, "start"));
                let (seq, start) = (word(words, "frame")?, start.transpose()?);
                (Of::Frame { seq, start }, None)
            }
            (false, true) => (Of::Sample(word(words, "sample")?), None),
            (false, false) => {
                let (sent, place) = self.sent(body).await?;
                (Of::Sent(sent), Some(place))
            }
        };
        Ok((label.clone(), of, place))
    }

    /// The file in the body of a request, and its place among those that are held.
    async fn sent(&self, body: Incoming) -> Result<(Vec<u8>, Place<'_>), Reply> {
        let full = || Reply::error(503, "other files are on their way; try again");
        let place = timeout(PATIENCE, self.files.acquire()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(full)?;
        let read = Limited::new(body, MAX_ENCODED_BYTES).collect();
        let late = |_| Reply::error(408, "the file did not come in time");
        let broken = |_| {
            let what = format!("the file broke off, or has more than {MAX_ENCODED_BYTES} bytes");
            Reply::error(413, &what)
        };
        let read = timeout(PATIENCE, read).await.map_err(late)?;
        let bytes = read.map_err(broken)?.to_bytes();
        match bytes.is_empty() {
            true => Err(Reply::error(
                400,
                "send a file: a photo, a sound or a window of a sensor",
            )),
            false => Ok((bytes.into(), place)),
        }
    }

    /// Hands a call on and waits for what comes of it.
    async fn ask(&self, call: Call) -> Reply {
        let (reply, replied) = oneshot::channel();
        let waiting = Waiting(reply);
        let reply = match (self.take)(Asked { call, waiting }) {
            true => replied.await.ok(),
            false => Some(Reply::error(503, "too many requests wait; try again")),
        };
        reply.unwrap_or_else(|| Reply::error(503, "the program ends"))
    }
}

fn nothing() -> Reply {
    Reply::error(404, "there is nothing of that name")
}

fn expected(what: &str, name: &str, got: &str) -> Reply {
    Reply::error(400, &format!("expected {what} for {name}, got '{got}'"))
}

fn number(name: &str, text: &str) -> Result<u64, Reply> {
    text.parse().map_err(|_| expected("a number", name, text))
}

/// A number of the query.
fn word(words: &Words, name: &str) -> Result<u64, Reply> {
    number(name, words.get(name).map_or("", String::as_str))
}

fn response_of(reply: Reply) -> Response<Full<Bytes>> {
    let kind = match reply.kind {
        Kind::Json => "application/json",
        Kind::JsonLines => "application/x-ndjson",
        Kind::Jpeg => "image/jpeg",
    };
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response(status, kind, reply.body)
}

fn response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
