# SPDX-License-Identifier: Apache-2.0
"""The sync service under load: writers that are faster than reads, clients that do not read, migrations behind initial data."""

import threading

import pytest

from harness.satellite import select
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
    wait_until(lambda: sql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", (table,)).fetchone()[0], f"a wait for {table}")


# Rows that move in, many transactions at a time.


def move_in(cluster, database, projects):
    """For each project two transactions: it moves in with its issues and comments; then one of these changes and one goes."""
    with cluster.connect(database) as conn:
        for project in projects:
            conn.execute(f"UPDATE projects SET owner = 'me' WHERE id = {project}")
            conn.execute(f"UPDATE comments SET body = 'later' WHERE id = {project * 100 + 11}; DELETE FROM comments WHERE id = {project * 100 + 12}")


def test_reads_are_fewer_than_transactions(busbar, cluster, database, sql, satellite):
    """While one read waits, 400 transactions of four writers come, every other one needs rows, two levels deep: what is read for all of
    them is a few queries, and in each transaction are the rows as they were then."""
    electrify(busbar, *TREE)
    sql.execute("INSERT INTO projects SELECT n, 'p', 'other' FROM generate_series(1, 200) n;"
                "INSERT INTO issues SELECT p * 10 + n, p, 'i' FROM generate_series(1, 200) p, generate_series(1, 2) n;"
                "INSERT INTO comments SELECT i.id * 10 + n, i.id, 'then' FROM issues i, generate_series(1, 2) n;"
                "INSERT INTO projects VALUES (1000, 'first', 'other'); INSERT INTO issues VALUES (10000, 1000, 'i')")
    client = satellite(busbar).start()
    client.sync(MINE)
    before, queries, snapshots = len(client.transactions), metric(busbar, "busbar_sync_queries_total"), metric(busbar, "busbar_sync_snapshots_total")
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
            assert sorted((op.kind, op.table) for op in transaction.ops) == [("insert", "comments")] * 4 + [("insert", "issues")] * 2 + [("insert", "projects")]
            assert {op.row["body"] for op in transaction.ops if op.table == "comments"} == {"then"}
        else:
            assert sorted(transaction.kinds) == ["delete", "update"]
    for table in ("projects", "issues", "comments"):
        client.wait_same(sql, table)
    assert not client.surprises
    assert metric(busbar, "busbar_sync_queries_total") - queries < 40
    assert metric(busbar, "busbar_sync_snapshots_total") - snapshots < 20
