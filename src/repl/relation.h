/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a table looked like while some transactions were written: a Relation message as a value.
 *
 * A table that changes gets a new version; the old one stays for the rows written under it. Versions are
 * numbered by whoever keeps them (the log), from 1, and never used again.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

enum { RELATION_MAX_COLUMNS = 1600, RELATION_MAX_BYTES = 1024 * 1024 };

struct relation_column {
    struct str name;
    uint32_t type_oid;
    int32_t typmod; /* -1: none */
    bool key;       /* of the replica identity: with FULL, every column */
};

/* Never changes; one block of memory. */
struct relation {
    uint32_t id; /* the version */
    uint32_t oid;
    char replica_identity; /* pg_class.relreplident: d n f i */
    struct str schema, name;
    struct relation_column *columns; /* attnum order, dropped ones left out */
    uint32_t n;
};

/* A copy of its own. Borrows nothing. */
struct relation *relation_copy(const struct relation *r);
void relation_free(struct relation *r); /* takes NULL */
/* All but the version. */
bool relation_equal(const struct relation *a, const struct relation *b);
/* -1 when there is none. */
int relation_column(const struct relation *r, struct str name);

void relation_encode(const struct relation *r, struct buf *out);
/* Fails with ERR_INTERNAL: these bytes are ours. */
MUST_USE int relation_decode(struct str bytes, struct relation **out_relation, struct err *err);

/* Versions by number. Not shared between threads: who needs them elsewhere keeps copies. */
struct relations {
    struct relation **items; /* by id - 1; NULL: not known */
    uint32_t n, cap;
};

void relations_deinit(struct relations *rs);
/* Takes the relation over; one of the same version is kept instead (they are equal). */
void relations_put(struct relations *rs, struct relation *r);
const struct relation *relations_get(const struct relations *rs, uint32_t id); /* NULL: not known */
