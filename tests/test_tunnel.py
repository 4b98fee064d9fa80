# SPDX-License-Identifier: Apache-2.0
"""The tunnel, spec/scenarios-proxy.md 117: the proxy's protocol through a WebSocket on the HTTP port. It is a session like any other."""

import os
import random
import signal
import socket

import psycopg
import pytest

from harness import protocol as p
from harness.certificates import Certificates
from harness.process import free_port
from harness.satellite import Refused
from harness.tunnel import TunnelSocket, TunnelWire, published_tunnel, tunnelled
from harness.wait import wait_until
from harness.web import get, request
from harness.wire import LoginRefused
from test_backpressure import GROWTH, MEGABYTE, backend_waits_for, resident


@pytest.fixture
def entered(make_busbar, cluster, database):
    """Makes a Busbar with the tunnel."""

    def make(**options):
        port = free_port()
        busbar = make_busbar(cluster.url(database), wait=False, dbname=database, PG_PROXY_PORT=f"http:{port}", **options)
        busbar.port = port
        return busbar.start()

    return make


@pytest.fixture
def tunnel(entered):
    return entered()


def backends(cluster, database):
    """How many sessions of the proxy PostgreSQL has."""
    with cluster.connect("postgres") as conn:
        return conn.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'through'",
                            [database]).fetchone()[0]


# What it is.


def test_117_a_session(tunnel):
    with tunnelled(tunnel) as wire:
        assert wire.value("SELECT 1") == "1" and wire.extended("SELECT $1::text", ["ä"]).ok().rows == [["ä"]]
        assert wire.query("SELECT 1 / 0").error["C"] == "22012"
        wire.send(p.terminate())
        assert wire.socket.wait_closed() == (1000, "")


def test_117_bounds_of_messages_mean_nothing(tunnel):
    data = p.query("SELECT 1") + p.one_group("SELECT $1::text", ["a"]) + p.query(f"SELECT length('{'x' * 3 * MEGABYTE}')")
    with tunnelled(tunnel) as wire:
        rng = random.Random(117)
        for way in ("whole", "frames", "pieces", "bytes"):
            if way == "whole":
                wire.send(data)
            elif way == "frames":
                wire.socket.send_fragments(data[:3], b"", data[3:40], data[40:MEGABYTE], data[MEGABYTE:])
            elif way == "pieces":
                wire.send_pieces(data, rng)
            else:
                for byte in data[:100]:
                    wire.send(bytes([byte]))
                wire.send(data[100:])
            assert [wire.result().ok().rows for _ in range(3)] == [[["1"]], [["a"]], [[str(3 * MEGABYTE)]]]
        wire.send(b"")
        assert wire.value("SELECT 2") == "2"


@pytest.mark.parametrize("workers", [1, 3])
def test_117_a_migration(entered, ledger, workers):
    busbar = entered(BUSBAR_WORKERS=workers)
    with tunnelled(busbar) as wire:
        wire.query("CREATE TABLE items (id int8 PRIMARY KEY, note text)").ok()
        assert wire.query("ALTER TABLE items ENABLE ELECTRIC; ALTER TABLE items ADD COLUMN size int4").ok().tags == ["ELECTRIC ENABLE", "ALTER TABLE"]
        assert wire.query("ALTER TABLE items DROP COLUMN note").error["C"] == "EX010"
    assert len(ledger.versions) == 1
    ledger.consistent()


def test_117_published_tunnel(tunnel, cluster, database):
    """psql and psycopg through the published client's own command: a migration, 10 MB, a cancel request."""
    with published_tunnel(tunnel) as end:
        done = end.psql("CREATE TABLE items (id int8 PRIMARY KEY)", "ALTER TABLE items ENABLE ELECTRIC")
        assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["CREATE TABLE", "ELECTRIC ENABLE"]), done
        with end.psycopg() as conn:
            rows = conn.execute(f"SELECT i, repeat(chr(97 + i), {MEGABYTE}) FROM generate_series(0, 9) i").fetchall()
            assert rows == [(i, chr(97 + i) * MEGABYTE) for i in range(10)]
            with conn.cursor().copy("COPY items FROM STDIN") as copy:
                for i in range(200000):
                    copy.write_row([i])
            assert conn.execute("SELECT count(*), sum(id) FROM items").fetchone() == (200000, 199999 * 100000)
        with end.psycopg(autocommit=True) as conn, cluster.connect(database) as admin:
            pid = conn.info.backend_pid
            conn.pgconn.send_query(b"SELECT pg_sleep(60)")
            wait_until(lambda: backend_waits_for(admin, pid, "PgSleep"), "the query to run")
            conn.cancel()
            assert conn.pgconn.get_result().error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
            assert conn.pgconn.get_result() is None


def test_117_tls_inside(entered, tmp_path):
    """What is inside is the client's own encryption, checked to the proxy: what carries it cannot read it."""
    made = Certificates(str(tmp_path))
    made.authority("ca")
    made.issue("server", "ca", "localhost", names="DNS:localhost,IP:127.0.0.1")
    busbar = entered(BUSBAR_TLS="require", BUSBAR_TLS_CERT=made.server_crt, BUSBAR_TLS_KEY=made.server_key)
    with published_tunnel(busbar) as end:
        with end.psycopg(sslmode="verify-full", sslrootcert=made.ca_crt, channel_binding="require", host="localhost") as conn:
            assert conn.pgconn.ssl_in_use and conn.execute(f"SELECT repeat('x', {MEGABYTE})").fetchone() == ("x" * MEGABYTE,)
    with pytest.raises(LoginRefused) as refused:
        tunnelled(busbar)
    assert refused.value.fields["C"] == "28000" and "no encryption" in str(refused.value)  # a unix socket would have been let in without


# Much of it.


def test_117_a_large_result(tunnel):
    with tunnelled(tunnel) as wire:
        result = wire.query(f"SELECT repeat(chr(65 + i % 26), {10 * MEGABYTE} / 100) FROM generate_series(0, 99) i").ok()
        assert [m.values[0] for m in result.of("D")] == [bytes([65 + i % 26]) * (10 * MEGABYTE // 100) for i in range(100)]


def test_117_a_client_that_does_not_read(tunnel, cluster, database):
    """300 MB: PostgreSQL waits, memory stays, all of it arrives in the end."""
    with tunnelled(tunnel) as wire, cluster.connect(database) as admin:
        pid = int(wire.value("SELECT pg_backend_pid()"))
        before = resident(tunnel)
        wire.send(p.query(f"SELECT repeat('x', {MEGABYTE}) FROM generate_series(1, 300)"))
        wait_until(lambda: backend_waits_for(admin, pid, "ClientWrite"), "the backend to wait for its client")
        assert resident(tunnel) - before < GROWTH
        rows = 0
        while True:
            message = wire.read()
            if message.kind == "Z":
                break
            rows += message.kind == "D" and len(message.values[0]) == MEGABYTE
        assert rows == 300 and resident(tunnel) - before < GROWTH


def test_117_a_server_that_does_not_read(tunnel):
    """One message of 40 MB to a stopped backend, its frame announced whole: held back, not held."""
    row = b"y" * 1023 + b"\n"
    with tunnelled(tunnel) as wire:
        wire.query("CREATE TABLE heap (line text)").ok()
        pid = int(wire.value("SELECT pg_backend_pid()"))
        wire.send(p.query("COPY heap FROM STDIN"))
        wire.read_until("G")
        before = resident(tunnel)
        wire.socket.connection.send_binary(p.copy_data(row * 64) * 640)
        data = b"".join(wire.socket.connection.data_to_send())
        os.kill(pid, signal.SIGSTOP)
        try:
            wire.socket.raw.settimeout(0.5)
            sent = 0
            with pytest.raises((socket.timeout, BlockingIOError)):
                while sent < len(data):
                    sent += wire.socket.raw.send(data[sent:sent + MEGABYTE])
            assert resident(tunnel) - before < GROWTH
        finally:
            os.kill(pid, signal.SIGCONT)
        wire.socket.raw.settimeout(20)
        wire.socket.raw.sendall(data[sent:])
        wire.send(p.copy_done())
        assert wire.result().ok().tags == ["COPY 40960"]


# How it ends.


def test_117_the_session_ends(tunnel, cluster, database):
    """Refused at login, or ended by the database: what was said arrives, then the WebSocket is closed in order."""
    wire = TunnelWire("127.0.0.1", tunnel.http_port)
    with wire, pytest.raises(LoginRefused) as refused:
        wire.start({"user": "postgres", "database": database}, "wrong")
    assert refused.value.fields["C"] == "28P01"
    with tunnelled(tunnel) as wire, cluster.connect(database) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [int(wire.value("SELECT pg_backend_pid()"))])
        assert wire.read().fields["C"] == "57P01" and wire.socket.wait_closed() == (1000, "")
    with tunnelled(tunnel) as wire:
        wire.send(b"\0 no message of PostgreSQL's")
        assert [m.fields["C"] for m in wire.read_until("E")] == ["08P01"] and wire.socket.wait_closed() == (1000, "")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_117_the_client_goes(tunnel, cluster, database, how):
    """In the middle of a transaction: its session ends, and nothing is left of either."""
    wire = tunnelled(tunnel, application_name="through")
    wire.query("BEGIN").ok()
    assert backends(cluster, database) == 1
    if how == "reset":
        wire.socket.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        wire.socket.raw.close()
    else:
        wire.close()
    wait_until(lambda: backends(cluster, database) == 0, "the session to end")
    wait_until(lambda: get(tunnel.http_port, "/api/health").json["sessions"] == 0, "its end to be counted")


def test_117_what_was_sent_before_the_end_is_done(tunnel, sql):
    """A statement and Terminate right in front of the close: it is carried out, much as it is."""
    with tunnelled(tunnel) as wire:
        wire.query("CREATE TABLE heap (line text)").ok()
        wire.send(p.query(f"INSERT INTO heap VALUES ('{'x' * 8 * MEGABYTE}')") + p.terminate())
    wait_until(lambda: sql.execute("SELECT sum(length(line)) FROM heap").fetchone()[0] == 8 * MEGABYTE, "the row")


def test_117_text_is_refused(tunnel):
    with tunnelled(tunnel) as wire:
        wire.socket.send_text("SELECT 1")
        code, reason = wire.socket.wait_closed()
        assert code == 1003 and "binary" in reason


# The rules of every session.


def test_117_limits_and_numbers(entered):
    busbar = entered(BUSBAR_MAX_CONNECTIONS=2)
    with tunnelled(busbar), busbar.wire():
        assert "busbar_sessions 2" in get(busbar.http_port, "/metrics").text
        with pytest.raises(LoginRefused) as refused:
            tunnelled(busbar)
        assert refused.value.fields["C"] == "53300"
        crowd = [TunnelSocket(busbar.http_port) for _ in range(80)]  # more than are told so: closed as they come
        closed = [c.wait_closed() for c in crowd[-5:]]
        assert closed == [(1000, "")] * 5
        for c in crowd:
            c.close()
    wait_until(lambda: get(busbar.http_port, "/api/health").json["sessions"] == 0, "all to be gone")
    with tunnelled(busbar) as wire:
        assert wire.value("SELECT 1") == "1"


def test_117_idle_too_long_before_login(entered):
    busbar = entered(BUSBAR_LOGIN_TIMEOUT="1s")
    silent = TunnelSocket(busbar.http_port)
    assert silent.wait_closed() == (1000, "")
    silent.close()


def test_117_drain(entered, ledger):
    """SIGTERM: who is at rest is told and closed, no new one comes in, an open transaction may finish; then the program ends."""
    busbar = entered(BUSBAR_DRAIN_TIMEOUT="60s")
    with tunnelled(busbar) as busy, tunnelled(busbar) as idle:
        busy.query("CREATE TABLE items (id int8 PRIMARY KEY)").ok()
        busy.query("BEGIN; ALTER TABLE items ENABLE ELECTRIC").ok()
        busbar.process.send_signal(signal.SIGTERM)
        assert idle.read().fields["C"] == "57P01" and idle.socket.wait_closed() == (1000, "")
        with pytest.raises(Refused) as refused:
            TunnelSocket(busbar.http_port)
        assert (refused.value.status, str(refused.value)) == (503, refused.value.args[0])
        assert busy.query("COMMIT").ok().tags == ["COMMIT"]
        assert busy.read().fields["C"] == "57P01" and busy.socket.wait_closed() == (1000, "")
        busy.socket.raw.close()
        idle.socket.raw.close()
        assert busbar.wait_exit() == 0
    assert len(ledger.versions) == 1


def test_117_the_time_to_drain_is_limited(entered):
    """Who is in the middle of something is told, as over TCP, before the program ends."""
    busbar = entered(BUSBAR_DRAIN_TIMEOUT="200ms")
    with tunnelled(busbar) as busy:
        busy.query("BEGIN").ok()
        busbar.process.send_signal(signal.SIGTERM)
        assert busy.read().fields["C"] == "57P01" and busy.socket.wait_closed() == (1000, "")
        busy.socket.raw.close()
    assert busbar.wait_exit() == 0


# When it is not there.


def test_117_not_configured(busbar):
    """404, with and without an upgrade."""
    text = "Migrations proxy is not configured to accept WebSocket connections"
    answer = get(busbar.http_port, "/proxy")
    assert (answer.status, answer.text) == (404, text)
    with pytest.raises(Refused) as refused:
        TunnelSocket(busbar.http_port)
    assert refused.value.status == 404 and text in str(refused.value)


def test_117_no_upgrade(tunnel):
    assert (get(tunnel.http_port, "/proxy").status, get(tunnel.http_port, "/proxy").text) == (400, "Bad request")
    assert request(tunnel.http_port, "POST", "/proxy", body=b"x").status == 400
    answer = get(tunnel.http_port, "/proxy",
                 headers={"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Version": "12",
                          "Sec-WebSocket-Key": "a"})
    assert answer.status == 400
