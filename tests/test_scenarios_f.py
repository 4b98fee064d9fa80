# SPDX-License-Identifier: Apache-2.0
"""Scenarios F, rejections: spec/scenarios-proxy.md 69–78 and 80 (79 is in E). Codes and messages: spec/proxy.md §9.

Each refusal has a HINT, which the original never gives, and inside a transaction it really fails the transaction.
"""

import itertools

import psycopg
import pytest

from harness import protocol as p
from harness.web import migrations


@pytest.fixture
def table(truths):
    """truths with what the refused statements mention."""
    truths.execute("CREATE SCHEMA other")
    truths.execute("CREATE TYPE colors AS ENUM ('red')")
    return truths


DETAIL = "Electric currently only supports additive migrations (ADD COLUMN, ADD INDEX)"
T = '"public"."truths"'
# By the number of the scenario: statement, code, message; None: whichever rule is met first.
REFUSED = {
    70: [
        ('ALTER TABLE "truths" DROP "value"', "EX010", f'Cannot drop column "value" of electrified table {T}'),
        ("ALTER TABLE truths DROP COLUMN value CASCADE", "EX010", f'Cannot drop column "value" of electrified table {T}'),
        ("ALTER TABLE ONLY public.truths DROP COLUMN IF EXISTS value", "EX010", f'Cannot drop column "value" of electrified table {T}'),
    ],
    71: [
        ('ALTER TABLE truths RENAME "value" TO "worthless"', "EX008", f'Cannot rename column "value" of electrified table {T}'),
        ("ALTER TABLE truths RENAME CONSTRAINT truths_pkey TO key", "EX012", f'Cannot rename constraint "truths_pkey" of electrified table {T}'),
        ("ALTER TABLE truths RENAME TO lies", "EX002", f"Cannot rename electrified table {T}"),
    ],
    72: [
        ("ALTER TABLE truths ALTER COLUMN value TYPE varchar", "EX009", f'Cannot change type of column "value" of electrified table {T}'),
        ("ALTER TABLE truths ALTER COLUMN value TYPE int2 USING 1", "EX009", f'Cannot change type of column "value" of electrified table {T}'),
        ("ALTER TABLE truths ALTER COLUMN value SET NOT NULL", "EX007", f'Cannot alter column "value" of electrified table {T}'),
        ("ALTER TABLE truths ALTER value SET DEFAULT 'x'", "EX007", f'Cannot alter column "value" of electrified table {T}'),
        ("ALTER TABLE truths ADD CONSTRAINT c CHECK (value > '')", "EX007", None),
        ("ALTER TABLE truths ADD UNIQUE (value)", "EX007", None),
        ("ALTER TABLE truths DROP CONSTRAINT truths_pkey", "EX007", None),
        ("ALTER TABLE truths ENABLE ROW LEVEL SECURITY", "EX007", None),
        ("ALTER TABLE truths REPLICA IDENTITY DEFAULT", "EX007", None),
    ],
    74: [
        ("ALTER TABLE truths ADD COLUMN x int4 DEFAULT 1", "EX006", "Cannot electrify column with DEFAULT clause"),
        ("ALTER TABLE truths ADD COLUMN x int4 CHECK (x > 0)", "EX011", "Cannot electrify column with CHECK constraint"),
        ("ALTER TABLE truths ADD COLUMN x int4 PRIMARY KEY", None, None),
        ("ALTER TABLE truths ADD COLUMN x int4 UNIQUE", "EX011", "Cannot electrify column with UNIQUE constraint"),
        ("ALTER TABLE truths ADD COLUMN x text GENERATED ALWAYS AS (upper(value)) STORED", "EX011",
         "Cannot electrify column with GENERATED constraint"),
        ("ALTER TABLE truths ADD COLUMN x int4 GENERATED ALWAYS AS IDENTITY", "EX011", "Cannot electrify column with GENERATED constraint"),
        ("ALTER TABLE truths ADD COLUMN x int8 REFERENCES socks", "EX011", "Cannot electrify column with FOREIGN KEY constraint"),
    ],
    75: [
        ("ALTER TABLE truths ENABLE ALWAYS TRIGGER x, DROP COLUMN value", None, None),
        ("ALTER TABLE truths DROP COLUMN value, ENABLE ALWAYS TRIGGER x", "EX010", None),
        ("ALTER TABLE truths ADD COLUMN fine text, DROP COLUMN value", "EX010", None),
    ],
    76: [
        ("DROP TABLE socks, truths", "EX004", f"Cannot drop electrified table {T}"),
        ("ALTER TABLE truths SET SCHEMA other", None, None),
    ],
}
TYPES = ["cidr", "json", "timetz", "time(1)", "timestamp(3)", "timestamptz(6)", "int4[]", "bpchar(10)", "varchar(255)", "uuid[]", "numeric(10,2)", "inet", "interval", "xml",
         "point", "bit", "tsvector", "money"]


def check_refused(busbar, table, number):
    """Code, message, HINT, by either protocol; nothing changed; in a transaction it fails, outside it leaves none."""
    with busbar.wire() as wire:
        for sql, code, message in REFUSED[number]:
            for protocol, begin in itertools.product((wire.query, wire.extended), (False, True)):
                if begin:
                    wire.query("BEGIN").ok()
                answer = protocol(sql)
                error = answer.error
                if code:
                    assert error["C"] == code, (sql, error)
                    assert error.get("H"), (sql, "no hint")
                if message:
                    assert error["M"] == message, sql
                assert answer.status == ("E" if begin else "I"), sql
                if begin:
                    assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
    assert table.columns("truths") == ["id", "value"] and table.exists("public.truths") and table.exists("public.socks")
    assert (len(table.ddl), len(table.versions)) == table.before
    table.consistent()


def test_70_drop_column(busbar, table):
    check_refused(busbar, table, 70)


def test_71_renames(busbar, table):
    check_refused(busbar, table, 71)


def test_72_altered_columns_and_the_like(busbar, table):
    check_refused(busbar, table, 72)


def test_74_columns_with_more_than_a_type(busbar, table):
    check_refused(busbar, table, 74)


def test_75_a_refused_action_beside_an_allowed_one(busbar, table):
    """In either order."""
    check_refused(busbar, table, 75)


def test_76_among_other_tables_and_to_another_schema(busbar, table):
    check_refused(busbar, table, 76)


def test_80_straight_in_postgresql(busbar, table):
    """The event trigger refuses every change of an electrified table; DDLX is a syntax error."""
    for sql in ("ALTER TABLE truths DROP COLUMN value", "ALTER TABLE truths ADD COLUMN fine text"):
        with pytest.raises(psycopg.Error) as refused:
            table.execute(sql)
        assert refused.value.sqlstate == "UB002" and "proxy" in refused.value.diag.message_hint, sql
    with pytest.raises(psycopg.Error) as refused:
        table.execute("ALTER TABLE socks ENABLE ELECTRIC")
    assert refused.value.sqlstate == "42601"
    assert table.columns("truths") == ["id", "value"] and table.electrified == ["truths"]
    table.consistent()


def test_69_drop_table(busbar, table):
    """Simple EX004; extended EX100 with schema and table (or the same EX004: a client can tell neither from the other's text)."""
    with busbar.wire() as wire:
        error = wire.query('DROP TABLE "truths"').error
        assert error["C"] == "EX004" and error["M"] == f"Cannot drop electrified table {T}" and error["H"]
        error = wire.extended('DROP TABLE "truths"').error
        assert (error["C"], error["M"]) in (("EX100", f"Cannot DROP Electrified table {T}"), ("EX004", f"Cannot drop electrified table {T}"))
        for sql in ("DROP TABLE IF EXISTS truths CASCADE", "DROP TABLE socks, truths", "DROP TABLE public.truths RESTRICT"):
            assert wire.query(sql).error["C"] in ("EX004", "EX100"), sql
    assert table.exists("public.truths") and table.exists("public.socks")


@pytest.mark.parametrize("type_name", TYPES)
def test_73_unsupported_types(busbar, table, type_name):
    """ADD COLUMN of each: EX005, and the type in the message."""
    with busbar.wire() as wire:
        error = wire.query(f"ALTER TABLE truths ADD COLUMN x {type_name}").error
        assert error["C"] == "EX005" and error["H"], error
        base = type_name.split("(", maxsplit=1)[0].split("[", maxsplit=1)[0]
        assert error["M"].startswith('Cannot electrify column of type "') and base in error["M"]
    assert table.columns("truths") == ["id", "value"]


def test_73_enum_column(busbar, table):
    """The original allows an enum at ENABLE only; what ENABLE takes, ADD COLUMN takes too, the type included."""
    with busbar.wire() as wire:
        wire.query("ALTER TABLE truths ADD COLUMN c colors").ok()
        assert wire.query("ALTER TYPE colors ADD VALUE 'blue'").errors
    migration = migrations(busbar.http_port)[-1]
    assert ("colors", ["red"]) in [op["enum"] for op in migration.ops]
    assert migration.sql == 'ALTER TABLE "truths" ADD COLUMN "c" TEXT;'


def test_73_serial_and_primary_key(busbar, table):
    """Refused, by whichever rule is met first."""
    with busbar.wire() as wire:
        for sql in ("ALTER TABLE truths ADD COLUMN x serial", "ALTER TABLE truths ADD COLUMN x int4 PRIMARY KEY", "ALTER TABLE truths ADD COLUMN x char"):
            answer = wire.query(sql)
            assert answer.errors, sql
            assert answer.status == "I"
    assert table.columns("truths") == ["id", "value"]


def test_77_enum_of_an_electrified_table(busbar, table):
    """ALTER TYPE … ADD VALUE of a type in use would never reach the clients: refused with a clear message."""
    table.execute("CREATE TABLE painted (id text PRIMARY KEY, c colors)")
    with busbar.wire() as wire:
        wire.query("ALTER TYPE colors ADD VALUE 'blue'").ok()
        wire.query("ALTER TABLE painted ENABLE ELECTRIC").ok()
        for sql in ("ALTER TYPE colors ADD VALUE 'green'", "ALTER TYPE colors RENAME VALUE 'red' TO 'pink'", "ALTER TYPE colors RENAME TO colours", "DROP TYPE colors CASCADE"):
            answer = wire.query(sql)
            assert answer.errors and answer.status == "I", sql
            assert "painted" in " ".join(answer.error.values()) or "colors" in answer.error["M"], sql
    assert table.value("SELECT count(*) FROM pg_enum WHERE enumtypid = 'colors'::regtype") == 2


def test_78_refusal_at_parse_skips_to_sync(busbar, table):
    """Standard error recovery: one ErrorResponse, nothing until Sync, one ReadyForQuery; with Flush no ReadyForQuery at all."""
    with busbar.wire() as wire:
        wire.send(p.parse("", "ALTER TABLE truths DROP COLUMN value") + p.describe("S", "") + p.flush())
        assert wire.read().fields["C"] == "EX010"
        wire.send(p.bind("", "") + p.execute() + p.parse("x", "SELECT 1") + p.flush() + p.sync())
        assert wire.result().kinds == "Z"
        wire.send(p.describe("S", "x") + p.sync())
        assert wire.result().error["C"] == "26000", "what was skipped has not happened"


def test_syntax_error_of_ddlx(busbar, table):
    """S2: `Invalid ELECTRIC statement` with a detail, in both protocols; the session goes on."""
    with busbar.wire() as wire:
        for sql in ("ALTER TABLE truths ENABLE ELECTRIC JUNK", "ELECTRIC JUNK truths", "ALTER TABLE ENABLE ELECTRIC"):
            for answer in (wire.query(sql), wire.extended(sql)):
                assert answer.errors and answer.status == "I", sql
        error = wire.query("ELECTRIC GRANT JUNK ON truths TO 'a:b'").error
        assert error["M"] == "Invalid ELECTRIC statement" and "JUNK" in error["D"]


@pytest.mark.parametrize("sql, tag", [
    ("ELECTRIC GRANT UPDATE ON public.truths TO 'projects:house.admin'", "ELECTRIC GRANT"),
    ("ELECTRIC REVOKE UPDATE ON truths FROM 'projects:house.admin'", "ELECTRIC REVOKE"), ("ELECTRIC ASSIGN 'admin' TO truths.value", "ELECTRIC ASSIGN"),
    ("ELECTRIC UNASSIGN 'admin' FROM truths.value", "ELECTRIC UNASSIGN")])
def test_92_commands_behind_flags(busbar, table, sql, tag):
    """EX001 with the tag and the detail. DISABLE, refused by the original too, works: test_ddlx.py."""
    with busbar.wire() as wire:
        for answer in (wire.query(sql), wire.extended(sql)):
            assert answer.error["C"] == "EX001" and answer.error["M"] == f"{tag} is currently unsupported" and answer.status == "I"
            assert answer.error["D"].startswith("We are working on implementing access controls")
        assert wire.value("SELECT 1") == "1"
