#!/usr/bin/env bash
# Checks the alert rules and the example of Prometheus's configuration, and runs the rules' tests. scripts/install-checks.sh
# installs promtool where Go is.
set -euo pipefail
cd "$(dirname "$0")/.."

promtool=$PWD/.tools/bin/promtool
if [ ! -x "$promtool" ]; then
    echo 'NOT RUN: promtool is not installed (it needs Go); the rules were not checked'
    exit 0
fi
cd deploy/prometheus
"$promtool" check config --lint=none prometheus.yml
"$promtool" check rules --lint=all --lint-fatal rules.yml
"$promtool" test rules rules_test.yml
