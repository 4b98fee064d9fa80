# SPDX-License-Identifier: Apache-2.0
"""The proxy's protocol inside a WebSocket (GET /proxy): as raw messages, and by the published client's own tunnel."""

import contextlib
import socket
import subprocess
import time

from websockets.client import ClientConnection
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Opcode
from websockets.connection import State
from websockets.uri import parse_uri

from drivers import node_modules
from .busbar import Endpoint
from .electric_client import SOURCE
from .process import clean_environment, free_port, spawn
from .satellite import Refused, closed_with
from .wait import wait_until
from .wire import TIMEOUT, Wire

DATA = (Opcode.BINARY, Opcode.CONT)


class TunnelSocket:
    """What a Wire needs of a socket, made of a WebSocket: each sendall() is a message."""

    def __init__(self, port, timeout=TIMEOUT, path="/proxy"):
        self.raw = socket.create_connection(("127.0.0.1", port), timeout)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.arrived = b""
        self.connection = ClientConnection(parse_uri(f"ws://127.0.0.1:{port}{path}"), max_size=None)
        self.connection.send_request(self.connection.connect())
        self._flush()
        while self.connection.state is State.CONNECTING and self.connection.handshake_exc is None:
            self._read()
        error = self.connection.handshake_exc
        if isinstance(error, InvalidStatus):
            self.raw.close()
            raise Refused(error.response.status_code, (error.response.body or b"").decode())
        if isinstance(error, InvalidHandshake):
            raise error
        assert self.connection.subprotocol is None

    def _flush(self):
        for data in self.connection.data_to_send():
            if data:
                self.raw.sendall(data)

    def _read(self):
        data = self.raw.recv(1 << 16)
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        for event in self.connection.events_received():
            if getattr(event, "opcode", None) in DATA:
                self.arrived += event.data
        if data:
            with contextlib.suppress(ConnectionError):
                self._flush()

    def settimeout(self, timeout):
        self.raw.settimeout(timeout)

    def sendall(self, data):
        self.connection.send_binary(bytes(data))
        self._flush()

    def send_fragments(self, *pieces):
        """One message in several frames."""
        self.connection.send_binary(pieces[0], fin=False)
        for piece in pieces[1:-1]:
            self.connection.send_continuation(piece, fin=False)
        self.connection.send_continuation(pieces[-1], fin=True)
        self._flush()

    def send_text(self, text):
        self.connection.send_text(text.encode())
        self._flush()

    def recv(self, _size):
        """Bytes of one or more messages; b"" once it is closed."""
        while not self.arrived and self.closed is None:
            self._read()
        data, self.arrived = self.arrived, b""
        return data

    @property
    def closed(self):
        return closed_with(self.connection)

    def wait_closed(self, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while self.closed is None:
            self.raw.settimeout(max(deadline - time.monotonic(), 0.001))
            self._read()
        return self.closed

    def close(self, code=1000):
        if self.connection.state is State.OPEN:
            with contextlib.suppress(OSError):
                self.connection.send_close(code)
                self._flush()
        self.raw.close()


class TunnelWire(Wire):
    """A raw protocol client whose connection is a WebSocket. The endpoint's port is the HTTP port."""

    def __init__(self, _host, port, timeout=TIMEOUT):  # pylint: disable=super-init-not-called
        self.address = ("127.0.0.1", port)
        self.socket = TunnelSocket(port, timeout)
        self.buffer, self.received = bytearray(), bytearray()
        self.parameters, self.key, self.auth_codes = {}, None, []


def tunnelled(busbar, **params):
    """A session, logged in."""
    return TunnelWire.login(Endpoint("127.0.0.1", busbar.http_port, busbar.dbname, password=busbar.password), **params)


@contextlib.contextmanager
def published_tunnel(busbar):
    """An endpoint at the published client's `electric-sql proxy-tunnel`."""
    port = free_port()
    modules = node_modules(SOURCE, native=("better-sqlite3",))
    child = spawn(["node", f"{modules}/electric-sql/dist/cli/main.js", "proxy-tunnel", "--service",
                   f"http://127.0.0.1:{busbar.http_port}",
                   "--local-port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=SOURCE,
                   env=clean_environment())
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port), 5).close() or True, "the tunnel to listen")
        yield Endpoint("127.0.0.1", port, busbar.dbname, password=busbar.password)
    finally:
        child.kill()
        child.communicate()
