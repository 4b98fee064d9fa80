# SPDX-License-Identifier: Apache-2.0
"""Bytes of the PostgreSQL frontend/backend protocol, version 3: builders and decoders. No I/O.

Message layouts: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
"""

import struct
from dataclasses import dataclass

PROTOCOL_3_0 = 196608
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


# Builders: what a client sends.

def frame(kind, body=b""):
    return kind.encode("latin-1") + struct.pack("!I", len(body) + 4) + body


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup(params, version=PROTOCOL_3_0):
    body = struct.pack("!I", version) + b"".join(cstr(k) + cstr(v) for k, v in params.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, secret):
    return struct.pack("!IIII", 16, 80877102, pid, secret)


def query(sql):
    return frame("Q", cstr(sql))


def parse(name, sql, oids=()):
    return frame("P", cstr(name) + cstr(sql) + struct.pack("!H", len(oids)) + b"".join(struct.pack("!I", o) for o in oids))


def bind(portal, statement, params=(), formats=(), result_formats=()):
    body = cstr(portal) + cstr(statement)
    body += struct.pack("!H", len(formats)) + b"".join(struct.pack("!H", f) for f in formats)
    body += struct.pack("!H", len(params))
    for value in params:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            value = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!i", len(value)) + value
    body += struct.pack("!H", len(result_formats)) + b"".join(struct.pack("!H", f) for f in result_formats)
    return frame("B", body)


def describe(what, name):
    return frame("D", what.encode() + cstr(name))


def close(what, name):
    return frame("C", what.encode() + cstr(name))


def execute(portal="", rows=0):
    return frame("E", cstr(portal) + struct.pack("!I", rows))


def sync():
    return frame("S")


def flush():
    return frame("H")


def terminate():
    return frame("X")


def password(secret):
    return frame("p", cstr(secret))


def copy_data(data):
    return frame("d", data)


def copy_done():
    return frame("c")


def copy_fail(reason):
    return frame("f", cstr(reason))


def function_call(oid, args, arg_format=0, result_format=0):
    body = struct.pack("!IHHH", oid, 1, arg_format, len(args))
    for value in args:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return frame("F", body + struct.pack("!H", result_format))


def one_group(sql, params=(), name=""):
    """The single group that psycopg 3, node-postgres and JDBC send."""
    return parse(name, sql) + bind("", name, params) + describe("P", "") + execute() + sync()


# Decoders: what a server sends.

@dataclass(frozen=True)
class Message:
    """One message of either peer: type byte and body; ``kind`` is '' for untyped start-up packets."""

    kind: str
    body: bytes

    def __repr__(self):
        return f"<{self.kind} {self.body[:120]!r}{'…' if len(self.body) > 120 else ''}>"

    @property
    def bytes(self):
        return frame(self.kind, self.body) if self.kind else struct.pack("!I", len(self.body) + 4) + self.body

    @property
    def tag(self):
        """Command tag of a CommandComplete."""
        assert self.kind == "C", self
        return self.body[:-1].decode()

    @property
    def status(self):
        """Transaction status byte of a ReadyForQuery."""
        assert self.kind == "Z", self
        return self.body.decode()

    @property
    def fields(self):
        """Fields of an ErrorResponse or NoticeResponse by their code letter."""
        assert self.kind in "EN", self
        found = {}
        for part in self.body.split(b"\0"):
            if part:
                found[chr(part[0])] = part[1:].decode()
        return found

    @property
    def values(self):
        """Columns of a DataRow, raw."""
        assert self.kind == "D", self
        (count,) = struct.unpack_from("!H", self.body)
        at, out = 2, []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", self.body, at)
            at += 4
            if size < 0:
                out.append(None)
                continue
            out.append(self.body[at:at + size])
            at += size
        return out

    @property
    def columns(self):
        """Columns of a RowDescription: (name, type oid, format)."""
        assert self.kind == "T", self
        (count,) = struct.unpack_from("!H", self.body)
        at, out = 2, []
        for _ in range(count):
            end = self.body.index(b"\0", at)
            name = self.body[at:end].decode()
            _table, _column, oid, _size, _mod, fmt = struct.unpack_from("!IHIhiH", self.body, end + 1)
            at = end + 19
            out.append((name, oid, fmt))
        return out

    @property
    def parameter(self):
        """Name and value of a ParameterStatus."""
        assert self.kind == "S", self
        name, value, _ = self.body.split(b"\0")
        return name.decode(), value.decode()

    @property
    def key(self):
        """Process id and secret of a BackendKeyData."""
        assert self.kind == "K", self
        return struct.unpack("!II", self.body)

    @property
    def notification(self):
        """Channel and payload of a NotificationResponse; the process id differs between sessions and is left out."""
        assert self.kind == "A", self
        channel, payload, _ = self.body[4:].split(b"\0")
        return channel.decode(), payload.decode()

    @property
    def auth(self):
        """Request code of an Authentication message."""
        assert self.kind == "R", self
        return struct.unpack_from("!I", self.body)[0]

    @property
    def sql(self):
        """Statement text of a Query or Parse."""
        if self.kind == "Q":
            return self.body[:-1].decode()
        assert self.kind == "P", self
        return self.body.split(b"\0")[1].decode()


def split_frames(data):
    """Cuts complete typed messages off ``data``: (messages, rest)."""
    out, at = [], 0
    while len(data) - at >= 5:
        (size,) = struct.unpack_from("!I", data, at + 1)
        assert size >= 4, f"message length {size} at {data[at:at + 16]!r}"
        if len(data) - at < size + 1:
            break
        out.append(Message(chr(data[at]), bytes(data[at + 5:at + 1 + size])))
        at += size + 1
    return out, data[at:]


def startup_params(body):
    """Parameters of a StartupMessage (body without the length word)."""
    parts = body[4:].split(b"\0")
    return {k.decode(): v.decode() for k, v in zip(parts[0::2], parts[1::2]) if k}
