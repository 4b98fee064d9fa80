/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/file.h"

#include "sql/lex.h"

#include <openssl/evp.h>
#include <stdio.h>

enum section { HEAD, UP, DOWN };

static bool take_ending(struct str *s, const char *ending)
{
    size_t n = strlen(ending);
    if (s->n < n || memcmp(s->p + s->n - n, ending, n) != 0) {
        return false;
    }
    s->n -= n;
    return true;
}

bool migration_name_parse(const char *file, struct migration_name *out)
{
    struct str rest = str_c(file);
    size_t digits = 0;
    if (take_ending(&rest, ".exs")) {
        out->form = MIGRATION_ELIXIR;
    } else if (take_ending(&rest, ".up.sql")) {
        out->form = MIGRATION_UP;
    } else if (take_ending(&rest, ".down.sql")) {
        out->form = MIGRATION_DOWN;
    } else if (take_ending(&rest, ".sql")) {
        out->form = MIGRATION_SECTIONS;
    } else {
        return false;
    }
    while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9') {
        digits++;
    }
    if (digits + 1 >= rest.n || (rest.p[digits] != '_' && rest.p[digits] != '.')) {
        return false;
    }
    out->name = (struct str){rest.p + digits + 1, rest.n - digits - 1};
    return str_to_u64((struct str){rest.p, digits}, INT64_MAX, &out->version);
}

struct parser {
    struct str text;
    struct migration_parts *out;
    enum section section;
    bool marked;
    bool statement; /* one has begun in this section: options come too late */
    size_t start;   /* of the section */
    struct err *err;
};

static unsigned line_of(const struct parser *p, const char *at)
{
    unsigned line = 1;
    for (const char *c = p->text.p; c < at; c++) {
        line += *c == '\n';
    }
    return line;
}

static int fail(struct parser *p, const char *at, const char *what, struct str word)
{
    return err_set(p->err, ERR_INPUT, "line %u: %s%s%.*s", line_of(p, at), what, word.n ? ": " : "",
                   STR_ARG(word));
}

static bool read_switch(struct str value, bool *out)
{
    return str_to_bool(value, out);
}

/* 30s, 500ms, 5min, 1h; a number alone counts seconds. */
static bool read_time(struct str value, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"min", 60000}, {"s", 1000}, {"h", 3600000}, {"", 1000}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct str number = value;
        if (take_ending(&number, units[i].unit) && str_to_u64(number, INT32_MAX, out_ms)) {
            *out_ms *= units[i].ms;
            return *out_ms <= INT32_MAX; /* PostgreSQL's own bound on statement_timeout */
        }
    }
    return false;
}

static bool set_option(struct migration_options *o, struct str name, struct str value)
{
    if (str_eq(name, STR("transaction"))) {
        return read_switch(value, &o->transaction);
    }
    if (str_eq(name, STR("lock"))) {
        return read_switch(value, &o->lock);
    }
    return str_eq(name, STR("timeout")) && read_time(value, &o->timeout_ms);
}

/* In the head of the file an option holds for both sections. */
static int read_options(struct parser *p, struct str list, char between)
{
    const char *at = list.p;
    if (p->statement) {
        return fail(p, at, "options stand before the first statement of a section", STR(""));
    }
    while (list.n) {
        struct str pair = str_trim(str_cut(&list, ','));
        struct str whole = pair;
        struct str name = str_trim(str_cut(&pair, between));
        struct str value = str_trim(pair);
        bool good = whole.n == 0 || ((p->section == DOWN || set_option(&p->out->up_options, name, value)) &&
                                     (p->section == UP || set_option(&p->out->down_options, name, value)));
        if (!good) {
            return fail(p, at, "unknown option (known are transaction=on|off, lock=on|off, timeout=30s)",
                        whole);
        }
    }
    return 0;
}

static void end_section(struct parser *p, size_t end)
{
    struct str body = str_trim((struct str){p->text.p + p->start, end - p->start});
    if (p->section == DOWN) {
        p->out->down = body;
        p->out->down_line = line_of(p, body.p);
        p->out->has_down = true;
    } else if (p->section == UP || !p->marked) {
        p->out->up = body;
        p->out->up_line = line_of(p, body.p);
    }
}

/* line: the comment without its dashes. Behind a marker options may follow as dbmate writes them:
 * transaction:false. */
static int read_marker(struct parser *p, struct str line)
{
    struct str word = str_cut(&line, ' ');
    enum section section = str_eq(word, STR("migrate:up")) ? UP : DOWN;
    size_t offset = (size_t)(word.p - p->text.p);
    if (section == DOWN && !str_eq(word, STR("migrate:down"))) {
        return fail(p, word.p, "unknown marker (known are migrate:up and migrate:down)", word);
    }
    if (section <= p->section) {
        return fail(p, word.p, "there is one migrate:up, and migrate:down follows it", STR(""));
    }
    if (p->section == HEAD && p->statement) {
        return fail(p, word.p, "statements stand before the first marker", STR(""));
    }
    if (p->marked) {
        size_t end = offset;
        while (end > p->start && strchr(" \t-", p->text.p[end - 1])) {
            end--; /* the comment's own dashes */
        }
        end_section(p, end);
    }
    p->marked = true;
    p->section = section;
    p->statement = false;
    p->start = offset + word.n;
    while (p->start < p->text.n && p->text.p[p->start] != '\n') {
        p->start++;
    }
    return line.n ? read_options(p, line, ':') : 0;
}

static int read_comment(struct parser *p, struct str comment, bool markers)
{
    struct str line = str_trim(comment);
    struct str ours = STR("busbar:");
    if (markers && str_starts_with(line, STR("migrate:"))) {
        return read_marker(p, line);
    }
    if (str_starts_with(line, ours)) {
        return read_options(p, (struct str){line.p + ours.n, line.n - ours.n}, '=');
    }
    return 0;
}

/* What lies between two tokens holds white space and comments alone. */
static int read_gap(struct parser *p, size_t from, size_t to, bool markers)
{
    const char *c = p->text.p + from, *end = p->text.p + to;
    unsigned depth = 0;
    while (c + 1 < end) {
        if (c[0] == '/' && c[1] == '*') {
            depth++;
            c += 2;
        } else if (depth && c[0] == '*' && c[1] == '/') {
            depth--;
            c += 2;
        } else if (!depth && c[0] == '-' && c[1] == '-') {
            const char *stop = memchr(c, '\n', (size_t)(end - c));
            stop = stop ? stop : end;
            if (read_comment(p, (struct str){c + 2, (size_t)(stop - c) - 2}, markers) < 0) {
                return -1;
            }
            c = stop;
        } else {
            c++;
        }
    }
    return 0;
}

/* A name without a marker: all of it is up. The .down.sql of a pair is parsed as up and then put in its
 * place. */
static void place(enum migration_form form, struct migration_parts *out)
{
    if (form == MIGRATION_DOWN) {
        out->down = out->up;
        out->down_line = out->up_line;
        out->down_options = out->up_options;
        out->has_down = true;
        out->up = STR("");
    }
}

int migration_parse(enum migration_form form, struct str text, struct migration_parts *out, struct err *err)
{
    struct str bom = STR("\xEF\xBB\xBF");
    if (str_starts_with(text, bom)) {
        text = (struct str){text.p + bom.n,
                            text.n - bom.n}; /* editors put it there, PostgreSQL does not take it */
    }
    struct migration_options defaults = {.transaction = true, .lock = true};
    struct parser p = {.text = text, .out = out, .err = err};
    struct lex lex = lex_init(text, true);
    *out = (struct migration_parts){.up_options = defaults, .down_options = defaults};
    for (size_t from = 0;;) {
        struct token t = lex_next(&lex);
        size_t to = t.kind == TOKEN_END ? text.n : t.offset;
        if (read_gap(&p, from, to, form == MIGRATION_SECTIONS) < 0) {
            return -1;
        }
        if (t.kind == TOKEN_END) {
            break;
        }
        p.statement = true;
        from = t.offset + t.text.n;
    }
    end_section(&p, text.n);
    place(form, out);
    return 0;
}

void migration_checksum(struct str up, char out[MIGRATION_CHECKSUM])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    up = str_trim(up);
    while (up.n) {
        struct str line = str_cut(&up, '\n');
        line.n -= line.n && line.p[line.n - 1] == '\r';
        EVP_DigestUpdate(ctx, line.p, line.n);
        EVP_DigestUpdate(ctx, "\n", 1);
    }
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; i < 32; i++) {
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
}
