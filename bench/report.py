# SPDX-License-Identifier: Apache-2.0
"""The proxy's half of docs/benchmarks.md, from the results of a run."""

import statistics

import document
from document import NOTHING, grid, show, target

PEERS = ("PgBouncer", "HAProxy")

HEAD = """\
## The proxy

{machine}; {versions}. Client, proxy and server share the cores; all on the loopback, fsync on. {rounds} interleaved round{rs},
pgbench runs of {seconds} s after {warm} s of warm-up, on tables of scale {scale}; PgBouncer in session mode, HAProxy in tcp mode with
{haproxy_threads} thread{s}, Busbar {settings}. Clients log in with SCRAM-SHA-256 every way, and every run has new backends.

Ratios are taken inside a round, between runs that are seconds apart, and the median over the rounds is given; the order of
the ways is turned by one place each round. Trust ratios and CPU seconds, not absolute rates. CPU is that of all threads of the
proxy's process, kernel time included, its logins taken off.
"""


class Report:
    def __init__(self, results):
        self.results = results
        self.about = results.about
        self.busbars = list(self.about["busbar"])
        self.ours = self.busbars[0]
        self.proxies = [*self.busbars, *PEERS]

    def table(self, part):
        return self.results.table(part)

    # --- targets ---

    def peers(self, part, field, digits=2, over=statistics.median, **fields):
        """What the peers have there: the median over the cells unless said otherwise."""
        table = self.table(part).where(**fields)
        texts = []
        for peer in PEERS:
            cells = [row[field] for row in table.where(way=peer).rows]
            if cells:
                texts.append(f"{peer} {show(over(cells), digits)}")
        return ", ".join(texts) or NOTHING

    def cells(self, part, *names, **fields):
        table = self.table(part).where(**fields)
        return [dict(zip(names, values)) for values in table.distinct(*names)]

    def throughput_targets(self):
        table = self.table("pgbench")
        cells = self.cells("pgbench", "workload", "mode", "clients")
        to_peer = [table.ratio("tps", self.ours, "PgBouncer", **cell) for cell in cells]
        if not to_peer:
            return []
        peer = [table.ratio("tps", "PgBouncer", "direct", **cell) for cell in cells]
        own = [table.ratio("tps", self.ours, "direct", **cell) for cell in cells]
        note = f"PgBouncer {show(statistics.median(peer))} of direct, ours {show(statistics.median(own))}"
        return [*target("pgbench: tps, to PgBouncer's (median of all cells)", statistics.median(to_peer), note, 1.0, 1.05,
                        least=True),
                *target("pgbench: tps, to PgBouncer's (worst cell)", min(to_peer), NOTHING, 1.0, 1.05, least=True)]

    def cpu_targets(self):
        rows = [row for row in self.table("pgbench").where(workload="S").rows if row["clients"] >= 8]
        wide = type(self.table("pgbench"))(rows)
        worst = []
        for way in (self.ours, *PEERS):
            cells = [wide.median("cpu", way=way, mode=mode, clients=clients)
                     for mode, clients in wide.distinct("mode", "clients")]
            worst.append(max(cells, default=None))
        if worst[0] is None:
            return []
        note = ", ".join(f"{peer} {show(value)}" for peer, value in zip(PEERS, worst[1:]))
        return target("CPU for 100k `-S`, 8 clients and more (worst cell)", worst[0], note, 2.0, 1.7, unit=" s")

    def latency_targets(self):
        table = self.table("pgbench").where(workload="S", clients=1)
        modes = [mode for (mode,) in table.distinct("mode")]
        if not modes:
            return []
        added = {way: max(table.difference("p50", way, "direct", mode=mode) for mode in modes) for way in (self.ours, *PEERS)}
        note = ", ".join(f"{peer} {show(added[peer], 0)}" for peer in PEERS)
        return target("p50 over direct, one client, `-S` (worst mode)", added[self.ours], note, 25, 25, digits=0,
                      unit=" µs")

    def connect_targets(self):
        table = self.table("connect")
        cells = [clients for (clients,) in table.distinct("clients")]
        if not cells:
            return []
        ratios = {way: statistics.median(table.ratio("tps", way, "direct", clients=n) for n in cells)
                  for way in (self.ours, *PEERS)}
        note = ", ".join(f"{peer} {show(ratios[peer])}" for peer in PEERS)
        return target("a connection each transaction: tps, to direct", ratios[self.ours], note, 0.95, 0.95, least=True)

    def copy_targets(self):
        table = self.table("copy")
        found = []
        for operation, limit, aim in (("out-wide", 0.85, 0.9), ("in-wide", 0.9, 0.95)):
            ratio = table.ratio("rate", self.ours, "HAProxy", operation=operation)
            direct = {way: show(table.ratio("rate", way, "direct", operation=operation)) for way in (self.ours, *PEERS)}
            note = "of direct: " + ", ".join(f"{'ours' if way == self.ours else way} {value}" for way, value in direct.items())
            words = "out" if operation.startswith("out") else "in"
            found += target(f"COPY of wide rows {words}: rate, to HAProxy's", ratio, note, 1.0, 1.0, least=True)
            found += target(f"COPY of wide rows {words}: rate, to direct",
                            table.ratio("rate", self.ours, "direct", operation=operation), NOTHING, limit,
                            aim, least=True)
        return found

    def cost_targets(self):
        loop, start, share = self.table("loop"), self.table("start"), self.table("share")
        found = target("an idle connection", self.table("idle").median("kb", way=self.ours),
                       self.peers("idle", "kb", 1), 4, 1, digits=1, unit=" kB")
        looked = share.where(tool="perf", part="src/sql") or share.where(tool="callgrind", part="src/sql")
        if looked:
            found += target("looking at statements, of the proxy's CPU (worst mode)",
                            max(row["percent"] for row in looked.rows), NOTHING, 1, 1, unit=" %")
        for case in dict.fromkeys(row["case"] for row in loop.rows if row["case"].startswith("1 MB")):
            found += target(f"{case}: longest call", loop.median("longest", way=self.ours, case=case), NOTHING, 50, 50,
                            digits=1, unit=" µs")
        found += target("start to ready", start.median("ms", way=self.ours), self.peers("start", "ms", 0), 300, 300,
                        digits=0, unit=" ms")
        found += target("memory when ready", start.median("mb", way=self.ours), self.peers("start", "mb", 1), 15, 15,
                        digits=1, unit=" MB")
        return found

    def targets(self):
        rows = [*self.throughput_targets(), *self.cpu_targets(), *self.latency_targets(), *self.connect_targets(),
                *self.copy_targets(), *self.cost_targets()]
        return document.targets(rows)

    # --- what was measured ---

    def throughput(self):
        table = self.table("pgbench")
        header = ["pgbench", "direct tps", *(f"{way}, of direct" for way in self.proxies),
                  *(f"{way}, of PgBouncer" for way in self.busbars), *(f"CPU s/100k {way}" for way in self.proxies)]
        rows = []
        for workload, mode, clients in table.distinct("workload", "mode", "clients"):
            cell = {"workload": workload, "mode": mode, "clients": clients}
            rows.append([f"`-{workload}` {mode}, {clients}", show(table.median("tps", way="direct", **cell), 0),
                         *(show(table.ratio("tps", way, "direct", **cell)) for way in self.proxies),
                         *(show(table.ratio("tps", way, "PgBouncer", **cell)) for way in self.busbars),
                         *(show(table.median("cpu", way=way, **cell)) for way in self.proxies)])
        return "### pgbench: throughput and CPU\n\n" + grid(header, rows) if rows else ""

    def latency(self):
        table = self.table("pgbench")
        ways = ["direct", *self.proxies]
        header = ["µs: p50 / p99", *ways, *(f"p50 {way} − direct" for way in self.busbars)]
        rows = []
        for workload, mode, clients in table.distinct("workload", "mode", "clients"):
            cell = {"workload": workload, "mode": mode, "clients": clients}
            rows.append([f"`-{workload}` {mode}, {clients}",
                         *(f"{show(table.median('p50', way=way, **cell), 0)} / {show(table.median('p99', way=way, **cell), 0)}"
                           for way in ways),
                         *(show(table.difference("p50", way, "direct", **cell), 0) for way in self.busbars)])
        return "### pgbench: latency of a transaction\n\n" + grid(header, rows) if rows else ""

    def connections(self):
        table = self.table("connect")
        rows = []
        for clients, way in sorted(table.distinct("clients", "way"), key=lambda cell: cell[0]):
            cell = {"clients": clients}
            cpu = NOTHING if way.startswith("direct") else show(table.median("cpu", way=way, **cell))
            rows.append([f"{clients}, {way}", show(table.median("tps", way=way, **cell), 0),
                         show(table.ratio("tps", way, "direct", **cell)), show(table.median("p50", way=way, **cell), 0),
                         show(table.median("p99", way=way, **cell), 0), cpu])
        text = ("### A connection for each transaction\n\n`pgbench -S -C`. PgBouncer keeps server connections and starts no"
                " backend; `direct, trust` is without a password.\n\n")
        return text + grid(["clients, way", "tps", "of direct", "p50 µs", "p99 µs", "CPU ms each"], rows) if rows else ""

    def copies(self):
        table = self.table("copy")
        rows = [[f"{operation}, {way}", show(table.median("rate", operation=operation, way=way), 0),
                 show(table.ratio("rate", way, "direct", operation=operation)),
                 show(table.ratio("rate", way, "HAProxy", operation=operation)),
                 NOTHING if way == "direct" else show(table.median("cpu", operation=operation, way=way))]
                for (operation,) in table.distinct("operation") for way in ("direct", *self.proxies)]
        text = (f"### COPY\n\nBy psql. Wide rows are about 1 kB ({self.about['copy_mb']} MB of them), narrow ones those of"
                " `pgbench_accounts` (97 bytes).\n\n")
        return text + grid(["operation, way", "MB/s", "of direct", "of HAProxy", "CPU s/GB"], rows) if rows else ""

    def idle(self):
        table = self.table("idle")
        rows = [[way, show(table.median("kb", way=way), 1), show(table.median("full_mb", way=way), 1),
                 show(table.median("rate", way=way), 0), show(table.median("cpu", way=way), 2)]
                for way in self.proxies if table.where(way=way)]
        text = f"### {self.about['idle']} idle connections\n\nAfter one `SELECT 1` on each, 64 logins at a time.\n\n"
        header = ["way", "kB each", "MB in all", "logins and queries/s", "CPU ms each"]
        return text + grid(header, rows) if rows else ""

    def loop(self):
        table = self.table("loop")
        rows = [[case, *(cell for way in self.busbars for cell in (
            show(table.median("longest", way=way, case=case), 3), show(table.median("total", way=way, case=case), 3)))]
            for (case,) in table.distinct("case")]
        header = ["µs", *(f"{way} {what}" for way in self.busbars for what in ("longest call", "all calls"))]
        text = ("### Time the loop is held\n\nInside the session, without sockets (`bench/session_cost`): of a short statement"
                " the whole round trip, of a long one each read of 64 kB.\n\n")
        return text + grid(header, rows) if rows else ""

    def start(self):
        table = self.table("start")
        rows = [[way, show(table.median("ms", way=way), 0), show(table.median("mb", way=way), 1)]
                for way in self.proxies if table.where(way=way)]
        text = ("### Start\n\nFrom the start of the process until a client is asked for its password; the database is"
                " prepared.\n\n")
        return text + grid(["way", "ms", "MB resident"], rows) if rows else ""

    # --- the profile ---

    def profile(self):
        if not self.results.tables.get("share"):
            return ""
        return "### Profile\n\n" + self.shares() + self.top("perf") + self.top("callgrind") + self.calls()

    def shares(self):
        table = self.table("share")
        modes = [mode for (mode,) in table.distinct("mode")]
        rows = []
        for tool, part in table.distinct("tool", "part"):
            what = f"{part}, {'CPU samples (perf)' if tool == 'perf' else 'instructions in user mode (callgrind)'}"
            rows.append([what, *(show(table.median("percent", tool=tool, part=part, mode=mode)) for mode in modes)])
        return ("Busbar with one worker, `pgbench -S`, 8 clients; shares in %, by the folder of the source that an instruction"
                " came from.\n\n" + grid(["part", *modes], rows) + "\n")

    def top(self, tool, most=20):
        table = self.table("functions").where(tool=tool)
        modes = [mode for (mode,) in table.distinct("mode")]
        if not modes:
            return ""
        cost = {function: [table.median("cost", function=function[0], part=function[1], mode=mode) or 0 for mode in modes]
                for function in table.distinct("function", "part")}
        order = sorted(cost, key=lambda function: -sum(cost[function]))[:most]
        digits, what = (1, "CPU samples, %") if tool == "perf" else (0, "Instructions in user mode, a transaction")
        rows = [[f"`{name}`", part, *(show(value, digits) for value in cost[name, part])] for name, part in order]
        if tool == "callgrind":
            rows.insert(0, ["all", "", *(show(sum(c[i] for c in cost.values()), 0) for i in range(len(modes)))])
        header = [f"{what}: function", "part", *modes]
        return grid(header, rows).replace("| --- | ---: |", "| --- | --- |", 1) + "\n"

    def calls(self):
        table = self.table("calls")
        modes = [mode for (mode,) in table.distinct("mode")]
        rows = [[f"`{call}`", *(show(table.median("count", call=call, mode=mode) or 0, 3) for mode in modes)]
                for (call,) in table.distinct("call")]
        text = ("System calls a transaction (strace); the floor is one `recv` and one `send` each way, and `epoll_wait` for a"
                " batch.\n\n")
        return text + grid(["call", *modes], rows) if rows else ""

    def text(self):
        settings = [f"{name} ({', '.join(f'{k}={v}' for k, v in env.items())})" if env else name
                    for name, env in self.about["busbar"].items()]
        threads = self.about["haproxy_threads"]
        head = HEAD.format(**{**self.about, "versions": ", ".join(self.about["versions"]), "s": "" if threads == 1 else "s",
                              "rs": "" if self.about["rounds"] == 1 else "s",
                              "settings": "with its defaults" if settings == ["busbar"] else "as " + ", ".join(settings)})
        parts = [head, self.targets(), self.throughput(), self.latency(), self.connections(), self.copies(), self.idle(),
                 self.loop(), self.start(), self.profile()]
        return "\n".join(part for part in parts if part)


def write(results, output):
    """output: a document, or - for standard output."""
    document.write(output, "proxy", Report(results).text())
