# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a running Busbar: SIGHUP, and a service manager that is told what goes on."""

import os
import re
import select
import signal
import socket

import psycopg
import pytest

from harness import protocol as p
from harness.busbar import PASSWORD
from harness.manager import Manager
from harness.process import alive, descendants
from harness.satellite import RpcError
from harness.token import Signer, claims
from harness.wait import wait_until

SECRET = "another-secret-thing"


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def dotenv(make_busbar, cluster, database, tmp_path):
    """A Busbar that has password and log level from .env, and how to change that file."""

    def write(text):
        (tmp_path / ".env").write_text(text)

    write(f"PG_PROXY_PASSWORD={PASSWORD}\nLOG_LEVEL=info\n")
    busbar = make_busbar(cluster.url(database), dbname=database, cwd=tmp_path, PG_PROXY_PASSWORD=None, LOG_LEVEL=None)
    return busbar, write


def reload(busbar, outcome):
    """SIGHUP, and the line that says what came of it."""
    before = len(busbar.log())
    busbar.process.send_signal(signal.SIGHUP)
    return wait_until(lambda: re.search(outcome, busbar.log()[before:]), f"{outcome!r} after SIGHUP")


def test_sighup_changes_the_log_level(dotenv):
    """At the moment it is said, and running sessions do not notice."""
    busbar, write = dotenv
    with busbar.wire() as wire:
        write(f"PG_PROXY_PASSWORD={PASSWORD}\nLOG_LEVEL=debug\n")
        reload(busbar, "info: reloaded: LOG_LEVEL changed\n")
        assert wire.value("SELECT 1") == "1"
    reload(busbar, "info: reloaded: no option changed\n")
    busbar.wait_log(" debug: ")


def test_sighup_changes_the_key_of_tokens(make_busbar, cluster, database, satellite, tmp_path):
    """Sync clients who come are judged by the new one, who is there stays."""
    old, new = Signer("HS256", tmp_path, secret="o" * 32), Signer("HS256", tmp_path, secret="n" * 32)
    (tmp_path / ".env").write_text(f"AUTH_JWT_KEY={old.key}\n")
    busbar = make_busbar(cluster.url(database), dbname=database, cwd=tmp_path, AUTH_MODE="secure", AUTH_JWT_ALG="HS256")
    first = satellite(busbar).start(token=old.sign(claims("alice")))
    (tmp_path / ".env").write_text(f"AUTH_JWT_KEY={new.key}\n")
    reload(busbar, "info: reloaded: AUTH_JWT_KEY changed\n")
    assert satellite(busbar).start(token=new.sign(claims("bob")))
    with pytest.raises(RpcError, match="Invalid token signature"):
        satellite(busbar).start(token=old.sign(claims("alice")))
    first.ping()
    assert first.is_open


def test_sighup_refuses_faults(dotenv):
    """Each is named, no secret is, and the old configuration stays in force."""
    busbar, write = dotenv
    write(f"PG_PROXY_PASSWORD={SECRET}\nLOG_LEVEL=loud\nBUSBAR_IDLE_TIMEOUT=never\n")
    reload(busbar, "error: reload refused: the configuration is faulty, nothing changed\n")
    assert 'error: reload: LOG_LEVEL has invalid value: "loud"' in busbar.log()
    assert 'error: reload: BUSBAR_IDLE_TIMEOUT has invalid value: "never"' in busbar.log()
    assert SECRET not in busbar.log()
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"


def test_sighup_refuses_what_needs_a_restart(dotenv):
    """As a whole: the log level that came with it does not change either."""
    busbar, write = dotenv
    write(f"PG_PROXY_PASSWORD={PASSWORD}\nLOG_LEVEL=debug\nBUSBAR_WORKERS=3\n")
    reload(busbar, "error: reload refused: BUSBAR_WORKERS changed and needs a restart, nothing changed\n")
    reload(busbar, "error: reload refused: BUSBAR_WORKERS changed and needs a restart, nothing changed\n")
    assert " debug: " not in busbar.log()


def test_the_service_manager_is_told(make_busbar, cluster, database, manager):
    """Ready when the database is, what a reload and the end are, and each as one event."""
    busbar = make_busbar(cluster.url(database), dbname=database, NOTIFY_SOCKET=manager.path, BUSBAR_DRAIN_TIMEOUT="40s")
    event = manager.wait("READY")
    assert event["READY"] == "1" and str(busbar.port) in event["STATUS"] and str(busbar.http_port) in event["STATUS"]
    assert any("STATUS" in earlier and "READY" not in earlier for earlier in manager.events)
    busbar.process.send_signal(signal.SIGHUP)
    assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > 0
    assert manager.wait("READY")["READY"] == "1"
    assert busbar.stop() == 0
    assert manager.wait("STOPPING")["STOPPING"] == "1"
    assert int(manager.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) > 40_000_000


def test_a_service_that_stops_does_not_reload(make_busbar, cluster, database, manager):
    """Ready would be its answer to the service manager, and it is not."""
    busbar = make_busbar(cluster.url(database), dbname=database, NOTIFY_SOCKET=manager.path, BUSBAR_DRAIN_TIMEOUT="60s")
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        busbar.process.send_signal(signal.SIGTERM)
        manager.wait("STOPPING")
        reload(busbar, "reload refused: the service is stopping, nothing changed\n")
        wire.query("COMMIT").ok()
    assert busbar.wait_exit() == 0
    assert sum("READY" in event for event in manager.events) == 1


def test_ready_waits_for_the_database(make_busbar, manager, tmp_path):
    """Listening alone is not ready; why not stands in the status."""
    busbar = make_busbar(f"postgresql://u@%2F{str(tmp_path)[1:].replace('/', '%2F')}/db", wait=False, NOTIFY_SOCKET=manager.path).spawn()
    busbar.wait_log("not reachable")
    while "not reachable" not in manager.wait("STATUS")["STATUS"]:
        pass
    assert busbar.stop() == 0
    manager.wait("STOPPING")
    assert not any("READY" in event for event in manager.events)


def test_the_watchdog_is_fed(make_busbar, cluster, database, manager):
    """More often than asked for."""
    busbar = make_busbar(cluster.url(database), dbname=database, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=200000)
    for _ in range(3):
        assert manager.wait("WATCHDOG", timeout=5)["WATCHDOG"] == "1"
    busbar.stop()


def test_a_missing_service_manager_is_no_fault(make_busbar, cluster, database):
    """Said once, then served."""
    busbar = make_busbar(cluster.url(database), dbname=database, NOTIFY_SOCKET="nowhere")
    assert "warning: NOTIFY_SOCKET is neither" in busbar.log()


def test_the_embedded_server_does_not_speak_for_us(make_busbar, manager, tmp_path):
    """PostgreSQL knows sd_notify too; SIGHUP, what closing a terminal means, ends both."""
    busbar = make_busbar(None, arguments=("dev", "--ephemeral"), cwd=tmp_path, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=60000000)
    servers = descendants(busbar.process.pid)
    assert servers
    for pid in servers:
        with open(f"/proc/{pid}/environ", encoding="latin-1") as environ:
            assert not re.search(r"NOTIFY_SOCKET|WATCHDOG_|LISTEN_", environ.read())
    busbar.killed = True  # by a signal: no status 0
    busbar.process.send_signal(signal.SIGHUP)
    assert busbar.wait_exit() == -signal.SIGHUP
    wait_until(lambda: not any(alive(pid) for pid in servers), "the embedded server to end")


def test_a_password_file_is_rotated(make_busbar, cluster, database, tmp_path):
    """New logins need the new password; sessions of the old one go on; an empty file does not lock anybody out."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    busbar = make_busbar(cluster.url(database), dbname=database, PG_PROXY_PASSWORD=None, PG_PROXY_PASSWORD_FILE=file)
    with busbar.wire() as old:
        file.write_text(SECRET + "\n")
        reload(busbar, "reloaded: PG_PROXY_PASSWORD changed\n")
        with pytest.raises(psycopg.OperationalError, match="password"):
            busbar.psycopg()
        file.write_text("")
        reload(busbar, "reload refused: the configuration is faulty, nothing changed\n")
        busbar.psycopg(password=SECRET).close()
        assert old.value("SELECT 1") == "1"
    assert SECRET not in busbar.log()


def fails(busbar):
    """Status of a Busbar that ends by itself, as expected."""
    status = busbar.spawn().wait_exit()
    busbar.killed = True
    return status


def listening():
    return socket.create_server(("127.0.0.1", 0))


def test_sockets_are_handed_over(make_busbar, cluster, database, tmp_path):
    """Their names say whose they are, whatever the configured ports; a unix socket may be among the proxy's."""
    path = str(tmp_path / ".s.PGSQL.5432")
    local = socket.socket(socket.AF_UNIX)
    local.bind(path)
    local.listen()
    os.chmod(path, 0o777)
    with listening() as proxy, listening() as http, local:
        busbar = make_busbar(cluster.url(database), dbname=database, wait=False, sockets=[("http", http), ("proxy", proxy), ("proxy", local)])
        busbar.port, busbar.http_port = proxy.getsockname()[1], http.getsockname()[1]
        busbar.start()
        assert "sockets taken over proxy=2 http=1" in busbar.log()
        with busbar.psycopg() as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (database,)
        with busbar.psycopg(host=str(tmp_path), port=5432) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_socket_of_nobody_is_refused(make_busbar, cluster, database):
    """At the start, with what would help."""
    with listening() as other:
        busbar = make_busbar(cluster.url(database), wait=False, sockets=[("busbar.socket", other)])
        assert fails(busbar) == 1
        assert f'named "busbar.socket", on port {other.getsockname()[1]} is neither' in busbar.log() and "FileDescriptorName" in busbar.log()


def test_clients_wait_in_the_sockets_while_busbar_restarts(make_busbar, cluster, database):
    """Socket activation: whoever connects while one drains, or before the next has started, is answered by the next."""
    with listening() as proxy, listening() as http:
        def make():
            busbar = make_busbar(cluster.url(database), dbname=database, wait=False, sockets=[("proxy", proxy), ("http", http)], BUSBAR_DRAIN_TIMEOUT="60s")
            busbar.port, busbar.http_port = proxy.getsockname()[1], http.getsockname()[1]
            return busbar

        first, second = make().start(), make()
        with first.wire() as open_transaction:
            open_transaction.query("BEGIN").ok()
            first.process.send_signal(signal.SIGTERM)
            first.wait_log("draining")
            waiting = [socket.create_connection(("127.0.0.1", first.port), 20)]
            open_transaction.query("COMMIT").ok()
        assert first.wait_exit() == 0
        waiting.append(socket.create_connection(("127.0.0.1", first.port), 20))
        assert not select.select(waiting, [], [], 0)[0], "the first Busbar has answered or closed"
        second.start()
        for client in waiting:
            with client:
                client.sendall(p.startup({"user": "postgres", "database": database}))
                assert client.recv(1) in (b"R", b"E")  # to log in, or 57P03 while the database is being prepared
        with second.wire() as wire:
            assert wire.value("SELECT 1") == "1"


def test_the_next_busbar_starts_before_this_one_stops(make_busbar, cluster, database):
    """BUSBAR_REUSEPORT: both listen for a while, and no login fails from then on."""
    first = make_busbar(cluster.url(database), dbname=database, BUSBAR_REUSEPORT="on")
    second = make_busbar(cluster.url(database), dbname=database, wait=False, BUSBAR_REUSEPORT="on")
    second.spawn_beside(first).wait_log("ready proxy_port=")
    with first.wire() as wire:
        wire.value("SELECT 1")
    assert first.stop() == 0
    for _ in range(20):
        with second.wire() as wire:
            assert wire.value("SELECT 1") == "1"


def test_a_port_is_not_shared_unless_asked(make_busbar, cluster, database):
    """Two by mistake: the second one says so."""
    first = make_busbar(cluster.url(database), dbname=database)
    second = make_busbar(cluster.url(database), wait=False)
    second.environment["PG_PROXY_PORT"] = first.port
    assert fails(second) == 1
    assert "in use" in second.log()
