# SPDX-License-Identifier: Apache-2.0
"""Large transactions and many clients: each gets what it sees of one, in its place among the others, and nobody else waits for that."""

import threading
import time

import pytest

from harness.satellite import select
from harness.web import get

OWNERS, ROWS = 12, 2400  # a twelfth of the rows for each owner
TABLES = ("CREATE TABLE projects (id int8 PRIMARY KEY, owner text NOT NULL, body text NOT NULL)",
          "CREATE TABLE notes (id int8 PRIMARY KEY, project_id int8 NOT NULL REFERENCES projects (id), body text NOT NULL)")


def electrify(busbar, *ddl):
    with busbar.wire() as wire:
        for text in ddl:
            wire.query(text).ok()
            wire.query(f"ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()


@pytest.fixture
def filled(busbar, sql):
    electrify(busbar, *TABLES)
    sql.execute(f"INSERT INTO projects SELECT n, 'o' || n % {OWNERS}, 'old' FROM generate_series(1, {ROWS}) n;"
                f"INSERT INTO notes SELECT n, n, 'old' FROM generate_series(1, {ROWS}) n")
    return busbar


def of(owner):
    return select("projects", f"this.owner = 'o{owner}'")


def with_notes(owner):
    return select("projects", f"this.owner = 'o{owner}'", [(["project_id"], select("notes"))])


def make_large(sql, *statements):
    """In one transaction; all of them together with enough of everybody's rows not to be followed at once."""
    with sql.transaction():
        for text in statements:
            sql.execute(text)


def started(satellite, busbar, *shapes):
    client = satellite(busbar).start()
    client.sync(*shapes)
    return client


def brought(client, count=1, timeout=20.0):
    """The transactions with rows, when there are so many; not those that only made the schema."""
    def there():
        return [t for t in client.transactions if t.ops]

    client.collect(lambda: len(there()) >= count, f"{count} transactions with rows", timeout)
    return there()


def test_everybody_gets_his_part(filled, sql, satellite):
    """Between two small ones, which nobody gets too early or too late; and small ones go on at once afterwards."""
    clients = [started(satellite, filled, of(n)) for n in range(OWNERS)]
    clients += [started(satellite, filled, with_notes(n)) for n in range(3)] + [started(satellite, filled, "projects")]
    counts = [ROWS // OWNERS] * (OWNERS + 3) + [ROWS]
    sql.execute(f"UPDATE projects SET body = 'before' WHERE id <= {OWNERS}")
    make_large(sql, "UPDATE projects SET body = repeat('x', 300)")
    sql.execute(f"UPDATE projects SET body = 'after' WHERE id <= {OWNERS}")
    for client, count in zip(clients, counts):
        few = OWNERS if count == ROWS else 1
        transactions = brought(client, 3)
        assert [len(t.ops) for t in transactions] == [few, count, few]
        assert {op.row["body"] for op in transactions[1].ops} == {"x" * 300}
    sql.execute("UPDATE projects SET body = 'later' WHERE id = 5")
    brought(clients[5], 4)
    for client in clients:
        assert not client.surprises
    for owner in range(OWNERS):
        clients[owner].wait_same(sql, "projects", f"owner = 'o{owner}'")


def test_rows_that_leave_and_come_again(filled, sql, satellite):
    """What became of a row after it had left is told: it was deleted, or it is somebody else's."""
    clients = [started(satellite, filled, of(n)) for n in range(3)]
    make_large(sql, "UPDATE projects SET body = repeat('x', 300)",
               "UPDATE projects SET owner = 'o2' WHERE id IN (1, 13, 25, 37)", "DELETE FROM notes WHERE id IN (13, 49, 61)",
               "DELETE FROM projects WHERE id = 13",                                     # o1's, then o2's, then nobody's
               "UPDATE projects SET owner = 'o1' WHERE id = 25",                         # … and o1's again
               "DELETE FROM projects WHERE id = 49", "INSERT INTO projects VALUES (49, 'o0', 'new')",  # the same key, another's
               "UPDATE projects SET id = 100061 WHERE id = 61")
    found = {}
    for owner, client in enumerate(clients):
        client.wait_same(sql, "projects", f"owner = 'o{owner}'")
        (transaction,) = brought(client)
        assert not client.surprises
        found[owner] = {(op.kind, int(op.key[0])) for op in transaction.ops if int(op.key[0]) in (1, 13, 25, 37, 49, 61, 100061)}
    assert found[1] == {("gone", 1), ("delete", 13), ("update", 25), ("gone", 37), ("gone", 49), ("delete", 61), ("insert", 100061)}
    assert found[2] == {("insert", 1), ("insert", 37)}
    assert found[0] == {("insert", 49)}


def test_rows_that_move_in(filled, sql, satellite):
    """With what belongs to them, which has to be read."""
    client = started(satellite, filled, with_notes(1))
    make_large(sql, "UPDATE projects SET owner = 'o1', body = repeat('y', 300) WHERE owner IN ('o2', 'o3')",
               "UPDATE projects SET body = repeat('y', 300) WHERE owner = 'o4'", "UPDATE notes SET body = 'z' WHERE id = 2")
    (transaction,) = brought(client)
    assert len([op for op in transaction.ops if op.table == "notes"]) == 2 * ROWS // OWNERS
    client.wait_same(sql, "projects", "owner = 'o1'")
    client.wait_same(sql, "notes", "project_id IN (SELECT id FROM projects WHERE owner = 'o1')")
    assert not client.surprises


def test_a_migration_that_fills_its_column(filled, sql, satellite):
    clients = [started(satellite, filled, of(1)), started(satellite, filled, with_notes(2))]
    with filled.wire() as wire:
        for text in ("BEGIN", "ALTER TABLE projects ADD COLUMN more text", "UPDATE projects SET more = repeat('x', 300)", "COMMIT"):
            wire.query(text).ok()
    sql.execute("UPDATE projects SET more = 'y' WHERE id IN (1, 2)")
    for owner, client in enumerate(clients, 1):
        assert [len([op for op in t.ops if op.table == "projects"]) for t in brought(client, 2)] == [ROWS // OWNERS, 1]
        client.wait_same(sql, "projects", f"owner = 'o{owner}'")
        assert not client.surprises


def test_truncated_in_the_middle(filled, sql, satellite):
    """Which rows were there cannot be told from the log: the client loads anew, and others go on."""
    electrify(filled, "CREATE TABLE apart (id int8 PRIMARY KEY)")
    client, other = started(satellite, filled, of(1)), started(satellite, filled, "apart")
    sql.execute("DROP TRIGGER busbar_truncate ON projects; DROP TRIGGER busbar_truncate ON notes")
    make_large(sql, "UPDATE projects SET body = repeat('x', 300)", "TRUNCATE projects, notes", "INSERT INTO projects VALUES (1, 'o1', 'new')")
    client.wait_closed()
    sql.execute("INSERT INTO apart VALUES (1)")
    other.wait_same(sql, "apart")
    assert not other.surprises


def test_others_are_served_meanwhile(filled, sql, satellite):
    """While forty views go through a hundred thousand rows each, nobody who asks the service waits for a good part of that."""
    electrify(filled, "CREATE TABLE wide (id int8 PRIMARY KEY, level int4 NOT NULL, body text)")
    clients = [started(satellite, filled, select("wide", f"this.level > {n}")) for n in range(40)]
    answered, done = [time.monotonic()], threading.Event()

    def ask():
        while not done.is_set():
            assert get(filled.http_port, "/api/status").status == 200
            answered.append(time.monotonic())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with sql.transaction():
            sql.execute("INSERT INTO wide SELECT n, 0, 'x' FROM generate_series(1, 100000) n; INSERT INTO wide VALUES (0, 50, 'y')")
        committed = time.monotonic()
        for client in clients:
            assert [len(t.ops) for t in brought(client, timeout=60)] == [1]
        all_have_it = time.monotonic()
    finally:
        done.set()
        asking.join()
    longest = max(after - before for before, after in zip(answered, answered[1:]))
    assert longest < (all_have_it - committed) / 8


@pytest.mark.parametrize("leaves", ["clients", "service"])
def test_in_the_middle_of_it(filled, sql, satellite, leaves):
    """Clients or the service go while a large transaction is followed; who comes back gets it once."""
    clients = [started(satellite, filled, of(n)) for n in range(6)] + [started(satellite, filled, with_notes(n)) for n in range(6, OWNERS)]
    for text in ("first", "second"):
        make_large(sql, f"UPDATE projects SET body = '{text}' || repeat('x', 300)", f"UPDATE notes SET body = '{text}'")
    brought(clients[3])
    if leaves == "service":
        filled.kill()
        filled.spawn().wait_ready()
    for n, client in enumerate(clients):
        client.drop()
        again = clients[n] = client.continue_on()
        again.connect()
        again.authenticate()
        again.resume()
    for owner, client in enumerate(clients):
        client.wait_same(sql, "projects", f"owner = 'o{owner}'")
        assert not client.surprises
    sql.execute("UPDATE projects SET body = 'last'")
    for owner, client in enumerate(clients):
        client.wait_same(sql, "projects", f"owner = 'o{owner}'")


def test_the_service_stops_in_the_middle_of_it(filled, sql, satellite):
    clients = [started(satellite, filled, with_notes(n)) for n in range(OWNERS)]
    make_large(sql, "UPDATE projects SET body = repeat('x', 300)")
    brought(clients[0])
    assert filled.stop() == 0
