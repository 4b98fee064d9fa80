# SPDX-License-Identifier: Apache-2.0
"""What is measured. One function for each part: takes the bench, adds rows to its results."""

import glob
import os
import re
import subprocess
import time

from children import Cpu, fail, resident_kb
from results import turned

COPIES = ("out-wide", "out-narrow", "in-wide", "in-narrow")
NARROW_BYTES_A_ROW = 97  # of pgbench_accounts, about


# --- pgbench ---


def percentiles(prefix):
    """p50 and p99 in µs of the transactions that pgbench logged; removes the log."""
    latencies = []
    for path in glob.glob(prefix + ".*"):
        with open(path, encoding="ascii") as log:
            latencies += [int(line.split()[2]) for line in log]
        os.remove(path)
    latencies.sort()
    if not latencies:
        return 0, 0
    return latencies[(len(latencies) - 1) // 2], latencies[(len(latencies) * 99 - 1) // 100]


def pgbench(bench, way, mode, clients, *arguments):
    """One run: its figures, and CPU seconds of the proxy's process for all of it."""
    prefix = os.path.join(bench.stage.folder, "transactions")
    threads = min(clients, os.cpu_count() or 1)
    sampled = ("-l", f"--log-prefix={prefix}", f"--sampling-rate={1 if clients == 1 else 0.1}")
    cpu = Cpu(way)
    out = bench.stage.run("pgbench", "-n", "-M", mode, "-c", str(clients), "-j", str(threads), *sampled, *arguments, way.url)
    used = cpu.used()
    count = int(re.search(r"actually processed: (\d+)", out).group(1))
    if count == 0 or re.search(r"number of failed transactions: [1-9]", out):
        fail(f"pgbench through {way.name} failed:\n{out}")
    p50, p99 = percentiles(prefix)
    tps = float(re.search(r"^tps = ([0-9.]+)", out, re.M).group(1))
    return {"tps": tps, "p50": p50, "p99": p99, "transactions": count, "cpu": used}


def login_cost(bench, turn):
    """CPU seconds of one login through each way. A run's logins are taken off its transactions' figure."""
    clients = max(bench.options.clients)
    costs = {}
    for way in turned(bench.ways, turn):
        one = pgbench(bench, way, "simple", clients, "-S", "-t", "1")
        costs[way.name] = one["cpu"] / clients
        bench.results.add("login", round=turn, way=way.name, ms=costs[way.name] * 1e3)
    return costs


def pgbench_round(bench, turn):
    options = bench.options
    bench.stage.sql("TRUNCATE pgbench_history", *(f"VACUUM ANALYZE pgbench_{t}" for t in ("accounts", "tellers", "branches")))
    logins = login_cost(bench, turn)
    for workload in options.workloads:
        bench.stage.sql("CHECKPOINT")
        for mode in options.modes:
            for clients in options.clients:
                for way in turned(bench.ways, turn):
                    m = pgbench(bench, way, mode, clients, f"-{workload}", "-T", str(options.seconds))
                    cpu = max(0.0, m["cpu"] - clients * logins[way.name]) / m["transactions"] * 1e5
                    bench.results.add("pgbench", round=turn, way=way.name, workload=workload, mode=mode, clients=clients,
                                      tps=m["tps"], p50=m["p50"], p99=m["p99"], cpu=cpu)


def connect_round(bench, turn):
    """A connection for each transaction. `direct, trust` shows what the password costs."""
    options = bench.options
    ways = [*bench.ways, bench.stage.direct("direct, trust", user="upstream")]
    for clients in options.connect_clients:
        for way in turned(ways, turn):
            m = pgbench(bench, way, "simple", clients, "-S", "-C", "-T", str(options.seconds))
            bench.results.add("connect", round=turn, way=way.name, clients=clients, tps=m["tps"], p50=m["p50"], p99=m["p99"],
                              cpu=m["cpu"] / m["transactions"] * 1e3)


# --- COPY ---


def copy_setup(bench):
    """Tables to copy, and what they look like as files. Wide rows are about 1 kB, narrow ones pgbench's accounts."""
    stage = bench.stage
    wide = bench.options.copy_mb * 1000
    narrow = min(bench.options.copy_mb * 10**6 // NARROW_BYTES_A_ROW, stage.scale * 100000)
    stage.sql(
        "CREATE UNLOGGED TABLE copy_wide AS"
        f" SELECT g AS id, repeat(md5(g::text), 31) AS v FROM generate_series(1, {wide}) g",
        f"CREATE UNLOGGED TABLE copy_narrow AS SELECT * FROM pgbench_accounts LIMIT {narrow}")
    for kind in ("wide", "narrow"):
        stage.sql(f"CREATE UNLOGGED TABLE copy_{kind}_in (LIKE copy_{kind})", f"VACUUM ANALYZE copy_{kind}")
    stage.sql("ALTER TABLE copy_wide_in ALTER v SET STORAGE EXTERNAL")
    for kind in ("wide", "narrow"):
        with open(copy_file(bench, kind), "wb") as file:
            run_copy(bench, bench.ways[0], f"COPY copy_{kind} TO STDOUT", stdout=file)


def copy_file(bench, kind):
    return os.path.join(bench.stage.folder, kind + ".tsv")


def run_copy(bench, way, statement, **files):
    done = subprocess.run([bench.stage.program("psql"), "-Xq", way.url, "-c", statement], stderr=subprocess.PIPE, check=False,
                          env=bench.stage.environment(), **{"stdout": subprocess.DEVNULL, **files})
    if done.returncode != 0:
        fail(f"{statement} through {way.name}: {done.stderr.decode()}")


def copy_once(bench, way, direction, kind):
    if direction == "out":
        run_copy(bench, way, f"COPY copy_{kind} TO STDOUT")
        return
    with open(copy_file(bench, kind), "rb") as file:
        run_copy(bench, way, f"COPY copy_{kind}_in FROM STDIN", stdin=file)


def copy_round(bench, turn):
    if turn == 0:
        copy_setup(bench)
    for operation in COPIES:
        direction, kind = operation.split("-")
        gigabytes = os.path.getsize(copy_file(bench, kind)) / 1e9
        for way in turned(bench.ways, turn):
            if direction == "in":
                bench.stage.sql(f"TRUNCATE copy_{kind}_in")
            cpu = Cpu(way)
            began = time.monotonic()
            copy_once(bench, way, direction, kind)
            seconds = time.monotonic() - began
            bench.results.add("copy", round=turn, way=way.name, operation=operation, rate=gigabytes * 1000 / seconds,
                              cpu=cpu.used() / gigabytes)


# --- idle connections ---


def idle_round(bench, turn):
    """Each proxy afresh: memory once freed by an earlier crowd would hide what this one takes."""
    if turn >= bench.options.idle_rounds:
        return
    for way in turned([way for way in bench.ways if way.child], turn):
        before = bench.stage.backends()
        way.restart()
        empty = resident_kb(way.pid)
        cpu = Cpu(way)
        storm = subprocess.Popen([bench.program("idle_connections"), str(bench.options.idle), "64", way.url],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=bench.stage.environment())
        with storm:
            seconds = storm.stdout.readline()
            if not seconds:
                fail(f"{bench.options.idle} connections through {way.name} failed")
            full = resident_kb(way.pid)
            bench.results.add("idle", round=turn, way=way.name, kb=(full - empty) / bench.options.idle, full_mb=full / 1024,
                              rate=bench.options.idle / float(seconds), cpu=cpu.used() / bench.options.idle * 1e3)
        way.restart()
        bench.stage.wait_quiet(before)


# --- the loop, and the start ---


def loop_round(bench, turn):
    """Time that calls into the session take, by the program that links it: no sockets, no other process."""
    for variant in turned(bench.variants, turn):
        program = os.path.join(os.path.dirname(variant.path), "bench", "session_cost")
        if not os.access(program, os.X_OK):
            fail(f"{program} is not there; make bench builds it")
        done = subprocess.run([program], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            case, calls, longest, total = line.split("\t")
            bench.results.add("loop", round=turn, way=variant.name, case=case, calls=int(calls), longest=float(longest),
                              total=float(total))


def start_round(bench, turn):
    """From the start of the process until it asks a client for its password; the database is prepared."""
    for way in turned([way for way in bench.ways if way.child], turn):
        way.stop()
        began = time.monotonic()
        way.start()
        seconds = time.monotonic() - began
        bench.results.add("start", round=turn, way=way.name, ms=seconds * 1e3, mb=resident_kb(way.pid) / 1024)


PARTS = {"pgbench": pgbench_round, "connect": connect_round, "copy": copy_round, "idle": idle_round, "loop": loop_round,
         "start": start_round}
