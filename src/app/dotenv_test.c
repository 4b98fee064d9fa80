/* SPDX-License-Identifier: Apache-2.0 */
#include "app/dotenv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

/* Renders what was read as KEY=<value>; pairs. */
static void on_pair(void *ctx, struct str key, struct str value)
{
    buf_printf(ctx, "%.*s=<%.*s>;", STR_ARG(key), STR_ARG(value));
}

static void assert_parsed(struct str text, const char *pairs, unsigned line, bool fatal)
{
    struct dotenv_problem problem;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(4096);
    /* an exact copy on the heap: a read past the end is seen by the sanitizer */
    char *copy = malloc(text.n ? text.n : 1);
    assert_non_null(copy);
    memcpy(copy, text.p, text.n);
    dotenv_parse((struct str){copy, text.n}, on_pair, &out, &problem);
    free(copy);
    assert_string_equal(buf_cstr(&out), pairs);
    assert_int_equal(problem.line, line);
    assert_int_equal(problem.fatal, fatal);
}

static void assignments_are_read(void **state)
{
    static const struct {
        const char *text, *pairs;
    } cases[] = {
        {"", ""},
        {"A=1", "A=<1>;"},
        {"A=1\nB=2\n", "A=<1>;B=<2>;"},
        {"A=1\r\nB=2\r\n", "A=<1>;B=<2>;"},
        {"\xef\xbb\xbf"
         "A=1",
         "A=<1>;"},
        {"# comment\n\n   # another\nA=1", "A=<1>;"},
        {"  A = 1 2  ", "A=<1 2>;"},
        {"A=", "A=<>;"},
        {"A=\nB=2", "A=<>;B=<2>;"},
        {"A=#b", "A=<>;"},
        {"A=x#b", "A=<x#b>;"},
        {"A=x #b", "A=<x>;"},
        {"A=a=b", "A=<a=b>;"},
        {"export A=1", "A=<1>;"},
        {"export\tA=1", "A=<1>;"},
        {"export=1", "export=<1>;"},
        {"export = 1", "export=<1>;"},
        {"A='x y' # z", "A=<x y>;"},
        {"A='a\\nb'", "A=<a\\nb>;"},
        {"A='a#b'", "A=<a#b>;"},
        {"A=\"a\\nb\\tc\\r\\\"\\\\\\$d\\x\"", "A=<a\nb\tc\r\"\\$d\\x>;"},
        {"A=\"a\nb\"\nB=2", "A=<a\nb>;B=<2>;"},
        {"A='a\r\nb'", "A=<a\nb>;"},
        {"A=\"\"", "A=<>;"},
        {"A=postgres://u:p@h/d?x=1&y=2", "A=<postgres://u:p@h/d?x=1&y=2>;"},
        {"A=$B", "A=<$B>;"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_parsed(str_c(cases[i].text), cases[i].pairs, 0, false);
    }
}

static void bad_lines_are_skipped_and_told(void **state)
{
    assert_parsed(str_c("A=1\nnonsense\nB=2\nmore\n"), "A=<1>;B=<2>;", 2, false);
    assert_parsed(str_c("1A=1\nB=2"), "B=<2>;", 1, false);
    assert_parsed(str_c("=x"), "", 1, false);
    assert_parsed(str_c("A 1"), "", 1, false);
    assert_parsed(str_c("export\nB=2"), "B=<2>;", 1, false);
    assert_parsed(str_c("A='x' y\nB=2"), "B=<2>;", 1, false);
    assert_parsed(str_c("A=\"x\ny\" z\nB=2"), "B=<2>;", 1, false);
}

static void open_quote_is_fatal(void **state)
{
    assert_parsed(str_c("A=1\nB=\"x\nC=3\n"), "A=<1>;", 2, true);
    assert_parsed(str_c("A='"), "", 1, true);
    assert_parsed(str_c("nonsense\nA=\"x\\"), "", 2, true);
}

/* Every prefix of a file must be read without looking past its end. */
static void every_prefix_is_safe(void **state)
{
    static const char text[] = "export A=\"x\\n\\\"y\" # c\r\nB='z\r\n'\r\n\tC = d #e\r\nexport D";
    struct dotenv_problem problem;
    for (size_t n = 0; n < sizeof text; n++) {
        CLEANUP(buf_deinit) struct buf out = BUF_INIT(4096);
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        dotenv_parse((struct str){copy, n}, on_pair, &out, &problem);
        free(copy);
    }
}

struct folder_state {
    char old[4096];
    char path[64];
};

static struct folder_state folder;

static int enter_folder(void **state)
{
    snprintf(folder.path, sizeof folder.path, "/tmp/busbar-test-XXXXXX");
    return getcwd(folder.old, sizeof folder.old) && mkdtemp(folder.path) && chdir(folder.path) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    unlink(".env");
    rmdir(".env");
    return chdir(folder.old) == 0 && rmdir(folder.path) == 0 ? 0 : -1;
}

static void write_env(const char *text)
{
    FILE *file = fopen(".env", "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void file_sets_known_options_below_the_environment(void **state)
{
    struct settings settings = SETTINGS_INIT;
    struct faults faults = FAULTS_INIT;
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(1024);
    write_env("HTTP_PORT=1\nPG_PROXY_PORT=2\nPATH=/nowhere\nBUSBAR_PG_PORT=3\nrubbish\n");
    settings_set(&settings, OPT_HTTP_PORT, STR("9"), SOURCE_ENVIRONMENT);
    dotenv_read(".env", FOR_SERVE, &settings, &faults, &warnings);
    assert_string_equal(settings_text(&settings, OPT_HTTP_PORT), "9");
    assert_string_equal(settings_text(&settings, OPT_PG_PROXY_PORT), "2");
    assert_null(settings_text(&settings, OPT_PG_PORT));
    assert_int_equal(faults.count, 0);
    assert_string_equal(buf_cstr(&warnings), "line 5 of the file .env: not a KEY=VALUE line (skipped)\n");
    settings_deinit(&settings);
}

static void unusable_file_is_a_fault(void **state)
{
    struct settings settings = SETTINGS_INIT;
    struct faults faults = FAULTS_INIT;
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(1024);
    write_env("HTTP_PORT='1\n");
    dotenv_read(".env", FOR_SERVE, &settings, &faults, &warnings);
    assert_int_equal(faults.count, 1);
    assert_string_equal(faults.file, "line 1 of the file .env: the quote that begins here never ends");
    faults_deinit(&faults);
    settings_deinit(&settings);
}

static void missing_file_and_folder_are_ignored(void **state)
{
    struct settings settings = SETTINGS_INIT;
    struct faults faults = FAULTS_INIT;
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(1024);
    dotenv_read(".env", FOR_SERVE, &settings, &faults, &warnings);
    assert_int_equal(mkdir(".env", 0700), 0);
    dotenv_read(".env", FOR_SERVE, &settings, &faults, &warnings);
    assert_int_equal(faults.count, 0);
    assert_int_equal(warnings.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assignments_are_read),
        cmocka_unit_test(bad_lines_are_skipped_and_told),
        cmocka_unit_test(open_quote_is_fatal),
        cmocka_unit_test(every_prefix_is_safe),
        cmocka_unit_test_setup_teardown(file_sets_known_options_below_the_environment, enter_folder,
                                        leave_folder),
        cmocka_unit_test_setup_teardown(unusable_file_is_a_fault, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(missing_file_and_folder_are_ignored, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
