# SPDX-License-Identifier: Apache-2.0
"""A hosted database: its user is no superuser, so there are no event triggers. The proxy looks before each COMMIT."""

import psycopg
import pytest

from harness.electric import GENERATED
from harness.web import get, migrations

OWNER = "hosted"
TABLES = """
CREATE TABLE items (id uuid PRIMARY KEY, name text);
CREATE TABLE other (id uuid PRIMARY KEY, name text);
CREATE TABLE aside (id int PRIMARY KEY);
"""


@pytest.fixture
def hosted(cluster, database):
    """The database belongs to a role that may do nothing else."""
    with cluster.connect() as conn:
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
            conn.execute(f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
        conn.execute(f'ALTER DATABASE "{database}" OWNER TO {OWNER}')
    return cluster.url(database, user=OWNER)


@pytest.fixture
def busbar(make_busbar, hosted, database):
    busbar = make_busbar(hosted, dbname=database)
    with busbar.wire() as wire:
        wire.query(TABLES).ok()
        for table in ("items", "other"):
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    return busbar


def direct(cluster, database, sql):
    """What somebody does beside the proxy."""
    with cluster.connect(database, user=OWNER) as conn:
        conn.execute(sql)


def test_says_so_in_one_line(busbar):
    lines = [line for line in busbar.log().splitlines() if "event trigger" in line and "hidden:" not in line]
    assert len(lines) == 1 and "permission denied" in lines[0] and "superuser" in lines[0], lines
    health = get(busbar.http_port, "/api/health").json
    assert health["status"] == "ready" and health["postgres"]["guard"] is False and health["postgres"]["reason"]


@pytest.mark.parametrize("protocol", ["query", "extended"])
@pytest.mark.parametrize("block", [False, True], ids=["autocommit", "block"])
def test_add_column_is_captured(busbar, ledger, protocol, block):
    """Checked, proved and recorded as with the guard, under the client's own text."""
    before = len(ledger.versions)
    with busbar.wire() as wire:
        if block:
            getattr(wire, protocol)("BEGIN").ok()
        answer = getattr(wire, protocol)("ALTER TABLE items ADD COLUMN amount int4").ok()
        assert answer.tags == ["ALTER TABLE"]
        if block:
            assert getattr(wire, protocol)("COMMIT").ok().tags == ["COMMIT"]
        assert wire.value("SELECT 1") == "1"
    assert len(ledger.versions) == before + 1 and ledger.ddl[-1] == "ALTER TABLE items ADD COLUMN amount int4"
    assert 'ADD COLUMN "amount" INTEGER' in migrations(busbar.http_port)[-1].sql
    ledger.consistent()


def test_a_script_of_psql(busbar, ledger):
    """One migration, whatever is in it; each change is in it once."""
    before = len(ledger.versions)
    done = busbar.psql(script="""
        BEGIN;
        ALTER TABLE items ADD COLUMN a text;
        CREATE INDEX items_a ON items (a);
        SAVEPOINT s;
        ALTER TABLE items ADD COLUMN undone text;
        ROLLBACK TO s;
        DO $$ BEGIN ALTER TABLE other ADD COLUMN b text; END $$;
        CREATE TABLE unrelated (id int);
        CALL electric.migration_version('20240101');
        COMMIT;
    """)
    assert done.returncode == 0, done.stderr
    assert ledger.version_names[before:] == ["20240101"]
    assert ledger.remembered == {"items": ["id", "name", "a"], "other": ["id", "name", "b"]}
    sql = migrations(busbar.http_port)[-1].sql
    assert '"a"' in sql and '"items_a"' in sql and '"b"' in sql and "undone" not in sql
    ledger.consistent()


def test_ecto_keeps_its_version(busbar, ledger):
    with busbar.wire() as wire:
        wire.query("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0))").ok()
        wire.extended("BEGIN").ok()
        wire.extended("ALTER TABLE items ADD COLUMN by_ecto text").ok()
        wire.extended("INSERT INTO schema_migrations VALUES (20230504114018, now())").ok()
        wire.extended("COMMIT").ok()
    assert ledger.version_names[-1] == "20230504114018"


@pytest.mark.parametrize("statement, code", [
    ("ALTER TABLE items DROP COLUMN name", "EX010"),
    ("DO $$ BEGIN ALTER TABLE items DROP COLUMN name; END $$", "EX010"),
    ("DO $$ BEGIN DROP TABLE items; END $$", "EX004"),
    ("DO $$ BEGIN ALTER TABLE items RENAME TO things; END $$", "EX002"),
    ("DO $$ BEGIN ALTER TABLE items ADD CONSTRAINT c CHECK (name <> ''); END $$", "EX007"),
    ("ALTER TABLE items ADD COLUMN must text NOT NULL", "UB004"),
])
@pytest.mark.parametrize("block", [False, True], ids=["autocommit", "block"])
@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_what_clients_cannot_follow_is_refused(busbar, ledger, statement, code, block, protocol):
    """At the statement or at the COMMIT; nothing of it stays, and the session lives."""
    before = (ledger.versions, ledger.remembered)
    with busbar.wire() as wire:
        answers = [getattr(wire, protocol)(sql) for sql in (["BEGIN", statement, "COMMIT"] if block else [statement])]
        errors = [answer.error for answer in answers if answer.errors]
        assert errors and errors[0]["C"] == code, [a.error for a in answers if a.errors]
        wire.query("ROLLBACK")
        assert wire.value("SELECT count(*) FROM items") == "0"
    assert (ledger.versions, ledger.remembered) == before
    ledger.consistent()


def test_only_what_the_transaction_touched_counts(cluster, database, busbar, ledger):
    """Drift of another table does not stand in the way of a migration."""
    direct(cluster, database, "ALTER TABLE other DROP COLUMN name")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE items ADD COLUMN amount int4").ok()
        wire.query("CREATE TABLE unrelated (id int)").ok()
    assert ledger.remembered["items"] == ["id", "name", "amount"]


def test_two_phase_is_refused_with_a_change_only(busbar, ledger):
    with busbar.wire() as wire:
        for protocol in ("query", "extended"):
            wire.query("BEGIN").ok()
            wire.query("ALTER TABLE items ADD COLUMN t text").ok()
            assert getattr(wire, protocol)("PREPARE TRANSACTION 'x'").error["C"] == "0A000"
            wire.query("ROLLBACK")
    assert ledger.remembered["items"] == ["id", "name"]


def test_a_failed_transaction_rolls_back_as_ever(busbar, ledger):
    """COMMIT of a failed transaction is a ROLLBACK, not an error."""
    with busbar.wire() as wire:
        for protocol in ("query", "extended"):
            wire.query("BEGIN").ok()
            wire.query("ALTER TABLE items ADD COLUMN t text").ok()
            assert wire.query("SELECT 1/0").errors
            assert getattr(wire, protocol)("COMMIT").ok().tags == ["ROLLBACK"]
    ledger.consistent()


def test_index_concurrently(busbar, ledger):
    with busbar.wire() as wire:
        wire.query("CREATE INDEX CONCURRENTLY items_name ON items (name)").ok()
    assert ledger.remembered_indexes["items"] == ["items_name"]
    assert '"items_name"' in migrations(busbar.http_port)[-1].sql


def test_enum_of_an_electrified_column(busbar, ledger):
    """ALTER TYPE takes no lock on the table."""
    with busbar.wire() as wire:
        wire.query("CREATE TYPE mood AS ENUM ('happy', 'sad')").ok()
        wire.query("ALTER TABLE items ADD COLUMN m mood").ok()
        for change in ("RENAME VALUE 'sad' TO 'blue'", "RENAME TO feeling"):
            wire.query("BEGIN").ok()
            wire.query(f"ALTER TYPE mood {change}")
            assert wire.query("COMMIT").error["C"] == "EX009", change
    ledger.consistent()


def test_psycopg_with_its_own_transactions(busbar, ledger):
    with busbar.psycopg() as conn:
        conn.execute("ALTER TABLE items ADD COLUMN one text")
        conn.execute("CREATE INDEX items_one ON items (one)")
        conn.commit()
        with pytest.raises(psycopg.Error) as refused:
            conn.execute("DO $$ BEGIN ALTER TABLE items DROP COLUMN one; END $$")
            conn.commit()
        assert refused.value.sqlstate == "EX010"
    assert ledger.remembered["items"] == ["id", "name", "one"] and GENERATED.match(ledger.version_names[-1])
