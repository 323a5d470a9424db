//! Passing open sockets between processes (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Sockets of one message; the kernel takes 253.
const AT_ONCE: usize = 200;

/// Sends all, in order.
pub(super) async fn send(stream: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    for some in descriptors.chunks(AT_ONCE) {
        let raw: Vec<RawFd> = some.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        stream
            .async_io(Interest::WRITABLE, || {
                let rights = [ControlMessage::ScmRights(&raw)];
                let byte = [IoSlice::new(b"s")];
                sendmsg::<()>(stream.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Receives `count`, in order.
pub(super) async fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let some = stream
            .async_io(Interest::READABLE, || receive_some(stream))
            .await?;
        if some.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend(some);
    }
    Ok(all)
}

fn receive_some(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut room = nix::cmsg_space!([RawFd; AT_ONCE]);
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut data,
        Some(&mut room),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            received.extend(raw.into_iter().map(own));
        }
    }
    Ok(received)
}

#[expect(
    unsafe_code,
    reason = "a descriptor out of a control message has no other name"
)]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for this process a moment ago; nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
