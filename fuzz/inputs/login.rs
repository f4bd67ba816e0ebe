//! Whatever a stranger sends to a scheduler, it is not let in, its connection ends, and the others are
//! served.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use capnp::message::{Builder, Reader, ReaderOptions, ReaderSegments};
use capnp::serialize;
use capnp::traits::HasTypeId;
use capnp_rpc::rpc_capnp::{message, return_};
use dagrun_scheduler::{Config, SchedulerHandle, spawn};
use dagrun_schema::PROTOCOL_VERSION;
use dagrun_schema::dagrun_capnp::bootstrap;

/// Answers are small, as nothing is asked for that is large.
const MOST_BYTES: usize = 1 << 20;

/// Plays a stranger; the first byte says what the others are: all that it sends, messages of which it sends
/// each in a frame, or the arguments of a login.
pub fn feed(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let sent = match kind % 3 {
        0 => rest.to_vec(),
        1 => framed(rest),
        _ => login(rest),
    };
    let mut stranger = connect();
    // Its connection may have ended by then.
    let _ = stranger.write_all(&sent);
    // That takes the scheduler at least as long as to come to an end with the stranger.
    be_refused();
    let answers = rest_of(stranger);
    assert!(answers.len() < MOST_BYTES, "{} bytes of answers", answers.len());
    assert!(!is_let_in(&answers), "it is let in");
}

/// Another stranger logs in without a secret, and is answered.
fn be_refused() {
    let mut other = connect();
    other.write_all(&login(b"")).expect("a connection");
    loop {
        let message = serialize::read_message(&mut other, ReaderOptions::new());
        let message = message.unwrap_or_else(|error| panic!("others are not served: {error}"));
        match answer(&message) {
            Some(return_::Exception(_)) => return,
            Some(return_::Results(_)) => {}
            _ => panic!("a login without a secret is not refused"),
        }
    }
}

/// A scheduler for all inputs.
struct Attacked {
    handle: SchedulerHandle,
    #[cfg(test)]
    secret: Vec<u8>,
}

fn attacked() -> &'static Attacked {
    static ATTACKED: OnceLock<Attacked> = OnceLock::new();
    ATTACKED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        // New ones each time, which no input can have.
        let secret = || {
            let mut secret = vec![0; 32];
            getrandom::fill(&mut secret).expect("random bytes");
            secret
        };
        let config = Config::new(dir.path().to_owned(), secret(), secret());
        Attacked {
            #[cfg(test)]
            secret: config.client_token.clone(),
            // Nothing is written there for strangers, so that the directory may be removed.
            handle: spawn(config).expect("a scheduler"),
        }
    })
}

/// Each message is preceded by its length in words.
fn framed(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((words, rest)) = data.split_first() {
        let (message, rest) = rest.split_at((usize::from(*words) * 8).min(rest.len()));
        let words = u32::try_from(message.len().div_ceil(8)).unwrap_or(0);
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&words.to_le_bytes());
        bytes.extend_from_slice(message);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        data = rest;
    }
    bytes
}

/// What a client sends that asks for the capability of a connection and logs in: the first byte is added
/// to the version of the protocol, the others are the secret.
pub fn login(data: &[u8]) -> Vec<u8> {
    let (version, token) = data.split_at(data.len().min(1));
    let protocol = PROTOCOL_VERSION + u32::from(version.first().copied().unwrap_or(0));
    let mut bytes = Vec::new();
    let mut asks = Builder::new_default();
    asks.init_root::<message::Builder<'_>>().init_bootstrap().set_question_id(0);
    let mut calls = Builder::new_default();
    let mut call = calls.init_root::<message::Builder<'_>>().init_call();
    call.set_question_id(1);
    call.reborrow().init_target().init_promised_answer().set_question_id(0);
    call.set_interface_id(<bootstrap::Client as HasTypeId>::TYPE_ID);
    call.set_method_id(0);
    call.reborrow().init_send_results_to().set_caller(());
    let content = call.init_params().get_content();
    let mut params: bootstrap::login_params::Builder<'_> = content.init_as();
    params.set_token(token);
    params.set_protocol(protocol);
    for message in [&asks, &calls] {
        serialize::write_message(&mut bytes, message).expect("bytes in memory");
    }
    bytes
}

fn connect() -> UnixStream {
    let (own, other) = UnixStream::pair().expect("a pair of sockets");
    attacked().handle.attach(other);
    own.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    own
}

/// What a connection still has to be read, until the scheduler ends it.
fn rest_of(mut own: UnixStream) -> Vec<u8> {
    let _ = own.shutdown(std::net::Shutdown::Write);
    let mut answers = Vec::new();
    if let Err(error) = own.read_to_end(&mut answers) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the connection does not end");
    }
    answers
}

/// Whether a call was granted something. The capability that a connection begins with is no structure, as
/// the results of calls are.
fn is_let_in(mut answers: &[u8]) -> bool {
    while let Ok(message) = serialize::read_message(&mut answers, ReaderOptions::new()) {
        if let Some(return_::Results(Ok(results))) = answer(&message) {
            let content = results.get_content();
            let results = content.get_as::<bootstrap::login_results::Reader<'_>>();
            if !content.is_null() && results.is_ok_and(|results| results.has_granted()) {
                return true;
            }
        }
    }
    false
}

/// What a message answers, if it does.
fn answer<S: ReaderSegments>(message: &Reader<S>) -> Option<return_::WhichReader<'_>> {
    let root = message.get_root::<message::Reader<'_>>().ok()?;
    match root.which().ok()? {
        message::Return(answer) => answer.ok()?.which().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_secret_is_seen_to_be_let_in() {
        let is_let_in_with = |secret: &[u8]| {
            let mut own = connect();
            own.write_all(&login(&[&[0], secret].concat())).unwrap();
            be_refused();
            is_let_in(&rest_of(own))
        };
        assert!(is_let_in_with(&attacked().secret));
        assert!(!is_let_in_with(&[0; 32]));
    }
}
