#!/usr/bin/env bash
# Installs what the browser tests need besides scripts/install-tests.sh, which installs npm: Chromium and its driver, and poppler and
# zbar, which read printed tickets, from the distribution; axe-core at exactly the version and hash of tests/browser/package-lock.json into .tools/browser.
# Silent, quick and offline when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

place=.tools/browser
have() { command -v "$1" >/dev/null 2>&1; }
log() { echo "install-browser: $*"; }
fail() { echo "install-browser: $*" >&2; exit 1; }

# The digest of the lock file: another version is installed again.
wanted=$(sha256sum tests/browser/package-lock.json | cut -d' ' -f1)
installed() { [ "$(cat "$place/installed" 2>/dev/null)" = "$wanted" ]; }

packages=()
have chromium || packages+=(chromium)
have chromedriver || packages+=(chromium-driver)
have pdftoppm || packages+=(poppler-utils)
have zbarimg || packages+=(zbar-tools)
installed || have npm || [ -x .tools/node/npm ] || packages+=(npm)
if [ "${#packages[@]}" = 0 ] && installed; then exit 0; fi

if [ "${#packages[@]}" != 0 ]; then
    log "installing Debian packages: ${packages[*]}"
    have apt-get || fail "there is no apt-get; please install these yourself: ${packages[*]}"
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
fi

if ! installed; then
    log "installing axe-core into $place"
    rm -rf "$place"
    mkdir -p "$place"
    cp tests/browser/package.json tests/browser/package-lock.json "$place/"
    path=$PATH
    [ ! -x .tools/node/node ] || path=$PWD/.tools/node:$PATH
    (cd "$place" && PATH=$path npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    echo "$wanted" >"$place/installed"
fi
log "ready: $(chromium --version 2>/dev/null)"
