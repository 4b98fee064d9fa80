# SPDX-License-Identifier: Apache-2.0
"""Limits that an operator sets: how many clients, how long to log in, how long to be idle."""

import socket

import pytest

from harness import protocol as p
from harness.web import get
from harness.wait import wait_until
from harness.wire import Closed, LoginRefused

SURPLUS = 64  # LIMIT_SURPLUS_CONNECTIONS


@pytest.fixture
def limited(make_busbar, cluster, database):
    return lambda **limits: make_busbar(cluster.url(database), dbname=database, **limits)


def assert_idle_end(wire):
    message = wire.read()
    assert (message.kind, message.fields["C"]) == ("E", "57P05")
    with pytest.raises((Closed, ConnectionError)):
        wire.read()


@pytest.mark.parametrize("workers", [1, 3])
def test_too_many_clients_are_told(limited, workers):
    """53300, as PostgreSQL says it; who leaves makes room."""
    busbar = limited(BUSBAR_MAX_CONNECTIONS=3, BUSBAR_WORKERS=workers)
    wires = [busbar.wire() for _ in range(3)]
    with pytest.raises(LoginRefused) as refused:
        busbar.wire()
    assert refused.value.fields["C"] == "53300" and "BUSBAR_MAX_CONNECTIONS" in refused.value.fields["H"]
    wires.pop().close()
    wait_until(busbar.wire, "room for another client").close()
    for wire in wires:
        wire.close()


def test_those_who_are_told_are_limited_too(limited):
    """A flood of connections that say nothing: above the surplus they are closed as they come."""
    busbar = limited(BUSBAR_MAX_CONNECTIONS=1)
    silent = [socket.create_connection((busbar.host, busbar.port)) for _ in range(SURPLUS + 1 + 10)]
    wait_until(lambda: "busbar_connections_dropped_total 10\n" in get(busbar.http_port, "/metrics").text, "ten to be dropped")
    for each in silent[SURPLUS + 1:]:
        assert each.recv(1) == b""
    for each in silent:
        each.close()
    wait_until(busbar.wire, "room again").close()


def test_a_slow_login_is_ended(limited):
    busbar = limited(BUSBAR_LOGIN_TIMEOUT="1s")
    with socket.create_connection((busbar.host, busbar.port), 20) as slow:
        slow.sendall(p.startup({"user": "slow"})[:10])
        assert slow.recv(1) == b""
    busbar.wait_log("the login took too long")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_idle_session_is_ended(limited, workers):
    busbar = limited(BUSBAR_IDLE_TIMEOUT="300ms", BUSBAR_WORKERS=workers)
    with busbar.wire() as first, busbar.wire() as second:
        assert first.value("SELECT 1") == "1"
        assert_idle_end(first)
        assert_idle_end(second)
    busbar.wait_log('session closed end="idle too long"')


def test_whoever_is_in_the_middle_of_something_is_not_idle(limited):
    """A transaction, a batch without its Sync, a statement that takes long: another is ended meanwhile."""
    busbar = limited(BUSBAR_IDLE_TIMEOUT="300ms")
    with busbar.wire() as block, busbar.wire() as batch, busbar.wire() as busy, busbar.wire() as idle:
        block.query("BEGIN").ok()
        batch.send(p.parse("", "SELECT 1") + p.bind("", "") + p.execute() + p.flush()).read_until("C")
        busy.send(p.query("SELECT pg_sleep(1.5)"))
        assert_idle_end(idle)
        busy.result().ok()
        assert block.query("COMMIT").ok().tags == ["COMMIT"]
        batch.send(p.sync())
        assert batch.read().kind == "Z"
