//! The connection to a device elsewhere: what went over it, and whether it still stands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;

/// The devices elsewhere that this process has reached, each with its connection. One that broke stays, and a new one comes after it.
static REACHED: Mutex<Vec<(Device, Connection)>> = Mutex::new(Vec::new());

/// A connection to a device elsewhere. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Connection(Arc<State>);

#[derive(Debug, Default)]
struct State {
    address: String,
    sent: AtomicU64,
    received: AtomicU64,
    /// A device was found at its other end.
    #[cfg(any(feature = "remote", test))]
    stands: AtomicBool,
    broken: AtomicBool,
}

impl Connection {
    /// `HOST:PORT` of the server, as it was named.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Bytes that were sent to the device so far, framing included; tensors, and what is to be done with them.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Bytes that came from the device so far, framing included.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::SeqCst)
    }

    /// Whether it broke: the server was stopped, or its machine or the network went away.
    pub fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::SeqCst)
    }
}

#[cfg(any(feature = "remote", test))]
impl Connection {
    /// One that is being opened.
    pub(super) fn to(address: &str) -> Self {
        Self(Arc::new(State { address: address.to_owned(), ..State::default() }))
    }

    /// A device was found at its other end.
    pub(super) fn stand(&self) {
        self.0.stands.store(true, Ordering::SeqCst);
    }

    /// Whether a device was found at its other end.
    pub(super) fn stands(&self) -> bool {
        self.0.stands.load(Ordering::SeqCst)
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub(super) fn breaks(&self) {
        self.0.broken.store(true, Ordering::SeqCst);
    }
}

/// All that were reached.
pub(super) fn reached() -> MutexGuard<'static, Vec<(Device, Connection)>> {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection to a device elsewhere; none of a device of this machine that this process has opened itself.
pub fn connection(device: &Device) -> Option<Connection> {
    let device = device.clone().inner();
    let reached = reached();
    reached.iter().find(|(there, _)| *there == device).map(|(_, connection)| connection.clone())
}

/// The newest connection to the device of that name, `remote://HOST:PORT`; none where it was never reached, and of any other name.
pub fn connection_named(name: &str) -> Option<Connection> {
    let address = name.strip_prefix(super::REMOTE)?;
    let reached = reached();
    let named = reached.iter().rev().find(|(_, connection)| connection.address() == address);
    named.map(|(_, connection)| connection.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_connection_count_together() {
        let connection = Connection::to("gpu:3000");
        let other = connection.clone();
        connection.count_sent(3);
        other.count_received(4);
        other.breaks();
        assert_eq!((other.sent(), connection.received()), (3, 4));
        assert!(connection.is_broken() && !connection.stands());
        connection.stand();
        assert!(other.stands());
        assert_eq!(other.address(), "gpu:3000");
    }

    #[test]
    fn a_device_of_this_machine_has_no_connection() {
        let cpu = crate::device::parse("cpu").unwrap();
        assert!(connection(&cpu).is_none() && connection(&cpu.autodiff()).is_none());
        for name in ["cpu", "remote://nowhere:1", "nowhere:1"] {
            assert!(connection_named(name).is_none(), "{name}");
        }
    }
}
