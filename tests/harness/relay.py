# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that understands message boundaries.

It stands between Busbar and PostgreSQL (or a client and Busbar), passes every byte on unchanged, records both
directions of each connection, and calls a hook before each message of a ready session goes on. A hook may block
(a stall), call ``conn.cut()``, or simply look. Threads, because what is relayed is stalled on purpose.
"""

import socket
import struct
import threading

from . import protocol as p
from .process import free_port
from .wait import wait_until


class Connection:
    """One relayed connection: who it is, what passed, and the two sockets."""

    def __init__(self, relay, client, server):
        self.relay = relay
        self.client = client          # the side that connected to us: sends frontend messages
        self.server = server
        self.params = {}              # of the StartupMessage
        self.pid = None               # of BackendKeyData
        self.ready = threading.Event()  # the first ReadyForQuery has passed
        self.closed = threading.Event()
        self.frontend = []            # Messages after login
        self.backend = []             # Messages after login
        self.frontend_bytes = bytearray()  # exact bytes after login
        self.backend_bytes = bytearray()
        self.cancel = None            # (pid, secret) when it was a CancelRequest
        self._lock = threading.Lock()
        self._running = 2             # pumps
        self._single_byte = 0         # answers to SSLRequest and GSSENCRequest still to come
        self._opaque = False          # TLS has begun: bytes only

    @property
    def is_session(self):
        """Whether this is Busbar's connection for a client, not one of its own."""
        return "busbar.session" in self.params.get("options", "")

    def cut(self):
        """Ends both sides at once."""
        for side in (self.client, self.server):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # The two pumps.

    def _run_frontend(self):
        try:
            if self._pass_startup():
                self._pass_messages(self.client, self.server, self._on_frontend)
        except OSError:
            pass
        finally:
            self._end(self.server)

    def _run_backend(self):
        try:
            self._pass_messages(self.server, self.client, self._on_backend)
        except OSError:
            pass
        finally:
            self._end(self.client)

    def _end(self, side):
        try:
            side.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        with self._lock:
            self._running -= 1
            last = self._running == 0
        if last:
            self.client.close()
            self.server.close()
            self.closed.set()

    def _read_exactly(self, size):
        data = b""
        while len(data) < size:
            got = self.client.recv(size - len(data))
            if not got:
                return None
            data += got
        return data

    def _pass_startup(self):
        """Untyped packets up to the StartupMessage; false when none comes."""
        while True:
            head = self._read_exactly(4)
            if head is None:
                return False
            (size,) = struct.unpack("!I", head)
            body = self._read_exactly(size - 4)
            if body is None:
                return False
            (code,) = struct.unpack_from("!I", body)
            if code in (80877103, 80877104):
                self._single_byte += 1
            elif code == 80877102:
                self.cancel = struct.unpack_from("!II", body, 4)
            else:
                self.params = p.startup_params(body)
            self.server.sendall(head + body)
            if self.params or self.cancel:
                return True

    def _pass_messages(self, source, target, on_message):
        pending = b""
        while True:
            data = source.recv(1 << 16)
            if not data:
                return
            if source is self.server and self._single_byte and not pending:
                self._single_byte -= 1
                self._opaque = data[:1] in (b"S", b"G")
                target.sendall(data[:1])
                data = data[1:]
            if self._opaque:
                target.sendall(data)
                continue
            messages, pending = p.split_frames(pending + data)
            for message in messages:
                on_message(message, target)

    def _on_frontend(self, message, target):
        if self.ready.is_set():
            if self.relay.on_frontend:
                self.relay.on_frontend(self, len(self.frontend) + 1, message)
            self.frontend.append(message)
            self.frontend_bytes += message.bytes
        target.sendall(message.bytes)

    def _on_backend(self, message, target):
        if self.ready.is_set():
            if self.relay.on_backend:
                self.relay.on_backend(self, len(self.frontend), message)
            self.backend.append(message)
            self.backend_bytes += message.bytes
        elif message.kind == "K":
            self.pid = message.key[0]
        elif message.kind == "Z":
            self.ready.set()
        target.sendall(message.bytes)


class Relay:
    """Listens on ``port`` of loopback and connects each client to the target."""

    def __init__(self, target_port, target_host="127.0.0.1"):
        self.target = (target_host, target_port)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.connections = []
        self.on_frontend = None  # (connection, number of the message counted from 1 after login, message)
        self.on_backend = None   # (connection, frontend messages passed so far, message)
        self._listener = socket.create_server((self.host, self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, 10)
            except OSError:
                client.close()
                continue
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                side.settimeout(None)
            connection = Connection(self, client, server)
            self.connections.append(connection)
            threading.Thread(target=connection._run_frontend, daemon=True).start()
            threading.Thread(target=connection._run_backend, daemon=True).start()

    @property
    def sessions(self):
        """Connections of clients, in the order they came; without Busbar's own."""
        return [c for c in self.connections if c.is_session]

    def session_for(self, pid):
        """The connection whose backend has this process id: it is also what the client was told."""
        return wait_until(lambda: next((c for c in self.connections if c.pid == pid), None), f"the relayed session {pid}")

    def close(self):
        self.on_frontend = self.on_backend = None
        self._listener.close()
        for connection in self.connections:
            connection.cut()
