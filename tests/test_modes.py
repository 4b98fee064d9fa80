# SPDX-License-Identifier: Apache-2.0
"""What the start-up packet chooses, spec/scenarios-proxy.md 101–106: introspection (user prisma), a shadow database, user transparent."""

import struct
import uuid

import pytest

from harness import protocol as p
from harness.wait import wait_until

# Shadow databases: a tool makes one, replays its migrations in it, and drops it.


@pytest.fixture
def shadow(busbar, cluster):
    """Such a database, made and dropped through the proxy."""
    name = f"prisma_migrate_shadow_db_{uuid.uuid4()}"
    with busbar.wire() as wire:
        wire.query(f'CREATE DATABASE "{name}"').ok()
        yield name
        wait_until(lambda: not wire.query(f'DROP DATABASE IF EXISTS "{name}"').errors, "the shadow database to be dropped")


def relations(wire):
    return [row[0] for row in wire.query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1").rows]


MIXED = ["CREATE TABLE things (id uuid PRIMARY KEY)", "CREATE TABLE other (id int8 PRIMARY KEY, note text DEFAULT 'x' UNIQUE)",
         "ALTER TABLE things ENABLE ELECTRIC", "ELECTRIC ENABLE other", "ELECTRIC GRANT ALL ON things TO 'admin'",
         "CREATE TABLE more (id int4)",
         "ELECTRIC GRANT UPDATE ON other TO 'things:owner'"]
TAGS = ["CREATE TABLE", "CREATE TABLE", "ELECTRIC ENABLE", "ELECTRIC ENABLE", "ELECTRIC GRANT", "CREATE TABLE", "ELECTRIC GRANT"]


def test_105_shadow_in_a_transaction(busbar, shadow, ledger):
    """Seven statements in one Query of a transaction: three tables made, seven tags in order, nothing captured."""
    before = ledger.ddl, ledger.versions
    with busbar.wire(database=shadow) as wire:
        assert wire.value("SELECT current_database()") == shadow
        wire.query("BEGIN").ok()
        answer = wire.query("; ".join(MIXED)).ok()
        assert answer.tags == TAGS and answer.status == "T" and not answer.notices
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
        assert relations(wire) == ["more", "other", "things"]
        assert wire.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('busbar', 'electric')") == "0"
    assert (ledger.ddl, ledger.versions) == before


def test_105_shadow_outside_a_transaction(busbar, shadow):
    """One Query is one transaction, as the server has it; each alone; in the extended protocol; prepared and executed again."""
    with busbar.wire(database=shadow) as wire:
        assert wire.query("; ".join(MIXED)).ok().tags == TAGS
        answer = wire.query("CREATE TABLE gone (id int); ALTER TABLE gone ENABLE ELECTRIC; SELECT 1 / 0; CREATE TABLE never (id int)")
        assert answer.tags == ["CREATE TABLE", "ELECTRIC ENABLE"] and answer.error["C"] == "22012" and answer.status == "I"
        assert relations(wire) == ["more", "other", "things"]
        every = {"ELECTRIC ENABLE": "/* why */ ALTER TABLE nowhere ENABLE ELECTRIC",
                 "ELECTRIC DISABLE": "ELECTRIC DISABLE things",
                 "ELECTRIC GRANT": "ELECTRIC GRANT SELECT ON t TO ANYONE", "ELECTRIC REVOKE": "ELECTRIC REVOKE ALL ON t FROM 'x'",
                 "ELECTRIC ASSIGN": "ELECTRIC ASSIGN 'admin' TO t.u", "ELECTRIC UNASSIGN": "ELECTRIC UNASSIGN 'admin' FROM t.u",
                 "": "ELECTRIC SQLITE 'SELECT 1'"}
        for tag, sql in every.items():
            for answer in (wire.query(sql), wire.extended(sql)):
                assert answer.ok().tags == [tag] and answer.status == "I" and not answer.of("T"), sql
            wire.send(p.parse("s", sql) + p.describe("S", "s") + p.flush())
            assert [m.kind for m in wire.read_until("n")] == ["1", "t", "n"]
            for _ in range(2):
                wire.send(p.bind("", "s") + p.execute() + p.sync())
                assert wire.result().ok().tags == [tag]
            wire.send(p.close("S", "s") + p.sync())
            wire.result().ok()
        assert wire.query("CALL electric.electrify('things')").ok().tags == ["ELECTRIC ENABLE"]


def test_105_shadow_takes_everything_else(busbar, shadow):
    """Nothing is rejected, nothing wrapped, nothing looked at; a mistake in DDLX is told, with its place."""
    with busbar.wire(database=shadow) as wire:
        wire.query("CREATE TABLE things (id int8 PRIMARY KEY, a text)").ok()
        wire.query("ALTER TABLE things ENABLE ELECTRIC").ok()
        for sql in ("ALTER TABLE things DROP COLUMN a", "ALTER TABLE things ADD b money DEFAULT 1 CHECK (b > 0::money)",
                    "ALTER TABLE things RENAME TO stuff",
                    "CREATE INDEX CONCURRENTLY i ON stuff (id)", "DROP INDEX CONCURRENTLY i", "VACUUM stuff",
                    "DO $$ BEGIN CREATE TABLE made (id int); END $$",
                    "CREATE TABLE busbar (x int); DROP TABLE busbar, made", "DROP TABLE stuff"):
            for answer in (wire.query(sql),):
                assert not answer.ok().notices, sql
        wire.query("BEGIN").ok()
        for answer in (wire.query("SELECT 'ü'; ELECTRIC GRANT JUNK ON t TO 'a:b'"),):
            assert answer.error["M"] == "Invalid ELECTRIC statement" and "JUNK" in answer.error["D"] and answer.status == "E"
            assert answer.error["P"] == str("SELECT 'ü'; ELECTRIC GRANT JUNK".index("JUNK") + 1)
        assert wire.query("ELECTRIC ENABLE t").error["C"] == "25P02"
        assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
        assert wire.extended("ELECTRIC JUNK").error["M"] == "Invalid ELECTRIC statement"
        assert wire.value("SELECT 1") == "1"


def test_105_no_other_database(busbar, database):
    """The name of any other database still means the one of DATABASE_URL."""
    for name in ("postgres", "x_prisma_migrate_shadow_db", "template1"):
        with busbar.wire(database=name) as wire:
            assert wire.value("SELECT current_database()") == database


# User transparent.


def test_106_transparent_is_no_session_of_ours(busbar, truths):
    """DDLX is the server's syntax error, DDL on an electrified table is refused as anybody's from outside; all else is free."""
    with busbar.wire(user="transparent") as wire:
        assert wire.query("ALTER TABLE truths ENABLE ELECTRIC").error["C"] == "42601"
        assert wire.extended("ELECTRIC GRANT ALL ON truths TO 'x'").error["C"] == "42601"
        for answer in (wire.query("ALTER TABLE truths ADD COLUMN more text"), wire.extended("BEGIN"),
                       wire.query("ALTER TABLE truths ADD COLUMN more text")):
            assert not answer.errors or answer.error["C"] == "UB002"
        assert wire.query("COMMIT").ok().tags == ["ROLLBACK"]
        assert wire.query("CREATE TABLE free (id int); DROP TABLE free").ok().tags == ["CREATE TABLE", "DROP TABLE"]
        assert wire.query("SELECT 1 / 0").error["C"] == "22012"
    assert truths.columns("truths") == ["id", "value"]


# Introspection: user prisma.

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE secret_mood AS ENUM ('secret_good');
CREATE TABLE checked (id text PRIMARY KEY, count int4 NOT NULL, ratio float8, small int2, mood mood, at timestamptz, day date, j jsonb, b bytea, v varchar);
CREATE TABLE pointy (id text PRIMARY KEY, checked_id text NOT NULL REFERENCES checked (id) ON DELETE CASCADE, amount int8 NOT NULL);
CREATE TABLE pointy2 (id text PRIMARY KEY, a text REFERENCES checked (id), b text REFERENCES checked (id), note varchar);
CREATE UNIQUE INDEX pointy_amount ON pointy (amount);
CREATE INDEX pointy2_note ON pointy2 (note DESC);
COMMENT ON TABLE pointy IS 'points';
COMMENT ON COLUMN pointy.amount IS 'how much';
CREATE TABLE secret_table (secret_id int8 PRIMARY KEY, secret_mood secret_mood, points_to text CONSTRAINT secret_fk REFERENCES checked (id),
    n serial, CONSTRAINT secret_check CHECK (secret_id > 0));
COMMENT ON TABLE secret_table IS 'secret comment';
CREATE INDEX secret_index ON secret_table (secret_mood);
CREATE VIEW secret_view AS SELECT * FROM checked JOIN secret_table ON points_to = id;
CREATE MATERIALIZED VIEW secret_materialized AS SELECT * FROM secret_table;
CREATE SCHEMA secret_schema;
CREATE TABLE secret_schema.secret_other (id int8 PRIMARY KEY);
CREATE FUNCTION secret_function() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER secret_trigger BEFORE INSERT ON secret_table FOR EACH ROW EXECUTE FUNCTION secret_function();
CREATE SEQUENCE secret_sequence;
CREATE DOMAIN secret_domain AS text CHECK (VALUE <> 'secret');
"""


@pytest.fixture
def schema(busbar, sql):
    sql.execute(SCHEMA)
    with busbar.wire() as wire:
        for table in ("checked", "pointy", "pointy2"):
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    return sql


@pytest.fixture
def prisma(busbar, schema):
    with busbar.wire(user="prisma") as wire:
        yield wire


NAMES = ("SELECT tbl.relname AS table_name, namespace.nspname AS namespace, obj_description(tbl.oid, 'pg_class') AS description FROM {0}pg_class AS tbl"
         " INNER JOIN {0}pg_namespace AS namespace ON namespace.oid = tbl.relnamespace WHERE tbl.relkind = 'r' AND namespace.nspname = ANY ($1) ORDER BY 2, 1")
SCHEMAS = ["{public,secret_schema,electric,busbar}"]


@pytest.mark.parametrize("qualified", ["", "pg_catalog.", 'PG_Catalog . ', '"pg_catalog".'])
@pytest.mark.parametrize("search_path", [None, "public", "secret_schema, pg_catalog, public"])
def test_102_tables(prisma, qualified, search_path):
    """However the catalogs are named, and whatever the search_path is, which Prisma sets itself."""
    if search_path:
        prisma.query(f"SET search_path = {search_path}").ok()
    expected = [["checked", "public", None], ["pointy", "public", "points"], ["pointy2", "public", None]]
    assert prisma.extended(NAMES.format(qualified), SCHEMAS).ok().rows == expected
    assert prisma.query(NAMES.format(qualified).replace("$1", "ARRAY['public', 'secret_schema']")).ok().rows == expected


def test_102_what_belongs_to_them(prisma):
    """Columns, enums, keys, indexes: all of these tables', and of no other."""
    columns = prisma.query("SELECT table_name, column_name, data_type, udt_name, is_nullable FROM information_schema.columns WHERE table_schema = 'public'"
                           " ORDER BY table_name, ordinal_position").ok().rows
    assert [c[:2] for c in columns] == [["checked", name] for name in "id count ratio small mood at day j b v".split()] + \
        [["pointy", name] for name in "id checked_id amount".split()] + [["pointy2", name] for name in "id a b note".split()]
    assert columns[3][2:] == ["smallint", "int2", "YES"] and columns[4][2:] == ["USER-DEFINED", "mood", "YES"]
    assert prisma.query("SELECT t.typname, e.enumlabel FROM pg_type t JOIN pg_enum e ON t.oid = e.enumtypid JOIN pg_catalog.pg_namespace n"
                        " ON n.oid = t.typnamespace ORDER BY e.enumsortorder").ok().rows == [["mood", "good"], ["mood", "bad"]]
    keys = prisma.query("SELECT conname, conrelid::regclass, confrelid::regclass FROM pg_constraint WHERE contype = 'f' ORDER BY 1").ok().rows
    assert keys == [["pointy2_a_fkey", "pointy2", "checked"], ["pointy2_b_fkey", "pointy2", "checked"],
                    ["pointy_checked_id_fkey", "pointy", "checked"]]
    indexes = prisma.query("SELECT indexrelid::regclass, indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
                           " WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1").ok().rows
    assert sorted(indexes) == [["checked_pkey", "t"], ["pointy2_note", "f"], ["pointy2_pkey", "t"], ["pointy_amount", "t"],
                               ["pointy_pkey", "t"]]
    for catalog in ("pg_extension", "pg_sequences", "information_schema.sequences", "pg_matviews"):
        assert prisma.value(f"SELECT count(*) FROM {catalog}") == "0"


def test_102_nothing_else_in_any_catalog(prisma, sql):
    """Every catalog that names things, asked with its schema and without: nothing of the other tables."""
    seen = set()
    for (schema, name) in sql.execute("SELECT catalog, name FROM busbar.hidden_catalogs()").fetchall():
        ways = [f"{schema}.{name}"] + ([name] if schema == "pg_catalog" else [])
        for way in ways:
            found = prisma.query(f"SELECT t::text FROM {way} t WHERE t::text LIKE '%secret%'")
            assert found.ok().rows == [], (way, found.rows[:2])
        if sql.execute(f"SELECT count(*) FROM {schema}.{name} t WHERE t::text LIKE '%%secret%%'").fetchone()[0]:
            seen.add(name)
    assert len(seen) > 20, f"most of them have something to hide: {seen}"
    # No catalog that names relations was forgotten.
    named = {name for (name,) in sql.execute("SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace IN"
             " ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND c.relkind IN ('r', 'v') AND a.attname IN ('relname', 'tablename', 'table_name')"
             " AND NOT c.relname ~ '^pg_stat|^_|^role_|usage|transforms|^element|attributes|^view_|options|foreign|pg_publication'").fetchall()}
    assert named <= {name for (_, name) in sql.execute("SELECT catalog, name FROM busbar.hidden_catalogs()").fetchall()}


def test_102_binary(prisma):
    """Parameters and results in binary, as Prisma has them: the formats are PostgreSQL's own, and declared as what they are."""
    sql = "SELECT tbl.relname AS table_name, tbl.relhassubclass, tbl.oid, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = tbl.oid AND attnum > 0) FROM pg_class tbl" \
          " JOIN pg_namespace n ON n.oid = tbl.relnamespace WHERE n.nspname = ANY ($1) AND relkind = 'r' ORDER BY 1"
    names = [b"public", b"secret_schema"]
    array = struct.pack("!iiIii", 1, 0, 19, len(names), 1) + b"".join(struct.pack("!i", len(n)) + n for n in names)
    parse = p.frame("P", b"s\0" + sql.encode() + b"\0" + struct.pack("!hI", 1, 1003))
    bind = p.frame("B", b"\0s\0" + struct.pack("!hhhi", 1, 1, 1, len(array)) + array + struct.pack("!hh", 1, 1))
    prisma.send(parse + p.describe("S", "s") + p.sync() + bind + p.describe("P", "") + p.execute() + p.sync())
    first, second = prisma.result().ok(), prisma.result().ok()
    assert first.kinds == "1tTZ" and second.kinds == "2TDDDCZ"
    rows = [m.values for m in second.of("D")]
    assert [row[0] for row in rows] == [b"checked", b"pointy", b"pointy2"]
    assert [(row[1], len(row[2]), struct.unpack("!q", row[3])[0]) for row in rows] == [(b"\0", 4, 10), (b"\0", 4, 3),
                                                                                       (b"\0", 4, 4)]


def test_103_two_keys_to_one_table(prisma):
    """Each has an identity of its own."""
    rows = prisma.query("SELECT con.oid, con.conname, att.attname FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_attribute att"
                        " ON att.attrelid = c.oid AND att.attnum = con.conkey[1] WHERE c.relname = 'pointy2' AND con.contype = 'f' ORDER BY 2").ok().rows
    assert len({row[0] for row in rows}) == 2 and [row[1:] for row in rows] == [["pointy2_a_fkey", "a"], ["pointy2_b_fkey", "b"]]


def test_101_empty(busbar, sql):
    """Nothing electrified: schema public is there, and empty."""
    sql.execute("CREATE TABLE secret_table (id int8 PRIMARY KEY)")
    with busbar.wire(user="prisma") as wire:
        assert wire.extended("SELECT EXISTS(SELECT 1 FROM pg_namespace WHERE nspname = $1), version(), current_setting('server_version_num')::integer AS"
                             " numeric_version", ["public"]).ok().rows[0][0] == "t"
        assert wire.extended(NAMES.format(""), SCHEMAS).ok().rows == []
        with busbar.wire() as other:
            other.query("ALTER TABLE secret_table ENABLE ELECTRIC").ok()
        assert [row[0] for row in wire.extended(NAMES.format(""), SCHEMAS).ok().rows] == ["secret_table"]  # what is asked is what is now


def test_104_any_query(prisma):
    """What the original knew as an unknown query is PostgreSQL's to answer; what is wrong is its error, in the right place; the session goes on."""
    assert prisma.extended("SELECT 1 AS never_seen, 'x' || $1", ["y"]).ok().rows == [["1", "xy"]]
    sql = "SELECT c.relname FROM pg_catalog.pg_class c, information_schema.columns WHERE größe = 1"
    for answer in (prisma.query(sql), prisma.extended(sql)):
        assert answer.error["C"] == "42703" and answer.error["P"] == str(sql.index("größe") + 1) and answer.status == "I"
    assert prisma.query("SELEC 1").error["C"] == "42601" and prisma.value("SELECT 2") == "2"


def test_104_it_only_reads(prisma, schema):
    """It sees too little of the schema to be let change it. It is no session of the proxy's for the guard either."""
    for sql in ("CREATE TABLE x (id int)", "ALTER TABLE checked ADD COLUMN x text", "DROP TABLE pointy",
                "INSERT INTO checked (id, count) VALUES ('a', 1)"):
        assert prisma.query(sql).error["C"] == "25006", sql
    prisma.query("SET default_transaction_read_only = off").ok()
    assert prisma.query("ALTER TABLE checked ADD COLUMN x text").error["C"] == "UB002"
    assert schema.execute("SELECT count(*) FROM information_schema.columns WHERE table_name = 'checked'").fetchone() == (10,)


def test_104_what_is_sent_before_it_is_prepared(busbar, schema):
    """The first query may come with the login: it waits."""
    with busbar.wire(user="prisma", options="-c search_path=public") as wire:
        wire.send((p.query("SELECT count(*) FROM pg_class WHERE relname LIKE '%secret%'")) * 3)
        assert [wire.result().ok().rows for _ in range(3)] == [[["0"]]] * 3


def test_104_without_the_right_to_make_views(make_busbar, cluster, database, sql):
    """Said, not shown: a session that cannot hide what it must does not begin; others are not concerned."""
    sql.execute(SCHEMA)
    sql.execute("DO $$ BEGIN CREATE ROLE in_modes LOGIN NOSUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    sql.execute(f"ALTER DATABASE {database} OWNER TO in_modes; REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, in_modes")
    busbar = make_busbar(cluster.url(database, user="in_modes"), dbname=database)
    with busbar.wire(user="prisma") as wire:
        told = [m.fields for m in wire.read_to_end()]
        assert [(f["S"], f["C"]) for f in told] == [("ERROR", "42501"), ("FATAL", "55000")]
        assert "temporary" in told[0]["M"] and "prisma" in told[1]["M"] and "TEMPORARY" in told[1]["H"]
    with busbar.wire() as wire:
        assert wire.value("SELECT count(*) > 0 FROM pg_class WHERE relname LIKE 'secret%'") == "t"


def test_104_without_event_triggers(make_busbar, cluster, database, sql):
    """A hosted database: the same is shown."""
    sql.execute("DO $$ BEGIN CREATE ROLE in_modes LOGIN NOSUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    sql.execute(f"ALTER DATABASE {database} OWNER TO in_modes; ALTER SCHEMA public OWNER TO in_modes")
    busbar = make_busbar(cluster.url(database, user="in_modes"), dbname=database)
    with busbar.wire() as wire:
        wire.query("CREATE TABLE secret_table (id int8 PRIMARY KEY); CREATE TABLE open (id int8 PRIMARY KEY); ALTER TABLE open ENABLE ELECTRIC").ok()
    with busbar.wire(user="prisma") as wire:
        assert [row[0] for row in wire.extended(NAMES.format("pg_catalog."), SCHEMAS).ok().rows] == ["open"]
        assert wire.query("CREATE TABLE x (id int)").error["C"] == "25006"
