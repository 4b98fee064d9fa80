# SPDX-License-Identifier: Apache-2.0
"""A migration in the history that clients cannot apply: marked, reported and left out; what does not depend on it goes on."""

import json
import sqlite3

import pytest

from harness.wait import wait_until
from harness.web import get, migrations

from test_check import check

TABLES = "CREATE TABLE good (id uuid PRIMARY KEY); CREATE TABLE ill (id uuid PRIMARY KEY, name text)"
# Operations that a superuser's hand, or a bug of an older version, left: no JSON of ours, one for no table, one that SQLite refuses.
POISONS = {
    "not an operation": '{"an": "object"}',
    "unknown kind": '[{"op": "explode", "schema": "public", "table": "ill"}]',
    "no such table": '[{"op": "drop_index", "schema": "public", "table": "nowhere", "name": "i", "sql": ""}]',
    "a column twice": '[{"op": "add_column", "schema": "public", "table": "ill", "sql": "", "column": {"num": 9, "name": "NAME",'
                      ' "type": "text", "type_name": "text", "type_schema": "pg_catalog", "typmod": -1, "not_null": false, "enum": false}}]',
    "an empty list of nonsense": "[[], 1, null]",
}


@pytest.fixture
def busbar(make_busbar, cluster, database):
    busbar = make_busbar(cluster.url(database), dbname=database)
    with busbar.wire() as wire:
        wire.query(TABLES).ok()
        for table in ("good", "ill"):
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    return busbar


def poison(ledger, ops, version="poison"):
    ledger.execute("UPDATE busbar.recorder SET last_seq = last_seq + 1")
    ledger.execute("INSERT INTO busbar.migration (seq, version, priority, xid, txts)"
                   " SELECT last_seq, %s, 0, pg_current_xact_id(), 0 FROM busbar.recorder", version)
    ledger.execute("INSERT INTO busbar.command (id, seq, query, ops) SELECT (SELECT max(id) + 1 FROM busbar.command), last_seq, 'by hand', %s"
                   " FROM busbar.recorder", ops)


def reported(busbar):
    return {m["version"]: m["reason"] for m in get(busbar.http_port, "/api/health").json["unusable_migrations"]}


def restart(busbar):
    assert busbar.stop() == 0
    busbar.start()


@pytest.mark.parametrize("ops", POISONS.values(), ids=POISONS.keys())
def test_found_at_start(cluster, database, busbar, ledger, ops):
    poison(ledger, ops)
    restart(busbar)
    assert set(wait_until(lambda: reported(busbar), "the report")) == {"poison"} and reported(busbar)["poison"]
    assert "\nbusbar_unusable_migrations 1\n" in get(busbar.http_port, "/metrics").text
    assert "clients cannot apply migration poison: " in busbar.log()
    wait_until(lambda: ledger.value("SELECT unusable FROM busbar.migration WHERE version = 'poison'"), "the mark")
    # What does not depend on it goes on.
    assert get(busbar.http_port, "/api/status").status == 200
    assert [m.version for m in migrations(busbar.http_port)] == ledger.version_names[:2]
    with busbar.wire() as wire:
        wire.query("ALTER TABLE good ADD COLUMN more text").ok()
        wire.query("CREATE TABLE fresh (id uuid PRIMARY KEY)").ok()
        wire.query("ALTER TABLE fresh ENABLE ELECTRIC").ok()
    assert len(migrations(busbar.http_port)) == 4
    status, checks = check(cluster.url(database))
    assert status == 1 and checks["history"]["state"] == "fault" and "poison" in checks["history"]["text"]


def test_tables_of_it_wait(busbar, ledger):
    """A later change of the table, or one that refers to it, would reach clients whose table is another one."""
    poison(ledger, POISONS["unknown kind"])
    restart(busbar)
    wait_until(lambda: ledger.value("SELECT unusable FROM busbar.migration WHERE version = 'poison'"), "the mark")
    before = ledger.versions
    with busbar.wire() as wire:
        for protocol in ("query", "extended"):
            refused = getattr(wire, protocol)("ALTER TABLE ill ADD COLUMN more text").error
            assert refused["C"] == "UB007" and "poison" in refused["D"] and refused["H"], refused
        wire.query("CREATE TABLE child (id uuid PRIMARY KEY, ill uuid REFERENCES ill (id))").ok()
        assert wire.query("ALTER TABLE child ENABLE ELECTRIC").error["C"] == "UB007"
        wire.query("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE ill ADD COLUMN more text; END'").ok()
        assert wire.query("SELECT f()").error["C"] == "UB007"
    assert ledger.versions == before and ledger.columns("ill") == ["id", "name"]


@pytest.mark.parametrize("made", ["by hand", "in two migrations", "in one", "straight in PostgreSQL"])
def test_disable_and_enable_release_the_table(busbar, ledger, made):
    """What clients have of it is dropped, and they get it anew: nobody has to mend the old migration."""
    if made == "by hand":  # clients never had the table
        ledger.execute("UPDATE busbar.command SET ops = jsonb_set(ops, '{0,op}', '\"explode\"') WHERE query LIKE 'CREATE TABLE ill%'")
    else:
        poison(ledger, POISONS["a column twice"])
    restart(busbar)
    wait_until(lambda: ledger.value("SELECT count(*) FROM busbar.migration WHERE unusable IS NOT NULL"), "the mark")
    before = len(migrations(busbar.http_port))
    off, on = 'ALTER TABLE "public"."ill" DISABLE ELECTRIC', 'ALTER TABLE "public"."ill" ENABLE ELECTRIC'
    with busbar.wire() as wire:
        assert wire.query("BEGIN; ALTER TABLE ill ADD COLUMN more text; ALTER TABLE ill DISABLE ELECTRIC; COMMIT").error["C"] == "UB007"
        refused = wire.query("ALTER TABLE ill ADD COLUMN more text").error
        assert refused["C"] == "UB007" and off in refused["H"] and on in refused["H"]
        if made == "in one":
            wire.query(f"{off}; {on}").ok()
        elif made == "straight in PostgreSQL":
            ledger.execute("CALL electric.disable('ill')")
            ledger.execute("CALL electric.electrify('ill')")
        else:
            wire.query(off).ok()
            wire.query(on).ok()
        wire.query("ALTER TABLE ill ADD COLUMN more text").ok()
        wire.query("CREATE TABLE child (id uuid PRIMARY KEY, ill uuid REFERENCES ill (id)); ALTER TABLE child ENABLE ELECTRIC").ok()
    restart(busbar)
    wait_until(lambda: len(reported(busbar)) == 1, "the report of the old one alone")
    served = migrations(busbar.http_port)
    database = sqlite3.connect(":memory:")
    for migration in served:
        database.executescript(migration.sql)
    assert [row[1] for row in database.execute("PRAGMA table_info(ill)")] == ["id", "name", "more"]
    texts = [text for m in served[before:] for text in m.sql.split("\n\n")]
    assert ('DROP TABLE IF EXISTS "ill";' in texts) == (made != "by hand"), texts
    ledger.consistent()


def test_put_right_and_deleted(busbar, ledger):
    """Once the row is right, or gone, the next start takes the mark away."""
    poison(ledger, POISONS["unknown kind"])
    restart(busbar)
    wait_until(lambda: ledger.value("SELECT unusable FROM busbar.migration WHERE version = 'poison'"), "the mark")
    right = json.loads(POISONS["a column twice"].replace("NAME", "other"))
    ledger.execute("UPDATE busbar.command SET ops = %s WHERE query = 'by hand'", json.dumps(right))
    restart(busbar)
    wait_until(lambda: ledger.value("SELECT unusable IS NULL FROM busbar.migration WHERE version = 'poison'"), "the mark to go")
    assert reported(busbar) == {} and 'ADD COLUMN "other"' in migrations(busbar.http_port)[-1].sql
    poison(ledger, POISONS["not an operation"], "again")
    restart(busbar)
    wait_until(lambda: "again" in reported(busbar), "the report")
    ledger.execute("DELETE FROM busbar.command WHERE ops = %s", POISONS["not an operation"])
    ledger.execute("DELETE FROM busbar.migration WHERE version = 'again'")
    restart(busbar)
    assert reported(busbar) == {}
    assert len(migrations(busbar.http_port)) == 3


def test_found_while_running(busbar, ledger):
    """Who stumbles over it has the service look again, without a restart."""
    poison(ledger, POISONS["a column twice"])
    assert get(busbar.http_port, "/api/migrations?dialect=sqlite").status in (200, 500)
    with busbar.wire() as wire:
        refused = wire.query("ALTER TABLE good ADD COLUMN more text").error
        assert refused["C"] == "UB007" and "again" in refused["H"]
        wait_until(lambda: reported(busbar), "the report")
        wait_until(lambda: ledger.value("SELECT unusable FROM busbar.migration WHERE version = 'poison'"), "the mark")
        wire.query("ALTER TABLE good ADD COLUMN more text").ok()
    assert len(migrations(busbar.http_port)) == 3
