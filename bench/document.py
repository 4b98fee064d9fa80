# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md: one half of it for each program that measures, and what their tables are made of."""

import pathlib
import re
import sys

NOTHING = "–"
HALVES = ("proxy", "sync")
TOP = """\
# Benchmarks

<!-- Written by `make bench` (bench/run, bench/profile, bench/sync): do not edit. -->
"""


def show(value, digits=2):
    return NOTHING if value is None else f"{value:.{digits}f}"


def grid(header, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def target(what, ours, peers, limit, aim=None, least=False, digits=2, unit=""):
    """Rows of the table of targets: one, or none if nothing was measured. ours is held to the limit as shown: rounded.
    least: it must be so much at least, else at most."""
    if ours is None:
        return []
    aim = limit if aim is None else aim
    rounded = round(ours, digits)
    met = rounded >= limit if least else rounded <= limit
    there = rounded >= aim if least else rounded <= aim
    bound = f"{'≥' if least else '≤'} {limit}{unit}" + (f" (aim {aim}{unit})" if aim != limit else "")
    verdict = ("aim met" if there and aim != limit else "met") if met else "**not met**"
    return [[what, show(ours, digits) + unit, peers, bound, verdict]]


def targets(rows, peers="Peers"):
    table = grid(["What", "Ours", peers, "Target", ""], rows).replace("---:", "---")
    return "### Targets\n\n" + table if rows else ""


def halves(text):
    """What the document has of each half."""
    parts = re.split(rf"^<!-- ({'|'.join(HALVES)}) -->\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def write(output, half, text):
    """output: a document, whose other half stays, or - for standard output."""
    if output == "-":
        sys.stdout.write(text)
        return
    path = pathlib.Path(output)
    kept = halves(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept[half] = f"\n{text.strip()}\n\n"
    whole = TOP + "".join(f"\n<!-- {name} -->\n{kept[name].rstrip()}\n" for name in HALVES if name in kept)
    path.write_text(whole, encoding="utf-8")
    print(f"bench: {output}", file=sys.stderr)
