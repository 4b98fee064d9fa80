# SPDX-License-Identifier: Apache-2.0
"""Much in one message: thousands of statements, scripts of megabytes; memory, and the session's sense of place."""

import os

import pytest

from harness import protocol as p

MEGABYTE = 1 << 20
SOAK = int(os.environ.get("BUSBAR_PROPERTY_CASES", "0")) >= 10000


def resident(busbar):
    with open(f"/proc/{busbar.process.pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def mixed(statements):
    """DML with some DDL in between, and quotes that a careless cut would fall for."""
    yield "CREATE TABLE mixed (id int, note text)"
    for i in range(statements - 2):
        if i % 500 == 250:
            yield f"CREATE TABLE part_{i} (id int)"
        elif i % 500 == 251:
            yield f"INSERT INTO part_{i - 1} VALUES ({i})"
        else:
            yield f"INSERT INTO mixed VALUES ({i}, 'a;b'''), ({i}, $$;$$) -- ; {i}\n"
    yield "SELECT count(*), sum(id) FROM mixed"


@pytest.mark.transparent
def test_ten_thousand_statements_in_one_query(endpoint):
    """One CommandComplete each, in order, one ReadyForQuery; and the session goes on."""
    with endpoint.wire() as wire:
        answer = wire.query("; ".join(mixed(10000))).ok()
        inserts = ["INSERT 0 1" if i % 500 == 251 else "CREATE TABLE" if i % 500 == 250 else "INSERT 0 2" for i in range(9998)]
        assert answer.tags == ["CREATE TABLE", *inserts, "SELECT 1"]
        plain = [i for i in range(9998) if i % 500 not in (250, 251)]
        assert answer.rows == [[str(2 * len(plain)), str(2 * sum(plain))]] and answer.status == "I"
        assert wire.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'part\\_%'") == "20"


@pytest.mark.transparent
def test_the_last_of_ten_thousand_fails(endpoint):
    """All of it is undone, as for one statement."""
    with endpoint.wire() as wire:
        statements = [*mixed(10000), "SELECT 1 / 0"]
        answer = wire.query("; ".join(statements))
        assert answer.error["C"] == "22012" and answer.status == "I" and len(answer.tags) == 10000
        assert wire.value("SELECT to_regclass('mixed') IS NULL") == "t"


def test_ddl_at_the_end_of_a_script_of_megabytes(busbar, truths):
    """5 MB of INSERTs, then DDL on an electrified table: captured like any other."""
    add = "ALTER TABLE truths ADD COLUMN extra text"
    with busbar.wire() as wire:
        wire.query("CREATE TABLE filler (line text)").ok()
        insert = "INSERT INTO filler VALUES ('" + "x;" * 500 + "');\n"
        times = 5 * MEGABYTE // len(insert) + 1
        answer = wire.query(insert * times + add).ok()
        assert answer.tags == ["INSERT 0 1"] * times + ["ALTER TABLE"] and answer.status == "I"
        assert wire.value("SELECT count(*) FROM filler") == str(times)
    commands, versions = truths.before
    assert truths.ddl[commands:] == [add] and len(truths.versions) == versions + 1
    truths.consistent()


def test_a_literal_of_40_megabytes(busbar):
    """Streamed with semicolons and quotes in it, simple and extended; then the session knows where it is."""
    literal = "x;''" * (10 * MEGABYTE)
    text = f"INSERT INTO big VALUES ('{literal}')"
    with busbar.wire() as wire:
        wire.query("CREATE TABLE big (value text)").ok()
        before = resident(busbar)
        assert wire.query(text).ok().tags == ["INSERT 0 1"]
        assert wire.extended(text).ok().tags == ["INSERT 0 1"]
        assert wire.value("SELECT string_agg(length(value)::text, ',') FROM big") == f"{30 * MEGABYTE},{30 * MEGABYTE}"
        assert resident(busbar) - before < 24 * MEGABYTE


def test_results_of_gigabytes(busbar):
    """Rows are passed on as they come: 300 MB (with BUSBAR_PROPERTY_CASES as for make soak: 2 GB)."""
    rows = (2048 if SOAK else 300) * 16
    with busbar.wire() as wire:
        before, seen, size, most = resident(busbar), 0, 0, 0
        wire.send(p.query(f"SELECT repeat('x', 65536) FROM generate_series(1, {rows})"))
        while (message := wire.read()).kind != "Z":
            if message.kind == "D":
                seen, size = seen + 1, size + len(message.values[0])
                if seen % 1000 == 0:
                    most = max(most, resident(busbar))
        assert (seen, size) == (rows, rows * 65536)
        assert most - before < 24 * MEGABYTE
