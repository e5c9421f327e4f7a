#!/usr/bin/env bash
# Coverage-guided fuzzing on the stable toolchain: libFuzzer drives the targets of fuzz/ from the kept corpus, so many seconds
# each. Usage: scripts/fuzz.sh [seconds] [target…]; ends with an error when a target broke, and says on which bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(webhook token event seats layout)

command -v c++ >/dev/null || { echo 'fuzz: libFuzzer needs a C++ compiler (Debian: apt-get install g++)'; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz gives to the compiler, without the sanitizer. With --target, build scripts and macros stay without it.
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
    # The first folder takes what is found; the kept corpus is only read.
    "target/fuzz/$host/debug/$target" "$found" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -artifact_prefix="target/fuzz/$target-" \
        -print_final_stats=1 2>&1 | grep -E 'ERROR|panicked|Test unit|stat::number|(INITED|DONE).*cov:|^Done' \
        || { echo "fuzz: $target broke on the bytes above, or ended without a result"; exit 1; }
done
