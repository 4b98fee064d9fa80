# SPDX-License-Identifier: Apache-2.0
"""What changes cost that match nobody's shape: clients with an equality each that none of the rows has, and a table of which
nobody has a shape."""

import contextlib
import statistics

from children import Cpu, fail
from document import NOTHING, grid, show, target
from sync_rows import create, insert_many, one_by_one, settle, transactions, wait_received

CROWDS = (0, 100, 1000)
ROWS = 1000  # that are changed, again and again
TABLES = {"watched": "no row that anybody has", "unwatched": "a table that nobody has"}
OPTIONS = {"unmatched_changes": (100000, 5000, "changes that match no shape")}


def setup(bench, way):
    create(bench, way, *TABLES)
    for table in TABLES:
        bench.stage.sql(insert_many(table, ROWS, org="-1"))
    settle(bench)


def changes(bench, turn, way, clients, table):
    n = bench.options.unmatched_changes
    before, cpu = transactions(way), Cpu(way)
    bench.stage.sql(*one_by_one(f"UPDATE {table} SET quantity = quantity + 1 WHERE id = 1 + i % {ROWS}", n))
    wait_received(way, before + n)
    settle(bench)
    bench.results.add("sync_unmatched", round=turn, way=way.name, clients=clients, table=table, cpu=cpu.used() / n * 1e5)


@contextlib.contextmanager
def subscribed(bench, way, clients):
    if clients == 0:
        yield
        return
    with bench.running("sync_clients", clients, way.http_port, "watched", "this.org_id = {}") as crowd:
        if not crowd.stdout.readline():
            fail(f"{clients} clients of {way.name} did not get ready")
        yield


def measure_crowd(bench, turn, name, clients):
    with bench.busbar(name) as way:
        bench.stage.sql("VACUUM watched", "VACUUM unwatched", "CHECKPOINT")
        with subscribed(bench, way, clients):
            for table in TABLES:
                changes(bench, turn, way, clients, table)


def measure(bench, turn):
    for clients in CROWDS:
        for name in bench.turned(turn):
            measure_crowd(bench, turn, name, clients)


def growth(table, way, which):
    """CPU with the largest crowd to that with the smallest that has anybody, round by round."""
    few, many = ({row["round"]: row["cpu"] for row in table.where(way=way, table=which, clients=n).rows} for n in CROWDS[1:])
    quotients = [many[turn] / few[turn] for turn in many if turn in few]
    return statistics.median(quotients) if quotients else None


def targets(results, ours):
    table = results.table("sync_unmatched")
    found = []
    for which, words in TABLES.items():
        found += target(f"a change of {words}: CPU with {CROWDS[-1]} clients, to that with {CROWDS[1]}",
                        growth(table, ours, which), NOTHING, 1.1)
    return found


def section(results, ways):
    table = results.table("sync_unmatched")
    rows = [[f"{TABLES[which]}, {way}", *(show(table.median("cpu", way=way, table=which, clients=n)) for n in CROWDS),
             show(growth(table, way, which))] for which in TABLES for way in ways if table.where(way=way, table=which)]
    text = ("### Changes that match no shape\n\n"
            f"{results.about['unmatched_changes']} transactions of one update each, while so many clients are"
            " subscribed to `this.org_id = <their own number>` of a table; no row changed has a number of theirs.\n\n")
    header = ["changes of", *(f"CPU s/100k, {n} clients" for n in CROWDS), f"{CROWDS[-1]} to {CROWDS[1]}"]
    return text + grid(header, rows) if rows else ""
