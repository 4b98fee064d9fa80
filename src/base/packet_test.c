/* SPDX-License-Identifier: Apache-2.0 */
#include "base/packet.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void small_content_is_copied_and_the_buffer_goes_on(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    for (int i = 0; i < 3; i++) {
        packet_begin(&b);
        buf_printf(&b, "content %d", i);
        struct packet *p = packet_end(&b);
        assert_int_equal(packet_content(p).n, 9);
        assert_int_equal(packet_content(p).p[8], '0' + i);
        assert_true(b.cap > 0);
        assert_ptr_equal(packet_ref(p), p);
        packet_unref(p);
        assert_int_equal(p->bytes[PACKET_ROOM], 'c');
        packet_unref(p);
    }
}

static void large_content_is_taken(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(100000);
    for (int i = 0; i < 2; i++) {
        packet_begin(&b);
        buf_reserve(&b, 90000);
        for (int k = 0; k < 80000; k++) {
            buf_put_byte(&b, (char)k);
        }
        const char *before = b.p;
        struct packet *p = packet_end(&b);
        assert_ptr_equal(b.p, NULL);
        assert_non_null(before);
        assert_int_equal(packet_content(p).n, 80000);
        assert_int_equal(packet_content(p).p[300], (char)300);
        packet_unref(p);
    }
}

static void an_overflow_gives_nothing(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(20);
    packet_begin(&b);
    buf_put_c(&b, "more than ten bytes");
    assert_null(packet_end(&b));
    packet_begin(&b);
    buf_put_c(&b, "ten bytes.");
    struct packet *p = packet_end(&b);
    assert_int_equal(packet_content(p).n, 10);
    packet_unref(p);
    packet_unref(NULL);
}

static void nothing_is_content_too(void **state)
{
    struct packet *p = packet_new(NULL, 0);
    assert_int_equal(packet_content(p).n, 0);
    packet_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_content_is_copied_and_the_buffer_goes_on),
        cmocka_unit_test(large_content_is_taken),
        cmocka_unit_test(an_overflow_gives_nothing),
        cmocka_unit_test(nothing_is_content_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
