/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First packets of a client. An even first byte: the rest is a packet, as it arrives. An odd one: the rest,
 * cut at its zero bytes, are the names and values that a packet is made of. Either way, what has been read
 * and is written again must read the same.
 */
#include "wire/startup.h"
#include "base/buf.h"
#include "base/limits.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

enum { HEAD = 8, EVERY_LENGTH = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_pair(struct buf *b, struct str name, struct str value)
{
    buf_put_str(b, name);
    buf_put_byte(b, '\0');
    buf_put_str(b, value);
    buf_put_byte(b, '\0');
}

static void put_head(struct buf *b, uint32_t code)
{
    buf_put_u32be(b, 0);
    buf_put_u32be(b, code);
}

static struct str finish(struct buf *b)
{
    buf_put_byte(b, '\0');
    buf_set_u32be(b, 0, (uint32_t)b->n);
    return buf_str(b);
}

static void write_again(struct buf *b, const struct startup *su)
{
    put_head(b, (uint32_t)su->major << 16 | su->minor);
    put_pair(b, STR("user"), su->user);
    put_pair(b, STR("database"), su->database);
    if (su->replication) {
        put_pair(b, STR("replication"), STR("database"));
    }
    for (size_t i = 0; i < su->n; i++) {
        put_pair(b, su->parameters[i].name, su->parameters[i].value);
    }
    for (size_t i = 0; i < su->unknown_n; i++) {
        put_pair(b, su->unknown[i], STR(""));
    }
}

static void must_be_same(const struct startup *a, const struct startup *b)
{
    assert(b->kind == STARTUP_SESSION && a->major == b->major && a->minor == b->minor);
    assert(str_eq(a->user, b->user) && str_eq(a->database, b->database) && a->replication == b->replication);
    assert(a->n == b->n && a->unknown_n == b->unknown_n);
    for (size_t i = 0; i < a->n; i++) {
        assert(str_eq(a->parameters[i].name, b->parameters[i].name) &&
               str_eq(a->parameters[i].value, b->parameters[i].value));
    }
    for (size_t i = 0; i < a->unknown_n; i++) {
        assert(str_eq(a->unknown[i], b->unknown[i]));
    }
}

static void check_round_trip(const struct startup *su)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(4 * LIMIT_STARTUP_PACKET);
    struct startup again;
    struct err err;
    write_again(&b, su);
    assert(startup_parse(finish(&b), &again, &err) == 0);
    must_be_same(su, &again);
}

/* A NUL follows it in the packet, and there is none in it: it may go to a C library. */
static void check_text(struct str s, struct str packet)
{
    if (s.n > 0) {
        assert(s.p >= packet.p + HEAD && s.p + s.n < packet.p + packet.n);
        assert(!memchr(s.p, '\0', s.n) && s.p[s.n] == '\0');
    }
}

static void check_session(const struct startup *su, struct str packet)
{
    assert(su->n <= STARTUP_PARAMETERS && su->unknown_n <= STARTUP_PARAMETERS);
    check_text(su->user, packet);
    check_text(su->database, packet);
    assert(su->database.n > 0 || su->user.n == 0);
    for (size_t i = 0; i < su->n; i++) {
        check_text(su->parameters[i].name, packet);
        check_text(su->parameters[i].value, packet);
        assert(su->parameters[i].name.n > 0);
    }
    for (size_t i = 0; i < su->unknown_n; i++) {
        check_text(su->unknown[i], packet);
    }
    check_round_trip(su);
}

static void check_packet(struct str packet)
{
    struct startup su;
    struct err err;
    if (startup_parse(packet, &su, &err) < 0) {
        assert((err.kind == ERR_PEER || err.kind == ERR_LIMIT) && err.msg[0]);
        return;
    }
    switch (su.kind) {
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        assert(packet.n == HEAD);
        return;
    case STARTUP_CANCEL:
        assert(packet.n == HEAD + 8);
        return;
    case STARTUP_SESSION:
        if (su.major == 3) {
            check_session(&su, packet);
        }
        return;
    }
}

/* The first four bytes say how long it is, or that it is none; then it is all there or it is not. */
static int check_arrival(struct str in, size_t *out_total)
{
    struct err err;
    int last = startup_peek(in.p, in.n, out_total, &err);
    size_t step = in.n / EVERY_LENGTH + 1;
    for (size_t n = 0; n < in.n; n += step) {
        size_t total = 0;
        char *copy = malloc(n ? n : 1);
        assert(copy != NULL);
        memcpy(copy, in.p, n);
        int rc = startup_peek(copy, n, &total, &err);
        free(copy);
        if (n < 4) {
            assert(rc == STARTUP_NEED_MORE);
        } else if (last < 0) {
            assert(rc == last);
        } else {
            assert(total == *out_total && rc == (n < total ? STARTUP_NEED_MORE : STARTUP_FOUND));
        }
    }
    return last;
}

static void read_packet(struct str in)
{
    size_t total;
    if (check_arrival(in, &total) != STARTUP_FOUND) {
        return;
    }
    assert(total >= HEAD && total <= in.n && total <= LIMIT_STARTUP_PACKET);
    char *packet = malloc(total);
    assert(packet != NULL);
    memcpy(packet, in.p, total);
    check_packet((struct str){packet, total});
    free(packet);
}

/* Of names and values: all are there again, in order. */
static void write_packet(struct str in)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET - 1);
    struct startup su;
    struct err err;
    size_t pairs = 0, known = 0, total;
    put_head(&b, 3 << 16);
    while (in.n > 0) {
        struct str name = str_cut(&in, '\0'), value = str_cut(&in, '\0');
        if (name.n == 0) {
            break;
        }
        put_pair(&b, name, value);
        pairs++;
        known +=
            str_eq(name, STR("user")) || str_eq(name, STR("database")) || str_eq(name, STR("replication"));
    }
    if (b.overflow) {
        return;
    }
    b.max++;
    struct str packet = finish(&b);
    assert(startup_peek(packet.p, packet.n, &total, &err) == STARTUP_FOUND && total == packet.n);
    if (startup_parse(packet, &su, &err) == 0) {
        assert(su.n + su.unknown_n + known == pairs);
        check_session(&su, packet);
    } else {
        assert(err.kind == ERR_LIMIT && pairs > STARTUP_PARAMETERS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        struct str in = {(const char *)data + 1, size - 1};
        (data[0] & 1 ? write_packet : read_packet)(in);
    }
    return 0;
}
