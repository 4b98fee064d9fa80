# SPDX-License-Identifier: Apache-2.0
"""Clients that break the protocol, go to its limits, or vanish: a clear error or a clean close, and nobody else is harmed.

After each test: Busbar lives, its log is free of sanitizer lines, a new session works, memory is bounded, and PostgreSQL
has no backend of a client left. Tests marked ``transparent`` expect what PostgreSQL itself does.
"""

import os
import random
import re
import socket
import struct
import threading

import pytest

from harness import protocol as p
from harness.busbar import _FAULTS, PASSWORD, Busbar, Endpoint
from harness.relay import Relay
from harness.scram import ScramClient
from harness.wait import wait_until
from harness.wire import Closed, LoginRefused, Wire, cancel

MEGABYTE = 1 << 20
BOUND = 64 * MEGABYTE  # peak above rest, of a sanitized build, unless a test says otherwise
PEEK = 64 * 1024       # LIMIT_PEEK
PROTOCOL = ("08P01", "08006", "0A000", "28000", "28P01")


def memory(busbar, field="VmRSS"):
    with open(f"/proc/{busbar.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


class Stage:
    """One Busbar for all tests, or PostgreSQL itself with --direct (``busbar`` is None then)."""

    def __init__(self, cluster, database, busbar, relay=None):
        self.cluster, self.database, self.busbar, self.relay = cluster, database, busbar, relay
        self.endpoint = busbar or Endpoint(cluster.host, cluster.port, database)
        self.tables = 0

    def wire(self, **params):
        return self.endpoint.wire(**params)

    def bare(self, timeout=10.0):
        return Wire(self.endpoint.host, self.endpoint.port, timeout)

    def admin(self):
        return self.cluster.connect(self.database, application_name="admin")

    def value(self, sql, *params):
        with self.admin() as conn:
            return conn.execute(sql, params or None).fetchone()[0]

    def backends(self):
        with self.cluster.connect() as conn:
            return conn.execute("SELECT pid, state, query FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
                                " AND application_name NOT ILIKE 'busbar%%' AND application_name <> 'admin'", [self.database]).fetchall()

    def electrified(self):
        """The name of a fresh electrified table."""
        self.tables += 1
        name = f"e{self.tables}"
        with self.wire() as wire:
            wire.query(f"CREATE TABLE {name} (id int8 PRIMARY KEY, v text)").ok()
            wire.query(f"ALTER TABLE {name} ENABLE ELECTRIC").ok()
        return name

    def columns(self, table):
        with self.admin() as conn:
            return [r[0] for r in conn.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                                               " AND NOT attisdropped ORDER BY attnum", [table]).fetchall()]

    @property
    def versions(self):
        return self.value("SELECT count(*) FROM busbar.migration")

    def consumed(self, wire):
        """Whether the program under test has read all that was sent: nothing waits in its socket."""
        ours, theirs = wire.socket.getsockname()[1], self.endpoint.port
        with open("/proc/net/tcp", encoding="ascii") as lines:
            for line in lines:
                word = line.split()
                if word[1].endswith(f":{theirs:04X}") and word[2].endswith(f":{ours:04X}"):
                    return word[4].split(":")[1] == "00000000"
        return True

    def send_apart(self, wire, pieces):
        """Sends pieces that arrive one by one."""
        for piece in pieces:
            wire.send(piece)
            wait_until(lambda: self.consumed(wire), "a piece to be read", interval=0.001)


@pytest.fixture(scope="module")
def world(cluster, direct):
    database = cluster.create_database()
    relay = Relay(cluster.port)
    busbar = None if direct else Busbar(cluster.url(database, port=relay.port), dbname=database, LOG_LEVEL="info")
    try:
        if busbar:
            busbar.start()
        yield Stage(cluster, database, busbar, relay)
        if busbar:
            busbar.check()
    finally:
        if busbar:
            busbar.discard()
        relay.close()
        cluster.drop_database(database)


@pytest.fixture
def stage(world, request):
    """The stage, judged when the test is over."""
    if world.busbar:
        with open(f"/proc/{world.busbar.process.pid}/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")
        before = memory(world.busbar)
    yield world
    world.relay.on_frontend = world.relay.on_backend = None
    if world.busbar:
        growth, bound = memory(world.busbar, "VmHWM") - before, getattr(request.function, "bound", BOUND)
        fault = _FAULTS.search(world.busbar.log())
        assert not fault, fault
        assert world.busbar.process.poll() is None, "Busbar has ended"
        assert growth < bound, f"memory grew by {growth >> 20} MB"
    with world.wire() as wire:
        assert wire.value("SELECT 42") == "42"
    wait_until(lambda: not world.backends(), "every backend of a client to be gone")


def ending(wire, *codes):
    """What comes until the close, which must come: no reset of what was said, at most one error, the last of all."""
    messages = wire.read_to_end()
    errors = [m for m in messages if m.kind == "E"]
    assert len(errors) <= 1 and (not errors or messages[-1] is errors[0]), messages[-3:]
    if codes:
        assert errors and errors[0].fields["C"] in codes, messages[-3:]
        assert errors[0].fields["M"]
    return messages


def bound(size):
    """Another bound on the memory that a test may take."""
    def mark(function):
        function.bound = size
        return function
    return mark


# --- the gate: start-up packets ---

def packet(body, length=None):
    return struct.pack("!I", len(body) + 4 if length is None else length) + body


V3 = struct.pack("!I", p.PROTOCOL_3_0)
STARTUPS = {
    **{f"length {n}": struct.pack("!I", n) + b"\0\3\0\0" * 10 for n in (0, 1, 3, 4, 7, 10001, 0x7fffffff, 0x80000000, 0xffffffff)},
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS at once": bytes.fromhex("16030100f8010000f40303") + b"\x55" * 240,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "noise": bytes(random.Random(1).randbytes(300_000)),
    "no terminator": packet(V3 + b"user\0x\0"),
    "no NUL anywhere": packet(V3 + b"user"),
    "name without value": packet(V3 + b"user\0"),
    "bytes behind the terminator": packet(V3 + b"user\0x\0\0more"),
    "no user": packet(V3 + b"database\0x\0\0"),
    "empty user": packet(V3 + b"user\0\0\0"),
    "nothing": packet(V3 + b"\0"),
    "no parameters, no terminator": packet(V3),
    "70 parameters": packet(V3 + b"user\0x\0" + b"".join(b"a.p%d\0v\0" % n for n in range(70)) + b"\0"),
    "70 protocol options": packet(V3 + b"user\0x\0" + b"".join(b"_pq_.p%d\0v\0" % n for n in range(70)) + b"\0"),
    "version 2": packet(struct.pack("!I", 2 << 16) + b"x" * 288),
    "version 4": packet(struct.pack("!I", 4 << 16) + b"user\0x\0\0"),
    "version 0": packet(struct.pack("!I", 0) + b"user\0x\0\0"),
    "replication": p.startup({"user": "x", "replication": "true"}),
    "database replication": p.startup({"user": "x", "replication": "database"}),
    "SSLRequest too long": packet(struct.pack("!I", 80877103) + b"x"),
    "GSSENCRequest too long": packet(struct.pack("!I", 80877104) + b"xx"),
    "CancelRequest too short": packet(struct.pack("!II", 80877102, 1)),
    "CancelRequest too long": packet(struct.pack("!IIII", 80877102, 1, 2, 3)),
    "CancelRequest": p.cancel_request(1, 2),
}


@pytest.mark.parametrize("name", STARTUPS)
def test_malformed_startup_packets(stage, name):
    wire = stage.bare()
    wire.send(STARTUPS[name])
    with wire:
        messages = ending(wire)
        assert all(m.kind == "E" and m.fields["C"] in PROTOCOL for m in messages), messages


def test_startup_packets_cut_short(stage):
    """Every length of a good one, and then the end or a reset."""
    whole = p.startup({"user": "postgres", "database": stage.database})
    for size in range(len(whole)):
        with stage.bare() as wire:
            wire.send(whole[:size])
            if size % 3 == 0:
                wire.abort()
                continue
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.read_to_end() == []


def test_endless_startup(stage):
    """Requests for encryption without end, and a packet that never ends."""
    with stage.bare() as wire:
        for request in (p.SSL_REQUEST, p.GSSENC_REQUEST):
            wire.send(request)
            assert wire.read_byte() == b"N"
        wire.send(p.SSL_REQUEST)
        assert [m.kind for m in wire.read_to_end()] == ["E"]


@pytest.mark.transparent
@pytest.mark.parametrize("request_", [p.SSL_REQUEST], ids=["SSL"])
def test_plaintext_behind_a_request_for_encryption(stage, request_):
    """In the same segment: whoever stands in between may have put it there. PostgreSQL refuses it, whatever it answers to the request."""
    with stage.bare(timeout=2.0) as wire:
        wire.send(request_ + p.startup({"user": "postgres", "database": stage.database}))
        assert wire.read_byte() == b"N"
        messages = wire.read_to_end()
        assert [m.kind for m in messages] == ["E"], messages
        assert messages[0].fields["C"] == "08P01"


def test_log_lines_cannot_be_forged(stage):
    name = "x\n2026-01-01 ERROR forged line\r\n\x1b[31m"
    with pytest.raises(LoginRefused):
        stage.wire(user=name, password="wrong")
    stage.busbar.wait_log("forged line")
    assert not re.search(r"(?m)^2026-01-01 ERROR forged|\x1b", stage.busbar.log())


@pytest.mark.transparent
@pytest.mark.parametrize("options", ["-c application_name=x\\", "-c geqo=off -c application_name=a\\ b"])
def test_options_with_backslashes(stage, options):
    """A backslash at the end of the options joins nothing to them."""
    with stage.wire(options=options) as wire:
        assert wire.value("SHOW application_name") in ("x", "a b")


# --- the gate: passwords ---

def started(stage, user="postgres"):
    wire = stage.bare()
    wire.send(p.startup({"user": user, "database": stage.database}))
    message = wire.read()
    assert message.kind == "R", message
    return wire


def sasl(first, mechanism=b"SCRAM-SHA-256", length=None):
    return p.frame("p", mechanism + b"\0" + struct.pack("!I", len(first) if length is None else length & 0xffffffff) + first)


FIRST = {
    "empty": p.frame("p"), "NUL": p.frame("p", b"\0"), "clear password": p.password(PASSWORD), "md5": p.password("md5" + "0" * 32),
    "no mechanism": sasl(b"n,,n=,r=abc", b""), "PLUS": sasl(b"p=tls-server-end-point,,n=,r=abc", b"SCRAM-SHA-256-PLUS"), "other": sasl(b"n,,n=,r=abc", b"PLAIN"),
    "lower case": sasl(b"n,,n=,r=abc", b"scram-sha-256"), "no data": sasl(b"", length=-1), "length too small": sasl(b"n,,n=,r=abc", length=3),
    "length too large": sasl(b"n,,n=,r=abc", length=5000), "length huge": sasl(b"n,,n=,r=abc", length=0x7fffffff), "length missing": p.frame("p", b"SCRAM-SHA-256\0"),
    "nothing in it": sasl(b""), "no nonce": sasl(b"n,,n="), "empty nonce": sasl(b"n,,n=,r="), "no name": sasl(b"n,,r=abc"), "no header": sasl(b"n=,r=abc"),
    "binding": sasl(b"p=tls-unique,,n=,r=abc"), "unknown binding flag": sasl(b"x,,n=,r=abc"), "claims no binding here": sasl(b"y"), "authzid": sasl(b"n,a=other,n=,r=abc"),
    "mandatory extension": sasl(b"n,,m=x,n=,r=abc"), "commas": sasl(b"," * 1000), "NUL in the nonce": sasl(b"n,,n=,r=a\0bc"), "nonce of 8 bit": sasl(b"n,,n=,r=\xff\xfe"),
    "nonce of spaces": sasl(b"n,,n=,r=a b"), "wrong order": sasl(b"n,,r=abc,n="), "4 kB": sasl(b"n,,n=,r=" + b"a" * 4000), "too long": sasl(b"n,,n=,r=" + b"a" * 5000),
    "Query": p.query("SELECT 1"), "Parse": p.parse("", "SELECT 1"), "Sync": p.sync(), "Terminate": p.terminate(), "type 0": b"\0\0\0\0\4",
    "length 3": b"p\0\0\0\3", "length 0": b"p\0\0\0\0", "length negative": b"p\xff\xff\xff\xff", "length of 1 GB": b"p\x40\0\0\0" + b"x" * 5000, "startup again": p.startup({"user": "x"}),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_password_message_of_the_wrong_shape(stage, name):
    with started(stage) as wire:
        wire.send(FIRST[name])
        if name == "4 kB":
            wire.socket.shutdown(socket.SHUT_WR)  # may be well formed: what then follows is its end
        messages = wire.read_to_end()
        assert all(m.kind == "R" or (m.kind == "E" and m.fields["C"] in PROTOCOL) for m in messages), messages
        assert name == "4 kB" or messages[-1:] and messages[-1].kind == "E", messages


FINAL = {
    "empty": lambda good: b"", "no proof": lambda good: good.rsplit(b",p=", 1)[0], "empty proof": lambda good: good.rsplit(b",p=", 1)[0] + b",p=",
    "short proof": lambda good: good[:-8], "zero proof": lambda good: good.rsplit(b",p=", 1)[0] + b",p=" + b"A" * 43 + b"=", "long proof": lambda good: good + b"AAAA",
    "no base64": lambda good: good[:-4] + b"!!!=", "8 bit": lambda good: good[:-4] + b"\xff\xfe\xfd=", "NUL": lambda good: good + b"\0", "NUL inside": lambda good: good.replace(b",p=", b"\0,p="),
    "other nonce": lambda good: re.sub(rb"r=.", b"r=!", good), "shorter nonce": lambda good: re.sub(rb"r=[^,]*", b"r=a", good), "no nonce": lambda good: re.sub(rb"r=[^,]*,", b"", good),
    "other binding": lambda good: good.replace(b"c=biws", b"c=eSws"), "no binding": lambda good: good.replace(b"c=biws,", b""), "doubled": lambda good: good + b"," + good, "comma": lambda good: good + b",",
    "extension": lambda good: good.replace(b",p=", b",x=y,p="), "megabyte": lambda good: good + b"A" * MEGABYTE,
}


@pytest.mark.parametrize("name", FINAL)
def test_last_password_message_of_the_wrong_shape(stage, name):
    """Nothing but the right proof lets in. An extension is allowed by RFC 5802, but changes what is signed."""
    with started(stage) as wire:
        scram = ScramClient(PASSWORD)
        wire.send(sasl(scram.first()))
        wire.send(p.frame("p", FINAL[name](scram.final(wire.read().body[4:]))))
        messages = ending(wire, *PROTOCOL)
        assert [m.kind for m in messages] == ["E"]


def test_passwords_cut_short(stage):
    """The whole login, cut at every byte of what the client says."""
    for cut in range(0, 130, 7):
        with started(stage) as wire:
            scram = ScramClient(PASSWORD)
            wire.send(sasl(scram.first())[:cut])
            wire.socket.shutdown(socket.SHUT_WR)
            assert all(m.kind == "R" for m in wire.read_to_end())


@pytest.mark.parametrize("answer", ["", "md5", "md5" + "g" * 32, "md5" + "0" * 31, "md5" + "0" * 33, "MD5" + "0" * 32, "md5" + "0" * 4000, PASSWORD, "\xff" * 40])
def test_md5_answers_of_the_wrong_shape(make_busbar, cluster, database, answer, md5=[]):
    busbar = make_busbar(cluster.url(database), dbname=database, BUSBAR_PROXY_AUTH="md5") if not md5 else md5[0]
    for data in (p.password(answer), p.frame("p", answer.encode()), p.password(answer + "\0x")):
        with Wire(busbar.host, busbar.port) as wire:
            wire.send(p.startup({"user": "postgres"}))
            assert wire.read().auth == 5
            wire.send(data)
            assert [m.fields["C"] for m in ending(wire, "28P01")] == ["28P01"]


def test_messages_before_the_login_is_complete(stage):
    """Behind the start-up packet they are refused; behind the last password message they wait for their turn."""
    with stage.bare() as wire:
        wire.send(p.startup({"user": "postgres", "database": stage.database}) + p.query("SELECT 1"))
        assert wire.read().kind == "R"
        ending(wire, "08P01")
    with started(stage) as wire:
        scram = ScramClient(PASSWORD)
        wire.send(sasl(scram.first()))
        wire.send(p.frame("p", scram.final(wire.read().body[4:])) + p.query("SELECT 'early'") + p.query("SELECT 'bird'"))
        assert wire.read_until("Z")[-1].status == "I"
        assert wire.result().rows == [["early"]] and wire.result().rows == [["bird"]]


def test_a_flood_before_the_login_is_complete(stage):
    """Three times 10 MB while Busbar still logs in upstream: held back by TCP or refused, not kept."""
    for _ in range(3):
        with started(stage) as wire:
            scram = ScramClient(PASSWORD)
            wire.send(sasl(scram.first()))
            data = p.frame("p", scram.final(wire.read().body[4:])) + p.query("SELECT 'x" + "x" * (10 * MEGABYTE) + "'")
            sender = threading.Thread(target=lambda w=wire, d=data: w.send(d), daemon=True)
            sender.start()
            seen = wire.read_until("E", "D")
            assert seen[-1].kind == "D" or seen[-1].fields["C"] == "08P01"
            sender.join(10)


# --- in the session: framing ---

@pytest.mark.parametrize("length", [0, 3, 0x40000001, 0x7fffffff, 0x80000000, 0xffffffff])
def test_lengths_that_cannot_be(stage, length):
    for kind in "QPBDECSHFdcfX":
        with stage.wire() as wire:
            wire.send(p.query("SELECT 1") + kind.encode() + struct.pack("!I", length) + b"\0" * 20)
            ending(wire, "08P01")


def test_unknown_message_types(stage):
    known = b"QPBDECSHFdcfX"
    for kind in [b for b in range(0, 256, 7) if b not in known] + [ord("p"), ord("Z"), ord("T"), ord("R")]:
        with stage.wire() as wire:
            wire.send(bytes([kind]) + b"\0\0\0\4")
            ending(wire, "08P01")


@pytest.mark.transparent
@pytest.mark.parametrize("kind", "QPBDECSHF")
def test_long_lengths_of_short_messages(stage, kind):
    """100,000 bytes that never come, or come: as PostgreSQL, an error or a close, and what is inside is not taken for messages."""
    with stage.wire() as wire:
        inside = p.query("SELECT 'smuggled'")
        body = inside * (100_000 // len(inside)) + b"\0" * (100_000 % len(inside))
        try:
            wire.send(p.frame(kind, body) + p.sync())
            messages = wire.read_until("Z")
        except (Closed, ConnectionResetError, BrokenPipeError):
            messages = []
        assert not [m for m in messages if m.kind == "D"], "a message was made of another one's body"


MALFORMED = {
    "Query without NUL": p.frame("Q", b"SELECT 1"), "empty Query": p.frame("Q"), "DDL without NUL": p.frame("Q", b"CREATE TABLE x (a int)"),
    "empty Parse": p.frame("P"), "Parse without NUL": p.frame("P", b"abc"), "Parse without a text": p.frame("P", b"abc\0"), "Parse without types": p.frame("P", b"\0SELECT 1\0"),
    "Parse of too many types": p.frame("P", b"\0SELECT 1\0\xff\xff"), "DDL Parse of too many types": p.frame("P", b"\0CREATE TABLE x (a int)\0\xff\xff"), "DDL Parse without types": p.frame("P", b"\0COMMIT\0"),
    "empty Bind": p.frame("B"), "Bind without NUL": p.frame("B", b"abc"), "Bind of too many values": p.frame("B", b"\0\0\0\0\xff\xff"), "Bind value too long": p.frame("B", b"\0\0\0\0\0\1\x7f\xff\xff\xff"),
    "Bind value of length -2": p.frame("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), "empty Describe": p.frame("D"), "Describe of what": p.frame("D", b"Z\0"), "Describe without NUL": p.frame("D", b"Sabc"),
    "empty Execute": p.frame("E"), "Execute without rows": p.frame("E", b"\0"), "Execute without NUL": p.frame("E", b"abc"), "empty Close": p.frame("C"), "Close of what": p.frame("C", b"Z\0"),
    "Close without NUL": p.frame("C", b"Sabc"), "Sync with a body": p.frame("S", b"body"), "Flush with a body": p.frame("H", b"body"), "empty FunctionCall": p.frame("F"), "FunctionCall cut short": p.frame("F", b"\0\0\5\x75\0\1"),
    "CopyData outside COPY": p.copy_data(b"x"), "CopyDone outside COPY": p.copy_done(), "CopyFail outside COPY": p.copy_fail("x"), "CopyFail without NUL": p.frame("f", b"x"),
}


@pytest.mark.transparent
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(stage, name):
    """With and without a special statement and an open transaction around: an error and then in step, or a close. No hang."""
    for setup in (b"", p.query("BEGIN") + p.parse("s", "COMMIT") + p.bind("po", "s") + p.sync()):
        with stage.wire() as wire:
            wire.send(setup + MALFORMED[name] + p.sync() + p.query("SELECT 'in step'"))
            try:
                while True:
                    messages = wire.read_until("Z", "D")
                    if messages[-1].kind == "D":
                        assert messages[-1].values == [b"in step"]
                        break
                    if "current transaction is aborted" in str(messages):
                        break
            except (Closed, ConnectionResetError):
                pass


@pytest.mark.transparent
@pytest.mark.parametrize("sql,code", [
    (b"SELECT '\xff'", "22021"), (b"SELECT 1\0; DROP TABLE x", "08P01"), (b"\0SELECT 1", "08P01"), (b"SELECT \xc0\x80", "22021"), (b"SELECT '\xed\xa0\x80'", "22021"), (b"\xff", "22021"),
    (b"CREATE TABLE \xff (a int)", "22021"), (b"CREATE TABLE x (a int)\0", "08P01"), (b"CREATE TABLE x\0 (a int)", "08P01"), (b"BEGIN\0", "08P01"), (b"ALTER TABLE x\xfe ENABLE ELECTRIC", "22021"), (b"DO $$\xff$$", "22021"),
    (b"COMMIT\xff", "22021"), (b"/*\xff*/ CREATE TABLE x (a int)", "22021"), (b"CREATE TABLE x (a int); \xff", "22021"), (b"CREATE TABLE x (a int, b text DEFAULT '\xff')", "22021")])
def test_nul_and_invalid_utf8_in_statements(stage, sql, code):
    with stage.wire() as wire:
        assert wire.query(sql).error["C"] == code
        assert wire.value("SELECT 1") == "1"
        if b"\0" not in sql:
            assert wire.send(p.parse("", sql) + p.sync()).result().error["C"] == code
            assert wire.value("SELECT 1") == "1"


@pytest.mark.transparent
@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xc0\x80", b"a\nb", b"'; DROP", b"x" * 200, b"_busbar", b"y" * 2000])
@pytest.mark.parametrize("sql", ["SELECT 1", "COMMIT", "CREATE TEMP TABLE IF NOT EXISTS temporary (a int)"])
def test_strange_names(stage, name, sql):
    """Of statements and portals: as PostgreSQL has it. Invalid UTF-8 is an error, all else is a name."""
    with stage.wire() as wire:
        result = wire.send(p.parse(name, sql) + p.bind(name, name) + p.execute(name) + p.close("P", name) + p.close("S", name) + p.sync()).result()
        if name[0] in (0xff, 0xc0):
            assert result.error["C"] == "22021"
        else:
            result.ok()
            assert result.kinds[-4:] == "C33Z"
        assert wire.value("SELECT 1") == "1"


def test_names_that_postgresql_cuts_short(stage):
    """PostgreSQL compares 63 bytes of a statement's name: what one spelling prepared the other runs, COMMIT of a migration included."""
    table, before = stage.electrified(), stage.versions
    with stage.wire() as wire:
        wire.send(p.parse("n" * 63 + "one", "COMMIT") + p.sync()).result().ok()
        wire.query("BEGIN").ok()
        wire.query(f"ALTER TABLE {table} ADD COLUMN x text").ok()
        wire.send(p.bind("", "n" * 63 + "two") + p.execute() + p.sync()).result().ok()
    assert stage.versions == before + 1 and "x" in stage.columns(table)


def test_a_failed_parse_leaves_the_name_alone(stage):
    """The name still stands for COMMIT, which has a migration to record."""
    table = stage.electrified()
    before = stage.versions
    with stage.wire() as wire:
        wire.send(p.parse("s", "COMMIT") + p.sync()).result().ok()
        assert wire.send(p.parse("s", "SELECT 1") + p.sync()).result().error["C"] == "42P05"
        wire.query("BEGIN").ok()
        wire.query(f"ALTER TABLE {table} ADD COLUMN x text").ok()
        wire.send(p.bind("", "s") + p.execute() + p.sync()).result().ok()
    assert stage.versions == before + 1 and "x" in stage.columns(table)


# --- at the limits ---

def padded(head, size, tail="", extra=0):
    """A statement whose message (``extra`` bytes of it are not text) is ``size`` bytes long."""
    text = head + "/*" + "." * (size - extra - len(head) - len(tail) - 4) + "*/" + tail
    assert len(text) + extra == size
    return text


QUERY, PARSE = 6, 9  # bytes of the message that are not text: head, NULs, number of types


def around(wire, sql, extended):
    return wire.extended(sql) if extended else wire.query(sql)


@pytest.mark.parametrize("extended", [False, True], ids=["Query", "Parse"])
def test_statements_around_the_limit_of_what_is_looked_at(stage, extended):
    """LIMIT_PEEK as size of the message and of the text, one more, one less; comments behind and in front."""
    table, number = stage.electrified(), 0
    extra = PARSE if extended else QUERY
    with stage.wire() as wire:
        for size in (PEEK - 1, PEEK, PEEK + 1, PEEK + extra - 1, PEEK + extra, PEEK + extra + 1, PEEK + 5):
            assert around(wire, padded("SELECT 7 ", size, extra=extra), extended).ok().rows == [["7"]]
            assert around(wire, padded("", size, "SELECT 8", extra=extra), extended).ok().rows == [["8"]]
            for head, tail in (("ALTER TABLE {} ADD COLUMN c{} text", ""), ("", "ALTER TABLE {} ADD COLUMN c{} text")):
                number += 1
                before = stage.versions
                around(wire, padded(head.format(table, number), size, tail.format(table, number), extra), extended).ok()
                assert stage.versions == before + 1, (size, head)
    assert len(stage.columns(table)) == 2 + number


@pytest.mark.parametrize("size", [PEEK - 1, PEEK, PEEK + 1, PEEK + QUERY, 3 * PEEK])
def test_ddl_far_behind_an_ordinary_statement(stage, size):
    """Looked at or streamed: it is recorded, or refused and not there (UB003)."""
    table, before = stage.electrified(), stage.versions
    with stage.wire() as wire:
        result = wire.query(padded("SELECT 1; ", size, f"; ALTER TABLE {table} ADD COLUMN x text", QUERY))
        assert result.status == "I"
        if result.errors:
            assert size > PEEK and result.error["C"] == "UB003"
            assert stage.columns(table) == ["id", "v"]
        else:
            assert "x" in stage.columns(table)
        assert stage.versions == before + (not result.errors)


@pytest.mark.parametrize("extended", [False, True], ids=["Query", "Parse"])
def test_splits_of_messages_at_the_limit(stage, extended):
    """Wherever TCP cuts: in the head, in the name, before, at and behind LIMIT_PEEK, before the last byte, at several."""
    table, number = stage.electrified(), 0
    name = "statement" if extended else ""
    extra = PARSE + len(name) if extended else QUERY
    with stage.wire() as wire:
        for size in (300, PEEK, PEEK + 1):
            for cuts in ((1,), (4,), (5,), (6,), (9, 14), (size - 1,), (PEEK - 1,), (PEEK,), (1, 2, 3, 4, 5, 6, 7, 8), (5, size // 2, size - 1)):
                if cuts[-1] >= size:
                    continue
                for ordinary in (True, False):
                    number += 1
                    head = "SELECT 1 " if ordinary else f"ALTER TABLE {table} ADD COLUMN c{number} text "
                    sql = padded(head, size, extra=extra)
                    data = p.parse(name, sql) if extended else p.query(sql)
                    assert len(data) == size
                    rest = (p.bind("", name) + p.execute() + p.close("S", name) + p.sync()) if extended else b""
                    bounds = (0, *cuts, size)
                    stage.send_apart(wire, [data[a:b] for a, b in zip(bounds, bounds[1:])])
                    wire.send(rest)
                    wire.result().ok()
                    assert ordinary or stage.columns(table)[-1] == f"c{number}"
    with stage.admin() as conn:
        assert conn.execute("SELECT count(*) FROM busbar.pending").fetchone() == (0,)


def test_ten_thousand_statements_in_one_query(stage):
    table, before = stage.electrified(), stage.versions
    with stage.wire() as wire:
        result = wire.query(f"ALTER TABLE {table} ADD COLUMN x text;" + "SELECT 1;" * 9998 + f"ALTER TABLE {table} ADD COLUMN y text;").ok()
        assert len(result.tags) == 10_000 and result.kinds[-2:] == "CZ"
        assert stage.columns(table) == ["id", "v", "x", "y"]
        result = wire.query("BEGIN;COMMIT;" * 1000 + f"ALTER TABLE {table} ADD COLUMN z text;" + "BEGIN;ROLLBACK;" * 1000).ok()
        assert len(result.tags) == 4001 and result.status == "I"
    assert stage.versions == before + 1 and "z" not in stage.columns(table)  # BEGIN took it in, ROLLBACK undid it


def test_too_many_statements_in_one_query(stage):
    with stage.wire() as wire:
        wire.send(p.query("CREATE TABLE never (a int);" + "COMMIT;" * 100_000))
        ending(wire, "54000")
    assert stage.value("SELECT to_regclass('never') IS NULL")


@pytest.mark.transparent
def test_deep_nesting(stage):
    """Comments are counted, not recursed into; parentheses and operators are PostgreSQL's to refuse."""
    with stage.wire() as wire:
        deep = "/* " * 100_000 + "*/ " * 100_000  # with blanks: PostgreSQL's own scanner is quadratic without
        assert wire.query(deep + "SELECT 1").ok().rows == [["1"]]
        assert wire.query("CREATE TEMP TABLE n (a int)" + deep).ok().tags == ["CREATE TABLE"]
        assert wire.query("CREATE TEMP TABLE m (a int)" + deep[:-3]).error["C"] == "42601"
        for nested in ("(" * 20_000 + "a" + ")" * 20_000 + "> 0", "+".join(["a"] * 50_000) + "> 0", "NOT " * 20_000 + "true", "a" + "::int" * 20_000 + "> 0", "- " * 20_000 + "a > 0"):
            assert wire.query(f"ALTER TABLE n ADD CHECK ({nested})").error["C"] in ("54001", "42601", "54000")
        assert wire.query("CREATE FUNCTION pg_temp.f() RETURNS int BEGIN ATOMIC " + "SELECT CASE WHEN true THEN 1 END;" * 1000 + " END").ok()


def processor_seconds(busbar):
    with open(f"/proc/{busbar.process.pid}/stat", encoding="ascii") as stat:
        return sum(int(word) for word in stat.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")


def test_an_endless_comment_does_not_hinder_others(stage):
    """What may yet turn out to be DDL is not read from its start again with each piece: four times the length costs four times
    the time (twice that, for noise), not sixteen. The loop is everybody's."""
    with stage.wire() as wire:
        spent = []
        for size in (2 * MEGABYTE, 8 * MEGABYTE):
            before = processor_seconds(stage.busbar)
            assert wire.query("/*" + " " * size + "*/ SELECT 1").ok().rows == [["1"]]
            spent.append(processor_seconds(stage.busbar) - before)
        assert spent[1] < 8 * max(spent[0], 0.05), spent


@bound(200 * MEGABYTE)
def test_a_migration_text_above_the_limit(stage):
    """64 MiB that must be read whole: refused when it gets longer, without waiting for the rest."""
    with stage.wire(timeout=20) as wire:
        try:
            wire.send(b"Q" + struct.pack("!I", 200 * MEGABYTE) + b"CREATE TABLE x (a int) --" + b"x" * (70 * MEGABYTE))
        except (ConnectionResetError, BrokenPipeError):
            pass
        messages = wire.read_to_end()
        assert not messages or messages[-1].fields["C"] == "54000"


@bound(256 * MEGABYTE)
def test_too_many_prepared_statements(stage):
    """100,001 statements that must be remembered: the last is refused with 53400."""
    with stage.wire() as wire:
        failed = []

        def send():
            try:
                for start in range(0, 100_001, 1000):
                    wire.send(b"".join(p.parse(f"s{n}", "COMMIT") for n in range(start, min(start + 1000, 100_001))) + p.flush())
            except OSError as error:
                failed.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        messages = wire.read_to_end()
        sender.join(10)
        assert messages[-1].kind == "E" and messages[-1].fields["C"] == "53400"


@bound(256 * MEGABYTE)
def test_portals_that_are_gone_do_not_count(stage):
    """A portal ends with its transaction. 100,100 portals with names of their own, one at a time, are one portal each time."""
    with stage.wire() as wire:
        wire.send(p.parse("s", "SAVEPOINT a") + p.parse("t", "COMMIT") + p.sync()).result().ok()
        for start in range(0, 100_100, 1100):
            wire.send(b"".join(p.bind(f"p{n}", "t") for n in range(start, start + 1100)) + p.sync())
            assert not wire.result().errors


@bound(100 * MEGABYTE)
def test_names_of_portals_are_bounded(stage):
    """LIMIT_NAME is 1 kB: 3,000 portals with names of 60 kB are not 180 MB of memory."""
    with stage.wire() as wire:
        wire.send(p.parse("s", "COMMIT") + p.sync()).result().ok()
        for n in range(3000):
            wire.send(p.bind(f"{n:06}" + "p" * 60_000, "s") + (p.sync() if n % 50 == 49 else b""))
            if n % 50 == 49:
                try:
                    wire.result()
                except (Closed, ConnectionResetError):
                    break


@pytest.mark.parametrize("message", [p.sync(), p.query(""), p.close("S", "x") + p.flush(), p.copy_done()], ids=["Sync", "Query", "Close", "CopyDone"])
def test_a_million_messages_without_reading_the_answers(stage, message):
    """Held back, or closed with 53400."""
    wire = stage.wire()
    wire.socket.settimeout(1.0)
    block, sent = message * 10_000, 0
    try:
        while sent < 1_200_000:
            wire.socket.sendall(block)
            sent += 10_000
    except (socket.timeout, ConnectionResetError, BrokenPipeError):
        pass
    with stage.wire() as other:
        assert other.value("SELECT 1") == "1"
    wire.abort()


@pytest.mark.transparent
def test_answers_behind_a_command_tag_that_is_held(stage):
    """450,000 CloseComplete in the batch of a DDL statement: none is lost."""
    with stage.wire() as wire:
        count = 450_000
        wire.send(p.parse("", "CREATE TEMP TABLE held (a int)") + p.bind("", "") + p.execute())
        sender = threading.Thread(target=lambda: wire.send(p.close("P", "none") * count + p.sync()), daemon=True)
        sender.start()
        result = wire.result().ok()
        sender.join(10)
        assert result.kinds == "12C" + "3" * count + "Z"


# --- errors larger than what is looked at ---

BIG_ERROR = "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 1200000); END $$"


@pytest.mark.transparent
def test_nothing_runs_after_an_error_of_more_than_a_megabyte(stage):
    """An error ends its Query, however long its text."""
    with stage.wire() as wire:
        wire.query("DROP TABLE IF EXISTS big_a, big_b")
        result = wire.query(f"CREATE TABLE big_a (a int); {BIG_ERROR}; COMMIT; CREATE TABLE big_b (a int)")
        assert result.kinds == "CEZ" and result.status == "I", result.kinds
        assert wire.query("SELECT to_regclass('big_a'), to_regclass('big_b')").rows == [[None, None]]


@pytest.mark.transparent
def test_copy_that_fails_with_an_error_of_more_than_a_megabyte(stage):
    """After COPY has failed Sync is answered again, and DDL in a batch is committed by it."""
    with stage.wire() as wire:
        wire.query("DROP TABLE IF EXISTS big_c, big_d; CREATE TABLE big_c (a text);"
                   "CREATE OR REPLACE FUNCTION big_error() RETURNS trigger LANGUAGE plpgsql AS"
                   " $$ BEGIN RAISE EXCEPTION '%', repeat('x', 1200000); END $$;"
                   "CREATE TRIGGER big BEFORE INSERT ON big_c EXECUTE FUNCTION big_error()").ok()
        wire.send(p.query("COPY big_c FROM STDIN")).read_until("G")
        messages = wire.send(p.copy_data(b"x\n")).read_until("Z")
        assert [m.kind for m in messages] == ["E", "Z"]
        result = wire.send(p.parse("", "CREATE TABLE big_d (a int)") + p.bind("", "") + p.execute() + p.sync()).result().ok()
        assert result.tags == ["CREATE TABLE"] and result.status == "I"
        assert wire.query("SELECT count(*) FROM big_d").ok().rows == [["0"]]


# --- many and slow ---

def test_slow_clients_do_not_hinder_others(stage):
    """300 connections that send their start-up packet byte by byte, and never all of it."""
    data = p.startup({"user": "postgres", "database": stage.database})
    slow = [stage.bare() for _ in range(300)]
    try:
        for n in range(20):
            for wire in slow:
                wire.send(data[n:n + 1])
            with stage.wire(timeout=3.0) as wire:
                assert wire.value("SELECT 1") == "1"
        for wire in slow:
            wire.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                wire.socket.recv(1)
    finally:
        for wire in slow:
            wire.close()


@pytest.mark.transparent
def test_byte_by_byte(stage):
    """A whole conversation, each byte read before the next is sent: slow, not wrong."""
    with stage.wire() as wire:
        data = p.query("SELECT 1") + p.one_group("SELECT $1::text", ["x"]) + p.query("CREATE TEMP TABLE slow (a int)") + p.one_group("DROP TABLE slow")
        stage.send_apart(wire, [data[n:n + 1] for n in range(len(data))])
        assert [wire.result().ok().tags for _ in range(4)] == [["SELECT 1"], ["SELECT 1"], ["CREATE TABLE"], ["DROP TABLE"]]


def test_a_flood_of_cancel_requests(stage):
    """Wrong keys cancel nothing: random ones, the right process with wrong secrets, half a request."""
    rng = random.Random(3)
    with stage.wire() as wire, stage.wire() as lock:
        pid, secret = wire.key
        lock.query("SELECT pg_advisory_lock(7)").ok()
        wire.send(p.query("SELECT pg_advisory_lock(7), 'done'"))
        for n in range(300):
            key = (pid, secret ^ (1 << n % 32)) if n % 2 else (rng.getrandbits(31), rng.getrandbits(32))
            assert cancel(stage.endpoint, key) == b""
        for cut in range(1, 16, 3):
            with stage.bare() as half:
                half.send(p.cancel_request(pid, secret)[:cut])
        lock.query("SELECT pg_advisory_unlock(7)").ok()
        assert wire.result().ok().rows[0][1] == "done"


def test_five_hundred_connections_at_once(stage):
    """PostgreSQL takes a hundred: each of the others hears of it, and then all is as before."""
    wires, outcomes = [stage.bare(20.0) for _ in range(500)], []

    def log_in(some):
        for wire in some:
            try:
                wire.start({"user": "postgres", "database": stage.database}, PASSWORD)
                outcomes.append("in")
            except LoginRefused as refused:
                outcomes.append(refused.fields["C"])
            except (Closed, OSError) as error:
                outcomes.append(repr(error))

    threads = [threading.Thread(target=log_in, args=(wires[n::20],), daemon=True) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for wire in wires:
        wire.close()
    assert len(outcomes) == 500 and set(outcomes) <= {"in", "53300"}, set(outcomes)
    assert 50 <= outcomes.count("in") <= 100
    wait_until(lambda: not stage.backends(), "the backends to go")


# --- ends ---

@pytest.mark.transparent
@pytest.mark.parametrize("ask,tag", [
    (p.query("SELECT 1"), "SELECT 1"), (p.one_group("SELECT 1"), "SELECT 1"), (p.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"), "SELECT 20000"),
    (p.query("SELECT pg_sleep(0.2)"), "SELECT 1"), (p.query("CREATE TEMP TABLE half (a int)"), "CREATE TABLE"), (p.one_group("CREATE TEMP TABLE half (a int)"), "CREATE TABLE"),
    (p.query("BEGIN") + p.query("CREATE TEMP TABLE half (a int)") + p.query("COMMIT"), "COMMIT"), (p.query("SELECT 1") * 1000, "SELECT 1")],
    ids=["simple", "extended", "20 MB", "slow", "ddl", "ddl batch", "transaction", "pipeline"])
def test_half_closed_sockets(stage, ask, tag):
    """The client says that it will say no more: what it has asked is answered, and then comes the close."""
    with stage.wire() as wire:
        wire.send(ask)
        wire.socket.shutdown(socket.SHUT_WR)
        messages = wire.read_to_end()
        assert [m.kind for m in messages if m.kind == "E"] == []
        done = [m.tag for m in messages if m.kind == "C"]
        assert done and done[-1] == tag and messages[-1].kind == "Z", [m.kind for m in messages[-5:]]


def test_resets_in_the_middle_of_everything(stage):
    table = stage.electrified()
    before = stage.versions
    big = "x" * (300 * 1024)
    scenes = {
        "in a head": [b"Q\0\0"], "in a Query": [p.query(f"SELECT '{big}'")[:-1000]], "in a DDL text": [p.query(f"CREATE TABLE r (a int) --{big}")[:-1000]],
        "in a Bind": [p.parse("", "SELECT $1::text") + p.bind("", "", [big])[:-1000]], "in a result": [p.query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"), "T"],
        "in COPY": [p.query("CREATE TEMP TABLE r (a text); COPY r FROM STDIN"), "G", p.copy_data(b"row\n") + b"d\0\0\1\0half"], "in COPY out": [p.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 50000)) TO STDOUT"), "H"],
        "in a batch": [p.parse("", f"ALTER TABLE {table} ADD COLUMN r text") + p.bind("", "") + p.execute() + p.flush(), "2"],
        "in a transaction": [p.query("BEGIN") + p.query(f"ALTER TABLE {table} ADD COLUMN r text"), "Z"], "while it sleeps": [p.query("SELECT pg_sleep(0.3)")],
        "in a failed one": [p.query("BEGIN") + p.query("SELECT 1/0"), "E"], "behind Terminate": [p.query("SELECT 1") + p.terminate() + b"garbage"],
    }
    for name, steps in scenes.items():
        wire = stage.wire()
        for step in steps:
            wire.read_until(step) if isinstance(step, str) else wire.send(step)
        wire.abort()
        wait_until(lambda: not stage.backends(), f"the backend to go after a reset {name}")
    assert stage.columns(table) == ["id", "v"] and stage.versions == before
    assert stage.value("SELECT count(*) FROM busbar.pending") == 0


def test_clients_that_never_read(stage):
    """Thirty results of 30 MB that nobody takes; then each client sends what is no message, and is rid of within seconds."""
    folder = f"/proc/{stage.busbar.process.pid}/fd"
    before = len(os.listdir(folder))
    wires = [stage.wire() for _ in range(30)]
    for wire in wires:
        wire.send(p.query("SELECT repeat('x', 10000) FROM generate_series(1, 3000)"))
    with stage.admin() as conn:
        wait_until(lambda: conn.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = %s", [stage.database]).fetchone()[0] == 30,
                   "PostgreSQL to wait for its clients")
    for wire in wires:
        wire.send(b"!\0\0\0\4")
    wait_until(lambda: not stage.backends(), "the backends to go", timeout=3)
    wait_until(lambda: len(os.listdir(folder)) < before + 10, "the sockets to be closed", timeout=8)
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("text", ["busbar.pending", "busbar.record", "COMMIT"])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_vanishes_while_its_migration_is_recorded(stage, text, how):
    """At each step of ours: recorded with its DDL, or neither; the next migration does not wait for anything."""
    table, before = stage.electrified(), stage.versions
    before = stage.versions
    reached, released = threading.Event(), threading.Event()

    def hold(connection, _number, message):
        if message.kind == "P" and text in message.sql and connection.is_session and not reached.is_set():
            reached.set()
            released.wait(10)

    wire = stage.wire()
    stage.relay.on_frontend = hold
    wire.send(p.query(f"ALTER TABLE {table} ADD COLUMN gone text"))
    assert reached.wait(10)
    wire.abort() if how == "abort" else wire.close()
    connection = stage.relay.sessions[-1]
    stage.relay.on_frontend = None
    released.set()
    wait_until(lambda: not stage.backends(), "the backend to go")
    assert connection.closed.wait(10)
    assert ("gone" in stage.columns(table)) == (stage.versions == before + 1)
    assert stage.value("SELECT count(*) FROM busbar.pending") == 0
    with stage.wire(timeout=5) as wire:
        wire.query(f"ALTER TABLE {table} ADD COLUMN next text").ok()
