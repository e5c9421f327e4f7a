#!/usr/bin/env bash
# Checks the API from outside, on a gateway that it starts: Spectral checks the documents, newman walks the Postman
# collection, extruct reads the data of schema.org in the HTML, schemathesis sends what the OpenAPI document allows and what it
# forbids, logged in and not. Each finding is printed with a curl command that reproduces it. About two minutes;
# scripts/install-checks.sh installs the tools.
set -euo pipefail
cd "$(dirname "$0")/.."

checks=$PWD/.tools/checks
spectral=$checks/node_modules/.bin/spectral
newman=$checks/node_modules/.bin/newman
schemathesis=$checks/venv/bin/schemathesis
data=$(mktemp -d)

# Builds the program if the tests have not built it with the same features.
cargo build --workspace --bins --benches --profile quick-release --quiet

RATE_LIMIT_DISABLED=true HTTP_ADDR=127.0.0.1:0 RUST_LOG=warn target/quick-release/marquee up --data "$data" >"$data/log" 2>&1 &
marquee=$!
trap 'kill "$marquee" 2>/dev/null; wait "$marquee" 2>/dev/null || true; rm -rf "$data"' EXIT

for _ in $(seq 300); do
    URL=$(sed -n 's|.*REST and docs *\(http[^ ]*\)/docs.*|\1|p' "$data/log")
    [ -z "$URL" ] || break
    kill -0 "$marquee" 2>/dev/null || { cat "$data/log"; exit 1; }
    sleep 0.2
done
[ -n "$URL" ] || { echo "check-api: marquee did not start"; cat "$data/log"; exit 1; }

failed=()
check() {
    local name=$1 begin=$SECONDS
    shift
    echo "--- $name"
    "$@" || failed+=("$name")
    echo "--- $name took $((SECONDS - begin)) s"
}

documents() {
    local document
    for document in openapi openapi/auth openapi/movie openapi/reservation openapi/payment openapi/notification \
        openapi/operation; do
        curl -sSf "$URL/$document.json" -o "$data/$(basename "$document").json"
    done
    "$spectral" lint "$data"/*.json docs/asyncapi.yaml --ruleset tests/tools/spectral.yaml --fail-severity warn
}

walk() {
    "$newman" run docs/marquee.postman_collection.json --folder 'From a showtime to a ticket' \
        --env-var "baseUrl=$URL" --reporter-cli-no-banner --reporter-cli-no-summary
}

# Without JavaScript: the HTML as search engines get it.
structured() {
    "$checks/venv/bin/python" tests/tools/structured.py "$URL"
}

token() {
    curl -sSf "$URL/v1/auth/login" -H 'content-type: application/json' \
        -d '{"email": "owner@marquee.example", "password": "popcorn-2026"}' |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["accessToken"])'
}

# Ten examples per operation, so that the requests depend on the seed and not on the machine's speed. One worker: Python before
# 3.11.9 counts the depth of syntax trees wrongly in threads. A fixed seed, so that a new finding is caused by the change. An answer
# may take as long as the longest `?wait=`.
fuzz() {
    "$schemathesis" --config-file tests/tools/schemathesis.toml run "$URL/openapi.json" --checks all --workers 1 --seed 1 \
        --max-examples 10 --no-shrink --continue-on-failure --request-timeout 40 --max-response-time 35 "$@"
}

check documents documents
check walk walk
check 'the HTML as data' structured
# In the arguments of a command a failed login would be ignored.
if access_token=$(token); then
    check 'as SUPER_ADMIN' fuzz --header "Authorization: Bearer $access_token" --max-time 70
else
    failed+=('the login as SUPER_ADMIN')
fi
check anonymous fuzz --max-time 20

if grep -E 'panicked|internal error' "$data/log"; then failed+=('the log'); fi
[ "${#failed[@]}" = 0 ] || { echo "check-api: FAILED: ${failed[*]}"; exit 1; }
