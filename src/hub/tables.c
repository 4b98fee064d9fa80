/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/tables.h"

#include "base/mem.h"
#include "sync/frame.h"

#include <stdlib.h>

enum { RELATION_BYTES = 16 * 1024 * 1024 };

void table_ids_deinit(struct table_ids *ids)
{
    arena_deinit(&ids->arena);
    free(ids->names);
    *ids = (struct table_ids){0};
}

static uint32_t id_of(struct table_ids *ids, const struct table *t)
{
    char *name = arena_alloc(&ids->arena, t->schema.n + t->name.n + 1);
    struct str key = {name, t->schema.n + t->name.n + 1};
    memcpy(name, t->schema.p, t->schema.n);
    name[t->schema.n] = '\0';
    memcpy(name + t->schema.n + 1, t->name.p, t->name.n);
    for (size_t i = 0; i < ids->n; i++) {
        if (str_eq(ids->names[i], key)) {
            return (uint32_t)i + 1;
        }
    }
    if (ids->n == ids->cap) {
        ids->cap = ids->cap * 2 + 16;
        ids->names = mem_realloc(ids->names, ids->cap * sizeof *ids->names);
    }
    ids->names[ids->n++] = key;
    return (uint32_t)ids->n;
}

void table_frames_deinit(struct table_frames *fs)
{
    for (size_t i = 0; i < fs->n; i++) {
        packet_unref(fs->items[i].packet);
    }
    free(fs->items);
    arena_deinit(&fs->arena);
    *fs = (struct table_frames){0};
}

static struct packet *relation_packet(uint32_t id, const struct table *table)
{
    struct buf b = BUF_INIT(RELATION_BYTES);
    packet_begin(&b);
    sat_put_relation(&b, id, table);
    struct packet *p = packet_end(&b);
    buf_deinit(&b);
    return p;
}

const struct table_frame *table_frame(struct table_frames *fs, struct table_ids *ids,
                                      const struct table *table)
{
    for (size_t i = 0; i < fs->n; i++) {
        if (fs->items[i].table == table) {
            return &fs->items[i];
        }
    }
    if (fs->n == fs->cap) {
        fs->cap = fs->cap * 2 + 8;
        fs->items = mem_realloc(fs->items, fs->cap * sizeof *fs->items);
    }
    uint32_t id = id_of(ids, table);
    struct table_frame *f = &fs->items[fs->n++];
    *f = (struct table_frame){table, oplog_table(&fs->arena, table, id), relation_packet(id, table)};
    return f;
}
