# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the proxy that need the sync service to be seen: spec/scenarios-proxy.md 68 and 118."""

import pytest

from harness.wait import wait_until
from harness.web import get

VERSION = "20230504114018"
PUBLISHED = "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = 'electric_publication' ORDER BY 1"


def test_68_connected_clients_receive_the_migration(busbar, satellite, ledger):
    """In their own SQL, under its version; and never a word of anything that the service keeps for itself."""
    clients = [satellite(busbar).start(dialect=dialect) for dialect in (0, 1)]
    with busbar.wire() as wire:
        wire.query(f"BEGIN; CALL electric.migration_version('{VERSION}'); CREATE TABLE aside (id int8 PRIMARY KEY)").ok()
        wire.query("CREATE TABLE mtable1 (id uuid PRIMARY KEY, number int8)").ok()
        wire.query("ALTER TABLE mtable1 ENABLE ELECTRIC").ok()
        assert wire.query("COMMIT").ok().tags == ["COMMIT"]
        wire.query("CREATE INDEX mtable1_number ON mtable1 (number)").ok()
    for client, begin in zip(clients, ('CREATE TABLE "mtable1"', "CREATE TABLE mtable1")):
        first, second = client.wait_transactions(2)
        assert first.is_migration and [op.version for op in first.migrations] == [VERSION]
        made, indexed = [[s.sql for op in t.migrations for s in op.stmts] for t in (first, second)]
        assert len(made) == len(indexed) == 1 and made[0].startswith(begin) and "mtable1_number" in indexed[0], (made, indexed)
        assert list(client.schemas) == ["mtable1"]
        said = repr([op for t in client.transactions for op in t.migrations])
        assert not any(word in said for word in ("shadow", "tombstone", "busbar", "electric", "aside"))


def test_68_the_published_client(busbar, electric_client, sql):
    """It applies the migration while it is connected: the table is there, and can be subscribed to."""
    device = electric_client(busbar).start([])
    with busbar.wire() as wire:
        wire.query(f"BEGIN; CALL electric.migration_version('{VERSION}'); CREATE TABLE mtable1 (id uuid PRIMARY KEY, number int8)").ok()
        wire.query("ALTER TABLE mtable1 ENABLE ELECTRIC; COMMIT").ok()
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_electric%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'"
    wait_until(lambda: device.query(query) == [{"name": "mtable1"}], "the table to be made")
    assert device.query("SELECT version FROM _electric_migrations ORDER BY id DESC LIMIT 1") == [{"version": VERSION}]


@pytest.mark.parametrize("damage", ["DROP PUBLICATION electric_publication",
                                    "ALTER PUBLICATION electric_publication DROP TABLE two, busbar.migration"])
def test_118_publication_dropped_while_stopped(busbar, satellite, sql, damage):
    """It is whole again after the start: the electrified tables and the history of migrations. What changed meanwhile was in no stream:
    a client gets all of it anew; migrations and changes arrive as before."""
    with busbar.wire() as wire:
        for table in ("one", "two", "three"):
            wire.query(f"CREATE TABLE {table} (id int8 PRIMARY KEY, note text); ALTER TABLE {table} ENABLE ELECTRIC").ok()
        wire.query("CREATE TABLE not_electrified (id int8 PRIMARY KEY)").ok()
    expected = [("busbar.command",), ("busbar.migration",), ("public.one",), ("public.three",), ("public.two",)]
    assert sql.execute(PUBLISHED).fetchall() == expected
    client = satellite(busbar).start()
    for table in ("one", "two", "three"):
        sql.execute(f"INSERT INTO {table} VALUES (1, 'before')")
        client.sync(table)
    client.close()
    busbar.stop()
    sql.execute("SET busbar.maintenance = 'on'")
    sql.execute(damage)
    for table in ("one", "two", "three"):
        sql.execute(f"UPDATE {table} SET note = 'unseen'; INSERT INTO {table} VALUES (2, 'unseen')")
    busbar.start()
    assert sql.execute(PUBLISHED).fetchall() == expected
    assert get(busbar.http_port, "/api/health").json["replication"]

    def synced():
        """The log begins anew when its reader comes to where the publication was mended: who connects before that is sent away once."""
        device = satellite(busbar, client_id=client.client_id).start()
        device.sync("one"), device.sync("two"), device.sync("three")
        return device

    again = wait_until(synced, "a client to be synced")
    for table in ("one", "two", "three"):
        sql.execute(f"INSERT INTO {table} VALUES (3, 'after')")
        again.wait_same(sql, table)
        assert again.rows(table) == [("1", "unseen"), ("2", "unseen"), ("3", "after")]
    seen = len(again.transactions)
    with busbar.wire() as wire:
        wire.query("ALTER TABLE two ADD COLUMN more int4").ok()
    again.wait_transactions(seen + 1)
    assert again.transactions[-1].is_migration and not again.surprises
