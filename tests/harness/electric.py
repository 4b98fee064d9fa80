# SPDX-License-Identifier: Apache-2.0
"""What is recorded in the database, seen from a connection straight to PostgreSQL."""

import re

# UTC, to the microsecond: the recommended form of a version that nobody chose (spec: 14 digits, '_', fraction).
GENERATED = re.compile(r"^\d{14}_\d{6}$")


# How many changes are left over; of each electrified table its name, the columns that are remembered, those that it has.
CONSISTENT = """
SELECT (SELECT count(*) FROM busbar.pending), (SELECT coalesce(jsonb_agg(jsonb_build_array(e.definition -> 'name',
    (SELECT jsonb_agg(c -> 'name' ORDER BY (c ->> 'num')::int) FROM jsonb_array_elements(e.definition -> 'columns') c),
    (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = e.definition ->> 'name' AND n.nspname = e.definition ->> 'schema' AND a.attnum > 0 AND NOT a.attisdropped))), '[]')
    FROM busbar.electrified e)
"""


class Ledger:
    """Reads the public views of schema ``electric`` through a psycopg connection of its own."""

    def __init__(self, cluster, dbname):
        self.connection = cluster.connect(dbname)

    def close(self):
        self.connection.close()

    def execute(self, sql, *params):
        return self.connection.execute(sql, params or None)

    def column(self, sql, *params):
        """First column of all rows."""
        return [row[0] for row in self.execute(sql, *params).fetchall()]

    def value(self, sql, *params):
        return self.execute(sql, *params).fetchone()[0]

    @property
    def ddl(self):
        """Texts of all captured commands, in order."""
        return self.column("SELECT query FROM electric.ddl_commands ORDER BY id")

    @property
    def versions(self):
        """(version, priority) of all migrations, in the order of their commit."""
        return [tuple(r) for r in self.execute("SELECT version, priority FROM electric.migration_versions"
                                                 " JOIN busbar.migration USING (version, priority) ORDER BY seq").fetchall()]

    @property
    def version_names(self):
        return [name for name, _ in self.versions]

    @property
    def electrified(self):
        """Names of the electrified tables of schema public."""
        return self.column("SELECT table_name FROM electric.electrified WHERE schema_name = 'public' ORDER BY table_name")

    @property
    def remembered(self):
        """Remembered columns of each electrified table: what the next change is compared with."""
        rows = self.execute("SELECT definition->>'name', (SELECT array_agg(c->>'name' ORDER BY (c->>'num')::int)"
                            " FROM jsonb_array_elements(definition->'columns') c) FROM busbar.electrified").fetchall()
        return {name: columns for name, columns in rows}

    @property
    def remembered_indexes(self):
        rows = self.execute("SELECT definition->>'name', (SELECT coalesce(array_agg(c->>'name' ORDER BY c->>'name'), '{}')"
                            " FROM jsonb_array_elements(definition->'indexes') c) FROM busbar.electrified").fetchall()
        return {name: indexes for name, indexes in rows}

    def columns(self, table, schema="public"):
        """Columns a table really has; empty when there is none of the name."""
        return self.column("SELECT attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n"
                           " ON n.oid = relnamespace WHERE relname = %s AND nspname = %s AND attnum > 0 AND NOT attisdropped"
                           " ORDER BY attnum", table, schema)

    def exists(self, relation):
        return self.value("SELECT to_regclass(%s) IS NOT NULL", relation)

    @property
    def pending(self):
        """Captured changes that no migration took: must be none once every transaction has ended."""
        return self.value("SELECT count(*) FROM busbar.pending")

    def consistent(self):
        """The invariant after whatever happened: what is remembered is what is there, and nothing hangs."""
        pending, tables = self.execute(CONSISTENT).fetchone()
        assert pending == 0, "captured changes are left over"
        for table, remembered, real in tables:
            assert remembered == real, f"{table}: remembered {remembered}, real {real}"
        assert set(self.remembered) == set(self.electrified)
        assert self.value("SELECT NOT in_step OR busbar.history_agrees() FROM busbar.recorder"), "the history comes to something else"
        assert self.value("SELECT count(*) FROM electric.migration_versions") >= (1 if self.electrified else 0)
