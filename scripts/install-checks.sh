#!/usr/bin/env bash
# Installs what `make api` needs besides scripts/install.sh: Node, Python's venv and docker-compose from the
# distribution; Spectral, newman and schemathesis at exactly the versions and hashes of tests/tools/, into .tools/checks.
# Needed by CI and for changes of the API, not by `make run` and `make test`. Silent and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=.tools/checks

have() { command -v "$1" >/dev/null 2>&1; }
log() { echo "install-checks: $*"; }

# The digest of the lock files: another version is installed again.
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
    log "installing Debian packages: ${packages[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
fi

if ! installed; then
    log "installing Spectral, newman and schemathesis into $checks"
    rm -rf "$checks"
    mkdir -p "$checks"
    cp tests/tools/package.json tests/tools/package-lock.json "$checks/"
    # In parallel: both mostly wait for the network. Install scripts of packages are not run.
    (cd "$checks" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) &
    node=$!
    python3 -m venv "$checks/venv"
    "$checks/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r tests/tools/requirements.txt
    wait "$node"
    echo "$wanted" >"$checks/installed"
fi
log "ready: Node $(node --version), $("$checks/venv/bin/schemathesis" --version)"
