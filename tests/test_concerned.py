# SPDX-License-Identifier: Apache-2.0
"""A migration is proved on the tables concerned, not on the whole history: what depends on tables far away is refused all the same,
and what is read does not grow with the database (ADR 16).
"""

import pytest

from harness.wait import wait_until

FAR = "CREATE TABLE far (id uuid PRIMARY KEY, name text); CREATE INDEX far_idx ON far (name)"
ITEMS = "CREATE TABLE items (id uuid PRIMARY KEY, name text)"
# What is read for the proof: kinds and tables of it, and its size.
READ = "SELECT kind, convert_from(decode(ops, 'hex'), 'UTF8')::jsonb #>> '{0,table,name}', length(ops) FROM busbar.pending()"


def read_for(wire, sql):
    """(tables of the recorded part, rows of it, bytes of it) for a migration, which is rolled back."""
    wire.query("BEGIN").ok()
    wire.query(sql).ok()
    rows = [row for row in wire.query(READ).ok().rows if row[0] == "recorded"]
    wire.query("ROLLBACK").ok()
    return sorted(row[1] for row in rows if row[1]), len(rows), sum(int(row[2]) for row in rows)


@pytest.fixture
def wire(busbar):
    """items and far are electrified, each in a migration of its own."""
    with busbar.wire() as wire:
        for sql in (FAR, ITEMS, "ALTER TABLE far ENABLE ELECTRIC", "ALTER TABLE items ENABLE ELECTRIC"):
            wire.query(sql).ok()
        yield wire


def in_step(ledger):
    return ledger.value("SELECT in_step FROM busbar.recorder")


def test_what_is_read_does_not_grow(wire, ledger):
    """Neither with the tables, nor with the migrations of other tables, nor with those of this one that left nothing."""
    change = "ALTER TABLE items ADD COLUMN more text; CREATE INDEX items_more ON items (more)"
    before = read_for(wire, change)
    assert before[:2] == (["items"], 1)
    for n in range(40):
        wire.query(f"CREATE TABLE t{n} (id uuid PRIMARY KEY, name text); ALTER TABLE t{n} ENABLE ELECTRIC").ok()
        wire.query(f"ALTER TABLE t{n} ADD COLUMN more text; CREATE INDEX i{n} ON t{n} (name)").ok()
        wire.query("CREATE INDEX passing ON items (name)").ok()
        wire.query("DROP INDEX passing").ok()
    assert len(ledger.versions) > 160 and in_step(ledger)
    assert read_for(wire, change) == before


@pytest.mark.parametrize("sql, reason", [
    ('CREATE TABLE "FAR" (id uuid PRIMARY KEY); ALTER TABLE "FAR" ENABLE ELECTRIC', 'tables "FAR" and "far" have one name'),
    ('CREATE TABLE "Far_Idx" (id uuid PRIMARY KEY); ALTER TABLE "Far_Idx" ENABLE ELECTRIC', "there is already an index named Far_Idx"),
    ('CREATE INDEX "FAR_IDX" ON items (name)', "index FAR_IDX already exists"),
    ('CREATE INDEX "Far" ON items (name)', "there is already a table named Far"),
    ('CREATE INDEX ours ON items (name); CREATE INDEX "OURS" ON far (name)', "index OURS already exists"),
    ("CREATE INDEX sqlite_idx ON items (name)", "reserved for internal use"),
    ('ALTER TABLE items ADD COLUMN "NAME" text', "have one name to SQLite"),
], ids=lambda value: value.split("(")[0].strip() if "(" in value else "-")
def test_clashes_are_refused(wire, ledger, sql, reason):
    before = ledger.versions
    refused = wire.query(f"BEGIN; {sql}; COMMIT").error
    assert refused["C"] == "UB004" and reason in refused["D"], refused
    wire.query("ROLLBACK")
    assert ledger.versions == before
    ledger.consistent()


def test_a_name_is_free_again(wire, ledger):
    """Given up before, or in the same migration."""
    wire.query("BEGIN; DROP INDEX far_idx; CREATE INDEX \"FAR_IDX\" ON items (name); COMMIT").ok()
    wire.query("BEGIN; ALTER TABLE far DISABLE ELECTRIC; CREATE TABLE \"Far\" (id uuid PRIMARY KEY); "
               "ALTER TABLE \"Far\" ENABLE ELECTRIC; COMMIT").ok()
    wire.query("DROP INDEX \"FAR_IDX\"").ok()
    wire.query("CREATE INDEX far_idx ON \"Far\" (id)").ok()
    assert wire.query("ALTER TABLE far ENABLE ELECTRIC").error["C"] == "UB004"
    ledger.consistent()
    assert in_step(ledger)


def test_the_tables_that_foreign_keys_lead_to(wire, ledger):
    """Those that a changed table refers to come along, with their keys; those that refer to it when it loses something."""
    wire.query("CREATE TABLE top (id uuid PRIMARY KEY)").ok()
    wire.query("CREATE TABLE parent (id uuid PRIMARY KEY, code text, top uuid REFERENCES top (id))").ok()
    wire.query("CREATE UNIQUE INDEX parent_code ON parent (code)").ok()
    wire.query("CREATE TABLE child (id uuid PRIMARY KEY, code text REFERENCES parent (code), next uuid REFERENCES child (id))").ok()
    for table in ("top", "parent", "child"):
        wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    assert read_for(wire, "ALTER TABLE child ADD COLUMN more text")[0] == ["child", "parent"]
    assert read_for(wire, "ALTER TABLE parent ADD COLUMN more text")[0] == ["parent", "top"]
    assert read_for(wire, "ALTER TABLE top ADD COLUMN more text")[0] == ["top"]
    wire.query("CREATE INDEX parent_top ON parent (top)").ok()
    assert read_for(wire, "DROP INDEX parent_top")[0] == ["child", "parent", "top"]
    for table in ("top", "parent", "child"):
        wire.query(f"ALTER TABLE {table} ADD COLUMN more text").ok()
    wire.query("CREATE TABLE late (id uuid PRIMARY KEY, code text REFERENCES parent (code)); ALTER TABLE late ENABLE ELECTRIC").ok()
    assert wire.query("ALTER TABLE parent DISABLE ELECTRIC").error["C"] == "UB006"
    ledger.consistent()
    assert in_step(ledger)


def test_a_key_that_sqlite_does_not_take_for_one(wire, ledger):
    """The referenced table is one that does not change: SQLite wants a unique index that it can follow, and says so of this one."""
    wire.query("CREATE TABLE parent (id uuid PRIMARY KEY, code text COLLATE \"C\")").ok()
    wire.query("ALTER TABLE parent ENABLE ELECTRIC").ok()
    wire.query("CREATE UNIQUE INDEX parent_code ON parent (code)").ok()
    wire.query("CREATE TABLE child (id uuid PRIMARY KEY, code text COLLATE \"C\" REFERENCES parent (code))").ok()
    # For this test clients lose the index without anybody noticing: the table's remembered definition lacks it.
    ledger.execute("UPDATE busbar.electrified SET definition = jsonb_set(definition, '{indexes}', '[]'), index_names = '{}'"
                   " WHERE table_name = 'parent'")
    refused = wire.query("ALTER TABLE child ENABLE ELECTRIC").error
    assert refused["C"] == "UB004" and 'foreign key mismatch - "child" referencing "parent"' in refused["D"], refused


def test_changes_of_one_transaction_add_up(wire, ledger):
    """The proof begins with what was there before the transaction, whatever of it was undone."""
    wire.query("BEGIN; ALTER TABLE items ADD COLUMN a text; SAVEPOINT s; ALTER TABLE items ADD COLUMN b text; "
               "CREATE INDEX items_b ON items (b); ROLLBACK TO s; ALTER TABLE items ADD COLUMN c text; "
               "CREATE INDEX items_c ON items (a, c); COMMIT").ok()
    wire.query("BEGIN; SAVEPOINT s; ALTER TABLE items DISABLE ELECTRIC; ROLLBACK TO s; ALTER TABLE items ADD COLUMN d text; COMMIT").ok()
    wire.query("BEGIN; ALTER TABLE items DISABLE ELECTRIC; ALTER TABLE items DROP COLUMN c; ALTER TABLE items ENABLE ELECTRIC; "
               "ALTER TABLE items ADD COLUMN e text; COMMIT").ok()
    wire.query("BEGIN; ALTER TABLE items DISABLE ELECTRIC; DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY); "
               "ALTER TABLE items ENABLE ELECTRIC; COMMIT").ok()
    ledger.consistent()
    assert in_step(ledger)


def test_an_enum_of_another_table(wire, ledger):
    """An index may use a type that only another table has: clients know it, so the index is not left out for them."""
    wire.query("CREATE TYPE mood AS ENUM ('a', 'b')").ok()
    wire.query("CREATE TABLE moods (id uuid PRIMARY KEY, mood mood); ALTER TABLE moods ENABLE ELECTRIC").ok()
    answer = wire.query("CREATE INDEX of_mood ON items ((CASE WHEN name = 'x' THEN 'a'::mood ELSE 'b'::mood END))").ok()
    assert not [n for n in answer.notices if "left out" in n["M"]]
    # It is among the names that are taken.
    assert "index OF_MOOD already exists" in wire.query("CREATE INDEX \"OF_MOOD\" ON far (name)").error["D"]


COLUMN = ('[{"op": "add_column", "schema": "public", "table": "items", "sql": "ALTER TABLE items ADD COLUMN hand text", "column":'
          ' {"num": 9, "name": "hand", "type": "text", "type_name": "text", "type_schema": "pg_catalog", "typmod": -1, "not_null": false,'
          ' "enum": false}}]')


def test_a_history_written_by_hand_is_read_whole(wire, busbar, ledger):
    """From the moment on in which a hand was in it, until it is found to come to the electrified tables again."""
    change = "ALTER TABLE items ADD COLUMN more text"
    assert read_for(wire, change)[1] == 1
    ledger.execute("UPDATE busbar.command SET ops = ops || %s WHERE query LIKE 'CREATE TABLE items%%'", COLUMN)
    assert not in_step(ledger) and read_for(wire, change)[1] == 2
    assert "is created twice" in wire.query("ALTER TABLE items ADD COLUMN hand text").error["D"]
    wire.query(change).ok()
    ledger.execute("SELECT busbar.mark_unusable((SELECT max(seq) FROM busbar.migration), '[]')")  # as after a trial
    assert not in_step(ledger), "the history has a column more"
    ledger.execute("UPDATE busbar.command SET ops = ops - 1 WHERE query LIKE 'CREATE TABLE items%'")
    assert busbar.stop() == 0
    busbar.start()
    wait_until(lambda: in_step(ledger), "the history to be found in step")
    with busbar.wire() as later:
        assert read_for(later, "ALTER TABLE items ADD COLUMN hand text")[1] == 1
        later.query("ALTER TABLE items ADD COLUMN hand text").ok()
    ledger.consistent()


def test_a_marked_migration_has_the_history_read_whole(wire, ledger):
    """What clients have is then less than what is remembered."""
    change = "ALTER TABLE items ADD COLUMN more text"
    wire.query("CREATE TABLE third (id uuid PRIMARY KEY); ALTER TABLE third ENABLE ELECTRIC").ok()
    ledger.execute("UPDATE busbar.migration SET unusable = 'for this test' WHERE seq = 1")
    assert read_for(wire, change)[0] == ["items", "third"]
    ledger.execute("UPDATE busbar.migration SET unusable = NULL")
    assert read_for(wire, change)[0] == ["items"]
