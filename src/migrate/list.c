/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/list.h"

static struct entry make_entry(const struct migration *file, const struct version_row *row)
{
    struct entry e = {.version = file ? file->version : row->version, .file = file, .row = row};
    e.up = row && row->up;
    e.broken = row && row->facts && row->state != HISTORY_UP;
    e.edited = e.up && file && !file->elixir && row->facts && row->checksum[0] &&
               strcmp(row->checksum, file->checksum) != 0;
    return e;
}

/* Each kind has an order of its own: data migrations are run when somebody says so. */
static void mark_order(struct entry_list *list)
{
    bool later_up[2] = {false, false};
    for (size_t i = list->n; i-- > 0;) {
        struct entry *e = &list->items[i];
        bool *later = &later_up[entry_is_data(e)];
        e->out_of_order = !e->up && *later;
        *later |= e->up;
    }
}

struct entry_list entry_list_make(struct arena *a, const struct migration_list *files,
                                  const struct version_row *rows, size_t rows_n)
{
    struct entry_list list = {arena_alloc_array(a, files->n + rows_n + 1, sizeof *list.items), 0};
    size_t f = 0, r = 0;
    while (f < files->n || r < rows_n) {
        const struct migration *file = f < files->n ? &files->items[f] : NULL;
        const struct version_row *row = r < rows_n ? &rows[r] : NULL;
        if (file && row && file->version != row->version) {
            *(file->version < row->version ? (const void **)&row : (const void **)&file) = NULL;
        }
        f += file != NULL;
        r += row != NULL;
        list.items[list.n++] = make_entry(file, row);
    }
    mark_order(&list);
    return list;
}

bool entry_is_data(const struct entry *e)
{
    return e->file ? e->file->data : e->row->data;
}

const char *entry_name(const struct entry *e)
{
    return e->file ? e->file->name : "** FILE NOT FOUND **";
}

static bool within(const struct target *target, uint64_t version, size_t taken, bool down)
{
    switch (target->kind) {
    case TARGET_ALL:
        return true;
    case TARGET_STEP:
        return taken < target->value;
    case TARGET_TO:
        return down ? version >= target->value : version <= target->value;
    case TARGET_TO_EXCLUSIVE:
        return down ? version > target->value : version < target->value;
    }
    return false;
}

static size_t select_entries(struct arena *a, const struct entry_list *list, const struct target *target,
                             bool data, bool down, const struct entry ***out)
{
    const struct entry **chosen = arena_alloc_array(a, list->n + 1, sizeof *chosen);
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct entry *e = &list->items[down ? list->n - 1 - i : i];
        if (e->file && e->up == down && entry_is_data(e) == data && within(target, e->version, n, down)) {
            chosen[n++] = e;
        }
    }
    *out = chosen;
    return n;
}

size_t entry_list_select_up(struct arena *a, const struct entry_list *list, const struct target *target,
                            bool data, const struct entry ***out)
{
    return select_entries(a, list, target, data, false, out);
}

size_t entry_list_select_down(struct arena *a, const struct entry_list *list, const struct target *target,
                              bool data, const struct entry ***out)
{
    return select_entries(a, list, target, data, true, out);
}
