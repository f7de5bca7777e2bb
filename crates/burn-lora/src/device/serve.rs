//! Lending a device of this machine to other processes.
//!
//! Whoever reaches the address may compute on the device and read every tensor that lies there: there is no password, and what goes over
//! the connection is not encrypted.

use std::net::SocketAddr;

use super::DeviceError;

/// A device of this machine that other processes can reach as `remote://HOST:PORT`.
///
/// ```no_run
/// let server = burn_lora::device::listen("127.0.0.1:3000", "cpu")?;
/// println!("remote://{}", server.address());
/// server.serve()?;
/// # Ok::<(), burn_lora::device::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Server(Lent);

/// Takes the address, which may have port 0 for a free one, and opens the device.
///
/// # Errors
///
/// A device that cannot be had, an address that cannot be taken, a device that is itself elsewhere; a build without the feature `remote`.
pub fn listen(address: &str, device: &str) -> Result<Server, DeviceError> {
    Lent::listen(address, device).map(Server)
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Serves until the process gets Ctrl-C or SIGTERM. One line of a log for what happens goes to standard output, by Burn.
    ///
    /// # Errors
    ///
    /// What Burn says.
    pub fn serve(self) -> Result<(), DeviceError> {
        self.0.serve()
    }
}

#[cfg(feature = "remote")]
use lent::Lent;

#[cfg(feature = "remote")]
mod lent {
    use std::fmt::{self, Debug};
    use std::net::{SocketAddr, TcpListener};

    use burn::backend::{self, DispatchDevice};
    use burn::server::{RemoteServer, ServeError, WebSocketTransport};
    use burn::tensor::Device;

    use crate::device::{DeviceError, is_elsewhere, parse};
    use crate::op::with_products;

    pub(super) struct Lent {
        address: SocketAddr,
        listener: TcpListener,
        server: RemoteServer,
    }

    impl Debug for Lent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lent").field("address", &self.address).finish_non_exhaustive()
        }
    }

    impl Lent {
        pub fn listen(address: &str, device: &str) -> Result<Self, DeviceError> {
            let unserved =
                |reason: String| DeviceError::Unserved { address: address.to_owned(), reason };
            if is_elsewhere(device) {
                let reason = format!(
                    "`{device}` is a device elsewhere already: name one of this machine, or let others reach that one"
                );
                return Err(unserved(reason));
            }
            let device = parse(device)?;
            let listener = TcpListener::bind(address).map_err(|error| {
                unserved(format!(
                    "{error}; name an address of this machine, with a port that is free"
                ))
            })?;
            let address = listener.local_addr().map_err(|error| unserved(error.to_string()))?;
            Ok(Self { address, listener, server: knowing(&device) })
        }

        pub fn address(&self) -> SocketAddr {
            self.address
        }

        pub fn serve(self) -> Result<(), DeviceError> {
            let Self { address, listener, server } = self;
            server.serve(WebSocketTransport::from_listener(listener)).map_err(
                |error: ServeError| DeviceError::Unserved {
                    address: address.to_string(),
                    reason: error.to_string(),
                },
            )
        }
    }

    /// A server of the device that knows this project's products.
    #[allow(
        deprecated,
        reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
    )]
    fn knowing(device: &Device) -> RemoteServer {
        let device = device.clone().inner();
        let server = RemoteServer::new([device.clone()]);
        match device.as_dispatch() {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => with_products::<backend::Flex>(server),
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => with_products::<backend::NdArray>(server),
            #[cfg(feature = "cube")]
            DispatchDevice::Cube(_) => with_products::<backend::Cube>(server),
            // Burn refuses what it cannot serve.
            #[allow(unreachable_patterns, reason = "all that are compiled in may stand above")]
            _ => server,
        }
    }
}

/// Without the feature there is none.
#[cfg(not(feature = "remote"))]
#[derive(Debug)]
enum Lent {}

#[cfg(not(feature = "remote"))]
impl Lent {
    fn listen(address: &str, _: &str) -> Result<Self, DeviceError> {
        Err(super::not_compiled(&format!("{}{address}", super::REMOTE), "remote"))
    }

    fn address(&self) -> SocketAddr {
        match *self {}
    }

    fn serve(self) -> Result<(), DeviceError> {
        match self {}
    }
}
