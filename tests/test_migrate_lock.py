# SPDX-License-Identifier: Apache-2.0
"""busbar migrate beside others: two at once, Ecto, a session in the way, a killed one, a pooler in between, a standby."""

import random
import signal
import subprocess

import psycopg
import pytest

from harness.certificates import Certificates
from harness.pooler import Pooler
from harness.postgres import Postgres
from harness.release import Project
from harness.wait import wait_until

V1, V2, V3 = 20240101000001, 20240101000002, 20240101000003
OFF = "-- busbar: transaction=off\n"
ECTO_LOCK = 'LOCK TABLE "schema_migrations" IN SHARE UPDATE EXCLUSIVE MODE'


@pytest.fixture(scope="module")
def pooler(cluster):
    pooler = Pooler(cluster)
    yield pooler
    pooler.close()


def versions(sql):
    return [row[0] for row in sql.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()]


def running(sql, text):
    """Whether a session other than this one runs a statement with that text."""
    return sql.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state <> 'idle' AND pid <> pg_backend_pid()"
                       " AND datname = current_database()", [f"%{text}%"]).fetchone()[0] > 0


def slow(project, kind):
    """One migration of each kind that takes a while, and what follows it."""
    if kind == "schema":
        project.migration(V1, "slow", "CREATE TABLE a (id int);\nSELECT pg_sleep(1);")
        project.migration(V2, "next", "CREATE TABLE b (id int);")
        return ()
    if kind == "data":
        project.migration(V1, "slow", "CREATE TABLE a AS SELECT 1;\nSELECT pg_sleep(1);", folder="priv/repo/data_migrations")
        project.migration(V2, "next", "INSERT INTO a VALUES (2);", folder="priv/repo/data_migrations")
        return ("--data",)
    project.migration(V1, "table", "CREATE TABLE a AS SELECT generate_series(1, 1000) AS id;")
    project.migration(V2, "slow", "CREATE INDEX CONCURRENTLY a_id ON a (id);\nSELECT pg_sleep(1);", head=OFF)
    return ()


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("lock", ["table", "advisory"])
@pytest.mark.parametrize("kind", ["schema", "data", "concurrently"])
def test_two_at_once(project, sql, request, database, cluster, kind, lock, pooled):
    if pooled:
        project.env["DATABASE_URL"] = cluster.url(database, port=request.getfixturevalue("pooler").port, query="")
    arguments = ("migrate", "--lock", lock, *slow(project, kind))
    processes = [project.start(*arguments) for _ in range(3)]
    done = [Project.finish(process).ok() for process in processes]
    assert versions(sql) == [V1, V2]
    ran = [d for d in done if f"{V2}  " in d.out]
    assert len(ran) == 1, [d.out for d in done]
    waited = [d for d in done if "waiting for the migrators' lock, which is held by pid" in d.err]
    assert len(waited) >= 1, [d.err for d in done]
    assert sql.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()[0] == 0


def test_ecto_holds_the_lock(project, cluster, database, sql):
    project.migration(V1, "one", "CREATE TABLE a (id int);")
    sql.execute('CREATE TABLE "schema_migrations" ("version" bigint, "inserted_at" timestamp(0), PRIMARY KEY ("version"))')
    with cluster.connect(database, autocommit=False, application_name="mix ecto.migrate") as ecto:
        ecto.execute(ECTO_LOCK)
        done = project.run("migrate", "--lock-wait", "500ms").failed()
        assert "another migrator is at work: pid" in done.err and "mix ecto.migrate" in done.err
        process = project.start("migrate")
        wait_until(lambda: running(sql, "SHARE UPDATE EXCLUSIVE MODE NOWAIT") or process.poll() is None, "busbar to wait")
        # What Ecto would do meanwhile.
        ecto.execute("INSERT INTO schema_migrations VALUES (%s, now())", [V1])
        ecto.commit()
    assert "nothing to migrate" in Project.finish(process).ok().out
    assert sql.execute("SELECT to_regclass('a')").fetchone()[0] is None


def test_ecto_waits_for_us(project, cluster, database, sql):
    project.migration(V1, "slow", "SELECT pg_sleep(2);")
    process = project.start("migrate")
    wait_until(lambda: running(sql, "pg_sleep"), "the migration to run")
    with cluster.connect(database, autocommit=False) as ecto:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ecto.execute(ECTO_LOCK + " NOWAIT")
        ecto.rollback()
        ecto.execute(ECTO_LOCK)  # waits, and then sees what was done
        assert ecto.execute("SELECT version FROM schema_migrations").fetchall() == [(V1,)]
    Project.finish(process).ok()


def test_advisory_key_of_ecto(project, cluster, database, sql):
    """Ecto's advisory lock is one of the session; ours of a transaction: they exclude each other all the same."""
    project.migration(V1, "one", "SELECT 1;")
    sql.execute("SELECT pg_advisory_lock(77)")
    assert "another migrator" in project.run("migrate", "--lock", "advisory:77", "--lock-wait", "0").failed().err
    sql.execute("SELECT pg_advisory_unlock(77)")
    project.run("migrate", "--lock", "advisory:77").ok()


def test_lock_off_for_one_file(project, cluster, database, sql):
    project.migration(V1, "free", "SELECT pg_sleep(2);", head="-- busbar: lock=off\n")
    project.migration(V2, "next", "SELECT 1;")
    process = project.start("migrate")
    wait_until(lambda: running(sql, "pg_sleep"), "the migration to run")
    with cluster.connect(database, autocommit=False) as ecto:
        ecto.execute(ECTO_LOCK + " NOWAIT")
    Project.finish(process).ok()
    assert versions(sql) == [V1, V2]


@pytest.mark.parametrize("lock", ["table", "advisory"])
@pytest.mark.parametrize("pooled", [False, True])
def test_killed_leaves_nothing_and_no_lock(project, sql, request, cluster, database, lock, pooled):
    if pooled:
        project.env["DATABASE_URL"] = cluster.url(database, port=request.getfixturevalue("pooler").port, query="")
    project.migration(V1, "one", "CREATE TABLE a (id int);")
    project.migration(V2, "slow", "CREATE TABLE b (id int);\nSELECT pg_sleep(30);")
    process = project.start("migrate", "--lock", lock)
    wait_until(lambda: running(sql, "pg_sleep"), "the migration to run")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert versions(sql) == [V1]
    # The server looks every two seconds whether the client is there: nobody has to wait for the sleep.
    wait_until(lambda: not running(sql, "pg_sleep(30)"), "the server to give up", 15)
    project.migration(V2, "slow", "CREATE TABLE b (id int);")
    project.run("migrate", "--lock", lock, "--lock-wait", "20s").ok()
    assert versions(sql) == [V1, V2]


def test_interrupted(project, sql):
    project.migration(V1, "one", "CREATE TABLE a (id int);")
    project.migration(V2, "slow", "CREATE TABLE b (id int);\nSELECT pg_sleep(60);")
    process = project.start("migrate")
    wait_until(lambda: running(sql, "pg_sleep"), "the migration to run")
    process.send_signal(signal.SIGINT)
    done = Project.finish(process, timeout=20).failed()
    assert "interrupted" in done.err
    assert versions(sql) == [V1] and not running(sql, "pg_sleep")


def test_waits_for_a_table_and_tries_again(project, cluster, database, sql):
    sql.execute("CREATE TABLE busy (id int)")
    project.migration(V1, "change", "ALTER TABLE busy ADD COLUMN x int;")
    with cluster.connect(database, autocommit=False, application_name="report job") as other:
        other.execute("SELECT * FROM busy")
        done = project.run("migrate", "--lock-timeout", "1500ms", "--lock-retries", "1").failed()
        assert "attempt 2 of 2 follows; blocked by pid" in done.err
        assert "blocked by: pid" in done.err and "report job" in done.err and "SELECT * FROM busy" in done.err
        process = project.start("migrate", "--lock-timeout", "200ms", "--lock-retries", "100")
        wait_until(lambda: running(sql, "ALTER TABLE busy"), "the migration to wait")
        other.rollback()
    Project.finish(process).ok()
    assert versions(sql) == [V1]


def test_timeout_of_a_file(project, sql):
    project.migration(V1, "slow", "SELECT pg_sleep(20);", head="-- busbar: timeout=300ms\n")
    assert "statement timeout" in project.run("migrate").failed().err
    project.migration(V1, "slow", "VACUUM pg_attrdef;\nCALL doze();", head="-- busbar: timeout=300ms, transaction=off\n")
    sql.execute("CREATE PROCEDURE doze() LANGUAGE plpgsql AS 'BEGIN COMMIT; PERFORM pg_sleep(20); END'")
    assert "its timeout is over" in project.run("migrate").failed().err


def test_standby(project, cluster, database, tmp_path):
    project.migration(V1, "one", "CREATE TABLE a (id int);")
    project.run("migrate").ok()
    standby = cluster.standby()
    try:
        standby.start()
        replica = Project(tmp_path, standby.url(database))
        wait_until(lambda: "up " in replica.run("status").ok().out, "the standby to have the rows")
        project.migration(V2, "two", "CREATE TABLE b (id int);")
        assert f"down      {V2}" in replica.run("status").ok().out
        assert "the database is a standby" in replica.run("migrate").failed().err
        assert "the database is a standby" in replica.run("plan").failed().err
    finally:
        standby.destroy()


def test_verify_full(tmp_path_factory, tmp_path):
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    cluster = Postgres(hba="local all all trust\nhostssl all all 127.0.0.1/32 trust\n",
                       settings=["ssl = on", "ssl_cert_file = '../server.crt'", "ssl_key_file = '../server.key'"])
    try:
        cluster.take_certificate(certificates.server_crt, certificates.server_key)
        cluster.start()
        project = Project(tmp_path, cluster.url("postgres", host="localhost", query=f"sslmode=verify-full&sslrootcert={certificates.ca_crt}"))
        project.migration(V1, "one", "CREATE TABLE a (id int);")
        project.run("migrate").ok()
        with cluster.connect() as sql:
            assert versions(sql) == [V1]
        wrong = cluster.url("postgres", host="localhost", query=f"sslmode=verify-full&sslrootcert={certificates.other_crt}")
        assert "certificate verify failed" in project.run("status", DATABASE_URL=wrong).failed().err
        # The same from libpq's own variables; and the name counts.
        plain = cluster.url("postgres", host="localhost", query="")
        project.run("status", DATABASE_URL=plain, PGSSLMODE="verify-full", PGSSLROOTCERT=certificates.ca_crt).ok()
        by_address = cluster.url("postgres", query="")
        assert "does not match host name" in project.run("status", DATABASE_URL=by_address, PGSSLMODE="verify-full",
                                                         PGSSLROOTCERT=certificates.ca_crt).failed().err
    finally:
        cluster.destroy()


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere(project, sql, seed):
    """kill -9 at any moment, as often as need be: in the end all has run, each statement once, and nothing is left over."""
    choice = random.Random(seed)
    project.migration(V1, "log", "CREATE TABLE log (n int);\nCREATE TABLE big AS SELECT generate_series(1, 20000) AS id;")
    numbers = range(1, 61)
    for n in numbers:
        if n % 5 == 0:
            project.migration(V1 + n, f"off{n}", f"INSERT INTO log VALUES ({n});\nCREATE INDEX CONCURRENTLY IF NOT EXISTS big{n} ON big ((id + {n}));\n"
                              f"INSERT INTO log VALUES ({1000 + n});", head=OFF)
        else:
            project.migration(V1 + n, f"on{n}", f"INSERT INTO log VALUES ({n});\nALTER TABLE big ADD COLUMN c{n} int;")
    kills = repairs = 0
    for _ in range(200):
        process = project.start("migrate", "--lock", choice.choice(["table", "advisory"]), "--lock-wait", "30s")
        try:
            process.wait(choice.uniform(0.03, 0.15))
        except subprocess.TimeoutExpired:
            process.kill()
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        kills += process.returncode == -signal.SIGKILL
        assert process.returncode == -signal.SIGKILL or "was killed while it ran" in err, err
        stuck = sql.execute("SELECT version FROM busbar_migrations WHERE state = 'running'").fetchall() if exists(sql, "busbar_migrations") else []
        for version, in stuck:
            repairs += 1
            project.run("repair", str(version), "--action", "resume", "--lock-wait", "30s").ok()
    print(f"{kills} kills, {repairs} repairs")
    project.run("migrate").ok()
    project.run("status", "--exit-code").ok()
    logged = [r[0] for r in sql.execute("SELECT n FROM log ORDER BY 1")]
    assert logged == sorted([*numbers, *(1000 + n for n in numbers if n % 5 == 0)])
    assert sql.execute("SELECT count(*), bool_and(indisvalid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname ~ '^big\\d'").fetchone() == (12, True)


def exists(sql, name):
    return sql.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()[0]
