# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL that misbehaves for the sessions of clients, and for nobody else.

It stands where ``Relay`` stands. Busbar's own connections, which log in and prepare the database, are relayed to a real
PostgreSQL; so are client sessions, unless the test sets one of

- ``script``   ``fn(peer)``: plays the server from the start-up packet on; the real one is not asked
- ``rewrite``  ``fn(sql, message)``: bytes in the place of one message of the real server, None to let it pass.
               ``sql`` is the text of the last Parse or Query that went upstream

A client session is known by ``busbar.session`` in its start-up options.
"""

import socket
import struct
import threading

from . import protocol as p
from .relay import Connection, Relay

PARAMETERS = {
    "server_version": "15.0", "server_encoding": "UTF8", "client_encoding": "UTF8", "application_name": "",
    "is_superuser": "on", "session_authorization": "postgres", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres",
    "TimeZone": "UTC", "integer_datetimes": "on", "standard_conforming_strings": "on",
}
PID = 4711


# Messages of a server.

def ready(status="I"):
    return p.frame("Z", status.encode())


def complete(tag="SELECT 1"):
    return p.frame("C", p.cstr(tag))


def problem(kind="E", end=b"\0", **fields):
    """ErrorResponse or NoticeResponse with these fields; ``end`` is its terminator."""
    return p.frame(kind, b"".join(code.encode() + p.cstr(value) for code, value in fields.items()) + end)


def error(message="no", sqlstate="XX000"):
    return problem(S="ERROR", V="ERROR", C=sqlstate, M=message)


def mark(detail):
    """The guard's notice that a statement was captured; ``detail`` is its JSON, or what claims to be."""
    return problem("N", S="INFO", V="INFO", C="UB001", M="captured", D=detail)


def row(*values):
    body = struct.pack("!H", len(values))
    for value in values:
        value = value if isinstance(value, (bytes, type(None))) else str(value).encode()
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return p.frame("D", body)


def description(*names):
    return p.frame("T", struct.pack("!H", len(names)) + b"".join(p.cstr(n) + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0) for n in names))


def copy_in():
    return p.frame("G", b"\0" + struct.pack("!HH", 1, 0))


def login(parameters=None):
    """What follows the start-up packet of a client that is trusted."""
    out = p.frame("R", struct.pack("!I", 0))
    for name, value in (parameters or PARAMETERS).items():
        out += p.frame("S", p.cstr(name) + p.cstr(value))
    return out + p.frame("K", struct.pack("!II", PID, 1)) + ready()


class Peer:
    """The fake server's end of one session: reads messages of Busbar, sends whatever the script says."""

    def __init__(self, connection):
        self.socket = connection.client
        self.buffer = b""
        self.seen = []

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next message; raises OSError when Busbar has gone."""
        while True:
            messages, rest = p.split_frames(self.buffer)
            if messages:
                self.buffer = self.buffer[len(messages[0].bytes):]
                self.seen.append(messages[0])
                return messages[0]
            data = self.socket.recv(1 << 16)
            if not data:
                raise OSError("Busbar has closed")
            self.buffer = rest + data

    def read_until(self, *kinds):
        """Reads on to a message of one of these types; returns which."""
        while self.read().kind not in kinds:
            pass
        return self.seen[-1].kind

    def log_in(self):
        self.send(login())

    def answer(self, data):
        """Waits for the end of what the client asks (Query or Sync) and sends this."""
        self.read_until("Q", "S", "X")
        self.send(data)

    def drain(self):
        """Reads and forgets until Busbar closes."""
        while self.socket.recv(1 << 18):
            pass

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class _Connection(Connection):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sql = ""

    def _pass_startup(self):
        fake = self.relay
        if fake.script is None:
            return super()._pass_startup()
        head = self._read_exactly(4)
        body = head and self._read_exactly(struct.unpack("!I", head)[0] - 4)
        if not body:
            return False
        if struct.unpack_from("!I", body)[0] == p.PROTOCOL_3_0:
            self.params = p.startup_params(body)
        if not self.is_session:
            self.server.sendall(head + body)
            return True
        try:
            fake.script(Peer(self))
        finally:
            self.cut()
        return False

    def _on_frontend(self, message, target):
        if message.kind in "PQ" and self.ready.is_set():
            self.sql = message.sql
        super()._on_frontend(message, target)

    def _on_backend(self, message, target):
        rewrite = self.relay.rewrite
        if rewrite and self.ready.is_set() and self.is_session:
            data = rewrite(self.sql, message)
            if data is not None:
                target.sendall(data)
                return
        super()._on_backend(message, target)


class FakeServer(Relay):
    def __init__(self, target_port):
        self.script = None
        self.rewrite = None
        super().__init__(target_port)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target, 10)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                side.settimeout(None)
            connection = _Connection(self, client, server)
            self.connections.append(connection)
            threading.Thread(target=connection._run_frontend, daemon=True).start()
            threading.Thread(target=connection._run_backend, daemon=True).start()
