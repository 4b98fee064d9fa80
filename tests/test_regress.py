# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's ground, in scripts of our own (regress/*.sql), beside the proxy and through it: not a byte may differ.

psql runs each script straight against PostgreSQL and through Busbar, in databases of the same name on two clusters that are
set up alike; what it prints is compared whole (regress/__init__.py lists what may differ). The modes say how the
statements reach the server. The extended protocol gets the statements that psql was seen to send.
"""

import difflib
import os
import re
import subprocess

import psycopg
import pytest

from harness import protocol as p
from harness.postgres import Postgres
from harness.process import clean_environment

pytest.register_assert_rewrite("regress")
import regress  # noqa: E402

MODES = {
    "autocommit": [],
    "autocommit_off": ["-v", "AUTOCOMMIT=off", "-v", "ON_ERROR_ROLLBACK=on"],  # BEGIN and savepoints by psql
    "one_transaction": ["-1", "-v", "ON_ERROR_ROLLBACK=on"],
    "failed_transaction": ["-1"],  # from the first error on every statement is refused
    "electrified": [],             # the guard's event triggers at work on both sides
}
WAYS = {"simple": regress.simple, "one_by_one": regress.one_by_one, "prepared": regress.prepared, "in_batches": regress.in_batches}


@pytest.fixture(scope="module")
def clusters():
    """Two clusters that are set up alike: the databases can have one name, and roles do not meet."""
    made = regress.both(lambda: Postgres(settings=regress.SETTINGS), (), ())
    for postgres in made:
        postgres.start()  # by this thread: the server ends with the one that started it
    yield made
    for postgres in made:
        postgres.destroy()


@pytest.fixture(scope="module")
def recorder(clusters):
    return regress.Recorder(clusters[0])


@pytest.fixture(scope="module")
def pairs(clusters):  # named for the order: the pair goes before its clusters
    """The pair that is up: one at a time, as all have the same databases."""
    up = []
    yield up
    for pair in up:
        pair.close()


def pair_of(clusters, pairs, mode):
    while pairs:
        pairs.pop().close()
    pairs.append(regress.Pair(*clusters, electrified=mode == "electrified"))
    return mode, pairs[0]


@pytest.fixture(scope="module", params=MODES)
def psql_pair(request, clusters, pairs):
    return pair_of(clusters, pairs, request.param)


@pytest.fixture(scope="module", params=WAYS)
def wire_pair(request, clusters, pairs):
    return pair_of(clusters, pairs, request.param)


def assert_same_text(straight, proxied):
    if straight != proxied:
        diff = difflib.unified_diff(straight.splitlines(), proxied.splitlines(), "straight", "through Busbar", lineterm="", n=6)
        pytest.fail("\n".join(diff))


def run_psql(psql_pair, script):
    mode, pair = psql_pair
    straight, proxied = pair.run(lambda side, name: regress.psql(side, name, MODES[mode]), script)
    assert straight.status == 0 and "server closed the connection" not in straight.err, straight
    assert_same_text(straight.err, proxied.err)
    assert_same_text(straight.out, proxied.out)
    assert proxied.status == 0


@pytest.mark.parametrize("script", regress.SCRIPTS)
def test_psql(psql_pair, script):
    run_psql(psql_pair, script)


@pytest.mark.parametrize("psql_pair", ["autocommit"], indirect=True)
@pytest.mark.parametrize("script", regress.ONCE)
def test_psql_once(psql_pair, script):
    """What would show nothing new in the other modes."""
    run_psql(psql_pair, script)


def dump(endpoint):
    """All schemas of the scripts, as pg_dump tells them."""
    schemas = [option for script in (*regress.SCRIPTS, *regress.ONCE) for option in ("-n", script)]
    done = subprocess.run(["pg_dump", "-h", endpoint.host, "-p", str(endpoint.port), "-U", endpoint.user, "-n", "public", *schemas, endpoint.dbname],
                          capture_output=True, text=True, timeout=60, check=True, env=clean_environment(PGPASSWORD=endpoint.password or ""))
    return re.sub(r"^(\\(un)?restrict) .*", r"\1 KEY", done.stdout, flags=re.M)  # a random key, by pg_dump itself


def test_same_database_after_psql(psql_pair):
    """What all the scripts of the mode have left behind."""
    assert_same_text(*regress.both(dump, *((side,) for side in psql_pair[1].sides)))


def run_messages(wire_pair, recorder, script):
    mode, pair = wire_pair
    sessions = recorder.sessions(script)
    straight, proxied = pair.run(lambda side, name: regress.replay(side, name, sessions, WAYS[mode]), script)
    for (data, expected), (_, seen) in zip(straight, proxied, strict=True):
        assert seen == expected, f"to {data[:1500]}"


@pytest.mark.parametrize("script", [script for script in regress.SCRIPTS if script not in regress.ASKS_BY_OID])
def test_messages(wire_pair, recorder, script):
    run_messages(wire_pair, recorder, script)


@pytest.mark.parametrize("wire_pair", ["simple"], indirect=True)
def test_messages_of_many_statements(wire_pair, recorder):
    run_messages(wire_pair, recorder, "many")


def test_scripts_hold_every_command(clusters):
    """psql's list of SQL commands is PostgreSQL's: each occurs in some script."""
    listed = subprocess.run(["psql", "-X", "-h", clusters[0].host, "-p", str(clusters[0].port), "-U", "postgres", "-d", "postgres", "-c", "\\h"],
                            capture_output=True, text=True, timeout=60, check=True, env=clean_environment(COLUMNS="200")).stdout
    width = len("CREATE TEXT SEARCH CONFIGURATION") + 1  # columns for the longest
    commands = {line[at:at + width].strip() for line in listed.splitlines() if line.startswith("  ") for at in range(2, len(line), width)} - {""}
    assert len(commands) > 150 and {"ABORT", "TABLE", "WITH"} <= commands, commands
    scripts = ";".join(open(os.path.join(regress.FOLDER, f"{name}.sql"), encoding="utf-8").read().upper() for name in (*regress.SCRIPTS, *regress.ONCE))
    statements = [" ".join(text.split()) for text in re.split(r"[;\n]", scripts)]
    forms = {"CREATE TABLE AS", "SELECT INTO"}  # names stand between the words
    missing = {command for command in commands - forms if not any(re.search(rf"(^|\b){command}\b", statement) for statement in statements)}
    assert missing == set(), missing


@pytest.mark.transparent
def test_copy_that_fails_before_it_reads(endpoint):
    """A Sync sent with the statement is part of COPY, unless that fails before it reads: then it is answered."""
    with endpoint.wire() as wire:
        wire.query("CREATE TABLE rows (id int); CREATE VIEW viewed AS SELECT * FROM rows").ok()
        for _ in range(3):
            answer = wire.extended("COPY viewed FROM STDIN")
            assert answer.kinds == "12nGEZ" and answer.error["C"] == "42809"
            wire.extended("CREATE TABLE IF NOT EXISTS behind (id int)").ok()
            answer = wire.send(p.parse("", "COPY rows FROM STDIN") + p.bind("", "") + p.execute() + p.sync()).read_until("G")
            answer = wire.send(p.copy_data(b"x\n") + p.copy_done() + p.sync()).result()
            assert answer.kinds == "EZ" and answer.error["C"] == "22P02"
            assert wire.value("SELECT count(*) FROM behind") == "0"


@pytest.mark.transparent
def test_copy_behind_ddl_in_one_batch(endpoint):
    """The Sync that waits for the DDL must not make COPY wait for it, nor be lost when COPY fails before it reads."""
    def batch(*statements):
        return b"".join(p.parse("", text) + p.bind("", "") + p.execute() for text in statements) + p.sync()

    with endpoint.wire() as wire:
        wire.query("CREATE TABLE rows (id int); CREATE VIEW viewed AS SELECT * FROM rows").ok()
        wire.send(batch("CREATE TABLE copied (id int)", "COPY copied FROM STDIN")).read_until("G")
        answer = wire.send(p.copy_data(b"1\n") + p.copy_done() + p.sync()).result()
        assert answer.kinds == "CZ" and answer.status == "I"
        assert wire.value("SELECT count(*) FROM copied") == "1"
        wire.send(batch("CREATE TABLE behind (id int)", "COPY rows FROM STDIN")).read_until("G")
        answer = wire.send(p.copy_data(b"x\n") + p.copy_done() + p.sync()).result()
        assert answer.kinds == "EZ" and answer.error["C"] == "22P02" and answer.status == "I"
        answer = wire.send(batch("CREATE TABLE behind (id int)", "COPY viewed FROM STDIN")).result()
        assert answer.kinds == "12C12GEZ" and answer.error["C"] == "42809" and answer.status == "I"
        assert wire.value("SELECT to_regclass('behind')") is None


def test_guard_without_standard_strings(truths, cluster, database):
    """A client's setting must not change what the guard's own patterns mean."""
    with cluster.connect(database, options="-c standard_conforming_strings=off -c escape_string_warning=on") as conn:
        notices = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for statement, code in (("DROP SCHEMA electric, busbar CASCADE", "UB005"), ("CREATE INDEX CONCURRENTLY i ON truths (value)", "UB002"),
                                ("DROP INDEX CONCURRENTLY truths_idx", "UB002"), ("CREATE TRIGGER t BEFORE INSERT ON busbar.settings EXECUTE FUNCTION suppress_redundant_updates_trigger()", "UB005")):
            with pytest.raises(psycopg.Error) as refused:
                conn.execute(statement)
            assert refused.value.sqlstate == code, refused.value
        assert notices == []


@pytest.mark.transparent
def test_data_of_copy_reaches_a_query_of_several_statements(endpoint):
    """Busbar goes through such a query piece by piece while the client waits; the data must not wait for that."""
    with endpoint.wire() as wire:
        wire.send(p.query("CREATE TABLE rows (id int); COPY rows FROM STDIN; SELECT sum(id) FROM rows"))
        assert [m.kind for m in wire.read_until("G")] == ["C", "G"]
        answer = wire.send(p.copy_data(b"1\n2\n") + p.copy_done()).result().ok()
        assert answer.tags == ["COPY 2", "SELECT 1"] and answer.rows == [["3"]] and answer.status == "I"
