#!/bin/sh
# Creates the owner and the database, once, on the first primary and before it is reachable for others. $1: how to connect as the
# superuser. The owner is none; `marquee migrate` needs only the right to create the domains' roles.
set -eu

# psql replaces variables in what it reads from its input only. The password goes through the environment, not the arguments.
PASSWORD=$(cat /run/secrets/postgres-password)
export PASSWORD
psql --dbname "$1" --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password PASSWORD
create role marquee login createrole password :'password';
create database marquee owner marquee;
SQL
