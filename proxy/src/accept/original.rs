//! Where a captured connection was going.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::Destination;

/// The original destination of a connection that arrived at `local`, on a socket bound to `port`: as the kernel
/// remembers it, or, where it changed nothing (TPROXY), `local` itself. The address is what logs and chains see.
pub(super) fn destination(socket: &TcpStream, local: SocketAddr, port: u16) -> (Destination, SocketAddr) {
    let socket = SockRef::from(socket);
    let remembered = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let address = remembered
        .ok()
        .and_then(|address| address.as_socket())
        .map_or(local, super::canonical);
    // Nobody redirected it: it was made to the capturing port.
    if address == local && address.port() == port {
        (Destination::Here, address)
    } else {
        (Destination::At(address), address)
    }
}
