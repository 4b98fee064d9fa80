/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/cancel_key.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint32_t key(const char *secret, uint32_t pid)
{
    uint32_t made = 0;
    struct err err = ERR_INIT;
    assert_int_equal(cancel_key_make(secret, pid, &made, &err), 0);
    return made;
}

/* Python: hmac.new(b"a secret", b"busbar cancel 1", "sha256").hexdigest()[:8] */
static void test_every_process_makes_the_same_key(void **state)
{
    (void)state;
    assert_int_equal(key("a secret", 1), 0x06196e85);
    assert_int_equal(key("a secret", 4194304), 0xbf71fe11);
    assert_int_equal(key("a secret", UINT32_MAX), 0x6052edf5);
}

static void test_another_secret_another_key(void **state)
{
    (void)state;
    assert_int_not_equal(key("a secret", 1), key("another", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_process_makes_the_same_key),
        cmocka_unit_test(test_another_secret_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
