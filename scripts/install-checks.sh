#!/usr/bin/env bash
# Installs what `make api` needs besides what scripts/install.sh brings: Node, Python's venv and docker-compose from the
# distribution; Spectral, newman and schemathesis at exactly the versions and hashes of tests/tools/, into .tools/checks.
# Only CI and whoever changes the API need it: `make run` and `make test` do not. Silent and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=.tools/checks

have() { command -v "$1" >/dev/null 2>&1; }
say() { echo "install-checks: $*"; }

# The lock files' own digest: a change of a version installs anew.
wanted=$(cat tests/tools/package-lock.json tests/tools/requirements.txt | sha256sum | cut -d' ' -f1)
installed() { [ "$(cat "$checks/installed" 2>/dev/null)" = "$wanted" ]; }
have_venv() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

packages=()
have node || packages+=(nodejs)
have npm || packages+=(npm)
have_venv || packages+=(python3-venv)
have docker-compose || packages+=(docker-compose)
if [ "${#packages[@]}" = 0 ] && installed; then exit 0; fi

if [ "${#packages[@]}" != 0 ]; then
    say "installing Debian packages: ${packages[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
fi

if ! installed; then
    say "installing Spectral, newman and schemathesis into $checks"
    rm -rf "$checks"
    mkdir -p "$checks"
    cp tests/tools/package.json tests/tools/package-lock.json "$checks/"
    # Side by side: both mostly wait for the network. No package's own scripts are run.
    (cd "$checks" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) &
    node=$!
    python3 -m venv "$checks/venv"
    "$checks/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r tests/tools/requirements.txt
    wait "$node"
    echo "$wanted" >"$checks/installed"
fi
say "ready: Node $(node --version), $("$checks/venv/bin/schemathesis" --version)"
