/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/known.h"

#include "base/mem.h"
#include "feed/feed.h"

#include <stddef.h>
#include <stdlib.h>

enum { KIND = 'c' };

struct known_clients {
    struct feed *feed;
    known_saved_fn saved;
    struct key_seed seed;
    struct keytable table;
};

struct known_clients *known_clients_new(struct feed *feed, known_saved_fn saved)
{
    struct known_clients *all = mem_zalloc(sizeof *all);
    all->feed = feed;
    all->saved = saved;
    all->seed = key_seed();
    all->table.key_at = offsetof(struct known, id);
    return all;
}

static struct str id_of(const struct known *k)
{
    return (struct str){k->id, k->keyed.n};
}

static void forget(struct known *k)
{
    keytable_remove(&k->all->table, &k->keyed);
    client_state_deinit(&k->state);
    free(k);
}

static void forget_if_idle(struct known *k)
{
    if (!k->client && k->writes == 0) {
        forget(k);
    }
}

typedef void known_fn(struct known *k);

static void each(struct known_clients *all, known_fn *fn)
{
    for (size_t i = 0; i < all->table.cap; i++) {
        struct keyed *next;
        for (struct keyed *e = all->table.slots[i]; e; e = next) {
            next = e->next;
            fn((struct known *)e);
        }
    }
}

void known_clients_free(struct known_clients *all)
{
    if (all) {
        each(all, forget);
        keytable_deinit(&all->table);
        free(all);
    }
}

static int read_state(struct known_clients *all, struct str id, struct client_state *out, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(STATE_MAX);
    int rc = feed_get(all->feed, KIND, id, &b, err);
    *out = (struct client_state){0};
    return rc == 1 ? client_state_decode(buf_str(&b), out, err) : rc;
}

int known_get(struct known_clients *all, struct str id, struct known **out_known, struct err *err)
{
    uint32_t hash = key_hash(all->seed, id);
    struct keyed *found = keytable_find(&all->table, id, hash);
    struct client_state state;
    if (found) {
        *out_known = (struct known *)found;
        return 0;
    }
    if (read_state(all, id, &state, err) < 0) {
        return -1;
    }
    struct known *k = mem_zalloc(sizeof *k + id.n);
    k->keyed.hash = hash;
    k->keyed.n = (uint32_t)id.n & 0x7fffffff;
    memcpy(k->id, id.p, id.n);
    k->all = all;
    k->state = state;
    keytable_add(&all->table, &k->keyed);
    *out_known = k;
    return 0;
}

void known_release(struct known *k)
{
    k->client = NULL;
    if (k->dirty) {
        known_save(k);
    }
    forget_if_idle(k);
}

static void on_written(void *ctx)
{
    struct known *k = ctx;
    k->writes--;
    if (k->client && k->writes == 0) {
        k->all->saved(k->client);
    }
    forget_if_idle(k);
}

void known_save(struct known *k)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(STATE_MAX);
    client_state_encode(&k->state, &b);
    k->dirty = false;
    k->writes++;
    feed_put(k->all->feed, KIND, id_of(k), buf_str(&b), on_written, k);
}

static void save_if_dirty(struct known *k)
{
    if (k->dirty) {
        known_save(k);
    }
}

void known_save_dirty(struct known_clients *all)
{
    each(all, save_if_dirty);
}

static void clear(struct known *k)
{
    client_state_clear(&k->state);
    k->dirty = false;
}

void known_reset(struct known_clients *all)
{
    each(all, clear);
}
