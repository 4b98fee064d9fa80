# SPDX-License-Identifier: Apache-2.0
"""Initial data of a large shape, beside COPY of the same columns to a bare reader (bench/copy_reader.c)."""

import subprocess

from children import HOST, Cpu, fail, peak_kb
from document import NOTHING, grid, show, target
from sync_rows import COLUMNS, create, insert_many, settle

COPY = "COPY"
SLOW = 2000  # µs between reads of the slow reader
TABLES = ("tenth", "whole")
OPTIONS = {"initial_rows": (1000000, 50000, "rows of the shape that is loaded")}


def setup(bench, way):
    create(bench, way, *TABLES)
    bench.stage.sql(insert_many("tenth", bench.options.initial_rows // 10), insert_many("whole", bench.options.initial_rows),
                    "VACUUM ANALYZE tenth", "VACUUM ANALYZE whole", "CHECKPOINT")
    settle(bench)


def run(bench, program, *arguments):
    done = subprocess.run([bench.program(program), *map(str, arguments)], capture_output=True, text=True, check=False,
                          env=bench.stage.environment())
    if done.returncode != 0:
        fail(f"{program}: {done.stderr}")
    return [float(word) for word in done.stdout.split()]


def copy(bench, turn):
    info = f"host={HOST} port={bench.stage.port} user=upstream dbname=bench sslmode=disable"
    seconds, size, rows, _ = run(bench, "copy_reader", info, f"COPY (SELECT {COLUMNS} FROM whole) TO STDOUT")
    bench.results.add("sync_initial", round=turn, way=COPY, rate=rows / seconds, mb_rate=size / seconds / 1e6, cpu=0.0,
                      tenth_mb=0.0, whole_mb=0.0, slow_mb=0.0)


def subscribe(bench, way, table, *pause):
    """Seconds, bytes."""
    seconds, size, rows = run(bench, "sync_subscriber", way.http_port, table, *pause)
    expected = bench.options.initial_rows // (10 if table == "tenth" else 1)
    if rows != expected:
        fail(f"{way.name} sent {rows:.0f} of {expected} rows")
    return seconds, size


def load(bench, turn, name):
    """A Busbar afresh, for its peak memory; the slow reader is last, so that it shows what is more than before."""
    with bench.busbar(name) as way:
        subscribe(bench, way, "tenth")
        tenth = peak_kb(way.pid)
        cpu = Cpu(way)
        seconds, size = subscribe(bench, way, "whole")
        rows, used, whole = bench.options.initial_rows, cpu.used(), peak_kb(way.pid)
        subscribe(bench, way, "whole", SLOW)
        bench.results.add("sync_initial", round=turn, way=name, rate=rows / seconds, mb_rate=size / seconds / 1e6,
                          cpu=used / rows * 1e6, tenth_mb=tenth / 1024, whole_mb=whole / 1024, slow_mb=peak_kb(way.pid) / 1024)


def measure(bench, turn):
    for way in bench.turned(turn, COPY):
        if way == COPY:
            copy(bench, turn)
        else:
            load(bench, turn, way)


def targets(results, ours):
    table = results.table("sync_initial")
    whole, tenth = (table.median(field, way=ours) for field in ("whole_mb", "tenth_mb"))
    return [*target(f"initial data of {results.about['initial_rows']} rows: rows/s, to COPY's", table.ratio("rate", ours, COPY),
                    NOTHING, 0.9, least=True),
            *target("initial data: peak memory, to that of a tenth of the rows", whole / tenth if tenth else None, NOTHING, 1.05)]


def section(results, ways):
    table = results.table("sync_initial")
    rows = [[way, show(table.median("rate", way=way), 0), show(table.ratio("rate", way, COPY)),
             show(table.median("mb_rate", way=way), 0),
             *([NOTHING] * 4 if way == COPY else [show(table.median("cpu", way=way)), *(
                 show(table.median(field, way=way), 1) for field in ("tenth_mb", "whole_mb", "slow_mb"))])]
            for way in (*ways, COPY) if table.where(way=way)]
    text = ("### Initial data\n\n"
            f"One client subscribes to a table of {results.about['initial_rows']} rows of ten columns, from its"
            " connect on; COPY of the same columns is read by a bare libpq client. Peak memory of a Busbar afresh:"
            f" after a table of a tenth of the rows, after all of them, and after a client that reads 64 kB every"
            f" {SLOW // 1000} ms.\n\n")
    header = ["way", "rows/s", "of COPY", "MB/s", "CPU s/1M rows", "peak MB, a tenth", "peak MB, all", "peak MB, slow reader"]
    return text + grid(header, rows) if rows else ""
