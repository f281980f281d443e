//! How a cluster is to be started.

/// How a cluster is to be started. The default is what tests want: fast, not durable, no network.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Survive a crash of the machine: `fsync` and `full_page_writes` as Postgres has them. `false` turns both off.
    /// A crash of the *server* ([`super::Cluster::kill`]) is survived either way, which is why `synchronous_commit`
    /// stays on: without it, what was committed in the last moments would be lost.
    pub durable: bool,
    /// Further settings, as `-c name=value`; they win over ours.
    pub settings: Vec<(String, String)>,
    /// Where clients may connect besides the Unix socket.
    pub listen: Listen,
}

/// Where clients may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listen {
    /// Only the Unix socket, in a directory that nobody but us can enter.
    #[default]
    Socket,
    /// The socket, and a free port of 127.0.0.1, with a password.
    FreePort,
    /// The socket, and this port of 127.0.0.1, with a password.
    Port(u16),
}

impl Options {
    /// The settings for the server's command line, ours first, so that the caller's win.
    pub(super) fn server_settings(&self, socket_directory: &str, port: u16) -> Vec<String> {
        let listen = if self.listen == Listen::Socket { "" } else { "127.0.0.1" };
        let mut settings = vec![
            format!("listen_addresses={listen}"),
            format!("unix_socket_directories={socket_directory}"),
            format!("port={port}"),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            // it compiles queries that it holds to be dear, which takes longer here than answering them
            "jit=off".to_owned(),
        ];
        if !self.durable {
            for name in ["fsync", "full_page_writes"] {
                settings.push(format!("{name}=off"));
            }
        }
        settings.extend(self.settings.iter().map(|(name, value)| format!("{name}={value}")));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_settings_come_last() {
        let options = Options { settings: vec![("fsync".into(), "on".into())], ..Options::default() };
        let settings = options.server_settings("/tmp/x", 5432);
        assert!(settings.contains(&"fsync=off".to_owned()));
        assert_eq!(settings.last().map(String::as_str), Some("fsync=on"));
    }

    #[test]
    fn durable_turns_nothing_off_and_the_socket_alone_opens_no_port() {
        let settings = Options { durable: true, ..Options::default() }.server_settings("/tmp/x", 5432);
        assert!(!settings.iter().any(|s| s.starts_with("fsync") || s.starts_with("full_page")));
        assert!(settings.contains(&"listen_addresses=".to_owned()));
    }
}
