# SPDX-License-Identifier: Apache-2.0
"""How fast the slot is drained after Busbar was away, beside a bare reader of a copy of the slot (bench/slot_reader.c), which
asks for the stream in the same way, looks at positions alone and confirms nothing."""

import subprocess
import time

from children import HOST, AnonymousPeak, cpu_seconds, fail
from document import NOTHING, grid, show, target
from results import turned
from sync_rows import create, emit, insert, insert_many, one_by_one, settle, slot_of, wait_confirmed, wait_received

READER = "bare reader"
OPTIONS = {"drain_rows": (1000000, 50000, "rows of the large transactions that are drained"),
           "drain_transactions": (100000, 5000, "transactions of one row that are drained")}
CHANGE = "SET status = 'moved', quantity = quantity + 1"


def phases(options):
    """Name: transactions, rows, statements. Each begins with what the one before it leaves; the last leaves nothing."""
    rows, n = options.drain_rows, options.drain_transactions
    return {
        "insert, one transaction": (1, rows, (insert_many("drain", rows), )),
        "update, one transaction": (1, rows, (f"UPDATE drain {CHANGE}", )),
        "delete, one transaction": (1, rows, ("DELETE FROM drain", )),
        "insert, one row each": (n, n, one_by_one(insert("drain"), n)),
        "update, one row each": (n, n, one_by_one(f"UPDATE drain {CHANGE} WHERE id = i", n)),
        "delete, one row each": (n, n, one_by_one("DELETE FROM drain WHERE id = i", n)),
    }


def setup(bench, way):
    create(bench, way, "drain")


def write(bench, statements):
    """Positions: behind the changes, and of a small transaction after them."""
    bench.stage.sql(*statements)
    end = int(bench.stage.sql("SELECT pg_current_wal_insert_lsn() - '0/0'"))
    last = emit(bench)
    bench.stage.sql("SELECT pg_switch_wal()")
    return end, last


def read_copy(bench, end):
    info = f"host={HOST} port={bench.stage.port} user=upstream dbname=bench sslmode=disable"
    done = subprocess.run([bench.program("slot_reader"), info, "bench_copy", "electric_publication", str(end)],
                          capture_output=True, text=True, check=False, env=bench.stage.environment())
    if done.returncode != 0:
        fail(done.stderr)
    seconds, size, _, cpu = map(float, done.stdout.split())
    return {"seconds": seconds, "confirmed": seconds, "cpu": cpu, "peak_mb": 0.0, "mb": size / 1e6}


def drain(bench, name, transactions, last):
    """Counted from the server's start of the connection."""
    way = bench.ways[name]
    try:
        with AnonymousPeak(way) as memory:
            way.start()
            wait_received(way, transactions)
            received = time.time()
            wait_confirmed(bench, last)
        confirmed, cpu = time.time(), cpu_seconds(way.pid)
        began = float(bench.stage.sql("SELECT extract(epoch FROM backend_start) FROM pg_stat_replication"
                                      " WHERE application_name = 'busbar feed'"))
        return {"seconds": received - began, "confirmed": confirmed - began, "cpu": cpu, "peak_mb": memory.kb / 1024,
                "mb": 0.0}
    finally:
        way.stop()


def measure_phase(bench, turn, name, phase):
    transactions, rows, statements = phases(bench.options)[phase]
    with bench.busbar(name):
        settle(bench)
    bench.stage.sql("VACUUM drain", "CHECKPOINT",
                    f"SELECT pg_copy_logical_replication_slot('{slot_of(bench)}', 'bench_copy')")
    end, last = write(bench, statements)
    for way in turned([name, READER], turn):
        found = read_copy(bench, end) if way == READER else drain(bench, name, transactions, last)
        bench.results.add("sync_drain", round=turn, way=way, beside=name, phase=phase, rate=rows / found["seconds"],
                          confirmed=rows / found["confirmed"], cpu=found["cpu"] / rows * 1e6, peak_mb=found["peak_mb"],
                          mb=found["mb"])
    bench.stage.sql("SELECT pg_drop_replication_slot('bench_copy')")


def measure(bench, turn):
    for name in bench.turned(turn):
        for phase in phases(bench.options):
            measure_phase(bench, turn, name, phase)


def worst(table, field, way, least):
    """Of the phases: the ratio to the bare reader, or (least None) the figure itself."""
    found = [table.ratio(field, way, READER, beside=way, phase=phase) if least else table.median(field, way=way, phase=phase)
             for (phase, ) in table.distinct("phase")]
    found = [value for value in found if value is not None]
    return (min(found) if least else max(found)) if found else None


def targets(results, ours):
    table = results.table("sync_drain")
    reader = f"its own CPU: {show(worst(table, 'cpu', READER, False))} s"
    return [*target("slot drain: rows/s, to a bare reader's (worst phase)", worst(table, "rate", ours, True), NOTHING, 0.98,
                    least=True),
            *target("slot drain, until it is on the disk and confirmed (worst phase)", worst(table, "confirmed", ours, True),
                    NOTHING, 0.98, least=True),
            *target("slot drain: CPU for a million rows (worst phase)", worst(table, "cpu", ours, False), reader, 3, unit=" s")]


def section(results, ways):
    table = results.table("sync_drain")
    rows = [[f"{phase}, {way}", show(table.median("rate", way=READER, beside=way, phase=phase), 0),
             show(table.median("mb", way=READER, beside=way, phase=phase), 0),
             show(table.ratio("rate", way, READER, beside=way, phase=phase)),
             show(table.ratio("confirmed", way, READER, beside=way, phase=phase)),
             show(table.median("cpu", way=way, phase=phase)),
             show(table.median("cpu", way=READER, beside=way, phase=phase)),
             show(table.median("peak_mb", way=way, phase=phase), 0)]
            for (phase, ) in table.distinct("phase") for way in ways if table.where(way=way, phase=phase)]
    text = ("### Draining the slot\n\n"
            f"A table of ten columns; Busbar is away while one transaction of {results.about['drain_rows']} rows or"
            f" {results.about['drain_transactions']} of one row are written, then starts. The bare reader reads a copy"
            " of the slot, looks at positions alone and confirms nothing. Handed on is when Busbar has the last"
            " transaction; confirmed, when all is on its disk and the server knows. A large transaction gathers in a"
            " file. Peak memory is what is the process's own, not the file's.\n\n")
    header = ["changes", "reader rows/s", "MB of messages", "handed on, of reader", "confirmed, of reader", "CPU s/1M rows",
              "reader's", "peak MB"]
    return text + grid(header, rows) if rows else ""
