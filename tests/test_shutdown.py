# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: clients are told, nothing half done is kept, the program ends with status 0."""

import pytest

from harness import protocol as p
from harness.wait import wait_until
from harness.wire import Closed


def test_clients_are_told(busbar):
    """As PostgreSQL does: FATAL 57P01, then the end."""
    with busbar.wire() as wire:
        assert wire.value("SELECT 1") == "1"
        busbar.stop()
        message = wire.read()
        assert message.kind == "E" and message.fields["S"] == "FATAL" and message.fields["C"] == "57P01"
        with pytest.raises((Closed, ConnectionError)):
            wire.read()


def test_an_open_migration_is_undone(busbar, ledger):
    """What was not committed is gone, and no backend stays behind."""
    with busbar.wire() as wire:
        wire.query("CREATE TABLE items (id text PRIMARY KEY)").ok()
        wire.query("ALTER TABLE items ENABLE ELECTRIC").ok()
        wire.query("BEGIN").ok()
        wire.query("ALTER TABLE items ADD COLUMN value text").ok()
        pid = int(wire.value("SELECT pg_backend_pid()"))
        busbar.stop()
    wait_until(lambda: not ledger.column("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid), "the backend to end")
    assert ledger.column("SELECT column_name FROM information_schema.columns WHERE table_name = 'items'") == ["id"]


def test_a_client_in_the_middle_of_rows_is_not_confused(busbar):
    """No error may be written into the middle of a message that is on its way."""
    with busbar.wire() as wire:
        wire.send(p.query("SELECT repeat('x', 50000000)"))
        wire.read_until("T")
        busbar.stop()
        kinds = ""
        try:
            while True:
                kinds += wire.read().kind
        except (Closed, ConnectionError):
            pass
        assert kinds.rstrip("E") in ("", "D", "DC", "DCZ")
