/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting ones are in one of two lists: `next`, of a message that is yet to be sent, and `sent`. One message
 * is under way at a time; with many waiting, that makes one commit a round trip instead of one for each.
 */
#include "hub/marker.h"

#include "base/mem.h"
#include "pg/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { MARKER_TEXT = 40 };

struct marker_wait {
    struct marker_wait *next, **prev;
    marker_fn fn;
    void *ctx;
};

struct marker {
    struct pg_client *client;
    struct pg_query *query; /* the message is being sent */
    struct marker_wait *next, *sent;
    uint64_t instance; /* messages of other processes pass by */
    uint64_t count;
};

static const char prefix_of_ours[] = "busbar.marker";

static void add(struct marker_wait **list, struct marker_wait *w)
{
    w->next = *list;
    w->prev = list;
    if (w->next) {
        w->next->prev = &w->next;
    }
    *list = w;
}

void marker_forget(struct marker_wait *w)
{
    if (!w) {
        return;
    }
    *w->prev = w->next;
    if (w->next) {
        w->next->prev = w->prev;
    }
    free(w);
}

/* A callback may forget others, so the list is taken apart one by one. */
static void call_all(struct marker_wait **list, const struct err *err)
{
    while (*list) {
        struct marker_wait *w = *list;
        marker_fn fn = w->fn;
        void *ctx = w->ctx;
        marker_forget(w);
        fn(ctx, err);
    }
}

static void text_of(const struct marker *m, char out[MARKER_TEXT])
{
    snprintf(out, MARKER_TEXT, "%016llx.%llu", (unsigned long long)m->instance, (unsigned long long)m->count);
}

static void send_next(struct marker *m);

static void on_sent(void *ctx, const struct pg_result *result)
{
    struct marker *m = ctx;
    m->query = NULL;
    if (!result->ok) {
        call_all(&m->sent, &result->err);
    }
    if (m->next && !m->sent) {
        send_next(m);
    }
}

static void send_next(struct marker *m)
{
    char text[MARKER_TEXT];
    const char *const params[] = {prefix_of_ours, text};
    m->count++;
    text_of(m, text);
    m->sent = m->next;
    m->next = NULL;
    if (m->sent) {
        m->sent->prev = &m->sent;
    }
    /* Flushed at once, so that it is sent at once, whatever the role's default; standbys are not waited for.
     */
    m->query = pg_client_query(m->client,
                               "SELECT pg_catalog.set_config('synchronous_commit', 'local', true), "
                               "pg_catalog.pg_logical_emit_message(true, $1, $2)",
                               params, ARRAY_LEN(params), on_sent, m);
}

struct marker *marker_new(struct pg_client *client)
{
    struct marker *m = mem_zalloc(sizeof *m);
    m->client = client;
    if (getrandom(&m->instance, sizeof m->instance, 0) != sizeof m->instance) {
        m->instance = (uint64_t)(uintptr_t)
            m; /* enough to tell two processes apart that share a database for a moment */
    }
    return m;
}

void marker_free(struct marker *m)
{
    if (!m) {
        return;
    }
    pg_query_forget(m->query);
    while (m->next) {
        marker_forget(m->next);
    }
    while (m->sent) {
        marker_forget(m->sent);
    }
    free(m);
}

struct marker_wait *marker_wait(struct marker *m, marker_fn fn, void *ctx)
{
    struct marker_wait *w = mem_zalloc(sizeof *w);
    w->fn = fn;
    w->ctx = ctx;
    add(&m->next, w);
    if (!m->sent && !m->query) {
        send_next(m);
    }
    return w;
}

void marker_came(struct marker *m, struct str prefix, struct str content)
{
    char text[MARKER_TEXT];
    text_of(m, text);
    if (!str_eq(prefix, STR("busbar.marker")) || !str_eq(content, str_c(text))) {
        return;
    }
    call_all(&m->sent, NULL);
    if (m->next && !m->query && !m->sent) {
        send_next(m);
    }
}
