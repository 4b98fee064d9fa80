# SPDX-License-Identifier: Apache-2.0
"""Every way in which a schema can change, and what becomes of it: the data of the capture matrix.

A row is one statement, run on the tables of FIXTURE, and its verdict:

* ``captured(…)``: the operations that clients get, in order ("add_column colour");
* ``irrelevant``: allowed, clients need to know nothing;
* ``refused(code, message, …)``: ``at`` is the word that the error points at, ``detail`` a part of DETAIL, ``hint`` the words
  before the statement in HINT, ``do`` that statement: it is run, and it works. No ``hint``: PostgreSQL's own error.

``before`` is what the row needs in the database, ``first`` what its session does first. ``only`` names the ways it can be run
("single": outside of a transaction block, "block": inside), when not both. ROLE is somebody who owns nothing yet.
"""

from dataclasses import dataclass

ROLE = "somebody"
FIXTURE = """
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE DOMAIN word AS text;
CREATE TYPE shape AS (id int8, value text, size int4, feeling mood, note text, parent_id int8);
CREATE TABLE parents (id int8 PRIMARY KEY, name text);
CREATE TABLE items (id int8 PRIMARY KEY, value text, size int4, feeling mood, note text NOT NULL,
    parent_id int8 CONSTRAINT items_parent_fkey REFERENCES parents);
CREATE INDEX items_idx ON items (value);
CREATE TABLE closed (id int8 PRIMARY KEY, value text, feeling mood);
CREATE INDEX closed_idx ON closed (value);
CREATE TABLE ancestor (value text);
CREATE TABLE whole (LIKE items) PARTITION BY RANGE (id);
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
CREATE PROCEDURE run_procedure(text) LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
CREATE FUNCTION run_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE NEW.value; RETURN NEW; END';
CREATE TRIGGER run_it AFTER INSERT ON closed FOR EACH ROW EXECUTE FUNCTION run_trigger();
CREATE TRIGGER noop BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION noop();
CREATE RULE quiet AS ON DELETE TO items WHERE old.id < 0 DO INSTEAD NOTHING;
CREATE POLICY everybody ON items USING (true);
CREATE VIEW item_ids AS SELECT id FROM items;
CALL electric.electrify('parents');
CALL electric.electrify('items');
INSERT INTO parents VALUES (1, 'one');
INSERT INTO items VALUES (1, 'one', 1, 'happy', 'a note', 1);
"""


@dataclass(frozen=True)
class Verdict:
    kind: str
    ops: tuple = ()
    code: str = None
    message: str = None
    at: str = None
    detail: str = None
    hint: str = None
    do: str = None


@dataclass(frozen=True)
class Row:
    sql: str
    verdict: Verdict
    before: str = ""
    first: tuple = ()
    only: str = None


def captured(*ops):
    return Verdict("captured", ops=ops)


irrelevant = Verdict("irrelevant")

T = '"public"."items"'
P = '"public"."parents"'
ADDITIVE = "Electric currently only supports additive migrations (ADD COLUMN, ADD INDEX)"
DISABLE = f"ALTER TABLE {T} DISABLE ELECTRIC;"
DISABLE_PARENTS = f"{DISABLE} ALTER TABLE {P} DISABLE ELECTRIC;"
STOP = "To change it all the same, stop its sync first, which drops the table at the clients:"
NOTHING_ELSE = f"Columns and indexes can be added to an electrified table, nothing else changed. {STOP}"
FIRST = "Stop its sync first, which drops the table at the clients:"
OWN = "SET busbar.maintenance = 'on'; DROP SCHEMA electric, busbar CASCADE; DROP PUBLICATION electric_publication;"


def refused(code, message, at=None, detail=ADDITIVE, hint=None, do=None):
    return Verdict("refused", code=code, message=message, at=at, detail=detail, hint=hint, do=do)


def server(code, message):
    """PostgreSQL's own error."""
    return Verdict("refused", code=code, message=message)


def frozen(at=None, name="", table=T, do=DISABLE):
    """EX007 for what is not about a column."""
    return refused("EX007", f'Cannot alter column "{name}" of electrified table {table}', at, hint=NOTHING_ELSE, do=do)


def frozen_column(name, kind, at=None):
    return refused("EX007", f'Cannot alter column "{name}" of electrified table {T}', at or name,
                   hint="Clients keep the column as it was declared. Enforce the new rule in the application, or add a column:",
                   do=f"ALTER TABLE {T} ADD COLUMN new_{name} {kind};")


def dropped_column(name, at=None, do=None):
    return refused("EX010", f'Cannot drop column "{name}" of electrified table {T}', at,
                   hint="Leave the column and stop using it." + (" To remove its values, here and at the clients:" if do else ""), do=do)


def unsupported(kind, instead, name="colour"):
    return refused("EX005", f'Cannot electrify column of type "{kind}"', hint="Use a type that clients know:",
                   do=f"ALTER TABLE {T} ADD COLUMN {name} {instead};")


def constrained(kind, hint, do):
    return refused("EX011", f"Cannot electrify column with {kind} constraint", hint=hint, do=do)


def renamed_column(at):
    return refused("EX008", f'Cannot rename column "value" of electrified table {T}', at, hint="Add a column of the new name and copy the values:",
                   do=f"ALTER TABLE {T} ADD COLUMN new_value text; UPDATE {T} SET new_value = value;")


def retyped(column, at=None):
    return refused("EX009", f'Cannot change type of column "{column}" of electrified table {T}', at,
                   hint="Add a column of the new type (text, say) and copy the values:",
                   do=f"ALTER TABLE {T} ADD COLUMN new_{column} text; UPDATE {T} SET new_{column} = {column}::text;")


ENUM = refused("EX009", f'Cannot change the enum type of column "feeling" of electrified table {T}',
               hint="Clients have the values that the type had at first. Add a column of type text, or of another enum, and copy the values:",
               do=f"ALTER TABLE {T} ADD COLUMN new_feeling text; UPDATE {T} SET new_feeling = feeling::text;")


def renamed(new, at=None):
    return refused("EX002", f"Cannot rename electrified table {T}", at,
                   hint="Clients know the table by this name. For another name in PostgreSQL make a view:",
                   do=f"CREATE VIEW {new} AS SELECT * FROM {T};")


def moved(schema, at=None, table="items"):
    return refused("EX002", f'Cannot move electrified table "public"."{table}"', at,
                   hint="Only tables of schema public are synced. To have the table in another schema too:",
                   do=f'CREATE VIEW {schema}.{table} AS SELECT * FROM "public"."{table}";')


def dropped(at=None, table=T, do=DISABLE):
    return refused("EX004", f"Cannot drop electrified table {table}", at, hint=FIRST, do=do)


def renamed_constraint(name, at=None):
    return refused("EX012", f'Cannot rename constraint "{name}" of electrified table {T}', at,
                   hint=f"Clients know the constraint by this name. {STOP}", do=DISABLE)


def renamed_other(at):
    return refused("EX003", f"Cannot rename property of electrified table {T}", at,
                   hint=f"Keep the name, or make the same under the other name and drop this one. {STOP}", do=DISABLE)


def own(what, at=None, hint="Busbar changes them itself when it starts. To remove Busbar from this database:"):
    """Not run: the statement of the hint removes Busbar."""
    return refused("UB005", "Busbar's own objects are protected", at, detail=f"The statement concerns {what}.", hint=f"{hint} {OWN}")


def unrecorded(sql, op):
    return refused("UB003", "A captured migration was not recorded", detail=f"Not recorded: {op}",
                   hint="Run the migration through the Busbar migrations proxy, statement by statement, between BEGIN and COMMIT:", do=f"BEGIN; {sql}; COMMIT;")


COLOUR = "ALTER TABLE items ADD COLUMN colour text"
DOUBTFUL = "SELECT run('CREATE INDEX doubtful ON items (lower(value))')"
IN_FUNCTION = f"SELECT run('{COLOUR}')"
IN_PROCEDURE = f"CALL run_procedure('{COLOUR}')"
IN_TRIGGER = f"INSERT INTO closed VALUES (1, '{COLOUR}')"
CTE = f"WITH w AS (INSERT INTO closed VALUES (1, '{COLOUR}') RETURNING id) SELECT * FROM w"

SECTIONS = [
    ("Columns: ADD", [
        Row(COLOUR, captured("add_column colour")),
        Row("ALTER TABLE items ADD colour text, ADD COLUMN weight float8", captured("add_column colour", "add_column weight")),
        Row("ALTER TABLE items ADD COLUMN colour text, DISABLE TRIGGER noop", captured("add_column colour")),
        Row('ALTER TABLE IF EXISTS ONLY public.items ADD COLUMN "Größe ""x""" text', captured('add_column Größe "x"')),
        Row('ALTER TABLE items ADD COLUMN colour text COLLATE "C"', captured("add_column colour")),
        Row("ALTER TABLE items ADD COLUMN IF NOT EXISTS value text", irrelevant),
        Row("ALTER TABLE items ADD COLUMN temper mood", captured("add_column temper")),
        Row("ALTER TABLE items ADD COLUMN hue hue", captured("create_enum hue", "add_column hue"), before="CREATE TYPE hue AS ENUM ('red')"),
        Row("ALTER TABLE items ADD COLUMN hue hue", unsupported("hue", "text", "hue"), before="CREATE TYPE hue AS ENUM ('1red')"),
        Row("ALTER TABLE items ADD COLUMN colour varchar(10)", unsupported("varchar(10)", "varchar")),
        Row("ALTER TABLE items ADD COLUMN colour word", unsupported("word", "text")),
        Row("ALTER TABLE items ADD COLUMN colour text[]", unsupported("text[]", "jsonb")),
        Row("ALTER TABLE items ADD COLUMN price numeric(10,2)", unsupported("numeric(10, 2)", "float8", "price")),
        Row("ALTER TABLE items ADD COLUMN number serial", unsupported("serial", "int8", "number")),
        Row("ALTER TABLE items ADD COLUMN part closed", unsupported("closed", "text", "part")),
        Row("ALTER TABLE items ADD COLUMN colour text NOT NULL", refused(
            "UB004", f'Cannot add NOT NULL column "colour" to electrified table {T}',
            hint="Clients hold rows that have no value for it. Add the column without NOT NULL:", do=f"ALTER TABLE {T} ADD COLUMN colour text;"),
            before="DELETE FROM items"),
        Row("ALTER TABLE items ADD COLUMN colour text NOT NULL", server("23502", 'column "colour" of relation "items" contains null values')),
        Row("ALTER TABLE items ADD COLUMN colour text DEFAULT 'red'", refused(
            "EX006", "Cannot electrify column with DEFAULT clause", hint="Add the column without DEFAULT, then fill it:",
            do=f"ALTER TABLE {T} ADD COLUMN colour text; UPDATE {T} SET colour = 'red'::text;")),
        Row("ALTER TABLE items ADD COLUMN big int8 GENERATED ALWAYS AS (id * 2) STORED", constrained(
            "GENERATED", "Add a plain column and let a trigger or the application fill it:", f"ALTER TABLE {T} ADD COLUMN big bigint;")),
        Row("ALTER TABLE items ADD COLUMN number int8 GENERATED BY DEFAULT AS IDENTITY", constrained(
            "GENERATED", "Add a plain column and let a trigger or the application fill it:", f"ALTER TABLE {T} ADD COLUMN number bigint;")),
        Row("ALTER TABLE items ADD COLUMN colour text CHECK (colour <> '')", constrained(
            "CHECK", "Add the column without the constraint and check the values in the application:", f"ALTER TABLE {T} ADD COLUMN colour text;")),
        Row("ALTER TABLE items ADD COLUMN colour text UNIQUE", constrained(
            "UNIQUE", "Use a unique index:", f"ALTER TABLE {T} ADD COLUMN colour text; CREATE UNIQUE INDEX ON {T} (colour);")),
        Row("ALTER TABLE items ADD COLUMN other_parent int8 REFERENCES parents", constrained(
            "FOREIGN KEY", "Add the column without the constraint and check the values in the application:",
            f"ALTER TABLE {T} ADD COLUMN other_parent bigint;")),
        Row("ALTER TABLE items ADD COLUMN key int8 PRIMARY KEY", refused(
            "EX011", "Cannot electrify column with PRIMARY KEY constraint", "key",
            hint="The primary key stays as it is. Add a plain column:", do=f"ALTER TABLE {T} ADD COLUMN key text;")),
    ]),
    ("Columns: DROP, ALTER, RENAME", [
        Row("ALTER TABLE items DROP COLUMN value", dropped_column("value", "value", f"UPDATE {T} SET value = NULL;")),
        Row("ALTER TABLE items DROP value CASCADE", dropped_column("value", "value", f"UPDATE {T} SET value = NULL;")),
        Row("ALTER TABLE items DROP COLUMN note", dropped_column("note", "note")),
        Row("ALTER TABLE items DROP COLUMN IF EXISTS nothing", dropped_column("nothing", "nothing")),
        Row("ALTER TABLE items ADD COLUMN colour text, DROP COLUMN value", dropped_column("value", "value", f"UPDATE {T} SET value = NULL;")),
        Row("ALTER TABLE items ALTER COLUMN value TYPE varchar", retyped("value", "value")),
        Row("ALTER TABLE items ALTER size SET DATA TYPE int8 USING size + 1", retyped("size", "size")),
        Row("ALTER TABLE items ALTER COLUMN value SET DEFAULT 'x'", frozen_column("value", "text")),
        Row("ALTER TABLE items ALTER COLUMN value DROP DEFAULT", frozen_column("value", "text")),
        Row("ALTER TABLE items ALTER COLUMN value SET NOT NULL", frozen_column("value", "text")),
        Row("ALTER TABLE items ALTER COLUMN note DROP NOT NULL", frozen_column("note", "text")),
        Row("ALTER TABLE items ALTER COLUMN value DROP EXPRESSION IF EXISTS", frozen_column("value", "text")),
        Row("ALTER TABLE items ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY", frozen_column("id", "bigint")),
        Row("ALTER TABLE items ALTER COLUMN id SET GENERATED BY DEFAULT", frozen_column("id", "bigint")),
        Row("ALTER TABLE items ALTER COLUMN id RESTART WITH 5", frozen_column("id", "bigint")),
        Row("ALTER TABLE items ALTER COLUMN id DROP IDENTITY IF EXISTS", frozen_column("id", "bigint")),
        Row("ALTER TABLE items RENAME COLUMN value TO worth", renamed_column("value")),
        Row("ALTER TABLE items RENAME value TO worth", renamed_column("value")),
        Row("ALTER TABLE items ALTER COLUMN value SET STATISTICS 100", irrelevant),
        Row("ALTER TABLE items ALTER COLUMN value SET (n_distinct = 5)", irrelevant),
        Row("ALTER TABLE items ALTER COLUMN value RESET (n_distinct)", irrelevant),
        Row("ALTER TABLE items ALTER COLUMN value SET STORAGE EXTERNAL", irrelevant),
        Row("ALTER TABLE items ALTER COLUMN value SET COMPRESSION pglz", irrelevant),
        Row("ALTER TABLE closed DROP COLUMN value", irrelevant),
        Row("COMMENT ON COLUMN items.value IS 'x'", irrelevant),
    ]),
    ("Constraints", [
        Row("ALTER TABLE items ADD CONSTRAINT items_value_key UNIQUE (value, size)", refused(
            "EX007", f'Cannot alter column "" of electrified table {T}', "ADD", hint="Use a unique index:",
            do=f'CREATE UNIQUE INDEX ON {T} ("value", "size");')),
        Row("ALTER TABLE items ADD UNIQUE USING INDEX u", refused(
            "EX007", f'Cannot alter column "" of electrified table {T}', "ADD", hint=f"A unique index is enough: leave it as it is. {STOP}",
            do=DISABLE), before="CREATE UNIQUE INDEX u ON items (value)"),
        Row("ALTER TABLE items ADD CONSTRAINT long CHECK (length(value) > 1) NOT VALID", frozen("ADD")),
        Row("ALTER TABLE items ADD EXCLUDE (value WITH =)", frozen("ADD")),
        Row("ALTER TABLE items ADD FOREIGN KEY (size) REFERENCES parents", frozen("ADD")),
        Row("ALTER TABLE items ADD CONSTRAINT again PRIMARY KEY (id)", frozen("ADD")),
        Row("ALTER TABLE items ALTER CONSTRAINT items_parent_fkey DEFERRABLE", frozen("ALTER CONSTRAINT")),
        Row("ALTER TABLE items VALIDATE CONSTRAINT items_parent_fkey", frozen("items_parent_fkey", "items_parent_fkey")),
        Row("ALTER TABLE items DROP CONSTRAINT items_parent_fkey", frozen("items_parent_fkey", "items_parent_fkey")),
        Row("ALTER TABLE items DROP CONSTRAINT items_pkey CASCADE", frozen("items_pkey", "items_pkey")),
        Row("ALTER TABLE items DROP CONSTRAINT IF EXISTS nothing", frozen("nothing", "nothing")),
        Row("ALTER TABLE parents DROP CONSTRAINT parents_pkey CASCADE", frozen("parents_pkey", "parents_pkey", P, DISABLE_PARENTS)),
        Row("ALTER TABLE items RENAME CONSTRAINT items_parent_fkey TO fk", renamed_constraint("items_parent_fkey", "items_parent_fkey")),
        Row("ALTER INDEX items_pkey RENAME TO pk", renamed_constraint("items_pkey")),
        Row("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON items DEFERRABLE FOR EACH ROW EXECUTE FUNCTION noop()", frozen()),
        Row("ALTER TABLE closed ADD FOREIGN KEY (id) REFERENCES items", irrelevant),
        Row("CREATE TABLE children (id int8 PRIMARY KEY REFERENCES items)", irrelevant),
    ]),
    ("The table as a whole", [
        Row("ALTER TABLE items RENAME TO things", renamed("things", "items")),
        Row("ALTER INDEX items RENAME TO things", renamed("things", "items")),
        Row("ALTER TABLE items SET SCHEMA other", moved("other", "items")),
        Row("ALTER SCHEMA public RENAME TO private", refused(
            "EX002", f"Cannot move electrified table {P}", hint="Only tables of schema public are synced. To have the table in another schema too:")),
        Row("ALTER TABLE items OWNER TO somebody", irrelevant),
        Row("REASSIGN OWNED BY somebody TO CURRENT_USER", irrelevant, before="ALTER TABLE items OWNER TO somebody"),
        Row("ALTER TABLE items SET UNLOGGED", frozen("SET")),
        Row("ALTER TABLE items SET LOGGED", frozen("SET")),
        Row("ALTER TABLE items SET (fillfactor = 70)", irrelevant),
        Row("ALTER TABLE items RESET (fillfactor)", irrelevant),
        Row("ALTER TABLE items SET ACCESS METHOD heap", irrelevant),
        Row("ALTER TABLE items SET TABLESPACE pg_default", frozen("pg_default", "pg_default")),
        Row("ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default", irrelevant),
        Row("ALTER TABLE items CLUSTER ON items_pkey", frozen("items_pkey", "items_pkey")),
        Row("ALTER TABLE items SET WITHOUT CLUSTER", frozen("SET")),
        Row("ALTER TABLE items SET WITHOUT OIDS", frozen("SET")),
        Row("ALTER TABLE items OF shape", frozen("OF")),
        Row("ALTER TABLE items NOT OF", frozen("NOT")),
        Row("ALTER TABLE items INHERIT ancestor", frozen("INHERIT")),
        Row("ALTER TABLE items NO INHERIT ancestor", frozen("NO INHERIT")),
        Row("CREATE TABLE child () INHERITS (items)", frozen()),
        Row("ALTER TABLE child INHERIT items", frozen(), before="CREATE TABLE child (LIKE items)"),
        Row("ALTER TABLE whole ATTACH PARTITION items FOR VALUES FROM (0) TO (10)", frozen()),
        Row("ALTER TABLE whole DETACH PARTITION items", server("42P01", 'relation "items" is not a partition of relation "whole"')),
        Row("CREATE TABLE part PARTITION OF items DEFAULT", server("42P17", '"items" is not partitioned')),
        Row("ALTER TABLE items REPLICA IDENTITY DEFAULT", frozen("REPLICA")),
        Row("ALTER TABLE items REPLICA IDENTITY FULL", frozen("REPLICA")),
        Row("ALTER TABLE items REPLICA IDENTITY NOTHING", frozen("REPLICA")),
        Row("ALTER TABLE items REPLICA IDENTITY USING INDEX items_pkey", frozen("REPLICA")),
        Row("ALTER TABLE items ENABLE ROW LEVEL SECURITY", frozen("ENABLE")),
        Row("ALTER TABLE items DISABLE ROW LEVEL SECURITY", frozen("DISABLE")),
        Row("ALTER TABLE items FORCE ROW LEVEL SECURITY", frozen("FORCE")),
        Row("ALTER TABLE items NO FORCE ROW LEVEL SECURITY", frozen("NO")),
        Row("CREATE TABLE copy (LIKE items INCLUDING ALL)", irrelevant),
        Row("CREATE TABLE copy AS SELECT * FROM items", irrelevant),
        Row("SELECT * INTO copy FROM items", irrelevant),
        Row("CREATE VIEW v AS SELECT * FROM items", irrelevant),
        Row("DROP VIEW item_ids", irrelevant),
        Row("CREATE MATERIALIZED VIEW v AS SELECT * FROM items", irrelevant),
        Row("CREATE STATISTICS s ON id, value FROM items", irrelevant),
        Row("COMMENT ON TABLE items IS 'x'", irrelevant),
        Row("GRANT SELECT ON items TO PUBLIC", irrelevant),
        Row("REVOKE ALL ON items FROM PUBLIC", irrelevant),
        Row("CREATE PUBLICATION mine FOR TABLE items", irrelevant),
        Row("VACUUM FULL items", irrelevant, only="single"),
        Row("CLUSTER items USING items_pkey", irrelevant),
    ]),
    ("DROP and TRUNCATE", [
        Row("DROP TABLE items", dropped("items")),
        Row("DROP TABLE IF EXISTS closed, public.items CASCADE", dropped("public.items")),
        Row("DROP TABLE parents CASCADE", dropped("parents", P, DISABLE_PARENTS)),
        Row("DROP TABLE closed", irrelevant),
        Row("DROP SCHEMA public CASCADE", dropped(None, P, DISABLE_PARENTS)),
        Row("DROP OWNED BY somebody CASCADE", dropped(), before="ALTER TABLE items OWNER TO somebody"),
        Row("DROP OWNED BY somebody", irrelevant, before="GRANT SELECT ON items TO somebody"),
        Row("DROP TYPE mood CASCADE", dropped_column("feeling", None, f"UPDATE {T} SET feeling = NULL;")),
        Row("DROP TYPE mood", server("2BP01", "cannot drop type mood because other objects depend on it")),
        Row("TRUNCATE items", irrelevant),
        Row("TRUNCATE parents CASCADE", irrelevant),
    ]),
    ("Triggers, rules, policies", [
        Row("CREATE TRIGGER t AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION noop()", irrelevant),
        Row("ALTER TABLE items DISABLE TRIGGER noop", irrelevant),
        Row("ALTER TABLE items ENABLE TRIGGER noop", irrelevant),
        Row("ALTER TABLE items ENABLE REPLICA TRIGGER noop", irrelevant),
        Row("ALTER TABLE items ENABLE ALWAYS TRIGGER noop", irrelevant),
        Row("ALTER TABLE items DISABLE TRIGGER ALL", frozen("DISABLE")),
        Row("ALTER TABLE items ENABLE TRIGGER ALL", frozen("ENABLE")),
        Row("ALTER TABLE items DISABLE TRIGGER USER", frozen("DISABLE")),
        Row("ALTER TABLE items ENABLE TRIGGER USER", frozen("ENABLE")),
        Row("ALTER TRIGGER noop ON items RENAME TO nothing", renamed_other("noop")),
        Row("DROP TRIGGER noop ON items", irrelevant),
        Row("DROP FUNCTION noop() CASCADE", irrelevant),
        Row("CREATE RULE r AS ON UPDATE TO items DO ALSO NOTHING", irrelevant),
        Row("ALTER TABLE items DISABLE RULE quiet", frozen("quiet", "quiet")),
        Row("ALTER TABLE items ENABLE RULE quiet", frozen("quiet", "quiet")),
        Row("ALTER TABLE items ENABLE ALWAYS RULE quiet", frozen("quiet", "quiet")),
        Row("ALTER TABLE items ENABLE REPLICA RULE quiet", frozen("quiet", "quiet")),
        Row("ALTER RULE quiet ON items RENAME TO loud", renamed_other("quiet")),
        Row("DROP RULE quiet ON items", irrelevant),
        Row("CREATE POLICY p ON items USING (true)", irrelevant),
        Row("ALTER POLICY everybody ON items USING (false)", irrelevant),
        Row("ALTER POLICY everybody ON items RENAME TO nobody", renamed_other("everybody")),
        Row("DROP POLICY everybody ON items", irrelevant),
    ]),
    ("Indexes", [
        Row("CREATE INDEX i ON items (size)", captured("create_index i")),
        Row("CREATE INDEX ON items (size)", captured("create_index items_size_idx")),
        Row("CREATE UNIQUE INDEX i ON ONLY items (value DESC, size) WHERE size > 0", captured("create_index i")),
        Row("CREATE INDEX i ON items (lower(value))", captured("create_index i")),
        Row("CREATE INDEX i ON items (md5(value))", captured("create_index i")),
        Row("CREATE INDEX i ON items USING gin (to_tsvector('simple', value))", captured("create_index i")),
        Row("CREATE INDEX i ON items (value text_pattern_ops NULLS FIRST) INCLUDE (size)", captured("create_index i")),
        Row("CREATE INDEX CONCURRENTLY i ON items (size)", captured("create_index i"), only="single"),
        Row("CREATE INDEX CONCURRENTLY i ON items (size)", server("25001", "CREATE INDEX CONCURRENTLY cannot run inside a transaction block"),
            only="block"),
        Row("CREATE INDEX IF NOT EXISTS items_idx ON items (size)", irrelevant),
        Row("CREATE INDEX i ON closed (value)", irrelevant),
        Row("DROP INDEX items_idx", captured("drop_index items_idx")),
        Row("DROP INDEX IF EXISTS nothing, closed_idx, items_idx", captured("drop_index items_idx")),
        Row("DROP INDEX CONCURRENTLY items_idx", captured("drop_index items_idx"), only="single"),
        Row("DROP INDEX closed_idx", irrelevant),
        Row("DROP INDEX items_pkey", server("2BP01", "cannot drop index items_pkey because constraint items_pkey on table items requires it")),
        Row("ALTER INDEX items_idx RENAME TO i", captured("drop_index items_idx", "create_index i")),
        Row("ALTER TABLE items_idx RENAME TO i", captured("drop_index items_idx", "create_index i")),
        Row("ALTER INDEX items_idx SET (fillfactor = 70)", irrelevant),
        Row("ALTER INDEX items_idx SET TABLESPACE pg_default", irrelevant),
        Row("ALTER INDEX items_idx DEPENDS ON EXTENSION plpgsql", irrelevant),
        Row("COMMENT ON INDEX items_idx IS 'x'", irrelevant),
        Row("REINDEX INDEX items_idx", irrelevant),
        Row("REINDEX TABLE items", irrelevant),
        Row("REINDEX INDEX CONCURRENTLY items_idx", irrelevant, only="single"),
        Row("REINDEX TABLE CONCURRENTLY items", irrelevant, only="single"),
        Row("REINDEX SCHEMA public", irrelevant, only="single"),
        Row("DROP INDEX items_idx", captured("drop_index items_idx"), before="REINDEX TABLE CONCURRENTLY items"),
        Row("ALTER TABLE items ADD COLUMN colour text", captured("add_column colour"), before="REINDEX TABLE CONCURRENTLY items"),
        Row("DROP FUNCTION key(text) CASCADE", captured("drop_index i"),
            before="CREATE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'; CREATE INDEX i ON items (key(value))"),
        Row("ALTER FUNCTION key(text) RENAME TO key2", captured("drop_index i", "create_index i"),
            before="CREATE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'; CREATE INDEX i ON items (key(value))"),
    ]),
    ("Types", [
        Row("ALTER TYPE mood ADD VALUE 'calm'", ENUM),
        Row("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'sad'", irrelevant),
        Row("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", ENUM),
        Row("ALTER TYPE mood RENAME TO temper", retyped("feeling")),
        Row("ALTER TYPE mood SET SCHEMA other", retyped("feeling")),
        Row("ALTER TYPE mood OWNER TO somebody", irrelevant),
        Row("ALTER TYPE items RENAME TO things", server("42809", "items is a table's row type")),
        Row("CREATE TYPE hue AS ENUM ('red')", irrelevant),
        Row("ALTER TYPE hue ADD VALUE 'blue'", irrelevant, before="CREATE TYPE hue AS ENUM ('red')"),
        Row("ALTER TYPE shape ADD ATTRIBUTE x int", irrelevant),
        Row("ALTER DOMAIN word ADD CHECK (value <> '')", irrelevant),
        Row("DROP DOMAIN word", irrelevant),
    ]),
    ("In functions, procedures, DO and triggers", [
        Row(f"DO $$ BEGIN {COLOUR}; CREATE INDEX i ON items (colour); END $$", captured("add_column colour", "create_index i")),
        Row("DO $$ BEGIN ALTER TABLE items DROP COLUMN value; END $$", dropped_column("value", None, f"UPDATE {T} SET value = NULL;")),
        Row("DO $$ BEGIN EXECUTE 'ALTER TABLE items RE' || 'NAME TO things'; END $$", renamed("things")),
        Row("DO $$ BEGIN ALTER TABLE items RENAME COLUMN value TO worth; END $$", renamed_column(None)),
        Row("DO $$ BEGIN ALTER TABLE items ALTER COLUMN size TYPE int8; END $$", retyped("size")),
        Row("DO $$ BEGIN ALTER TABLE items ALTER COLUMN value SET NOT NULL; END $$", refused(
            "EX007", f'Cannot alter column "value" of electrified table {T}',
            hint="Clients keep the column as it was declared. Enforce the new rule in the application, or add a column:",
            do=f"ALTER TABLE {T} ADD COLUMN new_value text;")),
        Row("DO $$ BEGIN ALTER TABLE items ADD UNIQUE (value, size); END $$", refused(
            "EX007", f'Cannot alter column "" of electrified table {T}', hint="Use a unique index:",
            do=f"CREATE UNIQUE INDEX ON {T} (value, size);")),
        Row("DO $$ BEGIN ALTER TABLE items ADD CHECK (size > 0); END $$", frozen()),
        Row("DO $$ BEGIN ALTER TABLE items DROP CONSTRAINT items_parent_fkey; END $$", frozen(None, "items_parent_fkey")),
        Row("DO $$ BEGIN ALTER TABLE items SET SCHEMA other; END $$", moved("other")),
        Row("DO $$ BEGIN ALTER TABLE items SET UNLOGGED; END $$",
            server("55000", 'cannot change table "items" to unlogged because it is part of a publication')),
        Row("DO $$ BEGIN ALTER TABLE items ENABLE ROW LEVEL SECURITY; END $$", frozen()),
        Row("DO $$ BEGIN ALTER TABLE items REPLICA IDENTITY NOTHING; END $$", frozen()),
        Row("DO $$ BEGIN ALTER TABLE items INHERIT ancestor; END $$", frozen()),
        Row("DO $$ BEGIN DROP TABLE parents CASCADE; END $$", dropped(None, P, DISABLE_PARENTS)),
        Row("DO $$ BEGIN ALTER TYPE mood ADD VALUE 'calm'; END $$", ENUM),
        Row("DO $$ BEGIN ALTER TYPE shape ADD ATTRIBUTE x int CASCADE; END $$", captured("add_column x"),
            before="DO $$ BEGIN ALTER TABLE items OF shape; END $$"),
        Row("ALTER TYPE shape ADD ATTRIBUTE x int CASCADE", captured("add_column x"), before="DO $$ BEGIN ALTER TABLE items OF shape; END $$"),
        Row("ALTER TYPE shape DROP ATTRIBUTE value CASCADE", dropped_column("value", None, f"UPDATE {T} SET value = NULL;"),
            before="DO $$ BEGIN ALTER TABLE items OF shape; END $$"),
        Row("ALTER TYPE shape RENAME ATTRIBUTE value TO worth CASCADE", refused(
            "EX008", f'Cannot rename column "value" of electrified table {T}', hint="Add a column of the new name and copy the values:"),
            before="DO $$ BEGIN ALTER TABLE items OF shape; END $$"),
        Row("DO $$ BEGIN ALTER TABLE items DISABLE RULE quiet; ALTER TABLE items CLUSTER ON items_pkey; END $$", irrelevant),
        Row(IN_FUNCTION, captured("add_column colour")),
        Row(DOUBTFUL, unrecorded(DOUBTFUL, "CREATE INDEX doubtful ON public.items USING btree (lower(value))"), only="single"),
        Row(DOUBTFUL, captured("create_index doubtful"), only="block"),
        Row("SELECT run('ALTER TABLE items DROP COLUMN value')", dropped_column("value", None, f"UPDATE {T} SET value = NULL;")),
        Row("SELECT run('DROP TABLE items CASCADE')", dropped()),
        Row(IN_PROCEDURE, captured("add_column colour")),
        Row("CALL run_procedure('ALTER TABLE items DROP COLUMN value')", dropped_column("value", None, f"UPDATE {T} SET value = NULL;")),
        Row(IN_TRIGGER, captured("add_column colour")),
        Row("INSERT INTO closed VALUES (1, 'ALTER TABLE items RENAME TO things')", renamed("things")),
        Row(f"EXPLAIN ANALYZE {IN_TRIGGER}", captured("add_column colour"), only="block"),
        Row(CTE, captured("add_column colour"), only="block"),
        Row("EXECUTE p", captured("add_column colour"), first=(f"PREPARE p AS {IN_FUNCTION}",), only="block"),
        Row("CREATE SCHEMA s CREATE TABLE t (id int8 PRIMARY KEY REFERENCES public.items)", irrelevant),
    ]),
    ("Names", [
        Row(COLOUR, captured("add_column colour"), first=("SET search_path = other, public",)),
        Row(COLOUR, irrelevant, before="CREATE TABLE other.items (id int8)", first=("SET search_path = other, public",)),
        Row("DROP TABLE items", irrelevant, before="CREATE TABLE other.items (id int8)", first=("SET search_path = other, public",)),
        Row("ALTER TABLE public.items DROP COLUMN value", dropped_column("value", "value", f"UPDATE {T} SET value = NULL;"),
            first=("SET search_path = ''",)),
        Row(COLOUR, irrelevant, first=("CREATE TEMP TABLE items (id int8)",)),
        Row("DROP TABLE items", irrelevant, first=("CREATE TEMP TABLE items (id int8)",)),
        Row("DROP TABLE public.items", dropped("public.items"), first=("CREATE TEMP TABLE items (id int8)",)),
        Row('ALTER TABLE/*;*/"public" . items -- comment\n ADD colour text', captured("add_column colour")),
        Row("DO $$ BEGIN SET LOCAL search_path = other; ALTER TABLE public.items ADD COLUMN colour text; END $$", captured("add_column colour")),
    ]),
    ("DDLX", [
        Row("ALTER TABLE items ENABLE ELECTRIC", irrelevant),
        Row("ALTER TABLE closed ENABLE ELECTRIC", captured("create_table closed", "create_index closed_idx")),
        Row("ALTER TABLE fresh ENABLE ELECTRIC", captured("create_enum hue", "create_table fresh"),
            before="CREATE TYPE hue AS ENUM ('red'); CREATE TABLE fresh (id int8 PRIMARY KEY, hue hue)"),
        Row("ALTER TABLE child ENABLE ELECTRIC", refused(
            "UB006", f'Cannot electrify child because it references table "public"."middle", which is not electrified',
            detail="Clients could not keep foreign key child_id_fkey.", hint="",
            do='ALTER TABLE "public"."top" ENABLE ELECTRIC; ALTER TABLE "public"."middle" ENABLE ELECTRIC; ALTER TABLE "public"."child" ENABLE ELECTRIC;'),
            before="CREATE TABLE top (id int8 PRIMARY KEY); CREATE TABLE middle (id int8 PRIMARY KEY REFERENCES top);"
                   " CREATE TABLE child (id int8 PRIMARY KEY REFERENCES middle)"),
        Row("ALTER TABLE items DISABLE ELECTRIC", captured("drop_table items", "drop_enum mood")),
        Row("ELECTRIC DISABLE public.items", captured("drop_table items", "drop_enum mood")),
        Row("CALL electric.disable('items')", captured("drop_table items", "drop_enum mood")),
        Row("ALTER TABLE closed DISABLE ELECTRIC", irrelevant),
        Row("ALTER TABLE parents DISABLE ELECTRIC", refused(
            "UB006", f"Cannot disable electrified table {P} because other electrified tables refer to it",
            detail=f"Foreign key items_parent_fkey of table {T} refers to it.", hint="", do=DISABLE_PARENTS)),
        Row("ALTER TABLE nothing ENABLE ELECTRIC", refused(
            "42P01", 'relation "nothing" does not exist', detail=None, hint="Check the name, its schema and the search_path.")),
        Row("ALTER TABLE nothing DISABLE ELECTRIC", refused(
            "42P01", 'relation "nothing" does not exist', detail=None, hint="Check the name, its schema and the search_path.")),
    ]),
    ("Busbar's own objects", [
        Row("DROP TABLE busbar.electrified CASCADE", own("table busbar.electrified")),
        Row("DROP SCHEMA busbar CASCADE", own("schema busbar", hint="To remove Busbar from this database:")),
        Row("DROP SCHEMA electric CASCADE", own("schema electric")),
        Row("DROP SCHEMA electric, busbar CASCADE", own("schema busbar")),
        Row("ALTER SCHEMA busbar RENAME TO x", refused("UB005", "Busbar's own objects are protected",
            detail="The statement concerns schema busbar or electric.", hint="Leave these schemas as they are.")),
        Row("ALTER TABLE busbar.command ADD COLUMN x int", own("table busbar.command")),
        Row("ALTER TABLE busbar.command SET SCHEMA public", own("a table of schema busbar")),
        Row("ALTER TABLE busbar.command RENAME TO x", own("a table of schema busbar")),
        Row("ALTER TABLE busbar.pending DISABLE TRIGGER ALL", own("table busbar.pending")),
        Row("DROP TRIGGER pending_recorded ON busbar.pending", own("trigger pending_recorded on busbar.pending")),
        Row("CREATE TRIGGER t BEFORE INSERT ON busbar.command FOR EACH ROW EXECUTE FUNCTION noop()", own("trigger t on busbar.command")),
        Row("CREATE RULE r AS ON INSERT TO busbar.command DO INSTEAD NOTHING", own("rule r on busbar.command")),
        Row("DROP FUNCTION busbar.guard_end() CASCADE", own("function busbar.guard_end()")),
        Row("CREATE OR REPLACE FUNCTION busbar.is_proxy() RETURNS boolean LANGUAGE sql AS 'SELECT true'", own("function busbar.is_proxy()")),
        Row("CREATE TABLE busbar.mine (id int)", own("table busbar.mine")),
        Row("DROP VIEW electric.electrified", own("view electric.electrified")),
        Row("DROP EVENT TRIGGER busbar_guard_end", own("event trigger busbar_guard_end", "busbar_guard_end")),
        Row("DROP EVENT TRIGGER IF EXISTS nothing, busbar_guard_end", own("event trigger busbar_guard_end", "busbar_guard_end")),
        Row("ALTER EVENT TRIGGER busbar_guard_end DISABLE", own("event trigger busbar_guard_end", "busbar_guard_end")),
        Row("ALTER EVENT TRIGGER busbar_guard_end RENAME TO x", own("event trigger busbar_guard_end", "busbar_guard_end")),
        Row("ALTER PUBLICATION electric_publication DROP TABLE items",
            own("publication relation public.items in publication electric_publication")),
        Row("ALTER PUBLICATION electric_publication SET (publish = 'insert')", own("publication electric_publication")),
        Row("ALTER PUBLICATION electric_publication RENAME TO mine", own("publication mine")),
        Row("DROP PUBLICATION electric_publication", own("publication electric_publication")),
    ]),
]

ROWS = [row for _, rows in SECTIONS for row in rows]
