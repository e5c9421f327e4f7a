#!/bin/sh
# Starts a NATS server with nats.conf for both deployments of this folder. Passwords are files, nats-password-<user> in
# /run/secrets; the server itself reads them from variables only. With NATS_ROUTES, the hosts of all servers separated by
# commas, it is a member of a cluster; without it, a single server. The settings of a cluster contain the password of its routes, so
# they are written to a file in the folder of the store: the arguments of a process are visible to other users of the machine.
#   NATS_NAME: this server's name, different for each and kept for life, since JetStream stores it with the copies.
set -eu

read_secret() { cat "/run/secrets/nats-password-$1"; }

for user in maintenance operator gateway auth movie reservation payment notification scheduler bridge; do
    # A pipe would hide that a file is missing.
    password=$(read_secret "$user")
    # The server reads a variable's value as configuration, so it is written as a quoted string.
    password=$(printf '%s' "$password" | sed 's/[\\"]/\\&/g')
    export "NATS_PASSWORD_$(echo "$user" | tr a-z A-Z)=\"$password\""
done

configuration=/etc/nats/nats.conf
if [ -n "${NATS_ROUTES:-}" ]; then
    # In an address: letters, digits, - and _ only, as the scripts create it.
    password=$(read_secret route)
    routes=$(echo "$NATS_ROUTES" | sed "s|[^,]*|\"nats://route:$password@&:6222\"|g")
    configuration=/var/lib/nats/cluster.conf
    rm -f "$configuration"
    (
        umask 077
        cat /etc/nats/nats.conf - >"$configuration" <<CLUSTER

cluster {
  name: marquee
  listen: "0.0.0.0:6222"
  authorization { user: route, password: "$password" }
  routes: [$routes]
}
CLUSTER
    )
fi
exec nats-server --config "$configuration" --name "$NATS_NAME" --port 4222 --http_port 8222 --store_dir /var/lib/nats
