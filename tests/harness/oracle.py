# SPDX-License-Identifier: Apache-2.0
"""What a client must have: the rows that its shapes describe, asked of PostgreSQL in SQL of the test's own.

A shape is a tree of ``Select``. Its rows are those of each layer: of the top those that satisfy its condition, below it those that a
foreign key leads to, in either direction; and then all that these refer to, over any number of foreign keys. Of a table with a column
electric_user_id only rows of the user's, or of nobody's, take part.
"""

from dataclasses import dataclass, field

from .satellite import select


@dataclass
class ForeignKey:
    columns: tuple
    target: str
    target_columns: tuple


@dataclass
class Table:
    name: str
    columns: dict  # name → type
    key: tuple
    foreign_keys: list = field(default_factory=list)

    @property
    def owned(self):
        return "electric_user_id" in self.columns


@dataclass
class Select:
    table: str
    where: str = ""
    includes: list = field(default_factory=list)  # (foreign key, to many, Select)

    def message(self):
        return select(self.table, self.where, [(fk.columns, child.message()) for fk, _, child in self.includes])

    def __str__(self):
        inner = "".join(f" {'*' if many else '1'}{','.join(fk.columns)}[{child}]" for fk, many, child in self.includes)
        return self.table + (f" ({self.where})" if self.where else "") + inner


def _columns(alias, names):
    return "(" + ", ".join(f'{alias}."{name}"' for name in names) + ")"


def _identity(alias, table):
    return " || ',' || ".join(f'{alias}."{name}"::text' for name in table.key)


class Oracle:
    """``tables``: name → Table, as they are now; the owner may add to it."""

    def __init__(self, tables):
        self.tables = tables

    def contents(self, connection):
        """All rows: table → {key: row}, values as on the wire."""
        found = {}
        for table in self.tables.values():
            texts = [f"CASE WHEN \"{c}\" THEN 't' WHEN NOT \"{c}\" THEN 'f' END" if kind == "bool" else f'"{c}"::text' for c, kind in table.columns.items()]
            rows = [dict(zip(table.columns, row)) for row in connection.execute(f'SELECT {", ".join(texts)} FROM "{table.name}"').fetchall()]
            found[table.name] = {tuple(row[c] for c in table.key): row for row in rows}
        return found

    def visible(self, connection, shapes, user):
        """Keys of the rows in the union of the shapes: table → set of keys."""
        found = {name: set() for name in self.tables}
        if shapes:
            for name, key in connection.execute(self._query(shapes, user)).fetchall():
                found[name].add(tuple(key.split(",")))
        return found

    def _for_user(self, alias, table, user):
        return f"({alias}.electric_user_id IS NULL OR {alias}.electric_user_id IN ('', '{user}'))" if table.owned else "true"

    def _layers(self, node, source, user, layers):
        """Appends (name, table, SQL) for the node and all below it; ``source``: the SQL that ties it to its parent."""
        table = self.tables[node.table]
        name = f"layer{len(layers)}"
        layers.append((name, table, f'SELECT this.* FROM "{node.table}" AS this WHERE ({node.where or "true"}) AND {source}'
                                    f" AND {self._for_user('this', table, user)}"))
        for fk, many, child in node.includes:
            here, there = (fk.target_columns, fk.columns) if many else (fk.columns, fk.target_columns)
            tie = f"EXISTS (SELECT FROM {name} AS up WHERE {_columns('up', here)} = {_columns('this', there)})"
            self._layers(child, tie, user, layers)

    def _query(self, shapes, user):
        layers = []
        for shape in shapes:
            self._layers(shape, "true", user, layers)
        edges = []
        for table in self.tables.values():
            for fk in table.foreign_keys:
                target = self.tables[fk.target]
                edges.append(f"SELECT '{table.name}', {_identity('s', table)}, '{target.name}', {_identity('t', target)} FROM \"{table.name}\" s"
                             f' JOIN "{target.name}" t ON {_columns("s", fk.columns)} = {_columns("t", fk.target_columns)}'
                             f" WHERE {self._for_user('t', target, user)}")
        base = [f"SELECT '{table.name}', {_identity(name, table)} FROM {name}" for name, table, _ in layers]
        return ("WITH RECURSIVE " + ", ".join(f"{name} AS ({sql})" for name, _, sql in layers)
                + f", edges (s, sk, t, tk) AS ({' UNION ALL '.join(edges)}), base (t, k) AS ({' UNION '.join(base)})"
                + ", seen (t, k) AS (SELECT t, k FROM base UNION SELECT edges.t, edges.tk FROM seen JOIN edges ON seen.t = s AND seen.k = sk)"
                + " SELECT t, k FROM seen")


def difference(client_tables, contents, visible):
    """Lines that say where a client's tables are not what they must be; none when they are."""
    lines = []
    for table in sorted(set(client_tables) | set(visible)):
        has = client_tables.get(table, {})
        must = {key: contents[table][key] for key in visible.get(table, ())}
        lines += [f"{table} {key}: missing, should be {must[key]}" for key in sorted(set(must) - set(has))]
        lines += [f"{table} {key}: too many, is {has[key]}; in the database: {contents.get(table, {}).get(key)}" for key in sorted(set(has) - set(must))]
        for key in sorted(set(has) & set(must)):
            row = {**dict.fromkeys(must[key]), **has[key]}  # a column that was added later is NULL
            if row != must[key]:
                lines.append(f"{table} {key}: is {row}, should be {must[key]}")
    return lines
