/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grammar ("Logical Replication Message Formats" in the PostgreSQL documentation; what the server does is in
 * src/backend/replication/logical/proto.c). Integers are big endian, cstr ends with a NUL, time is in
 * microseconds since 2000-01-01. [xid u32] is there in streamed blocks only.
 *
 *   Begin          'B'  commit lsn u64, commit time i64, xid u32
 *   Message        'M'  [xid u32], flags u8 (1: transactional), lsn u64, prefix cstr, n u32, n bytes
 *   Commit         'C'  flags u8 (unused), commit lsn u64, end lsn u64, commit time i64
 *   Origin         'O'  lsn at the origin u64, name cstr
 *   Relation       'R'  [xid u32], oid u32, schema cstr (empty: pg_catalog), name cstr, replica identity u8,
 *                       n u16, n × (flags u8 (1: of the identity), name cstr, type oid u32, typmod i32)
 *   Type           'Y'  [xid u32], oid u32, schema cstr, name cstr
 *   Insert         'I'  [xid u32], oid u32, 'N' tuple
 *   Update         'U'  [xid u32], oid u32, [('K' | 'O') tuple], 'N' tuple
 *   Delete         'D'  [xid u32], oid u32, ('K' | 'O') tuple
 *   Truncate       'T'  [xid u32], n u32, options u8, n × oid u32
 *   Stream Start   'S'  xid u32, first u8
 *   Stream Stop    'E'
 *   Stream Commit  'c'  xid u32, flags u8 (unused), commit lsn u64, end lsn u64, commit time i64
 *   Stream Abort   'A'  xid u32, xid of the subtransaction u32 (more only with streaming = parallel)
 *
 *   tuple          n u16, n × ('n' NULL | 'u' unchanged TOAST | 't' n u32, n bytes | 'b' binary: not asked
 * for)
 *
 * An old row has no 'u': what TOAST holds of the identity is written out in the WAL
 * (ExtractReplicaIdentity()).
 */
#include "repl/pgoutput.h"

#include "base/rd.h"

/* From 1970-01-01 to 2000-01-01. */
static const int64_t epoch_us = 946684800ll * 1000000;

static uint64_t get_u64(struct rd *r)
{
    uint64_t high = rd_u32be(r);
    return high << 32 | rd_u32be(r);
}

static int64_t get_time(struct rd *r)
{
    return (int64_t)(get_u64(r) + (uint64_t)epoch_us); /* a time out of range wraps; it is only shown */
}

static void get_begin(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->commit = (struct pgoutput_commit){0};
    m->commit.commit_lsn = get_u64(r);
    m->commit.commit_us = get_time(r);
    m->xid = rd_u32be(r);
}

static void get_commit(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    rd_u8(r);
    m->commit.commit_lsn = get_u64(r);
    m->commit.end_lsn = get_u64(r);
    m->commit.commit_us = get_time(r);
}

static void get_message(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->message.transactional = rd_u8(r) & 1;
    m->message.lsn = get_u64(r);
    m->message.prefix = rd_cstr(r);
    uint32_t n = rd_u32be(r);
    m->message.content = rd_bytes(r, n);
}

static void skip_origin(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    get_u64(r);
    rd_cstr(r);
}

static void skip_type(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    rd_u32be(r);
    rd_cstr(r);
    rd_cstr(r);
}

static uint32_t get_count(struct rd *r)
{
    uint32_t n = rd_u16be(r);
    if (n > RELATION_MAX_COLUMNS) {
        r->failed = true;
    }
    return r->failed ? 0 : n;
}

static void get_relation(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->relation = (struct relation){.oid = rd_u32be(r), .columns = room->columns};
    m->relation.schema = rd_cstr(r);
    m->relation.name = rd_cstr(r);
    m->relation.replica_identity = (char)rd_u8(r);
    m->relation.n = get_count(r);
    for (uint32_t i = 0; i < m->relation.n; i++) {
        struct relation_column *c = &room->columns[i];
        c->key = rd_u8(r) & 1;
        c->name = rd_cstr(r);
        c->type_oid = rd_u32be(r);
        c->typmod = (int32_t)rd_u32be(r);
    }
    if (m->relation.schema.n == 0) {
        m->relation.schema = STR("pg_catalog");
    }
}

static struct value get_value(struct rd *r)
{
    uint32_t n;
    switch (rd_u8(r)) {
    case 'n':
        return (struct value){NULL, 0};
    case 'u':
        return (struct value){NULL, PGOUTPUT_UNCHANGED};
    case 't':
        n = rd_u32be(r);
        return (struct value){rd_bytes(r, n).p, n};
    default:
        r->failed = true;
        return (struct value){NULL, 0};
    }
}

static uint32_t get_tuple(struct rd *r, struct value *out)
{
    uint32_t n = get_count(r);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = get_value(r);
    }
    return n;
}

static void get_old(struct rd *r, char kind, struct pgoutput_room *room, struct pgoutput_row *row)
{
    row->old_kind = kind;
    row->old = room->old;
    row->old_n = get_tuple(r, room->old);
    for (uint32_t i = 0; i < row->old_n; i++) {
        r->failed = r->failed || (!row->old[i].p && row->old[i].n == PGOUTPUT_UNCHANGED);
    }
    r->failed = r->failed || (kind != 'K' && kind != 'O');
}

static void get_new(struct rd *r, char kind, struct pgoutput_room *room, struct pgoutput_row *row)
{
    row->new = room->new;
    row->new_n = get_tuple(r, room->new);
    r->failed = r->failed || kind != 'N';
}

static void get_insert(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->row = (struct pgoutput_row){.oid = rd_u32be(r)};
    get_new(r, (char)rd_u8(r), room, &m->row);
}

static void get_update(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->row = (struct pgoutput_row){.oid = rd_u32be(r)};
    char kind = (char)rd_u8(r);
    if (kind != 'N') {
        get_old(r, kind, room, &m->row);
        kind = (char)rd_u8(r);
    }
    get_new(r, kind, room, &m->row);
}

static void get_delete(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->row = (struct pgoutput_row){.oid = rd_u32be(r)};
    get_old(r, (char)rd_u8(r), room, &m->row);
}

static void get_truncate(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    size_t n = rd_u32be(r);
    rd_u8(r);
    m->truncated = rd_bytes(r, n * 4);
}

static void get_stream_start(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->xid = rd_u32be(r);
    m->first = rd_u8(r) == 1;
}

static void get_nothing(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
}

static void get_stream_commit(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->xid = rd_u32be(r);
    get_commit(r, room, m);
}

static void get_stream_abort(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m)
{
    m->xid = rd_u32be(r);
    m->aborted = rd_u32be(r);
}

struct layout {
    void (*get)(struct rd *r, struct pgoutput_room *room, struct pgoutput_message *m);
    bool has_xid; /* in streamed blocks */
};

static const struct layout layouts[256] = {
    [PGOUTPUT_BEGIN] = {get_begin, false},
    [PGOUTPUT_MESSAGE] = {get_message, true},
    [PGOUTPUT_COMMIT] = {get_commit, false},
    [PGOUTPUT_ORIGIN] = {skip_origin, false},
    [PGOUTPUT_RELATION] = {get_relation, true},
    [PGOUTPUT_TYPE] = {skip_type, true},
    [PGOUTPUT_INSERT] = {get_insert, true},
    [PGOUTPUT_UPDATE] = {get_update, true},
    [PGOUTPUT_DELETE] = {get_delete, true},
    [PGOUTPUT_TRUNCATE] = {get_truncate, true},
    [PGOUTPUT_STREAM_START] = {get_stream_start, false},
    [PGOUTPUT_STREAM_STOP] = {get_nothing, false},
    [PGOUTPUT_STREAM_COMMIT] = {get_stream_commit, false},
    [PGOUTPUT_STREAM_ABORT] = {get_stream_abort, false},
};

int pgoutput_decode(struct str bytes, bool in_block, struct pgoutput_room *room,
                    struct pgoutput_message *out_message, struct err *err)
{
    struct rd r = rd_init(bytes.p, bytes.n);
    uint8_t kind = rd_u8(&r);
    const struct layout *layout = &layouts[kind];
    if (r.failed || !layout->get) {
        return err_set(err, ERR_PEER, "replication message of unknown type 0x%02x", kind);
    }
    if (kind == PGOUTPUT_RELATION && bytes.n > RELATION_MAX_BYTES) {
        return err_set(err, ERR_LIMIT, "the description of a relation is longer than %d bytes",
                       RELATION_MAX_BYTES);
    }
    out_message->kind = (enum pgoutput_kind)kind;
    out_message->xid = in_block && layout->has_xid ? rd_u32be(&r) : 0;
    layout->get(&r, room, out_message);
    if (!rd_done(&r)) {
        return err_set(err, ERR_PEER, "malformed replication message '%c' of %zu bytes", kind, bytes.n);
    }
    return 0;
}

size_t pgoutput_truncated_n(const struct pgoutput_message *m)
{
    return m->truncated.n / 4;
}

uint32_t pgoutput_truncated(const struct pgoutput_message *m, size_t i)
{
    struct rd r = rd_init(m->truncated.p + i * 4, 4);
    return rd_u32be(&r);
}
