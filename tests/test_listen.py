# SPDX-License-Identifier: Apache-2.0
"""Where and how the proxy listens: a unix socket, behind a load balancer, two processes on one port."""

import os
import socket
import struct
import subprocess
import tempfile

import pytest

from harness import protocol as p
from harness.busbar import PASSWORD
from harness.process import clean_environment
from harness.wire import Wire, LoginRefused

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEALTH_CHECK = SIGNATURE + b"\x20\0\0\0"


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="busbar-socket-") as path:
        yield path


@pytest.fixture
def listening(make_busbar, cluster, database):
    return lambda **options: make_busbar(cluster.url(database), dbname=database, **options)


def by_socket(folder, busbar, *commands):
    argv = ["psql", "-XAt", "-h", folder, "-p", str(busbar.port), "-U", "anyone", "-d", "any"]
    for command in commands:
        argv += ["-c", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=clean_environment(PGPASSWORD=PASSWORD))


def test_psql_by_unix_socket(listening, folder):
    busbar = listening(BUSBAR_PROXY_SOCKET=folder, BUSBAR_PROXY_SOCKET_MODE="0770")
    path = os.path.join(folder, f".s.PGSQL.{busbar.port}")
    assert os.stat(path).st_mode & 0o7777 == 0o770
    done = by_socket(folder, busbar, "SELECT 41 + 1")
    assert done.stdout == "42\n", done
    busbar.wait_log(rf"anyone@any unix pid=\d+ uid={os.getuid()}\] session closed")
    assert busbar.stop() == 0
    assert not os.path.exists(path)


def test_a_socket_left_behind_is_replaced(listening, folder):
    busbar = listening(BUSBAR_PROXY_SOCKET=folder)
    busbar.kill()
    assert os.path.exists(os.path.join(folder, f".s.PGSQL.{busbar.port}"))
    busbar.start()
    assert by_socket(folder, busbar, "SELECT 1").stdout == "1\n"


def test_a_socket_in_use_is_not(listening, folder, make_busbar, cluster, database):
    first = listening(BUSBAR_PROXY_SOCKET=folder)
    second = make_busbar(cluster.url(database), wait=False, BUSBAR_PROXY_SOCKET=folder)
    second.environment["PG_PROXY_PORT"] = first.port
    second.environment["BUSBAR_LISTEN"] = "127.0.0.9"  # the TCP port is free there
    assert second.spawn().wait_exit() != 0
    assert "cannot listen on " + folder in second.log()
    second.discard()
    second.process = None
    second.check = lambda: None
    assert by_socket(folder, first, "SELECT 1").stdout == "1\n"


# The PROXY protocol, version 2.


def header(source, port, extra=b""):
    body = socket.inet_aton(source) + socket.inet_aton("10.9.9.9") + struct.pack("!HH", port, 5432) + extra
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body)) + body


def wire_behind(busbar, first, cut=None):
    wire = Wire(busbar.host, busbar.port)
    for at in range(0, len(first), cut or len(first)):
        wire.send(first[at:at + (cut or len(first))])
    return wire.start({"user": "app", "database": busbar.dbname}, busbar.password)


@pytest.mark.parametrize("cut", [None, 1])
def test_the_client_behind_a_load_balancer_is_named(listening, cut):
    busbar = listening(BUSBAR_PROXY_PROTOCOL="127.0.0.0/8")
    with wire_behind(busbar, header("192.0.2.7", 54321, b"\x04\0\x03abc"), cut) as wire:
        assert wire.value("SELECT 1") == "1"
    busbar.wait_log(rf"app@{busbar.dbname} 192\.0\.2\.7:54321\] session closed")


def test_a_health_check_is_the_load_balancers_own(listening):
    busbar = listening(BUSBAR_PROXY_PROTOCOL="on")
    with wire_behind(busbar, HEALTH_CHECK) as wire:
        assert wire.value("SELECT 1") == "1"
    busbar.wait_log(r"127\.0\.0\.1:\d+\] session closed")


def test_without_its_header_nobody_comes_in(listening):
    busbar = listening(BUSBAR_PROXY_PROTOCOL="on")
    with Wire(busbar.host, busbar.port) as wire:
        wire.send(p.startup({"user": "app"}))
        assert wire.read_to_end() == []
    busbar.wait_log("no PROXY protocol header")


def test_a_header_from_elsewhere_is_no_start_up_packet(listening):
    busbar = listening(BUSBAR_PROXY_PROTOCOL="10.0.0.0/8")
    with pytest.raises(LoginRefused) as refused:
        wire_behind(busbar, header("192.0.2.7", 54321))
    assert refused.value.fields["C"] == "08P01"
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"


# The next process on the same port.


def test_the_next_process_takes_over(listening, make_busbar, cluster, database):
    """Its sessions go on while the new one listens already; who comes next meets the new one."""
    old = listening(BUSBAR_REUSEPORT="true", BUSBAR_DRAIN_TIMEOUT="60s")
    with old.wire() as running:
        running.query("BEGIN").ok()
        new = make_busbar(cluster.url(database), wait=False, dbname=database, BUSBAR_REUSEPORT="true")
        new.spawn_beside(old).wait_log(" ready ")
        old.process.terminate()
        old.wait_log("draining")
        with new.wire() as wire:
            assert wire.value("SELECT 1") == "1"
        running.query("CREATE TABLE during (n int)").ok()
        assert running.query("COMMIT").ok().tags == ["COMMIT"]
        assert old.wait_exit() == 0
    new.wait_log("session closed")
