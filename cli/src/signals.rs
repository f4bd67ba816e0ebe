//! SIGINT, SIGTERM and SIGHUP, as events.

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// A signal that asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
}

impl Signal {
    /// How a process ends that was asked so.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
            Signal::HangUp => Exit::HungUp,
        }
    }
}

/// The signals that arrive.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    /// Unless it is ignored, as `nohup` has it.
    hang_up: Option<Stream>,
}

impl Signals {
    /// Takes over the signals; from now on they end nothing by themselves.
    pub(crate) fn take() -> Result<Signals, Failure> {
        let stream = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Failed, format!("signals: {error}")))
        };
        Ok(Signals {
            interrupt: stream(SignalKind::interrupt())?,
            terminate: stream(SignalKind::terminate())?,
            hang_up: match ignores_hang_up() {
                true => None,
                false => Some(stream(SignalKind::hangup())?),
            },
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            () = hung_up(self.hang_up.as_mut()) => Signal::HangUp,
        }
    }
}

async fn hung_up(stream: Option<&mut Stream>) {
    match stream {
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started this process has it ignore SIGHUP, the first signal of the mask.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
