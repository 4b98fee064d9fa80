/* SPDX-License-Identifier: Apache-2.0 */
#include "http/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zip.h>

#include <cmocka.h>

static void make(struct buf *out, const char *const (*entries)[2], size_t n)
{
    struct archive *w = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(archive_new(&w, &err), 0);
    for (size_t i = 0; i < n; i++) {
        char *content = strdup(entries[i][1]);
        assert_int_equal(archive_add(w, entries[i][0], str_c(content), &err), 0);
        memset(content, '#', strlen(content)); /* it was copied */
        free(content);
    }
    assert_int_equal(archive_finish(w, out, &err), 0);
    archive_free(w);
}

static zip_t *open_archive(const struct buf *bytes)
{
    zip_error_t error;
    zip_source_t *source = zip_source_buffer_create(bytes->p, bytes->n, 0, &error);
    assert_non_null(source);
    zip_t *z = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    assert_non_null(z);
    return z;
}

static void entries_come_back(void **state)
{
    static const char *const entries[][2] = {{"1/migration.sql", "CREATE TABLE x;"}, {"1/\xc3\xa9", ""}};
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(100000);
    char text[64];
    zip_stat_t stat;
    make(&bytes, entries, 2);
    zip_t *z = open_archive(&bytes);
    assert_int_equal(zip_get_num_entries(z, 0), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(zip_get_name(z, i, 0), entries[i][0]);
        assert_int_equal(zip_stat_index(z, i, 0, &stat), 0);
        assert_int_equal(stat.size, strlen(entries[i][1]));
        zip_file_t *f = zip_fopen_index(z, i, 0);
        assert_int_equal(zip_fread(f, text, sizeof text), strlen(entries[i][1]));
        assert_memory_equal(text, entries[i][1], strlen(entries[i][1]));
        zip_fclose(f);
    }
    zip_close(z);
}

static void the_same_entries_give_the_same_bytes(void **state)
{
    static const char *const entries[][2] = {{"a/b", "some text some text some text"}, {"c", "d"}};
    CLEANUP(buf_deinit) struct buf first = BUF_INIT(100000), second = BUF_INIT(100000);
    setenv("TZ", "Asia/Kathmandu", 1);
    tzset();
    make(&first, entries, 2);
    setenv("TZ", "America/Caracas", 1);
    tzset();
    make(&second, entries, 2);
    assert_int_equal(first.n, second.n);
    assert_memory_equal(first.p, second.p, first.n);
    /* DOS time and date of the first local header: no libzip reads them otherwise than by the time zone */
    assert_memory_equal(first.p + 10, "\0\0\x21\0", 4);
}

static void an_archive_may_be_empty(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1000);
    make(&bytes, NULL, 0);
    zip_t *z = open_archive(&bytes);
    assert_int_equal(zip_get_num_entries(z, 0), 0);
    zip_close(z);
}

static void a_name_twice_fails(void **state)
{
    struct archive *w = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(archive_new(&w, &err), 0);
    assert_int_equal(archive_add(w, "a", STR("x"), &err), 0);
    assert_int_equal(archive_add(w, "a", STR("y"), &err), -1);
    assert_non_null(strstr(err.msg, "already exists"));
    archive_free(w); /* half-built */
}

static void the_limit_holds(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(100);
    struct archive *w = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(archive_new(&w, &err), 0);
    assert_int_equal(archive_add(w, "a", STR("0123456789abcdef"), &err), 0);
    assert_int_equal(archive_finish(w, &bytes, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    archive_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),       cmocka_unit_test(the_same_entries_give_the_same_bytes),
        cmocka_unit_test(an_archive_may_be_empty), cmocka_unit_test(a_name_twice_fails),
        cmocka_unit_test(the_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
