//! A client that was silent until the server had been connected to: what it says first still decides.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;

use super::{Lane, Moved, TcpCall};
use crate::compile::ListenerEntry;
use crate::detect::{Heard, detect};
use crate::wire::{Stream, Wire};
use crate::worker::Connection;

/// A client's socket, and what was read from it.
pub(crate) type Unexpected = (TcpStream, Vec<u8>);

/// What a client said that was silent at first.
pub(super) enum FirstWord {
    /// What this chain serves.
    AsExpected,
    /// What another chain serves.
    Unexpected(Unexpected),
    /// What another chain serves, when the server had spoken already.
    TooLate,
    /// Nothing.
    End,
}

/// Passes on what the server says until the client says something, and judges that.
pub(super) async fn first_word(
    call: &mut TcpCall<'_>,
    listener: &ListenerEntry,
    upstream: &mut Wire,
    timer: &Connection,
) -> FirstWord {
    let mut down = Lane::default();
    let client = &mut call.accepted.wire;
    let spoke = poll_fn(|cx| {
        let failed = matches!(down.poll(cx, upstream, client), Poll::Ready(Err(_)));
        if failed || timer.poll_deadline(cx).is_ready() {
            return Poll::Ready(false);
        }
        client.poll_readable(cx).map(|readable| readable.is_ok())
    })
    .await;
    call.moved.set(Moved {
        up: 0,
        down: down.bytes,
    });
    let (true, Stream::Tcp(mut socket)) = (spoke, std::mem::replace(&mut client.stream, Stream::None)) else {
        return FirstWord::End;
    };
    let Ok(Heard::Speech(hello, read)) = detect(&mut socket, Vec::new(), None).await else {
        // It left without a word: the server's end is to be told.
        client.stream = Stream::Tcp(socket);
        return FirstWord::AsExpected;
    };
    let same = listener
        .chain(&hello, call.accepted.local)
        .is_some_and(|chain| Arc::ptr_eq(chain, &call.accepted.chain));
    if same {
        *client = Wire::new(Stream::Tcp(socket), read);
        call.accepted.hello = hello;
        FirstWord::AsExpected
    } else if down.bytes == 0 {
        FirstWord::Unexpected((socket, read))
    } else {
        FirstWord::TooLate
    }
}
