#!/usr/bin/env bash
# Restores a backup of scripts/backup.sh into an empty database, and the media files into MEDIA_DIR. All hosts must be stopped.
#
#   DATABASE_URL=postgres://owner@new-db/marquee DATABASE_PASSWORD=… MEDIA_DIR=/var/lib/marquee/media scripts/restore.sh /backup/2026-05-01
#
# It runs `marquee migrate` (MARQUEE names the program if it is not in the PATH): so the program may be newer than the
# backup, and with DATABASE_PASSWORD_<HOST> the hosts' roles are made. Then it sees to it that no mail is sent twice: mails
# that were queued when the backup was made, and those of events before this restore, may have been sent since, so they
# are logged as SKIPPED. Staff can send them again. docs/operations.md, *Backup and restore*.
#
# MEDIA_OWNER, such as marquee:marquee or 65532:65532, is the user and group of the gateway: run by root, the script gives the media
# files to it, or without it to the owner of MEDIA_DIR.
# REMINDER_MINUTES (60) is the scheduler's setting: showtimes that begin within it get no second reminder.
set -euo pipefail
# shellcheck source=scripts/database.sh
. "$(dirname "$0")/database.sh"

folder=${1:-}
[ -n "$folder" ] || die 'usage: scripts/restore.sh <folder of a backup>'
[ -f "$folder/database.dump" ] || die "$folder has no database.dump"
marquee=${MARQUEE:-marquee}
minutes=${REMINDER_MINUTES:-60}
[[ $minutes =~ ^[0-9]+$ ]] || die 'REMINDER_MINUTES must be a number'
need pg_restore psql sha256sum
command -v "$marquee" >/dev/null || die "$marquee is not a program; set MARQUEE to its path"
use_database

(cd "$folder" && sha256sum --check --strict --quiet SHA256SUMS) || die 'the backup is damaged'
schemas=$(sql --command "select count(*) from pg_namespace
    where nspname in ('delivery', 'auth', 'movie', 'reservation', 'payment', 'notification')")
[ "$schemas" = 0 ] || die 'the database is not empty: create another one, owned by the role of DATABASE_URL'
if [ "$(sed -n 's/^media=//p' "$folder/MANIFEST")" = yes ]; then
    [ -n "${MEDIA_DIR:-}" ] || die 'the backup has media files: set MEDIA_DIR'
    mkdir -p "$MEDIA_DIR"
fi

log "restoring the backup that began at $(sed -n 's/^began=//p' "$folder/MANIFEST")"
# All or nothing. Rights and owners of the old server are left out.
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname "$database" "$folder/database.dump"
"$marquee" migrate >&2

sql --single-transaction --set minutes="$minutes" >/dev/null <<'SQL'
-- The migrations withhold functions with the owner's rights from the public; their rights were left out.
select format('revoke execute on function %s from public', function.oid::regprocedure)
from pg_proc as function join pg_namespace as schema on schema.oid = function.pronamespace
where schema.nspname = 'delivery' and function.prosecdef \gexec

insert into notification.restores (at) values (clock_timestamp());
update notification.mails set status = 'SKIPPED', version = version + 1, next_try_at = null, updated_at = now(),
  reason = 'it may have been sent after the backup from which the database was restored'
where status = 'QUEUED';
update movie.showtimes set reminded_for = starts_at
where starts_at between now() and now() + make_interval(mins => :minutes) and reminded_for is distinct from starts_at;
set local client_min_messages = error;
analyze;
SQL

if [ -d "$folder/media" ]; then
    cp -R "$folder/media/." "$MEDIA_DIR/"
    # In the backup only its owner may read them.
    chmod -R u+rwX,go+rX "$MEDIA_DIR"
    if [ "$(id -u)" = 0 ]; then
        chown -R "${MEDIA_OWNER:-$(stat --format=%u:%g "$MEDIA_DIR")}" "$MEDIA_DIR"
    fi
fi
log 'done. Start payment first, then all other hosts, then the gateway; after a minute run `marquee doctor` and `marquee fsck`'
