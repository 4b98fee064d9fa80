/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong in the database although the service runs: a list for /api/health, /metrics and the log. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    FINDINGS_MAX = 100,  /* kept; the rest is only counted */
    FINDING_TEXT = 8000, /* bytes of each text that are kept */
};

struct finding {
    char *subject; /* a table, a version */
    char *what;    /* is the matter, in words */
    char *mend;    /* SQL; NULL when there is none */
};

/* Zeroed is empty. */
struct findings {
    struct finding *items;
    size_t n;     /* of items */
    size_t total; /* found */
};

void findings_add(struct findings *f, const char *subject, const char *what, const char *mend); /* copies */
void findings_deinit(struct findings *f); /* leaves it empty */
/* Replaces *f by *fresh, which becomes empty. Returns true when they were different. */
bool findings_replace(struct findings *f, struct findings *fresh);
