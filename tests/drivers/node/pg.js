// SPDX-License-Identifier: Apache-2.0
// node-postgres with pg-cursor, pg-query-stream and pg-copy-streams: pg.js SCENARIO
'use strict';
const assert = require('assert');
const { once } = require('events');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');

const DROP = 'ALTER TABLE truths DROP COLUMN value';
const fails = (promise, code) => assert.rejects(promise, (error) => { assert.strictEqual(error.code, code, error.message); return true; });

async function open() {
    const db = new Client();
    await db.connect();
    return db;
}

async function steps(db, table, extended) {
    for (const text of [`CREATE TABLE ${table} (id int8 PRIMARY KEY, value text)`, `ALTER TABLE ${table} ENABLE ELECTRIC`,
        `ALTER TABLE ${table} ADD COLUMN amount int4`, `CREATE INDEX ${table}_amount ON ${table} (amount)`]) {
        await db.query(extended ? { text, queryMode: 'extended', values: [], name: `step ${text}`.slice(0, 60) } : text);
    }
    await db.query(`INSERT INTO ${table} VALUES ($1, $2, $3)`, [1, 'a', 2]);
}

const scenarios = {
    async queries(db) {
        assert.deepStrictEqual((await db.query('SELECT 40 + 2 AS answer')).rows, [{ answer: 42 }]);
        assert.deepStrictEqual((await db.query({ text: 'SELECT $1::int, $2::text[]', values: [7, ['a', null]], rowMode: 'array' })).rows, [[7, ['a', null]]]);
        for (let n = 0; n < 10; n++) {
            assert.strictEqual((await db.query({ name: 'add', text: 'SELECT $1::int + 1 AS n', values: [n] })).rows[0].n, n + 1);
        }
        assert.deepStrictEqual((await db.query('SELECT 1 AS a; SELECT 2 AS b')).map((r) => r.rows[0]), [{ a: 1 }, { b: 2 }]);
        const many = await Promise.all(Array.from({ length: 300 }, (_, n) => db.query('SELECT $1::int AS n', [n])));
        assert.deepStrictEqual(many.map((r) => r.rows[0].n), Array.from({ length: 300 }, (_, n) => n));
        const pool = new Pool({ max: 4 });
        await Promise.all(Array.from({ length: 40 }, () => pool.query('SELECT pg_backend_pid()')));
        await pool.end();
    },
    async errors(db) {
        await db.query('CREATE TABLE t (id int PRIMARY KEY)');
        await db.query('BEGIN');
        await db.query('INSERT INTO t VALUES ($1)', [1]);
        await fails(db.query('INSERT INTO t VALUES ($1)', [1]), '23505');
        await fails(db.query('SELECT 1'), '25P02');
        assert.strictEqual((await db.query('COMMIT')).command, 'ROLLBACK');
        await fails(db.query('INSERT INTO t VALUES (1); SELECT 1/0; SELECT 2'), '22012');
        await fails(db.query({ name: 'bad', text: 'SELECT nonsense', values: [] }), '42703');
        assert.deepStrictEqual((await db.query('SELECT * FROM t')).rows, []);
    },
    async large(db) {
        const text = 'abcdefghij'.repeat(400000);
        const row = (await db.query('SELECT $1::text AS text, md5($1::text) AS sum', [text])).rows[0];
        assert.strictEqual(row.text, text);
        assert.strictEqual((await db.query(`SELECT md5('${text}') AS sum`)).rows[0].sum, row.sum);
        const bytes = Buffer.alloc(1000000, 'a\0b');
        assert.ok((await db.query('SELECT $1::bytea AS b', [bytes])).rows[0].b.equals(bytes));
    },
    async cursors(db) {
        const cursor = db.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [1000]));
        assert.strictEqual((await cursor.read(10)).length, 10);
        assert.strictEqual((await cursor.read(900)).length, 900);
        assert.strictEqual((await cursor.read(900)).length, 90);
        assert.strictEqual((await cursor.read(900)).length, 0);
        const early = db.query(new Cursor('SELECT n FROM generate_series(1, 100000) n'));
        assert.strictEqual((await early.read(3))[2].n, 3);
        await early.close();
        const bad = db.query(new Cursor('SELECT 10 / (5 - n) FROM generate_series(1, 9) n'));
        await fails(bad.read(100), '22012');
        assert.strictEqual((await db.query('SELECT 1 AS one')).rows[0].one, 1);
        let rows = 0;
        for await (const row of db.query(new QueryStream('SELECT n, repeat($1, 100) FROM generate_series(1, 20000) n', ['x'], { batchSize: 777 }))) {
            rows++;
            assert.strictEqual(row.n, rows);
        }
        assert.strictEqual(rows, 20000);
        for await (const row of db.query(new QueryStream('SELECT n FROM generate_series(1, 20000) n'))) {
            if (row.n === 50) break;
        }
        assert.strictEqual((await db.query('SELECT 2 AS two')).rows[0].two, 2);
    },
    async copy(db) {
        await db.query('CREATE TABLE c (id int, value text)');
        const lines = Array.from({ length: 20000 }, (_, n) => `${n}\tvalue ${n}\n`);
        await pipeline(Readable.from(lines), db.query(copy.from('COPY c FROM STDIN')));
        const chunks = [];
        for await (const chunk of db.query(copy.to('COPY (SELECT * FROM c ORDER BY id) TO STDOUT'))) chunks.push(chunk);
        assert.strictEqual(Buffer.concat(chunks).toString(), lines.join(''));
        await fails(pipeline(Readable.from(['x\ty\n']), db.query(copy.from('COPY c FROM STDIN'))), '22P02');
        const broken = db.query(copy.from('COPY c FROM STDIN'));
        broken.on('error', () => {});
        broken.write('1\tx\n');
        broken.destroy(new Error('mine'));
        assert.strictEqual((await db.query('SELECT count(*)::int AS n FROM c')).rows[0].n, 20000);
    },
    async notify(db) {
        const heard = once(db, 'notification');
        await db.query('LISTEN news');
        await db.query("SELECT pg_notify('news', $1)", ['hello']);
        const [note] = await heard;
        assert.deepStrictEqual([note.channel, note.payload], ['news', 'hello']);
    },
    async cancel(db) {
        const other = await open();
        const query = new (require('pg').Query)('SELECT pg_sleep(60)');
        const ended = new Promise((resolve, reject) => { query.on('error', reject); query.on('end', resolve); });
        db.query(query);
        const running = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
        while ((await other.query(running, [db.processID])).rowCount === 0);
        new Client().cancel(db, query);
        await fails(ended, '57014');
        assert.strictEqual((await db.query('SELECT 1 AS one')).rows[0].one, 1);
        await other.end();
    },
    async migrate(db) {
        await steps(db, 'auto', true);
        await db.query('BEGIN');
        await steps(db, 'held', false);
        await db.query('COMMIT');
        await db.query('BEGIN');
        await db.query('ALTER TABLE held ADD COLUMN gone text');
        await db.query('ROLLBACK');
    },
    async refuse(db) {
        await fails(db.query(DROP), 'EX010');
        await fails(db.query({ name: 'drop', text: DROP, values: [] }), 'EX010');
        await fails(db.query(new Cursor(DROP)).read(1), 'EX010');
        await fails(db.query(`INSERT INTO socks VALUES (9, 'red'); ${DROP}; SELECT 1`), 'EX010');
        assert.strictEqual((await db.query('SELECT 1 AS one')).rows[0].one, 1);
        await db.query('BEGIN');
        await db.query("INSERT INTO socks VALUES (1, 'red')");
        await fails(db.query(DROP), 'EX010');
        await fails(db.query('SELECT 1'), '25P02');
        assert.strictEqual((await db.query('COMMIT')).command, 'ROLLBACK');
        await db.query("INSERT INTO socks VALUES (2, 'blue')");
        await db.query("BEGIN; SAVEPOINT s; INSERT INTO socks VALUES (3, 'black')");
        await fails(db.query({ text: DROP, values: [], name: 'again' }), 'EX010');
        await db.query('ROLLBACK TO s');
        await db.query('ALTER TABLE truths ADD COLUMN amount int4');
        await db.query('INSERT INTO socks VALUES ($1, $2)', [4, 'white']);
        assert.strictEqual((await db.query('COMMIT')).command, 'COMMIT');
    },
};

(async () => {
    const db = await open();
    await scenarios[process.argv[2]](db);
    await db.end();
})().catch((error) => { console.error(error); process.exit(1); });
