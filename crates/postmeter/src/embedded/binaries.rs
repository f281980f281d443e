//! Finds installed server binaries. Looks only; never installs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;
use super::privileges;

/// The environment variable that names the directory of `initdb` and `postgres`; nothing else is tried when it is set.
pub const BIN_VARIABLE: &str = "POSTMETER_PG_BIN";

/// The oldest major version that Postmeter's schema runs on.
const OLDEST_MAJOR: u32 = 14;

/// The programs we call; all come with every server package.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// A directory of server programs, and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds a server of version 14 or newer: `POSTMETER_PG_BIN`, then `pg_config --bindir`, then the highest version
    /// of Debian's layout, then `/usr/local/pgsql`, then what `.ci/setup-postgres` fetched into the cache directory.
    ///
    /// # Errors
    /// [`EmbeddedError::BadDirectory`] when the variable is set and wrong; [`EmbeddedError::NotFound`] when nothing is
    /// there.
    pub fn find() -> Result<Binaries, EmbeddedError> {
        if let Some(directory) = env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty()) {
            let path = PathBuf::from(directory);
            return Binaries::in_directory(&path).map_err(|reason| EmbeddedError::BadDirectory { path, reason });
        }
        let candidates = candidates();
        candidates.iter().find_map(|directory| Binaries::in_directory(directory).ok()).ok_or_else(|| {
            let searched = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            EmbeddedError::NotFound { searched: searched.join(", ") }
        })
    }

    /// The programs of this directory, or why they will not do.
    fn in_directory(directory: &Path) -> Result<Binaries, String> {
        for program in PROGRAMS {
            if !directory.join(program).is_file() {
                return Err(format!("it has no `{program}`"));
            }
        }
        let printed = output(&directory.join("postgres"), "--version").ok_or("its `postgres` does not run")?;
        let major = major_version(&printed).ok_or_else(|| format!("its `postgres` says {printed:?}"))?;
        if major < OLDEST_MAJOR {
            return Err(format!("it is version {major}, older than {OLDEST_MAJOR}"));
        }
        Ok(Binaries { directory: directory.to_owned(), major })
    }

    /// The path of a program beside `postgres`, such as `psql`. Fetched sets may lack the clients: see that it exists.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory that holds the programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }
}

/// The directories worth a look, best first.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Without a server package, pg_config belongs to the client library and names a directory without initdb.
    if let Some(printed) = output(Path::new("pg_config"), "--bindir") {
        found.push(PathBuf::from(printed.trim()));
    }
    found.extend(versions_below(Path::new("/usr/lib/postgresql"), ""));
    found.push(PathBuf::from("/usr/local/pgsql/bin"));
    if let Some(cache) = cache_directory() {
        found.extend(versions_below(&cache, "postgresql-"));
        found.push(cache.join("postgresql-*/bin")); // named in the error, never there
    }
    found
}

/// Where `.ci/setup-postgres` puts what it fetched. Root's own cache is closed to the account that runs the server.
fn cache_directory() -> Option<PathBuf> {
    if privileges::is_root() {
        return Some(PathBuf::from("/var/cache/postmeter"));
    }
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("postmeter"))
}

/// The `bin` directories of `<parent>/<prefix><version>`, highest version first.
fn versions_below(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut versions: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.split('.').map(str::parse).collect::<Result<_, _>>();
            Some((version.ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

/// What a program prints for one argument; `None` when it cannot run or fails.
fn output(program: &Path, argument: &str) -> Option<String> {
    let result = Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    result.status.success().then(|| String::from_utf8_lossy(&result.stdout).into_owned())
}

/// 15 of `postgres (PostgreSQL) 15.18 (Debian …)`, and of `postgres (PostgreSQL) 19beta1`.
fn major_version(printed: &str) -> Option<u32> {
    let version = printed.split(") ").nth(1)?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18.4"), Some(18));
        assert_eq!(major_version("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_version("no such thing"), None);
    }

    #[test]
    fn the_highest_version_comes_first_and_what_is_no_version_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pg-9.6", "pg-17.9", "pg-17.10", "pg-old", "16"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = versions_below(parent.path(), "pg-");
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(parent.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["pg-17.10/bin", "pg-17.9/bin", "pg-9.6/bin"]);
    }

    #[test]
    fn says_which_program_is_missing() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Binaries::in_directory(empty.path()), Err("it has no `initdb`".to_owned()));
    }
}
