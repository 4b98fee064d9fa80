-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 3: migration frameworks, and what each of them calls a migration.
--
-- A framework is known by the table that it keeps its versions in: by its usual name, if it has all of `columns`; where any_name
-- says so also under another name, if it has exactly these. `version`, `label` and the conditions are SQL over a row of it.
--   version  what the tool calls the version; NULL: the row has none
--   label    the migration's name, where the tool has one besides
--   counts   only such rows tell of a migration that was applied
--   running  a row written in an earlier transaction that tells of the migration under way
-- Users may add rows (docs/tools.md); an expression that fails is reported and passed over.

DROP TABLE busbar.framework;
CREATE TABLE busbar.framework (
    name text NOT NULL,
    table_name text NOT NULL,
    columns text[] NOT NULL,
    any_name boolean NOT NULL DEFAULT false,
    version text NOT NULL,
    label text,
    counts text NOT NULL DEFAULT 'true',
    running text,
    PRIMARY KEY (name, table_name)
);

INSERT INTO busbar.framework (name, table_name, columns, any_name, version, label, counts, running) VALUES
    ('Ecto', 'schema_migrations', '{version,inserted_at}', true, 'version', NULL, 'true', NULL),
    ('Rails or dbmate', 'schema_migrations', '{version}', false, 'version', NULL, 'true', NULL),
    ('golang-migrate', 'schema_migrations', '{version,dirty}', true, 'version', NULL, 'version >= 0', 'dirty'),
    ('Supabase', 'schema_migrations', '{version,statements,name}', false, 'version', 'name', 'true', NULL),
    ('Sequel', 'schema_migrations', '{filename}', false, $$coalesce(substring(filename from '^([0-9]+)_'), filename)$$, 'filename', 'true', NULL),
    ('Sequel', 'schema_info', '{version}', false, 'version', NULL, 'version > 0', NULL),
    ('Prisma', '_prisma_migrations', '{id,checksum,finished_at,migration_name,logs,rolled_back_at,started_at,applied_steps_count}', false,
        $$coalesce(substring(migration_name from '^([^_]+)_'), migration_name)$$, 'migration_name', 'rolled_back_at IS NULL',
        'finished_at IS NULL AND rolled_back_at IS NULL'),
    ('Django', 'django_migrations', '{id,app,name,applied}', false, 'name', $$app || '.' || name$$, 'true', NULL),
    ('Alembic', 'alembic_version', '{version_num}', true, 'version_num', NULL, 'true', NULL),
    ('Flyway', 'flyway_schema_history',
        '{installed_rank,version,description,type,script,checksum,installed_by,installed_on,execution_time,success}', true,
        'coalesce(version, script)', 'script', 'success', NULL),
    ('Liquibase', 'databasechangelog',
        '{id,author,filename,dateexecuted,orderexecuted,exectype,md5sum,description,comments,tag,liquibase,contexts,labels,deployment_id}', true,
        'id', $$filename || '::' || id || '::' || author$$, 'true', NULL),
    ('Knex', 'knex_migrations', '{id,name,batch,migration_time}', true, $$coalesce(substring(name from '^([0-9]+)_'), name)$$, 'name', 'true', NULL),
    ('Drizzle', '__drizzle_migrations', '{id,hash,created_at}', true, 'created_at', NULL, 'true', NULL),
    ('TypeORM', 'migrations', '{id,timestamp,name}', true, '"timestamp"', 'name', 'true', NULL),
    ('Sequelize', 'SequelizeMeta', '{name}', false, $$coalesce(substring(name from '^([0-9]+)[-_.]'), name)$$, 'name', 'true', NULL),
    ('MikroORM', 'mikro_orm_migrations', '{id,name,executed_at}', true, $$coalesce(substring(name from '^Migration([0-9]+)'), name)$$, 'name', 'true', NULL),
    ('node-pg-migrate', 'pgmigrations', '{id,name,run_on}', true, $$coalesce(substring(name from '^/?([0-9]+)[-_]'), name)$$, 'name', 'true', NULL),
    ('db-migrate', 'migrations', '{id,name,run_on}', false, $$coalesce(substring(name from '^/?([0-9]+)-'), name)$$, 'name', 'true', NULL),
    ('graphile-migrate', 'migrations', '{hash,previous_hash,filename,date}', true, $$coalesce(substring(filename from '^([0-9]+)'), filename)$$, 'filename', 'true', NULL),
    ('@databases', 'atdatabases_migrations_applied', '{index,name,script,applied_at,ignored_error,obsolete}', false, 'index', 'name', 'true', NULL),
    ('goose', 'goose_db_version', '{id,version_id,is_applied,tstamp}', true, 'version_id', NULL, 'is_applied AND version_id > 0', NULL),
    ('Laravel', 'migrations', '{id,migration,batch}', true,
        $$coalesce(substring(migration from '^([0-9]{4}_[0-9]{2}_[0-9]{2}_[0-9]{6})_'), migration)$$, 'migration', 'true', NULL),
    ('Phinx', 'phinxlog', '{version,migration_name,start_time,end_time,breakpoint}', true, 'version', 'migration_name', 'true', NULL),
    ('Doctrine', 'doctrine_migration_versions', '{version,executed_at,execution_time}', true,
        $$coalesce(substring(version from 'Version([0-9]+)$'), version)$$, 'version', 'true', NULL),
    ('Kysely', 'kysely_migration', '{name,timestamp}', true, 'name', NULL, 'true', NULL),
    ('postgrator', 'schemaversion', '{version,name,md5,run_at}', true, 'version', 'name', 'version > 0', NULL),
    ('sql-migrate', 'gorp_migrations', '{id,applied_at}', true, $$coalesce(substring(id from '^([0-9]+)[-_]'), id)$$, 'id', 'true', NULL),
    ('Atlas', 'atlas_schema_revisions', '{version,description,type,applied,total,executed_at}', false, 'version', 'description', 'true', NULL),
    ('yoyo', '_yoyo_migration', '{migration_hash,migration_id,applied_at_utc}', true, 'migration_id', NULL, 'true', NULL);

-- What the tools call the migrations that one transaction ran, in the order in which it wrote them: several when a tool runs all in
-- one. version is the tool's; that of busbar.migration is the last one's, made unlike any other.
CREATE TABLE busbar.migration_source (
    seq bigint NOT NULL REFERENCES busbar.migration (seq),
    position integer NOT NULL,
    framework text NOT NULL,
    version text NOT NULL,
    name text,
    PRIMARY KEY (seq, position)
);
