/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf-c decodes into the arena. It trusts its input in two ways, which is why its memory is limited
 * here, and the depth of a request is looked at before: it turns two bytes into some forty, and it recurses
 * as deep as messages nest. Only SatSubsReq does.
 */
#include "sync/frame.h"

#include "base/limits.h"
#include "sync/satellite.pb-c.h"

#define SAT(name) electric__satellite__##name##__descriptor

/* --- protobuf-c in an arena --- */

struct room {
    struct arena *arena;
    size_t end; /* arena->used may not pass this */
};

static void *room_alloc(void *ctx, size_t n)
{
    struct room *r = ctx;
    size_t used = r->arena->used;
    return used >= r->end || n > r->end - used ? NULL : arena_alloc(r->arena, n);
}

static void room_free(void *ctx, void *p)
{
}

static const void *unpack(struct arena *a, const ProtobufCMessageDescriptor *type, struct str body)
{
    struct room room = {.arena = a, .end = a->used + LIMIT_SYNC_DECODED};
    ProtobufCAllocator allocator = {.alloc = room_alloc, .free = room_free, .allocator_data = &room};
    return protobuf_c_message_unpack(type, &allocator, body.n, (const uint8_t *)body.p);
}

static struct str bytes_of(ProtobufCBinaryData data)
{
    return (struct str){(const char *)data.data, data.len};
}

static struct names names_of(struct arena *a, char **texts, size_t n)
{
    struct names names = {.items = arena_alloc_array(a, n, sizeof *names.items), .n = n};
    for (size_t i = 0; i < n; i++) {
        names.items[i] = str_c(texts[i]);
    }
    return names;
}

/* --- fields, for what must be seen before protobuf-c does --- */

struct field {
    unsigned number, wire;
    struct str bytes; /* PB_BYTES */
};

static bool take_varint(struct str *s, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && s->n > 0; shift += 7) {
        unsigned char c = (unsigned char)*s->p;
        s->p++;
        s->n--;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool skip(struct str *s, size_t n)
{
    if (n > s->n) {
        return false;
    }
    s->p += n;
    s->n -= n;
    return true;
}

/* The first field of *s, which is moved behind it. False: there is no whole one. */
static bool take_field(struct str *s, struct field *out)
{
    uint64_t key, v;
    if (!take_varint(s, &key) || key > UINT32_MAX) {
        return false;
    }
    *out = (struct field){.number = (unsigned)(key >> 3), .wire = (unsigned)(key & 7)};
    switch (out->wire) {
    case 0:
        return take_varint(s, &v);
    case 1:
        return skip(s, 8);
    case 2:
        if (!take_varint(s, &v)) {
            return false;
        }
        out->bytes = (struct str){s->p, v <= s->n ? (size_t)v : 0};
        return v <= s->n && skip(s, (size_t)v);
    case 5:
        return skip(s, 4);
    }
    return false;
}

/* SatSubsReq.shape_requests 2 → shape_definition 2 → selects 1 → (include 3 → select 2)* */
static bool shallow(struct str message, unsigned depth)
{
    static const unsigned way[] = {2, 2, 1};
    unsigned wanted = depth < ARRAY_LEN(way) ? way[depth] : (depth - ARRAY_LEN(way)) % 2 ? 2 : 3;
    struct field f;
    if (depth > ARRAY_LEN(way) + 2 * LIMIT_SHAPE_DEPTH) {
        return false;
    }
    while (message.n > 0) {
        if (!take_field(&message, &f) ||
            (f.number == wanted && f.wire == 2 && !shallow(f.bytes, depth + 1))) {
            return false;
        }
    }
    return true;
}

/* --- messages --- */

/* Each operation by itself, so that a long transaction needs no more memory than its longest row. */
static bool op_log_is_whole(struct str body)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct field f;
    while (body.n > 0) {
        if (!take_field(&body, &f)) {
            return false;
        }
        if (f.number == 1 && (f.wire != 2 || !unpack(&a, &SAT(sat_trans_op), f.bytes))) {
            return false;
        }
        arena_reset(&a);
    }
    return true;
}

static void read_call(const Electric__Satellite__SatRpcRequest *m, struct sat_message *out)
{
    out->call = (struct sat_call){str_c(m->method), m->request_id, bytes_of(m->message)};
}

static void read_answer(const Electric__Satellite__SatRpcResponse *m, struct sat_message *out)
{
    out->answer = (struct sat_answer){str_c(m->method), m->request_id};
}

static void read_ack(struct arena *a, const Electric__Satellite__SatOpLogAck *m, struct sat_message *out)
{
    out->ack = (struct sat_ack){
        .lsn = bytes_of(m->lsn),
        .txid = m->transaction_id,
        .subscriptions = names_of(a, m->subscription_ids, m->n_subscription_ids),
        .gone = names_of(a, m->gone_subscription_ids, m->n_gone_subscription_ids),
    };
}

static void read_error(const Electric__Satellite__SatErrorResp *m, struct sat_message *out)
{
    bool said = m->has_message_case == ELECTRIC__SATELLITE__SAT_ERROR_RESP__HAS_MESSAGE_MESSAGE;
    out->error = said ? str_c(m->message) : (struct str){"", 0};
}

static const ProtobufCMessageDescriptor *const types[256] = {
    [SAT_ERROR_RESP] = &SAT(sat_error_resp),
    [SAT_OP_LOG] = &SAT(sat_op_log),
    [SAT_RELATION] = &SAT(sat_relation),
    [SAT_SUBS_DATA_ERROR] = &SAT(sat_subs_data_error),
    [SAT_SUBS_DATA_BEGIN] = &SAT(sat_subs_data_begin),
    [SAT_SUBS_DATA_END] = &SAT(sat_subs_data_end),
    [SAT_SHAPE_DATA_BEGIN] = &SAT(sat_shape_data_begin),
    [SAT_SHAPE_DATA_END] = &SAT(sat_shape_data_end),
    [SAT_RPC_REQUEST] = &SAT(sat_rpc_request),
    [SAT_RPC_RESPONSE] = &SAT(sat_rpc_response),
    [SAT_OP_LOG_ACK] = &SAT(sat_op_log_ack),
    [SAT_UNSUBS_DATA_BEGIN] = &SAT(sat_unsubs_data_begin),
    [SAT_UNSUBS_DATA_END] = &SAT(sat_unsubs_data_end),
};

static bool read_body(struct arena *a, struct str body, struct sat_message *out)
{
    const void *m = body.n <= LIMIT_SYNC_CALL ? unpack(a, types[out->type], body) : NULL;
    if (!m) {
        return false;
    }
    if (out->type == SAT_RPC_REQUEST) {
        read_call(m, out);
    } else if (out->type == SAT_RPC_RESPONSE) {
        read_answer(m, out);
    } else if (out->type == SAT_OP_LOG_ACK) {
        read_ack(a, m, out);
    } else if (out->type == SAT_ERROR_RESP) {
        read_error(m, out);
    }
    return true;
}

bool sat_read(struct arena *a, struct str bytes, struct sat_message *out)
{
    unsigned char type = bytes.n > 0 ? (unsigned char)bytes.p[0] : 0;
    if (bytes.n == 0 || !types[type]) {
        return false;
    }
    struct str body = {bytes.p + 1, bytes.n - 1};
    *out = (struct sat_message){.type = (enum sat_type)type};
    return type == SAT_OP_LOG ? op_log_is_whole(body) : read_body(a, body, out);
}

/* --- bodies of calls --- */

bool sat_read_auth(struct arena *a, struct str body, struct sat_auth *out)
{
    const Electric__Satellite__SatAuthReq *m = unpack(a, &SAT(sat_auth_req), body);
    if (m) {
        *out = (struct sat_auth){str_c(m->id), str_c(m->token)};
    }
    return m;
}

bool sat_read_start(struct arena *a, struct str body, struct sat_start *out)
{
    const Electric__Satellite__SatInStartReplicationReq *m =
        unpack(a, &SAT(sat_in_start_replication_req), body);
    if (!m) {
        return false;
    }
    *out = (struct sat_start){
        .lsn = bytes_of(m->lsn),
        .subscriptions = names_of(a, m->subscription_ids, m->n_subscription_ids),
        .gone = names_of(a, m->observed_gone_batch, m->n_observed_gone_batch),
        .dialect = m->sql_dialect == ELECTRIC__SATELLITE__SAT_IN_START_REPLICATION_REQ__DIALECT__POSTGRES
                       ? DIALECT_POSTGRES
                       : DIALECT_SQLITE,
    };
    out->has_version = m->has_schema_version_case ==
                       ELECTRIC__SATELLITE__SAT_IN_START_REPLICATION_REQ__HAS_SCHEMA_VERSION_SCHEMA_VERSION;
    out->version = out->has_version ? str_c(m->schema_version) : (struct str){"", 0};
    return true;
}

bool sat_read_stop(struct arena *a, struct str body)
{
    return unpack(a, &SAT(sat_in_stop_replication_req), body);
}

static void read_select(struct arena *a, const Electric__Satellite__SatShapeDef__Select *m,
                        struct sat_select *out);

static void read_include(struct arena *a, const Electric__Satellite__SatShapeDef__Relation *m,
                         struct sat_include *out)
{
    out->foreign_key = names_of(a, m->foreign_key, m->n_foreign_key);
    if (m->select) {
        struct sat_select *select = arena_zalloc(a, sizeof *select);
        read_select(a, m->select, select);
        out->select = select;
    }
}

static void read_select(struct arena *a, const Electric__Satellite__SatShapeDef__Select *m,
                        struct sat_select *out)
{
    *out = (struct sat_select){.table = str_c(m->tablename), .where = str_c(m->where)};
    out->includes = arena_alloc_array(a, m->n_include, sizeof *out->includes);
    out->n_includes = m->n_include;
    for (size_t i = 0; i < m->n_include; i++) {
        read_include(a, m->include[i], &out->includes[i]);
    }
}

static void read_shape(struct arena *a, const Electric__Satellite__SatShapeReq *m, struct sat_shape *out)
{
    size_t n = m->shape_definition ? m->shape_definition->n_selects : 0;
    struct sat_select *selects = arena_alloc_array(a, n, sizeof *selects);
    for (size_t i = 0; i < n; i++) {
        read_select(a, m->shape_definition->selects[i], &selects[i]);
    }
    *out = (struct sat_shape){.request_id = str_c(m->request_id), .selects = selects, .n_selects = n};
}

bool sat_read_subscribe(struct arena *a, struct str body, struct sat_subscribe *out)
{
    const Electric__Satellite__SatSubsReq *m = shallow(body, 0) ? unpack(a, &SAT(sat_subs_req), body) : NULL;
    if (!m) {
        return false;
    }
    *out = (struct sat_subscribe){.id = str_c(m->subscription_id), .n_shapes = m->n_shape_requests};
    out->shapes = arena_alloc_array(a, out->n_shapes, sizeof *out->shapes);
    for (size_t i = 0; i < out->n_shapes; i++) {
        read_shape(a, m->shape_requests[i], &out->shapes[i]);
    }
    return true;
}

bool sat_read_unsubscribe(struct arena *a, struct str body, struct names *out_ids)
{
    const Electric__Satellite__SatUnsubsReq *m = unpack(a, &SAT(sat_unsubs_req), body);
    if (m) {
        *out_ids = names_of(a, m->subscription_ids, m->n_subscription_ids);
    }
    return m;
}
