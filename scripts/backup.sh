#!/usr/bin/env bash
# Writes a backup of a running deployment into a new folder: the database as of one moment, and the media files.
#
#   DATABASE_URL=postgres://owner@db/marquee DATABASE_PASSWORD=… MEDIA_DIR=/var/lib/marquee/media scripts/backup.sh /backup/2026-05-01
#
# Selling goes on meanwhile: pg_dump reads one snapshot and blocks nobody but migrations. Every order that was answered before
# it begins is in the backup. It needs a role that reads every schema: the owner of the database, or one with pg_read_all_data.
# NATS and Redis need no backup: events are published again from the outboxes. Keys and passwords are not copied; the file
# SECRETS names those that a restored deployment needs. docs/operations.md, *Backup and restore*.
set -euo pipefail
# shellcheck source=scripts/database.sh
. "$(dirname "$0")/database.sh"

folder=${1:-}
[ -n "$folder" ] || die 'usage: scripts/backup.sh <new folder>'
[ ! -e "$folder" ] || die "$folder exists; name a new folder"
need pg_dump pg_restore psql sha256sum
use_database

# pg_dump refuses a newer server, and would do so only after the media are copied.
server=$(sql --command 'show server_version')
client=$(pg_dump --version)
# "pg_dump (PostgreSQL) 17.2 (Debian …)"
client=${client#*) }
if [ "${client%%[!0-9]*}" -lt "${server%%[!0-9]*}" ]; then
    die "pg_dump is of version ${client%% *}, the server of ${server%% *}, and pg_dump must not be older:" \
        "install the client of that version, or run this script in the server's image (docs/operations.md, Backup and restore)"
fi

schemas=$(sql --command "select count(*) from pg_namespace
    where nspname in ('delivery', 'auth', 'movie', 'reservation', 'payment', 'notification')")
[ "$schemas" = 6 ] || die 'DATABASE_URL leads to no migrated database of Marquee'

# Personal data and password hashes are in it.
umask 077
partial="$folder.partial"
rm -rf "$partial"
mkdir -p "$partial"
trap 'rm -rf "$partial"' EXIT

# Files never change under their name, but new ones are added and old ones deleted: those that the snapshot names are there
# either before it or after it. `--update` makes the second copy short.
copy_media() {
    [ -n "${MEDIA_DIR:-}" ] || return 0
    [ -d "$MEDIA_DIR" ] || die "MEDIA_DIR $MEDIA_DIR is not a folder"
    mkdir -p "$partial/media"
    # A file may be deleted while the folder is copied.
    cp -R --update "$MEDIA_DIR/." "$partial/media/" 2>"$partial/media.log" ||
        { grep -v 'No such file' "$partial/media.log" >&2 && die 'the media files cannot be copied'; } || true
    rm -f "$partial/media.log"
}

copy_media
began=$(sql --command "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
log "the database is dumped as of $began or a moment later"
# Rights are granted by `marquee migrate` after the restore: their roles are named after the database.
pg_dump --format=custom --no-owner --file "$partial/database.dump" --dbname "$database"
copy_media

cat >"$partial/SECRETS" <<'NAMES'
These settings are not in this backup. Keep them in your secret store; a restored deployment needs the same values of the first group.
JWT_PRIVATE_KEY         without it every login ends, and sold tickets do not verify at the door
PAYMENT_API_KEY         of the account that took the money
PAYMENT_WEBHOOK_SECRET  of the endpoint that the provider calls
These may have new values.
DATABASE_PASSWORD, DATABASE_PASSWORD_<HOST>, NATS_PASSWORD, NATS_PASSWORD_<HOST>, NATS_CREDS, NATS_NKEY, REDIS_URL,
AMQP_URL, AMQP_PASSWORD, SMTP_URL, CLOUDINARY_URL, METRICS_TOKEN, SUPER_ADMIN_PASSWORD
NAMES
cat >"$partial/MANIFEST" <<EOF_MANIFEST
began=$began
server=$server
media=$([ -d "$partial/media" ] && echo yes || echo no)
EOF_MANIFEST
(cd "$partial" && sha256sum database.dump SECRETS MANIFEST >SHA256SUMS)
# A backup that cannot be listed cannot be restored.
pg_restore --list "$partial/database.dump" >/dev/null
sync "$partial/database.dump"
mv "$partial" "$folder"
trap - EXIT
log "done: $folder, $(du -sh "$folder" | cut -f1)"
