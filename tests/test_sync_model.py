# SPDX-License-Identifier: Apache-2.0
"""The sync service against a model: random transactions, migrations and shapes, clients that come and go, Busbar and PostgreSQL killed.

Now and then everything comes to rest; then the tables of each client must equal what PostgreSQL says that its shapes describe
(``harness/oracle.py``). All the way, nothing may be told that does not fit what the client has (an insert of a row that is there, an
update of one that is not), and nobody may be made to load its data again.

One thread, so that a seed repeats the decisions; what the service makes of their timing differs from run to run.
BUSBAR_SYNC_STEPS for longer runs, BUSBAR_SYNC_SEED to repeat one.
"""

import os
import random
import signal
import time
from collections import deque

import psycopg

from harness.busbar import Busbar
from harness.device import Device
from harness.oracle import ForeignKey, Oracle, Select, Table, difference
from harness.postgres import Postgres

STEPS = int(os.environ.get("BUSBAR_SYNC_STEPS", "2000"))
SEED = int(os.environ.get("BUSBAR_SYNC_SEED", random.SystemRandom().randrange(1_000_000)))
DEVICES, WRITERS, REST_EVERY, USERS = 5, 4, 120, ("ann", "bob")

SCHEMA = """
CREATE TABLE beacon (id int4 PRIMARY KEY, n int4);
CREATE TABLE ballast (id int4 PRIMARY KEY, filler text);
CREATE TABLE folders (id int4 PRIMARY KEY, parent_id int4 REFERENCES folders ON DELETE CASCADE ON UPDATE CASCADE, name text, rank int4);
CREATE TABLE docs (tenant int4, nr int4, folder_id int4 REFERENCES folders ON DELETE CASCADE ON UPDATE CASCADE, title text, size int4,
                   done bool, electric_user_id text, PRIMARY KEY (tenant, nr));
CREATE TABLE notes (id int4 PRIMARY KEY, tenant int4, nr int4, about int4 REFERENCES folders ON DELETE SET NULL ON UPDATE CASCADE,
                    body text, score float8, FOREIGN KEY (tenant, nr) REFERENCES docs ON DELETE CASCADE ON UPDATE CASCADE);
"""
NAMES = ["ash", "birch", "cedar", "Elm", "", "o'ak", "äöü", "100%"]


def tables():
    return {table.name: table for table in (
        Table("beacon", {"id": "int4", "n": "int4"}, ("id",)),
        Table("folders", {"id": "int4", "parent_id": "int4", "name": "text", "rank": "int4"}, ("id",),
              [ForeignKey(("parent_id",), "folders", ("id",))]),
        Table("docs", {"tenant": "int4", "nr": "int4", "folder_id": "int4", "title": "text", "size": "int4", "done": "bool",
                       "electric_user_id": "text"}, ("tenant", "nr"), [ForeignKey(("folder_id",), "folders", ("id",))]),
        Table("notes", {"id": "int4", "tenant": "int4", "nr": "int4", "about": "int4", "body": "text", "score": "float8"}, ("id",),
              [ForeignKey(("tenant", "nr"), "docs", ("tenant", "nr")), ForeignKey(("about",), "folders", ("id",))]))}


class Writes:
    """Random SQL: statements, transactions."""

    def __init__(self, rng, schema):
        self.rng, self.schema, self.ballast = rng, schema, 0

    def literal(self, kind):
        if self.rng.random() < 0.15:
            return "NULL"
        return {"int4": lambda: str(self.rng.randrange(10)), "bool": lambda: self.rng.choice(["true", "false"]),
                "float8": lambda: str(self.rng.randrange(40) / 8), "text": lambda: "'" + self.rng.choice(NAMES).replace("'", "''") + "'"}[kind]()

    def key(self, table):
        limits = {"tenant": 3, "nr": 12, "id": 60 if table.name == "notes" else 25}
        return [str(self.rng.randrange(1, limits[c] + 1)) for c in table.key]

    def data_columns(self, table):
        keys = {c for fk in table.foreign_keys for c in fk.columns} | set(table.key)
        return [c for c in table.columns if c not in keys]

    def value(self, table, column):
        if column == "electric_user_id":
            return self.rng.choice(["'ann'", "'bob'", "'eve'", "''", "NULL"])
        return self.literal(table.columns[column])

    def parent(self, fk):
        """Values of a foreign key: of a row that is likely there, as one SELECT; or NULLs."""
        if self.rng.random() < 0.15:
            return "SELECT " + ", ".join("NULL::int4" for _ in fk.columns)
        target = self.schema[fk.target]
        columns, at = ", ".join(target.key), ", ".join(self.key(target))
        return f"SELECT {columns} FROM {fk.target} WHERE ({columns}) >= ({at}) ORDER BY {columns} LIMIT 1"

    def match(self, columns, values):
        return " AND ".join(f"{c} = {v}" for c, v in zip(columns, values))

    def insert(self, table, key=None):
        columns, values = list(table.key), key or self.key(table)
        for column in self.data_columns(table):
            columns.append(column)
            values.append(self.value(table, column))
        sources = []
        for i, fk in enumerate(table.foreign_keys):
            columns += fk.columns
            values += [f"f{i}.{c}" for c in fk.columns]
            sources.append(f" LEFT JOIN ({self.parent(fk)}) AS f{i} ({', '.join(fk.columns)}) ON true")
        return f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM (SELECT) AS one{''.join(sources)} ON CONFLICT DO NOTHING"

    def update(self, table):
        column = self.rng.choice(self.data_columns(table))
        where = self.match(table.key, self.key(table)) if self.rng.random() < 0.7 else f"{table.key[-1]} % 7 = {self.rng.randrange(7)}"
        return f"UPDATE {table.name} SET {column} = {self.value(table, column)} WHERE {where}"

    def move(self, table):
        """To another parent."""
        if not table.foreign_keys:
            return self.update(table)
        fk = self.rng.choice(table.foreign_keys)
        target = ", ".join(fk.columns)
        target = f"({target})" if len(fk.columns) > 1 else target
        return f"UPDATE {table.name} SET {target} = ({self.parent(fk)}) WHERE {self.match(table.key, self.key(table))}"

    def rename(self, table):
        """Another key; what refers to it follows."""
        old, new = self.key(table), self.key(table)
        sets = ", ".join(f"{c} = {v}" for c, v in zip(table.key, new))
        return (f"UPDATE {table.name} SET {sets} WHERE {self.match(table.key, old)}"
                f" AND NOT EXISTS (SELECT FROM {table.name} WHERE {self.match(table.key, new)})")

    def delete(self, table):
        return f"DELETE FROM {table.name} WHERE {self.match(table.key, self.key(table))}"

    def replace(self, table):
        key = self.key(table)
        return f"DELETE FROM {table.name} WHERE {self.match(table.key, key)}; {self.insert(table, key)}"

    def statement(self):
        table = self.rng.choice([t for name, t in self.schema.items() if name != "beacon"])
        kind = self.rng.choices(["insert", "update", "move", "rename", "delete", "replace"], [9, 5, 4, 1, 2, 1])[0]
        return getattr(self, kind)(table)

    def statements(self):
        parts = [self.statement() for _ in range(self.rng.choice([1, 1, 2, 3, 6]))]
        if self.rng.random() < 0.2:
            inner = [self.statement() for _ in range(self.rng.randrange(1, 4))]
            end = self.rng.choice(["RELEASE s", "ROLLBACK TO s", "ROLLBACK TO s; RELEASE s"])
            parts[self.rng.randrange(len(parts)):0] = ["SAVEPOINT s", *inner, end]
        return "; ".join(parts)

    def heavy(self):
        """With a row that nobody sees, so long that the transaction is not followed on the loop (LIMIT_SYNC_INLINE)."""
        self.ballast += 1
        weight = f"INSERT INTO ballast VALUES ({self.ballast}, repeat('x', 300000))"
        return self.rng.choice([f"{weight}; {self.statements()}", f"{self.statements()}; {weight}"])

    def large(self):
        """More than logical_decoding_work_mem: PostgreSQL sends it before it has ended."""
        fill = "INSERT INTO notes (id, about, body) SELECT i, (SELECT min(id) FROM folders), repeat('x', 200) FROM generate_series(1000, 1600) i ON CONFLICT DO NOTHING"
        return self.rng.choice([fill, fill + "; DELETE FROM notes WHERE id >= 1000", f"SAVEPOINT s; {fill}; ROLLBACK TO s; " + self.statements(),
                                "UPDATE notes SET about = (SELECT max(id) FROM folders) WHERE id >= 1000", "DELETE FROM notes WHERE id >= 1000"])


class Shapes:
    """Random shapes."""

    def __init__(self, rng, schema):
        self.rng, self.schema, self.writes = rng, schema, Writes(rng, schema)

    def comparison(self, table):
        column = self.rng.choice([c for c in table.columns if c != "electric_user_id"])
        name, kind = f'this."{column}"', table.columns[column]
        value = self.writes.literal(kind).replace("NULL", "0" if kind in ("int4", "float8") else "'t'")
        kinds = [f"{name} IS NULL", f"{name} IS NOT NULL", f"{name} = {value}", f"{name} <> {value}", f"{name} IN ({value}, {value})"]
        if kind == "bool":
            kinds += [name, f"NOT {name}", f"{name} IS NOT TRUE"]
        else:
            kinds += [f"{name} < {value}", f"{name} >= {value}", f"{name} IS DISTINCT FROM {value}"]
        if kind == "text":
            kinds += [f"{name} LIKE '%a%'", f"{name} NOT LIKE 'b%'", f"lower({name}) = 'elm'"]
        if kind == "int4":
            kinds += [f"{name} + 1 > {value}", f"{name} BETWEEN 2 AND 6"]
        return self.rng.choice(kinds)

    def where(self, table, depth=0):
        pick = self.rng.random()
        if depth == 2 or pick < 0.6:
            return self.comparison(table)
        if pick < 0.7:
            return f"NOT ({self.where(table, depth + 1)})"
        return f"({self.where(table, depth + 1)}) {self.rng.choice(['AND', 'OR'])} ({self.where(table, depth + 1)})"

    def shape(self):
        return self.select(self.rng.choice([t for name, t in self.schema.items() if name != "beacon"]), 0)

    def select(self, table, depth, may_filter=True):
        where = self.where(table) if may_filter and self.rng.random() < 0.6 / (depth + 1) else ""
        return Select(table.name, where, self.includes(table, depth) if depth < 3 and self.rng.random() < 0.6 else [])

    def includes(self, table, depth):
        found = []
        many = [(fk, True, child) for child in self.schema.values() for fk in child.foreign_keys if fk.target == table.name]
        one = [(fk, False, self.schema[fk.target]) for fk in table.foreign_keys if fk.target != table.name]
        for fk, to_many, target in self.rng.sample(many + one, self.rng.randrange(1, min(2, len(many + one)) + 1)) if many + one else []:
            found.append((fk, to_many, self.select(target, depth + 1, to_many)))
        return found


class World:
    """Everything there is, and what can happen to it."""

    def __init__(self, seed, steps):
        self.seed, self.steps, self.rng = seed, steps, random.Random(seed)
        self.schema = tables()
        self.oracle, self.writes, self.shapes = Oracle(self.schema), Writes(self.rng, self.schema), Shapes(self.rng, self.schema)
        self.events, self.step, self.beacon, self.counts = deque(maxlen=120), 0, 0, {}
        self.cluster = Postgres(settings=["synchronous_commit = on", "logical_decoding_work_mem = 64kB"])
        self.busbar, self.writers, self.devices, self.paused = None, [], [], {}

    def say(self, text):
        self.events.append(f"{self.step}: {text}"[:400])

    def start(self):
        self.cluster.start()
        self.database = self.cluster.create_database()
        self.busbar = Busbar(self.cluster.url(self.database), dbname=self.database, LOG_LEVEL="info").start()
        names = [*self.schema, "ballast"]
        with self.busbar.wire() as wire:
            wire.query(SCHEMA + "; ".join(f"ALTER TABLE {name} ENABLE ELECTRIC" for name in names)).ok()
        self.connect_writers()
        self.writers[0][0].execute("INSERT INTO beacon VALUES (1, 0)")
        for number in range(DEVICES):
            self.new_device(number)

    def end(self):
        for device in self.devices:
            device.discard()
        try:
            if self.busbar:
                self.busbar.check()
        finally:
            for connection, _ in self.writers:
                connection.close()
            self.cluster.destroy()

    def connect_writers(self):
        self.writers = [[self.cluster.connect(self.database, options="-c lock_timeout=10ms -c extra_float_digits=1", prepare_threshold=None), False]
                        for _ in range(WRITERS)]

    def new_device(self, number):
        device = Device(self.busbar.http_port, f"d{number}.{self.step}", USERS[number % len(USERS)], self.say, always=[Select("beacon")])
        self.devices[number:number + 1] = [device]

    # Steps.

    def write(self, make=None):
        writer = self.rng.choice(self.writers)
        connection, is_open = writer
        sql = (make or self.writes.statements)()
        sql = sql if is_open else "BEGIN; " + sql
        end = self.rng.choices(["", "; COMMIT", "; ROLLBACK"], [2, 9, 1])[0]
        self.say(f"w{self.writers.index(writer)} {sql}{end}")
        try:
            connection.execute(sql + end)
            writer[1] = not end
        except (psycopg.errors.LockNotAvailable, psycopg.errors.IntegrityError) as error:
            self.say(f"rolled back: {type(error).__name__}")
            connection.execute("ROLLBACK")
            writer[1] = False

    def finish_writes(self):
        for writer in self.writers:
            if writer[1]:
                self.say(f"w{self.writers.index(writer)} COMMIT")
                writer[0].execute("COMMIT")
                writer[1] = False

    def write_heavy(self):
        self.write(self.writes.heavy)

    def write_much(self):
        self.write(self.writes.large)

    def truncate(self):
        self.finish_writes()
        self.write(lambda: self.rng.choice(["TRUNCATE notes", "TRUNCATE docs CASCADE"]) + "; " + self.writes.statements())

    def pick(self, online):
        found = [d for d in self.devices if d.online == online]
        return self.rng.choice(found) if found else None

    def subscribe(self):
        device = self.rng.choice(self.devices)
        if len(device.shapes) + len(device.wanted) < 5:
            device.subscribe(*[self.shapes.shape() for _ in range(self.rng.choice([1, 1, 2]))])

    def unsubscribe(self):
        device = self.pick(True)
        names = device and [n for n, shapes in {**device.shapes, **device.asked}.items() if shapes[0].table != "beacon"]
        if names:
            device.unsubscribe(*self.rng.sample(sorted(names), self.rng.choice([1, min(2, len(names))])))

    def leave(self):
        device = self.pick(True)
        if device:
            self.rng.choice([device.drop, device.drop, device.close, device.vanish])()

    def come(self):
        device = self.pick(False)
        if device:
            device.connect()

    def pause(self):
        """Does not read for a while."""
        device = self.rng.choice(self.devices)
        self.paused[device] = self.step + self.rng.randrange(10, 100)

    def replace_device(self):
        number = self.rng.randrange(len(self.devices))
        self.devices[number].discard()
        self.new_device(number)

    def migrate(self):
        if self.busbar.process.poll() is not None or self.busbar.status()[0] != 200:
            return
        self.finish_writes()
        name = f"c{self.step}"
        narrow = [t for t in self.schema.values() if len(t.columns) < 12 and t.name != "beacon"]
        if self.rng.random() < 0.6 or len(self.schema) > 6:
            if not narrow:
                return
            table = self.rng.choice(narrow)
            kind = self.rng.choice(["text", "int4", "bool", "float8"])
            sql = f"ALTER TABLE {table.name} ADD COLUMN {name} {kind}"
            table.columns[name] = kind
        else:
            fk = self.rng.choice([ForeignKey(("up",), "folders", ("id",)), ForeignKey(("tenant", "nr"), "docs", ("tenant", "nr"))])
            table = Table(f"t{self.step}", {"id": "int4", **dict.fromkeys(fk.columns, "int4"), "value": "text"}, ("id",), [fk])
            columns = ", ".join(f"{c} {kind}" for c, kind in table.columns.items())
            sql = (f"CREATE TABLE {table.name} ({columns}, PRIMARY KEY (id), FOREIGN KEY ({', '.join(fk.columns)}) REFERENCES {fk.target}"
                   f" ON DELETE CASCADE ON UPDATE CASCADE); ALTER TABLE {table.name} ENABLE ELECTRIC")
            self.schema[table.name] = table
        self.say(sql)
        with self.busbar.wire() as wire:
            wire.query(sql).ok()

    def restart_busbar(self):
        how = self.rng.choice(["kill -9", "kill -9", "SIGTERM"])
        self.say(f"busbar: {how}")
        if how == "SIGTERM":
            self.busbar.wait_ready()
            assert self.busbar.stop() == 0
        else:
            self.busbar.kill()
        if self.rng.random() < 0.5:
            for _ in range(self.rng.randrange(30)):
                self.write()
        self.busbar.spawn()

    def restart_postgres(self):
        how = self.rng.choice([signal.SIGQUIT, signal.SIGINT])
        self.say(f"postgres: {how.name}")
        self.cluster.stop(how)
        self.cluster.start()
        for connection, _ in self.writers:
            connection.close()
        self.connect_writers()

    def rest(self):
        """Everything comes to rest, and must be as it should."""
        self.say("rest")
        self.paused = {}
        self.busbar.wait_ready()
        self.finish_writes()
        self.beacon += 1
        connection = self.writers[0][0]
        connection.execute("UPDATE beacon SET n = %s", (self.beacon,))
        contents = self.oracle.contents(connection)
        must = {device: None for device in self.devices}
        deadline = time.monotonic() + 30
        while must:
            for device in list(must):
                if not device.online:
                    device.connect()
                device.pump(0.002)
                if device.settled and device.tables.get("beacon", {}).get(("1",), {}).get("n") == str(self.beacon):
                    shapes = [shape for shapes in device.shapes.values() for shape in shapes]
                    must[device] = difference(device.tables, contents, self.oracle.visible(connection, shapes, device.user)) if not device.leaving else ["leaving"]
                    if not must[device]:
                        del must[device]
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(f"{d.name} ({d.user}), online {d.online}, settled {d.settled}, with "
                                               f"{[str(s) for shapes in d.shapes.values() for s in shapes]}:\n  "
                                               + "\n  ".join((lines or ["has not caught up"])[:20]) for d, lines in must.items()))

    STEPS = {"write": 1000, "write_heavy": 50, "write_much": 5, "truncate": 3, "subscribe": 25, "unsubscribe": 18, "leave": 20, "come": 40, "pause": 6, "replace_device": 2,
             "migrate": 4, "restart_busbar": 3, "restart_postgres": 1.5}

    def run(self):
        names, weights = list(self.STEPS), list(self.STEPS.values())
        for self.step in range(1, self.steps + 1):
            name = self.rng.choices(names, weights)[0]
            self.counts[name] = self.counts.get(name, 0) + 1
            getattr(self, name)()
            if self.step % 4 == 0:
                for device in self.devices:
                    if self.paused.get(device, 0) <= self.step:
                        device.pump()
            if self.step % REST_EVERY == 0 or self.step == self.steps:
                self.rest()


def test_model():
    print(f"seed {SEED}, {STEPS} steps")
    world = World(SEED, STEPS)
    try:
        world.start()
        world.run()
    except BaseException as error:
        log = world.busbar.log()[-6000:] if world.busbar else ""
        events = "\n".join(world.events)
        raise AssertionError(f"BUSBAR_SYNC_SEED={SEED} BUSBAR_SYNC_STEPS={STEPS}, at step {world.step}: {error}\n--- steps:\n{events}\n--- busbar's log:\n{log}") from error
    finally:
        print(world.counts)
        world.end()
