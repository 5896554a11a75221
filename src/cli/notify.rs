//! Telling systemd that a service has begun and is alive.
//!
//! Owns: the messages of sd_notify(3), datagrams to the socket that the service manager names in `NOTIFY_SOCKET`. Without one, as in a
//! terminal, nothing is sent.

use std::io;
use std::os::unix::net::UnixDatagram;

/// A service manager that listens, or nobody.
pub struct Manager(Option<UnixDatagram>);

impl Manager {
    /// The manager that started this program.
    pub fn of_environment() -> Manager {
        Manager::at(std::env::var("NOTIFY_SOCKET").ok().as_deref())
    }

    /// A manager that cannot be reached is as good as none: the service does its work all the same, and is started again if missed.
    fn at(socket: Option<&str>) -> Manager {
        Manager(socket.and_then(|name| connect(name).ok()))
    }

    /// The service does its work from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The service is alive; to be said more often than `WatchdogSec`.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.0 {
            // Who does not hear it starts the service again.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A path, or an abstract name after `@`.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the work.
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        socket.connect_addr(&address)?;
        return Ok(socket);
    }
    socket.connect(name)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_what_it_has_to_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.to_str());
        manager.ready();
        manager.alive();
        for expected in ["READY=1", "WATCHDOG=1"] {
            let mut buffer = [0; 32];
            let length = listening.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }

    #[test]
    fn without_a_manager_or_with_one_that_is_gone_nothing_happens() {
        for socket in [
            None,
            Some("/nowhere/notify"),
            Some("@fieldhead-nobody"),
            Some(""),
        ] {
            let manager = Manager::at(socket);
            manager.ready();
            manager.alive();
        }
    }
}
