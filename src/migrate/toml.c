/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   text  = { line }
 *   line  = [ "[" name { "." name } "]" | key "=" value ] [ "#" … ]
 *   key   = bare | string            bare = letters, digits, _ and -
 *   value = string | digits | "true" | "false" | list
 *   list  = "[" [ string { "," string } [ "," ] ] "]"          which may span lines
 */
#include "migrate/toml.h"

#include "base/buf.h"

struct reader {
    struct arena *arena;
    const char *p, *end;
    unsigned line;
    const char *table;
    struct err *err;
};

static int fail(struct reader *r, const char *what)
{
    return err_set(r->err, ERR_INPUT, "line %u: %s", r->line, what);
}

static char peek(const struct reader *r)
{
    return r->p < r->end ? *r->p : '\0';
}

static void skip_spaces(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t') {
        r->p++;
    }
}

static void skip_comment(struct reader *r)
{
    if (peek(r) == '#') {
        while (r->p < r->end && *r->p != '\n') {
            r->p++;
        }
    }
}

/* Spaces, comments and line breaks: between lines, and inside a list. */
static void skip_blank(struct reader *r)
{
    for (;;) {
        skip_spaces(r);
        skip_comment(r);
        if (peek(r) == '\r') {
            r->p++;
        } else if (peek(r) == '\n') {
            r->p++;
            r->line++;
        } else {
            return;
        }
    }
}

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static int unescape(struct reader *r, struct buf *out)
{
    static const char from[] = "\\\"ntr", to[] = "\\\"\n\t\r";
    const char *at = peek(r) ? strchr(from, peek(r)) : NULL;
    if (!at) {
        return fail(r, "unknown escape in a string: \\\\ \\\" \\n \\t \\r are known");
    }
    buf_put_byte(out, to[at - from]);
    r->p++;
    return 0;
}

static int read_string(struct reader *r, const char **out)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(TOML_LIMIT);
    char quote = *r->p++;
    while (r->p < r->end && *r->p != quote) {
        char c = *r->p++;
        if (c == '\n' || c == '\0') {
            return fail(r, "a string has no end on its line");
        }
        if (c == '\\' && quote == '"') {
            if (unescape(r, &text) < 0) {
                return -1;
            }
        } else {
            buf_put_byte(&text, c);
        }
    }
    if (r->p == r->end) {
        return fail(r, "a string has no end on its line");
    }
    r->p++;
    *out = arena_strdup(r->arena, buf_cstr(&text));
    return 0;
}

static bool at_string(const struct reader *r)
{
    return peek(r) == '"' || peek(r) == '\'';
}

static int read_name(struct reader *r, const char **out)
{
    const char *start = r->p;
    if (at_string(r)) {
        return read_string(r, out);
    }
    while (is_bare(peek(r))) {
        r->p++;
    }
    if (r->p == start) {
        return fail(r, "a name was expected");
    }
    *out = arena_str(r->arena, (struct str){start, (size_t)(r->p - start)}).p;
    return 0;
}

static int read_table(struct reader *r)
{
    const char *name = NULL, *part;
    do {
        r->p++; /* the bracket or the dot */
        skip_spaces(r);
        if (read_name(r, &part) < 0) {
            return -1;
        }
        name = name ? arena_printf(r->arena, "%s.%s", name, part) : part;
        skip_spaces(r);
    } while (peek(r) == '.');
    if (peek(r) != ']') {
        return fail(r, "a table's name ends with ]");
    }
    r->p++;
    r->table = name;
    return 0;
}

static int read_list(struct reader *r, struct toml_value *out)
{
    out->kind = TOML_LIST;
    out->items = arena_alloc_array(r->arena, TOML_LIST_LIMIT, sizeof *out->items);
    r->p++;
    for (;;) {
        skip_blank(r);
        if (peek(r) == ']') {
            r->p++;
            return 0;
        }
        if (!at_string(r) || out->items_n == TOML_LIST_LIMIT) {
            return fail(r, at_string(r) ? "a list is too long" : "a list holds strings");
        }
        if (read_string(r, &out->items[out->items_n++]) < 0) {
            return -1;
        }
        skip_blank(r);
        if (peek(r) == ',') {
            r->p++;
        } else if (peek(r) != ']') {
            return fail(r, "the strings of a list are parted by commas");
        }
    }
}

static int read_value(struct reader *r, struct toml_value *out)
{
    uint64_t number;
    if (at_string(r)) {
        out->kind = TOML_TEXT;
        return read_string(r, &out->text);
    }
    if (peek(r) == '[') {
        return read_list(r, out);
    }
    if (!is_bare(peek(r))) {
        return fail(r, "a value was expected: a string, a number, true, false or a list of strings");
    }
    if (read_name(r, &out->text) < 0) {
        return -1;
    }
    if (strcmp(out->text, "true") == 0 || strcmp(out->text, "false") == 0) {
        out->kind = TOML_BOOL;
        return 0;
    }
    out->kind = TOML_NUMBER;
    return str_to_u64(str_c(out->text), INT64_MAX, &number)
               ? 0
               : fail(r, "a value is a string in quotes, a whole number, true, false or a list of strings");
}

static int read_pair(struct reader *r, toml_key_fn fn, void *ctx)
{
    struct toml_value value = {0};
    const char *key;
    if (read_name(r, &key) < 0) {
        return -1;
    }
    skip_spaces(r);
    if (peek(r) != '=') {
        return fail(r, "= was expected behind the name of a key");
    }
    r->p++;
    skip_spaces(r);
    if (read_value(r, &value) < 0) {
        return -1;
    }
    unsigned line = r->line;
    return fn(ctx, r->table, key, &value, r->err) < 0 ? err_context(r->err, "line %u", line) : 0;
}

int toml_read(struct arena *a, struct str text, toml_key_fn fn, void *ctx, struct err *err)
{
    struct reader r = {a, text.p, text.p + text.n, 1, "", err};
    for (skip_blank(&r); r.p < r.end; skip_blank(&r)) {
        unsigned line = r.line;
        if ((peek(&r) == '[' ? read_table(&r) : read_pair(&r, fn, ctx)) < 0) {
            return -1;
        }
        skip_blank(&r);
        if (r.p < r.end && r.line == line) {
            return fail(&r, "something follows the value");
        }
    }
    return 0;
}
