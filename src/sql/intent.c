/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the parse tree of ALTER … and DROP TABLE to intents. Whatever ALTER TABLE can do is an intent unless
 * it is in the list of what clients do not notice (is_harmless) or the database judges it by its result (ADD
 * COLUMN).
 *
 * The tree goes through protobuf messages, which nest as deep as the expressions in the statement and are
 * packed and unpacked by recursion, about 1 kB of stack a level: some thousand operators in a row end the
 * process. An expression cannot be deeper than it has tokens, so actions of more than MAX_TOKENS are not
 * parsed at all.
 */
#include "sql/intent.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "base/limits.h"
#include "sql/alter.h"
#include "sql/quote.h"

enum {
    MAX_TOKENS = 1000, /* in one action: bounds the stack at about 1 MB */
};

struct listing {
    struct arena *arena;
    struct str text;
    struct intent *items;
    size_t n;
    size_t cap;
    size_t counted;          /* bytes of text already counted … */
    size_t counted_position; /* … and the position of the next one: keeps many intents linear */
};

static void add(struct listing *l, const char *rule, const char *relation, const char *object,
                size_t position)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        struct intent *grown = arena_alloc_array(l->arena, l->cap, sizeof *grown);
        if (l->n) {
            memcpy(grown, l->items, l->n * sizeof *grown);
        }
        l->items = grown;
    }
    l->items[l->n++] = (struct intent){
        .rule = rule,
        .relation = relation,
        .object = arena_strdup(l->arena, object ? object : ""),
        .position = position,
    };
}

static const char *qualify(struct arena *a, const char *left, const char *right)
{
    const char *quoted = sql_ident(a, str_c(right));
    return left ? arena_printf(a, "%s.%s", left, quoted) : quoted;
}

static const char *relation_name(struct arena *a, const PgQuery__RangeVar *rv)
{
    const char *name = NULL;
    const char *const parts[] = {rv->catalogname, rv->schemaname, rv->relname};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i] && *parts[i]) {
            name = qualify(a, name, parts[i]);
        }
    }
    return name ? name : "";
}

static size_t position_at(struct listing *l, size_t offset)
{
    if (offset < l->counted) {
        return lex_position(l->text, offset);
    }
    struct str rest = {l->text.p + l->counted, l->text.n - l->counted};
    l->counted_position += lex_position(rest, offset - l->counted) - 1;
    l->counted = offset;
    return l->counted_position;
}

static size_t relation_position(struct listing *l, const PgQuery__RangeVar *rv)
{
    return rv->location < 0 ? 0 : position_at(l, (size_t)rv->location);
}

/* Position of the first name in text[from, end) behind `skip` tokens that reads `name`; of the first token
 * else. */
static size_t find_name(struct listing *l, size_t from, size_t end, size_t skip, const char *name)
{
    struct lex lex = lex_init((struct str){l->text.p, end}, true);
    lex.pos = from;
    struct token first = lex_peek(&lex);
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    for (struct token t = lex_next(&lex); t.kind != TOKEN_END; t = lex_next(&lex)) {
        if (skip > 0) {
            skip--;
        } else if (name && *name && token_is_name(&t) && str_eq(sql_unquote(&scratch, &t), str_c(name))) {
            return position_at(l, t.offset);
        }
    }
    return position_at(l, first.offset);
}

static bool is_harmless(PgQuery__AlterTableType type)
{
    switch ((int)type) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_EnableTrig:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_EnableAlwaysTrig:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_EnableReplicaTrig:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DisableTrig:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ChangeOwner:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetStorage:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetStatistics:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ResetOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetCompression:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetRelOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ResetRelOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetAccessMethod:
        return true;
    default:
        return false;
    }
}

static const char *alter_rule(PgQuery__AlterTableType type)
{
    switch ((int)type) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropColumn:
        return "drop_column";
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType:
        return "alter_type";
    default:
        return is_harmless(type) ? NULL : "alter_column";
    }
}

/* The columns of UNIQUE (a, b), quoted; NULL for any other constraint. "" for UNIQUE USING INDEX. */
static const char *unique_columns(struct arena *a, const PgQuery__Node *def)
{
    if (!def || def->node_case != PG_QUERY__NODE__NODE_CONSTRAINT ||
        def->constraint->contype != PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE) {
        return NULL;
    }
    const char *list = "";
    for (size_t i = 0; i < def->constraint->n_keys; i++) {
        const PgQuery__Node *key = def->constraint->keys[i];
        if (key->node_case == PG_QUERY__NODE__NODE_STRING) {
            list = arena_printf(a, "%s%s%s", list, i ? ", " : "", sql_ident(a, str_c(key->string->sval)));
        }
    }
    return list;
}

/* The name of a column that is added as PRIMARY KEY; NULL when it is not. */
static const char *key_column(const PgQuery__Node *def)
{
    if (!def || def->node_case != PG_QUERY__NODE__NODE_COLUMN_DEF) {
        return NULL;
    }
    const PgQuery__ColumnDef *column = def->column_def;
    for (size_t i = 0; i < column->n_constraints; i++) {
        const PgQuery__Node *c = column->constraints[i];
        if (c->node_case == PG_QUERY__NODE__NODE_CONSTRAINT &&
            c->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY) {
            return column->colname;
        }
    }
    return NULL;
}

/* One action: the rule that it is about, if any, and the name that the rule wants to know. */
static const char *action_rule(struct arena *a, const PgQuery__AlterTableCmd *cmd, const char **object)
{
    const char *found = NULL;
    *object = cmd->name;
    if (cmd->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint &&
        (found = unique_columns(a, cmd->def))) {
        *object = found;
        return "add_unique";
    }
    if (cmd->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn && (found = key_column(cmd->def))) {
        *object = found;
        return "add_primary_key";
    }
    return alter_rule(cmd->subtype);
}

/* The grammar makes one AlterTableCmd of each action, in order: so the walk finds their places. */
static void list_alter(struct listing *l, const PgQuery__AlterTableStmt *st)
{
    struct alter_walk w;
    struct alter_action action;
    if (st->objtype != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE || !st->relation ||
        !alter_walk_init(&w, l->text, true)) {
        return;
    }
    const char *relation = relation_name(l->arena, st->relation);
    for (size_t i = 0; i < st->n_cmds && alter_walk_next(&w, &action); i++) {
        if (st->cmds[i]->node_case != PG_QUERY__NODE__NODE_ALTER_TABLE_CMD) {
            continue;
        }
        const PgQuery__AlterTableCmd *cmd = st->cmds[i]->alter_table_cmd;
        const char *object, *rule = action_rule(l->arena, cmd, &object);
        if (rule) {
            size_t position = find_name(l, action.offset, action.end, 1, object);
            add(l, rule, relation, object, position);
        }
    }
}

static const char *rename_rule(const PgQuery__RenameStmt *st)
{
    switch ((int)st->rename_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN:
        return "rename_column";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT:
        return "rename_constraint";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX: /* ALTER INDEX RENAME takes any relation (RenameRelation()) */
        return "rename_table";
    case PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER:
    case PG_QUERY__OBJECT_TYPE__OBJECT_RULE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_POLICY:
        return "rename_other";
    default:
        return NULL;
    }
}

/* ALTER TABLE t RENAME [COLUMN] name TO …: behind RENAME. ALTER TRIGGER name ON t …: behind two words. */
static size_t rename_position(struct listing *l, const PgQuery__RenameStmt *st)
{
    if (!st->subname || !*st->subname) {
        return relation_position(l, st->relation);
    }
    struct lex lex = lex_init(l->text, true);
    if (st->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
        st->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT) {
        lex.pos = st->relation->location > 0 ? (size_t)st->relation->location : 0;
        struct token t;
        do {
            t = lex_next(&lex);
        } while (t.kind != TOKEN_END && !token_is_word(&t, "rename"));
        return find_name(l, lex.pos, l->text.n, 0, st->subname);
    }
    return find_name(l, 0, l->text.n, 2, st->subname);
}

/* … EVENT TRIGGER name …: behind the verb and two words. */
static void list_event_trigger(struct listing *l, const char *name)
{
    add(l, "event_trigger", "", name, find_name(l, 0, l->text.n, 3, name));
}

static void list_rename(struct listing *l, const PgQuery__RenameStmt *st)
{
    const char *rule = rename_rule(st);
    if (st->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_EVENT_TRIGGER && st->object &&
        st->object->node_case == PG_QUERY__NODE__NODE_STRING) {
        list_event_trigger(l, st->object->string->sval);
    }
    if (rule && st->relation) {
        const char *object = st->subname && *st->subname ? st->subname : st->newname;
        add(l, rule, relation_name(l->arena, st->relation), object, rename_position(l, st));
    }
}

static void list_set_schema(struct listing *l, const PgQuery__AlterObjectSchemaStmt *st)
{
    if (st->object_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE && st->relation) {
        add(l, "set_schema", relation_name(l->arena, st->relation), st->newschema,
            relation_position(l, st->relation));
    }
}

/* A name of DROP TABLE: a list of strings. */
static const char *listed_name(struct arena *a, const PgQuery__Node *node)
{
    const char *name = NULL;
    if (node->node_case != PG_QUERY__NODE__NODE_LIST) {
        return NULL;
    }
    for (size_t i = 0; i < node->list->n_items; i++) {
        const PgQuery__Node *item = node->list->items[i];
        if (item->node_case == PG_QUERY__NODE__NODE_STRING) {
            name = qualify(a, name, item->string->sval);
        }
    }
    return name;
}

static void list_drop_event_triggers(struct listing *l, const PgQuery__DropStmt *st)
{
    for (size_t i = 0; i < st->n_objects; i++) {
        if (st->objects[i]->node_case == PG_QUERY__NODE__NODE_STRING) {
            list_event_trigger(l, st->objects[i]->string->sval);
        }
    }
}

/* DROP TABLE [IF EXISTS] name {, name} [CASCADE | RESTRICT]: the tree has no places, the commas have. */
static void list_drop(struct listing *l, const PgQuery__DropStmt *st)
{
    if (st->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_EVENT_TRIGGER) {
        list_drop_event_triggers(l, st);
    }
    if (st->remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        return;
    }
    struct lex lex = lex_init(l->text, true);
    lex_next(&lex);
    lex_next(&lex);
    struct token t = lex_peek(&lex);
    if (token_is_word(&t, "if")) {
        lex_next(&lex);
        lex_next(&lex);
    }
    for (size_t i = 0; i < st->n_objects; i++) {
        size_t position = position_at(l, lex_peek(&lex).offset);
        const char *name = listed_name(l->arena, st->objects[i]);
        if (name) {
            add(l, "drop_table", name, "", position);
        }
        do {
            t = lex_next(&lex);
        } while (t.kind != TOKEN_END && !token_is_punct(&t, ','));
    }
}

static void list_statement(struct listing *l, const PgQuery__Node *node)
{
    switch ((int)node->node_case) {
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        list_alter(l, node->alter_table_stmt);
        break;
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        list_rename(l, node->rename_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_OBJECT_SCHEMA_STMT:
        list_set_schema(l, node->alter_object_schema_stmt);
        break;
    case PG_QUERY__NODE__NODE_DROP_STMT:
        list_drop(l, node->drop_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_EVENT_TRIG_STMT:
        list_event_trigger(l, node->alter_event_trig_stmt->trigname);
        break;
    default:
        break;
    }
}

static bool actions_are_short(struct str statement)
{
    struct alter_walk w;
    struct alter_action action;
    if (!alter_walk_init(&w, statement, true)) {
        return false;
    }
    while (alter_walk_next(&w, &action)) {
        if (action.tokens > MAX_TOKENS) {
            return false;
        }
    }
    return true;
}

static bool is_short(struct str statement)
{
    struct lex l = lex_init(statement, true);
    for (size_t i = 0; i <= MAX_TOKENS; i++) {
        if (lex_next(&l).kind == TOKEN_END) {
            return true;
        }
    }
    return false;
}

/* Only ALTER and DROP TABLE can have intents, and only what cannot nest deep is parsed (head comment). */
static bool worth_parsing(struct str statement)
{
    if (statement.n == 0 || statement.n > LIMIT_INSPECTED || memchr(statement.p, '\0', statement.n)) {
        return false;
    }
    struct lex l = lex_init(statement, true);
    struct token verb = lex_next(&l), object = lex_next(&l);
    if (token_is_word(&verb, "drop")) {
        return token_is_word(&object, "table") || token_is_word(&object, "event"); /* have no expressions */
    }
    return token_is_word(&verb, "alter") && (is_short(statement) || actions_are_short(statement));
}

static void *scratch_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void scratch_free(void *arena, void *p)
{
}

static void list_parsed(struct listing *l, PgQueryProtobuf tree)
{
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    ProtobufCAllocator allocator = {.alloc = scratch_alloc, .free = scratch_free, .allocator_data = &scratch};
    const PgQuery__ParseResult *parsed =
        pg_query__parse_result__unpack(&allocator, tree.len, (const uint8_t *)tree.data);
    if (parsed && parsed->n_stmts == 1 && parsed->stmts[0]->stmt) {
        list_statement(l, parsed->stmts[0]->stmt);
    }
}

int intent_list(struct arena *a, struct str statement, struct intent **out, size_t *n)
{
    struct listing l = {.arena = a, .text = statement, .counted_position = 1};
    if (worth_parsing(statement)) {
        PgQueryProtobufParseResult r = pg_query_parse_protobuf(arena_str(a, statement).p);
        if (!r.error) {
            list_parsed(&l, r.parse_tree);
        }
        pg_query_free_protobuf_parse_result(r);
    }
    *out = l.items;
    *n = l.n;
    return 0;
}
