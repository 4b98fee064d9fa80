# SPDX-License-Identifier: Apache-2.0
"""Where clauses of shapes against PostgreSQL: generated expressions over generated rows.

For every expression and row three answers must agree: PostgreSQL's to the text itself, ours (where_eval), and PostgreSQL's to
what we print for it (where_print). An expression that raises an error on a row must not be true for us. The seed is printed;
BUSBAR_SEED and BUSBAR_WHERE_COUNT repeat or extend a run.
"""

import os
import random
import subprocess

import psycopg

from harness.busbar import binary

COLUMNS = [
    ("b", "bool"), ("b2", "bool"), ("i2", "int2"), ("i", "int4"), ("k", "int4"), ("i8", "int8"), ("n", "numeric"),
    ("f4", "float4"), ("f", "float8"), ("g", "float8"), ("t", "text"), ("s", "text"), ("v", "varchar"), ("u", "uuid"), ("w", "uuid"),
    ("d", "date"), ("d2", "date"), ("ti", "time"), ("ts", "timestamp"), ("ts2", "timestamp"), ("tz", "timestamptz"),
    ("tz2", "timestamptz"), ("iv", "interval"), ("e", "mood"), ("j", "jsonb"), ("y", "bytea"),
]
TYPES = {}
for _name, _type in COLUMNS:
    TYPES.setdefault(_type, []).append(_name)

TEXTS = ["", "a", "b", "abc", "ABC", "aBc", "a%c", "a_c", "a\\c", "é", "É", "straße", "Ω", "ω", "日本", "🙂", "a\nb", "it's", "%", "_",
         "\\", "ab", "cab", "Hello World", "12", " 7 ", "1.5", "x", "aaaaaaab", "\t", "1e5", "t", "2020-01-01"]
PATTERNS = ["%", "_", "", "a%", "%a", "%a%", "a_c", "a\\%c", "a\\_c", "a\\\\c", "__", "%b_", "_%_", "é", "%É%", "%日%", "a%b%c", "%aab",
            "\\%", "A%", "%\\a%", "h%O w%d", "___", "%\\\\%", "🙂", "_本"]
VALUES = {
    "bool": ["t", "f"],
    "int2": ["0", "1", "-1", "2", "7", "32767", "-32768", "100"],
    "int4": ["0", "1", "-1", "2", "3", "7", "2147483647", "-2147483648", "100", "46341"],
    "int8": ["0", "1", "-1", "2", "7", "9223372036854775807", "-9223372036854775808", "3000000000", "100"],
    "numeric": ["0", "1", "-1", "0.5", "-0.5", "1.50", "2.5", "99999999999999999999.99", "0.000000000001", "NaN", "Infinity", "-Infinity",
                "12345678901234567890", "7", "0.1", "1e30", "-1e-20", "3.333333"],
    "float4": ["0", "-0", "1", "-1", "0.5", "0.1", "1e20", "-1e-20", "3.4e38", "NaN", "Infinity", "-Infinity", "1.1754944e-38", "7", "1e6"],
    "float8": ["0", "-0", "1", "-1", "0.5", "0.1", "1e20", "-1e-20", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "5e-324",
               "7", "2.5", "123456789012345678", "1e15", "0.0001", "0.00001"],
    "text": TEXTS, "varchar": TEXTS,
    "uuid": ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff",
             "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"],
    "date": ["2020-01-01", "2024-02-29", "1999-12-31", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31", "4714-11-24 BC",
             "200000-12-31", "2020-01-31", "1970-01-01", "1900-03-01"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "12:00:00", "10:20:30.5", "01:02:03"],
    "timestamp": ["2020-01-01 00:00:00", "2024-02-29 12:34:56.789", "1999-12-31 23:59:59.999999", "0044-03-15 10:00:00 BC", "infinity",
                  "-infinity", "200000-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC", "2020-01-31 10:00:00", "1970-01-01 00:00:00"],
    "interval": ["0", "1 day", "24 hours", "-1 day", "1 mon", "30 days", "1 year 2 mons 3 days 04:05:06.789", "-1 year +2 days -03:00:00",
                 "-00:00:01", "1 mon -1 day", "35 days 50:00:00", "-35 days 50:00:00", "100 years", "0.000001 s", "1.5 months"],
    "mood": ["sad", "ok", "it's \\ \"odd\""],
    "jsonb": ["{}", "[1]"], "bytea": ["\\x00"],
}
VALUES["timestamptz"] = [v.replace(" BC", "+00 BC") if " BC" in v else v if "inf" in v else v + "+00" for v in VALUES["timestamp"]]
WRITTEN = {  # other ways to write a constant
    "bool": ["true", "yes", "off", "1", "F", " tr "],
    "int4": [" 12 ", "+5", "-0"],
    "float8": ["1e5", "inf", " 1.5 ", ".5", "5."],
    "numeric": ["1e3", ".5", "-.5e-3", " 12 ", "0012"],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"],
    "date": ["20200101", "2020-1-1", "2023-09-12T10:00:00.000Z", "epoch", "2020-01-01 10:00"],
    "time": ["10:00", "04:05:06.7890125", "2023-09-12 10:00:00+02", "1:02"],
    "timestamp": ["2023-09-12T10:00:00.000Z", "2020-01-01", "epoch", "2020-01-01 10:00:00+05", "2020-01-01T10:00", "2019-12-31 24:00:00"],
    "timestamptz": ["2023-09-12T10:00:00.000Z", "2020-01-01", "2020-01-01 10:00:00+05:30", "2020-01-01 10:00:00-0130", "2020-01-01 10:00 UTC",
                    "epoch"],
    "interval": ["P1Y2M3DT4H5M6S", "1 day ago", "2 weeks", "1:30", "90", "1 2:03:04", "PT0.5S", "1 hour 30 min", "@ 1 day 2 hours ago",
                 "1.5 days", "0.5 weeks", "1.5 years", "-5 minutes", "2 decades", "100 ms"],
}
INTS = ["int2", "int4", "int8"]
NUMBERS = [*INTS, "numeric", "float4", "float8"]
TIMES = ["date", "time", "timestamp", "timestamptz", "interval"]
COMPARABLE = [*NUMBERS, "text", "uuid", *TIMES, "bool"]


def quote(text):
    return "'" + text.replace("'", "''") + "'"


class Generator:
    """Numbers and dates keep clear of what is ours alone: the bound on digits, and differences that PostgreSQL 15 lets wrap."""

    def __init__(self, rng):
        self.rng = rng

    def value(self, kind):
        pool = VALUES[kind] + (WRITTEN.get(kind, []) if self.rng.random() < 0.3 else [])
        return self.rng.choice(pool)

    def column(self, kind):
        names = TYPES[kind]
        if kind == "text":
            names = names + TYPES["varchar"]
        return "this." + self.rng.choice(names)

    def constant(self, kind):
        """A constant whose type does not depend on what stands beside it."""
        text = self.value(kind)
        if kind in ("int4", "int8", "numeric") and self.rng.random() < 0.6:
            plain = text.strip().lstrip("+").lower()
            if kind == "int4" and not plain.startswith("-0") and plain != "-2147483648":
                return f"({plain})" if plain.startswith("-") else plain
            if kind == "numeric" and "n" not in plain and ("." in plain or "e" in plain) and not plain.startswith("-"):
                return plain
        if kind == "bool" and self.rng.random() < 0.5:
            return self.rng.choice(["true", "false"])
        form = self.rng.randrange(3)
        if form == 0 and kind in ("date", "time", "timestamp", "timestamptz", "interval", "uuid", "text", "int8"):
            return f"{kind} {quote(text)}"
        return f"{quote(text)}::{kind}" if form == 1 else f"CAST({quote(text)} AS {kind})"

    def literal(self, kind):
        """A constant that takes its type from the other side."""
        return "NULL" if self.rng.random() < 0.05 else quote(self.value(kind))

    def of(self, kind, depth):
        """An expression of a type."""
        if kind == "mood":
            return self.column(kind)
        pick = self.rng.random()
        makers = getattr(self, "of_" + kind, None)
        if depth <= 0 or pick < 0.4 or makers is None:
            return self.column(kind) if self.rng.random() < 0.7 else self.constant(kind)
        if pick < 0.47:
            return f"COALESCE({self.of(kind, depth - 1)}, {self.of(kind, depth - 1)})"
        return makers(depth - 1)

    def integer(self, kind, d):
        choice = self.rng.randrange(6)
        if choice == 0:
            return f"({self.rng.choice('+-@')} {self.of(kind, d)})"
        if choice == 1:
            return f"({self.of(self.rng.choice(INTS), d)}::{kind})"
        op = self.rng.choice(["+", "-", "*", "/", "%", "&", "|", "#"])
        return f"({self.of(kind, d)} {op} {self.of(kind, d)})"

    def of_int2(self, d):
        return self.integer("int2", d)

    def of_int4(self, d):
        choice = self.rng.randrange(10)
        if choice == 0:
            return f"({self.of('date', d)} - {self.of('date', d)})"
        if choice == 1:
            return f"({self.of('bool', d)}::int4)"
        if choice == 2:
            return f"({self.of('float8', d)}::int4)"
        if choice == 3:
            return f"({self.of('numeric', d)}::int4)"
        if choice == 4:
            return f"({self.of('text', d)}::int4)"
        return self.integer("int4", d)

    def of_int8(self, d):
        if self.rng.random() < 0.3:
            left, right = self.of(self.rng.choice(INTS), d), self.of("int8", d)
            return f"({left} {self.rng.choice('+-*/')} {right})"
        return self.integer("int8", d)

    def of_numeric(self, d):
        choice = self.rng.randrange(6)
        if choice == 0:
            return f"({self.rng.choice('+-@')} {self.of('numeric', d)})"
        if choice == 1:
            return f"({self.of(self.rng.choice(INTS), d)} {self.rng.choice('+-*/%')} {self.of('numeric', d)})"
        if choice == 2:
            return f"({self.of(self.rng.choice(['float4', 'int4']), d)}::numeric)"  # float8 may exceed WHERE_MAX_DIGITS
        return f"({self.of('numeric', d)} {self.rng.choice('+-*/%')} {self.of('numeric', d)})"

    def of_float4(self, d):
        choice = self.rng.randrange(4)
        if choice == 0:
            return f"({self.rng.choice('+-@')} {self.of('float4', d)})"
        if choice == 1:
            return f"({self.of(self.rng.choice(NUMBERS), d)}::float4)"
        return f"({self.of('float4', d)} {self.rng.choice('+-*/')} {self.of('float4', d)})"

    def of_float8(self, d):
        choice = self.rng.randrange(7)
        if choice == 0:
            return f"({self.rng.choice('+-@')} {self.of('float8', d)})"
        if choice == 1:
            return f"(|/ {self.of('float8', d)})"
        if choice == 2:
            return f"({self.of('float8', d)} ^ {self.of('float8', d)})"
        if choice == 3:
            return f"({self.of(self.rng.choice(NUMBERS), d)} {self.rng.choice('+-*/')} {self.of('float8', d)})"
        if choice == 4:
            return f"({self.of(self.rng.choice([*NUMBERS, 'text']), d)}::float8)"
        return f"({self.of('float8', d)} {self.rng.choice('+-*/')} {self.of('float8', d)})"

    def of_text(self, d):
        choice = self.rng.randrange(4)
        if choice == 0:
            return f"({self.of('text', d)} || {self.of('text', d)})"
        if choice == 1:
            return f"({self.of(self.rng.choice([*COMPARABLE, 'mood']), d)}::text)"
        return f"{self.rng.choice(['lower', 'upper'])}({self.of('text', d)})"

    def of_uuid(self, d):
        return f"({self.of('text', d)}::uuid)"

    def of_date(self, d):
        choice = self.rng.randrange(4)
        if choice == 0:
            return f"({self.of('int4', d)} + {self.of('date', d)})"
        if choice == 1:
            return f"({self.of('timestamp', d)}::date)"
        return f"({self.of('date', d)} {self.rng.choice('+-')} {self.of('int4', d)})"

    def of_time(self, d):
        choice = self.rng.randrange(3)
        if choice == 0:
            return f"({self.of('interval', d)} + {self.of('time', d)})"
        if choice == 1:
            return f"({self.of('interval', d)}::time)"
        return f"({self.of('time', d)} {self.rng.choice('+-')} {self.of('interval', d)})"

    def of_timestamp(self, d):
        choice = self.rng.randrange(6)
        if choice == 0:
            return f"({self.of('date', d)} + {self.of('time', d)})"
        if choice == 1:
            return f"({self.of('date', d)} {self.rng.choice('+-')} {self.of('interval', d)})"
        if choice == 2:
            return f"({self.of('timestamptz', d)} AT TIME ZONE {quote(self.rng.choice(['UTC', 'GMT', '+02', '-05:30', 'utc']))})"
        if choice == 3:
            return f"({self.of('date', d)}::timestamp)"
        return f"({self.of('timestamp', d)} {self.rng.choice('+-')} {self.of('interval', d)})"

    def of_timestamptz(self, d):
        if self.rng.random() < 0.3:
            return f"timezone({quote(self.rng.choice(['UTC', '+03', '-01']))}, {self.of('timestamp', d)})"
        return f"({self.of('timestamptz', d)} {self.rng.choice('+-')} {self.of('interval', d)})"

    def of_interval(self, d):
        choice = self.rng.randrange(8)
        if choice == 0:
            kind = self.rng.choice(["timestamp", "timestamptz", "time"])
            return f"({self.of(kind, d)} - {self.of(kind, d)})"
        if choice == 1:
            return f"{self.rng.choice(['justify_days', 'justify_hours', 'justify_interval'])}({self.of('interval', d)})"
        if choice == 2:
            return f"({self.of('interval', d)} {self.rng.choice('*/')} {self.of(self.rng.choice(['float8', 'int4']), d)})"
        if choice == 3:
            return f"({self.of('float8', d)} * {self.of('interval', d)})"
        if choice == 4:
            return f"(- {self.of('interval', d)})"
        if choice == 5:
            return f"({self.of('time', d)}::interval)"
        return f"({self.of('interval', d)} {self.rng.choice('+-')} {self.of('interval', d)})"

    def pair(self, d):
        """Two sides that can be compared."""
        if self.rng.random() < 0.25:
            return self.of(self.rng.choice(NUMBERS), d), self.of(self.rng.choice(NUMBERS), d)
        if self.rng.random() < 0.1:
            return self.of("date", d), self.of("timestamp", d)
        if self.rng.random() < 0.1:
            return self.column("mood"), self.literal("mood")
        kind = self.rng.choice(COMPARABLE)
        left = self.of(kind, d)
        return left, self.literal(kind) if self.rng.random() < 0.4 else self.of(kind, d)

    def comparison(self, d):
        left, right = self.pair(d)
        ops = ["=", "<>", "!="] if left == "this.e" else ["=", "<>", "!=", "<", ">", "<=", ">="]
        return f"({left} {self.rng.choice(ops)} {right})"

    def membership(self, d):
        kind = self.rng.choice([*COMPARABLE, "mood"])
        items = []
        for _ in range(self.rng.randrange(1, 8)):
            pick = self.rng.random()
            if pick < 0.5 or kind == "mood":
                items.append(self.literal(kind))
            elif pick < 0.9:
                items.append(self.constant(self.rng.choice(NUMBERS) if kind in NUMBERS else kind))
            else:
                items.append(self.of(kind, d))
        return f"({self.of(kind, d)} {self.rng.choice(['IN', 'NOT IN'])} ({', '.join(items)}))"

    def of_bool(self, d):
        choice = self.rng.randrange(14)
        if choice < 4:
            return self.comparison(d)
        if choice == 4:
            return f"({self.of('bool', d)} AND {self.of('bool', d)})"
        if choice == 5:
            return f"({self.of('bool', d)} OR {self.of('bool', d)})"
        if choice == 6:
            return f"(NOT {self.of('bool', d)})"
        if choice == 7:
            test = self.rng.choice(["TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE", "NOT UNKNOWN"])
            return f"({self.of('bool', d)} IS {test})"
        if choice == 8:
            what = self.rng.choice(["this.j", "this.y", self.of(self.rng.choice(COMPARABLE), d)])
            return f"({what} IS {self.rng.choice(['NULL', 'NOT NULL'])})"
        if choice in (9, 10):
            op = self.rng.choice(["LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "~~", "!~~", "~~*", "!~~*"])
            pattern = quote(self.rng.choice(PATTERNS)) if self.rng.random() < 0.85 else self.of("text", d)
            return f"({self.of('text', d)} {op} {pattern})"
        if choice == 11:
            return self.membership(d)
        if choice == 12:
            left, right = self.pair(d)
            return f"({left} IS {self.rng.choice(['', 'NOT '])}DISTINCT FROM {right})"
        kind = self.rng.choice([*NUMBERS, "text", *TIMES])
        word = self.rng.choice(["BETWEEN", "NOT BETWEEN"])
        return f"({self.of(kind, d)} {word} {self.literal(kind)} AND {self.of(kind, d)})"

    def row(self):
        return [None if self.rng.random() < 0.12 else self.rng.choice(VALUES[kind]) for _, kind in COLUMNS]


class Driver:
    """src/shapes/where_driver.c"""

    def __init__(self):
        path = os.path.join(os.path.dirname(binary()), "src", "shapes", "where_driver")
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @staticmethod
    def escape(text):
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def ask(self, text):
        self.send("W\t" + self.escape(text))
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        assert line, f"the driver ended at {text}"
        parts = line.rstrip("\n").split("\t")
        unescape = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}
        last, i, out = parts[-1], 0, []
        while i < len(last):
            if last[i] == "\\":
                out.append(unescape[last[i:i + 2]])
                i += 1
            else:
                out.append(last[i])
            i += 1
        return [*parts[:-1], "".join(out)]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


ONE_BY_ONE = """
CREATE FUNCTION one(condition text, row_id int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result bool;
BEGIN
    EXECUTE format('SELECT (%s) FROM x AS this WHERE id = %s', condition, row_id) INTO result;
    RETURN CASE result WHEN true THEN 't' WHEN false THEN 'f' ELSE 'n' END;
EXCEPTION WHEN OTHERS THEN
    RETURN CASE WHEN SQLSTATE LIKE '42%' THEN 'E' || SQLERRM ELSE 'e' END;
END $$
"""


class World:
    """The same rows in PostgreSQL and in the driver."""

    def __init__(self, cluster, generator, rows, collations=None):
        name = "where_differential"
        with cluster.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name}")
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
        self.db = cluster.connect(name, options="-c timezone=UTC -c plan_cache_mode=force_custom_plan")
        labels = ", ".join(quote(v) for v in VALUES["mood"])
        self.db.execute(f"CREATE TYPE mood AS ENUM ({labels})")
        self.db.execute("CREATE COLLATION fuzzy (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        columns = ", ".join(f"{n} {t} {(collations or {}).get(n, '')}" for n, t in COLUMNS)
        self.db.execute(f"CREATE TABLE x (id int GENERATED ALWAYS AS IDENTITY, {columns})")
        self.db.execute(ONE_BY_ONE)
        names = ", ".join(n for n, _ in COLUMNS)
        for _ in range(rows):
            values = ", ".join("NULL" if v is None else quote(v) for v in generator.row())
            self.db.execute(f"INSERT INTO x ({names}) VALUES ({values})".encode())
        self.driver = Driver()
        self.driver.send("E\tpublic\tmood\t" + "\t".join(Driver.escape(v) for v in VALUES["mood"]))
        for column, kind in COLUMNS:
            self.driver.send(f"C\t{column}\t{'public' if kind == 'mood' else 'pg_catalog'}\t{kind}\t{'t' if kind == 'mood' else 'f'}")
        self.rows = []
        with self.db.cursor().copy(f"COPY (SELECT {names} FROM x ORDER BY id) TO STDOUT") as copy:
            data = b"".join(bytes(part) for part in copy).decode()
        for line in data.rstrip("\n").split("\n"):
            self.rows.append(line)
            self.driver.send("R\t" + line)

    def query(self, sql, alias):
        """t, f, n for each row; an exception when it fails on any."""
        text = f"SELECT CASE ({sql}) WHEN true THEN 't' WHEN false THEN 'f' ELSE 'n' END FROM x AS {alias} ORDER BY id"
        return "".join(r[0] for r in self.db.execute(text.encode()).fetchall())

    def expected(self, text):
        """As query(); e for an error. Not a string: PostgreSQL does not take the text at all."""
        try:
            return self.query(text, "this")
        except psycopg.Error:
            found = [r[0] for r in self.db.execute("SELECT one(%s, id) FROM x ORDER BY id", [text]).fetchall()]
            return found if found[0].startswith("E") else "".join(found)

    def close(self):
        self.driver.close()
        self.db.close()


class Findings:
    """What went wrong, and what was refused."""

    def __init__(self, world):
        self.world = world
        self.faults, self.refused = [], []

    def fault(self, text, sql, i=0, **answers):
        row = {n: v for (n, _), v in zip(COLUMNS, self.world.rows[i].split("\t")) if f"this.{n}" in text}
        self.faults.append(f"{text}\n    on {row}\n    printed as {sql}\n    {answers}")

    def compare(self, text):
        """The number of rows compared. At most one fault."""
        theirs = self.world.expected(text)
        answer = self.world.driver.ask(text)
        if answer[0] == "0":
            self.refused.append((text, answer[2], theirs))
            return 0
        _, may_raise, ours, sql = answer
        if not isinstance(theirs, str):
            self.fault(text, sql, postgresql=theirs[0])
            return 0
        for i, (a, b) in enumerate(zip(theirs, ours)):
            if b == "t" if a == "e" else a != b:
                self.fault(text, sql, i, postgresql=a, ours=b)
                return i
        self.compare_printed(text, sql, ours, may_raise == "t")
        return len(ours)

    def compare_printed(self, text, sql, ours, may_raise):
        try:
            printed = self.world.query(sql, "r")
        except psycopg.Error as e:
            self.fault(text, sql, printed=e)
            return
        for i, (a, b) in enumerate(zip(printed, ours)):
            if (b == "t" and a != "t") if may_raise else a != b:
                self.fault(text, sql, i, printed=a, ours=b)
                return

    def check(self):
        # A constant without a value is refused wherever it stands: PostgreSQL may not come to compute it.
        for text, message, theirs in self.refused:
            fair = message.startswith("this constant has no value") or not isinstance(theirs, str) or set(theirs) == {"e"}
            if not fair:
                self.faults.append(f"{text}\n    refused: {message}\n    PostgreSQL: {theirs}")
        assert not self.faults, f"{len(self.faults)} faults:\n" + "\n".join(self.faults[:5])


def test_generated_conditions(cluster):
    seed = int(os.environ.get("BUSBAR_SEED", random.randrange(1 << 30)))
    count = int(os.environ.get("BUSBAR_WHERE_COUNT", "1500"))
    print(f"BUSBAR_SEED={seed}")
    generator = Generator(random.Random(seed))
    world = World(cluster, generator, rows=40)
    findings, pairs = Findings(world), 0
    for i in range(count):
        pairs += findings.compare(generator.of_bool(i % 4))
    world.close()
    findings.check()
    assert pairs > 20 * count, f"{len(findings.refused)} of {count} refused"


COLLATED = [
    "this.t = 'abc'", "this.s = 'abc'", "this.v = 'abc'", "this.v <> 'abc'", "this.s < 'b'", "this.v >= 'B'", "this.t = this.s",
    "this.v = this.s", "this.v IN ('abc', 'x', 'É')", "this.s NOT IN ('abc', this.v, 'É')", "this.v LIKE 'a%'",
    "this.v NOT LIKE '_B_'", "this.v BETWEEN 'A' AND this.s", "this.v IS DISTINCT FROM this.s", "COALESCE(this.v, this.s) = this.t",
    "this.v || this.s > this.t", "(this.v || this.s) IN ('aa', 'ab', 'abcx')",
    "this.e::text || this.s < this.v", "(this.v < this.t) = (this.s < 'b')", "this.t || this.v LIKE this.s || '%'",
]


def test_collations_do_not_matter(cluster):
    """What is printed compares bytes, whatever the columns' collations: here one of a language and one to which ABC is abc."""
    seed = int(os.environ.get("BUSBAR_SEED", random.randrange(1 << 30)))
    print(f"BUSBAR_SEED={seed}")
    collations = {"s": 'COLLATE "und-x-icu"', "v": "COLLATE fuzzy"}
    world = World(cluster, Generator(random.Random(seed)), rows=200, collations=collations)
    findings = Findings(world)
    for text in COLLATED:
        accepted, may_raise, ours, sql = world.driver.ask(text)
        assert accepted == "1"
        findings.compare_printed(text, sql, ours, may_raise == "t")
    world.close()
    findings.check()


def test_indexes_serve(cluster):
    """What is printed lets PostgreSQL use a plain index, though text is compared by bytes."""
    world = World(cluster, Generator(random.Random(1)), rows=10, collations={"s": 'COLLATE "und-x-icu"'})
    world.db.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    for condition in ("this.s = 'abc'", "this.s IN ('abc', 'x')", "this.i8 = 5", "this.i8 IN (1, 2)", "this.e = 'ok'",
                      "this.d > '2020-01-01'"):
        world.db.execute(f"CREATE INDEX i ON x ({condition[5:].split()[0]})")
        sql = world.driver.ask(condition)[3]
        plan = "\n".join(r[0] for r in world.db.execute(f"EXPLAIN SELECT 1 FROM x AS r WHERE {sql}".encode()).fetchall())
        assert "Index Cond" in plan, plan
        world.db.execute("DROP INDEX i")
    world.close()
