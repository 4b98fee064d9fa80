# SPDX-License-Identifier: Apache-2.0
"""Scenarios H, DDLX behind flags: spec/scenarios-proxy.md 93–97. Permissions are not built: a right that nobody enforces would mislead. So
each statement of these scenarios is understood, answered with EX001 whatever the flags say, and leaves the database as it was.
"""

import re

import pytest

from harness import protocol as p
from harness.busbar import binary
from test_config import report, run

ALL = "proxy_ddlx_grant=true:proxy_ddlx_revoke=true:proxy_ddlx_assign=true:proxy_ddlx_unassign=true"
TABLES = """
CREATE TABLE projects (id uuid PRIMARY KEY, name text);
CREATE TABLE users (id uuid PRIMARY KEY);
CREATE TABLE memberships (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users (id), project_id uuid NOT NULL REFERENCES projects (id), role text);
CREATE TABLE alone (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users (id));
CREATE TABLE items (id uuid PRIMARY KEY, name text, description text);
"""
# By the number of the scenario, in the order in which it has them.
STATEMENTS = {
    94: ["ELECTRIC GRANT UPDATE (name, description) ON public.items TO 'projects:house.admin'"] * 2 +
        ["ELECTRIC REVOKE UPDATE (name) ON public.items FROM 'projects:house.admin'",
         "ELECTRIC GRANT UPDATE ON items TO 'projects:house.admin'",
         "ELECTRIC REVOKE UPDATE (name) ON items FROM 'projects:house.admin'"],
    95: ["ELECTRIC GRANT ALL ON public.items TO 'house.admin'", "ELECTRIC REVOKE ALL ON public.items FROM 'house.admin'"],
    96: ["ELECTRIC ASSIGN (projects, memberships.role) TO memberships.user_id"] * 2 + ["ELECTRIC UNASSIGN (projects, memberships.role) FROM memberships.user_id"],
    97: ["ELECTRIC ASSIGN (projects, 'member') TO alone.user_id",
         "ELECTRIC ASSIGN 'projects:member' TO public.alone.user_id IF (name = 'Paul')"],
}
CASES = [(number, sql) for number, statements in STATEMENTS.items() for sql in dict.fromkeys(statements)]
# Everything that a statement could have left: relations, columns, routines, triggers, rows of our own tables.
EVERYTHING = """
SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_attribute), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_trigger),
    (SELECT count(*) FROM pg_type), (SELECT string_agg(t::text, ',') FROM busbar.electrified t), (SELECT count(*) FROM busbar.migration),
    (SELECT count(*) FROM busbar.command), (SELECT count(*) FROM busbar.pending), (SELECT count(*) FROM busbar.version_claim)
"""


@pytest.fixture
def features():
    return ALL


@pytest.fixture
def flagged(features, make_busbar, cluster, database, sql):
    sql.execute(TABLES)
    return make_busbar(cluster.url(database), dbname=database, ELECTRIC_FEATURES=features)


def refusal(sql):
    return "EX001", " ".join(sql.split()[:2]) + " is currently unsupported"


@pytest.mark.parametrize("value, expected", [
    ("proxy_ddlx_grant=true:proxy_ddlx_grant=false", "true false false false"),
    ("proxy_ddlx_grant=false:proxy_ddlx_grant=true", "false false false false"),
    ("proxy_ddlx_unassign=true:of_a_newer_version=true:proxy_ddlx_revoke=true", "false true false true")])
def test_93_first_occurrence_wins(value, expected):
    """What is in force is shown."""
    done = run("show-config", DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x", AUTH_MODE="insecure",
               ELECTRIC_FEATURES=value)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("ELECTRIC_FEATURES"))
    assert re.findall(r"proxy_ddlx_(\w+)=(\w+)",
                      line.split("in force:")[1]) == list(zip(["grant", "revoke", "assign", "unassign"], expected.split()))


@pytest.mark.parametrize("value", ["proxy_ddlx_grant=maybe", "proxy_ddlx_grant", "=true"])
def test_93_malformed(value):
    """Neither true nor false: the service does not start."""
    done = run("serve", DATABASE_URL="postgresql://u@localhost/db", PG_PROXY_PASSWORD="x", AUTH_MODE="insecure",
               ELECTRIC_FEATURES=value)
    assert done.returncode == 1 and f'ELECTRIC_FEATURES has invalid value: "{value}"' in report(done), (binary(), report(done))


@pytest.mark.parametrize("number, statement", CASES,
                         ids=[f"{n}-{' '.join(s.split()[1:3])}-{i}" for i, (n, s) in enumerate(CASES)])
def test_94_95_96_97_refused(flagged, sql, number, statement):
    """In either protocol, alone, prepared, among others and in a transaction: EX001, nothing left behind, the session as after any error."""
    before = sql.execute(EVERYTHING).fetchone()
    with flagged.wire() as wire:
        for answer in (wire.query(statement), wire.query(f"-- why\n{statement};"), wire.extended(statement),
                       wire.query(f"CREATE TABLE gone (id int); {statement}")):
            assert ((answer.error["C"], answer.error["M"]), answer.status) == (refusal(statement), "I")
            assert answer.error["D"].startswith("We are working on implementing access controls") and answer.error["H"]
        wire.query("BEGIN; CREATE TABLE gone (id int); SAVEPOINT here").ok()
        answer = wire.query(statement)
        assert (answer.error["C"], answer.status) == ("EX001", "E") and wire.query("SELECT 1").error["C"] == "25P02"
        assert wire.query("ROLLBACK TO here").ok().status == "T" and wire.value("SELECT 1") == "1"
        wire.send(p.parse("s", statement) + p.bind("", "s") + p.execute() + p.parse("", "SELECT 2") + p.sync())
        answer = wire.result()
        assert (answer.error["C"], answer.status) == ("EX001", "E") and answer.kinds[-2:] == "EZ"
        assert wire.query("COMMIT").ok().tags == ["ROLLBACK"] and wire.value("SELECT 1") == "1"
    assert sql.execute(EVERYTHING).fetchone() == before


@pytest.mark.parametrize("features", [None, ALL], ids=["default", "flags on"])
@pytest.mark.parametrize("number", STATEMENTS)
def test_94_95_96_97_the_whole_scenario(flagged, sql, number):
    """Its statements one after the other in one session: the same answer to each, and a real migration afterwards works."""
    before = sql.execute(EVERYTHING).fetchone()
    with flagged.wire() as wire:
        for statement in STATEMENTS[number]:
            assert (wire.query(statement).error["C"], wire.query(statement).error["M"]) == refusal(statement)
        assert sql.execute(EVERYTHING).fetchone() == before
        assert wire.query("ALTER TABLE items ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]
        assert sql.execute("SELECT count(*) FROM busbar.migration").fetchone() == (1,)


@pytest.mark.parametrize("number, statement, word", [
    (94, "ELECTRIC GRANT UPDATE (name description) ON items TO 'projects:house.admin'", "description"),
    (94, "ELECTRIC REVOKE UPDATE (name) ON items TO 'projects:house.admin'", "TO"),
    (95, "ELECTRIC GRANT ALL items TO 'house.admin'", "items"),
    (96, "ELECTRIC ASSIGN (projects, memberships.role TO memberships.user_id", "TO"),
    (96, "ELECTRIC UNASSIGN (projects, memberships.role) TO memberships.user_id", "TO"),
    (97, "ELECTRIC ASSIGN 'projects:' TO alone.user_id", "'projects:'")])
def test_94_95_96_97_mistakes(flagged, sql, number, statement, word):
    """What is not DDLX is told from what is not supported: a syntax error that points at the word."""
    before = sql.execute(EVERYTHING).fetchone()
    with flagged.wire() as wire:
        for answer in (wire.query(statement), wire.extended(statement)):
            assert (answer.error["C"], answer.error["M"], answer.status) == ("42601", "Invalid ELECTRIC statement", "I")
            assert answer.error["P"] == str(statement.rindex(word) + 1) and word.strip("'") in answer.error["D"]
        assert wire.value("SELECT 1") == "1"
    assert sql.execute(EVERYTHING).fetchone() == before
