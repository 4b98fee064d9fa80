# SPDX-License-Identifier: Apache-2.0
"""Scenarios E, captured migrations: spec/scenarios-proxy.md 55–67 (68 needs the sync service: a later issue).

Left out: shadow and tombstone tables, electric.capture_ddl called by hand (61). ``truths`` is the electrified table
with ``truths_idx``; "before" are the counts after it was electrified.
"""

import pytest

from harness import protocol as p
from harness.electric import GENERATED
from harness.wait import wait_until
from harness.web import migrations


def notice(table, sql):
    """Row N1 of the messages table, as a client sees it."""
    return {"S": "NOTICE", "C": "00000", "M": f'Migration affecting electrified table "public"."{table}"',
            "D": f"Capturing migration: {sql}", "s": "public", "t": table}


def n1(answer):
    """The N1 notices of an answer, without V (severity once more, never localised)."""
    return [{k: v for k, v in n.items() if k != "V"} for n in answer.notices if n["M"].startswith("Migration affecting")]


def new(ledger):
    """(commands, versions) recorded since ``truths`` was electrified."""
    commands, versions = ledger.before
    return ledger.ddl[commands:], ledger.version_names[versions:]


ADD = 'ALTER TABLE "truths" ADD COLUMN "another" int4'


def test_55_add_column(busbar, truths):
    """N1, then the tag, then ReadyForQuery(I); recorded with a generated version."""
    with busbar.wire() as wire:
        answer = wire.query(ADD).ok()
        assert [m.kind for m in answer.messages] == ["N", "C", "Z"]
        assert n1(answer) == [notice("truths", ADD)]
        assert (answer.tags, answer.status) == (["ALTER TABLE"], "I")
    commands, versions = new(truths)
    assert commands == [ADD] and len(versions) == 1 and GENERATED.match(versions[0])
    assert truths.columns("truths") == ["id", "value", "another"]
    truths.consistent()


def test_55_upstream_sequence(make_busbar, cluster, database, relay, tables, ledger):
    """One hidden transaction around the client's statement: BEGIN first, the statement unchanged, COMMIT last."""
    busbar = make_busbar(cluster.url(database, port=relay.port), dbname=database)
    with busbar.wire() as wire:
        wire.query("ALTER TABLE truths ENABLE ELECTRIC").ok()
        session = relay.session_for(wire.key[0])
        before, answered = len(session.frontend), len(session.backend)
        wire.query(ADD).ok()
        texts = [m.sql for m in session.frontend[before:] if m.kind in "QP"]
        assert texts[0].upper().startswith("BEGIN") and ADD in texts and texts[-1].upper().startswith("COMMIT"), texts
        # Inside the transaction, nothing after COMMIT: had the session died at any moment, all or nothing.
        statuses = [m.status for m in session.backend[answered:] if m.kind == "Z"]
        assert set(statuses[:-1]) == {"T"} and statuses[-1] == "I", statuses


def test_55_extended_in_one_group(busbar, truths):
    """psycopg 3, node-postgres, JDBC."""
    with busbar.wire() as wire:
        answer = wire.extended(ADD).ok()
        assert (answer.kinds, answer.tags, answer.status) == ("12nCZ", ["ALTER TABLE"], "I")
        assert n1(answer) == [notice("truths", ADD)]
    assert new(truths)[0] == [ADD]
    truths.consistent()


def test_55_extended_in_the_groups_of_ecto(busbar, truths):
    """[Parse, Describe, Flush], [Bind, Execute, Close, Sync], outside a transaction."""
    with busbar.wire() as wire:
        wire.send(p.parse("", ADD) + p.describe("S", "") + p.flush())
        assert "".join(m.kind for m in wire.read_until("n")) == "1tn"
        wire.send(p.bind("", "") + p.execute() + p.close("S", "") + p.sync())
        answer = wire.result().ok()
        assert (answer.kinds, answer.tags, answer.status) == ("2C3Z", ["ALTER TABLE"], "I")
        assert n1(answer) == [notice("truths", ADD)]
    assert new(truths)[0] == [ADD]


def test_56_three_columns_in_one_statement(busbar, truths):
    """One captured text; three statements for clients, in order."""
    sql = "ALTER TABLE truths ADD COLUMN a int4, ADD COLUMN b text, ADD c bool"
    with busbar.wire() as wire:
        assert len(n1(wire.query(sql).ok())) == 1
    assert new(truths)[0] == [sql]
    migration = migrations(busbar.http_port)[-1]
    assert migration.sql == ('ALTER TABLE "truths" ADD COLUMN "a" INTEGER;\n\nALTER TABLE "truths" ADD COLUMN "b" TEXT;\n\n'
                             'ALTER TABLE "truths" ADD COLUMN "c" INTEGER;')
    assert [c[0] for c in migration.ops[-1]["table"]["columns"]] == ["id", "value", "a", "b", "c"]


def test_57_in_a_transaction(busbar, truths):
    """NOTICE, tag, ReadyForQuery(T) at the statement; recorded with the COMMIT and not before."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        answer = wire.query(ADD).ok()
        assert [m.kind for m in answer.messages] == ["N", "C", "Z"] and answer.status == "T"
        assert new(truths) == ([], [])
        assert wire.query("INSERT INTO truths (id, another) VALUES (gen_random_uuid(), 1)").ok().tags == ["INSERT 0 1"]
        answer = wire.query("COMMIT").ok()
        assert [m.kind for m in answer.messages] == ["C", "Z"] and answer.tags == ["COMMIT"] and answer.status == "I"
    assert new(truths)[0] == [ADD] and len(new(truths)[1]) == 1
    truths.consistent()


@pytest.mark.parametrize("end", ["COMMIT", "END", "commit work", "COMMIT;", "/* done */ COMMIT TRANSACTION", "COMMIT AND CHAIN"])
@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_57_every_way_to_commit(busbar, truths, end, protocol):
    """Both protocols, every spelling: none may slip past the recording."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query(ADD).ok()
        answer = getattr(wire, protocol)(end).ok()
        assert answer.tags == ["COMMIT"] and answer.status == ("T" if "CHAIN" in end else "I")
    assert new(truths)[0] == [ADD] and len(new(truths)[1]) == 1
    truths.consistent()


def test_57_begin_alter_commit_in_one_query(busbar, truths):
    """Everything in one simple Query, with statements after the COMMIT."""
    with busbar.wire() as wire:
        answer = wire.query(f"BEGIN; {ADD}; COMMIT; SELECT 1; CREATE INDEX another_idx ON truths (another)").ok()
        assert answer.tags == ["BEGIN", "ALTER TABLE", "COMMIT", "SELECT 1", "CREATE INDEX"] and answer.status == "I"
    commands, versions = new(truths)
    assert commands == [ADD, "CREATE INDEX another_idx ON truths (another)"] and len(versions) == 2
    truths.consistent()


def test_57_prepared_commit(busbar, truths):
    """COMMIT as a named prepared statement, executed after the DDL that was parsed after it."""
    with busbar.wire() as wire:
        wire.send(p.parse("c", "COMMIT") + p.parse("b", "BEGIN") + p.sync())
        wire.result().ok()
        wire.send(p.bind("", "b") + p.execute() + p.parse("", ADD) + p.bind("", "") + p.execute() + p.bind("", "c") + p.execute() + p.sync())
        answer = wire.result().ok()
        assert answer.tags == ["BEGIN", "ALTER TABLE", "COMMIT"] and answer.status == "I"
    assert new(truths)[0] == [ADD]
    truths.consistent()


def test_57_hidden_statements_disturb_nothing_of_the_client(busbar, truths):
    """The client's unnamed statement, its named ones and its WITH HOLD cursor are as PostgreSQL would leave them at COMMIT."""
    with busbar.wire() as wire:
        wire.send(p.parse("b", "BEGIN") + p.parse("a", ADD) + p.parse("c", "COMMIT") + p.parse("h", "DECLARE h CURSOR WITH HOLD FOR SELECT 7") + p.sync())
        wire.result().ok()
        for name in "bah":
            wire.send(p.bind("", name) + p.execute() + p.sync()).result().ok()
        wire.send(p.parse("", "SELECT 42") + p.sync()).result().ok()
        wire.send(p.bind("", "c") + p.execute() + p.sync()).result().ok()
        assert wire.send(p.bind("", "") + p.execute() + p.sync()).result().ok().rows == [["42"]]
        wire.send(p.parse("", "FETCH h") + p.bind("", "") + p.execute() + p.sync())
        assert wire.result().ok().rows == [["7"]]
        # The same around an autocommitted change.
        wire.send(p.parse("", "SELECT 43") + p.parse("i", "CREATE INDEX ON truths (value)") + p.sync()).result().ok()
        wire.send(p.bind("", "i") + p.execute() + p.sync()).result().ok()
        assert wire.send(p.bind("", "") + p.execute() + p.sync()).result().ok().rows == [["43"]]
    truths.consistent()


def test_57_psycopg_transaction(busbar, truths):
    """The driver's own BEGIN and COMMIT, several statements, notices seen by its handler."""
    seen = []
    with busbar.psycopg() as conn:
        conn.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
        conn.execute(ADD)
        conn.execute("CREATE INDEX another_idx ON truths (another)")
        conn.commit()
    assert new(truths)[0] == [ADD, "CREATE INDEX another_idx ON truths (another)"] and len(new(truths)[1]) == 1
    assert seen == ['Migration affecting electrified table "public"."truths"'] * 2


def test_58_create_and_drop_index(busbar, truths):
    """Captured verbatim, with whatever access method; DROP INDEX names the index as the table."""
    create = "CREATE INDEX i ON truths USING hash (value)"
    with busbar.wire() as wire:
        assert n1(wire.query(create).ok()) == [notice("truths", create)]
        answer = wire.query("DROP INDEX truths_idx").ok()
        assert answer.tags == ["DROP INDEX"] and n1(answer) == [notice("truths_idx", "DROP INDEX truths_idx")]
    assert new(truths)[0] == [create, "DROP INDEX truths_idx"]
    assert truths.remembered_indexes["truths"] == ["i"]
    assert 'DROP INDEX' in migrations(busbar.http_port)[-1].sql and "truths_idx" in migrations(busbar.http_port)[-1].sql
    truths.consistent()


def test_58_index_created_and_dropped_in_one_transaction(busbar, truths):
    """The original does not see an index of the same transaction."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("CREATE INDEX brief ON truths (value)").ok()
        assert n1(wire.query("DROP INDEX brief").ok())[0]["t"] == "brief"
        wire.query("COMMIT").ok()
    assert new(truths)[0] == ["CREATE INDEX brief ON truths (value)", "DROP INDEX brief"]
    assert truths.remembered_indexes["truths"] == ["truths_idx"]


def test_58_several_indexes_in_one_drop(busbar, truths):
    """DROP INDEX a, b: every name counts, also beside one of a closed table."""
    truths.execute("CREATE INDEX socks_idx ON socks (colour)")
    with busbar.wire() as wire:
        wire.query("CREATE INDEX i2 ON truths (value DESC)").ok()
        wire.query("DROP INDEX socks_idx, truths_idx, i2").ok()
    assert truths.remembered_indexes["truths"] == []
    assert new(truths)[0][-1] == "DROP INDEX socks_idx, truths_idx, i2"
    sql = migrations(busbar.http_port)[-1].sql
    assert "truths_idx" in sql and "i2" in sql and "socks" not in sql


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_58_create_index_concurrently(busbar, truths, protocol):
    """Not wrapped, and captured after its success: what is recorded is what the database made of it."""
    with busbar.wire() as wire:
        answer = getattr(wire, protocol)("CREATE INDEX CONCURRENTLY slow ON truths (value)").ok()
        assert answer.tags == ["CREATE INDEX"] and answer.status == "I"
        assert truths.remembered_indexes["truths"] == ["slow", "truths_idx"]
        answer = getattr(wire, protocol)("DROP INDEX CONCURRENTLY slow").ok()
        assert answer.tags == ["DROP INDEX"] and answer.status == "I"
    assert truths.remembered_indexes["truths"] == ["truths_idx"]
    created, dropped = new(truths)[0]
    assert created.startswith("CREATE INDEX") and " slow ON " in created and dropped.startswith("DROP INDEX") and dropped.endswith("slow")
    assert '"slow"' in migrations(busbar.http_port)[-2].sql and '"slow"' in migrations(busbar.http_port)[-1].sql
    truths.consistent()


def test_59_two_statements_one_version(busbar, truths):
    """One Query is one migration."""
    with busbar.wire() as wire:
        answer = wire.query("ALTER TABLE truths ADD COLUMN amount int4; CREATE INDEX x ON truths (amount)").ok()
        assert answer.tags == ["ALTER TABLE", "CREATE INDEX"] and len(n1(answer)) == 2
    commands, versions = new(truths)
    assert commands == ["ALTER TABLE truths ADD COLUMN amount int4", "CREATE INDEX x ON truths (amount)"] and len(versions) == 1
    assert migrations(busbar.http_port)[-1].sql == 'ALTER TABLE "truths" ADD COLUMN "amount" INTEGER;\n\nCREATE INDEX "x" ON "truths" ("amount" ASC);'


def test_60_one_refused_statement_refuses_the_query(busbar, truths):
    """Nothing of the Query is kept, and the error says which statement."""
    with busbar.wire() as wire:
        answer = wire.query("CREATE INDEX i ON truths (value); ALTER TABLE truths DROP COLUMN value;")
        assert answer.error["C"] == "EX010" and answer.status == "I"
        assert answer.error["M"] == 'Cannot drop column "value" of electrified table "public"."truths"'
        assert answer.error["H"]
    assert new(truths) == ([], []) and not truths.exists("public.i")
    truths.consistent()


def test_61_long_text(busbar, truths):
    """More than 8 kB of comments, inside and before the statement; text kept as it was written."""
    sql = "ALTER TABLE truths" + "".join(f"\n  -- comment number {n}: {'ä' * 40}" for n in range(200)) + "\n  ADD COLUMN long_one text"
    with busbar.wire() as wire:
        wire.query(sql + ";").ok()
    assert new(truths)[0] == [sql] and len(sql) > 8192


def test_61_megabytes(busbar, truths):
    """Longer than any buffer that is held: DDL is found all the same."""
    sql = "/*" + "x" * 3_000_000 + "*/ ALTER TABLE truths ADD COLUMN big_one text"
    with busbar.wire(timeout=60) as wire:
        wire.query(sql).ok()
        assert wire.extended(sql.replace("big_one", "big_two")).ok().tags == ["ALTER TABLE"]
    assert len(new(truths)[0]) == 2
    truths.consistent()


ALLOWED = ["ENABLE TRIGGER noop", "ENABLE ALWAYS TRIGGER noop", "ENABLE REPLICA TRIGGER noop", "DISABLE TRIGGER noop", "OWNER TO CURRENT_USER",
           "ALTER COLUMN value SET STORAGE EXTERNAL", "ALTER COLUMN value SET STATISTICS 100", "ALTER COLUMN value SET COMPRESSION pglz",
           "ALTER COLUMN value SET (n_distinct = 5)", "ALTER COLUMN value RESET (n_distinct)", "SET (fillfactor = 70)", "RESET (fillfactor)",
           "SET ACCESS METHOD heap"]


@pytest.fixture
def trigger(truths):
    """A trigger on the electrified table."""
    truths.execute("CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_62_allowed_without_capture(busbar, truths, trigger, protocol):
    """What clients cannot notice passes, in silence."""
    with busbar.wire() as wire:
        wire.query("CREATE TRIGGER noop BEFORE INSERT ON truths FOR EACH ROW EXECUTE FUNCTION noop()").ok()
        for action in ALLOWED:
            answer = getattr(wire, protocol)(f"ALTER TABLE truths {action}").ok()
            assert answer.tags == ["ALTER TABLE"] and n1(answer) == [], action
    assert new(truths) == ([], [])
    truths.consistent()


def test_63_add_column_and_enable_trigger(busbar, truths, trigger):
    """Captured; clients get the column alone. The original dies of it."""
    sql = "ALTER TABLE truths ADD COLUMN c text, ENABLE TRIGGER noop"
    with busbar.wire() as wire:
        wire.query("CREATE TRIGGER noop BEFORE INSERT ON truths FOR EACH ROW EXECUTE FUNCTION noop()").ok()
        assert len(n1(wire.query(sql).ok())) == 1
    assert new(truths)[0] == [sql]
    assert migrations(busbar.http_port)[-1].sql == 'ALTER TABLE "truths" ADD COLUMN "c" TEXT;'


def test_64_add_column_if_not_exists(busbar, truths):
    """Nothing changed, so nothing is captured: the database decides by what happened."""
    with busbar.wire() as wire:
        answer = wire.query("ALTER TABLE truths ADD COLUMN IF NOT EXISTS value text").ok()
        assert answer.tags == ["ALTER TABLE"] and n1(answer) == [] and answer.notices[0]["C"] == "42701"
        assert new(truths) == ([], [])
        assert n1(wire.query("ALTER TABLE truths ADD COLUMN IF NOT EXISTS fresh text").ok())
        wire.query("CREATE INDEX IF NOT EXISTS truths_idx ON truths (value)").ok()
        wire.query("DROP INDEX IF EXISTS nothing_of_this_name").ok()
    assert new(truths)[0] == ["ALTER TABLE truths ADD COLUMN IF NOT EXISTS fresh text"]
    truths.consistent()


def test_65_rollback_to_savepoint(busbar, truths):
    """What was undone is not recorded; without anything left there is no version."""
    with busbar.wire() as wire:
        for keep in (False, True):
            wire.query("BEGIN").ok()
            if keep:
                wire.query("ALTER TABLE truths ADD COLUMN kept text").ok()
            wire.query("SAVEPOINT s").ok()
            wire.query("ALTER TABLE truths ADD COLUMN undone text").ok()
            wire.query("ROLLBACK TO SAVEPOINT s").ok()
            assert wire.query("COMMIT").ok().tags == ["COMMIT"]
            commands, versions = new(truths)
            assert commands == (["ALTER TABLE truths ADD COLUMN kept text"] if keep else [])
            assert len(versions) == keep
            truths.consistent()


def test_65_released_and_reused_savepoints(busbar, truths):
    """Nested, released, one name twice; an ENABLE that is undone."""
    truths.execute("ALTER TABLE socks ADD COLUMN size int4")
    with busbar.wire() as wire:
        script = ["BEGIN", "SAVEPOINT s", "ALTER TABLE truths ADD COLUMN a text", "SAVEPOINT s", "ALTER TABLE truths ADD COLUMN b text",
                  "ALTER TABLE socks ENABLE ELECTRIC", "ROLLBACK TO s", "RELEASE s", "ALTER TABLE truths ADD COLUMN c text", "RELEASE SAVEPOINT s",
                  "ALTER TABLE socks DROP COLUMN size", "COMMIT"]
        for sql in script:
            wire.query(sql).ok()
    assert truths.columns("truths") == ["id", "value", "a", "c"] and truths.electrified == ["truths"]
    assert new(truths)[0] == ["ALTER TABLE truths ADD COLUMN a text", "ALTER TABLE truths ADD COLUMN c text"]
    truths.consistent()


def test_65_error_rolled_back_to_a_savepoint(busbar, truths):
    """A refusal inside a savepoint leaves the rest of the transaction good (Rails, Django do so)."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("ALTER TABLE truths ADD COLUMN a text").ok()
        wire.query("SAVEPOINT s").ok()
        answer = wire.query("ALTER TABLE truths DROP COLUMN value")
        assert answer.error["C"] == "EX010" and answer.status == "E"
        assert wire.query("ROLLBACK TO s").ok().status == "T"
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
    assert new(truths)[0] == ["ALTER TABLE truths ADD COLUMN a text"]
    truths.consistent()


def test_66_prepared_captured_statement_twice(busbar, truths):
    """An unnamed index is made twice and captured twice; a column fails the second time. Never uncaptured."""
    with busbar.wire() as wire:
        wire.send(p.parse("i", "CREATE INDEX ON truths (value)") + p.parse("a", ADD) + p.parse("x", "SELECT 1") + p.sync())
        assert wire.result().ok().kinds == "111Z"
        for _ in range(2):
            wire.send(p.bind("", "i") + p.execute() + p.sync())
            answer = wire.result().ok()
            assert answer.tags == ["CREATE INDEX"] and len(n1(answer)) == 1 and answer.status == "I"
        wire.send(p.bind("", "a") + p.execute() + p.sync())
        assert wire.result().ok().tags == ["ALTER TABLE"]
        wire.send(p.bind("", "a") + p.execute() + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "42701" and answer.status == "I"
    commands, versions = new(truths)
    assert commands == ["CREATE INDEX ON truths (value)"] * 2 + [ADD] and len(versions) == 3
    truths.consistent()


def test_66_second_parse_of_a_group(busbar, truths):
    """Several statements prepared and run before one Sync: each is seen. The original looks at the first only."""
    with busbar.wire() as wire:
        wire.send(p.parse("", "SELECT 1") + p.bind("", "") + p.execute()
                  + p.parse("", ADD) + p.bind("", "") + p.execute()
                  + p.parse("", "CREATE INDEX a_idx ON truths (another)") + p.bind("", "") + p.execute() + p.sync())
        answer = wire.result().ok()
        assert answer.tags == ["SELECT 1", "ALTER TABLE", "CREATE INDEX"] and answer.status == "I"
    commands, versions = new(truths)
    assert commands == [ADD, "CREATE INDEX a_idx ON truths (another)"] and len(versions) == 1
    truths.consistent()


def test_66_error_late_in_a_group(busbar, truths):
    """One Sync is one implicit transaction: an error after the DDL undoes it, record and all."""
    with busbar.wire() as wire:
        wire.send(p.parse("", ADD) + p.bind("", "") + p.execute() + p.parse("", "SELECT 1/0") + p.bind("", "") + p.execute()
                  + p.parse("", "SELECT 1") + p.sync())
        answer = wire.result()
        assert answer.error["C"] == "22012" and answer.status == "I" and answer.tags == ["ALTER TABLE"]
        assert wire.query("SELECT 1").ok().status == "I"
    assert new(truths) == ([], []) and truths.columns("truths") == ["id", "value"]
    truths.consistent()


def test_67_rollback(busbar, ledger, tables):
    """Electrify, alter, ROLLBACK: no trace."""
    with busbar.wire() as wire:
        for end in ("ROLLBACK", "ABORT"):
            for sql in ("BEGIN", "ALTER TABLE truths ENABLE ELECTRIC", ADD, end):
                wire.query(sql).ok()
            assert ledger.electrified == [] and ledger.ddl == [] and ledger.versions == []
            assert wire.value("SELECT count(*) FROM electric.electrified") == "0"
            assert ledger.columns("truths") == ["id", "value"]
        # The session knows that the table is closed again: this is allowed.
        wire.query("ALTER TABLE truths DROP COLUMN value").ok()


def test_67_disconnect_in_the_transaction(busbar, truths):
    """As a ROLLBACK."""
    wire = busbar.wire()
    wire.query("BEGIN").ok()
    wire.query(ADD).ok()
    wire.close()
    wait_until(lambda: truths.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", wire.key[0]) == 0, "the backend to end")
    assert new(truths) == ([], [])
    truths.consistent()


@pytest.mark.parametrize("begin", [False, True])
def test_67_terminate_right_behind_the_migration(busbar, truths, begin):
    """A client that says goodbye without waiting has its migration, as with PostgreSQL: whole."""
    wire = busbar.wire()
    if begin:
        wire.query("BEGIN").ok()
    wire.send(p.query(ADD) + (p.query("COMMIT") if begin else b"") + p.terminate())
    wire.read_to_end()
    wire.close()
    wait_until(lambda: truths.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", wire.key[0]) == 0, "the backend to end")
    assert new(truths)[0] == [ADD] and "another" in truths.columns("truths")
    truths.consistent()


# Beyond the numbered ones: the notice.

def test_notice_is_hidden_by_client_min_messages(busbar, truths):
    """A client that does not want notices gets none, and the capture still happens."""
    with busbar.wire() as wire:
        wire.query("SET client_min_messages = error").ok()
        answer = wire.query(ADD).ok()
        assert [m.kind for m in answer.messages] == ["C", "Z"]
        assert wire.extended("CREATE INDEX a_idx ON truths (another)").ok().notices == []
    with busbar.wire(options="-c client_min_messages=warning") as wire:
        assert wire.query("DROP INDEX a_idx").ok().notices == []
    assert len(new(truths)[0]) == 3


def test_no_internal_message_reaches_the_client(busbar, truths):
    """The mark is swallowed at every level of client_min_messages; no UB001, no INFO."""
    with busbar.wire() as wire:
        for level in ("debug5", "debug1", "log", "notice", "error"):
            wire.query(f"SET client_min_messages = {level}").ok()
            answer = wire.query(f"ALTER TABLE truths ADD COLUMN at_{level} text").ok()
            assert not [n for n in answer.notices if n["S"] == "INFO" or n["C"].startswith("UB")], level
    assert len(new(truths)[0]) == 5


def test_discard_all_does_not_lose_the_session(busbar, truths):
    """Poolers send DISCARD ALL; RESET ALL and SET SESSION AUTHORIZATION DEFAULT do the like. DDL afterwards is captured."""
    with busbar.wire() as wire:
        for number, reset in enumerate(("DISCARD ALL", "RESET ALL", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION")):
            wire.query(reset).ok()
            assert len(n1(wire.query(f"ALTER TABLE truths ADD COLUMN r{number} text").ok())) == 1
        wire.query("SET ROLE NONE").ok()
    assert len(new(truths)[0]) == 4
    truths.consistent()


def test_session_setting_cannot_be_taken_away_for_good(busbar, truths):
    """A client that overwrites the token shuts itself out: refused, never uncaptured."""
    with busbar.wire() as wire:
        wire.query("SET busbar.session = 'nonsense'").ok()
        answer = wire.query(ADD)
        assert answer.error["C"] == "UB002" and answer.status == "I"
    assert new(truths) == ([], []) and truths.columns("truths") == ["id", "value"]


def test_stolen_token_is_of_no_use_without_the_secret(busbar, truths, cluster, database):
    """A direct session that makes up a token is not believed."""
    with cluster.connect(database, options=f"-c busbar.session={'0' * 32}{'1' * 64}") as conn:
        with pytest.raises(Exception) as refused:
            conn.execute(ADD)
        assert refused.value.sqlstate == "UB002"
    assert new(truths) == ([], [])


# Beyond: DDL that is not at the top of a statement.

def test_ddl_in_a_do_block(busbar, truths):
    """Inside BEGIN … COMMIT: captured like any other, by what it did."""
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        answer = wire.query("DO $$ BEGIN ALTER TABLE truths ADD COLUMN from_do text; CREATE INDEX do_idx ON truths (from_do); END $$").ok()
        assert answer.tags == ["DO"] and n1(answer)
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
    assert truths.remembered["truths"] == ["id", "value", "from_do"] and len(new(truths)[1]) == 1
    sql = migrations(busbar.http_port)[-1].sql
    assert 'ADD COLUMN "from_do" TEXT' in sql and '"do_idx"' in sql
    truths.consistent()


def test_do_block_in_autocommit(busbar, truths):
    """Captured or refused with a hint; never kept unrecorded. One without DDL passes."""
    with busbar.wire() as wire:
        assert wire.query("DO $$ BEGIN RAISE NOTICE 'only this'; END $$").ok().notices[0]["M"] == "only this"
        answer = wire.query("DO $$ BEGIN ALTER TABLE truths ADD COLUMN from_do text; END $$")
        assert answer.status == "I"
        if answer.errors:
            assert answer.error["C"] == "UB003" and answer.error["H"]
        assert wire.value("SELECT 1") == "1"
    assert ("from_do" in truths.columns("truths")) == (len(new(truths)[1]) == 1)
    truths.consistent()


def test_79_refused_ddl_in_a_do_block(busbar, truths):
    """An error response and a living session. The original dies of any DO."""
    with busbar.wire() as wire:
        for begin in (False, True):
            if begin:
                wire.query("BEGIN").ok()
            answer = wire.query("DO $$ BEGIN ALTER TABLE truths DROP COLUMN value; END $$")
            assert answer.error["C"] == "EX010" and answer.status == ("E" if begin else "I")
            if begin:
                wire.query("ROLLBACK").ok()
    assert truths.columns("truths") == ["id", "value"]


def test_ddl_in_a_function_in_a_transaction(busbar, truths):
    """SELECT f(): no text analysis would see it."""
    truths.execute("CREATE FUNCTION migrate() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE truths ADD COLUMN from_f text; END'")
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        assert wire.query("SELECT migrate()").ok().tags == ["SELECT 1"]
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
    assert len(new(truths)[0]) == 1 and len(new(truths)[1]) == 1
    assert truths.remembered["truths"] == ["id", "value", "from_f"]
    truths.consistent()


@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_ddl_in_a_function_in_autocommit(busbar, truths, protocol):
    """It commits before it can be proved: recorded when SQLite takes it without doubt."""
    truths.execute("CREATE FUNCTION migrate() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE truths ADD COLUMN from_f text;"
                   " CREATE INDEX f_idx ON truths (from_f DESC); DROP INDEX truths_idx; END'")
    with busbar.wire() as wire:
        assert getattr(wire, protocol)("SELECT migrate()").ok().tags == ["SELECT 1"]
        assert wire.value("SELECT 1") == "1"
        wire.query("ALTER TABLE truths ADD COLUMN later text").ok()  # proved together with what was not
    ddl, versions = new(truths)
    assert len(versions) == 2 and ddl[0].startswith("ALTER TABLE public.truths ADD COLUMN from_f text")
    sql = migrations(busbar.http_port)[1].sql
    assert 'ADD COLUMN "from_f" TEXT' in sql and 'CREATE INDEX "f_idx"' in sql and "truths_idx" in sql
    truths.consistent()


@pytest.mark.parametrize("change", [
    'ALTER TABLE truths ADD COLUMN "Value" text',
    'ALTER TABLE truths ADD COLUMN one text, ADD COLUMN "ONE" text',
    'CREATE INDEX "TRUTHS" ON truths (value)',
    'CREATE INDEX "Truths_Idx" ON truths (id)',
    "CREATE INDEX sqlite_mine ON truths (value)",
    "CREATE INDEX of_expression ON truths (lower(value))",
    "CREATE INDEX partial ON truths (value) WHERE value IS NOT NULL",
    'DROP INDEX truths_idx; CREATE INDEX "TRUTHS_IDX" ON truths (value)',
])
@pytest.mark.parametrize("protocol", ["query", "extended"])
def test_ddl_in_a_function_in_autocommit_in_doubt(busbar, truths, protocol, change):
    """What must be tried out first is refused, nothing is kept, and what the hint says works unless SQLite refuses."""
    truths.execute(f"CREATE FUNCTION migrate() RETURNS void LANGUAGE plpgsql AS 'BEGIN {change}; END'")
    with busbar.wire() as wire:
        answer = getattr(wire, protocol)("SELECT migrate()")
        assert answer.error["C"] == "UB003" and answer.status == "I"
        assert answer.error["H"].endswith("BEGIN; SELECT migrate(); COMMIT;")
        assert wire.value("SELECT 1") == "1"
        assert new(truths) == ([], []) and truths.columns("truths") == ["id", "value"]
        for statement in ("BEGIN", "SELECT migrate()", "COMMIT"):
            answer = getattr(wire, protocol)(statement)
        assert not answer.errors or answer.error["C"] == "UB004"
    assert len(new(truths)[1]) == (not answer.errors)
    truths.consistent()


def test_ddl_in_a_procedure_that_commits(busbar, truths):
    """Each of its transactions is a migration of its own."""
    truths.execute("CREATE PROCEDURE migrate() LANGUAGE plpgsql AS 'BEGIN ALTER TABLE truths ADD COLUMN p1 text; COMMIT;"
                   " ALTER TABLE truths ADD COLUMN p2 text; END'")
    with busbar.wire() as wire:
        assert wire.query("CALL migrate()").ok().tags == ["CALL"]
    assert len(new(truths)[1]) == 2 and truths.remembered["truths"] == ["id", "value", "p1", "p2"]
    truths.consistent()


def test_ddl_by_execute_of_a_prepared_statement_of_sql(busbar, truths):
    """PREPARE cannot hold DDL, but EXECUTE can run a function that does; EXPLAIN ANALYZE as well."""
    truths.execute("CREATE FUNCTION migrate(name text) RETURNS void LANGUAGE plpgsql AS"
                   " $$ BEGIN EXECUTE format('ALTER TABLE truths ADD COLUMN %I text', name); END $$")
    with busbar.wire() as wire:
        wire.query("BEGIN").ok()
        wire.query("PREPARE p AS SELECT migrate($1)").ok()
        wire.query("EXECUTE p('by_execute')").ok()
        wire.query("EXPLAIN ANALYZE SELECT migrate('by_explain')").ok()
        wire.query("COMMIT").ok()
    assert truths.remembered["truths"] == ["id", "value", "by_execute", "by_explain"]
    assert len(new(truths)[1]) == 1
    truths.consistent()


def test_procedure_that_commits_by_itself(busbar, truths):
    """A CALL with a COMMIT inside: what it did to an electrified table is recorded or refused, never lost."""
    truths.execute("CREATE PROCEDURE migrate() LANGUAGE plpgsql AS 'BEGIN ALTER TABLE truths ADD COLUMN from_p text; COMMIT; END'")
    with busbar.wire() as wire:
        answer = wire.query("CALL migrate()")
        assert answer.status == "I"
        assert wire.value("SELECT 1") == "1"
    assert ("from_p" in truths.columns("truths")) == bool(new(truths)[1])
    truths.consistent()


def test_drop_cascade_is_seen(busbar, truths):
    """What a CASCADE would take from an electrified table is refused: by what happens, not by the text."""
    truths.execute("CREATE TYPE mood AS ENUM ('ok')")
    truths.execute("CREATE TABLE moods (id text PRIMARY KEY, m mood)")
    with busbar.wire() as wire:
        wire.query("ALTER TABLE moods ENABLE ELECTRIC").ok()
        for sql in ("DROP TYPE mood CASCADE", "DROP SCHEMA public CASCADE", "DROP TABLE socks, truths", "ALTER TABLE truths SET SCHEMA pg_temp",
                    "ALTER SCHEMA public RENAME TO private"):
            answer = wire.query(sql)
            assert answer.errors, sql
            assert answer.status == "I"
    assert truths.electrified == ["moods", "truths"] and truths.columns("moods") == ["id", "m"] and truths.exists("public.socks")
    truths.consistent()


# Beyond: errors and their places.

def test_error_position_in_a_query_of_several_statements(busbar, truths):
    """The position counts from the start of the client's text, whatever was sent upstream in pieces; after non-ASCII text too."""
    prefix = "ALTER TABLE truths ADD COLUMN ok text; SELECT 'ünïcödé'; "
    bad = "SELECT nonsense FROM truths"
    with busbar.wire() as wire:
        answer = wire.query(prefix + bad)
        assert answer.error["C"] == "42703" and answer.status == "I"
        assert answer.error["P"] == str(len(prefix) + len("SELECT ") + 1)
        answer = wire.query("SELECT 'ünïcödé'; ALTER TABLE truths ADD COLUMN x nosuchtype")
        assert answer.error["C"] == "42704"
        assert answer.error["P"] == str(len("SELECT 'ünïcödé'; ALTER TABLE truths ADD COLUMN x ") + 1)
    assert new(truths) == ([], []) and truths.columns("truths") == ["id", "value"]


def test_refusal_in_a_transaction_really_fails_it(busbar, truths):
    """78: afterwards 25P02, and COMMIT undoes the earlier statements. The original would commit them."""
    with busbar.wire() as wire:
        for protocol in ("query", "extended"):
            for end in ("COMMIT", "ROLLBACK"):
                wire.query("BEGIN").ok()
                wire.query("ALTER TABLE truths ADD COLUMN early text").ok()
                answer = getattr(wire, protocol)("ALTER TABLE truths DROP COLUMN value")
                assert answer.error["C"] == "EX010" and answer.error["H"] and answer.status == "E"
                assert wire.query("SELECT 1").error["C"] == "25P02"
                answer = wire.query(end).ok()
                assert (answer.tags, answer.status) == (["ROLLBACK"], "I")
    assert new(truths) == ([], []) and truths.columns("truths") == ["id", "value"]
    truths.consistent()


def test_failed_proof_fails_the_commit(busbar, truths):
    """SQLite takes "a" and "A" for one column: the COMMIT fails with the reason, nothing is kept, the session is usable."""
    sql = 'ALTER TABLE truths ADD COLUMN a text, ADD COLUMN "A" text'
    with busbar.wire() as wire:
        answer = wire.query(sql)
        assert answer.error["C"] == "UB004" and answer.status == "I" and answer.tags == []
        answer = wire.extended(sql)
        assert answer.error["C"] == "UB004" and answer.status == "I"
        for end in ("query", "extended"):
            wire.query("BEGIN").ok()
            wire.query("ALTER TABLE truths ADD COLUMN fine text").ok()
            assert wire.query(sql).ok().status == "T"
            answer = getattr(wire, end)("COMMIT")
            assert answer.error["C"] == "UB004" and answer.status == "I" and answer.tags == []
            assert "duplicate column" in " ".join(answer.error.values())
            assert wire.query("ROLLBACK").ok().notices[0]["C"] == "25P01"
        assert wire.query("ALTER TABLE truths ADD COLUMN fine text").ok().tags == ["ALTER TABLE"]
    assert truths.columns("truths") == ["id", "value", "fine"] and len(new(truths)[0]) == 1
    truths.consistent()


def test_two_migrations_at_once(busbar, truths):
    """Two sessions change two electrified tables side by side: recorders take turns, both are recorded, in order of commit."""
    truths.execute("CREATE TABLE others (id text PRIMARY KEY)")
    with busbar.wire() as one, busbar.wire() as two:
        one.query("ALTER TABLE others ENABLE ELECTRIC").ok()
        for wire, table in ((one, "truths"), (two, "others")):
            wire.query("BEGIN").ok()
            wire.query(f"ALTER TABLE {table} ADD COLUMN side text").ok()
        two.send(p.query("COMMIT"))
        two.result().ok()
        one.query("COMMIT").ok()
    assert len(new(truths)[0]) == 3 and len(set(new(truths)[1])) == 3
    # The order for clients is that of the commits, not of the statements.
    assert [m.sql for m in migrations(busbar.http_port)[2:]] == ['ALTER TABLE "others" ADD COLUMN "side" TEXT;', 'ALTER TABLE "truths" ADD COLUMN "side" TEXT;']
    truths.consistent()


def test_direct_changes_are_refused(busbar, truths):
    """80: straight in PostgreSQL. The message names the proxy; DDLX is not even its syntax."""
    for sql in ("ALTER TABLE truths DROP COLUMN value", "ALTER TABLE truths ADD COLUMN x text", "CREATE INDEX x ON truths (value)", "DROP INDEX truths_idx",
                "DROP TABLE truths", "ALTER TABLE truths RENAME TO lies", "DROP SCHEMA public CASCADE"):
        with pytest.raises(Exception) as refused:
            truths.execute(sql)
        assert refused.value.sqlstate == "UB002", sql
        assert "proxy" in str(refused.value).lower(), str(refused.value)
    with pytest.raises(Exception) as refused:
        truths.execute("ALTER TABLE socks ENABLE ELECTRIC")
    assert refused.value.sqlstate == "42601"
    truths.consistent()


def test_own_objects_are_protected(busbar, truths):
    """Neither a client nor a direct session may break what the recording stands on."""
    statements = ["DROP TABLE busbar.electrified CASCADE", "ALTER TABLE busbar.command ADD COLUMN x int", "DROP SCHEMA busbar CASCADE",
                  "DROP SCHEMA electric CASCADE", "DROP VIEW electric.ddl_commands CASCADE"]
    with busbar.wire() as wire:
        for sql in statements:
            assert wire.query(sql).error["C"] == "UB005", sql
    for sql in statements:
        with pytest.raises(Exception) as refused:
            truths.execute(sql)
        assert refused.value.sqlstate in ("UB005", "UB002"), sql
    truths.consistent()


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "SQL_ASCII", "UTF8"])
def test_names_survive_any_client_encoding(busbar, ledger, encoding):
    """A client that speaks LATIN1 migrates a table whose name LATIN1 can write, after one whose name it cannot."""
    with busbar.psycopg() as connection:
        connection.execute('CREATE TABLE "числа" (id text PRIMARY KEY)')
        connection.execute('ALTER TABLE "числа" ENABLE ELECTRIC')
        connection.commit()
    with busbar.wire(client_encoding=encoding) as wire:
        code = {"SQL_ASCII": "utf-8", "UTF8": "utf-8", "LATIN1": "latin-1", "WIN1252": "cp1252"}[encoding]
        wire.send(p.frame("Q", 'CREATE TABLE "größe" (id text PRIMARY KEY)'.encode(code) + b"\0"))
        wire.result().ok()
        wire.send(p.frame("Q", 'ALTER TABLE "größe" ENABLE ELECTRIC'.encode(code) + b"\0"))
        assert wire.result().ok().tags == ["ELECTRIC ENABLE"]
        wire.send(p.frame("Q", 'ALTER TABLE "größe" ADD COLUMN "länge" int'.encode(code) + b"\0"))
        wire.result().ok()
    assert {"числа", "größe"} <= set(ledger.electrified)
    assert "länge" in migrations(busbar.http_port)[-1].sql


def test_ddl_at_the_end_of_a_long_script(busbar, truths):
    """A migration file that begins with 200 kB of data: its DDL is captured all the same."""
    script = "".join(f"INSERT INTO socks VALUES ({i}, 'a;b');" for i in range(6000)) + "ALTER TABLE truths ADD COLUMN late text;"
    assert len(script) > 200_000
    with busbar.wire() as wire:
        wire.query("DROP TABLE IF EXISTS socks; CREATE TABLE socks (id int, label text)").ok()
        tags = wire.query(script).ok().tags
        assert tags[-1] == "ALTER TABLE" and len(tags) == 6001
        assert wire.value("SELECT count(*) FROM socks") == "6000"
    assert "ADD COLUMN \"late\"" in migrations(busbar.http_port)[-1].sql
