/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what it sets, what is wrong with it, what --help tells. */
#include "cli/command.h"

#include "cli/help.h"
#include "cli/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

static int run_nothing(const struct call *call)
{
    return STATUS_OK;
}

static const struct command leaves[] = {
    {.name = "serve", .summary = "s", .about = "Serves.", .options = FOR_SERVE, .run = run_nothing},
    {.name = "dev", .summary = "d", .about = "Develops.", .options = FOR_DEV, .run = run_nothing},
    {.name = "help", .summary = "h", .about = "Helps.", .arguments = "[COMMAND]", .run = run_nothing},
    {.name = NULL}};
static const struct command root = {.name = "busbar", .about = "About.", .children = leaves};

static struct invocation in;
static struct err err;

static int teardown(void **state)
{
    settings_deinit(&in.settings);
    return 0;
}

static int parse(const char *const *args, size_t n)
{
    char *argv[16] = {0};
    settings_deinit(&in.settings);
    err = (struct err)ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        argv[i] = (char *)(uintptr_t)args[i]; /* argv is not const for historical reasons; nobody writes */
    }
    return command_parse(&root, (int)n, argv, &in, &err);
}

#define PARSE(...)                                      \
    parse((const char *const[]){"busbar", __VA_ARGS__}, \
          sizeof((const char *const[]){"busbar", __VA_ARGS__}) / sizeof(char *))

static void flags_have_two_forms(void **state)
{
    assert_int_equal(PARSE("serve", "--pg-proxy-port", "1", "--http-port=2", "--auth-jwt-key=a=b"), 0);
    assert_string_equal(in.name, "busbar serve");
    assert_ptr_equal(in.command, &leaves[0]);
    assert_string_equal(settings_text(&in.settings, OPT_PG_PROXY_PORT), "1");
    assert_string_equal(settings_text(&in.settings, OPT_HTTP_PORT), "2");
    assert_string_equal(settings_text(&in.settings, OPT_AUTH_JWT_KEY), "a=b");
    assert_int_equal(in.settings.of[OPT_HTTP_PORT].source, SOURCE_FLAG);
}

static void value_may_begin_with_a_dash(void **state)
{
    assert_int_equal(PARSE("serve", "--pg-proxy-password", "--secret"), 0);
    assert_string_equal(settings_text(&in.settings, OPT_PG_PROXY_PASSWORD), "--secret");
}

static void switches_need_no_value(void **state)
{
    assert_int_equal(PARSE("dev", "--ephemeral", "--no-electric-use-ipv6", "--database-require-ssl=maybe"),
                     0);
    assert_string_equal(settings_text(&in.settings, OPT_EPHEMERAL), "true");
    assert_string_equal(settings_text(&in.settings, OPT_USE_IPV6), "false");
    assert_string_equal(settings_text(&in.settings, OPT_DATABASE_REQUIRE_SSL), "maybe");
}

static void last_flag_wins(void **state)
{
    assert_int_equal(PARSE("serve", "--http-port=1", "--http-port=2"), 0);
    assert_string_equal(settings_text(&in.settings, OPT_HTTP_PORT), "2");
}

static void unknown_flag_names_the_nearest(void **state)
{
    static const struct {
        const char *flag, *message;
    } cases[] = {
        {"--pg-proxy-prot", "unknown option --pg-proxy-prot (did you mean --pg-proxy-port?)"},
        {"--pg-prox-port=5", "unknown option --pg-prox-port (did you mean --pg-proxy-port?)"},
        {"--htp-port", "unknown option --htp-port (did you mean --http-port?)"},
        {"--no-http-port", "unknown option --no-http-port (did you mean --http-port?)"},
        {"--something-else-entirely", "unknown option --something-else-entirely"},
        {"--ephemeral", "unknown option --ephemeral"},
        {"-x", "unknown option -x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(PARSE("serve", cases[i].flag), -1);
        assert_string_equal(err.msg, cases[i].message);
    }
}

static void missing_value_is_told(void **state)
{
    assert_int_equal(PARSE("serve", "--http-port"), -1);
    assert_string_equal(err.msg, "option --http-port needs a value: --http-port PORT");
}

static void unknown_command_names_the_nearest(void **state)
{
    assert_int_equal(PARSE("sevre"), -1);
    assert_string_equal(err.msg, "unknown command sevre (did you mean serve?)");
    assert_int_equal(PARSE("migrate-all"), -1);
    assert_string_equal(err.msg, "unknown command migrate-all");
}

static void arguments_are_only_for_those_that_take_them(void **state)
{
    assert_int_equal(PARSE("serve", "now"), -1);
    assert_string_equal(err.msg, "unexpected argument now");
    assert_int_equal(PARSE("help", "dev"), 0);
    assert_int_equal(in.arguments_n, 1);
    assert_string_equal(in.arguments[0], "dev");
    assert_int_equal(PARSE("help", "--", "--x"), 0);
    assert_string_equal(in.arguments[0], "--x");
    assert_int_equal(PARSE("help", "1", "2", "3", "4", "5"), -1);
}

static void help_wins_over_faults(void **state)
{
    assert_int_equal(PARSE("serve", "--bad", "--help"), -1);
    assert_true(in.help);
    assert_string_equal(in.name, "busbar serve");
    assert_int_equal(PARSE("-h"), 0);
    assert_true(in.help);
    assert_ptr_equal(in.command, &root);
    assert_int_equal(PARSE("--version"), 0);
    assert_true(in.version);
}

static void distance_counts_edits(void **state)
{
    assert_int_equal(edit_distance(STR(""), STR("")), 0);
    assert_int_equal(edit_distance(STR("abc"), STR("")), 3);
    assert_int_equal(edit_distance(STR("port"), STR("prot")), 1);
    assert_int_equal(edit_distance(STR("kitten"), STR("sitting")), 3);
    assert_int_equal(edit_distance(STR("a"), (struct str){"", 0}), 1);
    assert_true(edit_distance(
                    STR("a"),
                    STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")) > 60);
}

static void help_shows_what_a_command_takes(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 20);
    help_put_command(&leaves[0], "busbar serve", &out);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "Usage: busbar serve [OPTION]...\n\nServes.\n"));
    assert_non_null(strstr(
        text,
        "  --http-port PORT                  Port of HTTP and WebSocket. [HTTP_PORT] Default: 5133.\n"));
    assert_null(strstr(text, "--ephemeral"));
    assert_null(strstr(text, "HONEYCOMB"));
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        size_t length = strcspn(line, "\n");
        assert_true(length <= 110);
        assert_true(length == 0 || line[length - 1] != ' ');
    }
}

static void help_of_dev_shows_its_defaults(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 20);
    help_put_command(&leaves[1], "busbar dev", &out);
    assert_non_null(strstr(buf_cstr(&out), "--ephemeral"));
    assert_non_null(strstr(buf_cstr(&out), "Default: localhost."));
}

static void markdown_has_every_variable(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 20);
    help_put_markdown(&out);
    assert_false(out.overflow);
    for (int id = 0; id < OPTION_COUNT; id++) {
        char cell[128];
        snprintf(cell, sizeof cell, "`%s", options[id].variable ? options[id].variable : options[id].flag);
        assert_non_null(strstr(buf_cstr(&out), cell));
    }
}

static void secrets_are_masked(void **state)
{
    struct config config = CONFIG_INIT;
    struct faults faults = FAULTS_INIT;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(4096);
    settings_set(&in.settings, OPT_DATABASE_URL, STR("postgres://u:hunter2@h/d"), SOURCE_FLAG);
    settings_set(&in.settings, OPT_PG_PROXY_PASSWORD, STR("hunter2"), SOURCE_FLAG);
    settings_set(&in.settings, OPT_HTTP_PORT, STR("80"), SOURCE_FLAG);
    config_read(&in.settings, FOR_SERVE, &config, &faults);
    for (int id = 0; id < OPTION_COUNT; id++) {
        help_put_value(&in.settings, &config, (enum option_id)id, &out);
        buf_put_byte(&out, ';');
    }
    assert_null(strstr(buf_cstr(&out), "hunter2"));
    assert_non_null(strstr(buf_cstr(&out), "postgresql://u:********@h:5432/d;"));
    assert_non_null(strstr(buf_cstr(&out), ";80;"));
    faults_deinit(&faults);
    config_deinit(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(flags_have_two_forms, teardown),
        cmocka_unit_test_teardown(value_may_begin_with_a_dash, teardown),
        cmocka_unit_test_teardown(switches_need_no_value, teardown),
        cmocka_unit_test_teardown(last_flag_wins, teardown),
        cmocka_unit_test_teardown(unknown_flag_names_the_nearest, teardown),
        cmocka_unit_test_teardown(missing_value_is_told, teardown),
        cmocka_unit_test_teardown(unknown_command_names_the_nearest, teardown),
        cmocka_unit_test_teardown(arguments_are_only_for_those_that_take_them, teardown),
        cmocka_unit_test_teardown(help_wins_over_faults, teardown),
        cmocka_unit_test_teardown(distance_counts_edits, teardown),
        cmocka_unit_test_teardown(help_shows_what_a_command_takes, teardown),
        cmocka_unit_test_teardown(help_of_dev_shows_its_defaults, teardown),
        cmocka_unit_test_teardown(markdown_has_every_variable, teardown),
        cmocka_unit_test_teardown(secrets_are_masked, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
