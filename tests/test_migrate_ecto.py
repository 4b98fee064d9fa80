# SPDX-License-Identifier: Apache-2.0
"""Busbar and Ecto take turns on one database: what real Ecto sent (traces/), before, after and between busbar migrate."""

import json

import pytest

from harness.busbar import Endpoint
from test_traces import RELEASE, UNNAMED, Replay, load

V1, V2, V3, V4 = (20240101000000 + n for n in range(1, 5))
FIRST_MIGRATE, LAST_MIGRATE, LAST_STATUS = (1, 2), (9, 10), (11, 12)


@pytest.fixture
def replay(cluster, database):
    """Plays these connections of the release module's trace against PostgreSQL itself."""

    def play(conns, name=RELEASE):
        Replay(Endpoint(cluster.host, cluster.port, database), [r for r in load(name) if r["conn"] in conns]).run()

    return play


def files(project, *versions, ending="sql"):
    texts = {V1: 'CREATE TABLE "items" ("id" uuid, "name" text NOT NULL, "inserted_at" timestamp NOT NULL, "updated_at" timestamp NOT NULL, PRIMARY KEY ("id"));',
             V2: 'ALTER TABLE "items" ADD COLUMN "note" text;', V3: "COMMENT ON TABLE items IS 'made by execute/2';"}
    for version in versions:
        project.write(f"priv/repo/migrations/{version}_m{version - V1 + 1}.{ending}", texts[version])


def rows(sql):
    return sql.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()


def test_busbar_after_ecto(project, replay, sql):
    """Ecto has migrated; its files are known by name, what is new is Busbar's."""
    replay(FIRST_MIGRATE)
    files(project, V1, V2, V3, ending="exs")
    project.run("status", "--exit-code").ok()
    project.migration(V4, "ours", "ALTER TABLE items ADD COLUMN ours int;", "ALTER TABLE items DROP COLUMN ours;")
    out = project.run("migrate").ok().out
    assert f"{V4}  ours" in out and str(V3) not in out
    listed = json.loads(project.run("status", "--json").ok().out)["migrations"]
    assert [(m["version"], m["status"], m["name"]) for m in listed] == [(str(V1 + n), "up", name) for n, name in enumerate(["m1", "m2", "m3", "ours"])]
    project.run("rollback", "--repo", "default", "--step", "1").ok()
    assert "can only be run by Ecto" in project.run("rollback", "--repo", "default", "--step", "1").failed().err
    replay(LAST_STATUS)  # Ecto sees its three


def test_ecto_after_busbar(project, replay, sql):
    """The table that Busbar made is the one that Ecto would have made: it goes on, message for message, as with its own."""
    files(project, V1, V2, V3)
    project.run("migrate", "--to", str(V2)).ok()
    replay(LAST_MIGRATE)
    assert rows(sql) == [(V1,), (V2,), (V3,)]
    replay(LAST_STATUS)
    project.run("status", "--exit-code").ok()
    assert "nothing to migrate" in project.run("migrate").ok().out


def test_turns(project, replay, sql):
    """What Ecto rolled back, Busbar runs again: our own row of it is replaced."""
    files(project, V1, V2, V3)
    project.run("migrate").ok()
    sql.execute('DELETE FROM "schema_migrations" AS s0 WHERE (s0."version" = %s)', [V3])  # as Ecto does
    project.run("migrate").ok()
    assert rows(sql) == [(V1,), (V2,), (V3,)]
    replay(LAST_STATUS)
    sql.execute('DELETE FROM "schema_migrations" AS s0 WHERE (s0."version" = %s)', [V3])
    replay(LAST_MIGRATE)
    project.run("status", "--exit-code").ok()


def test_pending_files_of_ecto_are_left(project, sql):
    files(project, V1)
    files(project, V2, ending="exs")
    done = project.run("migrate").ok()
    assert f"{V2} m2 is Ecto's to run" in done.err and rows(sql) == [(V1,)]


def test_the_whole_trace_between(project, replay, sql):
    """All five runs of the release module, then Busbar on what is left."""
    replay(range(1, 13))
    files(project, V1, V2, V3)
    project.run("status", "--exit-code").ok()
    project.run("rollback", "--repo", "default", "--to", str(V3)).failed()
    project.write(f"priv/repo/migrations/{V3}_m3.sql", "-- migrate:up\nSELECT 1;\n-- migrate:down\nCOMMENT ON TABLE items IS NULL;\n")
    project.run("rollback", "--repo", "default", "--to", str(V3)).ok()
    replay(LAST_MIGRATE)
    assert rows(sql) == [(V1,), (V2,), (V3,)]


def test_unnamed_statements_and_advisory_lock(project, cluster, database, busbar, ledger):
    """The trace with Ecto's advisory lock, through the proxy; Busbar's status has its five versions."""
    Replay(busbar, load(UNNAMED)).run()
    listed = json.loads(project.run("status", "--json", "--migrations-path", "/").ok().out)["migrations"]
    assert [m["version"] for m in listed] == [str(V1 + n) for n in range(5)] and not any(m["file_found"] for m in listed)
