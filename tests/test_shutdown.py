# SPDX-License-Identifier: Apache-2.0
"""The end of the service: SIGTERM lets open transactions finish, SIGINT does not; nothing half done is kept."""

import signal
import socket

import pytest

from harness import protocol as p
from harness.web import get
from harness.wait import wait_until
from harness.wire import Closed, LoginRefused

LONG = "60s"


def assert_told(wire):
    """As PostgreSQL does: FATAL 57P01, then the end."""
    message = wire.read()
    assert message.kind == "E" and message.fields["S"] == "FATAL" and message.fields["C"] == "57P01"
    with pytest.raises((Closed, ConnectionError)):
        wire.read()


@pytest.fixture
def draining(make_busbar, cluster, database):
    """A Busbar whose sessions have a minute to finish; the argument says with how many workers."""
    return lambda workers=2: make_busbar(cluster.url(database), dbname=database, BUSBAR_DRAIN_TIMEOUT=LONG, BUSBAR_WORKERS=workers)


def begin_drain(busbar):
    busbar.process.send_signal(signal.SIGTERM)
    busbar.wait_log("draining: Terminated")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told(busbar, how):
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"
        assert busbar.stop(how) == 0
        assert_told(wire)


def test_sessions_at_rest_end_at_once(draining):
    """On every worker; with none left the program ends long before its time is over."""
    busbar = draining(workers=3)
    wires = [busbar.wire() for _ in range(7)]
    assert busbar.stop() == 0
    for wire in wires:
        assert_told(wire)
        wire.close()


def test_an_open_transaction_may_finish(draining, ledger):
    busbar = draining()
    with busbar.wire() as wire, busbar.wire() as idle:
        wire.query("CREATE TABLE items (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
        wire.query("BEGIN").ok()
        wire.query("ALTER TABLE items ADD COLUMN value text").ok()
        begin_drain(busbar)
        assert_told(idle)
        wire.query("CREATE INDEX items_value ON items (value)").ok()
        assert wire.send(p.query("COMMIT")).result().ok().tags == ["COMMIT"]
        assert_told(wire)
        assert busbar.wait_exit() == 0
    assert len(ledger.versions) == 2
    ledger.consistent()


def test_a_running_statement_may_finish(draining, ledger):
    busbar = draining()
    with busbar.wire() as wire:
        wire.send(p.query("SELECT pg_advisory_lock(1)")).result().ok()
        wire.query("SELECT pg_advisory_unlock(1)").ok()
        with ledger.connection.transaction():
            ledger.execute("SELECT pg_advisory_xact_lock(7)")
            wire.send(p.query("SELECT pg_advisory_xact_lock(7), 'done'"))
            wait_until(lambda: ledger.column("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), "the wait")
            begin_drain(busbar)
        result = wire.result().ok()
        assert result.rows[0][1] == "done"
        assert_told(wire)
        assert busbar.wait_exit() == 0


def test_an_open_batch_is_not_at_rest(draining):
    """Its implicit transaction is open although every answer is in: Sync ends it."""
    busbar = draining()
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (n int)").ok()
        batch = p.parse("", "INSERT INTO t VALUES (1)") + p.bind("", "") + p.execute() + p.flush()
        wire.send(batch).read_until("C")
        begin_drain(busbar)
        wire.send(p.sync())
        assert wire.read().kind == "Z"
        assert_told(wire)
        assert busbar.wait_exit() == 0


def test_new_clients_are_not_let_in(draining):
    busbar = draining()
    with busbar.wire() as wire, socket.create_connection((busbar.host, busbar.port)) as early:
        wire.query("BEGIN").ok()
        begin_drain(busbar)
        assert busbar.status()[0] == 503
        assert get(busbar.http_port, "/api/health").json["postgres"]["reason"] == "the service is stopping"
        assert b"57P01" in early.recv(1000)  # it had not said who it is
        with pytest.raises((ConnectionError, Closed, LoginRefused)):
            busbar.wire()
        wire.query("COMMIT").ok()


def test_a_second_signal_ends_at_once(draining, ledger):
    busbar = draining()
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("CREATE TABLE t (n int)").ok()
        begin_drain(busbar)
        assert busbar.stop() == 0
        assert_told(wire)
    assert not ledger.exists("t")


def test_the_time_to_finish_is_limited(make_busbar, cluster, database, ledger):
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_DRAIN_TIMEOUT="200ms")
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        pid = int(wire.value("SELECT pg_backend_pid()"))
        assert busbar.stop() == 0
        assert_told(wire)
    busbar.wait_log("stopping with 1 sessions in the middle of something")
    wait_until(lambda: not ledger.column("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid), "the backend to end")


def test_an_open_migration_is_undone(busbar, ledger):
    """What was not committed is gone, and no backend stays behind."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE items (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
        wire.query("BEGIN").ok()
        wire.query("ALTER TABLE items ADD COLUMN value text").ok()
        pid = int(wire.value("SELECT pg_backend_pid()"))
        busbar.stop()
    wait_until(lambda: not ledger.column("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid), "the backend to end")
    assert ledger.column("SELECT column_name FROM information_schema.columns WHERE table_name = 'items'") == ["id"]


def test_a_client_in_the_middle_of_rows_is_not_confused(busbar):
    """No error may be written into the middle of a message that is on its way."""
    with busbar.wire() as wire:
        wire.send(p.query("SELECT repeat('x', 50000000)"))
        wire.read_until("T")
        busbar.stop(signal.SIGINT)
        kinds = ""
        try:
            while True:
                kinds += wire.read().kind
        except (Closed, ConnectionError):
            pass
        assert kinds.rstrip("E") in ("", "D", "DC", "DCZ")
