# SPDX-License-Identifier: Apache-2.0
"""The primary dies and a standby takes its place. PostgreSQL 15 has no logical slots on a standby: what was committed around the
change cannot be had from a slot, so every client is told to load its data anew, once, and ends with what the new primary has. A
slot that was carried over to the standby spares them that.
"""

import os
import shutil
import signal
import subprocess
import threading

import pytest

from harness.device import RESETTING
from harness.oracle import Select
from harness.postgres import Postgres
from harness.relay import Relay
from harness.satellite import RpcError, Satellite
from harness.wait import wait_until
from harness.web import get
from test_sync_crash import ITEMS, Scene, migrations, reason

GROUPS = Select("groups")
SETTINGS = ["synchronous_commit = on", "wal_keep_size = 1GB", "hot_standby_feedback = on", "wal_receiver_status_interval = 1s"]


class Failover(Scene):
    """A primary that Busbar reaches by a relay, as by a virtual address; standbys as they are made. Or, with ``listed``, a
    standby from the beginning, and both in Busbar's configuration."""

    def __init__(self, listed=False):
        primary = Postgres(settings=SETTINGS).start()
        self.servers = [primary]
        self.relay = Relay(primary.port)
        database = primary.create_database()
        if listed:  # the standby first, which will not do
            url = primary.url(database, host=f"127.0.0.1:{self.add_standby(primary).port},127.0.0.1")
        else:
            url = primary.url(database, port=self.relay.port)
        super().__init__(primary, database, url, may_reset=True)

    def add_standby(self, primary=None):
        standby = (primary or self.cluster).standby()
        self.servers.append(standby)
        return standby.start()

    def catch_up(self, standby):
        with self.cluster.connect() as connection:
            connection.execute("CHECKPOINT")  # so that the log ends with a whole record: of half a record a standby replays nothing
        position = self.cluster.position()
        wait_until(lambda: standby.position() >= position, "the standby to have everything")

    def carry_slot(self, standby):
        """As tools for high availability do before PostgreSQL 17: the slot's file, put into the standby while that is stopped."""
        position = self.cluster.position()
        with self.connect() as connection:
            def late():
                self.write_one(connection)
                connection.execute("CHECKPOINT")  # logs the running transactions, from which the slot may begin again
                begin = "SELECT restart_lsn - '0/0'::pg_lsn FROM pg_replication_slots"
                return connection.execute(begin).fetchone()[0] > position

            wait_until(late, "the slot to begin behind the backup", interval=0.2)
            connection.execute("CHECKPOINT")
            (name,) = connection.execute("SELECT slot_name FROM pg_replication_slots").fetchone()
        self.catch_up(standby)
        standby.stop()
        target = os.path.join(standby.data, "pg_replslot", name)
        shutil.copytree(os.path.join(self.cluster.data, "pg_replslot", name), target)
        if standby.user:
            subprocess.run(["chown", "-R", standby.user, target], check=True)
        standby.start()

    def kill_primary(self):
        """No word to anybody: what was not sent is lost."""
        lost = self.cluster.process.pid
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(lost)], check=True, capture_output=True, text=True)
        for pid in [lost, *map(int, listed.stdout.split())]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.cluster.process.wait(20)
        self.cluster.process = None

    def turn_to(self, server):
        self.cluster = server
        self.relay.target = (server.host, server.port)
        for connection in self.relay.connections:
            connection.cut()

    def fail_over(self, standby):
        self.kill_primary()
        standby.promote()
        self.turn_to(standby)

    def isolate(self, standby):
        """From now on it gets nothing."""
        with standby.connect() as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            receiver = "SELECT FROM pg_stat_wal_receiver"
            wait_until(lambda: not connection.execute(receiver).fetchall(), "the standby to be alone")

    def metric(self, name):
        (line,) = [line for line in get(self.busbar.http_port, "/metrics").text.splitlines() if line.startswith(name + " ")]
        return float(line.split()[1])

    def relay_bytes(self):
        return sum(len(connection.backend_bytes) for connection in list(self.relay.connections))

    def settle_all(self):
        for device in self.devices:
            self.settle(device)

    def end(self):
        try:
            super().end()
        finally:
            self.relay.close()
            for server in self.servers:
                server.destroy()


@pytest.fixture
def failover():
    scene = Failover()
    try:
        yield scene
    finally:
        scene.end()


def test_both_in_the_url():
    """host1:port,host2:port: whichever is the primary."""
    scene = Failover(listed=True)
    try:
        standby = scene.servers[1]
        scene.serve()
        device = scene.device(ITEMS)
        write(scene, 3)
        scene.settle(device)
        scene.catch_up(standby)
        scene.fail_over(standby)
        write(scene, 3)
        scene.settle(device)
        assert device.resets == ["BEHIND_WINDOW"]
        scene.busbar.wait_ready()
        with scene.busbar.wire() as wire:
            wire.query("ALTER TABLE items ADD COLUMN after text").ok()
    finally:
        scene.end()


def write(scene, count=1):
    with scene.connect() as connection:
        for _ in range(count):
            scene.write_one(connection)


def test_standby_has_everything(failover):
    """One answer for everybody, BEHIND_WINDOW; then the data of the new primary, and what it is changed to."""
    scene = failover.serve()
    devices = [scene.device(ITEMS), scene.device(GROUPS), scene.device()]
    write(scene, 5)
    standby = scene.add_standby()
    scene.settle_all()
    write(scene, 5)
    scene.settle_all()
    known = {device: migrations(device) for device in devices}
    scene.catch_up(standby)
    scene.fail_over(standby)
    write(scene, 5)
    scene.settle_all()
    assert [device.resets for device in devices] == [["BEHIND_WINDOW"]] * 3
    assert all(migrations(device) == known[device] for device in devices), "the history is what it was"
    scene.busbar.wait_log("a standby was promoted")
    scene.busbar.wait_ready()
    with scene.busbar.wire() as wire:
        wire.query("ALTER TABLE items ADD COLUMN after text").ok()
    scene.oracle.tables["items"].columns["after"] = "text"
    write(scene, 3)
    scene.settle_all()
    assert not reason(scene)
    assert scene.metric("busbar_log_resets_total") == 1


@pytest.mark.parametrize("megabytes", [0, 6])
def test_standby_was_behind(failover, megabytes):
    """What clients have and the new primary never had is taken back, also where the new one has not come as far as they were."""
    scene = failover.serve()
    write(scene, 5)
    device = scene.device(ITEMS)
    standby = scene.add_standby()
    scene.catch_up(standby)
    scene.isolate(standby)
    with scene.connect() as connection:
        connection.execute("DELETE FROM items WHERE id = 100001; INSERT INTO items VALUES (1, 1, 'lost')")
        for i in range(megabytes):
            connection.execute(f"INSERT INTO items SELECT {1000 + i * 500} + n, 1, repeat('z', 2000)"
                               " FROM generate_series(1, 500) n")
        connection.execute("INSERT INTO items VALUES (2, 1, 'lost')")
    scene.pump(device, lambda: ("2",) in device.tables["items"], "what will be lost")
    scene.fail_over(standby)
    write(scene, 3)
    scene.settle_all()
    assert len(device.resets) == 1
    assert ("2",) not in device.tables["items"] and ("100001",) in device.tables["items"]
    scene.busbar.wait_log("lost transactions that the log holds")
    write(scene, 3)
    scene.settle_all()


@pytest.mark.parametrize("behind", [False, True])
def test_while_busbar_is_down(failover, behind):
    """It finds another primary than it left, and the device comes back later still."""
    scene = failover.serve()
    device = scene.device(ITEMS)
    standby = scene.add_standby()
    scene.catch_up(standby)
    if behind:
        scene.isolate(standby)
    write(scene, 20)
    scene.settle(device)
    if not behind:
        scene.catch_up(standby)
    scene.busbar.kill()
    scene.pump(device, lambda: not device.online, "the end of the connection")
    scene.fail_over(standby)
    write(scene, 3)
    scene.busbar.spawn()
    scene.settle(device)
    assert len(device.resets) == 1
    scene.busbar.wait_log("lost transactions that the log holds" if behind else "a standby was promoted")
    scene.crash()
    scene.pump(device, lambda: not device.online, "the end of the connection")
    scene.settle(device)
    assert len(device.resets) == 1, "once is enough"


def test_twice(failover):
    """And a third time while Busbar is down."""
    scene = failover.serve()
    device = scene.device(ITEMS)
    for number in range(2):
        standby = scene.add_standby()
        write(scene, 3)
        scene.settle(device)
        scene.catch_up(standby)
        scene.fail_over(standby)
        write(scene, 3)
        scene.settle(device)
        assert len(device.resets) == number + 1
    scene.busbar.kill()
    for _ in range(2):
        standby = scene.add_standby()
        scene.catch_up(standby)
        scene.fail_over(standby)
        write(scene)
    scene.busbar.spawn()
    scene.pump(device, lambda: not device.online, "the end of the connection")
    scene.settle(device)
    assert device.resets == ["BEHIND_WINDOW"] * 3


def test_during_initial_data(failover):
    scene = failover.serve()
    scene.fill()
    device = scene.device(GROUPS)
    standby = scene.add_standby()
    scene.catch_up(standby)
    device.subscribe(ITEMS)
    (name,) = device.asked
    scene.pump(device, lambda: device.satellite._open is not None and device.satellite._open.ops, "the first rows")
    assert name in device.asked
    scene.fail_over(standby)
    write(scene, 3)
    scene.settle(device)
    assert len(device.shapes) == 2


def test_during_a_large_transaction(failover):
    """It was on its way, streamed before its commit: with its server it is gone."""
    scene = failover
    scene.servers[0].stop()
    with open(os.path.join(scene.servers[0].data, "postgresql.conf"), "a", encoding="utf-8") as conf:
        conf.write("logical_decoding_work_mem = '64kB'\n")
    scene.servers[0].start()
    scene.serve()
    device = scene.device(ITEMS)
    standby = scene.add_standby()
    received = scene.relay_bytes()
    with scene.connect() as connection, pytest.raises(Exception, match="closed|terminat"):
        with connection.transaction():
            connection.execute("INSERT INTO items SELECT i, 1, repeat('l', 1000) FROM generate_series(1, 20000) i")
            wait_until(lambda: scene.relay_bytes() > received + 10_000_000, "the transaction to be streamed")
            scene.catch_up(standby)
            scene.fail_over(standby)
            connection.execute("SELECT 1")
    write(scene, 3)
    scene.settle(device)
    assert ("1",) not in device.tables["items"]


def test_acknowledged_at_the_last_moment(failover):
    """What a client said of the old log is not kept with the new one, however late it said so: it must not go on at a position
    that means something else now."""
    scene = failover.serve()
    standby = scene.add_standby()
    scene.catch_up(standby)
    scene.isolate(standby)
    client = Satellite(scene.busbar.http_port, auto_ack=False).start()
    try:
        client.subscribe("items")
        with scene.connect() as connection:
            connection.execute("INSERT INTO items SELECT i, 1, repeat('z', 2000) FROM generate_series(1, 3000) i")
            for _ in range(28):
                scene.write_one(connection)
        client.collect(lambda: (str(scene.last),) in client.tables.get("items", {}), "the rows")
        scene.kill_primary()
        standby.promote()
        scene.turn_to(standby)
        unacked = list(client.unacked)
        assert len(unacked) > 20
        while not client.closed and unacked:
            client.ack(unacked.pop(0))
            client.pump(0.2)
        client.wait_closed()
        client.close()
        scene.busbar.wait_log("lost transactions that the log holds")
        scene.busbar.wait_log("sync: ready at .*\n(.*\n)*.*sync: ready at ")
        with scene.connect() as connection:
            while scene.cluster.position() <= int(client.lsn):
                connection.execute("INSERT INTO groups SELECT i, repeat('z', 2000) FROM generate_series(1000, 2000) i;"
                                   " DELETE FROM groups WHERE id >= 1000")
        again = client.continue_on()
        again.connect()
        again.authenticate()
        with pytest.raises(RpcError, match="Cannot catch up|already acknowledged"):
            again.resume()
        again.close()
    finally:
        client.close()


def test_migration_lost_with_the_primary(failover):
    """Who has it is refused by name, and goes on when it has been run again."""
    def migrate():
        with scene.busbar.wire() as wire:
            wire.query("BEGIN; CALL electric.migration_version('20990101'); ALTER TABLE items ADD COLUMN later text; COMMIT").ok()

    def come_back():
        again = client.continue_on()
        try:
            again.connect()
            again.authenticate()
            with pytest.raises(RpcError) as error:
                again.resume(schema_version="20990101")
            return error.value.code
        finally:
            again.close()

    scene = failover.serve()
    standby = scene.add_standby()
    scene.catch_up(standby)
    scene.isolate(standby)
    client = Satellite(scene.busbar.http_port).start()
    try:
        client.sync("items")
        migrate()
        client.collect(lambda: any(m.version == "20990101" for t in client.transactions for m in t.migrations), "the migration")
        scene.fail_over(standby)
        client.wait_closed()
    finally:
        client.close()
    wait_until(lambda: come_back() == "UNKNOWN_SCHEMA_VSN", "the refusal")
    scene.busbar.wait_ready()
    migrate()
    assert come_back() in RESETTING


@pytest.mark.parametrize("behind", [False, True])
def test_slot_carried_over(failover, behind):
    """Nobody loads anything again, unless the standby had not come as far."""
    scene = failover.serve()
    device = scene.device(ITEMS)
    standby = scene.add_standby()
    scene.carry_slot(standby)
    if behind:
        scene.isolate(standby)
    write(scene, 10)
    scene.settle(device)
    if not behind:
        scene.catch_up(standby)
    scene.fail_over(standby)
    write(scene, 10)
    scene.settle(device)
    assert len(device.resets) == behind and scene.metric("busbar_log_resets_total") == behind
    if behind:
        scene.busbar.wait_log("lost transactions that the log holds")
    scene.crash()
    scene.pump(device, lambda: not device.online, "the end of the connection")
    write(scene, 3)
    scene.settle(device)
    assert len(device.resets) == behind


def test_message_lost_with_the_primary(failover):
    """A subscription waits for a message in the stream; the one that was written is not on the new primary: there is another."""
    scene = failover.serve()
    device = scene.device(GROUPS)
    standby = scene.add_standby()
    scene.carry_slot(standby)
    write(scene)
    scene.catch_up(standby)
    hold, held = threading.Event(), threading.Event()

    def on_backend(connection, number, message):
        if "replication" in connection.params and not hold.is_set():
            held.set()
            hold.wait(60)

    scene.relay.on_backend = on_backend
    write(scene)
    assert held.wait(20)
    scene.catch_up(standby)
    scene.isolate(standby)
    with scene.connect() as connection:
        transactions = "SELECT pg_current_snapshot()::text"
        before = connection.execute(transactions).fetchone()
        device.subscribe(ITEMS)
        scene.pump(device, lambda: connection.execute(transactions).fetchone() != before, "the message")
    scene.kill_primary()
    standby.promote()
    scene.turn_to(standby)
    hold.set()
    scene.settle(device)
    assert not device.resets and len(device.shapes) == 2
