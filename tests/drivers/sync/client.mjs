// SPDX-License-Identifier: Apache-2.0
//
// The published client as a process: harness/electric_client.py steers it. Requests come on standard input, a JSON object a
// line, {"id": n, "do": name, …}; each is answered on standard output by {"id": n, "ok": value} or {"id": n, "error": {…}},
// in whatever order they end. What happens unasked is {"event": name, …}. One database a process.
//
// Only what the package exports is used. Its generator would introspect the database with Prisma to describe the tables;
// here the description is made of the migrations, as much of it as electrify() and sync() want. Everything else, the
// migrations with their triggers included, is what the generator would have made.
import { createInterface } from "node:readline";

import Database from "better-sqlite3";
import { DbSchema, Relation } from "electric-sql/client/model";
import { makeMigration, parseMetadata } from "electric-sql/migrators";
import { sqliteBuilder } from "electric-sql/migrators/builder";
import { electrify } from "electric-sql/node";
import { SatelliteErrorCode } from "electric-sql/util";
import { z } from "zod";

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const describe = (error) => ({ name: error?.name ?? "Error", code: SatelliteErrorCode[error?.code] ?? error?.code ?? null, message: error?.message ?? String(error) });

// The client throws where nobody can catch it when the server says INTERNAL; a test wants to know, not to lose the process.
process.on("uncaughtException", (error) => say({ event: "thrown", error: describe(error) }));
process.on("unhandledRejection", (error) => say({ event: "thrown", error: describe(error) }));

// Values of SQLite that JSON has no word for.
function wrap(value) {
  if (typeof value === "bigint") return { $int: value.toString() };
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) return { $float: Object.is(value, -0) ? "-0" : String(value) };
  return value;
}

function unwrap(value) {
  if (value === null || typeof value !== "object") return value;
  if ("$int" in value) return BigInt(value.$int);
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Number(value.$float);
}

// Tables as the migrations leave them, by name; the last definition of each counts.
function tablesOf(migrations) {
  const tables = new Map();
  for (const migration of migrations) {
    for (const op of migration.ops) {
      if (op.table) tables.set(op.table.name, op.table);
    }
  }
  return [...tables.values()];
}

// A field on each side: the child's is called as the parent table (as its column when it has several keys to it), the
// parent's as the child table (likewise).
function relationsOf(tables) {
  const relations = new Map(tables.map((table) => [table.name, []]));
  for (const child of tables) {
    for (const key of child.fks) {
      const several = child.fks.filter((k) => k.pkTable === key.pkTable).length > 1 || key.pkTable === child.name;
      const name = `${child.name}_${key.fkCols[0]}`;
      relations.get(child.name).push(new Relation(several ? `${key.pkTable}_${key.fkCols[0]}` : key.pkTable, key.fkCols[0], key.pkCols[0], key.pkTable, name, "one"));
      relations.get(key.pkTable)?.push(new Relation(several ? `${child.name}_${key.fkCols[0]}` : child.name, "", "", child.name, name, "many"));
    }
  }
  return relations;
}

const KNOWN_TYPES = new Set(["BOOL", "INT2", "INT4", "INT8", "FLOAT4", "FLOAT8", "TEXT", "VARCHAR", "UUID", "JSONB", "BYTEA", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"]);

// Validators that let everything pass: what a test writes, it writes in SQL.
function tableSchema(table, relations) {
  const anything = z.any();
  const args = z.object({ select: z.object({}).passthrough().optional(), include: anything, where: anything });
  const typeOf = (column) => column.pgType.name.toUpperCase();
  return {
    fields: new Map(table.columns.map((c) => [c.name, KNOWN_TYPES.has(typeOf(c)) ? typeOf(c) : "TEXT"])),
    relations,
    modelSchema: z.object(Object.fromEntries(table.columns.map((c) => [c.name, anything]))),
    createSchema: args.extend({ include: z.object({}).passthrough().optional() }),
    createManySchema: args,
    findUniqueSchema: args,
    findSchema: args,
    updateSchema: args.extend({ include: z.object({}).passthrough().optional() }),
    updateManySchema: args,
    upsertSchema: args,
    deleteSchema: args,
    deleteManySchema: args,
  };
}

function makeSchema(metadata) {
  const parsed = metadata.map(parseMetadata).sort((a, b) => (a.version < b.version ? -1 : 1)); // the generator sorts names of folders
  const tables = tablesOf(parsed);
  const relations = relationsOf(tables);
  return new DbSchema(
    Object.fromEntries(tables.map((table) => [table.name, tableSchema(table, relations.get(table.name))])),
    parsed.map((migration) => makeMigration(migration, sqliteBuilder)),
    [],
  );
}

let db;
let electric;

const meta = (key) => db.prepare("SELECT value FROM _electric_meta WHERE key = ?").get(key)?.value ?? null;

const actions = {
  async open({ file, migrations, url, backoff }) {
    db = new Database(file);
    electric = await electrify(db, makeSchema(migrations), { url, connectionBackOffOptions: backoff });
    electric.notifier.subscribeToConnectivityStateChanges(({ connectivityState }) =>
      say({ event: "connectivity", status: connectivityState.status, reason: connectivityState.reason ? describe(connectivityState.reason) : null }));
    return { clientId: meta("clientId") };
  },

  // Ends when the client is connected, or has given up. Without a token that of the last time is used.
  async connect({ token }) {
    await electric.connect(token ?? undefined);
  },

  async disconnect() {
    electric.disconnect();
  },

  async setToken({ token }) {
    electric.satellite.setToken(token);
  },

  // `wait`: until the data is there, not only the server's answer.
  async sync({ table, shape, wait }) {
    const { key, synced } = await electric.db[table].sync(shape);
    synced.catch((error) => say({ event: "sync_failed", key, error: describe(error) }));
    if (wait) await synced;
    return key;
  },

  async syncStatus({ key }) {
    return electric.sync.syncStatus(key) ?? null;
  },

  async unsubscribe({ keys }) {
    await electric.sync.unsubscribe(keys);
  },

  // What the app keeps in clear, the server gets backwards.
  async transform({ table, column }) {
    const turn = (row) => (typeof row[column] === "string" ? { ...row, [column]: [...row[column]].reverse().join("") } : row);
    electric.db[table].setReplicationTransform({ transformInbound: turn, transformOutbound: turn });
  },

  async query({ sql, args }) {
    const rows = db.prepare(sql).safeIntegers(true).all(...args.map(unwrap));
    const plain = (value) => (typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : wrap(value));
    return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])));
  },

  // One transaction of the application; the client notices at once instead of at its next look (every 2 s).
  async exec({ statements }) {
    await electric.adapter.runInTransaction(...statements.map(({ sql, args }) => ({ sql, args: (args ?? []).map(unwrap) })));
    electric.potentiallyChanged();
  },

  async status() {
    const state = electric.satellite.connectivityState;
    return {
      connected: electric.isConnected,
      status: state?.status ?? null,
      reason: state?.reason ? describe(state.reason) : null,
      clientId: meta("clientId"),
      lsn: meta("lsn"),
      oplog: db.prepare("SELECT count(*) AS n FROM _electric_oplog").get().n,
    };
  },

  async close() {
    await electric?.close();
    db?.close();
  },
};

async function serve(line) {
  const request = JSON.parse(line);
  try {
    say({ id: request.id, ok: (await actions[request.do](request)) ?? null });
  } catch (error) {
    say({ id: request.id, error: describe(error) });
  }
  if (request.do === "close") process.exit(0);
}

console.log = console.info = console.debug = console.error; // loglevel writes there; standard output is ours
createInterface({ input: process.stdin }).on("line", serve).on("close", () => process.exit(0));
say({ event: "started" });
