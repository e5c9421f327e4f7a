#!/usr/bin/env bash
# Installs or upgrades a deployment: deploy/kubernetes/rollout.sh deploy/kubernetes/overlays/production
# First the servers and settings. When NATS runs with them and `marquee migrate` has ended well, the hosts, one after the other, then
# what scales them. If it fails, the running hosts go on with the version that they have. The Secrets must be there (secrets.sh).
set -euo pipefail
overlay=${1:?the folder of an overlay}
namespace=${2:-marquee}

manifests=$(mktemp)
trap 'rm -f "$manifests"' EXIT
# nats.conf and nats-start.sh are outside the overlay's folder.
kubectl kustomize --load-restrictor LoadRestrictionsNone "$overlay" >"$manifests"

run() { kubectl --namespace "$namespace" "$@"; }
apply() { run apply --server-side --filename "$manifests" "$@"; }

# A Job cannot be changed, only made anew.
run delete job migrate --ignore-not-found
# Only the hosts and the gateway have the name `marquee`. Everything else comes before them, except what scales them: KEDA refuses
# a ScaledObject whose Deployment does not exist.
apply --selector 'app.kubernetes.io/name!=marquee,marquee/phase!=scale'
# New hosts need the rights that the new nats.conf gives them.
echo 'rollout: waiting for NATS'
if ! run rollout status --timeout=15m statefulset/nats; then
    echo 'rollout: NATS does not run with the new settings; no host was replaced' >&2
    exit 1
fi
echo 'rollout: waiting for marquee migrate'
if ! run wait --for=condition=complete --timeout=30m job/migrate; then
    run logs job/migrate --tail=20 || true
    echo 'rollout: marquee migrate has not ended; no host was replaced' >&2
    exit 1
fi

# replace SELECTOR: applies these Deployments and waits until each has the new pods.
replace() {
    local deployment deployments
    apply --selector "$1"
    mapfile -t deployments < <(run get deployments --selector "$1" --output name)
    for deployment in "${deployments[@]}"; do
        run rollout status --timeout=10m "$deployment"
    done
}
replace 'app.kubernetes.io/name=marquee,app.kubernetes.io/component!=gateway'
# The gateway comes last: it may send requests that only the new hosts know.
replace 'app.kubernetes.io/name=marquee,app.kubernetes.io/component=gateway'
# The overlay `small` scales nothing, and `kubectl apply` fails if its selector matches no object.
if grep -qE '^ +marquee/phase: scale$' "$manifests"; then
    apply --selector marquee/phase=scale
fi
