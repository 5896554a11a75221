//! Which request is which call, and which part of the page.

use super::{Asked, Call, Guard, Kind, MAX_ENCODED_BYTES, Of, PATIENCE, Reply, Take, Waiting};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

/// The page loads nothing from elsewhere, and stands in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Files that are held at a time, from their first byte to the reply; the next one waits.
const FILES: usize = 2;

type Words = HashMap<String, String>;
type Part = Result<Path<String>, PathRejection>;
type Place<'a> = SemaphorePermit<'a>;

/// Where calls are handed on.
struct Desk {
    take: Take,
    files: Semaphore,
}

pub fn routes(guard: Guard, take: Take) -> Router {
    let api = Router::new()
        .route(
            "/status",
            get(async |at: State<Arc<Desk>>| ask(&at, Ok(Call::Status)).await),
        )
        .route(
            "/live",
            get(async |at: State<Arc<Desk>>| ask(&at, Ok(Call::Live)).await),
        )
        .route("/live/{seq}", get(frame))
        .route("/predict", post(predict))
        .route("/samples", get(samples).post(collect))
        .route("/samples/{id}", get(sample))
        .route(
            "/train",
            post(async |at: State<Arc<Desk>>| ask(&at, Ok(Call::Train)).await),
        )
        .route("/correct", post(correct))
        .route("/forget", post(forget))
        .route(
            "/history",
            get(async |at: State<Arc<Desk>>| ask(&at, Ok(Call::History)).await),
        )
        .route("/rollback", post(rollback))
        .with_state(Arc::new(Desk {
            take,
            files: Semaphore::new(FILES),
        }))
        .layer(from_fn_with_state(guard.clone(), known));
    Router::new()
        .route(
            "/",
            get(|| page("text/html; charset=utf-8", include_str!("page.html"))),
        )
        .route(
            "/page.css",
            get(|| page("text/css", include_str!("page.css"))),
        )
        .route(
            "/page.js",
            get(|| page("text/javascript", include_str!("page.js"))),
        )
        .nest("/api", api)
        .fallback(|| async { Reply::error(404, "there is nothing of that name").into_response() })
        .method_not_allowed_fallback(|| async {
            Reply::error(405, "this is asked for by another method, GET or POST").into_response()
        })
        .layer(from_fn_with_state(guard, admitted))
}

async fn page(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// Lets a request through that comes from where it may.
async fn admitted(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets a request through that carries the token.
async fn known(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.knows(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

async fn predict(at: State<Arc<Desk>>, body: Body) -> Response {
    match sent(&at, body).await {
        Ok((sent, _place)) => ask(&at, Ok(Call::Predict { sent })).await,
        Err(refused) => refused.into_response(),
    }
}

async fn frame(at: State<Arc<Desk>>, seq: Part) -> Response {
    ask(&at, part(seq).map(|seq| Call::Frame { seq })).await
}

async fn sample(at: State<Arc<Desk>>, id: Part) -> Response {
    ask(&at, part(id).map(|id| Call::Sample { id })).await
}

async fn samples(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let suspect = match words.get("suspect").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(expected("true or false", "suspect", other)),
    };
    ask(&at, suspect.map(|suspect| Call::Samples { suspect })).await
}

async fn collect(at: State<Arc<Desk>>, Query(words): Query<Words>, body: Body) -> Response {
    match named(&at, &words, body).await {
        Ok((label, of, _place)) => ask(&at, Ok(Call::Collect { label, of })).await,
        Err(refused) => refused.into_response(),
    }
}

async fn correct(at: State<Arc<Desk>>, Query(words): Query<Words>, body: Body) -> Response {
    match named(&at, &words, body).await {
        Ok((label, of, _place)) => ask(&at, Ok(Call::Correct { label, of })).await,
        Err(refused) => refused.into_response(),
    }
}

async fn forget(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let sample = number(&words, "sample");
    ask(&at, sample.map(|sample| Call::Forget { sample })).await
}

async fn rollback(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let version = number(&words, "version");
    ask(&at, version.map(|version| Call::Rollback { version })).await
}

fn expected(what: &str, name: &str, got: &str) -> Reply {
    Reply::error(400, &format!("expected {what} for {name}, got '{got}'"))
}

fn number(words: &Words, name: &str) -> Result<u64, Reply> {
    let text = words.get(name).map_or("", String::as_str);
    text.parse().map_err(|_| expected("a number", name, text))
}

/// The last part of a path, a number.
fn part(part: Part) -> Result<u64, Reply> {
    let text = part.map_or(String::new(), |Path(text)| text);
    let wrong = |_| expected("a number", "the last part of the path", &text);
    text.parse().map_err(wrong)
}

/// A label, and what has it: a frame or a sample by its number, else the file that was sent.
async fn named<'a>(
    desk: &'a Desk,
    words: &Words,
    body: Body,
) -> Result<(String, Of, Option<Place<'a>>), Reply> {
    let label = words
        .get("label")
        .ok_or_else(|| Reply::error(400, "name what it is: ?label=NAME"))?;
    // What stands for bytes that are no text.
    if label.contains(char::REPLACEMENT_CHARACTER) {
        return Err(expected("text in UTF-8", "label", label));
    }
    let (of, place) = match (words.contains_key("frame"), words.contains_key("sample")) {
        (true, true) => return Err(Reply::error(400, "name a frame or a sample, not both")),
        (true, false) => {
            let start = words.contains_key("start").then(|| number(words, "start"));
            let (seq, start) = (number(words, "frame")?, start.transpose()?);
            (Of::Frame { seq, start }, None)
        }
        (false, true) => (Of::Sample(number(words, "sample")?), None),
        (false, false) => {
            let (sent, place) = sent(desk, body).await?;
            (Of::Sent(sent), Some(place))
        }
    };
    Ok((label.clone(), of, place))
}

/// The file in the body of a request, and its place among those that are held.
async fn sent(desk: &Desk, body: Body) -> Result<(Vec<u8>, Place<'_>), Reply> {
    let full = || Reply::error(503, "other files are on their way; try again");
    let place = timeout(PATIENCE, desk.files.acquire()).await;
    let place = place.ok().and_then(Result::ok).ok_or_else(full)?;
    let read = timeout(PATIENCE, to_bytes(body, MAX_ENCODED_BYTES)).await;
    let late = |_| Reply::error(408, "the file did not come in time");
    let broken = |_| {
        let what = format!("the file broke off, or has more than {MAX_ENCODED_BYTES} bytes");
        Reply::error(413, &what)
    };
    let bytes = read.map_err(late)?.map_err(broken)?;
    match bytes.is_empty() {
        true => Err(Reply::error(
            400,
            "send a file: a photo, a sound or a window of a sensor",
        )),
        false => Ok((bytes.into(), place)),
    }
}

/// Hands a call on and waits for what comes of it.
async fn ask(desk: &Desk, call: Result<Call, Reply>) -> Response {
    let call = match call {
        Ok(call) => call,
        Err(refused) => return refused.into_response(),
    };
    let (reply, replied) = oneshot::channel();
    let waiting = Waiting(reply);
    let reply = match (desk.take)(Asked { call, waiting }) {
        true => replied.await.ok(),
        false => Some(Reply::error(503, "too many requests wait; try again")),
    };
    reply
        .unwrap_or_else(|| Reply::error(503, "the program ends"))
        .into_response()
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let kind = match self.kind {
            Kind::Json => "application/json",
            Kind::JsonLines => "application/x-ndjson",
            Kind::Jpeg => "image/jpeg",
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(CONTENT_TYPE, kind)], self.body).into_response()
    }
}
