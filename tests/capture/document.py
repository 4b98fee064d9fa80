# SPDX-License-Identifier: Apache-2.0
"""docs/capture.md out of the rows:  python3 tests/test_capture.py > docs/capture.md"""

from .rows import FIXTURE, SECTIONS

HEAD = """# What becomes of a schema change

Made from the tests (`tests/capture/rows.py`, held to by `tests/test_capture.py`); refresh it with
`python3 tests/test_capture.py > docs/capture.md`.

Each statement runs through the migrations proxy on the tables at the end of this page, of which `parents` and `items` are electrified:
by simple query and by the extended protocol, in a transaction block and outside of one. It is

- **captured**: recorded as a migration, with these operations for clients;
- **allowed**: clients need to know nothing of it;
- **refused**: with an SQLSTATE and a message. The statement behind *instead* is the one that the HINT holds; the tests run it, and it works.
  `[…]` marks the word that the error points at. Codes without a hint are PostgreSQL's own errors.

The same statements straight to PostgreSQL, beside the proxy, are refused (UB002) where they are captured or refused here.
"""


def code(text):
    """Text in backticks that survives a table."""
    text = " ".join(text.split("\n")).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def marked(row):
    """The statement with the word that the error points at in brackets."""
    at = row.verdict.at
    if not at:
        return row.sql
    start = position(row) - 1
    end = start + len(at)
    return f"{row.sql[:start]}[{row.sql[start:end]}]{row.sql[end:]}"


def position(row):
    """Where the error points: the last place of the word, as statements name what they do behind what they do it to; 1-based."""
    at = row.verdict.at
    where = row.sql.find(at) if " " in at or at.isupper() or row.sql.count(at) == 1 else row.sql.index(at, len("ALTER TABLE items"))
    assert where >= 0, row
    return where + 1


def verdict(row):
    v = row.verdict
    if v.kind == "captured":
        return "captured: " + ", ".join(code(op) for op in v.ops)
    if v.kind == "irrelevant":
        return "allowed"
    instead = f"; instead: {code(v.do)}" if v.do else ""
    return f"refused, {v.code}: {v.message.replace('|', chr(92) + '|')}{instead}"


def condition(row):
    notes = [f"after {code(sql)}" for sql in ([row.before] if row.before else []) + list(row.first)]
    notes += {"single": ["outside of a transaction block"], "block": ["in a transaction block"]}.get(row.only, [])
    return f" ({', '.join(notes)})" if notes else ""


def document():
    lines = [HEAD]
    for title, rows in SECTIONS:
        lines += [f"## {title}", "", "| Statement | Verdict |", "| --- | --- |"]
        lines += [f"| {code(marked(row))}{condition(row)} | {verdict(row)} |" for row in rows]
        lines.append("")
    lines += ["## The tables", "", "```sql", FIXTURE.strip(), "```"]
    return "\n".join(lines) + "\n"
