//! Bytes that violate the protocol: the scheduler closes that connection, and serves the others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::support::{LONG, Scheduler, block_on, pipeline, submit, task};

fn refused(scheduler: &Scheduler, bytes: &[u8]) {
    let mut stream = TcpStream::connect(scheduler.handle.address().unwrap()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // The scheduler may close the connection before everything is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

pub(crate) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Held while the memory of this process is measured.
pub(crate) static MEASURED: Mutex<()> = Mutex::new(());

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let scheduler = Scheduler::with(|mut config| {
        config.login_timeout = Duration::from_millis(200);
        config.on_loopback()
    });
    let _alone = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = resident_bytes();
    let mut noise = Vec::new();
    let mut state = 1u64;
    for _ in 0..100_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push((state >> 56) as u8);
    }
    refused(&scheduler, b"GET / HTTP/1.1\r\n\r\n");
    refused(&scheduler, &[0xff; 64]);
    refused(&scheduler, &[0; 100_000]);
    for start in 0..50 {
        refused(&scheduler, &noise[start * 1000..]);
    }
    // One segment of 16 GiB, and 500 of 1 GiB.
    refused(&scheduler, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]);
    let mut many = vec![0xf3, 1, 0, 0];
    many.extend(std::iter::repeat_n([0, 0, 0, 8], 501).flatten());
    refused(&scheduler, &many);
    // A message that ends in the middle; only the time limit closes it.
    refused(&scheduler, &[0, 0, 0, 0, 16, 0, 0, 0, 1, 2, 3]);
    refused(&scheduler, &[]);
    let grown = resident_bytes().saturating_sub(before);
    // Other tests of this process take some meanwhile.
    assert!(grown < 256_000_000, "grew by {grown} bytes");
    block_on(async {
        let client = scheduler.client().await;
        submit(&client, &pipeline(vec![task("a")])).await.unwrap();
    });
}

#[test]
fn well_framed_nonsense_ends_in_an_error_and_not_in_a_panic() {
    let scheduler = Scheduler::with(|mut config| {
        config.login_timeout = Duration::from_millis(100);
        config.on_loopback()
    });
    let mut state = 7u64;
    for words in 1..60u32 {
        let mut message = vec![0, 0, 0, 0];
        message.extend(words.to_le_bytes());
        for _ in 0..words * 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            message.push(if state >> 62 == 0 { (state >> 40) as u8 & 7 } else { 0 });
        }
        refused(&scheduler, &message);
    }
    block_on(async {
        scheduler.client().await;
    });
}
