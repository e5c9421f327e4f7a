#!/usr/bin/env bash
# Installs what `make chaos` needs besides scripts/install.sh: `faketime` from the distribution, for clock
# faults. Without apt or root it prints that and succeeds; a run then reports these faults as not run.
set -euo pipefail

log() { echo "install-chaos: $*"; }

if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; then exit 0; fi
root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && root=(sudo) || { log "neither root nor sudo: no clock faults"; exit 0; }
fi
command -v apt-get >/dev/null || { log "no apt-get: no clock faults"; exit 0; }
log "installing Debian packages: faketime"
"${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends faketime
