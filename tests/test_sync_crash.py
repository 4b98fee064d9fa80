# SPDX-License-Identifier: Apache-2.0
"""The worst moments: kill -9 of Busbar all along the way from PostgreSQL to a client, PostgreSQL gone at once, a network cut without a
word, no room for the log. Inside the window no client loses anything, is told anything twice, or has to load its data again: a device
(``harness/device.py``) fails at BEHIND_WINDOW, INVALID_POSITION, SUBSCRIPTION_NOT_FOUND, at any other error that would stop the
published client, and at whatever does not fit what it has.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness.busbar import Busbar
from harness.device import Device
from harness.oracle import ForeignKey, Oracle, Select, Table, difference
from harness.postgres import Postgres
from harness.satellite import Batch, Satellite, Transaction
from harness.wait import wait_until
from harness.web import get

SCHEMA = """
CREATE TABLE groups (id int4 PRIMARY KEY, name text);
CREATE TABLE items (id int4 PRIMARY KEY, group_id int4 REFERENCES groups, value text);
"""
ROWS = 12000  # of the initial data: more megabytes than stand in sockets
LARGE = 20000  # rows of a kilobyte in one transaction: more than it is given of memory


class Scene:
    """A Busbar, devices, somebody who writes."""

    def __init__(self, cluster, database, url=None, may_reset=False):
        self.cluster, self.database, self.may_reset = cluster, database, may_reset
        self.oracle = Oracle({t.name: t for t in (
            Table("groups", {"id": "int4", "name": "text"}, ("id",)),
            Table("items", {"id": "int4", "group_id": "int4", "value": "text"}, ("id",), [ForeignKey(("group_id",), "groups", ("id",))]))})
        self.devices, self.log, self.last = [], [], 100000
        self.writer, self.stopping = None, threading.Event()
        self.busbar = Busbar(url or cluster.url(database), dbname=database, LOG_LEVEL="info")

    def serve(self):
        self.busbar.start()
        with self.busbar.wire() as wire:
            wire.query(SCHEMA + "ALTER TABLE groups ENABLE ELECTRIC; ALTER TABLE items ENABLE ELECTRIC").ok()
        with self.connect() as connection:
            connection.execute("INSERT INTO groups SELECT i, 'group ' || i FROM generate_series(1, 10) i")
        return self

    def fill(self):
        with self.connect() as connection:
            connection.execute(f"INSERT INTO items SELECT i, 1 + i % 10, repeat('x', 2000) FROM generate_series(1, {ROWS}) i")

    def connect(self):
        return self.cluster.connect(self.database)

    def device(self, *shapes):
        """Connected, its data there; without shapes only connected."""
        device = Device(self.busbar.http_port, f"d{len(self.devices)}", "u", self.log.append, always=shapes, may_reset=self.may_reset)
        self.devices.append(device)
        wait_until(device.connect, "a connection")
        self.pump(device, lambda: device.settled, "the data")
        return device

    def pump(self, device, until, what, timeout=60):
        """Reads, and comes back whenever it must, until the condition holds."""
        def there():
            if not device.online:
                device.connect()
            device.pump(0.01)
            return until()

        try:
            wait_until(there, what, timeout, interval=0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.log[-30:]) + self.busbar.log()[-3000:]) from None

    def crash(self):
        self.busbar.kill()
        self.busbar.spawn()

    # Writing.

    def write_one(self, connection):
        self.last += 1
        connection.execute(f"INSERT INTO items VALUES ({self.last}, {1 + self.last % 10}, 'value {self.last}');"
                           f" UPDATE items SET value = value || '.' WHERE id = {self.last - 1}")

    def _write(self):
        """What was under way when PostgreSQL went may have happened or not; the oracle will say."""
        connection = None
        while not self.stopping.is_set():
            try:
                connection = connection or self.connect()
                self.write_one(connection)
            except Exception:  # noqa: BLE001  PostgreSQL is restarting
                connection = None
        if connection:
            connection.close()

    def begin_writing(self):
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.writer.start()

    def end_writing(self):
        self.stopping.set()
        self.writer.join(30)

    # The verdict.

    def settle(self, device):
        """Until the device has exactly what PostgreSQL has, and each row once and in order."""
        self.pump(device, lambda: device.settled, "the device to have all its data")
        shapes = [shape for shapes in device.shapes.values() for shape in shapes]
        with self.connect() as connection:
            contents = self.oracle.contents(connection)
            visible = self.oracle.visible(connection, shapes, "u")
        faults = []

        def same():
            faults[:] = difference(device.tables, contents, visible) if device.settled else ["not settled"]
            return not faults

        try:
            self.pump(device, same, "the device to have what PostgreSQL has")
        except AssertionError as error:
            raise AssertionError("\n".join(faults[:20]) + f"\n{error}") from None

    def end(self):
        if self.writer:
            self.end_writing()
        for device in self.devices:
            device.discard()
        self.busbar.check()


@pytest.fixture
def scene(cluster, database):
    scene = Scene(cluster, database)
    try:
        yield scene
    finally:
        scene.end()


@pytest.fixture
def own_scene():
    """For a test that stops PostgreSQL."""
    cluster = Postgres(settings=["synchronous_commit = on"]).start()
    try:
        scene = Scene(cluster, cluster.create_database())
        try:
            yield scene
        finally:
            scene.end()
    finally:
        cluster.destroy()


ITEMS = Select("items")


@pytest.mark.parametrize("moment", ["asked", "answered", "begun", "middle", "complete"])
def test_kill_during_initial_data(scene, moment):
    """The subscription that was not complete is asked for anew; the other one goes on."""
    scene.serve().fill()
    device = scene.device(Select("groups"))
    device.subscribe(ITEMS)
    (name,) = device.asked
    (number,) = device.answers
    satellite = device.satellite

    def data(least):
        batch = satellite._open
        return isinstance(batch, Batch) and len(batch.ops) >= least or name in device.shapes

    reached = {"asked": lambda: True, "answered": lambda: number not in device.answers or satellite.answered(number), "begun": lambda: data(0),
               "middle": lambda: data(ROWS // 4), "complete": lambda: name in device.shapes}[moment]
    while not reached():  # a piece at a time
        device.pump(0)
        satellite._read(time.monotonic() + 20)
        device._look()
    scene.crash()
    scene.pump(device, lambda: not device.online or device.settled, "the end of the connection")
    scene.settle(device)
    assert (name in device.shapes) == (moment == "complete")
    with scene.connect() as connection:
        scene.write_one(connection)
    scene.settle(device)


def test_kill_in_a_burst(scene):
    """Nothing is lost or told twice, and what comes comes in the order of commits."""
    scene.serve()
    devices = [scene.device(ITEMS), scene.device(Select("groups", "", [(ForeignKey(("group_id",), "groups", ("id",)), True, ITEMS)]))]
    came = {device: [] for device in devices}
    scene.begin_writing()
    for _ in range(5):
        for device in devices:
            count = len(device.tables.get("items", {}))
            scene.pump(device, lambda device=device, count=count: len(device.tables.get("items", {})) > count + 30, "the burst")
        for device in devices:
            came[device] += new_rows(device)
        scene.crash()
        for device in devices:
            scene.pump(device, lambda device=device: not device.online, "the end of the connection")
            came[device] += new_rows(device)[len(set(new_rows(device)) & set(came[device])):]
            device.satellite.log.clear()
            device.seen = 0
    scene.end_writing()
    for device in devices:
        scene.settle(device)
        came[device] += new_rows(device)
        numbers = [number for i, number in enumerate(came[device]) if i == 0 or number != came[device][i - 1]]
        assert numbers == sorted(set(numbers)), "in order, once"


def new_rows(device):
    return [int(op.row["id"]) for what in device.satellite.log if isinstance(what, Transaction) for op in what.ops if op.kind == "insert" and op.table == "items"]


def test_kill_between_delivery_and_disk(scene):
    """A transaction is told before the log is on the disk: who has it comes back at a position that the log has yet to reach."""
    scene.serve()
    device = scene.device(ITEMS)
    with scene.connect() as connection:
        for _ in range(10):
            scene.write_one(connection)
            scene.pump(device, lambda: (str(scene.last),) in device.tables["items"], "the row")
            scene.crash()
            scene.pump(device, lambda: not device.online, "the end of the connection")
    scene.settle(device)


def test_kill_after_a_migration(scene):
    """It comes once, and the rows after it have its column."""
    scene.serve()
    device = scene.device(ITEMS)
    known, versions = migrations(device), []
    for number in range(4):
        with scene.busbar.wire() as wire:
            wire.query(f"ALTER TABLE items ADD COLUMN c{number} text").ok()
        scene.oracle.tables["items"].columns[f"c{number}"] = "text"
        if number % 2:
            scene.pump(device, lambda: any(t.is_migration for t in device.satellite.transactions[-1:]), "the migration")
        scene.crash()
        with scene.connect() as connection:
            scene.last += 1
            connection.execute(f"INSERT INTO items (id, c{number}) VALUES ({scene.last}, 'new')")
        versions += migrations(device)
        scene.pump(device, lambda: not device.online, "the end of the connection")
        scene.settle(device)
        scene.busbar.wait_ready()
        versions += migrations(device)
    versions = [version for version in versions if version not in known]
    assert len(set(versions)) == 4 and [v for i, v in enumerate(versions) if v not in versions[:i]] == sorted(set(versions))


def migrations(device):
    return [m.version for t in device.satellite.transactions for m in t.migrations]


def test_postgres_restarted_at_once(own_scene):
    """pg_ctl -m immediate, again and again, in a burst and in the middle of initial data: clients stay, or come back and go on."""
    scene = own_scene
    scene.serve().fill()
    device = scene.device(ITEMS)
    other = scene.device(Select("groups"))
    scene.begin_writing()
    for _ in range(3):
        count = len(device.tables["items"])
        scene.pump(device, lambda count=count: len(device.tables["items"]) > count + 10, "the burst")
        other.subscribe(Select("items", "this.id % 2 = 0"))
        scene.cluster.stop(signal.SIGQUIT)
        scene.cluster.start()
        scene.busbar.wait_ready()
    scene.end_writing()
    scene.settle(device)
    scene.settle(other)
    assert len(other.shapes) == 4


def test_coming_back_while_postgres_is_away(own_scene):
    """Whoever resumes or subscribes meanwhile waits; nobody is sent away for it."""
    scene = own_scene
    scene.serve()
    devices = [scene.device(ITEMS), scene.device(Select("groups"))]
    with scene.connect() as connection:
        scene.write_one(connection)
    scene.settle(devices[0])
    scene.cluster.stop()
    wait_until(lambda: reason(scene), "the loss to be noticed")
    for device in devices:
        device.drop()
    for device in devices:
        assert device.connect()
    devices[0].subscribe(Select("groups", "this.id > 5"))
    until = time.monotonic() + 2  # several attempts of each
    for device in devices:
        scene.pump(device, lambda: time.monotonic() > until, "the time to pass")
    assert all(device.online for device in devices)
    scene.cluster.start()
    for device in devices:
        scene.settle(device)
    with scene.connect() as connection:
        scene.write_one(connection)
    for device in devices:
        scene.settle(device)
        assert not device.history, "nobody is sent away"


def cut(connection):
    """From now on nothing reaches the socket, and the other side gets no answer: as when a cable is pulled (a socket filter that drops all)."""
    drop_all = struct.pack("HBBI", 0x06, 0, 0, 0)
    code = ctypes.create_string_buffer(drop_all)
    connection.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(code)))  # SO_ATTACH_FILTER


@pytest.mark.parametrize("flood", [False, True])
def test_network_cut(scene, flood):
    """The service does not know that the connection is dead; the device comes back by another one, whatever waits in the first."""
    scene.serve()
    device = scene.device(ITEMS)
    for _ in range(3):
        cut(device.satellite.socket)
        with scene.connect() as connection:
            scene.write_one(connection)
            if flood:
                connection.execute(f"UPDATE items SET value = repeat('{scene.last % 10}', 1000000) WHERE id > {scene.last - 20}")
        device.vanish()
        scene.settle(device)
    device.unsubscribe(*device.shapes)
    scene.pump(device, lambda: not device.leaving, "the end of the subscription")
    assert not device.tables["items"]


def test_kill_behind_a_first_start(scene):
    """Who was told that it has started comes back to where it was told it is."""
    scene.serve()
    for _ in range(5):
        client = Satellite(scene.busbar.http_port).start()
        scene.crash()
        scene.busbar.wait_ready()
        again = client.continue_on()
        again.connect()
        again.authenticate()
        again.resume()
        again.close()


def large_files(scene):
    folder = os.path.join(scene.busbar.data, "log", "large")
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def test_a_large_transaction_has_a_file(scene):
    """Who was away reads it from there, after a crash as well. It stays as long as the log reaches back to it, and goes with it."""
    scene.busbar.environment["ELECTRIC_RESUMABLE_WAL_WINDOW"] = "50M"
    scene.serve()
    device, away = (scene.device(Select("items", "this.group_id = 3")) for _ in range(2))
    away.close()
    with scene.connect() as connection:
        with connection.transaction():
            connection.execute(f"INSERT INTO items SELECT i, 1 + i % 10, repeat('x', 1000) FROM generate_series(1, {LARGE}) i")
            connection.execute("DELETE FROM items WHERE id % 100 = 2; UPDATE items SET group_id = 3 WHERE id % 1000 = 5")
        scene.settle(device)
        (first,) = large_files(scene)
        scene.crash()
        scene.settle(away)
        scene.settle(device)
        assert large_files(scene) == {first}
        connection.execute("UPDATE items SET value = value || '.'")
        scene.settle(device)
        wait_until(lambda: len(large_files(scene)) == 1 and first not in large_files(scene), "the first to be gone")
    (second,) = large_files(scene)
    scene.crash()
    scene.settle(away)
    assert large_files(scene) == {second}


def test_large_transactions_under_way(scene):
    """Streamed before they end: each has its file, which goes with it when it is rolled back, and with the process when that is killed."""
    with scene.connect() as connection:
        connection.execute(f"ALTER DATABASE {scene.database} SET logical_decoding_work_mem = '64kB'")
    scene.serve()
    device = scene.device(Select("items", "this.group_id = 3"))
    fill = "INSERT INTO items SELECT i, 1 + i % 10, repeat('x', 1000) FROM generate_series({}, {}) i"
    with scene.connect() as lost, scene.connect() as kept:
        lost.autocommit = kept.autocommit = False
        lost.execute(fill.format(1, LARGE))
        wait_until(lambda: len(large_files(scene)) == 1, "the file of the first")
        kept.execute(fill.format(LARGE + 1, 2 * LARGE))
        with pytest.raises(ZeroDivisionError), kept.transaction():
            kept.execute(fill.format(2 * LARGE + 1, 2 * LARGE + LARGE // 2))
            raise ZeroDivisionError
        kept.execute("UPDATE items SET group_id = 3 WHERE id % 1000 = 5")
        wait_until(lambda: len(large_files(scene)) == 2, "the file of the second")
        lost.rollback()
        wait_until(lambda: len(large_files(scene)) == 1, "the file of the first to be gone")
        before = large_files(scene)
        scene.crash()
        wait_until(lambda: not large_files(scene) & before, "the file of the process that is gone, to be gone")
        kept.commit()
    scene.settle(device)
    assert len(large_files(scene)) == 1


def test_a_transaction_too_large_to_be_followed(scene):
    """Of what nobody sees there may be any amount. Who sees more of it than is held in memory loads anew, once; the others go on."""
    scene.serve()
    loses, goes_on = scene.device(Select("items", "this.group_id = 3")), scene.device(Select("items", "this.group_id = 4"))
    loses.may_reset = True
    rewrite = "DO $$ BEGIN FOR i IN 1 .. 300 LOOP UPDATE items SET value = repeat(chr(65 + i % 26), 1000000) WHERE id = {}; END LOOP; END $$"
    with scene.connect() as connection:
        connection.execute("INSERT INTO items VALUES (3, 3, 'three'), (4, 4, 'four'), (5, 5, 'five')")
        for device in scene.devices:
            scene.settle(device)
        connection.execute(rewrite.format(5))
        for device in scene.devices:
            scene.settle(device)
        assert not loses.resets
        connection.execute(rewrite.format(3))
        scene.pump(loses, lambda: loses.resets, "the device to be told to begin anew")
        scene.settle(loses)
        scene.settle(goes_on)
        scene.busbar.wait_log("more than 512 MB of what clients see")
        scene.write_one(connection)
        for device in scene.devices:
            scene.settle(device)
    assert loses.resets == ["SUBSCRIPTION_NOT_FOUND"] and not goes_on.resets


def reason(scene):
    return get(scene.busbar.http_port, "/api/health").json["replication"]["reason"] or ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("rows", [2000, LARGE], ids=["small", "large"])
def test_disk_full_under_the_log(scene, restart, rows):
    """It waits, says why, and goes on when there is room again; also when it was killed meanwhile. A large transaction has a file of its own
    there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", scene.busbar.data], check=True)
    try:
        scene.serve()
        device = scene.device(ITEMS)
        filler = os.path.join(scene.busbar.data, "filler")
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"\0" * 4096)
        with scene.connect() as connection:
            scene.write_one(connection)
            connection.execute(f"INSERT INTO items SELECT i, 1, repeat('y', 1000) FROM generate_series(1, {rows}) i")
            scene.busbar.wait_log("the disk that holds the log is full")
            wait_until(lambda: "full" in reason(scene), "the reason")
            if restart:
                scene.crash()
                wait_until(lambda: scene.busbar.log().count("the disk that holds the log is full") > 1, "the reason in the log of the next one")
            scene.write_one(connection)
            os.unlink(filler)
            scene.settle(device)
            scene.write_one(connection)
        scene.settle(device)
        wait_until(lambda: not reason(scene), "no reason any more")
    finally:
        scene.busbar.kill()
        subprocess.run(["umount", scene.busbar.data], check=True)


@pytest.mark.parametrize("where", ["this.group_id = 2", "this.group_id < 3"])
@pytest.mark.parametrize("change", ["UPDATE items SET group_id = 5 WHERE id = 100001", "DELETE FROM items WHERE id = 100001"])
def test_replica_identity_taken_away(scene, change, where):
    """By somebody whom the guard lets: what that hides costs one load, not one at each start or with each change."""
    scene.may_reset = True
    scene.serve()
    with scene.connect() as connection:
        for _ in range(3):
            scene.write_one(connection)
        device, other = scene.device(Select("items", where)), scene.device(Select("groups"))
        connection.execute("SET busbar.maintenance = 'on'; ALTER TABLE items REPLICA IDENTITY DEFAULT; RESET busbar.maintenance")
        connection.execute(change)
        scene.pump(device, lambda: device.resets, "the device to be told to begin anew")
        scene.settle(device)
        identity = "SELECT relreplident FROM pg_class WHERE oid = 'items'::regclass"
        wait_until(lambda: connection.execute(identity).fetchone() == ("f",), "the identity to be FULL")
        connection.execute(change.replace("100001", "100002"))
        scene.settle(device)
        scene.busbar.stop()
        scene.busbar.start()
        connection.execute(change.replace("100001", "100003"))
        scene.pump(device, lambda: not device.online, "the end of the connection")
        scene.settle(device)
        scene.settle(other)
    assert len(device.resets) == 1 and not other.resets


def test_replica_identity_put_back(scene):
    """Nothing was changed in between, so nothing is lost; and it is put back at the start."""
    scene.serve()
    with scene.connect() as connection:
        device = scene.device(ITEMS)
        scene.busbar.kill()
        connection.execute("SET busbar.maintenance = 'on'; ALTER TABLE items REPLICA IDENTITY DEFAULT; RESET busbar.maintenance")
        connection.execute("INSERT INTO items VALUES (1, 1, 'one')")
        scene.busbar.start()
        connection.execute("UPDATE items SET value = 'two'")
        scene.pump(device, lambda: not device.online, "the end of the connection")
        scene.settle(device)
