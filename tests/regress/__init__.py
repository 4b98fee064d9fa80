# SPDX-License-Identifier: Apache-2.0
"""The same scripts beside and through the proxy: two clusters, a database of the same name in each, Busbar before one.

``Pair`` holds the two sides of one mode. ``recorded()`` gives the messages that psql sends for a script, so that the same
statements can be sent again in other ways (``replay()``).
"""

import concurrent.futures
import glob
import os
import re
import struct
import subprocess
from dataclasses import dataclass

from harness import protocol as p
from harness.busbar import Busbar, Endpoint
from harness.process import clean_environment
from harness.relay import Relay
from harness.wire import Closed

FOLDER = os.path.dirname(os.path.abspath(__file__))
ONCE = ["describe", "many"]  # in one mode alone: the others would show nothing new
SCRIPTS = sorted({os.path.basename(path)[:-4] for path in glob.glob(os.path.join(FOLDER, "*.sql"))} - set(ONCE))
DATABASE = "regress"
SETTINGS = ["max_prepared_transactions = 10", "allow_in_place_tablespaces = on", "max_wal_senders = 4"]
TIMEOUT = 60
ASKS_BY_OID = {"large_objects"}  # psql's own queries hold OIDs, which are another database's when they are sent again

# What electrified tables there are in the mode where there are any.
ELECTRIFIED = """
CREATE TABLE public.parents (id int8 PRIMARY KEY, name text);
CREATE TABLE public.children (id int8 PRIMARY KEY, parent int8 REFERENCES public.parents (id), note text);
CREATE INDEX children_note ON public.children (note);
ALTER TABLE public.parents ENABLE ELECTRIC;
ALTER TABLE public.children ENABLE ELECTRIC;
"""

# All that may differ in what psql prints, and why.
RULES = [
    (re.compile(r"(received from server process with PID )\d+"), r"\1N"),  # each server has its own process ids
    (re.compile(r"^(lo_(import|unlink) )\d+", re.M), r"\1N"),  # the server chooses the OID; installing Busbar has used some up
]


def normalised(text):
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return text


def both(function, *pairs):
    """Calls the function for each side at once; the results in the same order."""
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        return [future.result() for future in [pool.submit(function, *arguments) for arguments in pairs]]


def sweep(cluster, dbname):
    """Away with the database and all roles of the scripts, whatever a failed one has left."""
    with cluster.connect() as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", [dbname]).rowcount:
            with cluster.connect(dbname) as inside:
                for (gid,) in inside.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [dbname]).fetchall():
                    inside.execute(f"ROLLBACK PREPARED '{gid}'")
        cluster.drop_database(dbname)
        for (role,) in admin.execute(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'regress\_%'").fetchall():
            admin.execute(f'DROP ROLE "{role}"')


def fresh(cluster, dbname):
    sweep(cluster, dbname)
    with cluster.connect() as admin:
        admin.execute(f'CREATE DATABASE "{dbname}" TEMPLATE template0')


def schema_for(cluster, dbname, script):
    with cluster.connect(dbname) as admin:
        admin.execute(f'CREATE SCHEMA IF NOT EXISTS "{script}"')


def psql(endpoint, script, flags=()):
    """What psql prints for a script.

    Errors and notices name their lines, but come by a stream of their own: psql shows a notice before or after the result
    in front of it, as TCP cuts what the server sends. Their order is compared by ``simple()``.
    """
    argv = ["psql", "-X", "-h", endpoint.host, "-p", str(endpoint.port), "-U", endpoint.user, "-d", endpoint.dbname, "-v", "ECHO=all", *flags,
            "-f", f"{script}.sql"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, cwd=FOLDER, timeout=TIMEOUT, check=False,
                          env=clean_environment(PGPASSWORD=endpoint.password or "", PGOPTIONS=f"-c search_path={script},public"))
    return Output(done.returncode, normalised(done.stdout.decode(errors="backslashreplace")), normalised(done.stderr.decode(errors="backslashreplace")))


@dataclass
class Output:
    status: int
    out: str
    err: str


class Pair:
    """A database without Busbar before it and one of the same name with it."""

    def __init__(self, straight, behind, electrified=False):
        self.clusters = straight, behind
        both(fresh, *((cluster, DATABASE) for cluster in self.clusters))
        self.busbar = Busbar(behind.url(DATABASE), dbname=DATABASE, LOG_LEVEL="info").start()
        self.straight = Endpoint(straight.host, straight.port, DATABASE)
        self.sides = self.straight, self.busbar
        if electrified:
            self._electrify(straight)

    def _electrify(self, straight):
        """The straight database gets tables and guard from a Busbar that is gone before the scripts begin."""
        other = Busbar(straight.url(DATABASE), dbname=DATABASE, LOG_LEVEL="info").start()
        try:
            for side in (other, self.busbar):
                done = side.psql(script=ELECTRIFIED)
                assert done.returncode == 0, done.stderr
        finally:
            other.check()

    def run(self, function, script):
        """The function's result for (side, script) on either side."""
        both(schema_for, *((cluster, DATABASE, script) for cluster in self.clusters))
        return both(function, *((side, script) for side in self.sides))

    def close(self):
        try:
            self.busbar.check()
        finally:
            both(sweep, *((cluster, DATABASE) for cluster in self.clusters))


# The same statements by other ways, message for message.

class Recorder:
    """Messages of psql, as it sends them to a database of the recorder's own; each script is run once."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.known = {}

    def sessions(self, script):
        """A list of messages for each connection that the script makes."""
        if script not in self.known:
            fresh(self.cluster, "record")
            schema_for(self.cluster, "record", script)
            relay = Relay(self.cluster.port)
            try:
                psql(Endpoint(relay.host, relay.port, "record"), script)
                self.known[script] = [connection.frontend for connection in relay.connections]
            finally:
                relay.close()
                sweep(self.cluster, "record")
        return self.known[script]


def simple(messages):
    """As psql sent them."""
    for query, rest in queries(messages):
        yield p.query(query), rest


def end_of(rest):
    """Sync, or Flush where COPY data follows: nobody could tell whether COPY has read the Sync or not."""
    return p.flush() if any(m.kind in "dcf" for m in rest) else p.sync()


def one_by_one(messages):
    """Each Query as one group of the extended protocol, unnamed."""
    for query, rest in queries(messages):
        yield p.parse("", query) + p.bind("", "") + p.describe("P", "") + p.execute() + end_of(rest), rest


def prepared(messages):
    """Each Query prepared by name and described, then run with binary results two rows at a time, then closed."""
    for query, rest in queries(messages):
        yield p.parse("s", query) + p.describe("S", "s") + p.sync(), []
        again = b"" if rest else p.execute("p", 0)
        yield p.bind("p", "s", result_formats=[1]) + p.execute("p", 2) + again + end_of(rest), rest
        yield p.close("S", "s") + p.sync(), []


# What PostgreSQL wants to be alone or in a transaction block. Behind DDL in one group it stands in Busbar's, and is told so
# in other words (VACUUM), or works where PostgreSQL would object (LOCK, DECLARE, SET LOCAL).
ALONE = re.compile(rb"\s*(LOCK|DECLARE|SET\s+(LOCAL|TRANSACTION|CONSTRAINTS)|VACUUM|REINDEX|CLUSTER|CALL|DO|(CREATE|DROP|ALTER)\s+(DATABASE|TABLESPACE|SYSTEM|SUBSCRIPTION|(UNIQUE\s+)?INDEX\s+CONCURRENTLY)|"
                   rb"\w+\s+PREPARED|PREPARE\s+TRANSACTION|.*\bDETACH\b.*CONCURRENTLY)\b", re.I | re.S)


def in_batches(messages):
    """Up to three Queries in one group: one implicit transaction, and an error skips the rest."""
    batch = b""
    count = 0
    for query, rest in queries(messages):
        piece = p.parse("", query) + p.bind("", "") + p.describe("P", "") + p.execute()
        alone = rest or ALONE.match(query)
        if alone or count == 3:
            if batch:
                yield batch + p.sync(), []
            batch, count = b"", 0
        if alone:
            yield piece + end_of(rest), rest
        else:
            batch, count = batch + piece, count + 1
    if batch:
        yield batch + p.sync(), []


def queries(messages):
    """(text, what follows up to the next) of the Query messages; other messages but Terminate stand with the one before."""
    found = []
    for message in messages:
        if message.kind == "Q":
            found.append((message.body[:-1], []))
        elif message.kind != "X" and found:
            found[-1][1].append(message)
    return found


def replay(endpoint, script, sessions, ways):
    """All answers, one list a group; COPY gets the data that psql sent, large objects their function calls."""
    answers = []
    for messages in sessions:
        with endpoint.wire(options=f"-c search_path={script},public", application_name="regress") as wire:
            try:
                for data, rest in ways(messages):
                    answers.append((data, answer(wire, data, rest)))
            except (Closed, ConnectionResetError):
                answers.append((b"", ["closed"]))
    return answers


def answer(wire, data, rest):
    """Everything up to ReadyForQuery of the group and of what follows it."""
    copied = b"".join(m.bytes for m in rest if m.kind in "dcf")
    flushed = data.endswith(p.flush())
    out = wire.send(data).read_until("Z", "G", *("CEI" if flushed else ""))
    if out[-1].kind == "G":
        wire.send(copied or p.copy_fail("no data"))
    if flushed:
        wire.send(p.sync())
    if out[-1].kind != "Z":
        out += wire.read_until("Z")
    for message in rest:
        if message.kind == "F":
            out += wire.send(message.bytes).read_until("Z")
    return comparable(out)


def blank_columns(message):
    """OIDs of tables and types that the scripts made: installing Busbar has used some up."""
    body, at = bytearray(message.body), 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        at = body.index(0, at) + 1
        for offset in (0, 6):
            (oid,) = struct.unpack_from("!I", body, at + offset)
            struct.pack_into("!I", body, at + offset, min(oid, 16384))
        at += 18
    return p.Message("T", bytes(body))


def blank_parameters(message):
    count = struct.unpack_from("!H", message.body)[0]
    oids = [min(oid, 16384) for oid in struct.unpack_from(f"!{count}I", message.body, 2)]
    return p.Message("t", struct.pack(f"!H{count}I", count, *oids))


def without_place(message):
    """25P01, "there is no transaction in progress": PostgreSQL says it in several places of its source."""
    if message.fields.get("C") != "25P01":
        return message
    return p.Message(message.kind, b"\0".join(field for field in message.body.split(b"\0") if field[:1] not in (b"F", b"L", b"R")))


def comparable(messages):
    """Without what belongs to a server. ParameterStatus and NotificationResponse may come at any time: they go last."""
    out, later = [], []
    for message in messages:
        if message.kind == "T":
            out.append(blank_columns(message))
        elif message.kind == "t":
            out.append(blank_parameters(message))
        elif message.kind == "A":
            later.append(p.Message("A", message.body[4:]))
        elif message.kind == "S":
            later.append(message)
        elif message.kind in "EN":
            out.append(without_place(message))
        else:
            out.append(message)
    return out + later
