/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepared statements and portals that need attention when they run: transaction control, DDL, DDLX, DO,
 * CALL. Ordinary statements are not remembered at all, so a name that is not found here is an ordinary one.
 */
#pragma once

#include "base/str.h"
#include "sql/statement.h"

struct special {
    enum statement_kind kind;
    bool wrap;         /* run outside a transaction it needs one of ours */
    bool chain;        /* COMMIT AND CHAIN, ROLLBACK AND CHAIN */
    bool injected;     /* the text sent upstream is ours: positions in errors mean nothing to the client */
    const char *tag;   /* command tag to show instead of the server's, or NULL; static */
    uint32_t point_at; /* position to put into an error of ours, 1-based characters, 0 for none */
    uint32_t refs;
    struct str text; /* what the client wrote, owned */
    struct special
        *previous; /* of an undo: what the name in `text` stood for before (a reference), or NULL */
};

/* True when the statement, run outside a transaction block, needs a hidden transaction around it: it may be
 * part of a migration. */
bool wants_transaction(const struct statement *st);

struct special *special_of(const struct statement *st);
struct special *special_new(enum statement_kind kind, struct str text);
struct special *special_ref(struct special *s);
void special_unref(struct special *s); /* takes NULL */

/* What puts a name back when the Parse that gave it a new meaning fails. Takes a reference of its own. */
struct special *special_undo(struct str name, struct special *previous);

/* name -> special. Zeroed is empty. Of a name the first 63 bytes count, as in PostgreSQL (NAMEDATALEN). */
struct special_map {
    struct special_entry **buckets;
    size_t cap, n;
};

bool special_names_equal(struct str a, struct str b);
void special_map_deinit(struct special_map *m);
struct special *special_map_get(const struct special_map *m,
                                struct str name); /* borrowed; NULL: an ordinary one */
/* Takes a reference of its own. special NULL removes. false at LIMIT_STATEMENTS. */
bool special_map_set(struct special_map *m, struct str name, struct special *special);
void special_map_clear(struct special_map *m);
