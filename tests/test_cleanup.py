# SPDX-License-Identifier: Apache-2.0
"""busbar cleanup: what is left in the database when the service is gone; and what busbar check says about it."""

import subprocess

import psycopg
import pytest

from harness.busbar import binary
from harness.process import clean_environment

SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"


def cleanup(url, **options):
    done = subprocess.run([binary(), "cleanup"], env=clean_environment(DATABASE_URL=url, **options), capture_output=True, text=True,
                          timeout=60, check=False)
    assert "Sanitizer" not in done.stderr, done.stderr
    return done


@pytest.fixture
def slot(cluster, database):
    """The name of the slot, made as the service names it."""
    name = "electric_replication_out_" + database.lower()
    with cluster.connect(database) as conn:
        if not conn.execute(SLOTS).fetchall():
            conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
    yield name
    with cluster.connect(database) as conn:
        conn.execute("SELECT pg_drop_replication_slot(slot_name) FROM (" + SLOTS + " AND NOT active) s")


def test_removes_slot_and_publication(cluster, database, busbar, slot):
    busbar.stop()
    done = cleanup(cluster.url(database))
    assert done.returncode == 0, done.stderr
    assert f"dropped replication slot {slot}, which kept " in done.stdout and "dropped publication electric_publication" in done.stdout
    with cluster.connect(database) as conn:
        assert conn.execute(SLOTS).fetchall() == []
        assert conn.execute("SELECT FROM pg_publication").fetchall() == []
        assert conn.execute("SELECT count(*) FROM busbar.migration").fetchone() == (0,), "the history stays"
    done = cleanup(cluster.url(database))
    assert done.returncode == 0 and done.stdout == "there is no replication slot\nthere is no publication electric_publication\n"
    busbar.start()
    with cluster.connect(database) as conn:
        published = conn.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'electric_publication' ORDER BY 1").fetchall()
    assert published == [("command",), ("migration",)]


def test_refuses_while_the_slot_is_used(cluster, database, busbar, slot):
    """The service streams: nothing is dropped, and it goes on."""
    done = cleanup(cluster.url(database))
    assert done.returncode == 1 and f"replication slot {slot} is in use" in done.stderr and done.stdout == ""
    with cluster.connect(database) as conn:
        assert conn.execute(SLOTS + " AND active").fetchall() == [(slot,)]
        assert len(conn.execute("SELECT FROM pg_publication").fetchall()) == 1
    busbar.stop()


def test_needs_only_the_database(cluster, database):
    """Nothing of the proxy has to be set; what is wrong is said."""
    assert cleanup(cluster.url(database)).returncode == 0
    done = cleanup(None)
    assert done.returncode == 1 and "DATABASE_URL" in done.stdout + done.stderr and "PG_PROXY_PASSWORD" not in done.stdout + done.stderr
    done = cleanup("postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 1 and done.stderr.startswith("busbar cleanup: ") and done.stdout == ""


def test_a_role_that_may_not(cluster, database, busbar, slot):
    """The slot is not the role's to drop: the refusal is PostgreSQL's."""
    busbar.stop()
    with cluster.connect(database) as conn:
        if not conn.execute("SELECT FROM pg_roles WHERE rolname = 'pauper'").fetchone():
            conn.execute("CREATE ROLE pauper LOGIN")
    url = cluster.url(database).replace("postgres@", "pauper@")
    done = cleanup(url)
    assert done.returncode == 1 and "replication" in done.stderr and done.stdout == "", done
    with cluster.connect(database) as conn:
        assert conn.execute(SLOTS).fetchall() == [(slot,)]


def test_the_publication_comes_back(cluster, database, busbar):
    """Dropped by hand, it is whole again after a start; so is one that a table was taken out of."""
    wanted = [("busbar", "command"), ("busbar", "migration"), ("public", "items"), ("public", "others")]
    query = "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'electric_publication' ORDER BY 1, 2"
    with busbar.wire() as wire:
        for table in ("items", "others"):
            wire.query(f"CREATE TABLE {table} (id text PRIMARY KEY); ALTER TABLE {table} ENABLE ELECTRIC").ok()
    with cluster.connect(database) as conn:
        assert conn.execute(query).fetchall() == wanted
        for harm in ("DROP PUBLICATION electric_publication", "ALTER PUBLICATION electric_publication DROP TABLE others, busbar.command"):
            busbar.stop()
            conn.execute("SET busbar.maintenance = 'on'")
            conn.execute(harm)
            busbar.start()
            assert conn.execute(query).fetchall() == wanted
        before = conn.execute("SELECT oid, xmin FROM pg_publication").fetchall(), conn.execute("SELECT oid FROM pg_publication_rel ORDER BY 1").fetchall()
        busbar.stop()
        busbar.start()  # and nothing is done where nothing is wrong
        assert before == (conn.execute("SELECT oid, xmin FROM pg_publication").fetchall(),
                          conn.execute("SELECT oid FROM pg_publication_rel ORDER BY 1").fetchall())
        with busbar.wire() as wire:
            wire.query("ALTER TABLE others DISABLE ELECTRIC").ok()
        assert conn.execute(query).fetchall() == wanted[:3]


@pytest.mark.parametrize("setting", ["wal_status", "retained WAL", "replication slot"])
def test_check_shows_the_slot(cluster, database, slot, setting):
    done = subprocess.run([binary(), "check"], env=clean_environment(DATABASE_URL=cluster.url(database), PG_PROXY_PASSWORD="x", AUTH_MODE="insecure"),
                          capture_output=True, text=True, timeout=60, check=True)
    found = [line for line in done.stdout.splitlines() if line.split(None, 1)[1].startswith(setting + ":")]
    assert len(found) == 1, done.stdout
    assert {"wal_status": "is reserved", "retained WAL": " ", "replication slot": f"{slot} is not in use"}[setting] in found[0]


def test_the_history_is_streamed_whole(cluster, database, busbar):
    """What TOAST holds and an update left alone is in the old row."""
    with cluster.connect(database) as conn:
        assert conn.execute("SELECT bool_and(relreplident = 'f') FROM pg_class"
                            " WHERE oid IN ('busbar.migration'::regclass, 'busbar.command'::regclass)").fetchone() == (True,)


def test_a_slot_of_another_database_stays(cluster, database, slot):
    other = database + "_other"
    with cluster.connect() as conn:
        conn.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(other)))
    try:
        done = cleanup(cluster.url(other))
        assert done.returncode == 0 and "there is no replication slot" in done.stdout
        with cluster.connect(database) as conn:
            assert conn.execute(SLOTS).fetchall() == [(slot,)]
    finally:
        with cluster.connect() as conn:
            conn.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(other)))
