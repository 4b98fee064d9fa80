# SPDX-License-Identifier: Apache-2.0
"""Property: traffic that is neither DDL nor DDLX is the same with and without Busbar, byte for byte, at both ends.

For each seed the same bytes go straight to PostgreSQL and through Busbar. What the client receives after login must be
identical, and what PostgreSQL receives after login must be exactly what the client sent, however the bytes
were cut into pieces and however many messages were sent ahead. The process id in NotificationResponse, which belongs to
the session, is blanked; for the one message that Busbar may add see may_follow_flush().

    BUSBAR_PROPERTY_CASES=5000 BUSBAR_PROPERTY_SEED=1 python3 -m pytest tests/test_transparent_property.py
"""

import os
import random
import re
import threading

import pytest

from harness import protocol as p
from harness.traffic import RESET, SETUP, generate
from harness.wait import wait_until
from harness.wire import Closed, Wire

TRANSACTION_COMMAND = re.compile(rb"\s*(begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b", re.I)
FLUSH = p.Message("H", b"")
CASES = int(os.environ.get("BUSBAR_PROPERTY_CASES", "160"))
FIRST_SEED = int(os.environ.get("BUSBAR_PROPERTY_SEED", "1"))


def blank_pids(data):
    """Messages of a stream with the process id of notifications blanked; nothing may be left over."""
    messages, rest = p.split_frames(bytes(data))
    assert rest == b"", f"an incomplete message at the end: {rest[:40]!r}"
    return [p.Message("A", b"\0\0\0\0" + m.body[4:]) if m.kind == "A" else m for m in messages]


def drain(wire):
    """Everything until the peer closes."""
    try:
        while True:
            wire._fill()
    except (Closed, ConnectionResetError):
        pass


def read_answers(wire, ready):
    """Reads that many ReadyForQuery; false when the peer closes before: the comparison will show it."""
    try:
        for _ in range(ready):
            wire.read_until("Z")
        return True
    except (Closed, ConnectionResetError):
        return False


def play(wire, batches, rng=None, lockstep=False):
    """Sends all batches, then Terminate; returns all that came after login."""
    start = len(wire.received)
    if lockstep:
        for batch in batches:
            wire.send_pieces(batch.data, rng)
            if not read_answers(wire, batch.ready):
                break
    else:
        data = b"".join(batch.data for batch in batches)

        def write():
            try:
                wire.send_pieces(data, rng) if rng else wire.send(data)
            except OSError:
                pass  # the peer has closed: the comparison will show

        # A thread writes: with both directions full, a client that only writes would wait for itself.
        writer = threading.Thread(target=write)
        writer.start()
        read_answers(wire, sum(batch.ready for batch in batches))
        writer.join()
    try:
        wire.send(p.terminate())
    except OSError:
        pass
    drain(wire)
    return blank_pids(wire.received[start:])


def may_follow_flush(message, commands):
    """A Bind to a name that may stand for BEGIN, COMMIT or the like, as far as answers have come: Busbar asks for them by a Flush.
    commands: the names that were such commands so far; a Parse adds to them."""
    names = message.body.split(b"\0", 2)
    if message.kind == "P" and TRANSACTION_COMMAND.match(names[1]):
        commands.add(names[0])
    return message.kind == "B" and names[1] in commands


def upstream_difference(sent, session):
    """Where PostgreSQL received something else than the client sent; None when it did not."""
    wanted, rest = p.split_frames(sent)
    assert rest == b""
    got = [m for m in session.frontend if m.kind != "X"]
    commands, at = set(), 0
    for n, mine in enumerate(wanted):
        if may_follow_flush(mine, commands) and got[at:at + 1] == [FLUSH]:
            at += 1
        if got[at:at + 1] != [mine]:
            return f"message {n}: sent {wanted[n:n + 3]}, PostgreSQL got {got[at:at + 3]}"
        at += 1
    return None if at == len(got) else f"PostgreSQL got {len(got) - at} messages more: {got[at:at + 3]}"


def explain(seed, batches, expected, seen):
    """The first difference with what surrounds it."""
    at = next((i for i, (a, b) in enumerate(zip(expected, seen)) if a != b), min(len(expected), len(seen)))
    ready = sum(1 for m in expected[:at] if m.kind == "Z")
    for number, batch in enumerate(batches):
        if ready < batch.ready:
            break
        ready -= batch.ready
    return (f"seed {seed}: message {at} differs, in batch {number}: {batch.label[:600]}\n"
            f"  expected … {expected[max(0, at - 3):at + 4]}\n  received … {seen[max(0, at - 3):at + 4]}\n"
            f"  ({len(expected)} and {len(seen)} messages)")


@pytest.mark.transparent
def test_same_bytes_at_both_ends(relayed, relay, cluster, database):
    """See the module's text."""
    print(f"seeds {FIRST_SEED} to {FIRST_SEED + CASES - 1}")
    kinds = set()
    with cluster.connect(database) as admin:
        admin.execute(SETUP)
        for seed in range(FIRST_SEED, FIRST_SEED + CASES):
            batches, rng = generate(seed), random.Random(seed)
            admin.execute(RESET)
            with Wire(cluster.host, cluster.port) as straight:
                straight.start({"user": "postgres", "database": database, "application_name": "property"})
                expected = play(straight, batches)
            admin.execute(RESET)
            with relayed.wire(application_name="property") as proxied:
                session = relay.session_for(proxied.key[0])
                seen = play(proxied, batches, rng, lockstep=rng.random() < 0.4)
            if seen != expected:
                pytest.fail(explain(seed, batches, expected, seen))
            assert session.closed.wait(20), f"seed {seed}: the upstream session is still open"
            difference = upstream_difference(b"".join(batch.data for batch in batches), session)
            if difference:
                pytest.fail(f"seed {seed}: {difference}")
            kinds.update(m.kind for m in seen)
    # The traffic must have been worth something: every kind of answer occurred.
    if CASES >= 100:
        missing = set("123AcCdDEGHInNsStTVZ") - kinds
        assert not missing, f"never seen: {missing}"


def test_106_user_transparent(relayed, relay):
    """Not one byte is ours, of what would be DDLX or a migration for another user too. What it may not do: test_modes.py."""
    data = p.query("SELECT 1; SELECT 'ä'") + p.query("CREATE TABLE t (id int); ALTER TABLE t ENABLE ELECTRIC") + p.one_group("CREATE TABLE u (id int)") + p.one_group("SELECT $1::text", ["a"]) + p.query("BEGIN; ROLLBACK") + p.sync()
    with relayed.wire(user="transparent") as wire:
        session = relay.session_for(wire.key[0])
        start = len(wire.received)
        wire.send(data)
        read_answers(wire, 6)
        assert bytes(wire.received[start:]) == bytes(session.backend_bytes)
    assert session.closed.wait(20) and bytes(session.frontend_bytes) == data + p.terminate()


@pytest.mark.transparent
def test_login_tells_the_same(relayed, cluster, database):
    """Parameters at login: the same names and values; their order may differ, as libpq made the upstream login."""
    with relayed.wire(application_name="property") as proxied, Wire(cluster.host, cluster.port) as straight:
        straight.start({"user": "postgres", "database": database, "application_name": "property"})
        assert proxied.parameters == straight.parameters


@pytest.mark.transparent
def test_one_byte_at_a_time(relayed, cluster, database):
    """The extreme cut: every message split at every byte."""
    data = p.one_group("SELECT $1::text", ["a"]) + p.query("BEGIN; SELECT 1; ROLLBACK") + p.query("COPY (SELECT 1) TO STDOUT") + p.sync()
    with relayed.wire(application_name="property") as proxied, Wire(cluster.host, cluster.port) as straight:
        straight.start({"user": "postgres", "database": database, "application_name": "property"})
        starts = len(proxied.received), len(straight.received)
        for byte in data:
            proxied.send(bytes([byte]))
        straight.send(data)
        for wire in (proxied, straight):
            for _ in range(4):
                wire.read_until("Z")
        assert proxied.received[starts[0]:] == straight.received[starts[1]:]


@pytest.mark.transparent
def test_terminate_right_behind_the_last_query(relayed):
    """A client may say goodbye without waiting: what it asked before is still answered, then the connection ends."""
    with relayed.wire() as wire:
        wire.send(p.query("SELECT count(*) FROM generate_series(1, 100000)") + p.one_group("SELECT 'late'") + p.terminate())
        messages = wire.read_to_end()
        assert "".join(m.kind for m in messages) == "TDCZ12TDCZ"


@pytest.mark.transparent
def test_terminate_without_reading(relayed, relay, cluster, database):
    """The same by a client that does not even read: what it asked is done."""
    with cluster.connect(database) as admin:
        admin.execute("CREATE TABLE kept (id int4)")
        for number in range(10):
            with relayed.wire() as wire:
                pid = wire.key[0]
                wire.send(p.query(f"INSERT INTO kept VALUES ({number})") + p.terminate())
            assert relay.session_for(pid).closed.wait(20)
        wait_until(lambda: admin.execute("SELECT count(*) FROM kept").fetchone()[0] == 10, "ten rows")


@pytest.mark.transparent
@pytest.mark.parametrize("sql", ["PREPARE TRANSACTION 'two'", "COMMIT PREPARED 'two'", "COMMIT", "ROLLBACK", "END", "COMMIT AND CHAIN", "ROLLBACK TO a", "RELEASE a", "BEGIN"])
def test_transaction_control_behind_an_error_in_its_group(endpoint, sql):
    """PostgreSQL skips to Sync after an error: whatever had to wait for its turn must be skipped with it (seed 12)."""
    broken = p.describe("P", "missing") + p.parse("", sql) + p.bind("", "") + p.execute() + p.bind("", "") + p.execute() + p.sync()
    with endpoint.wire() as wire:
        for begin in (False, True):
            if begin:
                wire.query("BEGIN").ok()
            for _ in range(3):
                answer = wire.send(broken).result()
                assert answer.kinds == "EZ" and answer.status == ("E" if begin else "I")
            wire.query("ROLLBACK").ok()
        assert wire.value("SELECT 1") == "1"
