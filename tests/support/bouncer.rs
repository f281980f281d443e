//! A pgbouncer in transaction mode before a server, on a socket of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio_postgres::config::Host;

use crate::block_until;

/// A running pooler; it ends when this is dropped.
pub struct Bouncer {
    program: PathBuf,
    owner: Option<String>,
    directory: TempDir,
    database: String,
    child: Option<Child>,
}

/// The name of a user id.
fn name_of(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    Some(line.split(':').next()?.to_owned())
}

impl Bouncer {
    /// Starts one before the server of a URL (of its socket) for these users, with so many connections for each; `None`:
    /// pgbouncer is not installed.
    #[must_use]
    pub fn before(url: &str, users: &[&str], connections: usize) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].map(PathBuf::from);
        let program = program.into_iter().find(|path| path.exists())?;
        let config: tokio_postgres::Config = url.parse().expect("a URL");
        let Some(Host::Unix(socket)) = config.get_hosts().first() else { panic!("a socket") };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let directory = tempfile::Builder::new().prefix("bouncer-").tempdir_in("/tmp").expect("a directory");
        let path = directory.path();
        // it refuses to be root, and must reach the server's socket: it runs as the server does
        let server = std::fs::metadata(socket).expect("the socket's directory");
        let mine = std::fs::metadata(path).expect("our directory").uid();
        let owner = if mine == server.uid() { None } else { name_of(server.uid()) };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our directory");
        let users: String = users.iter().map(|user| format!("\"{user}\" \"\"\n")).collect();
        std::fs::write(path.join("users"), users).expect("the users");
        let settings = format!(
            "[databases]\n* = host={} port={port}\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {here}\nauth_type = trust\n\
             auth_file = {here}/users\npool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 200\n\
             logfile = {here}/log\npidfile = {here}/pid\n",
            socket.display(),
            here = path.display()
        );
        std::fs::write(path.join("ini"), settings).expect("the settings");
        if owner.is_some() {
            chown(path, Some(server.uid()), Some(server.gid())).expect("our directory is its");
        }
        let database = config.get_dbname().expect("a database").to_owned();
        let mut bouncer = Self { program, owner, directory, database, child: None };
        bouncer.start();
        Some(bouncer)
    }

    /// Starts it (again) and waits until it takes connections.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.program);
        if let Some(owner) = &self.owner {
            command.args(["-u", owner]);
        }
        command.arg("-q").arg(self.directory.path().join("ini"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("pgbouncer starts");
        let socket = self.directory.path().join(".s.PGSQL.6432");
        block_until("pgbouncer takes connections", || {
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(child.try_wait().expect("its state").is_none(), "pgbouncer ended: {}", log());
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        self.child = Some(child);
    }

    /// Ends it at once, with every connection through it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The same database through it, as a user.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        let host = self.directory.path().to_string_lossy().replace('/', "%2F");
        format!("postgresql://{user}@{host}:6432/{}", self.database)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.stop();
    }
}
