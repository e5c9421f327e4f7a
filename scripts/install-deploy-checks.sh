#!/usr/bin/env bash
# Builds tests/tools/k8s-check into .tools/bin where Go is there: its modules, kustomize among them, are pinned by go.sum. Silent and
# offline when nothing has changed; without Go it prints that and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

source=tests/tools/k8s-check
target=.tools/bin/k8s-check
log() { echo "install-deploy-checks: $*"; }

# The digest of the sources: a changed check is built again.
wanted=$(cat "$source"/*.go "$source"/go.mod "$source"/go.sum | sha256sum | cut -d' ' -f1)
if [ -x "$target" ] && [ "$(cat "$target.source" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
command -v go >/dev/null || { log 'no Go: deploy/kubernetes will not be checked'; exit 0; }
log "building $target"
mkdir -p .tools/bin
(cd "$source" && go build -buildvcs=false -mod=readonly -o "../../../$target" .)
echo "$wanted" >"$target.source"
