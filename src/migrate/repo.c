/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busbar.toml:
 *
 *   [repo.main]                              # the name for --repo
 *   url_env = "DATABASE_URL"                 # or url = "postgresql://…"
 *   proxy_url_env = "PROXY_URL"              # or proxy_url
 *   priv = "priv/repo"                       # default: priv/NAME
 *   migrations_paths = ["…"]                 # default: PRIV/migrations
 *   migration_source = "schema_migrations"
 *   prefix = "tenant"                        # or prefixes = ["a", "b"]
 *   lock = "table"                           # advisory, advisory:KEY, off
 *   pool_size = 3
 */
#include "migrate/repo.h"

#include "app/files.h"
#include "migrate/toml.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct reading {
    struct arena *arena;
    struct repo *items;
    size_t n;
};

static const char config_default[] = "busbar.toml";

bool repo_lock_parse(struct repo *repo, const char *text)
{
    static const char keyed[] = "advisory:";
    char *end;
    repo->lock_keyed = strncmp(text, keyed, sizeof keyed - 1) == 0;
    if (repo->lock_keyed) {
        repo->lock = REPO_LOCK_ADVISORY;
        repo->lock_key = strtoll(text + sizeof keyed - 1, &end, 10);
        return text[sizeof keyed - 1] && *end == '\0';
    }
    static const char *const names[] = {"table", "advisory", "off"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            repo->lock = (enum repo_lock)i;
            return true;
        }
    }
    return false;
}

static struct repo *find(struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->items[i].name, name) == 0) {
            return &r->items[i];
        }
    }
    if (r->n == REPO_LIMIT) {
        return NULL;
    }
    struct repo *repo = &r->items[r->n++];
    *repo = (struct repo){.name = name, .source = "schema_migrations", .pool_size = 3};
    repo->priv = arena_printf(r->arena, "priv/%s", name);
    return repo;
}

enum key_type { KEY_TEXT, KEY_ENVIRONMENT, KEY_LIST, KEY_ONE_PREFIX, KEY_LOCK, KEY_POOL };

static const struct key {
    const char *name;
    enum key_type type;
    size_t field;
    size_t count; /* KEY_LIST */
} keys[] = {
    {"url", KEY_TEXT, offsetof(struct repo, url), 0},
    {"url_env", KEY_ENVIRONMENT, offsetof(struct repo, url), 0},
    {"proxy_url", KEY_TEXT, offsetof(struct repo, proxy_url), 0},
    {"proxy_url_env", KEY_ENVIRONMENT, offsetof(struct repo, proxy_url), 0},
    {"priv", KEY_TEXT, offsetof(struct repo, priv), 0},
    {"migration_source", KEY_TEXT, offsetof(struct repo, source), 0},
    {"migrations_paths", KEY_LIST, offsetof(struct repo, paths), offsetof(struct repo, paths_n)},
    {"prefixes", KEY_LIST, offsetof(struct repo, prefixes), offsetof(struct repo, prefixes_n)},
    {"prefix", KEY_ONE_PREFIX, 0, 0},
    {"lock", KEY_LOCK, 0, 0},
    {"pool_size", KEY_POOL, 0, 0},
};

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static enum toml_kind wanted_kind(enum key_type type)
{
    return type == KEY_LIST ? TOML_LIST : type == KEY_POOL ? TOML_NUMBER : TOML_TEXT;
}

static void set_list(struct repo *repo, const struct key *key, const char **items, size_t n)
{
    *(const char ***)(void *)((char *)repo + key->field) = items;
    *(size_t *)(void *)((char *)repo + key->count) = n;
}

static int set_key(struct reading *r, struct repo *repo, const struct key *key,
                   const struct toml_value *value, struct err *err)
{
    const char **text = (const char **)(void *)((char *)repo + key->field);
    uint64_t number = 0;
    switch (key->type) {
    case KEY_TEXT:
        *text = value->text;
        return 0;
    case KEY_ENVIRONMENT:
        *text = getenv(value->text);
        return *text && **text ? 0 : err_set(err, ERR_INPUT, "the variable %s is not set", value->text);
    case KEY_LIST:
        set_list(repo, key, value->items, value->items_n);
        return 0;
    case KEY_ONE_PREFIX:
        repo->prefixes = arena_alloc_array(r->arena, 1, sizeof *repo->prefixes);
        repo->prefixes[0] = value->text;
        repo->prefixes_n = 1;
        return 0;
    case KEY_LOCK:
        return repo_lock_parse(repo, value->text)
                   ? 0
                   : err_set(err, ERR_INPUT, "lock is table, advisory, advisory:KEY or off");
    case KEY_POOL:
        if (!str_to_u64(str_c(value->text), 1000, &number) || number < 2) {
            return err_set(err, ERR_INPUT, "pool_size is 2 to 1000: one connection holds the lock");
        }
        repo->pool_size = (unsigned)number;
        return 0;
    }
    return -1;
}

static int on_key(void *ctx, const char *table, const char *name, const struct toml_value *value,
                  struct err *err)
{
    struct reading *r = ctx;
    const struct key *key = find_key(name);
    if (strncmp(table, "repo.", 5) != 0 || strlen(table) - 5 > REPO_NAME_LIMIT) {
        return err_set(err, ERR_INPUT, "keys stand in a table [repo.NAME]");
    }
    struct repo *repo = find(r, table + 5);
    if (!repo) {
        return err_set(err, ERR_LIMIT, "more than %d repos", REPO_LIMIT);
    }
    if (!key) {
        return err_set(err, ERR_INPUT, "unknown key %.100s", name);
    }
    if (value->kind != wanted_kind(key->type)) {
        return err_set(err, ERR_INPUT, "%s wants a %s", name,
                       key->type == KEY_LIST   ? "list of strings"
                       : key->type == KEY_POOL ? "number"
                                               : "string in quotes");
    }
    return set_key(r, repo, key, value, err);
}

/* A file that was not asked for by name may be missing. */
static int read_config(struct reading *r, const char *file, struct err *err)
{
    const char *path = file ? file : config_default;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(TOML_LIMIT);
    if (!file && access(path, F_OK) < 0) {
        return 0;
    }
    if (file_read(path, &text, err) < 0) {
        return -1;
    }
    return toml_read(r->arena, buf_str(&text), on_key, r, err) < 0 ? err_context(err, "%s", path) : 0;
}

static void split_lines(struct arena *a, const char *lines, const char ***out, size_t *out_n)
{
    struct str rest = str_c(lines);
    const char **list = arena_alloc_array(a, rest.n / 2 + 1, sizeof *list);
    size_t n = 0;
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        if (line.n) {
            list[n++] = arena_str(a, line).p;
        }
    }
    *out = list;
    *out_n = n;
}

static int override(struct arena *a, const struct repo_choice *choice, struct repo *repo, struct err *err)
{
    if (choice->paths) {
        split_lines(a, choice->paths, &repo->paths, &repo->paths_n);
    }
    if (choice->prefixes) {
        split_lines(a, choice->prefixes, &repo->prefixes, &repo->prefixes_n);
    }
    repo->source = choice->source ? choice->source : repo->source;
    if (choice->lock && !repo_lock_parse(repo, choice->lock)) {
        return err_set(err, ERR_INPUT, "--lock is table, advisory, advisory:KEY or off");
    }
    if (repo->paths_n == 0) {
        repo->paths = arena_alloc_array(a, 1, sizeof *repo->paths);
        repo->paths[0] = arena_printf(a, "%s/migrations", repo->priv);
        repo->paths_n = 1;
    }
    return 0;
}

/* The variables belong to the only repo there is; with several each names its own. */
static int finish(struct reading *r, const struct repo_choice *choice, struct err *err)
{
    if (r->n == 0) {
        find(r, "default")->priv = "priv/repo";
    }
    if (r->n == 1 && !r->items[0].url && !r->items[0].proxy_url) {
        r->items[0].url = choice->url;
        r->items[0].proxy_url = choice->proxy_url;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (!r->items[i].url && !r->items[i].proxy_url) {
            return err_set(err, ERR_INPUT,
                           "repo %s has no database: set DATABASE_URL, PROXY_URL, or url in %s",
                           r->items[i].name, config_default);
        }
        if (override(r->arena, choice, &r->items[i], err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int select_named(struct reading *r, const char *names, struct repo_list *out, struct err *err)
{
    const char **wanted;
    size_t n;
    split_lines(r->arena, names, &wanted, &n);
    out->items = arena_alloc_array(r->arena, n, sizeof *out->items);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < r->n && strcmp(r->items[k].name, wanted[i]) != 0) {
            k++;
        }
        if (k == r->n) {
            return err_set(err, ERR_INPUT, "there is no repo %.63s; known: %s%s", wanted[i], r->items[0].name,
                           r->n > 1 ? ", …" : "");
        }
        out->items[out->n++] = r->items[k];
    }
    return 0;
}

int repo_list_read(struct arena *a, const struct repo_choice *choice, struct repo_list *out, struct err *err)
{
    struct reading r = {.arena = a, .items = arena_alloc_array(a, REPO_LIMIT, sizeof *r.items)};
    *out = (struct repo_list){0};
    if (read_config(&r, choice->config_file, err) < 0 || finish(&r, choice, err) < 0) {
        return -1;
    }
    if (choice->names) {
        return select_named(&r, choice->names, out, err);
    }
    *out = (struct repo_list){r.items, r.n};
    return 0;
}

const char *repo_run_url(const struct repo *repo)
{
    return repo->proxy_url ? repo->proxy_url : repo->url;
}

const char *repo_look_url(const struct repo *repo)
{
    return repo->url ? repo->url : repo->proxy_url;
}
