/* SPDX-License-Identifier: Apache-2.0 */
/* Field numbers are those of proto/satellite.proto. */
#include "sync/frame.h"

#include "sync/pb.h"

#include <inttypes.h>
#include <stdio.h>

static void put_type(struct buf *b, enum sat_type type)
{
    buf_put_byte(b, (char)type);
}

static void put_position(struct buf *b, unsigned field, lsn_t position)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, position);
    pb_str(b, field, (struct str){text, (size_t)n});
}

static void put_error_fields(struct buf *b, enum sat_error code, struct str message)
{
    pb_uint(b, 1, code);
    pb_str(b, 3, message);
}

void sat_put_error(struct buf *b, enum sat_error code, struct str message)
{
    put_type(b, SAT_ERROR_RESP);
    put_error_fields(b, code, message);
}

/* --- calls and answers --- */

void sat_put_call(struct buf *b, struct str method, uint32_t id, struct str body)
{
    put_type(b, SAT_RPC_REQUEST);
    pb_str(b, 1, method);
    pb_uint(b, 2, id);
    pb_str(b, 3, body);
}

static void put_answer_head(struct buf *b, const struct sat_call *call)
{
    put_type(b, SAT_RPC_RESPONSE);
    pb_str(b, 1, call->method);
    pb_uint(b, 2, call->id);
}

/* What follows until pb_close() is the answer's body. */
static size_t open_answer(struct buf *b, const struct sat_call *call)
{
    put_answer_head(b, call);
    return pb_open(b, 3);
}

void sat_put_refusal(struct buf *b, const struct sat_call *call, enum sat_error code, struct str message)
{
    put_answer_head(b, call);
    size_t error = pb_open(b, 4);
    put_error_fields(b, code, message);
    pb_close(b, error);
}

void sat_put_answer(struct buf *b, const struct sat_call *call, struct str body)
{
    put_answer_head(b, call);
    pb_str_always(b, 3, body);
}

void sat_put_auth_answer(struct buf *b, const struct sat_call *call, struct str instance)
{
    size_t body = open_answer(b, call);
    pb_str(b, 1, instance);
    pb_close(b, body);
}

void sat_put_start_answer(struct buf *b, const struct sat_call *call, uint32_t window)
{
    size_t body = open_answer(b, call);
    pb_uint_always(b, 2, window);
    pb_close(b, body);
}

void sat_put_start_refusal(struct buf *b, const struct sat_call *call, enum sat_start_error code,
                           struct str message)
{
    size_t body = open_answer(b, call);
    size_t error = pb_open(b, 1);
    pb_uint(b, 1, code);
    pb_str(b, 2, message);
    pb_close(b, error);
    pb_close(b, body);
}

static void put_fault(struct buf *b, unsigned field, const struct sat_shape_fault *f)
{
    size_t fault = pb_open(b, field);
    pb_uint(b, 1, (uint64_t)f->code);
    pb_str(b, 2, f->message);
    pb_str(b, 3, f->request_id);
    pb_close(b, fault);
}

static void put_subscribe_refusal(struct buf *b, const struct sat_subscribe_refusal *r)
{
    size_t error = pb_open(b, 2);
    pb_uint(b, 2, r->code);
    pb_str(b, 3, r->message);
    for (size_t i = 0; i < r->n_faults; i++) {
        put_fault(b, 4, &r->faults[i]);
    }
    pb_close(b, error);
}

void sat_put_subscribe_answer(struct buf *b, const struct sat_call *call, struct str subscription,
                              const struct sat_subscribe_refusal *refusal)
{
    size_t body = open_answer(b, call);
    pb_str(b, 1, subscription);
    if (refusal) {
        put_subscribe_refusal(b, refusal);
    }
    pb_close(b, body);
}

/* --- relations and data --- */

static void put_column(struct buf *b, const struct table *table, const struct column *c)
{
    size_t column = pb_open(b, 5);
    pb_str(b, 1, c->name);
    pb_str(b, 2, c->type_name);
    pb_uint(b, 3, table_in_primary_key(table, c->name));
    pb_uint(b, 4, !c->not_null);
    pb_close(b, column);
}

void sat_put_relation(struct buf *b, uint32_t id, const struct table *table)
{
    put_type(b, SAT_RELATION);
    pb_str(b, 1, table->schema);
    pb_str(b, 3, table->name);
    pb_uint(b, 4, id);
    for (size_t i = 0; i < table->n_columns; i++) {
        put_column(b, table, &table->columns[i]);
    }
}

void sat_put_subs_data_begin(struct buf *b, struct str subscription, lsn_t position)
{
    put_type(b, SAT_SUBS_DATA_BEGIN);
    pb_str(b, 1, subscription);
    put_position(b, 2, position);
}

void sat_put_subs_data_end(struct buf *b)
{
    put_type(b, SAT_SUBS_DATA_END);
}

void sat_put_subs_data_error(struct buf *b, struct str subscription, struct str message)
{
    enum { SHAPE_DELIVERY_ERROR = 1 };
    put_type(b, SAT_SUBS_DATA_ERROR);
    pb_uint(b, 1, SHAPE_DELIVERY_ERROR);
    pb_str(b, 2, message);
    pb_str(b, 3, subscription);
}

void sat_put_shape_data_begin(struct buf *b, struct str request_id)
{
    put_type(b, SAT_SHAPE_DATA_BEGIN);
    pb_str(b, 1, request_id);
}

void sat_put_shape_data_end(struct buf *b)
{
    put_type(b, SAT_SHAPE_DATA_END);
}

void sat_put_unsubs_data_begin(struct buf *b, const struct str *subscriptions, size_t n, lsn_t position)
{
    put_type(b, SAT_UNSUBS_DATA_BEGIN);
    for (size_t i = 0; i < n; i++) {
        pb_str_always(b, 1, subscriptions[i]);
    }
    put_position(b, 2, position);
}

void sat_put_unsubs_data_end(struct buf *b)
{
    put_type(b, SAT_UNSUBS_DATA_END);
}
