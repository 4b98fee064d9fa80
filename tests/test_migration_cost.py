# SPDX-License-Identifier: Apache-2.0
"""What a migration costs, by how many were before it and how many tables there are. Printed, not judged: the machine is shared.

    BUSBAR_COST_MIGRATIONS=1000 BUSBAR_COST_TABLES=500 BUSBAR=build-release/busbar python3 -m pytest -s tests/test_migration_cost.py

The same DDL goes through Busbar, to an electrified table, and straight to PostgreSQL in a database of its own, by turns.
"""

import os
import statistics
import time

from harness.busbar import Endpoint
from harness.web import migrations

MIGRATIONS = int(os.environ.get("BUSBAR_COST_MIGRATIONS", "60"))
TABLES = int(os.environ.get("BUSBAR_COST_TABLES", "20"))
WINDOW = 10  # neighbours whose median is given


def timed(wire, sql):
    began = time.monotonic()
    wire.query(sql).ok()
    return 1000 * (time.monotonic() - began)


def test_cost_of_migrations(busbar, cluster, ledger):
    """Additive changes of all tables in turn, each a migration; all of them are in the history."""
    create = [f"CREATE TABLE t{n} (id uuid PRIMARY KEY, name text)" for n in range(TABLES)]
    twin = cluster.create_database()
    direct = Endpoint(cluster.host, cluster.port, twin)
    through, straight = [], []
    print(f"\n{TABLES} tables, median of {WINDOW} migrations, ms: through Busbar, straight to PostgreSQL, difference")
    with busbar.wire() as wire, direct.wire() as beside:
        for n, sql in enumerate(create):
            wire.query(f"{sql}; ALTER TABLE t{n} ENABLE ELECTRIC").ok()
        beside.query("; ".join(create)).ok()
        for i in range(1, MIGRATIONS + 1):
            change = f"ALTER TABLE t{i % TABLES} ADD COLUMN c{i} text" if i % 3 else f"CREATE INDEX i{i} ON t{i % TABLES} (name)"
            straight.append(timed(beside, change))
            through.append(timed(wire, change))
            if i in (WINDOW, MIGRATIONS // 10, MIGRATIONS // 2, MIGRATIONS):
                ours, theirs = (statistics.median(times[-WINDOW:]) for times in (through, straight))
                print(f"  migration {i:5}: {ours:7.1f} {theirs:7.1f} {ours - theirs:7.1f}", flush=True)
    cluster.drop_database(twin)
    assert len(ledger.versions) == len(migrations(busbar.http_port)) == TABLES + MIGRATIONS
