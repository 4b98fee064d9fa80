# SPDX-License-Identifier: Apache-2.0
"""Scenarios G, versions: spec/scenarios-proxy.md 81, 82, 84, 87, 89, 91 and what lies between them.

Recognised are explicit versions and Ecto's; the other frameworks are a later issue. Ecto's whole runs are in test_traces.py.
"""

import re

import pytest

from harness import protocol as p
from harness.electric import GENERATED
from harness.web import migrations

ECTO = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0))"


def run(wire, *statements):
    return [wire.query(sql).ok() for sql in statements]


@pytest.mark.parametrize("first", [True, False])
def test_81_82_explicit_version(busbar, ledger, first):
    """Anywhere in the transaction, before or after the DDL; priority 32767; tag CALL."""
    call = "CALL electric.migration_version('20230504114018')"
    ddl = ["CREATE TABLE t (id text PRIMARY KEY)", "ALTER TABLE t ENABLE ELECTRIC"]
    with busbar.wire() as wire:
        answers = run(wire, "BEGIN", *([call, *ddl] if first else [*ddl, call]), "COMMIT")
        assert "CALL" in [a.tags[0] for a in answers]
    assert ledger.versions == [("20230504114018", 32767)]
    assert [m.version for m in migrations(busbar.http_port)] == ["20230504114018"]


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


def test_87_framework_row_without_a_captured_change(busbar, ledger):
    """No version; and it does not stick to the next migration of the connection."""
    with busbar.wire() as wire:
        run(wire, ECTO, "BEGIN", "CREATE TABLE t (id text PRIMARY KEY)", "INSERT INTO schema_migrations VALUES (20230904162657, now())", "COMMIT")
        assert ledger.versions == []
        run(wire, "ALTER TABLE t ENABLE ELECTRIC")
    assert GENERATED.match(ledger.version_names[0])


def test_88_rails(busbar, ledger):
    """Rails' own table has one column: forwarded, and whatever the version, no harm."""
    with busbar.wire() as wire:
        run(wire, 'CREATE TABLE "schema_migrations" ("version" character varying NOT NULL PRIMARY KEY)', "CREATE TABLE t (id text PRIMARY KEY)", "BEGIN",
            "ALTER TABLE t ENABLE ELECTRIC", """INSERT INTO "schema_migrations" ("version") VALUES ('20230915')""", "COMMIT")
    assert len(ledger.versions) == 1
    assert ledger.version_names[0] == "20230915" or GENERATED.match(ledger.version_names[0])


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
