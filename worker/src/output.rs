//! The output of an attempt: the parts kept for the log, for its value, and for the tail of
//! standard error.

use std::time::{Duration, Instant};

use dagrun_core::pipeline::Capture;
use dagrun_core::status::Stream;

use crate::capture;
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog, Span};

/// Bytes of standard error that travel with a failure.
const STDERR_TAIL: usize = 4096;
/// Largest captured value, as written.
pub(crate) const CAPTURE_LIMIT: usize = 64 << 20;
/// Bytes that wait before they are handed to the log.
const PENDING: usize = 64 << 10;
/// How long output of a running attempt waits before a reader of the log sees it.
const PENDING_FOR: Duration = Duration::from_millis(100);

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    log: Option<&'a RunLog>,
    owner: Owner,
    stdout: Kept,
    stderr: Kept,
    tail: Vec<u8>,
    capture: Capture,
    captured: Vec<u8>,
    too_large: bool,
    pending: Vec<u8>,
    spans: Vec<Span>,
    since: Option<Instant>,
}

impl<'a> Output<'a> {
    /// Empty output; at most `limit` bytes of each stream will be logged.
    pub(crate) fn new(
        log: Option<&'a RunLog>,
        owner: Owner,
        capture: Capture,
        limit: usize,
    ) -> Output<'a> {
        Output {
            log,
            owner,
            stdout: Kept::new(limit),
            stderr: Kept::new(limit),
            tail: Vec::new(),
            capture,
            captured: Vec::new(),
            too_large: false,
            pending: Vec::new(),
            spans: Vec::new(),
            since: None,
        }
    }

    /// Takes what was read from a stream.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = if stream == Stream::Stderr {
            keep_last(&mut self.tail, bytes, STDERR_TAIL);
            &mut self.stderr
        } else {
            self.capture(bytes);
            &mut self.stdout
        };
        let now = kept.take(bytes);
        self.write(stream, &bytes[..now]);
    }

    fn capture(&mut self, bytes: &[u8]) {
        if self.capture == Capture::None || self.too_large {
            return;
        }
        if self.captured.len() + bytes.len() > CAPTURE_LIMIT {
            self.too_large = true;
            self.captured = Vec::new();
        } else {
            self.captured.extend_from_slice(bytes);
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() || self.log.is_none() {
            return;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match self.spans.last_mut() {
            Some(last) if last.stream == stream => last.length += length,
            _ => self.spans.push(Span { stream, at: clock::now(), length }),
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PENDING {
            self.hand_over();
        } else if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    fn hand_over(&mut self) {
        if let Some(log) = self.log
            && !self.spans.is_empty()
        {
            log.append(self.owner, &self.spans, &self.pending);
        }
        self.pending.clear();
        self.spans.clear();
        self.since = None;
    }

    /// When [`Output::show`] is next due, if there is something to show.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PENDING_FOR)
    }

    /// Lets readers of the log see what a running attempt has written so far.
    pub(crate) fn show(&mut self) {
        self.hand_over();
        if let Some(log) = self.log {
            log.flush();
        }
    }

    /// Hands everything to the log, with a note where something was cut.
    pub(crate) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let kept = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
            let (cut, last) = kept.finish();
            if cut > 0 {
                self.write(Stream::Note, format!("… {cut} bytes cut …\n").as_bytes());
            }
            self.write(stream, &last);
        }
        self.hand_over();
    }

    /// Adds a remark of dagrun's to the log.
    pub(crate) fn note(&mut self, text: &str) {
        self.write(Stream::Note, text.as_bytes());
        self.hand_over();
    }

    /// The last bytes of standard error.
    pub(crate) fn stderr_tail(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tail)
    }

    /// The value, or why there is none.
    pub(crate) fn value(&mut self) -> Result<Option<Vec<u8>>, String> {
        if self.too_large {
            return Err(format!("captured output exceeds {} MiB", CAPTURE_LIMIT >> 20));
        }
        let document = capture::document(self.capture, &std::mem::take(&mut self.captured))?;
        // Escapes can make it longer than what was written; its readers rely on the limit.
        match document {
            Some(document) if document.len() > CAPTURE_LIMIT => {
                Err(format!("captured output exceeds {} MiB as JSON", CAPTURE_LIMIT >> 20))
            }
            document => Ok(document),
        }
    }
}

/// The first and the last half of a limit's worth of a stream.
#[derive(Debug)]
struct Kept {
    /// Bytes that may still be passed directly to the log.
    first: usize,
    half: usize,
    last: Vec<u8>,
    cut: u64,
}

impl Kept {
    fn new(limit: usize) -> Kept {
        Kept { first: limit - limit / 2, half: limit / 2, last: Vec::new(), cut: 0 }
    }

    /// How many of `bytes` belong to the first half; the others are kept here for the end.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let now = bytes.len().min(self.first);
        self.first -= now;
        let rest = &bytes[now..];
        if !rest.is_empty() {
            self.last.extend_from_slice(rest);
            // Twice the capacity, so that bytes are moved rarely.
            if self.last.len() > 2 * self.half {
                self.trim();
            }
        }
        now
    }

    fn trim(&mut self) {
        let surplus = self.last.len().saturating_sub(self.half);
        self.cut += surplus as u64;
        self.last.drain(..surplus);
    }

    /// How many bytes were cut, and what came after them.
    fn finish(&mut self) -> (u64, Vec<u8>) {
        self.trim();
        (self.cut, std::mem::take(&mut self.last))
    }
}

/// Appends to `tail` and keeps its last `limit` bytes.
fn keep_last(tail: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let bytes = &bytes[bytes.len().saturating_sub(limit)..];
    let surplus = (tail.len() + bytes.len()).saturating_sub(limit);
    tail.drain(..surplus);
    tail.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_stream_are_kept() {
        let all: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
        for piece in [1, 7, 64, 1000] {
            let mut kept = Kept::new(101);
            let mut first = Vec::new();
            for bytes in all.chunks(piece) {
                let now = kept.take(bytes);
                first.extend_from_slice(&bytes[..now]);
            }
            let (cut, last) = kept.finish();
            assert_eq!((first.as_slice(), cut), (&all[..51], 899));
            assert_eq!(last, &all[950..]);
        }
    }

    #[test]
    fn the_tail_holds_the_last_bytes() {
        let mut tail = Vec::new();
        for bytes in ["abc", "", "defgh", "0123456789", "x"] {
            keep_last(&mut tail, bytes.as_bytes(), 6);
        }
        assert_eq!(tail, b"56789x");
    }
}
