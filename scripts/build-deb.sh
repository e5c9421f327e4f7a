#!/usr/bin/env bash
# Builds the Debian package into target/debian with cargo-deb, which is installed into .tools/cargo-deb, pinned, unless it is there
# already. The settings in /etc/marquee are config/*.env.example with the paths of the package; each host gets its own HEALTH_ADDR.
# PROFILE=quick-release builds in minutes, for a trial (scripts/try-deb.sh). The package runs on the Debian release
# on which it is built, and on newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=3.8.0
profile=${PROFILE:-release}
deb=.tools/cargo-deb/bin/cargo-deb
settings=target/deb-config

log() { echo "build-deb: $*"; }

if [ "$("$deb" --version 2>/dev/null | grep -o '[0-9][0-9.]*' | head -n 1)" != "$wanted" ]; then
    log "installing cargo-deb $wanted into .tools/cargo-deb"
    cargo install --quiet --locked --root .tools/cargo-deb --version "$wanted" cargo-deb
fi
command -v dpkg-shlibdeps >/dev/null || log "without dpkg-dev the package names no libraries that it needs"

# systemd reads these files by other rules than the program reads config/*.env: a backslash takes the next character as it is, and
# a quote at the beginning of a value begins a quoted one.
systemd_rules='# systemd reads this file: write a backslash as two, and put a value that begins with a quote into quotes of the other kind.\
# In single quotes a backslash is written once.'
for_systemd() {
    sed -e "s|One line each, without quotes\.|One line each.|" \
        -e "/^# NAME=value must be set/a\\$systemd_rules" \
        -e "s|here any character may stand as it is\.|here a character needs no percent-encoding.|"
}

rm -rf "$settings"
mkdir -p "$settings"
port=9090
for part in gateway auth movie reservation payment notification scheduler bridge; do
    sed -e "s|copy to config/$part.env, which \`[a-z ]*\` reads; environment variables override it|this file is read by its unit, marquee-${part/#/host@}|" \
        -e "s|marquee-host@gateway|marquee-gateway|" \
        -e "s|^#HEALTH_ADDR=.*|HEALTH_ADDR=127.0.0.1:$port|" \
        -e "s|^#MEDIA_DIR=.*|MEDIA_DIR=/var/lib/marquee/gateway/media|" \
        -e '/^# The Ed25519 key/,/^JWT_PRIVATE_KEY=/c\# The key that signs access tokens is /etc/marquee/jwt.pem, which the unit hands over as JWT_PRIVATE_KEY_FILE.' \
        "config/$part.env.example" | for_systemd >"$settings/$part.env"
    port=$((port + 1))
done
for_systemd <config/operator.env.example >"$settings/operator.env"
for file in "$settings"/*.env; do
    if grep -E 'without quotes|any character may stand' "$file" || ! grep -q '^# systemd reads this file: ' "$file"; then
        log "$file has no or wrong rules for quotes" >&2
        exit 1
    fi
done

# Of 0.2.0-dev cargo-deb would make 0.2.0-dev-1, which is newer than 0.2.0-1; Debian's changelog has 0.2.0~dev-1.
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/deb/changelog)
# CARGO_TARGET_DIR would move the program away from where the package's list of files expects it.
env -u CARGO_TARGET_DIR "$deb" deb --locked --profile "$profile" --deb-version "$version"
log "built $(ls -t target/debian/marquee_*.deb | head -n 1)"
