# SPDX-License-Identifier: Apache-2.0
"""Scenarios 37–51: streaming to clients."""

import uuid


def test_37_changes_arrive_one_transaction_each(entries, sql, satellite):
    client = satellite(entries).start()
    client.sync("entries")
    row = str(uuid.uuid4())
    sql.execute("INSERT INTO entries VALUES (%s, 'first', NULL)", (row,))
    sql.execute("UPDATE entries SET content = 'second' WHERE id = %s", (row,))
    sql.execute("DELETE FROM entries WHERE id = %s", (row,))
    before = len(client.transactions)
    client.collect(lambda: len(client.transactions) >= 4, "three transactions")
    insert, update, delete = client.transactions[-3:]
    assert insert.kinds == ["insert"] and update.kinds == ["update"] and delete.kinds == ["delete"], before
