//! The page and the HTTP API of a field: a request that may come becomes a [`Call`], and what came of it goes back as a [`Reply`].
//!
//! Owns: who may call ([`Guard`]), which request is which call, the bounds of a request, the page. Does not own: what a call does: whoever
//! listens takes the calls in and answers them one after the other.
//!
//! Invariants: nothing listens beyond loopback without a token; a request that the guard refuses reaches nobody; at most
//! 32 connections are open, each brings one request of at most [`MAX_ENCODED_BYTES`] within 30 seconds, and none lasts longer than ten
//! minutes.

mod guard;
mod routes;
#[cfg(test)]
mod tests;

pub use guard::Guard;

use crate::preprocess::MAX_ENCODED_BYTES;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use routes::Desk;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// Connections at a time: a browser opens six.
const CONNECTIONS: usize = 32;
/// How long the head of a request may take to come, and its body.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may last in all: the longest training, and those that wait before it.
const LIFE: Duration = Duration::from_secs(600);
/// How long connections may last when the program ends.
const LAST: Duration = Duration::from_secs(1);
/// The pause after a connection could not be taken, as when all files that a process may open are.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(
        "cannot listen at {address}: {source}; name another address or port, as in 127.0.0.1:8081"
    )]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "{address} can be reached from other machines, and that takes a token; write one to a file and name it: --token-file FILE"
    )]
    NoToken { address: SocketAddr },
    #[error(
        "a token is {least} to {most} letters, digits and signs without spaces, and this one is not; make one with `head -c 18 /dev/urandom | base64`"
    )]
    Token { least: usize, most: usize },
    #[error("cannot start the web server: {0}")]
    Start(#[from] io::Error),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// What the field holds and which head is in use.
    Status,
    /// The answer to the latest frame.
    Live,
    /// The picture of a frame that [`Call::Live`] gave.
    Frame {
        seq: u64,
    },
    Predict {
        sent: Vec<u8>,
    },
    Collect {
        label: String,
        of: Of,
    },
    Train,
    Correct {
        label: String,
        of: Of,
    },
    Forget {
        sample: u64,
    },
    Samples {
        suspect: bool,
    },
    /// The picture of a sample.
    Sample {
        id: u64,
    },
    History,
    Rollback {
        version: u64,
    },
}

/// What is collected or corrected.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// A file: a photo, a sound or a window.
    Sent(Vec<u8>),
    /// A frame that [`Call::Live`] gave, by its number and, as [`Call::Status`] tells it, the start of whoever gave it.
    Frame { seq: u64, start: Option<u64> },
    /// A sample of the field.
    Sample(u64),
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Of HTTP.
    pub status: u16,
    pub kind: Kind,
    pub body: Vec<u8>,
}

/// What the body of a reply is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One object.
    Json,
    /// One object a line.
    JsonLines,
    Jpeg,
}

impl Reply {
    /// A refusal in words.
    pub fn error(status: u16, text: &str) -> Reply {
        Reply {
            status,
            kind: Kind::Json,
            body: serde_json::json!({"error": text}).to_string().into(),
        }
    }
}

/// A call that waits for its reply.
#[derive(Debug)]
pub struct Asked {
    call: Call,
    waiting: Waiting,
}

impl Asked {
    pub fn open(self) -> (Call, Waiting) {
        (self.call, self.waiting)
    }
}

/// Whoever waits for a reply.
#[derive(Debug)]
pub struct Waiting(oneshot::Sender<Reply>);

impl Waiting {
    /// Whether the connection is gone.
    pub fn is_for_nobody(&self) -> bool {
        self.0.is_closed()
    }

    /// Whoever asked may be gone by now; then the reply is for nobody.
    pub fn send(self, reply: Reply) {
        let _ = self.0.send(reply);
    }
}

/// Takes a call in; `false` when too many wait.
pub type Take = Arc<dyn Fn(Asked) -> bool + Send + Sync>;

/// What listens, on a thread of its own.
pub struct Web {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Web {
    /// With the port that was found where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and gives those that are open some time to end.
    pub fn end(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Listens from now on.
pub fn listen(address: SocketAddr, guard: Guard, take: Take) -> Result<Web, WebError> {
    let listener = std::net::TcpListener::bind(address)
        .map_err(|source| WebError::Listen { address, source })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let work = move || {
        runtime.block_on(async {
            let accept = accept(
                listener,
                Arc::new(Desk::new(guard, take)),
                Arc::clone(&room),
            );
            let accepting = tokio::spawn(accept);
            // Whoever listens may be gone without a word.
            let _ = stopped.await;
            accepting.abort();
            let _ = timeout(LAST, room.acquire_many(CONNECTIONS as u32)).await;
        });
    };
    Ok(Web {
        address,
        stop,
        thread: std::thread::Builder::new().name("web".into()).spawn(work)?,
    })
}

/// Takes connections as there is room. Each brings one request, so that none that is not read any more holds its place for long.
async fn accept(listener: std::net::TcpListener, desk: Arc<Desk>, room: Arc<Semaphore>) {
    // It was bound and set up already.
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let service =
                service_fn(async |request| Ok::<_, Infallible>(desk.respond(request).await));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // One that breaks off, or takes too long, has nobody left to tell.
            let _ = timeout(LIFE, connection).await;
            drop(place);
        });
    }
}
