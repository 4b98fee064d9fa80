# SPDX-License-Identifier: Apache-2.0
"""Replays recorded sessions of real Ecto, message for message (tests/traces/README.md).

Rules of the replay:

- Client messages are sent in the order of the file, byte for byte, each on its own connection: Ecto holds its lock on
  one connection while it migrates on another, and a message may have to wait for a COMMIT elsewhere.
- Before a message goes out, all answers that the trace shows before it are read and compared, on every connection: Ecto
  waited for them. Not more than those, because an answer may only come when another connection has moved on.
- Compared are the types in order, tags, status bytes, SQLSTATEs, messages and details of errors, and the notices of a
  group (which may stand elsewhere in it: the original held the whole answer back).

DIFFERENCES lists, by line of the file, where our answer is deliberately not the recorded one: spec/proxy.md §6.6, §6.7.
"""

import json
import os

import pytest

from harness import protocol as p
from harness.wait import wait_until
from harness.web import migrations
from harness.wire import Closed, Wire

FOLDER = os.environ.get("BUSBAR_TRACES", os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces"))
ELECTRIFY, UNNAMED, RELEASE = "ecto-electrify", "ecto-unnamed-advisory-lock", "ecto-release"

# The original answers a refusal in [Parse, Describe, Flush] with ErrorResponse and ReadyForQuery(E), and the following
# Sync with ReadyForQuery(T): its upstream transaction goes on. Ours follows the protocol: ErrorResponse, then nothing
# until Sync, whose ReadyForQuery says E, because the transaction has really failed.
# file: {line: None (not sent by us) or the fields that differ}
DIFFERENCES = {
    ELECTRIFY: {600: None, 602: {"status": "E"}, 822: None, 824: {"status": "E"}},
    UNNAMED: {731: None, 733: {"status": "E"}, 990: None, 992: {"status": "E"}},
    RELEASE: {},
}
# Tags that a server sends: compared in order. N is compared apart, D is counted.
SILENT = "N"


def load(name):
    """The rows of a trace with our differences applied; each has its line number."""
    with open(os.path.join(FOLDER, name + ".jsonl"), encoding="utf-8") as lines:
        rows = [{**json.loads(line), "line": number} for number, line in enumerate(lines, 1)]
    kept = []
    for row in rows:
        change = DIFFERENCES[name].get(row["line"], {})
        if change is None:
            assert row["from"] == "B" and row["type"] == "Z" and row["status"] == "E", f"the table points at {row}"
            continue
        if change:
            assert row["type"] == "Z" and row["status"] == "T", f"the table points at {row}"
        kept.append({**row, **change})
    return kept


def flatten(rows):
    """What the trace expects: [(kind, value)], repeated rows written out, and the notices."""
    expected, notices = [], []
    for row in rows:
        value = row.get("tag") or row.get("status")
        if row["type"] == "E":
            value = (row["C"], row["M"], row.get("D"), row.get("t"))
        if row["type"] in SILENT:
            notices.append((row["C"], row["M"], row.get("D"), row.get("t")))
            continue
        expected += [(row["type"], value)] * row.get("times", 1)
    return expected, sorted(notices, key=repr)


def observe(messages):
    """The same view of what came."""
    seen, notices = [], []
    for message in messages:
        if message.kind == "N":
            fields = message.fields
            notices.append((fields["C"], fields["M"], fields.get("D"), fields.get("t")))
            continue
        value = None
        if message.kind == "C":
            value = message.tag
        elif message.kind == "Z":
            value = message.status
        elif message.kind == "E":
            fields = message.fields
            value = (fields["C"], fields["M"], fields.get("D"), fields.get("t"))
            if fields["C"].startswith("EX"):
                assert fields.get("H"), "a refusal must say what to do instead"
        seen.append((message.kind, value))
    return seen, sorted(notices, key=repr)


class Replay:
    """Plays a trace against an endpoint."""

    def __init__(self, endpoint, rows, before_send=None):
        self.endpoint, self.rows = endpoint, rows
        self.before_send = before_send  # (row, wire) → true: stop here
        self.wires, self.owed = {}, {}

    def settle(self, conn):
        """Reads and compares what is owed on a connection."""
        rows = self.owed.pop(conn, [])
        if not rows:
            return
        expected, expected_notices = flatten(rows)
        wire, messages = self.wires[conn], []
        try:
            while sum(1 for m in messages if m.kind not in SILENT) < len(expected):
                messages.append(wire.read())
        except (TimeoutError, Closed):
            pass  # the comparison shows what is missing
        seen, notices = observe(messages)
        where = f"lines {rows[0]['line']}–{rows[-1]['line']}, connection {conn}"
        assert seen == expected, where
        assert notices == expected_notices, where

    def send(self, row):
        """One client message; true when the trace is to be left here."""
        conn, kind = row["conn"], row["type"]
        if kind == "startup":
            self.wires[conn] = Wire.login(self.endpoint)  # the user and database of the recording do not matter
            return False
        if kind.startswith("type-catalog"):
            return False
        for other in list(self.owed):
            self.settle(other)
        if self.before_send and self.before_send(row, self.wires[conn]):
            return True
        self.wires[conn].send(p.frame(kind, bytes.fromhex(row["body_hex"])))
        return False

    def run(self):
        logins = set()
        try:
            for row in self.rows:
                conn = row["conn"]
                if row["from"] == "F":
                    if self.send(row):
                        return
                elif row["from"] == "-":
                    if conn in self.wires:
                        self.settle(conn)
                        self.wires.pop(conn).close()
                elif conn not in logins and row["type"] == "Z":
                    logins.add(conn)  # the first ReadyForQuery belongs to the login
                else:
                    self.owed.setdefault(conn, []).append(row)
            for conn in list(self.owed):
                self.settle(conn)
        finally:
            for wire in self.wires.values():
                wire.close()


def ecto_versions(ledger):
    return ledger.column("SELECT version FROM schema_migrations ORDER BY version")


@pytest.mark.parametrize("name", [ELECTRIFY, UNNAMED])
def test_migrate_rollback_and_status(busbar, ledger, name):
    """migrate, migrate, status, rollback (refused), status, rollback of a removed column (refused), status."""
    Replay(busbar, load(name)).run()
    # The refused rollbacks changed nothing: all of Ecto's rows, every column and the index are there.
    assert ecto_versions(ledger) == [20240101000000 + n for n in range(1, 6)]
    assert ledger.columns("items") == ["id", "name", "inserted_at", "updated_at", "note", "qty"]
    assert ledger.exists("public.items_name_index")
    # The recorded versions are Ecto's, of the migrations that concern an electrified table.
    assert ledger.version_names == ["20240101000004", "20240101000005"]
    assert ledger.ddl[1:] == ['ALTER TABLE "items" ADD COLUMN "qty" integer', 'CREATE INDEX "items_name_index" ON "items" ("name")']
    assert ledger.ddl[0].startswith("CREATE TABLE")
    ledger.consistent()
    first, second = migrations(busbar.http_port)
    assert (first.version, second.version) == ("20240101000004", "20240101000005")
    assert '"note" TEXT' in first.sql and '"qty"' not in first.sql
    assert second.sql == 'ALTER TABLE "items" ADD COLUMN "qty" INTEGER;\n\nCREATE INDEX "items_name_index" ON "items" ("name" ASC);'


@pytest.mark.transparent
def test_release(endpoint, cluster, database):
    """migrate, status, rollback to a version, status, migrate; nothing is electrified, so PostgreSQL answers just so itself."""
    Replay(endpoint, load(RELEASE)).run()
    with cluster.connect(database) as conn:
        assert conn.execute("SELECT array_agg(version ORDER BY version) FROM schema_migrations").fetchone()[0] == [
            20240101000001, 20240101000002, 20240101000003]
        assert conn.execute("SELECT obj_description('items'::regclass)").fetchone()[0] == "made by execute/2"


def test_release_leaves_no_record(busbar, ledger):
    """Ecto's own rows of a transaction that concerns no electrified table are no versions of ours."""
    Replay(busbar, load(RELEASE)).run()
    assert ledger.version_names == [] and ledger.ddl == []


@pytest.mark.parametrize("name", [ELECTRIFY, UNNAMED])
def test_refused_rollback_really_aborts(busbar, ledger, name):
    """Had Ecto sent COMMIT after the refusal, nothing would have been kept: the dropped index is still there.

    The original lets that COMMIT through, with the DROP INDEX that came before the refusal.
    """
    done = []

    def commit_instead(row, wire):
        if row["type"] != "Q" or row["sql"] != "ROLLBACK":
            return False
        answer = wire.query("COMMIT").ok()
        done.append((answer.tags, answer.status))
        return True

    Replay(busbar, load(name), commit_instead).run()
    assert done == [(["ROLLBACK"], "I")]
    assert ledger.exists("public.items_name_index") and "qty" in ledger.columns("items")
    assert ecto_versions(ledger)[-1] == 20240101000005 and len(ledger.ddl) == 3
    ledger.consistent()


@pytest.mark.parametrize("name", [ELECTRIFY, UNNAMED])
def test_cut_at_every_connection_end(busbar, ledger, cluster, name):
    """The trace in which each client goes away without Terminate leaves no backend behind."""
    Replay(busbar, [r for r in load(name) if r["type"] != "X"]).run()
    wait_until(lambda: ledger.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%%schema_migrations%%'"
                                    " AND pid <> pg_backend_pid()") == 0, "the backends to end")


def test_traces_are_complete():
    """The table of differences points at what it means, and the files are the recordings."""
    assert [len(load(n)) + sum(1 for v in DIFFERENCES[n].values() if v is None) for n in (ELECTRIFY, UNNAMED, RELEASE)] == [892, 1082, 660]
