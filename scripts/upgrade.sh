#!/usr/bin/env bash
# Upgrades a running `docker compose` deployment to the sources beside it (or, with --no-build, to the image `marquee` that
# is already there): nats.conf if it has changed, migrations, then one host after the other, the gateway last. A new host is started beside the old one and
# must be ready before the old one is stopped, so no request is lost; if it does not become ready, it is removed, the script
# ends with an error, and the old ones go on serving. Several hosts of a domain (--scale) stay several.
#
# The gateway's port can be published by one container only, so without a proxy in front of it (docker-compose.proxy.yml)
# new connections are refused for the second or two in which it is replaced; requests that it has received are answered.
# A server of NATS is started anew only where nats.conf has changed; requests wait for it.
# Not touched: Postgres, Redis, RabbitMQ and the sandbox.
set -euo pipefail
cd "$(dirname "$0")/.."

hosts=(auth movie reservation payment notification scheduler bridge)
ready_seconds_max=60
# The proxy finds a new gateway by DNS and a check, each once a second.
proxy_seconds=4

log() { echo "upgrade: $*"; }
compose() { docker compose "$@"; }

is_ready() { docker exec "$1" marquee ready 127.0.0.1:9090 >/dev/null 2>&1; }

# Waits until every given container is ready.
until_ready() {
    local container begin=$SECONDS
    for container in "$@"; do
        until is_ready "$container"; do
            [ $((SECONDS - begin)) -lt "$ready_seconds_max" ] || return 1
            sleep 0.5
        done
    done
}

# The running containers of a service, one a line.
containers() { compose ps --quiet "$1"; }

# Starts as many new containers beside the running ones, then stops those.
replace_beside() {
    local service=$1 old new
    mapfile -t old < <(containers "$service")
    compose up --detach --no-deps --no-recreate --scale "$service=$((${#old[@]} * 2))" "$service"
    mapfile -t new < <(containers "$service" | grep -vxF "$(printf '%s\n' "${old[@]}")")
    if [ "${#new[@]}" != "${#old[@]}" ]; then
        log "Compose did not start ${#old[@]} new $service; nothing was stopped"
        exit 1
    fi
    if ! until_ready "${new[@]}"; then
        docker logs --tail 20 "${new[0]}" >&2 || true
        docker rm --force "${new[@]}" >/dev/null
        log "the new $service is not ready after $ready_seconds_max s; the old one goes on serving"
        exit 1
    fi
    [ "$service" != gateway ] || sleep "$proxy_seconds"
    # Each has the time of stop_grace_period to finish its work.
    docker stop "${old[@]}" >/dev/null
    docker rm "${old[@]}" >/dev/null
}

# Stops the running container, which drains first, then starts the new one.
replace_in_place() {
    local service=$1 new
    compose up --detach --no-deps "$service"
    mapfile -t new < <(containers "$service")
    until_ready "${new[@]}" || { log "the new $service is not ready after $ready_seconds_max s"; exit 1; }
}

# What newer hosts may do is in nats.conf. A mounted file that was replaced is seen by a new container only.
renew_nats() {
    local service container
    for service in $(compose config --services | grep -E '^nats(-[0-9]+)?$' | sort); do
        container=$(containers "$service")
        if [ -z "$container" ] || docker exec "$container" cat /etc/nats/nats.conf | cmp -s - nats.conf; then continue; fi
        log "$service, for the new nats.conf"
        compose up --detach --no-deps --force-recreate --wait "$service"
    done
}

if [ "${1:-}" != --no-build ]; then
    # Every service runs the same image.
    compose build migrate
fi
renew_nats
compose run --rm --no-deps --no-TTY migrate

for host in "${hosts[@]}"; do
    if [ -z "$(containers "$host")" ]; then
        log "$host does not run; left as it is"
        continue
    fi
    log "$host"
    replace_beside "$host"
done

log gateway
if [ -n "$(compose port gateway 8080 2>/dev/null | grep -v ':0$')" ]; then
    replace_in_place gateway
else
    replace_beside gateway
fi
log "done; every host runs the new version"
