# SPDX-License-Identifier: Apache-2.0
"""Where the proxy's time goes, function by function: by perf (samples of all CPU time, the kernel's included), callgrind
(instructions in user mode: the same on a noisy machine) and strace (system calls).

The last two run twice, the second time with TRANSACTIONS more for each client: the difference is what these cost, without
start and logins.
"""

import collections
import os
import re
import subprocess
import sys

from children import run

CLIENTS = 8
TRANSACTIONS = 1000  # a client
FEW = 10
KERNEL = "kernel"


def part_of(path, program):
    """The folder of the source that code came from, or the library it is in."""
    found = re.search(r"(?:^|/)(src/\w+)/", path or "")
    if found:
        return found.group(1)
    name = os.path.basename(program or "")
    return re.sub(r"[-.]?\d*\.so.*", "", name) or "other"


def run_transactions(stage, way, mode, *length):
    stage.run("pgbench", "-n", "-S", "-M", mode, "-c", str(CLIENTS), "-j", "2", *length, way.url)


def add_functions(results, tool, mode, costs, scale):
    """costs: {(function, part): cost}. Keeps the shares of the parts, and the costs times scale."""
    whole = sum(costs.values())
    shares = collections.Counter()
    for (function, part), cost in sorted(costs.items(), key=lambda item: -item[1]):
        shares[part] += 100 * cost / whole
        results.add("functions", tool=tool, mode=mode, function=function, part=part, cost=cost * scale(whole))
    for part, percent in shares.most_common():
        results.add("share", round=0, tool=tool, mode=mode, part=part, percent=percent)


# --- perf ---


class Sources:
    """Function and file of addresses in a program with debugging information, inlined ones as where they were written."""

    def __init__(self, pid, program):
        self.program = os.path.realpath(program)
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            rows = [line.split() for line in maps if line.rstrip().endswith(self.program)]
        self.base = min(int(row[0].split("-")[0], 16) - int(row[2], 16) for row in rows)

    def look_up(self, addresses):
        """{address: (function, file)}"""
        wanted = sorted(addresses)
        text = "\n".join(hex(address - self.base) for address in wanted)
        done = subprocess.run(["addr2line", "-f", "-e", self.program], input=text, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        return {address: (lines[2 * i], lines[2 * i + 1]) for i, address in enumerate(wanted)}


SAMPLE = re.compile(r"^\s*([0-9a-f]+)\s+(.*?)(?:\+0x[0-9a-f]+)?\s+\((.*)\)$", re.M)


def perf_samples(text, sources):
    """{(function, part): samples} from perf script."""
    found = [(int(address, 16), name, program) for address, name, program in SAMPLE.findall(text)]
    ours = {address for address, _, program in found if program == sources.program}
    places = sources.look_up(ours)
    costs = collections.Counter()
    for address, name, program in found:
        if program.startswith("[kernel"):
            costs[name, KERNEL] += 1
        elif address in places:
            function, path = places[address]
            costs[function, part_of(path, program)] += 1
        else:
            costs[name, part_of(None, program)] += 1
    return costs


def perf(stage, variant, results, seconds, modes):
    way = stage.add(stage.busbar(variant))
    data = os.path.join(stage.folder, "perf.data")
    sources = Sources(way.pid, variant.path)
    for mode in modes:
        record = subprocess.Popen(["perf", "record", "-q", "-o", data, "-e", "cpu-clock", "-F", "4999", "-p", str(way.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            run_transactions(stage, way, mode, "-T", str(seconds))
        finally:
            record.terminate()
            said = record.communicate()[1].decode()
        text = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym,dso"], capture_output=True, text=True,
                              check=False).stdout
        costs = perf_samples(text, sources)
        if not costs:
            print(f"bench: perf sees nothing here, and is left out: {said.strip()}", file=sys.stderr)
            break
        add_functions(results, "perf", mode, costs, lambda whole: 100 / whole)
    way.stop()


# --- callgrind ---


def callgrind_costs(path):
    """{(function, part): instructions} of one dump ("Callgrind Format Specification": names are given once, then by number)."""
    names = collections.defaultdict(dict)
    now = {"ob": "", "fl": "", "fn": ""}
    costs = collections.Counter()
    skip = False
    with open(path, encoding="utf-8", errors="replace") as dump:
        for line in dump:
            named = re.match(r"(ob|fl|fi|fe|fn|cob|cfi|cfl|cfn)=(?:\((\d+)\))?\s*(.*)", line)
            if named:
                key, number, name = named.groups()
                table = {"ob": "ob", "cob": "ob", "fn": "fn", "cfn": "fn"}.get(key, "fl")
                name = names[table].setdefault(number, name) if number else name
                if not key.startswith("c"):
                    now[table] = name
            elif line.startswith("calls="):
                skip = True  # the next line is what the callee cost
            elif line[:1] in "+-*0123456789" and line.strip():
                if not skip and len(line.split()) > 1:
                    costs[now["fn"].split("'")[0], part_of(now["fl"], now["ob"])] += int(line.split()[1])
                skip = False
    return costs


def callgrind_dump(stage, pid, prefix, action):
    """Calls action() between zero and a dump, and reads it."""
    before = set(os.listdir(stage.folder))
    run("callgrind_control", "-z", str(pid))
    action()
    run("callgrind_control", "-d", str(pid))
    new = sorted(name for name in set(os.listdir(stage.folder)) - before if name.startswith(prefix))
    costs = collections.Counter()
    for name in new:
        costs.update(callgrind_costs(os.path.join(stage.folder, name)))
    return costs


def callgrind(stage, variant, results, modes):
    prefix = "callgrind.out"
    way = stage.busbar(variant)
    stage.ways.append(way)
    way.start("valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={stage.folder}/{prefix}")
    run("callgrind_control", "-i", "on", str(way.pid))
    for mode in modes:
        few, many = (callgrind_dump(stage, way.pid, prefix,
                                    lambda mode=mode, count=count: run_transactions(stage, way, mode, "-t", str(count)))
                     for count in (FEW, FEW + TRANSACTIONS))
        costs = {key: many[key] - few[key] for key in many if many[key] > few[key]}
        add_functions(results, "callgrind", mode, costs, lambda whole: 1 / (CLIENTS * TRANSACTIONS))
    way.stop()


# --- strace ---


def strace_counts(stage, variant, mode, count):
    """{system call: how often}, of a run from start to end."""
    path = os.path.join(stage.folder, "strace.out")
    way = stage.busbar(variant)
    stage.ways.append(way)
    way.start("strace", "-D", "-f", "-qq", "-c", "-U", "calls,name", "-o", path)
    run_transactions(stage, way, mode, "-t", str(count))
    way.stop()
    stage.ways.remove(way)
    stage.postgres.wait_until(lambda: os.path.exists(path) and "total" in open(path, encoding="ascii").read())
    with open(path, encoding="ascii") as file:
        counts = {name: int(calls) for calls, name in re.findall(r"^\s*(\d+)\s+(\w+)$", file.read(), re.M) if name != "total"}
    os.remove(path)
    return counts


def strace(stage, variant, results, modes):
    for mode in modes:
        few, many = (strace_counts(stage, variant, mode, count) for count in (FEW, FEW + TRANSACTIONS))
        for call in sorted(many, key=lambda call: few.get(call, 0) - many[call]):
            each = (many[call] - few.get(call, 0)) / (CLIENTS * TRANSACTIONS)
            if each >= 0.01:  # less is the service's own, between the runs
                results.add("calls", mode=mode, call=call, count=each)
