//! A cluster's life: initialise, start, stop, crash, start again, vanish.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::binaries::Binaries;
use super::error::EmbeddedError;
use super::options::{Listen, Options};
use super::privileges::Account;
use super::watchdog::Watchdog;

/// How long a start may take; crash recovery after [`Cluster::kill`] is part of it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a stop may take before the next harder signal.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often we look whether it is ready, or gone.
const POLL: Duration = Duration::from_millis(10);

/// How often a free port may turn out to be taken between our look and the server's.
const PORT_TRIES: u32 = 5;

/// The socket's port when no TCP port is asked for: it only names a file in a directory of our own.
const SOCKET_PORT: u16 = 5432;

/// How much of a log an error shows, in lines.
const LOG_LINES: usize = 15;

/// A running (or stopped) Postgres with a data directory of its own. Dropping it stops the server and removes the
/// directory; so does the end of this process, however it ends.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    account: Account,
    options: Options,
    port: u16,
    /// For TCP; the socket needs none, since only we can enter its directory.
    password: String,
    server: Option<Child>,
    // Dropped in this order: the directory must be gone before the watchdog is told that all is done.
    directory: TempDir,
    _watchdog: Watchdog,
}

impl Cluster {
    /// Makes a fresh cluster and starts it: superuser `postgres`, UTF-8, locale C, time zone UTC. Takes about a second.
    ///
    /// # Errors
    /// When no server is found or it does not start; the message says what to do.
    pub fn start(options: Options) -> Result<Cluster, EmbeddedError> {
        Cluster::start_with(Binaries::find()?, options)
    }

    /// As [`Cluster::start`], with these programs: for a run over several versions.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(binaries: Binaries, options: Options) -> Result<Cluster, EmbeddedError> {
        let account = Account::choose()?;
        account.check_reach(binaries.directory())?;
        let parent = account.temporary_directory();
        let directory = tempfile::Builder::new()
            .prefix("postmeter-")
            .tempdir_in(&parent)
            .map_err(EmbeddedError::io(format!("making a directory in {}", parent.display())))?;
        account.own(directory.path())?;
        let watchdog = Watchdog::start(&account, &binaries.program("pg_ctl"), directory.path())?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        let mut cluster = Cluster {
            binaries,
            account,
            options,
            port: SOCKET_PORT,
            password,
            server: None,
            directory,
            _watchdog: watchdog,
        };
        cluster.initialise()?;
        cluster.first_start()?;
        Ok(cluster)
    }

    /// The address of a database, for tokio-postgres and libpq, through the Unix socket. It stays the same over
    /// [`Cluster::restart`]. Databases that exist from the start: `postgres`, `template1`.
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(&self.directory.path().to_string_lossy());
        format!("postgresql://postgres@{host}:{}/{}", self.port, percent_encoded(database))
    }

    /// The address through TCP on 127.0.0.1, password included; `None` unless [`Listen`] asked for a port.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let (password, port) = (&self.password, self.port);
        (self.options.listen != Listen::Socket)
            .then(|| format!("postgresql://postgres:{password}@127.0.0.1:{port}/{}", percent_encoded(database)))
    }

    /// The port of the socket's name and, when asked for, of TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds the data, the socket and the log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The server's log file.
    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The programs it runs on.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The server's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Stops it as an administrator would (fast: sessions are cut, a checkpoint is written). Stopped already: nothing.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn stop(&mut self) -> Result<(), EmbeddedError> {
        self.end(&[Signal::INT, Signal::QUIT, Signal::KILL])
    }

    /// Stops it as a crash would (immediate: nothing is written, the next start recovers from the log).
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> Result<(), EmbeddedError> {
        self.end(&[Signal::QUIT, Signal::KILL])
    }

    /// Stops it if it runs and starts it on the same data at the same address.
    ///
    /// # Errors
    /// [`EmbeddedError::Start`] when it does not come up.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop()?;
        self.launch()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// `initdb`: trust on the socket, a password on TCP. `--no-sync`: the directory does not outlive us anyway.
    fn initialise(&self) -> Result<(), EmbeddedError> {
        let password_file = self.directory.path().join("password");
        fs::write(&password_file, &self.password).map_err(EmbeddedError::io("writing the password file"))?;
        self.account.own(&password_file)?;
        let initdb = self.binaries.program("initdb");
        let output = self
            .account
            .command(&initdb, self.directory.path())
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&password_file)
            .args(["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(EmbeddedError::io(format!("running {}", initdb.display())))?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        Err(EmbeddedError::Init { output: last_lines(&String::from_utf8_lossy(&printed)) })
    }

    /// Starts with the port asked for; a free one may be taken before the server has it, so another is tried.
    fn first_start(&mut self) -> Result<(), EmbeddedError> {
        match self.options.listen {
            Listen::Socket => return self.launch(),
            Listen::Port(port) => {
                self.port = port;
                return self.launch();
            }
            Listen::FreePort => {}
        }
        let mut tries = 1;
        loop {
            self.port = free_port()?;
            match self.launch() {
                Err(EmbeddedError::Start { log }) if tries < PORT_TRIES && log.contains("could not bind") => tries += 1,
                result => return result,
            }
        }
    }

    /// Starts the server process and waits until it takes connections.
    fn launch(&mut self) -> Result<(), EmbeddedError> {
        let postgres = self.binaries.program("postgres");
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.map_err(EmbeddedError::io("opening the server's log"))?;
        let settings = self.options.server_settings(&self.directory.path().to_string_lossy(), self.port);
        let server = self
            .account
            .command(&postgres, self.directory.path())
            .arg("-D")
            .arg(self.data())
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stderr(log)
            .spawn()
            .map_err(EmbeddedError::io(format!("running {}", postgres.display())))?;
        self.server = Some(server);
        let ready = self.wait_until_ready();
        if ready.is_err() {
            self.kill()?;
        }
        ready
    }

    fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            let server = self.server.as_mut().expect("wait_until_ready is called with a server just spawned");
            let ended = server.try_wait().map_err(EmbeddedError::io("waiting for the server"))?.is_some();
            if ended || Instant::now() > limit {
                self.server = self.server.take().filter(|_| !ended);
                let log = fs::read_to_string(self.log_path()).unwrap_or_default();
                return Err(EmbeddedError::Start { log: last_lines(&log) });
            }
            let (pid, lock_file) = (server.id(), self.data().join("postmaster.pid"));
            if fs::read_to_string(lock_file).is_ok_and(|text| says_ready(&text, pid)) {
                return Ok(());
            }
            sleep(POLL);
        }
    }

    /// Sends the signals one after the other until the server is gone.
    fn end(&mut self, signals: &[Signal]) -> Result<(), EmbeddedError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        for signal in signals {
            // Until it is waited for, the process id is not given to anybody else.
            let _ = kill_process(Pid::from_child(&server), *signal);
            let limit = Instant::now() + STOP_LIMIT;
            while Instant::now() < limit {
                if server.try_wait().map_err(EmbeddedError::io("waiting for the server"))?.is_some() {
                    return Ok(());
                }
                sleep(POLL);
            }
        }
        server.wait().map(drop).map_err(EmbeddedError::io("waiting for the server"))
    }
}

impl Drop for Cluster {
    /// Nobody needs the data any more, so the quickest stop will do; the fields then remove the directory.
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "the embedded server could not be stopped");
        }
    }
}

/// A port of 127.0.0.1 that is free at this moment.
fn free_port() -> Result<u16, EmbeddedError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(EmbeddedError::io("looking for a free port"))
}

/// Whether the server's lock file says that this process takes connections: the process id is its first line, the
/// status its eighth; a standby says so. A crash may leave the file of an earlier process behind.
fn says_ready(lock_file: &str, pid: u32) -> bool {
    let mut lines = lock_file.lines();
    lines.next() == Some(pid.to_string().as_str())
        && lines.nth(6).is_some_and(|status| ["ready", "standby"].contains(&status.trim()))
}

/// The end of a log, where the reason stands.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// For a URL's host or path: everything but letters, digits and `-._~` as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_becomes_a_host() {
        assert_eq!(percent_encoded("/tmp/postmeter-a b%é"), "%2Ftmp%2Fpostmeter-a%20b%25%C3%A9");
    }

    #[test]
    fn ready_is_the_eighth_line_of_our_own_lock_file() {
        let text = "4711\n/tmp/x/data\n1700000000\n5432\n/tmp/x\n\n 123 456\nready   \n";
        assert!(says_ready(text, 4711));
        assert!(says_ready(&text.replace("ready   ", "standby "), 4711));
        assert!(!says_ready(text, 4712));
        assert!(!says_ready(&text.replace("ready   ", "starting"), 4711));
        assert!(!says_ready("4711\n/tmp/x/data\n", 4711));
    }

    #[test]
    fn an_error_shows_the_end_of_a_log() {
        let log: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let shown = last_lines(&log.join("\n"));
        assert!(shown.starts_with("85\n") && shown.ends_with("99"));
    }
}
