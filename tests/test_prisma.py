# SPDX-License-Identifier: Apache-2.0
"""Prisma itself, spec/scenarios-proxy.md 85, 101–103 and 105: db pull as user prisma, migrate deploy, and its shadow database."""

import os
import shutil

import pytest

from harness.web import migrations
from test_frameworks import FOLDER, sources

pytest.register_assert_rewrite("drivers")
import drivers  # noqa: E402

EMPTY = 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'


@pytest.fixture(scope="session")
def packages():
    return drivers.node_modules(os.path.join(FOLDER, "prisma"))


@pytest.fixture
def prisma(packages, busbar, tmp_path):
    """Runs Prisma's command in a folder with its configuration; returns (status, what it printed)."""
    shutil.copy(os.path.join(FOLDER, "prisma", "prisma.config.mjs"), tmp_path)
    os.symlink(packages, tmp_path / "node_modules")
    absent = tmp_path / "engine"  # the WebAssembly one is used; without this it would look for the other
    absent.touch(0o755)
    (tmp_path / "schema.prisma").write_text(EMPTY)

    def run(*arguments, user="postgres"):
        done = drivers.run(busbar, "node", "node_modules/prisma/build/index.js", *arguments, cwd=tmp_path, HOME=tmp_path,
                           PGUSER=user,
                           DATABASE_URL="postgresql://not-used", PRISMA_SCHEMA_ENGINE_BINARY=absent,
                           PRISMA_QUERY_ENGINE_LIBRARY=absent,
                           CHECKPOINT_DISABLE="1", PRISMA_HIDE_UPDATE_MESSAGE="1")
        return done.returncode, done.stdout + done.stderr

    return run


def migration(folder, name, sql):
    path = folder / "migrations" / name
    path.mkdir(parents=True)
    (path / "migration.sql").write_text(sql)
    (folder / "migrations" / "migration_lock.toml").write_text('provider = "postgresql"\n')


def pulled(prisma, folder):
    """The models of `db pull` as user prisma: {name: [line, …]}, white space as one blank."""
    status, printed = prisma("db", "pull", "--force", user="prisma")
    assert status == 0, printed
    found, name = {}, None
    for line in (folder / "schema.prisma").read_text().splitlines():
        words = line.split()
        if words[:1] in (["model"], ["enum"]):
            name = words[1]
            found[name] = []
        elif name and words == ["}"]:
            name = None
        elif name and words:
            found[name].append(" ".join(words))
    return found


def test_101_empty(prisma, sql):
    sql.execute("CREATE TABLE socks (id int8 PRIMARY KEY)")
    status, printed = prisma("db", "pull", user="prisma")
    assert status == 1 and "The introspected database was empty" in printed, printed


def test_102_only_electrified_tables(prisma, busbar, sql, tmp_path):
    """Models with relations, enums, indexes; not a word of what is not electrified. Any other user sees all."""
    sql.execute("""
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE checked (id text PRIMARY KEY, count int4 NOT NULL, small int2, mood mood, at timestamptz, j jsonb);
        CREATE TABLE pointy (id text PRIMARY KEY, checked_id text NOT NULL REFERENCES checked (id) ON DELETE CASCADE);
        CREATE TABLE pointy2 (id text PRIMARY KEY, amount int8 NOT NULL, note varchar);
        CREATE UNIQUE INDEX pointy2_amount ON pointy2 (amount); CREATE INDEX pointy2_note ON pointy2 (note DESC);
        CREATE TABLE secret_table (id serial PRIMARY KEY, points_to text REFERENCES checked (id)); CREATE INDEX secret_index ON secret_table (points_to);
        CREATE TYPE secret_mood AS ENUM ('secret');
        CREATE VIEW secret_view AS SELECT * FROM secret_table;
    """)
    with busbar.wire() as wire:
        for table in ("checked", "pointy", "pointy2"):
            wire.query(f"ALTER TABLE {table} ENABLE ELECTRIC").ok()
    assert pulled(prisma, tmp_path) == {
        "checked": ["id String @id", "count Int", "small Int? @db.SmallInt", "mood mood?", "at DateTime? @db.Timestamptz(6)",
                    "j Json?", "pointy pointy[]"],
        "pointy": ["id String @id", "checked_id String",
                   "checked checked @relation(fields: [checked_id], references: [id], onDelete: Cascade, onUpdate: NoAction)"],
        "pointy2": ["id String @id", "amount BigInt @unique(map: \"pointy2_amount\")", "note String? @db.VarChar",
                    "@@index([note(sort: Desc)], map: \"pointy2_note\")"],
        "mood": ["good", "bad"]}
    status, printed = prisma("db", "pull", "--print")
    assert status == 0 and "model secret_table" in printed and "enum secret_mood" in printed, printed


def test_103_two_relations(prisma, busbar, tmp_path):
    with busbar.wire() as wire:
        wire.query("CREATE TABLE vertex (id text PRIMARY KEY); CREATE TABLE edge (id text PRIMARY KEY, \"from\" text NOT NULL REFERENCES vertex (id),"
                   " \"to\" text NOT NULL REFERENCES vertex (id)); ALTER TABLE vertex ENABLE ELECTRIC; ALTER TABLE edge ENABLE ELECTRIC").ok()
    models = pulled(prisma, tmp_path)
    assert [line for line in models["edge"] if "@relation" in line] == [
        f'vertex_edge_{c}Tovertex vertex @relation("edge_{c}Tovertex", fields: [{c}], references: [id], onDelete: NoAction, onUpdate: NoAction)' for c in ("from", "to")]
    assert [line for line in models["vertex"] if "edge[]" in line] == [f'edge_edge_{c}Tovertex edge[] @relation("edge_{c}Tovertex")' for c in ("from", "to")]


ITEMS = 'CREATE TABLE "items" ("id" TEXT NOT NULL, CONSTRAINT "items_pkey" PRIMARY KEY ("id"));\nALTER TABLE "items" ENABLE ELECTRIC;\n'
AMOUNT = 'ALTER TABLE "items" ADD COLUMN "amount" INTEGER;\n'
INDEX = 'CREATE INDEX "items_amount" ON "items" ("amount");\n'


def test_85_migrate_deploy(prisma, busbar, ledger, tmp_path):
    """The versions are Prisma's; what clients cannot follow fails the migration, and nothing of it stays."""
    names = ["20240101000001_items", "20240101000002_amount", "20240101000003_index"]
    for name, text in zip([*names, "20240101000004_gone"], (ITEMS, AMOUNT, INDEX, 'ALTER TABLE "items" DROP COLUMN "amount";\n')):
        migration(tmp_path, name, text)
    status, printed = prisma("migrate", "deploy")
    assert status == 1 and names[2] not in printed and 'Cannot drop column "amount" of electrified table' in printed, printed
    assert ledger.version_names == [n.split("_")[0] for n in names]
    assert sources(ledger) == [[("Prisma", n.split("_")[0], n)] for n in names]
    assert [m.version for m in migrations(busbar.http_port)] == [n.split("_")[0] for n in names]
    ledger.consistent()


def test_105_shadow_database(prisma, busbar, ledger, sql, tmp_path):
    """Prisma replays the migrations in a database that it makes: with ENABLE ELECTRIC in them, and nothing is captured."""
    migration(tmp_path, "20240101000001_items", ITEMS)
    migration(tmp_path, "20240101000002_amount", AMOUNT)
    (tmp_path / "schema.prisma").write_text(EMPTY + "model items {\n  id String @id\n  amount Int?\n  note String?\n}\n")
    status, printed = prisma("migrate", "diff", "--from-migrations", "migrations", "--to-schema-datamodel", "schema.prisma",
                             "--script")
    assert status == 0 and 'ALTER TABLE "items" ADD COLUMN     "note" TEXT;' in printed and printed.count("ALTER TABLE") == 1, printed
    assert ledger.versions == [] and sql.execute("SELECT to_regclass('items')").fetchone() == (None,)
    assert sql.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'prisma_migrate_shadow_db%%'").fetchone() == (0,)
    assert "prisma_migrate_shadow_db" in busbar.log()
