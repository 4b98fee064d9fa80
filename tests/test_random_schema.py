# SPDX-License-Identifier: Apache-2.0
"""Generated schema changes through the proxy: after each commit, the schema that a client builds from the served history, in
SQLite and in PostgreSQL, equals the electrified part of the server's catalog.

The statements come in every shape in which a tool may send them: alone, several in one query, in a transaction, behind
savepoints that are released or rolled back, in DO blocks and functions, by the extended protocol, from two sessions. Some are
refused; the property holds all the same. Tables come and go, and each RUN begins with an empty history, so that the last step
costs about what the first does. BUSBAR_SCHEMA_STEPS for more of them, BUSBAR_SCHEMA_SEED to repeat one run.
"""

import os
import random
import re
import sqlite3

import pytest

from harness import protocol as p
from harness.web import migrations

STEPS = int(os.environ.get("BUSBAR_SCHEMA_STEPS", "3000"))
RUN = 250
SEED = os.environ.get("BUSBAR_SCHEMA_SEED")
TABLES = 16  # about so many at a time

# What PostgreSQL calls a type, and what SQLite clients get (spec sqlite.md 2.1).
TYPES = {"text": "TEXT", "character varying": "TEXT", "smallint": "INTEGER", "integer": "INTEGER", "bigint": "INTEGER",
         "real": "REAL", "double precision": "REAL", "boolean": "INTEGER", "uuid": "TEXT", "date": "TEXT",
         "time without time zone": "TEXT", "timestamp without time zone": "TEXT", "timestamp with time zone": "TEXT",
         "jsonb": "TEXT_JSON", "bytea": "BLOB"}
KEYS = ["text", "uuid", "integer", "bigint"]
SCHEMA = """
SELECT c.relname, jsonb_build_object(
    'columns', (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attname)
                FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'key', (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM pg_constraint o, unnest(o.conkey) WITH ORDINALITY k(attnum, n)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE o.conrelid = c.oid AND o.contype = 'p'),
    'references', (SELECT jsonb_agg(jsonb_build_array(o.confrelid::regclass::text,
                     (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM unnest(o.conkey) WITH ORDINALITY k(attnum, n)
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)) ORDER BY o.confrelid::regclass::text, o.conkey)
            FROM pg_constraint o WHERE o.conrelid = c.oid AND o.contype = 'f'),
    'indexes', (SELECT jsonb_object_agg(i.relname, (SELECT jsonb_agg(a.attname ORDER BY k.n)
                      FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, n)
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum))
            FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
            WHERE x.indrelid = c.oid AND NOT x.indisprimary AND x.indisvalid))
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
"""
FACTS = """
SELECT (SELECT coalesce(jsonb_agg(table_name ORDER BY table_name), '[]') FROM electric.electrified WHERE schema_name = 'public'),
    (SELECT coalesce(jsonb_agg(t.typname ORDER BY t.typname), '[]') FROM pg_type t WHERE t.typtype = 'e' AND t.typnamespace = 'public'::regnamespace),
    (SELECT m.version FROM busbar.migration m ORDER BY m.seq DESC LIMIT 1)
"""


def catalog(connection):
    found = dict(connection.execute(SCHEMA).fetchall())
    for table in found.values():
        table["references"], table["indexes"] = table["references"] or [], table["indexes"] or {}
    return found


class SqliteClient:
    dialect = "sqlite"

    def __init__(self):
        self.db = sqlite3.connect(":memory:")

    def apply(self, sql):
        self.db.executescript(sql)

    def schema(self):
        rows = self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
        return {name: self.table(name) for (name,) in rows}

    def pragma(self, what, name):
        quoted = name.replace('"', '""')
        return self.db.execute(f'PRAGMA {what}("{quoted}")').fetchall()

    def table(self, name):
        info = self.pragma("table_info", name)
        references = {}
        for number, _, target, column, *_ in self.pragma("foreign_key_list", name):
            references.setdefault((number, target), []).append(column)
        indexes = {row[1]: [column for _, _, column in self.pragma("index_info", row[1])]
                   for row in self.pragma("index_list", name) if row[3] == "c"}
        return {"columns": sorted([row[1], row[2], bool(row[3])] for row in info),
                "key": [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]],
                "references": sorted([target, columns] for (_, target), columns in references.items()), "indexes": indexes}

    @staticmethod
    def expected(schema):
        return {name: {**table, "columns": sorted([c, TYPES.get(t, "TEXT"), n] for c, t, n in table["columns"]),
                       "references": sorted(table["references"])} for name, table in schema.items()}


class PostgresClient:
    dialect = "postgresql"

    def __init__(self, connection):
        self.db = connection

    def apply(self, sql):
        self.db.execute(sql)

    def schema(self):
        return catalog(self.db)

    @staticmethod
    def expected(schema):
        return schema


class Generator:
    """Statements that make sense for what is there now, and some that do not."""

    def __init__(self, rng, ledger):
        self.rng, self.ledger, self.n = rng, ledger, 0

    def name(self, prefix):
        self.n += 1
        return f"{prefix}{self.n}"

    def look(self):
        self.tables = catalog(self.ledger.connection)
        self.open, self.enums, self.version = self.ledger.execute(FACTS).fetchone()
        self.closed = sorted(set(self.tables) - set(self.open))

    def electrified(self):
        return {name: self.tables[name] for name in self.open}

    def column_type(self):
        return self.rng.choice(sorted(TYPES) + self.enums)

    def create_table(self):
        table, key = self.name("t"), self.rng.choice(KEYS)
        columns = [f"id {key} PRIMARY KEY"]
        columns += [f"{self.name('c')} {self.column_type()}{self.rng.choice(['', '', ' NOT NULL'])}" for _ in range(self.rng.randrange(4))]
        keys = {name: t for name in self.open for c, t, _ in self.tables[name]["columns"] if c == "id"}  # it may have been renamed
        if keys and self.rng.random() < 0.5:
            target, target_key = self.rng.choice(sorted(keys.items()))
            columns.append(f"{self.name('ref')} {target_key} REFERENCES {target}")
        electrify = f"; ALTER TABLE {table} ENABLE ELECTRIC" if self.rng.random() < 0.5 else ""
        return f"CREATE TABLE {table} ({', '.join(columns)}){electrify}"

    def create_enum(self):
        if len(self.enums) > 4:
            return f"DROP TYPE {self.rng.choice(self.enums)}"
        return f"CREATE TYPE {self.name('e')} AS ENUM ('a', 'b')"

    def retire(self):
        """A table goes; an electrified one is disabled first, which is refused while others refer to it."""
        referred = {target for table in self.tables.values() for target, _ in table["references"]}
        leaves = sorted(set(self.tables) - referred)
        if not leaves:
            return self.create_table()
        table = self.rng.choice(leaves + self.open[:1])
        close = f"ALTER TABLE {table} DISABLE ELECTRIC; " if table in self.open else ""
        return close + (f"DROP TABLE {table}" if self.rng.random() < 0.8 else f"ALTER TABLE {table} ENABLE ELECTRIC")

    def electrify(self):
        return f"ALTER TABLE {self.rng.choice(self.closed)} ENABLE ELECTRIC" if self.closed else self.create_table()

    def any_table(self):
        return self.rng.choice(self.open * 3 + self.closed or ["nothing"])

    def add_column(self):
        adds = [f"ADD COLUMN {self.name('c')} {self.column_type()}" for _ in range(self.rng.choice([1, 1, 2]))]
        return f"ALTER TABLE {self.any_table()} {', '.join(adds)}"

    def create_index(self):
        table = self.any_table()
        columns = [c for c, t, _ in ((self.tables.get(table) or {}).get("columns") or [["id", "text", True]]) if t != "jsonb"]
        chosen = self.rng.sample(columns, min(len(columns), self.rng.choice([1, 1, 2])))
        return f"CREATE INDEX {self.name('i')} ON {table} ({', '.join(chosen)})"

    def drop_index(self):
        indexes = [i for t in self.tables.values() for i in t["indexes"]]
        return f'DROP INDEX "{self.rng.choice(indexes)}"' if indexes else self.create_index()

    def create_index_in_other_case(self):
        """Under a name that SQLite takes for one that is there: of a table or an index, clients' or not."""
        names = sorted(set(self.tables) | {i for t in self.tables.values() for i in t["indexes"]})
        return f'CREATE INDEX "{self.rng.choice(names or ["i"]).swapcase()}" ON {self.any_table()} (id)'

    def against_the_rules(self):
        """Refused on electrified tables, fine on the others."""
        table = self.any_table()
        columns = [c for c, _, _ in ((self.tables.get(table) or {}).get("columns") or [["id", "", True]])]
        column = self.rng.choice(columns)
        return self.rng.choice([
            f"ALTER TABLE {table} DROP COLUMN {column}", f"ALTER TABLE {table} RENAME COLUMN {column} TO {self.name('r')}",
            f"ALTER TABLE {table} ALTER COLUMN {column} TYPE text", f"DROP TABLE {table}", f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE {table} RENAME TO {self.name('t')}", f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT NULL",
            f"ALTER TABLE {table} ADD COLUMN {self.name('c')} point", f"ALTER TABLE {table} ADD CONSTRAINT {self.name('k')} CHECK (true)"])

    def irrelevant(self):
        return self.rng.choice(["SELECT 1", "CREATE TEMP TABLE IF NOT EXISTS scratch (n int)", "COMMENT ON SCHEMA public IS 'x'",
                                f"CREATE OR REPLACE VIEW v{self.rng.randrange(9)} AS SELECT 1 AS one", "ANALYZE"])

    def statement(self):
        room = len(self.tables) < TABLES
        return self.rng.choices([self.create_table, self.electrify, self.add_column, self.create_index, self.create_index_in_other_case, self.drop_index, self.create_enum,
                                 self.against_the_rules, self.irrelevant, self.retire],
                                [3 if room else 1, 2, 6, 3, 1, 2, 1, 3, 1, 1 if room else 4])[0]()


class Run:
    def __init__(self, busbar, ledger, clients, seed):
        self.rng = random.Random(seed)
        self.ledger, self.busbar, self.clients = ledger, busbar, clients
        self.generator = Generator(self.rng, ledger)
        self.generator.look()
        self.version = None
        self.known = {}
        self.status = "I"
        self.refused = self.recorded = 0

    def send(self, wire, sql):
        """By either protocol; whether it went well."""
        single = ";" not in sql
        result = wire.extended(sql) if single and self.rng.random() < 0.5 else wire.query(sql)
        self.status = result.status
        self.refused += bool(result.errors)
        for error in result.errors:
            assert not re.match("XX|UB003|08", error["C"]), (sql, error)
        return not result.errors

    # The shapes.

    def alone(self, wire):
        self.send(wire, self.generator.statement())

    def several(self, wire):
        self.send(wire, "; ".join(self.generator.statement() for _ in range(self.rng.randrange(2, 4))))

    def transaction(self, wire):
        self.send(wire, "BEGIN")
        for _ in range(self.rng.randrange(1, 4)):
            self.rng.choice([self.alone, self.alone, self.savepoint, self.block])(wire)
        self.send(wire, self.rng.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))

    def savepoint(self, wire):
        name = self.generator.name("s")
        self.send(wire, f"SAVEPOINT {name}")
        self.alone(wire)
        self.send(wire, self.rng.choice([f"RELEASE {name}", f"ROLLBACK TO {name}", f"ROLLBACK TO {name}; RELEASE {name}"]))

    def block(self, wire):
        """In a DO block only what PostgreSQL itself understands."""
        plain = [s for s in self.generator.statement().split("; ") if "ELECTRIC" not in s and not s.startswith("SELECT")]
        if plain:
            self.send(wire, "DO $x$ BEGIN " + "".join(f"EXECUTE $y${s}$y$; " for s in plain) + "END $x$")

    def concurrently(self, wire):
        sql = self.generator.create_index()
        self.send(wire, sql.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY"))

    def pipeline(self, wire):
        """One batch of the extended protocol, one implicit transaction."""
        statements = [s for _ in range(2) for s in self.generator.statement().split("; ")]
        batch = b"".join(p.parse("", s) + p.bind("", "") + p.execute() for s in statements if not s.startswith("ANALYZE"))
        result = wire.send(batch + p.sync()).result()
        self.status = result.status
        self.refused += bool(result.errors)

    def step(self, wires):
        shape = self.rng.choices([self.alone, self.several, self.transaction, self.block, self.concurrently, self.pipeline],
                                 [5, 3, 4, 1, 1, 2])[0]
        wire = self.rng.choice(wires)
        shape(wire)
        if self.status != "I":
            assert wire.query("ROLLBACK").ok().status == "I"  # what an error left open

    # The property.

    def check(self):
        self.ledger.consistent()
        self.generator.look()
        server = self.generator.electrified()
        if self.generator.version == self.version:
            assert server == self.known, "changed, and nothing recorded"
            return
        for client in self.clients:
            news = migrations(self.busbar.http_port, client.dialect, self.version)
            for migration in news:
                client.apply(migration.sql)
            assert news[-1].version == self.generator.version
            assert client.schema() == client.expected(server), client.dialect
        self.recorded += len(news)
        self.version, self.known = self.generator.version, server

    def check_whole(self, clients):
        """Those who come late have the same: the whole history at once."""
        for client in clients:
            for migration in migrations(self.busbar.http_port, client.dialect):
                client.apply(migration.sql)
            assert client.schema() == client.expected(self.known), client.dialect


@pytest.mark.parametrize("number", range(1 if SEED else -(-STEPS // RUN)))
def test_clients_have_the_servers_schema(busbar, ledger, cluster, number):
    seed = int(SEED) if SEED else random.randrange(2**32)
    print(f"BUSBAR_SCHEMA_SEED={seed}")
    names = [cluster.create_database() for _ in range(2)]
    with cluster.connect(names[0]) as soon, cluster.connect(names[1]) as late, busbar.wire() as first, busbar.wire() as second:
        run = Run(busbar, ledger, [SqliteClient(), PostgresClient(soon)], seed)
        for _ in range(RUN):
            run.step([first, second])
            run.check()
        run.check_whole([SqliteClient(), PostgresClient(late)])
    for name in names:
        cluster.drop_database(name)
    print(f"recorded {run.recorded}, refused {run.refused}")
    assert ledger.value("SELECT in_step FROM busbar.recorder"), "the proofs had the whole history"
    assert run.recorded > RUN / 5 and run.refused > RUN / 20, "the generator has become harmless"
