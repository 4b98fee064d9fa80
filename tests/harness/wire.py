# SPDX-License-Identifier: Apache-2.0
"""A raw protocol client: sends exactly the bytes it is told and shows exactly what comes back."""

import hashlib
import socket
import struct

from . import protocol as p
from .scram import ScramClient

TIMEOUT = 20.0


class Closed(Exception):
    """The peer closed the connection."""


class LoginRefused(Exception):
    """An ErrorResponse came instead of a login; ``fields`` holds it."""

    def __init__(self, fields):
        super().__init__(fields.get("M"))
        self.fields = fields


class Result:
    """All messages of one answer, up to and including ReadyForQuery."""

    def __init__(self, messages):
        self.messages = messages

    def __repr__(self):
        return f"Result({self.messages!r})"

    def of(self, kind):
        return [m for m in self.messages if m.kind == kind]

    @property
    def kinds(self):
        """Type bytes in order, without what may come at any time (notices, parameters, notifications)."""
        return "".join(m.kind for m in self.messages if m.kind not in "NSA")

    @property
    def tags(self):
        return [m.tag for m in self.of("C")]

    @property
    def rows(self):
        return [[None if v is None else v.decode() for v in m.values] for m in self.of("D")]

    @property
    def status(self):
        return self.of("Z")[-1].status

    @property
    def errors(self):
        return [m.fields for m in self.of("E")]

    @property
    def error(self):
        found = self.errors
        assert len(found) == 1, f"one error expected: {self}"
        return found[0]

    @property
    def notices(self):
        return [m.fields for m in self.of("N")]

    def ok(self):
        assert not self.errors, self.errors
        return self


class Wire:
    """One connection. ``Wire.login(endpoint)`` for a ready session, ``Wire(host, port)`` for a bare socket."""

    def __init__(self, host, port, timeout=TIMEOUT):
        self.address = (host, port)
        self.socket = socket.create_connection(self.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.received = bytearray()  # every byte the peer sent, for comparisons
        self.parameters = {}
        self.key = None
        self.auth_codes = []

    @classmethod
    def login(cls, endpoint, timeout=TIMEOUT, **params):
        """A session that is ready for queries; ``params`` override or add start-up parameters."""
        wire = cls(endpoint.host, endpoint.port, timeout)
        try:
            password = params.pop("password", endpoint.password)
            wire.start({"user": endpoint.user, "database": endpoint.dbname, **params}, password)
        except BaseException:
            wire.close()
            raise
        return wire

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def abort(self):
        """Closes with a reset, as the kernel does for a client that was killed with data unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            self.socket.shutdown(socket.SHUT_RD)  # wakes another thread that is reading: it would keep the socket open
        except OSError:
            pass
        self.socket.close()

    def secure(self, context, direct=False, server="localhost"):
        """Goes on inside TLS: after an SSLRequest that is granted, or at once."""
        if not direct:
            self.send(p.SSL_REQUEST)
            answer = self.read_byte()
            assert answer == b"S" and not self.buffer, (answer, self.buffer)
        self.socket = context.wrap_socket(self.socket, server_hostname=server)
        return self

    # Sending.

    def send(self, data):
        self.socket.sendall(data)
        return self

    def send_pieces(self, data, rng, largest=None):
        """Sends in pieces of random size: where TCP cuts must not matter."""
        at = 0
        while at < len(data):
            size = rng.choice((1, 2, 3, 4, 5, 7, 16, 100, 1000, 8192, 70000))
            size = min(size, largest) if largest else size
            self.socket.sendall(data[at:at + size])
            at += size
        return self

    # Receiving.

    def _fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed(f"closed by the peer; {len(self.buffer)} bytes of a message were left")
        self.buffer += data
        self.received += data

    def read_byte(self):
        """The single byte that answers SSLRequest and GSSENCRequest."""
        while not self.buffer:
            self._fill()
        byte = bytes(self.buffer[:1])
        del self.buffer[:1]
        return byte

    def read(self):
        """The next message."""
        while True:
            if len(self.buffer) >= 5:
                (size,) = struct.unpack_from("!I", self.buffer, 1)
                if len(self.buffer) > size:
                    message = p.Message(chr(self.buffer[0]), bytes(self.buffer[5:size + 1]))
                    del self.buffer[:size + 1]
                    if message.kind == "S":
                        name, value = message.parameter
                        self.parameters[name] = value
                    return message
            self._fill()

    def read_until(self, *kinds):
        """Messages up to and including the first of one of these types."""
        out = []
        while not out or out[-1].kind not in kinds:
            out.append(self.read())
        return out

    def result(self):
        """The answer up to ReadyForQuery."""
        return Result(self.read_until("Z"))

    def read_to_end(self):
        """What comes until the peer closes."""
        out = []
        try:
            while True:
                out.append(self.read())
        except (Closed, ConnectionResetError):
            return out

    # Conversations.

    def start(self, params, password=None):
        """StartupMessage and the whole login, up to the first ReadyForQuery."""
        self.send(p.startup(params))
        user = params.get("user", "")
        scram = None
        while True:
            message = self.read()
            if message.kind == "E":
                raise LoginRefused(message.fields)
            if message.kind == "R":
                self.auth_codes.append(message.auth)
                scram = self._authenticate(message, user, password, scram)
            elif message.kind == "K":
                self.key = message.key
            elif message.kind == "Z":
                assert message.status == "I"
                return self
            else:
                assert message.kind in "SN", message

    def _authenticate(self, message, user, password, scram):
        rest = message.body[4:]
        if message.auth == 5:
            assert len(rest) == 4, "the MD5 salt has four bytes"
            self.send(p.password(md5_response(password, user, rest)))
        elif message.auth == 10:
            mechanisms = [m.decode() for m in rest.split(b"\0") if m]
            assert "SCRAM-SHA-256" in mechanisms, mechanisms
            scram = ScramClient(password)
            first = scram.first()
            self.send(p.frame("p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first))
        elif message.auth == 11:
            self.send(p.frame("p", scram.final(rest)))
        elif message.auth == 12:
            scram.verify(rest)
        else:
            assert message.auth == 0, f"authentication request {message.auth}"
        return scram

    def query(self, sql):
        """Simple Query and its whole answer."""
        return self.send(p.query(sql)).result()

    def extended(self, sql, params=(), name=""):
        """One [Parse, Bind, Describe, Execute, Sync] group and its whole answer."""
        return self.send(p.one_group(sql, params, name)).result()

    def value(self, sql):
        """The one value of a query that succeeds."""
        return self.query(sql).ok().rows[0][0]


def md5_response(password, user, salt):
    inner = hashlib.md5((password + user).encode()).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


def cancel(endpoint, key):
    """Sends a CancelRequest on a connection of its own; returns what came back, which must be nothing."""
    with socket.create_connection((endpoint.host, endpoint.port), TIMEOUT) as conn:
        conn.sendall(p.cancel_request(*key))
        try:
            return conn.recv(100)
        except ConnectionResetError:
            return b""
