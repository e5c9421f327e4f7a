#!/usr/bin/env bash
# Tries the Debian package that `make deb` has built: lintian, its units, and its life on a machine with systemd: installed, migrated,
# started, upgraded, removed and purged. The machine is a container of Docker, or of systemd-nspawn with debootstrap (as root).
# What this machine has no tool for is reported as NOT RUN.
set -euo pipefail
cd "$(dirname "$0")/.."

# The units get 1.4 of 10 (10 is exposed); a forgotten line of hardening is beyond this. In tenths.
exposure_max=20

log() { echo "try-deb: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

package=${1:-$(ls -t target/debian/marquee_*.deb 2>/dev/null | head -n 1)}
[ -f "$package" ] || { log "there is no package; make deb builds it" >&2; exit 1; }
# The package needs the libraries of the release on which it was built.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

log "$package: $(dpkg-deb --field "$package" Package Version Depends | tr '\n' ' ')"

if have lintian; then
    lintian --fail-on error "$package"
else
    log "NOT RUN: lintian is not installed"
fi

if have systemd-analyze; then
    dpkg-deb --extract "$package" "$work/root"
    # Units of the system that ours name; `verify` reads nothing outside the root.
    for unit in multi-user.target network-online.target sysinit.target basic.target shutdown.target system.slice; do
        printf '[Unit]\nDescription=stub\n' >"$work/root/usr/lib/systemd/system/$unit"
    done
    units=(marquee-gateway.service marquee-migrate.service marquee-host@auth.service marquee-host@reservation.service)
    systemd-analyze verify --man=no --recursive-errors=no --root="$work/root" "${units[@]}" marquee.target
    for unit in "${units[@]}"; do
        systemd-analyze security --offline=true --root="$work/root" --threshold="$exposure_max" "$unit" | tail -n 1
    done
else
    log "NOT RUN: systemd-analyze is not installed"
fi

docker=no nspawn=no
has_image() {
    docker image inspect "debian:$codename-slim" >/dev/null 2>&1 ||
        timeout 300 docker pull --quiet "debian:$codename-slim" >/dev/null 2>&1
}
if docker info >/dev/null 2>&1 && has_image; then
    docker=yes
elif have debootstrap && have systemd-nspawn && [ "$(id -u)" = 0 ]; then
    nspawn=yes
else
    log "NOT RUN: neither a Docker Engine with debian:$codename-slim nor systemd-nspawn with debootstrap (as root) is here; the package was not installed"
    exit 0
fi
nats=.tools/bin/nats-server
[ -x "$nats" ] || { log "$nats is missing: make install" >&2; exit 1; }

# Runs in the machine when it has started; its exit code and output are read from files.
mkdir -p "$work/trial"
cp "$package" "$work/trial/marquee.deb"
cp "$nats" nats.conf scripts/deb-trial.sh "$work/trial/"
cat >"$work/trial/trial.service" <<'UNIT'
[Unit]
Description=The trial of the package
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'bash /trial/deb-trial.sh >/trial/log 2>&1; echo $? >/trial/code; systemctl poweroff --force'
TimeoutStartSec=600
[Install]
WantedBy=graphical.target
UNIT
needs=(systemd systemd-sysv dbus postgresql curl ca-certificates)

in_docker() {
    cat >"$work/Dockerfile" <<DOCKERFILE
FROM debian:$codename-slim
RUN apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends ${needs[*]}
COPY trial /trial
RUN cp /trial/trial.service /etc/systemd/system/ && systemctl enable trial.service && systemctl set-default graphical.target
ENV container=docker
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
DOCKERFILE
    docker build --quiet --tag marquee-deb-trial "$work" >/dev/null
    local machine
    # Systemd needs its own cgroups, and units their mounts.
    machine=$(docker run --detach --privileged --cgroupns=private --tmpfs /run --tmpfs /run/lock marquee-deb-trial)
    timeout 900 docker wait "$machine" >/dev/null || true
    docker cp "$machine:/trial/log" "$work/log" && docker cp "$machine:/trial/code" "$work/code" || true
    docker rm --force "$machine" >/dev/null
}

in_nspawn() {
    debootstrap --variant=minbase "--include=$(IFS=,; echo "${needs[*]}")" "$codename" "$work/machine" >/dev/null
    cp -r "$work/trial" "$work/machine/trial"
    cp "$work/trial/trial.service" "$work/machine/etc/systemd/system/"
    systemctl --root="$work/machine" enable trial.service
    systemctl --root="$work/machine" set-default graphical.target
    timeout 900 systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$work/machine" >/dev/null || true
    cp "$work/machine/trial/log" "$work/machine/trial/code" "$work/" || true
}

[ "$docker" = no ] || in_docker
[ "$nspawn" = no ] || in_nspawn
cat "$work/log" || true
[ "$(cat "$work/code" 2>/dev/null)" = 0 ] || { log "the trial failed" >&2; exit 1; }
log "the package was installed, started, upgraded, removed and purged"
