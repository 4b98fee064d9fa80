/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in files: which file counts, what of it, and what is said of one that cannot be used. */
#include "app/settings.h"

#include "app/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>
#include <unistd.h>

static struct settings settings;
static struct faults faults;
static char folder[64];
static char secret[128]; /* path of the file */

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/busbar-test-XXXXXX");
    bool made = mkdtemp(folder) != NULL;
    snprintf(secret, sizeof secret, "%s/secret", folder);
    return made ? 0 : -1;
}

static int teardown(void **state)
{
    struct err err;
    settings_deinit(&settings);
    faults_deinit(&faults);
    return folder_remove(folder, &err);
}

static void write_secret(struct str text)
{
    struct err err;
    assert_int_equal(file_write(secret, 0600, text, &err), 0);
}

static const char *read_password(void)
{
    settings_read_files(&settings, &faults);
    return settings_text(&settings, OPT_PG_PROXY_PASSWORD);
}

static void set_password_file(void)
{
    settings_set_file(&settings, OPT_PG_PROXY_PASSWORD, str_c(secret), SOURCE_ENVIRONMENT);
}

/* Reads the secret file with the given content; NULL: it is a fault. */
static const char *password_in(struct str text)
{
    settings_deinit(&settings);
    faults_deinit(&faults);
    write_secret(text);
    set_password_file();
    return read_password();
}

static void content_counts_without_one_line_break(void **state)
{
    assert_string_equal(password_in(STR("pw")), "pw");
    assert_string_equal(password_in(STR("pw\n")), "pw");
    assert_string_equal(password_in(STR("pw\r\n")), "pw");
    assert_string_equal(password_in(STR("pw\n\n")), "pw\n");
    assert_string_equal(password_in(STR(" p\nw ")), " p\nw ");
    assert_int_equal(faults.count, 0);
}

static void assert_fault(const char *begin, const char *end)
{
    char text[512];
    snprintf(text, sizeof text, "%s%s%s", begin, secret, end);
    assert_int_equal(faults.count, 1);
    assert_non_null(faults.of[OPT_PG_PROXY_PASSWORD]);
    assert_string_equal(faults.of[OPT_PG_PROXY_PASSWORD], text);
}

static void unusable_files_are_faults_with_the_path(void **state)
{
    static char large[64 * 1024 + 1];
    assert_null(password_in(STR("")));
    assert_fault("is empty in the file ", "");
    assert_null(password_in(STR("\n")));
    assert_fault("is empty in the file ", "");
    assert_null(password_in(STR("a\0b")));
    assert_fault("has a zero byte in the file ", "");
    memset(large, 'x', sizeof large);
    assert_null(password_in((struct str){large, sizeof large}));
    assert_fault("cannot be had: ", " is longer than 65536 bytes");
    assert_int_equal(strlen(password_in((struct str){large, sizeof large - 1})), sizeof large - 1);
    assert_int_equal(unlink(secret), 0);
    settings_deinit(&settings);
    set_password_file();
    assert_null(read_password());
    assert_fault("cannot be had: cannot read ", ": No such file or directory");
}

static void a_folder_is_no_secret(void **state)
{
    settings_set_file(&settings, OPT_PG_PROXY_PASSWORD, str_c(folder), SOURCE_ENVIRONMENT);
    assert_null(read_password());
    assert_int_equal(faults.count, 1);
    assert_non_null(strstr(faults.of[OPT_PG_PROXY_PASSWORD], "is not a regular file"));
}

static void text_and_file_together_are_a_fault(void **state)
{
    CLEANUP(buf_deinit) struct buf report = BUF_INIT(64 * 1024);
    write_secret(STR("from the file"));
    set_password_file();
    settings_set(&settings, OPT_PG_PROXY_PASSWORD, STR("hunter2"), SOURCE_FLAG);
    assert_string_equal(read_password(), "hunter2");
    faults_write(&faults, &settings, &report);
    assert_non_null(strstr(buf_cstr(&report), "  * PG_PROXY_PASSWORD is set twice: also by "
                                              "PG_PROXY_PASSWORD_FILE\n"));
    assert_null(strstr(buf_cstr(&report), "hunter2"));
    assert_null(strstr(buf_cstr(&report), "from the file"));
}

static void an_empty_text_gives_way_to_the_file(void **state)
{
    write_secret(STR("pw"));
    set_password_file();
    settings_set(&settings, OPT_PG_PROXY_PASSWORD, STR(""), SOURCE_FLAG);
    assert_string_equal(read_password(), "pw");
}

static void an_empty_name_is_none(void **state)
{
    settings_set_file(&settings, OPT_PG_PROXY_PASSWORD, STR(""), SOURCE_ENVIRONMENT);
    assert_null(read_password());
    settings_read_defaults(&settings, FOR_DEV);
    assert_string_equal(read_password(), "proxy_password");
    assert_int_equal(faults.count, 0);
}

static void the_file_wins_over_the_default(void **state)
{
    write_secret(STR("pw"));
    set_password_file();
    read_password();
    settings_read_defaults(&settings, FOR_DEV);
    assert_string_equal(settings_text(&settings, OPT_PG_PROXY_PASSWORD), "pw");
}

static void only_secrets_have_files(void **state)
{
    static const struct {
        const char *name;
        int id; /* -1: no option's file */
    } rows[] = {{"PG_PROXY_PASSWORD_FILE", OPT_PG_PROXY_PASSWORD},
                {"DATABASE_URL_FILE", OPT_DATABASE_URL},
                {"AUTH_JWT_KEY_FILE", OPT_AUTH_JWT_KEY},
                {"HTTP_PORT_FILE", -1},
                {"LOG_LEVEL_FILE", -1},
                {"PG_PROXY_PASSWORD_FILES", -1},
                {"_FILE", -1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        settings_deinit(&settings);
        settings_set_variable(&settings, FOR_SERVE, str_c(rows[i].name), STR("/x"), SOURCE_FILE);
        for (int id = 0; id < OPTION_COUNT; id++) {
            assert_null(settings.of[id].text);
            assert_int_equal(settings.of[id].file != NULL, id == rows[i].id);
        }
    }
}

static void the_environment_wins_over_dotenv(void **state)
{
    write_secret(STR("pw"));
    setenv("PG_PROXY_PASSWORD_FILE", secret, 1);
    settings_read_environment(&settings, FOR_SERVE);
    unsetenv("PG_PROXY_PASSWORD_FILE");
    settings_set_variable(&settings, FOR_SERVE, STR("PG_PROXY_PASSWORD_FILE"), STR("/none"), SOURCE_FILE);
    assert_string_equal(read_password(), "pw");
}

static void the_source_names_the_file(void **state)
{
    char expected[256];
    CLEANUP(buf_deinit) struct buf source = BUF_INIT(1024);
    write_secret(STR("pw"));
    set_password_file();
    settings_set(&settings, OPT_HTTP_PORT, STR("1"), SOURCE_FLAG);
    read_password();
    setting_put_source(&settings.of[OPT_HTTP_PORT], &source);
    assert_string_equal(buf_cstr(&source), "flag");
    buf_reset(&source);
    setting_put_source(&settings.of[OPT_PG_PROXY_PASSWORD], &source);
    snprintf(expected, sizeof expected, "environment, file \"%s\"", secret);
    assert_string_equal(buf_cstr(&source), expected);
}

int main(void)
{
#define SETTINGS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SETTINGS_TEST(content_counts_without_one_line_break),
        SETTINGS_TEST(unusable_files_are_faults_with_the_path),
        SETTINGS_TEST(a_folder_is_no_secret),
        SETTINGS_TEST(text_and_file_together_are_a_fault),
        SETTINGS_TEST(an_empty_text_gives_way_to_the_file),
        SETTINGS_TEST(an_empty_name_is_none),
        SETTINGS_TEST(the_file_wins_over_the_default),
        SETTINGS_TEST(only_secrets_have_files),
        SETTINGS_TEST(the_environment_wins_over_dotenv),
        SETTINGS_TEST(the_source_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
