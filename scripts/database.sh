#!/usr/bin/env bash
# Sourced by backup.sh and restore.sh: reads DATABASE_URL and DATABASE_PASSWORD as Marquee does, each also from a file by
# DATABASE_URL_FILE and DATABASE_PASSWORD_FILE. The password is handed to Postgres's programs in PGPASSWORD, since the arguments
# of a process are visible to other users of the machine.

die() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }
log() { echo "$(basename "$0" .sh): $*" >&2; }

# The value of a setting, or the content of the file that NAME_FILE names.
setting() {
    local name=$1 file=${1}_FILE
    if [ -n "${!file:-}" ]; then
        [ -z "${!name:-}" ] || die "$name and $file must not be set together"
        cat "${!file}" || die "$file is not readable"
    else
        printf '%s' "${!name:-}"
    fi
}

# Sets `database` to the address without its password, and PGPASSWORD.
use_database() {
    local url password encoded
    url=$(setting DATABASE_URL)
    [ -n "$url" ] || die 'DATABASE_URL is not set'
    case $url in
        postgres://* | postgresql://*) ;;
        *) die 'DATABASE_URL must begin with postgres:// or postgresql://' ;;
    esac
    password=$(setting DATABASE_PASSWORD)
    if [[ $url =~ ^([a-z]+://[^:/?#]*):([^/?#]*)@([^@]*)$ ]]; then
        url="${BASH_REMATCH[1]}@${BASH_REMATCH[3]}"
        encoded=${BASH_REMATCH[2]//\\/\\\\}
        [ -n "$password" ] || password=$(printf '%b' "${encoded//%/\\x}")
    fi
    [ -z "$password" ] || export PGPASSWORD=$password
    if [ -n "${CA_CERT_FILE:-}" ]; then export PGSSLROOTCERT=${PGSSLROOTCERT:-$CA_CERT_FILE}; fi
    export PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10} PGAPPNAME=marquee-$(basename "$0" .sh)
    database=$url
}

# Runs SQL from the arguments or standard input; stops at the first error.
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@" "$database"; }

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || die "$program is not installed (Debian: postgresql-client)"
    done
}
