/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/folder.h"

#include "app/files.h"
#include "base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

static int read_text(struct arena *a, struct migration *m, enum migration_form form, struct err *err)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(LIMIT_MIGRATION_TEXT);
    if (file_read(m->path, &text, err) < 0) {
        return -1;
    }
    if (text.n && memchr(text.p, '\0', text.n)) {
        return err_set(err, ERR_INPUT, "%s holds a zero byte", m->path);
    }
    if (migration_parse(form, arena_str(a, buf_str(&text)), &m->text, err) < 0) {
        return err_context(err, "%s", m->path);
    }
    m->has_up = form != MIGRATION_DOWN;
    m->down_path = m->text.has_down ? m->path : NULL;
    migration_checksum(m->text.up, m->checksum);
    return 0;
}

static struct migration *add(struct arena *a, struct migration_list *list)
{
    if (list->n == list->cap) {
        struct migration *old = list->items;
        list->cap = list->cap ? 2 * list->cap : 64;
        list->items = arena_alloc_array(a, list->cap, sizeof *old);
        if (old) {
            memcpy(list->items, old, list->n * sizeof *old);
        }
    }
    return &list->items[list->n++];
}

static int add_file(struct arena *a, const char *folder, const char *file, bool data,
                    struct migration_list *list, struct err *err)
{
    struct migration_name name;
    if (!migration_name_parse(file, &name)) {
        return 0;
    }
    if (list->n == FOLDER_MIGRATIONS) {
        return err_set(err, ERR_LIMIT, "%s holds more than %d migrations", folder, FOLDER_MIGRATIONS);
    }
    struct migration *m = add(a, list);
    *m = (struct migration){.version = name.version,
                            .name = arena_str(a, name.name).p,
                            .path = arena_printf(a, "%s/%s", folder, file),
                            .data = data,
                            .elixir = name.form == MIGRATION_ELIXIR};
    return m->elixir ? 0 : read_text(a, m, name.form, err);
}

static void close_folder(DIR **dir)
{
    if (*dir) {
        closedir(*dir);
    }
}

int migration_folder_read(struct arena *a, const char *folder, bool data, bool optional,
                          struct migration_list *list, struct err *err)
{
    CLEANUP(close_folder) DIR *dir = opendir(folder);
    if (!dir) {
        return optional && errno == ENOENT ? 0
                                           : err_set_errno(err, errno, "cannot read the folder %s", folder);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            return errno ? err_set_errno(err, errno, "cannot read the folder %s", folder) : 0;
        }
        if (add_file(a, folder, entry->d_name, data, list, err) < 0) {
            return -1;
        }
    }
}

static int compare(const void *x, const void *y)
{
    const struct migration *a = x, *b = y;
    return a->version != b->version ? (a->version > b->version ? 1 : -1)
           : a->has_up != b->has_up ? (b->has_up ? 1 : -1)
                                    : strcmp(a->path, b->path);
}

/* b: the .down.sql of a's .up.sql. */
static bool join(struct migration *a, const struct migration *b)
{
    if (a->version != b->version || !a->has_up || a->text.has_down || b->has_up || !b->text.has_down ||
        strcmp(a->name, b->name) != 0) {
        return false;
    }
    a->text.down = b->text.down;
    a->text.down_options = b->text.down_options;
    a->text.has_down = true;
    a->down_path = b->path;
    return true;
}

int migration_list_finish(struct migration_list *list, struct err *err)
{
    size_t kept = 0;
    if (list->n) {
        qsort(list->items, list->n, sizeof *list->items, compare);
    }
    for (size_t i = 0; i < list->n; i++) {
        struct migration *m = &list->items[i];
        struct migration *last = kept ? &list->items[kept - 1] : NULL;
        if (last && join(last, m)) {
            continue;
        }
        if (last && last->version == m->version) {
            return err_set(err, ERR_INPUT, "two migrations have the version %llu: %s and %s",
                           (unsigned long long)m->version, last->path, m->path);
        }
        if (!m->elixir && !m->has_up) {
            return err_set(err, ERR_INPUT, "%s has no .up.sql beside it", m->path);
        }
        list->items[kept++] = *m;
    }
    list->n = kept;
    return 0;
}

const struct migration *migration_list_find(const struct migration_list *list, uint64_t version)
{
    size_t low = 0, high = list->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->items[middle].version < version) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list->n && list->items[low].version == version ? &list->items[low] : NULL;
}
