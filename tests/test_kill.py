# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every step of a captured migration: afterwards it is wholly recorded with its DDL, or wholly absent.

A relay between Busbar and PostgreSQL stops the migration at its n-th step, for n = 1, 2, … until the migration completes
untouched; a step is an upstream message that makes PostgreSQL act. Each step is taken twice: the message still withheld, and the message delivered
but its answer withheld. Then Busbar, the backend, or the client is killed. The cluster is one of its own with fsync on,
since a killed backend makes PostgreSQL crash and recover.
"""

import os
import signal
import threading

import pytest

from harness import protocol as p
from harness.busbar import Busbar
from harness.electric import Ledger
from harness.postgres import Postgres
from harness.process import alive, descendants
from harness.relay import Relay
from harness.wait import wait_until
from harness.web import migrations
from harness.wire import Closed

# What makes PostgreSQL act: Query, Execute, Sync. BUSBAR_KILL_ALL=1 stops at Parse, Bind, Describe, Close and Flush as well.
STEPS = "QESPBDCHF" if os.environ.get("BUSBAR_KILL_ALL") else "QES"
STEPS_LIMIT = 60  # a migration of more upstream messages than this would be a fault in itself


class Trap:
    """Stops one session of the relay at its n-th step.

    ``delivered`` false: the step's message is withheld. True: it goes on, and whatever would follow is withheld, in
    both directions: the next frontend message and every answer.
    """

    def __init__(self, relay, pid, number, delivered):
        self.relay, self.pid, self.number, self.delivered = relay, pid, number, delivered
        self.connection = relay.session_for(pid)
        self.seen = 0
        self.armed = False
        self.reached = threading.Event()
        self.released = threading.Event()
        self.dropping = False
        relay.on_frontend = self.frontend
        relay.on_backend = self.backend

    def hold(self):
        self.reached.set()
        self.released.wait(60)
        if self.dropping:
            raise OSError("dropped by the test")

    def frontend(self, connection, _index, message):
        if connection is not self.connection:
            return
        if self.armed:
            self.hold()
        elif message.kind in STEPS:
            self.seen += 1
            if self.seen == self.number and self.delivered:
                self.armed = True
            elif self.seen == self.number:
                self.hold()

    def backend(self, connection, _passed, message):
        if connection is self.connection and self.armed and message.kind != "S":
            self.hold()

    def release(self, drop):
        """Lets go of what was held; ``drop``: it is lost, and the connection with it, as when its owner dies."""
        self.dropping = drop
        self.relay.on_frontend = self.relay.on_backend = None
        self.released.set()
        if drop:
            self.connection.cut()


# The migrations: each adds one column and one index, so that half a migration would show.

def simple(wire, table):
    """Autocommit: Busbar makes the transaction."""
    yield p.query(f"ALTER TABLE {table} ADD COLUMN extra int4"), 1


def transaction(wire, table):
    """What psql sends for a migration file."""
    for sql in ("BEGIN", f"ALTER TABLE {table} ADD COLUMN extra int4", f"CREATE INDEX {table}_extra ON {table} (extra)", "COMMIT"):
        yield p.query(sql), 1


def ecto(wire, table):
    """What Ecto sends, with its version row."""
    yield p.query("BEGIN"), 1
    for sql in (f"ALTER TABLE {table} ADD COLUMN extra int4", f"CREATE INDEX {table}_extra ON {table} (extra)"):
        yield p.parse("", sql) + p.describe("S", "") + p.flush(), "n"
        yield p.bind("", "") + p.execute() + p.close("S", "") + p.sync(), 1
    version = 30000000000000 + int(table.split("_")[1])
    yield p.parse("", "INSERT INTO schema_migrations (version, inserted_at) VALUES ($1, now())") + p.describe("S", "") + p.flush(), "n"
    yield p.bind("", "", [version.to_bytes(8, "big")], [1]) + p.execute() + p.close("S", "") + p.sync(), 1
    yield p.query("COMMIT"), 1


MIGRATIONS = {"simple": simple, "transaction": transaction, "ecto": ecto}


class Scene:
    """A crash-safe cluster, a relay, a Busbar; survives the kills and judges what they left."""

    def __init__(self):
        self.cluster = Postgres(fsync=True)
        self.relay = None
        self.busbar = None
        self.tables = 0

    def start(self):
        self.cluster.start()
        self.database = self.cluster.create_database()
        self.relay = Relay(self.cluster.port)
        self.busbar = Busbar(self.cluster.url(self.database, port=self.relay.port), dbname=self.database)
        self.busbar.start()
        with self.cluster.connect(self.database) as conn:
            conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0))")
        return self

    def end(self):
        try:
            if self.busbar:
                self.busbar.check()
        finally:
            if self.relay:
                self.relay.close()
            self.cluster.destroy()

    def new_table(self):
        self.tables += 1
        table = f"kill_{self.tables}"
        with self.busbar.wire() as wire:
            wire.query(f"CREATE TABLE {table} (id text PRIMARY KEY, value text)").ok()
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
        return table

    def revive(self):
        """Everything is up again after a kill."""
        if self.busbar.process.poll() is not None:
            assert self.busbar.killed, "busbar ended by itself:\n" + self.busbar.log()[-3000:]
            self.busbar.spawn()
        self.cluster.wait_ready()
        self.busbar.wait_ready()

        def session_works():
            with self.busbar.wire() as wire:
                return wire.value("SELECT 1") == "1"

        # Until Busbar has noticed that PostgreSQL was gone, or is back, it may say 57P03.
        wait_until(session_works, "a new session")

    def gone(self, pid):
        """Waits until the backend has ended, and with it the transaction, one way or the other."""
        def ended():
            with self.cluster.connect() as conn:
                return conn.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()[0] == 0

        wait_until(ended, f"backend {pid} to end")

    def settled(self, trap):
        """Waits until the backend has done all that was delivered to it: nothing is unread, and it waits for more."""
        port = trap.connection.server.getsockname()[1]

        def waits():
            with self.cluster.connect() as conn:
                event = conn.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [trap.pid]).fetchone()
            return unread(self.cluster.port, port) == 0 and event == ("ClientRead",)

        wait_until(waits, f"backend {trap.pid} to wait for its client")

    def whole_or_absent(self, table, with_index):
        """The property: the column exists ⇔ the command is recorded ⇔ the remembered definition has it. Returns which."""
        ledger = Ledger(self.cluster, self.database)
        try:
            there = "extra" in ledger.columns(table)
            commands = [text for text in ledger.ddl if f" {table} " in text + " " and "CREATE TABLE" not in text]
            assert len(commands) == (there and 1 + with_index), f"column {there}, commands {commands}"
            assert ("extra" in ledger.remembered[table]) == there
            assert ledger.exists(f"public.{table}_extra") == (there and with_index)
            assert (f"{table}_extra" in ledger.remembered_indexes[table]) == (there and with_index)
            versions = ledger.value("SELECT count(DISTINCT v.version) FROM electric.migration_versions v JOIN electric.ddl_commands c USING (txid, txts)"
                                    " WHERE c.query LIKE %s AND c.query NOT LIKE 'CREATE TABLE%%'", f"%{table} %")
            assert versions == there
            ledger.consistent()
            return there
        finally:
            ledger.close()


def unread(local, remote):
    """Bytes that the owner of a TCP connection on the loopback has not read yet (proc(5), rx_queue)."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        for row in list(table)[1:]:
            _, here, there, _, queues = row.split()[:5]
            if (int(here.split(":")[1], 16), int(there.split(":")[1], 16)) == (local, remote):
                return int(queues.split(":")[1], 16)
    return None


@pytest.fixture
def scene():
    """One for each test: every migration proves the whole history, and hundreds of them would take their time."""
    scene = Scene()
    try:
        yield scene.start()
    finally:
        scene.end()


def perform(wire, steps):
    """Plays a migration; true when all of it was answered, false when the session ended on the way."""
    try:
        for data, wanted in steps:
            wire.send(data)
            if wanted == "n":
                wire.read_until("n", "E")
            else:
                wire.result().ok()
        return True
    except (Closed, OSError):
        return False


class Migrating(threading.Thread):
    """A client at work."""

    def __init__(self, wire, steps):
        super().__init__(daemon=True)
        self.wire, self.steps, self.done, self.failure = wire, steps, False, None
        self.start()

    def run(self):
        try:
            self.done = perform(self.wire, self.steps)
        except AssertionError as error:  # an error answer: fine when its cause is the kill
            self.failure = error


def kill_busbar(scene, wire, trap):
    scene.busbar.kill()
    trap.release(drop=True)


def kill_backend(scene, wire, trap):
    os.kill(trap.pid, signal.SIGKILL)
    wait_until(lambda: not alive(trap.pid), "the backend to die")
    trap.release(drop=True)


def kill_client(scene, wire, trap):
    wire.abort()
    trap.release(drop=False)


KILLS = {"busbar": kill_busbar, "backend": kill_backend, "client": kill_client}


def one_kill(scene, victim, migration, number, delivered):
    """Kills at one step. Returns (was the step reached, is the migration there)."""
    table = scene.new_table()
    wire = scene.busbar.wire()
    pid = wire.key[0]
    trap = Trap(scene.relay, pid, number, delivered)
    client = Migrating(wire, MIGRATIONS[migration](wire, table))
    wait_until(lambda: trap.reached.is_set() or not client.is_alive(), "the step, or the end of the migration", timeout=30)
    reached = trap.reached.is_set()
    if reached:
        scene.settled(trap)
        KILLS[victim](scene, wire, trap)
    else:
        trap.release(drop=False)
    client.join(30)
    assert not client.is_alive(), "the client hangs"
    wire.close()
    if not reached:
        assert client.done and client.failure is None, client.failure
    scene.gone(pid)
    scene.revive()
    there = scene.whole_or_absent(table, migration != "simple")
    assert there or not client.done, "the client was told that the migration is done, and it is not there"
    return reached, there


@pytest.mark.parametrize("migration", list(MIGRATIONS))
@pytest.mark.parametrize("victim", list(KILLS))
def test_kill_at_every_step(scene, victim, migration):
    """See the module's text. After each kill a new session works: the next round begins with one."""
    outcomes = []
    for number in range(1, STEPS_LIMIT):
        reached, there = one_kill(scene, victim, migration, number, delivered=False)
        if not reached:
            assert there, "untouched, and not there"
            break
        outcomes.append(there)
        reached, there = one_kill(scene, victim, migration, number, delivered=True)
        outcomes.append(there)
    else:
        pytest.fail(f"still migrating after {STEPS_LIMIT} steps")
    print(f"{victim}, {migration}: {number - 1} steps; there after the kill: {outcomes}")
    if victim != "client":  # without its client Busbar may go on or give up, as its own moment has it
        # One step makes it permanent: nothing is there before it, everything after.
        assert outcomes[0] is False and outcomes[-1] is True and outcomes == sorted(outcomes)
    sql = migrations(scene.busbar.http_port)
    assert len({m.version for m in sql}) == len(sql)


def test_busbar_killed_while_electrifying(scene):
    """The same for the first migration of a table: ENABLE, in autocommit."""
    for number in range(1, STEPS_LIMIT):
        scene.tables += 1
        table = f"kill_{scene.tables}"
        with scene.busbar.wire() as wire:
            wire.query(f"CREATE TABLE {table} (id text PRIMARY KEY)").ok()
        wire = scene.busbar.wire()
        trap = Trap(scene.relay, wire.key[0], number, delivered=True)
        client = Migrating(wire, iter([(p.query(f"ALTER TABLE {table} ENABLE ELECTRIC"), 1)]))
        wait_until(lambda: trap.reached.is_set() or not client.is_alive(), "the step, or the end")
        reached = trap.reached.is_set()
        if reached:
            kill_busbar(scene, wire, trap)
        else:
            trap.release(drop=False)
        client.join(30)
        wire.close()
        scene.gone(trap.pid)
        scene.revive()
        ledger = Ledger(scene.cluster, scene.database)
        there = table in ledger.electrified
        assert there == any(f" {table} (" in text.replace("public.", "").replace('"', "") for text in ledger.ddl)
        assert (ledger.value("SELECT relreplident::text FROM pg_class WHERE relname = %s", table) == "f") == there
        ledger.consistent()
        ledger.close()
        if not reached:
            assert there
            return
    pytest.fail("never done")


def test_postgres_killed_between_migrations(scene):
    """Busbar notices, says 503, and comes back with everything that was acknowledged."""
    table = scene.new_table()
    with scene.busbar.wire() as wire:
        wire.query(f"ALTER TABLE {table} ADD COLUMN extra int4").ok()
    before = migrations(scene.busbar.http_port)
    family = [scene.cluster.process.pid, *descendants(scene.cluster.process.pid)]
    os.kill(family[0], signal.SIGKILL)
    scene.cluster.process.wait(30)
    # Its children notice and end; a new server may not start before.
    wait_until(lambda: not any(map(alive, family)), "the old server's processes to end", timeout=60)
    wait_until(lambda: scene.busbar.status()[0] == 503, "503 while PostgreSQL is down")
    scene.cluster.start()
    scene.revive()
    assert migrations(scene.busbar.http_port) == before
    assert scene.whole_or_absent(table, with_index=False) is True
