//! The page and the HTTP API of a field: a request that may come becomes a [`Call`], and what came of it goes back as a [`Reply`].
//!
//! Owns: who may call ([`Guard`]), which request is which call, the bounds of a request, the page. Does not own: what a call does: whoever
//! listens takes the calls in and answers them one after the other.
//!
//! Invariants: nothing listens beyond loopback without a token; a request that the guard refuses reaches nobody; at most
//! [`CONNECTIONS`] are open, each brings at most [`MAX_ENCODED_BYTES`], and none is waited for longer than [`PATIENCE`].

mod guard;
mod routes;
#[cfg(test)]
mod tests;

pub use guard::Guard;

use crate::preprocess::MAX_ENCODED_BYTES;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// Connections at a time: a browser opens six.
pub const CONNECTIONS: usize = 32;
/// How long the head of a request may take to come, and its body.
pub const PATIENCE: Duration = Duration::from_secs(30);
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
    /// A frame that [`Call::Live`] gave, by its number.
    Frame(u64),
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
    pub call: Call,
    reply: oneshot::Sender<Reply>,
}

impl Asked {
    /// Whoever asked may be gone by now; then the reply is for nobody.
    pub fn reply(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

/// Takes a call in; `false` when too many wait.
pub type Take = Arc<dyn Fn(Asked) -> bool + Send + Sync>;

/// Listens from now on, on a thread of its own, until the program ends; the address, with the port that was found where 0 was asked for.
pub fn listen(address: SocketAddr, guard: Guard, take: Take) -> Result<SocketAddr, WebError> {
    let listener = std::net::TcpListener::bind(address)
        .map_err(|source| WebError::Listen { address, source })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let work = move || runtime.block_on(accept(listener, guard, take));
    std::thread::Builder::new().name("web".into()).spawn(work)?;
    Ok(address)
}

async fn accept(listener: std::net::TcpListener, guard: Guard, take: Take) {
    // It was bound and set up already.
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let routes = routes::routes(guard, take);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // One that breaks off has nobody left to tell.
            let _ = connection.await;
            drop(place);
        });
    }
}
