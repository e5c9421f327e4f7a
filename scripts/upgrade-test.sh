#!/usr/bin/env bash
# Upgrades a deployment of the release before to this working tree, under load, and checks every promise (docs/releasing.md).
# The release is the newest one in CHANGELOG.md, at the commit that is named there. Its sources and its program are kept in
# target/upgrade, so it is built once. Both programs have the profile quick-release.
set -euo pipefail
cd "$(dirname "$0")/.."

log() { echo "upgrade-test: $*"; }

# The first heading with a version, and the first commit that its text names.
version=$(sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
commit=$(sed -n "/^## \[$version\]/,\$p" CHANGELOG.md | sed -n 's/.*commit `\([0-9a-f]*\)`.*/\1/p' | head -n 1)
[ -n "$version" ] && [ -n "$commit" ] || { log "CHANGELOG.md names no release with its commit" >&2; exit 1; }

if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
    log "NOT RUN: commit $commit of $version is not in this clone; fetch it with: git fetch --unshallow origin"
    exit 0
fi

folder=target/upgrade/$version-$(git rev-parse --short=12 "$commit")
program=$folder/marquee
if [ ! -x "$program" ]; then
    log "building $version ($commit) into $folder"
    rm -rf "$folder/source"
    mkdir -p "$folder/source"
    # Not a worktree, whose entry in .git would outlive the folder.
    git archive "$commit" | tar -x -C "$folder/source"
    target=$PWD/$folder/target
    (cd "$folder/source" && CARGO_TARGET_DIR=$target cargo build --locked --profile quick-release --bin marquee)
    # Renamed into place, so that a build that was interrupted leaves no program. The rest of the build is a gigabyte.
    cp "$target/quick-release/marquee" "$program.new"
    mv "$program.new" "$program"
    rm -rf "$target"
fi

cargo build --workspace --bins --benches --profile quick-release
target/quick-release/chaos --seed "${SEED:-1}" --minutes "${MINUTES:-2}" \
    --upgrade-from "$program" --nats-conf "$folder/source/nats.conf"
