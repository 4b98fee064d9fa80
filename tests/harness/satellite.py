# SPDX-License-Identifier: Apache-2.0
"""A raw client of the sync protocol: what the published client can do, and what it never would.

``Satellite`` reads when it is asked to, in the caller's thread: what is not read waits in the socket, as with a slow client. Each message
that comes is checked against what the protocol promises (a relation before its rows, only inserts inside a subscription's data, …), kept
in ``log`` in the order of arrival, and applied to ``tables`` as the published client would.

Values are as on the wire: text, ``bytes`` for bytea, None for NULL.
"""

import functools
import hashlib
import importlib.util
import os
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field

from websockets.client import ClientConnection
from websockets.connection import State
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Opcode
from websockets.uri import parse_uri

from .busbar import REPOSITORY
from .token import unsigned

TYPES = {
    0: "SatErrorResp", 9: "SatOpLog", 10: "SatRelation", 14: "SatSubsDataError", 15: "SatSubsDataBegin", 16: "SatSubsDataEnd",
    17: "SatShapeDataBegin", 18: "SatShapeDataEnd", 21: "SatRpcRequest", 22: "SatRpcResponse", 23: "SatOpLogAck", 24: "SatUnsubsDataBegin",
    25: "SatUnsubsDataEnd"}
NUMBERS = {name: number for number, name in TYPES.items()}
RPC = {
    "authenticate": ("SatAuthReq", "SatAuthResp"), "startReplication": ("SatInStartReplicationReq", "SatInStartReplicationResp"),
    "stopReplication": ("SatInStopReplicationReq", "SatInStopReplicationResp"), "subscribe": ("SatSubsReq", "SatSubsResp"),
    "unsubscribe": ("SatUnsubsReq", "SatUnsubsResp")}
ERRORS = ["INTERNAL", "AUTH_REQUIRED", "AUTH_FAILED", "REPLICATION_FAILED", "INVALID_REQUEST", "PROTO_VSN_MISMATCH", "SCHEMA_VSN_MISMATCH"]
START_ERRORS = ["CODE_UNSPECIFIED", "BEHIND_WINDOW", "INVALID_POSITION", "SUBSCRIPTION_NOT_FOUND", "MALFORMED_LSN", "UNKNOWN_SCHEMA_VSN"]
SHAPE_ERRORS = ["CODE_UNSPECIFIED", "TABLE_NOT_FOUND", "REFERENTIAL_INTEGRITY_VIOLATION", "EMPTY_SHAPE_DEFINITION",
                "DUPLICATE_TABLE_IN_SHAPE_DEFINITION", "INVALID_WHERE_CLAUSE", "INVALID_INCLUDE_TREE"]
TIMEOUT = 20.0


@functools.lru_cache(maxsize=1)
def proto():
    """The messages' classes, made by protoc once for each version of proto/satellite.proto."""
    source = os.path.join(REPOSITORY, "proto", "satellite.proto")
    with open(source, "rb") as text:
        target = os.path.join(REPOSITORY, ".cache", f"satellite-{hashlib.sha256(text.read()).hexdigest()[:16]}")
    if not os.path.isdir(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        work = tempfile.mkdtemp(dir=os.path.dirname(target))
        subprocess.run(["protoc", f"--proto_path={os.path.dirname(source)}", f"--python_out={work}", source], check=True, timeout=60)
        try:
            os.rename(work, target)
        except OSError:  # another run was quicker
            pass
    spec = importlib.util.spec_from_file_location("satellite_pb2", os.path.join(target, "satellite_pb2.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message(name, **fields):
    return getattr(proto(), name)(**fields)


class Refused(Exception):
    """The upgrade was answered by HTTP."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status, self.text = status, text


class RpcError(Exception):
    """An RPC failed: ``code`` is the error's name."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Closed(Exception):
    """The server closed while something was waited for."""


@dataclass
class Relation:
    id: int
    table: str
    columns: list  # (name, type, is part of the key, nullable)

    @property
    def names(self):
        return [c[0] for c in self.columns]


@dataclass
class Op:
    kind: str  # insert update delete gone
    table: str
    row: dict = None  # the new one; of gone its key
    old: dict = None
    tags: list = None
    key: tuple = None


@dataclass
class Transaction:
    id: int
    lsn: bytes
    origin: str
    timestamp: int
    is_migration: bool
    ref: int
    ops: list = field(default_factory=list)
    migrations: list = field(default_factory=list)

    @property
    def kinds(self):
        return [op.kind for op in self.ops]


@dataclass
class Batch:
    """The data of a subscription, or, without an id, additional data (then ``ref``)."""
    subscription_id: str = None
    lsn: bytes = b""
    ref: int = 0
    shapes: dict = field(default_factory=dict)  # request id → inserts
    ops: list = field(default_factory=list)


@dataclass
class GoneBatch:
    subscription_ids: list
    lsn: bytes
    ops: list = field(default_factory=list)


@dataclass
class DataError:
    subscription_id: str
    message: str


@dataclass
class Fault:
    """SatErrorResp: nothing but the close comes after it."""
    code: str
    message: str
    lsn: bytes


# What a client writes.

def insert(table, row, tags=()):
    return "insert", table, row, None, tags


def update(table, row, old, tags=()):
    return "update", table, row, old, tags


def delete(table, old, tags=()):
    return "delete", table, None, old, tags


def compensation(table, key, tags=()):
    return "compensation", table, key, None, tags


def select(table, where=None, include=()):
    """A select of a shape; ``include``: (foreign key columns, select) pairs."""
    return {"tablename": table, "where": where or "", "include": [{"foreign_key": list(fk), "select": s} for fk, s in include]}


def closed_with(connection):
    """(code, reason) once the server has closed the WebSocket; None before."""
    received = connection.close_rcvd
    if received is not None:
        return received.code, received.reason
    return (1006, "") if connection.state is State.CLOSED else None


class Satellite:
    """One connection. ``auto_ack`` acknowledges each transaction and each batch once it is complete; ``answer_start`` answers the server's requests."""

    def __init__(self, port, client_id=None, host="127.0.0.1", auto_ack=True, answer_start=True, answer_pings=True):
        self.host, self.port = host, port
        self.client_id = client_id or str(uuid.uuid4())
        self.auto_ack, self.answer_start, self.answer_pings = auto_ack, answer_start, answer_pings
        self.log = []  # Transaction, Batch, GoneBatch, DataError, Fault, Relation
        self.tables = {}  # name → {key: row}
        self.surprises = []  # what was applied although it did not fit: an insert of a row that was there, …
        self.relations = {}  # id → Relation, of this connection
        self.schemas = {}  # table → Relation, the newest
        self.server_requests = []  # (method, request)
        self.pings = 0
        self.lsn = b""
        self.subscriptions = {}  # id → request ids
        self.unacked, self.window = [], 30  # transactions
        self._responses = {}
        self._next_id = 1
        self._open = None  # the transaction, batch … that is not complete
        self._shape = None
        self._own_relations = {}
        self._rowid = 0
        self.connection = self.socket = None

    # The connection.

    def connect(self, subprotocol="electric.0.12", path="/ws", timeout=TIMEOUT, offer=None):
        """``subprotocol`` is what must come back; ``offer``: a longer list that has it."""
        self.socket = socket.create_connection((self.host, self.port), timeout)
        self.connection = ClientConnection(parse_uri(f"ws://{self.host}:{self.port}{path}"), max_size=None,
                                           subprotocols=offer or [subprotocol])
        self.connection.send_request(self.connection.connect())
        self._flush()
        deadline = time.monotonic() + timeout
        try:
            while self.connection.state is State.CONNECTING and self.connection.handshake_exc is None:
                self._read(deadline)
            if self.connection.handshake_exc is not None:
                raise self.connection.handshake_exc
        except InvalidStatus as error:
            self.close()
            raise Refused(error.response.status_code, (error.response.body or b"").decode()) from None
        except InvalidHandshake:
            self.close()
            raise
        assert self.connection.subprotocol == subprotocol
        return self

    def close(self, code=1000):
        """Closes in order if that is still possible, and at once."""
        if self.socket is None:
            return
        if self.is_open:
            self.connection.send_close(code)
            self._flush()
        self.socket.close()
        self.socket = None

    def drop(self):
        """Gone without a word (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()
        self.socket = None

    @property
    def is_open(self):
        return self.connection is not None and self.connection.state is State.OPEN

    @property
    def closed(self):
        return closed_with(self.connection)

    def _flush(self):
        self.socket.settimeout(TIMEOUT)
        try:
            for data in self.connection.data_to_send():
                if data:
                    self.socket.sendall(data)
                else:
                    self.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has closed: that is read next

    def _read(self, deadline):
        """Reads once and handles what is complete; False at the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        events = self.connection.events_received()
        silent = not self.answer_pings and any(getattr(e, "opcode", None) is Opcode.PING for e in events)
        if silent:
            self.connection.data_to_send()  # the answers: not sent
        elif data:
            self._flush()
        for event in events:
            if getattr(event, "opcode", None) is Opcode.PING:
                self.pings += 1
            elif getattr(event, "opcode", None) is Opcode.BINARY:
                assert event.fin, "the server does not fragment"
                self._handle(event.data)
            else:
                assert getattr(event, "opcode", Opcode.CLOSE) in (Opcode.CLOSE, Opcode.PONG), f"not expected: {event}"
        return True

    def pump(self, seconds):
        """Reads for a while, whatever comes."""
        deadline = time.monotonic() + seconds
        while not self.closed and self._read(deadline):
            pass

    def collect(self, until, what="the condition", timeout=TIMEOUT):
        """Reads until ``until()`` is true; returns its value."""
        deadline = time.monotonic() + timeout
        while True:
            value = until()
            if value:
                return value
            if self.closed:
                raise Closed(f"closed {self.closed} while waiting for {what}; {self._last()}")
            assert self._read(deadline), f"waited {timeout} s in vain for {what}; {self._last()}"

    def _last(self):
        return f"the last of {len(self.log)} things was {self.log[-1]!r}"[:2000] if self.log else "nothing had come"

    def wait_closed(self, timeout=TIMEOUT):
        """(code, reason)."""
        deadline = time.monotonic() + timeout
        while not self.closed:
            assert self._read(deadline), f"not closed within {timeout} s; {self._last()}"
        return self.closed

    def nothing_within(self, seconds):
        """Asserts that nothing new comes. Better is to wait for something later, where there is something."""
        before = len(self.log)
        self.pump(seconds)
        assert len(self.log) == before and not self.closed, self.log[before:] or self.closed

    # Messages.

    def send_raw(self, data):
        if not self.is_open:
            raise Closed(f"closed {self.closed}; {self._last()}")
        self.connection.send_binary(data)
        self._flush()

    def send_text(self, text):
        self.connection.send_text(text.encode())
        self._flush()

    def ping(self):
        self.connection.send_ping(b"")
        self._flush()

    def send(self, what):
        self.send_raw(bytes([NUMBERS[what.DESCRIPTOR.name]]) + what.SerializeToString())

    def _handle(self, data):
        assert data and data[0] in TYPES, f"unknown type of message: {data[:40]!r}"
        name = TYPES[data[0]]
        what = getattr(proto(), name)()
        what.ParseFromString(data[1:])
        assert not (self.log and isinstance(self.log[-1], Fault)), f"{name} after an error"
        inside = isinstance(self._open, (Batch, GoneBatch)) and not getattr(self._open, "ref", 0)
        assert not inside or name in ("SatOpLog", "SatSubsDataEnd", "SatShapeDataBegin", "SatShapeDataEnd", "SatUnsubsDataEnd", "SatErrorResp",
                                      "SatRpcResponse"), f"{name} inside {self._open!r}"
        getattr(self, f"_on_{name}")(what)

    def _on_SatErrorResp(self, what):
        self.log.append(Fault(ERRORS[what.error_type], what.message, what.lsn))

    def _on_SatRelation(self, what):
        assert what.schema_name == "public" and what.table_type == 0
        relation = Relation(what.relation_id, what.table_name, [(c.name, c.type, c.primaryKey, c.is_nullable) for c in what.columns])
        assert any(c[2] for c in relation.columns), f"no primary key: {relation}"
        self.relations[relation.id] = self.schemas[relation.table] = relation
        self.log.append(relation)

    def _on_SatRpcRequest(self, what):
        request = getattr(proto(), RPC[what.method][0])()
        request.ParseFromString(what.message)
        self.server_requests.append((what.method, request))
        assert what.request_id == len(self.server_requests) - 1, "the server counts from 0"
        if self.answer_start and self.is_open:
            self.answer(what.method, what.request_id)

    def answer(self, method, request_id):
        self.send(message("SatRpcResponse", method=method, request_id=request_id, message=message(RPC[method][1]).SerializeToString()))

    def _on_SatRpcResponse(self, what):
        assert what.request_id not in self._responses
        self._responses[what.request_id] = what

    def _on_SatSubsDataError(self, what):
        self.log.append(DataError(what.subscription_id, what.message))
        del self.subscriptions[what.subscription_id]

    def _on_SatSubsDataBegin(self, what):
        assert self._open is None, self._open
        self._open = Batch(what.subscription_id, what.lsn)
        assert what.subscription_id in self.subscriptions, what.subscription_id

    def _on_SatShapeDataBegin(self, what):
        assert isinstance(self._open, Batch) and self._shape is None and what.request_id not in self._open.shapes
        assert what.request_id in self.subscriptions[self._open.subscription_id]
        self._shape = what.request_id
        self._open.shapes[what.request_id] = []

    def _on_SatShapeDataEnd(self, what):
        assert self._shape is not None
        self._shape = None

    def _on_SatSubsDataEnd(self, what):
        batch, self._open = self._open, None
        assert isinstance(batch, Batch) and self._shape is None
        assert set(batch.shapes) == set(self.subscriptions[batch.subscription_id]), "each request once"
        assert len({(op.table, op.key) for op in batch.ops}) == len(batch.ops), "a row twice in a batch"
        self._complete(batch, subscription_ids=[batch.subscription_id])

    def _on_SatUnsubsDataBegin(self, what):
        assert self._open is None, self._open
        self._open = GoneBatch(list(what.subscription_ids), what.lsn)

    def _on_SatUnsubsDataEnd(self, what):
        batch, self._open = self._open, None
        assert isinstance(batch, GoneBatch)
        for known in batch.subscription_ids:
            self.subscriptions.pop(known, None)
        self._complete(batch, gone_subscription_ids=batch.subscription_ids)

    def _complete(self, what, **acks):
        self.log.append(what)
        for op in what.ops:
            self._apply(op)
        if not getattr(what, "ref", 0) or isinstance(what, Transaction):
            assert int(what.lsn) >= int(self.lsn or b"0"), "positions do not go back"
            self.lsn = what.lsn
        if self.auto_ack and self.is_open:
            self.ack(**acks)

    # Operations.

    def _on_SatOpLog(self, what):
        for entry in what.ops:
            kind = entry.WhichOneof("op")
            getattr(self, f"_op_{kind}", self._op_row)(kind, getattr(entry, kind))

    def _op_begin(self, kind, op):
        assert self._open is None, self._open
        assert op.lsn and int(op.lsn) > 0 and op.HasField("transaction_id"), op
        assert op.transaction_id not in self.unacked and len(self.unacked) < self.window, (op, self.unacked)
        self.unacked.append(op.transaction_id)
        self._open = Transaction(op.transaction_id, op.lsn, op.origin, op.commit_timestamp, op.is_migration, op.additional_data_ref)

    def _op_commit(self, kind, op):
        transaction, self._open = self._open, None
        assert isinstance(transaction, Transaction)
        assert (op.commit_timestamp, op.lsn, op.additional_data_ref) == (transaction.timestamp, transaction.lsn, transaction.ref)
        assert transaction.is_migration == bool(transaction.migrations)
        keys = [(o.table, o.key) for o in transaction.ops]
        assert len(set(keys)) == len(keys), f"a row twice in a transaction: {transaction}"
        self._complete(transaction)

    def _op_additional_begin(self, kind, op):
        assert self._open is None and op.ref
        self._open = Batch(ref=op.ref)

    def _op_additional_commit(self, kind, op):
        batch, self._open = self._open, None
        assert isinstance(batch, Batch) and batch.ref == op.ref
        self._complete(batch, additional_data_source_ids=[op.ref])

    def _op_migrate(self, kind, op):
        assert isinstance(self._open, Transaction) and not self._open.ops, "migrations stand in front"
        self._open.migrations.append(op)

    def _op_row(self, kind, op):
        assert kind in ("insert", "update", "delete", "gone"), f"the server never sends {kind}"
        relation = self.relations.get(op.relation_id)
        assert relation, f"{kind} without a relation: {op}"
        made = Op(kind, relation.table)
        if kind in ("insert", "update"):
            made.row = self._row(relation, op.row_data)
        if kind in ("update", "delete"):
            made.old = self._row(relation, op.old_row_data)
        if kind == "gone":
            made.row = self._row(relation, op.pk_data)
            assert all(made.row[name] is None for name, _, is_key, _ in relation.columns if not is_key)
        else:
            made.tags = list(op.tags)
            assert kind != "delete" or not made.tags
        made.key = self._key(relation, made.row or made.old)
        assert not (isinstance(self._open, Batch) and kind != "insert") and not (isinstance(self._open, GoneBatch) and kind != "gone")
        assert self._open is not None, f"{kind} outside everything"
        self._open.ops.append(made)
        if isinstance(self._open, Batch) and not self._open.ref:
            assert self._shape is not None, "rows outside a shape"
            self._open.shapes[self._shape].append(made)

    @staticmethod
    def _row(relation, data):
        count = len(relation.columns)
        assert len(data.values) == count and len(data.nulls_bitmask) == (count + 7) // 8, (relation, data)
        row = {}
        for i, (name, type_name, _, _) in enumerate(relation.columns):
            if data.nulls_bitmask[i // 8] & 0x80 >> i % 8:
                assert data.values[i] == b""
                row[name] = None
            else:
                row[name] = data.values[i] if type_name == "bytea" else data.values[i].decode()
        return row

    @staticmethod
    def _key(relation, row):
        return tuple(row[name] for name, _, is_key, _ in relation.columns if is_key)

    def _apply(self, op):
        rows = self.tables.setdefault(op.table, {})
        if (op.key in rows) == (op.kind == "insert"):
            self.surprises.append(op)
        if op.kind in ("insert", "update"):
            rows[op.key] = op.row
        else:
            rows.pop(op.key, None)

    # What has come.

    @property
    def transactions(self):
        return [x for x in self.log if isinstance(x, Transaction)]

    @property
    def batches(self):
        return [x for x in self.log if isinstance(x, Batch) and not x.ref]

    @property
    def faults(self):
        return [x for x in self.log if isinstance(x, Fault)]

    def rows(self, table):
        """Rows of the model as tuples in the order of the columns, sorted by key."""
        return [tuple(row.values()) for _, row in sorted(self.tables.get(table, {}).items())]

    def wait_transactions(self, count, timeout=TIMEOUT):
        """Until there are so many in all; the list."""
        self.collect(lambda: len(self.transactions) >= count, f"{count} transactions", timeout)
        return self.transactions

    def wait_batch(self, subscription_id, timeout=TIMEOUT):
        def there():
            failed = [x for x in self.log if isinstance(x, DataError) and x.subscription_id == subscription_id]
            assert not failed, failed
            return next((b for b in self.batches if b.subscription_id == subscription_id), None)

        return self.collect(there, f"the data of {subscription_id}", timeout)

    def wait_gone(self, subscription_id, timeout=TIMEOUT):
        return self.collect(lambda: next((b for b in self.log if isinstance(b, GoneBatch) and subscription_id in b.subscription_ids), None),
                            f"the end of {subscription_id}", timeout)

    def wait_fault(self, timeout=TIMEOUT):
        """The error, after which the server closes: (error, (code, reason))."""
        deadline = time.monotonic() + timeout
        while not self.faults and not self.closed:
            assert self._read(deadline), f"no error within {timeout} s; {self._last()}"
        assert self.faults, f"closed {self.closed} without an error"
        return self.faults[0], self.wait_closed(timeout)

    def wait_same(self, connection, table, where="true", timeout=TIMEOUT):
        """Until the model holds just the rows that PostgreSQL has, value for value."""
        self.collect(lambda: self.rows(table) == self.expected(connection, table, where), f"{table} to be as in PostgreSQL", timeout)

    def expected(self, connection, table, where="true"):
        """What a client must have of a table, as ``rows()`` gives it; ``where`` is SQL of the test's own."""
        relation = self.schemas.get(table)
        if relation is None:
            return []
        columns = ", ".join(_as_on_the_wire(name, kind) for name, kind, _, _ in relation.columns)
        settings = ("DateStyle", "ISO, DMY"), ("TimeZone", "UTC"), ("extra_float_digits", "1")
        with connection.transaction():
            for name, value in settings:
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            found = connection.execute(f'SELECT {columns} FROM public."{table}" WHERE {where}').fetchall()
        keys = [i for i, column in enumerate(relation.columns) if column[2]]
        return sorted((tuple(row) for row in found), key=lambda row: tuple(row[i] for i in keys))

    # Requests.

    def request(self, method, request):
        """Sends it; its number."""
        number, self._next_id = self._next_id, self._next_id + 1
        self.send(message("SatRpcRequest", method=method, request_id=number, message=request.SerializeToString()))
        return number

    def response(self, number, timeout=TIMEOUT):
        """The answer to a request; RpcError for a failure."""
        answer = self.collect(lambda: self._responses.get(number), f"the answer to request {number}", timeout)
        if answer.WhichOneof("result") == "error":
            raise RpcError(ERRORS[answer.error.error_type], answer.error.message)
        made = getattr(proto(), RPC[answer.method][1])()
        made.ParseFromString(answer.message)
        return made

    def answered(self, number):
        return number in self._responses

    def rpc(self, method, request, timeout=TIMEOUT):
        return self.response(self.request(method, request), timeout)

    def authenticate(self, token=None, client_id=None):
        return self.rpc("authenticate", message("SatAuthReq", id=self.client_id if client_id is None else client_id,
                                                token=unsigned("u") if token is None else token))

    def start_replication(self, lsn=b"", subscription_ids=(), schema_version=None, dialect=None, observed=(), observed_gone=()):
        """RpcError with the name of a ReplicationError as ``code``."""
        request = message("SatInStartReplicationReq", lsn=lsn, subscription_ids=subscription_ids, observed_transaction_data=observed,
                          observed_gone_batch=observed_gone)
        if schema_version is not None:
            request.schema_version = schema_version
        if dialect is not None:
            request.sql_dialect = dialect
        answer = self.rpc("startReplication", request)
        if answer.HasField("err"):
            raise RpcError(START_ERRORS[answer.err.code], answer.err.message)
        self.window = answer.unacked_window_size
        return answer

    def resume(self, **options):
        """As the published client does after a pause: from its position, with its subscriptions."""
        return self.start_replication(self.lsn, subscription_ids=list(self.subscriptions), **options)

    def continue_on(self, port=None):
        """A new connection of the same device: its id, position, subscriptions and tables, not yet connected."""
        again = Satellite(port or self.port, self.client_id, self.host, self.auto_ack, self.answer_start, self.answer_pings)
        again.lsn, again.tables, again.schemas, again._rowid = self.lsn, self.tables, self.schemas, self._rowid
        again.subscriptions = dict(self.subscriptions)
        return again

    def start(self, token=None, **options):
        """Connected, authenticated, replicating."""
        self.connect()
        self.authenticate(token)
        self.start_replication(**options)
        return self

    def subscribe(self, *selects, subscription_id=None):
        """One shape a select (text: a whole table); the subscription's id. RpcError with the first shape error's name, or the error's own."""
        subscription_id = subscription_id or str(uuid.uuid4())
        requests = {str(uuid.uuid4()): {"selects": [select(s) if isinstance(s, str) else s]} for s in selects}
        return self.subscribe_raw(subscription_id, requests)

    def subscribe_raw(self, subscription_id, requests):
        """``requests``: request id → shape definition, or a list of such pairs."""
        pairs = list(requests.items() if isinstance(requests, dict) else requests)
        before = self.subscriptions.get(subscription_id)
        self.subscriptions[subscription_id] = [name for name, _ in pairs]
        answer = self.rpc("subscribe", message("SatSubsReq", subscription_id=subscription_id, shape_requests=[
            {"request_id": name, "shape_definition": definition} for name, definition in pairs]))
        if answer.HasField("err"):
            shape = answer.err.shape_request_error
            code = SHAPE_ERRORS[shape[0].code] if shape else ["CODE_UNSPECIFIED", "SUBSCRIPTION_ID_ALREADY_EXISTS", "SHAPE_REQUEST_ERROR"][answer.err.code]
            self.subscriptions[subscription_id] = before
            if before is None:
                del self.subscriptions[subscription_id]
            raise RpcError(code, shape[0].message if shape else answer.err.message)
        assert answer.subscription_id == subscription_id
        return subscription_id

    def sync(self, *selects):
        """Subscribed, and the data there: its batch."""
        return self.wait_batch(self.subscribe(*selects))

    def unsubscribe(self, *subscription_ids):
        self.rpc("unsubscribe", message("SatUnsubsReq", subscription_ids=subscription_ids))

    def ack(self, transaction_id=None, lsn=None, **ids):
        """What was applied: the last transaction unless another is named (0 before there was any)."""
        if transaction_id is None:
            transaction_id = self.transactions[-1].id if self.transactions else 0
        if transaction_id in self.unacked:
            del self.unacked[:self.unacked.index(transaction_id) + 1]
        self.send(message("SatOpLogAck", ack_timestamp=int(time.time() * 1000), lsn=self.lsn if lsn is None else lsn, transaction_id=transaction_id, **ids))

    # Writes.

    def announce(self, table, columns, relation_id=None, schema="public"):
        """SatRelation as the published client sends it; ``columns``: names, or (name, type, nullable)."""
        relation_id = relation_id or len(self._own_relations) + 1
        columns = [c if isinstance(c, tuple) else (c, "TEXT", True) for c in columns]
        self._own_relations[table] = relation_id, [c[0] for c in columns]
        self.send(message("SatRelation", schema_name=schema, table_name=table, relation_id=relation_id, columns=[
            {"name": name, "type": kind, "is_nullable": nullable} for name, kind, nullable in columns]))
        return relation_id

    def write(self, *changes, timestamp=None, rowid=None):
        """One transaction of the client (``insert()``, ``update()``, ``delete()``, ``compensation()``); (timestamp in ms, lsn)."""
        for _, table, row, old, _ in changes:
            if table not in self._own_relations:
                self.announce(table, list(row or old))
        self._rowid = rowid if rowid is not None else self._rowid + max(1, len(changes))
        timestamp = timestamp if timestamp is not None else int(time.time() * 1000)
        lsn = self._rowid.to_bytes(4, "big")
        ops = [{"begin": {"commit_timestamp": timestamp, "lsn": lsn}}, *map(self._change, changes), {"commit": {}}]
        self.send(message("SatOpLog", ops=ops))
        return timestamp, lsn

    def _change(self, change):
        kind, table, row, old, tags = change
        relation_id, names = self._own_relations[table]
        body = {"relation_id": relation_id, "tags": list(tags)}
        if kind in ("insert", "update"):
            body["row_data"] = _encode(names, row)
        if kind == "compensation":
            body["pk_data"] = _encode(names, row)
        if old is not None:
            body["old_row_data"] = _encode(names, old)
        return {kind: body}


def _encode(names, row):
    mask = bytearray((len(names) + 7) // 8)
    values = []
    for i, name in enumerate(names):
        value = row.get(name)
        if value is None:
            mask[i // 8] |= 0x80 >> i % 8
        values.append(b"" if value is None else value if isinstance(value, bytes) else str(value).encode())
    return {"nulls_bitmask": bytes(mask), "values": values}


def _as_on_the_wire(name, kind):
    column = '"' + name.replace('"', '""') + '"'
    if kind == "bytea":
        return column
    if kind == "bool":
        return f"CASE WHEN {column} THEN 't' WHEN NOT {column} THEN 'f' END"
    if kind == "timestamptz":
        return f"replace({column}::text, '+00', 'Z')"
    return f"{column}::text"
