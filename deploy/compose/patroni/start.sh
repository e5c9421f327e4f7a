#!/bin/sh
# Starts Patroni as the member of this container's host name, with passwords from files.
set -eu

member=$(hostname)
export PATRONI_NAME="$member"
export PATRONI_POSTGRESQL_CONNECT_ADDRESS="$member:5432"
export PATRONI_RESTAPI_CONNECT_ADDRESS="$member:8008"
PATRONI_SUPERUSER_PASSWORD=$(cat /run/secrets/postgres-superuser-password)
PATRONI_REPLICATION_PASSWORD=$(cat /run/secrets/postgres-replication-password)
# Only for requests that change something, such as a restart; checks need none.
PATRONI_RESTAPI_PASSWORD=$(cat /run/secrets/patroni-password)
export PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD PATRONI_RESTAPI_PASSWORD
exec patroni /etc/patroni.yml
