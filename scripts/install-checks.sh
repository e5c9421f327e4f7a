#!/usr/bin/env bash
# Installs what `make api` needs besides scripts/install.sh: Node, Python's venv and docker-compose from the
# distribution; Spectral, newman, schemathesis and extruct at exactly the versions and hashes of tests/tools/, into .tools/checks;
# With the argument `promtool` instead promtool (`make rules`) at the version of tests/tools/promtool, into .tools/bin, if Go is
# installed; its build takes some minutes.
# Needed by CI and for changes of the API, not by `make run` and `make test`. Silent and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=.tools/checks

have() { command -v "$1" >/dev/null 2>&1; }
log() { echo "install-checks: $*"; }

# Built from the Go module proxy: releases of Prometheus cannot be downloaded everywhere. Prometheus's own module has replacements,
# with which `go install` refuses it, so tests/tools/promtool is a module that names it as a tool.
install_promtool() {
    local promtool=$PWD/.tools/bin/promtool wanted
    have go || { log 'no Go here: promtool is not installed, and `make rules` will not run'; return 0; }
    wanted=$(sha256sum <tests/tools/promtool/go.sum | cut -d' ' -f1)
    if [ -x "$promtool" ] && [ "$(cat "$promtool.wanted" 2>/dev/null)" = "$wanted" ]; then return 0; fi
    log 'building promtool, some minutes'
    mkdir -p .tools/bin
    (cd tests/tools/promtool && GOFLAGS=-mod=readonly go build -o "$promtool" github.com/prometheus/prometheus/cmd/promtool) ||
        { log 'promtool could not be built; `make rules` will not run'; return 0; }
    echo "$wanted" >"$promtool.wanted"
}

if [ "${1:-}" = promtool ]; then
    install_promtool
    exit 0
fi

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
    log "installing Spectral, newman, schemathesis and extruct into $checks"
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
