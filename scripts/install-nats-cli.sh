#!/usr/bin/env bash
# Builds the CLI `nats` (github.com/nats-io/natscli) into .tools/bin, for the tests of docs/operations.md, NATS by hand. Nobody
# publishes it as a package of pip, npm or Debian, so it needs Go; Go checks the sources against its public log of checksums.
# Without Go, or when the build fails, it says that these tests will not run, and succeeds.
# Silent, quick and offline when this version is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v0.5.0
# The first Go that can build this version; an older one downloads it if it is allowed to.
go_wanted=1.26
built=.tools/nats-cli-version

log() { echo "install-nats-cli: $*"; }
not_run() {
    log "$*; the tests of the CLI nats will not run (tests/system/nats_cli)"
    exit 0
}

if [ "$(cat "$built" 2>/dev/null)" = "$version" ] && [ -x .tools/bin/nats ]; then exit 0; fi

go=$(command -v go || true)
[ -n "$go" ] || go=/usr/local/go/bin/go
[ -x "$go" ] || not_run "there is no Go $go_wanted or newer"

# If two run at the same time, one builds, and the other waits and then finds it.
mkdir -p .tools/bin
exec 8>.tools/nats-cli-lock
flock 8
if [ "$(cat "$built" 2>/dev/null)" = "$version" ] && [ -x .tools/bin/nats ]; then exit 0; fi

log "building the CLI nats $version with $("$go" version | cut -d' ' -f3), which takes some minutes"
CGO_ENABLED=0 GOBIN=$PWD/.tools/bin GOFLAGS=-trimpath \
    "$go" install "github.com/nats-io/natscli/nats@$version" || not_run "the build of the CLI nats failed"
echo "$version" >"$built"
log "ready: .tools/bin/nats"
