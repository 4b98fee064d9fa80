/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancel requests. PQcancel() blocks and is safe on any thread; a PGcancel never changes, so several requests
 * may use one at the same time. The count is touched on the loop's thread alone.
 */
#include "pg/cancel.h"

#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "pg/login.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

struct pg_cancel {
    PGcancel *handle;
    unsigned refs;
};

struct request {
    struct pg_cancel *cancel;
    cancel_fn fn;
    void *ctx;
    bool delivered;
    char text[256]; /* the size libpq recommends */
};

struct pg_cancel *cancel_new(PGconn *conn)
{
    PGcancel *handle = PQgetCancel(conn);
    if (!handle) {
        return NULL; /* the server has sent no key */
    }
    struct pg_cancel *cancel = mem_zalloc(sizeof *cancel);
    cancel->handle = handle;
    cancel->refs = 1;
    return cancel;
}

struct pg_cancel *cancel_ref(struct pg_cancel *cancel)
{
    if (cancel) {
        cancel->refs++;
    }
    return cancel;
}

void cancel_unref(struct pg_cancel *cancel)
{
    if (cancel) {
        assert(cancel->refs > 0);
        if (--cancel->refs == 0) {
            PQfreeCancel(cancel->handle);
            free(cancel);
        }
    }
}

static void request_work(void *ctx)
{
    struct request *r = ctx;
    r->delivered = r->cancel && PQcancel(r->cancel->handle, r->text, sizeof r->text) == 1;
}

static void on_request_done(void *ctx)
{
    struct request *r = ctx;
    struct err err = ERR_INIT;
    if (!r->delivered) {
        struct str text = str_trim(str_c(r->text));
        err_set_sqlstate(&err, ERR_UPSTREAM, "08006", "cancel request not delivered: %.*s", STR_ARG(text));
    }
    if (r->fn) {
        r->fn(r->ctx, r->delivered ? NULL : &err);
    }
    cancel_unref(r->cancel);
    free(r);
}

void cancel_send(struct loop *loop, struct pg_cancel *cancel, cancel_fn fn, void *ctx)
{
    struct request *r = mem_zalloc(sizeof *r);
    r->cancel = cancel_ref(cancel);
    r->fn = fn;
    r->ctx = ctx;
    loop_work(loop, request_work, on_request_done, r);
}
