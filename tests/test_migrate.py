# SPDX-License-Identifier: Apache-2.0
"""busbar migrate, rollback, status, new: the thin path and its options, on a real PostgreSQL."""

import json
import os
import re

import pytest


V1, V2, V3, V4 = 20240101000001, 20240101000002, 20240101000003, 20240101000004


def versions(sql, table="schema_migrations"):
    if sql.execute("SELECT to_regclass(%s)", [table]).fetchone()[0] is None:
        return []
    return [row[0] for row in sql.execute(f"SELECT version FROM {table} ORDER BY 1").fetchall()]


def exists(sql, name):
    return sql.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()[0]


def three(project):
    project.migration(V1, "create_items", "CREATE TABLE items (id bigint PRIMARY KEY, name text);", "DROP TABLE items;")
    project.migration(V2, "add_note", "ALTER TABLE items ADD COLUMN note text;", "ALTER TABLE items DROP COLUMN note;")
    project.migration(V3, "fill", "INSERT INTO items VALUES (1, 'a;b', NULL);\nUPDATE items SET note = $$x;y$$;", "DELETE FROM items;")


def test_new_migrate_status_rollback(project, sql):
    made = project.run("new", "Add TestTable1").ok().out.strip()
    assert re.fullmatch(r"priv/repo/migrations/\d{14}_add_test_table1\.sql", made)
    with open(project.path(made), "w", encoding="utf-8") as file:
        file.write("-- migrate:up\nCREATE TABLE test_table1 (id int);\n-- migrate:down\nDROP TABLE test_table1;\n")
    version = int(made.split("/")[-1][:14])
    others = [project.run("new", "more").ok().out.strip() for _ in range(3)]
    assert len({os.path.basename(path)[:14] for path in [made, *others]}) == 4
    for path in others:
        os.unlink(project.path(path))
    assert f"down      {version}  add_test_table1" in project.run("status").ok().out
    assert not exists(sql, "schema_migrations"), "status writes nothing"
    out = project.run("migrate").ok().out
    assert re.search(rf"up +{version}  add_test_table1  \(\d+\.\d\d\d s\)", out)
    assert versions(sql) == [version] and exists(sql, "test_table1")
    status = project.run("status").ok().out
    assert "Status    Migration ID    Migration Name" in status and f"  up        {version}  add_test_table1" in status
    assert "nothing to migrate" in project.run("migrate").ok().out
    project.run("rollback", "--repo", "default", "--step", "1").ok()
    assert versions(sql) == [] and not exists(sql, "test_table1")


def test_table_is_ecto_s(project, sql):
    three(project)
    project.run("migrate").ok()
    columns = sql.execute("SELECT column_name, data_type, datetime_precision, is_nullable FROM information_schema.columns"
                          " WHERE table_name = 'schema_migrations' ORDER BY ordinal_position").fetchall()
    assert columns == [("version", "bigint", None, "NO"), ("inserted_at", "timestamp without time zone", 0, "YES")]
    age = sql.execute("SELECT extract(epoch FROM timezone('UTC', now()) - max(inserted_at)) FROM schema_migrations").fetchone()[0]
    assert 0 <= age < 60
    facts = sql.execute("SELECT version, name, kind, state, statements, done, length(checksum), duration_ms >= 0, run_by LIKE '%%@%%'"
                        " FROM busbar_migrations ORDER BY 1").fetchall()
    assert facts[2] == (V3, "fill", "schema", "up", 2, 2, 64, True, True)


@pytest.mark.parametrize("arguments, expected", [
    ((), [V1, V2, V3]), (("--all",), [V1, V2, V3]), (("--step", "2"), [V1, V2]), (("--to", str(V2)), [V1, V2]),
    (("--to-exclusive", str(V2)), [V1])])
def test_targets_up(project, sql, arguments, expected):
    three(project)
    project.run("migrate", *arguments).ok()
    assert versions(sql) == expected


@pytest.mark.parametrize("arguments, expected", [
    (("--step", "2"), [V1]), (("--to", str(V2)), [V1]), (("--to-exclusive", str(V2)), [V1, V2]), (("--all",), [])])
def test_targets_down(project, sql, arguments, expected):
    three(project)
    project.run("migrate").ok()
    project.run("rollback", "--repo", "default", *arguments).ok()
    assert versions(sql) == expected


def test_rollback_wants_repo_and_target(project):
    three(project)
    assert "needs a repo and a target" in project.run("rollback", "--step", "1").failed(2).err
    assert "needs a repo and a target" in project.run("rollback", "--repo", "default").failed(2).err
    assert "exclude each other" in project.run("rollback", "--repo", "default", "--step", "1", "--to", "1").failed(2).err


def test_a_failed_migration_leaves_nothing(project, sql):
    three(project)
    project.migration(V4, "broken", "CREATE TABLE half (id int);\n\nINSERT INTO half\n  VALUES ('x');\nSELECT 1;")
    done = project.run("migrate").failed()
    assert f"{V4}_broken.sql line 5: statement 2 of 3 failed" in done.err and "invalid input syntax" in done.err
    assert versions(sql) == [V1, V2, V3] and not exists(sql, "half")
    assert sql.execute("SELECT count(*) FROM busbar_migrations").fetchone()[0] == 3


def test_a_syntax_error_is_placed(project, sql):
    project.migration(V1, "broken", "CREATE TABLE one (id int);\n-- then\nCREATE TABEL two (id int);")
    done = project.run("migrate").failed()
    assert "line 4: statement 2 of 2 failed: syntax error" in done.err
    assert versions(sql) == [] and not exists(sql, "one")


@pytest.mark.parametrize("text, line", [
    ("SELECT 'äöü€';\n-- why\nSELECT 1,\n  nothing FROM items;", 5), ("-- a comment\n\nSELECT 1;\n/* b */\n\nSELECT 1/0;", 7)])
def test_the_line_of_an_error(project, text, line):
    project.migration(V1, "broken", "CREATE TABLE items (id int);\n" + text)
    assert f"line {line + 1}: statement 3 of 3 failed" in project.run("migrate").failed().err


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN", "ROLLBACK", "CREATE INDEX CONCURRENTLY i ON items (name)"])
def test_refused_before_anything_runs(project, sql, statement):
    three(project)
    project.migration(V4, "steers", f"SELECT 1;\n{statement};")
    done = project.run("migrate").failed()
    assert f"{V4}_steers.sql line 3" in done.err and "transaction=off" in done.err
    assert versions(sql) == []


def test_server_refuses_in_transaction(project):
    project.migration(V1, "vacuum", "VACUUM;")
    assert "-- busbar: transaction=off" in project.run("migrate").failed().err


def test_pairs_and_files_without_markers(project, sql):
    project.write(f"priv/repo/migrations/{V1}.create_a.up.sql", "CREATE TABLE a (id int);")
    project.write(f"priv/repo/migrations/{V1}.create_a.down.sql", "DROP TABLE a;")
    project.write(f"priv/repo/migrations/{V2}_create_b.sql", "CREATE TABLE b (id int); -- no marker\n")
    project.write("priv/repo/migrations/README.md", "not one")
    project.run("migrate").ok()
    assert exists(sql, "a") and exists(sql, "b")
    assert "has no way back" in project.run("rollback", "--repo", "default", "--step", "1").failed().err
    sql.execute("DELETE FROM schema_migrations WHERE version = %s", [V2])
    project.run("rollback", "--repo", "default", "--step", "1").ok()
    assert not exists(sql, "a")


def test_two_files_of_one_version(project):
    project.migration(V1, "one", "SELECT 1;")
    project.migration(V1, "two", "SELECT 1;")
    assert "two migrations have the version" in project.run("status").failed().err


def test_several_paths_are_merged(project, sql):
    project.migration(V2, "second", "ALTER TABLE t ADD COLUMN b int;", folder="more")
    project.migration(V1, "first", "CREATE TABLE t (a int);", folder="db")
    project.run("migrate", "--migrations-path", "more", "--migrations-path", "db").ok()
    assert versions(sql) == [V1, V2]


def test_data_migrations_wait_for_their_word(project, sql):
    three(project)
    project.migration(V4, "backfill", "INSERT INTO items VALUES (7);", folder="priv/repo/data_migrations")
    project.run("migrate").ok()
    assert versions(sql) == [V1, V2, V3]
    assert "backfill  (data)" in project.run("status", "--exit-code").ok().out
    project.run("migrate", "--data").ok()
    assert versions(sql) == [V1, V2, V3, V4]
    assert "data_migrations/" in project.run("new", "more", "--data").ok().out


def test_order(project, sql):
    three(project)
    project.run("migrate").ok()
    project.migration(V1 - 1, "late", "SELECT 1;")
    assert "late  (out of order)" in project.run("status").ok().out
    assert "older than migrations" in project.run("migrate", "--strict-version-order").failed().err
    assert V1 - 1 not in versions(sql)
    assert "older than migrations" in project.run("migrate").ok().err
    assert V1 - 1 in versions(sql)


def test_status_tells_what_is_wrong(project, sql):
    three(project)
    project.run("migrate").ok()
    project.run("status", "--exit-code").ok()
    project.migration(V2, "add_note", "ALTER TABLE items ADD COLUMN note varchar;", "SELECT 1;")
    sql.execute("INSERT INTO schema_migrations VALUES (7, now())")
    project.migration(V4, "pending", "SELECT 1;")
    done = project.run("status", "--exit-code").failed(3)
    assert "up        7               ** FILE NOT FOUND **" in done.out
    assert "add_note  (edited after it ran)" in done.out
    listed = {m["version"]: m for m in json.loads(project.run("status", "--json").ok().out)["migrations"]}
    assert listed[str(V2)]["edited"] and not listed["7"]["file_found"] and listed[str(V4)]["status"] == "down"
    assert "edited after it ran" in project.run("migrate").ok().err
    project.run("repair", str(V2), "--action", "accept").ok()
    project.run("repair", "7", "--action", "down").ok()
    project.run("status", "--exit-code").ok()


def test_a_changed_way_back_is_no_edit(project):
    three(project)
    project.run("migrate").ok()
    project.migration(V2, "add_note", "ALTER TABLE items ADD COLUMN note text;", "-- another\nALTER TABLE items DROP COLUMN note;")
    project.run("status", "--exit-code").ok()


def test_output(project):
    three(project)
    out = project.run("migrate", "--format", "ecto", "--step", "1").ok().out
    assert re.search(rf"^\d\d:\d\d:\d\d\.\d\d\d \[info\] == Running {V1} create_items forward$", out, re.M)
    assert re.search(rf"^\d\d:\d\d:\d\d\.\d\d\d \[info\] == Migrated {V1} in \d+\.\ds$", out, re.M)
    out = project.run("migrate", "--log-sql", "--step", "1").ok().out
    assert "ALTER TABLE items ADD COLUMN note text;" in out and "\033" not in out
    done = project.run("migrate", "--quiet").ok()
    assert done.out == "" and done.err == ""


def test_settings_of_a_migration_end_with_it(project, sql):
    """What pg_dump writes at the head of its files must not be felt by the next migration."""
    project.migration(V1, "path", "SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.one (id int);")
    project.migration(V2, "next", "CREATE TABLE two (id int);")
    project.run("migrate").ok()
    assert exists(sql, "public.two") and versions(sql) == [V1, V2]


def test_source_and_prefix(project, sql):
    project.migration(V1, "t", "CREATE TABLE t (id int);", "DROP TABLE t;")
    project.run("migrate", "--prefix", "tenant_a", "--prefix", "Tenant B", "--migration-source", "history").ok()
    for schema in ("tenant_a", '"Tenant B"'):
        assert exists(sql, f"{schema}.t") and versions(sql, f"{schema}.history") == [V1]
    assert not exists(sql, "public.t") and not exists(sql, "public.history")
    project.run("rollback", "--repo", "default", "--step", "1", "--prefix", "tenant_a", "--migration-source", "history").ok()
    assert not exists(sql, "tenant_a.t") and exists(sql, '"Tenant B".t')


def test_several_repos(project, cluster, database, sql):
    other = cluster.create_database()
    cluster.used.append(other)
    project.env["OTHER_URL"] = cluster.url(other)
    project.write("busbar.toml", """
        [repo.main]            # the first
        url_env = "DATABASE_URL"
        [repo.billing]
        url_env = 'OTHER_URL'
        priv = "priv/billing"
        migration_source = "billing_migrations"
        lock = "advisory"
        pool_size = 2
    """)
    project.migration(V1, "m", "CREATE TABLE m (id int);", "DROP TABLE m;", folder="priv/main/migrations")
    project.migration(V2, "b", "CREATE TABLE b (id int);", "DROP TABLE b;", folder="priv/billing/migrations")
    out = project.run("migrate").ok().out
    assert "in main" in out and "in billing" in out
    with cluster.connect(other) as second:
        assert versions(sql) == [V1] and versions(second, "billing_migrations") == [V2]
        project.run("rollback", "--repo", "billing", "--step", "1").ok()
        assert versions(sql) == [V1] and versions(second, "billing_migrations") == []
    assert "no repo nobody" in project.run("migrate", "--repo", "nobody").failed(2).err
    project.write("busbar.toml", "[repo.main]\nurl_env = \"DATABASE_URL\"\ncolour = 'red'\n")
    assert "busbar.toml: line 3: unknown key colour" in project.run("status").failed(2).err


def test_without_a_database(project):
    assert "set DATABASE_URL" in project.run("status", DATABASE_URL="").failed(2).err
    done = project.run("status", DATABASE_URL="postgresql://u:hidden-secret@127.0.0.1:1/x").failed()
    assert "refused" in done.err and "hidden-secret" not in done.err
    assert "hidden" not in project.run("status", DATABASE_URL="postgresql://u:hidden@h:port/x").failed().err


def test_options_from_elsewhere(project, cluster, database, sql):
    """Variables, .env, a config file by another name, the URL as a flag."""
    project.migration(V1, "t", "CREATE TABLE t (id int);", folder="priv/main/migrations")
    project.write("deploy.toml", f'[repo.main]\nurl = "{cluster.url(database)}"\nlock = "off"\n')
    project.env["DATABASE_URL"] = None
    project.run("migrate", "--config", "deploy.toml").ok()
    project.run("status", "--exit-code", BUSBAR_CONFIG="deploy.toml").ok()
    assert "cannot read missing.toml" in project.run("status", "--config", "missing.toml").failed().err
    project.run("status", "--migrations-path", "priv/main/migrations", "--database-url", cluster.url(database), "--exit-code").ok()
    project.write(".env", f"DATABASE_URL={cluster.url(database)}\nBUSBAR_MIGRATION_SOURCE=history\n")
    project.run("migrate", "--prefix", "other", "--migrations-path", "priv/main/migrations", "--lock", "off").ok()
    assert versions(sql, "other.history") == [V1]
    assert "--lock is table" in project.run("migrate", "--lock", "perhaps", "--migrations-path", "priv/main/migrations").failed(2).err
    assert "CONFIGURATION ERROR" in project.run("migrate", "--lock-timeout", "soon").failed().err


def test_load_by_force(project, sql):
    project.migration(V1, "t", "CREATE TABLE t (id int);")
    project.run("migrate").ok()
    project.write("more.sql", "CREATE TABLE more (id int);\n")
    project.run("load", "--file", "more.sql").failed()
    assert not exists(sql, "more")
    project.run("load", "--file", "more.sql", "--force").ok()
    assert exists(sql, "more")
    project.write("more.sql", "CREATE TABLE even_more (id int);\nSELECT 1/0;\n")
    assert "psql has failed" in project.run("load", "--file", "more.sql", "--force").failed().err
    assert not exists(sql, "even_more")


def test_a_role_without_rights(project, cluster, database, sql):
    """Not a riddle either: who may not make the table is told so, and may read what is there."""
    sql.execute("DROP ROLE IF EXISTS weak")
    sql.execute("CREATE ROLE weak LOGIN")
    project.migration(V1, "t", "CREATE TABLE t (id int);")
    sql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    weak = cluster.url(database, user="weak")
    done = project.run("migrate", DATABASE_URL=weak).failed()
    assert 'cannot create "public"."schema_migrations": permission denied for schema public' in done.err
    project.run("migrate").ok()
    sql.execute("GRANT SELECT ON schema_migrations, busbar_migrations TO weak")
    project.run("status", "--exit-code", DATABASE_URL=weak).ok()
    sql.execute("DROP OWNED BY weak")
    sql.execute("DROP ROLE weak")


def test_many_in_a_new_database(project, sql):
    """They share transactions, and nobody can tell: an error is that of its migration alone, what ran before it is kept."""
    for n in range(70):
        project.migration(V1 + n, f"t{n}", f"CREATE TABLE t{n} (id int);" if n % 10 else f"INSERT INTO t{n - 1} VALUES ({n});" if n else "CREATE TABLE t0 ();")
    project.migration(V1 + 33, "t33", "CREATE TABLE t33 (id int);\n\nCREATE TABLE t1 (id int);")
    done = project.run("migrate").failed()
    assert f"{V1 + 33}_t33.sql line 4: statement 2 of 2 failed" in done.err and 'relation "t1" already exists' in done.err
    assert versions(sql) == [V1 + n for n in range(33)] and not exists(sql, "t33")
    assert len(re.findall("^up ", done.out, re.M)) == 33
    project.migration(V1 + 33, "t33", "CREATE TABLE t33 (id int);")
    project.run("migrate").ok()
    assert versions(sql) == [V1 + n for n in range(70)]
    assert sql.execute("SELECT count(*), sum(statements) FROM busbar_migrations WHERE state = 'up'").fetchone() == (70, 70)
    project.run("status", "--exit-code").ok()


def test_what_one_transaction_cannot_do(project, sql):
    """A new value of an enum cannot be used in the transaction that adds it: these run one by one."""
    project.migration(V1, "mood", "CREATE TYPE mood AS ENUM ('sad');")
    project.migration(V2, "ok", "ALTER TYPE mood ADD VALUE 'ok';")
    project.migration(V3, "use", "CREATE TABLE person (m mood DEFAULT 'ok' CHECK (m <> 'ok'));")
    project.run("migrate").ok()
    assert versions(sql) == [V1, V2, V3]
