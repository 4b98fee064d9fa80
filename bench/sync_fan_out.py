# SPDX-License-Identifier: Apache-2.0
"""One shape, many subscribers, beside a bare broadcaster of frames of the same size.

Burst: transactions are committed faster than they can be delivered. Single: one at a time. The broadcaster hears of a commit
from a slot of its own, so that both have the same way from the database.
"""

import contextlib

from children import Cpu, fail
from document import NOTHING, grid, show, target

ONE, SIXTEEN = "broadcast, 1 per send", "broadcast, 16 per send"
TOGETHER = {ONE: 1, SIXTEEN: 16}
OPTIONS = {"subscribers": (1000, 1000, "of the one shape"), "burst": (2000, 500, "transactions of a burst"),
           "single": (300, 50, "transactions, one at a time"), "body": (900, 900, "bytes of a row's text")}
SINGLE_FIELDS = ("p50", "p99", "spread_p50", "spread_p99")


def setup(bench, way):
    bench.through(way, "CREATE TABLE fan (id bigint PRIMARY KEY, body text NOT NULL)", "ALTER TABLE fan ENABLE ELECTRIC")
    bench.stage.sql("CREATE TABLE fan_bare (LIKE fan INCLUDING ALL)", "CREATE PUBLICATION fan_bare FOR TABLE fan_bare")
    deliveries, _, size, _ = fan_out(bench, "burst", way, 1, 100)[0]
    bench.results.note(frame=round(size / deliveries))


def fan_out(bench, kind, way, subscribers, messages):
    """What the program prints, and CPU seconds of the server meanwhile. way: a Busbar, or the broadcaster's port."""
    how = ("service", way.http_port) if hasattr(way, "http_port") else ("plain", way.port)
    table = "fan" if how[0] == "service" else "fan_bare"
    database = (bench.stage.upstream(), table, bench.options.body)
    with bench.running("fan_out", kind, *how, subscribers, messages, *database) as clients:
        if clients.stdout.readline() != "ready\n":
            fail("the subscribers did not get ready")
        cpu = Cpu(way)
        clients.stdin.write("\n")
        clients.stdin.flush()
        return [float(word) for word in clients.stdout.readline().split()], cpu.used()


@contextlib.contextmanager
def broadcaster(bench, name, messages):
    with bench.slot() as slot, bench.running("broadcast", bench.options.subscribers, bench.results.about["frame"], messages,
                                             TOGETHER[name], bench.stage.upstream(), slot, "fan_bare") as process:
        process.port = int(process.stdout.readline())
        yield process


def run_once(bench, kind, name, messages):
    if name in TOGETHER:
        with broadcaster(bench, name, messages if kind == "burst" else 1) as process:
            return fan_out(bench, kind, process, bench.options.subscribers, messages)
    bench.stage.sql("DELETE FROM fan")  # or all get those of the run before first
    with bench.busbar(name) as way:
        return fan_out(bench, kind, way, bench.options.subscribers, messages)


def measure(bench, turn):
    for name in bench.turned(turn, ONE, SIXTEEN):
        (deliveries, seconds, size, own), cpu = run_once(bench, "burst", name, bench.options.burst)
        bench.results.add("sync_burst", round=turn, way=name, rate=deliveries / seconds, mb=size / seconds / 1e6,
                          cpu=cpu / deliveries * 1e6, clients_cpu=own / deliveries * 1e6)
    for name in bench.turned(turn, ONE):
        values, cpu = run_once(bench, "single", name, bench.options.single)
        bench.results.add("sync_single", round=turn, way=name, cpu=cpu / bench.options.single * 1e3,
                          **dict(zip(SINGLE_FIELDS, values)))


def targets(results, ours):
    burst, single = results.table("sync_burst"), results.table("sync_single")
    n = results.about["subscribers"]
    beside = ", ".join(f"{name}: {show(burst.median('rate', way=name) / 1e6)}" for name in TOGETHER if burst.where(way=name))
    rate = burst.median("rate", way=ours)
    last = f"{show(single.median('p50', way=ONE), 0)} µs, ours {show(single.median('p50', way=ours), 0)}" if single else NOTHING
    return [*target(f"million deliveries a second to {n} subscribers, changes queued", rate and rate / 1e6, beside, 1.0,
                    least=True),
            *target(f"one change: the last of {n} has it, to the limit's time (p50)", single.ratio("p50", ours, ONE), last, 1.2)]


def section(results, ways):
    about, burst, single = results.about, results.table("sync_burst"), results.table("sync_single")
    rows = [[way, show(burst.median("rate", way=way), 0), *(show(burst.ratio("rate", way, name)) for name in TOGETHER),
             show(burst.median("mb", way=way), 0), show(burst.median("cpu", way=way)), show(burst.median("clients_cpu", way=way))]
            for way in (*ways, *TOGETHER) if burst.where(way=way)]
    text = (f"### Fan-out to {about['subscribers']} subscribers\n\nAll of one shape, in one process, which commits as well;"
            f" frames of {about['frame']} bytes. {about['burst']} transactions as fast as PostgreSQL takes them; clients"
            " acknowledge every twentieth transaction, the broadcaster's nothing.\n\n")
    header = ["burst", "deliveries/s", f"to {ONE}", f"to {SIXTEEN}", "MB/s", "server CPU s/million", "clients CPU s/million"]
    last = [[way, *(show(single.median(field, way=way), 0) for field in SINGLE_FIELDS), show(single.ratio("p50", way, ONE)),
             show(single.median("cpu", way=way))] for way in (*ways, ONE) if single.where(way=way)]
    after = ["single, µs", "last has it, p50", "p99", "first to last, p50", "p99", "p50, to the limit", "server CPU ms each"]
    return text + grid(header, rows) + "\nFrom the acknowledgement of a commit:\n\n" + grid(after, last) if rows else ""
