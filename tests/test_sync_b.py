# SPDX-License-Identifier: Apache-2.0
"""Sync scenarios B, start of replication and migrations: spec/scenarios-sync.md 19–36, and 125, which is of the same kind."""

import threading
import uuid

import pytest

from harness.satellite import RpcError
from harness.wait import wait_until
from harness.web import get, migrations

CREATE, INDEX, ENUM, ADD_COLUMN = 0, 1, 2, 6  # SatOpMigrate.Stmt.Type
TABLE = "CREATE TABLE {0} (id text PRIMARY KEY, value text); ALTER TABLE {0} ENABLE ELECTRIC"
MALFORMED = 1007, ""


def migrate(busbar, *statements, version=None):
    """One transaction through the proxy."""
    with busbar.wire() as wire:
        for statement in ("BEGIN", *statements, *([f"CALL electric.migration_version('{version}')"] if version else []), "COMMIT"):
            wire.query(statement).ok()


def versions_of(client):
    """Versions in the order in which they came; a version is one transaction."""
    found = []
    for transaction in client.transactions:
        if transaction.is_migration:
            assert len({op.version for op in transaction.migrations}) == 1, transaction
            found.append(transaction.migrations[0].version)
    return found


def history(sql):
    return [row[0] for row in sql.execute("SELECT version FROM busbar.migration ORDER BY seq").fetchall()]


def wait_history(client, sql):
    """Until the client has all that is recorded: the service learns of a migration when it comes in the stream."""
    expected = history(sql)
    client.collect(lambda: len(versions_of(client)) >= len(expected), "the history")
    assert versions_of(client) == expected
    return client


def column_names(op):
    return [c.name for c in op.table.columns]


def refused(client, code, **start):
    """startReplication fails with the code in its own answer, and the server closes; the error's text."""
    client.connect().authenticate()
    with pytest.raises(RpcError) as error:
        client.start_replication(**start)
    assert error.value.code == code
    assert client.wait_closed() == MALFORMED
    return error.value.text


@pytest.fixture
def known(entries, sql, satellite):
    """A client that has a subscription, has acknowledged two transactions, and has gone."""
    client = satellite(entries).start()
    client.sync("entries")
    before = len(client.transactions)
    for text in ("one", "two"):
        sql.execute("INSERT INTO entries VALUES (%s, %s)", (uuid.uuid4(), text))
    client.wait_transactions(before + 2)
    client.unsubscribe()  # answered after the acknowledgements were read
    client.close()
    return client


# Start.

def test_19_nothing_electrified(busbar, satellite):
    client = satellite(busbar).connect()
    client.authenticate()
    assert client.start_replication().unacked_window_size == 30
    client.unsubscribe()  # what is sent without being asked for is sent before this is answered
    assert not client.log


def test_20_initial_sync(busbar, satellite, sql):
    migrate(busbar, TABLE.format("a"), version="1")
    migrate(busbar, TABLE.format("b"), version="2")
    wait_history(satellite(busbar).start(), sql)
    client = satellite(busbar).start()
    client.wait_transactions(2)
    assert [x.table if hasattr(x, "columns") else x.migrations[0].version for x in client.log] == ["a", "1", "b", "2"]
    one, two = client.transactions
    assert one.is_migration and two.is_migration and one.lsn == two.lsn and one.id != two.id
    assert one.origin == "postgres_1" and one.timestamp <= two.timestamp


def test_21_bundled_version(busbar, satellite):
    for version in ("1", "2", "3"):
        migrate(busbar, TABLE.format(f"t{version}"), version=version)
    client = satellite(busbar).start(schema_version="1")
    client.wait_transactions(2)
    migrate(busbar, TABLE.format("t4"), version="4")
    client.wait_transactions(3)
    assert versions_of(client) == ["2", "3", "4"]


def test_21_newer_is_what_was_committed_later(busbar, satellite):
    """Not what sorts behind it."""
    for version in ("9", "10", "1"):
        migrate(busbar, TABLE.format(f"t{version}"), version=version)
    client = satellite(busbar).start(schema_version="10")
    migrate(busbar, TABLE.format("last"), version="0")
    client.wait_transactions(2)
    assert versions_of(client) == ["1", "0"]


def test_21_newest_version(busbar, satellite):
    """Known at once, wherever the stream is: it came to the app from /api/migrations, which asks the database."""
    migrate(busbar, TABLE.format("a"), version="1")
    client = satellite(busbar).start(schema_version="1")
    client.unsubscribe()
    assert not client.log


def test_22_migrations_committed_while_clients_start(busbar, satellite, sql):
    """Whatever part of the history a client starts with: each version once, in the order of the commits."""
    migrate(busbar, TABLE.format("t"))
    failures, clients = [], []

    def change():
        try:
            for i in range(20):
                migrate(busbar, f"ALTER TABLE t ADD COLUMN c{i} text")
        except Exception as error:  # noqa: BLE001  told below
            failures.append(error)

    changing = threading.Thread(target=change)
    changing.start()
    while changing.is_alive():
        clients.append(satellite(busbar).start())
    changing.join()
    assert not failures
    for client in clients:
        wait_history(client, sql)


# Errors.

def test_23_unknown_version(busbar, satellite):
    migrate(busbar, TABLE.format("a"), version="1")
    assert refused(satellite(busbar), "UNKNOWN_SCHEMA_VSN", schema_version="nonsense") == 'Unknown schema version: "nonsense"'


@pytest.mark.parametrize("lsn", [b"abc", b"0/1", b"-1", b"1 ", b"18446744073709551616", b"\xff"])
def test_24_malformed_lsn(busbar, satellite, lsn):
    assert refused(satellite(busbar), "MALFORMED_LSN", lsn=lsn) == "Could not validate start replication request"


def test_25_subscriptions_without_lsn(busbar, satellite):
    text = refused(satellite(busbar), "INVALID_POSITION", subscription_ids=[str(uuid.uuid4())])
    assert text == "Cannot resume subscriptions for a first-time client"


def test_26_behind_the_window(known):
    """What was known of the client is forgotten: afterwards its old position is nothing any more."""
    assert refused(known.continue_on(), "BEHIND_WINDOW", lsn=b"1") == "Cannot catch up to the server's current state"
    assert refused(known.continue_on(), "INVALID_POSITION", lsn=known.lsn) == "LSN is before the already acknowledged one"


def test_26_ahead_of_everything(known):
    refused(known.continue_on(), "BEHIND_WINDOW", lsn=str(2 ** 63).encode())


def test_27_before_the_acknowledged(known):
    first = known.transactions[-2]
    assert refused(known.continue_on(), "INVALID_POSITION", lsn=first.lsn) == "LSN is before the already acknowledged one"


def test_27_never_seen(entries, known, satellite):
    refused(satellite(entries), "INVALID_POSITION", lsn=known.lsn)


def test_28_unknown_subscription(known):
    stranger = str(uuid.uuid4())
    text = refused(known.continue_on(), "SUBSCRIPTION_NOT_FOUND", lsn=known.lsn, subscription_ids=[*known.subscriptions, stranger])
    assert text == f"Unknown subscription: {stranger}"


def test_28_long_name(known):
    text = refused(known.continue_on(), "SUBSCRIPTION_NOT_FOUND", lsn=known.lsn, subscription_ids=["x" * 200])
    assert text == f"Unknown subscription: {'x' * 126}..."


def test_28_known_ones_go_on(known, sql):
    """The errors above are not for want of trying: the same client resumes."""
    again = known.continue_on().connect()
    again.authenticate()
    again.resume()
    sql.execute("INSERT INTO entries VALUES (%s, 'three')", (uuid.uuid4(),))
    again.wait_same(sql, "entries")
    assert len(again.transactions) == 1 and not again.batches and not again.surprises


# Migrations in the stream.

def test_29_migration_in_the_stream(busbar, satellite):
    """One transaction, each statement an operation, in the client's own SQL. A table is described as it is at the migration's end: from
    this clients make triggers, once they have run all of it."""
    clients = {dialect: satellite(busbar).start(dialect=number) for dialect, number in (("sqlite", 0), ("postgres", 1))}
    migrate(busbar, "CREATE TABLE parents (id uuid PRIMARY KEY)", "ALTER TABLE parents ENABLE ELECTRIC", version="0")
    migrate(busbar, "CREATE TABLE things (id int8, place varchar, parent uuid REFERENCES parents, PRIMARY KEY (place, id))",
            "ALTER TABLE things ENABLE ELECTRIC", "CREATE INDEX things_place ON things (place DESC)", "ALTER TABLE things ADD COLUMN colour text", version="1")
    for dialect, client in clients.items():
        client.wait_transactions(2)
        last = client.transactions[-1]
        assert last.is_migration and [op.version for op in last.migrations] == ["1"] * 3 and not last.ops
        assert client.log[-2].table == "things" and client.log[-1] is last, "the relation in front"
        assert client.schemas["things"].columns == [("id", "int8", True, False), ("place", "varchar", True, False), ("parent", "uuid", False, True),
                                                    ("colour", "text", False, True)]
        table, index, column = last.migrations
        assert [[s.type for s in op.stmts] for op in last.migrations] == [[CREATE], [INDEX], [ADD_COLUMN]]
        assert column_names(table) == column_names(column) == ["id", "place", "parent", "colour"]
        assert "colour" not in table.stmts[0].sql and "colour" in column.stmts[0].sql
        assert list(table.table.pks) == ["place", "id"] and index.WhichOneof("affected_entity") is None
        assert [(list(f.fk_cols), f.pk_table, list(f.pk_cols)) for f in column.table.fks] == [(["parent"], "parents", ["id"])]
        types = {c.name: (c.pg_type.name, list(c.pg_type.size), c.sqlite_type) for c in column.table.columns}
        assert types == {"id": ("int8", [], "INTEGER"), "place": ("varchar", [], "TEXT"), "parent": ("uuid", [], "TEXT"), "colour": ("text", [], "TEXT")}
        assert table.stmts[0].sql.startswith("CREATE TABLE "), table.stmts[0].sql
    assert clients["sqlite"].transactions[-1].lsn == clients["postgres"].transactions[-1].lsn
    assert "uuid" in clients["postgres"].transactions[-1].migrations[0].stmts[0].sql and "uuid" not in clients["sqlite"].transactions[-1].migrations[0].stmts[0].sql


def test_29_data_in_the_same_transaction(entries, sql, satellite):
    """The migration in front, then the rows, with the new column; a client without the subscription gets the migration alone."""
    subscribed, other = satellite(entries).start(), satellite(entries).start()
    subscribed.sync("entries")
    sql.execute("INSERT INTO entries VALUES (%s, 'old')", (uuid.uuid4(),))
    subscribed.wait_same(sql, "entries")
    before = len(subscribed.transactions)
    migrate(entries, "UPDATE entries SET content = 'early'", "ALTER TABLE entries ADD COLUMN n int4", f"INSERT INTO entries VALUES ('{uuid.uuid4()}', 'new', NULL, 1)",
            "UPDATE entries SET n = 2 WHERE content = 'early'")
    subscribed.wait_transactions(before + 1)
    assert len(subscribed.transactions) == before + 1
    last = subscribed.transactions[-1]
    assert last.is_migration and sorted(last.kinds) == ["insert", "update"]
    assert {(op.kind, op.row["content"], op.row["n"]) for op in last.ops} == {("insert", "new", "1"), ("update", "early", "2")}
    subscribed.wait_same(sql, "entries")
    other.wait_transactions(2)
    assert other.transactions[-1].is_migration and not other.transactions[-1].ops


def test_30_enum(busbar, satellite):
    clients = {dialect: satellite(busbar).start(dialect=number) for dialect, number in (("sqlite", 0), ("postgres", 1))}
    migrate(busbar, "CREATE TYPE mood AS ENUM ('good', 'bad')", "CREATE TABLE days (id text PRIMARY KEY, mood mood)", "ALTER TABLE days ENABLE ELECTRIC")
    for dialect, client in clients.items():
        kind, table = client.wait_transactions(1)[0].migrations
        assert (kind.enum_type.name, list(kind.enum_type.values)) == ("mood", ["good", "bad"])
        assert [s.type for s in kind.stmts] == ([] if dialect == "sqlite" else [ENUM])
        assert [(c.pg_type.name, c.sqlite_type) for c in table.table.columns] == [("text", "TEXT"), ("mood", "TEXT")]
        assert client.schemas["days"].columns[1] == ("mood", "mood", False, True)


def test_31_add_column(entries, sql, satellite, electric_client):
    """The relation is announced again, in front of the migration; rows have the column from then on."""
    client, device = satellite(entries).start(), electric_client(entries).start()
    client.sync("entries")
    device.sync("entries")
    row = str(uuid.uuid4())
    sql.execute("INSERT INTO entries VALUES (%s, 'before')", (row,))
    client.wait_same(sql, "entries")
    migrate(entries, "ALTER TABLE entries ADD COLUMN added int4")
    sql.execute("INSERT INTO entries VALUES (%s, 'after', NULL, 8)", (uuid.uuid4(),))
    sql.execute("UPDATE entries SET added = 9 WHERE id = %s", (row,))
    client.collect(lambda: len(client.transactions) and client.transactions[-1].kinds == ["update"], "the update")
    assert client.schemas["entries"].names == ["id", "content", "content_b", "added"]
    relation = client.log.index(client.schemas["entries"])
    assert client.log[relation + 1].is_migration and column_names(client.log[relation + 1].migrations[0])[-1] == "added"
    client.wait_same(sql, "entries")
    device.wait_rows("SELECT content, added FROM entries ORDER BY content", [("after", 8), ("before", 9)])
    assert not device.thrown


def test_31_column_that_the_client_has_no_row_of(entries, sql, satellite):
    """Rows that were sent before the column came: NULL in it, also in the old row of the next update."""
    row = str(uuid.uuid4())
    sql.execute("INSERT INTO entries VALUES (%s, 'before')", (row,))
    client = satellite(entries).start()
    client.sync("entries")
    migrate(entries, "ALTER TABLE entries ADD COLUMN added int4")
    wait_history(client, sql)
    late = satellite(entries).start()
    late.sync("entries")
    assert late.tables["entries"][(row,)]["added"] is None
    sql.execute("UPDATE entries SET added = 1")
    for each in (client, late):
        each.wait_same(sql, "entries")
    assert client.transactions[-1].ops[0].old == {"id": row, "content": "before", "content_b": None, "added": None}


def test_32_dropped_column(busbar, sql, satellite):
    sql.execute("CREATE TABLE t (gone int4, id text PRIMARY KEY, lost text, value text); ALTER TABLE t DROP COLUMN gone, DROP COLUMN lost")
    sql.execute("INSERT INTO t VALUES ('1', 'before')")
    migrate(busbar, "ALTER TABLE t ENABLE ELECTRIC")
    client = satellite(busbar).start()
    op = client.wait_transactions(1)[0].migrations[0]
    assert column_names(op) == ["id", "value"] and "gone" not in op.stmts[0].sql and "lost" not in op.stmts[0].sql
    client.sync("t")
    sql.execute("INSERT INTO t VALUES ('2', 'after')")
    sql.execute("UPDATE t SET value = 'changed' WHERE id = '1'")
    client.wait_same(sql, "t")
    assert client.schemas["t"].names == ["id", "value"]
    assert client.rows("t") == [("1", "changed"), ("2", "after")]


def test_33_other_tables(entries, sql, satellite):
    client = satellite(entries).start()
    client.sync("entries")
    seen = len(client.transactions)
    migrate(entries, "CREATE TABLE private (id int4 PRIMARY KEY)", "CREATE INDEX ON private (id)", "ALTER TABLE private ADD COLUMN x text")
    migrate(entries, "DROP TABLE private")
    sql.execute("INSERT INTO entries VALUES (%s, 'last')", (uuid.uuid4(),))
    client.wait_same(sql, "entries")
    assert len(client.transactions) == seen + 1


def test_33_index_dropped(entries, sql, satellite):
    """In the history, and nothing that clients need be told in rows: the stream goes on."""
    client = satellite(entries).start()
    client.sync("entries")
    migrate(entries, "CREATE INDEX entries_content ON entries (content)")
    migrate(entries, "DROP INDEX entries_content")
    sql.execute("INSERT INTO entries VALUES (%s, 'last')", (uuid.uuid4(),))
    client.wait_same(sql, "entries")


def test_34_forty_migrations(busbar, satellite, electric_client, sql):
    """More than the window has room for: the client acknowledges, and all arrive in order."""
    migrate(busbar, TABLE.format("t"))
    for i in range(39):
        migrate(busbar, f"ALTER TABLE t ADD COLUMN c{i} text")
    expected = history(sql)
    slow = satellite(busbar, auto_ack=False).start()
    slow.wait_transactions(30)
    slow.unsubscribe()
    assert versions_of(slow) == expected[:30]
    slow.ack()
    slow.wait_transactions(40)
    assert versions_of(slow) == expected
    device = electric_client(busbar).start(bundle=[])
    wait_until(lambda: len(device.query("SELECT 1 FROM _electric_migrations WHERE version <> '0'")) >= 40, "the migrations at the device")
    assert [r["version"] for r in device.query("SELECT version FROM _electric_migrations ORDER BY id")][-40:] == expected
    assert len(device.query("SELECT * FROM pragma_table_info('t')")) == 41


def test_35_published_client_twice(entries, electric_client, sql):
    """The same bundle again, also one that is older than what the device has: nothing is applied twice."""
    device = electric_client(entries).start()
    old = device.migrations
    device.sync("entries")
    migrate(entries, "ALTER TABLE entries ADD COLUMN later text")
    wait_until(lambda: device.query("SELECT 1 FROM pragma_table_info('entries') WHERE name = 'later'"), "the migration")
    for bundle in (old, None):
        device.close()
        device.start(bundle)
        assert device.status["connected"] and not device.thrown
        applied = [r["version"] for r in device.query("SELECT version FROM _electric_migrations ORDER BY id")]
        assert len(set(applied)) == len(applied)
    sql.execute("INSERT INTO entries VALUES (%s, 'x', NULL, 'y')", (uuid.uuid4(),))
    device.wait_rows("SELECT content, later FROM entries", [("x", "y")])


def test_36_migrations_over_http(busbar):
    """More of it in test_http.py."""
    migrate(busbar, TABLE.format("a"), version="1")
    migrate(busbar, TABLE.format("b"), version="2")
    without = get(busbar.http_port, "/api/migrations")
    assert without.status == 403 and without.content_type.startswith("application/json")
    assert [m.version for m in migrations(busbar.http_port)] == ["1", "2"]
    assert get(busbar.http_port, "/api/migrations?dialect=sqlite&version=2").status == 204


def test_125_migration_while_clients_stream_and_start(entries, sql, satellite):
    """One streams with rows, one is in initial sync, one between: each has the table once, and the rows behind the migration."""
    streaming = satellite(entries).start()
    streaming.sync("entries")
    starting = satellite(entries).connect()
    starting.authenticate()
    began = threading.Thread(target=migrate, args=(entries, TABLE.format("later"), "INSERT INTO later VALUES ('1', 'with it')"))
    began.start()
    starting.start_replication()
    began.join()
    late = satellite(entries).start()
    for client in (streaming, starting, late):
        wait_history(client, sql).sync("later")
    sql.execute("INSERT INTO later VALUES ('2', 'behind it')")
    for client in (streaming, starting, late):
        client.wait_same(sql, "later")
        assert versions_of(client) == history(sql) and not client.surprises
