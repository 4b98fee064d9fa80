/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded migrations with their positions: what clients get of each, and what the schema was at any
 * position.
 */
#pragma once

#include "base/arena.h"
#include "dialect/render.h"
#include "hub/tables.h"
#include "schema/schema.h"
#include "txlog/txlog.h"

struct versions;

enum { VERSION_DIALECTS = 2 }; /* enum dialect */

/* One that clients can apply. Never changes while it is in the history. */
struct version {
    uint64_t seq, xid;
    lsn_t lsn; /* of the transaction that recorded it */
    int64_t commit_us;
    struct str name;
    struct str *messages[VERSION_DIALECTS]; /* SatOpMigrate bytes of each dialect, in order */
    size_t n_messages[VERSION_DIALECTS];
    struct version_table { /* those that it makes or changes */
        struct str schema, name;
    } * tables;
    size_t n_tables;
};

struct versions *versions_new(void);
void versions_free(struct versions *h); /* takes NULL */
void versions_reset(struct versions *h);

/*
 * In the order of seq. One that is marked unusable, or cannot be rendered, is left out, as is one that is
 * there already
 * (*out_added: false). -1 (ERR_INTERNAL, ERR_LIMIT): it cannot be rendered, and why.
 */
MUST_USE int versions_add(struct versions *h, const struct txlog_migration *m, bool *out_added,
                          struct err *err);
/* A migration came to be unusable after all. */
void versions_withdraw(struct versions *h, uint64_t seq);

uint64_t versions_last_seq(const struct versions *h); /* of those that were added; 0: none */
size_t versions_count(const struct versions *h);
const struct version *versions_at(const struct versions *h, size_t i);
/* -1: no migration has the version. */
long versions_find(const struct versions *h, struct str version);

/* Position of the last migration up to one; 0: there is none. */
lsn_t versions_last(const struct versions *h, lsn_t position);

/* The schema after all migrations up to a position: shared, counted, never changes. Cheap for the newest. */
struct model {
    struct schema schema;
    lsn_t lsn;                  /* of the last migration in it; 0: none */
    uint32_t serial;            /* differs from that of every other model */
    struct table_frames frames; /* a cache */
    unsigned refs;
    struct model **slot; /* the history's, to forget it by; private */
};
struct model *versions_model(struct versions *h, lsn_t position);
struct model *model_ref(struct model *m);
void model_unref(struct model *m); /* takes NULL */
