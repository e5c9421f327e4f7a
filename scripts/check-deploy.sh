#!/usr/bin/env bash
# `make deploy-check`: whether the files of deploy/ are valid. Each check that lacks its tool prints NOT RUN and why; only a
# found mistake fails. That the files agree with the code is checked by tests/system/tidy/deploy.rs.
# With the argument `installed` it builds nothing, which takes two minutes: it checks with the tools that are there.
set -euo pipefail
cd "$(dirname "$0")/.."

log() { echo "check-deploy: $*"; }
not_run() { echo "check-deploy: NOT RUN: $*"; }

for script in deploy/nats-start.sh deploy/compose/patroni/*.sh; do sh -n "$script"; done
for script in deploy/kubernetes/*.sh scripts/compose-secrets.sh; do bash -n "$script"; done

if command -v docker-compose >/dev/null; then
    docker-compose --file deploy/compose/docker-compose.yml config --quiet
    log 'Compose accepts deploy/compose'
elif docker compose version >/dev/null 2>&1; then
    docker compose --file deploy/compose/docker-compose.yml config --quiet
    log 'Compose accepts deploy/compose'
else
    not_run 'deploy/compose: there is no Compose here'
fi

if command -v haproxy >/dev/null; then
    haproxy -c -q -f deploy/compose/haproxy.cfg
    log 'HAProxy accepts its configuration'
else
    not_run 'deploy/compose/haproxy.cfg: there is no HAProxy here'
fi

checker=.tools/bin/k8s-check
if [ "${1:-}" != installed ] && { command -v go >/dev/null || [ -x "$checker" ]; }; then
    scripts/install-deploy-checks.sh
fi
if [ -x "$checker" ]; then
    "$checker" deploy/kubernetes/secrets.sh deploy/kubernetes/overlays/small deploy/kubernetes/overlays/production \
        tests/tools/k8s-check/everything
    log 'every object of deploy/kubernetes has the fields of its type'
else
    not_run 'deploy/kubernetes: its check is not built here (make deploy-check builds it where Go is)'
fi
