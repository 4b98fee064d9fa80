# SPDX-License-Identifier: Apache-2.0
"""The sync service under load: writers that are faster than reads, clients that do not read, migrations behind initial data."""

import socket
import threading
import uuid

import pytest

from harness.satellite import message, select
from harness.wait import wait_until
from harness.web import get, parse_prometheus

TREE = ("CREATE TABLE projects (id int8 PRIMARY KEY, name text NOT NULL, owner text)",
        "CREATE TABLE issues (id int8 PRIMARY KEY, project_id int8 REFERENCES projects (id), title text NOT NULL)",
        "CREATE TABLE comments (id int8 PRIMARY KEY, issue_id int8 REFERENCES issues (id), body text NOT NULL)",
        "CREATE TABLE notes (id int8 PRIMARY KEY, project_id int8 REFERENCES projects (id))")
MINE = select("projects", "this.owner = 'me'", [(["project_id"], select("issues", include=[(["issue_id"], select("comments"))])),
                                                (["project_id"], select("notes"))])


def electrify(busbar, *ddl):
    with busbar.wire() as wire:
        for text in ddl:
            wire.query(text).ok()
            wire.query(f"ALTER TABLE {text.split()[2]} ENABLE ELECTRIC").ok()


def metric(busbar, name):
    return parse_prometheus(get(busbar.http_port, "/metrics").text)[name]


def wait_waiting(sql, table):
    """Somebody waits for a lock on the table."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    wait_until(lambda: sql.execute(waiting, (table,)).fetchone()[0], f"a wait for {table}")


# Rows that move in, many transactions at a time.


def move_in(cluster, database, projects):
    """For each project two transactions: it moves in with its issues and comments; then one of these changes and one goes."""
    with cluster.connect(database) as conn:
        for project in projects:
            conn.execute(f"UPDATE projects SET owner = 'me' WHERE id = {project}")
            conn.execute(f"UPDATE comments SET body = 'later' WHERE id = {project * 100 + 11};"
                         f"DELETE FROM comments WHERE id = {project * 100 + 12}")


def test_reads_are_fewer_than_transactions(busbar, cluster, database, sql, satellite):
    """While one read waits, 400 transactions of four writers come, every other one needs rows, two levels deep: what is read
    for all of them is a few queries, and in each transaction are the rows as they were then."""
    electrify(busbar, *TREE)
    sql.execute("INSERT INTO projects SELECT n, 'p', 'other' FROM generate_series(1, 200) n;"
                "INSERT INTO issues SELECT p * 10 + n, p, 'i' FROM generate_series(1, 200) p, generate_series(1, 2) n;"
                "INSERT INTO comments SELECT i.id * 10 + n, i.id, 'then' FROM issues i, generate_series(1, 2) n;"
                "INSERT INTO projects VALUES (1000, 'first', 'other'); INSERT INTO issues VALUES (10000, 1000, 'i')")
    client = satellite(busbar).start()
    client.sync(MINE)
    before = len(client.transactions)
    queries, taken = metric(busbar, "busbar_sync_queries_total"), metric(busbar, "busbar_sync_snapshots_total")
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        sql.execute("UPDATE projects SET owner = 'me' WHERE id = 1000")
        wait_waiting(sql, "notes")
        writers = [threading.Thread(target=move_in, args=(cluster, database, range(n, 201, 4))) for n in (1, 2, 3, 4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        locker.commit()
    client.wait_transactions(before + 401, timeout=60)
    for transaction in client.transactions[before + 1:]:
        if any(op.table == "projects" for op in transaction.ops):
            assert set(transaction.kinds) == {"insert"}
            assert sorted(op.table for op in transaction.ops) == ["comments"] * 4 + ["issues"] * 2 + ["projects"]
            assert {op.row["body"] for op in transaction.ops if op.table == "comments"} == {"then"}
        else:
            assert sorted(transaction.kinds) == ["delete", "update"]
    for table in ("projects", "issues", "comments"):
        client.wait_same(sql, table)
    assert not client.surprises
    assert metric(busbar, "busbar_sync_queries_total") - queries < 40
    assert metric(busbar, "busbar_sync_snapshots_total") - taken < 20


# Clients that do not read.


BIG = "CREATE TABLE big (id int8 PRIMARY KEY, filler text)"


def fill(sql, rows):
    """Far more than sockets and the service hold for a client."""
    sql.execute("INSERT INTO big SELECT i, repeat('x', 1000) FROM generate_series(1, %s) i", (rows,))


def ask(client, table):
    """Subscribes, and does not read the answer; the subscription's id."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    subscription, request = str(uuid.uuid4()), str(uuid.uuid4())
    client.subscriptions[subscription] = [request]
    shape = {"request_id": request, "shape_definition": {"selects": [select(table)]}}
    client.request("subscribe", message("SatSubsReq", subscription_id=subscription, shape_requests=[shape]))
    return subscription


READERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'busbar snapshot' AND datname = current_database()"


def stuck(sql):
    """Processes of PostgreSQL that cannot send their rows to the service."""
    return sql.execute(f"{READERS} AND wait_event = 'ClientWrite'").fetchone()[0]


@pytest.mark.parametrize("count", [4, 8, 20])
def test_clients_that_do_not_read(busbar, sql, satellite, count):
    """Another one gets its data all the same; PostgreSQL has no more connections than the limit."""
    electrify(busbar, BIG, "CREATE TABLE small (id int8 PRIMARY KEY)")
    fill(sql, 30_000)
    sql.execute("INSERT INTO small VALUES (1)")
    silent = [satellite(busbar).start() for _ in range(count)]
    for client in silent:
        ask(client, "big")
    wait_until(lambda: stuck(sql) >= min(count, 16), "the connections to be taken")
    client = satellite(busbar).start()
    client.sync("small")
    client.wait_same(sql, "small")
    assert sql.execute(READERS).fetchone()[0] <= 16
    if count < 16:
        assert not metric(busbar, "busbar_sync_clients_sent_away_total")
        subscription = next(iter(silent[0].subscriptions))
        silent[0].wait_batch(subscription)
        silent[0].wait_same(sql, "big")


# Migrations behind initial data.


def go_on(client, *pending):
    """The same device, after it was sent away."""
    client.wait_closed()
    for subscription in pending:
        del client.subscriptions[subscription]
    again = client.continue_on()
    again.connect()
    again.authenticate()
    again.resume()
    return again


def test_migration_behind_initial_data(busbar, sql, satellite):
    """Who waits to change the table does not wait for a client, and nobody waits behind it; the client loads anew."""
    electrify(busbar, BIG)
    fill(sql, 30_000)
    client = satellite(busbar).start()
    subscription = ask(client, "big")
    wait_until(lambda: stuck(sql) == 1, "the data to wait for the client")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE big ADD COLUMN more text").ok()
    sql.execute("INSERT INTO big VALUES (0, 'y', 'z')")
    again = go_on(client, subscription)
    again.sync("big")
    again.wait_same(sql, "big")
    assert len(again.rows("big")) == 30_001 and not again.surprises


def test_migration_behind_a_read_that_shows_nothing(busbar, cluster, database, sql, satellite):
    """Nothing had been sent: the service tries again by itself."""
    electrify(busbar, BIG, "CREATE TABLE other (id int8 PRIMARY KEY)")
    fill(sql, 100)
    sql.execute("INSERT INTO other VALUES (1)")
    client = satellite(busbar).start()
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")
        subscription = client.subscribe("big", "other")
        wait_waiting(sql, "other")  # the read, which has locked the first table
        with busbar.wire() as wire:
            wire.query("ALTER TABLE big ADD COLUMN more text").ok()
        locker.commit()
    client.wait_batch(subscription)
    sql.execute("UPDATE big SET more = 'y'")
    client.wait_same(sql, "big")
    client.wait_same(sql, "other")
    assert not client.surprises and not metric(busbar, "busbar_sync_clients_sent_away_total")


def test_migration_behind_rows_that_move_in(busbar, cluster, database, sql, satellite):
    """Likewise, at the transaction that waits for them."""
    electrify(busbar, *TREE)
    sql.execute("INSERT INTO projects VALUES (1, 'a', 'other'); INSERT INTO issues VALUES (11, 1, 'x');"
                "INSERT INTO notes VALUES (1, 1)")
    client = satellite(busbar).start()
    client.sync(MINE)
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE")
        locker.execute("UPDATE projects SET owner = 'me'")
        with cluster.connect(database, autocommit=False) as other:
            other.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
            locker.commit()
            wait_waiting(sql, "notes")
            with busbar.wire() as wire:
                wire.query("ALTER TABLE issues ADD COLUMN more text").ok()
            other.commit()
    sql.execute("UPDATE issues SET more = 'y'")
    for table in ("projects", "issues", "notes"):
        client.wait_same(sql, table)
    assert not client.surprises and not metric(busbar, "busbar_sync_clients_sent_away_total")


def test_truncated_while_a_subscription_waits(busbar, cluster, database, sql, satellite):
    """What was there at its position cannot be told any more, so it moves to another: the client has not been told of any."""
    electrify(busbar, BIG, "CREATE TABLE small (id int8 PRIMARY KEY)")
    fill(sql, 100)
    client = satellite(busbar).start()
    client.sync("small")
    sql.execute("DROP TRIGGER busbar_truncate ON big")
    with cluster.connect(database, autocommit=False) as locker:
        locker.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
        subscription = client.subscribe("big")
        wait_waiting(sql, "big")
        locker.execute("TRUNCATE big")
        locker.execute("INSERT INTO big VALUES (1, 'after')")
        locker.commit()
    client.wait_batch(subscription)
    client.wait_same(sql, "big")
    sql.execute("INSERT INTO big VALUES (2, 'later'); INSERT INTO small VALUES (1)")
    client.wait_same(sql, "big")
    client.wait_same(sql, "small")
    assert not client.surprises and not metric(busbar, "busbar_sync_clients_sent_away_total")
