//! Peers that take more than their share: each has a limit, what is refused is counted, and the others are
//! served meanwhile.

use std::cell::{Cell, RefCell};
use std::io::Read as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::status::Refused;
use dagrun_schema::dagrun_capnp::{self as rpc, PROTOCOL_VERSION};
use dagrun_schema::wire::Message as _;
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

use crate::hostile::{MEASURED, resident_bytes};
use crate::support::{
    CLIENT, LONG, Scheduler, block_on, pipeline, registration, status, submit, task,
};
use crate::sweep;

/// What a peer may cost that asks and never reads.
const COST: u64 = 64 << 20;

fn connect(
    input: impl AsyncRead + Unpin + 'static,
    output: impl AsyncWrite + Unpin + 'static,
) -> rpc::bootstrap::Client {
    let (input, output) = (BufReader::new(input), BufWriter::new(output));
    let options = capnp::message::ReaderOptions::new();
    let network = twoparty::VatNetwork::new(input, output, Side::Client, options);
    let mut system = RpcSystem::new(Box::new(network), None);
    let bootstrap = system.bootstrap(Side::Server);
    tokio::task::spawn_local(system);
    bootstrap
}

async fn over_tcp(address: SocketAddr) -> rpc::bootstrap::Client {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (input, output) = stream.into_split();
    connect(input.compat(), output.compat_write())
}

async fn login(
    door: &rpc::bootstrap::Client,
    token: &[u8],
) -> Result<rpc::client::Client, capnp::Error> {
    let mut request = door.login_request();
    request.get().set_token(token);
    request.get().set_protocol(PROTOCOL_VERSION);
    let response = request.send().promise.await?;
    match response.get()?.get_granted()?.which()? {
        rpc::granted::Client(client) => client,
        rpc::granted::Gate(_) => panic!("a client's token gave a worker's gate"),
    }
}

async fn refused(client: &rpc::client::Client) -> Refused {
    let response = client.refused_request().send().promise.await.unwrap();
    Refused::read(response.get().unwrap().get_refused().unwrap()).unwrap()
}

/// A client that does as it should is served.
async fn is_served(client: &rpc::client::Client) {
    let (_, run) = submit(client, &pipeline(vec![task("a")])).await.unwrap();
    assert_eq!(status(&run).await.tasks.len(), 1);
}

/// A stream that is not read while it is deaf.
struct Deaf<R> {
    inner: R,
    deaf: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Deaf<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.deaf.get() {
            *self.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[test]
fn a_client_that_asks_and_never_reads_costs_at_most_64_mib() {
    let _alone = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let scheduler = Scheduler::start();
    block_on(async {
        let other = scheduler.client().await;
        let mut wide = task("a");
        wide.sweep = sweep(10_000);
        let (id, _) = submit(&other, &pipeline(vec![wide])).await.unwrap();
        let stream = scheduler.stream();
        stream.set_nonblocking(true).unwrap();
        let (input, output) = tokio::net::UnixStream::from_std(stream).unwrap().into_split();
        let (deaf, waker) = (Rc::new(Cell::new(false)), Rc::default());
        let input =
            Deaf { inner: input.compat(), deaf: Rc::clone(&deaf), waker: Rc::clone(&waker) };
        let client = login(&connect(input, output.compat_write()), CLIENT).await.unwrap();
        let mut request = client.run_request();
        request.get().init_which().set_id(id);
        let run = request.send().promise.await.unwrap().get().unwrap().get_run().unwrap();
        let before = resident_bytes();
        deaf.set(true);
        let ask = |_| {
            let mut request = run.instances_request();
            request.get().set_limit(10_000);
            request.send().promise
        };
        // Each has an answer of about 1 MB.
        let mut answers: Vec<_> = (0..500).map(ask).collect();
        while refused(&other).await.requests == 0 {
            is_served(&other).await;
        }
        for _ in 0..20 {
            is_served(&other).await;
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < COST, "grew by {grown} bytes");
        // Who reads again is answered.
        deaf.set(false);
        if let Some(waker) = waker.take() {
            waker.wake();
        }
        for answer in answers.drain(..8) {
            let answer = answer.await.unwrap();
            let rows = answer.get().unwrap().get_page().unwrap().get_rows().unwrap();
            assert_eq!(rows.len(), 10_000);
        }
    });
}

#[test]
fn a_client_watches_a_limited_number_of_runs_at_once() {
    struct Mute;
    impl rpc::observer::Server for Mute {
        async fn update(
            self: Rc<Self>,
            _: rpc::observer::UpdateParams,
            _: rpc::observer::UpdateResults,
        ) -> Result<(), capnp::Error> {
            std::future::pending().await
        }
    }
    let scheduler = Scheduler::start();
    block_on(async {
        let (client, other) = (scheduler.client().await, scheduler.client().await);
        let (_, run) = submit(&client, &pipeline(vec![task("a")])).await.unwrap();
        let mut held = Vec::new();
        let refused = loop {
            let mut request = run.watch_request();
            request.get().set_observer(capnp_rpc::new_client(Mute));
            match request.send().promise.await {
                Ok(watched) => held.push(watched),
                Err(error) => break error,
            }
        };
        assert!(refused.to_string().contains("watches too many runs"), "{refused}");
        assert_eq!(held.len(), 256);
        is_served(&other).await;
    });
}

#[test]
fn sockets_without_a_token_lock_nobody_out() {
    let scheduler = Scheduler::with(|mut config| {
        // They would stay for long.
        config.login_timeout = LONG;
        config.on_loopback()
    });
    let address = scheduler.handle.address().unwrap();
    let mut idle: Vec<_> =
        (0..300).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    block_on(async {
        for _ in 0..10 {
            let client = login(&over_tcp(address).await, CLIENT).await.unwrap();
            is_served(&client).await;
        }
        let near = scheduler.client().await;
        is_served(&near).await;
        let counted = refused(&near).await.strangers;
        assert!((230..=246).contains(&counted), "{counted}");
    });
    // The oldest are closed, and the last are not.
    idle[0].set_read_timeout(Some(LONG)).unwrap();
    let end = idle[0].read_to_end(&mut Vec::new());
    let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(end.is_ok() || end.as_ref().is_err_and(is_reset), "{end:?}");
    let last = idle.last_mut().unwrap();
    last.set_nonblocking(true).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn failed_logins_end_their_connection_and_are_slowed_counted_and_logged() {
    let scheduler = Scheduler::with(|mut config| {
        config.log = Some(|line| LOGGED.lock().unwrap().push(line.to_owned()));
        config.on_loopback()
    });
    let address = scheduler.handle.address().unwrap();
    block_on(async {
        let door = over_tcp(address).await;
        // All at once: only three of them are tried.
        let tries = (0..200).map(|_| login(&door, b"guess"));
        let ends = futures::future::join_all(tries).await;
        let wrong = ends.iter().filter(|end| {
            end.as_ref().is_err_and(|error| error.to_string().contains("wrong token"))
        });
        assert!(ends.iter().all(Result::is_err) && wrong.count() <= 3);
        let client = login(&over_tcp(address).await, CLIENT).await.unwrap();
        let counted = refused(&client).await.logins;
        assert!((3..=200).contains(&counted), "{counted}");
        // A right secret is not slowed: it gets in while a wrong one is not answered yet.
        let (wrong, right) = (over_tcp(address).await, over_tcp(address).await);
        let wrong = login(&wrong, b"guess");
        let right = login(&right, CLIENT);
        futures::pin_mut!(wrong, right);
        match futures::future::select(wrong, right).await {
            futures::future::Either::Right((client, _)) => is_served(&client.unwrap()).await,
            futures::future::Either::Left(_) => panic!("a wrong secret is answered at once"),
        }
        let logged = LOGGED.lock().unwrap().clone();
        assert!(logged.iter().any(|line| line.contains("refused a login from 127.0.0.1")));
        assert!(!logged.concat().contains("guess"));
    });
}

#[test]
fn a_line_has_a_limited_number_of_sessions() {
    struct Mute;
    impl rpc::worker::Server for Mute {}
    let scheduler = Scheduler::start();
    block_on(async {
        let (gate, other) = (scheduler.gate().await, scheduler.client().await);
        let mut sessions = Vec::new();
        let mut over = 0;
        for number in 0..3_000 {
            let mut request = gate.register_request();
            request.get().set_worker(capnp_rpc::new_client(Mute));
            let registration = registration(&format!("w{number}"), 1);
            registration.write(request.get().init_registration());
            match request.send().promise.await {
                Ok(session) => sessions.push(session),
                Err(error) => {
                    assert_eq!(error.kind, capnp::ErrorKind::Overloaded, "{error}");
                    over += 1;
                }
            }
        }
        assert_eq!((sessions.len(), over), (64, 3_000 - 64));
        assert_eq!(refused(&other).await.sessions, over);
        is_served(&other).await;
        // What has ended makes way.
        sessions.clear();
        tokio::time::timeout(Duration::from_secs(20), async {
            let workers = || async {
                let found = other.workers_request().send().promise.await.unwrap();
                found.get().unwrap().get_workers().unwrap().len()
            };
            while workers().await > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn messages_that_are_refused_are_counted() {
    let scheduler = Scheduler::with(dagrun_scheduler::Config::on_loopback);
    let address = scheduler.handle.address().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    // One segment of 16 GiB.
    std::io::Write::write_all(&mut stream, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // It is closed, perhaps with a word of farewell.
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    block_on(async {
        let client = scheduler.client().await;
        assert_eq!(refused(&client).await.messages, 1);
        is_served(&client).await;
    });
}
