# SPDX-License-Identifier: Apache-2.0
"""A side that does not read holds the other one back; Busbar keeps no more than a few buffers of either."""

import os
import signal
import socket

from harness import protocol as p
from harness.wait import wait_until

MEGABYTE = 1 << 20
GROWTH = 24 * MEGABYTE  # far below what is on its way, well above what a sanitized build needs for its own work


def resident(busbar):
    with open(f"/proc/{busbar.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def backend_waits_for(connection, pid, event):
    row = connection.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return row is not None and row[0] == event


def test_a_client_that_does_not_read(busbar, cluster, database):
    """300 MB of rows: PostgreSQL waits for its client, memory stays, and all of it arrives in the end."""
    rows = 300
    with busbar.wire() as wire, cluster.connect(database) as admin:
        pid = int(wire.value("SELECT pg_backend_pid()"))
        before = resident(busbar)
        wire.send(p.query(f"SELECT repeat('x', {MEGABYTE}) FROM generate_series(1, {rows})"))
        wait_until(lambda: backend_waits_for(admin, pid, "ClientWrite"), "the backend to wait for its client")
        assert resident(busbar) - before < GROWTH
        result = wire.result()
        assert len(result.of("D")) == rows and all(len(m.values[0]) == MEGABYTE for m in result.of("D"))
        assert resident(busbar) - before < GROWTH


def test_a_server_that_does_not_read(busbar, cluster, database):
    """COPY into a stopped backend: the client is held back, memory stays, and no row is lost."""
    line = b"y" * 1023 + b"\n"
    with busbar.wire() as wire, cluster.connect(database) as admin:
        wire.query("CREATE TABLE heap (line text)").ok()
        pid = int(wire.value("SELECT pg_backend_pid()"))
        wire.send(p.query("COPY heap FROM STDIN"))
        wire.read_until("G")
        before, sent = resident(busbar), 0
        message = p.copy_data(line * 64)
        os.kill(pid, signal.SIGSTOP)
        try:
            wire.socket.settimeout(0.5)
            pending = b""
            while sent < 400 * 64:  # 26 MB: more than all the sockets on the way can hold
                pending = pending or message
                try:
                    pending = pending[wire.socket.send(pending):]
                except (socket.timeout, BlockingIOError):
                    break
                sent += 0 if pending else 64
            assert resident(busbar) - before < GROWTH
        finally:
            os.kill(pid, signal.SIGCONT)
        wire.socket.settimeout(20)
        wire.socket.sendall(pending)
        sent += 64 if pending else 0
        for _ in range(1000):
            wire.socket.sendall(message)
            sent += 64
        wire.send(p.copy_done())
        assert wire.result().ok().tags == [f"COPY {sent}"]
        assert admin.execute("SELECT count(*) FROM heap").fetchone() == (sent,)
        assert resident(busbar) - before < GROWTH


def test_a_long_statement_is_streamed(busbar):
    """An INSERT of 64 MB goes through without being held; then the session knows where it is."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE long (value text)").ok()
        before = resident(busbar)
        text = "INSERT INTO long VALUES ('" + "z" * (64 * MEGABYTE) + "')"
        assert wire.query(text).ok().tags == ["INSERT 0 1"]
        assert resident(busbar) - before < GROWTH
        assert wire.extended(text).ok().tags == ["INSERT 0 1"]
        assert wire.value("SELECT sum(length(value)) FROM long") == str(2 * 64 * MEGABYTE)
        assert resident(busbar) - before < GROWTH
