# SPDX-License-Identifier: Apache-2.0
"""Sync scenarios D, shapes: spec/scenarios-sync.md 52–82.

Where our design is better than a scenario's letter the better thing is asserted: what moves in arrives in the transaction that moves it
in, so there is never additional data (ADR 14).
"""

import itertools
import os
import random
import socket
import threading
import time
import uuid

import psycopg
import pytest

from harness.satellite import DataError, GoneBatch, RpcError, Transaction, message, select
from harness.token import unsigned
from harness.wait import wait_until

TREE = ("CREATE TABLE projects (id int8 PRIMARY KEY, name text NOT NULL, owner text)",
        "CREATE TABLE issues (id int8 PRIMARY KEY, project_id int8 REFERENCES projects (id), title text NOT NULL)",
        "CREATE TABLE comments (id int8 PRIMARY KEY, issue_id int8 REFERENCES issues (id), body text NOT NULL)")


@pytest.fixture
def electrified(busbar):
    """Makes tables by their DDL and opens them for sync."""

    def make(*ddl):
        with busbar.wire() as wire:
            for text in ddl:
                wire.query(text).ok()
                if text.startswith("CREATE TABLE"):
                    wire.query(f"ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()
        return busbar

    return make


@pytest.fixture
def entries(electrified):
    return electrified("CREATE TABLE entries (id uuid PRIMARY KEY, content varchar NOT NULL, content_b text)")


@pytest.fixture
def tree(electrified):
    return electrified(*TREE)


def key(number):
    return f"00000000-0000-4000-8000-{number:012d}"


def put(sql, *contents, first=0):
    for i, content in enumerate(contents, first):
        sql.execute("INSERT INTO entries VALUES (%s, %s)", (key(i), content))


def contents(client):
    return sorted(row[1] for row in client.rows("entries"))


def ops(transaction):
    """(kind, table, key) of each, for comparison without order."""
    return sorted((op.kind, op.table, *op.key) for op in transaction.ops)


def next_transaction(client, since):
    return client.wait_transactions(since + 1)[since]


PROJECTS = select("projects", "this.owner = 'me'", [(["project_id"], select("issues", include=[(["issue_id"], select("comments"))]))])


def visible(owner="me"):
    """SQL of what PROJECTS shows of each table."""
    project = f"id IN (SELECT id FROM projects WHERE owner = '{owner}')"
    issue = project.replace("id IN", "project_id IN", 1)
    return {"projects": project, "issues": issue, "comments": f"issue_id IN (SELECT id FROM issues WHERE {issue})"}


def wait_tree(client, sql, what=None):
    for table, where in (what or visible()).items():
        client.wait_same(sql, table, where)
    assert not client.surprises, client.surprises


@pytest.fixture
def grown(tree, sql):
    """Two projects of mine and one of another's, each with issues and comments."""
    sql.execute("INSERT INTO projects VALUES (1, 'a', 'me'), (2, 'b', 'me'), (3, 'c', 'other')")
    sql.execute("INSERT INTO issues VALUES (11, 1, 'x'), (12, 1, 'y'), (21, 2, 'z'), (31, 3, 'q'), (32, 3, 'r')")
    sql.execute("INSERT INTO comments VALUES (111, 11, 'k'), (112, 11, 'l'), (211, 21, 'm'), (311, 31, 'n'), (312, 31, 'o'), (321, 32, 'p')")
    return tree


# Initial data.


def test_52_response_then_data_then_what_is_newer(entries, sql, satellite):
    client = satellite(entries).start()
    put(sql, *"abc")
    came = []
    handle = client._handle
    client._handle = lambda data: (came.append(data[0]), handle(data))
    subscription = client.subscribe("entries")
    put(sql, *"de", first=3)
    batch = client.wait_batch(subscription)
    client.wait_same(sql, "entries")
    assert came.index(22) < came.index(15), "the response comes first"
    assert {op.kind for op in batch.ops} <= {"insert"} and len(batch.shapes) == 1
    later = client.log[client.log.index(batch) + 1:]
    assert all(int(t.lsn) > int(batch.lsn) for t in later if isinstance(t, Transaction))
    assert len(batch.ops) + sum(len(t.ops) for t in later if isinstance(t, Transaction)) == 5 and not client.surprises


def test_53_idle_database(entries, sql, satellite):
    """Nobody writes, and the data comes within a second."""
    put(sql, "a")
    client = satellite(entries).start()
    times = []
    for _ in range(3):
        began = time.monotonic()
        client.sync("entries")
        times.append(time.monotonic() - began)
    assert min(times) < 1, times


def test_54_slow_query(electrified, sql, satellite, cluster, database):
    """What is committed meanwhile waits for the data, and comes after it in order; nobody else waits."""
    busbar = electrified("CREATE TABLE entries (id uuid PRIMARY KEY, content varchar NOT NULL)", "CREATE TABLE others (id int8 PRIMARY KEY)")
    client, bystander = satellite(busbar).start(), satellite(busbar).start()
    for c in (client, bystander):
        c.sync("others")
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        locker.execute("INSERT INTO entries VALUES (%s, 'held')", (key(1),))
        subscription = client.subscribe("entries")
        wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'entries'::regclass").fetchone()[0], "the query to wait")
        for i in range(3):
            sql.execute("INSERT INTO others VALUES (%s)", (i,))
        bystander.wait_same(sql, "others")
        locker.commit()
    batch = client.wait_batch(subscription)
    client.wait_same(sql, "others")
    client.wait_same(sql, "entries")
    after = [t for t in client.log[client.log.index(batch):] if isinstance(t, Transaction)]
    assert [t.ops[0].row["id"] for t in after if t.ops[0].table == "others"] == ["0", "1", "2"]
    assert not client.surprises


class Writers:
    """Threads that change a tree of projects at full speed, several changes a transaction."""

    def __init__(self, cluster, database, count):
        self.cluster, self.database, self.done = cluster, database, threading.Event()
        self.transactions, self.failures = 0, []
        self.threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, seed):
        rng = random.Random(seed)
        try:
            with self.cluster.connect(self.database) as conn:
                while not self.done.is_set():
                    try:
                        with conn.transaction():
                            for _ in range(rng.randint(1, 5)):
                                self._change(conn, rng)
                        self.transactions += 1
                    except (psycopg.errors.DeadlockDetected, psycopg.errors.ForeignKeyViolation, psycopg.errors.UniqueViolation):
                        pass
        except Exception as error:  # noqa: BLE001  told at the end
            self.failures.append(error)

    @staticmethod
    def _change(conn, rng):
        project, issue, comment = rng.randint(1, 12), rng.randint(1, 40), rng.randint(1, 120)
        statement = rng.choice((
            f"INSERT INTO projects VALUES ({project}, 'p', '{rng.choice(['me', 'other'])}') ON CONFLICT (id) DO UPDATE SET owner = excluded.owner",
            f"INSERT INTO issues VALUES ({issue}, (SELECT max(id) FROM projects WHERE id <= {project}), 'i') ON CONFLICT (id) DO UPDATE SET project_id = excluded.project_id",
            f"INSERT INTO comments VALUES ({comment}, (SELECT max(id) FROM issues WHERE id <= {issue}), 'c') ON CONFLICT (id) DO UPDATE SET issue_id = excluded.issue_id",
            f"UPDATE comments SET body = md5(random()::text) WHERE id BETWEEN {comment} AND {comment + 3}",
            f"UPDATE issues SET title = md5(random()::text) WHERE id = {issue}",
            f"DELETE FROM comments WHERE id = {comment}",
            f"DELETE FROM issues WHERE id = {issue} AND NOT EXISTS (SELECT FROM comments WHERE issue_id = {issue})",
            f"DELETE FROM projects WHERE id = {project} AND NOT EXISTS (SELECT FROM issues WHERE project_id = {project})"))
        conn.execute(statement)


LOAD = [PROJECTS, select("comments", "this.id < 60"), select("issues"), select("projects", "this.owner <> 'me'", [(["project_id"], select("issues"))]), "comments"]


def test_55_concurrent_load(tree, cluster, database, sql, satellite):
    """Four writers at full speed, subscriptions that come and go: each client has in the end what PostgreSQL has, and was never told twice.
    How long it takes is the machine's affair: the writers do not wait for the service."""
    rng, clients = random.Random(55), []
    with Writers(cluster, database, 4) as writers:
        for _ in range(8):
            client = satellite(tree).start()
            clients.append(client)
            for shape in rng.sample(LOAD, 3):
                client.wait_batch(client.subscribe(shape), timeout=90)
                client.pump(0.1)
                if rng.random() < 0.3:
                    gone = rng.choice(list(client.subscriptions))
                    client.unsubscribe(gone)
                    client.wait_gone(gone, timeout=90)
            client.wait_batch(client.subscribe(PROJECTS), timeout=90)
            for other in clients:
                other.pump(0.02)
    assert not writers.failures and writers.transactions > 100, (writers.failures, writers.transactions)
    sql.execute("INSERT INTO projects VALUES (1000, 'end', 'me')")
    for client in clients:
        client.collect(lambda c=client: ("1000",) in c.tables["projects"], "the last project", timeout=90)
        assert not client.surprises, client.surprises
        for table, rows in client.tables.items():
            real = client.expected(sql, table)
            assert set(client.rows(table)) <= set(real), f"{table}: rows that are not there"
        for table, where in visible().items():
            assert set(client.expected(sql, table, where)) <= set(client.rows(table)), f"{table}: rows are missing"
    whole = satellite(tree).start()
    for table in ("projects", "issues", "comments"):
        whole.sync(table)
        whole.wait_same(sql, table)
    fresh = satellite(tree).start()
    fresh.sync(PROJECTS)
    wait_tree(fresh, sql)


def test_56_two_shapes_that_overlap(entries, sql, satellite):
    put(sql, *"abcd")
    client = satellite(entries).start()
    batch = client.sync(select("entries", "this.content < 'c'"), select("entries", "this.content > 'a'"))
    assert len(batch.shapes) == 2 and sorted(op.row["content"] for op in batch.ops) == list("abcd")


def test_57_second_subscription_for_the_same_table(entries, sql, satellite):
    put(sql, *"ab")
    client = satellite(entries).start()
    assert len(client.sync("entries").ops) == 2
    assert client.sync("entries").ops == []
    before = len(client.transactions)
    put(sql, "c", first=2)
    assert next_transaction(client, before).kinds == ["insert"]
    client.wait_same(sql, "entries")
    assert not client.surprises


def test_57_second_subscription_with_another_where(entries, sql, satellite):
    put(sql, *"abc")
    client = satellite(entries).start()
    client.sync(select("entries", "this.content < 'b'"))
    batch = client.sync(select("entries", "this.content < 'c'"))
    assert [op.row["content"] for op in batch.ops] == ["b"]
    sql.execute("UPDATE entries SET content_b = 'x'")
    client.collect(lambda: len(client.rows("entries")) == 2 and all(row[2] == "x" for row in client.rows("entries")), "the changes")
    assert not client.surprises


# Refusals.


def one(definition):
    return {str(uuid.uuid4()): definition}


WHERES = [
    ("this.content = ", None), ("this.content", "Where expression should evaluate to a boolean, but it's :"), ("this.none = 'a'", "At location 0: unknown reference this.none"),
    ("content = 'a'", "did you mean `this.content`?"), ("this.content = 'a'; DROP TABLE entries", "causing statement split"),
    ("this.content = 'a' ORDER BY 1", "malformed query ending with SQL clauses"), ("this.content = 'a' LIMIT 1", None), ("this.content = (SELECT 'a')", None),
    ("this.content = $1", None), ("pg_sleep(10) IS NULL", None)]


def test_58_refusals(tree, satellite):
    """Each is told with its text, and the connection stays usable."""
    client = satellite(tree).start()
    used = client.subscribe("projects")
    client.wait_batch(used)
    fine = select("projects")
    same_request = str(uuid.uuid4())
    cases = [
        (used, one({"selects": [fine]}), "SUBSCRIPTION_ID_ALREADY_EXISTS", "Cannot establish multiple subscriptions with the same ID"),
        (str(uuid.uuid4()), {}, "SHAPE_REQUEST_ERROR", "Subscription must include at least one shape request"),
        ("no-uuid", one({"selects": [fine]}), "SHAPE_REQUEST_ERROR", "Subscription ID should be a valid UUID"),
        ("x" * 200, one({"selects": [fine]}), "SHAPE_REQUEST_ERROR", "ID too long"),
        (str(uuid.uuid4()), [(same_request, {"selects": [fine]}), (same_request, {"selects": [fine]})], "SHAPE_REQUEST_ERROR", "Duplicated request ids are not allowed"),
        (str(uuid.uuid4()), one({"selects": [select("none")]}), "TABLE_NOT_FOUND", "Unknown table none"),
        (str(uuid.uuid4()), one({"selects": [select("")]}), "TABLE_NOT_FOUND", "Invalid table name"),
        (str(uuid.uuid4()), one({}), "EMPTY_SHAPE_DEFINITION", "Empty shape requests are not allowed"),
        (str(uuid.uuid4()), one({"selects": [fine, fine]}), "INVALID_INCLUDE_TREE", "Cannot have more than one top-level select"),
        (str(uuid.uuid4()), one({"selects": [select("projects", include=[(["none"], select("issues"))])]}), "INVALID_INCLUDE_TREE",
         'Relation between {"public", "projects"} and {"public", "issues"} over FK ["none"] does not exist'),
        (str(uuid.uuid4()), one({"selects": [select("projects", include=[(["project_id"], select("issues"))] * 2)]}), "INVALID_INCLUDE_TREE",
         "Cannot traverse same relationship twice")]
    for where, text in WHERES:
        where = where.replace("content", "name")
        cases.append((str(uuid.uuid4()), one({"selects": [select("projects", where)]}), "INVALID_WHERE_CLAUSE", (text or "At location").replace("content", "name")))
    for subscription, requests, code, text in cases:
        with pytest.raises(RpcError) as error:
            client.subscribe_raw(subscription, requests)
        assert error.value.code == code and text in error.value.text, (subscription, requests, error.value)
    assert client.sync("projects").ops == []


def test_58_every_bad_request_is_told(tree, satellite):
    client = satellite(tree).start()
    names = [str(uuid.uuid4()) for _ in range(3)]
    number = client.request("subscribe", message("SatSubsReq", subscription_id=str(uuid.uuid4()), shape_requests=[
        {"request_id": name, "shape_definition": {"selects": [select(table)]}} for name, table in zip(names, ("none", "projects", "never"), strict=True)]))
    answer = client.response(number)
    assert answer.err.message == "Could not establish a subscription due to errors on requests"
    assert [(e.request_id, e.message) for e in answer.err.shape_request_error] == [(names[0], "Unknown table none"), (names[2], "Unknown table never")]


# Where.

TYPED = ("CREATE TABLE typed (id int8 PRIMARY KEY, s int2, i int4, l int8, f float8, t text, u uuid, d date, h time, ts timestamp, tz timestamptz, b bool)",)
TYPED_ROWS = """
INSERT INTO typed VALUES
 (1, 1, 10, 100, 1.5, 'hello', '6f1b4d4e-0000-4000-8000-000000000001', '2023-01-31', '10:00', '2023-01-31 10:00', '2023-01-31 10:00+02', true),
 (2, -1, -10, 9007199254740993, -0.25, 'Hello World', '6f1b4d4e-0000-4000-8000-000000000002', '2023-02-28', '23:59:59.999999', '2023-02-28 23:59:59.5', '2023-02-28 23:59:59.5Z', false),
 (3, 32767, 1000000, 9223372036854775807, 'NaN', E'50%_\\\\x\\n', NULL, '9999-12-31', '00:00', 'infinity', '-infinity', NULL),
 (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (5, 0, 0, 0, 'Infinity', '', 'ffffffff-ffff-4fff-bfff-ffffffffffff', '2000-01-01', '12:30', '2000-01-01', '2000-01-01Z', true),
 (6, 2, 3, 6, '-0', 'ÄÖ ü', '00000000-0000-4000-8000-000000000000', '1999-12-31', '12:30:00.000001', '1999-12-31 23:00', '1999-12-31 23:00-05', false)
"""
OPERATORS = [
    "this.b AND this.i > 0", "this.b OR this.i < 0", "NOT this.b", "NOT (this.i = 3)", "this.i = 3", "this.l = 9007199254740993", "this.f = 1.5", "this.t = 'hello'",
    "this.u = '6F1B4D4E-0000-4000-8000-000000000001'", "this.d = '2023-02-28'", "this.h = '12:30'", "this.ts = '2000-01-01T00:00:00.000'", "this.tz = '2023-01-31T08:00:00.000Z'",
    "this.b = true", "this.i <> 3", "this.t != 'hello'", "this.u <> '00000000-0000-4000-8000-000000000000'", "this.b <> true", "this.f <> 'NaN'", "this.f = 'NaN'", "this.f > 1000",
    "this.s < 1", "this.i >= 3", "this.l <= 6", "this.t < 'b'", "this.t >= 'hello'", "this.u > '6f1b4d4e-0000-4000-8000-000000000001'", "this.d > '2023-01-31'", "this.ts < '2023-01-01'",
    "-this.i = 10", "+this.i = 10", "this.i + this.s = 11", "this.l - this.i = 90", "this.i * 2 = 6", "this.i / 3 = 1", "this.f / 2 = 0.75", "this.i % 4 = 3", "this.f ^ 2.0 = 2.25", "|/ (this.f * this.f) > 1", "@ this.s = 1",
    "this.i & 2 = 2", "this.i | 1 = 3", "this.i # 1 = 2", "this.t || 'x' = 'hellox'", "lower(this.t) = 'hello world'", "upper(this.t) = 'HELLO'", "this.t LIKE 'hel%'", "this.t NOT LIKE 'hel%'",
    "this.t LIKE '50\\%\\_%'", "this.t LIKE '_ello'", "this.t ~~ '%'", "this.t ILIKE 'hello%'", "this.t NOT ILIKE 'hello%'", "this.i IN (3, 10)", "this.i NOT IN (3, 10)", "this.i IN (3, NULL)", "this.i NOT IN (3, NULL)",
    "this.t IN ('hello', '')", "this.i IS NULL", "this.t IS NOT NULL", "this.b IS TRUE", "this.b IS NOT TRUE", "this.b IS FALSE", "this.b IS NOT FALSE", "this.b IS UNKNOWN", "this.i IS DISTINCT FROM 3",
    "this.i IS NOT DISTINCT FROM 3", "this.i BETWEEN 0 AND 10", "this.d + 1 = '2023-03-01'", "this.d - date '2000-01-01' = 0", "this.ts + interval '1 day' = '2000-01-02'", "this.ts > '2000-01-01' AND this.t ILIKE '%o%' OR this.i = 0",
    "this.i > 2147483648", "this.l > 2147483648", "NULL", "true", "this.i::text = '10'", "int4(this.i::text) = 10"]


def test_59_operators(electrified, sql, satellite):
    """The same answer as PostgreSQL's, once from the query and once from the stream, and again after changes."""
    busbar = electrified(*TYPED)
    streaming = {where: satellite(busbar).start() for where in OPERATORS}
    for where, client in streaming.items():
        client.sync(select("typed", where))
    sql.execute(TYPED_ROWS)
    sql.execute("UPDATE typed SET i = i + 1 WHERE id IN (1, 6)")
    sql.execute("UPDATE typed SET i = i - 1, t = t || '' WHERE id IN (1, 6)")
    for where, client in streaming.items():
        there = where.replace("this.", "")
        client.wait_same(sql, "typed", there)
        asked = satellite(busbar).start()
        asked.sync(select("typed", where))
        assert asked.rows("typed") == asked.expected(sql, "typed", there), where
        assert not client.surprises and not asked.surprises
        asked.close()
    sql.execute("DELETE FROM typed WHERE id < 4")
    for where, client in streaming.items():
        client.wait_same(sql, "typed", where.replace("this.", ""))
        assert not client.surprises


OWNED = ("CREATE TABLE owned (id int8 PRIMARY KEY, content text, electric_user_id text)", "CREATE TABLE notes (id int8 PRIMARY KEY, owned_id int8 REFERENCES owned (id), electric_user_id text)")
ATTACKS = ["this.content = 'a' OR 1=1 --", "this.content = 'a' OR true", "true) OR (true", "this.content = 'a') OR (1=1", "this.content = 'a' OR 1=1 /*", "true OR true", "1=1\n--",
           "this.content = 'a' OR this.electric_user_id <> 'u'", "this.electric_user_id = 'v'", "this.content = 'a\\' OR 1=1 --'", "this.content = E'a\\' OR 1=1 --'", "this.content = 'a'' OR 1=1 --'",
           "this.content = $$a$$ OR true", 'this."content" = \'a\' OR true; SELECT 1', "true UNION SELECT * FROM owned", "this.content = 'a' OR EXISTS (SELECT 1)", "\u0000 OR true"]


@pytest.mark.parametrize("first", ["query", "stream"])
def test_60_where_does_not_show_the_rows_of_others(electrified, sql, satellite, first):
    """Whatever the where says: the rows of other users are neither in the data nor in the stream, nor are those that belong to them."""
    busbar = electrified(*OWNED)

    def fill():
        sql.execute("INSERT INTO owned VALUES (1, 'a', 'u'), (2, 'a', 'v'), (3, 'b', 'v'), (4, 'a', NULL), (5, 'a', '')")
        sql.execute("INSERT INTO notes VALUES (11, 1, 'u'), (21, 2, 'v'), (12, 1, 'v'), (41, 4, 'u')")

    if first == "query":
        fill()
    clients = []
    for where in ATTACKS:
        client = satellite(busbar).start(unsigned("u"))
        clients.append(client)
        for shape in (select("owned", where), select("owned", where, [(["owned_id"], select("notes"))]), select("notes", where.replace("content", "electric_user_id"))):
            try:
                client.sync(shape)
            except RpcError as error:
                assert error.code == "INVALID_WHERE_CLAUSE", error
        client.sync(select("owned", "this.id = 1"))
    if first == "stream":
        fill()
    sql.execute("UPDATE owned SET content = 'c' WHERE id < 4")
    sql.execute("UPDATE owned SET content = 'a' WHERE id < 4")
    sql.execute("INSERT INTO owned VALUES (6, 'a', 'v'), (7, 'b', 'v')")
    sql.execute("UPDATE owned SET electric_user_id = 'v' WHERE id = 4")
    sql.execute("UPDATE owned SET content = 'end' WHERE id = 1")
    for client, where in zip(clients, ATTACKS, strict=True):
        client.collect(lambda c=client: c.tables.get("owned", {}).get(("1",), {}).get("content") == "end", f"the end with {where}")
        told = [op for x in client.log if hasattr(x, "ops") for op in x.ops if op.kind != "gone"]
        assert not [op for op in told if "v" in (op.row or op.old).values()], where
        assert not {k for k in client.tables["owned"] if k not in (("1",), ("5",))}, where
        assert set(client.tables.get("notes", {})) <= {("11",), ("41",)}, where


def test_61_not_of_the_published_client(entries, sql, electric_client):
    put(sql, *"abc")
    device = electric_client(entries).start()
    device.sync("entries", where={"content": {"not": "a"}})
    device.wait_rows("SELECT content FROM entries ORDER BY 1", [("b",), ("c",)])
    sql.execute("UPDATE entries SET content = 'd' WHERE content = 'a'")
    device.wait_rows("SELECT content FROM entries ORDER BY 1", [("b",), ("c",), ("d",)])
    sql.execute("UPDATE entries SET content = 'a' WHERE content = 'b'")
    device.wait_rows("SELECT content FROM entries ORDER BY 1", [("c",), ("d",)])
    assert not device.thrown


@pytest.mark.parametrize("where", [{"content": {"notIn": ["a", "b"]}}, {"NOT": {"content": {"startsWith": "a"}}}, {"OR": [{"content": {"contains": "%"}}, {"content_b": None}], "content": {"gte": "b"}},
                                   {"content_b": {"not": None}}])
def test_61_wheres_of_the_published_client(entries, sql, electric_client, where):
    """What it makes of structured filters is understood; the same rows whether they were there before or came later."""
    before, later = electric_client(entries), electric_client(entries)
    before.start().sync("entries", where=where)
    for i, row in enumerate((("a", None), ("b", "x"), ("c", None), ("a%", "y"), ("b%'\"", "z"))):
        sql.execute("INSERT INTO entries VALUES (%s, %s, %s)", (key(i), *row))
    later.start().sync("entries", where=where)
    rows = later.rows("entries")
    assert 0 < len(rows) < 5
    wait_until(lambda: before.rows("entries") == rows, "the same rows")


# Moving in and out.


def test_62_row_that_starts_and_stops_matching(entries, sql, satellite):
    put(sql, "x")
    client = satellite(entries).start()
    assert client.sync(select("entries", "this.content LIKE 'a%'")).ops == []
    before = len(client.transactions)
    for content, content_b in (("a1", None), ("a1", "b"), ("x", "b"), ("x", "c"), ("y", "c"), ("a2", "c")):
        sql.execute("UPDATE entries SET content = %s, content_b = %s WHERE id = %s", (content, content_b, key(0)))
    sql.execute("DELETE FROM entries WHERE id = %s", (key(0),))
    came = client.wait_transactions(before + 5)[before:]
    assert [t.kinds for t in came] == [["insert"], ["update"], ["gone"], ["insert"], ["delete"]]
    assert came[1].ops[0].old["content_b"] is None and came[1].ops[0].row["content_b"] == "b"
    assert all(t.ref == 0 for t in came) and not client.surprises


def test_63_tree(grown, sql, satellite):
    client = satellite(grown).start()
    batch = client.sync(PROJECTS)
    assert sorted((op.table, *op.key) for op in batch.ops) == [
        ("comments", "111"), ("comments", "112"), ("comments", "211"), ("issues", "11"), ("issues", "12"), ("issues", "21"), ("projects", "1"), ("projects", "2")]
    wait_tree(client, sql)


def test_64_65_issue_moves_in_and_out(grown, sql, satellite):
    """The issue and its comments arrive in one transaction: nothing is announced and sent later (ADR 14)."""
    client = satellite(grown).start()
    client.sync(PROJECTS)
    before = len(client.transactions)
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    moved = next_transaction(client, before)
    assert ops(moved) == [("insert", "comments", "311"), ("insert", "comments", "312"), ("insert", "issues", "31")] and moved.ref == 0
    assert moved.ops[0].table == "issues", "what is referred to stands first"
    sql.execute("UPDATE comments SET body = 'seen' WHERE id = 312")
    assert next_transaction(client, before + 1).kinds == ["update"]
    sql.execute("UPDATE issues SET project_id = 3 WHERE id = 31")
    assert ops(next_transaction(client, before + 2)) == [("gone", "comments", "311"), ("gone", "comments", "312"), ("gone", "issues", "31")]
    sql.execute("UPDATE comments SET body = 'unseen' WHERE id = 312")
    sql.execute("UPDATE projects SET owner = 'me' WHERE id = 3")
    assert ops(next_transaction(client, before + 3)) == sorted([("insert", "projects", "3"), ("insert", "issues", "31"), ("insert", "issues", "32"), ("insert", "comments", "311"),
                                                               ("insert", "comments", "312"), ("insert", "comments", "321")])
    sql.execute("UPDATE projects SET owner = NULL WHERE id = 3")
    assert set(next_transaction(client, before + 4).kinds) == {"gone"}
    wait_tree(client, sql)


def test_64_others_go_on_while_rows_are_read(grown, sql, satellite, cluster, database):
    """The rows that move in are as they were at the transaction, whatever was committed before they could be read."""
    client = satellite(grown).start()
    client.sync(PROJECTS)
    before = len(client.transactions)
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
        sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
        wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'comments'::regclass").fetchone()[0], "the read to wait")
        locker.execute("DELETE FROM comments WHERE id = 311")
        locker.execute("UPDATE comments SET body = 'later' WHERE id = 312")
        locker.execute("UPDATE comments SET issue_id = 31 WHERE id = 321")
        sql.execute("UPDATE issues SET title = 'later' WHERE id = 31")
        locker.commit()
    first, *rest = client.wait_transactions(before + 3)[before:]
    assert ops(first) == [("insert", "comments", "311"), ("insert", "comments", "312"), ("insert", "issues", "31")]
    assert {op.row.get("body") for op in first.ops} == {None, "n", "o"} and first.ops[0].row["title"] == "q"
    wait_tree(client, sql)
    assert len(rest) == 2


DEFERRED = (TREE[0], TREE[1].replace("(id), title", "(id) DEFERRABLE INITIALLY DEFERRED, title"), TREE[2].replace("(id), body", "(id) DEFERRABLE INITIALLY DEFERRED, body"))


def test_66_new_tree_in_one_transaction(electrified, sql, satellite):
    """In any order of statements: three inserts, at once."""
    busbar = electrified(*DEFERRED)
    client = satellite(busbar).start()
    client.sync(PROJECTS)
    before = len(client.transactions)
    for i, order in enumerate(itertools.permutations(range(3)), 1):
        statements = (f"INSERT INTO projects VALUES ({i}, 'p', 'me')", f"INSERT INTO issues VALUES ({i}, {i}, 'i')", f"INSERT INTO comments VALUES ({i}, {i}, 'c')")
        with sql.transaction():
            for k in order:
                sql.execute(statements[k])
        came = next_transaction(client, before + i - 1)
        assert ops(came) == [("insert", "comments", str(i)), ("insert", "issues", str(i)), ("insert", "projects", str(i))] and came.ref == 0
    wait_tree(client, sql)


@pytest.mark.parametrize("target", [1, 4, None])
def test_67_parent_is_deleted(grown, sql, satellite, target):
    """The child goes where its new parent decides."""
    sql.execute("INSERT INTO projects VALUES (4, 'd', 'other')")
    client = satellite(grown).start()
    client.sync(PROJECTS)
    before = len(client.transactions)
    with sql.transaction():
        sql.execute("UPDATE issues SET project_id = %s WHERE project_id = 2", (target,))
        sql.execute("DELETE FROM projects WHERE id = 2")
    stays = [("delete", "projects", "2"), ("update", "issues", "21")]
    goes = [("delete", "projects", "2"), ("gone", "comments", "211"), ("gone", "issues", "21")]
    assert ops(next_transaction(client, before)) == (stays if target == 1 else goes)
    wait_tree(client, sql)


def test_68_what_a_row_refers_to_comes_with_it(grown, sql, satellite):
    client = satellite(grown).start()
    client.sync(select("comments", "this.id >= 1000"))
    before = len(client.transactions)
    sql.execute("INSERT INTO comments VALUES (1000, 31, 'new')")
    came = next_transaction(client, before)
    assert ops(came) == [("insert", "comments", "1000"), ("insert", "issues", "31"), ("insert", "projects", "3")] and came.ref == 0
    assert [op.table for op in came.ops] == ["projects", "issues", "comments"], "what is referred to stands first"
    sql.execute("UPDATE projects SET name = 'followed' WHERE id = 3")
    assert ops(next_transaction(client, before + 1)) == [("update", "projects", "3")]
    sql.execute("UPDATE projects SET name = 'not followed' WHERE id = 2")
    sql.execute("UPDATE comments SET issue_id = 32 WHERE id = 1000")
    assert ops(next_transaction(client, before + 2)) == [("gone", "issues", "31"), ("insert", "issues", "32"), ("update", "comments", "1000")]


def test_69_70_last_and_last_but_one_reference(grown, sql, satellite):
    client = satellite(grown).start()
    client.sync("comments")
    before = len(client.transactions)
    sql.execute("DELETE FROM comments WHERE id = 111")
    assert ops(next_transaction(client, before)) == [("delete", "comments", "111")], "the issue has another comment"
    sql.execute("DELETE FROM comments WHERE id = 321")
    assert ops(next_transaction(client, before + 1)) == [("delete", "comments", "321"), ("gone", "issues", "32")], "the project has another issue"
    sql.execute("DELETE FROM comments WHERE id = 112")
    assert ops(next_transaction(client, before + 2)) == [("delete", "comments", "112"), ("gone", "issues", "11"), ("gone", "projects", "1")]
    sql.execute("UPDATE issues SET title = 'nobody sees' WHERE id = 11")
    sql.execute("INSERT INTO comments VALUES (113, 11, 'again')")
    assert ops(next_transaction(client, before + 3)) == [("insert", "comments", "113"), ("insert", "issues", "11"), ("insert", "projects", "1")]
    assert not client.surprises


@pytest.mark.parametrize("order", [0, 1])
def test_71_row_and_its_parent_change_together(grown, sql, satellite, order):
    client = satellite(grown).start()
    client.sync(PROJECTS)
    before = len(client.transactions)
    with sql.transaction():
        for statement in ("UPDATE issues SET title = 'changed' WHERE id = 21", "UPDATE projects SET owner = 'other' WHERE id = 2")[::1 if order else -1]:
            sql.execute(statement)
    assert ops(next_transaction(client, before)) == [("gone", "comments", "211"), ("gone", "issues", "21"), ("gone", "projects", "2")]
    wait_tree(client, sql)


def test_72_several_changes_of_a_row_in_one_transaction(entries, sql, satellite):
    put(sql, *"ab")
    client = satellite(entries).start()
    client.sync("entries")
    before = len(client.transactions)
    with sql.transaction():
        sql.execute("UPDATE entries SET content = 'z' WHERE content = 'a'")
        sql.execute("DELETE FROM entries WHERE content = 'z'")
        put(sql, "passing", first=7)
        sql.execute("DELETE FROM entries WHERE content = 'passing'")
    with sql.transaction():
        put(sql, "passing", first=8)
        sql.execute("DELETE FROM entries WHERE content = 'passing'")
    sql.execute("UPDATE entries SET content = 'c'")
    came = client.wait_transactions(before + 2)[before:]
    assert [ops(t) for t in came] == [[("delete", "entries", key(0))], [("update", "entries", key(1))]]


# Unsubscribing.


def test_73_unsubscribe(entries, sql, satellite):
    put(sql, *"ab")
    client = satellite(entries).start()
    subscription = client.subscribe("entries")
    batch = client.wait_batch(subscription)
    client.unsubscribe(subscription)
    gone = client.wait_gone(subscription)
    assert gone.subscription_ids == [subscription] and int(gone.lsn) >= int(batch.lsn)
    assert {op.kind for op in gone.ops} == {"gone"} and client.rows("entries") == []
    put(sql, "c", first=5)
    sql.execute("UPDATE entries SET content = 'd'")
    assert len(client.sync("entries").ops) == 3
    assert not [t for t in client.transactions if t.ops] and not client.surprises


def test_73_several_at_once(grown, sql, satellite):
    client = satellite(grown).start()
    both = [client.subscribe("projects"), client.subscribe("comments")]
    for subscription in both:
        client.wait_batch(subscription)
    client.unsubscribe(*both)
    gone = client.wait_gone(both[0])
    assert sorted(gone.subscription_ids) == sorted(both)
    assert not any(client.tables.values()) and not client.surprises


def test_74_rows_of_another_subscription_stay(grown, sql, satellite):
    client = satellite(grown).start()
    mine, comments = client.subscribe(PROJECTS), client.subscribe(select("comments", "this.id IN (111, 311)"))
    for subscription in (mine, comments):
        client.wait_batch(subscription)
    client.unsubscribe(mine)
    gone = client.wait_gone(mine)
    assert ops(gone) == sorted([("gone", "projects", "2"), ("gone", "issues", "12"), ("gone", "issues", "21"), ("gone", "comments", "112"), ("gone", "comments", "211")])
    wait_tree(client, sql, {"comments": "id IN (111, 311)", "issues": "id IN (11, 31)", "projects": "id IN (1, 3)"})
    before = len(client.transactions)
    sql.execute("UPDATE comments SET body = 'unseen' WHERE id = 211")
    sql.execute("UPDATE comments SET body = 'seen' WHERE id = 311")
    assert ops(next_transaction(client, before)) == [("update", "comments", "311")]


def test_75_unsubscribe_before_the_data(electrified, sql, satellite, cluster, database):
    """No data comes, and the stream is not held up."""
    busbar = electrified("CREATE TABLE entries (id uuid PRIMARY KEY, content varchar NOT NULL)", "CREATE TABLE others (id int8 PRIMARY KEY)")
    client = satellite(busbar).start()
    client.sync("others")
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        subscription = client.subscribe("entries")
        wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'entries'::regclass").fetchone()[0], "the query to wait")
        sql.execute("INSERT INTO others VALUES (%s)", (1,))
        client.unsubscribe(subscription)
        client.wait_same(sql, "others")
        assert not [b for b in client.batches if b.subscription_id == subscription]
    sql.execute("INSERT INTO others VALUES (%s)", (2,))
    client.wait_same(sql, "others")
    assert not [b for b in client.log if getattr(b, "subscription_id", None) == subscription or subscription in getattr(b, "subscription_ids", ())]
    assert client.subscribe("entries", subscription_id=subscription), "the id is free again"
    client.wait_batch(subscription)


def test_75_at_once(entries, sql, satellite):
    """In one breath: whatever had begun is ended, nothing is left at the client, no change comes."""
    put(sql, *"abc")
    client = satellite(entries).start()
    for _ in range(20):
        subscription = client.subscribe("entries")
        client.unsubscribe(subscription)
    last = client.subscribe(select("entries", "this.content = 'b'"))
    client.wait_batch(last)
    assert contents(client) == ["b"]
    sql.execute("UPDATE entries SET content_b = 'x'")
    client.collect(lambda: client.rows("entries")[0][2] == "x", "the change")
    assert len(client.rows("entries")) == 1 and not client.surprises


def test_76_unsubscribe_while_rows_move_in(grown, sql, satellite, cluster, database):
    client = satellite(grown).start()
    mine, comments = client.subscribe(PROJECTS), client.subscribe(select("comments", "this.id = 321"))
    for subscription in (mine, comments):
        client.wait_batch(subscription)
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
        sql.execute("UPDATE projects SET owner = 'me' WHERE id = 3")
        wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'comments'::regclass").fetchone()[0], "the read to wait")
        client.unsubscribe(mine)
        locker.commit()
    client.wait_gone(mine)
    wait_tree(client, sql, {"comments": "id = 321", "issues": "id = 32", "projects": "id = 3"})


def test_77_unknown_id(entries, sql, satellite):
    client = satellite(entries).start()
    client.unsubscribe(str(uuid.uuid4()))
    client.unsubscribe("nonsense", "")
    subscription = client.subscribe("entries")
    client.wait_batch(subscription)
    client.unsubscribe(str(uuid.uuid4()), subscription)
    client.wait_gone(subscription)
    client.unsubscribe(subscription)
    put(sql, "a")
    assert len(client.sync("entries").ops) == 1
    assert len([x for x in client.log if isinstance(x, GoneBatch)]) == 1


# Tables of every kind.


def test_78_table_that_refers_to_itself(electrified, sql, satellite):
    busbar = electrified("CREATE TABLE tree (id int8 PRIMARY KEY, parent_id int8 REFERENCES tree (id), name text)")
    sql.execute("INSERT INTO tree SELECT i, nullif(i / 2, 0), 'n' FROM generate_series(1, 63) i")
    client = satellite(busbar).start()
    client.sync(select("tree", "this.id = 40"))
    ancestors = ["1", "2", "5", "10", "20", "40"]
    assert sorted((k for k, in client.tables["tree"]), key=int) == ancestors
    before = len(client.transactions)
    sql.execute("UPDATE tree SET parent_id = 31 WHERE id = 20")
    assert ops(next_transaction(client, before)) == sorted([("gone", "tree", "5"), ("gone", "tree", "10"), ("gone", "tree", "2"), ("update", "tree", "20"), ("insert", "tree", "31"),
                                                           ("insert", "tree", "15"), ("insert", "tree", "7"), ("insert", "tree", "3")])
    sql.execute("UPDATE tree SET parent_id = 40 WHERE id = 1")
    assert ops(next_transaction(client, before + 1)) == [("update", "tree", "1")], "a circle"
    sql.execute("UPDATE tree SET name = 'm' WHERE id = 31")
    assert ops(next_transaction(client, before + 2)) == [("update", "tree", "31")]
    sql.execute("UPDATE tree SET parent_id = NULL WHERE id = 40")
    assert set(next_transaction(client, before + 3).kinds) == {"gone", "update"}
    assert list(client.tables["tree"]) == [("40",)] and not client.surprises


def test_78_subtree(electrified, sql, satellite):
    """One level by an include, and all the ancestors of what it brings."""
    busbar = electrified("CREATE TABLE tree (id int8 PRIMARY KEY, parent_id int8 REFERENCES tree (id), name text)")
    sql.execute("INSERT INTO tree SELECT i, nullif(i / 2, 0), 'n' FROM generate_series(1, 31) i")
    client = satellite(busbar).start()
    client.sync(select("tree", "this.id = 6", [(["parent_id"], select("tree"))]))
    assert sorted(int(k) for k, in client.tables["tree"]) == [1, 3, 6, 12, 13]
    sql.execute("UPDATE tree SET parent_id = 6 WHERE id = 20")
    client.collect(lambda: sorted(int(k) for k, in client.tables["tree"]) == [1, 3, 6, 12, 13, 20], "the new child")


def test_79_types_without_operators(electrified, sql, satellite):
    busbar = electrified("CREATE TYPE mood AS ENUM ('good', 'bad')", "CREATE TABLE odd (id int8 PRIMARY KEY, flag bool, m mood, j jsonb, b bytea, f float8)")
    clients = {}
    for where in ("this.flag", "this.m = 'good' OR this.m IS NULL", "this.j IS NOT NULL", "this.b IS NULL", "this.f = 'NaN'"):
        clients[where] = satellite(busbar).start()
        clients[where].sync(select("odd", where))
    sql.execute("INSERT INTO odd VALUES (1, true, 'good', '{\"a\": [1, null]}', '\\x00ff', 'NaN'), (2, false, NULL, NULL, NULL, NULL), (3, true, 'bad', 'null', '', '-Infinity')")
    sql.execute("UPDATE odd SET f = '-0', j = '\"x\"', b = '\\xdeadbeef', m = 'bad' WHERE id = 1")
    sql.execute("UPDATE odd SET f = 'NaN', j = NULL, m = 'good', flag = NOT flag")
    for where, client in clients.items():
        client.wait_same(sql, "odd", where.replace("this.", ""))
        later = satellite(busbar).start()
        later.sync(select("odd", where))
        assert later.rows("odd") == client.rows("odd") and not client.surprises
    for where in ("this.j = '{}'", "this.b = 'x'", "this.m < 'good'"):
        with pytest.raises(RpcError):
            client.subscribe(select("odd", where))


# Much data, trouble.


def rss(busbar):
    with open(f"/proc/{busbar.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_80_large_table(electrified, sql, satellite):
    """A slow client's data does not pile up in the service, and others are served meanwhile."""
    rows, width = 300_000, 400
    busbar = electrified("CREATE TABLE big (id int8 PRIMARY KEY, filler text)", "CREATE TABLE small (id int8 PRIMARY KEY)")
    sql.execute("INSERT INTO big SELECT i, repeat('x', %s) FROM generate_series(1, %s) i", (width, rows))
    other, client = satellite(busbar).start(), satellite(busbar, auto_ack=False).start()
    other.sync("small")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    received = [0]
    client._handle = lambda data: received.__setitem__(0, received[0] + data.count(b"x" * width))
    before = rss(busbar)
    client.send(message("SatRpcRequest", method="subscribe", request_id=50, message=message(
        "SatSubsReq", subscription_id=str(uuid.uuid4()), shape_requests=[{"request_id": "r", "shape_definition": {"selects": [select("big")]}}]).SerializeToString()))
    peak, slowest = before, 0
    for i in range(20):
        began = time.monotonic()
        sql.execute("INSERT INTO small VALUES (%s)", (i,))
        other.wait_same(sql, "small")
        slowest = max(slowest, time.monotonic() - began)
        client.pump(0.05)
        peak = max(peak, rss(busbar))
    deadline = time.monotonic() + 60
    while received[0] < rows:
        assert client._read(deadline), received
        peak = max(peak, rss(busbar))
    assert peak - before < 40 * 2 ** 20, f"{(peak - before) / 2 ** 20} MiB for {rows * width / 2 ** 20} MiB of data"
    assert slowest < 2, slowest


def test_80_client_that_does_not_read(electrified, sql, satellite):
    """It is sent away when too much waits for it; others are not held up; and it goes on where it was."""
    busbar = electrified("CREATE TABLE big (id int8 PRIMARY KEY, filler text)")
    client, other = satellite(busbar).start(), satellite(busbar).start()
    for c in (client, other):
        c.sync("big")
    for i in range(30):
        sql.execute("INSERT INTO big SELECT i, repeat(md5(i::text), 100) FROM generate_series(%s::int8, %s::int8) i", (i * 1000, i * 1000 + 999))
        other.collect(lambda n=i: len(other.tables.get("big", {})) == (n + 1) * 1000, "the rows", timeout=10)
    with pytest.raises(Exception, match="closed"):
        client.collect(lambda: len(client.tables.get("big", {})) == 30_000, "rows that it cannot get any more")
    again = client.continue_on()
    again.connect()
    again.authenticate()
    again.resume()
    again.collect(lambda: len(again.tables.get("big", {})) == 30_000, "the rows that it had not got", timeout=60)
    assert not again.surprises
    assert again.batches == [], "no new initial data"


@pytest.fixture
def impatient(make_busbar, cluster, database, sql):
    """Busbar as a role with a lock timeout."""
    sql.execute(f'ALTER DATABASE "{database}" SET lock_timeout = \'300ms\'')
    return make_busbar(cluster.url(database), dbname=database)


def test_81_query_fails_in_passing(impatient, sql, satellite, cluster, database):
    """A lock timeout, or the like: it is asked again, and the client sees nothing of it. Nobody else waits."""
    with impatient.wire() as wire:
        for table in ("entries", "others"):
            wire.query(f"CREATE TABLE {table} (id int8 PRIMARY KEY); ALTER TABLE {table} ENABLE ELECTRIC").ok()
    client, bystander = satellite(impatient).start(), satellite(impatient).start()
    for c in (client, bystander):
        c.sync("others")
    asked = set()

    def has_failed():
        asked.update(sql.execute("SELECT pid FROM pg_locks WHERE relation = 'entries'::regclass AND NOT granted").fetchall())
        return len(asked) > 1

    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        pending = client.subscribe("entries")
        wait_until(has_failed, "another connection asks")
        sql.execute("INSERT INTO others VALUES (1)")
        bystander.wait_same(sql, "others")
        locker.execute("INSERT INTO entries VALUES (1)")
    client.wait_batch(pending)
    for table in ("entries", "others"):
        client.wait_same(sql, table)
    assert not client.surprises and not client.faults


def test_81_rows_that_move_in_cannot_be_read(impatient, sql, satellite, cluster, database):
    """Half a minute later the client is sent away, and comes back until they can: it loses nothing."""
    with impatient.wire() as wire:
        for text in TREE:
            wire.query(f"{text}; ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()
    sql.execute("INSERT INTO projects VALUES (1, 'a', 'me'), (3, 'c', 'other')")
    sql.execute("INSERT INTO issues VALUES (31, 3, 'q')")
    sql.execute("INSERT INTO comments VALUES (311, 31, 'n')")
    client = satellite(impatient).start()
    client.sync(PROJECTS)
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
        sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
        fault, _ = client.wait_fault(timeout=90)
        assert fault.code == "REPLICATION_FAILED"
    again = client.continue_on()
    again.connect()
    again.authenticate()
    again.resume()
    wait_tree(again, sql)
    assert again.batches == []


def test_81_permission_taken_away(make_busbar, cluster, database, sql, satellite):
    """An error of the query itself; what the client has besides stays up to date."""
    role = f"{database}_r"
    sql.execute(f'CREATE ROLE "{role}" LOGIN SUPERUSER')
    try:
        busbar = make_busbar(cluster.url(database, user=role), dbname=database)
        with busbar.wire() as wire:
            for text in (*TREE, "CREATE TABLE broken (id int8 PRIMARY KEY)"):
                wire.query(f"{text}; ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()
        sql.execute("INSERT INTO projects VALUES (1, 'a', 'me')")
        client = satellite(busbar).start()
        client.sync(PROJECTS)
        for table in ("broken", *visible()):
            sql.execute(f"ALTER TABLE {table} OWNER TO postgres")
        sql.execute(f'GRANT SELECT ON projects, issues, comments TO "{role}"')
        sql.execute(f'ALTER ROLE "{role}" NOSUPERUSER')
        subscription = client.subscribe("broken")
        failed = client.collect(lambda: next((x for x in client.log if isinstance(x, DataError)), None), "the error")
        assert failed.subscription_id == subscription
        sql.execute("INSERT INTO issues VALUES (11, 1, 'x')")
        wait_tree(client, sql)
    finally:
        sql.execute(f'ALTER ROLE "{role}" SUPERUSER')


def test_82_owner_changes(electrified, sql, satellite):
    busbar = electrified(OWNED[0])
    one, two = satellite(busbar).start(unsigned("u1")), satellite(busbar).start(unsigned("u2"))
    sql.execute("INSERT INTO owned VALUES (1, 'a', 'u1'), (2, 'b', 'u2'), (3, 'c', NULL), (4, 'd', '')")
    for client, expected in ((one, ["1", "3", "4"]), (two, ["2", "3", "4"])):
        client.sync("owned")
        assert [row[0] for row in client.rows("owned")] == expected
    counts = len(one.transactions), len(two.transactions)
    sql.execute("UPDATE owned SET electric_user_id = 'u2' WHERE id = 1")
    assert next_transaction(one, counts[0]).kinds == ["gone"]
    moved = next_transaction(two, counts[1])
    assert moved.kinds == ["insert"] and moved.ops[0].row["electric_user_id"] == "u2"
    sql.execute("UPDATE owned SET electric_user_id = NULL WHERE id = 1")
    assert next_transaction(one, counts[0] + 1).kinds == ["insert"] and next_transaction(two, counts[1] + 1).kinds == ["update"]


# Several at the same time.


def test_subscriptions_in_quick_succession(grown, sql, satellite):
    """Many are asked for before the first is answered; each is answered, each gets its data, in any state of the ones before."""
    client = satellite(grown).start()
    names = []
    shapes = [PROJECTS, "comments", select("issues", "this.id > 20"), "projects", select("comments", "this.body > 'm'")] * 6
    for shape in shapes:
        name, request = str(uuid.uuid4()), str(uuid.uuid4())
        client.subscriptions[name] = [request]
        names.append((name, client.request("subscribe", message("SatSubsReq", subscription_id=name, shape_requests=[
            {"request_id": request, "shape_definition": {"selects": [select(shape) if isinstance(shape, str) else shape]}}]))))
    sql.execute("INSERT INTO comments VALUES (999, 12, 'meanwhile')")
    for name, number in names:
        assert not client.response(number).HasField("err")
        client.wait_batch(name)
    wait_tree(client, sql, {"projects": "true", "issues": "true", "comments": "true"})
    for name, _ in names[:-1]:
        client.unsubscribe(name)
    client.wait_gone(names[-2][0])
    wait_tree(client, sql, {"comments": "body > 'm'"})


def test_equal_shapes_share_a_flow(grown, sql, satellite):
    """Clients with the same shapes get the same, also when one of them comes or leaves while rows are read."""
    clients = [satellite(grown).start() for _ in range(4)]
    for client in clients:
        client.sync(PROJECTS)
    for i in range(10):
        sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 if i % 2 == 0 else 3,))
        late = satellite(grown).start()
        late.sync(PROJECTS)
        clients.append(late)
        leaver = clients.pop(0)
        wait_tree(leaver, sql) if i % 3 else leaver.drop()
    for client in clients:
        wait_tree(client, sql)
    sql.execute("UPDATE projects SET owner = 'me'")
    for client in clients:
        wait_tree(client, sql)
        assert ops(client.transactions[-1]) == ops(clients[0].transactions[-1])


def test_equal_shapes_asked_for_at_the_same_moment(grown, sql, satellite):
    """Joining and leaving one flow within a turn of the loop."""
    clients = [satellite(grown).start() for _ in range(6)]
    for client in clients:
        client.sync(PROJECTS)
    for round_ in range(6):
        requests = []
        for client in clients:
            name, request = str(uuid.uuid4()), str(uuid.uuid4())
            client.subscriptions[name] = [request]
            requests.append((client, name, client.request("subscribe", message("SatSubsReq", subscription_id=name, shape_requests=[
                {"request_id": request, "shape_definition": {"selects": [select("comments", f"this.id > {round_}")]}}]))))
        sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 if round_ % 2 == 0 else 3,))
        for client, name, number in requests:
            client.response(number)
            client.wait_batch(name)
        for client, name, _ in requests:
            client.unsubscribe(name)
    sql.execute("UPDATE projects SET name = 'end'")
    for client in clients:
        client.collect(lambda c=client: all(row[1] == "end" for row in c.rows("projects")), "the end")
        wait_tree(client, sql)
