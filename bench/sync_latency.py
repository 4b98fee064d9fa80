# SPDX-License-Identifier: Apache-2.0
"""From the acknowledgement of a commit until a subscriber has it, beside a bare reader of a slot."""

from document import grid, show, target

LIMIT = "bare reader"
BODY = 100
OPTIONS = {"latency_commits": (2000, 300, "commits, one at a time"), "latency_pause": (2000, 2000, "µs between them")}


def setup(bench, way):
    """The bare reader has a table of its own, so that the service has nothing to do meanwhile."""
    bench.through(way, "CREATE TABLE heard (id bigint PRIMARY KEY, body text NOT NULL)", "ALTER TABLE heard ENABLE ELECTRIC")
    bench.stage.sql("CREATE TABLE heard_bare (LIKE heard INCLUDING ALL)", "ALTER TABLE heard_bare REPLICA IDENTITY FULL",
                    "CREATE PUBLICATION heard_bare FOR TABLE heard_bare")


def run_program(bench, table, *reader):
    options = bench.options
    out = bench.output("sync_latency", bench.stage.upstream(), table, BODY, options.latency_commits, options.latency_pause,
                       *reader)
    p50, p90, p99, longest, commit, *_ = map(float, out.split())
    return {"p50": p50, "p90": p90, "p99": p99, "longest": longest, "commit": commit}


def measure(bench, turn):
    for name in bench.turned(turn, LIMIT):
        if name == LIMIT:
            with bench.slot() as slot:
                row = run_program(bench, "heard_bare", "slot", slot, "heard_bare")
        else:
            with bench.busbar(name) as way:
                row = run_program(bench, "heard", "service", way.http_port)
        bench.results.add("sync_latency", round=turn, way=name, **row)


def targets(results, ours):
    table = results.table("sync_latency")
    return [row for field, limit in (("p50", 150), ("p99", 400))
            for row in target(f"commit acknowledged to subscriber's socket, {field}", table.median(field, way=ours),
                              f"{LIMIT} {show(table.median(field, way=LIMIT), 0)}", limit, digits=0, unit=" µs")]


def section(results, ways):
    table = results.table("sync_latency")
    rows = [[way, *(show(table.median(field, way=way), 0) for field in ("p50", "p90", "p99", "longest", "commit")),
             show(table.difference("p50", way, LIMIT), 0)] for way in (*ways, LIMIT) if table.where(way=way)]
    text = ("### Latency\n\nOne transaction of one row at a time, one subscriber: from the acknowledgement of the commit until"
            " the subscriber's process has the transaction. The bare reader takes it from a slot of its own, nothing"
            " between.\n\n")
    return text + grid(["µs", "p50", "p90", "p99", "longest", "the commit itself, p50", "p50 − limit"], rows) if rows else ""
