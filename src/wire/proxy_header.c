/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/proxy_header.h"

#include "base/limits.h"
#include "base/rd.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { VERSION_2 = 0x20, COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { FAMILY_IPV4 = 1, FAMILY_IPV6 = 2, TRANSPORT_STREAM = 1 };

static int read_addresses(struct rd *r, int family, size_t size, struct proxy_header *out)
{
    char ip[INET6_ADDRSTRLEN];
    const char *source = rd_bytes(r, size).p;
    rd_bytes(r, size); /* where the client meant to go: to us */
    uint16_t port = rd_u16be(r);
    rd_u16be(r);
    if (r->failed || !inet_ntop(family, source, ip, sizeof ip)) {
        return -1;
    }
    snprintf(out->peer, sizeof out->peer, family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, port);
    return 0;
}

static int read_source(struct rd *r, uint8_t family, struct proxy_header *out, struct err *err)
{
    int rc = 0;
    if ((family & 0xf) == TRANSPORT_STREAM && family >> 4 == FAMILY_IPV4) {
        rc = read_addresses(r, AF_INET, 4, out);
    } else if ((family & 0xf) == TRANSPORT_STREAM && family >> 4 == FAMILY_IPV6) {
        rc = read_addresses(r, AF_INET6, 16, out);
    }
    return rc < 0 ? err_set(err, ERR_PEER, "the addresses of the PROXY header are cut short") : 0;
}

int proxy_header_parse(const char *p, size_t n, struct proxy_header *out, struct err *err)
{
    if (memcmp(p, signature, n < sizeof signature ? n : sizeof signature) != 0) {
        return err_set(err, ERR_PEER, "no PROXY protocol header (version 2) where one must be");
    }
    if (n < PROXY_HEADER_MIN) {
        return PROXY_HEADER_NEED_MORE;
    }
    struct rd head = rd_init(p + sizeof signature, PROXY_HEADER_MIN - sizeof signature);
    uint8_t what = rd_u8(&head), family = rd_u8(&head);
    size_t length = rd_u16be(&head);
    *out = (struct proxy_header){.total = PROXY_HEADER_MIN + length, .local = (what & 0xf) == COMMAND_LOCAL};
    if ((what & 0xf0) != VERSION_2 || (what & 0xf) > COMMAND_PROXY) {
        return err_set(err, ERR_PEER, "PROXY header of unknown version or command 0x%02x", what);
    }
    if (out->total > LIMIT_PROXY_HEADER) {
        return err_set(err, ERR_LIMIT, "PROXY header of %zu bytes", out->total);
    }
    if (n < out->total) {
        return PROXY_HEADER_NEED_MORE;
    }
    struct rd body = rd_init(p + PROXY_HEADER_MIN, length);
    if (!out->local && read_source(&body, family, out, err) < 0) {
        return -1;
    }
    return PROXY_HEADER_FOUND;
}
