# SPDX-License-Identifier: Apache-2.0
"""The whole path as a new user walks it, with the real psql: what the README promises."""

import os
import re
import subprocess
import tempfile

from harness.busbar import PASSWORD, Endpoint
from harness.electric import GENERATED
from harness.process import clean_environment, free_port
from harness.web import get, migrations

SESSION = """CREATE TABLE public.items (id text PRIMARY KEY, value text);
ALTER TABLE public.items ENABLE ELECTRIC;
ALTER TABLE public.items ADD COLUMN amount integer;
"""
FIRST = 'CREATE TABLE "items" (\n  "id" TEXT NOT NULL,\n  "value" TEXT,\n  CONSTRAINT "items_pkey" PRIMARY KEY ("id")\n);'
SECOND = 'ALTER TABLE "items" ADD COLUMN "amount" INTEGER;'


def walk(busbar, direct):
    """The session of the README; ``direct`` is the PostgreSQL behind."""
    done = busbar.psql(script=SESSION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["CREATE TABLE", "ELECTRIC ENABLE", "ALTER TABLE"]
    assert re.sub(r"^psql:.*?: ", "", done.stderr.strip(), flags=re.M) == (
        'NOTICE:  Migration affecting electrified table "public"."items"\n'
        "DETAIL:  Capturing migration: ALTER TABLE public.items ADD COLUMN amount integer")

    answer = get(busbar.http_port, "/api/migrations?dialect=sqlite")
    assert answer.status == 200 and answer.content_type == "application/zip"
    one, two = migrations(busbar.http_port)
    assert (one.sql, two.sql) == (FIRST, SECOND)
    assert GENERATED.match(one.version) and GENERATED.match(two.version) and one.version < two.version
    (create,), (alter,) = one.ops, two.ops
    assert create["version"] == one.version and create["stmts"] == [(0, FIRST + "\n")]
    assert create["table"] == {"name": "items", "columns": [("id", "TEXT", "text"), ("value", "TEXT", "text")], "fks": [], "pks": ["id"]}
    assert alter["stmts"] == [(6, SECOND + "\n")]
    assert alter["table"]["columns"] == [("id", "TEXT", "text"), ("value", "TEXT", "text"), ("amount", "INTEGER", "int4")]

    one, two = migrations(busbar.http_port, "postgresql")
    assert one.sql.startswith("CREATE TABLE") and two.sql == "ALTER TABLE public.items ADD COLUMN amount integer;"

    # curl itself, as the README has it.
    curl = subprocess.run(["curl", "-sS", f"http://localhost:{busbar.http_port}/api/status"], capture_output=True, text=True, timeout=20, check=True)
    assert curl.stdout == "Connection to Postgres is up!"

    refused = direct.psql("ALTER TABLE items DROP COLUMN value")
    assert refused.returncode == 1 and "ERROR" in refused.stderr and "proxy" in refused.stderr.lower(), refused.stderr
    columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attnum > 0 AND NOT attisdropped"
    assert direct.psql(columns, flags=["-At"]).stdout == "id,value,amount\n"
    refused = busbar.psql("ALTER TABLE items DROP COLUMN value", flags=["-v", "VERBOSITY=verbose"])
    assert refused.returncode == 1 and "EX010" in refused.stderr and "HINT" in refused.stderr
    # Data goes both ways.
    assert busbar.psql("INSERT INTO items VALUES ('a', 'b', 3)", "SELECT * FROM items", flags=["-At"]).stdout.splitlines()[-1] == "a|b|3"


def test_dev(make_busbar):
    """`busbar dev` on a fresh folder: no database of one's own, no configuration."""
    with tempfile.TemporaryDirectory(prefix="busbar-dev-test-") as folder:
        os.chmod(folder, 0o755)
        port = free_port()
        busbar = make_busbar(None, wait=False, arguments=["dev", "--data", f"{folder}/data", "--pg-port", str(port)], cwd=folder, PG_PROXY_PASSWORD=None, AUTH_MODE=None)
        busbar.start(timeout=60)
        assert busbar.embedded().port == port
        walk(busbar, busbar.embedded())
        assert busbar.stop() == 0


def test_serve(make_busbar, cluster, database):
    """`busbar serve` with an own DATABASE_URL and AUTH_MODE=insecure."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    walk(busbar, Endpoint(cluster.host, cluster.port, database))


def test_serve_by_flags(make_busbar, cluster, database):
    """Flags mirror the variables."""
    http, proxy = free_port(), free_port()
    busbar = make_busbar(wait=False, dbname=database, arguments=[
        "serve", "--database-url", cluster.url(database), "--pg-proxy-password", PASSWORD, "--pg-proxy-port", str(proxy),
        "--http-port", str(http), "--auth-mode", "insecure", "--listen", "localhost", "--log-level", "debug"],
        PG_PROXY_PASSWORD=None, PG_PROXY_PORT=None, HTTP_PORT=None, AUTH_MODE=None, BUSBAR_LISTEN=None, LOG_LEVEL=None)
    busbar.port, busbar.http_port = proxy, http
    busbar.start()
    walk(busbar, Endpoint(cluster.host, cluster.port, database))


def test_restart_keeps_everything(make_busbar, cluster, database):
    """What was recorded is in PostgreSQL: another Busbar shows the same and goes on."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    assert busbar.psql(script=SESSION).returncode == 0
    before = migrations(busbar.http_port)
    assert busbar.stop() == 0
    other = make_busbar(cluster.url(database), dbname=database)
    assert migrations(other.http_port) == before
    assert other.psql("ALTER TABLE items ADD COLUMN more text").returncode == 0
    assert [m.sql for m in migrations(other.http_port)][2:] == ['ALTER TABLE "items" ADD COLUMN "more" TEXT;']


def test_migration_file_in_one_transaction(make_busbar, cluster, database, tmp_path):
    """psql -1 -f file: BEGIN, the file's statements, COMMIT; one version, chosen by the file."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    file = tmp_path / "0001.sql"
    file.write_text("CALL electric.migration_version('0001');\n" + SESSION + "CREATE INDEX items_amount ON items (amount);\n")
    done = busbar.psql(flags=["-1", "-f", str(file)])
    assert done.returncode == 0, done.stderr
    (migration,) = migrations(busbar.http_port)
    assert migration.version == "0001"
    assert migration.sql == f'{FIRST}\n\n{SECOND}\n\nCREATE INDEX "items_amount" ON "items" ("amount" ASC);'


def test_failing_migration_file_leaves_nothing(make_busbar, cluster, database, tmp_path):
    """The same with a mistake at the end."""
    busbar = make_busbar(cluster.url(database), dbname=database)
    file = tmp_path / "0001.sql"
    file.write_text(SESSION + "ALTER TABLE items ADD COLUMN bad inet;\n")
    done = busbar.psql(flags=["-1", "-f", str(file)])
    assert done.returncode == 3 and 'Cannot electrify column of type "inet"' in done.stderr, done.stderr
    assert migrations(busbar.http_port) == []
    with cluster.connect(database) as conn:
        assert conn.execute("SELECT to_regclass('items')").fetchone()[0] is None


def test_pg_dump_and_restore_of_data(busbar, cluster, database, tmp_path):
    """A tool that reads the catalog thoroughly: pg_dump through the proxy gives what pg_dump straight gives."""
    assert busbar.psql(script=SESSION).returncode == 0
    dumps = []
    for endpoint in (busbar, Endpoint(cluster.host, cluster.port, database)):
        done = subprocess.run([f"{cluster.bindir}/pg_dump", "-h", endpoint.host, "-p", str(endpoint.port), "-U", "postgres", database], capture_output=True,
                              text=True, timeout=60, check=True, env=clean_environment(PGPASSWORD=endpoint.password or ""))
        dumps.append(re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.M))
    assert dumps[0] == dumps[1] and "CREATE TABLE public.items" in dumps[0]


def test_pgbench(busbar, cluster):
    """A load tool: initialisation with COPY and VACUUM, then the three query modes."""
    def pgbench(*options):
        done = subprocess.run([f"{cluster.bindir}/pgbench", "-h", busbar.host, "-p", str(busbar.port), "-U", "postgres", *options, busbar.dbname],
                              capture_output=True, text=True, timeout=120, check=False, env=clean_environment(PGPASSWORD=busbar.password))
        assert done.returncode == 0, done.stderr
        return done.stdout

    pgbench("-i", "-s", "1", "-q")
    for mode in ("simple", "extended", "prepared"):
        out = pgbench("-n", "-M", mode, "-c", "4", "-t", "50")
        assert "number of transactions actually processed: 200/200" in out
        assert "number of failed transactions: 0 (0.000%)" in out
