# SPDX-License-Identifier: Apache-2.0
"""A cancel request reaches a process that does not have its session: the next one on the same port, or a neighbour."""

import psycopg
import pytest

from harness import protocol as p
from harness.wait import wait_until
from harness.web import get, parse_prometheus
from harness.wire import cancel


@pytest.fixture
def neighbours(make_busbar, cluster, database):
    """Two processes for one database, as behind a load balancer."""
    return [make_busbar(cluster.url(database), dbname=database, BUSBAR_WORKERS=workers) for workers in (1, 3)]


def sleeping(ledger):
    return ledger.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")


def cancels(busbar):
    return parse_prometheus(get(busbar.http_port, "/metrics").text)["busbar_cancels_total"]


def test_the_next_process_cancels_for_the_last(make_busbar, cluster, database, ledger):
    """The old one drains and listens no more: Ctrl-C in its sessions still works."""
    old = make_busbar(cluster.url(database), dbname=database, BUSBAR_REUSEPORT="on", BUSBAR_DRAIN_TIMEOUT="60s")
    new = make_busbar(cluster.url(database), wait=False, dbname=database, BUSBAR_REUSEPORT="on")
    with old.wire() as wire:
        wire.query("BEGIN").ok()
        wire.send(p.query("SELECT pg_sleep(60)"))
        wait_until(lambda: sleeping(ledger) == 1, "it to run")
        new.spawn_beside(old).wait_log(" ready ")
        old.process.terminate()
        old.wait_log("draining")
        assert cancel(new, wire.key) == b""
        assert wire.result().error["C"] == "57014"
        assert wire.query("ROLLBACK").ok().tags == ["ROLLBACK"]
    assert old.wait_exit() == 0


def test_a_neighbour_cancels(neighbours, ledger):
    """Whichever of its workers takes the request; and the answer comes when the backend has been told, not before."""
    here, there = neighbours
    for asked, other in ((here, there), (there, here)):
        for _ in range(4):
            with other.wire() as wire:
                wire.send(p.query("SELECT pg_sleep(60)"))
                wait_until(lambda: sleeping(ledger) == 1, "it to run")
                assert cancel(asked, wire.key) == b""
                assert wire.result().error["C"] == "57014"
                assert wire.value("SELECT 1") == "1"
        assert cancels(asked) == 4


def test_a_wrong_key_cancels_nothing_elsewhere(neighbours, cluster, database):
    """Nor does the key of a backend that is no session of ours, nor one without a backend."""
    here, there = neighbours
    with there.wire() as wire, there.wire() as lock, psycopg.connect(cluster.url(database)) as own:
        lock.query("SELECT pg_advisory_lock(7)").ok()
        wire.send(p.query("SELECT pg_advisory_lock(7), 'done'"))
        pid, secret = wire.key
        for bit in range(32):
            assert cancel(here, (pid, secret ^ 1 << bit)) == b""
        assert cancel(here, (pid + 1, secret)) == b""
        assert cancel(here, (own.info.backend_pid, secret)) == b""
        lock.query("SELECT pg_advisory_unlock(7)").ok()
        assert wire.result().ok().rows[0][1] == "done"
    assert cancels(here) == 0
