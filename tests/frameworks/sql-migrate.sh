#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sql-migrate in the current folder.
set -eu
mkdir migrations
printf 'development:\n  dialect: postgres\n  datasource: host=%s port=%s user=%s password=%s dbname=%s sslmode=disable\n  dir: migrations\n' \
    "$PGHOST" "$PGPORT" "$PGUSER" "$PGPASSWORD" "$PGDATABASE" >dbconfig.yml
step() { # name, up, down
    printf -- '-- +migrate Up\n%s\n-- +migrate Down\n%s\n' "$2" "$3" >"migrations/$1.sql"
}
step 20240101000001-items 'CREATE TABLE items (id text PRIMARY KEY, value text);
ALTER TABLE items ENABLE ELECTRIC;' 'DROP TABLE items;'
step 20240101000002-amount 'ALTER TABLE items ADD COLUMN amount integer;' 'ALTER TABLE items DROP COLUMN amount;'
step 20240101000003-index 'CREATE INDEX items_amount ON items (amount);' 'DROP INDEX items_amount;'
sql-migrate up >/dev/null
sql-migrate down -limit=1 >/dev/null
sql-migrate down -limit=1 2>&1 || true
sql-migrate up >/dev/null
