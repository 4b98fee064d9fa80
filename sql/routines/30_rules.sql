-- SPDX-License-Identifier: Apache-2.0
--
-- The rules for electrified tables: which types can be synced, and what is said when a change is refused
-- (codes EX002 to EX012). A rule has a name, used by busbar.precheck() and by the comparison in 40_diff.sql.

-- Labels of an enum that clients could not write.
CREATE OR REPLACE FUNCTION busbar.bad_labels(col jsonb) RETURNS TABLE (label text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT l FROM jsonb_array_elements_text(col -> 'values') l WHERE l !~* '^[a-z][a-z_0-9]*$'
$$;

-- Types that clients can hold; anything with a modifier, arrays, domains and all other types cannot be.
CREATE OR REPLACE FUNCTION busbar.is_supported_type(col jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT col ->> 'typmod' = '-1' AND CASE
        WHEN (col ->> 'enum')::boolean THEN NOT EXISTS (SELECT FROM busbar.bad_labels(col))
        ELSE col ->> 'type_schema' = 'pg_catalog' AND col ->> 'type_name' IN ('bool', 'int2', 'int4', 'int8', 'float4',
            'float8', 'text', 'varchar', 'uuid', 'date', 'time', 'timestamp', 'timestamptz', 'jsonb', 'bytea') END
$$;

-- A column's type as a statement would have it; types of schema public go without it.
CREATE OR REPLACE FUNCTION busbar.type_sql(col jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN col ->> 'type_schema' = 'public' AND col ->> 'type_name' NOT LIKE E'\\_%'
        THEN quote_ident(col ->> 'type_name') ELSE col ->> 'type' END
$$;

-- The catalog's name of a column's type, as EX005 prints it: int4[], varchar(255), serial.
CREATE OR REPLACE FUNCTION busbar.type_label(table_oid oid, col jsonb) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    element name;
    dimensions integer;
    label text;
BEGIN
    SELECT e.typname, greatest(a.attndims, 1) INTO element, dimensions
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid AND t.typcategory = 'A'
    JOIN pg_type e ON e.oid = t.typelem
    WHERE a.attrelid = table_oid AND a.attnum = (col ->> 'num')::int;
    label := coalesce(element || repeat('[]', dimensions), col ->> 'type_name');
    IF busbar.is_serial(table_oid, col) THEN
        label := CASE col ->> 'type_name' WHEN 'int2' THEN 'smallserial' WHEN 'int8' THEN 'bigserial' ELSE 'serial' END;
    END IF;
    IF col ->> 'typmod' <> '-1' THEN
        label := label || coalesce('(' || replace(substring(col ->> 'type' FROM E'\\(([0-9,]+)\\)'), ',', ', ') || ')', '');
    END IF;
    RETURN label;
END
$$;

-- A serial column is an integer whose default is a sequence that belongs to it. That it belongs is written down last, after
-- the table is rewritten: until then a new sequence that belongs to nobody is taken for it.
CREATE OR REPLACE FUNCTION busbar.is_serial(table_oid oid, col jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(col ->> 'default' LIKE 'nextval(%', false) AND EXISTS (
        SELECT FROM pg_attrdef a
        JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = a.oid AND u.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
        LEFT JOIN pg_depend o ON o.classid = 'pg_class'::regclass AND o.objid = s.oid AND o.deptype = 'a'
            AND o.refclassid = 'pg_class'::regclass
        WHERE a.adrelid = table_oid AND a.adnum = (col ->> 'num')::int
          AND CASE WHEN o.objid IS NULL THEN busbar.made_here(s.xmin)
              ELSE o.refobjid = table_oid AND o.refobjsubid = a.adnum END);
END
$$;

-- A supported type to use in place of one that is not, for hints.
CREATE OR REPLACE FUNCTION busbar.type_instead(label text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN label LIKE '%[]%' OR label IN ('json', 'hstore', 'xml') THEN 'jsonb'
        WHEN label LIKE 'varchar%' THEN 'varchar'
        WHEN label LIKE 'numeric%' OR label = 'money' THEN 'float8'
        WHEN label LIKE 'timestamptz%' THEN 'timestamptz'
        WHEN label LIKE 'timestamp%' THEN 'timestamp'
        WHEN label LIKE 'time%' THEN 'time'
        WHEN label LIKE '%serial' OR label = 'oid' THEN 'int8'
        ELSE 'text' END
$$;

-- Code and message of a rule; object is a column, constraint, type or kind of constraint.
CREATE OR REPLACE FUNCTION busbar.rule_message(rule text, tab text, object text, OUT code text, OUT message text)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    quoted_object text := '"' || coalesce(object, '') || '"';
BEGIN
    code := CASE rule
        WHEN 'rename_table' THEN 'EX002' WHEN 'set_schema' THEN 'EX002' WHEN 'rename_other' THEN 'EX003'
        WHEN 'drop_table' THEN 'EX004' WHEN 'column_type' THEN 'EX005' WHEN 'column_default' THEN 'EX006'
        WHEN 'alter_column' THEN 'EX007' WHEN 'rename_column' THEN 'EX008' WHEN 'alter_type' THEN 'EX009'
        WHEN 'alter_enum' THEN 'EX009' WHEN 'drop_column' THEN 'EX010' WHEN 'column_constraint' THEN 'EX011'
        WHEN 'rename_constraint' THEN 'EX012' WHEN 'add_unique' THEN 'EX007' WHEN 'add_primary_key' THEN 'EX011'
        WHEN 'column_not_null' THEN 'UB004' END;
    IF code IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown rule %L', rule);
    END IF;
    message := CASE rule
        WHEN 'rename_table' THEN 'Cannot rename electrified table ' || tab
        WHEN 'set_schema' THEN 'Cannot move electrified table ' || tab
        WHEN 'rename_other' THEN 'Cannot rename property of electrified table ' || tab
        WHEN 'drop_table' THEN 'Cannot drop electrified table ' || tab
        WHEN 'column_type' THEN 'Cannot electrify column of type ' || quoted_object
        WHEN 'column_default' THEN 'Cannot electrify column with DEFAULT clause'
        WHEN 'add_unique' THEN 'Cannot alter column "" of electrified table ' || tab
        WHEN 'add_primary_key' THEN 'Cannot electrify column with PRIMARY KEY constraint'
        WHEN 'column_not_null' THEN format('Cannot add NOT NULL column %s to electrified table %s', quoted_object, tab)
        WHEN 'alter_column' THEN format('Cannot alter column %s of electrified table %s', quoted_object, tab)
        WHEN 'rename_column' THEN format('Cannot rename column %s of electrified table %s', quoted_object, tab)
        WHEN 'alter_type' THEN format('Cannot change type of column %s of electrified table %s', quoted_object, tab)
        WHEN 'alter_enum' THEN format('Cannot change the enum type of column %s of electrified table %s', quoted_object, tab)
        WHEN 'drop_column' THEN format('Cannot drop column %s of electrified table %s', quoted_object, tab)
        WHEN 'column_constraint' THEN format('Cannot electrify column with %s constraint', object)
        WHEN 'rename_constraint' THEN format('Cannot rename constraint %s of electrified table %s', quoted_object, tab) END;
END
$$;

-- The end of a hint where nothing that clients could follow would do.
CREATE OR REPLACE FUNCTION busbar.stop_sync(def jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'To change it all the same, stop its sync first, which drops the table at the clients: ' || busbar.disable_hint(def)
$$;

-- What to do instead: a statement that works, made with the table's and the column's real names.
CREATE OR REPLACE FUNCTION busbar.rule_hint(rule text, def jsonb, object text, column_name text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    tab text := busbar.quoted(def ->> 'schema', def ->> 'name');
    col jsonb := (SELECT c FROM jsonb_array_elements(def -> 'columns') c WHERE c ->> 'name' = column_name LIMIT 1);
    old_name text := quote_ident(coalesce(column_name, 'name'));
    new_name text := quote_ident('new_' || coalesce(column_name, 'name'));
    add_plain text := format('ALTER TABLE %s ADD COLUMN %s %s;', tab, old_name, coalesce(busbar.type_sql(col), 'text'));
    add_new text := format('ALTER TABLE %s ADD COLUMN %s %s;', tab, new_name, coalesce(busbar.type_sql(col), 'text'));
BEGIN
    RETURN CASE rule
    WHEN 'rename_table' THEN format('Clients know the table by this name. For another name in PostgreSQL make a view: '
        'CREATE VIEW %I AS SELECT * FROM %s;', object, tab)
    WHEN 'set_schema' THEN format('Only tables of schema public are synced. To have the table in another schema too: '
        'CREATE VIEW %I.%I AS SELECT * FROM %s;', object, def ->> 'name', tab)
    WHEN 'rename_other' THEN 'Keep the name, or make the same under the other name and drop this one. ' || busbar.stop_sync(def)
    WHEN 'drop_table' THEN 'Stop its sync first, which drops the table at the clients: ' || busbar.disable_hint(def)
    WHEN 'drop_column' THEN format('Leave the column and stop using it%s', CASE
        WHEN col IS NULL OR (col ->> 'not_null')::boolean THEN '.'
        ELSE format('. To remove its values, here and at the clients: UPDATE %s SET %s = NULL;', tab, old_name) END)
    WHEN 'rename_column' THEN format('Add a column of the new name and copy the values: %s UPDATE %s SET %s = %s;',
        add_new, tab, new_name, old_name)
    WHEN 'alter_type' THEN format('Add a column of the new type (text, say) and copy the values: '
        'ALTER TABLE %s ADD COLUMN %s text; UPDATE %s SET %s = %s::text;', tab, new_name, tab, new_name, old_name)
    WHEN 'alter_enum' THEN format('Clients have the values that the type had at first. '
        'Add a column of type text, or of another enum, and copy the values: ALTER TABLE %s ADD COLUMN %s text; UPDATE %s SET %s = %s::text;',
        tab, new_name, tab, new_name, old_name)
    WHEN 'rename_constraint' THEN 'Clients know the constraint by this name. ' || busbar.stop_sync(def)
    WHEN 'alter_column' THEN CASE WHEN col IS NOT NULL
        THEN format('Clients keep the column as it was declared. Enforce the new rule in the application, or add a column: %s',
            add_new)
        ELSE 'Columns and indexes can be added to an electrified table, nothing else changed. ' || busbar.stop_sync(def) END
    WHEN 'add_unique' THEN CASE WHEN object = '' THEN 'A unique index is enough: leave it as it is. ' || busbar.stop_sync(def)
        ELSE format('Use a unique index: CREATE UNIQUE INDEX ON %s (%s);', tab, object) END
    WHEN 'add_primary_key' THEN format('The primary key stays as it is. Add a plain column: ALTER TABLE %s ADD COLUMN %s text;', tab, old_name)
    WHEN 'column_not_null' THEN 'Clients hold rows that have no value for it. Add the column without NOT NULL: '
        || replace(add_plain, ' NOT NULL', '')
    WHEN 'column_type' THEN format('Use a type that clients know: ALTER TABLE %s ADD COLUMN %s %s;',
        tab, old_name, busbar.type_instead(object))
    WHEN 'column_default' THEN format('Add the column without DEFAULT, then fill it: %s UPDATE %s SET %s = %s; '
        'New rows get their value from the application or from a BEFORE INSERT trigger.',
        add_plain, tab, old_name, coalesce(col ->> 'default', 'NULL'))
    WHEN 'column_constraint' THEN CASE object
        WHEN 'UNIQUE' THEN format('Use a unique index: %s CREATE UNIQUE INDEX ON %s (%s);', add_plain, tab, old_name)
        WHEN 'GENERATED' THEN format('Add a plain column and let a trigger or the application fill it: %s', add_plain)
        ELSE format('Add the column without the constraint and check the values in the application: %s', add_plain) END
    END;
END
$$;

-- Refuses a change. The detail is the same for all rules, as clients of the original know it.
CREATE OR REPLACE FUNCTION busbar.refuse_change(rule text, def jsonb, object text, column_name text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    r record := busbar.rule_message(rule, busbar.quoted(def ->> 'schema', def ->> 'name'), object);
    hint text := busbar.rule_hint(rule, def, object, column_name);
    detail constant text := 'Electric currently only supports additive migrations (ADD COLUMN, ADD INDEX)';
BEGIN
    IF column_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = r.code, MESSAGE = r.message, DETAIL = detail, HINT = hint,
            SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
    END IF;
    RAISE EXCEPTION USING ERRCODE = r.code, MESSAGE = r.message, DETAIL = detail, HINT = hint,
        SCHEMA = def ->> 'schema', TABLE = def ->> 'name', COLUMN = column_name;
END
$$;

-- The part of precheck that needs the owner's rights.
CREATE OR REPLACE FUNCTION busbar.precheck_table(rule text, table_oid oid, object text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    def jsonb := (SELECT e.definition FROM busbar.electrified e WHERE e.relid = table_oid);
    is_column boolean := rule IN ('drop_column', 'rename_column', 'alter_type', 'add_primary_key')
        OR rule = 'alter_column' AND EXISTS (SELECT FROM jsonb_array_elements(def -> 'columns') c WHERE c ->> 'name' = object);
BEGIN
    IF def IS NOT NULL THEN
        PERFORM busbar.refuse_change(rule, def, object, CASE WHEN is_column THEN object END);
    END IF;
END
$$;

-- Refuses a change of the guard itself: PostgreSQL fires no event triggers for event triggers.
CREATE OR REPLACE FUNCTION busbar.precheck_event_trigger(name text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT busbar.in_maintenance() AND EXISTS (SELECT FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid
            WHERE t.evtname = name AND p.pronamespace IN ('busbar'::regnamespace, 'electric'::regnamespace)) THEN
        PERFORM busbar.refuse_own('event trigger ' || quote_ident(name));
    END IF;
END
$$;

-- Refuses by the text of a statement, before it runs; the name is resolved with the session's search_path.
CREATE OR REPLACE FUNCTION busbar.precheck(rule text, relation text, object text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF rule OPERATOR(pg_catalog.=) 'event_trigger' THEN
        PERFORM busbar.precheck_event_trigger(object);
        RETURN;
    END IF;
    PERFORM busbar.precheck_table(rule, pg_catalog.to_regclass(relation)::pg_catalog.oid, object);
END
$$;
