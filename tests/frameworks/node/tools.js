// SPDX-License-Identifier: Apache-2.0
// Migration tools of npm: tools.js TOOL, in a folder of its own. Each makes an application of three migrations, runs them with the
// tool, takes back the third (an index: clients can follow) and the second (a column: they cannot), and prints the error it got.
'use strict';
const fs = require('fs');
const path = require('path');
const { Client, Pool } = require('pg');

const CREATE = 'CREATE TABLE items (id text PRIMARY KEY, value text)';
const ENABLE = 'ALTER TABLE items ENABLE ELECTRIC';
const COLUMN = 'ALTER TABLE items ADD COLUMN amount integer';
const INDEX = 'CREATE INDEX items_amount ON items (amount)';
const UP = [[CREATE, ENABLE], [COLUMN], [INDEX]];
const DOWN = [['DROP TABLE items'], ['ALTER TABLE items DROP COLUMN amount'], ['DROP INDEX items_amount']];
const NAMES = ['items', 'amount', 'index'];
const STAMPS = ['20240101000001', '20240101000002', '20240101000003'];
const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env;
const URL = `postgresql://${PGUSER}:${PGPASSWORD}@${PGHOST}:${PGPORT}/${PGDATABASE}`;

function write(name, text) {
    fs.mkdirSync(path.dirname(name), { recursive: true });
    fs.writeFileSync(name, text);
    return path.resolve(name);
}

/* A module a migration: `run` is how the tool runs SQL. */
function modules(run, name = (n) => `${STAMPS[n]}_${NAMES[n]}`, extra = '') {
    const body = (list) => list.map((sql) => `await ${run}(${JSON.stringify(sql)});`).join(' ');
    NAMES.forEach((_, n) => write(`migrations/${name(n)}.js`,
        `exports.up = async (db) => { ${body(UP[n])} };\nexports.down = async (db) => { ${body(DOWN[n])} };\n${extra}`));
    return path.resolve('migrations');
}

/* Takes back what can be, then what cannot; afterwards the tool's own connection must still work. */
async function back(down, query) {
    await down();
    let refused = '';
    await down().catch((error) => { refused = error.message; });
    await query('SELECT 1');
    console.log(refused);
}

const tools = {
    async knex(batch) {
        const knex = require('knex')({ client: 'pg', connection: URL, pool: { min: 1, max: 1 }, migrations: { directory: modules('db.raw') } });
        if (batch) {
            await knex.migrate.latest();
        } else {
            for (let n = 0; n < 3; n++) {
                await knex.migrate.up();
            }
        }
        await back(() => knex.migrate.down(), (sql) => knex.raw(sql));
        await knex.destroy();
    },
    'knex-batch': () => tools.knex(true),
    async 'knex-renamed'() {
        const knex = require('knex')({ client: 'pg', connection: URL, migrations: { directory: modules('db.raw'), tableName: 'history', schemaName: 'tools' } });
        await knex.raw('CREATE SCHEMA tools');
        await knex.migrate.up();
        await knex.destroy();
    },
    async drizzle() { // has no way back
        const { drizzle } = require('drizzle-orm/node-postgres');
        const { migrate } = require('drizzle-orm/node-postgres/migrator');
        const pool = new Pool({ max: 1 });
        const entries = [];
        for (let n = 0; n < 3; n++) { // a release each: the migrator runs what is new in one transaction
            entries.push({ idx: n, version: '7', when: 1704067200001 + n, tag: `000${n}_${NAMES[n]}`, breakpoints: true });
            write(`drizzle/000${n}_${NAMES[n]}.sql`, UP[n].join(';\n--> statement-breakpoint\n'));
            write('drizzle/meta/_journal.json', JSON.stringify({ version: '7', dialect: 'postgresql', entries }));
            await migrate(drizzle(pool), { migrationsFolder: 'drizzle' });
        }
        await pool.end();
    },
    async typeorm() {
        require('reflect-metadata');
        const { DataSource } = require('typeorm');
        const migrations = NAMES.map((name, n) => {
            const run = (list) => async (_, runner) => { for (const sql of list) { await runner.query(sql); } };
            const made = { [`${name}170406720000${n}`]: class { up(runner) { return run(UP[n])(this, runner); } down(runner) { return run(DOWN[n])(this, runner); } } };
            return Object.values(made)[0];
        });
        const source = await new DataSource({ type: 'postgres', url: URL, migrations, poolSize: 1 }).initialize();
        await source.runMigrations({ transaction: 'each' });
        await back(() => source.undoLastMigration({ transaction: 'each' }), (sql) => source.query(sql));
        await source.destroy();
    },
    async sequelize() { // its row comes after the migration, in a transaction of its own: the session is told before
        const { Sequelize } = require('sequelize');
        const { Umzug, SequelizeStorage } = require('umzug');
        const sequelize = new Sequelize(URL, { logging: false, pool: { max: 1 } });
        const step = (list) => () => sequelize.transaction(async (transaction) => { for (const sql of list) { await sequelize.query(sql, { transaction }); } });
        const umzug = new Umzug({
            migrations: NAMES.map((name, n) => ({ name: `${STAMPS[n]}-${name}`, up: step(UP[n]), down: step(DOWN[n]) })),
            storage: new SequelizeStorage({ sequelize }), logger: undefined,
        });
        const tell = (name) => sequelize.query("SELECT set_config('busbar.migration_version', :name, false)", { replacements: { name } });
        umzug.on('migrating', ({ name }) => tell(name));
        umzug.on('migrated', () => tell(''));
        await umzug.up();
        await back(() => umzug.down(), (sql) => sequelize.query(sql));
        await umzug.up();
        await sequelize.close();
    },
    async 'sequelize-plain'() { // no transaction: each statement commits by itself
        const { Sequelize } = require('sequelize');
        const { Umzug, SequelizeStorage } = require('umzug');
        const sequelize = new Sequelize(URL, { logging: false });
        const migrations = NAMES.map((name, n) => ({ name: `${STAMPS[n]}-${name}`, up: async () => { for (const sql of UP[n]) { await sequelize.query(sql); } } }));
        await new Umzug({ migrations, storage: new SequelizeStorage({ sequelize }), logger: undefined }).up();
        await sequelize.close();
    },
    async mikroorm() {
        const { MikroORM, EntitySchema } = require('@mikro-orm/postgresql');
        const { Migration, Migrator } = require('@mikro-orm/migrations');
        const Item = new EntitySchema({ name: 'Item', tableName: 'items', properties: { id: { type: 'string', primary: true }, value: { type: 'string' } } });
        const migrationsList = NAMES.map((name, n) => ({
            name: `Migration${STAMPS[n]}_${name}`,
            class: class extends Migration { up() { UP[n].forEach((sql) => this.addSql(sql)); } down() { DOWN[n].forEach((sql) => this.addSql(sql)); } },
        }));
        const orm = await MikroORM.init({
            clientUrl: URL, dbName: PGDATABASE, entities: [Item], extensions: [Migrator], pool: { min: 1, max: 1 }, logger: () => {},
            migrations: { migrationsList, snapshot: false }, // allOrNothing: without it the row comes after the migration's transaction
        });
        for (const { name } of migrationsList) {
            await orm.getMigrator().up({ migrations: [name] });
        }
        await back(() => orm.getMigrator().down(), (sql) => orm.em.getConnection().execute(sql));
        await orm.close();
    },
    async 'node-pg-migrate'() {
        const runner = require('node-pg-migrate').default;
        const client = new Client();
        await client.connect();
        NAMES.forEach((name, n) => write(`migrations/170406720000${n}_${name}.sql`,
            `-- Up Migration\n${UP[n].join(';\n')};\n-- Down Migration\n${DOWN[n].join(';\n')};\n`));
        const options = { dbClient: client, dir: 'migrations', migrationsTable: 'pgmigrations', singleTransaction: false, log: () => {}, logger: { info() {}, debug() {}, warn() {}, error() {} } };
        for (let n = 0; n < 3; n++) {
            await runner({ ...options, direction: 'up', count: 1 });
        }
        await back(() => runner({ ...options, direction: 'down', count: 1 }),
            async (sql) => { await client.query('ROLLBACK'); await client.query(sql); }); // its BEGIN is left open, as without a proxy
        await client.end();
    },
    async 'graphile-migrate'() { // has no way back
        const { migrate } = require('graphile-migrate');
        const { calculateHash } = require('graphile-migrate/dist/hash');
        let previous = null;
        NAMES.forEach((name, n) => {
            const body = `${UP[n].join(';\n')};`;
            const hash = calculateHash(body, previous);
            write(`migrations/committed/00000${n + 1}-${name}.sql`, `--! Previous: ${previous || '-'}\n--! Hash: ${hash}\n--! Message: ${name}\n\n${body}\n`);
            previous = hash;
        });
        write('migrations/current.sql', '');
        await migrate({ connectionString: URL, migrationsFolder: path.resolve('migrations'), logger: undefined });
    },
    async databases() { // has no way back
        const { connect, applyMigrations } = require('@databases/pg-migrations');
        const connection = connect({ connectionString: URL, bigIntMode: 'number' });
        NAMES.forEach((name, n) => write(`migrations/${9 + n}-${name}.sql`, `${UP[n].join(';\n')};\n`)); // 9, 10, 11
        await applyMigrations({ connection, migrationsDirectory: path.resolve('migrations') });
        await connection.dispose();
    },
    async 'db-migrate'() {
        modules('db.runSql', (n) => `${STAMPS[n]}-${NAMES[n]}`, 'exports._meta = { version: 1 };\n');
        const api = () => require('db-migrate').getInstance(true, {
            cwd: process.cwd(), env: 'dev', throwUncatched: true, cmdOptions: { 'migrations-dir': path.resolve('migrations'), 'non-transactional': false, 'log-level': 'error' },
            config: { dev: { driver: 'pg', host: PGHOST, port: PGPORT, user: PGUSER, password: PGPASSWORD, database: PGDATABASE } },
        });
        const tool = api();
        tool.silence(true);
        await tool.up();
        const client = new Client();
        await client.connect();
        await back(() => { const one = api(); one.silence(true); return one.down(1); }, (sql) => client.query(sql));
        await client.end();
    },
    async postgrator() { // its row comes after the script: the session is told before
        const { default: Postgrator } = await import(`file://${require.resolve('postgrator')}`);
        const client = new Client();
        await client.connect();
        NAMES.forEach((name, n) => {
            write(`migrations/00${n + 1}.do.${name}.sql`, `${UP[n].join(';\n')};\n`);
            write(`migrations/00${n + 1}.undo.${name}.sql`, `${DOWN[n].join(';\n')};\n`);
        });
        const tool = new Postgrator({ migrationPattern: 'migrations/*', driver: 'pg', database: PGDATABASE, execQuery: (sql) => client.query(sql) });
        tool.on('migration-started', ({ version, action }) => // queued on the same connection, before the script
            client.query("SELECT set_config('busbar.migration_version', $1, false)", [action === 'do' ? String(version) : '']));
        await tool.migrate();
        let next = 2;
        await back(() => tool.migrate(String(next--)), (sql) => client.query(sql));
        await client.end();
    },
    async kysely() {
        const { Kysely, PostgresDialect, Migrator, sql } = require('kysely');
        const db = new Kysely({ dialect: new PostgresDialect({ pool: new Pool({ max: 1 }) }) });
        const run = (list) => async (trx) => { for (const text of list) { await sql.raw(text).execute(trx); } };
        const known = {};
        const migrator = new Migrator({ db, provider: { getMigrations: async () => known } });
        const must = async (result) => { const { error } = await result; if (error) { throw error; } };
        for (let n = 0; n < 3; n++) { // a release each: all that is new runs in one transaction
            known[`2024-01-0${n + 1}-${NAMES[n]}`] = { up: run(UP[n]), down: run(DOWN[n]) };
            await must(migrator.migrateToLatest());
        }
        await back(() => must(migrator.migrateDown()), (text) => sql.raw(text).execute(db));
        await db.destroy();
    },
};

tools[process.argv[2]]().catch((error) => { console.error(error); process.exit(1); });
