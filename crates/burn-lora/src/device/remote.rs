//! A device elsewhere: Burn's remote backend over one connection, which is led through this process.
//!
//! Burn tells of a connection neither how much goes over it nor, other than by a panic at some later read, that it broke. So its client
//! is given an address of this process's own, on loopback and for one caller, and what it says is handed on to the server: counted, and
//! with an end that is noted ([`Connection`]). Nothing of it is read or changed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;
use std::{io, thread};

use burn::remote::{ConnectError, RemoteHost};
use burn::tensor::Device;
use socket2::{SockRef, TcpKeepalive};

use super::DeviceError;
use super::connection::{Connection, reached};

/// Burn's backend for devices elsewhere, without its layer of graphs (`fusion`).
pub type RemoteRouter = burn_router::BackendRouter<burn_remote::RemoteChannel>;

/// For how long a server may not answer while it is asked for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are handed on at a time, at most.
const PIECE: usize = 1 << 18;

/// The device that is served at that address.
pub(super) fn connect(name: &str, address: &str) -> Result<Device, DeviceError> {
    let mut reached = reached();
    let standing = |(_, connection): &&(Device, Connection)| {
        connection.address() == address && !connection.is_broken()
    };
    if let Some((device, _)) = reached.iter().find(standing) {
        return Ok(device.clone());
    }
    let unreachable = |reason: String| DeviceError::Unreachable { name: name.to_owned(), reason };
    let connection = Connection::to(address);
    let server = dial(address).map_err(|error| unreachable(error.to_string()))?;
    let here = lead(server, &connection).map_err(|error| unreachable(error.to_string()))?;
    let host = RemoteHost::websocket(&format!("ws://{here}"));
    let device = Device::remote_options(&host).init().map_err(|error| {
        unreachable(match &error {
            ConnectError::Unreachable { .. } | ConnectError::Handshake { .. } => {
                format!("what answers there is no server of devices ({error})")
            }
            _ => error.to_string(),
        })
    })?;
    connection.stand();
    reached.push((device.clone(), connection));
    Ok(device)
}

/// A connection to the first of the host's addresses that takes one.
fn dial(address: &str) -> io::Result<TcpStream> {
    let mut refused = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                // As Burn has it at the ends of its own: a machine that vanished is noticed while nothing is sent.
                let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(10));
                #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
                let keepalive = keepalive.with_interval(Duration::from_secs(5)).with_retries(4);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                return Ok(stream);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()))
}

/// An address of this process that leads to the server: for the first who calls there, and nobody after.
fn lead(server: TcpStream, connection: &Connection) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = listener.local_addr()?;
    let connection = connection.clone();
    let work = move || {
        // Where this fails, whoever called finds a connection that ends at once.
        if led(&listener, &server, &connection).is_err() {
            connection.breaks();
            let _ = server.shutdown(Shutdown::Both);
        }
    };
    thread::Builder::new().name("to the device".to_owned()).spawn(work)?;
    Ok(here)
}

fn led(listener: &TcpListener, server: &TcpStream, connection: &Connection) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let (from, to, back) = (server.try_clone()?, client.try_clone()?, connection.clone());
    let coming = move || hand_on(&from, &to, &back, |bytes| back.count_received(bytes));
    thread::Builder::new().name("from the device".to_owned()).spawn(coming)?;
    hand_on(&client, server, connection, |bytes| connection.count_sent(bytes));
    Ok(())
}

/// Hands on what comes until either side ends, and ends the other then. What is handed on has been counted before it arrives.
fn hand_on(from: &TcpStream, to: &TcpStream, connection: &Connection, count: impl Fn(usize)) {
    let (mut reader, mut writer) = (from, to);
    let mut piece = vec![0; PIECE];
    loop {
        let bytes = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A server may compute for as long as it likes, once it is one.
            Err(error) if is_silence(&error) && connection.stands() => continue,
            Err(_) => break,
        };
        count(bytes);
        if writer.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    connection.breaks();
    // Either may be gone already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
