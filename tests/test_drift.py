# SPDX-License-Identifier: Apache-2.0
"""What was changed where nobody looked: found, put into words, reported, and mended or adopted."""

import json
import subprocess

import pytest

from harness import protocol as p
from harness.busbar import binary
from harness.electric import Ledger
from harness.process import clean_environment
from harness.wait import wait_until
from harness.web import get, migrations

TABLES = """
CREATE TABLE parents (id uuid PRIMARY KEY);
CREATE TABLE items (id uuid PRIMARY KEY, name text NOT NULL, amount int4, parent uuid REFERENCES parents (id));
CREATE INDEX items_name ON items (name);
CREATE TABLE other (id uuid PRIMARY KEY, name text);
"""
# What a superuser can always do: the guard is off for these.
OFF = "ALTER EVENT TRIGGER busbar_guard_end DISABLE; ALTER EVENT TRIGGER busbar_guard_drop DISABLE;" \
      " ALTER EVENT TRIGGER busbar_guard_rewrite DISABLE; ALTER EVENT TRIGGER busbar_guard_start DISABLE;"
ON = OFF.replace("DISABLE", "ENABLE ALWAYS")


@pytest.fixture
def busbar(make_busbar, cluster, database):
    busbar = make_busbar(cluster.url(database), dbname=database)
    with busbar.wire() as wire:
        wire.query(TABLES).ok()
        for table in ("parents", "items", "other"):
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    return busbar


def unseen(ledger, *statements):
    """Changes beside the guard."""
    ledger.execute(OFF)
    for statement in statements:
        ledger.execute(statement)
    ledger.execute(ON)


def health(busbar):
    return get(busbar.http_port, "/api/health").json


def look_again(busbar, ledger):
    """Makes the service connection come back: a round begins."""
    ledger.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'busbar'"
                   " AND datname = current_database()")


def found(busbar, ledger):
    """The drift that the service reports, once there is some."""
    look_again(busbar, ledger)
    return wait_until(lambda: health(busbar)["drift"], "drift in /api/health")


def check(busbar, *flags, status=None):
    """Runs `busbar check` with the service's environment; returns status and output."""
    env = clean_environment(**busbar.environment)
    done = subprocess.run([binary(), "check", *flags], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "Sanitizer" not in done.stderr, done.stderr
    if status is not None:
        assert done.returncode == status, (done.stdout, done.stderr)
    return done


def one_line(text):
    return text.replace("\n", " ")


def test_none(busbar):
    assert health(busbar)["drift"] == [] and health(busbar)["unusable_migrations"] == []
    assert "\nbusbar_drifted_tables 0\n" in get(busbar.http_port, "/metrics").text


def test_found_at_start_and_reported(busbar, ledger):
    unseen(ledger, "ALTER TABLE items DROP COLUMN amount, ADD COLUMN extra text", "ALTER TABLE other RENAME COLUMN name TO title")
    assert busbar.stop() == 0
    busbar.start()
    drift = {d["table"]: d for d in wait_until(lambda: health(busbar)["drift"], "drift in /api/health")}
    assert set(drift) == {"public.items", "public.other"}
    assert "column amount was dropped" in drift["public.items"]["difference"]
    assert "column extra was added" in drift["public.items"]["difference"]
    assert "column name was renamed to title" in drift["public.other"]["difference"]
    assert "\nbusbar_drifted_tables 2\n" in get(busbar.http_port, "/metrics").text
    lines = [line for line in busbar.log().splitlines() if "clients do not have" in line]
    assert len(lines) == 2 and "amount" in lines[0] and "title" in lines[1]
    assert health(busbar)["status"] == "ready", "the service goes on"


# Each change beside the guard, what is said of it, and whether clients can follow.
CHANGES = [
    ("ALTER TABLE items DROP COLUMN amount", "column amount was dropped"),
    ("ALTER TABLE items RENAME COLUMN amount TO quantity", "column amount was renamed to quantity"),
    ("ALTER TABLE items ALTER COLUMN amount TYPE int8", "the type of column amount was changed"),
    ("ALTER TABLE items ALTER COLUMN name DROP NOT NULL", "NOT NULL of column name was changed"),
    ("ALTER TABLE items ALTER COLUMN amount SET DEFAULT 5", "DEFAULT of column amount was changed"),
    ("ALTER TABLE items RENAME TO things", "renamed to things"),
    ("CREATE SCHEMA elsewhere; ALTER TABLE items SET SCHEMA elsewhere", "now in schema elsewhere"),
    ("ALTER TABLE items ADD CONSTRAINT positive CHECK (amount > 0)", "constraint positive was added"),
    ("ALTER TABLE items DROP CONSTRAINT items_parent_fkey", "constraint items_parent_fkey was dropped"),
    ("ALTER TABLE items RENAME CONSTRAINT items_parent_fkey TO fk", "constraint items_parent_fkey was renamed to fk"),
    ("ALTER TABLE items ENABLE ROW LEVEL SECURITY", "row level security"),
    ("ALTER TABLE items ADD COLUMN bad numeric(5, 2)", "column bad was added"),
    ("ALTER TABLE items ADD COLUMN filled text DEFAULT 'x'", "column filled was added"),
    ("ALTER TABLE items ADD COLUMN must text NOT NULL", "column must was added"),
    ("ALTER TABLE items DROP COLUMN amount; ALTER TABLE items RENAME COLUMN name TO title;"
     " ALTER TABLE items ADD CONSTRAINT positive CHECK (title <> '')", "column amount was dropped; column name was renamed"),
    ("DROP TABLE other", "it does not exist"),
]


@pytest.mark.parametrize("change, words", CHANGES, ids=[c[0][:60] for c in CHANGES])
def test_what_clients_cannot_follow(busbar, ledger, change, words):
    """Named with what brings the table back; --adopt refuses it; the statement does bring it back, whatever the guard."""
    versions = ledger.versions
    unseen(ledger, change)
    [drift] = found(busbar, ledger)
    assert words in drift["difference"], drift
    shown = check(busbar, status=1)
    assert drift["table"] in shown.stdout and words in shown.stdout and one_line(drift["mend"]) in shown.stdout
    refused = check(busbar, "--adopt", status=1)
    assert "lients cannot follow" in refused.stdout and one_line(drift["mend"]) in refused.stdout, refused.stdout
    assert ledger.versions == versions
    ledger.execute(drift["mend"] + "; RESET busbar.maintenance")
    look_again(busbar, ledger)
    wait_until(lambda: [d for d in health(busbar)["drift"] if "filled" not in d["difference"]] == [], "the drift to be gone")
    if "filled" in change:
        assert check(busbar, "--adopt", status=0) and ledger.remembered["items"][-1] == "filled"
    with busbar.wire() as wire:  # and the next migration is as ever
        wire.query("ALTER TABLE parents ADD COLUMN later text").ok()
        if change.startswith("ALTER"):
            wire.query("ALTER TABLE items ADD COLUMN later text").ok()
    ledger.consistent()


def test_replica_identity_comes_back(busbar, ledger):
    """It has nothing to do with what the table is to clients."""
    assert busbar.stop() == 0
    unseen(ledger, "ALTER TABLE items REPLICA IDENTITY DEFAULT")
    assert "ALTER TABLE public.items REPLICA IDENTITY FULL" in check(busbar, status=1).stdout
    busbar.start()
    assert ledger.execute("SELECT relreplident FROM pg_class WHERE oid = 'items'::regclass").fetchone() == ("f",)
    look_again(busbar, ledger)
    check(busbar, status=0)
    ledger.consistent()


@pytest.mark.parametrize("change", ["ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "ALTER TYPE mood ADD VALUE 'angry'"])
def test_enums(busbar, ledger, change):
    with busbar.wire() as wire:
        wire.query("CREATE TYPE mood AS ENUM ('happy', 'sad')").ok()
        wire.query("ALTER TABLE items ADD COLUMN m mood").ok()
    unseen(ledger, change)
    [drift] = found(busbar, ledger)
    assert "values of enum type mood" in drift["difference"]
    assert ("RENAME VALUE 'blue' TO 'sad'" if "RENAME" in change else "no statement takes labels") in drift["mend"]
    assert check(busbar, "--adopt", status=1).stdout.count("values of enum type") >= 1


def test_adopted_as_a_migration(busbar, ledger):
    """What clients can follow, of several tables, in one migration; the proof has its say."""
    before = len(ledger.versions)
    unseen(ledger, "ALTER TABLE items ADD COLUMN extra text", "CREATE INDEX other_name ON other (lower(name))",
           "ALTER TABLE other ADD COLUMN more int8", "CREATE TYPE mood AS ENUM ('happy')", "ALTER TABLE other ADD COLUMN m mood")
    assert len(found(busbar, ledger)) == 2
    adopted = check(busbar, "--adopt", status=0)
    assert "recorded" in adopted.stdout, adopted.stdout
    assert len(ledger.versions) == before + 1
    sql = migrations(busbar.http_port)[-1].sql
    for piece in ('ADD COLUMN "extra"', 'ADD COLUMN "more"', 'ADD COLUMN "m"', '"other_name"'):
        assert piece in sql, sql
    ledger.consistent()
    look_again(busbar, ledger)
    wait_until(lambda: health(busbar)["drift"] == [], "the drift to be gone")
    assert "nothing" in check(busbar, "--adopt", status=0).stdout or len(ledger.versions) == before + 1


def test_sqlite_has_its_say(busbar, ledger):
    """A column that differs from another in case alone: refused, nothing recorded."""
    versions = ledger.versions
    unseen(ledger, 'ALTER TABLE other ADD COLUMN "NAME" text')
    assert "SQLite cannot apply" in check(busbar, "--adopt", status=1).stdout
    assert ledger.versions == versions and ledger.remembered["other"] == ["id", "name"]
    unseen(ledger, 'ALTER TABLE other DROP COLUMN "NAME"')
    assert check(busbar, "--adopt", status=0)


def test_json(busbar, ledger):
    unseen(ledger, "ALTER TABLE items DROP COLUMN amount")
    report = json.loads(check(busbar, "--json", status=1).stdout)
    assert report["ok"] is False
    drift = [c for c in report["checks"] if c["name"] == "drift"]
    assert len(drift) == 1 and drift[0]["state"] == "fault" and "amount" in drift[0]["text"] and "ADD COLUMN" in drift[0]["mend"]


def start_again(make_busbar, cluster, database):
    again = make_busbar(cluster.url(database), dbname=database)
    again.wait_log("indexes made or dropped beside the history are recorded")
    wait_until(lambda: health(again)["drift"] == [], "no drift")
    return again


@pytest.mark.parametrize("statement, remembered", [
    ("CREATE INDEX CONCURRENTLY cut_off ON items (lower(name))", ["cut_off", "items_name"]),
    ("DROP INDEX CONCURRENTLY items_name", []),
])
def test_an_index_cut_off_from_its_capture(make_busbar, cluster, database, ledger, busbar, statement, remembered):
    """Busbar is killed between the statement and its record, which a lock of ours holds up: the next start records it."""
    before = len(ledger.versions)
    wire = busbar.wire()
    with cluster.connect(database, autocommit=False) as holder:
        holder.execute("SELECT FROM busbar.electrified FOR UPDATE")
        wire.send(p.query(statement))
        wait_until(lambda: ledger.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%busbar.reconcile()%'"
                                        " AND wait_event_type = 'Lock' AND datname = current_database()"), "reconcile() to wait")
        assert len(ledger.versions) == before
        busbar.kill()
    wire.close()
    again = start_again(make_busbar, cluster, database)
    assert ledger.remembered_indexes["items"] == remembered and len(ledger.versions) == before + 1
    assert ("cut_off" if "CREATE" in statement else "DROP INDEX") in migrations(again.http_port)[-1].sql
    ledger.consistent()


def test_a_restored_dump(make_busbar, cluster, database, busbar, ledger):
    """pg_dump and pg_restore give every table another oid: nothing is lost, and the guard knows them again."""
    with busbar.wire() as wire:
        wire.query("ALTER TABLE items ADD COLUMN later text").ok()
    ledger.execute("CREATE TABLE filler (id int); DROP TABLE filler")
    dump = subprocess.run(["pg_dump", "-h", cluster.host, "-p", str(cluster.port), "-U", "postgres", database],
                          env=clean_environment(), capture_output=True, check=True, timeout=60).stdout
    copy = cluster.create_database()
    cluster.used.append(copy)
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", cluster.host, "-p", str(cluster.port), "-U", "postgres", copy],
                   env=clean_environment(), input=dump, capture_output=True, check=True, timeout=60)
    restored = make_busbar(cluster.url(copy), dbname=copy)
    there = Ledger(cluster, copy)
    try:
        wait_until(lambda: not there.column("SELECT relid FROM busbar.electrified e WHERE NOT EXISTS"
                                            " (SELECT FROM pg_class c WHERE c.oid = e.relid AND c.relname = e.table_name)"), "the tables")
        assert health(restored)["drift"] == []
        with restored.wire() as wire:
            wire.query("ALTER TABLE items ADD COLUMN after text").ok()
            assert wire.query("ALTER TABLE items DROP COLUMN name").error["C"] == "EX010"
        assert [m.version for m in migrations(restored.http_port)][:-1] == [m.version for m in migrations(busbar.http_port)]
        with pytest.raises(Exception) as refused:
            there.execute("ALTER TABLE items ADD COLUMN outside text")
        assert refused.value.sqlstate == "UB002"
        there.consistent()
    finally:
        there.close()


def test_under_maintenance_the_guard_lets_the_owner(busbar, ledger):
    """What it lets through outside the proxy is found as drift; in the proxy it changes nothing."""
    ledger.execute("SET busbar.maintenance = 'on'")
    ledger.execute("ALTER TABLE items ADD COLUMN beside text")
    ledger.execute("RESET busbar.maintenance")
    [drift] = found(busbar, ledger)
    assert "column beside was added" in drift["difference"]
    with busbar.wire() as wire:
        wire.query("SET busbar.maintenance = 'on'").ok()
        assert wire.query("ALTER TABLE other DROP COLUMN name").error["C"] == "EX010"
        wire.query("ALTER TABLE other ADD COLUMN captured text").ok()
    assert ledger.remembered["other"] == ["id", "name", "captured"]
