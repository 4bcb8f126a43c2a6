#!/bin/sh
# The registry's two roles and its database, made once, at the first start of a Postgres container:
# one owns the tables and migrates them, the other owns nothing and is all that nodes have.
set -eu

psql --no-psqlrc --username "${POSTGRES_USER:-postgres}" --dbname postgres --set ON_ERROR_STOP=1 <<'SQL'
\getenv owner_password POSTGRES_OWNER_PASSWORD
\getenv app_password POSTGRES_APP_PASSWORD
CREATE ROLE chimera_owner LOGIN PASSWORD :'owner_password' NOSUPERUSER NOBYPASSRLS;
CREATE ROLE chimera_app LOGIN PASSWORD :'app_password' NOSUPERUSER NOBYPASSRLS;
CREATE DATABASE chimera OWNER chimera_owner;
REVOKE ALL ON DATABASE chimera FROM PUBLIC;
GRANT CONNECT ON DATABASE chimera TO chimera_app;
SQL
