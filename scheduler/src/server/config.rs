//! How a scheduler is configured, and why it may not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dagrun_core::engine::Scheme;

use crate::history::HistoryError;
use crate::holding::Holder;
use crate::journal::StoreError;

/// The configuration of a scheduler.
#[derive(Clone)]
pub struct Config {
    /// Where journal, history, logs and run directories are kept.
    pub state_dir: PathBuf,
    /// Where to listen; nowhere for a scheduler that serves its own process alone.
    pub listen: Option<SocketAddr>,
    /// What clients must present.
    pub client_token: Vec<u8>,
    /// What workers must present.
    pub worker_token: Vec<u8>,
    /// For how long the attempts of a worker that is not heard from are its own. Then they run elsewhere,
    /// and what it still runs may not publish.
    pub lease: Duration,
    /// A connection that has not logged in within this time is closed.
    pub login_timeout: Duration,
    /// How long workers may take to end at a shutdown.
    pub shutdown_timeout: Duration,
    /// Which of the workers with free capacity gets an attempt.
    pub scheme: Scheme,
    /// Whether other processes look into the state directory: its runs then have locks, and this
    /// scheduler a Unix socket by which they can ask it.
    pub shared: bool,
    /// Where a line goes that says which logins were refused; nowhere by default.
    pub log: Option<fn(&str)>,
    /// Whether it goes on with what earlier schedulers with the same state were killed in: their workers
    /// are expected back, and their runs wait for these until they are resumed.
    pub continues: bool,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the tokens.
        f.debug_struct("Config")
            .field("state_dir", &self.state_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// The default of [`Config::lease`].
pub const LEASE: Duration = Duration::from_secs(30);

impl Config {
    /// A scheduler with its state in `state_dir` that listens nowhere.
    #[must_use]
    pub fn new(state_dir: PathBuf, client_token: Vec<u8>, worker_token: Vec<u8>) -> Config {
        Config {
            state_dir,
            listen: None,
            client_token,
            worker_token,
            lease: LEASE,
            login_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(15),
            scheme: Scheme::default(),
            shared: false,
            log: None,
            continues: false,
        }
    }

    /// The same on the loopback interface, on a port that the system picks.
    #[must_use]
    pub fn on_loopback(mut self) -> Config {
        self.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        self
    }
}

/// Why a scheduler could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scheduler of another cluster has the state directory.
    #[error(
        "{} has a scheduler already: {holder}; another one needs another place (--state-dir DIR)",
        path.display()
    )]
    Held {
        /// The state directory.
        path: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// What earlier schedulers left in the state directory cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The state directory has no absolute path.
    #[error("cannot find the state directory {}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The thread or its runtime could not be created.
    #[error("cannot start the scheduler's thread")]
    Thread(#[source] io::Error),
    /// An empty token would let everybody in, equal ones would make workers clients.
    #[error("the tokens of clients and workers must not be empty or the same")]
    Tokens,
}
