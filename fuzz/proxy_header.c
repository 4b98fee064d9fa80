/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol header: what is decided on a part of the input is not taken back when more comes. */
#include "wire/proxy_header.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse(const uint8_t *data, size_t n, struct proxy_header *out)
{
    struct err err;
    char *copy = malloc(n ? n : 1); /* exactly n bytes */
    memcpy(copy, data, n);
    int rc = proxy_header_parse(copy, n, out, &err);
    free(copy);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    int rc = parse(data, size, &whole);
    for (size_t n = 0; n < size && n < 300; n++) {
        int early = parse(data, n, &part);
        assert(early == PROXY_HEADER_NEED_MORE || early == rc);
        assert(early != PROXY_HEADER_FOUND ||
               (part.total == whole.total && strcmp(part.peer, whole.peer) == 0));
    }
    return 0;
}
