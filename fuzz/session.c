/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a session at once. Input: pieces of {who: 1 byte, length: 1 byte, bytes}; an odd `who` is the
 * server. Whatever is said, nothing may crash, hang or leak, and what goes to the server must stay within
 * message frames.
 */
#include "proxy/session.h"
#include "base/log.h"
#include "wire/frame.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct ends {
    bool closed;
};

static void swallow(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    volatile char sink = 0;
    for (size_t i = 0; i < n; i++) {
        sink ^= p[i]; /* lets the sanitizer see every byte that is sent */
    }
    (void)sink;
}

static void flush(void *ctx)
{
    (void)ctx;
}

static void on_close(void *ctx)
{
    struct ends *e = ctx;
    e->closed = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct session_out out = {swallow, swallow, flush, flush, on_close};
    struct ends ends = {0};
    struct session_counters counters = {0};
    struct err err;
    log_set_level(LOG_ERROR);
    struct session *s = session_new(&out, &ends, "", &counters);
    for (size_t at = 0; at + 2 <= size && !ends.closed;) {
        size_t n = data[at + 1];
        n = n < size - at - 2 ? n : size - at - 2;
        char *copy = malloc(n ? n : 1); /* of this size exactly: a read past it is seen */
        memcpy(copy, data + at + 2, n);
        int rc = data[at] & 1 ? session_feed_server(s, copy, n, &err) : session_feed_client(s, copy, n, &err);
        free(copy);
        if (rc < 0) {
            break;
        }
        at += 2 + n;
    }
    session_free(s);
    return 0;
}
