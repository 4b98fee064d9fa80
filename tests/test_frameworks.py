# SPDX-License-Identifier: Apache-2.0
"""Migration tools through the proxy, each with its own way to migrate: what versions their migrations get.

Their programs are in ``frameworks/``; each makes an application of three migrations (a table that is electrified, a column, an index),
runs them, takes the index back and tries to take the column back, which clients cannot follow. docs/tools.md is for users.
"""

import os

import pytest

from harness.electric import GENERATED
from harness.web import migrations

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frameworks")
REFUSED = 'Cannot drop column "amount" of electrified table "public"."items"'
TABLE = ['CREATE TABLE "items"']
COLUMN = ['ALTER TABLE "items" ADD COLUMN "amount" INTEGER']
INDEX = ['CREATE INDEX "items_amount" ON "items"']
UNDONE = ['DROP INDEX IF EXISTS "items_amount"']
ANY = "generated"


def sources(ledger):
    """What the tools call the migrations: [(framework, version, name)] of each migration, in order."""
    rows = ledger.execute("SELECT m.seq, s.framework, s.version, s.name FROM busbar.migration m LEFT JOIN busbar.migration_source s USING (seq)"
                          " ORDER BY m.seq, s.position").fetchall()
    return [[row[1:] for row in rows if row[0] == seq and row[1]] for seq in dict.fromkeys(row[0] for row in rows)]


def expect(busbar, ledger, versions, statements):
    """The history has these versions in this order, with these statements; ANY stands for a generated one."""
    found = ledger.version_names
    assert [ANY if GENERATED.match(name) and wanted == ANY else name for name, wanted in zip(found, versions)] == versions, found
    assert len(found) == len(versions), found
    served = migrations(busbar.http_port)
    assert [m.version for m in served] == found
    for migration, wanted in zip(served, statements, strict=True):
        lines = [" ".join(text.split()) for text in migration.sql.split(";\n\n")]
        assert len(lines) == len(wanted) and all(line.startswith(start) for line, start in zip(lines, wanted)), (migration.sql, wanted)
    ledger.consistent()


STEPS = [TABLE, COLUMN, INDEX]
STAMPS = ["20240101000001", "20240101000002", "20240101000003"]
MILLIS = ["1704067200000", "1704067200001", "1704067200002"]

# tool: framework, versions, names, what is undone afterwards (a version, or None when the tool has no way back)
NODE = {
    "knex": ("Knex", STAMPS, [f"{s}_{n}.js" for s, n in zip(STAMPS, ["items", "amount", "index"])], ANY),
    "drizzle": ("Drizzle", ["1704067200001", "1704067200002", "1704067200003"], [None] * 3, None),
    "typeorm": ("TypeORM", MILLIS, [f"{n}{s}" for s, n in zip(MILLIS, ["items", "amount", "index"])], ANY),
    "mikroorm": ("MikroORM", STAMPS, [f"Migration{s}_{n}" for s, n in zip(STAMPS, ["items", "amount", "index"])], ANY),
    "node-pg-migrate": ("node-pg-migrate", MILLIS, [f"{s}_{n}" for s, n in zip(MILLIS, ["items", "amount", "index"])], ANY),
    "graphile-migrate": ("graphile-migrate", ["000001", "000002", "000003"], ["000001.sql", "000002.sql", "000003.sql"], None),
    "databases": ("@databases", ["9", "10", "11"], ["9-items.sql", "10-amount.sql", "11-index.sql"], None),
    "kysely": ("Kysely", ["2024-01-01-items", "2024-01-02-amount", "2024-01-03-index"], [None] * 3, ANY),
}


@pytest.fixture(scope="session")
def modules():
    return drivers.node_modules(os.path.join(FOLDER, "node"))


@pytest.fixture
def node(modules, busbar, tmp_path):
    """Runs a tool of npm in a folder of its own; what it printed."""

    def run(tool):
        done = drivers.run(busbar, "node", os.path.join(FOLDER, "node", "tools.js"), tool, cwd=tmp_path, NODE_PATH=modules)
        assert done.returncode == 0 and done.stderr == "", f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("tool", NODE)
def test_node(node, busbar, ledger, tool):
    framework, versions, names, undone = NODE[tool]
    printed = node(tool)
    expect(busbar, ledger, versions + ([undone] if undone else []), STEPS + ([UNDONE] if undone else []))
    assert sources(ledger)[:3] == [[(framework, version, name)] for version, name in zip(versions, names)]
    assert not undone or REFUSED in printed


def test_knex_all_in_one_transaction(node, busbar, ledger):
    """migrate:latest runs what is new in one transaction: one migration for clients, with the last one's version; all names are kept."""
    assert REFUSED in node("knex-batch")
    expect(busbar, ledger, [STAMPS[2], ANY], [TABLE + COLUMN + INDEX, UNDONE])
    assert [version for _, version, _ in sources(ledger)[0]] == STAMPS


def test_knex_another_table(node, busbar, ledger):
    """Known by its columns."""
    node("knex-renamed")
    expect(busbar, ledger, STAMPS[:1], [TABLE])
    assert sources(ledger) == [[("Knex", STAMPS[0], f"{STAMPS[0]}_items.js")]]


def test_sequelize(node, busbar, ledger):
    """The session is told; what is undone and done again gets a version of its own and stops nothing."""
    assert REFUSED in node("sequelize")
    names = [f"{s}-{n}" for s, n in zip(STAMPS, ["items", "amount", "index"])]
    expect(busbar, ledger, [*names, ANY, names[2] + "_2"], [*STEPS, UNDONE, INDEX])
    assert sources(ledger)[4] == [("session", names[2], None)]


def test_sequelize_without_a_transaction(node, busbar, ledger):
    """Each statement is a migration of its own with a generated version; nothing is lost."""
    node("sequelize-plain")
    expect(busbar, ledger, [ANY] * 3, STEPS)


def test_db_migrate(node, busbar, ledger):
    assert REFUSED in node("db-migrate")
    expect(busbar, ledger, [*STAMPS, ANY], [*STEPS, UNDONE])


def test_postgrator(node, busbar, ledger):
    assert REFUSED in node("postgrator")
    expect(busbar, ledger, ["1", "2", "3", ANY], [*STEPS, UNDONE])


@pytest.fixture
def program(busbar, tmp_path):
    """Runs a program of ``frameworks/`` in a folder of its own; what it printed."""

    def run(*argv, **environment):
        words = [os.path.join(FOLDER, word) if os.path.isfile(os.path.join(FOLDER, word)) else word for word in argv]
        done = drivers.run(busbar, *words, cwd=tmp_path, **environment)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("how", ["tell", "plain"])
def test_django(program, busbar, ledger, how):
    """Where Django puts SQL off to the end of a migration (foreign keys, LIKE indexes of new tables) its row comes after the transaction."""
    assert REFUSED in program("/usr/bin/python3", "python/django_app.py", how)
    names = ["0001_items" if how == "tell" else ANY, "0002_amount", "0003_index"]
    expect(busbar, ledger, [*names, ANY, "0003_index_2"], [TABLE + ['CREATE INDEX "items_id_'], COLUMN, INDEX, UNDONE, INDEX])
    assert sources(ledger)[1:] == [[("Django", "0002_amount", "shop.0002_amount")], [("Django", "0003_index", "shop.0003_index")], [],
                                   [("Django", "0003_index", "shop.0003_index")]]


REVISIONS = ["ae01", "1975ea83b712", "b103"]


def test_alembic(program, busbar, ledger):
    """A downgrade writes the revision that it goes to: it was there before, and the label tells them apart."""
    assert REFUSED in program("/usr/bin/python3", "python/alembic_app.py", "each")
    expect(busbar, ledger, [*REVISIONS, REVISIONS[1] + "_2", REVISIONS[2] + "_2"], [*STEPS, UNDONE, INDEX])
    assert sources(ledger)[3:] == [[("Alembic", REVISIONS[1], None)], [("Alembic", REVISIONS[2], None)]]


@pytest.mark.parametrize("how", ["batch", "renamed"])
def test_alembic_otherwise(program, busbar, ledger, how):
    """All in one transaction, as is its default: alembic_version has one row, the last revision. And another version table."""
    assert REFUSED in program("/usr/bin/python3", "python/alembic_app.py", how)
    versions = ledger.version_names
    assert versions[:-2] == (REVISIONS[2:] if how == "batch" else REVISIONS) and versions[-1] == REVISIONS[2] + "_2"
    assert {source[0][0] for source in sources(ledger)} == {"Alembic"}
    ledger.consistent()


def test_rails(program, busbar, ledger):
    assert REFUSED in program("ruby", "ruby/rails.rb")
    expect(busbar, ledger, [*STAMPS, ANY, STAMPS[2] + "_2"], [*STEPS, UNDONE, INDEX])
    assert sources(ledger)[0] == [("Rails or dbmate", STAMPS[0], None)]


def test_rails_concurrently(program, busbar, ledger):
    """disable_ddl_transaction!: the index is a migration of its own, and the row comes after it."""
    program("ruby", "ruby/rails.rb", "concurrently")
    expect(busbar, ledger, [*STAMPS, ANY], [*STEPS, ['CREATE INDEX "items_value" ON "items"']])


@pytest.mark.parametrize("how", ["stamps", "numbers"])
def test_sequel(program, busbar, ledger, how):
    assert REFUSED in program("ruby", "ruby/sequel.rb", how)
    versions = STAMPS if how == "stamps" else ["1", "2", "3"]
    expect(busbar, ledger, [*versions, ANY if how == "stamps" else "2_2"], [*STEPS, UNDONE])


@pytest.mark.parametrize("how", ["tell", "plain"])
def test_laravel(program, busbar, ledger, how):
    """Its row comes after the transaction of the migration: generated versions, or the session is told by an event."""
    assert REFUSED in program("php", "php/laravel.php", how)
    names = ["2024_01_01_000001_create_items", "2024_01_01_000002_add_amount", "2024_01_01_000003_index_amount"]
    expect(busbar, ledger, [*(names if how == "tell" else [ANY] * 3), ANY], [*STEPS, UNDONE])


def test_sqitch(program, busbar, ledger):
    """Scripts run in psql, the record is another connection's: the session is told by the script."""
    assert REFUSED in program("sh", "sqitch.sh")
    expect(busbar, ledger, ["items", "amount", "index", ANY], [*STEPS, UNDONE])


def test_sql_migrate(program, busbar, ledger):
    assert REFUSED in program("sh", "sql-migrate.sh")
    expect(busbar, ledger, [*STAMPS, ANY, STAMPS[2] + "_2"], [*STEPS, UNDONE, INDEX])
    assert sources(ledger)[0] == [("sql-migrate", STAMPS[0], f"{STAMPS[0]}-items.sql")]


def test_dbmate(program, modules, busbar, ledger):
    binary = os.path.join(modules, "@dbmate", "linux-x64", "bin", "dbmate")
    if not os.path.exists(binary):
        pytest.skip("npm has dbmate's program for other processors in other packages")
    os.chmod(binary, 0o755)
    assert REFUSED in program("sh", "dbmate.sh", binary)
    expect(busbar, ledger, [*STAMPS, ANY, STAMPS[2] + "_2"], [*STEPS, UNDONE, INDEX])
    assert sources(ledger)[0] == [("Rails or dbmate", STAMPS[0], None)]


# Tools that are not in Debian and not in npm (or not in a reasonable size): what they send, from their sources.

ITEMS = "CREATE TABLE items (id text PRIMARY KEY, value text);\nALTER TABLE items ENABLE ELECTRIC;\n"
AMOUNT = "ALTER TABLE items ADD COLUMN amount integer;\n"
AMOUNT_INDEX = "CREATE INDEX items_amount ON items (amount);\n"
SCRIPTS = [ITEMS, AMOUNT, AMOUNT_INDEX]
NO_COLUMN = "ALTER TABLE items DROP COLUMN amount;\n"


def run(wire, *statements):
    """Simple queries, and (text, parameters) in the extended protocol; all must succeed."""
    for statement in statements:
        (wire.query(statement) if isinstance(statement, str) else wire.extended(*statement)).ok()


PRISMA = """CREATE TABLE _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
);"""
INSERT = 'INSERT INTO "public"."_prisma_migrations" ("id", "checksum", "started_at", "migration_name") VALUES ($1,$2,$3,$4)'


def prisma_start(wire, name):
    run(wire, (INSERT, [f"id-{name}", "0" * 64, "2024-01-01 00:00:00+00", name]))


def prisma_end(wire, name):
    where = ' WHERE "public"."_prisma_migrations"."id" = $1'
    run(wire, ('UPDATE "public"."_prisma_migrations" SET "applied_steps_count" = "applied_steps_count" + 1' + where, [f"id-{name}"]),
        ('UPDATE "public"."_prisma_migrations" SET "finished_at" = now()' + where, [f"id-{name}"]))


@pytest.mark.parametrize("lock", [True, False])
def test_85_prisma_deploy(busbar, ledger, lock):
    """schema-engine, apply_migrations: the row before in a transaction of its own, the script as one query, the row updated after."""
    names = ["20230915175206_init", "20230915175207_electric", "20230916212444_many"]
    with busbar.wire() as wire:
        if lock:
            run(wire, "SELECT pg_advisory_lock(72707369)")
        run(wire, PRISMA)
        for name, script in zip(names, SCRIPTS):
            prisma_start(wire, name)
            run(wire, script)
            prisma_end(wire, name)
        prisma_start(wire, "20230917000000_gone")
        answer = wire.query(NO_COLUMN)
        assert answer.error["C"] == "EX010" and answer.error["M"] == REFUSED and answer.status == "I"
        run(wire, ('UPDATE "public"."_prisma_migrations" SET "logs" = $1 WHERE "id" = $2', [answer.error["M"], "id-20230917000000_gone"]))
    expect(busbar, ledger, [name.split("_")[0] for name in names], STEPS)
    assert sources(ledger) == [[("Prisma", name.split("_")[0], name)] for name in names] and {p for _, p in ledger.versions} == {2}


def test_85_prisma_resolve(busbar, ledger):
    """A baseline: resolve --applied writes a finished row and runs nothing; what is deployed later has its own versions."""
    with busbar.wire() as wire:
        run(wire, PRISMA, ITEMS, (INSERT.replace('"migration_name")', '"migration_name", "finished_at")').replace("$4)", "$4,$3)"),
                                  ["id-0", "0" * 64, "2024-01-01 00:00:00+00", "0_init"]))
        for name, script in (("20230915175207_electric", AMOUNT), ("20230916212444_many", AMOUNT_INDEX)):
            prisma_start(wire, name)
            run(wire, script)
            prisma_end(wire, name)
    expect(busbar, ledger, [ANY, "20230915175207", "20230916212444"], STEPS)


def test_prisma_of_another_session(busbar, ledger):
    """While Prisma runs, its lock tells its session from others; a name without '_' is the version."""
    with busbar.wire() as prisma, busbar.wire() as psql:
        run(prisma, "SELECT pg_advisory_lock(72707369)", PRISMA, ITEMS)
        prisma_start(prisma, "plain")
        run(psql, AMOUNT)
        run(prisma, AMOUNT_INDEX)
        prisma_end(prisma, "plain")
        run(prisma, "DROP INDEX items_amount")
    expect(busbar, ledger, [ANY, ANY, "plain", ANY], [TABLE, COLUMN, INDEX, UNDONE])


def golang_version(wire, version, dirty):
    run(wire, "BEGIN", 'TRUNCATE "public"."schema_migrations"',
        ('INSERT INTO "public"."schema_migrations" (version, dirty) VALUES ($1, $2)', [version, dirty]), "COMMIT")


def test_golang_migrate(busbar, ledger):
    """database/postgres: the version, dirty, in a transaction; the file as one query; the version, clean, in another."""
    with busbar.wire() as wire:
        run(wire, ("SELECT pg_advisory_lock($1)", ["1486364155"]),
            'CREATE TABLE IF NOT EXISTS "public"."schema_migrations" (version bigint not null primary key, dirty boolean not null)')
        for version, script in [("9", ITEMS), ("10", AMOUNT), ("11", AMOUNT_INDEX), ("10", "DROP INDEX items_amount")]:
            golang_version(wire, version, "true")
            run(wire, script)
            golang_version(wire, version, "false")
        golang_version(wire, "9", "true")
        assert wire.query(NO_COLUMN).error["C"] == "EX010"
    expect(busbar, ledger, ["9", "10", "11", "10_2"], [*STEPS, UNDONE])


def test_goose(busbar, ledger):
    """migration_sql.go: statements and the row in one transaction; NO TRANSACTION: the row after."""
    insert = "INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, $2)"
    with busbar.wire() as wire:
        run(wire, "BEGIN", "CREATE TABLE goose_db_version (id serial NOT NULL, version_id bigint NOT NULL, is_applied boolean NOT NULL,"
            " tstamp timestamp NULL default now(), PRIMARY KEY(id))", (insert, ["0", "true"]), "COMMIT")
        for version, script in zip(STAMPS, SCRIPTS):
            run(wire, "BEGIN", *script.splitlines(), (insert, [version, "true"]), "COMMIT")
        run(wire, "BEGIN", "DROP INDEX items_amount", ("DELETE FROM goose_db_version WHERE version_id=$1", [STAMPS[2]]), "COMMIT",
            "CREATE INDEX CONCURRENTLY items_amount ON items (amount)", (insert, [STAMPS[2], "true"]))
    expect(busbar, ledger, [*STAMPS, ANY, ANY], [*STEPS, UNDONE, INDEX])


FLYWAY = """CREATE TABLE "public"."%s" ("installed_rank" INT NOT NULL, "version" VARCHAR(50), "description" VARCHAR(200) NOT NULL,
    "type" VARCHAR(20) NOT NULL, "script" VARCHAR(1000) NOT NULL, "checksum" INTEGER, "installed_by" VARCHAR(100) NOT NULL,
    "installed_on" TIMESTAMP NOT NULL DEFAULT now(), "execution_time" INTEGER NOT NULL, "success" BOOLEAN NOT NULL)"""


@pytest.mark.parametrize("table", ["flyway_schema_history", "schema_version"])
def test_flyway(busbar, ledger, table):
    """DbMigrate: one connection on PostgreSQL; lock, statements and row in one transaction, all in the extended protocol (JDBC)."""
    insert = (f'INSERT INTO "public"."{table}" ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by",'
              ' "execution_time", "success") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)')
    with busbar.wire() as wire:
        run(wire, (FLYWAY % table, []))
        steps = [("1", "V1__items.sql", ITEMS), ("1.1", "V1_1__amount.sql", AMOUNT), ("2", "V2__index.sql", AMOUNT_INDEX), (None, "R__again.sql", "DROP INDEX items_amount")]
        for rank, (version, script, text) in enumerate(steps, 1):
            run(wire, ("BEGIN", []), ("SELECT pg_try_advisory_xact_lock(77431708279161)", []), *[(line, []) for line in text.splitlines()],
                (insert, [str(rank), version, "step", "SQL", script, "17", "postgres", "5", "true"]), ("COMMIT", []))
    expect(busbar, ledger, ["1", "1.1", "2", "R__again.sql"], [*STEPS, UNDONE])
    assert sources(ledger)[1] == [("Flyway", "1.1", "V1_1__amount.sql")]


def test_liquibase(busbar, ledger):
    """ChangeSet.execute commits before the row is written: generated, unless the change set tells the session."""
    table = ("CREATE TABLE public.databasechangelog (ID VARCHAR(255) NOT NULL, AUTHOR VARCHAR(255) NOT NULL, FILENAME VARCHAR(255) NOT NULL,"
             " DATEEXECUTED TIMESTAMP NOT NULL, ORDEREXECUTED INTEGER NOT NULL, EXECTYPE VARCHAR(10) NOT NULL, MD5SUM VARCHAR(35), DESCRIPTION VARCHAR(255),"
             " COMMENTS VARCHAR(255), TAG VARCHAR(255), LIQUIBASE VARCHAR(20), CONTEXTS VARCHAR(255), LABELS VARCHAR(255), DEPLOYMENT_ID VARCHAR(10))")
    row = ("INSERT INTO public.databasechangelog (ID, AUTHOR, FILENAME, DATEEXECUTED, ORDEREXECUTED, EXECTYPE) VALUES ('{0}', 'bob', 'changelog.xml', NOW(), {0}, 'EXECUTED')")
    with busbar.wire() as wire:
        run(wire, ("BEGIN", []), (table, []), ("COMMIT", []))
        for n, (tell, script) in enumerate(zip([True, False, False], SCRIPTS), 1):
            told = [("SET LOCAL busbar.migration_version = '1'", [])] if tell else []
            run(wire, ("BEGIN", []), *told, *[(line, []) for line in script.splitlines()], ("COMMIT", []), ("BEGIN", []), (row.format(n), []), ("COMMIT", []))
    expect(busbar, ledger, ["1", ANY, ANY], STEPS)
