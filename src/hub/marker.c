/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting ones are in one of two lists: `next`, of a message that is yet to be sent, and `sent`. One message
 * is under way at a time; with many waiting, that makes one commit a round trip instead of one for each. One
 * that could not be sent, or that a lost server may have taken along, is sent anew.
 */
#include "hub/marker.h"

#include "base/mem.h"
#include "net/loop.h"
#include "pg/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { MARKER_TEXT = 40, RETRY_MS = 200 };

struct marker_wait {
    struct marker_wait *next, **prev;
    marker_fn fn;
    void *ctx;
    uint64_t until_ms;
};

struct marker {
    struct loop *loop;
    struct pg_client *client;
    struct timer *retry;    /* after a message that could not be sent */
    bool pausing;           /* until then */
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

static void call(struct marker_wait *w, const struct err *err)
{
    marker_fn fn = w->fn;
    void *ctx = w->ctx;
    marker_forget(w);
    fn(ctx, err);
}

/* A callback may forget others, so the list is taken apart one by one. */
static void call_all(struct marker_wait **list)
{
    while (*list) {
        call(*list, NULL);
    }
}

static void take_back(struct marker *m)
{
    struct marker_wait **end = &m->next;
    while (*end) {
        end = &(*end)->next;
    }
    *end = m->sent;
    if (m->sent) {
        m->sent->prev = end;
    }
    m->sent = NULL;
}

static struct marker_wait *find_late(const struct marker *m)
{
    uint64_t now = loop_now_ms(m->loop);
    struct marker_wait *w = m->next;
    while (w && now < w->until_ms) {
        w = w->next;
    }
    return w;
}

static void text_of(const struct marker *m, char out[MARKER_TEXT])
{
    snprintf(out, MARKER_TEXT, "%016llx.%llu", (unsigned long long)m->instance, (unsigned long long)m->count);
}

static void send_next(struct marker *m);

static void send_if_due(struct marker *m)
{
    if (m->next && !m->sent && !m->query && !m->pausing) {
        send_next(m);
    }
}

static void on_sent(void *ctx, const struct pg_result *result)
{
    struct marker *m = ctx;
    m->query = NULL;
    if (result->ok) {
        send_if_due(m);
        return;
    }
    take_back(m);
    for (struct marker_wait *w; (w = find_late(m)) != NULL;) {
        call(w, &result->err);
    }
    m->pausing = true;
    timer_start(m->retry, RETRY_MS);
}

static void on_retry(void *ctx)
{
    struct marker *m = ctx;
    m->pausing = false;
    send_if_due(m);
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

struct marker *marker_new(struct loop *loop, struct pg_client *client)
{
    struct marker *m = mem_zalloc(sizeof *m);
    m->loop = loop;
    m->client = client;
    m->retry = timer_new(loop, on_retry, m);
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
    timer_free(m->retry);
    while (m->next) {
        marker_forget(m->next);
    }
    while (m->sent) {
        marker_forget(m->sent);
    }
    free(m);
}

static struct marker_wait *wait_for(struct marker *m, uint64_t ms, marker_fn fn, void *ctx)
{
    struct marker_wait *w = mem_zalloc(sizeof *w);
    w->fn = fn;
    w->ctx = ctx;
    w->until_ms = loop_now_ms(m->loop) + ms;
    add(&m->next, w);
    send_if_due(m);
    return w;
}

struct marker_wait *marker_wait(struct marker *m, marker_fn fn, void *ctx)
{
    return wait_for(m, MARKER_WAIT_MS, fn, ctx);
}

struct marker_wait *marker_wait_to_answer(struct marker *m, marker_fn fn, void *ctx)
{
    return wait_for(m, MARKER_ANSWER_MS, fn, ctx);
}

void marker_send_again(struct marker *m)
{
    take_back(m);
    send_if_due(m); /* or when the one that is being sent has been */
}

void marker_came(struct marker *m, struct str prefix, struct str content)
{
    char text[MARKER_TEXT];
    text_of(m, text);
    if (!str_eq(prefix, STR("busbar.marker")) || !str_eq(content, str_c(text))) {
        return;
    }
    call_all(&m->sent);
    send_if_due(m);
}
