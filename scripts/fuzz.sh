#!/usr/bin/env bash
# Coverage-guided fuzzing on the stable toolchain: libFuzzer runs the targets of fuzz/ on the corpus, each for the given
# seconds. Usage: scripts/fuzz.sh [seconds] [target…]. Fails if a target crashes, and prints the bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(webhook token event seats layout)

command -v c++ >/dev/null || { echo 'fuzz: libFuzzer needs a C++ compiler (Debian: apt-get install g++)'; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')
# The compiler flags of cargo-fuzz, without the sanitizer. With --target they do not apply to build scripts and macros.
flags=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
export RUSTFLAGS="${flags[*]}"
cargo build --manifest-path fuzz/Cargo.toml --target "$host" --target-dir target/fuzz

for target in "${targets[@]}"; do
    found=target/fuzz/corpus/$target
    mkdir -p "$found"
    # New inputs are written to the first folder; the corpus is only read.
    "target/fuzz/$host/debug/$target" "$found" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -artifact_prefix="target/fuzz/$target-" \
        -print_final_stats=1 2>&1 | grep -E 'ERROR|panicked|Test unit|stat::number|(INITED|DONE).*cov:|^Done' \
        || { echo "fuzz: $target crashed on the bytes above, or ended without a result"; exit 1; }
done
