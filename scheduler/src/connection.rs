//! Connection files: the address of a cluster's scheduler, and the token that it requires.
//!
//! Each cluster has a folder (mode 0700) of its name with `client.json` and `worker.json` (mode
//! 0600). They differ in the token, so that a worker's machine never holds a client's authority.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::holding::{Holder, Holding, Untaken};

/// The version of the files.
const VERSION: u32 = 1;

/// The scheduler counts as dead when it has not accepted a connection within this time.
const ALIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a connection file could not be used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The name cannot be that of a folder.
    #[error("cluster name {0:?} is not made of letters, digits, `.`, `_` and `-`")]
    Name(String),
    /// No environment variable gives a place for the files.
    #[error("neither DAGRUN_CLUSTERS_DIR, XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// There is no such cluster.
    #[error("no cluster named {0}; start one with `dagrun cluster start --cluster {0}`")]
    Unknown(String),
    /// A scheduler of this name is alive.
    #[error("cluster {name} is running already (process {pid}, {address})")]
    Running {
        /// The cluster.
        name: String,
        /// The scheduler's process.
        pid: u32,
        /// Where it listens.
        address: SocketAddr,
    },
    /// A scheduler of this name holds the cluster's folder.
    #[error("cluster {name} has a scheduler already: {holder}")]
    Held {
        /// The cluster.
        name: String,
        /// Who it is.
        holder: Holder,
    },
    /// Others may read the file, or it belongs to someone else.
    #[error("{} must belong to you and be readable by you alone (mode 0600)", .0.display())]
    Permissions(PathBuf),
    /// The file is not a connection file.
    #[error("{} is not a connection file", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file requires a feature that this version lacks.
    #[error("{} needs a newer dagrun: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature that it requires.
        what: &'static str,
    },
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system provides no random bytes.
    #[error("cannot make a secret: {0}")]
    Random(getrandom::Error),
}

/// Who a connection file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Submits and observes runs.
    Client,
    /// Runs attempts.
    Worker,
}

impl Role {
    fn file(self) -> &'static str {
        match self {
            Role::Client => "client.json",
            Role::Worker => "worker.json",
        }
    }
}

/// A secret that proves a role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(#[serde(with = "hex::serde")] Vec<u8>);

impl Token {
    /// A new secret of 32 random bytes.
    ///
    /// # Errors
    /// When the system provides no random bytes.
    pub fn random() -> Result<Token, ConnectionError> {
        let mut bytes = vec![0; Token::BYTES];
        getrandom::fill(&mut bytes).map_err(ConnectionError::Random)?;
        Ok(Token(bytes))
    }

    /// Bytes of a secret.
    pub const BYTES: usize = 32;

    /// A secret that was generated elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Token::BYTES]) -> Token {
        Token(bytes.to_vec())
    }

    /// The bytes, for `Bootstrap.login`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The content of a connection file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    /// The version of the file.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// Where the scheduler listens.
    pub address: SocketAddr,
    /// The token that it requires.
    pub token: Token,
    /// The scheduler's process.
    pub pid: u32,
    /// Kept for transport security; this version refuses a file that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<serde_json::Value>,
}

/// The folder of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDir {
    name: String,
    path: PathBuf,
}

impl ClusterDir {
    /// The folder of the cluster `name`, which need not exist: below `$DAGRUN_CLUSTERS_DIR`, or
    /// `$XDG_STATE_HOME/dagrun/clusters`, or `~/.local/state/dagrun/clusters`.
    ///
    /// # Errors
    /// When the name is invalid, or no environment variable gives the place.
    pub fn of(name: &str) -> Result<ClusterDir, ConnectionError> {
        ClusterDir::below(&clusters_dir()?, name)
    }

    /// The folder of the cluster `name` below `clusters`.
    ///
    /// # Errors
    /// When the name is invalid.
    pub fn below(clusters: &Path, name: &str) -> Result<ClusterDir, ConnectionError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let dots_only = name.bytes().all(|byte| byte == b'.');
        if dots_only || name.len() > 128 || !name.bytes().all(good) {
            return Err(ConnectionError::Name(name.to_owned()));
        }
        Ok(ClusterDir { name: name.to_owned(), path: clusters.join(name) })
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The default state directory of the scheduler.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Creates the folder, and fails when a scheduler of this name is alive. Call it before a
    /// scheduler starts.
    ///
    /// # Errors
    /// When a live scheduler has the name, or the folder cannot be created.
    pub fn claim(&self) -> Result<(), ConnectionError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.path).map_err(|source| self.io("make", &self.path, source))?;
        match self.read(Role::Client) {
            Ok(found) if is_alive(&found) => Err(ConnectionError::Running {
                name: self.name.clone(),
                pid: found.pid,
                address: found.address,
            }),
            // The file of a dead scheduler, no file, or a broken one: it will be replaced.
            _ => Ok(()),
        }
    }

    /// Takes the name for the scheduler of this process, as long as what is returned is kept.
    ///
    /// # Errors
    /// When another one has it, or the folder cannot be created.
    pub fn hold(&self) -> Result<Option<Holding>, ConnectionError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.path).map_err(|source| self.io("make", &self.path, source))?;
        match Holding::take(&self.path.join("lock")) {
            Ok(holding) => Ok(Some(holding)),
            Err(Untaken::Held(holder)) => {
                Err(ConnectionError::Held { name: self.name.clone(), holder })
            }
            // The connection file says then whether there is one.
            Err(Untaken::Unwritable) => Ok(None),
        }
    }

    /// Writes both files for a scheduler of this process.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn publish(
        &self,
        address: SocketAddr,
        client: &Token,
        worker: &Token,
    ) -> Result<(), ConnectionError> {
        self.claim()?;
        // The client's comes last: whoever finds it may start workers with the other.
        for (role, token) in [(Role::Worker, worker), (Role::Client, client)] {
            let connection = Connection {
                version: VERSION,
                cluster: self.name.clone(),
                address,
                token: token.clone(),
                pid: std::process::id(),
                tls: None,
            };
            self.write(role, &connection)?;
        }
        Ok(())
    }

    fn write(&self, role: Role, connection: &Connection) -> Result<(), ConnectionError> {
        let path = self.path.join(role.file());
        let temporary = self.path.join(format!(".{}.{}", role.file(), std::process::id()));
        let failed = |source| self.io("write", &path, source);
        // Left behind by a killed process that had the same process id.
        let _ = fs::remove_file(&temporary);
        let mut text =
            serde_json::to_vec_pretty(connection).map_err(io::Error::from).map_err(failed)?;
        text.push(b'\n');
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)
    }

    /// Reads the file for `role`.
    ///
    /// # Errors
    /// When there is no such cluster, or its file is broken, unsafe or of a newer dagrun.
    pub fn read(&self, role: Role) -> Result<Connection, ConnectionError> {
        match read_file(&self.path.join(role.file())) {
            Err(ConnectionError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(ConnectionError::Unknown(self.name.clone()))
            }
            other => other,
        }
    }

    /// Removes both files, if they are of this process.
    pub fn withdraw(&self) {
        for role in [Role::Client, Role::Worker] {
            if self.read(role).is_ok_and(|found| found.pid == std::process::id()) {
                // A file that cannot be removed is stale from now on; the next scheduler replaces
                // it.
                let _ = fs::remove_file(self.path.join(role.file()));
            }
        }
    }

    fn io(&self, doing: &'static str, path: &Path, source: io::Error) -> ConnectionError {
        ConnectionError::Io { doing, path: path.to_owned(), source }
    }
}

/// Where the folders of clusters lie.
///
/// # Errors
/// When no environment variable gives the place.
pub fn clusters_dir() -> Result<PathBuf, ConnectionError> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("DAGRUN_CLUSTERS_DIR")
        .or_else(|| Some(variable("XDG_STATE_HOME")?.join("dagrun/clusters")))
        .or_else(|| Some(variable("HOME")?.join(".local/state/dagrun/clusters")))
        .ok_or(ConnectionError::NoHome)
}

/// Reads a connection file, wherever it lies.
///
/// # Errors
/// When it is missing, broken, unsafe or of a newer dagrun.
pub fn read_file(path: &Path) -> Result<Connection, ConnectionError> {
    let failed = |source| ConnectionError::Io { doing: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(ConnectionError::Permissions(path.to_owned()));
    }
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, 64 * 1024), &mut text).map_err(failed)?;
    let connection: Connection = serde_json::from_slice(&text)
        .map_err(|source| ConnectionError::Malformed { path: path.to_owned(), source })?;
    let unsupported = |what| ConnectionError::Unsupported { path: path.to_owned(), what };
    if connection.version != VERSION {
        return Err(unsupported("its version is not 1"));
    }
    if connection.tls.is_some() {
        return Err(unsupported("it asks for TLS"));
    }
    Ok(connection)
}

/// Whether the scheduler that wrote this file still runs and listens.
#[must_use]
pub fn is_alive(connection: &Connection) -> bool {
    let pid = i32::try_from(connection.pid).ok().and_then(rustix::process::Pid::from_raw);
    let process = pid.is_some_and(|pid| {
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    });
    process && TcpStream::connect_timeout(&connection.address, ALIVE_TIMEOUT).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn cluster(name: &str) -> (tempfile::TempDir, ClusterDir) {
        let dir = tempfile::tempdir().unwrap();
        let cluster = ClusterDir::below(dir.path(), name).unwrap();
        (dir, cluster)
    }

    #[test]
    fn names_stay_inside_their_folder() {
        for name in ["", ".", "..", "a/b", "../x", "a b", "ä"] {
            assert!(ClusterDir::below(Path::new("/tmp"), name).is_err(), "{name:?}");
        }
        assert!(ClusterDir::below(Path::new("/tmp"), "gpu-01_a.b").is_ok());
    }

    #[test]
    fn files_are_private_and_differ_by_role() {
        let (_dir, cluster) = cluster("x");
        let (client, worker) = (Token::random().unwrap(), Token::random().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        cluster.publish(listener.local_addr().unwrap(), &client, &worker).unwrap();
        assert_eq!(cluster.read(Role::Client).unwrap().token, client);
        assert_eq!(cluster.read(Role::Worker).unwrap().token, worker);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cluster.path().join("client.json")), 0o600);
        assert_eq!(mode(&cluster.path().join("worker.json")), 0o600);
        assert_eq!(mode(cluster.path()), 0o700);
        cluster.withdraw();
        assert!(matches!(cluster.read(Role::Client), Err(ConnectionError::Unknown(_))));
    }

    #[test]
    fn a_live_scheduler_keeps_its_name_and_a_dead_one_loses_it() {
        let (_dir, cluster) = cluster("x");
        let token = Token::random().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        cluster.publish(address, &token, &token).unwrap();
        assert!(matches!(cluster.claim(), Err(ConnectionError::Running { .. })));
        drop(listener);
        cluster.publish(address, &token, &token).unwrap();
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let (_dir, cluster) = cluster("x");
        let token = Token::random().unwrap();
        cluster.publish("127.0.0.1:9".parse().unwrap(), &token, &token).unwrap();
        let path = cluster.path().join("client.json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(cluster.read(Role::Client), Err(ConnectionError::Permissions(_))));
    }

    #[test]
    fn a_file_that_asks_for_tls_is_refused() {
        let (_dir, cluster) = cluster("x");
        let token = Token::random().unwrap();
        cluster.publish("127.0.0.1:9".parse().unwrap(), &token, &token).unwrap();
        let mut connection = cluster.read(Role::Client).unwrap();
        connection.tls = Some(serde_json::json!({}));
        cluster.write(Role::Client, &connection).unwrap();
        let error = cluster.read(Role::Client).unwrap_err().to_string();
        assert!(error.contains("TLS"), "{error}");
    }

    #[test]
    fn a_missing_cluster_says_how_to_start_it() {
        let (_dir, cluster) = cluster("lab");
        let error = cluster.read(Role::Worker).unwrap_err().to_string();
        assert_eq!(
            error,
            "no cluster named lab; start one with `dagrun cluster start --cluster lab`"
        );
    }
}
