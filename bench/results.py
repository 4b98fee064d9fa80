# SPDX-License-Identifier: Apache-2.0
"""What was measured: rows of a part, kept as CSV, one row for each way in each round.

Ratios are taken inside a round, between runs that are seconds apart, and their median over the rounds counts: what else
the machine does changes from minute to minute.
"""

import csv
import json
import os
import shutil
import statistics


def turned(ways, turn):
    """The order of the ways in a round: turned by one place each time."""
    at = turn % len(ways)
    return ways[at:] + ways[:at]


def _number(text):
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


class Table:
    """The rows of one part."""

    def __init__(self, rows):
        self.rows = rows

    def where(self, **fields):
        return Table([row for row in self.rows if all(row[name] == value for name, value in fields.items())])

    def distinct(self, *names):
        return list(dict.fromkeys(tuple(row[name] for name in names) for row in self.rows))

    def __bool__(self):
        return bool(self.rows)

    def median(self, field, **fields):
        values = [row[field] for row in self.where(**fields).rows]
        return statistics.median(values) if values else None

    def _pairs(self, field, way, other, fields):
        """The same of two ways, round by round."""
        mine, theirs = ({row["round"]: row[field] for row in self.where(way=name, **fields).rows} for name in (way, other))
        return [(mine[turn], theirs[turn]) for turn in mine if turn in theirs]

    def ratio(self, field, way, other, **fields):
        quotients = [a / b for a, b in self._pairs(field, way, other, fields) if b]
        return statistics.median(quotients) if quotients else None

    def difference(self, field, way, other, **fields):
        pairs = self._pairs(field, way, other, fields)
        return statistics.median(a - b for a, b in pairs) if pairs else None


class Results:
    """A folder of CSV files, and about.json: what ran where."""

    def __init__(self, folder):
        self.folder = folder
        self.tables = {}
        self.about = {}

    def begin(self, about):
        """Forgets what an earlier run left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.tables = {}
        self.note(**about)

    def note(self, **about):
        self.about.update(about)
        with open(os.path.join(self.folder, "about.json"), "w", encoding="utf-8") as file:
            json.dump(self.about, file, indent=1)

    def load(self):
        with open(os.path.join(self.folder, "about.json"), encoding="utf-8") as file:
            self.about = json.load(file)
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".csv"):
                with open(os.path.join(self.folder, name), encoding="utf-8", newline="") as file:
                    rows = [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]
                self.tables[name[:-4]] = rows
        return self

    def forget(self, part):
        self.tables.pop(part, None)
        path = os.path.join(self.folder, part + ".csv")
        if os.path.exists(path):
            os.remove(path)

    def add(self, part, /, **row):
        rows = self.tables.setdefault(part, [])
        with open(os.path.join(self.folder, part + ".csv"), "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row)
            if not rows:
                writer.writeheader()
            writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()})
        rows.append(row)

    def table(self, part):
        return Table(self.tables.get(part, []))
