# SPDX-License-Identifier: Apache-2.0
"""Several worker threads: sessions are spread, find each other's cancel requests, and record migrations in one order."""

import pathlib
import threading

import psycopg
import pytest

from harness import protocol as p
from harness.wait import wait_until
from harness.wire import cancel

WORKERS = 4


@pytest.fixture
def busbar(make_busbar, cluster, database):
    return make_busbar(cluster.url(database), dbname=database, BUSBAR_WORKERS=WORKERS)


def worker_threads(pid):
    names = [pathlib.Path(task, "comm").read_text(encoding="ascii").strip() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return sorted(name for name in names if name.startswith("worker"))


def test_the_first_worker_is_the_main_thread(busbar, make_busbar, cluster, database):
    alone = make_busbar(cluster.url(database), BUSBAR_WORKERS=1)
    assert worker_threads(alone.process.pid) == []
    assert worker_threads(busbar.process.pid) == ["worker 1", "worker 2", "worker 3"]


def test_a_cancel_request_finds_its_session(busbar, ledger):
    """Whichever worker has the session, whichever has the request: sessions next to each other are on different ones."""
    wires = [busbar.wire() for _ in range(2 * WORKERS)]
    for wire in wires:
        wire.send(p.query("SELECT pg_sleep(60)"))
    running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    wait_until(lambda: ledger.value(running) == len(wires), "all to run")
    for wire in wires:
        assert cancel(busbar, wire.key) == b""
        assert wire.result().error["C"] == "57014"
        wire.close()


def test_migrations_of_many_sessions(busbar, ledger):
    """Each adds its columns while the others do: all are captured, in the order of their commits."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE items (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
    failures = []

    def migrate(worker):
        try:
            with busbar.psycopg(autocommit=True) as conn:
                for n in range(5):
                    conn.execute(f"ALTER TABLE items ADD COLUMN c{worker}_{n} text")
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(n,)) for n in range(2 * WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(ledger.versions) == 1 + 5 * 2 * WORKERS
    ledger.consistent()


def test_everything_at_once(busbar, ledger):
    """Sessions that come, work, are cancelled and go while the service stops: it ends clean (the fixture looks)."""
    stop = threading.Event()
    served = []

    def client():
        while not stop.is_set():
            try:
                with busbar.wire() as wire:
                    wire.send(p.query("SELECT pg_sleep(0.01)"))
                    cancel(busbar, wire.key)
                    wire.result()
                    served.append(wire.value("SELECT 1"))
            except Exception:  # noqa: BLE001  the end may come anywhere
                continue

    threads = [threading.Thread(target=client) for _ in range(2 * WORKERS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(served) > 50, "some traffic", 60)
        assert busbar.stop() == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(served) == {"1"}
    wait_until(lambda: ledger.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%'") == 0, "no backend to stay")
