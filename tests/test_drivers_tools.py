# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's own tools: pg_dump, pg_restore, pgbench, pg_isready, createdb, vacuumdb, reindexdb."""

import re

import pytest

from harness.busbar import Endpoint

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

SHOP = r"""
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('new', 'paid');
CREATE TABLE shop.customers (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE shop.orders (id serial PRIMARY KEY, customer int8 REFERENCES shop.customers ON DELETE CASCADE, state shop.state DEFAULT 'new',
    total numeric(10, 2) CHECK (total >= 0), placed timestamptz, note text);
CREATE INDEX orders_state ON shop.orders (state) WHERE state = 'new';
CREATE VIEW shop.open_orders AS SELECT * FROM shop.orders WHERE state = 'new';
CREATE MATERIALIZED VIEW shop.totals AS SELECT customer, sum(total) FROM shop.orders GROUP BY 1;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, 'a; b -- c'); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE TABLE shop.parts (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
COMMENT ON TABLE shop.orders IS E'a comment; with\nlines';
INSERT INTO shop.customers (name) SELECT 'customer ' || n FROM generate_series(1, 2000) n;
INSERT INTO shop.orders (customer, total, placed, note) SELECT n, n, timestamptz '2020-01-01' + n * interval '1 min', CASE WHEN n % 2 = 0 THEN repeat(E'\t\\\n', 200) END
    FROM generate_series(1, 2000) n;
INSERT INTO shop.parts SELECT date '2020-01-01' + n % 300, n FROM generate_series(1, 1000) n;
REFRESH MATERIALIZED VIEW shop.totals;
"""


def tool(cluster, endpoint, name, *arguments):
    done = drivers.run(endpoint, f"{cluster.bindir}/{name}", *arguments)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return done


def dump(cluster, endpoint, *arguments):
    """A dump as text, without the key that changes from run to run."""
    return re.sub(r"^\\(un)?restrict .*$", "", tool(cluster, endpoint, "pg_dump", *arguments).stdout, flags=re.M)


@pytest.fixture
def other(request, direct, cluster):
    """A second fresh database and the way to it."""
    name = cluster.create_database()
    cluster.used.append(name)
    if direct:
        return Endpoint(cluster.host, cluster.port, name)
    return request.getfixturevalue("make_busbar")(cluster.url(name), dbname=name)


@pytest.mark.transparent
def test_dump_into_psql(cluster, endpoint, other, database):
    assert endpoint.psql(script=SHOP).returncode == 0
    text = dump(cluster, endpoint, "-n", "shop")
    assert text == dump(cluster, Endpoint(cluster.host, cluster.port, database), "-n", "shop")
    done = other.psql(script=text)
    assert done.returncode == 0, done.stderr
    assert dump(cluster, other, "-n", "shop") == text
    inserts = dump(cluster, endpoint, "-n", "shop", "-a", "--inserts", "--rows-per-insert=100", "-t", "shop.parts*")
    assert other.psql("TRUNCATE shop.parts").returncode == 0
    assert other.psql(script=inserts, flags=["-1"]).returncode == 0
    assert other.psql("SELECT count(*) FROM shop.parts", flags=["-At"]).stdout == "1000\n"


@pytest.mark.transparent
def test_parallel_dump_and_restore(cluster, endpoint, other, tmp_path):
    """Four sessions with one snapshot; four that restore, foreign keys and indexes included."""
    assert endpoint.psql(script=SHOP).returncode == 0
    tool(cluster, endpoint, "pg_dump", "-j4", "-Fd", "-n", "shop", "-f", tmp_path / "dump")
    done = tool(cluster, other, "pg_restore", "-j4", "--exit-on-error", "-d", other.dbname, tmp_path / "dump")
    assert done.stderr == ""
    assert dump(cluster, other, "-n", "shop") == dump(cluster, endpoint, "-n", "shop")
    tool(cluster, other, "pg_restore", "-j4", "--clean", "--if-exists", "--exit-on-error", "-d", other.dbname, tmp_path / "dump")
    assert dump(cluster, other, "-n", "shop") == dump(cluster, endpoint, "-n", "shop")


def test_rows_of_an_electrified_table(cluster, busbar, truths, other):
    """Its rows go over as they are; restored with its definition, the table can be electrified."""
    assert busbar.psql("INSERT INTO truths SELECT gen_random_uuid(), repeat('v', n) FROM generate_series(1, 500) n").returncode == 0
    text = dump(cluster, busbar, "-t", "public.truths")
    assert other.psql(script=text).returncode == 0
    assert other.psql("ALTER TABLE public.truths ENABLE ELECTRIC").returncode == 0
    count = "SELECT count(*), sum(length(value)) FROM public.truths"
    assert other.psql(count, flags=["-At"]).stdout == busbar.psql(count, flags=["-At"]).stdout == "500|125250\n"
    # The rows once more, into the table that is electrified now.
    assert other.psql("TRUNCATE public.truths").returncode == 0
    done = other.psql(script=dump(cluster, busbar, "-a", "-t", "public.truths"))
    assert done.returncode == 0, done.stderr
    assert other.psql(count, flags=["-At"]).stdout == "500|125250\n"


PIPELINE = r"""
\set id random(1, 100000)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
END;
SELECT 1;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :id, 1, now());
\endpipeline
SELECT count(*) AS n FROM pgbench_branches \gset
"""


@pytest.mark.transparent
def test_pgbench(cluster, endpoint, tmp_path):
    """TPC-B, the two others, pipelines, a connection for each transaction."""
    script = tmp_path / "pipeline.sql"
    script.write_text(PIPELINE)
    tool(cluster, endpoint, "pgbench", "-i", "-s", "1", "-q", "-I", "dtGvpf")
    runs = [(mode, builtin) for mode in ("simple", "extended", "prepared") for builtin in (["-b", "tpcb-like"], ["-N"], ["-S"])]
    runs += [(mode, ["-f", script]) for mode in ("extended", "prepared")] + [("simple", ["-S", "-C"])]
    for mode, options in runs:
        out = tool(cluster, endpoint, "pgbench", "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "25", *options).stdout
        assert "number of transactions actually processed: 100/100" in out and "number of failed transactions: 0 (0.000%)" in out, out


@pytest.mark.transparent
def test_isready(cluster, endpoint):
    assert "accepting connections" in tool(cluster, endpoint, "pg_isready", "-t", "10").stdout


@pytest.mark.transparent
def test_createdb_and_dropdb(cluster, endpoint):
    """Statements that cannot be in a transaction."""
    name = f"{endpoint.dbname}_made"
    cluster.used.append(name)
    tool(cluster, endpoint, "createdb", f"--maintenance-db={endpoint.dbname}", "-T", "template0", "-E", "UTF8", name, "a comment")
    with cluster.connect() as conn:
        assert conn.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]).fetchone() == ("a comment",)
    tool(cluster, endpoint, "dropdb", f"--maintenance-db={endpoint.dbname}", name)
    with cluster.connect() as conn:
        assert conn.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None


def test_maintenance(cluster, busbar, truths):
    """VACUUM, ANALYZE and REINDEX CONCURRENTLY, electrified tables included: nothing of it is a migration."""
    busbar.psql("INSERT INTO truths SELECT gen_random_uuid(), n::text FROM generate_series(1, 1000) n")
    tool(cluster, busbar, "vacuumdb", "-z", "-j2", busbar.dbname)
    tool(cluster, busbar, "vacuumdb", "--full", "-t", "truths", busbar.dbname)
    tool(cluster, busbar, "vacuumdb", "--analyze-in-stages", "-t", "truths", busbar.dbname)
    tool(cluster, busbar, "reindexdb", "-t", "truths", busbar.dbname)
    tool(cluster, busbar, "reindexdb", "--concurrently", "-j2", "-t", "truths", "-t", "socks", busbar.dbname)
    assert (len(truths.ddl), len(truths.versions)) == truths.before
    truths.consistent()
