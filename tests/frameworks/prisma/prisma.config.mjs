// SPDX-License-Identifier: Apache-2.0
// Prisma with its engine in WebAssembly: the binary one comes from a host that is not everywhere. It asks PostgreSQL through node-postgres,
// by an adapter that does not know the type "char" of PostgreSQL's own catalogs: such columns are called text here.
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { defineConfig } from 'prisma/config'

const CHAR = 18
const TEXT = 25

class Client extends pg.Client {
  constructor(options) {
    super(options)
    this.connection.on('rowDescription', ({ fields }) => {
      for (const field of fields) if (field.dataTypeID === CHAR) field.dataTypeID = TEXT
    })
  }
}

export default defineConfig({
  experimental: { adapter: true },
  engine: 'js',
  // All else by libpq's variables: of a URL the database would win over that of the shadow. And the shadow is dropped before its
  // connections are closed: PostgreSQL waits five seconds for them.
  adapter: async () => new PrismaPg({ Client, idleTimeoutMillis: 100 }),
  schema: 'schema.prisma',
  migrations: { path: 'migrations' },
})
