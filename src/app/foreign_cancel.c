/* SPDX-License-Identifier: Apache-2.0 */
#include "app/foreign_cancel.h"

#include "base/log.h"
#include "base/mem.h"
#include "pg/client.h"

#include <stdio.h>
#include <stdlib.h>

struct request {
    struct request *next, **link;
    struct pg_query *query;
    cancelled_fn done;
    void *done_ctx;
};

struct foreign_cancel {
    struct pg_client *client;
    struct request *waiting;
};

struct foreign_cancel *foreign_cancel_new(struct pg_client *client)
{
    struct foreign_cancel *f = mem_zalloc(sizeof *f);
    f->client = client;
    return f;
}

static void answer(struct request *r, bool found)
{
    *r->link = r->next;
    if (r->next) {
        r->next->link = r->link;
    }
    r->done(r->done_ctx, found);
    free(r);
}

static void on_cancelled(void *ctx, const struct pg_result *result)
{
    if (!result->ok) {
        log_warning(NULL, "a cancel request for a session of another process could not be passed on: %s",
                    result->err.msg);
    }
    answer(ctx, result->ok && result->rows == 1 && pg_result_is_true(result, 0, 0));
}

void foreign_cancel_send(void *ctx, uint32_t pid, cancelled_fn done, void *done_ctx)
{
    struct foreign_cancel *f = ctx;
    struct request *r = mem_zalloc(sizeof *r);
    char text[16];
    const char *const params[] = {text};
    snprintf(text, sizeof text, "%u", pid);
    *r = (struct request){.next = f->waiting, .link = &f->waiting, .done = done, .done_ctx = done_ctx};
    if (r->next) {
        r->next->link = &r->next;
    }
    f->waiting = r;
    r->query =
        pg_client_query(f->client,
                        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1::bigint AND "
                        "backend_type = 'client backend' AND usename = session_user",
                        params, ARRAY_LEN(params), on_cancelled, r);
}

void foreign_cancel_free(struct foreign_cancel *f)
{
    if (!f) {
        return;
    }
    while (f->waiting) {
        pg_query_forget(f->waiting->query);
        answer(f->waiting, false);
    }
    free(f);
}
