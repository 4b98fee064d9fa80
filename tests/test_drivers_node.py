# SPDX-License-Identifier: Apache-2.0
"""node-postgres (with pg-cursor, pg-query-stream, pg-copy-streams) and postgres.js; their programs are in drivers/node."""

import os

import pytest

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

COMMON = ["queries", "errors", "large", "copy", "notify", "cancel"]


@pytest.fixture(scope="session")
def node():
    """Runs a scenario of a program."""
    modules = drivers.node_modules()

    def run(endpoint, program, scenario):
        drivers.silent(drivers.run(endpoint, "node", os.path.join(drivers.FOLDER, "node", program), scenario, NODE_PATH=modules))

    return run


@pytest.mark.transparent
@pytest.mark.parametrize("scenario", [*COMMON, "cursors"])
def test_node_postgres(node, endpoint, scenario):
    node(endpoint, "pg.js", scenario)


@pytest.mark.transparent
@pytest.mark.parametrize("scenario", COMMON)
def test_postgres_js(node, endpoint, scenario):
    node(endpoint, "postgres.js", scenario)


@pytest.mark.parametrize("program", ["pg.js", "postgres.js"])
def test_migrations(node, busbar, ledger, program):
    node(busbar, program, "migrate")
    drivers.migrated(busbar, ledger)


@pytest.mark.parametrize("program", ["pg.js", "postgres.js"])
def test_refused(node, busbar, truths, program):
    node(busbar, program, "refuse")
    drivers.refused(busbar, truths)
