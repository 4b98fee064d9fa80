/* SPDX-License-Identifier: Apache-2.0 */
#include "http/findings.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* The beginning of a text, cut between characters of UTF-8. */
static char *copy(const char *text)
{
    size_t n = strnlen(text, FINDING_TEXT);
    while (n > 0 && text[n] && ((unsigned char)text[n] & 0xC0) == 0x80) {
        n--;
    }
    return mem_strndup(text, n);
}

void findings_add(struct findings *f, const char *subject, const char *what, const char *mend)
{
    f->total++;
    if (f->n == FINDINGS_MAX) {
        return;
    }
    f->items = mem_realloc(f->items, (f->n + 1) * sizeof *f->items);
    f->items[f->n++] = (struct finding){copy(subject), copy(what), mend ? copy(mend) : NULL};
}

void findings_deinit(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].subject);
        free(f->items[i].what);
        free(f->items[i].mend);
    }
    free(f->items);
    *f = (struct findings){0};
}

static bool is_same(const struct findings *a, const struct findings *b)
{
    bool same = a->total == b->total && a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        same =
            !strcmp(a->items[i].subject, b->items[i].subject) && !strcmp(a->items[i].what, b->items[i].what);
    }
    return same;
}

bool findings_replace(struct findings *f, struct findings *fresh)
{
    bool same = is_same(f, fresh);
    findings_deinit(f);
    *f = *fresh;
    *fresh = (struct findings){0};
    return !same;
}
