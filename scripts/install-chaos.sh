#!/usr/bin/env bash
# Installs what `make chaos` needs besides what scripts/install.sh brings: `faketime` from the distribution, for the faults of
# the clock. Without apt or root it says so and goes on: a run tells these faults as not run.
set -euo pipefail

say() { echo "install-chaos: $*"; }

if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; then exit 0; fi
root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && root=(sudo) || { say "neither root nor sudo: no faults of the clock"; exit 0; }
fi
command -v apt-get >/dev/null || { say "no apt-get here: no faults of the clock"; exit 0; }
say "installing Debian packages: faketime"
"${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends faketime
