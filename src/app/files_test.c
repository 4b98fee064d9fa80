/* SPDX-License-Identifier: Apache-2.0 */
#include "app/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static int setup(void **state)
{
    snprintf(root, sizeof root, "/tmp/busbar-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    struct err err;
    return folder_remove(root, &err);
}

static const char *in_root(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void written_file_is_read_back(void **state)
{
    struct err err = ERR_INIT;
    struct stat st;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(100);
    assert_int_equal(file_write(in_root("f"), 0600, STR("one"), &err), 0);
    assert_int_equal(file_write(in_root("f"), 0640, STR("two"), &err), 0);
    assert_int_equal(stat(in_root("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(file_read(in_root("f"), &text, &err), 0);
    assert_string_equal(buf_cstr(&text), "two");
    assert_int_equal(access(in_root("f.new"), F_OK), -1);
}

static void reading_refuses_what_is_no_file_or_too_long(void **state)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4);
    assert_int_equal(file_read(in_root("none"), &text, &err), -1);
    assert_int_equal(err.code, ENOENT);
    assert_int_equal(file_read(root, &text, &err), -1);
    assert_int_equal(file_write(in_root("f"), 0600, STR("12345"), &err), 0);
    assert_int_equal(file_read(in_root("f"), &text, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void assert_tail(const char *text, off_t from, size_t lines, const char *expected)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(100000);
    assert_int_equal(file_write(in_root("log"), 0600, str_c(text), &err), 0);
    file_tail(in_root("log"), from, lines, &out);
    assert_string_equal(buf_cstr(&out), expected);
}

static void tail_is_the_last_lines(void **state)
{
    CLEANUP(buf_deinit) struct buf none = BUF_INIT(10);
    assert_tail("a\nb\nc\n", 0, 2, "b\nc\n");
    assert_tail("a\nb\nc", 0, 2, "b\nc");
    assert_tail("a\nb\nc\n", 0, 5, "a\nb\nc\n");
    assert_tail("a\nb\nc\n", 4, 5, "c\n");
    assert_tail("a\n", 2, 5, "");
    assert_tail("", 0, 5, "");
    assert_tail("a\n", 100, 5, "");
    file_tail(in_root("none"), 0, 5, &none);
    assert_int_equal(none.n, 0);
}

static void folders_are_made_with_their_parents(void **state)
{
    struct err err = ERR_INIT;
    struct stat st;
    assert_int_equal(folder_make(in_root("a/b/c"), 0700, &err), 0);
    assert_int_equal(folder_make(in_root("a/b/c"), 0700, &err), 0);
    assert_int_equal(stat(in_root("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(file_write(in_root("f"), 0600, STR(""), &err), 0);
    assert_int_equal(folder_make(in_root("f"), 0700, &err), -1);
    assert_int_equal(err.code, ENOTDIR);
    assert_int_equal(folder_make(in_root("f/x"), 0700, &err), -1);
}

static void removal_does_not_follow_links(void **state)
{
    struct err err = ERR_INIT;
    char target[PATH_MAX];
    assert_int_equal(folder_make(in_root("keep/sub"), 0700, &err), 0);
    assert_int_equal(file_write(in_root("keep/sub/f"), 0600, STR("x"), &err), 0);
    assert_int_equal(folder_make(in_root("gone/deep/er"), 0700, &err), 0);
    assert_int_equal(file_write(in_root("gone/deep/f"), 0600, STR("x"), &err), 0);
    snprintf(target, sizeof target, "%s", in_root("keep"));
    assert_int_equal(symlink(target, in_root("gone/link")), 0);
    assert_int_equal(folder_remove(in_root("gone"), &err), 0);
    assert_int_equal(access(in_root("gone"), F_OK), -1);
    assert_int_equal(access(in_root("keep/sub/f"), F_OK), 0);
    assert_int_equal(folder_remove(in_root("gone"), &err), 0);
    assert_int_equal(symlink(target, in_root("link")), 0);
    assert_int_equal(folder_remove(in_root("link"), &err), 0);
    assert_int_equal(access(in_root("keep/sub/f"), F_OK), 0);
}

static void long_path_is_refused(void **state)
{
    struct err err = ERR_INIT;
    char path[8];
    assert_int_equal(path_printf(path, sizeof path, &err, "%s", "1234567"), 0);
    assert_int_equal(path_printf(path, sizeof path, &err, "%s", "12345678"), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(written_file_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_refuses_what_is_no_file_or_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(tail_is_the_last_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_are_made_with_their_parents, setup, teardown),
        cmocka_unit_test_setup_teardown(removal_does_not_follow_links, setup, teardown),
        cmocka_unit_test(long_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
