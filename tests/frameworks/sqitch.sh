#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sqitch in the current folder. Scripts run in psql, its own record is kept by another connection: the script says what it is.
set -eu
target="db:pg://$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE"
export HOME="$PWD" SQITCH_FULLNAME=Tester SQITCH_EMAIL=tester@example.org
mkdir deploy revert
printf '[core]\n\tengine = pg\n' >sqitch.conf
printf '%%syntax-version=1.0.0\n%%project=shop\n\n' >sqitch.plan
change() { # name, deploy, revert
    echo "$1 2024-01-01T00:00:00Z Tester <tester@example.org> # $1" >>sqitch.plan
    printf "BEGIN;\nSET LOCAL busbar.migration_version = '%s';\n%s\nCOMMIT;\n" "$1" "$2" >"deploy/$1.sql"
    printf 'BEGIN;\n%s\nCOMMIT;\n' "$3" >"revert/$1.sql"
}
change items 'CREATE TABLE items (id text PRIMARY KEY, value text); ALTER TABLE items ENABLE ELECTRIC;' 'DROP TABLE items;'
change amount 'ALTER TABLE items ADD COLUMN amount integer;' 'ALTER TABLE items DROP COLUMN amount;'
change index 'CREATE INDEX items_amount ON items (amount);' 'DROP INDEX items_amount;'
sqitch deploy --quiet "$target"
sqitch revert --quiet -y --to '@HEAD^' "$target"
if sqitch revert --quiet -y --to '@HEAD^' "$target"; then
    exit 1
fi
