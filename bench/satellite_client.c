/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: RFC 6455, masked with a key of zeros, which leaves the content as it is. Messages:
 * proto/satellite.proto. A frame is read in place in the buffer that all share; only the beginning of one
 * whose end has not come is kept.
 */
#include "satellite_client.h"

#include "base/mem.h"
#include "satellite.pb-c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, EVENTS = 512, MAX_FRAME = 256 * 1024 * 1024, LOGIN_TIMEOUT_MS = 60000 };
enum { WINDOW_PART = 20, TOGETHER = 64 };
enum { FRAME_BINARY = 0x82, FRAME_PING = 0x89, FRAME_PONG = 0x8a, MASKED = 0x80 };
enum {
    SAT_ERROR = 0,
    SAT_OP_LOG = 9,
    SAT_SUBS_DATA_ERROR = 14,
    SAT_SUBS_DATA_END = 16,
    SAT_RPC_REQUEST = 21,
    SAT_RPC_RESPONSE = 22,
    SAT_OP_LOG_ACK = 23,
};
enum { OP_BEGIN = 1, OP_COMMIT = 2, OP_UPDATE = 3, OP_INSERT = 4, OP_DELETE = 5, OP_GONE = 8 };
enum { BEGIN_LSN = 3, BEGIN_TRANSACTION_ID = 7 };

/* {"alg":"none"} {"sub":"bench"} */
static const char token[] = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJiZW5jaCJ9.";
static const char upgrade[] =
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: electric.0.12\r\n\r\n";

/* ---- writing ---- */

static void send_all(struct satellite *c, const void *p, size_t n)
{
    if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n) {
        give_up("client %u cannot send: %s", c->number, strerror(errno));
    }
}

static void send_frame(struct satellite *c, unsigned char first, struct str content)
{
    struct buf *out = &c->crowd->out;
    static const char no_mask[4];
    buf_reset(out);
    buf_put_byte(out, (char)first);
    if (content.n < 126) {
        buf_put_byte(out, (char)(MASKED | content.n));
    } else {
        buf_put_byte(out, (char)(MASKED | 126));
        buf_put_u16be(out, (uint16_t)content.n);
    }
    buf_put(out, no_mask, sizeof no_mask);
    buf_put_str(out, content);
    send_all(c, out->p, out->n);
}

static void send_message(struct satellite *c, unsigned char type, const ProtobufCMessage *m)
{
    uint8_t bytes[4096];
    if (protobuf_c_message_get_packed_size(m) >= sizeof bytes) {
        give_up("a message is too long");
    }
    bytes[0] = type;
    size_t n = protobuf_c_message_pack(m, bytes + 1);
    send_frame(c, FRAME_BINARY, (struct str){(const char *)bytes, 1 + n});
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c has no const; nothing is written to it */
}

static void call(struct satellite *c, const char *method, const ProtobufCMessage *body)
{
    uint8_t bytes[2048];
    if (protobuf_c_message_get_packed_size(body) > sizeof bytes) {
        give_up("a request is too long");
    }
    Electric__Satellite__SatRpcRequest request = ELECTRIC__SATELLITE__SAT_RPC_REQUEST__INIT;
    request.method = text(method);
    request.request_id = (uint32_t)c->stage;
    request.message = (ProtobufCBinaryData){protobuf_c_message_pack(body, bytes), bytes};
    send_message(c, SAT_RPC_REQUEST, &request.base);
}

static void authenticate(struct satellite *c)
{
    char id[64];
    snprintf(id, sizeof id, "bench-%d-%.0f-%u", (int)getpid(), now_us(), c->number);
    Electric__Satellite__SatAuthReq request = ELECTRIC__SATELLITE__SAT_AUTH_REQ__INIT;
    request.id = id;
    request.token = text(token);
    call(c, "authenticate", &request.base);
}

static void start_replication(struct satellite *c)
{
    Electric__Satellite__SatInStartReplicationReq request =
        ELECTRIC__SATELLITE__SAT_IN_START_REPLICATION_REQ__INIT;
    call(c, "startReplication", &request.base);
}

/* The client's own number where the text says {}. */
static char *where_of(const struct satellite *c, char *room, size_t cap)
{
    const char *where = c->crowd->options.where ? c->crowd->options.where : "";
    const char *gap = strstr(where, "{}");
    int n = gap ? snprintf(room, cap, "%.*s%u%s", (int)(gap - where), where, c->number, gap + 2)
                : snprintf(room, cap, "%s", where);
    if (n < 0 || (size_t)n >= cap) {
        give_up("the where is too long");
    }
    return room;
}

static void subscribe(struct satellite *c)
{
    char id[40], where[1024];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012u", c->number);
    Electric__Satellite__SatShapeDef__Select select = ELECTRIC__SATELLITE__SAT_SHAPE_DEF__SELECT__INIT;
    select.tablename = text(c->crowd->options.table);
    select.where = where_of(c, where, sizeof where);
    Electric__Satellite__SatShapeDef definition = ELECTRIC__SATELLITE__SAT_SHAPE_DEF__INIT;
    definition.n_selects = 1;
    definition.selects = (Electric__Satellite__SatShapeDef__Select *[]){&select};
    Electric__Satellite__SatShapeReq shape = ELECTRIC__SATELLITE__SAT_SHAPE_REQ__INIT;
    shape.request_id = text("1");
    shape.shape_definition = &definition;
    Electric__Satellite__SatSubsReq request = ELECTRIC__SATELLITE__SAT_SUBS_REQ__INIT;
    request.subscription_id = id;
    request.n_shape_requests = 1;
    request.shape_requests = (Electric__Satellite__SatShapeReq *[]){&shape};
    call(c, "subscribe", &request.base);
}

static void acknowledge(struct satellite *c)
{
    Electric__Satellite__SatOpLogAck ack = ELECTRIC__SATELLITE__SAT_OP_LOG_ACK__INIT;
    ack.lsn = (ProtobufCBinaryData){c->lsn_n, (uint8_t *)c->lsn};
    ack.transaction_id = c->txid;
    send_message(c, SAT_OP_LOG_ACK, &ack.base);
    c->acked = c->counts.transactions;
}

/* ---- steps ---- */

static enum satellite_stage last_stage(const struct satellite_options *o)
{
    return o->plain ? SATELLITE_UPGRADED : o->table ? SATELLITE_SYNCED : SATELLITE_STREAMING;
}

/* The step that follows is asked for. */
static void reach(struct satellite *c, enum satellite_stage stage)
{
    c->stage = stage;
    if (stage == last_stage(&c->crowd->options)) {
        c->crowd->ready++;
    } else if (stage == SATELLITE_UPGRADED) {
        authenticate(c);
    } else if (stage == SATELLITE_AUTHENTICATED) {
        start_replication(c);
    } else if (stage == SATELLITE_STREAMING) {
        subscribe(c);
    }
}

static void check_start(const ProtobufCBinaryData *body)
{
    Electric__Satellite__SatInStartReplicationResp *m =
        electric__satellite__sat_in_start_replication_resp__unpack(NULL, body->len, body->data);
    if (!m || m->err) {
        give_up("startReplication: %s", m ? m->err->message : "malformed");
    }
    electric__satellite__sat_in_start_replication_resp__free_unpacked(m, NULL);
}

static void check_subscription(const ProtobufCBinaryData *body)
{
    Electric__Satellite__SatSubsResp *m =
        electric__satellite__sat_subs_resp__unpack(NULL, body->len, body->data);
    if (!m || m->err) {
        give_up("subscribe: %s", !m                              ? "malformed"
                                 : m->err->n_shape_request_error ? m->err->shape_request_error[0]->message
                                                                 : m->err->message);
    }
    electric__satellite__sat_subs_resp__free_unpacked(m, NULL);
}

static void on_response(struct satellite *c, struct str body)
{
    Electric__Satellite__SatRpcResponse *m =
        electric__satellite__sat_rpc_response__unpack(NULL, body.n, (const uint8_t *)body.p);
    if (!m || m->result_case != ELECTRIC__SATELLITE__SAT_RPC_RESPONSE__RESULT_MESSAGE) {
        give_up("%s: %s", m ? m->method : "?", m && m->error ? m->error->message : "malformed");
    }
    if (c->stage == SATELLITE_UPGRADED) {
        reach(c, SATELLITE_AUTHENTICATED);
    } else if (c->stage == SATELLITE_AUTHENTICATED) {
        check_start(&m->message);
        reach(c, SATELLITE_STREAMING);
    } else {
        check_subscription(&m->message);
    }
    electric__satellite__sat_rpc_response__free_unpacked(m, NULL);
}

/* The server asks for our own stream: it may have one, and nothing comes. */
static void on_request(struct satellite *c, struct str body)
{
    Electric__Satellite__SatRpcRequest *m =
        electric__satellite__sat_rpc_request__unpack(NULL, body.n, (const uint8_t *)body.p);
    if (!m) {
        give_up("a malformed request");
    }
    Electric__Satellite__SatRpcResponse response = ELECTRIC__SATELLITE__SAT_RPC_RESPONSE__INIT;
    response.method = m->method;
    response.request_id = m->request_id;
    response.result_case = ELECTRIC__SATELLITE__SAT_RPC_RESPONSE__RESULT_MESSAGE;
    send_message(c, SAT_RPC_RESPONSE, &response.base);
    electric__satellite__sat_rpc_request__free_unpacked(m, NULL);
}

static _Noreturn void on_error(struct satellite *c, struct str body)
{
    Electric__Satellite__SatErrorResp *m =
        electric__satellite__sat_error_resp__unpack(NULL, body.n, (const uint8_t *)body.p);
    give_up("client %u: error %d %s", c->number, m ? (int)m->error_type : -1,
            m && m->message ? m->message : "");
}

/* ---- the op log: looked through in place ---- */

struct cursor {
    const unsigned char *p, *end;
};

static uint64_t varint(struct cursor *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char byte = *r->p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    give_up("a malformed number");
}

static struct cursor bytes(struct cursor *r)
{
    uint64_t n = varint(r);
    if (n > (size_t)(r->end - r->p)) {
        give_up("a malformed message");
    }
    struct cursor inside = {r->p, r->p + n};
    r->p += n;
    return inside;
}

/* Numbers and runs of bytes are all there is. */
static void on_begin(struct satellite *c, struct cursor r)
{
    while (r.p < r.end) {
        uint64_t tag = varint(&r);
        if ((tag & 7) == 0) {
            uint64_t value = varint(&r);
            c->txid = tag >> 3 == BEGIN_TRANSACTION_ID ? value : c->txid;
            continue;
        }
        struct cursor content = bytes(&r);
        size_t n = (size_t)(content.end - content.p);
        if (tag >> 3 == BEGIN_LSN && n <= sizeof c->lsn) {
            memcpy(c->lsn, content.p, n);
            c->lsn_n = n;
        }
    }
}

static void on_op(struct satellite *c, struct cursor op)
{
    switch (varint(&op) >> 3) {
    case OP_BEGIN:
        on_begin(c, bytes(&op));
        break;
    case OP_COMMIT:
        c->counts.transactions++;
        c->crowd->all.transactions++;
        break;
    case OP_UPDATE:
    case OP_INSERT:
    case OP_DELETE:
    case OP_GONE:
        c->counts.rows++;
        c->crowd->all.rows++;
        break;
    }
}

static void count_frame(struct satellite *c)
{
    c->counts.frames++;
    c->crowd->all.frames++;
}

static void on_op_log(struct satellite *c, struct str body)
{
    struct cursor r = {(const unsigned char *)body.p, (const unsigned char *)body.p + body.n};
    count_frame(c);
    while (r.p < r.end) {
        r.p++; /* the tag: ops are all there is */
        on_op(c, bytes(&r));
    }
}

/* ---- reading ---- */

static void on_message(struct satellite *c, struct str m)
{
    struct str body = {m.p + 1, m.n - 1};
    switch (m.n > 0 ? (unsigned char)m.p[0] : SAT_ERROR) {
    case SAT_OP_LOG:
        on_op_log(c, body);
        break;
    case SAT_SUBS_DATA_END:
        reach(c, SATELLITE_SYNCED);
        break;
    case SAT_RPC_REQUEST:
        on_request(c, body);
        break;
    case SAT_RPC_RESPONSE:
        on_response(c, body);
        break;
    case SAT_SUBS_DATA_ERROR:
        give_up("client %u: no data for its subscription", c->number);
    case SAT_ERROR:
        on_error(c, body);
    }
}

static void on_frame(struct satellite *c, unsigned char first, struct str content)
{
    if (first == FRAME_PING) {
        send_frame(c, FRAME_PONG, content);
    } else if (first != FRAME_BINARY) {
        give_up("client %u: a frame of kind %02x", c->number, first);
    } else if (c->crowd->options.plain) {
        count_frame(c);
        c->counts.transactions++;
        c->crowd->all.transactions++;
    } else {
        on_message(c, content);
    }
}

/* Bytes of the frame at p, its content in *out; 0: its end has not come. */
static size_t cut_frame(const unsigned char *p, size_t n, struct str *out)
{
    size_t head = n < 2 || p[1] < 126 ? 2 : p[1] == 126 ? 4 : 10;
    if (n < head) {
        return 0;
    }
    uint64_t length = head == 2 ? p[1] : 0;
    for (size_t i = 2; i < head; i++) {
        length = length << 8 | p[i];
    }
    if (length > MAX_FRAME) {
        give_up("a frame of %llu bytes", (unsigned long long)length);
    }
    *out = (struct str){(const char *)p + head, length};
    return n - head < length ? 0 : head + length;
}

/* Returns how much was used of it. */
static size_t feed(struct satellite *c, const char *p, size_t n)
{
    size_t at = 0;
    if (c->stage == SATELLITE_CONNECTED) {
        const char *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end) {
            return 0;
        }
        if (strncmp(p, "HTTP/1.1 101", 12) != 0) {
            give_up("refused: %.*s", (int)n, p);
        }
        at = (size_t)(end - p) + 4;
        reach(c, SATELLITE_UPGRADED);
    }
    struct str content;
    for (size_t used; (used = cut_frame((const unsigned char *)p + at, n - at, &content)) > 0; at += used) {
        on_frame(c, (unsigned char)p[at], content);
    }
    return at;
}

/* What is held goes in front of what comes now. */
static char *make_room(struct crowd *crowd, const struct buf *held)
{
    if (crowd->read_cap < held->n + READ_SIZE) {
        crowd->read_cap = 2 * (held->n + READ_SIZE);
        crowd->read_buffer = mem_realloc(crowd->read_buffer, crowd->read_cap);
    }
    if (held->n > 0) {
        memcpy(crowd->read_buffer, held->p, held->n);
    }
    return crowd->read_buffer;
}

static void hold(struct satellite *c, const char *p, size_t n)
{
    buf_reset(&c->held);
    if (n > 0) {
        buf_put(&c->held, p, n);
    }
}

static void read_once(struct satellite *c)
{
    struct crowd *crowd = c->crowd;
    char *p = make_room(crowd, &c->held);
    ssize_t got = recv(c->fd, p + c->held.n, crowd->read_cap - c->held.n, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        give_up("client %u: the server closed (stage %d, %llu transactions)", c->number, (int)c->stage,
                (unsigned long long)c->counts.transactions);
    }
    c->counts.bytes += (uint64_t)got;
    crowd->all.bytes += (uint64_t)got;
    size_t n = c->held.n + (size_t)got, used = feed(c, p, n);
    hold(c, p + used, n - used);
    if (crowd->options.on_read) {
        crowd->options.on_read(crowd->options.ctx, c);
    }
    if (!crowd->options.plain && c->counts.transactions - c->acked >= crowd->options.ack_every) {
        acknowledge(c);
    }
}

/* ---- the crowd ---- */

static void connect_one(struct crowd *crowd)
{
    struct satellite *c = &crowd->clients[crowd->started++];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)crowd->options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, size = crowd->options.receive_buffer;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (size > 0) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        give_up("client %u cannot connect: %s", c->number, strerror(errno));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
    send_all(c, upgrade, sizeof upgrade - 1);
}

struct crowd *crowd_new(unsigned n, const struct satellite_options *options)
{
    struct crowd *crowd = mem_zalloc(sizeof *crowd);
    crowd->options = *options;
    crowd->options.ack_every = options->ack_every ? options->ack_every : WINDOW_PART;
    crowd->options.together = options->together ? options->together : TOGETHER;
    crowd->n = n;
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd->clients = mem_alloc_array(n, sizeof *crowd->clients);
    buf_init(&crowd->out, 8192);
    for (unsigned i = 0; i < n; i++) {
        crowd->clients[i] = (struct satellite){.crowd = crowd, .number = i, .fd = -1};
        buf_init(&crowd->clients[i].held, MAX_FRAME + 16);
    }
    return crowd;
}

void crowd_ready(struct crowd *crowd)
{
    while (crowd->ready < crowd->n) {
        while (crowd->started < crowd->n && crowd->started - crowd->ready < crowd->options.together) {
            connect_one(crowd);
        }
        if (crowd_poll(crowd, LOGIN_TIMEOUT_MS) == 0) {
            give_up("%u of %u clients are ready, and no other came any further", crowd->ready, crowd->n);
        }
    }
}

int crowd_poll(struct crowd *crowd, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(crowd->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        read_once(events[i].data.ptr);
    }
    return n < 0 ? 0 : n;
}

void crowd_ack(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->started; i++) {
        if (crowd->clients[i].acked < crowd->clients[i].counts.transactions) {
            acknowledge(&crowd->clients[i]);
        }
    }
}

void crowd_free(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->n; i++) {
        buf_deinit(&crowd->clients[i].held);
        if (crowd->clients[i].fd >= 0) {
            close(crowd->clients[i].fd);
        }
    }
    buf_deinit(&crowd->out);
    free(crowd->read_buffer);
    free(crowd->clients);
    close(crowd->epoll);
    free(crowd);
}
