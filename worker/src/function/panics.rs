//! Where panics of functions happened: the hook knows the location, the code that catches them does
//! not.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Arc, Mutex, Once, PoisonError};

use super::Failure;

/// The last panic on the threads that share it.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Option<Recorded>>);

#[derive(Debug)]
struct Recorded {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static RECORDER: RefCell<Arc<Recorder>> = RefCell::default();
    /// Whether a function runs here.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, a function, on this thread; panics here are kept rather than printed.
pub(super) fn recorded<R>(f: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            RUNS.set(false);
        }
    }
    install_hook();
    RUNS.set(true);
    let _reset = Reset;
    f()
}

/// Makes this thread, which runs nothing but parts of functions, keep its panics in `recorder`.
pub(super) fn record_always(recorder: &Arc<Recorder>) {
    install_hook();
    RECORDER.set(recorder.clone());
    RUNS.set(true);
}

/// The recorder of this thread.
pub(super) fn recorder() -> Arc<Recorder> {
    RECORDER.with_borrow(Arc::clone)
}

impl Recorder {
    /// What is known about a panic that was caught.
    pub(super) fn failure(&self, panic: &(dyn Any + Send)) -> Failure {
        let message = message(panic);
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The record may be of another panic, which the function caught itself.
        match last.filter(|last| last.message == message) {
            Some(last) => Failure::of_panic(message, last.location, last.backtrace),
            None => Failure::of_panic(message, None, None),
        }
    }
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    text(panic)
}

fn text(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// Once for the process; panics of other threads are handled as before.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let runs = RUNS.try_with(Cell::get).unwrap_or(false);
            if !runs || RECORDER.try_with(|recorder| record(&recorder.borrow(), info)).is_err() {
                before(info);
            }
        }));
    });
}

fn record(recorder: &Recorder, info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => Some(backtrace.to_string()),
        _ => None,
    };
    let recorded = Recorded {
        message: text(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace,
    };
    *recorder.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(recorded);
}
