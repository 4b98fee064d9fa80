# SPDX-License-Identifier: Apache-2.0
"""Migrations outside a transaction, what is left when they stop, repair; seed, plan, dump and load."""

import json
import os
import signal
import subprocess

import pytest

from harness.process import clean_environment
from harness.wait import wait_until

V1, V2, V3 = 20240101000001, 20240101000002, 20240101000003
OFF = "-- busbar: transaction=off\n"


def versions(sql):
    return [row[0] for row in sql.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()]


def row(sql, version):
    return sql.execute("SELECT state, direction, done, statements, error FROM busbar_migrations WHERE version = %s", [version]).fetchone()


def is_valid(sql, index):
    return sql.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [index]).fetchone()


DUPLICATES = "INSERT INTO items SELECT 1, 'same' FROM generate_series(1, 2);"


def unique_fails(project, condition=""):
    """CREATE UNIQUE INDEX CONCURRENTLY over duplicates: it fails late and leaves an invalid index."""
    project.migration(V1, "items", "CREATE TABLE items (id int, name text);\n" + DUPLICATES)
    project.migration(V2, "index", f"ALTER TABLE items ADD COLUMN x int;\nCREATE UNIQUE INDEX CONCURRENTLY {condition}items_name ON items (name);\n"
                      "CREATE TABLE after (id int);", "DROP TABLE after;\nDROP INDEX CONCURRENTLY items_name;\nALTER TABLE items DROP COLUMN x;", head=OFF)


@pytest.mark.parametrize("action", ["retry", "resume"])
def test_failed_concurrently_and_repair(project, sql, action):
    unique_fails(project)
    done = project.run("migrate").failed()
    assert "statement 2 of 3 failed: could not create unique index" in done.err and f"busbar repair {V2}" in done.err
    assert versions(sql) == [V1] and is_valid(sql, "items_name") == (False,)
    state = row(sql, V2)
    assert state[:4] == ("failed", "up", 1, 3) and "could not create unique index" in state[4]
    assert "failed half-way" in project.run("status", "--exit-code").failed(3).out
    assert "stopped half-way" in project.run("migrate").failed().err
    shown = project.run("repair").ok().out
    assert "statement 2 of 3: CREATE UNIQUE INDEX CONCURRENTLY" in shown and "--action resume" in shown
    sql.execute("DELETE FROM items")
    if action == "retry":
        sql.execute("ALTER TABLE items DROP COLUMN x")
    out = project.run("repair", str(V2), "--action", action).ok().out
    assert "dropping the invalid index public.items_name" in out
    if action == "retry":
        project.run("migrate").ok()
    assert versions(sql) == [V1, V2] and is_valid(sql, "items_name") == (True,)
    assert row(sql, V2)[:4] == ("up", "up", 3, 3)
    project.run("status", "--exit-code").ok()


def test_if_not_exists_does_not_take_ruins_for_the_index(project, sql):
    unique_fails(project, "IF NOT EXISTS ")
    project.run("migrate").failed()
    sql.execute("DELETE FROM items")
    sql.execute("DELETE FROM busbar_migrations WHERE version = %s", [V2])
    sql.execute("ALTER TABLE items DROP COLUMN x")
    done = project.run("migrate").failed()
    assert "there and not valid" in done.err and versions(sql) == [V1]
    project.run("repair", str(V2), "--action", "resume").ok()
    assert is_valid(sql, "items_name") == (True,) and versions(sql) == [V1, V2]


def test_rollback_outside_a_transaction(project, sql):
    unique_fails(project)
    project.migration(V1, "items", "CREATE TABLE items (id int, name text);")
    project.run("migrate").ok()
    sql.execute("CREATE VIEW v AS SELECT x FROM items")
    done = project.run("rollback", "--repo", "default", "--step", "1").failed()
    assert "statement 3 of 3 failed" in done.err
    assert row(sql, V2)[:3] == ("failed", "down", 2) and versions(sql) == [V1, V2]
    assert "while it was rolled back" in project.run("repair").ok().out
    assert "stopped half-way" in project.run("rollback", "--repo", "default", "--step", "1").failed().err
    sql.execute("DROP VIEW v")
    project.run("repair", str(V2), "--action", "resume").ok()
    assert versions(sql) == [V1] and row(sql, V2) is None


@pytest.mark.parametrize("action, expected", [("up", [V1, V2]), ("down", [V1])])
def test_repair_by_word(project, sql, action, expected):
    unique_fails(project)
    project.run("migrate").failed()
    project.run("repair", str(V2), "--action", action).ok()
    assert versions(sql) == expected
    state = row(sql, V2)
    assert state is None or state[0] == "up"


def test_repair_refuses_what_is_well(project):
    project.migration(V1, "one", "SELECT 1;")
    project.run("migrate").ok()
    for action in ("retry", "resume", "accept", "down"):
        project.run("repair", str(V1), "--action", action).failed()
    assert "nothing to repair" in project.run("repair").ok().out
    assert "is not known" in project.run("repair", "5", "--action", "up").failed().err
    project.run("repair", "--action", "up").failed(2)


def test_killed_between_statements(project, sql):
    """kill -9: the row says how far it got, and going on repeats nothing that was done."""
    statements = "\n".join(f"INSERT INTO steps VALUES ({n});\nSELECT pg_sleep({2 if n == 3 else 0});" for n in range(5))
    project.migration(V1, "steps", f"CREATE TABLE steps (n int PRIMARY KEY);\n{statements}", head=OFF)
    process = project.start("migrate")
    wait_until(lambda: sql.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()"
                                   " AND state <> 'idle'").fetchone()[0], "the long statement")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()")
    assert row(sql, V1)[:3] == ("running", "up", 8) and versions(sql) == []
    assert "was killed while it ran" in project.run("migrate").failed().err
    assert "may have run or not" in project.run("repair").ok().out
    project.run("repair", str(V1), "--action", "resume").ok()
    assert [r[0] for r in sql.execute("SELECT n FROM steps ORDER BY 1")] == [0, 1, 2, 3, 4] and versions(sql) == [V1]


def test_own_transactions(project, sql):
    project.migration(V1, "own", "BEGIN;\nCREATE TABLE a (id int);\nCOMMIT;\nVACUUM a;\nBEGIN;\nCREATE TABLE b (id int);\nSELECT 1/0;\nCOMMIT;", head=OFF)
    assert "statement 7 of 8 failed: division by zero" in project.run("migrate").failed().err
    assert [sql.execute("SELECT to_regclass(%s) IS NOT NULL", [t]).fetchone()[0] for t in "ab"] == [True, False]
    assert row(sql, V1)[0] == "failed"


def test_vacuum_of_all_meets_our_own_lock(project, sql):
    project.migration(V1, "vacuum", "VACUUM;", head=OFF)
    done = project.run("migrate").failed()
    assert "which we hold ourselves" in done.err and "lock=off" in done.err
    project.run("repair", str(V1), "--action", "retry").ok()
    project.migration(V1, "vacuum", "VACUUM;", head="-- busbar: transaction=off, lock=off\n")
    project.run("migrate").ok()
    assert versions(sql) == [V1]


def test_concurrently_in_a_schema(project, sql):
    project.migration(V1, "t", "CREATE TABLE t (id int);")
    project.migration(V2, "i", "CREATE INDEX CONCURRENTLY t_id ON t (id);", head=OFF)
    project.run("migrate", "--prefix", "tenant").ok()
    assert is_valid(sql, "tenant.t_id") == (True,)


def test_seed(project, sql):
    project.migration(V1, "t", "CREATE TABLE t (id int PRIMARY KEY);")
    project.run("migrate").ok()
    project.write("priv/repo/seeds.sql", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);\n")
    project.run("seed", "--once").ok()
    assert "has been run before" in project.run("seed", "--once").ok().out
    assert "statement 1 of 2 failed: duplicate key" in project.run("seed").failed().err
    project.write("other.sql", "DELETE FROM t;\nSELECT 1/0;")
    project.run("seed", "--file", "other.sql").failed()
    assert sql.execute("SELECT count(*) FROM t").fetchone()[0] == 2
    assert versions(sql) == [V1]


def test_plan(project, sql):
    sql.execute("CREATE TABLE big AS SELECT generate_series(1, 5000) AS id")
    project.migration(V1, "rewrite", "ALTER TABLE big ALTER COLUMN id TYPE bigint;")
    project.migration(V2, "check", "ALTER TABLE big ADD CHECK (id > 0);\nCREATE INDEX big_id ON big (id);\nCREATE TABLE fresh (id int);")
    project.migration(V3, "index", "CREATE INDEX CONCURRENTLY later ON big (id);", head=OFF)
    out = project.run("plan").ok().out
    assert "ALTER TABLE big ALTER COLUMN id TYPE bigint;" in out and "rewrites big" in out
    assert "locks big: AccessExclusiveLock, blocks reads and writes" in out
    assert f"{V3} index  (cannot run in a transaction: not tried)" in out
    assert sql.execute("SELECT to_regclass('fresh'), to_regclass('schema_migrations')").fetchone() == (None, None)
    plan = json.loads(project.run("plan", "--json", "--exit-code").failed(3).out)
    steps = plan["migrations"][1]["statements"]
    assert steps[0]["tables"][0]["scans"] == 1 and steps[0]["tables"][0]["rows_read"] == 5000 and not steps[0]["tables"][0]["rewritten"]
    assert plan["migrations"][0]["statements"][0]["tables"][0]["lock"] == "AccessExclusiveLock"
    assert not plan["migrations"][2]["tried"]
    assert project.run("migrate", "--dry-run").ok().out.startswith("Repo: default: 3 pending")
    project.migration(V2, "check", "ALTER TABLE big ADD CHECK (id > 1);")
    assert "is violated by some row" in project.run("plan").failed().err
    project.run("plan", "--step", "1").ok()


def test_dump_and_load(project, cluster, sql):
    project.migration(V1, "t", "CREATE TABLE t (id int PRIMARY KEY);\nCREATE VIEW v AS SELECT id FROM t;")
    project.migration(V2, "u", "CREATE TABLE u (id int REFERENCES t);")
    project.run("migrate").ok()
    assert project.run("dump").ok().out.strip() == "priv/repo/structure.sql"
    other = cluster.create_database()
    cluster.used.append(other)
    project.run("load", DATABASE_URL=cluster.url(other)).ok()
    with cluster.connect(other) as second:
        assert versions(second) == [V1, V2]
        assert second.execute("SELECT to_regclass('v') IS NOT NULL").fetchone()[0]
    project.run("status", "--exit-code", DATABASE_URL=cluster.url(other)).ok()
    assert "migrations have run" in project.run("load", DATABASE_URL=cluster.url(other)).failed().err


def test_psql_agrees(project, cluster, sql, database):
    """What is hard to cut: the file is cut where psql cuts it."""
    text = """
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;
CREATE TABLE "a;b" (c text DEFAULT ';' /* ; /* ; */ */, d text DEFAULT E'\\';'); -- ;
CREATE RULE r AS ON INSERT TO "a;b" DO ALSO (SELECT 1; SELECT 2);
DO $body$ BEGIN PERFORM 1; -- migrate:down
END $body$;
COMMENT ON TABLE "a;b" IS '
-- migrate:down
';;
"""
    project.migration(V1, "hard", text)
    project.run("migrate").ok()
    assert row(sql, V1)[3] == 5
    other = cluster.create_database()
    cluster.used.append(other)
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-h", cluster.host, "-p", str(cluster.port), "-U", "postgres", "-d", other, "-f",
                    os.path.join(project.folder, f"priv/repo/migrations/{V1}_hard.sql")], check=True, env=clean_environment(), capture_output=True)


def test_copy_is_refused(project, sql):
    project.migration(V1, "copy", "CREATE TABLE t (id int);\nCOPY t FROM STDIN;")
    assert "COPY from standard input" in project.run("migrate").failed().err
    assert sql.execute("SELECT to_regclass('t')").fetchone()[0] is None
