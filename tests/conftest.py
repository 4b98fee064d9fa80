# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one PostgreSQL for the run, a database and a Busbar of its own for each test.

    python3 -m pytest tests                      # against $BUSBAR, default build/busbar
    python3 -m pytest tests --direct             # the tests marked `transparent`, against PostgreSQL itself

What passes through must be what PostgreSQL does: every test marked ``transparent`` holds without Busbar as well,
and ``--direct`` proves that the expectation is PostgreSQL's and not ours.
"""

import os
import sys

import pytest

sys.dont_write_bytecode = True  # the source folder stays as it is
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

pytest.register_assert_rewrite("drivers")

from harness.busbar import Busbar, Endpoint, binary  # noqa: E402
from harness.electric import Ledger  # noqa: E402
from harness.electric_client import ElectricClient  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.relay import Relay  # noqa: E402
from harness.release import Project  # noqa: E402
from harness.satellite import Satellite  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--direct", action="store_true", help="run the tests marked transparent against PostgreSQL itself")


def pytest_configure(config):
    config.addinivalue_line("markers", "transparent: holds for PostgreSQL itself too (see --direct)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--direct"):
        return
    kept = [item for item in items if item.get_closest_marker("transparent")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_report_header(config):
    return "busbar: " + ("none, PostgreSQL itself" if config.getoption("--direct") else binary())


@pytest.fixture(scope="session")
def direct(request):
    """Whether this run is against PostgreSQL itself."""
    return request.config.getoption("--direct")


@pytest.fixture(scope="session")
def cluster():
    """The cluster of the run; a test that stops or kills PostgreSQL makes its own."""
    postgres = Postgres()
    try:
        yield postgres.start()
    finally:
        postgres.destroy()


@pytest.fixture
def database(cluster):
    """A fresh database. It is dropped when the next one is made: by then every Busbar on it has ended."""
    for name in cluster.used:
        cluster.drop_database(name)
    cluster.used = [cluster.create_database()]
    return cluster.used[0]


@pytest.fixture
def make_busbar():
    """Starts Busbars and, at the end, asserts that each was healthy. ``make_busbar(url, LOG_LEVEL='info')``."""
    made = []

    def make(database_url=None, wait=True, **options):
        busbar = Busbar(database_url, **options)
        made.append(busbar)
        return busbar.start() if wait else busbar

    yield make
    # Stop all before judging any: a failed verdict must not leave the others running.
    verdicts = []
    for busbar in reversed(made):
        try:
            busbar.check()
        except AssertionError as error:
            verdicts.append(str(error))
    assert not verdicts, "\n".join(verdicts)


@pytest.fixture
def endpoint(request, direct, cluster, database):
    """A ready Busbar on a fresh database; PostgreSQL itself with --direct."""
    if direct:
        return Endpoint(cluster.host, cluster.port, database)
    return request.getfixturevalue("make_busbar")(cluster.url(database), dbname=database)


@pytest.fixture
def busbar(make_busbar, cluster, database):
    """A ready Busbar on a fresh database."""
    return make_busbar(cluster.url(database), dbname=database)


@pytest.fixture
def relay(cluster):
    """A relay in front of the cluster: the far side of a Busbar made with ``relayed``."""
    relay = Relay(cluster.port)
    yield relay
    relay.close()


@pytest.fixture
def relayed(request, direct, cluster, database, relay):
    """A ready Busbar whose way to PostgreSQL leads through ``relay``; only the relay with --direct."""
    if direct:
        return Endpoint(relay.host, relay.port, database)
    return request.getfixturevalue("make_busbar")(cluster.url(database, port=relay.port), dbname=database)


@pytest.fixture
def ledger(cluster, database):
    """What the database holds, seen from a connection of its own."""
    ledger = Ledger(cluster, database)
    yield ledger
    ledger.close()


TRUTHS = """
CREATE TABLE public.truths (id uuid PRIMARY KEY, value text);
CREATE INDEX truths_idx ON public.truths (value);
CREATE TABLE public.socks (id int8 PRIMARY KEY, colour text);
CREATE TABLE public.underwear (id int8 PRIMARY KEY, size int4);
"""


@pytest.fixture
def tables(cluster, database):
    """The scenarios' tables, none electrified: truths with an index, socks, underwear."""
    with cluster.connect(database) as conn:
        conn.execute(TRUTHS)


@pytest.fixture
def truths(tables, busbar, ledger):
    """``truths`` electrified, through the proxy; the counts of the scenarios start after it."""
    with busbar.wire() as wire:
        assert wire.query("ALTER TABLE public.truths ENABLE ELECTRIC").ok().tags == ["ELECTRIC ENABLE"]
    ledger.before = (len(ledger.ddl), len(ledger.versions))
    return ledger


@pytest.fixture
def satellite():
    """Makes raw sync clients, not yet connected: ``satellite(busbar, client_id=…)``."""
    made = []

    def make(busbar, client_id=None, **options):
        made.append(Satellite(busbar.http_port, client_id, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def electric_client():
    """Makes devices with the published client, not yet opened: ``electric_client(busbar, token=…)``."""
    made = []

    def make(busbar, **options):
        made.append(ElectricClient(busbar.http_port, **options))
        return made[-1]

    yield make
    for client in made:
        client.discard()


@pytest.fixture
def sql(cluster, database):
    """A connection of the application's, straight to PostgreSQL."""
    with cluster.connect(database) as connection:
        yield connection


@pytest.fixture
def project(tmp_path, cluster, database):
    """A folder with migrations of a release, for a fresh database."""
    return Project(tmp_path, cluster.url(database))


ENTRIES = "CREATE TABLE entries (id uuid PRIMARY KEY, content varchar NOT NULL, content_b text)"


@pytest.fixture
def entries(busbar):
    """A Busbar with the sync scenarios' table, electrified."""
    with busbar.wire() as wire:
        wire.query(f"{ENTRIES}; ALTER TABLE entries ENABLE ELECTRIC").ok()
    return busbar
