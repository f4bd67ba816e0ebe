//! A limit on the size of messages, checked before anything is allocated for them.
//!
//! capnp-rpc reads a message's table of segments and then allocates all of them; its only limit is
//! for the whole connection. A peer that has not logged in yet gets a far smaller one: [`Guard`]
//! follows the framing of the stream that passes through it and ends the stream where a message
//! announces more than is allowed.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::io::AsyncRead;

/// Bytes that a peer may send before it has logged in.
const STRANGER_BYTES: u64 = 64 * 1024;

/// The largest message of a peer that has logged in, in bytes.
pub(super) const MESSAGE_BYTES: u64 = 512 * 1024 * 1024;

/// capnp refuses more segments than this.
const SEGMENTS: u32 = 512;

/// What is known about a connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    logged_in: Cell<bool>,
    /// Bytes that it has sent.
    received: Cell<u64>,
    /// Messages of it that were refused.
    pub(super) refused: Cell<u64>,
}

impl Peer {
    pub(super) fn has_logged_in(&self) -> bool {
        self.logged_in.get()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn log_in(&self) {
        self.logged_in.set(true);
    }
}

/// A stream of messages of limited size.
pub(super) struct Guard<R> {
    inner: R,
    peer: Rc<Peer>,
    frame: Frame,
}

/// The position of the stream within a message.
#[derive(Debug)]
enum Frame {
    /// In the table of segments: the bytes of the current word, and what is known so far.
    Table { word: [u8; 4], filled: usize, words_left: Option<u32>, total: u64, padded: bool },
    /// In the segments, with this many bytes left.
    Body(u64),
}

const START: Frame =
    Frame::Table { word: [0; 4], filled: 0, words_left: None, total: 0, padded: false };

impl<R> Guard<R> {
    pub(super) fn new(inner: R, peer: Rc<Peer>) -> Guard<R> {
        Guard { inner, peer, frame: START }
    }

    /// Follows the framing through these bytes.
    fn inspect(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.peer.received.set(self.peer.received.get() + bytes.len() as u64);
        if !self.peer.has_logged_in() && self.peer.received.get() > STRANGER_BYTES {
            return Err(refused("too much before the login"));
        }
        while !bytes.is_empty() {
            match &mut self.frame {
                Frame::Body(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        self.frame = START;
                    }
                }
                Frame::Table { word, filled, .. } => {
                    word[*filled] = bytes[0];
                    *filled += 1;
                    bytes = &bytes[1..];
                    if *filled == word.len() {
                        self.table_word()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A word of the table is complete: the number of segments, a segment's length, or padding.
    fn table_word(&mut self) -> io::Result<()> {
        let Frame::Table { word, filled, words_left, total, padded } = &mut self.frame else {
            return Ok(());
        };
        let number = u32::from_le_bytes(*word);
        *filled = 0;
        match words_left {
            None => {
                let segments = number.checked_add(1).filter(|segments| *segments < SEGMENTS);
                let segments = segments.ok_or_else(|| refused("a message of too many parts"))?;
                // The table is padded to an even number of words, the first included.
                *padded = segments % 2 == 0;
                *words_left = Some(segments + u32::from(*padded));
            }
            Some(left) => {
                *left -= 1;
                let padding = *left == 0 && *padded;
                *total += if padding { 0 } else { u64::from(number) * 8 };
                if *total > MESSAGE_BYTES {
                    return Err(refused("a message that is too large"));
                }
                if *total > STRANGER_BYTES && !self.peer.has_logged_in() {
                    return Err(refused("a large message before the login"));
                }
                if *left == 0 {
                    let total = *total;
                    self.frame = if total == 0 { START } else { Frame::Body(total) };
                }
            }
        }
        Ok(())
    }
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: AsyncRead + Unpin> AsyncRead for Guard<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = std::task::ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let inspected = self.inspect(buffer.get(..read).unwrap_or_default());
        if inspected.is_err() {
            self.peer.refused.set(self.peer.refused.get() + 1);
        }
        Poll::Ready(inspected.map(|()| read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lengths: &[u32]) -> Vec<u8> {
        let mut words = vec![u32::try_from(lengths.len()).unwrap() - 1];
        words.extend_from_slice(lengths);
        if words.len() % 2 == 1 {
            words.push(0);
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn guard(logged_in: bool) -> Guard<()> {
        let peer = Rc::new(Peer::default());
        peer.logged_in.set(logged_in);
        Guard::new((), peer)
    }

    #[test]
    fn messages_of_any_framing_pass_in_pieces_of_any_size() {
        let mut stream = Vec::new();
        for lengths in [&[1][..], &[2, 3], &[0, 1, 2], &[1, 0, 0, 4], &[0]] {
            stream.extend(table(lengths));
            let words: u32 = lengths.iter().sum();
            stream.extend(vec![0xff; words as usize * 8]);
        }
        for piece in 1..stream.len() {
            let mut guard = guard(false);
            for bytes in stream.chunks(piece) {
                guard.inspect(bytes).unwrap();
            }
            assert!(matches!(guard.frame, Frame::Table { filled: 0, words_left: None, .. }));
        }
    }

    #[test]
    fn a_stranger_may_not_announce_a_large_message() {
        let large = table(&[1 << 20]);
        assert!(guard(false).inspect(&large).is_err());
        assert!(guard(true).inspect(&large).is_ok());
        assert!(guard(true).inspect(&table(&[u32::MAX])).is_err());
        assert!(guard(true).inspect(&table(&[1 << 25, 1 << 26])).is_err());
        assert!(guard(true).inspect(&[0xff; 4]).is_err());
    }

    #[test]
    fn a_stranger_may_not_send_much() {
        let mut guard = guard(false);
        let message = [table(&[1000]), vec![0; 8000]].concat();
        let sent = (0..100).take_while(|_| guard.inspect(&message).is_ok()).count();
        assert!((1..10).contains(&sent), "{sent}");
    }
}
