#!/usr/bin/env bash
# Creates the files that docker-compose.secrets.yml, or the file given as argument, names in secrets/ beside it, each with a
# random value. Existing files stay as they are, so a value of your own (such as the payment provider's key) is a file that you
# write. Prints names, never values.
set -euo pipefail
cd "$(dirname "$0")/.."
compose=${1:-docker-compose.secrets.yml}
[ -f "$compose" ] || { echo "compose-secrets: there is no file $compose in $PWD" >&2; exit 1; }
cd "$(dirname "$compose")"

mkdir -p secrets
# The containers' users (such as uid 65532) must be able to read the files; on this machine the folder protects them.
chmod 700 secrets
umask 022

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

sed -n 's|^  [a-z-]*: {file: \./secrets/\([a-z-]*\)}$|\1|p' "$(basename "$compose")" | while read -r name; do
    if [ -s "secrets/$name" ]; then
        echo "compose-secrets: secrets/$name exists"
        continue
    fi
    case $name in
    payment-api-key) echo "sk_test_$(random)" >"secrets/$name" ;;
    payment-webhook-secret) echo "whsec_$(random)" >"secrets/$name" ;;
    *) random >"secrets/$name" ;;
    esac
    echo "compose-secrets: created secrets/$name"
done
