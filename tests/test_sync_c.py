# SPDX-License-Identifier: Apache-2.0
"""Sync scenarios C, streaming to clients: spec/scenarios-sync.md 37–51, what PostgreSQL writes. What clients write is in test_sync_f.py."""

import json
import math
import struct
import uuid

import psycopg
import pytest

from harness.satellite import RpcError, select
from harness.token import unsigned


def electrify(busbar, schema, *tables):
    """The tables of the schema, open for sync."""
    with busbar.wire() as wire:
        wire.query(schema).ok()
        for table in tables:
            wire.query(f'ALTER TABLE "{table}" ENABLE ELECTRIC').ok()


def add(sql, content="x", row=None):
    row = row or str(uuid.uuid4())
    sql.execute("INSERT INTO entries VALUES (%s, %s)", (row, content))
    return row


def data(client):
    """Transactions that are no migrations."""
    return [t for t in client.transactions if not t.is_migration]


@pytest.fixture
def client(entries, satellite):
    """Subscribed to entries, which are empty."""
    client = satellite(entries).start()
    client.sync("entries")
    return client


def test_37_changes_arrive_one_transaction_each(client, sql):
    row = add(sql, "first")
    sql.execute("UPDATE entries SET content = 'second' WHERE id = %s", (row,))
    sql.execute("DELETE FROM entries WHERE id = %s", (row,))
    client.collect(lambda: len(data(client)) >= 3, "three transactions")
    insert, update, delete = data(client)
    first, second = ({"id": row, "content": text, "content_b": None} for text in ("first", "second"))
    assert [(o.kind, o.old, o.row) for t in data(client) for o in t.ops] == [("insert", None, first), ("update", first, second), ("delete", second, None)]
    assert {t.origin for t in data(client)} == {"postgres_1"}
    assert insert.ops[0].tags == [f"postgres_1@{insert.timestamp}"] and update.ops[0].tags == [f"postgres_1@{update.timestamp}"] and delete.ops[0].tags == []
    assert insert.timestamp <= update.timestamp <= delete.timestamp and int(insert.lsn) < int(update.lsn) < int(delete.lsn)
    now = sql.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()[0]
    assert abs(now - delete.timestamp) < 60_000


def test_38_many_rows_in_one_transaction(client, entries, sql, electric_client):
    device = electric_client(entries).start()
    device.sync("entries")
    sql.execute("INSERT INTO entries SELECT gen_random_uuid(), n::text FROM generate_series(1, 250) n")
    client.wait_same(sql, "entries")
    assert [len(t.ops) for t in data(client)] == [250]
    device.wait_rows("SELECT count(*) FROM entries", [(250,)])


def test_38_more_than_a_message_holds(client, sql):
    """60 MB in one transaction, of many small and some very large rows."""
    with sql.transaction():
        sql.execute("INSERT INTO entries SELECT gen_random_uuid(), repeat(n::text, 20) FROM generate_series(1, 50000) n")
        sql.execute("INSERT INTO entries SELECT gen_random_uuid(), 'large', repeat(n::text, 10000000) FROM generate_series(1, 5) n")
    client.collect(lambda: data(client), "the transaction", timeout=60)
    client.wait_same(sql, "entries")
    assert [len(t.ops) for t in data(client)] == [50005]


@pytest.mark.parametrize("steps", [(30, 60), (1, 31, 2, 32, 20, 50, 50, 60)])
def test_41_window(entries, sql, satellite, steps):
    """30 transactions, then as many as are acknowledged. ``steps``: which one is acknowledged, how many have come then, …"""
    client = satellite(entries, auto_ack=False).start(schema_version=sql.execute("SELECT version FROM busbar.migration").fetchone()[0])
    client.sync("entries")
    client.ack()
    for i in range(60):
        add(sql, str(i))
    client.wait_transactions(30)
    pairs = list(zip(steps[::2], steps[1::2]))
    assert len(client.transactions) == 30
    for acked, come in pairs:
        client.unsubscribe()  # a fence: what is sent without waiting comes before the answer
        before = len(client.transactions)
        client.ack(client.transactions[acked - 1].id)
        client.wait_transactions(come)
        client.unsubscribe()
        assert len(client.transactions) == come > before
    assert [t.ops[0].row["content"] for t in client.transactions] == [str(i) for i in range(60)]


def test_41_other_clients_do_not_wait(entries, client, sql, satellite):
    """One that does not acknowledge holds up nobody."""
    silent = satellite(entries, auto_ack=False).start()
    silent.sync("entries")
    for i in range(60):
        add(sql, str(i))
    client.wait_same(sql, "entries")
    silent.pump(0.1)
    assert len(silent.transactions) == 30
    silent.auto_ack = True
    silent.ack()
    silent.wait_same(sql, "entries")


def test_41_subscription_behind_a_full_window(entries, client, sql, satellite):
    """Its data stands where it belongs in the stream: behind the transactions that wait."""
    silent = satellite(entries, auto_ack=False).start()
    silent.sync("entries")
    for i in range(40):
        add(sql, str(i))
    client.wait_same(sql, "entries")
    other = silent.subscribe(select("entries", "this.content_b = 'other'"))
    silent.unsubscribe()
    assert len(silent.transactions) == 30 and len(silent.batches) == 1
    silent.ack()
    batch = silent.wait_batch(other)
    assert not batch.ops and int(batch.lsn) >= int(silent.transactions[-1].lsn) and len(silent.transactions) == 41
    silent.wait_same(sql, "entries")


def test_42_unknown_transaction(client, sql):
    add(sql)
    client.collect(lambda: data(client), "the row")
    client.ack(transaction_id=client.transactions[-1].id + 1000)
    fault, closed = client.wait_fault()
    assert (fault.code, fault.message) == ("INVALID_REQUEST", "Acknowledged unknown txn") and closed[0] == 1007


def test_42_acknowledged_before(client, sql):
    """The newest once more is no fault; one before it is."""
    for i in range(3):
        add(sql, str(i))
    client.collect(lambda: len(data(client)) == 3, "three rows")
    client.ack()
    client.ack()
    client.unsubscribe()
    client.ack(transaction_id=data(client)[0].id)
    assert client.wait_fault()[0].code == "INVALID_REQUEST"


OWNED = "CREATE TABLE notes (id text PRIMARY KEY, electric_user_id text, body text)"


def test_43_rows_of_users(busbar, sql, satellite):
    """Its own rows and those without a user, in the initial data and in the stream; an empty user is nobody's as well."""
    electrify(busbar, OWNED, "notes")
    sql.execute("INSERT INTO notes VALUES ('1', 'u1'), ('2', 'u2'), ('3', NULL)")
    clients = {user: satellite(busbar).start(unsigned(user)) for user in ("u1", "u2", "u3")}
    for client in clients.values():
        client.sync("notes")
    sql.execute("INSERT INTO notes VALUES ('4', 'u1'), ('5', 'u2'), ('6', NULL), ('7', 'U1'), ('8', 'u1 '), ('9', 'u')")
    sql.execute("INSERT INTO notes VALUES ('10', 'u1')")
    sql.execute("INSERT INTO notes VALUES ('last', NULL)")
    expected = {"u1": {"1", "3", "4", "6", "10", "last"}, "u2": {"2", "3", "5", "6", "last"}, "u3": {"3", "6", "last"}}
    for user, client in clients.items():
        client.wait_same(sql, "notes", f"electric_user_id = '{user}' OR electric_user_id IS NULL")
        assert {key for key, in client.tables["notes"]} == expected[user] and not client.surprises
    assert len(data(clients["u1"])) == 3 and len(data(clients["u2"])) == 2, "what is nobody's business is not sent"


def test_43_row_changes_hands(busbar, sql, satellite):
    """To the one it is an insert, to the other it is gone."""
    electrify(busbar, OWNED, "notes")
    sql.execute("INSERT INTO notes VALUES ('1', 'u1', 'x')")
    one, two = (satellite(busbar).start(unsigned(user)) for user in ("u1", "u2"))
    for client in (one, two):
        client.sync("notes")
    sql.execute("UPDATE notes SET electric_user_id = 'u2', body = 'y'")
    assert one.collect(lambda: data(one), "gone")[0].kinds == ["gone"]
    assert two.collect(lambda: data(two), "insert")[0].kinds == ["insert"]
    sql.execute("UPDATE notes SET electric_user_id = NULL")
    one.collect(lambda: len(data(one)) == 2, "insert")
    two.collect(lambda: len(data(two)) == 2, "update")
    assert one.transactions[-1].kinds == ["insert"] and two.transactions[-1].kinds == ["update"]


@pytest.mark.parametrize("storage", ["EXTERNAL", "EXTENDED", "MAIN"])
def test_44_toasted_value_unchanged(busbar, sql, satellite, electric_client, storage):
    """An update of another column brings the whole text all the same."""
    sql.execute("CREATE TABLE texts (id int8 PRIMARY KEY, large text, small text)")
    sql.execute(f"ALTER TABLE texts ALTER large SET STORAGE {storage}")
    electrify(busbar, "SELECT 1", "texts")
    large = "".join(chr(0x20 + i * 7919 % 0x2000) for i in range(100_000))
    sql.execute("INSERT INTO texts VALUES (1, %s, 'a')", (large,))
    client, device = satellite(busbar).start(), electric_client(busbar).start()
    client.sync("texts")
    device.sync("texts")
    sql.execute("UPDATE texts SET small = 'b'")
    update = client.collect(lambda: data(client), "the update")[0].ops[0]
    assert update.row == {"id": "1", "large": large, "small": "b"} and update.old == {"id": "1", "large": large, "small": "a"}
    sql.execute("UPDATE texts SET id = 2")
    client.wait_same(sql, "texts")
    assert client.rows("texts") == [("2", large, "b")]
    device.wait_rows("SELECT id, large, small FROM texts", [(2, large, "b")])


FAMILY = """
CREATE TABLE parents (id int8 PRIMARY KEY, partner int8 REFERENCES parents, value text);
CREATE TABLE children (id int8 PRIMARY KEY, parent int8 NOT NULL REFERENCES parents ON DELETE RESTRICT);
CREATE TABLE others (id int8 PRIMARY KEY, child int8 REFERENCES children DEFERRABLE INITIALLY DEFERRED)
"""


@pytest.fixture
def family(busbar, sql):
    """Tables that refer to each other, with rows."""
    electrify(busbar, FAMILY, "parents", "children")
    sql.execute("INSERT INTO parents SELECT n, n, 'x' FROM generate_series(1, 20) n; INSERT INTO children SELECT n, n % 7 + 1 FROM generate_series(1, 30) n;"
                " INSERT INTO others VALUES (1, 1)")
    return busbar


def test_45_truncate(client, entries, sql, satellite, electric_client):
    """The rows are deleted: nobody is sent away, nothing is loaded again. A subscription made at the same time has what is there."""
    device = electric_client(entries).start()
    device.sync("entries")
    for i in range(5):
        add(sql, str(i))
    device.wait_rows("SELECT count(*) FROM entries", [(5,)])
    client.wait_same(sql, "entries")
    with sql.transaction():
        add(sql, "also gone")
        sql.execute("TRUNCATE entries")
        add(sql, "after")
    client.wait_same(sql, "entries")
    assert sorted(client.transactions[-1].kinds) == ["delete"] * 5 + ["insert"]
    sql.execute("TRUNCATE entries")
    sql.execute("TRUNCATE entries")
    add(sql, "last")
    client.wait_same(sql, "entries")
    device.wait_rows("SELECT content FROM entries", [("last",)])
    late = satellite(entries).start()
    late.sync("entries")
    late.wait_same(sql, "entries")
    assert not client.surprises and not late.surprises and device.status["connected"] and not device.thrown


@pytest.mark.parametrize("statement", ["TRUNCATE parents CASCADE", "TRUNCATE others, parents, children", "TRUNCATE children, others, parents RESTART IDENTITY"])
def test_45_truncate_of_tables_with_foreign_keys(family, sql, satellite, statement):
    """Whatever the order, and although deletion in that order would be refused. No trigger of rows fires, as with every TRUNCATE."""
    sql.execute("CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END'")
    sql.execute("CREATE TRIGGER never BEFORE DELETE ON children FOR EACH ROW EXECUTE FUNCTION never()")
    client = satellite(family).start()
    client.sync("children", "parents")
    sql.execute(statement)
    client.collect(lambda: data(client), "the deletions")
    assert sorted((op.kind, op.table) for op in data(client)[0].ops) == [("delete", "children")] * 30 + [("delete", "parents")] * 20
    assert [sql.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("parents", "children", "others")] == [0, 0, 0]
    assert sql.execute("SHOW session_replication_role").fetchone()[0] == "origin"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        sql.execute("INSERT INTO children VALUES (1, 1)")


def test_45_truncate_that_is_refused(family, sql, satellite):
    """By PostgreSQL, before anything is deleted; and one that is rolled back."""
    client = satellite(family).start()
    client.sync("children", "parents")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        sql.execute("TRUNCATE parents")
    with sql.transaction():
        sql.execute("SAVEPOINT a; TRUNCATE parents CASCADE; ROLLBACK TO a")
        sql.execute("UPDATE parents SET value = 'last' WHERE id = 1")
    client.collect(lambda: data(client), "the update")
    assert data(client)[0].kinds == ["update"] and len(client.rows("children")) == 30


@pytest.mark.parametrize("how", ["old snapshot", "no trigger"])
def test_45_truncate_that_cannot_be_told(entries, client, sql, satellite, electric_client, how):
    """Then clients are sent to load their data anew. The published one empties its tables, but forgets to ask for its shapes again (its
    serialised state lacks them): an app that does, as at its next start, has what is there."""
    device = electric_client(entries).start()
    device.sync("entries")
    add(sql)
    device.wait_rows("SELECT count(*) FROM entries", [(1,)])
    client.wait_same(sql, "entries")
    if how == "no trigger":
        sql.execute("DROP TRIGGER busbar_truncate ON entries; TRUNCATE entries")
    else:
        sql.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE entries; COMMIT")
    assert client.wait_fault()[0].code == "REPLICATION_FAILED"
    add(sql, "after")
    device.wait_rows("SELECT count(*) FROM entries", [(0,)])
    device.wait_status("connected")
    device.sync("entries")
    device.wait_rows("SELECT content FROM entries", [("after",)])
    again = satellite(entries).start()
    again.sync("entries")
    again.wait_same(sql, "entries")


def test_45_role_that_may_not_be_a_replica(make_busbar, cluster, database, satellite):
    """Deletion would fire triggers and foreign keys, so it is left; TRUNCATE works, and clients load anew."""
    with cluster.connect() as conn:
        if not conn.execute("SELECT FROM pg_roles WHERE rolname = 'streamer'").fetchone():
            conn.execute("CREATE ROLE streamer LOGIN REPLICATION")
        conn.execute(f'ALTER DATABASE "{database}" OWNER TO streamer')
    busbar = make_busbar(cluster.url(database, user="streamer"), dbname=database)
    electrify(busbar, "CREATE TABLE t (id text PRIMARY KEY)", "t")
    client = satellite(busbar).start()
    client.sync("t")
    with cluster.connect(database, user="streamer") as sql:
        sql.execute("INSERT INTO t VALUES ('1')")
        client.wait_same(sql, "t")
        sql.execute("TRUNCATE t")
        assert client.wait_fault()[0].code == "REPLICATION_FAILED"
        again = client.continue_on().connect()
        again.authenticate()
        with pytest.raises(RpcError) as error:
            again.resume()
        assert error.value.code == "SUBSCRIPTION_NOT_FOUND"
        anew = satellite(busbar, client.client_id).start()
        assert not anew.sync("t").ops


def test_45_trigger_comes_and_goes(entries, sql):
    """With the table's being open for sync; what somebody took away is there again after a start."""
    there = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND tgname = 'busbar_truncate' AND tgenabled = 'A'"
    assert sql.execute(there).fetchone()[0] == 1
    with entries.wire() as wire:
        wire.query("ALTER TABLE entries DISABLE ELECTRIC").ok()
        assert sql.execute(there).fetchone()[0] == 0
        wire.query("ALTER TABLE entries ENABLE ELECTRIC").ok()
    assert sql.execute(there).fetchone()[0] == 1
    sql.execute("DROP TRIGGER busbar_truncate ON entries")
    entries.stop()
    entries.start()
    assert sql.execute(there).fetchone()[0] == 1


def test_45a_one_row_changed_often(client, sql):
    """One operation a row and transaction, whatever happened in between."""
    kept, removed, made, deleted = (add(sql, text) for text in ("kept", "removed", "made", "deleted"))
    client.wait_same(sql, "entries")
    before = len(client.transactions)
    never = str(uuid.uuid4())
    with sql.transaction():
        for value in ("3", "1", "2"):
            sql.execute("UPDATE entries SET content = %s WHERE id = %s", (value, kept))
        sql.execute("DELETE FROM entries WHERE id = %s", (removed,))
        add(sql, "again", removed)
        sql.execute("DELETE FROM entries WHERE id = %s", (made,))
        add(sql, "again", made)
        sql.execute("UPDATE entries SET content = 'and changed' WHERE id = %s", (made,))
        sql.execute("UPDATE entries SET content = 'first' WHERE id = %s", (deleted,))
        sql.execute("DELETE FROM entries WHERE id = %s", (deleted,))
        add(sql, "never", never)
        sql.execute("DELETE FROM entries WHERE id = %s", (never,))
    client.wait_transactions(before + 1)
    last = client.transactions[-1]
    assert {op.key[0]: (op.kind, op.row and op.row["content"]) for op in last.ops} == {
        kept: ("update", "2"), removed: ("update", "again"), made: ("update", "and changed"), deleted: ("delete", None)}
    assert next(op for op in last.ops if op.key[0] == kept).old["content"] == "kept"
    sql.execute("DELETE FROM entries WHERE id = %s", (removed,))
    client.wait_same(sql, "entries")
    assert client.transactions[-1].kinds == ["delete"] and not client.surprises


def test_45a_keys_change_places(busbar, sql, satellite, electric_client):
    """Two rows swap their keys in one transaction: each key has the other's values."""
    electrify(busbar, "CREATE TABLE t (id int4 PRIMARY KEY, value text)", "t")
    sql.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    client, device = satellite(busbar).start(), electric_client(busbar).start()
    client.sync("t")
    device.sync("t")
    with sql.transaction():
        for old, new in ((1, 3), (2, 1), (3, 2)):
            sql.execute("UPDATE t SET id = %s WHERE id = %s", (new, old))
    client.wait_same(sql, "t")
    assert sorted(data(client)[-1].kinds) == ["update", "update"]
    device.wait_rows("SELECT id, value FROM t ORDER BY id", [(1, "two"), (2, "one")])


def test_45a_subtransactions(client, sql):
    """What was rolled back to a savepoint did not happen."""
    row = add(sql, "zero")
    client.wait_same(sql, "entries")
    with sql.transaction():
        sql.execute("UPDATE entries SET content = 'one' WHERE id = %s", (row,))
        sql.execute("SAVEPOINT a")
        sql.execute("UPDATE entries SET content = 'two' WHERE id = %s", (row,))
        add(sql, "lost")
        sql.execute("ROLLBACK TO a")
    client.wait_same(sql, "entries")
    assert [(op.kind, op.row["content"]) for op in client.transactions[-1].ops] == [("update", "one")]


def test_46_other_tables(client, sql):
    sql.execute("CREATE TABLE private (id int4)")
    seen = len(client.log)
    sql.execute("INSERT INTO private SELECT generate_series(1, 1000)")
    with sql.transaction():
        add(sql, "rolled back")
        sql.execute("ROLLBACK")
    sql.execute("UPDATE entries SET content = 'nothing' WHERE false")
    add(sql, "last")
    client.wait_same(sql, "entries")
    assert len(client.log) == seen + 1


ALL = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE kinds (id text PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, t text, v varchar, u uuid, d date, tm time,
    ts timestamp, tz timestamptz, j jsonb, y bytea, m mood)
"""
COLUMNS = "b i2 i4 i8 f4 f8 t v u d tm ts tz j y m".split()
UNUSUAL = ["bytea_output = 'escape'", "DateStyle = 'SQL, MDY'", "TimeZone = 'Asia/Kathmandu'", "extra_float_digits = -5", "IntervalStyle = 'iso_8601'",
           "xmloption = 'document'", "standard_conforming_strings = off", "default_transaction_isolation = 'serializable'", "search_path = 'nowhere'",
           "lc_monetary = 'C'", "default_transaction_read_only = on", "statement_timeout = '1h'", "row_security = on", "client_encoding = 'UTF8'"]


def test_47_display_settings(busbar, cluster, database, sql, satellite):
    """Whatever defaults the database and the role have, in the initial data and in the stream. They are there before Busbar connects anew."""
    electrify(busbar, ALL, "kinds")
    busbar.stop()
    values = """true, 1, 2, 3, 0.1, 0.30000000000000004, 'a\\b', 'v', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2024-02-29', '23:59:59.123456',
        '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.5+05:45', '{"a": 1}', '\\x00ff5c', 'good'"""
    for setting in UNUSUAL:
        sql.execute(f'ALTER DATABASE "{database}" SET {setting}')
        if not setting.startswith(("default_transaction_read_only", "search_path")):
            sql.execute(f"ALTER ROLE postgres IN DATABASE \"{database}\" SET {setting}")
    sql.execute(f"INSERT INTO kinds VALUES ('snapshot', {values})")
    busbar.start()
    client = satellite(busbar).start()
    client.sync("kinds")
    sql.execute(f"INSERT INTO kinds VALUES ('stream', {values})")
    client.collect(lambda: len(client.rows("kinds")) == 2, "both rows")
    expected = ("t", "1", "2", "3", "0.1", "0.30000000000000004", "a\\b", "v", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "2024-02-29", "23:59:59.123456",
                "2024-02-29 12:00:00.000001", "2024-02-29 06:15:00.5Z", '{"a": 1}', b"\x00\xff\\", "good")
    assert [row[1:] for row in client.rows("kinds")] == [expected, expected]


# (column, what is written, what comes on the wire)
EXTREMES = [
    ("b", "true", "t"), ("b", "false", "f"),
    ("i2", "-32768", "-32768"), ("i2", "32767", "32767"), ("i4", "-2147483648", "-2147483648"), ("i4", "2147483647", "2147483647"),
    ("i8", "-9223372036854775808", "-9223372036854775808"), ("i8", "9223372036854775807", "9223372036854775807"), ("i8", "9007199254740993", "9007199254740993"),
    *[(c, v, v) for c in ("f4", "f8") for v in ("Infinity", "-Infinity", "NaN", "-0", "0", "0.5")],
    ("f4", "3.4028235e38", "3.4028235e+38"), ("f4", "1e-45", "1e-45"), ("f4", "0.1", "0.1"), ("f4", "16777217", "1.6777216e+07"),
    ("f8", "1e-300", "1e-300"), ("f8", "5e-324", "5e-324"), ("f8", "1.7976931348623157e308", "1.7976931348623157e+308"), ("f8", "0.1", "0.1"),
    ("f8", "123456789012345.67", "123456789012345.67"),
    ("t", "", ""), ("t", "quotes ' \" `", "quotes ' \" `"), ("t", "line\nend\r\n\ttab\\N\\.", "line\nend\r\n\ttab\\N\\."), ("t", "😀 é é ﷽ \ufeff\U0010ffff", "😀 é é ﷽ \ufeff\U0010ffff"),
    ("t", "\x01\x1f\x7f", "\x01\x1f\x7f"), ("t", "NULL", "NULL"), ("t", "x" * 1_000_000, "x" * 1_000_000), ("v", "", ""), ("v", "'", "'"),
    ("u", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), ("u", "{00000000-0000-0000-0000-000000000000}", "0" * 8 + "-0000-0000-0000-" + "0" * 12),
    ("d", "0001-01-01", "0001-01-01"), ("d", "9999-12-31", "9999-12-31"), ("d", "2024-02-29", "2024-02-29"),
    ("tm", "00:00", "00:00:00"), ("tm", "23:59:59.999999", "23:59:59.999999"), ("tm", "12:00:00.1", "12:00:00.1"),
    ("ts", "0001-01-01 00:00:00", "0001-01-01 00:00:00"), ("ts", "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"), ("ts", "2024-01-01T01:02:03.120", "2024-01-01 01:02:03.12"),
    ("tz", "2024-01-01 01:02:03.000001+02", "2023-12-31 23:02:03.000001Z"), ("tz", "9999-12-31 23:59:59.999999Z", "9999-12-31 23:59:59.999999Z"),
    ("tz", "1900-01-01 00:00+05:45", "1899-12-31 18:15:00Z"),
    ("j", "null", "null"), ("j", '""', '""'), ("j", '{"b": [1, {"ü": "\\u00fc\\n"}], "a": {}}', '{"a": {}, "b": [1, {"ü": "ü\\n"}]}'), ("j", "1e2", "100"), ("j", "12345678901234567890.10", "12345678901234567890.10"),
    ("y", "\\x", b""), ("y", "\\x" + bytes(range(256)).hex(), bytes(range(256))), ("y", "\\x" + "5c00" * 300_000, b"\x5c\0" * 300_000),
    ("m", "good", "good"), ("m", "bad", "bad"),
    *[(column, None, None) for column in COLUMNS]]


def on_device(column, wire):
    """What the published client stores of a value on the wire."""
    if wire is None or column == "y":
        return wire
    if column == "b":
        return 1 if wire == "t" else 0
    if column in ("i2", "i4", "i8"):
        return int(wire)
    if column in ("f4", "f8"):
        return float(wire)
    return json.loads(wire) if column == "j" else wire


def same(column, found, expected):
    if column in ("f4", "f8") and expected is not None:
        found = float(found)
        return struct.pack("d", found) == struct.pack("d", expected) or (math.isnan(found) and math.isnan(expected))
    if column == "j" and isinstance(found, str):
        return json.loads(found) == expected
    return found == expected


def write_extremes(sql, prefix):
    """A row a value; with ``prefix`` of an earlier call the values go round among its rows."""
    for i, (column, value, _) in enumerate(EXTREMES):
        sql.execute(f"INSERT INTO kinds (id, {column}) VALUES (%s, %s)", (f"{prefix}{i}", value))


def wrong_on_the_wire(client, prefix):
    rows = {key: row for (key,), row in client.tables["kinds"].items()}
    found = {i: rows[f"{prefix}{i}"][column] for i, (column, _, _) in enumerate(EXTREMES)}
    return [(EXTREMES[i][:2], str(value)[:60]) for i, value in found.items() if value != EXTREMES[i][2]]


def test_48_types_to_clients(busbar, sql, satellite):
    """Initial data, inserts, updates with old and new row: each value in the protocol's form."""
    electrify(busbar, ALL, "kinds")
    write_extremes(sql, "a")
    client = satellite(busbar).start()
    client.sync("kinds")
    write_extremes(sql, "b")
    client.collect(lambda: len(client.tables["kinds"]) == 2 * len(EXTREMES), "the rows")
    for prefix in "ab":
        assert not wrong_on_the_wire(client, prefix)
    seen = len(client.transactions)
    sql.execute(f"UPDATE kinds SET {', '.join(f'{c} = NULL' for c in COLUMNS)} WHERE id LIKE 'a%'")
    sql.execute(f"UPDATE kinds a SET {', '.join(f'{c} = b.{c}' for c in COLUMNS)} FROM kinds b WHERE a.id LIKE 'a%' AND b.id = 'b' || substr(a.id, 2)")
    client.wait_transactions(seen + 2)
    emptied, filled = client.transactions[-2:]
    assert not wrong_on_the_wire(client, "a") and emptied.kinds == filled.kinds == ["update"] * len(EXTREMES)
    for op in emptied.ops:
        column, _, wire = EXTREMES[int(op.key[0][1:])]
        assert op.old[column] == wire and op.row[column] is None
    client.wait_same(sql, "kinds")
    sql.execute("DELETE FROM kinds WHERE id LIKE 'a%'")
    client.wait_transactions(seen + 3)
    for op in client.transactions[-1].ops:
        column, _, wire = EXTREMES[int(op.key[0][1:])]
        assert op.old[column] == wire


def test_48_dates_that_the_protocol_does_not_know(busbar, sql, satellite):
    """Infinity, years before 1 and after 9999: as PostgreSQL writes them. Nothing breaks."""
    electrify(busbar, ALL, "kinds")
    client = satellite(busbar).start()
    client.sync("kinds")
    with sql.transaction():
        sql.execute("INSERT INTO kinds (id, d, ts, tz) VALUES ('1', 'infinity', '-infinity', 'infinity'), ('2', '4714-11-24 BC', '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC'),"
                    " ('3', '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00')")
    client.collect(lambda: len(client.rows("kinds")) == 3, "the rows")
    dates = {key: (row["d"], row["ts"], row["tz"]) for (key,), row in client.tables["kinds"].items()}
    assert dates == {"1": ("infinity", "-infinity", "infinity"), "2": ("4714-11-24 BC", "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00Z BC"),
                     "3": ("5874897-12-31", "294276-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999Z")}
    late = satellite(busbar).start()
    late.sync("kinds")
    assert late.rows("kinds") == client.rows("kinds")


def test_48_types_at_the_published_client(busbar, sql, electric_client):
    """SQLite has no minus zero and no NaN: the client keeps NaN as a text when it loads a row, and as NULL when it is streamed."""
    electrify(busbar, ALL, "kinds")
    write_extremes(sql, "a")
    device = electric_client(busbar).start()
    device.sync("kinds")
    write_extremes(sql, "b")
    device.wait_rows("SELECT count(*) FROM kinds", [(2 * len(EXTREMES),)])
    wrong = []
    for prefix in "ab":
        for i, (column, value, wire) in enumerate(EXTREMES):
            found = device.query(f"SELECT {column} AS v FROM kinds WHERE id = ?", f"{prefix}{i}")[0]["v"]
            expected = on_device(column, "0" if wire == "-0" else None if wire == "NaN" and prefix == "b" else wire)
            if not same(column, found, expected):
                wrong.append((column, str(value)[:40], str(found)[:40]))
    assert not wrong


def test_50_rows_of_before(busbar, sql, satellite, electric_client):
    """They have tags of no time until they are changed; the rows that they refer to come too."""
    sql.execute("CREATE TABLE owners (id int8 PRIMARY KEY, name text); CREATE TABLE pets (id int8 PRIMARY KEY, owner int8 REFERENCES owners)")
    sql.execute("INSERT INTO owners VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cay'); INSERT INTO pets VALUES (10, 1), (20, 2), (30, NULL)")
    electrify(busbar, "SELECT 1", "owners", "pets")
    client, device = satellite(busbar).start(), electric_client(busbar).start()
    batch = client.sync("pets")
    device.sync("pets")
    assert {tag for op in batch.ops for tag in op.tags} == {"postgres_1@0"}
    assert client.rows("owners") == [("1", "Ann"), ("2", "Bob")] and len(client.rows("pets")) == 3
    sql.execute("UPDATE owners SET name = 'Ann B.' WHERE id = 1")
    update = client.collect(lambda: data(client), "the update")[0]
    assert update.kinds == ["update"] and update.ops[0].tags == [f"postgres_1@{update.timestamp}"]
    sql.execute("DELETE FROM pets WHERE id = 20")
    client.collect(lambda: len(data(client)) == 2, "the deletion")
    assert sorted(zip((op.table for op in data(client)[1].ops), data(client)[1].kinds)) == [("owners", "gone"), ("pets", "delete")]
    device.wait_rows("SELECT id, owner FROM pets ORDER BY id", [(10, 1), (30, None)])
    device.wait_rows("SELECT id, name FROM owners", [(1, "Ann B.")])


def test_51_parent_with_a_key_of_two_columns(busbar, sql, satellite):
    """A row that refers to one that the client does not have brings it along, in the same transaction."""
    sql.execute("CREATE TABLE parents (a text, b int4, value text, PRIMARY KEY (b, a)); INSERT INTO parents VALUES ('x', 1, 'one'), ('y', 2, 'two')")
    sql.execute("CREATE TABLE children (id text PRIMARY KEY, pb int4, pa text, FOREIGN KEY (pb, pa) REFERENCES parents)")
    electrify(busbar, "SELECT 1", "parents", "children")
    client = satellite(busbar).start()
    client.sync("children")
    assert not client.rows("parents")
    sql.execute("INSERT INTO children VALUES ('c', 1, 'x')")
    first = client.collect(lambda: data(client), "the child")[0]
    assert sorted((op.kind, op.table) for op in first.ops) == [("insert", "children"), ("insert", "parents")] and not first.ref
    assert client.rows("parents") == [("x", "1", "one")]
    sql.execute("INSERT INTO children VALUES ('d', 1, 'x'), ('e', 2, NULL)")
    sql.execute("UPDATE children SET pb = 2, pa = 'y' WHERE id = 'c'")
    client.collect(lambda: len(data(client)) == 3, "the update")
    assert sorted((op.kind, op.table) for op in data(client)[2].ops) == [("insert", "parents"), ("update", "children")]
    assert client.rows("parents") == [("x", "1", "one"), ("y", "2", "two")]
    client.wait_same(sql, "children")
