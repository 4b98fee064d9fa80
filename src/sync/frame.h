/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the sync protocol (proto/satellite.proto): one byte that says which, and protobuf. Pure.
 *
 * Reading takes what clients send; what is read lives in the arena and borrows nothing. Writing appends to a
 * buffer what the service sends, all but operations (sync/oplog.h).
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "dialect/render.h"
#include "repl/lsn.h"
#include "schema/schema.h"

enum sat_type {
    SAT_ERROR_RESP = 0,
    SAT_OP_LOG = 9,
    SAT_RELATION = 10,
    SAT_SUBS_DATA_ERROR = 14,
    SAT_SUBS_DATA_BEGIN,
    SAT_SUBS_DATA_END,
    SAT_SHAPE_DATA_BEGIN,
    SAT_SHAPE_DATA_END,
    SAT_RPC_REQUEST = 21,
    SAT_RPC_RESPONSE,
    SAT_OP_LOG_ACK,
    SAT_UNSUBS_DATA_BEGIN,
    SAT_UNSUBS_DATA_END,
};

/* SatErrorResp.ErrorCode. Published clients stop for good at INTERNAL, AUTH_REQUIRED and INVALID_REQUEST. */
enum sat_error {
    SAT_INTERNAL = 0,
    SAT_AUTH_REQUIRED = 1,
    SAT_REPLICATION_FAILED = 3,
    SAT_INVALID_REQUEST = 4,
};

/* SatInStartReplicationResp.ReplicationError.Code */
enum sat_start_error {
    SAT_BEHIND_WINDOW = 1,
    SAT_INVALID_POSITION,
    SAT_SUBSCRIPTION_NOT_FOUND,
    SAT_MALFORMED_LSN,
    SAT_UNKNOWN_SCHEMA_VERSION,
};

/* SatSubsResp.SatSubsError.Code */
enum sat_subscribe_error { SAT_SUBSCRIBE_UNSPECIFIED, SAT_SUBSCRIPTION_EXISTS, SAT_SHAPE_ERROR };

/* --- reading --- */

struct sat_call { /* SatRpcRequest */
    struct str method;
    uint32_t id;
    struct str body;
};

struct sat_answer { /* SatRpcResponse, as far as the service wants to know */
    struct str method;
    uint32_t id;
};

struct sat_ack { /* SatOpLogAck */
    struct str lsn;
    uint64_t txid; /* 0: none */
    struct names subscriptions, gone;
};

struct sat_message {
    enum sat_type type;
    union { /* types that are not here are checked, and no more */
        struct sat_call call;
        struct sat_answer answer;
        struct sat_ack ack;
        struct str error; /* SatErrorResp's message */
    };
};

/* False: not a message of this protocol, or longer than LIMIT_SYNC_CALL without being a SatOpLog, or more
 * than LIMIT_SYNC_DECODED. */
MUST_USE bool sat_read(struct arena *a, struct str bytes, struct sat_message *out);

struct sat_auth {
    struct str client, token;
};

struct sat_start {
    struct str lsn; /* as sent */
    struct names subscriptions;
    struct names gone; /* observed_gone_batch */
    bool has_version;
    struct str version; /* newest migration of the client */
    enum dialect dialect;
};

struct sat_select {
    struct str table;
    struct str where; /* empty: none */
    struct sat_include *includes;
    size_t n_includes;
};

struct sat_include {
    struct names foreign_key;
    const struct sat_select *select; /* NULL: it was left out */
};

struct sat_shape {
    struct str request_id;
    const struct sat_select *selects; /* at top level */
    size_t n_selects;
};

struct sat_subscribe {
    struct str id;
    struct sat_shape *shapes;
    size_t n_shapes;
};

/* The bodies of calls. False: malformed; of a subscription also: tables inside each other more than
 * LIMIT_SHAPE_DEPTH deep. */
MUST_USE bool sat_read_auth(struct arena *a, struct str body, struct sat_auth *out);
MUST_USE bool sat_read_start(struct arena *a, struct str body, struct sat_start *out);
MUST_USE bool sat_read_stop(struct arena *a, struct str body);
MUST_USE bool sat_read_subscribe(struct arena *a, struct str body, struct sat_subscribe *out);
MUST_USE bool sat_read_unsubscribe(struct arena *a, struct str body, struct names *out_ids);

/* --- writing; positions as the protocol wants them --- */

void sat_put_error(struct buf *b, enum sat_error code, struct str message); /* an empty message is left out */
void sat_put_call(struct buf *b, struct str method, uint32_t id, struct str body);

void sat_put_refusal(struct buf *b, const struct sat_call *call, enum sat_error code, struct str message);
void sat_put_answer(struct buf *b, const struct sat_call *call, struct str body);
void sat_put_auth_answer(struct buf *b, const struct sat_call *call, struct str instance);
void sat_put_start_answer(struct buf *b, const struct sat_call *call, uint32_t window);
void sat_put_start_refusal(struct buf *b, const struct sat_call *call, enum sat_start_error code,
                           struct str message);

struct sat_shape_fault {
    struct str request_id;
    int code; /* ShapeReqError.Code, which is enum shape_fault_code of shapes/shape.h */
    struct str message;
};

struct sat_subscribe_refusal {
    enum sat_subscribe_error code;
    struct str message;
    const struct sat_shape_fault *faults;
    size_t n_faults;
};

/* refusal NULL: the subscription is on its way. */
void sat_put_subscribe_answer(struct buf *b, const struct sat_call *call, struct str subscription,
                              const struct sat_subscribe_refusal *refusal);

void sat_put_relation(struct buf *b, uint32_t id, const struct table *table);

void sat_put_subs_data_begin(struct buf *b, struct str subscription, lsn_t position);
void sat_put_subs_data_end(struct buf *b);
void sat_put_subs_data_error(struct buf *b, struct str subscription, struct str message);
void sat_put_shape_data_begin(struct buf *b, struct str request_id);
void sat_put_shape_data_end(struct buf *b);
void sat_put_unsubs_data_begin(struct buf *b, const struct str *subscriptions, size_t n, lsn_t position);
void sat_put_unsubs_data_end(struct buf *b);
