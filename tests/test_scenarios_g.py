# SPDX-License-Identifier: Apache-2.0
"""Scenarios G, versions: spec/scenarios-proxy.md 81–84, 86–91 and what lies between them (85 is in
test_frameworks.py).

Whole runs of migration tools are in test_frameworks.py, Ecto's in test_traces.py.
"""

import re

import pytest

from harness import protocol as p
from harness.electric import GENERATED
from harness.web import migrations

ECTO = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0))"


def run(wire, *statements):
    return [wire.query(sql).ok() for sql in statements]


def explicit_version(busbar, ledger, *statements):
    with busbar.wire() as wire:
        answers = run(wire, "BEGIN", *statements, "COMMIT")
        assert "CALL" in [a.tags[0] for a in answers]
    assert ledger.versions == [("20230504114018", 32767)]
    assert [m.version for m in migrations(busbar.http_port)] == ["20230504114018"]
    assert "migration recorded version=20230504114018\n" in busbar.log()


VERSION = "CALL electric.migration_version('20230504114018')"
TABLE = ["CREATE TABLE mtable1 (id text PRIMARY KEY)", "ALTER TABLE mtable1 ENABLE ELECTRIC"]


def test_81_explicit_version(busbar, ledger):
    """Before the DDL; priority 32767; tag CALL."""
    explicit_version(busbar, ledger, VERSION, *TABLE)


def test_82_explicit_version_at_the_end(busbar, ledger):
    """Behind the DDL."""
    explicit_version(busbar, ledger, *TABLE, VERSION)


def test_83_priorities(busbar, ledger):
    """Only a strictly higher one replaces the version of what is recorded already."""
    ledger.execute("CREATE TABLE t (id text PRIMARY KEY)")
    with ledger.connection.transaction():
        ledger.execute("CALL electric.electrify('t')")
        found = ledger.version_names
        for version, priority in (("1111", 0), ("1111", 1), ("2222", 2), ("3333", 2), ("4444", 8)):
            ledger.execute("SELECT busbar.claim_version(%s, %s)", version, priority)
            found += ledger.version_names
    assert GENERATED.match(found[0]) and found[1:] == [found[0], "1111", "2222", "2222", "4444"]
    assert ledger.versions == [("4444", 8)]


@pytest.mark.parametrize("claims", range(1, 6))
def test_83_priorities_before_the_record(busbar, ledger, claims):
    """The same of what is asked for while the migration is still pending; a version asked for beats a generated one."""
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN", "ALTER TABLE t ENABLE ELECTRIC")
        for version, priority in [("0000", 0), ("1111", 1), ("2222", 2), ("3333", 2), ("4444", 8)][:claims]:
            run(wire, f"SELECT busbar.claim_version('{version}', {priority})")
        run(wire, "COMMIT")
    assert ledger.versions == [[("0000", 0), ("1111", 1), ("2222", 2), ("2222", 2), ("4444", 8)][claims - 1]]


def test_82_the_last_explicit_version_does_not_replace_the_first(busbar, ledger):
    """A version is replaced by one of strictly higher priority only."""
    with busbar.wire() as wire:
        run(wire, "BEGIN", "CREATE TABLE t (id text PRIMARY KEY)", "ALTER TABLE t ENABLE ELECTRIC", "CALL electric.migration_version('1234')",
            "CALL electric.migration_version('5678')", "COMMIT")
    assert len(ledger.versions) == 1 and ledger.version_names[0] in ("1234", "5678")


def test_82_explicit_version_beats_the_framework(busbar, ledger):
    """What somebody wrote down wins over what was found out."""
    with busbar.wire() as wire:
        run(wire, ECTO, "BEGIN", "CREATE TABLE t (id text PRIMARY KEY)", "ALTER TABLE t ENABLE ELECTRIC", "INSERT INTO schema_migrations VALUES (20240101000001, now())",
            "CALL electric.migration_version('mine')", "COMMIT")
    assert ledger.version_names == ["mine"]


def test_82_in_one_query_and_extended(busbar, ledger):
    """Within one simple Query, and as prepared statements."""
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE t (id text PRIMARY KEY); CALL electric.migration_version('one'); ALTER TABLE t ENABLE ELECTRIC")
        wire.query("BEGIN").ok()
        assert wire.extended("CALL electric.migration_version($1)", ["two"]).ok().tags == ["CALL"]
        wire.extended("ALTER TABLE t ADD COLUMN a text").ok()
        wire.extended("COMMIT").ok()
    assert ledger.version_names == ["one", "two"]


def test_version_alone_is_no_migration(busbar, ledger):
    """A version without a captured change: clients get nothing."""
    with busbar.wire() as wire:
        run(wire, "BEGIN", "CALL electric.migration_version('empty')", "CREATE TABLE closed (id text)", "COMMIT")
    assert ledger.ddl == [] and migrations(busbar.http_port) == []


@pytest.mark.parametrize("how", ["simple", "text", "binary", "several", "before"])
def test_84_ecto_version(busbar, ledger, how):
    """The row that this transaction wrote, whatever the protocol, the format and the order."""
    with busbar.wire() as wire:
        run(wire, ECTO, "CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO schema_migrations VALUES (1, now())", "BEGIN")
        if how != "before":
            wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        insert = "INSERT INTO schema_migrations (version, inserted_at) VALUES ($1, now())"
        if how in ("simple", "before"):
            wire.query(insert.replace("$1", "20230904162657")).ok()
        elif how == "several":
            wire.query("INSERT INTO schema_migrations (inserted_at, version) VALUES (now(), 20230904162656), (now(), 20230904162657)").ok()
        else:
            value = (20230904162657).to_bytes(8, "big") if how == "binary" else "20230904162657"
            wire.send(p.parse("", insert) + p.bind("", "", [value], [1 if how == "binary" else 0]) + p.execute() + p.sync()).result().ok()
        if how == "before":
            wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("COMMIT").ok()
    assert ledger.version_names == ["20230904162657"]


ATDATABASES = ("CREATE TABLE atdatabases_migrations_applied (id BIGSERIAL NOT NULL PRIMARY KEY, index INTEGER NOT NULL, name TEXT NOT NULL,"
               " script TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL, ignored_error TEXT NULL, obsolete BOOLEAN NOT NULL)")


def atdatabases(wire, index, sql, apart=False):
    """One migration as @databases/pg-migrations sends it; with its Sync in a packet of its own if wanted."""
    insert = "INSERT INTO atdatabases_migrations_applied (index, name, script, applied_at, obsolete) VALUES ($1, $2, $3, $4, false)"
    run(wire, "BEGIN", sql)
    wire.send(p.parse("", insert) + p.bind("", "", [str(index), f"{index}.sql", sql, "2024-01-01"]) + p.describe("P", "") + p.execute())
    if apart:
        wire.send(p.flush())
        wire.read_until("C")
    wire.send(p.sync()).result().ok()
    run(wire, "COMMIT")


@pytest.mark.parametrize("apart", [False, True])
def test_86_atdatabases(busbar, ledger, apart):
    """The index is the version, however the batch is cut."""
    with busbar.wire() as wire:
        run(wire, ATDATABASES, "CREATE TABLE t (id text PRIMARY KEY)")
        atdatabases(wire, 99, "ALTER TABLE t ENABLE ELECTRIC", apart)
    assert ledger.versions == [("99", 4)]


def test_90_nine_comes_before_ten(busbar, ledger):
    """The order is that of commit, also for who asks for what comes after 9."""
    with busbar.wire() as wire:
        run(wire, ATDATABASES, "CREATE TABLE t (id text PRIMARY KEY)")
        atdatabases(wire, 9, "ALTER TABLE t ENABLE ELECTRIC")
        atdatabases(wire, 10, "ALTER TABLE t ADD COLUMN a text")
    assert [m.version for m in migrations(busbar.http_port)] == ["9", "10"]
    assert [m.version for m in migrations(busbar.http_port, version="9")] == ["10"]


def test_87_framework_row_without_a_captured_change(busbar, ledger):
    """No version; and it does not stick to the next migration of the connection."""
    with busbar.wire() as wire:
        run(wire, ECTO, "BEGIN", "CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO schema_migrations VALUES (20230904162657, now())", "COMMIT")
        assert ledger.versions == []
        run(wire, "ALTER TABLE t ENABLE ELECTRIC")
    assert GENERATED.match(ledger.version_names[0])


def test_88_rails(busbar, ledger):
    """Rails' own table has one column: forwarded, and its version is taken."""
    with busbar.wire() as wire:
        run(wire, 'CREATE TABLE "schema_migrations" ("version" character varying NOT NULL PRIMARY KEY)', "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN",
            "ALTER TABLE t ENABLE ELECTRIC", """INSERT INTO "schema_migrations" ("version") VALUES ('20230915')""", "COMMIT")
    assert ledger.versions == [("20230915", 4)]


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_89_version_used_twice(busbar, ledger, protocol):
    """23505 migration_unique_version, as soon as it is known and at COMMIT at the latest; undone, the session usable."""
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN", "CALL electric.migration_version('0001')", "ALTER TABLE t ENABLE ELECTRIC", "COMMIT")
        run(wire, "BEGIN", "ALTER TABLE t ADD COLUMN a text")
        answers = [getattr(wire, protocol)("CALL electric.migration_version('0001')"), getattr(wire, protocol)("COMMIT")]
        error = next(a for a in answers if a.errors).error
        assert error["C"] == "23505" and error["n"] == "migration_unique_version" and answers[-1].status == "I"
        assert wire.value("SELECT 1") == "1"
    assert ledger.version_names == ["0001"] and ledger.columns("t") == ["id"]
    ledger.consistent()


def test_89_version_taken_in_the_meantime(busbar, ledger):
    """Two open transactions choose the same version: the one that commits second fails."""
    with busbar.wire() as one, busbar.wire() as two:
        run(one, "CREATE TABLE t (id text PRIMARY KEY); CREATE TABLE u (id text PRIMARY KEY)", "ALTER TABLE t ENABLE ELECTRIC", "ALTER TABLE u ENABLE ELECTRIC")
        for wire, table in ((one, "t"), (two, "u")):
            run(wire, "BEGIN", f"ALTER TABLE {table} ADD COLUMN a text", "CALL electric.migration_version('same')")
        run(two, "COMMIT")
        answer = one.query("COMMIT")
        assert answer.error["C"] == "23505" and answer.status == "I"
    assert ledger.version_names[2:] == ["same"] and ledger.columns("t") == ["id"] and ledger.columns("u") == ["id", "a"]
    ledger.consistent()


def test_91_many_versions_in_a_moment(busbar, ledger):
    """Generated versions never collide and never run backwards, from several sessions at once."""
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE t0 (id text PRIMARY KEY); CREATE TABLE t1 (id text PRIMARY KEY); CREATE TABLE t2 (id text PRIMARY KEY)")
        for n in range(3):
            run(wire, f"ALTER TABLE t{n} ENABLE ELECTRIC")
    wires = [busbar.wire() for _ in range(3)]
    for step in range(5):
        for n, wire in enumerate(wires):
            wire.send(p.query(f"ALTER TABLE t{n} ADD COLUMN c{step} text"))
        for wire in wires:
            wire.result().ok()
    for wire in wires:
        wire.close()
    names = ledger.version_names
    assert len(names) == len(set(names)) == 18 and all(re.fullmatch(r"\d{14}_\d{6,}", name) for name in names)
    assert names == sorted(names)
    ledger.consistent()


INSERT = "INSERT INTO schema_migrations VALUES (7, now())"


@pytest.mark.parametrize("how", ["prepare", "copy", "function", "savepoint", "update", "schema"])
def test_84_however_the_row_is_written(busbar, ledger, how):
    """SQL-level PREPARE, COPY, a function, within a savepoint, an UPDATE, another schema."""
    with busbar.wire() as wire:
        run(wire, ECTO, "INSERT INTO schema_migrations VALUES (1, now())", "CREATE SCHEMA tools", ECTO.replace("TABLE ", "TABLE tools."),
            f"CREATE FUNCTION note() RETURNS void LANGUAGE sql AS $$ {INSERT} $$", "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN", "ALTER TABLE t ENABLE ELECTRIC")
        if how == "copy":
            wire.send(p.query("COPY schema_migrations FROM STDIN") + p.copy_data(b"7\t2024-01-01\n") + p.copy_done()).result().ok()
        else:
            run(wire, *{"prepare": [f"PREPARE s AS {INSERT.replace('7', '$1')}", "EXECUTE s (7)"], "function": ["SELECT note()"],
                        "savepoint": ["SAVEPOINT a", INSERT, "RELEASE a", "SAVEPOINT b", INSERT.replace("7", "8"), "ROLLBACK TO b"],
                        "update": ["UPDATE schema_migrations SET version = 7"], "schema": [INSERT.replace("INTO ", "INTO tools.")]}[how])
        run(wire, "COMMIT")
    assert ledger.versions == [("7", 4)]


def test_89_repeated_framework_versions(busbar, ledger):
    """Two tools with version 1, a migration run again, versions that go back: each has a label of its own, in the order of commit."""
    with busbar.wire() as wire:
        run(wire, ECTO, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)", "CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC")
        run(wire, "BEGIN", "ALTER TABLE t ADD COLUMN a text", INSERT.replace("7", "10"), "COMMIT")
        run(wire, "BEGIN", "ALTER TABLE t ADD COLUMN b text", INSERT.replace("7", "1"), "COMMIT")
        run(wire, "BEGIN", "ALTER TABLE t ADD COLUMN c text", "INSERT INTO alembic_version VALUES ('1')", "COMMIT")
        run(wire, "DELETE FROM schema_migrations", "BEGIN", "ALTER TABLE t ADD COLUMN d text", INSERT.replace("7", "1"), "COMMIT")
    assert ledger.version_names[1:] == ["10", "1", "1_2", "1_3"]
    assert [m.version for m in migrations(busbar.http_port)] == ledger.version_names
    assert ledger.execute("SELECT version, framework, tool_version FROM electric.migration_sources").fetchall() == [
        ("10", "Ecto", "10"), ("1", "Ecto", "1"), ("1_2", "Alembic", "1"), ("1_3", "Ecto", "1")]
    ledger.consistent()


def test_89_framework_versions_of_two_sessions(busbar, ledger):
    """Both open at once: neither fails."""
    with busbar.wire() as one, busbar.wire() as two:
        run(one, ECTO.replace("PRIMARY KEY", ""), "CREATE TABLE t (id text PRIMARY KEY)", "CREATE TABLE u (id text PRIMARY KEY)")
        for wire, table in ((one, "t"), (two, "u")):
            run(wire, f"ALTER TABLE {table} ENABLE ELECTRIC", "BEGIN", f"ALTER TABLE {table} ADD COLUMN a text", INSERT)
        run(two, "COMMIT")
        run(one, "COMMIT")
    assert ledger.version_names[2:] == ["7", "7_2"]


def test_a_tool_of_ones_own(busbar, ledger):
    """A row in busbar.framework; one with a mistake is reported and stops nothing."""
    ledger.execute("INSERT INTO busbar.framework (name, table_name, columns, version, label) VALUES"
                   " ('ours', 'our_steps', '{number,title}', $$'v' || number$$, 'title'), ('broken', 'their_steps', '{id}', 'number_of(id)', NULL)")
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE our_steps (number int, title text)", "CREATE TABLE their_steps (id int)", "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN",
            "ALTER TABLE t ENABLE ELECTRIC", "INSERT INTO our_steps VALUES (1, 'first')", "INSERT INTO their_steps VALUES (1)")
        answer = wire.query("COMMIT").ok()
        assert any("versions of broken cannot be read from table public.their_steps" in notice["M"] for notice in answer.notices)
    assert ledger.version_names == ["v1"]
    assert ledger.execute("SELECT framework, tool_version, name FROM electric.migration_sources").fetchall() == [("ours", "v1", "first")]


@pytest.mark.parametrize("table", ["CREATE TEMP TABLE alembic_version (version_num text)", "CREATE TABLE alembic_version (version_num odd.kind)",
                                   "CREATE TABLE alembic_version (version_num text); ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY"])
def test_tables_that_are_not_read(busbar, ledger, table):
    """What would run somebody's code with the owner's rights, or is gone tomorrow."""
    with busbar.wire() as wire:
        run(wire, "CREATE SCHEMA odd", "CREATE DOMAIN odd.kind AS text", table, "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN", "ALTER TABLE t ENABLE ELECTRIC",
            "INSERT INTO alembic_version VALUES ('7')", "COMMIT")
    assert GENERATED.match(ledger.version_names[0])


def test_version_of_the_session(busbar, ledger):
    """SET busbar.migration_version, outside a transaction and until RESET; CALL electric.migration_version beats it."""
    with busbar.wire() as wire:
        run(wire, "SET busbar.migration_version = '0001_t'", "CREATE TABLE t (id text PRIMARY KEY)", "ALTER TABLE t ENABLE ELECTRIC", "ALTER TABLE t ADD COLUMN a text",
            "BEGIN", "CALL electric.migration_version('mine')", "ALTER TABLE t ADD COLUMN b text", "COMMIT", "RESET busbar.migration_version", "ALTER TABLE t ADD COLUMN c text")
    assert ledger.version_names[:3] == ["0001_t", "0001_t_2", "mine"] and GENERATED.match(ledger.version_names[3])


def test_very_long_and_empty_versions(busbar, ledger):
    """A name is cut, an empty one is none."""
    with busbar.wire() as wire:
        run(wire, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN", "ALTER TABLE t ENABLE ELECTRIC",
            "INSERT INTO alembic_version VALUES (repeat('9', 100000))", "COMMIT", "BEGIN", "ALTER TABLE t ADD COLUMN a text", "UPDATE alembic_version SET version_num = ''", "COMMIT")
    assert ledger.version_names[0] == "9" * 200 and GENERATED.match(ledger.version_names[1])
