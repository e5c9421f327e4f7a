#!/usr/bin/env bash
# The part of scripts/try-deb.sh that runs in a machine of its own, with systemd and Postgres, as root: the life of the package from
# its installation to its purge. /trial has the package, nats-server and nats.conf. Not for a machine with anything on it.
set -euo pipefail

hosts=(auth movie reservation payment notification scheduler)
export DEBIAN_FRONTEND=noninteractive

step() { echo "deb-trial: $*"; }
fail() { echo "deb-trial: FAILED: $*" >&2; exit 1; }

step "NATS and Postgres"
grep -o 'NATS_PASSWORD_[A-Z]*' /trial/nats.conf | sort -u | sed 's/$/=marquee/' >/trial/nats.env
systemd-run --quiet --unit=nats-server -p EnvironmentFile=/trial/nats.env \
    /trial/nats-server --config /trial/nats.conf --addr 127.0.0.1 --port 4222 --store_dir /var/lib/nats
systemctl start postgresql
runuser -u postgres -- psql -q -c "create role marquee login createrole password 'marquee'" \
    -c "create database marquee owner marquee encoding 'UTF8' template template0"

step "install"
dpkg --install /trial/marquee.deb
marquee --version
[ "$(stat -c '%a %U:%G' /etc/marquee/payment.env)" = '640 root:marquee' ] || fail "rights of the settings"
[ "$(stat -c '%a %U:%G' /etc/marquee/jwt.pem)" = '600 root:root' ] || fail "rights of the key"
[ -z "$(systemctl list-units --no-legend --state=active 'marquee-*')" ] || fail "something was started"

step "settings"
# The roles of the domains have the password that the settings come with.
for domain in AUTH MOVIE RESERVATION PAYMENT NOTIFICATION; do
    sed -i "s|^#DATABASE_PASSWORD_$domain=.*|DATABASE_PASSWORD_$domain=marquee|" /etc/marquee/operator.env
done
sed -i 's|^#SUPER_ADMIN_EMAIL=.*|SUPER_ADMIN_EMAIL=owner@cinema.example|' /etc/marquee/auth.env
# A secret as a credential.
install -d -m 0700 /etc/marquee/secrets /etc/systemd/system/marquee-host@auth.service.d
(umask 077 && echo 'the first of all' >/etc/marquee/secrets/owner)
cat >/etc/systemd/system/marquee-host@auth.service.d/owner.conf <<'UNIT'
[Service]
LoadCredential=owner:/etc/marquee/secrets/owner
Environment=SUPER_ADMIN_PASSWORD_FILE=%d/owner
UNIT
systemctl daemon-reload

step "migrate and start"
systemctl start marquee-migrate || { journalctl --no-pager -u marquee-migrate | tail -n 20; fail "marquee-migrate"; }
systemctl enable marquee-gateway "${hosts[@]/#/marquee-host@}" marquee.target
# Type=notify: this returns when all are ready.
systemctl start marquee.target marquee-gateway "${hosts[@]/#/marquee-host@}" ||
    { journalctl --no-pager -u 'marquee-*' | tail -n 60; fail "the start"; }
for port in 9090 9091 9092 9093 9094 9095 9096; do
    marquee ready "127.0.0.1:$port" || fail "what serves port $port is not ready"
done
curl --fail --silent --show-error --output /dev/null http://127.0.0.1:8080/ || fail "the page"
curl --fail --silent --show-error --output /dev/null http://127.0.0.1:8080/v1/auth/login \
    -H 'content-type: application/json' -d '{"email": "owner@cinema.example", "password": "the first of all"}' || fail "a login"

step "commands"
systemd-run --quiet --wait --pipe -p EnvironmentFile=/etc/marquee/operator.env -p User=marquee marquee fsck || fail "fsck"
systemd-run --quiet --wait --pipe -p EnvironmentFile=/etc/marquee/operator.env /usr/share/marquee/scripts/backup.sh /trial/backup ||
    fail "a backup"

step "a host that is killed starts again"
systemctl kill --signal=KILL marquee-host@movie
for _ in $(seq 100); do
    ! marquee ready 127.0.0.1:9092 2>/dev/null || break
    sleep 0.2
done
marquee ready 127.0.0.1:9092 || fail "the movie host did not start again"

step "an upgrade restarts nothing and keeps changed settings"
before=$(systemctl show --property=MainPID --value marquee-host@auth)
dpkg --install --force-confold /trial/marquee.deb
[ "$before" = "$(systemctl show --property=MainPID --value marquee-host@auth)" ] || fail "auth was restarted"
grep -q '^SUPER_ADMIN_EMAIL=' /etc/marquee/auth.env || fail "the settings were replaced"

step "stop: nothing is killed"
systemctl stop marquee.target
for unit in marquee-gateway "${hosts[@]/#/marquee-host@}"; do
    [ "$(systemctl show --property=Result --value "$unit")" = success ] || fail "$unit did not end by itself"
    ! systemctl is-active --quiet "$unit" || fail "$unit still runs"
done

step "remove and purge"
dpkg --remove marquee
[ -f /etc/marquee/auth.env ] || fail "a removal keeps the settings"
dpkg --purge marquee
[ ! -e /etc/marquee ] && [ ! -e /var/lib/marquee ] || fail "a purge removes settings and files"
step "done"
