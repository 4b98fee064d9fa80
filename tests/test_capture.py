# SPDX-License-Identifier: Apache-2.0
"""The capture matrix: nothing that changes a schema escapes (capture/rows.py; docs/capture.md is made of it).

Each row is run by simple query and by the extended protocol, outside and inside of a transaction block. Whatever the verdict, what is
remembered of the electrified tables must be what the catalog has.
"""

import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from capture.document import document, position  # noqa: E402
from capture.rows import FIXTURE, ROLE, ROWS, SECTIONS, Row  # noqa: E402
from harness.busbar import REPOSITORY, Busbar  # noqa: E402

GUARDS = ("busbar_guard_start", "busbar_guard_end", "busbar_guard_drop", "busbar_guard_rewrite", "busbar_protect")
# The history goes too, and the guard stands aside: proofs of hundreds of forgotten tables would only take time.
RESET = f"""
BEGIN;
SET LOCAL busbar.maintenance = 'on';
{"".join(f"ALTER EVENT TRIGGER {guard} DISABLE;" for guard in GUARDS)}
TRUNCATE busbar.electrified, busbar.pending, busbar.command, busbar.migration, busbar.migration_source, busbar.version_claim;
UPDATE busbar.recorder SET last_seq = 0;
DROP PUBLICATION IF EXISTS mine;
DROP SCHEMA IF EXISTS public, other, s CASCADE;
CREATE SCHEMA public;
{FIXTURE}
{"".join(f"ALTER EVENT TRIGGER {guard} ENABLE ALWAYS;" for guard in GUARDS)}
COMMIT;
"""
SAME = """
SELECT NOT EXISTS (SELECT FROM busbar.pending) AND coalesce(bool_and(d.definition IS NOT DISTINCT FROM e.definition), true)
FROM busbar.electrified e LEFT JOIN busbar.describe_tables(ARRAY(SELECT relid FROM busbar.electrified)) d ON d.relid = e.relid
"""
# For those that differ: REINDEX CONCURRENTLY changes oids and nothing else.
ESCAPED = """
SELECT e.table_name, d.what FROM busbar.electrified e CROSS JOIN LATERAL busbar.diff(e.definition, busbar.describe(e.relid)) d
UNION ALL SELECT e.table_name, 'it is gone' FROM busbar.electrified e WHERE to_regclass(format('%I.%I', e.schema_name, e.table_name)) IS NULL
UNION ALL SELECT 'busbar.pending', p.ops::text FROM busbar.pending p
"""
WAYS = [(protocol, block) for block in (False, True) for protocol in ("query", "extended")]


class Stage:
    """One database and Busbar for all rows; each row finds the tables of FIXTURE and an empty history."""

    def __init__(self, cluster):
        self.database = cluster.create_database()
        self.busbar = Busbar(cluster.url(self.database), dbname=self.database).start()
        self.direct = cluster.connect(self.database)
        if not self.direct.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchall():
            self.direct.execute(f"CREATE ROLE {ROLE}")
        self.clean = False
        self.worked = set()  # statements of hints that were run already
        self.recorded = 0

    def reset(self, before=""):
        """The fixture as new, unless nothing has touched it."""
        if not self.clean:
            self.direct.execute(RESET)
        if before:
            with self.busbar.wire() as wire:
                wire.query(before).ok()
        self.clean = not before
        self.recorded = self.count()

    def count(self):
        return self.direct.execute("SELECT count(*) FROM busbar.command").fetchone()[0]

    def operations(self):
        """What was recorded since reset(), as "add_column colour"."""
        rows = self.direct.execute("SELECT ops FROM busbar.command ORDER BY id OFFSET %s", [self.recorded]).fetchall()
        return [f"{op['op']} {name_of(op)}" for (ops,) in rows for op in ops]

    def assert_nothing_escaped(self, row):
        assert self.direct.execute(SAME).fetchone()[0] or self.direct.execute(ESCAPED).fetchall() == [], row.sql

    def close(self):
        self.direct.close()
        self.busbar.check()


def name_of(op):
    part = op.get("column") or op.get("index") or op.get("table")
    return op.get("name") or (part if isinstance(part, str) else part["name"])


@pytest.fixture(scope="module")
def stage(cluster):
    stage = Stage(cluster)
    yield stage
    stage.close()


def ways(row):
    return [(protocol, block) for protocol, block in WAYS if row.only in (None, "block" if block else "single")]


def run(wire, row, protocol, block):
    """The answer to the row's statement; the transaction is left open."""
    for sql in row.first:
        wire.query(sql).ok()
    if block:
        wire.query("BEGIN").ok()
    return getattr(wire, protocol)(row.sql)


def check_allowed(stage, row, protocol, block):
    stage.reset(row.before)
    end = "ROLLBACK" if protocol == "query" else "COMMIT"
    kept = end == "COMMIT" or not block
    with stage.busbar.wire() as wire:
        answer = run(wire, row, protocol, block).ok()
        assert answer.status == ("T" if block else "I")
        if block:
            assert stage.operations() == [], "nothing is recorded before COMMIT"
            assert wire.query(end).ok().tags == [end]
    stage.clean = stage.clean and not kept
    assert stage.operations() == (list(row.verdict.ops) if kept else []), row.sql
    stage.assert_nothing_escaped(row)


def check_error(row, error):
    v = row.verdict
    assert (error["C"], error["M"]) == (v.code, v.message), row.sql
    if v.hint is None:
        return
    assert (v.detail or "") in error.get("D", ""), row.sql
    assert error["H"].startswith(v.hint) and (v.do or "") in error["H"], error["H"]
    assert error.get("P") == (str(position(row)) if v.at else None), row.sql


def check_refused(stage, row):
    stage.reset(row.before)
    for protocol, block in ways(row):
        with stage.busbar.wire() as wire:
            answer = run(wire, row, protocol, block)
            check_error(row, answer.error)
            assert answer.status == ("E" if block else "I"), row.sql
            if block:
                assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
            assert wire.value("SELECT 1") == "1"
    assert stage.operations() == [], row.sql
    stage.assert_nothing_escaped(row)
    if row.verdict.do and row.verdict.do not in stage.worked:
        stage.clean = False
        with stage.busbar.wire() as wire:
            for sql in row.verdict.do.split(";"):  # one after the other, as psql sends them; none holds a ';'
                wire.query(sql).ok()
        stage.assert_nothing_escaped(row)
        stage.worked.add(row.verdict.do)


@pytest.mark.parametrize("title", [title for title, _ in SECTIONS])
def test_capture_matrix(stage, title):
    """Each row of the section, in every way that it can be run; the statement of each hint works."""
    for row in dict(SECTIONS)[title]:
        if row.verdict.kind == "refused":
            check_refused(stage, row)
            continue
        for protocol, block in ways(row):
            check_allowed(stage, row, protocol, block)


@pytest.mark.parametrize("kind", ["captured", "refused"])
def test_capture_matrix_beside_the_proxy(stage, kind):
    """What is captured or refused through the proxy is refused straight in PostgreSQL, and nothing has happened."""
    guarded = ("Columns", "Constraints", "The table", "DROP", "Indexes", "Types")
    rows = [row for title, section in SECTIONS if title.startswith(guarded) for row in section if row.verdict.kind == kind and not row.first]
    for row in rows:
        if row.only == "block" or kind == "refused" and row.verdict.hint is None or row.verdict.at and changes_nothing(row):
            continue
        stage.reset(row.before)
        error = sqlstate(stage.direct, row.sql)
        assert error in ("UB002", *POSTGRESQL_FIRST.get(row.sql, ())), (row.sql, error)
        assert stage.operations() == []
        stage.assert_nothing_escaped(row)


def changes_nothing(row):
    """Refused through the proxy by what it says, as the original does; it would have changed nothing that clients know."""
    return any(word in row.sql for word in QUIET)


QUIET = ("IF EXISTS nothing", "DROP DEFAULT", "DROP EXPRESSION IF EXISTS", "DROP IDENTITY IF EXISTS", "VALIDATE CONSTRAINT", "SET LOGGED",
         "SET TABLESPACE", "CLUSTER", "WITHOUT OIDS", "OF shape", "IDENTITY FULL", "DISABLE ROW LEVEL", "NO FORCE")
# Statements that PostgreSQL itself refuses before the guard sees them.
POSTGRESQL_FIRST = {
    "ALTER TABLE items ADD COLUMN key int8 PRIMARY KEY": ["42P16"],
    "ALTER TABLE items ADD CONSTRAINT again PRIMARY KEY (id)": ["42P16"],
    "ALTER TABLE items ALTER COLUMN id SET GENERATED BY DEFAULT": ["55000"],
    "ALTER TABLE items ALTER COLUMN id RESTART WITH 5": ["55000"],
    "ALTER TABLE items NOT OF": ["42809"],
    "ALTER TABLE items SET UNLOGGED": ["55000"],
    "DROP TABLE items": ["2BP01"],
    "ALTER TABLE items NO INHERIT ancestor": ["42P01"],
}


def sqlstate(connection, sql):
    try:
        connection.execute(sql)
    except Exception as error:  # noqa: BLE001  whichever: its code is what counts
        return error.sqlstate
    return None


def test_extension_script(stage):
    """CREATE EXTENSION runs its script as one command: captured in a block or by itself, refused when clients could not follow."""
    folder = stage.direct.execute("SELECT setting || '/extension' FROM pg_config() WHERE name = 'SHAREDIR'").fetchone()[0]
    if not os.access(folder, os.W_OK):
        pytest.skip(f"extensions are made in {folder}, which is not writable")
    name = f"busbar_capture_{os.getpid()}"
    files = {f"{name}.control": "default_version = '1'\n", f"{name}--1.sql": "ALTER TABLE public.items ADD COLUMN colour text;\n",
             f"{name}--1--2.sql": "ALTER TABLE public.items DROP COLUMN value;\n"}
    try:
        for file, text in files.items():
            with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
                out.write(text)
        for protocol, block in WAYS:
            stage.clean = False
            stage.reset()
            with stage.busbar.wire() as wire:
                row = Row(f"CREATE EXTENSION {name}", None)
                run(wire, row, protocol, block).ok()
                if block:
                    wire.query("COMMIT").ok()
                assert stage.operations() == ["add_column colour"]
                error = getattr(wire, protocol)(f"ALTER EXTENSION {name} UPDATE TO '2'").error
                assert error["C"] == "EX010"
                stage.assert_nothing_escaped(row)
                wire.query(f"DROP EXTENSION {name}").ok()
    finally:
        for file in files:
            if os.path.exists(os.path.join(folder, file)):
                os.remove(os.path.join(folder, file))


def test_document_is_fresh():
    """docs/capture.md is what the rows say: python3 tests/test_capture.py > docs/capture.md"""
    with open(os.path.join(REPOSITORY, "docs", "capture.md"), encoding="utf-8") as committed:
        assert committed.read() == document()


def test_rows_are_sound():
    """No row twice; each refusal that is ours has a hint."""
    keys = [(row.sql, row.before, row.first, row.only) for row in ROWS]
    assert len(keys) == len(set(keys))
    assert all(row.verdict.hint is not None for row in ROWS if row.verdict.code and row.verdict.code[:2] in ("EX", "UB"))


if __name__ == "__main__":
    sys.stdout.write(document())
