//! Which request is which call, and which part of the page.

use super::{Asked, Call, Guard, Kind, MAX_ENCODED_BYTES, Of, PATIENCE, Reply, Take};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// The page loads nothing from elsewhere, and stands in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Files that are held at a time, from their first byte to the reply; the next one waits.
const FILES: usize = 2;

type Words = HashMap<String, String>;

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
            Reply::error(405, "this is asked for in another way").into_response()
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
    let _place = at.files.acquire().await;
    ask(
        &at,
        sent(body)
            .await
            .map(|sent| Call::Predict { sent: sent.into() }),
    )
    .await
}

async fn frame(at: State<Arc<Desk>>, Path(seq): Path<String>) -> Response {
    let seq = number("seq", Some(&seq));
    ask(&at, seq.map(|seq| Call::Frame { seq })).await
}

async fn sample(at: State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    let id = number("id", Some(&id));
    ask(&at, id.map(|id| Call::Sample { id })).await
}

async fn samples(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let suspect = words.get("suspect").is_some_and(|word| word == "true");
    ask(&at, Ok(Call::Samples { suspect })).await
}

async fn collect(at: State<Arc<Desk>>, Query(words): Query<Words>, body: Body) -> Response {
    let _place = at.files.acquire().await;
    let call = async {
        let label = label(&words)?;
        let of = of(&words, body).await?;
        Ok(Call::Collect { label, of })
    };
    let call = call.await;
    ask(&at, call).await
}

async fn correct(at: State<Arc<Desk>>, Query(words): Query<Words>, body: Body) -> Response {
    let _place = at.files.acquire().await;
    let call = async {
        let label = label(&words)?;
        let of = of(&words, body).await?;
        Ok(Call::Correct { label, of })
    };
    let call = call.await;
    ask(&at, call).await
}

async fn forget(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let sample = number("sample", words.get("sample"));
    ask(&at, sample.map(|sample| Call::Forget { sample })).await
}

async fn rollback(at: State<Arc<Desk>>, Query(words): Query<Words>) -> Response {
    let version = number("version", words.get("version"));
    ask(&at, version.map(|version| Call::Rollback { version })).await
}

fn label(words: &Words) -> Result<String, Reply> {
    let missing = || Reply::error(400, "name what it is: ?label=NAME");
    words.get("label").cloned().ok_or_else(missing)
}

fn number(name: &str, text: Option<&String>) -> Result<u64, Reply> {
    let wrong = || Reply::error(400, &format!("expected a number for {name}"));
    text.and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// A frame or a sample by its number, else the file that was sent.
async fn of(words: &Words, body: Body) -> Result<Of, Reply> {
    match (words.get("frame"), words.get("sample")) {
        (frame @ Some(_), _) => Ok(Of::Frame(number("frame", frame)?)),
        (None, sample @ Some(_)) => Ok(Of::Sample(number("sample", sample)?)),
        (None, None) => Ok(Of::Sent(sent(body).await?.into())),
    }
}

/// The file in the body of a request.
async fn sent(body: Body) -> Result<Bytes, Reply> {
    let limit = MAX_ENCODED_BYTES;
    let read = timeout(PATIENCE, to_bytes(body, limit)).await;
    let late = |_| Reply::error(408, "the file did not come in time");
    let broken = |_| {
        Reply::error(
            413,
            &format!("the file broke off, or has more than {limit} bytes"),
        )
    };
    let bytes = read.map_err(late)?.map_err(broken)?;
    match bytes.is_empty() {
        true => Err(Reply::error(
            400,
            "send a file: a photo, a sound or a window of a sensor",
        )),
        false => Ok(bytes),
    }
}

/// Hands a call on and waits for what comes of it.
async fn ask(desk: &Desk, call: Result<Call, Reply>) -> Response {
    let call = match call {
        Ok(call) => call,
        Err(refused) => return refused.into_response(),
    };
    let (reply, replied) = oneshot::channel();
    let reply = match (desk.take)(Asked { call, reply }) {
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
