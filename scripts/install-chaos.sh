#!/usr/bin/env bash
# Installs what `make chaos` and `make power-loss` need besides scripts/install.sh, from the distribution: `faketime` for clock
# faults, and for power loss e2fsprogs (mkfs.ext4) and perl. With the argument `cluster` also Patroni, etcd, iptables and iproute2,
# for `make chaos CLUSTER=1`; the services that apt starts are not used, a run starts its own in networks of its own.
# Without apt or root it prints what is missing and succeeds; a run then reports what depends on it as not run, and
# `make power-loss` fails.
set -euo pipefail

log() { echo "install-chaos: $*"; }

packages=()
compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || packages+=(faketime)
PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4 >/dev/null || packages+=(e2fsprogs)
command -v perl >/dev/null || packages+=(perl-base)
if [ "${1:-}" = cluster ]; then
    [ -x /usr/bin/patroni ] || packages+=(patroni)
    [ -x /usr/bin/etcd ] || packages+=(etcd-server)
    [ -x /usr/sbin/iptables ] || packages+=(iptables)
    command -v ip >/dev/null || packages+=(iproute2)
fi
[ ${#packages[@]} -gt 0 ] || exit 0
root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && root=(sudo) || { log "neither root nor sudo: without ${packages[*]}"; exit 0; }
fi
command -v apt-get >/dev/null || { log "no apt-get: without ${packages[*]}"; exit 0; }
log "installing Debian packages: ${packages[*]}"
"${root[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}"
