# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a running Busbar: SIGHUP, and a service manager that is told what goes on."""

import re
import signal

import pytest

from harness.busbar import PASSWORD
from harness.manager import Manager
from harness.process import alive, descendants
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


def test_sighup_refuses_faults(dotenv):
    """Each is named, no secret is, and the old configuration stays in force."""
    busbar, write = dotenv
    write(f"PG_PROXY_PASSWORD={SECRET}\nLOG_LEVEL=loud\nBUSBAR_DRAIN_TIMEOUT=never\n")
    reload(busbar, "error: reload refused: the configuration is faulty, nothing changed\n")
    assert 'error: reload: LOG_LEVEL has invalid value: "loud"' in busbar.log()
    assert 'error: reload: BUSBAR_DRAIN_TIMEOUT has invalid value: "never"' in busbar.log()
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
    busbar = make_busbar(cluster.url(database), dbname=database, NOTIFY_SOCKET=manager.path)
    event = manager.wait("READY")
    assert event["READY"] == "1" and str(busbar.port) in event["STATUS"] and str(busbar.http_port) in event["STATUS"]
    assert any("STATUS" in earlier and "READY" not in earlier for earlier in manager.events)
    busbar.process.send_signal(signal.SIGHUP)
    assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > 0
    assert manager.wait("READY")["READY"] == "1"
    assert busbar.stop() == 0
    assert manager.wait("STOPPING")["STOPPING"] == "1"


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
