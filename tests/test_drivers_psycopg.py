# SPDX-License-Identifier: Apache-2.0
"""psycopg 2 and psycopg 3: sync, async, pipeline mode, COPY, server-side cursors, prepared statements, two-phase commit."""

import asyncio
import hashlib
import io
import select
import threading

import psycopg
import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pytest
from psycopg import errors, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from harness.electric import Ledger
from harness.postgres import Postgres
from harness.wait import wait_until

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

DROP = "ALTER TABLE truths DROP COLUMN value"
LARGE = "".join(chr(97 + n % 26) for n in range(4_000_000))
MD5 = hashlib.md5(LARGE.encode()).hexdigest()


def connect2(endpoint, **params):
    return psycopg2.connect(host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password or "",
                            dbname=endpoint.dbname, connect_timeout=10, **params)


def arguments(endpoint):
    return {"host": endpoint.host, "port": endpoint.port, "user": endpoint.user, "password": endpoint.password or "",
            "dbname": endpoint.dbname, "connect_timeout": 10}


def sleeping(endpoint, pid):
    """Waits until the backend is in pg_sleep()."""
    with endpoint.psycopg(autocommit=True) as other:
        wait_until(lambda: other.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()[0] == "PgSleep", "pg_sleep to run")


def steps(table):
    return [f"CREATE TABLE {table} (id int8 PRIMARY KEY, value text)", f"ALTER TABLE {table} ENABLE ELECTRIC",
            f"ALTER TABLE {table} ADD COLUMN amount int4", f"CREATE INDEX {table}_amount ON {table} (amount)"]


@pytest.fixture(params=[2, 3], ids=["psycopg2", "psycopg3"])
def connect(request, endpoint):
    """Opens sessions by psycopg 2 and by psycopg 3: what the two have in common (DB-API) is tested once."""
    opened = []

    def open_session(autocommit=False):
        connection = connect2(endpoint) if request.param == 2 else psycopg.connect(**arguments(endpoint))
        opened.append(connection)
        connection.autocommit = autocommit
        return connection

    open_session.version, open_session.error = request.param, (psycopg2.Error if request.param == 2 else psycopg.Error)
    yield open_session
    for connection in opened:
        connection.close()


def value(connection, text, params=None):
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return cursor.fetchone()[0]


def state(error):
    return getattr(error.value, "sqlstate", None) or error.value.pgcode


# DB-API: both.

@pytest.mark.transparent
def test_transactions_and_errors(connect):
    conn = connect()
    with conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(200)])
        conn.commit()
        cursor.execute("SAVEPOINT s")
        with pytest.raises(connect.error) as error:
            cursor.execute("INSERT INTO t VALUES (%s)", [7])
        assert state(error) == "23505"
        with pytest.raises(connect.error) as error:
            cursor.execute("SELECT 1")
        assert state(error) == "25P02"
        cursor.execute("ROLLBACK TO s")
        cursor.execute("INSERT INTO t VALUES (1000)")
        conn.commit()
        cursor.execute("DELETE FROM t")
        assert cursor.rowcount == 201
        conn.rollback()
    assert value(conn, "SELECT count(*) FROM t") == 201


@pytest.mark.transparent
def test_large_values(connect):
    conn = connect(autocommit=True)
    assert value(conn, "SELECT md5(%s)", [LARGE]) == MD5
    assert value(conn, f"SELECT md5('{LARGE}')") == MD5
    assert bytes(value(conn, "SELECT %s::bytea", [bytes(range(256)) * 4000])) == bytes(range(256)) * 4000
    assert len(value(conn, "SELECT repeat('x', 30000000)")) == 30_000_000


@pytest.mark.transparent
def test_server_side_cursor(connect):
    conn = connect()
    with conn.cursor(name="rows", scrollable=True) as cursor:
        cursor.itersize = 700
        cursor.execute("SELECT n FROM generate_series(1, %s) n", [10_000])
        assert cursor.fetchone() == (1,)
        assert len(cursor.fetchmany(500)) == 500
        assert [n for (n,) in cursor] == list(range(502, 10_001))
        cursor.scroll(4999, mode="absolute")
        assert cursor.fetchone() == (5000,)
    with conn.cursor(name="held", withhold=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 10) n")
        conn.commit()
        assert cursor.fetchall() == [(n,) for n in range(1, 11)]
    conn.commit()


@pytest.mark.transparent
def test_cancel(connect, endpoint):
    conn = connect(autocommit=True)
    pid = conn.info.backend_pid
    canceller = threading.Thread(target=lambda: (sleeping(endpoint, pid), conn.cancel()))
    canceller.start()
    try:
        with pytest.raises(connect.error) as error:
            value(conn, "SELECT pg_sleep(60)")
    finally:
        canceller.join()
    assert state(error) == "57014"
    assert value(conn, "SELECT 1") == 1


def test_migrations(connect, endpoint, ledger):
    conn = connect(autocommit=True)
    for text in steps("auto"):
        conn.cursor().execute(text)
    conn.cursor().execute("INSERT INTO auto VALUES (%s, %s, %s)", [1, "a", 2])
    conn.autocommit = False
    for text in steps("held"):
        conn.cursor().execute(text)
    conn.cursor().execute("INSERT INTO held VALUES (%s, %s, %s)", [1, "a", 2])
    conn.commit()
    conn.cursor().execute("ALTER TABLE held ADD COLUMN gone text")
    conn.rollback()
    drivers.migrated(endpoint, ledger)


def test_refused(truths, connect, endpoint):
    conn = connect(autocommit=True)
    for text, params in ((DROP, None), (DROP, [])):
        with pytest.raises(connect.error, match="Cannot drop column") as error:
            conn.cursor().execute(text, params)
        assert state(error) == "EX010" and error.value.diag.message_hint
    assert value(conn, "SELECT 1") == 1
    conn.autocommit = False
    cursor = conn.cursor()
    cursor.execute("INSERT INTO socks VALUES (1, 'red')")
    with pytest.raises(connect.error) as error:
        cursor.execute(DROP)
    assert state(error) == "EX010" and conn.info.transaction_status == TransactionStatus.INERROR
    with pytest.raises(connect.error) as error:
        cursor.execute("SELECT 1")
    assert state(error) == "25P02"
    conn.commit()
    assert conn.info.transaction_status == TransactionStatus.IDLE
    cursor.execute("INSERT INTO socks VALUES (2, 'blue')")
    conn.commit()
    cursor.execute("SAVEPOINT s")
    cursor.execute("INSERT INTO socks VALUES (3, 'black')")
    with pytest.raises(connect.error) as error:
        cursor.execute(DROP)
    assert state(error) == "EX010"
    cursor.execute("ROLLBACK TO s")
    cursor.execute("ALTER TABLE truths ADD COLUMN amount int4")
    cursor.execute("INSERT INTO socks VALUES (4, 'white')")
    conn.commit()
    drivers.refused(endpoint, truths)


# psycopg 2.

@pytest.mark.transparent
def test_psycopg2_copy(endpoint):
    conn = connect2(endpoint)
    with conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE c (id int, value text)")
        lines = "".join(f"{n}\tvalue {n}\n" for n in range(30_000))
        cursor.copy_expert("COPY c FROM STDIN", io.StringIO(lines))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM c ORDER BY id) TO STDOUT", out)
        assert out.getvalue() == lines
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation), conn, conn.cursor() as cursor:
        cursor.copy_expert("COPY c FROM STDIN", io.StringIO(lines + "x\ty\n"))

    class Broken(io.StringIO):
        def read(self, _):
            raise ZeroDivisionError

    with pytest.raises(psycopg2.errors.QueryCanceled), conn, conn.cursor() as cursor:
        cursor.copy_expert("COPY c FROM STDIN", Broken())
    assert value(conn, "SELECT count(*) FROM c") == 30_000
    conn.close()


@pytest.mark.transparent
def test_psycopg2_asynchronous(endpoint):
    conn = connect2(endpoint, async_=1)

    def wait():
        while True:
            ready = conn.poll()
            if ready == psycopg2.extensions.POLL_OK:
                return
            select.select(*(([conn], [], []) if ready == psycopg2.extensions.POLL_READ else ([], [conn], [])), 20)

    wait()
    cursor = conn.cursor()
    cursor.execute("SELECT md5(%s)", [LARGE])
    wait()
    assert cursor.fetchone() == (MD5,)
    cursor.execute("BEGIN; SELECT 1/0; SELECT 2")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        wait()
    cursor.execute("ROLLBACK")
    wait()
    conn.close()


@pytest.mark.transparent
def test_psycopg2_extras(endpoint):
    """execute_values, large objects (function calls), notifications, a batch in one query, isolation levels."""
    conn = connect2(endpoint)
    conn.set_session(isolation_level="SERIALIZABLE", deferrable=True)
    with conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int, value text)")
        rows = psycopg2.extras.execute_values(cursor, "INSERT INTO t VALUES %s RETURNING id", [(n, "x") for n in range(1000)], page_size=100, fetch=True)
        assert rows == [(n,) for n in range(1000)]
        psycopg2.extras.execute_batch(cursor, "UPDATE t SET value = %s WHERE id = %s", [(f"v{n}", n) for n in range(300)])
        assert value(conn, "SHOW transaction_isolation") == "serializable"
        large = conn.lobject(mode="wb")
        large.write(LARGE.encode())
        large.seek(-5, 2)
        assert large.tell() == len(LARGE) - 5
        large.unlink()
    conn.set_session(autocommit=True)
    with conn.cursor() as cursor:
        cursor.execute("LISTEN news")
        cursor.execute("NOTIFY news, 'hello'")
        wait_until(lambda: conn.poll() == psycopg2.extensions.POLL_OK and conn.notifies, "a notification")
        assert [(n.channel, n.payload) for n in conn.notifies] == [("news", "hello")]
    conn.close()


# psycopg 3.

@pytest.mark.transparent
def test_psycopg3_queries(endpoint):
    with psycopg.connect(**arguments(endpoint)) as conn:
        assert conn.execute("SELECT %s::int8, %s::text[], %s::bytea, %s::jsonb", [1, ["a", None], b"\0", '{"a": 1}']).fetchone() == (1, ["a", None], b"\0", {"a": 1})
        with conn.cursor(binary=True, row_factory=dict_row) as cursor:
            assert cursor.execute("SELECT %s::int4 AS a, now() AS b", [7]).fetchone()["a"] == 7
            assert cursor.execute("SELECT 1 WHERE false").fetchone() is None
        cursor = conn.execute("SELECT 1 AS one; SELECT 2, 3")
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.fetchone() == (2, 3) and not cursor.nextset()
        assert [n for (n,) in conn.cursor().stream("SELECT generate_series(1, %s)", [5000])] == list(range(1, 5001))
        with conn.transaction():
            conn.execute("CREATE TABLE t (id int PRIMARY KEY)")
            with pytest.raises(errors.UniqueViolation), conn.transaction():
                conn.execute("INSERT INTO t VALUES (1), (1)")
            with conn.transaction(force_rollback=True):
                conn.execute("INSERT INTO t VALUES (2)")
            conn.execute("INSERT INTO t VALUES (3)")
        assert conn.execute("SELECT * FROM t").fetchall() == [(3,)]
        assert conn.execute(sql.SQL("SELECT {}").format("a'b")).fetchone() == ("a'b",)


@pytest.mark.transparent
def test_psycopg3_prepared_statements(endpoint):
    """Prepared after five runs; a table that changes under them; more of them than are kept."""
    with psycopg.connect(**arguments(endpoint), autocommit=True) as conn:
        conn.prepared_max = 5
        conn.execute("CREATE TABLE t (a int)")
        for n in range(10):
            conn.execute("INSERT INTO t VALUES (%s)", [n])
            assert conn.execute("SELECT count(*) FROM t WHERE a <= %s", [n], prepare=True).fetchone() == (n + 1,)
        names = "SELECT statement FROM pg_prepared_statements"
        assert {text for (text,) in conn.execute(names)} == {"INSERT INTO t VALUES ($1)", "SELECT count(*) FROM t WHERE a <= $1"}
        for n in range(20):
            assert conn.execute(f"SELECT {n} + %s", [n], prepare=True).fetchone() == (2 * n,)
        assert len(conn.execute(names).fetchall()) <= 6
        assert conn.execute("SELECT * FROM t WHERE a = %s", [1], prepare=True).fetchone() == (1,)
        conn.execute("ALTER TABLE t ADD COLUMN b int")
        with pytest.raises(errors.FeatureNotSupported, match="cached plan must not change result type"):
            conn.execute("SELECT * FROM t WHERE a = %s", [1], prepare=True)
        conn.execute("DEALLOCATE ALL")
        conn.execute("DISCARD ALL")
        assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.transparent
def test_psycopg3_copy(endpoint):
    with psycopg.connect(**arguments(endpoint), autocommit=True) as conn:
        conn.execute("CREATE TABLE c (id int4, value text)")
        cursor = conn.cursor()
        with cursor.copy("COPY c FROM STDIN") as copy:
            for n in range(5000):
                copy.write_row((n, f"v\t{n}"))
        with cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for n in range(5000, 10_000):
                copy.write_row((n, LARGE[:n]))
        assert cursor.rowcount == 5000
        with cursor.copy("COPY (SELECT * FROM c ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        assert rows == [(n, f"v\t{n}" if n < 5000 else LARGE[:n]) for n in range(10_000)]
        with pytest.raises(errors.QueryCanceled, match="ZeroDivisionError"), cursor.copy("COPY c FROM STDIN") as copy:
            copy.write(b"1\tx\n")
            raise ZeroDivisionError
        with pytest.raises(errors.BadCopyFileFormat), cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy:
            copy.write(b"nonsense\n" * 100_000)
        with pytest.raises(KeyError), cursor.copy("COPY c TO STDOUT") as copy:
            copy.read()
            raise KeyError  # psycopg cancels what is left
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert value(conn, "SELECT count(*) FROM c") == 10_000


@pytest.mark.transparent
def test_psycopg3_pipeline(endpoint):
    with psycopg.connect(**arguments(endpoint), autocommit=True) as conn:
        conn.execute("CREATE TABLE t (id int PRIMARY KEY, value text)")
        with conn.pipeline() as pipeline, conn.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, "x" * 1000) for n in range(5000)])
            one, two = conn.execute("SELECT count(*) FROM t"), conn.execute("SELECT max(id) FROM t")
            pipeline.sync()
            assert (one.fetchone(), two.fetchone()) == ((5000,), (4999,))
        late = conn.cursor()  # psycopg may learn of the error before it sends this one
        with pytest.raises(errors.UniqueViolation), conn.pipeline():
            conn.execute("INSERT INTO t VALUES (-1)")
            conn.execute("INSERT INTO t VALUES (1)")
            late.execute("INSERT INTO t VALUES (-2)")
        assert late.rowcount == -1
        with conn.pipeline() as pipeline:
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (-3)")
            with pytest.raises(errors.DivisionByZero):
                conn.execute("SELECT 1/0").fetchone()
            pipeline.sync()
            conn.execute("INSERT INTO t VALUES (-4)")
        assert conn.execute("SELECT id FROM t WHERE id < 0 ORDER BY 1").fetchall() == [(-4,), (-3,)]


def test_psycopg3_pipeline_migrations(busbar, ledger):
    """In a pipeline: each of autocommit in a group of its own, then a transaction."""
    with psycopg.connect(**arguments(busbar), autocommit=True) as conn:
        with conn.pipeline() as pipeline:
            for text in steps("auto"):
                conn.execute(text)
                pipeline.sync()
            conn.execute("INSERT INTO auto VALUES (%s, %s, %s)", [1, "a", 2])
        with conn.pipeline():
            with conn.transaction():
                for text in steps("held"):
                    conn.execute(text)
                conn.execute("INSERT INTO held VALUES (%s, %s, %s)", [1, "a", 2])
            with conn.transaction(force_rollback=True):
                conn.execute("ALTER TABLE held ADD COLUMN gone text")
    drivers.migrated(busbar, ledger)


def test_psycopg3_pipeline_of_one_implicit_transaction(busbar, ledger):
    """Everything up to one Sync is one transaction, hence one migration."""
    with psycopg.connect(**arguments(busbar), autocommit=True) as conn:
        with conn.pipeline():
            for text in steps("held"):
                conn.execute(text)
        assert conn.info.transaction_status == TransactionStatus.IDLE
    assert ledger.columns("held") == ["id", "value", "amount"] and len(ledger.versions) == 1
    ledger.consistent()


def test_psycopg3_pipeline_refused(busbar, truths):
    with psycopg.connect(**arguments(busbar), autocommit=True) as conn:
        with pytest.raises(psycopg.Error) as error, conn.pipeline():
            conn.execute("INSERT INTO socks VALUES (%s, 'red')", [1])
            conn.execute("ALTER TABLE truths ADD COLUMN amount int4")
            conn.execute(DROP)
            conn.execute("INSERT INTO socks VALUES (%s, 'red')", [3])
        assert error.value.sqlstate == "EX010"
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert truths.columns("truths") == ["id", "value"] and truths.column("SELECT id FROM socks") == []
        with pytest.raises(psycopg.Error) as error, conn.pipeline() as pipeline:
            with conn.transaction():
                conn.execute("INSERT INTO socks VALUES (%s, 'red')", [1])
                conn.execute(DROP)
                pipeline.sync()
        assert error.value.sqlstate == "EX010"
        assert conn.info.transaction_status == TransactionStatus.IDLE
        with conn.pipeline(), conn.transaction():
            conn.execute("INSERT INTO socks VALUES (2, 'blue'), (4, 'white')")
            conn.execute("ALTER TABLE truths ADD COLUMN amount int4")
    drivers.refused(busbar, truths)


async def queries_async(endpoint):
    async with await psycopg.AsyncConnection.connect(**arguments(endpoint), autocommit=True) as conn:
        await conn.execute("CREATE TABLE c (id int4, value text)")
        async with conn.cursor() as cursor:
            async with cursor.copy("COPY c FROM STDIN") as copy:
                for n in range(3000):
                    await copy.write_row((n, "x" * 500))
            async with cursor.copy("COPY c TO STDOUT") as copy:
                assert len([row async for row in copy.rows()]) == 3000
        async with conn.transaction(), conn.cursor(name="rows") as cursor:
            await cursor.execute("SELECT id FROM c ORDER BY id")
            assert [n async for (n,) in cursor] == list(range(3000))
        async with conn.pipeline():
            found = [await conn.execute("SELECT %s::int", [n]) for n in range(500)]
        assert [(await c.fetchone())[0] for c in found] == list(range(500))
        with pytest.raises(errors.DivisionByZero):
            await conn.execute("SELECT 1/0")
        assert await (await conn.execute("SELECT md5(%s)", [LARGE])).fetchone() == (MD5,)
        await conn.execute("LISTEN news")
        with endpoint.psycopg(autocommit=True) as other:
            other.execute("NOTIFY news, 'hello'")
        async for note in conn.notifies():
            assert (note.channel, note.payload) == ("news", "hello")
            break
        running = asyncio.create_task(conn.execute("SELECT pg_sleep(60)"))
        await asyncio.get_running_loop().run_in_executor(None, sleeping, endpoint, conn.info.backend_pid)
        conn.cancel()
        with pytest.raises(errors.QueryCanceled):
            await running
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.transparent
def test_psycopg3_asynchronous(endpoint):
    asyncio.run(asyncio.wait_for(queries_async(endpoint), drivers.TIMEOUT))


async def migrate_async(endpoint):
    async with await psycopg.AsyncConnection.connect(**arguments(endpoint), autocommit=True) as conn:
        for text in steps("auto"):
            await conn.execute(text)
        await conn.execute("INSERT INTO auto VALUES (1, 'a', 2)")
        async with conn.transaction():
            for text in steps("held"):
                await conn.execute(text, prepare=not text.startswith("ALTER TABLE held ENABLE"))
            await conn.execute("INSERT INTO held VALUES (1, 'a', 2)")
        with pytest.raises(psycopg.Error) as error:
            async with conn.transaction():
                await conn.execute("ALTER TABLE held ADD COLUMN gone text")
                await conn.execute("ALTER TABLE held DROP COLUMN value")
        assert error.value.sqlstate == "EX010"


def test_psycopg3_asynchronous_migrations(busbar, ledger):
    asyncio.run(asyncio.wait_for(migrate_async(busbar), drivers.TIMEOUT))
    drivers.migrated(busbar, ledger)


# Two-phase commit needs a server that allows it.

@pytest.fixture(scope="module")
def two_phase_cluster():
    postgres = Postgres(settings=["max_prepared_transactions = 8"])
    try:
        yield postgres.start()
    finally:
        postgres.destroy()


@pytest.fixture(params=[2, 3], ids=["psycopg2", "psycopg3"])
def two_phase(request, two_phase_cluster, make_busbar):
    """A session of each driver through a Busbar, and what the database holds."""
    database = two_phase_cluster.create_database()
    busbar = make_busbar(two_phase_cluster.url(database), dbname=database)
    opened = []

    def open_session():
        opened.append(connect2(busbar) if request.param == 2 else psycopg.connect(**arguments(busbar)))
        return opened[-1]

    ledger = Ledger(two_phase_cluster, database)
    yield open_session, ledger
    for conn in opened:
        conn.close()
    ledger.close()


def test_two_phase_commit(two_phase):
    open_session, ledger = two_phase
    conn = open_session()
    conn.cursor().execute("CREATE TABLE t (id int)")
    conn.commit()
    for number, finish in enumerate((conn.tpc_commit, conn.tpc_rollback)):
        name = conn.xid(1, f"transfer {number}", "busbar")
        conn.tpc_begin(name)
        conn.cursor().execute("INSERT INTO t VALUES (%s)", [number])
        conn.tpc_prepare()
        finish()
    conn.tpc_begin(conn.xid(1, "one phase", "busbar"))
    conn.cursor().execute("INSERT INTO t VALUES (2)")
    conn.tpc_commit()
    conn.tpc_begin("later")
    conn.cursor().execute("INSERT INTO t VALUES (3)")
    conn.tpc_prepare()
    conn.close()
    conn = open_session()
    assert [str(xid) for xid in conn.tpc_recover()] == ["later"]
    conn.rollback()
    conn.tpc_commit("later")
    assert ledger.column("SELECT id FROM t ORDER BY id") == [0, 2, 3]


def test_two_phase_commit_of_a_migration(two_phase):
    """Refused, and wholly gone: it could be committed long after others that SQLite was asked about without it."""
    open_session, ledger = two_phase
    conn = open_session()
    conn.tpc_begin("first")
    for text in steps("held"):
        conn.cursor().execute(text)
    with pytest.raises((psycopg.Error, psycopg2.Error)) as error:
        conn.tpc_prepare()
    assert state(error) == "0A000" and error.value.diag.message_hint
    # As any PREPARE TRANSACTION that fails: it has rolled back and ended the transaction.
    assert conn.info.transaction_status == TransactionStatus.IDLE
    conn.close()
    conn = open_session()
    assert ledger.versions == [] and not ledger.exists("held")
    assert value(conn, "SELECT count(*) FROM pg_prepared_xacts") == 0
    for text in steps("held"):
        conn.cursor().execute(text)
    conn.commit()
    assert len(ledger.versions) == 1
    ledger.consistent()
