# SPDX-License-Identifier: Apache-2.0
"""Memory that clients take which only wait: all with the same subscription, its rows received and nothing sent since."""

from children import Cpu, fail, resident_kb
from document import NOTHING, grid, show, target

TARGET_MB = 10
OPTIONS = {"idle_clients": (1000, 1000, "clients that wait"), "idle_rows": (10, 10, "rows that each of them has")}


def setup(bench, way):
    bench.through(way, "CREATE TABLE idle (id bigint PRIMARY KEY, body text NOT NULL)", "ALTER TABLE idle ENABLE ELECTRIC")
    bench.stage.sql(f"INSERT INTO idle SELECT g, md5(g::text) FROM generate_series(1, {bench.options.idle_rows}) g")


def measure(bench, turn):
    """Each Busbar afresh: memory once freed by an earlier crowd would hide what this one takes."""
    n = bench.options.idle_clients
    for name in bench.turned(turn):
        with bench.busbar(name) as way:
            empty = resident_kb(way.pid)
            cpu = Cpu(way)
            with bench.running("sync_clients", n, way.http_port, "idle") as clients:
                line = clients.stdout.readline().split()
                if not line or int(line[1]) != n * bench.options.idle_rows:
                    fail(f"{n} clients of {name} did not get their rows: {line}")
                full = resident_kb(way.pid)
                bench.results.add("sync_memory", round=turn, way=name, empty_mb=empty / 1024, mb=(full - empty) / 1024,
                                  seconds=float(line[0]), cpu=cpu.used() / n * 1e3)


def targets(results, ours):
    n = results.about["idle_clients"]
    return target(f"memory of {n} idle clients", results.table("sync_memory").median("mb", way=ours), NOTHING,
                  TARGET_MB, digits=1, unit=" MB")


def section(results, ways):
    table = results.table("sync_memory")
    rows = [[way, show(table.median("empty_mb", way=way), 1), show(table.median("mb", way=way), 1),
             show(table.median("mb", way=way) * 1024 / results.about["idle_clients"], 1),
             show(table.median("seconds", way=way)), show(table.median("cpu", way=way))]
            for way in ways if table.where(way=way)]
    text = (f"### {results.about['idle_clients']} idle clients\n\nAll subscribed to the same table, of"
            f" {results.about['idle_rows']} rows; 64 log in at a time.\n\n")
    header = ["way", "MB before", "MB for all", "kB each", "seconds until all have their rows", "CPU ms each"]
    return text + grid(header, rows) if rows else ""
