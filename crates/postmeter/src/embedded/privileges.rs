//! Who runs the server: Postgres refuses to be root.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// A Unix socket's path must be shorter than 108 bytes; this much goes for our directory's name and the socket's.
const SOCKET_ROOM: usize = 64;

/// The account that runs the server and owns its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// An ordinary user: the server runs as who we are.
    Caller,
    /// We are root: the server runs as somebody else.
    Other {
        /// The name in `/etc/passwd`.
        name: String,
        /// The user id.
        uid: u32,
        /// The primary group id; supplementary groups are dropped.
        gid: u32,
    },
}

/// Whether this process may not run Postgres itself.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Account {
    /// Chooses the account: ourselves, or, as root, `postgres` if there is one, else `nobody`.
    ///
    /// # Errors
    /// [`EmbeddedError::NoAccount`] when we are root and there is neither. (The server looks its own account up, so a
    /// number without a name would not do.)
    pub fn choose() -> Result<Account, EmbeddedError> {
        if !is_root() {
            return Ok(Account::Caller);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(EmbeddedError::io("reading /etc/passwd"))?;
        ["postgres", "nobody"].iter().find_map(|name| in_passwd(&passwd, name)).ok_or(EmbeddedError::NoAccount)
    }

    /// A program run as this account, in `directory`, with nothing of our environment (root's HOME alone makes
    /// libpq fail on certificates it may not read), without a terminal and in a process group of its own, so that
    /// Ctrl-C reaches us only and we stop the server when we are ready.
    pub(super) fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory)
            .env("LC_ALL", "C")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Account::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes a file or directory this account's.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self {
            Account::Caller => Ok(()),
            Account::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .map_err(EmbeddedError::io(format!("giving {} to the server's account", path.display()))),
        }
    }

    /// Fails unless this account can pass through `directory` and each of its parents.
    pub(super) fn check_reach(&self, directory: &Path) -> Result<(), EmbeddedError> {
        let Account::Other { name, uid, gid } = self else { return Ok(()) };
        let path = fs::canonicalize(directory).map_err(EmbeddedError::io(directory.display().to_string()))?;
        let closed = path.ancestors().find(|part| !allows(part, *uid, *gid, 0o1));
        closed.map_or(Ok(()), |part| Err(EmbeddedError::Unreachable { account: name.clone(), path: part.to_owned() }))
    }

    /// The directory to make ours in: the temporary one, unless the account may not write there (it is to remove what
    /// it owns when we cannot any more) or its name is too long for a socket; then `/tmp`.
    pub(super) fn temporary_directory(&self) -> PathBuf {
        let preferred = std::env::temp_dir();
        let short = preferred.as_os_str().len() + SOCKET_ROOM < 108;
        if short && preferred.is_absolute() && self.check_reach(&preferred).is_ok() && self.may_write(&preferred) {
            return preferred;
        }
        PathBuf::from("/tmp")
    }

    fn may_write(&self, directory: &Path) -> bool {
        let Account::Other { uid, gid, .. } = self else { return true };
        allows(directory, *uid, *gid, 0o2)
    }
}

/// Whether the mode bits of a directory let this user write to it (2) or pass through it (1).
fn allows(directory: &Path, uid: u32, gid: u32, right: u32) -> bool {
    fs::metadata(directory).is_ok_and(|meta| {
        let shift = match () {
            () if meta.uid() == uid => 6,
            () if meta.gid() == gid => 3,
            () => 0,
        };
        (meta.mode() >> shift) & right == right
    })
}

/// The line of `/etc/passwd` for this name. The root user under another name will not do.
fn in_passwd(passwd: &str, wanted: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == wanted)?;
        let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account::Other { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn finds_a_name_in_passwd_and_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\npostgres:x:0:0::/:/bin/sh\n";
        assert_eq!(in_passwd(passwd, "nobody"), Some(Account::Other { name: "nobody".into(), uid: 65534, gid: 65533 }));
        assert_eq!(in_passwd(passwd, "postgres"), None);
        assert_eq!(in_passwd(passwd, "nobod"), None);
    }

    #[test]
    fn a_closed_parent_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account::Other { name: "nobody".into(), uid: 65_534, gid: 65_534 };
        let error = stranger.check_reach(&inner).unwrap_err();
        let closed = fs::canonicalize(parent.path()).unwrap();
        assert!(matches!(&error, EmbeddedError::Unreachable { path, .. } if *path == closed), "{error}");
        assert!(Account::Caller.check_reach(&inner).is_ok());
        assert!(!stranger.may_write(&inner) && Account::Caller.may_write(&inner));
    }
}
