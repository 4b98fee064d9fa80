# SPDX-License-Identifier: Apache-2.0
"""Tables of ten columns and rows for them, about 190 bytes as COPY's text; and how far a Busbar has come."""

import re
import time
import urllib.request

from children import HOST, fail

WAIT_SECONDS = 120
COLUMNS = "id, org_id, author, title, status, quantity, score, done, at, details"


def create(bench, way, *names):
    for name in names:
        bench.through(
            way,
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, org_id int NOT NULL, author uuid NOT NULL, title text NOT NULL,"
            " status text NOT NULL, quantity int NOT NULL, score float8 NOT NULL, done boolean NOT NULL, at timestamptz NOT NULL,"
            " details jsonb NOT NULL)", f"ALTER TABLE {name} ENABLE ELECTRIC")


def insert(name, i="i", org="i % 1000"):
    """An INSERT of the row number i, without its end."""
    values = (f"{i}, {org}, md5(i::text)::uuid, 'item number ' || i || ' of the list',"
              " (ARRAY['new', 'open', 'waiting', 'closed'])[i % 4 + 1], i % 7919, i / 3.0, i % 3 = 0,"
              " timestamptz '2024-03-01 12:00:00+00' + i * interval '7 seconds',"
              " jsonb_build_object('colour', i % 19, 'labels', jsonb_build_array('x', 'y'), 'remark', 'r' || i)")
    return f"INSERT INTO {name} ({COLUMNS}) SELECT {values}"


def insert_many(name, n, **values):
    return f"{insert(name, **values)} FROM generate_series(1, {n}) i"


def one_by_one(statement, n):
    """The statement for each i, in as many transactions. They do not wait for the disk: what reads the WAL is measured."""
    return ("SET synchronous_commit = off",
            f"DO $$ BEGIN FOR i IN 1..{n} LOOP {statement}; COMMIT; END LOOP; END $$")


def transactions(way):
    """How many a Busbar has received since its start; 0 when it cannot be asked yet."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{way.http_port}/metrics", timeout=WAIT_SECONDS) as answer:
            found = re.search(rb"^busbar_replication_transactions_total (\d+)", answer.read(), re.M)
            return int(found.group(1)) if found else 0
    except OSError:
        return 0


def wait_received(way, n):
    end = time.monotonic() + WAIT_SECONDS
    while transactions(way) < n:
        if time.monotonic() > end or way.child.process.poll() is not None:
            fail(f"{way.name} received {transactions(way)} of {n} transactions")
        time.sleep(0.02)


def slot_of(bench):
    return bench.stage.sql("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'electric_replication_out%'")


def emit(bench):
    """A small transaction for the stream; its position, as a number."""
    return int(bench.stage.sql("SELECT pg_logical_emit_message(true, 'bench', '') - '0/0'"))


def wait_confirmed(bench, lsn):
    """Until Busbar's slot has been confirmed up to there: it is on Busbar's disk."""
    bench.stage.sql("DO $$ BEGIN LOOP"
                    f" EXIT WHEN (SELECT confirmed_flush_lsn - '0/0' >= {lsn} FROM pg_replication_slots"
                    f" WHERE slot_name = '{slot_of(bench)}'); PERFORM pg_sleep(0.005); END LOOP; END $$")


def settle(bench):
    """Until Busbar has all there is."""
    wait_confirmed(bench, emit(bench))
