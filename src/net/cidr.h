/* SPDX-License-Identifier: Apache-2.0 */
/* Networks in CIDR notation (RFC 4632), IPv4 and IPv6, and whether an address is in one of them. */
#pragma once

#include "base/str.h"

struct sockaddr;

enum { CIDR_LIST = 32 };

/* IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2): dual-stack sockets report it like that. */
struct cidr {
    unsigned char address[16];
    unsigned bits; /* leading bits that count, 0 to 128 */
};

struct cidr_list {
    struct cidr of[CIDR_LIST];
    size_t n;
};

/* "10.0.0.0/8", "::1": an address alone is a network of one. Bits beyond the prefix must be zero. */
MUST_USE bool cidr_parse(struct str text, struct cidr *out);

/* Networks separated by commas, white space around them ignored. False for an empty one, a malformed one, or
 * more than CIDR_LIST. */
MUST_USE bool cidr_list_parse(struct str text, struct cidr_list *out);

/* False for an address that is neither IPv4 nor IPv6. */
bool cidr_list_has(const struct cidr_list *list, const struct sockaddr *address);
