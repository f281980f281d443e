# Shared by the scripts beside it; to be sourced. They ask no questions and work from the top of the source tree.
# shellcheck shell=bash disable=SC2034 # the variables are for those who source it

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A private Python of the tests, and the modules of their Node clients.
readonly VENV=.tools/venv
readonly NODE_CLIENTS=tests/node
# Where Debian puts the JDBC driver.
readonly JDBC=/usr/share/java/postgresql.jar

# Where fetched server binaries go; the same rule as in crates/postmeter/src/embedded/binaries.rs. Root's own cache
# would be closed to the account that runs the server.
if [ "$(id -u)" = 0 ]; then
    CACHE=/var/cache/postmeter
else
    CACHE=${XDG_CACHE_HOME:-${HOME:?}/.cache}/postmeter
fi
readonly CACHE

have() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Something that only some tests need could not be had; they skip by name when they run.
skipped() { say "SKIPPED $1: $2"; }

# What tests find by variables: POSTMETER_BIN (the command), POSTMETER_TEST_PYTHON, POSTMETER_TEST_NODE_MODULES,
# POSTMETER_TEST_JDBC. One that cannot run appends "name: reason" to the file POSTMETER_SKIPS and returns.
test_environment() {
    if [ -f "$VENV/installed.txt" ]; then
        export POSTMETER_TEST_PYTHON=$PWD/$VENV/bin/python
    fi
    if [ -f "$NODE_CLIENTS/node_modules/installed.json" ]; then
        export POSTMETER_TEST_NODE_MODULES=$PWD/$NODE_CLIENTS/node_modules
    fi
    if have java && have javac && [ -f "$JDBC" ]; then
        export POSTMETER_TEST_JDBC=$JDBC
    fi
    local target=${CARGO_TARGET_DIR:-target}
    export POSTMETER_BIN
    POSTMETER_BIN=$(realpath -m "$target")/debug/postmeter
}

# Hundreds of databases are made and dropped: their files lie in memory where it has room for them (8 GB, of which a run
# takes less than two): a tenth of a run was spent on making and removing files.
in_memory() {
    local free
    [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] || return 0
    free=$(df --output=avail -k /dev/shm | tail -n 1)
    if [ "$free" -ge 8000000 ]; then
        export TMPDIR=/dev/shm
    fi
}

# How many tests the "test result:" lines of a log call passed, failed or ignored, together.
sum() {
    awk -v word="$2;" '/^test result: / { for (i = 2; i <= NF; i++) if ($i == word) n += $(i - 1) }
        END { print n + 0 }' "$1"
}

# Runs the suite on a PostgreSQL of a major version, with its psql and pg_dump, into a log; arguments choose tests. What is
# built is built once for all versions.
suite_on() {
    local directory log=$2 status=0
    directory=$(.ci/setup-postgres "$1") || return 1
    shift 2
    PATH=$directory:$PATH POSTMETER_PG_BIN=$directory \
        cargo test --locked -p tests --test suite -- "$@" >"$log" 2>&1 || status=$?
    return "$status"
}

# Installs Debian packages when we are root; fails where that cannot be.
apt_install() {
    [ "$(id -u)" = 0 ] && have apt-get || return 1
    say "installing $*"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# Once per script. Without a network the list at hand has to do.
apt_update() {
    [ -z "${apt_updated:-}" ] || return 0
    apt_updated=1
    apt-get update -qq >&2 || say "apt-get update failed; going on with the list at hand"
}
