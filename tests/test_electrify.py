# SPDX-License-Identifier: Apache-2.0
"""ENABLE beyond the numbered scenarios: the rules of spec/extension.md §7, the same at ENABLE and at ADD COLUMN."""

import sqlite3

import pytest

from harness.web import migrations

NAMES = ["a" * 63, "ä" * 31 + "x", '"', "a\"b'c", "_leading", "__tag", "Über größe", "таблица", "表🦉", "select", "a.b", " space ", "new\nline", "back\\slash",
         "semi;colon", "$dollar", "%s", "1digit", "-- comment", "null"]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def client_of(busbar):
    """A SQLite that has applied all that is served."""
    client = sqlite3.connect(":memory:", isolation_level=None)
    for migration in migrations(busbar.http_port):
        client.executescript(migration.sql)
    return client


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_names(busbar, ledger, protocol):
    """Tables, columns, keys, indexes and enums of any name: electrified, altered, closed; SQLite has the same names."""
    for name in NAMES:
        q, e = quoted(name), quoted(name[:20] + "_e")
        ledger.execute(f"CREATE TYPE {e} AS ENUM ('x'); CREATE TABLE {q} ({q} text, b int4, m {e}, up text CONSTRAINT {quoted(name[:20] + '_fk')} REFERENCES {q},"
                       f" PRIMARY KEY ({q})); CREATE INDEX {quoted(name[:20] + '_i')} ON {q} ({q}, b)")
    with busbar.wire() as wire:
        for name in NAMES:
            run = getattr(wire, protocol)
            assert run(f"ALTER TABLE {quoted(name)} ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"], name
            run(f"ALTER TABLE {quoted(name)} ADD COLUMN {quoted(name[:20] + '2')} text").ok()
            assert run(f"ALTER TABLE {quoted(name)} DROP COLUMN {quoted(name)}").error["C"] == "EX010"
    ledger.consistent()
    client = client_of(busbar)
    for name in NAMES:
        assert [row[1] for row in client.execute(f"PRAGMA table_info({quoted(name)})")] == [name, "b", "m", "up", name[:20] + "2"]
    with busbar.wire() as wire:
        for name in NAMES:
            wire.query(f"ELECTRIC DISABLE {quoted(name)}").ok()
    assert ledger.electrified == []
    assert client_of(busbar).execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


# What a column may not be: at ENABLE (P0001, named in the message) and at ADD COLUMN.
FORBIDDEN = ["time(1)", "timestamp(3)", "timestamptz(6)", "varchar(10)", "char", "numeric", "int4[]", "json", "timetz", "interval", "oid", "bad_mood", "word",
             "int4 GENERATED ALWAYS AS IDENTITY", "int4 GENERATED ALWAYS AS (1) STORED", "text DEFAULT 'x'", "serial", "text UNIQUE", "text CHECK (x > '')"]
ALLOWED = ["bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "uuid", "date", "time", "timestamp", "timestamptz", "jsonb", "bytea", "mood"]


def test_enable_and_add_column_agree(busbar, ledger):
    """What ENABLE takes ADD COLUMN takes, and what one refuses so does the other."""
    ledger.execute("CREATE TYPE mood AS ENUM ('x'); CREATE TYPE bad_mood AS ENUM ('1x'); CREATE DOMAIN word AS text; CREATE TABLE t (id int8 PRIMARY KEY)")
    with busbar.wire() as wire:
        wire.query("ELECTRIC ENABLE t").ok()
        for number, column in enumerate(ALLOWED):
            wire.query(f"CREATE TABLE u{number} (id int8 PRIMARY KEY, x {column}); ELECTRIC ENABLE u{number}").ok()
            wire.query(f"ALTER TABLE t ADD COLUMN x{number} {column}").ok()
        for column in FORBIDDEN:
            answer = wire.query(f"CREATE TABLE v (id int8 PRIMARY KEY, x {column}); ELECTRIC ENABLE v")
            assert answer.error["C"] == "P0001" and "x" in answer.error["M"] and answer.error["H"], column
            answer = wire.query(f"ALTER TABLE t ADD COLUMN x {column}")
            assert answer.error["C"] in ("EX005", "EX006", "EX011") and answer.error["H"], column
    ledger.consistent()


# Key or predicate, and whether SQLite clients get the index.
INDEXES = [("(lower(a))", True), ("(a) WHERE b > 0 AND b < 9 AND c", True), ("(a) WHERE b IN (1, 2) OR NOT c", True),
           ("(a) WHERE CASE WHEN b = 1 THEN c ELSE false END", True), ("(coalesce(a, 'x'))", True), ("(md5(a))", False),
           ("USING gin (to_tsvector('simple', a))", False), ("((j -> 'x' ->> 'y'))", False), ("(a) WHERE a ~ '^x'", False), ("(f(a))", False),
           ("((a || repeat('x', 3)))", False), ("((ARRAY[b, 1]))", False), ("USING hash (a)", True), ("USING brin (b)", True), ("((d AT TIME ZONE 'UTC'))", False)]


@pytest.mark.parametrize("when", ["before ENABLE", "after ENABLE", "in a transaction"])
def test_116_indexes_that_sqlite_cannot_follow(busbar, ledger, when):
    """Translated, or left out for SQLite clients with a notice; PostgreSQL clients get all; nothing ever stops."""
    ledger.execute("CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
                   "CREATE TABLE t (id int8 PRIMARY KEY, a text, b int4, c bool, j jsonb, d timestamptz)")
    statements = [f"CREATE INDEX i{number} ON t {key}" for number, (key, _) in enumerate(INDEXES)]
    with busbar.wire() as wire:
        if when == "before ENABLE":
            for sql in statements:
                wire.query(sql).ok()
            notices = wire.query("ELECTRIC ENABLE t").ok().notices
        elif when == "after ENABLE":
            wire.query("ELECTRIC ENABLE t").ok()
            notices = [notice for sql in statements for notice in wire.query(sql).ok().notices]
        else:
            for sql in ["BEGIN", "ELECTRIC ENABLE t", *statements]:
                wire.query(sql).ok()
            notices = wire.extended("COMMIT").ok().notices
    left_out = sorted(n["M"] for n in notices if "left out" in n["M"])
    expected = [f'index "i{number}" is left out for SQLite clients: ' for number, (_, kept) in enumerate(INDEXES) if not kept]
    expected.sort()
    assert len(left_out) == len(expected) and all(got.startswith(want) for got, want in zip(left_out, expected)), left_out
    client = client_of(busbar)
    names = [row[0] for row in client.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")]
    assert names == sorted(f"i{number}" for number, (_, kept) in enumerate(INDEXES) if kept)
    served = "\n".join(m.sql for m in migrations(busbar.http_port, "postgresql"))
    assert all(f"INDEX i{number} ON" in served for number in range(len(INDEXES)))
    ledger.consistent()


def test_54_circle(busbar, ledger):
    """Tables that refer to each other: in one migration, in any order; one alone fails at COMMIT with the statements that work."""
    ledger.execute("CREATE TABLE a (id int8 PRIMARY KEY, b int8); CREATE TABLE b (id int8 PRIMARY KEY REFERENCES a, c int8);"
                   " CREATE TABLE c (id int8 PRIMARY KEY REFERENCES b); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c;"
                   " CREATE TABLE d (id int8 PRIMARY KEY REFERENCES a)")
    with busbar.wire() as wire:
        for protocol in ("query", "extended"):
            answer = getattr(wire, protocol)("ELECTRIC ENABLE c")
            assert answer.error["C"] == "UB006" and answer.status == "I" and ledger.electrified == []
        hint = answer.error["H"]
        assert hint.startswith("In one migration: ")
        answer = wire.query("ELECTRIC ENABLE d")
        assert answer.error["C"] == "UB006" and '"public"."a"' in answer.error["M"]
        wire.query(hint.removeprefix("In one migration: ")).ok()
        assert ledger.electrified == ["a", "b", "c"]
        wire.query("ELECTRIC ENABLE d").ok()
    tables = "".join(m.sql for m in migrations(busbar.http_port))
    assert tables.count("FOREIGN KEY") == 4 and len(ledger.versions) == 2
    ledger.consistent()
