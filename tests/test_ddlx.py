# SPDX-License-Identifier: Apache-2.0
"""DDLX wherever SQL may stand, and DISABLE ELECTRIC: spec/ddlx.md, spec/scenarios-proxy.md 92, 98–100.

``truths`` is electrified, ``socks`` is not.
"""

import sqlite3

import pytest

from harness import protocol as p
from harness.wait import wait_until
from harness.web import migrations

UNSUPPORTED = {
    "ELECTRIC GRANT": "ELECTRIC GRANT SELECT (id, value), WRITE ON TABLE public.truths, socks TO 'socks:owner', (NULL, 'admin'), ANYONE"
                      " USING a/b CHECK (new.value = 'x' OR auth.user_id IS NOT NULL AND size > 1.5)",
    "ELECTRIC REVOKE": "ELECTRIC REVOKE ALL PRIVILEGES (value) ON truths FROM socks:'owner'",
    "ELECTRIC ASSIGN": "ELECTRIC ASSIGN (socks, truths.role) TO public.truths.user_id IF ( f(a, $$b$$) )",
    "ELECTRIC UNASSIGN": 'ELECTRIC UNASSIGN \'"Odd ""x".t:role\' FROM truths."User"  ',
    "ELECTRIC SQLITE": "ELECTRIC SQLITE $x$ CREATE VIEW v AS SELECT 1; $x$",
}


def decorated(sql):
    """The same with comments wherever white space is, and a semicolon."""
    return "-- ; ENABLE\n/* ' /* nested */ */ " + sql.replace(" ON ", " /* \" */ ON -- '\n ").replace(" FROM ", "/**/FROM\n") + " ;"


@pytest.mark.parametrize("tag", UNSUPPORTED)
def test_92_anywhere(busbar, truths, tag):
    """EX001 in either protocol, at Parse or later, alone or among others; the transaction fails, the session lives."""
    message = tag + " is currently unsupported"
    for sql in (UNSUPPORTED[tag], decorated(UNSUPPORTED[tag]), UNSUPPORTED[tag].lower().replace("$$b$$", "'b'")):
        with busbar.wire() as wire:
            for answer in (wire.query(sql), wire.extended(sql), wire.query(f"ALTER TABLE truths ADD COLUMN gone text; {sql}; SELECT 1")):
                assert (answer.error["C"], answer.error["M"], answer.status) == ("EX001", message, "I"), sql
            wire.query("BEGIN").ok()
            wire.query("ALTER TABLE truths ADD COLUMN gone text").ok()
            assert wire.query(sql).error["C"] == "EX001"
            assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
            wire.send(p.parse("later", sql) + p.parse("other", "SELECT 7") + p.sync())
            assert wire.result().ok().kinds == "11Z"
            wire.send(p.bind("", "other") + p.execute() + p.bind("", "later") + p.execute() + p.bind("", "other") + p.execute() + p.sync())
            answer = wire.result()
            assert answer.rows == [["7"]] and answer.error["C"] == "EX001" and answer.status == "I"
    assert truths.columns("truths") == ["id", "value"]


def test_98_junk(busbar, truths):
    """A mistake names the word and points at it, counted in the client's text, behind non-ASCII text and other statements too."""
    prefix = "SELECT 'größe'; /* ü */ "
    for sql, word in (("ELECTRIC GRANT JUNK ON t TO 'a:b'", "JUNK"), ("ELECTRIC ASSIGN ':admin' TO t.u", "':admin'"),
                      ("ALTER TABLE truths ENABLE ELECTRIC NOW", "NOW"), ("ELECTRIC GRANT ALL ON t TO 'x' CHECK (a = OR b)", "OR"),
                      ("ELECTRIC REVOKE UPDATE ON 'thing.x' FROM 'y'", "'thing.x'"), ("ELECTRIC SQLITE 7", "7")):
        with busbar.wire() as wire:
            for answer, text in ((wire.query(sql), sql), (wire.extended(sql), sql), (wire.query(prefix + sql), prefix + sql)):
                error = answer.error
                assert error["M"] == "Invalid ELECTRIC statement" and error["H"] and answer.status == "I"
                assert int(error["P"]) == text.rindex(word) + 1, (text, error)
                assert word.strip("'") in error["D"]


def test_99_documented_forms(busbar, truths):
    """What the manual promises is understood; nothing of it ends the session."""
    with busbar.wire() as wire:
        for sql in ("ELECTRIC GRANT SELECT ON projects TO ANYONE", "ELECTRIC GRANT READ ON comments TO 'projects:member' USING issue_id/project_id",
                    "ELECTRIC GRANT INSERT ON m TO 'projects:member' CHECK (new.role_name = 'member' OR new.role_name = 'guest')",
                    "ELECTRIC GRANT INSERT ON projects TO 'AUTHENTICATED' CHECK (new.owner_id = auth.user_id)", "ELECTRIC SQLITE 'SELECT 1'"):
            assert wire.query(sql).error["C"] == "EX001", sql
        assert wire.query("ELECTRIC ASSIGN ':admin' TO t.u").error["M"] == "Invalid ELECTRIC statement"
        assert wire.value("SELECT 1") == "1"


def test_100_several_in_one_query(busbar, ledger):
    """ENABLE and DISABLE between other statements of one Query: in order, one transaction."""
    with busbar.wire() as wire:
        answer = wire.query("CREATE TABLE a (id int8 PRIMARY KEY); ALTER TABLE a ENABLE electric; CREATE TABLE b (id int8 PRIMARY KEY);"
                            " INSERT INTO b VALUES (1); /* ; */ Electric Enable b; Alter Table A ADD x text; SELECT count(*) FROM b;"
                            " ELECTRIC DISABLE b; ALTER TABLE b DROP COLUMN id").ok()
        assert answer.tags == ["CREATE TABLE", "ELECTRIC ENABLE", "CREATE TABLE", "INSERT 0 1", "ELECTRIC ENABLE", "ALTER TABLE", "SELECT 1",
                               "ELECTRIC DISABLE", "ALTER TABLE"]
        assert answer.rows == [["1"]] and answer.status == "I"
    assert ledger.electrified == ["a"] and len(ledger.versions) == 1
    (migration,) = migrations(busbar.http_port)
    assert 'ADD COLUMN "x" TEXT' in migration.sql and '"b"' not in migration.sql, "what one migration makes and drops never gets to clients"
    ledger.consistent()


def test_in_one_extended_batch(busbar, ledger):
    """Several Parse and Execute before one Sync; statements prepared before what they concern exists."""
    with busbar.wire() as wire:
        wire.send(p.parse("on", "ALTER TABLE a ENABLE ELECTRIC") + p.parse("off", "ELECTRIC DISABLE a") + p.sync())
        wire.result().ok()
        wire.send(p.parse("", "CREATE TABLE a (id int8 PRIMARY KEY)") + p.bind("", "") + p.execute() + p.bind("", "on") + p.describe("P", "") + p.execute()
                  + p.parse("", "SELECT 1") + p.bind("", "") + p.execute() + p.sync())
        answer = wire.result().ok()
        assert answer.tags == ["CREATE TABLE", "ELECTRIC ENABLE", "SELECT 1"] and answer.status == "I"
        assert ledger.electrified == ["a"]
        for name, tag, open_tables in (("off", "ELECTRIC DISABLE", []), ("on", "ELECTRIC ENABLE", ["a"]), ("off", "ELECTRIC DISABLE", [])):
            wire.send(p.bind("", name) + p.execute() + p.sync())
            answer = wire.result().ok()
            assert answer.tags == [tag] and answer.status == "I" and ledger.electrified == open_tables
    assert [m.sql.split('"')[0] for m in migrations(busbar.http_port)] == ["CREATE TABLE ", "DROP TABLE IF EXISTS ", "CREATE TABLE ", "DROP TABLE IF EXISTS "]


@pytest.mark.parametrize("how", ["query", "extended", "in a script"])
def test_a_deallocated_name_is_an_ordinary_one(busbar, ledger, how):
    """DEALLOCATE of one name forgets what it stood for; one that fails, or is for another name, forgets nothing."""
    def execute(wire, name):
        return wire.send(p.bind("", name) + p.execute() + p.sync()).result()

    def deallocate(wire, name):
        if how == "in a script":
            return wire.query(f"SELECT 1; DEALLOCATE {name}; SELECT 2")
        return getattr(wire, how)(f"deallocate PREPARE {name}")

    with busbar.wire() as wire:
        wire.query("CREATE TABLE a (id int8 PRIMARY KEY)").ok()
        for name, sql in (("on", "ELECTRIC ENABLE a"), ("End", "COMMIT"), ("all", "ELECTRIC DISABLE a")):
            wire.send(p.parse(name, sql) + p.sync()).result().ok()
        for name in ("nothing", "ON_", '"On"', "end", '"on"."on"'):
            assert deallocate(wire, name).errors, name
        assert execute(wire, "on").ok().tags == ["ELECTRIC ENABLE"]
        for name, spelled in (("on", '"on"'), ("End", 'U&"\\0045nd"'), ("all", '"all"')):
            deallocate(wire, spelled).ok()
            wire.query(f'PREPARE "{name}" AS SELECT 1').ok()
            wire.query("BEGIN").ok()
            answer = execute(wire, name).ok()
            assert answer.tags == ["SELECT 1"] and answer.status == "T", name
            wire.query("ROLLBACK").ok()
    assert ledger.electrified == ["a"]


# DISABLE ELECTRIC.

TRACES = """
SELECT (SELECT count(*) FROM electric.electrified WHERE table_name = 'truths') + (SELECT count(*) FROM pg_publication_tables WHERE tablename = 'truths')
     + (SELECT count(*) FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE t.tgrelid = 'truths'::regclass AND n.nspname IN ('busbar', 'electric'))
     + (SELECT count(*) FROM busbar.pending)
"""


@pytest.mark.parametrize("identity, before", [("DEFAULT", "d"), ("FULL", "f"), ("NOTHING", "n"), ('USING INDEX "odd ""key"', "i")])
def test_disable_leaves_nothing(busbar, tables, ledger, identity, before):
    """Table and rows stay, everything of ours goes, the replica identity is the old one; then the table is free."""
    ledger.execute('ALTER TABLE truths ALTER value SET NOT NULL; CREATE UNIQUE INDEX "odd ""key" ON truths (value)')
    ledger.execute(f"ALTER TABLE truths REPLICA IDENTITY {identity}")
    ledger.execute("INSERT INTO truths VALUES (gen_random_uuid(), 'kept')")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE truths ENABLE ELECTRIC").ok()
        answer = wire.query("ALTER TABLE truths DISABLE ELECTRIC").ok()
        assert (answer.tags, answer.status, answer.notices) == (["ELECTRIC DISABLE"], "I", [])
        assert ledger.value(TRACES) == 0
        assert ledger.value("SELECT relreplident::text FROM pg_class WHERE oid = 'truths'::regclass") == before
        assert ledger.value("SELECT value FROM truths") == "kept"
        assert wire.query("ALTER TABLE truths DISABLE ELECTRIC").ok().notices[0]["M"] == "table public.truths is not electrified"
        wire.query("ALTER TABLE truths RENAME value TO worth").ok()
    ledger.execute("ALTER TABLE truths ADD COLUMN free int DEFAULT 7; DROP TABLE truths")
    enabled, disabled = migrations(busbar.http_port)
    assert disabled.sql == 'DROP TABLE IF EXISTS "truths";' and disabled.ops == [
        {"version": disabled.version, "stmts": [(1, 'DROP TABLE IF EXISTS "truths";\n')], "table": None, "enum": None}]
    assert migrations(busbar.http_port, "postgresql")[1].sql == "DROP TABLE truths;"
    assert ledger.ddl[-1] == "ALTER TABLE truths DISABLE ELECTRIC" and enabled.version < disabled.version


def test_disable_change_enable(busbar, truths):
    """The way to a change that clients cannot follow: they drop the table and get the new one; SQLite takes all of it."""
    truths.execute("INSERT INTO truths VALUES (gen_random_uuid(), 'x')")
    with busbar.wire() as wire:
        wire.query("BEGIN; ALTER TABLE truths DISABLE ELECTRIC; ALTER TABLE truths DROP value, ADD worth int4; ALTER TABLE truths ENABLE ELECTRIC; COMMIT").ok()
        wire.query("ALTER TABLE truths ADD COLUMN more text").ok()
    truths.consistent()
    client = sqlite3.connect(":memory:", isolation_level=None)
    client.execute("PRAGMA foreign_keys = ON")
    for number, migration in enumerate(migrations(busbar.http_port)):
        client.executescript(migration.sql)
        if number == 0:
            client.execute("INSERT INTO truths (id, value) VALUES ('1', 'x')")
    assert [row[1] for row in client.execute("PRAGMA table_info(truths)")] == ["id", "worth", "more"]
    assert client.execute("SELECT count(*) FROM truths").fetchone()[0] == 0


def test_disable_takes_enums_along(busbar, ledger):
    """An enum goes with its last table, so that it may come back with other values; while another table uses it, it stays."""
    ledger.execute("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int8 PRIMARY KEY, m mood); CREATE TABLE u (id int8 PRIMARY KEY, m mood)")
    with busbar.wire() as wire:
        for sql in ("ELECTRIC ENABLE t", "ELECTRIC ENABLE u", "ELECTRIC DISABLE t"):
            wire.query(sql).ok()
        assert wire.query("ALTER TYPE mood ADD VALUE 'b'").error["C"] == "EX009"
        for sql in ("ELECTRIC DISABLE u", "ALTER TYPE mood ADD VALUE 'b'", "ELECTRIC ENABLE t"):
            wire.query(sql).ok()
    texts = [m.sql for m in migrations(busbar.http_port, "postgresql")]
    assert texts[2:4] == ["DROP TABLE t;", "DROP TABLE u;\n\nDROP TYPE mood;"]
    assert texts[4].startswith("CREATE TYPE mood AS ENUM ('a', 'b');")


def test_disable_of_a_table_that_others_refer_to(busbar, ledger):
    """Refused with the tables' names; children first, or all in one migration; a circle stays."""
    ledger.execute("CREATE TABLE a (id int8 PRIMARY KEY); CREATE TABLE b (id int8 PRIMARY KEY REFERENCES a, up int8 REFERENCES b);"
                   " CREATE TABLE c (id int8 PRIMARY KEY REFERENCES b, a int8 REFERENCES a)")
    with busbar.wire() as wire:
        wire.query("ELECTRIC ENABLE a; ELECTRIC ENABLE b; ELECTRIC ENABLE c").ok()
        error = wire.query("ALTER TABLE a DISABLE ELECTRIC").error
        assert error["C"] == "UB006" and '"public"."b"' in error["D"] and '"public"."c"' in error["D"]
        assert ledger.electrified == ["a", "b", "c"]
        wire.query(error["H"]).ok()
        assert ledger.electrified == []
        ledger.execute("ALTER TABLE a ADD c int8 REFERENCES c")
        wire.query("ELECTRIC ENABLE a; ELECTRIC ENABLE b; ELECTRIC ENABLE c").ok()
        error = wire.query("ALTER TABLE a DISABLE ELECTRIC").error
        assert error["C"] == "UB006" and "circle" in error["H"]
    ledger.consistent()


def test_disable_beside_enable(busbar, ledger):
    """A table is closed while another session opens one that refers to it: one of the two fails, whatever the order."""
    ledger.execute("CREATE TABLE a (id int8 PRIMARY KEY); CREATE TABLE b (id int8 PRIMARY KEY REFERENCES a)")
    with busbar.wire() as one, busbar.wire() as two:
        one.query("ELECTRIC ENABLE a").ok()
        one.query("BEGIN").ok()
        one.query("ELECTRIC ENABLE b").ok()
        two.send(p.query("ELECTRIC DISABLE a"))
        one.query("COMMIT").ok()
        answer = two.result()
        assert answer.error["C"] == "UB006" and ledger.electrified == ["a", "b"]
        one.query("ELECTRIC DISABLE b").ok()
        two.query("BEGIN").ok()
        two.query("ELECTRIC DISABLE a").ok()
        one.send(p.query("ELECTRIC ENABLE b"))
        wait_until(lambda: ledger.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "the other session to wait")
        two.query("COMMIT").ok()
        assert one.result().error["C"] == "UB006"
    assert ledger.electrified == []
    ledger.consistent()


def test_disable_undone(busbar, truths):
    """ROLLBACK and ROLLBACK TO: the table is as electrified as before."""
    with busbar.wire() as wire:
        for script in (["BEGIN", "ALTER TABLE truths DISABLE ELECTRIC", "ALTER TABLE truths DROP COLUMN value", "ROLLBACK"],
                       ["BEGIN", "SAVEPOINT s", "ALTER TABLE truths DISABLE ELECTRIC", "DROP TABLE truths", "ROLLBACK TO s", "COMMIT"]):
            for sql in script:
                wire.query(sql).ok()
        assert wire.query("ALTER TABLE truths DROP COLUMN value").error["C"] == "EX010"
    assert truths.electrified == ["truths"] and len(truths.versions) == truths.before[1]
    assert truths.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 'truths'") == 1
    truths.consistent()


def test_disable_straight_in_postgresql(busbar, truths):
    """CALL electric.disable(…) without the proxy: recorded by the database itself. Only the table's owner may."""
    truths.execute("DROP ROLE IF EXISTS disable_nobody; CREATE ROLE disable_nobody; SET ROLE disable_nobody")
    with pytest.raises(Exception) as refused:
        truths.execute("CALL electric.disable('truths')")
    assert refused.value.sqlstate == "42501"
    truths.execute("RESET ROLE; DROP ROLE disable_nobody")
    truths.execute("CALL electric.disable('truths')")
    assert truths.electrified == [] and len(truths.versions) == truths.before[1] + 1
    assert migrations(busbar.http_port)[-1].sql == 'DROP TABLE IF EXISTS "truths";'
    truths.execute("DROP TABLE truths")
    with busbar.wire() as wire:
        wire.query("CREATE TABLE truths (id uuid PRIMARY KEY); ALTER TABLE truths ENABLE ELECTRIC").ok()
    truths.consistent()
