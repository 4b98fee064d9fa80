/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transaction at a time, on turns between loop and thread: what a step reads and writes belongs to
 * whoever has the step.
 *
 *   loop    start      keeps the transaction, copies what else the thread reads
 *   thread  survey     what it has, and what each view has to look at
 *   loop    next       begins the next passage, or ends the transaction
 *   thread  follow     view_apply()
 *   loop    followed   ends the passage
 */
#include "hub/aside.h"

#include "base/log.h"
#include "base/mem.h"
#include "hub/flow.h"
#include "hub/hub_impl.h"
#include "net/loop.h"

#include <stdlib.h>

struct aside {
    struct loop *loop;
    const struct past *past;
    struct loop_thread *thread; /* NULL: not made yet, or it cannot be had */
    struct passage *waiting, **waiting_end;
    bool busy; /* with the transaction below, or about to be */

    struct kept kept;
    struct relations relations; /* a copy */
    struct routes *routes;
    struct route **route; /* of each passage */
    size_t route_n;
    struct passage *passages; /* not begun yet */
    struct txn_head head;
    struct txn_summary summary;
    struct txn_facts facts;
    int outcome;
    struct err err;

    struct passage *at;
    struct part part; /* of it */
    struct view_ops ops;
};

struct aside *aside_new(struct loop *loop, const struct past *past)
{
    struct aside *a = mem_zalloc(sizeof *a);
    a->loop = loop;
    a->past = past;
    a->waiting_end = &a->waiting;
    return a;
}

/* Without a thread the loop does it. */
static void away(struct aside *a, post_fn step)
{
    struct err err;
    if (!a->thread && loop_thread_new("sync", &a->thread, &err) < 0) {
        log_warning(NULL, "sync: %s", err.msg);
    }
    loop_post(a->thread ? loop_thread_loop(a->thread) : a->loop, step, a);
}

/* --- the end of a transaction --- */

static void free_routes(struct aside *a)
{
    for (size_t i = 0; i < a->route_n; i++) {
        route_free(a->route[i]);
    }
    a->route_n = 0;
    free(take_ptr(&a->route));
    routes_free(take_ptr(&a->routes));
}

static void start(void *ctx);

static void end_transaction(struct aside *a)
{
    free_routes(a);
    relations_deinit(&a->relations);
    kept_release(&a->kept);
    a->busy = a->waiting;
    if (a->busy) {
        loop_post(a->loop, start, a);
    }
}

static void end_all(struct aside *a, int outcome, const struct err *err)
{
    free_routes(a);
    while (a->passages) {
        struct passage *p = a->passages;
        a->passages = p->next;
        part_deinit(&p->part);
        p->end(p, &a->head, outcome, NULL, err);
    }
    end_transaction(a);
}

/* --- one view --- */

static void follow(void *ctx);

static bool concerns(const struct aside *a, const struct part *part)
{
    return part->whole || part->changes.n > 0 || a->facts.migrates;
}

/* False: that was the last. */
static bool begin_one(struct aside *a)
{
    static const struct view_ops none = {NULL, 0};
    while (a->passages) {
        struct passage *p = a->passages;
        a->passages = p->next;
        a->part = p->part;
        p->part = (struct part){0};
        if (!concerns(a, &a->part)) {
            p->end(p, &a->head, ASIDE_PASSED, &none, NULL);
        } else if (p->begin(p, &a->head, &a->facts)) {
            a->at = p;
            return true;
        }
        part_deinit(&a->part);
    }
    return false;
}

static void next(struct aside *a)
{
    if (begin_one(a)) {
        away(a, follow);
    } else {
        end_transaction(a);
    }
}

static void followed(void *ctx)
{
    struct aside *a = ctx;
    struct passage *p = take_ptr(&a->at);
    p->end(p, &a->head, a->outcome, &a->ops, &a->err);
    part_deinit(&a->part);
    next(a);
}

static void follow(void *ctx)
{
    struct aside *a = ctx;
    struct passage *p = a->at;
    bool all = a->part.whole || a->facts.migrates; /* the part was found before the migration */
    a->outcome =
        all ? view_apply(p->view, a->kept.bytes, &a->summary, &a->relations, p->arena, &a->ops, &a->err)
            : view_apply_part(p->view, a->kept.bytes, &a->part.changes, &a->summary, &a->relations, p->arena,
                              &a->ops, &a->err);
    loop_post(a->loop, followed, a);
}

/* --- the transaction --- */

static void surveyed(void *ctx)
{
    struct aside *a = ctx;
    if (a->outcome < 0) {
        end_all(a, a->outcome, &a->err);
        return;
    }
    a->facts = txn_facts_of(&a->relations, &a->summary);
    free_routes(a);
    next(a);
}

static void survey(void *ctx)
{
    struct aside *a = ctx;
    a->outcome = txn_read_head(a->kept.bytes, &a->head, &a->err);
    if (a->outcome == 0 && a->kept.txn) {
        a->summary = *txn_summary(a->kept.txn);
    } else if (a->outcome == 0) {
        a->outcome = txn_summarize(a->kept.bytes, &a->summary, &a->err);
    }
    if (a->passages && !a->passages->next) {
        a->passages->part.whole = true; /* to find out would take as long as to follow */
    } else if (a->outcome == 0) {
        a->outcome = parts_find(a->routes, a->kept.bytes, &a->relations, &a->err);
    }
    loop_post(a->loop, surveyed, a);
}

/* All that wait for the same transaction as the first. */
static void take_passages(struct aside *a)
{
    lsn_t lsn = a->waiting->lsn;
    struct passage **link = &a->waiting, **end = &a->passages;
    while (*link) {
        struct passage *p = *link;
        if (p->lsn == lsn) {
            *link = p->next;
            p->next = NULL;
            *end = p;
            end = &p->next;
            a->route_n++;
        } else {
            link = &p->next;
        }
    }
    a->waiting_end = link;
}

static void make_routes(struct aside *a)
{
    struct route **at = a->route = mem_alloc_array(a->route_n, sizeof *a->route);
    a->routes = routes_new();
    for (struct passage *p = a->passages; p; p = p->next) {
        *at++ = route_new(a->routes, p->forest, p->user, &p->part);
    }
}

static void copy_relations(struct aside *a)
{
    const struct relations *all = &a->past->relations;
    for (uint32_t id = 1; id <= all->n; id++) {
        const struct relation *r = relations_get(all, id);
        if (r) {
            relations_put(&a->relations, relation_copy(r));
        }
    }
}

static void start(void *ctx)
{
    struct aside *a = ctx;
    take_passages(a);
    make_routes(a);
    int rc = past_keep(a->past, a->passages->lsn, &a->kept, &a->err);
    if (rc != PAST_STOPPED) {
        end_all(a, rc < 0 ? ASIDE_LOST : ASIDE_AGAIN, &a->err);
        return;
    }
    copy_relations(a);
    away(a, survey);
}

void aside_enter(struct aside *a, struct passage *p)
{
    p->next = NULL;
    *a->waiting_end = p;
    a->waiting_end = &p->next;
    if (!a->busy) {
        a->busy = true;
        loop_post(a->loop, start, a);
    }
}

static void drop(struct passage *first)
{
    for (struct passage *p = first; p; p = p->next) {
        part_deinit(&p->part);
    }
}

void aside_free(struct aside *a)
{
    if (!a) {
        return;
    }
    if (a->thread) {
        loop_thread_stop(a->thread);
        loop_thread_free(a->thread);
    }
    loop_post_forget(a->loop, a);
    drop(a->waiting);
    drop(a->passages);
    part_deinit(&a->part);
    free_routes(a);
    relations_deinit(&a->relations);
    kept_release(&a->kept);
    free(a);
}
