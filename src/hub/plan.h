/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes that were asked for, compiled for the schema at a position: what a view is made from. Counted; never
 * changes. */
#pragma once

#include "hub/versions.h"
#include "shapes/shape.h"

struct plan {
    const struct forest *forest;
    struct model *model;
    struct str
        *requests; /* as they came: SatSubsReq, one a subscription; to be compiled again for another schema */
    size_t n;
    struct arena arena;
    unsigned refs;
};

/*
 * Compiles the union of the requests (none: an empty forest) for a schema, whose reference it takes over.
 * NULL: refused; *out_faults is in `a`, and the index of a fault counts the shapes of all requests, in order.
 */
struct plan *plan_new(struct model *model, const struct str *requests, size_t n, struct arena *a,
                      struct shape_faults *out_faults);
/* The same for another schema; NULL: it does not fit that any more. */
struct plan *plan_again(const struct plan *p, struct model *model);
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* takes NULL */
