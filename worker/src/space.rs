//! What an attempt has made waits for space on a full disk, as long as the attempt may go on: the task has
//! done its part. What lacks space before a task begins is another matter: the attempt is given back.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// How long to wait at first, and at most, before the disk is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Does something until there is space for it, while `may` says that it is still wanted; the last error
/// otherwise.
pub(crate) fn insist<T, E>(
    may: &dyn Fn() -> bool,
    lacks_space: impl Fn(&E) -> bool,
    mut place: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let (mut pause, most) = PAUSE;
    loop {
        match place() {
            Err(error) if lacks_space(&error) => {
                thread::sleep(pause);
                if !may() {
                    return Err(error);
                }
                pause = pause.saturating_mul(2).min(most);
            }
            done => return done,
        }
    }
}

/// Whether there is no space for a file, or for its owner.
pub(crate) fn is_lacking(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| errno == Errno::NOSPC || errno == Errno::DQUOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(errno: Errno, times: u32) -> impl FnMut() -> io::Result<u32> {
        let mut tried = 0;
        move || {
            tried += 1;
            if tried > times { Ok(tried) } else { Err(errno.into()) }
        }
    }

    #[test]
    fn what_lacks_space_is_done_as_soon_as_there_is_some() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(insist(&|| true, is_lacking, failing(errno, 3)).unwrap(), 4);
        }
    }

    #[test]
    fn it_is_not_waited_for_longer_than_wanted_nor_after_another_error() {
        let ended = insist(&|| false, is_lacking, failing(Errno::NOSPC, 3)).unwrap_err();
        assert_eq!(ended.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        let unwanted = || -> bool { unreachable!("another error ends it") };
        let ended = insist(&unwanted, is_lacking, failing(Errno::ACCESS, 3)).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::PermissionDenied);
    }
}
