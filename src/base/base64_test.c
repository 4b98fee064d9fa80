/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 4648 section 10, and the two digits that differ. */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_decodes(const char *text, enum base64_form form, struct str bytes)
{
    char out[64];
    size_t n;
    if (!base64_decode(str_c(text), form, out, &n)) {
        fail_msg("refused: %s", text);
    }
    assert_int_equal(n, bytes.n);
    assert_memory_equal(out, bytes.p, n);
}

static void test_vectors(void **state)
{
    static const char *const vectors[][3] = {{"", "", ""},
                                             {"f", "Zg==", "Zg"},
                                             {"fo", "Zm8=", "Zm8"},
                                             {"foo", "Zm9v", "Zm9v"},
                                             {"foob", "Zm9vYg==", "Zm9vYg"},
                                             {"foobar", "Zm9vYmFy", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        assert_decodes(vectors[i][1], BASE64_STANDARD, str_c(vectors[i][0]));
        assert_decodes(vectors[i][2], BASE64_STANDARD, str_c(vectors[i][0]));
        assert_decodes(vectors[i][2], BASE64_URL, str_c(vectors[i][0]));
    }
}

static void test_last_two_digits(void **state)
{
    assert_decodes("+/v7", BASE64_STANDARD, STR("\xfb\xfb\xfb"));
    assert_decodes("-_v7", BASE64_URL, STR("\xfb\xfb\xfb"));
    assert_decodes("+/v7", BASE64_URL, STR("\xfb\xfb\xfb"));
}

static void test_malformed(void **state)
{
    static const char *const standard[] = {
        "-_==", "A", "AAAAA", "AA=", "A===", "AA==AA", "AAA A", "====", "AAAA="};
    static const char *const url[] = {"A", "AA==", "AAA=", "AA A", "AAAAA", "A.AA", "\xc3\xa4"};
    char out[64];
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        assert_false(base64_decode(str_c(standard[i]), BASE64_STANDARD, out, &n));
    }
    for (size_t i = 0; i < ARRAY_LEN(url); i++) {
        assert_false(base64_decode(str_c(url[i]), BASE64_URL, out, &n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_last_two_digits),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
