//! Ends the server when we are gone, however we went.
//!
//! A destructor does not run on SIGKILL, nor for a `static` when a test binary exits. The kernel's parent-death signal
//! would need unsafe code and is tied to a *thread*: the server would die with the pool thread that started it. So a
//! shell waits on a pipe whose other end only we hold; when the kernel closes it, the shell stops the server and
//! removes the directory.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use super::error::EmbeddedError;
use super::privileges::Account;

/// `read` fails at the pipe's end and returns a line when all is done. An immediate stop: nobody needs the data.
const SCRIPT: &str = r#"read -r line && exit 0
"$1" -D "$2/data" -m immediate -t 20 stop
rm -rf -- "$2""#;

/// The waiting shell.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts to watch over `directory` (with the cluster in `data` below it), as the account that owns it. To be
    /// started first of all: it copes with whatever is not there yet.
    pub(super) fn start(account: &Account, pg_ctl: &Path, directory: &Path) -> Result<Watchdog, EmbeddedError> {
        let shell = account
            .command(Path::new("/bin/sh"), Path::new("/"))
            .args(["-c", SCRIPT, "postmeter-watchdog"])
            .args([pg_ctl, directory])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(EmbeddedError::io("starting the watchdog (/bin/sh)"))?;
        Ok(Watchdog { shell })
    }
}

impl Drop for Watchdog {
    /// Sends it home. Should it not hear us, the pipe's end makes it clean up what is already clean.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
