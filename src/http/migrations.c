/* SPDX-License-Identifier: Apache-2.0 */
#include "http/migrations.h"

#include "base/mem.h"
#include "http/archive.h"
#include "sync/migration.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 64 * 1024 * 1024 }; /* of SatOpMigrate, before base64 */

static char *base64(struct arena *a, struct str bytes)
{
    char *text = arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes.p, (int)bytes.n);
    return text;
}

/* The archive is unpacked to a disk somewhere: a version is a label, and must not be a path. */
static char *folder_name(struct arena *a, struct str version)
{
    struct str copy = arena_str(a, version);
    char *name = arena_printf(a, "%.*s", STR_ARG(copy));
    for (char *c = name; *c; c++) {
        if (*c == '/' || *c == '\\' || (unsigned char)*c < ' ' || (c == name && *c == '.')) {
            *c = '_';
        }
    }
    return *name ? name : arena_strdup(a, "_");
}

/* Clients check the four keys; published ones compare the text's beginning, so the order is kept. */
static json_t *metadata(struct arena *a, struct str version, const struct migration_text *m, struct err *err)
{
    json_t *ops = json_array();
    for (size_t i = 0; i < m->n_messages; i++) {
        if (m->messages[i].n > MESSAGE_MAX) {
            json_decref(ops);
            err_set(err, ERR_LIMIT, "a message of migration %.*s is too big", STR_ARG(version));
            return NULL;
        }
        json_array_append_new(ops, json_string_nocheck(base64(a, m->messages[i])));
    }
    json_t *object = json_object();
    json_object_set_new(object, "format", json_string("SatOpMigrate"));
    json_object_set_new(object, "ops", ops);
    json_object_set_new(object, "protocol_version", json_string("Electric.Satellite"));
    if (json_object_set_new(object, "version", json_stringn(version.p, version.n)) < 0) {
        json_decref(object);
        err_set(err, ERR_INTERNAL, "version %.*s is not UTF-8", STR_ARG(version));
        return NULL;
    }
    return object;
}

static int add_version(struct archive *zip, struct arena *a, struct str version,
                       const struct migration_text *m, struct err *err)
{
    const char *folder = folder_name(a, version);
    json_t *object = metadata(a, version, m, err);
    if (!object) {
        return -1;
    }
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (!text) {
        return err_set(err, ERR_INTERNAL, "the metadata of migration %.*s cannot be written",
                       STR_ARG(version));
    }
    int rc = archive_add(zip, arena_printf(a, "%s/migration.sql", folder), m->sql, err);
    rc = rc < 0 ? rc : archive_add(zip, arena_printf(a, "%s/metadata.json", folder), str_c(text), err);
    free(text);
    return rc;
}

static size_t count_commands(const struct history_row *rows, size_t n)
{
    size_t same = 1;
    while (same < n && str_eq(rows[same].version, rows[0].version)) {
        same++;
    }
    return same;
}

/* Everything a pass over the history needs, freed together. */
struct pass {
    struct arena arena; /* of one version */
    struct schema schema;
    struct archive *zip;
};

static void pass_deinit(struct pass *p)
{
    arena_deinit(&p->arena);
    schema_deinit(&p->schema);
    archive_free(p->zip);
}

static int pass_version(struct pass *p, enum dialect dialect, const struct history_row *rows, size_t n,
                        bool wanted, struct err *err)
{
    struct migration_text text;
    arena_reset(&p->arena);
    struct str *ops = arena_alloc_array(&p->arena, n, sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        ops[i] = rows[i].ops;
    }
    if (migration_render(&p->arena, dialect, &p->schema, rows[0].version, ops, n, &text, err) < 0) {
        return -1;
    }
    return wanted ? add_version(p->zip, &p->arena, rows[0].version, &text, err) : 0;
}

static bool later_ones(const struct history_row *rows, size_t n, struct str after)
{
    if (after.n == 0) {
        return n > 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (str_eq(rows[i].version, after)) {
            return !str_eq(rows[n - 1].version, after);
        }
    }
    return false;
}

int migrations_zip(const struct history_row *rows, size_t n, enum dialect dialect, struct str after,
                   struct buf *out, struct err *err)
{
    CLEANUP(pass_deinit) struct pass p = {0};
    bool wanted = after.n == 0;
    if (!later_ones(rows, n, after)) {
        return MIGRATIONS_NONE; /* without rendering a history that nobody asks for: this is polled */
    }
    if (archive_new(&p.zip, err) < 0) {
        return -1;
    }
    while (n > 0) {
        size_t commands = count_commands(rows, n);
        if (pass_version(&p, dialect, rows, commands, wanted, err) < 0) {
            return -1;
        }
        wanted = wanted || str_eq(rows[0].version, after);
        rows += commands;
        n -= commands;
    }
    return archive_finish(p.zip, out, err) < 0 ? -1 : MIGRATIONS_SOME;
}
