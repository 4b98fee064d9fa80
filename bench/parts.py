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
WARM_SECONDS = 2  # connections are made and backends fill their caches: 128 of them take more than one


# --- pgbench ---


def figure(pattern, output, default=None):
    found = re.search(pattern, output, re.M)
    return float(found.group(1)) if found else default


def steady_rate(output, count):
    """Transactions a second after the warm-up. The progress that pgbench tells lacks its last second now and then, so
    what the warm-up had is taken off the whole, which began with the connections."""
    seconds = count / figure(r"^tps = ([0-9.]+)", output) + figure(r"^initial connection time = ([0-9.]+) ms", output, 0.0) / 1e3
    told = 0.0
    for line in re.finditer(r"^progress: ([0-9.]+) s, ([0-9.]+) tps", output, re.M):
        now, tps = float(line.group(1)), float(line.group(2))
        count -= tps * (now - told)
        told = now
        if told > WARM_SECONDS - 0.5:
            return count / (seconds - told)
    return fail(f"pgbench told nothing of its progress:\n{output}")


def logged(prefix):
    """When each transaction ended that pgbench logged, and what it took, in µs; removes the log."""
    for path in glob.glob(prefix + ".*"):
        with open(path, encoding="ascii") as log:
            for line in log:
                _, _, latency, _, seconds, microseconds, *_ = line.split()
                yield int(seconds) * 10**6 + int(microseconds), int(latency)
        os.remove(path)


def percentiles(prefix, seconds):
    """p50 and p99 in µs of the transactions of the last so many seconds."""
    transactions = list(logged(prefix))
    since = max((ended for ended, _ in transactions), default=0) - seconds * 10**6
    latencies = sorted(latency for ended, latency in transactions if ended > since)
    if not latencies:
        return 0, 0
    return latencies[(len(latencies) - 1) // 2], latencies[(len(latencies) * 99 - 1) // 100]


def pgbench(bench, way, mode, clients, *arguments):
    """One run: its output, its transactions, and CPU seconds of the proxy's process for all of it."""
    threads = min(clients, os.cpu_count() or 1)
    cpu = Cpu(way)
    out = bench.stage.run("pgbench", "-n", "-M", mode, "-c", str(clients), "-j", str(threads), *arguments, way.url,
                          stderr=subprocess.STDOUT)
    used = cpu.used()
    count = int(figure(r"actually processed: (\d+)", out))
    if count == 0 or re.search(r"number of failed transactions: [1-9]", out):
        fail(f"pgbench through {way.name} failed:\n{out}")
    return {"output": out, "transactions": count, "cpu": used}


def timed(bench, way, mode, clients, *arguments):
    """pgbench() for the options' seconds after the warm-up: rate and latencies too."""
    seconds = bench.options.seconds
    prefix = os.path.join(bench.stage.folder, "transactions")
    m = pgbench(bench, way, mode, clients, "-T", str(WARM_SECONDS + seconds), "-P", "1", "-l", f"--log-prefix={prefix}",
                f"--sampling-rate={1 if clients == 1 else 0.1}", *arguments)
    p50, p99 = percentiles(prefix, seconds)
    return {**m, "tps": steady_rate(m["output"], m["transactions"]), "p50": p50, "p99": p99}


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
                    m = timed(bench, way, mode, clients, f"-{workload}")
                    cpu = max(0.0, m["cpu"] - clients * logins[way.name]) / m["transactions"] * 1e5
                    bench.results.add("pgbench", round=turn, way=way.name, workload=workload, mode=mode, clients=clients,
                                      tps=m["tps"], p50=m["p50"], p99=m["p99"], cpu=cpu)


def connect_round(bench, turn):
    """A connection for each transaction. `direct, trust` shows what the password costs."""
    options = bench.options
    ways = [*bench.ways, bench.stage.direct("direct, trust", user="upstream")]
    for clients in options.connect_clients:
        for way in turned(ways, turn):
            m = timed(bench, way, "simple", clients, "-S", "-C")
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
