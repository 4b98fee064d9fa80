# SPDX-License-Identifier: Apache-2.0
"""Scenarios C, DDL on tables that are not electrified: spec/scenarios-proxy.md 28–31. It succeeds and leaves no record."""

import pytest

from harness import protocol as p


def test_28_create_table(busbar, ledger):
    """The client sees one tag and ReadyForQuery(I); whatever transaction was made for it stays hidden."""
    with busbar.wire() as wire:
        answer = wire.query('CREATE TABLE "doorbells" ("another" int4)').ok()
        assert (answer.kinds, answer.tags, answer.status) == ("CZ", ["CREATE TABLE"], "I")
        assert answer.notices == []
    assert ledger.columns("doorbells") == ["another"]
    assert ledger.ddl == [] and ledger.versions == []


def test_28_failing_ddl_leaves_nothing_open(busbar, ledger):
    """The hidden transaction is rolled back, the error is PostgreSQL's, and no stray tag follows."""
    with busbar.wire() as wire:
        for _ in range(2):
            answer = wire.query("CREATE TABLE broken (id int4, id int4)")
            assert answer.error["C"] == "42701" and answer.kinds == "EZ" and answer.status == "I"
            answer = wire.extended("CREATE TABLE broken (id int4, id int4)")
            assert answer.error["C"] == "42701" and answer.status == "I" and answer.tags == []
        assert wire.query("SELECT 1").ok().kinds == "TDCZ"
    assert ledger.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%%'") == 0


@pytest.mark.transparent
def test_29_create_table_in_the_groups_of_ecto(endpoint):
    """[Parse, Describe, Flush], then [Bind, Execute, Close, Sync]."""
    with endpoint.wire() as wire:
        sql = 'CREATE TABLE IF NOT EXISTS "schema_migrations" ("version" bigint, "inserted_at" timestamp(0), PRIMARY KEY ("version"))'
        for notices in (0, 1):
            wire.send(p.parse("", sql) + p.describe("S", "") + p.flush())
            assert "".join(m.kind for m in wire.read_until("n")) == "1tn"
            wire.send(p.bind("", "") + p.execute() + p.close("S", "") + p.sync())
            answer = wire.result().ok()
            assert answer.kinds == "2C3Z" and answer.tags == ["CREATE TABLE"] and answer.status == "I"
            assert [n["C"] for n in answer.notices] == ["42P07"] * notices  # already exists, skipping


@pytest.mark.transparent
def test_29_create_table_in_one_group(endpoint):
    """[Parse, Bind, Describe, Execute, Sync] and a parameterless statement executed from a named portal."""
    with endpoint.wire() as wire:
        answer = wire.extended("CREATE TABLE one (id int4)").ok()
        assert (answer.kinds, answer.tags, answer.status) == ("12nCZ", ["CREATE TABLE"], "I")
        wire.send(p.parse("make", "CREATE TABLE two (id int4)") + p.sync())
        assert wire.result().kinds == "1Z"
        wire.send(p.bind("door", "make") + p.describe("P", "door") + p.execute("door") + p.close("P", "door") + p.sync())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags, answer.status) == ("2nC3Z", ["CREATE TABLE"], "I")
        assert wire.query("SELECT * FROM one, two").ok().rows == []


UNDERWEAR = ["ALTER TABLE underwear ADD COLUMN dirty bool", "ALTER TABLE underwear RENAME COLUMN dirty TO clean",
             "ALTER TABLE underwear ALTER COLUMN clean SET NOT NULL", "ALTER TABLE underwear DROP COLUMN clean",
             "CREATE INDEX underwear_idx ON underwear (size)", "ALTER INDEX underwear_idx RENAME TO underwear_index",
             "DROP INDEX underwear_index", "ALTER TABLE underwear RENAME TO pants", "DROP TABLE pants"]


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_30_everything_is_allowed(busbar, truths, protocol):
    """With another table electrified: all succeed, nothing is captured, no notice."""
    with busbar.wire() as wire:
        for sql in UNDERWEAR:
            answer = getattr(wire, protocol)(sql).ok()
            assert answer.tags == [" ".join(sql.split()[:2])] and answer.status == "I"
            assert answer.notices == []
    assert (len(truths.ddl), len(truths.versions)) == truths.before


def test_30_in_a_transaction_and_rolled_back(busbar, truths):
    """ROLLBACK undoes it; no record either way."""
    with busbar.wire() as wire:
        for end in ("ROLLBACK", "COMMIT"):
            wire.query("BEGIN").ok()
            for sql in UNDERWEAR:
                assert wire.query(sql).ok().status == "T"
            assert wire.query(end).ok().tags == [end]
            assert truths.exists("public.underwear") == (end == "ROLLBACK")
    assert (len(truths.ddl), len(truths.versions)) == truths.before


def test_31_unsupported_type_on_a_closed_table(busbar, truths):
    """The rules are for electrified tables only."""
    with busbar.wire() as wire:
        wire.query("ALTER TABLE socks ADD COLUMN ip cidr").ok()
        wire.query("ALTER TABLE socks ADD COLUMN n numeric(4, 2) DEFAULT 1 CHECK (n > 0) UNIQUE").ok()
    assert truths.columns("socks") == ["id", "colour", "ip", "n"]
    assert (len(truths.ddl), len(truths.versions)) == truths.before


def test_ddl_elsewhere_by_a_direct_connection(truths):
    """The guard minds electrified tables only: others may be changed straight in PostgreSQL."""
    truths.execute("ALTER TABLE socks ADD COLUMN size int4")
    truths.execute("CREATE TABLE elsewhere (id int4)")
    truths.execute("DROP TABLE elsewhere, underwear")
    assert (len(truths.ddl), len(truths.versions)) == truths.before


def test_temporary_tables_and_create_table_as(busbar, truths):
    """Kinds of table creation that tools use within a session."""
    with busbar.wire() as wire:
        wire.query("CREATE TEMP TABLE scratch (id int4)").ok()
        wire.query("CREATE TEMP TABLE truths (shadow int4)").ok()  # hides the electrified one by the search path
        wire.query("ALTER TABLE truths DROP COLUMN shadow").ok()
        wire.query("DROP TABLE pg_temp.truths").ok()
        assert wire.query("CREATE TABLE copied AS SELECT * FROM public.truths").ok().tags == ["SELECT 0"]
        assert wire.query("SELECT * INTO copied2 FROM public.truths").ok().tags == ["SELECT 0"]
        assert wire.query("CREATE TABLE liked (LIKE public.truths INCLUDING ALL)").ok().tags == ["CREATE TABLE"]
    assert (len(truths.ddl), len(truths.versions)) == truths.before
