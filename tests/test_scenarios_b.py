# SPDX-License-Identifier: Apache-2.0
"""Scenarios B, pass-through: spec/scenarios-proxy.md 13–27. What does not concern Busbar is PostgreSQL's own answer."""

import pytest

from harness import protocol as p
from harness.wire import Wire


def upstream(relay, wire):
    """The relayed connection of a client's session."""
    return relay.session_for(wire.key[0])


@pytest.mark.transparent
def test_13_select_simple(relayed, relay, cluster, database):
    """Same rows as direct, and nothing but the client's own bytes goes upstream."""
    with relayed.wire() as wire, Wire(cluster.host, cluster.port) as straight:
        straight.start({"user": "postgres", "database": database})
        answer = wire.query("SELECT version()")
        assert answer.messages == straight.query("SELECT version()").messages
        assert answer.status == "I"
        assert upstream(relay, wire).frontend_bytes == p.query("SELECT version()")


@pytest.mark.transparent
def test_14_select_extended(relayed, relay):
    """Relayed one to one, in the two groups of Ecto."""
    with relayed.wire() as wire:
        first = p.parse("s", "SELECT version()") + p.describe("S", "s") + p.sync()
        second = p.bind("", "s") + p.execute() + p.sync()
        assert wire.send(first).result().kinds == "1tTZ"
        assert wire.send(second).result().kinds == "2DCZ"
        assert upstream(relay, wire).frontend_bytes == first + second


@pytest.mark.transparent
def test_15_close_sync_parse_describe_sync_in_one_packet(relayed):
    """Postgrex closes a cached statement and prepares the next in one write."""
    with relayed.wire() as wire:
        wire.send(p.close("S", "gone") + p.sync() + p.parse("s", "SELECT 1") + p.describe("S", "s") + p.sync())
        assert wire.result().kinds == "3Z"
        assert wire.result().kinds == "1tTZ"


@pytest.mark.transparent
def test_16_dml_without_transaction(relayed, relay, tables):
    """No BEGIN is injected; the tag is PostgreSQL's."""
    with relayed.wire() as wire:
        wire.query("INSERT INTO truths VALUES (gen_random_uuid(), 'a'), (gen_random_uuid(), 'b')").ok()
        before = len(upstream(relay, wire).frontend)
        answer = wire.query("DELETE FROM public.truths")
        assert (answer.tags, answer.status) == (["DELETE 2"], "I")
        assert [m.sql for m in upstream(relay, wire).frontend[before:]] == ["DELETE FROM public.truths"]


def test_16_dml_on_an_electrified_table_is_not_captured(busbar, truths):
    """Data is not schema."""
    with busbar.wire() as wire:
        wire.query("INSERT INTO truths VALUES (gen_random_uuid(), 'a')").ok()
        assert wire.query("UPDATE truths SET value = 'b'").tags == ["UPDATE 1"]
        assert wire.query("DELETE FROM public.truths").tags == ["DELETE 1"]
        assert wire.query("TRUNCATE truths").tags == ["TRUNCATE TABLE"]
    assert (len(truths.ddl), len(truths.versions)) == truths.before


OTHER_DDL = [
    "CREATE OPERATOR === (LEFTARG = int4, RIGHTARG = int4, FUNCTION = int4eq)",
    "CREATE SEQUENCE something",
    "ALTER SEQUENCE something INCREMENT BY 3",
    'DROP SEQUENCE "something"',
    "CREATE SCHEMA something",
    'DROP SCHEMA "something"',
    "CREATE TYPE something AS ENUM ('a', 'b')",
    "ALTER TYPE something ADD VALUE 'c'",
    'DROP TYPE "something"',
    "CREATE FUNCTION something() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    'DROP FUNCTION "something"',
    "CREATE VIEW something AS SELECT 1 AS one",
    'DROP VIEW "something"',
    "CREATE DOMAIN something AS int CHECK (value > 0)",
    'DROP DOMAIN "something"',
    "DROP OPERATOR === (int4, int4)",
]
FAILING = ['DROP EXTENSION "something"', 'DROP FUNCTION "something"', 'DROP ROLE "something"', 'DROP SCHEMA "something"', 'DROP TYPE "something"',
           'DROP TABLE "something"', 'DROP INDEX "something"', 'DROP VIEW "something"', 'DROP TRIGGER "something" ON pg_class']


@pytest.mark.transparent
def test_17_other_statements_in_a_transaction(relayed, relay):
    """Forwarded as they are; the answers are PostgreSQL's."""
    with relayed.wire() as wire:
        wire.query("BEGIN").ok()
        for sql in OTHER_DDL:
            answer = wire.query(sql).ok()
            assert answer.status == "T", sql
            assert answer.tags == [" ".join(sql.split()[:2])], sql
        assert wire.query("COMMIT").tags == ["COMMIT"]
        assert [m.sql for m in upstream(relay, wire).frontend] == ["BEGIN", *OTHER_DDL, "COMMIT"]


@pytest.mark.transparent
@pytest.mark.parametrize("sql", FAILING)
def test_17_failing_drops_in_a_transaction(endpoint, sql):
    """PostgreSQL's error, the transaction failed, and COMMIT answers ROLLBACK as PostgreSQL does."""
    with endpoint.wire() as wire:
        wire.query("BEGIN").ok()
        answer = wire.query(sql)
        assert answer.error["C"] in ("42704", "42883", "3F000", "42P01", "42704") and answer.status == "E"
        assert wire.query("SELECT 1").error["C"] == "25P02"
        answer = wire.query("COMMIT")
        assert (answer.tags, answer.status) == (["ROLLBACK"], "I")


@pytest.mark.transparent
def test_18_several_statements_in_one_query_in_a_transaction(endpoint):
    """Three tags in order, one ReadyForQuery(T). (The original uses electric.nonsense, which the guard protects in ours.)"""
    with endpoint.wire() as wire:
        wire.query("CREATE TABLE nonsense (id int4)").ok()
        wire.query("BEGIN").ok()
        answer = wire.query("create function f1() returns int language sql as $$ select 1; $$;\n"
                            "create function f2() returns int language sql as $$ select 2; $$;\n"
                            "alter table nonsense add column age int4;").ok()
        assert answer.tags == ["CREATE FUNCTION", "CREATE FUNCTION", "ALTER TABLE"]
        assert answer.kinds == "CCCZ" and answer.status == "T"
        wire.query("COMMIT").ok()
        assert wire.value("SELECT f1() + f2()") == "3"


def test_18_nothing_is_captured(busbar, truths):
    """As 18, with an electrified table elsewhere."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("create function f1() returns int language sql as 'select 1'; alter table socks add column age int4;").ok()
        wire.query("COMMIT").ok()
    assert (len(truths.ddl), len(truths.versions)) == truths.before
    assert "age" in truths.columns("socks")


@pytest.mark.transparent
def test_19_syntax_error(endpoint, tables):
    """42601 with a position, and the session is usable. (Ours lets PostgreSQL say it: its grammar is the judge.)"""
    with endpoint.wire() as wire:
        answer = wire.query("INSERT INTO socks VALUES gen_random_uuid();")
        assert answer.error["C"] == "42601" and answer.status == "I"
        assert answer.error["P"] == "26"
        assert 'syntax error at or near "gen_random_uuid"' in answer.error["M"]
        answer = wire.send(p.one_group("SELEKT 1")).result()
        assert answer.error["C"] == "42601" and answer.error["P"] == "1" and answer.status == "I"
        assert wire.value("SELECT 1") == "1"


@pytest.mark.transparent
@pytest.mark.parametrize("sql", ["ALTER TABLE socks ADD COLUMN", "CREATE TABLE x (", "ALTER TABLE socks WHAT", "CREATE INDEX ON", "DROP TABLE"])
def test_19_syntax_error_in_ddl(endpoint, tables, sql):
    """The same where Busbar has to parse: no stray answer, no open transaction afterwards."""
    with endpoint.wire() as wire:
        for answer in (wire.query(sql), wire.extended(sql)):
            assert answer.error["C"] == "42601" and answer.status == "I"
            assert answer.kinds == "EZ"
        assert wire.query("SELECT 1").ok().status == "I"


@pytest.mark.transparent
def test_20_missing_relation(endpoint):
    """PostgreSQL's 42P01; the session stays open."""
    with endpoint.wire() as wire:
        answer = wire.query('SELECT * FROM "does_not_exist"')
        assert answer.error["C"] == "42P01" and answer.error["P"] == "15" and answer.status == "I"
        answer = wire.extended('SELECT * FROM "does_not_exist"')
        assert answer.error["C"] == "42P01" and answer.kinds == "EZ"
        assert wire.value("SELECT 1") == "1"


@pytest.mark.transparent
@pytest.mark.parametrize("sql", ["", ";", " ; ;; ", "-- only a comment", "/* and /* nested */ */", "\n"])
def test_21_empty_query(endpoint, sql):
    """EmptyQueryResponse and ReadyForQuery(I) in both protocols; the original hangs."""
    with endpoint.wire() as wire:
        assert wire.query(sql).kinds == "IZ"
        answer = wire.extended(sql)
        if answer.errors:
            assert ";;" in sql and answer.error["C"] == "42601"  # a Parse holds one statement at most
        else:
            assert answer.kinds == "12nIZ"


@pytest.mark.transparent
def test_22_copy_from_stdin(endpoint, tables):
    """The original hangs. psql's \\copy, psycopg and raw messages in one packet."""
    done = endpoint.psql(script="\\copy socks FROM STDIN\n1\tred\n2\tblue\n\\.\n")
    assert done.returncode == 0 and "COPY 2" in done.stdout, done
    with endpoint.psycopg(autocommit=True) as conn:
        with conn.cursor() as cursor:
            with cursor.copy("COPY socks FROM STDIN") as copy:
                for number in range(3, 1003):
                    copy.write_row((number, "x" * 500))
            assert cursor.statusmessage == "COPY 1000"
        with conn.cursor() as cursor, cursor.copy("COPY socks TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 1002
    with endpoint.wire() as wire:
        wire.send(p.query("COPY socks FROM STDIN") + p.copy_data(b"5000\tgreen\n") + p.copy_data(b"5001\t\\N\n") + p.copy_done())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags, answer.status) == ("GCZ", ["COPY 2"], "I")


@pytest.mark.transparent
def test_22_copy_from_stdin_that_fails(endpoint, tables):
    """CopyFail by the client, bad data by the server: one error, one ReadyForQuery, the session usable."""
    with endpoint.wire() as wire:
        wire.send(p.query("COPY socks FROM STDIN"))
        assert wire.read().kind == "G"
        wire.send(p.copy_data(b"1\tred\n") + p.copy_fail("changed my mind"))
        answer = wire.result()
        assert answer.error["C"] == "57014" and "changed my mind" in answer.error["M"] and answer.status == "I"
        wire.send(p.query("COPY socks FROM STDIN") + p.copy_data(b"not a number\tred\n") * 50 + p.copy_done())
        answer = wire.result()
        assert answer.error["C"] == "22P02" and answer.kinds == "GEZ"
        assert wire.value("SELECT count(*) FROM socks") == "0"


@pytest.mark.transparent
def test_22_copy_in_the_extended_protocol(endpoint, tables):
    """Sync is ignored while the server reads COPY data: only the one after CopyDone is answered."""
    with endpoint.wire() as wire:
        wire.send(p.parse("", "COPY socks FROM STDIN") + p.bind("", "") + p.execute() + p.sync()
                  + p.copy_data(b"1\tred\n") + p.flush() + p.sync() + p.copy_data(b"2\tblue\n") + p.copy_done() + p.sync())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags) == ("12GCZ", ["COPY 2"])
        assert wire.value("SELECT count(*) FROM socks") == "2"


@pytest.mark.transparent
def test_23_two_selects_in_one_query(endpoint):
    """Each row set is followed by its own tag; one ReadyForQuery."""
    with endpoint.wire() as wire:
        answer = wire.query("SELECT 1; SELECT 2").ok()
        assert answer.kinds == "TDCTDCZ" and answer.tags == ["SELECT 1", "SELECT 1"]


@pytest.mark.transparent
def test_23_implicit_transaction_of_one_query(endpoint, tables):
    """PostgreSQL runs the statements of one Query in one transaction: a late error undoes the early statements."""
    with endpoint.wire() as wire:
        answer = wire.query("INSERT INTO socks VALUES (1, 'a'); SELECT 1/0; INSERT INTO socks VALUES (2, 'b')")
        assert answer.tags == ["INSERT 0 1"] and answer.error["C"] == "22012" and answer.status == "I"
        assert wire.value("SELECT count(*) FROM socks") == "0"


@pytest.mark.transparent
def test_24_psycopg3_transaction(endpoint):
    """BEGIN, SAVEPOINT, RELEASE, ROLLBACK, each as one full group."""
    with endpoint.wire() as wire:
        statuses = [wire.extended(sql).ok().status for sql in ("BEGIN", 'SAVEPOINT "_pg3_1"', 'RELEASE "_pg3_1"', "ROLLBACK")]
        assert statuses == ["T", "T", "T", "I"]


@pytest.mark.transparent
def test_24_psycopg3_nested_transactions(endpoint, tables):
    """The driver itself, with a nested transaction that is rolled back to its savepoint."""
    with endpoint.psycopg() as conn:
        with conn.transaction():
            conn.execute("INSERT INTO socks VALUES (1, 'kept')")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO socks VALUES (2, 'undone')")
                    raise ValueError
            except ValueError:
                pass
        assert conn.execute("SELECT id FROM socks").fetchall() == [(1,)]


@pytest.mark.transparent
def test_25_start_transaction(endpoint):
    """The original's session ends of it."""
    with endpoint.wire() as wire:
        answers = [wire.query(sql).ok() for sql in ("START TRANSACTION", "SELECT 1", "COMMIT")]
        assert [a.status for a in answers] == ["T", "T", "I"]
        assert answers[0].tags == ["START TRANSACTION"]
        answer = wire.query("START TRANSACTION; SELECT 1; COMMIT").ok()
        assert answer.tags == ["START TRANSACTION", "SELECT 1", "COMMIT"] and answer.status == "I"


@pytest.mark.transparent
def test_26_begin_keeps_its_options(endpoint):
    """And so do COMMIT and ROLLBACK: AND CHAIN opens the next transaction at once."""
    with endpoint.wire() as wire:
        wire.query("BEGIN ISOLATION LEVEL SERIALIZABLE").ok()
        assert wire.value("SHOW transaction_isolation") == "serializable"
        assert wire.query("COMMIT AND CHAIN").ok().status == "T"
        assert wire.value("SHOW transaction_isolation") == "serializable"
        assert wire.query("ROLLBACK AND CHAIN").ok().status == "T"
        assert wire.query("END").ok().status == "I"
        wire.query("BEGIN READ ONLY").ok()
        assert wire.query("CREATE TABLE nope (id int)").error["C"] == "25006"
        assert wire.query("ABORT").ok().status == "I"


@pytest.mark.transparent
def test_27_create_index_concurrently(endpoint, tables):
    """Never wrapped in a transaction, in either protocol; DROP INDEX CONCURRENTLY, VACUUM and kin likewise."""
    with endpoint.wire() as wire:
        assert wire.query("CREATE INDEX CONCURRENTLY socks_colour ON socks (colour)").ok().tags == ["CREATE INDEX"]
        assert wire.query("REINDEX INDEX CONCURRENTLY socks_colour").ok().status == "I"
        assert wire.extended("DROP INDEX CONCURRENTLY socks_colour").ok().tags == ["DROP INDEX"]
        assert wire.extended("CREATE INDEX CONCURRENTLY socks_colour ON socks (colour)").ok().status == "I"
        assert wire.query("VACUUM socks").ok().tags == ["VACUUM"]
        wire.query("BEGIN").ok()
        assert wire.query("CREATE INDEX CONCURRENTLY other ON socks (colour)").error["C"] == "25001"
        wire.query("ROLLBACK").ok()


# Beyond the numbered ones.

@pytest.mark.transparent
def test_two_phase_commit_of_ordinary_statements(endpoint, tables, cluster):
    """PREPARE TRANSACTION and COMMIT PREPARED are forwarded when nothing is captured (here PostgreSQL has them switched off)."""
    with endpoint.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("INSERT INTO socks VALUES (1, 'a')").ok()
        answer = wire.query("PREPARE TRANSACTION 'x'")
        assert answer.error["C"] == "55000"  # max_prepared_transactions is zero
        assert wire.query("COMMIT PREPARED 'x'").error["C"] in ("42704", "55000")
        assert wire.query("ROLLBACK").status == "I"


@pytest.mark.transparent
def test_listen_notify(endpoint):
    """Asynchronous messages keep their place, also when nothing is being asked."""
    with endpoint.wire() as listener, endpoint.wire() as speaker:
        listener.query("LISTEN here").ok()
        speaker.query("NOTIFY here, 'hello'").ok()
        message = listener.read()
        assert message.notification == ("here", "hello")
        assert message.body[:4] == speaker.key[0].to_bytes(4, "big")


@pytest.mark.transparent
def test_parameter_status_is_relayed(endpoint):
    """SET of a reported parameter reaches the client; so does RESET ALL."""
    with endpoint.wire() as wire:
        before = wire.parameters["TimeZone"]
        wire.query("SET TimeZone = 'Asia/Tokyo'").ok()
        assert wire.parameters["TimeZone"] == "Asia/Tokyo"
        wire.query("RESET ALL").ok()
        assert wire.parameters["TimeZone"] == before


@pytest.mark.transparent
@pytest.mark.parametrize("size", [65_535, 1_000_000, 20_000_000])
def test_large_values_both_ways(endpoint, size):
    """Streamed, not held: text and bound value, in and out."""
    with endpoint.wire(timeout=60) as wire:
        value = "x" * size
        assert wire.value(f"SELECT '{value}'") == value
        wire.send(p.parse("", "SELECT length($1::text), $1::text") + p.bind("", "", [value]) + p.execute() + p.sync())
        assert wire.result().ok().rows == [[str(size), value]]


@pytest.mark.transparent
def test_large_copy_with_a_slow_reader(endpoint):
    """Back-pressure: the reader looks only after the server has had time to fill every buffer on the way."""
    with endpoint.wire(timeout=60) as wire:
        wire.send(p.query("COPY (SELECT repeat('y', 1000) FROM generate_series(1, 30000)) TO STDOUT") + p.query("SELECT 1"))
        first = wire.result().ok()
        assert first.kinds.count("d") == 30000 and first.tags == ["COPY 30000"]
        assert wire.result().ok().rows == [["1"]]


@pytest.mark.transparent
def test_deep_pipeline(endpoint):
    """Many groups before the first answer is read; one fails in the middle and only that one."""
    with endpoint.wire() as wire:
        total = 3000
        wire.send(b"".join(p.one_group("SELECT 1/$1::int", [str(n % 7)]) for n in range(total)))
        for n in range(total):
            answer = wire.result()
            if n % 7 == 0:
                assert answer.error["C"] == "22012", n
            else:
                assert answer.ok().kinds == "12TDCZ", n


@pytest.mark.transparent
def test_protocol_violation_is_answered_by_an_error(endpoint):
    """An unknown message type: FATAL 08P01 and the end, as PostgreSQL."""
    with endpoint.wire() as wire:
        wire.send(p.frame("y", b"what"))
        messages = wire.read_to_end()
        assert messages and messages[-1].fields["C"] == "08P01" and messages[-1].fields["S"] == "FATAL"
