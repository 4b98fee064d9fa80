/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/proxy_header.h"

#include "base/limits.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IPV4      SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xd4\x31\x15\x38"
#define IPV6                                                                                               \
    SIGNATURE "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" \
              "\xd4\x31\x15\x38"

/* In memory of exactly n bytes, so that the sanitizer sees a read past them. */
static int parse(const char *p, size_t n, struct proxy_header *out)
{
    struct err err;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    int rc = proxy_header_parse(copy, n, out, &err);
    free(copy);
    return rc;
}

static void the_client_is_named(void **state)
{
    struct proxy_header h;
    assert_int_equal(parse(IPV4 "rest", sizeof IPV4 + 3, &h), PROXY_HEADER_FOUND);
    assert_string_equal(h.peer, "192.0.2.7:54321");
    assert_int_equal(h.total, 28);
    assert_int_equal(parse(IPV6, sizeof IPV6 - 1, &h), PROXY_HEADER_FOUND);
    assert_string_equal(h.peer, "[2001:db8::1]:54321");
}

static void every_beginning_needs_more(void **state)
{
    struct proxy_header h;
    for (size_t n = 0; n < sizeof IPV6 - 1; n++) {
        assert_int_equal(parse(IPV6, n, &h), PROXY_HEADER_NEED_MORE);
    }
}

static void a_health_check_is_local(void **state)
{
    static const char check[] = SIGNATURE "\x20\0\0\0";
    struct proxy_header h;
    assert_int_equal(parse(check, sizeof check - 1, &h), PROXY_HEADER_FOUND);
    assert_true(h.local);
    assert_string_equal(h.peer, "");
}

static void other_families_say_nothing(void **state)
{
    static const char unspecified[] = SIGNATURE "\x21\0\0\x02xy", datagram[] = SIGNATURE "\x21\x12\0\x02xy";
    struct proxy_header h;
    assert_int_equal(parse(unspecified, sizeof unspecified - 1, &h), PROXY_HEADER_FOUND);
    assert_int_equal(parse(datagram, sizeof datagram - 1, &h), PROXY_HEADER_FOUND);
    assert_string_equal(h.peer, "");
    assert_int_equal(h.total, 18);
}

static void anything_else_is_refused(void **state)
{
    static const struct str wrong[] = {
        STR("PROXY TCP4 192.0.2.7 10.0.0.1 54321 5432\r\n"),                   /* version 1 */
        STR("\0\0\0\x08\x04\xd2\x16\x2f"),                                     /* an SSLRequest */
        STR(SIGNATURE "\x11\x11\0\x0c"),                                       /* another version */
        STR(SIGNATURE "\x22\x11\0\x0c"),                                       /* an unknown command */
        STR(SIGNATURE "\x21\x11\0\x0b\xc0\0\x02\x07\x0a\0\0\x01\xd4\x31\x15"), /* one byte short */
        STR(SIGNATURE "\x21\x21\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xd4\x31\x15\x38"),
    };
    struct proxy_header h;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(parse(wrong[i].p, wrong[i].n, &h), -1);
    }
}

static void its_length_is_limited(void **state)
{
    char head[PROXY_HEADER_MIN] = SIGNATURE "\x21\x11";
    struct proxy_header h;
    size_t most = LIMIT_PROXY_HEADER - PROXY_HEADER_MIN;
    head[14] = (char)(most >> 8);
    head[15] = (char)most;
    assert_int_equal(parse(head, sizeof head, &h), PROXY_HEADER_NEED_MORE);
    head[14] = (char)((most + 1) >> 8);
    head[15] = (char)(most + 1);
    assert_int_equal(parse(head, sizeof head, &h), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_is_named),      cmocka_unit_test(every_beginning_needs_more),
        cmocka_unit_test(a_health_check_is_local),  cmocka_unit_test(other_families_say_nothing),
        cmocka_unit_test(anything_else_is_refused), cmocka_unit_test(its_length_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
