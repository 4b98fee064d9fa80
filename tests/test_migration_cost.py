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


def processor_ms(pid):
    """What all threads of a process have used of processors, and how long they waited for one."""
    tasks = [open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii").read().split() for task in os.listdir(f"/proc/{pid}/task")]
    return sum(int(task[0]) for task in tasks) / 1e6, sum(int(task[1]) for task in tasks) / 1e6


class Side:
    """One of the two: times of its migrations, and the processor time of the processes that work for it."""

    def __init__(self, wire, *pids):
        self.wire, self.pids = wire, [*pids, int(wire.query("SELECT pg_backend_pid()").ok().rows[0][0])]
        self.times, self.used, self.undisturbed = [], [], []

    def run(self, sql):
        began, before = time.monotonic(), [processor_ms(pid) for pid in self.pids]
        self.wire.query(sql).ok()
        self.times.append(1000 * (time.monotonic() - began))
        after = [processor_ms(pid) for pid in self.pids]
        self.used.append([a[0] - b[0] for a, b in zip(after, before)])
        self.undisturbed.append(self.times[-1] - (after[-1][1] - before[-1][1]))  # PostgreSQL's session waits the most

    def median(self):
        return statistics.median(self.times[-WINDOW:])

    def median_undisturbed(self):
        return statistics.median(self.undisturbed[-WINDOW:])

    def processor(self):
        return " + ".join(f"{statistics.median(used):.1f}" for used in zip(*self.used[-WINDOW:]))


def test_cost_of_migrations(busbar, cluster, ledger):
    """Additive changes of all tables in turn, each a migration; all of them are in the history."""
    create = [f"CREATE TABLE t{n} (id uuid PRIMARY KEY, name text)" for n in range(TABLES)]
    twin = cluster.create_database()
    direct = Endpoint(cluster.host, cluster.port, twin)
    print(f"\n{TABLES} tables, median of {WINDOW} migrations, ms: through Busbar, straight to PostgreSQL, difference; the difference "
          "without the sessions' waits for a processor; processor time: Busbar + its session of PostgreSQL, the other session")
    with busbar.wire() as wire, direct.wire() as beside:
        for n, sql in enumerate(create):
            wire.query(f"{sql}; ALTER TABLE t{n} ENABLE ELECTRIC").ok()
        beside.query("; ".join(create)).ok()
        through, straight = Side(wire, busbar.process.pid), Side(beside)
        for i in range(1, MIGRATIONS + 1):
            change = f"ALTER TABLE t{i % TABLES} ADD COLUMN c{i} text" if i % 3 else f"CREATE INDEX i{i} ON t{i % TABLES} (name)"
            straight.run(change)
            through.run(change)
            if i in (WINDOW, MIGRATIONS // 10, MIGRATIONS // 2, MIGRATIONS):
                ours, theirs = through.median(), straight.median()
                undisturbed = through.median_undisturbed() - straight.median_undisturbed()
                print(f"  migration {i:5}: {ours:7.1f} {theirs:7.1f} {ours - theirs:7.1f}; {undisturbed:7.1f}; "
                      f"{through.processor()}, {straight.processor()}", flush=True)
    cluster.drop_database(twin)
    assert len(ledger.versions) == len(migrations(busbar.http_port)) == TABLES + MIGRATIONS
