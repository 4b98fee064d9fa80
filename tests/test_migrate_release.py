# SPDX-License-Identifier: Apache-2.0
"""busbar migrate as part of a release: what the README shows, a database that is not there yet or goes away, a terminal, speed."""

import os
import pty
import re
import signal
import subprocess
import time

import pytest

from harness.busbar import PASSWORD, REPOSITORY, binary
from harness.postgres import Postgres
from harness.process import clean_environment
from harness.release import Project
from harness.wait import wait_until

V1, V2 = 20240101000001, 20240101000002


def readme_blocks(language):
    with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```", file.read(), re.M | re.S)


def script(project, text, tmp_path, **env):
    """Runs lines of the README as written, by sh, with `busbar` on the path and an application that says it has started."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "busbar").unlink(missing_ok=True)
    (programs / "busbar").symlink_to(os.path.abspath(binary()))
    (programs / "my_app").write_text("#!/bin/sh\necho application started\n")
    (programs / "my_app").chmod(0o755)
    full = clean_environment(**{**project.env, **env}, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "detect_leaks=1:exitcode=99"))
    full["PATH"] = f"{programs}:{full['PATH']}"
    return subprocess.run(["sh", "-e", "-c", text], cwd=project.folder, env=full, capture_output=True, text=True, timeout=60, check=False)


def test_readme_before_the_application(project, sql, tmp_path):
    text = next(b for b in readme_blocks("sh") if "exec my_app" in b)
    project.migration(V1, "one", "CREATE TABLE a (id int);")
    done = script(project, text, tmp_path)
    assert done.returncode == 0 and "application started" in done.stdout, done.stderr
    assert sql.execute("SELECT to_regclass('a') IS NOT NULL").fetchone()[0]
    project.migration(V2, "broken", "SELECT 1/0;")
    done = script(project, text, tmp_path)
    assert done.returncode == 1 and "application started" not in done.stdout


def test_readme_init_container(project, sql, tmp_path):
    """The command and environment of the README's init container."""
    text = next(b for b in readme_blocks("yaml") if "initContainers" in b)
    command = re.search(r"^ +command: \[(.*)\]$", text, re.M).group(1)
    words = [w.strip().strip('"') for w in command.split(",")]
    assert words[0] == "busbar" and "DATABASE_URL" in text
    project.migration(V1, "one", "CREATE TABLE a (id int);", folder="migrations")
    variables = dict(re.findall(r"name: (\w+), value: \"?([^\"}\s]+)\"?", text))
    arguments = [w.replace("/release/", project.folder + "/") for w in words[1:]]
    project.run(*arguments, **{k: v for k, v in variables.items() if k != "DATABASE_URL"}).ok()
    assert sql.execute("SELECT version FROM schema_migrations").fetchall() == [(V1,)]


def test_waits_for_a_database(tmp_path):
    cluster = Postgres()
    try:
        project = Project(tmp_path, cluster.url("postgres"))
        project.migration(V1, "one", "SELECT 1;")
        process = project.start("migrate", "--database-wait", "60s")
        assert "waiting for the database" in process.stderr.readline()
        cluster.start()
        Project.finish(process).ok()
        assert "refused" in project.run("migrate", DATABASE_URL="postgresql://127.0.0.1:1/x").failed().err
    finally:
        cluster.destroy()


def test_two_databases_behind_the_urls(project, cluster, busbar):
    project.migration(V1, "one", "SELECT 1;")
    proxy = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{busbar.port}/x"
    other = cluster.url("postgres")
    assert "lead to two databases" in project.run("migrate", PROXY_URL=proxy, DATABASE_URL=other).failed().err


def test_the_server_is_killed(tmp_path):
    """Whatever was lost, each row of the migration table has its table and each table its row; the next run does the rest."""
    cluster = Postgres(fsync=True)
    try:
        cluster.start()
        project = Project(tmp_path, cluster.url("postgres"))
        for n in range(200):
            project.migration(V1 + n, f"t{n}", f"CREATE TABLE t{n} (id int);")
        process = project.start("migrate")
        with cluster.connect() as sql:
            wait_until(lambda: sql.execute("SELECT count(*) > 20 FROM pg_tables WHERE tablename ~ '^t\\d+$'").fetchone()[0], "twenty tables")
        cluster.stop(signal.SIGQUIT)
        done = Project.finish(process).failed()
        assert "connection" in done.err
        cluster.start()
        with cluster.connect() as sql:
            tables = {r[0] for r in sql.execute("SELECT substr(tablename, 2)::int FROM pg_tables WHERE tablename ~ '^t\\d+$'")}
            rows = {r[0] - V1 for r in sql.execute("SELECT version FROM schema_migrations")}
            assert tables == rows and rows == set(range(len(rows)))
            project.run("migrate").ok()
            assert sql.execute("SELECT count(*) FROM schema_migrations").fetchone()[0] == 200
    finally:
        cluster.destroy()


def on_terminal(project, *arguments):
    """What a person sees: stdout and stderr on one pseudo-terminal."""
    leader, follower = pty.openpty()
    env = clean_environment(**project.env)
    process = subprocess.Popen([binary(), *arguments], cwd=project.folder, env=env, stdout=follower, stderr=follower, stdin=subprocess.DEVNULL)
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 65536):
            seen += piece
    except OSError:
        pass  # the other end is closed
    os.close(leader)
    return process.wait(60), seen.decode()


def test_progress_and_colour_on_a_terminal(project, sql):
    sql.execute("CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.005); RETURN $1; END'")
    sql.execute("CREATE TABLE big AS SELECT generate_series(1, 600) AS id")
    project.migration(V1, "index", "CREATE INDEX big_slow ON big (slow(id));")
    status, seen = on_terminal(project, "migrate")
    assert status == 0 and "index: building index" in seen and "\033[32mup" in seen
    sql.execute("DELETE FROM schema_migrations")
    sql.execute("DROP INDEX big_slow")
    done = project.run("migrate").ok()
    assert "\033" not in done.out + done.err and "building index" not in done.out + done.err


def small(n):
    table = n - n % 4
    return [f"CREATE TABLE t{table} (id bigint PRIMARY KEY, name text NOT NULL);", f"ALTER TABLE t{table} ADD COLUMN a text;",
            f"ALTER TABLE t{table} ADD COLUMN b int DEFAULT 0;", f"CREATE INDEX i{n} ON t{table} (name);"][n % 4]


@pytest.mark.skipif("asan" in os.path.basename(os.path.dirname(os.path.abspath(binary()))) and "BUSBAR_TEST_SPEED" not in os.environ,
                    reason="sanitizers measure themselves; BUSBAR_TEST_SPEED=1 runs it all the same")
def test_speed(project, cluster, tmp_path):
    """1,000 small migrations: at most 1.2 times what psql -1 -f needs for the same statements.

    The best of interleaved rounds: what else the machine does only adds.
    """
    for n in range(1000):
        project.migration(V1 + n, f"m{n}", small(n))
    whole = project.write("all.sql", "\n".join(small(n) for n in range(1000)))
    best = {"psql": 1e9, "busbar": 1e9}
    for _ in range(8):
        for who in best:
            name = cluster.create_database()
            start = time.monotonic()
            if who == "busbar":
                project.run("migrate", "--quiet", DATABASE_URL=cluster.url(name)).ok()
            else:
                subprocess.run(["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", whole, cluster.url(name)], check=True, env=clean_environment(),
                               timeout=120)
            best[who] = min(best[who], time.monotonic() - start)
            cluster.drop_database(name)
        if best["busbar"] <= 1.2 * best["psql"]:
            break
    print(best)
    assert best["busbar"] <= 1.2 * best["psql"], best
