# SPDX-License-Identifier: Apache-2.0
"""Scenarios D, ENABLE ELECTRIC: spec/scenarios-proxy.md 32–54.

Left out: shadow and tombstone tables, which Busbar does not have, and rows reaching clients (the sync service is a
later issue). Versions that nobody chose are UTC with six digits of fraction, the recommended form.
"""

import re
from datetime import datetime, timezone

import pytest

from harness import protocol as p
from harness.electric import GENERATED
from harness.wait import wait_until
from harness.web import migrations


def create(ledger, sql):
    """Makes a table straight in PostgreSQL: how it came about does not matter to ENABLE."""
    ledger.execute(sql)


T = "CREATE TABLE t (id uuid PRIMARY KEY, value text)"


def assert_enabled_once(ledger, table="t"):
    assert ledger.electrified == [table]
    assert len(ledger.ddl) == 1 and re.match(rf'CREATE TABLE (public\.)?"?{table}"? \(', ledger.ddl[0]), ledger.ddl
    ((version, priority),) = ledger.versions
    assert GENERATED.match(version) and priority == 0
    ledger.consistent()


def test_32_enable(busbar, ledger):
    """One table, one captured text, one generated version of the same transaction, replica identity full."""
    with busbar.wire() as wire:
        wire.query(T + "; ").ok()
        answer = wire.query("ALTER TABLE t ENABLE ELECTRIC;").ok()
        assert (answer.kinds, answer.tags, answer.status) == ("CZ", ["ELECTRIC ENABLE"], "I")
    assert_enabled_once(ledger)
    assert ledger.value("SELECT relreplident FROM pg_class WHERE oid = 'public.t'::regclass") in ("f", b"f")
    assert ledger.value("SELECT oid FROM electric.electrified") == ledger.value("SELECT 'public.t'::regclass::oid")
    assert ledger.value("SELECT count(*) FROM electric.ddl_commands c JOIN electric.migration_versions v USING (txid, txts)") == 1


def test_32_version_is_utc(busbar, ledger):
    """Whatever the session's time zone: else versions would run backwards with it."""
    with busbar.wire(TimeZone="Asia/Tokyo") as wire:
        wire.query(T).ok()
        wire.query("SET TimeZone = 'America/Los_Angeles'").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    (version,) = ledger.version_names
    made = datetime.strptime(version, "%Y%m%d%H%M%S_%f").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - made).total_seconds()) < 120


def test_33_enable_twice(busbar, ledger):
    """The second time succeeds with the same tag and does nothing, in either protocol."""
    with busbar.wire() as wire:
        wire.query(T).ok()
        for _ in range(2):
            answer = wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
            assert answer.tags == ["ELECTRIC ENABLE"] and answer.status == "I"
        assert wire.extended("ALTER TABLE t ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]
    assert_enabled_once(ledger)


@pytest.mark.parametrize("call", ["CALL electric.electrify('t')", "CALL electric.electrify('public','t')", "call electric.electrify('public.t');"])
@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_34_call_electrify(busbar, ledger, call, protocol):
    """The procedure is ENABLE under another name, tag included."""
    with busbar.wire() as wire:
        wire.query(T).ok()
        answer = getattr(wire, protocol)(call).ok()
        assert answer.tags == ["ELECTRIC ENABLE"] and answer.status == "I"
    assert_enabled_once(ledger)


def test_35_electrify_names_that_need_quotes(busbar, ledger):
    """Through the proxy: one name taken as it is, and two."""
    create(ledger, 'CREATE TABLE "la la buttercup" (id text PRIMARY KEY)')
    create(ledger, 'CREATE TABLE "la la daisy" (id text PRIMARY KEY)')
    with busbar.wire() as wire:
        assert wire.query("CALL electric.electrify('la la buttercup')").ok().tags == ["ELECTRIC ENABLE"]
        assert wire.query("CALL electric.electrify('public', 'la la daisy')").ok().tags == ["ELECTRIC ENABLE"]
        answer = wire.query("CALL electric.electrify('missing')")
        assert answer.error["C"] == "42P01" and answer.status == "I"
    assert ledger.electrified == ["la la buttercup", "la la daisy"]
    assert [m.sql.splitlines()[0] for m in migrations(busbar.http_port)] == ['CREATE TABLE "la la buttercup" (', 'CREATE TABLE "la la daisy" (']


def test_35_direct_call(busbar, ledger):
    """Straight in PostgreSQL: electrified and recorded by the database alone."""
    create(ledger, 'CREATE TABLE "la la buttercup" (id text PRIMARY KEY); CREATE TABLE "la la daisy" (id text PRIMARY KEY)')
    ledger.execute("CALL electric.electrify('la la buttercup')")
    ledger.execute("CALL electric.electrify('public', 'la la daisy')")
    with pytest.raises(Exception) as refused:
        ledger.execute("CALL electric.electrify('missing')")
    assert refused.value.sqlstate == "42P01"
    assert ledger.electrified == ["la la buttercup", "la la daisy"]
    assert len(ledger.ddl) == 2 and len(ledger.versions) == 2
    ledger.consistent()
    with busbar.wire() as wire:
        wire.query('ALTER TABLE "la la daisy" ADD COLUMN more text').ok()
    assert len(migrations(busbar.http_port)) == 3


def test_35_direct_call_cannot_poison_the_history(busbar, ledger):
    """What SQLite refuses must not get in by the back door: every later migration's proof would fail."""
    create(ledger, 'CREATE TABLE poison (id text PRIMARY KEY, a text, "A" text); ' + T)
    try:
        ledger.execute("CALL electric.electrify('poison')")
    except Exception as error:  # noqa: BLE001  refused is fine too
        assert error.sqlstate in ("UB002", "UB003", "UB004", "P0001"), error
    with busbar.wire() as wire:
        assert wire.query("ALTER TABLE t ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]
    assert "t" in ledger.electrified


def test_35_enable_of_a_missing_table(busbar, ledger):
    """42P01 in both protocols, and the session goes on."""
    with busbar.wire() as wire:
        for answer in (wire.query("ALTER TABLE missing ENABLE ELECTRIC"), wire.extended("ALTER TABLE missing ENABLE ELECTRIC")):
            assert answer.error["C"] == "42P01" and answer.kinds.endswith("EZ") and answer.status == "I"
            assert "missing" in answer.error["M"]
        assert wire.value("SELECT 1") == "1"


def test_36_enable_in_the_groups_of_ecto(busbar, ledger):
    """Parsed in one group, run in the next, inside a transaction."""
    create(ledger, T)
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.send(p.parse("", "ALTER TABLE t ENABLE ELECTRIC") + p.describe("S", "") + p.flush())
        first = wire.read_until("n")
        assert "".join(m.kind for m in first) == "1tn" and first[1].body == b"\0\0"
        wire.send(p.bind("", "") + p.execute() + p.close("S", "") + p.sync())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags, answer.status) == ("2C3Z", ["ELECTRIC ENABLE"], "T")
        assert ledger.electrified == []
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
    assert_enabled_once(ledger)


def test_36_a_simple_query_drops_the_unnamed_statement(busbar, ledger):
    """PostgreSQL forgets the unnamed statement at a simple Query; so must whoever answers for a DDLX statement."""
    create(ledger, T)
    with busbar.wire() as wire:
        wire.send(p.parse("", "ALTER TABLE t ENABLE ELECTRIC") + p.flush())
        wire.read_until("1")
        assert wire.value("SELECT count(*) FROM electric.electrified") == "0"
        wire.send(p.bind("", "") + p.execute() + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "26000" and answer.status == "I"
    assert ledger.electrified == []


def test_37_enable_in_one_group(busbar, ledger):
    """psycopg 3, node-postgres, JDBC: the original answers as if it had run, and runs nothing."""
    create(ledger, T)
    with busbar.wire() as wire:
        answer = wire.extended("ALTER TABLE t ENABLE ELECTRIC").ok()
        assert (answer.kinds, answer.tags, answer.status) == ("12nCZ", ["ELECTRIC ENABLE"], "I")
    assert_enabled_once(ledger)


def test_37_enable_by_psycopg(busbar, ledger):
    """The driver itself, prepared, in its own transaction."""
    create(ledger, T)
    with busbar.psycopg() as conn:
        cursor = conn.execute("ALTER TABLE t ENABLE ELECTRIC", prepare=True)
        assert cursor.statusmessage == "ELECTRIC ENABLE"
        conn.commit()
    assert_enabled_once(ledger)


def test_37_prepared_once_executed_later(busbar, ledger):
    """DDLX as a named statement and a named portal: it happens at Execute, and each time."""
    create(ledger, T)
    with busbar.wire() as wire:
        wire.send(p.parse("on", "ALTER TABLE t ENABLE ELECTRIC") + p.describe("S", "on") + p.sync())
        answer = wire.result().ok()
        assert answer.kinds == "1tnZ" and answer.of("t")[0].body == b"\0\0"
        assert wire.value("SELECT count(*) FROM electric.electrified") == "0"
        wire.send(p.bind("p1", "on") + p.describe("P", "p1") + p.execute("p1") + p.close("P", "p1") + p.sync())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags, answer.status) == ("2nC3Z", ["ELECTRIC ENABLE"], "I")
        wire.send(p.bind("", "on") + p.execute() + p.sync())
        assert wire.result().ok().tags == ["ELECTRIC ENABLE"]
        wire.send(p.close("S", "on") + p.sync())
        assert wire.result().kinds == "3Z"
        wire.send(p.bind("", "on") + p.execute() + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "26000" and answer.kinds == "EZ"
    assert_enabled_once(ledger)


def test_37_parsed_but_never_executed(busbar, ledger):
    """Parse alone opens no transaction and electrifies nothing."""
    create(ledger, T)
    with busbar.wire() as wire:
        wire.send(p.parse("", "ALTER TABLE t ENABLE ELECTRIC") + p.describe("S", "") + p.sync())
        assert wire.result().ok().status == "I"
        assert wire.value("SELECT 1") == "1"
        assert wire.query("ROLLBACK").notices[0]["C"] == "25P01"  # there is no transaction in progress
    assert ledger.electrified == []


def test_37_wrong_use_of_a_ddlx_statement(busbar, ledger):
    """As for any statement: too many parameters and an unknown portal are errors of the protocol, then skip to Sync."""
    create(ledger, T)
    with busbar.wire() as wire:
        wire.send(p.parse("on", "ALTER TABLE t ENABLE ELECTRIC") + p.bind("", "on", ["surplus"]) + p.execute() + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "08P01" and answer.kinds == "1EZ"
        wire.send(p.parse("on", "SELECT 1") + p.bind("", "on") + p.execute() + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "42P05" and answer.kinds == "EZ"  # the name is taken by the first Parse
    assert ledger.electrified == []


@pytest.mark.parametrize("sql", [
    "-- comment\nALTER TABLE t ENABLE ELECTRIC;", "alter table t enable ElEcTrIc", "/* a; */ ALTER /* b */ TABLE t ENABLE ELECTRIC -- end",
    "ALTER TABLE public.t ENABLE ELECTRIC", 'ALTER TABLE "public"."t" ENABLE ELECTRIC', "ELECTRIC ENABLE t;", "  \n\tALTER\nTABLE t\nENABLE\nELECTRIC\n;\n"])
def test_38_spellings(busbar, ledger, sql):
    """Comments, case and white space as PostgreSQL's own lexer takes them; both forms of the command."""
    create(ledger, T)
    with busbar.wire() as wire:
        assert wire.query(sql).ok().tags == ["ELECTRIC ENABLE"]
    assert_enabled_once(ledger)


def test_39_create_enable_alter_in_one_query(busbar, truths):
    """Three tags, one transaction, one version for the two captured changes."""
    with busbar.wire() as wire:
        answer = wire.query("CREATE TABLE pants (id uuid PRIMARY KEY); ALTER TABLE public.pants ENABLE ELECTRIC;"
                            " ALTER TABLE public.truths ADD COLUMN age int2;").ok()
        assert answer.tags == ["CREATE TABLE", "ELECTRIC ENABLE", "ALTER TABLE"] and answer.status == "I"
        assert answer.kinds == "CCCZ"
    commands, versions = truths.before
    assert len(truths.versions) == versions + 1
    assert truths.ddl[commands + 1:] == ["ALTER TABLE public.truths ADD COLUMN age int2"]
    assert truths.ddl[commands].startswith("CREATE TABLE") and "pants" in truths.ddl[commands]
    assert truths.value("SELECT count(DISTINCT (txid, txts)) FROM electric.ddl_commands WHERE id > (SELECT min(id) FROM electric.ddl_commands)") == 1
    truths.consistent()


def test_40_mixed_statements_in_one_query(busbar, ledger):
    """Tags in order; captured are the table and the ALTER, not the table that stays closed."""
    with busbar.wire() as wire:
        answer = wire.query("CREATE TABLE x (id uuid PRIMARY KEY); ALTER TABLE x ENABLE ELECTRIC; CREATE TABLE ignoreme (id int4);"
                            " ALTER TABLE x ADD amount int4, ADD colour varchar;").ok()
        assert answer.tags == ["CREATE TABLE", "ELECTRIC ENABLE", "CREATE TABLE", "ALTER TABLE"] and answer.status == "I"
    assert len(ledger.ddl) == 2 and len(ledger.versions) == 1
    assert ledger.ddl[1] == "ALTER TABLE x ADD amount int4, ADD colour varchar"
    assert ledger.columns("x") == ["id", "amount", "colour"]
    (migration,) = migrations(busbar.http_port)
    assert migration.sql == ('CREATE TABLE "x" (\n  "id" TEXT NOT NULL,\n  CONSTRAINT "x_pkey" PRIMARY KEY ("id")\n);\n\n'
                             'ALTER TABLE "x" ADD COLUMN "amount" INTEGER;\n\nALTER TABLE "x" ADD COLUMN "colour" TEXT;')
    ledger.consistent()


def test_41_refusal_undoes_the_whole_query(busbar, ledger):
    """EX010 after ENABLE in one Query: everything is rolled back, the table is not electrified."""
    create(ledger, "CREATE TABLE x (id uuid PRIMARY KEY, y text)")
    with busbar.wire() as wire:
        answer = wire.query("ALTER TABLE x ENABLE ELECTRIC; ALTER TABLE x DROP COLUMN y;")
        assert answer.error["C"] == "EX010" and answer.status == "I"
        assert wire.query("SELECT 1").ok().status == "I"
    assert ledger.electrified == [] and ledger.ddl == [] and ledger.versions == []
    assert ledger.columns("x") == ["id", "y"]


SUPPORTED = """
CREATE TYPE shapes AS ENUM ('circle', 'square', 'diamond');
CREATE TABLE t (id uuid PRIMARY KEY, c1 text, c2 varchar, c3 character varying, b1 boolean, b2 bool, i1 smallint, i2 int2, i3 integer, i4 int4,
  i5 bigint, i6 int8, r1 real, r2 float4, "Real4b" REAL, r3 double precision, r4 float8, d date, t1 time, t2 time without time zone,
  ts1 timestamp, ts2 timestamp without time zone, tz1 timestamptz, tz2 timestamp with time zone, j jsonb, bin bytea, e shapes);
"""


def test_42_supported_types(busbar, ledger):
    """Each type of the list, quoted names and an enum; the SQLite form of each."""
    create(ledger, SUPPORTED)
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    (migration,) = migrations(busbar.http_port)
    for line in ('"id" TEXT NOT NULL', '"c2" TEXT', '"b1" INTEGER', '"i1" INTEGER', '"i6" INTEGER', '"Real4b" REAL', '"r3" REAL', '"d" TEXT', '"t1" TEXT',
                 '"ts1" TEXT', '"tz1" TEXT', '"j" TEXT_JSON', '"bin" BLOB', '"e" TEXT'):
        assert f"  {line},\n" in migration.sql, migration.sql
    assert migration.ops[0]["enum"] == ("shapes", ["circle", "square", "diamond"]) and migration.ops[0]["stmts"] == []
    ledger.consistent()


def refusal(wire, sql):
    """The refusal of one ENABLE: P0001, everything rolled back."""
    answer = wire.query(sql)
    assert answer.error["C"] == "P0001" and answer.kinds == "EZ" and answer.status == "I", answer
    return answer.error["M"]


UNSUPPORTED = """
CREATE TYPE badshapes AS ENUM ('1circle', '_square', 'hello world', 'fine');
CREATE TABLE t1 (id uuid PRIMARY KEY, a character, b character(11), c varchar(11), d timetz, e badshapes, ok text, n numeric(10,2), i inet, ar int4[], p point, iv interval);
"""


def test_43_unsupported_types(busbar, ledger):
    """P0001 with one line a column, as PostgreSQL spells the type."""
    create(ledger, UNSUPPORTED)
    with busbar.wire() as wire:
        message = refusal(wire, "ALTER TABLE t1 ENABLE ELECTRIC")
    assert message.rstrip("\n") == """Cannot electrify t1 because some of its columns have types not supported by Electric:

    a character(1)
    b character(11)
    c character varying(11)
    d time with time zone
    e badshapes (enum type badshapes contains unsupported values '1circle', '_square', 'hello world')
    n numeric(10,2)
    i inet
    ar integer[]
    p point
    iv interval

See https://electric-sql.com/docs/usage/data-modelling/types#supported-data-types
to learn more about data type support in Electric."""
    assert ledger.electrified == []


def test_44_defaults(busbar, ledger):
    """Columns with a DEFAULT are listed in their order, quoted where needed."""
    create(ledger, """CREATE TABLE t1 (id uuid PRIMARY KEY, t1 TEXT DEFAULT '', fine int4, "Ts" TIMESTAMP DEFAULT now())""")
    with busbar.wire() as wire:
        message = refusal(wire, "ALTER TABLE t1 ENABLE ELECTRIC")
    assert message.rstrip("\n") == ("Cannot electrify t1 because some of its columns have DEFAULT expressions which are not currently supported by Electric:\n"
                                    '  t1\n  "Ts"')


def test_44_generated_and_serial_columns_count_as_default(busbar, ledger):
    """A stored-generated column and a serial key."""
    create(ledger, "CREATE TABLE g (id text PRIMARY KEY, a int4, b int4 GENERATED ALWAYS AS (a * 2) STORED); CREATE TABLE s (id serial PRIMARY KEY)")
    with busbar.wire() as wire:
        assert refusal(wire, "ALTER TABLE g ENABLE ELECTRIC").rstrip("\n").endswith("Electric:\n  b")
        assert refusal(wire, "ALTER TABLE s ENABLE ELECTRIC").rstrip("\n").endswith("Electric:\n  id")


def test_45_constraints(busbar, ledger):
    """CHECK, UNIQUE and EXCLUDE: their columns by kind of constraint, then name; an expression has no column to list."""
    create(ledger, """CREATE TABLE t1 (id uuid PRIMARY KEY, uu uuid, "Ts" timestamp CHECK ("Ts" > '2000-01-01'), t1 text UNIQUE,
                      EXCLUDE USING btree (uu WITH =), EXCLUDE USING btree (lower(t1) WITH =))""")
    with busbar.wire() as wire:
        message = refusal(wire, "ALTER TABLE t1 ENABLE ELECTRIC")
    assert message.rstrip("\n") == ("Cannot electrify t1 because some of its columns have CHECK, UNIQUE, EXCLUDE or user-defined constraints"
                                    ' which are not currently supported by Electric:\n  "Ts"\n  t1\n  uu')


def test_46_no_primary_key(busbar, ledger):
    """Clients address rows by key."""
    create(ledger, "CREATE TABLE t1 (id uuid NOT NULL)")
    with busbar.wire() as wire:
        assert refusal(wire, "ALTER TABLE t1 ENABLE ELECTRIC").rstrip("\n") == "Cannot electrify t1 because it doesn't have a PRIMARY KEY."


def test_47_other_schema(busbar, ledger):
    """Only schema public."""
    create(ledger, "CREATE SCHEMA test_schema; CREATE TABLE test_schema.foo (id uuid PRIMARY KEY)")
    with busbar.wire() as wire:
        message = refusal(wire, "ALTER TABLE test_schema.foo ENABLE ELECTRIC")
    assert message.rstrip("\n") == ("Cannot electrify test_schema.foo because only tables in the default `public` schema can be electrified.\n\n"
                                    "See https://electric-sql.com/docs/usage/data-modelling/migrations#limitations\n"
                                    "to learn more about the current limitations of electrified tables.")


@pytest.mark.parametrize("sql", [
    "CREATE VIEW v AS SELECT 1 AS id", "CREATE MATERIALIZED VIEW v AS SELECT 1 AS id", "CREATE SEQUENCE v",
    "CREATE TABLE v (id int4 PRIMARY KEY) PARTITION BY RANGE (id)"])
def test_47_not_an_ordinary_table(busbar, ledger, sql):
    """Views, sequences and partitioned tables."""
    create(ledger, sql)
    with busbar.wire() as wire:
        assert "is not an ordinary table" in refusal(wire, "ALTER TABLE v ENABLE ELECTRIC")


def test_48_enum_columns(busbar, ledger):
    """Commands in order: a CREATE TYPE for each enum column, then the table."""
    create(ledger, "CREATE TYPE states AS ENUM ('foo', 'bar'); CREATE TYPE colors AS ENUM ('red', 'green');"
                   " CREATE TABLE t (id uuid PRIMARY KEY, s states, c colors, s2 states)")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    text = "\n".join(ledger.ddl)
    order = [re.search(pattern, text) for pattern in (r"CREATE TYPE (public\.)?states AS ENUM", r"CREATE TYPE (public\.)?colors AS ENUM",
                                                      r"CREATE TABLE (public\.)?t ")]
    assert all(order) and [m.start() for m in order] == sorted(m.start() for m in order), text
    assert text.count("CREATE TYPE") == 2, "each type once"
    assert len(ledger.versions) == 1
    (migration,) = migrations(busbar.http_port, "postgresql")
    assert "CREATE TYPE" in migration.sql and "'green'" in migration.sql


def test_48_enum_shared_by_two_tables(busbar, ledger):
    """A client must not get CREATE TYPE twice."""
    create(ledger, "CREATE TYPE states AS ENUM ('foo', 'bar'); CREATE TABLE t (id uuid PRIMARY KEY, s states); CREATE TABLE u (id uuid PRIMARY KEY, s states)")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE u ENABLE ELECTRIC").ok()
    assert "".join(m.sql for m in migrations(busbar.http_port, "postgresql")).count("CREATE TYPE") == 1


def test_49_dropped_columns(busbar, ledger):
    """Columns dropped before ENABLE are not there for clients either."""
    create(ledger, "CREATE TABLE t (id uuid PRIMARY KEY, gone1 int4, a text, gone2 text, b int4)")
    create(ledger, "ALTER TABLE t DROP COLUMN gone1; ALTER TABLE t DROP COLUMN gone2")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE t ADD COLUMN c text").ok()
    first, second = migrations(busbar.http_port)
    assert [c[0] for c in first.ops[0]["table"]["columns"]] == ["id", "a", "b"]
    assert [c[0] for c in second.ops[0]["table"]["columns"]] == ["id", "a", "b", "c"]
    assert "gone" not in first.sql + second.sql
    ledger.consistent()


def test_50_rows_before_and_after(busbar, ledger):
    """A table with rows can be electrified; inserts with a foreign key work afterwards."""
    create(ledger, "CREATE TABLE parents (id uuid PRIMARY KEY); CREATE TABLE children (id uuid PRIMARY KEY, parent uuid REFERENCES parents (id) ON DELETE CASCADE);"
                   " INSERT INTO parents VALUES ('00000000-0000-0000-0000-000000000001')")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE parents ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE children ENABLE ELECTRIC").ok()
        wire.query("INSERT INTO children VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000001')").ok()
    _, children = migrations(busbar.http_port)
    assert children.ops[0]["table"]["fks"] == [(["parent"], "parents", ["id"])]
    assert 'FOREIGN KEY ("parent") REFERENCES "parents" ("id") ON DELETE CASCADE' in children.sql


def test_51_composite_key_with_foreign_key(busbar, ledger):
    """A key of (uuid, text) and a reference to it: the original's insert fails on matching array types."""
    create(ledger, "CREATE TABLE a (x uuid, y text, PRIMARY KEY (y, x)); CREATE TABLE b (id text PRIMARY KEY, ax uuid, ay text, FOREIGN KEY (ay, ax) REFERENCES a)")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE a ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE b ENABLE ELECTRIC").ok()
        wire.query("INSERT INTO a VALUES ('00000000-0000-0000-0000-000000000001', 'y')").ok()
        wire.query("INSERT INTO b VALUES ('b', '00000000-0000-0000-0000-000000000001', 'y')").ok()
    first, second = migrations(busbar.http_port)
    assert first.ops[0]["table"]["pks"] == ["y", "x"] and 'PRIMARY KEY ("y", "x")' in first.sql
    assert second.ops[0]["table"]["fks"] == [(["ay", "ax"], "a", ["y", "x"])]


def test_52_indexes_at_enable(busbar, ledger):
    """They travel with the table, each exactly once."""
    create(ledger, 'CREATE TABLE t (id uuid PRIMARY KEY, a text, b int4); CREATE INDEX "A idx" ON t (a DESC, b); CREATE UNIQUE INDEX b_idx ON t (b)')
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    text = "\n".join(ledger.ddl)
    assert len(ledger.versions) == 1
    assert text.count("CREATE TABLE") == 1 and text.count("CREATE INDEX") == 1 and text.count("CREATE UNIQUE INDEX") == 1
    (migration,) = migrations(busbar.http_port)
    assert 'CREATE INDEX "A idx" ON "t" ("a" DESC, "b" ASC);' in migration.sql
    assert 'CREATE UNIQUE INDEX "b_idx" ON "t" ("b" ASC);' in migration.sql
    ledger.consistent()


def test_53_error_in_the_clients_transaction(busbar, ledger):
    """Relayed; the transaction has failed; ROLLBACK ends it. Outside a transaction: the error and I."""
    create(ledger, "CREATE TABLE t1 (id uuid NOT NULL)")
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        answer = wire.query("ALTER TABLE t1 ENABLE ELECTRIC")
        assert answer.error["C"] == "P0001" and answer.status == "E"
        assert wire.query("SELECT 1").error["C"] == "25P02"
        assert wire.query("ROLLBACK").ok().status == "I"
        wire.query("BEGIN").ok()
        answer = wire.extended("ALTER TABLE t1 ENABLE ELECTRIC")
        assert answer.error["C"] == "P0001" and answer.status == "E"
        answer = wire.query("COMMIT").ok()
        assert (answer.tags, answer.status) == (["ROLLBACK"], "I")
        answer = wire.extended("ALTER TABLE t1 ENABLE ELECTRIC")
        assert answer.error["C"] == "P0001" and answer.status == "I"


def test_54_foreign_key_to_a_closed_table(busbar, ledger):
    """Refused at ENABLE, not at the first insert, with the statements that work; parents first, in one migration or in two."""
    create(ledger, "CREATE TABLE parents (id uuid PRIMARY KEY); CREATE TABLE children (id uuid PRIMARY KEY, parent uuid REFERENCES parents)")
    with busbar.wire() as wire:
        answer = wire.query("ALTER TABLE children ENABLE ELECTRIC")
        assert answer.error["C"] == "UB006" and answer.status == "I"
        assert '"public"."parents"' in answer.error["M"]
        assert ledger.electrified == [] and ledger.versions == []
        hint = answer.error["H"]
        wire.query("BEGIN").ok()
        answer = wire.query("ALTER TABLE children ENABLE ELECTRIC")
        assert answer.error["C"] == "UB006" and answer.status == "E"
        assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
        wire.query("BEGIN").ok()
        assert wire.query(hint).ok().tags == ["ELECTRIC ENABLE"] * 2
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
    assert ledger.electrified == ["children", "parents"] and len(ledger.versions) == 1


def test_54_self_reference(busbar, ledger):
    """A table that refers to itself is electrified with itself."""
    create(ledger, "CREATE TABLE t (id uuid PRIMARY KEY, up uuid REFERENCES t)")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
    assert ledger.electrified == ["t"]


# Beyond the numbered ones.

def test_search_path_decides_which_table(busbar, ledger):
    """An unqualified name means what it means to PostgreSQL: the original always takes schema public."""
    create(ledger, T + "; CREATE SCHEMA other; CREATE TABLE other.t (id uuid PRIMARY KEY, value text)")
    with busbar.wire() as wire:
        wire.query("SET search_path = other, public").ok()
        assert "other.t" in wire.query("ALTER TABLE t ENABLE ELECTRIC").error["M"].replace("because only", "other.t because only")
        assert ledger.electrified == []
        wire.query("ALTER TABLE public.t ENABLE ELECTRIC").ok()
        # t is other.t here: not electrified, everything is allowed.
        wire.query("ALTER TABLE t DROP COLUMN value").ok()
        assert wire.query("ALTER TABLE public.t DROP COLUMN value").error["C"] == "EX010"
        wire.query("SET search_path = public").ok()
        assert wire.query("ALTER TABLE t DROP COLUMN value").error["C"] == "EX010"
    assert ledger.columns("t") == ["id", "value"] and ledger.columns("t", "other") == ["id"]
    assert len(ledger.ddl) == 1


def test_two_sessions_enable_the_same_table(busbar, ledger):
    """The second waits for the first and then has nothing to do."""
    create(ledger, T)
    with busbar.wire() as one, busbar.wire() as two:
        one.query("BEGIN").ok()
        one.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        two.send(p.query("ALTER TABLE t ENABLE ELECTRIC"))
        wait_until(lambda: ledger.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "the second to wait")
        one.query("COMMIT").ok()
        assert two.result().ok().tags == ["ELECTRIC ENABLE"]
    assert_enabled_once(ledger)
