# SPDX-License-Identifier: Apache-2.0
"""Random traffic that is neither DDL nor DDLX: whatever a client may legally (or nearly) send.

``generate(seed)`` returns batches: bytes, and how many ReadyForQuery they are answered with whatever the state of the
session, so that a player can go in lock-step or throw everything in at once. The same bytes get the same answer from
the same data: nothing here depends on time, process or transaction ids, and every unordered scan is over a table
that was just filled.
"""

import random
from dataclasses import dataclass

from . import protocol as p

SETUP = """
CREATE TABLE prop (id int8 PRIMARY KEY, t text, b bytea, n numeric, ok bool);
CREATE TABLE sink (id int8, t text, CHECK (id < 1000000));
CREATE SEQUENCE prop_seq;
CREATE FUNCTION say(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'said %', what; RETURN what; END $$;
CREATE FUNCTION warn_and_fail(what text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE WARNING 'failing: %', what USING DETAIL = 'soon', HINT = 'none'; RAISE EXCEPTION 'failed: %', what USING ERRCODE = 'XX123'; END $$;
CREATE PROCEDURE twice(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := n * 2; END $$;
"""
RESET = """
TRUNCATE prop, sink;
SELECT setval('prop_seq', 1, false);
INSERT INTO prop SELECT g, 'row ' || g, decode(repeat(lpad(to_hex(g), 2, '0'), 3), 'hex'), g / 7.0, g % 2 = 0 FROM generate_series(1, 12) g;
"""


@dataclass
class Batch:
    data: bytes
    ready: int     # ReadyForQuery messages in the answer
    label: str     # for the failure message


PARAMETERS = [("int4", 23), ("text", 25), ("int8", 20), ("bool", 16), ("unknown", 0)]

STATEMENTS = [
    "SELECT 1", "SELECT 1 AS electric", "SELECT NULL, ''::text, 'ünïcödé', 1.50::numeric, true, ARRAY[1,2,NULL]",
    "SELECT * FROM prop ORDER BY id", "SELECT id, t FROM prop WHERE id < 5 ORDER BY id DESC", "SELECT count(*) FROM sink", "TABLE prop", "VALUES (1, 'a'), (2, 'b')",
    "SELECT g, repeat('x', g) FROM generate_series(1, 40) g", "SELECT repeat('long ', 30000)", "SELECT decode(repeat('00ff', 500), 'hex')",
    "SELECT", "SELECT FROM prop", "SELECT 'ALTER TABLE items ENABLE ELECTRIC'", "SELECT $$DROP TABLE prop; ALTER TABLE x$$", "SELECT $a$ $$ ; -- $a$, 'it''s; here'",
    "/* ALTER TABLE prop ADD COLUMN x int; */ SELECT 2", "-- CREATE TABLE y\nSELECT 3", "SELECT 'ENABLE' AS \"ALTER TABLE; \"\"x\"\"\"", "SELECT E'a\\'; DROP TABLE prop; --'",
    "WITH x AS (SELECT 1 AS a) SELECT * FROM x", "WITH gone AS (DELETE FROM prop WHERE id = 3 RETURNING *) SELECT id FROM gone",
    "INSERT INTO prop VALUES (nextval('prop_seq') + 100, 'new')", "INSERT INTO prop (id, t) VALUES (1, 'dup')", "INSERT INTO prop (id) VALUES (200) ON CONFLICT DO NOTHING",
    "INSERT INTO prop (id, t) SELECT g, 'many' FROM generate_series(300, 310) g ON CONFLICT (id) DO UPDATE SET t = 'again' RETURNING id",
    "UPDATE prop SET t = t || '!' WHERE id % 3 = 0", "UPDATE prop SET ok = NOT ok RETURNING id, ok", "DELETE FROM prop WHERE id > 250", "TRUNCATE sink",
    "SELECT say('hello')", "SELECT say(t) FROM prop WHERE id <= 3 ORDER BY id", "SELECT warn_and_fail('why not')", "SELECT 1/0", "SELECT nothing FROM prop", "SELECT * FROM missing",
    "SELEC 1", "SELECT 'unterminated", "INSERT INTO", "SELECT $1", "SELECT 'x'::int", "UPDATE missing SET a = 1",
    "SET application_name = 'one'", "SET application_name TO 'two; three'", "SET TimeZone = 'Asia/Tokyo'", "SET LOCAL DateStyle = 'German'", "RESET ALL", "SHOW TimeZone",
    "SET client_min_messages = error", "SET client_min_messages = notice", "SET nonsense.thing = 'x'", "SHOW nonsense", "SELECT set_config('application_name', 'by function', false)",
    "LISTEN here", "LISTEN here; NOTIFY here, 'both'", "UNLISTEN *", "NOTIFY here, 'payload'", "SELECT pg_notify('here', 'by function')", "NOTIFY elsewhere",
    "EXPLAIN (COSTS OFF) SELECT * FROM prop WHERE id = 1", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE prop SET t = 'e' WHERE id = 2",
    "PREPARE ps(int8) AS SELECT t FROM prop WHERE id = $1", "EXECUTE ps(2)", "DEALLOCATE ps", "DEALLOCATE ALL", "DISCARD PLANS", "DISCARD SEQUENCES",
    "DECLARE c CURSOR FOR SELECT id FROM prop ORDER BY id", "FETCH 3 FROM c", "MOVE 1 IN c", "CLOSE c", "DECLARE h CURSOR WITH HOLD FOR SELECT 1", "FETCH ALL h", "CLOSE ALL",
    "LOCK TABLE prop IN SHARE MODE", "COPY (SELECT id, t FROM prop ORDER BY id) TO STDOUT", "COPY prop (id, t) TO STDOUT WITH (FORMAT csv, HEADER)", "COPY prop TO STDOUT (FORMAT binary)",
    "COPY missing TO STDOUT", "VACUUM prop", "ANALYZE sink", "CHECKPOINT", "DO $$ BEGIN RAISE NOTICE 'in a block'; PERFORM 1; END $$", "DO $$ BEGIN PERFORM 1/0; END $$",
    "CALL twice(21)", "CALL missing(1)", "SELECT lastval()", "SELECT pg_advisory_lock(77)", "SELECT pg_advisory_unlock_all()", "SET ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT",
    "", ";", ";;", " -- nothing", "/* nothing */",
]
TRANSACTION = [
    "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY", "COMMIT", "END", "ROLLBACK", "ABORT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT AND NO CHAIN",
    "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "RELEASE a", "RELEASE SAVEPOINT b", "SET TRANSACTION READ WRITE", "PREPARE TRANSACTION 'two'", "ROLLBACK PREPARED 'two'",
]
PARAMETRIZED = [
    ("SELECT $1::int4 + 1", ["int4"]), ("SELECT $1::text, $2::int8", ["text", "int8"]), ("SELECT id, t, b, n, ok FROM prop WHERE id >= $1 ORDER BY id", ["int8"]),
    ("INSERT INTO prop (id, t) VALUES ($1, $2)", ["int8", "text"]), ("UPDATE prop SET t = $2 WHERE id = $1 RETURNING *", ["int8", "text"]), ("SELECT $1::bool AND true", ["bool"]),
    ("SELECT 1/$1::int4", ["int4"]), ("SELECT g FROM generate_series(1, $1::int4) g", ["int4"]), ("SELECT say($1)", ["text"]), ("SELECT length($1::text)", ["text"]),
]


class _Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.statements = {}  # names that were given to Parse, with their parameters; the server may disagree
        self.portals = []     # names that were given to Bind since the last Sync

    def pick(self, weighted):
        kinds, weights = zip(*weighted)
        return self.rng.choices(kinds, weights)[0]()

    def statement(self):
        return self.rng.choice(TRANSACTION if self.rng.random() < 0.3 else STATEMENTS)

    # Simple protocol.

    def simple(self):
        sql = self.statement()
        return Batch(p.query(sql), 1, f"Q {sql}")

    def simple_many(self):
        parts = [self.statement() for _ in range(self.rng.randint(2, 5))]
        # Several statements with VACUUM, or COPY from the client among them, are another test's business.
        sql = self.rng.choice(("; ", ";", ";\n-- and\n")).join(parts) + self.rng.choice(("", ";", " ; "))
        return Batch(p.query(sql), 1, f"Q {sql}")

    def big(self):
        size = self.rng.choice((60_000, 65_520, 65_536, 66_000, 300_000))
        text = "y" * size
        sql = self.rng.choice((f"SELECT length('{text}')", f"INSERT INTO sink VALUES (1, '{text}')", f"/*{text}*/ SELECT 1", f"SELECT 1 /*{text}*/; SELECT 2"))
        return Batch(p.query(sql), 1, f"Q big {sql[:20]} {size}")

    def rows(self):
        lines = [f"{n}\t{'z' * self.rng.choice((0, 1, 50, 5000))}\n".encode() for n in range(self.rng.randint(0, 6))]
        if self.rng.random() < 0.3:
            lines.insert(self.rng.randint(0, len(lines)), self.rng.choice((b"nonsense\tx\n", b"1000001\tcheck\n", b"1\n", b"1\t2\t3\n")))
        data = b"".join(lines)
        out, at = b"", 0
        while at < len(data):  # rows cut anywhere: CopyData need not hold whole rows
            size = self.rng.choice((1, 3, 10, 1000, 9000))
            out += p.copy_data(data[at:at + size])
            at += size
        return out + self.rng.choice((p.copy_data(b""), b"", b""))

    def copy_end(self):
        return p.copy_fail("not today") if self.rng.random() < 0.25 else p.copy_done()

    def copy_in(self):
        sql = self.rng.choice(("COPY sink FROM STDIN", "COPY sink (id, t) FROM STDIN", "copy sink from stdin with (format text)", "COPY missing FROM STDIN"))
        return Batch(p.query(sql) + self.rows() + self.copy_end(), 1, f"Q {sql} …")

    def copy_in_among_others(self):
        sql = "SELECT 1; COPY sink FROM STDIN; SELECT 2"
        return Batch(p.query("ROLLBACK") + p.query(sql) + self.rows() + self.copy_end(), 2, f"Q ROLLBACK, Q {sql} …")

    def copy_in_extended(self):
        # ROLLBACK first: in a failed transaction COPY would not begin, and then the first Sync would be answered.
        # While COPY reads, Flush and Sync are ignored.
        data = p.query("ROLLBACK") + p.parse("", "COPY sink FROM STDIN") + p.bind("", "") + self.rng.choice((b"", p.describe("P", ""))) + p.execute()
        data += self.rng.choice((b"", p.sync(), p.flush(), p.sync() + p.sync() + p.flush()))
        # The last Parse takes the unnamed statement away: executed again by a later batch, COPY would wait for data.
        data += self.rows() + self.copy_end() + p.sync() + p.parse("", "SELECT 'after COPY'") + p.sync()
        self.statements[""] = []
        return Batch(data, 3, "Q ROLLBACK, extended COPY sink FROM STDIN …")

    def function_call(self):
        oid, args = self.rng.choice(((1397, [b"-5"]), (1397, [b"nonsense"]), (2, [b"x"]), (1397, [None]), (177, [b"40", b"2"]), (1397, [b"1", b"2"])))
        return Batch(p.function_call(oid, args), 1, f"F {oid} {args}")

    # Extended protocol.

    def value(self, kind, binary):
        rng = self.rng
        if rng.random() < 0.08:
            return None
        if kind in ("int4", "int8"):
            number = rng.choice((0, 1, 2, 5, 7, 400, -3))
            return number.to_bytes(4 if kind == "int4" else 8, "big", signed=True) if binary else str(number).encode()
        if kind == "bool":
            return b"\1" if binary else b"true"
        return rng.choice((b"", b"text", "größe".encode(), b"w" * rng.choice((1000, 70_000)), b"'; DROP TABLE prop; --"))

    def name(self, names, known=()):
        """Mostly a name that the server knows, sometimes one that it does not."""
        if known and self.rng.random() < 0.93:
            return self.rng.choice(list(known))
        return self.rng.choice(("", "", *names))

    def op_parse(self):
        name = self.name(("s1", "s2", "ALTER TABLE"))
        if name in self.statements and name and self.rng.random() < 0.9:
            name = ""  # a named statement cannot be parsed twice
        if self.rng.random() < 0.6:
            sql, kinds = self.rng.choice(PARAMETRIZED)
            oids = self.rng.choice(([], [dict(PARAMETERS)[k] for k in kinds], [0] * len(kinds)))
        else:
            sql, kinds, oids = self.statement(), [], []
        self.statements[name] = kinds
        return p.parse(name, sql, oids), f"P {name!r} {sql}"

    def op_bind(self):
        portal, name = self.name(("p1", "p2")), self.name(("s1", "s2", "ALTER TABLE"), self.statements)
        kinds = self.statements.get(name, [])
        self.portals.append(portal)
        formats = self.rng.choice(([], [0], [1], [self.rng.randint(0, 1) for _ in kinds]))
        per_column = formats * len(kinds) if len(formats) == 1 else formats or [0] * len(kinds)
        values = [self.value(k, f) for k, f in zip(kinds, per_column)]
        if self.rng.random() < 0.04:
            values.append(b"surplus")
        return p.bind(portal, name, values, formats, self.rng.choice(([], [0], [1]))), f"B {portal!r} {name!r} {len(values)}"

    def portal(self):
        """Mostly one that was bound in this group, else one that may be left from an earlier group of the transaction.

        Not the unnamed one then: with it PostgreSQL 15.20 itself was seen to crash (one seed, without Busbar; cause not found),
        and has not been since in 5000.
        """
        return self.name(("p1", "p2"), self.portals[-2:]) if "" in self.portals else self.rng.choice(self.portals or ["p1", "p2"])

    def op_execute(self):
        if not self.portals and self.rng.random() < 0.9:
            data, label = self.op_bind()
            more, text = self.op_execute() if self.portals else (b"", "")
            return data + more, label + " | " + text
        portal, limit = self.portal(), self.rng.choice((0, 0, 0, 1, 2, 5))
        return p.execute(portal, limit), f"E {portal!r} {limit}"

    def op_describe(self):
        what = self.rng.choice("SP")
        name = self.name(("s1", "s2"), self.statements) if what == "S" else self.portal()
        return p.describe(what, name), f"D {what} {name!r}"

    def op_close(self):
        what = self.rng.choice("SP")
        name = self.name(("s1", "s2", "never made") if what == "S" else ("p1", "p2"))
        if what == "S":
            self.statements.pop(name, None)
        return p.close(what, name), f"C {what} {name!r}"

    def op_flush(self):
        return p.flush(), "H"

    def op_whole(self):
        """Parse, Bind, Execute of one statement: most of what real clients do."""
        sql = self.statement()
        if "COPY" in sql and "STDIN" in sql:
            return p.flush(), "H"
        self.statements[""] = []
        return p.parse("", sql) + p.bind("", "") + p.describe("P", "") + p.execute(), f"PBDE {sql}"

    def extended(self):
        data, label = b"", []
        self.portals = []
        for _ in range(self.rng.randint(1, 9)):
            piece, text = self.pick([(self.op_parse, 5), (self.op_bind, 6), (self.op_execute, 7), (self.op_describe, 3), (self.op_close, 1), (self.op_flush, 1),
                                     (self.op_whole, 4)])
            data += piece
            label.append(text)
        return Batch(data + p.sync(), 1, " | ".join(label) + " | S")

    def lone_syncs(self):
        count = self.rng.randint(1, 3)
        return Batch(p.sync() * count, count, f"{count} Syncs")

    def batch(self):
        batch = self.pick([(self.simple, 10), (self.simple_many, 5), (self.extended, 14), (self.copy_in, 3), (self.copy_in_among_others, 1),
                           (self.copy_in_extended, 2), (self.big, 1), (self.function_call, 1), (self.lone_syncs, 1)])
        if batch.data[:1] == b"Q" and batch.ready == 1:
            self.statements.pop("", None)  # a simple Query drops the unnamed statement
        return batch

    def batches(self):
        return [self.batch() for _ in range(self.rng.randint(5, 25))]


def generate(seed):
    return _Generator(seed).batches()
