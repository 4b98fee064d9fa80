# SPDX-License-Identifier: Apache-2.0
"""The published client takes the migrations of /api/migrations: tables, triggers that note its writes, restarts. No sync service needed."""

import json

import pytest

from harness.electric_client import ClientError
from harness.process import free_port
from harness.token import unsigned

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE owners (id uuid PRIMARY KEY, "full name" text NOT NULL);
CREATE TABLE pets (id int8 PRIMARY KEY, owner_id uuid REFERENCES owners (id), mood mood, weight float8, born date, seen timestamptz, photo bytea, alive bool, notes jsonb);
"""


@pytest.fixture
def device(busbar, electric_client):
    """Opened, with the tables of SCHEMA, an index and a column that came later."""
    with busbar.psycopg(autocommit=True) as conn:
        conn.execute(SCHEMA)
        for statement in ("ALTER TABLE owners ENABLE ELECTRIC", "ALTER TABLE pets ENABLE ELECTRIC", "CREATE INDEX pets_born ON pets (born)",
                          "ALTER TABLE pets ADD COLUMN colour varchar"):
            conn.execute(statement)
    return electric_client(busbar).open()


def test_tables_and_triggers(device):
    """Its writes are noted for the server, with a compensation for the row that is referred to."""
    device.exec_all(("INSERT INTO owners VALUES (?, ?)", "6f1b4d4e-0000-4000-8000-000000000001", "Ann"),
                    ("INSERT INTO pets (id, owner_id, photo, weight) VALUES (?, ?, ?, ?)", 2 ** 60, "6f1b4d4e-0000-4000-8000-000000000001", b"\x00\xff", 1.5))
    assert device.query("SELECT id, photo, weight, colour FROM pets") == [{"id": 2 ** 60, "photo": b"\x00\xff", "weight": 1.5, "colour": None}]
    noted = device.query("SELECT tablename, optype, newRow FROM _electric_oplog ORDER BY rowid")
    assert sorted((n["tablename"], n["optype"]) for n in noted) == [("owners", "COMPENSATION"), ("owners", "INSERT"), ("pets", "INSERT")]
    pet = json.loads(next(n["newRow"] for n in noted if n["tablename"] == "pets"))
    assert pet["id"] == str(2 ** 60) and pet["photo"].lower() == "00ff"
    with pytest.raises(ClientError, match="primary key"):
        device.exec("UPDATE owners SET id = 'x'")


def test_opened_again(device):
    """The same database, id and bundle: nothing is applied twice."""
    before, known = device.client_id, device.query("SELECT version FROM _electric_migrations ORDER BY id")
    assert len(known) >= 4
    device.close()
    device.open()
    assert device.client_id == before and device.query("SELECT version FROM _electric_migrations ORDER BY id") == known
    device.kill()
    device.open()
    assert device.client_id == before


def test_no_service(electric_client, busbar):
    """Where nothing listens it tries as often as it is told, then says so and stays usable."""
    device = electric_client(busbar)
    device.url = f"http://127.0.0.1:{free_port()}"
    device.backoff = {**device.backoff, "numOfAttempts": 3, "maxDelay": 100}
    device.open([])
    with pytest.raises(ClientError) as error:
        device.connect()
    assert error.value.code == "CONNECTION_FAILED_AFTER_RETRY"
    assert not device.status["connected"] and device.query("SELECT 1 AS one") == [{"one": 1}]


def test_token_without_user(electric_client, busbar):
    """The client itself looks for the user in its token."""
    device = electric_client(busbar).open([])
    with pytest.raises(ClientError, match="sub or user_id"):
        device.connect(unsigned(name="u"))
