/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requested shapes, checked and compiled into layers (shapes/forest.h). A shape is a table, a where and what
 * is included along foreign keys, to any depth. Pure.
 */
#pragma once

#include "shapes/forest.h"

enum {
    SHAPE_MAX_NAME = 64,                    /* bytes of a table's or a column's name */
    SHAPE_MAX_KEY_COLUMNS = 32,             /* columns of a foreign key: PostgreSQL's INDEX_MAX_KEYS */
    SHAPE_MAX_DEPTH = 32,                   /* selects inside each other */
    SHAPE_MAX_SELECTS = 1000,               /* in all requests of a forest; each makes one layer at most */
    SHAPE_MAX_WHERES = 1024 * 1024,         /* bytes of all of a forest; one has bounds of its own */
    SHAPE_MAX_WHERE_KEYS = 4 * 1024 * 1024, /* of their canonical texts, which a forest keeps */
};

/* A request as it came, decoded. */
struct shape_select {
    struct str table; /* in schema public */
    struct str where; /* empty: none */
    const struct shape_include *includes;
    size_t n_includes;
};

struct shape_include {
    struct names foreign_key;          /* columns of the table that holds the foreign key */
    const struct shape_select *select; /* NULL: it was left out */
};

struct shape_request {
    const struct shape_select *selects; /* at top level: there must be one */
    size_t n_selects;
};

/* ShapeReqError.Code of the protocol. */
enum shape_fault_code {
    SHAPE_TABLE_NOT_FOUND = 1,
    SHAPE_EMPTY_DEFINITION = 3,
    SHAPE_INVALID_WHERE = 5,
    SHAPE_INVALID_INCLUDES = 6,
};

struct shape_fault {
    size_t request; /* its index */
    enum shape_fault_code code;
    struct str message; /* for the client's developer; UTF-8 */
};

struct shape_faults {
    struct shape_fault *items;
    size_t n;
};

enum shape_outcome { SHAPE_REFUSED = 0, SHAPE_COMPILED = 1 };

/*
 * Compiles the union of the requests (all those of a client, of whatever subscriptions; none gives no
 * layers). In `a`; borrows from the requests and the model. Refused: *out_faults has the first fault of each
 * bad request, in their order, and *out_forest is not set. Tables without primary key are not found.
 */
MUST_USE enum shape_outcome shape_compile(struct arena *a, const struct schema *model,
                                          const struct shape_request *requests, size_t n,
                                          const struct forest **out_forest, struct shape_faults *out_faults);
