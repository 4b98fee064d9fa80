# SPDX-License-Identifier: Apache-2.0
"""HTTP: status, health, metrics, the migrations API (spec/scenarios-proxy.md 107–116), and PostgreSQL going away.

112–114 are tested as the recommended answer: each statement once, byte offsets exact.
"""

import re
import signal
import socket

import pytest

from harness.busbar import Endpoint
from harness.postgres import Postgres
from harness.process import free_port
from harness.wait import wait_until
from harness.web import get, migrations, parse_prometheus, request
from harness.wire import LoginRefused, Wire


def make_versions(wire):
    """Four versions, the third with two statements."""
    scripts = {
        "0001": ["CREATE TABLE a (id uuid PRIMARY KEY, value text NOT NULL)", "ALTER TABLE a ENABLE ELECTRIC"],
        "0002": ["CREATE TABLE b (id int8 PRIMARY KEY, a_id uuid REFERENCES a (id) ON DELETE CASCADE)", "ALTER TABLE b ENABLE ELECTRIC"],
        "0003": ["CREATE TABLE d (id uuid PRIMARY KEY, value text NOT NULL)", "ALTER TABLE d ENABLE ELECTRIC", "ALTER TABLE d ADD COLUMN is_valid boolean"],
        "0004": ["CREATE INDEX d_value ON d (value DESC)"],
    }
    for version, statements in scripts.items():
        wire.query("BEGIN").ok()
        wire.query(f"CALL electric.migration_version('{version}')").ok()
        for sql in statements:
            wire.query(sql).ok()
        wire.query("COMMIT").ok()


@pytest.fixture
def versions(busbar):
    with busbar.wire() as wire:
        make_versions(wire)
    return busbar


SQLITE = {
    "0001": 'CREATE TABLE "a" (\n  "id" TEXT NOT NULL,\n  "value" TEXT NOT NULL,\n  CONSTRAINT "a_pkey" PRIMARY KEY ("id")\n);',
    "0002": ('CREATE TABLE "b" (\n  "id" INTEGER NOT NULL,\n  "a_id" TEXT,\n  CONSTRAINT "b_a_id_fkey" FOREIGN KEY ("a_id") REFERENCES "a" ("id") ON DELETE CASCADE,\n'
             '  CONSTRAINT "b_pkey" PRIMARY KEY ("id")\n);'),
    "0003": ('CREATE TABLE "d" (\n  "id" TEXT NOT NULL,\n  "value" TEXT NOT NULL,\n  CONSTRAINT "d_pkey" PRIMARY KEY ("id")\n);\n\n'
             'ALTER TABLE "d" ADD COLUMN "is_valid" INTEGER;'),
    "0004": 'CREATE INDEX "d_value" ON "d" ("value" DESC);',
}


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_107_no_migrations(busbar, dialect):
    """204 and an empty body."""
    answer = get(busbar.http_port, f"/api/migrations?dialect={dialect}")
    assert (answer.status, answer.body) == (204, b"")


def test_108_sqlite(versions):
    """Texts as the SQLite dialect has them; operations that decode to the same; keys in order."""
    found = migrations(versions.http_port)
    assert {m.version: m.sql for m in found} == SQLITE and [m.version for m in found] == sorted(SQLITE)
    third = found[2]
    assert len(third.ops) == 2 and all(op["version"] == "0003" for op in third.ops)
    assert [s for op in third.ops for s in op["stmts"]] == [(0, SQLITE["0003"].split("\n\n")[0] + "\n"), (6, 'ALTER TABLE "d" ADD COLUMN "is_valid" INTEGER;\n')]
    assert found[1].ops[0]["table"] == {"name": "b", "columns": [("id", "INTEGER", "int8"), ("a_id", "TEXT", "uuid")],
                                        "fks": [(["a_id"], "a", ["id"])], "pks": ["id"]}
    (index,) = found[3].ops
    assert index["stmts"] == [(1, SQLITE["0004"] + "\n")] and index["table"] is None and index["enum"] is None


def test_109_postgresql(versions, cluster):
    """Statements that a PostgreSQL client can run: in an empty database they make the same tables.

    The database writes them (one per change, properly quoted), so they are not the captured text word for word.
    """
    found = migrations(versions.http_port, "postgresql")
    assert [m.version for m in found] == sorted(SQLITE)
    assert found[2].sql.endswith("\n\nALTER TABLE public.d ADD COLUMN is_valid boolean;")
    assert re.fullmatch(r"CREATE INDEX d_value ON (public\.)?d (USING btree )?\(value DESC\);", found[3].sql)
    client = cluster.create_database()
    with cluster.connect(client) as conn:
        for migration in found:
            conn.execute(migration.sql)
        assert conn.execute("SELECT count(*) FROM pg_attribute WHERE attrelid = 'd'::regclass AND attnum > 0").fetchone()[0] == 3
        assert conn.execute("SELECT count(*) FROM pg_constraint WHERE conrelid = 'b'::regclass AND contype = 'f'").fetchone()[0] == 1
    cluster.drop_database(client)


def test_110_after_a_version(versions):
    """Only later ones; none after the last, none for an unknown one; all for an empty one."""
    port = versions.http_port
    assert [m.version for m in migrations(port, version="0002")] == ["0003", "0004"]
    assert [m.version for m in migrations(port, version="")] == ["0001", "0002", "0003", "0004"]
    assert migrations(port, version="0004") == [] and migrations(port, version="nonsense") == []
    assert migrations(port, version="00%272") == []
    assert [m.version for m in migrations(port, "postgresql", "0003")] == ["0004"]


def test_110_order_is_that_of_commit(busbar):
    """A version is a label: 10 may come after 9, and an older one after a newer."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        for version in ("9", "10", "2001"):
            wire.query("BEGIN").ok()
            wire.query(f"ALTER TABLE t ADD COLUMN c{version} text").ok()
            wire.query(f"CALL electric.migration_version('{version}')").ok()
            wire.query("COMMIT").ok()
    assert [m.version for m in migrations(busbar.http_port)][1:] == ["9", "10", "2001"]
    assert [m.version for m in migrations(busbar.http_port, version="9")] == ["10", "2001"]


@pytest.mark.parametrize("path, error", [
    ("/api/migrations", "missing required parameter 'dialect'"), ("/api/migrations?version=1", "missing required parameter 'dialect'"),
    ("/api/migrations?dialect=invalid", 'unsupported dialect "invalid"'), ("/api/migrations?dialect=a%22b", 'unsupported dialect "a"b"'),
    ("/api/migrations?dialect=SQLITE", 'unsupported dialect "SQLITE"')])
def test_111_bad_dialect(busbar, path, error):
    """403 and JSON."""
    answer = get(busbar.http_port, path)
    assert answer.status == 403 and answer.content_type.startswith("application/json")
    assert answer.json == {"error": error} or answer.json == {"error": error.replace('a"b', 'a\\"b')}


def test_112_indexes_before_enable(busbar):
    """Two tables and two indexes made before ENABLE: each CREATE exactly once."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE one (id text PRIMARY KEY, a text); CREATE TABLE two (id text PRIMARY KEY, b text);"
                   " CREATE INDEX one_a ON one (a); CREATE INDEX two_b ON two (b)").ok()
        wire.query("ALTER TABLE one ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE two ENABLE ELECTRIC").ok()
    text = "\n".join(m.sql for m in migrations(busbar.http_port, "postgresql"))
    assert text.count("CREATE TABLE") == 2 and text.count("CREATE INDEX") == 2


def test_113_two_columns_in_one_statement(busbar, cluster):
    """Each column is added once on a PostgreSQL client."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("ALTER TABLE t ADD a int, ADD b int").ok()
    client = cluster.create_database()
    with cluster.connect(client) as conn:
        for migration in migrations(busbar.http_port, "postgresql"):
            conn.execute(migration.sql)
        assert conn.execute("SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0").fetchone()[0] == 3
    cluster.drop_database(client)


def test_114_text_before_the_statement(busbar, cluster):
    """Comments with letters of several bytes: the statement is cut where it is."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        wire.query("/* größe; Ω */ SELECT 'ünïcödé'; -- ä\nALTER TABLE t ADD COLUMN größe int; SELECT 1").ok()
    client = cluster.create_database()
    with cluster.connect(client) as conn:
        for migration in migrations(busbar.http_port, "postgresql"):
            conn.execute(migration.sql)
        assert conn.execute("SELECT attname::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 2").fetchone()[0] == "größe"
    cluster.drop_database(client)
    assert migrations(busbar.http_port)[1].sql == 'ALTER TABLE "t" ADD COLUMN "größe" INTEGER;'


def create_table(name, *items):
    return f'CREATE TABLE "{name}" (\n  ' + ",\n  ".join(items) + "\n);"


KEY = '"id" TEXT NOT NULL'
LONG = "long_" * 12  # 60 bytes
# What is sent (before ENABLE ELECTRIC of t, or after it), and what SQLite clients get.
TEXTS = {
    "types": ("CREATE TABLE t (id text PRIMARY KEY, a int2, b int, c bigint, d real, e float8, f varchar, g bytea, h date, i time, j timestamp, k timestamptz,"
              " l bool, m jsonb, n uuid)", [],
              [create_table("t", KEY, '"a" INTEGER', '"b" INTEGER', '"c" INTEGER', '"d" REAL', '"e" REAL', '"f" TEXT', '"g" BLOB', '"h" TEXT', '"i" TEXT', '"j" TEXT',
                            '"k" TEXT', '"l" INTEGER', '"m" TEXT_JSON', '"n" TEXT', 'CONSTRAINT "t_pkey" PRIMARY KEY ("id")')]),
    "if not exists": ("CREATE TABLE IF NOT EXISTS t (id text PRIMARY KEY)", ["CREATE INDEX IF NOT EXISTS i ON t (id)", "CREATE INDEX IF NOT EXISTS i ON t (id)",
                                                                            "ALTER TABLE t ADD COLUMN IF NOT EXISTS id text"],
                      [create_table("t", KEY, 'CONSTRAINT "t_pkey" PRIMARY KEY ("id")'), 'CREATE INDEX "i" ON "t" ("id" ASC);']),
    "named constraints": ("CREATE TABLE t (id text CONSTRAINT key PRIMARY KEY, o text CONSTRAINT other REFERENCES o (id) ON DELETE CASCADE ON UPDATE SET NULL)", [],
                          [create_table("t", KEY, '"o" TEXT', 'CONSTRAINT "other" FOREIGN KEY ("o") REFERENCES "o" ("id") ON DELETE CASCADE ON UPDATE SET NULL',
                                        'CONSTRAINT "key" PRIMARY KEY ("id")')]),
    "unnamed constraints": (f"CREATE TABLE t (id text, {LONG}1 text REFERENCES o (id) ON DELETE RESTRICT, b text REFERENCES o ON UPDATE SET DEFAULT DEFERRABLE,"
                            " c text REFERENCES o ON DELETE NO ACTION, PRIMARY KEY (id))", [],
                            [create_table("t", KEY, f'"{LONG}1" TEXT', '"b" TEXT', '"c" TEXT', 'CONSTRAINT "t_c_fkey" FOREIGN KEY ("c") REFERENCES "o" ("id")',
                                          f'CONSTRAINT "t_{LONG[:56]}_fkey" FOREIGN KEY ("{LONG}1") REFERENCES "o" ("id") ON DELETE RESTRICT',
                                          'CONSTRAINT "t_b_fkey" FOREIGN KEY ("b") REFERENCES "o" ("id") ON UPDATE SET DEFAULT',
                                          'CONSTRAINT "t_pkey" PRIMARY KEY ("id")')]),
    "composite key": ("CREATE TABLE t (a text, b int, \"C c\" text, PRIMARY KEY (b, a))", [],
                      [create_table("t", '"a" TEXT NOT NULL', '"b" INTEGER NOT NULL', '"C c" TEXT', 'CONSTRAINT "t_pkey" PRIMARY KEY ("b", "a")')]),
    "add column": ("CREATE TABLE t (id text PRIMARY KEY)", ["ALTER TABLE IF EXISTS t ADD COLUMN IF NOT EXISTS a jsonb, ADD b int8 NULL", "ALTER TABLE ONLY public.t ADD COLUMN c float4"],
                   [create_table("t", KEY, 'CONSTRAINT "t_pkey" PRIMARY KEY ("id")'), 'ALTER TABLE "t" ADD COLUMN "a" TEXT_JSON;', 'ALTER TABLE "t" ADD COLUMN "b" INTEGER;',
                    'ALTER TABLE "t" ADD COLUMN "c" REAL;']),
    "indexes": ("CREATE TABLE t (id text PRIMARY KEY, a text, b int)",
                ["CREATE INDEX i ON t USING btree (a DESC NULLS LAST, b) INCLUDE (id)", "CREATE INDEX ON t (b, a)", "CREATE UNIQUE INDEX u ON t (id, b)",
                 "CREATE INDEX p ON t (a) WHERE b > 0 AND a <> 'x'", "CREATE INDEX e ON t (lower(a), (b + 1) DESC)"],
                [create_table("t", KEY, '"a" TEXT', '"b" INTEGER', 'CONSTRAINT "t_pkey" PRIMARY KEY ("id")'), 'CREATE INDEX "i" ON "t" ("a" DESC, "b" ASC);',
                 'CREATE INDEX "t_b_a_idx" ON "t" ("b" ASC, "a" ASC);', 'CREATE UNIQUE INDEX "u" ON "t" ("id" ASC, "b" ASC);',
                 """CREATE INDEX "p" ON "t" ("a" ASC) WHERE (("b" > 0) AND ("a" <> 'x'));""", 'CREATE INDEX "e" ON "t" (lower("a") ASC, ("b" + 1) DESC);']),
}


@pytest.mark.parametrize("case", TEXTS)
def test_115_sqlite_texts(busbar, case):
    """Columns, keys and indexes as the SQLite dialect has them (spec sqlite.md 2)."""
    table, later, texts = TEXTS[case]
    with busbar.wire() as wire:
        for sql in ("CREATE TABLE o (id text PRIMARY KEY); ALTER TABLE o ENABLE ELECTRIC", table, "ALTER TABLE t ENABLE ELECTRIC", *later):
            wire.query(sql).ok()
    assert [text for m in migrations(busbar.http_port)[1:] for text in m.sql.split("\n\n")] == texts


def test_116_index_that_sqlite_cannot_have(busbar, ledger):
    """A predicate that cannot be translated, or an index that SQLite refuses: refused at migration time, or left out; never a poison pill."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY, a int4, b int4, c int4)").ok()
        wire.query("ALTER TABLE t ENABLE ELECTRIC").ok()
        for number, tail in enumerate(("(a) WHERE a > 0 AND b > 0 AND c > 0", "(a) WHERE a IN (1, 2)", "((CASE WHEN a > 0 THEN b ELSE c END))", "USING gin (to_tsvector('english', id))")):
            answer = wire.query(f"CREATE INDEX i{number} ON t {tail}")
            assert answer.status == "I"
            assert not answer.errors or answer.error["C"].startswith(("UB", "EX")), answer.error
        wire.query("ALTER TABLE t ADD COLUMN after text").ok()
    found = migrations(busbar.http_port)
    assert found[-1].sql == 'ALTER TABLE "t" ADD COLUMN "after" TEXT;'
    import sqlite3
    client = sqlite3.connect(":memory:")
    for migration in found:
        client.executescript(migration.sql)
    ledger.consistent()


def test_sqlite_runs_what_it_gets(versions):
    """The texts are good for a real SQLite."""
    import sqlite3
    client = sqlite3.connect(":memory:")
    for migration in migrations(versions.http_port):
        client.executescript(migration.sql)
    assert [row[1] for row in client.execute("PRAGMA table_info(d)")] == ["id", "value", "is_valid"]


def test_names_that_need_quotes(busbar, cluster):
    """Quotes, spaces, dots and letters of several bytes, in both dialects."""
    import sqlite3
    with busbar.wire() as wire:
        wire.query('CREATE TABLE "my ""odd"".täble" ("the id" text PRIMARY KEY, "a""b" text)').ok()
        wire.query('ALTER TABLE "my ""odd"".täble" ENABLE ELECTRIC').ok()
        wire.query('ALTER TABLE "my ""odd"".täble" ADD COLUMN "select" int4').ok()
        wire.query('CREATE INDEX "i ""x""" ON "my ""odd"".täble" ("a""b")').ok()
    client = sqlite3.connect(":memory:")
    for migration in migrations(busbar.http_port):
        client.executescript(migration.sql)
    assert [row[1] for row in client.execute('PRAGMA table_info("my ""odd"".täble")')] == ["the id", 'a"b', "select"]
    client_db = cluster.create_database()
    with cluster.connect(client_db) as conn:
        for migration in migrations(busbar.http_port, "postgresql"):
            conn.execute(migration.sql)
    cluster.drop_database(client_db)


# Status, health, metrics, the rest.

def test_status(busbar):
    """200 and the text that the original's users look for."""
    answer = get(busbar.http_port, "/api/status")
    assert (answer.status, answer.text) == (200, "Connection to Postgres is up!")


def test_health(busbar):
    """JSON for machines; 200 when ready."""
    answer = get(busbar.http_port, "/api/health")
    assert answer.status == 200 and answer.content_type.startswith("application/json")
    assert answer.json.get("status") in ("active", "ok", "ready"), answer.json


def test_metrics(busbar):
    """Well-formed Prometheus text; the numbers follow what happens."""
    answer = get(busbar.http_port, "/metrics")
    assert answer.status == 200 and answer.content_type.startswith("text/plain")
    before = parse_prometheus(answer.text)
    assert before and all(name.startswith(("busbar_", "process_")) for name in before), sorted(before)
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC").ok()
        during = parse_prometheus(get(busbar.http_port, "/metrics").text)
    assert during != before
    assert set(before) <= set(during)


def test_numbers_of_the_sync_service(busbar, cluster, database, satellite):
    """Clients, subscriptions, what was sent; replication's lag, what it keeps in PostgreSQL and in the log."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id int4 PRIMARY KEY, value text); ALTER TABLE t ENABLE ELECTRIC").ok()
    client = satellite(busbar).start()
    before = parse_prometheus(get(busbar.http_port, "/metrics").text)
    client.sync("t")
    with cluster.connect(database) as connection:
        connection.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 100) i")
    client.collect(lambda: len(client.rows("t")) == 100, "the rows")

    def numbers():
        found = parse_prometheus(get(busbar.http_port, "/metrics").text)
        return found if found["busbar_log_bytes"] > before["busbar_log_bytes"] + 10000 and found["busbar_replication_retained_bytes"] else None

    after = wait_until(numbers, "the numbers of the log and the slot")  # looked at every ten seconds
    assert (after["busbar_replication_up"], after["busbar_sync_ready"], after["busbar_sync_clients"], after["busbar_sync_subscriptions"]) == (1, 1, 1, 1)
    assert after["busbar_sync_bytes_total"] >= before["busbar_sync_bytes_total"] + 10000
    assert after["busbar_sync_transactions_total"] > before["busbar_sync_transactions_total"]
    assert after["busbar_replication_transactions_total"] > before["busbar_replication_transactions_total"]
    assert after["busbar_replication_lag_seconds"] < 5 and after["busbar_replication_lag_bytes"] < 1 << 24
    health = get(busbar.http_port, "/api/health").json
    assert health["replication"]["state"] == "ready" and health["replication"]["log_bytes"] > 10000 and health["replication"]["reason"] is None
    assert health["sync"] == {**health["sync"], "ready": True, "clients": 1, "subscriptions": 1, "clients_dropped": 0}
    client.drop()
    wait_until(lambda: parse_prometheus(get(busbar.http_port, "/metrics").text)["busbar_sync_clients"] == 0, "the client to be missed")


@pytest.mark.parametrize("method, path", [
    ("GET", "/"), ("GET", "/api"), ("GET", "/api/"), ("GET", "/api/statusx"), ("GET", "/api/status/x"), ("GET", "/api/migrations/x?dialect=sqlite"),
    ("POST", "/api/migrations?dialect=sqlite"), ("DELETE", "/api/status"), ("PUT", "/metrics"), ("GET", "/favicon.ico"), ("GET", "/%2e%2e/etc/passwd")])
def test_not_found(busbar, method, path):
    """404 `Not found` for any other path or method."""
    answer = request(busbar.http_port, method, path)
    assert (answer.status, answer.text.strip()) == (404, "Not found")


@pytest.mark.parametrize("path", ["/api/status", "/api/health", "/metrics", "/api/migrations?dialect=sqlite"])
def test_head(busbar, path):
    """HEAD is GET without the body."""
    head, got = request(busbar.http_port, "HEAD", path), get(busbar.http_port, path)
    assert head.status == got.status and head.body == b""
    assert head.content_type == got.content_type


def test_keep_alive_and_pipelines(busbar):
    """Two requests on one connection."""
    with socket.create_connection(("127.0.0.1", busbar.http_port), 10) as conn:
        for _ in range(2):
            conn.sendall(b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while b"is up!" not in data:
                got = conn.recv(4096)
                assert got, data
                data += got


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 70000,
                                     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"])
def test_garbage_does_no_harm(busbar, garbage):
    """Whatever comes in, the next request is answered."""
    with socket.create_connection(("127.0.0.1", busbar.http_port), 10) as conn:
        try:
            conn.sendall(garbage)
            conn.shutdown(socket.SHUT_WR)
            while conn.recv(4096):
                pass
        except OSError:
            pass
    assert busbar.status()[0] == 200


# PostgreSQL down, at start and later.

NOT_READY = ("Initializing connection to Posgres...", "Database connection failure.")  # spelt as the original has it

@pytest.fixture
def own_cluster():
    """A cluster that the test may stop."""
    cluster = Postgres()
    try:
        yield cluster.start()
    finally:
        cluster.destroy()


def refused_at_login(busbar):
    """SQLSTATE of a login while not ready; None when it succeeds."""
    try:
        Wire.login(busbar).close()
        return None
    except LoginRefused as refused:
        return refused.fields["C"]


def test_postgres_down_later(own_cluster, make_busbar):
    """503 and 57P03 with the reason while it is away; back by itself when it is."""
    database = own_cluster.create_database()
    busbar = make_busbar(own_cluster.url(database), dbname=database)
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC").ok()
    known = migrations(busbar.http_port)
    own_cluster.stop()
    wait_until(lambda: busbar.status()[0] == 503, "503")
    assert busbar.status()[1] in NOT_READY
    assert get(busbar.http_port, "/api/health").status == 503
    assert get(busbar.http_port, "/metrics").status == 200, "metrics are wanted most when something is wrong"
    wait_until(lambda: refused_at_login(busbar) == "57P03", "57P03")
    assert get(busbar.http_port, "/api/migrations?dialect=sqlite").status == 503
    own_cluster.start()
    busbar.wait_ready()
    wait_until(lambda: refused_at_login(busbar) is None, "a session")
    assert migrations(busbar.http_port) == known
    with busbar.wire() as wire:
        wire.query("ALTER TABLE t ADD COLUMN again text").ok()
    assert len(migrations(busbar.http_port)) == 2


def test_postgres_down_at_start(own_cluster, make_busbar):
    """Ports are open, clients are told to wait, the log says what is missing; ready when PostgreSQL is."""
    database = own_cluster.create_database()
    own_cluster.stop()
    busbar = make_busbar(own_cluster.url(database), wait=False, dbname=database).spawn()
    wait_until(lambda: busbar.status()[0] == 503, "503")
    assert busbar.status()[1] in NOT_READY
    wait_until(lambda: refused_at_login(busbar) == "57P03", "57P03")
    busbar.wait_log("(?i)connection.*refused|refused")
    done = busbar.psql("SELECT 1")
    assert done.returncode == 2 and "FATAL" in done.stderr
    own_cluster.start()
    busbar.wait_ready()
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"


def test_stop_while_waiting_for_postgres(make_busbar):
    """SIGTERM ends it with status 0 although nothing is there to connect to."""
    busbar = make_busbar(f"postgresql://postgres@127.0.0.1:{free_port()}/nothing?sslmode=disable", wait=False).spawn()
    wait_until(lambda: busbar.status()[0] == 503, "503")
    assert busbar.stop(signal.SIGTERM) == 0


def test_stop_with_open_sessions(busbar, cluster, database):
    """SIGTERM and SIGINT with a query running and a transaction open: clients are closed, status 0, no backend is left."""
    idle, busy = busbar.wire(), busbar.wire()
    idle.query("BEGIN").ok()
    from harness import protocol as p
    busy.send(p.query("SELECT pg_sleep(30)"))
    assert busbar.stop(signal.SIGINT) == 0
    idle.read_to_end()
    idle.close()
    busy.close()
    with cluster.connect() as conn:
        wait_until(lambda: conn.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'active'", [database]).fetchone()[0] == 0, "backends to end")


def test_two_busbars_on_one_database(busbar, make_busbar, cluster, database):
    """Nothing is shared but the database: a migration through one is seen by the other."""
    other = make_busbar(cluster.url(database), dbname=database)
    with busbar.wire() as one, other.wire() as two:
        one.query("CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC").ok()
        two.query("ALTER TABLE t ADD COLUMN a text").ok()
        one.query("ALTER TABLE t ADD COLUMN b text").ok()
    assert len(migrations(busbar.http_port)) == len(migrations(other.http_port)) == 3


def test_endpoint_is_not_a_http_server(busbar):
    """HTTP sent to the proxy's port ends that connection only."""
    with Wire(busbar.host, busbar.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.read_to_end()
    assert isinstance(busbar, Endpoint) and busbar.status()[0] == 200
