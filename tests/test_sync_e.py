# SPDX-License-Identifier: Apache-2.0
"""Sync scenarios E, reconnection: spec/scenarios-sync.md 83–94.

What moves in comes in the transaction that moves it in (ADR 14), so there is never additional data that could be missed: 86 and 87 show
what takes its place.
"""

import signal
import threading
import time

import psycopg
import pytest

from harness.postgres import Postgres
from harness.satellite import Closed, GoneBatch, RpcError, Transaction, select
from harness.wait import wait_until

TREE = ("CREATE TABLE projects (id int8 PRIMARY KEY, owner text)",
        "CREATE TABLE issues (id int8 PRIMARY KEY, project_id int8 REFERENCES projects (id), title text)",
        "CREATE TABLE comments (id int8 PRIMARY KEY, issue_id int8 REFERENCES issues (id), body text)")
PROJECTS = select("projects", "this.owner = 'me'", [(["project_id"], select("issues", include=[(["issue_id"], select("comments"))]))])
VISIBLE = {"projects": "owner = 'me'", "issues": "project_id IN (SELECT id FROM projects WHERE owner = 'me')",
           "comments": "issue_id IN (SELECT i.id FROM issues i JOIN projects p ON p.id = project_id WHERE owner = 'me')"}
ROWS = """
INSERT INTO projects VALUES (1, 'me'), (2, 'me'), (3, 'other');
INSERT INTO issues VALUES (11, 1, 'a'), (21, 2, 'b'), (31, 3, 'c');
INSERT INTO comments VALUES (111, 11, 'a'), (211, 21, 'b'), (311, 31, 'c'), (312, 31, 'd');
"""


def electrify(busbar, *ddl):
    with busbar.wire() as wire:
        for text in ddl:
            wire.query(f"{text}; ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()
    return busbar


@pytest.fixture
def entries(busbar):
    return electrify(busbar, "CREATE TABLE entries (id int8 PRIMARY KEY, content text)")


@pytest.fixture
def tree(busbar, sql):
    electrify(busbar, *TREE)
    sql.execute(ROWS)
    return busbar


def reconnect(client, busbar=None, **options):
    """A new connection of the same device, gone on with where it was."""
    again = client.continue_on(busbar.http_port if busbar else None)
    again.connect()
    again.authenticate()
    again.resume(**options)
    return again


def refused(client, code, lsn=None, subscriptions=()):
    """startReplication fails with the code and the server closes."""
    again = client.continue_on()
    again.connect()
    again.authenticate()
    with pytest.raises(RpcError) as error:
        again.start_replication(client.lsn if lsn is None else lsn, subscription_ids=list(subscriptions))
    assert error.value.code == code
    assert again.wait_closed()[0] == 1007


def wait_tree(client, sql):
    for table, where in VISIBLE.items():
        client.wait_same(sql, table, where)
    assert not client.surprises, client.surprises


def ops(what):
    return sorted((op.kind, op.table, *op.key) for op in what.ops)


def restart(busbar, how):
    if how == "kill":
        busbar.kill()
    else:
        busbar.stop()
    busbar.start()


# The published client.


def test_83_published_client_without_shapes(entries, sql, electric_client):
    device = electric_client(entries).start()
    with entries.wire() as wire:
        wire.query("ALTER TABLE entries ADD COLUMN more text").ok()
    lsn = wait_until(lambda: device.query("SELECT value FROM _electric_meta WHERE key = 'lsn'")[0]["value"], "a position")
    for _ in range(3):
        device.disconnect()
        sql.execute("INSERT INTO entries (id, content) VALUES ((SELECT count(*) FROM entries), 'x')")
        device.connect()
        assert device.status["connected"]
    assert device.query("SELECT value FROM _electric_meta WHERE key = 'lsn'")[0]["value"] == lsn, "no reset"
    device.sync("entries")
    device.wait_rows("SELECT id FROM entries ORDER BY id", [(0,), (1,), (2,)])
    assert not device.thrown


def test_84_published_client(tree, sql, electric_client):
    """What it missed arrives, its shapes go on; also when the app was closed, or killed."""
    device = electric_client(tree).start()
    device.sync("projects", where={"owner": "me"}, include={"issues": {"include": {"comments": True}}})
    device.wait_rows("SELECT id FROM comments ORDER BY id", [(111,), (211,)])
    for i, leave in enumerate((device.disconnect, device.close, device.kill), 1000):
        leave()
        sql.execute("INSERT INTO comments VALUES (%s, 11, 'missed')", (i,))
        sql.execute("DELETE FROM comments WHERE id = 211")
        sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 if i % 2 == 0 else 3,))
        device.connect() if leave == device.disconnect else device.start()
        device.wait_rows("SELECT id FROM comments ORDER BY id", sorted([(111,), *(((311,), (312,)) if i % 2 == 0 else ()), *((n,) for n in range(1000, i + 1))]))
    assert not device.thrown


# Going on.


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_84_goes_on(tree, sql, satellite, leave):
    """No new initial data; what was missed arrives, with what moves in and out by it."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    getattr(client, leave)()
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    sql.execute("UPDATE issues SET project_id = 3 WHERE id = 21")
    sql.execute("DELETE FROM comments WHERE id = 111")
    sql.execute("UPDATE comments SET body = 'not seen' WHERE id = 211")
    again = reconnect(client)
    came = again.wait_transactions(3)
    assert [ops(t) for t in came] == [
        [("insert", "comments", "311"), ("insert", "comments", "312"), ("insert", "issues", "31")],
        [("gone", "comments", "211"), ("gone", "issues", "21")], [("delete", "comments", "111")]]
    wait_tree(again, sql)
    sql.execute("INSERT INTO comments VALUES (313, 31, 'e'), (212, 21, 'f')")
    assert ops(again.wait_transactions(4)[3]) == [("insert", "comments", "313")]
    assert again.batches == [] and not again.surprises


def test_84_many_times_under_load(tree, cluster, database, sql, satellite):
    """A device that comes and goes while others write, with transactions that it has not acknowledged."""
    done, failures = threading.Event(), []

    def write():
        try:
            with cluster.connect(database) as conn:
                i = 1000
                while not done.wait(0.002):
                    i += 1
                    conn.execute("INSERT INTO comments VALUES (%s, (SELECT id FROM issues ORDER BY id LIMIT 1 OFFSET %s %% 3), 'w')", (i, i))
                    conn.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 + i % 3,))
                    conn.execute("DELETE FROM comments WHERE id = %s", (i - 20,))
        except Exception as error:  # noqa: BLE001  told at the end
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        client = satellite(tree).start()
        client.sync(PROJECTS)
        for i in range(15):
            client.pump(0.1 + 0.02 * i)
            client.drop() if i % 2 else client.close()
            client.auto_ack = i % 3 != 0
            client = reconnect(client)
    finally:
        done.set()
        thread.join()
    client.drop()
    client.auto_ack = True
    client = reconnect(client)
    wait_tree(client, sql)
    assert not failures


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_86_service_restarts(tree, sql, satellite, how):
    """With rows that are about to move in and what was not acknowledged: nobody loads again, all see what PostgreSQL has."""
    one, two = satellite(tree).start(), satellite(tree, auto_ack=False).start()
    one.sync(PROJECTS)
    two.sync("comments")
    for i in range(5):
        sql.execute("INSERT INTO comments VALUES (%s, 11, 'more')", (1000 + i,))
    one.wait_same(sql, "comments", VISIBLE["comments"])
    two.wait_same(sql, "comments")
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    restart(tree, how)
    sql.execute("UPDATE comments SET issue_id = 31 WHERE id = 1000")
    sql.execute("DELETE FROM comments WHERE id = 1001")
    for client in (one, two):
        again = reconnect(client)
        again.collect(lambda c=again: ("1001",) not in c.tables["comments"], "the last change")
        assert again.batches == [] and not again.surprises, again.surprises
        if client is one:
            wait_tree(again, sql)
        else:
            again.wait_same(sql, "comments")
            again.wait_same(sql, "projects", "id IN (1, 2)")


def test_86_restart_while_rows_are_read(tree, sql, satellite, cluster, database):
    """Killed in the middle of a move: it comes whole afterwards."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
        sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
        wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'comments'::regclass").fetchone()[0], "the read to wait")
        tree.kill()
        locker.execute("UPDATE comments SET issue_id = 21 WHERE id = 312")
        locker.commit()
    tree.start()
    again = reconnect(client)
    came = again.wait_transactions(2)
    assert ops(came[0]) == [("insert", "comments", "311"), ("insert", "comments", "312"), ("insert", "issues", "31")] and ops(came[1]) == [("update", "comments", "312")]
    wait_tree(again, sql)


def test_86_killed_while_data_is_sent(tree, sql, satellite):
    """A subscription whose data had not come is not gone on with: the client asks again."""
    sql.execute("INSERT INTO comments SELECT i, 11, repeat('x', 1000) FROM generate_series(1000, 21000) i")
    client = satellite(tree).start()
    client.subscribe("comments")
    client.collect(lambda: client._open is not None and len(client._open.ops) > 100, "some of the data")
    tree.kill()
    tree.start()
    client.subscriptions.clear()
    again = reconnect(client)
    again.sync("comments")
    again.collect(lambda: len(again.tables["comments"]) == 20_005, "all of it")


@pytest.mark.parametrize("observed", [(), (1,)])
def test_87_before_and_after_what_moved_in(tree, sql, satellite, observed):
    """At the position before it comes whole, at the position after it not at all."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    client.auto_ack = False
    before = client.continue_on()
    before.tables = {name: dict(rows) for name, rows in client.tables.items()}
    count = len(client.transactions)
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    moved = client.wait_transactions(count + 1)[count]
    client.drop()
    before.connect()
    before.authenticate()
    before.resume(observed=observed)
    assert ops(before.wait_transactions(1)[0]) == ops(moved)
    wait_tree(before, sql)
    before.close()
    after = reconnect(before, observed=observed)
    sql.execute("INSERT INTO comments VALUES (313, 31, 'e')")
    assert ops(after.wait_transactions(1)[0]) == [("insert", "comments", "313")]
    wait_tree(after, sql)


def test_88_twice_with_the_same_arguments(tree, sql, satellite):
    client = satellite(tree).start()
    client.sync(PROJECTS)
    client.close()
    client.auto_ack = False
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    sql.execute("DELETE FROM comments WHERE id = 111")
    seen = []
    for _ in range(3):
        again = client.continue_on()
        again.tables = {name: dict(rows) for name, rows in client.tables.items()}
        again.connect()
        again.authenticate()
        again.resume()
        seen.append([(t.id, t.lsn, ops(t)) for t in again.wait_transactions(2)])
        wait_tree(again, sql)
        again.drop()
    assert seen[0] == seen[1] == seen[2]


def test_89_without_one_of_the_subscriptions(tree, sql, satellite):
    """Its rows are no longer followed, and whoever subscribes anew gets all of them."""
    client = satellite(tree).start()
    client.sync("projects")
    lost = client.sync(PROJECTS).subscription_id
    client.close()
    del client.subscriptions[lost]
    client.tables = {"projects": client.tables["projects"]}
    again = reconnect(client)
    sql.execute("UPDATE comments SET body = 'x'")
    sql.execute("UPDATE issues SET title = 'y'")
    sql.execute("UPDATE projects SET owner = 'me' WHERE id = 3")
    assert ops(again.wait_transactions(1)[0]) == [("update", "projects", "3")]
    batch = again.sync(PROJECTS)
    assert not [op for op in batch.ops if op.table == "projects"], "those are there"
    wait_tree(again, sql)
    again.close()
    refused(again, "SUBSCRIPTION_NOT_FOUND", subscriptions=[lost])


def test_28_subscription_without_data(tree, sql, satellite, cluster, database):
    """One whose data had not come when the connection was lost cannot be gone on with."""
    client = satellite(tree).start()
    client.sync("projects")
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
        pending = client.subscribe("comments")
        client.close()
    refused(client, "SUBSCRIPTION_NOT_FOUND", subscriptions=[*client.subscriptions])
    del client.subscriptions[pending]
    again = reconnect(client)
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    again.wait_transactions(1)


# Unsubscribe and reconnect: the table of satellite.md 12.6. U is the position of the batch, L where the client goes on.


@pytest.fixture
def unsubscribed(tree, sql, satellite):
    """(the client as it was before the batch, its connection that has had the batch, the subscription, the batch)."""
    client = satellite(tree, auto_ack=False).start()
    client.sync("projects")
    subscription = client.sync(PROJECTS).subscription_id
    sql.execute("UPDATE comments SET body = 'first' WHERE id = 111")
    client.wait_same(sql, "comments", VISIBLE["comments"])
    before = client.continue_on()
    before.auto_ack = True
    before.tables = {name: dict(rows) for name, rows in client.tables.items()}
    sql.execute("UPDATE comments SET body = 'second' WHERE id = 111")
    client.collect(lambda: client.tables["comments"]["111",]["body"] == "second", "the change")
    client.unsubscribe(subscription)
    batch = client.wait_gone(subscription)
    assert ops(batch) == sorted([("gone", "issues", "11"), ("gone", "issues", "21"), ("gone", "comments", "111"), ("gone", "comments", "211")])
    assert int(before.lsn) < int(batch.lsn) and client.lsn == batch.lsn
    return before, client, subscription, batch


def go_on(client, subscriptions, **options):
    client.connect()
    client.authenticate()
    client.start_replication(client.lsn, subscription_ids=list(subscriptions), **options)
    return client


@pytest.mark.parametrize("at", ["before", "there"])
def test_90_listed_and_not_acknowledged(unsubscribed, sql, at):
    """L ≤ U, listed: as if the unsubscribe had never happened."""
    before, client, subscription, batch = unsubscribed
    client.drop()
    if at == "there":
        before.lsn = batch.lsn
        before.tables["comments"]["111",]["body"] = "second"
    go_on(before, before.subscriptions)
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    wait_tree_and_projects(before, sql)
    assert not [x for x in before.log if isinstance(x, GoneBatch)] and subscription in before.subscriptions


def wait_tree_and_projects(client, sql):
    for table, where in {**VISIBLE, "projects": "true"}.items():
        client.wait_same(sql, table, where)
    assert not client.surprises, client.surprises


@pytest.mark.parametrize("at", ["before", "there"])
def test_90_neither_listed_nor_observed(unsubscribed, sql, at):
    """L ≤ U, not listed: the batch comes again, as the rows are at L."""
    before, client, subscription, batch = unsubscribed
    client.drop()
    sql.execute("UPDATE comments SET issue_id = 31 WHERE id = 111")
    sql.execute("DELETE FROM comments WHERE id = 211")
    if at == "there":
        before.lsn = batch.lsn
    kept = [s for s in before.subscriptions if s != subscription]
    go_on(before, kept)
    gone = before.wait_gone(subscription)
    assert not [x for x in before.log if isinstance(x, Transaction)], "right after the response"
    assert ops(gone) == ops(batch) and gone.lsn == before.lsn
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    before.wait_same(sql, "projects")
    assert not before.tables["comments"] and not before.tables["issues"] and not before.surprises
    before.close()
    refused(before, "SUBSCRIPTION_NOT_FOUND", subscriptions=[subscription])


def test_90_observed(unsubscribed, sql):
    """L = U, observed: nothing is sent."""
    before, client, subscription, batch = unsubscribed
    client.drop()
    before.lsn = batch.lsn
    before.tables = client.tables
    before.subscriptions.pop(subscription)
    go_on(before, before.subscriptions, observed_gone=[subscription])
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    before.wait_same(sql, "projects")
    assert not [x for x in before.log if isinstance(x, GoneBatch)]
    before.close()
    refused(before, "SUBSCRIPTION_NOT_FOUND", subscriptions=[subscription])


def test_90_past_it_and_not_listed(unsubscribed, sql):
    """L > U, not listed: nothing is sent."""
    _, client, subscription, batch = unsubscribed
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    client.wait_same(sql, "projects")
    assert int(client.lsn) > int(batch.lsn)
    client.drop()
    again = reconnect(client)
    sql.execute("UPDATE projects SET owner = 'y' WHERE id = 1")
    again.wait_same(sql, "projects")
    assert not [x for x in again.log if isinstance(x, GoneBatch)] and subscription not in again.subscriptions


def test_90_past_it_and_listed(unsubscribed, sql):
    """L > U, listed: there is no such subscription."""
    _, client, subscription, _ = unsubscribed
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    client.wait_same(sql, "projects")
    client.drop()
    refused(client, "SUBSCRIPTION_NOT_FOUND", subscriptions=[*client.subscriptions, subscription])


def test_90_acknowledged_and_listed(unsubscribed):
    """Acknowledged, listed: there is no such subscription, also at L = U."""
    _, client, subscription, _ = unsubscribed
    client.ack(gone_subscription_ids=[subscription])
    client.unsubscribe()  # its answer: the acknowledgement has been taken
    client.drop()
    refused(client, "SUBSCRIPTION_NOT_FOUND", subscriptions=[*client.subscriptions, subscription])


@pytest.mark.parametrize("killed", [False, True])
def test_90_connection_lost_before_the_batch(tree, sql, satellite, cluster, database, killed):
    """Unsubscribed, answered, and gone before any of it was told, by either side: not listed, it gets the batch; listed, it goes on."""
    for listed in (False, True):
        client = satellite(tree).start()
        client.sync("projects")
        subscription = client.sync(PROJECTS).subscription_id
        with cluster.connect(database, autocommit=False) as locker:
            locker.execute("LOCK TABLE comments IN ACCESS EXCLUSIVE MODE")
            client.unsubscribe(subscription)
            if killed:
                tree.kill()
            client.drop()
        if killed:
            tree.start()
        if not listed:
            del client.subscriptions[subscription]
        again = reconnect(client)
        if not listed:
            assert again.wait_gone(subscription).lsn == client.lsn
            assert not again.tables["comments"]
        else:
            sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
            wait_tree_and_projects(again, sql)
        again.close()


def test_90_batch_after_a_restart(unsubscribed, tree, sql):
    before, client, subscription, batch = unsubscribed
    client.drop()
    tree.kill()
    tree.start()
    go_on(before, [s for s in before.subscriptions if s != subscription])
    assert ops(before.wait_gone(subscription)) == ops(batch)
    sql.execute("UPDATE projects SET owner = 'x' WHERE id = 1")
    before.wait_same(sql, "projects")


def test_91_children_of_rows_got_before(tree, sql, satellite):
    """What the client has is known after a reconnect, though nothing of it is stored."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    wait_tree(client, sql)
    for how in (None, "kill"):
        client.close()
        if how:
            restart(tree, how)
        client = reconnect(client)
        count = len(client.transactions)
        sql.execute("INSERT INTO comments VALUES (313, 31, 'new')")
        sql.execute("UPDATE comments SET issue_id = 21 WHERE id = 311")
        sql.execute("UPDATE issues SET project_id = 3 WHERE id = 31")
        sql.execute("UPDATE comments SET body = 'unseen' WHERE id = 312")
        sql.execute("UPDATE issues SET project_id = 2 WHERE id = 31")
        came = [ops(t) for t in client.wait_transactions(count + 4)[count:]]
        moved = [("comments", "312"), ("comments", "313"), ("issues", "31")]
        assert came == [[("insert", "comments", "313")], [("update", "comments", "311")], [("gone", *m) for m in moved], [("insert", *m) for m in moved]]
        wait_tree(client, sql)
        sql.execute("DELETE FROM comments WHERE id = 313")
        sql.execute("UPDATE comments SET issue_id = 31 WHERE id = 311")
        wait_tree(client, sql)


# What cannot be gone on with.


SMALL = {"ELECTRIC_RESUMABLE_WAL_WINDOW": "1M", "ELECTRIC_TXN_CACHE_SIZE": "1M"}


def fill(sql, count, first=1000):
    for i in range(count):
        sql.execute("INSERT INTO entries VALUES (%s, repeat(md5(%s), 3000))", (first + i, str(i)))


@pytest.fixture
def small(make_busbar, cluster, database):
    return electrify(make_busbar(cluster.url(database), dbname=database, **SMALL), "CREATE TABLE entries (id int8 PRIMARY KEY, content text)")


def test_92_more_than_the_window(small, sql, satellite):
    client, other = satellite(small).start(), satellite(small).start()
    for c in (client, other):
        c.sync("entries")
    client.close()
    sql.execute("INSERT INTO entries VALUES (1, 'x')")
    fill(sql, 60)
    other.collect(lambda: len(other.tables.get("entries", {})) == 61, "the rows")

    def behind():
        again = client.continue_on()
        again.connect()
        again.authenticate()
        try:
            again.resume()
        except RpcError as error:
            return error.code == "BEHIND_WINDOW"
        finally:
            again.drop()
        return False

    wait_until(behind, "the log to be trimmed")
    other.close()
    reconnect(other)
    again = satellite(small, client.client_id).start()
    again.sync("entries")
    again.wait_same(sql, "entries")


def test_92_published_client(small, sql, electric_client, satellite):
    """It clears what it had and is connected again. Its list of shapes does not survive that, whatever it intends
    (the state it stores has none): the app asks for them, as it does when it starts, and has the right data."""
    device = electric_client(small).start()
    device.sync("entries")
    other = satellite(small).start()
    other.sync("entries")
    device.disconnect()
    fill(sql, 60)
    sql.execute("DELETE FROM entries WHERE id = 1001")
    other.wait_same(sql, "entries")
    device.connect()
    device.sync("entries")
    device.wait_rows("SELECT id FROM entries ORDER BY id", [(1000,), *((1000 + i,) for i in range(2, 60))], timeout=40)
    sql.execute("INSERT INTO entries VALUES (1, 'x')")
    device.wait_rows("SELECT count(*) FROM entries", [(60,)])
    assert not device.thrown


def test_92a_connected_but_not_acknowledging(small, sql, satellite):
    """It gets every transaction after all, or is sent away; never is there a hole."""
    client, other = satellite(small, auto_ack=False).start(), satellite(small).start()
    for c in (client, other):
        c.sync("entries")
    client.ack()
    fill(sql, 90)
    other.collect(lambda: len(other.tables.get("entries", {})) == 90, "the rows")
    client.collect(lambda: len(client.unacked) == 30, "a full window")
    client.auto_ack = True
    try:
        client.ack()
        client.collect(lambda: len(client.tables["entries"]) == 90, "the rows")
        client.wait_same(sql, "entries")
        assert len([t for t in client.transactions if t.ops]) == 90
    except Closed:
        refused(client, "BEHIND_WINDOW")
    assert not client.surprises


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_93_idle_service_is_restarted(entries, sql, satellite, how):
    """With the newest position it has, a client goes on; again and again."""
    client = satellite(entries).start()
    sql.execute("INSERT INTO entries VALUES (1, 'x')")
    client.sync("entries")
    for i in range(3):
        client.close() if i else client.drop()
        restart(entries, how)
        client = reconnect(client)
        assert client.batches == [] and client.transactions == []
    sql.execute("INSERT INTO entries VALUES (2, 'y')")
    client.wait_same(sql, "entries")
    assert not client.surprises


def test_truncated_while_away(tree, sql, satellite):
    """The rows that went with a TRUNCATE cannot be told any more: it loads again, and is not sent round in circles."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    client.close()
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    sql.execute("TRUNCATE projects, issues, comments")
    sql.execute("INSERT INTO projects VALUES (9, 'me')")

    def loaded():
        again = client.continue_on()
        again.connect()
        again.authenticate()
        try:
            again.resume()
            wait_tree(again, sql)
            return True
        except Closed:
            return False
        except RpcError as error:
            assert error.code == "SUBSCRIPTION_NOT_FOUND", error
        fresh = satellite(tree, client.client_id).start()
        fresh.sync(PROJECTS)
        wait_tree(fresh, sql)
        return True

    wait_until(loaded, "the client to be right again", timeout=30)


def test_table_changes_while_away(tree, sql, satellite):
    """A column more: rows of before have the old columns, those after the new ones, and the client's follow."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    client.close()
    sql.execute("INSERT INTO comments VALUES (113, 11, 'before')")
    with tree.wire() as wire:
        wire.query("ALTER TABLE comments ADD COLUMN extra text").ok()
    sql.execute("INSERT INTO comments VALUES (114, 11, 'after', 'e')")
    sql.execute("UPDATE issues SET project_id = 1 WHERE id = 31")
    again = reconnect(client)
    first, migration, *_ = again.wait_transactions(4)
    assert "extra" not in first.ops[0].row and migration.is_migration
    again.tables["comments"] = {k: {**row, "extra": row.get("extra")} for k, row in again.tables["comments"].items()}
    wait_tree(again, sql)


# PostgreSQL.


@pytest.fixture
def own(make_busbar):
    """A cluster of the test's own with a Busbar: (cluster, busbar, a way to connect)."""
    cluster = Postgres(fsync=True)
    try:
        cluster.start()
        database = cluster.create_database()
        busbar = make_busbar(cluster.url(database), dbname=database)
        electrify(busbar, *TREE)
        with cluster.connect(database) as sql:
            sql.execute(ROWS)
        yield cluster, busbar, lambda: cluster.connect(database)
        busbar.stop()
    finally:
        cluster.destroy()


def came_back(client, busbar):
    """Connected still, or anew as soon as it can."""
    try:
        client.pump(0.05)
    except Closed:
        pass
    if client.is_open:
        return client

    def again():
        made = client.continue_on(busbar.http_port)
        made.connect()
        made.authenticate()
        made.resume()
        return made

    return wait_until(again, "the service to take clients again", timeout=40, interval=0.2)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_94_postgres_restarts(own, satellite, electric_client, how):
    """The service recovers by itself; clients end up with the right data, without loading again."""
    cluster, busbar, connect = own
    client = satellite(busbar).start()
    client.sync(PROJECTS)
    device = electric_client(busbar).start()
    device.sync("comments")
    for i in range(3):
        with connect() as sql:
            sql.execute("INSERT INTO comments VALUES (%s, 11, 'before')", (1000 + i,))
        cluster.stop(signal.SIGINT if how == "fast" else signal.SIGQUIT)
        wait_until(lambda: busbar.status()[0] == 503, "the loss to be noticed")
        cluster.start()
        with connect() as sql:
            sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 + 2 * (i % 2),))
            sql.execute("INSERT INTO comments VALUES (%s, 31, 'after')", (2000 + i,))
        wait_until(lambda: busbar.status()[0] == 200, "the service to be ready", timeout=40)
        client = came_back(client, busbar)
        with connect() as sql:
            client.collect(lambda: client.rows("issues") == client.expected(sql, "issues", VISIBLE["issues"]), "the issues")
            wait_tree(client, sql)
            device.wait_rows("SELECT id FROM comments ORDER BY id", sql.execute("SELECT id FROM comments ORDER BY id").fetchall(), timeout=40)
        assert len(client.batches) <= 1
    assert not device.thrown


def test_94_subscription_while_postgres_is_away(own, satellite):
    """It fails in passing; the client that comes back gets its data."""
    cluster, busbar, connect = own
    client = satellite(busbar).start()
    client.sync("projects")
    cluster.stop(signal.SIGINT)
    try:
        client.subscribe(PROJECTS)
        client.pump(0.5)
    except (RpcError, Closed):
        pass
    cluster.start()
    wait_until(lambda: busbar.status()[0] == 200, "the service to be ready", timeout=40)
    wanted = [s for s in client.subscriptions if not [b for b in client.batches if b.subscription_id == s]]
    if not client.is_open:
        for subscription in wanted:
            del client.subscriptions[subscription]
    client = came_back(client, busbar)
    if not [b for b in client.batches if b.subscription_id in wanted]:
        client.subscribe(PROJECTS) if not set(wanted) & set(client.subscriptions) else None
    with connect() as sql:
        for table, where in {**VISIBLE, "projects": "true"}.items():
            try:
                client.wait_same(sql, table, where)
            except Closed:  # sent away once more, in passing
                client = came_back(client, busbar)
                client.sync(PROJECTS)
                client.wait_same(sql, table, where)


def test_94_replication_connection_is_killed(tree, sql, satellite):
    """Only the stream's connection, again and again: nobody notices more than a pause."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    for i in range(5):
        killed = sql.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active").fetchall()
        sql.execute("INSERT INTO comments VALUES (%s, 11, 'x')", (1000 + i,))
        sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 + 2 * (i % 2),))
        wait_tree(client, sql)
        assert killed or i
    assert not client.closed and len(client.batches) == 1


def test_94_every_connection_is_killed(tree, sql, satellite):
    """All that the service has, in the middle of what it does."""
    client = satellite(tree).start()
    client.sync(PROJECTS)
    for i in range(5):
        sql.execute("UPDATE issues SET project_id = %s WHERE id = 31", (1 + 2 * (i % 2),))
        try:
            sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        except psycopg.Error:
            pass
        deadline = time.monotonic() + 40
        while True:
            try:
                client = came_back(client, tree)
                wait_tree(client, sql)
                break
            except Closed:
                assert time.monotonic() < deadline, "sent away again and again"
    assert client.subscriptions
