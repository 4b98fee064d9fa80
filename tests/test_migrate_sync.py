# SPDX-License-Identifier: Apache-2.0
"""Migrations of tables that are open for sync: through the migrations proxy, and what is refused beside it."""

import json
import os
import re

import pytest

from harness.busbar import PASSWORD
from harness.release import Project
from harness.web import migrations

V1, V2, V3 = 20240101000001, 20240101000002, 20240101000003


@pytest.fixture
def project(tmp_path, cluster, database, busbar):
    proxy = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{busbar.port}/{database}"
    project = Project(tmp_path, cluster.url(database), PROXY_URL=proxy)
    project.migration(V1, "items", "CREATE TABLE items (id text PRIMARY KEY, value text);\nALTER TABLE items ENABLE ELECTRIC;",
                      "ALTER TABLE items DISABLE ELECTRIC;\nDROP TABLE items;")
    project.migration(V2, "amount", "ALTER TABLE items ADD COLUMN amount int;\nCREATE INDEX items_amount ON items (amount);",
                      "DROP INDEX items_amount;\nALTER TABLE items DROP COLUMN amount;")
    return project


@pytest.mark.parametrize("direct", ["too", None])
def test_migrations_are_captured(project, busbar, ledger, direct):
    """The versions that clients see are those of the files; with the database's own URL beside the proxy's and without."""
    if direct is None:
        project.env["DATABASE_URL"] = None
    project.run("migrate").ok()
    assert ledger.electrified == ["items"] and ledger.version_names == [str(V1), str(V2)]
    assert [m.version for m in migrations(busbar.http_port)] == [str(V1), str(V2)]
    ledger.consistent()
    project.run("status", "--exit-code").ok()


def test_looking_needs_no_proxy(project, busbar):
    project.run("migrate").ok()
    busbar.stop()
    project.run("status", "--exit-code").ok()
    project.run("dump").ok()
    assert "refused" in project.run("migrate").failed().err


def test_without_the_proxy(project, ledger):
    del project.env["PROXY_URL"]
    done = project.run("migrate").failed()
    assert "statements about sync are carried out by Busbar's migrations proxy" in done.err and "PROXY_URL" in done.err
    project.run("migrate", PROXY_URL=project.env.get("X", ""), DATABASE_URL=project.env["DATABASE_URL"]).failed()
    assert ledger.electrified == []


def test_an_electrified_table_without_the_proxy(project, ledger):
    project.run("migrate", "--step", "1").ok()
    del project.env["PROXY_URL"]
    done = project.run("migrate").failed()
    assert "set PROXY_URL" in done.err and "statement 1 of 2 failed" in done.err
    assert ledger.version_names == [str(V1)]


def test_without_event_triggers(project, ledger, cluster, database):
    """Where the role may not make them, nothing in the database would refuse: Busbar does."""
    project.run("migrate", "--step", "1").ok()
    for name in ledger.column("SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'busbar%%'"):
        ledger.execute(f"DROP EVENT TRIGGER {name}")
    del project.env["PROXY_URL"]
    done = project.run("migrate").failed()
    assert "a table is open for sync" in done.err and "PROXY_URL" in done.err
    assert ledger.columns("items") == ["id", "value"]


def test_rollback_that_clients_cannot_follow(project, ledger):
    project.run("migrate").ok()
    done = project.run("rollback", "--repo", "default", "--to", str(V2)).failed()
    assert "statement 2 of 2 failed" in done.err and "Clients have this migration and cannot go back" in done.err
    assert "Clients keep the column amount" in done.err and "DROP INDEX items_amount" in done.err
    assert ledger.column("SELECT version FROM schema_migrations ORDER BY 1") == [V1, V2]
    done = project.run("rollback", "--repo", "default", "--to", str(V2), "--emit-forward").failed()
    path = done.out.strip()
    assert re.fullmatch(r"priv/repo/migrations/\d{14}_undo_amount\.sql", path) and os.path.exists(project.path(path))
    project.run("migrate").ok()
    assert not ledger.exists("items_amount") and "amount" in ledger.columns("items")
    ledger.consistent()


def test_rollback_of_the_table_itself(project, ledger):
    project.run("migrate", "--step", "1").ok()
    project.run("rollback", "--repo", "default", "--step", "1").ok()
    assert ledger.electrified == [] and not ledger.exists("items")


def test_what_clients_cannot_follow_is_refused(project, ledger):
    project.run("migrate").ok()
    project.migration(V3, "drop", "CREATE TABLE other (id int);\nALTER TABLE items DROP COLUMN value;")
    done = project.run("migrate").failed()
    assert "statement 2 of 2 failed" in done.err
    assert not ledger.exists("other")


def test_plan_tells_what_clients_would_get(project, ledger):
    project.run("migrate", "--step", "1").ok()
    project.migration(V3, "other", "CREATE TABLE other (id int);")
    out = project.run("plan").ok().out
    sent = out.split("sync clients (SQLite) would get:")[1]
    assert 'ADD COLUMN "amount" INTEGER;' in sent and "CREATE INDEX" in sent and "other" not in sent
    plan = json.loads(project.run("plan", "--json").ok().out)
    assert plan["client_sql"] in out
    assert ledger.version_names == [str(V1)] and ledger.pending == 0 and not ledger.exists("other")
    project.migration(V2, "amount", "CREATE TABLE other (id int);")
    assert "sync clients would get nothing of it" in project.run("plan", "--step", "1").ok().out


def test_plan_proves(project, ledger):
    """What the proxy would refuse at COMMIT: a name that SQLite clients cannot have twice."""
    project.run("migrate", "--step", "1").ok()
    project.migration(V2, "amount", 'ALTER TABLE items ADD COLUMN "Value" text;')
    refused = project.run("migrate").failed().err
    assert "Value" in refused
    assert "could not follow" in project.run("plan").failed().err


def test_concurrently_through_the_proxy(project, ledger):
    project.run("migrate").ok()
    project.migration(V3, "index", "CREATE INDEX CONCURRENTLY items_value ON items (value);", head="-- busbar: transaction=off\n")
    project.run("migrate").ok()
    assert ledger.exists("items_value")
    assert "items_value" in json.dumps(ledger.remembered_indexes)
    ledger.consistent()


def test_dump_without_the_service(project, cluster, ledger):
    project.run("migrate").ok()
    project.run("dump").ok()
    other = cluster.create_database()
    cluster.used.append(other)
    with open(project.path("priv/repo/structure.sql"), encoding="utf-8") as file:
        text = file.read()
    assert "busbar." not in text and "CREATE TABLE public.items" in text
    project.run("load", DATABASE_URL=cluster.url(other), PROXY_URL="").ok()
    project.run("status", "--exit-code", DATABASE_URL=cluster.url(other), PROXY_URL="").ok()
