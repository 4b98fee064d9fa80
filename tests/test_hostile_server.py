# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL that breaks the protocol: a clear error or a clean close for that client, and nobody else is harmed.

The fake stands between Busbar and a real PostgreSQL and misbehaves for client sessions only.
"""

import json
import re
import socket
import struct
import threading

import pytest

from harness import fake_server as f
from harness import protocol as p
from harness.busbar import _FAULTS, Busbar
from harness.wait import wait_until
from harness.wire import Closed, LoginRefused

MEGABYTE = 1 << 20
BOUND = 48 * MEGABYTE  # peak above rest, of a sanitized build, unless a test says otherwise


def memory(busbar, field="VmRSS"):
    with open(f"/proc/{busbar.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


class Stage:
    """A Busbar behind the fake server. Leaving ``with stage.bounded()`` judges what was played."""

    def __init__(self, busbar, fake, cluster, database):
        self.busbar, self.fake, self.cluster, self.database = busbar, fake, cluster, database
        self.tables, self.table, self.before = 0, None, 0

    def play(self, script, logged_in=True):
        def whole(peer):
            if logged_in:
                peer.log_in()
            script(peer)
            peer.drain()
        self.fake.script = whole

    def bounded(self, bound=BOUND):
        return _Verdict(self, bound)

    def backends(self):
        with self.cluster.connect() as conn:
            return conn.execute("SELECT pid, state, query FROM pg_stat_activity WHERE datname = %s AND application_name NOT ILIKE 'busbar%%'"
                                " AND backend_type = 'client backend'", [self.database]).fetchall()


class _Verdict:
    def __init__(self, stage, bound):
        self.stage, self.bound = stage, bound

    def __enter__(self):
        pid = self.stage.busbar.process.pid
        with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")
        self.before = memory(self.stage.busbar)
        return self

    def __exit__(self, kind, *_):
        stage = self.stage
        stage.fake.script = stage.fake.rewrite = None
        if kind:
            return
        growth = memory(stage.busbar, "VmHWM") - self.before
        assert growth < self.bound, f"memory grew by {growth >> 20} MB"
        fault = _FAULTS.search(stage.busbar.log())
        assert not fault, fault
        assert stage.busbar.process.poll() is None, "Busbar has ended"
        with stage.busbar.wire() as wire:
            assert wire.value("SELECT 42") == "42"
        wait_until(lambda: not stage.backends(), "every backend of a client to be gone")


@pytest.fixture(scope="module")
def stage(cluster):
    """One for all: what a test did to Busbar shows in the tests after it at the latest."""
    database = cluster.create_database()
    fake = f.FakeServer(cluster.port)
    busbar = Busbar(cluster.url(database, port=fake.port), dbname=database)
    try:
        yield Stage(busbar.start(), fake, cluster, database)
        busbar.check()
    finally:
        busbar.discard()
        fake.close()
        cluster.drop_database(database)


@pytest.fixture
def migrating(stage):
    """The stage with a fresh table ``t`` electrified."""
    stage.tables += 1
    stage.table = f"t{stage.tables}"
    with stage.busbar.wire() as wire:
        wire.query(f"CREATE TABLE {stage.table} (id int8 PRIMARY KEY, v text)").ok()
        wire.query(f"ALTER TABLE {stage.table} ENABLE ELECTRIC").ok()
    stage.before = versions_of(stage)
    return stage


def end_of(wire, *codes):
    """Messages until the close; the last is an ErrorResponse with one of these codes when any are given."""
    messages = wire.read_to_end()
    if codes:
        assert messages and messages[-1].kind == "E", messages[-3:]
        assert messages[-1].fields["C"] in codes, messages[-1]
    return messages


def columns_of(stage):
    with stage.cluster.connect(stage.database) as conn:
        return [r[0] for r in conn.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
                                           " ORDER BY attnum", [stage.table]).fetchall()]


def versions_of(stage):
    with stage.cluster.connect(stage.database) as conn:
        return conn.execute("SELECT count(*) FROM busbar.migration").fetchone()[0]


HIDDEN = p.frame("1") + p.frame("2") + f.complete("BEGIN") + p.frame("3") * 2  # the answer to a hidden operation without rows


# What is no message at all.

GARBAGE = {
    "zeros": b"\0" * 100,
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "unknown type": p.frame("!", b"x"),
    "frontend type": p.frame("Q", b"SELECT 1\0"),
    "length 0": b"Z\0\0\0\0I",
    "length 3": b"D\0\0\0\3",
    "length just above the limit": b"D" + struct.pack("!I", 0x40000001),
    "length negative": b"D\xff\xff\xff\xff" + b"x" * 50,
    "length of the sign bit": b"E\x80\0\0\0",
    "whole answer, then garbage": f.complete() + f.ready() + b"\xff" * 7,
    "megabyte of noise": bytes((i * 7919 >> 3) & 0xFF | 0x80 for i in range(MEGABYTE)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_the_place_of_an_answer(stage, name):
    stage.play(lambda peer: peer.answer(GARBAGE[name]))
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.send(p.query("SELECT 1"))
        end_of(wire, "08P01")


def test_garbage_unasked(stage):
    """Behind the login, while the client rests: it hears of it without having to ask."""
    answered = threading.Event()
    stage.play(lambda peer: (peer.answer(f.complete() + f.ready()), answered.wait(10), peer.send(b"\0\1\2\3\4\5\6\7")))
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.query("SELECT 1")
        answered.set()
        end_of(wire, "08P01")


def test_a_whole_answer_in_front_of_garbage(stage):
    """What came before in the same segment was in order: the client gets it, then the error."""
    stage.play(lambda peer: peer.answer(f.description("a") + f.row("1") + f.complete() + f.ready() + b"\xff" * 10))
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.send(p.query("SELECT 1"))
        assert "".join(m.kind for m in end_of(wire, "08P01")) == "TDCZE"


@pytest.mark.parametrize("cut", range(1, 12))
def test_closes_in_the_middle_of_a_frame(stage, cut):
    """Head cut, body cut, of messages that are read whole and of such that are not."""
    for data in (f.row("x" * 100_000), f.error("y" * 300), f.complete(), f.ready()):
        def script(peer, data=data):
            peer.answer(f.description("a") + data[:min(cut * cut * cut, len(data) - 1)])
            peer.socket.shutdown(socket.SHUT_RDWR)

        stage.play(script)
        with stage.busbar.wire() as wire:
            wire.send(p.query("SELECT 1"))
            end_of(wire)
    with stage.bounded():
        pass


def test_resets(stage):
    for when in ("login", "query", "row"):
        def script(peer, when=when):
            if when == "login":
                peer.reset()
                return
            peer.log_in()
            peer.read()
            if when == "row":
                peer.send(f.description("a") + f.row("x" * 70_000)[:-1000])
            peer.reset()

        stage.fake.script = script
        if when == "login":
            with pytest.raises(LoginRefused):
                stage.busbar.wire()
            continue
        with stage.busbar.wire() as wire:
            wire.send(p.query("SELECT 1"))
            end_of(wire)
    with stage.bounded():
        pass


LOGINS = {
    "garbage": b"\0\1\2\3\4\5\6\7" * 10,
    "oversized length": b"R\x7f\xff\xff\xff",
    "error without SQLSTATE": f.problem(S="FATAL", M="go away"),
    "error without anything": p.frame("E", b"\0"),
    "error of 1 MB": f.problem(S="FATAL", V="FATAL", C="28000", M="z" * MEGABYTE),
    "error without a terminator": f.problem(end=b"", S="FATAL", C="28000", M="no end"),
    "unknown authentication": p.frame("R", struct.pack("!I", 99)),
    "cut short": f.login()[:60],
    "SASL without mechanisms": p.frame("R", struct.pack("!I", 10) + b"\0"),
    "ready without keys": p.frame("R", struct.pack("!I", 0)) + p.frame("C", b"x\0"),
    "CopyInResponse": f.copy_in(),
    "rows": f.row("a") * 3,
}


@pytest.mark.parametrize("name", LOGINS)
def test_a_login_that_goes_wrong(stage, name):
    def script(peer):
        peer.send(LOGINS[name])
        peer.socket.shutdown(socket.SHUT_WR)

    stage.play(script, logged_in=False)
    with stage.bounded():
        with pytest.raises(LoginRefused) as refused:
            stage.busbar.wire()
        assert re.fullmatch("[0-9A-Z]{5}", refused.value.fields["C"]), refused.value.fields
        assert refused.value.fields["M"]


def test_a_login_that_is_never_answered(stage):
    """The client gives up: nothing of it stays, in Busbar or upstream, and others are served meanwhile."""
    asked = []
    stage.play(lambda peer: asked.append(peer.socket.recv(1)), logged_in=False)
    with stage.bounded():
        wires = []
        for _ in range(20):
            wire = stage.busbar.wire  # the password is checked before the login upstream
            try:
                wire(timeout=0.05)
            except (socket.timeout, TimeoutError):
                wires.append(wire)
        assert len(wires) == 20
        stage.fake.script = None
        with stage.busbar.wire() as other:
            assert other.value("SELECT 1") == "1"
        wait_until(lambda: len(asked) == 20, "Busbar to end the logins of clients that have gone", timeout=30)


# Messages that are well formed and wrong.

UNASKED = {
    "command tag": f.complete(),
    "row": f.row("1"),
    "row description": f.description("a"),
    "ParseComplete": p.frame("1"),
    "BindComplete": p.frame("2"),
    "CloseComplete": p.frame("3"),
    "NoData": p.frame("n"),
    "PortalSuspended": p.frame("s"),
    "EmptyQueryResponse": p.frame("I"),
    "CopyInResponse": f.copy_in(),
    "CopyOutResponse": p.frame("H", b"\0\0\1\0\0"),
    "CopyData": p.frame("d", b"x"),
    "CopyDone": p.frame("c"),
    "FunctionCallResponse": p.frame("V", struct.pack("!i", -1)),
    "BackendKeyData": p.frame("K", b"\0" * 8),
    "password request": p.frame("R", struct.pack("!I", 3)),
    "ReadyForQuery": f.ready(),
    "ReadyForQuery without status": p.frame("Z"),
    "ReadyForQuery with an unknown status": f.ready("?"),
    "ReadyForQuery of five bytes": p.frame("Z", b"IIIII"),
}


@pytest.mark.parametrize("name", UNASKED)
def test_an_answer_that_nobody_asked_for(stage, name):
    """While the client rests, once and a thousand times. "An answer reaches the client that it did not ask for" is what
    never happens (ARCHITECTURE.md): it is dropped, or the session ends with an error."""
    for count in (1, 1000):
        def script(peer, count=count):
            peer.answer(f.description("a") + f.row("1") + f.complete() + f.ready())
            peer.send(UNASKED[name] * count + f.problem("N", S="NOTICE", C="00000", M="end of it"))
            peer.answer(f.description("a") + f.row("2") + f.complete() + f.ready())

        stage.play(script)
        with stage.busbar.wire() as wire:
            assert wire.query("SELECT 1").rows == [["1"]]
            try:
                unasked = wire.read_until("N", "E")[:-1]
                assert unasked == [], f"reached the client: {unasked[:3]}"
                assert wire.query("SELECT 2").rows == [["2"]]
            except (Closed, ConnectionResetError):
                pass
    with stage.bounded():
        pass


def test_asynchronous_messages_pass(stage):
    """What may come at any time does: notices, notifications, parameters."""
    burst = f.problem("N", S="NOTICE", C="00000", M="by the way") + p.frame("A", struct.pack("!I", 1) + b"c\0p\0") + p.frame("S", b"TimeZone\0UTC\0")
    stage.play(lambda peer: (peer.answer(f.complete() + f.ready()), peer.send(burst * 100), peer.answer(f.complete("SELECT 2") + f.ready())))
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.query("SELECT 1")
        assert "".join(wire.read().kind for _ in range(300)) == "NAS" * 100
        assert wire.query("SELECT 2").tags == ["SELECT 2"]


def test_ready_too_early(stage):
    """ReadyForQuery in the middle of a batch: answers are missing, and no script goes on as if they had come."""
    stage.play(lambda peer: peer.answer(p.frame("1") + f.ready()))
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.send(p.one_group("SELECT 1"))
        end_of(wire, "08P01")


def test_ready_too_often(stage):
    stage.play(lambda peer: (peer.answer(f.complete() + f.ready() * 3), peer.answer(f.complete("SELECT 2") + f.ready())))
    with stage.bounded(), stage.busbar.wire() as wire:
        assert wire.query("SELECT 1").kinds == "CZ"
        try:
            assert wire.query("SELECT 2").tags == ["SELECT 2"], "the second answer must be the second query's"
        except (Closed, ConnectionResetError):
            pass


@pytest.mark.parametrize("answer", [f.ready() * 5, f.complete() * 5 + f.ready(), f.ready("E") * 2, f.ready("T"), f.copy_in(), p.frame("n") * 3 + f.ready(), f.error() * 3 + f.ready("E"), f.ready("I") + b"Z\0\0\0\4"])
def test_wrong_answers_to_hidden_operations(stage, answer):
    """DDL goes in a hidden transaction: whatever is answered to its BEGIN, the client gets an end of some kind and nothing is made up."""
    def script(peer):
        for _ in range(20):
            peer.answer(answer)

    stage.play(script)
    with stage.bounded(), stage.busbar.wire(timeout=20) as wire:
        wire.send(p.query("CREATE TABLE x (a int)"))
        seen = []
        try:
            seen = wire.read_until("Z")
        except (Closed, ConnectionResetError):
            pass
        assert not [m for m in seen if m.kind == "C" and m.tag == "CREATE TABLE"]


def test_copy_in_in_the_answer_to_pending(migrating):
    """The server wants CopyData where rows of a hidden query were expected: no client can give it any, so the session must end."""
    migrating.fake.rewrite = lambda sql, m: f.copy_in() + m.bytes if "busbar.pending" in sql and m.kind == "2" else None
    with migrating.bounded():
        with migrating.busbar.wire(timeout=20) as wire:
            wire.send(p.query(f"ALTER TABLE {migrating.table} ADD COLUMN x text"))
            messages = wire.read_to_end()
            assert "G" not in "".join(m.kind for m in messages)
            assert not [m for m in messages if m.kind == "C"]


def test_copy_in_out_of_the_blue(stage):
    """In the place of an answer; the client fails it as libpq would, and the session goes on in step."""
    def script(peer):
        peer.answer(f.copy_in())
        peer.read_until("f")
        peer.send(f.error("COPY failed", "57014") + f.ready())
        peer.read_until("S")
        peer.send(p.frame("1") + p.frame("2") + f.row("1") + f.complete() + f.ready())

    stage.play(script)
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.send(p.query("SELECT 1"))
        wire.read_until("G")
        assert wire.send(p.copy_fail("never asked for")).result().error["C"] == "57014"
        assert wire.send(p.parse("", "SELECT 1") + p.bind("", "") + p.execute() + p.sync()).result().rows == [["1"]]


@pytest.mark.parametrize("leave", ["close", "abort", "terminate"])
def test_never_answers(stage, leave):
    """The client leaves: so does Busbar, within the time that it grants what is unsent; also when the server ignores Terminate."""
    gone = []

    def script(peer):
        try:
            while True:
                peer.read()
        except OSError:
            gone.append(True)

    stage.play(script)
    for _ in range(5):
        wire = stage.busbar.wire()
        wire.send(p.query("SELECT 1") + (p.terminate() if leave == "terminate" else b""))
        wire.abort() if leave == "abort" else wire.close()
    with stage.bounded():
        wait_until(lambda: len(gone) == 5, "Busbar to end the sessions", timeout=30)


# Errors and notices.

ERRORS = {
    "no SQLSTATE": f.problem(S="ERROR", M="nameless"),
    "no fields": p.frame("E", b"\0"),
    "empty": p.frame("E"),
    "no terminator": f.problem(end=b"", S="ERROR", C="XX000", M="no end"),
    "value without NUL": p.frame("E", b"SERROR\0CXX000\0Mno nul"),
    "bytes behind the terminator": p.frame("E", b"SERROR\0CXX000\0Mx\0\0rubbish\0"),
    "invalid UTF-8": f.problem(S="ERROR", C="XX000", M=b"\xff\xfe\xc0"),
    "1000 fields": p.frame("E", b"".join(b"M" + b"x\0" for _ in range(1000)) + b"\0"),
    "position that is none": f.problem(S="ERROR", C="XX000", M="x", P="99999999999999999999"),
    "negative position": f.problem(S="ERROR", C="XX000", M="x", P="-1"),
    "our function's context": f.problem(S="ERROR", C="XX000", M="x", W="PL/pgSQL function busbar.x() line 1", P="3"),
    "just below 1 MB": f.error("z" * (MEGABYTE - 100)),
    "1 MB": f.error("z" * MEGABYTE),
    "2 MB": f.error("z" * (2 * MEGABYTE)),
    "20 MB": f.error("z" * (20 * MEGABYTE)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_strange_errors(stage, name):
    """An error in every kind of traffic: the client gets it (or another) and the session is in step afterwards, or is closed."""
    data = ERRORS[name]
    asks = {
        "simple": p.query("SELECT 1"),
        "batch": p.one_group("SELECT 1"),
        "ddl": p.query("CREATE TABLE x (a int)"),
        "ddl batch": p.one_group("CREATE TABLE x (a int)"),
        "script": p.query("SELECT 1; CREATE TABLE x (a int); COMMIT; CREATE TABLE y (a int)"),
    }
    with stage.bounded(64 * MEGABYTE):
        for label, ask in asks.items():
            def script(peer):
                ended = peer.read_until("Q", "S", "H")
                peer.send(data)
                if ended == "H":
                    peer.read_until("S")
                peer.send(f.ready())
                while True:
                    asked = peer.read_until("Q", "S", "H")
                    peer.send({"Q": f.complete("ROLLBACK"), "S": HIDDEN, "H": HIDDEN}[asked] + (b"" if asked == "H" else f.ready()))

            stage.play(script)
            with stage.busbar.wire(timeout=20) as wire:
                try:
                    kinds = "".join(m.kind for m in wire.send(ask).read_until("Z"))
                    assert "E" in kinds, f"{label}: {kinds}"
                except (Closed, ConnectionResetError):
                    pass


MARKS = {
    "no detail": f.problem("N", S="INFO", C="UB001", M="x"),
    "not JSON": f.mark("{broken"),
    "empty": f.mark(""),
    "array": f.mark("[1, 2]"),
    "string": f.mark('"x"'),
    "deep": f.mark("[" * 100_000),
    "huge id": f.mark('{"id": 99999999999999999999999, "notify": true, "schema": "s", "table": "t"}'),
    "largest id": f.mark('{"id": 9223372036854775807, "notify": true, "schema": "s", "table": "t"}'),
    "negative id": f.mark('{"id": -1, "notify": true, "schema": "s", "table": "t"}'),
    "real id": f.mark('{"id": 1.5, "notify": true, "schema": "s", "table": "t"}'),
    "string id": f.mark('{"id": "1", "notify": true, "schema": "s", "table": "t"}'),
    "wrong types": f.mark('{"id": 1, "notify": "yes", "schema": 1, "table": []}'),
    "null": f.mark('{"id": null, "notify": null, "schema": null, "table": null}'),
    "NUL inside": f.mark('{"id": 1, "notify": true, "schema": "a\\u0000b", "table": "t"}'),
    "format characters": f.mark('{"id": 1, "notify": true, "schema": "%s%n%s%n", "table": "%999999d"}'),
    "long names": f.mark(json.dumps({"id": 1, "notify": True, "schema": "s" * 400_000, "table": "t" * 400_000})),
    "invalid UTF-8": f.mark(b'{"id": 1, "notify": true, "schema": "\xff", "table": "t"}'),
    "twice the same": f.mark('{"id": 1, "notify": true, "schema": "s", "table": "t"}') * 2,
    "larger than is read": f.mark('{"id": 1, "notify": true, "schema": "s", "table": "' + "t" * (2 * MEGABYTE) + '"}'),
    "without a terminator": f.problem("N", end=b"", S="INFO", C="UB001", D='{"id": 1, "notify": true, "schema": "s", "table": "t"}'),
}


@pytest.mark.parametrize("name", MARKS)
def test_marks_that_are_none(stage, name):
    """A mark in any place: at rest, in a query, in a batch, in a script. The code UB001 never reaches a client."""
    def script(peer):
        while True:
            peer.read_until("Q", "S")
            peer.send(MARKS[name] + f.complete() + f.ready() + MARKS[name])

    stage.play(script)
    with stage.bounded():
        with stage.busbar.wire(timeout=20) as wire:
            for ask in (p.query("SELECT 1"), p.query("SELECT 2"), p.query("CREATE TABLE x (a int)"), p.query("BEGIN"), p.query("COMMIT")):
                try:
                    codes = [m.fields["C"] for m in wire.send(ask).read_until("Z") if m.kind == "N"]
                except (Closed, ConnectionResetError):
                    break
                assert "UB001" not in codes


def test_a_flood_of_marks(stage):
    """150,000 marks, each with a statement of 50 kB behind it: memory stays below the limit for texts and then some."""
    one = f.mark('{"id": 1, "notify": false, "schema": "s", "table": "t"}')
    stage.play(lambda peer: (peer.answer(HIDDEN + f.ready("T")), peer.answer(one * 150_000 + f.complete("CREATE TABLE") + f.ready("T")),
                             peer.answer(f.error() + f.ready("E")), peer.answer(p.frame("3") * 2 + HIDDEN + f.ready())))
    with stage.bounded(160 * MEGABYTE), stage.busbar.wire() as wire:
        result = wire.query("CREATE TABLE x (a int) /*" + "c" * 50_000 + "*/")
        assert result.kinds == "EZ"


# Answers of Busbar's own functions.

def answering(function, replace):
    """Replaces the rows of one hidden query."""
    return lambda sql, m: replace if function in sql and m.kind == "D" else None


PENDING = {
    "no columns": f.row(),
    "three columns": f.row("pending", 1, "v"),
    "five columns": f.row("pending", 1, "v", "[]", "x"),
    "NULL kind": f.row(None, 1, None, "[]"),
    "NULL id": f.row("pending", None, None, "[]"),
    "NULL operations": f.row("pending", 1, None, None),
    "id that is none": f.row("pending", "one", None, "[]"),
    "id too large": f.row("pending", "9" * 30, None, "[]"),
    "negative id": f.row("pending", "-1", None, "[]"),
    "not JSON": f.row("pending", 1, None, "{"),
    "JSON that is no operation": f.row("pending", 1, None, '{"a": 1}'),
    "array of nonsense": f.row("pending", 1, None, "[1, null, [], {}]"),
    "deep JSON": f.row("pending", 1, None, "[" * 50_000 + "]" * 50_000),
    "invalid UTF-8": f.row("pending", 1, None, b'[{"op": "\xff"}]'),
    "column count of 65535": p.frame("D", b"\xff\xff"),
    "column longer than the row": p.frame("D", struct.pack("!HI", 4, 1000) + b"pending"),
    "column of length -2": p.frame("D", struct.pack("!Hi", 4, -2)),
    "bytes behind the columns": p.frame("D", f.row("pending", 1, None, "[]")[5:] + b"more"),
    "empty": p.frame("D"),
}


@pytest.mark.parametrize("name", PENDING)
def test_rows_of_pending_that_cannot_be_read(migrating, name):
    """In autocommit, in a transaction or in a batch, by turns: nothing is committed unless it is recorded."""
    modes = ("auto", "block", "batch")
    with migrating.bounded():
        for number, commit in enumerate((modes[list(PENDING).index(name) % 3],)):
            migrating.fake.rewrite = answering("busbar.pending", PENDING[name])
            column = f"c{number}"
            sql = f"ALTER TABLE {migrating.table} ADD COLUMN {column} text"
            with migrating.busbar.wire(timeout=10) as wire:
                try:
                    if commit == "auto":
                        result = wire.query(sql)
                    elif commit == "block":
                        wire.query("BEGIN").ok()
                        wire.query(sql).ok()
                        result = wire.query("COMMIT")
                    else:
                        result = wire.extended(sql)
                    failed = bool(result.errors)
                    if failed:
                        assert re.fullmatch("[0-9A-Z]{5}", result.error["C"])
                        assert result.status == "I"
                except (Closed, ConnectionResetError):
                    failed = True
            migrating.fake.rewrite = None
            assert failed, f"{commit}: the migration went through"
            wait_until(lambda: not migrating.backends(), "the session to end")
            assert column not in columns_of(migrating)
        assert versions_of(migrating) == migrating.before


def test_a_hundred_megabytes_of_pending(migrating):
    rows = f.row("recorded", 1, "v", "x" * 500_000) * 200
    migrating.fake.rewrite = answering("busbar.pending", rows)
    with migrating.bounded(200 * MEGABYTE):  # LIMIT_CAPTURE is 64 MiB, and a buffer doubles
        with migrating.busbar.wire() as wire:
            wire.send(p.query(f"ALTER TABLE {migrating.table} ADD COLUMN x text"))
            end_of(wire, "54000")
    assert columns_of(migrating) == ["id", "v"]


def test_one_pending_row_of_100_megabytes(migrating):
    migrating.fake.rewrite = answering("busbar.pending", f.row("recorded", 1, "v", "x" * (100 * MEGABYTE)))
    with migrating.bounded():
        with migrating.busbar.wire() as wire:
            wire.send(p.query(f"ALTER TABLE {migrating.table} ADD COLUMN x text"))
            end_of(wire, "54000")
    assert columns_of(migrating) == ["id", "v"]


def test_a_server_that_accepts_refuse(migrating):
    """busbar.refuse() must fail. When it does not, the transaction stands, and only closing the connection ends it."""
    def rewrite(sql, message):
        if "busbar.pending" in sql and message.kind == "D":
            return f.row("pending", 1, None, "{")
        if "busbar.refuse" in sql and message.kind == "E":
            return f.complete("CALL") + p.frame("3") * 2
        return f.ready("T") if "busbar.refuse" in sql and message.kind == "Z" else None

    for statements in ([f"ALTER TABLE {migrating.table} ADD COLUMN x text"], ["BEGIN", f"ALTER TABLE {migrating.table} ADD COLUMN x text", "COMMIT"]):
        migrating.fake.rewrite = rewrite
        with migrating.bounded(), migrating.busbar.wire() as wire:
            for sql in statements[:-1]:
                wire.query(sql).ok()
            wire.send(p.query(statements[-1]))
            end_of(wire, "XX000")
        assert columns_of(migrating) == ["id", "v"]


@pytest.mark.parametrize("answer", ["error", "close", "huge", "nothing"])
def test_record_that_goes_wrong(migrating, answer):
    """Between proof and COMMIT. What the server lost, the client is told; what was not recorded is not there."""
    cut = []

    def rewrite(sql, message):
        if "busbar.record" not in sql or message.kind != "D":
            return None
        if answer == "close":
            cut.append(True)
            raise OSError("closes")
        return {"error": b"", "huge": f.row("v" * 900_000), "nothing": f.row(None)}[answer]

    migrating.fake.rewrite = rewrite
    with migrating.bounded():
        with migrating.busbar.wire() as wire:
            wire.send(p.query(f"ALTER TABLE {migrating.table} ADD COLUMN x text"))
            try:
                ok = not [m for m in wire.read_until("Z") if m.kind == "E"]
            except (Closed, ConnectionResetError):
                ok = False
        if cut:
            migrating.fake.sessions[-1].cut()
    wait_until(lambda: not migrating.backends(), "the session to end")
    assert ok == ("x" in columns_of(migrating))
    assert ok == (versions_of(migrating) == migrating.before + 1)


def test_a_client_that_does_not_read_and_a_server_that_does_not_stop(stage):
    """A server that streams for ever, unasked: held back by the client's pace."""
    sent = []

    def script(peer):
        peer.answer(f.description("a"))
        peer.socket.settimeout(0.5)
        block = f.row("x" * 10_000) * 10
        try:
            for _ in range(5000):
                peer.socket.sendall(block)
                sent.append(len(block))
        except socket.timeout:
            sent.append(0)
        peer.socket.settimeout(None)

    stage.play(script)
    with stage.bounded(), stage.busbar.wire() as wire:
        wire.send(p.query("SELECT 1"))
        wait_until(lambda: sent and sent[-1] == 0, "the server to be held back")
        assert sum(sent) < 100 * MEGABYTE
