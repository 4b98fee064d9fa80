# SPDX-License-Identifier: Apache-2.0
"""`busbar dev`: a private PostgreSQL in a folder, started and stopped with the program."""

import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import tempfile

import pytest

from harness.process import alive, descendants, free_port
from harness.wait import wait_until


@pytest.fixture
def folder():
    """A folder that the server's user can enter: pytest's own are closed to others."""
    path = tempfile.mkdtemp(prefix="busbar-dev-test-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def dev(folder, make_busbar):
    """Makes `busbar dev` programs on one folder of the test."""
    where = folder

    def make(*flags, folder=None, wait=True, port=None, **environment):
        port = port or free_port()
        arguments = ["dev", "--pg-port", str(port), *flags]
        if "--ephemeral" not in flags:
            arguments += ["--data", str(folder or where / "data")]
        busbar = make_busbar(None, wait=False, arguments=arguments, cwd=where, PG_PROXY_PASSWORD=None, AUTH_MODE=None, BUSBAR_LISTEN=None, **environment)
        busbar.pg_port = port
        busbar.spawn()
        return busbar.wait_ready(60) if wait else busbar

    return make


def servers(busbar):
    """Processes of the PostgreSQL below busbar."""
    found = []
    for pid in descendants(busbar.process.pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if b"postgres" in cmdline.read():
                    found.append(pid)
        except OSError:
            continue
    return found


def all_ended(pids):
    return not any(alive(pid) for pid in pids)


def test_start_and_reuse(dev, folder):
    """The first start makes the cluster and database `electric`; the second finds the data again."""
    first = dev()
    with first.wire() as wire:
        assert wire.value("SELECT current_database()") == "electric"
        assert wire.value("SHOW wal_level") == "logical"
        wire.query("CREATE TABLE kept (id text PRIMARY KEY); ALTER TABLE kept ENABLE ELECTRIC; INSERT INTO kept VALUES ('still here')").ok()
    pids = servers(first)
    assert pids
    assert first.stop() == 0
    assert all_ended(pids), "the server must have ended when busbar has"
    second = dev()
    with second.wire() as wire:
        assert wire.query("SELECT id FROM kept").rows == [["still here"]]
        assert wire.value("SELECT table_name FROM electric.electrified") == "kept"
        wire.query("ALTER TABLE kept ADD COLUMN more text").ok()


def test_says_where_to_connect(dev):
    """One block with the URLs to use."""
    busbar = dev()
    text = wait_until(busbar.log, "the output")
    assert re.search(rf"postgresql://postgres:[^@\s]+@localhost:{busbar.port}/electric", text) or str(busbar.port) in text
    assert str(busbar.http_port) in text and busbar.embedded().port == busbar.pg_port


def test_direct_connection_works_and_is_guarded(dev):
    """The embedded server listens on loopback; straight DDL on an electrified table is refused there too."""
    busbar = dev()
    with busbar.wire() as wire:
        wire.query("CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC").ok()
    done = busbar.embedded().psql("SELECT count(*) FROM t", flags=["-At"])
    assert done.stdout == "0\n", done.stderr
    assert "proxy" in busbar.embedded().psql("DROP TABLE t").stderr.lower()


def test_runs_unprivileged_and_private(dev, folder):
    """As root the server runs as somebody else, and nobody else can read its data."""
    busbar = dev()
    for pid in servers(busbar):
        assert os.stat(f"/proc/{pid}").st_uid != 0
    cluster = os.path.realpath(folder / "data" / "pg")
    assert stat.S_IMODE(os.stat(cluster).st_mode) & 0o027 == 0


def test_ephemeral(dev):
    """Thrown away at the end."""
    busbar = dev("--ephemeral")
    with busbar.wire() as wire:
        folder = wire.value("SHOW data_directory")
        wire.query("CREATE TABLE t (id text PRIMARY KEY); ALTER TABLE t ENABLE ELECTRIC").ok()
    pids = servers(busbar)
    assert os.path.isdir(folder)
    assert busbar.stop() == 0
    assert all_ended(pids) and not os.path.exists(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_server(dev, how):
    """Ctrl-C: status 0, the server ended in an orderly way (no recovery at the next start)."""
    busbar = dev()
    pids = servers(busbar)
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        assert busbar.stop(how) == 0
    assert all_ended(pids)
    again = dev()
    assert "recovery" not in open(os.path.join(again.cwd, "data", "postgres.log"), encoding="utf-8", errors="replace").read().lower()


def test_kill_9_stops_the_server(dev):
    """The server does not outlive busbar, and the folder can be used again at once."""
    busbar = dev()
    with busbar.wire() as wire:
        wire.query("CREATE TABLE kept (id text PRIMARY KEY); ALTER TABLE kept ENABLE ELECTRIC").ok()
    pids = servers(busbar)
    assert pids
    busbar.kill()
    wait_until(lambda: all_ended(pids), "the server to end")
    again = dev()
    with again.wire() as wire:
        assert wire.value("SELECT table_name FROM electric.electrified") == "kept"


def test_killed_server_ends_busbar_or_comes_back(dev):
    """kill -9 of the server alone: busbar does not go on as if nothing were."""
    busbar = dev()
    postmaster = min(servers(busbar))
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: busbar.process.poll() is not None or busbar.status()[0] == 503 or postmaster not in servers(busbar), "busbar to notice")
    wait_until(lambda: busbar.process.poll() is not None or busbar.status()[0] == 200, "an end, or recovery", timeout=40)
    if busbar.process.poll() is not None:
        assert busbar.process.returncode == 1
        busbar.killed = True  # judged here


def refused(busbar):
    """What a dev that cannot start says; status 1, no server left."""
    pids = servers(busbar)
    assert busbar.wait_exit(60) == 1
    busbar.killed = True  # judged here
    assert all_ended(pids)
    return " ".join(busbar.log().split())


@pytest.mark.parametrize("which", ["proxy", "http", "pg"])
def test_port_taken(dev, which):
    """A message with the port."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        if which == "pg":
            busbar = dev(wait=False, port=port)
        else:
            busbar = dev(wait=False, **{"PG_PROXY_PORT" if which == "proxy" else "HTTP_PORT": port})
        text = refused(busbar)
    assert str(port) in text and re.search("in use|taken|already", text), text


def test_no_postgresql(dev, folder):
    """Says what to install."""
    empty = folder / "empty"
    empty.mkdir()
    text = refused(dev("--pg-bin", str(empty), wait=False))
    assert "PostgreSQL" in text and re.search("install|initdb", text), text


def test_unwritable_folder(dev, folder):
    """Says so, with the folder. (Root may write anywhere: then a file stands where the folder should be.)"""
    locked = folder / "locked"
    if os.geteuid() == 0:
        locked.write_text("not a folder")
    else:
        locked.mkdir(mode=0o500)
    text = refused(dev(folder=locked, wait=False))
    assert str(locked) in text, text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the server to another user")
def test_private_folder(dev, folder):
    """A folder below one that is closed to others, as /root is: the cluster lives elsewhere, the folder leads to it."""
    private = folder / "private"
    private.mkdir(mode=0o700)
    busbar = dev(folder=private / "data")
    home = os.path.dirname(os.path.realpath(private / "data" / "pg"))
    try:
        with busbar.wire() as wire:
            assert wire.value("SELECT 1") == "1"
        assert busbar.stop() == 0
    finally:
        if not home.startswith(str(folder)):
            shutil.rmtree(home, ignore_errors=True)


def test_folder_in_use(dev):
    """Two on one folder: the second is told who has it, the first is not disturbed."""
    first = dev()
    text = refused(dev(wait=False))
    assert "in use" in text and str(first.process.pid) in text, text
    assert first.status()[0] == 200


def test_database_url_wins(dev, cluster, database):
    """With DATABASE_URL `dev` starts no server of its own."""
    busbar = dev(DATABASE_URL=cluster.url(database))
    assert servers(busbar) == []
    with busbar.wire() as wire:
        assert wire.value("SELECT current_database()") == database
