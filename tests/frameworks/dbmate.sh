#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dbmate in the current folder: dbmate.sh PROGRAM
set -eu
mkdir migrations
step() { # name, up, down
    printf -- '-- migrate:up\n%s\n-- migrate:down\n%s\n' "$2" "$3" >"migrations/$1.sql"
}
step 20240101000001_items 'CREATE TABLE items (id text PRIMARY KEY, value text);
ALTER TABLE items ENABLE ELECTRIC;' 'DROP TABLE items;'
step 20240101000002_amount 'ALTER TABLE items ADD COLUMN amount integer;' 'ALTER TABLE items DROP COLUMN amount;'
step 20240101000003_index 'CREATE INDEX items_amount ON items (amount);' 'DROP INDEX items_amount;'
dbmate() {
    "$program" --url "postgres://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE?sslmode=disable" --migrations-dir migrations --no-dump-schema "$@"
}
program=$1
dbmate migrate >/dev/null
dbmate rollback >/dev/null
if dbmate rollback 2>&1; then
    exit 1
fi
dbmate migrate >/dev/null
