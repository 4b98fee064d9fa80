/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration in a .env file and a secret file, changed under a running service. */
#include "app/reload.h"

#include "app/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>
#include <unistd.h>

static char folder[64], dotenv[128], secret[128];
static struct settings flags, settings;
static struct config config;
static struct config_source source;

static void write_file(const char *path, const char *text)
{
    struct err err;
    assert_int_equal(file_write(path, 0600, str_c(text), &err), 0);
}

#define USUAL "DATABASE_URL=postgresql://u:p@h/d\nAUTH_MODE=insecure\n"

static void write_dotenv(const char *more)
{
    char text[2048];
    snprintf(text, sizeof text, USUAL "%s\n", more);
    write_file(dotenv, text);
}

static void start(const char *more)
{
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(4096);
    CLEANUP(faults_deinit) struct faults faults = FAULTS_INIT;
    write_dotenv(more);
    config_source_read(&source, &settings, &config, &faults, &warnings);
    assert_int_equal(faults.count, 0);
}

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/busbar-test-XXXXXX");
    bool made = mkdtemp(folder) != NULL;
    snprintf(dotenv, sizeof dotenv, "%s/.env", folder);
    snprintf(secret, sizeof secret, "%s/secret", folder);
    source = (struct config_source){.command = FOR_SERVE, .flags = &flags, .dotenv = dotenv};
    return made ? 0 : -1;
}

static int teardown(void **state)
{
    struct err err;
    settings_deinit(&flags);
    settings_deinit(&settings);
    config_deinit(&config);
    log_set_level(LOG_INFO);
    return folder_remove(folder, &err);
}

/* What one reload comes to. */
static void expect(const char *outcome)
{
    struct reload r;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    reload_read(&r, &source, &settings, &config);
    reload_put_outcome(&r, &text);
    reload_finish(&r, &settings, &config);
    assert_string_equal(buf_cstr(&text), outcome);
}

static void what_reloads_is_put_in_place(void **state)
{
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD=two\nLOG_LEVEL=debug\nBUSBAR_IDLE_TIMEOUT=5min");
    expect("reloaded: PG_PROXY_PASSWORD, BUSBAR_IDLE_TIMEOUT, LOG_LEVEL changed");
    assert_string_equal(config.proxy.password, "two");
    assert_int_equal(config.proxy.idle_timeout_ms, 300000);
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_true(log_enabled(LOG_DEBUG));
    expect("reloaded: no option changed");
    write_dotenv("PG_PROXY_PASSWORD=two\nLOG_LEVEL=error");
    expect("reloaded: BUSBAR_IDLE_TIMEOUT, LOG_LEVEL changed");
    assert_int_equal(config.proxy.idle_timeout_ms, 0);
    assert_false(log_enabled(LOG_WARNING));
}

static void what_needs_a_restart_refuses_the_whole(void **state)
{
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD=two\nHTTP_PORT=1234");
    expect("reload refused: HTTP_PORT changed and needs a restart, nothing changed");
    assert_string_equal(config.proxy.password, "one");
    assert_int_equal(config.http_port, 5133);
    write_dotenv("PG_PROXY_PASSWORD=two\nHTTP_PORT=1234\nBUSBAR_LISTEN=localhost");
    expect("reload refused: HTTP_PORT, BUSBAR_LISTEN changed and need a restart, nothing changed");
    write_dotenv("PG_PROXY_PASSWORD=two");
    expect("reloaded: PG_PROXY_PASSWORD changed");
    assert_string_equal(config.proxy.password, "two");
}

static void faults_refuse_the_whole_and_are_named(void **state)
{
    struct reload r;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD=  \nLOG_LEVEL=loud\nBUSBAR_DRAIN_TIMEOUT=5s\nno assignment");
    reload_read(&r, &source, &settings, &config);
    assert_true(reload_is_refused(&r));
    reload_put_outcome(&r, &text);
    assert_string_equal(buf_cstr(&text), "reload refused: the configuration is faulty, nothing changed");
    assert_non_null(strstr(buf_cstr(&r.faults), ".env: not a KEY=VALUE line (skipped)\n"));
    assert_non_null(strstr(buf_cstr(&r.faults), "PG_PROXY_PASSWORD not set\n"));
    assert_non_null(strstr(buf_cstr(&r.faults), "LOG_LEVEL has invalid value: \"loud\""));
    reload_finish(&r, &settings, &config);
    assert_string_equal(config.proxy.password, "one");
    assert_int_equal(config.proxy.drain_timeout_ms, 25000);
    assert_string_equal(settings_text(&settings, OPT_PG_PROXY_PASSWORD), "one");
}

static void a_broken_dotenv_changes_nothing(void **state)
{
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD='two");
    expect("reload refused: the configuration is faulty, nothing changed");
    assert_string_equal(config.proxy.password, "one");
}

static void a_secret_file_is_read_anew(void **state)
{
    char more[256];
    snprintf(more, sizeof more, "PG_PROXY_PASSWORD_FILE=%s", secret);
    write_file(secret, "one\n");
    start(more);
    assert_string_equal(config.proxy.password, "one");
    write_file(secret, "two\n");
    expect("reloaded: PG_PROXY_PASSWORD changed");
    assert_string_equal(config.proxy.password, "two");
    assert_int_equal(unlink(secret), 0);
    expect("reload refused: the configuration is faulty, nothing changed");
    assert_string_equal(config.proxy.password, "two");
}

static void a_flag_stays_what_it_was(void **state)
{
    settings_set(&flags, OPT_PG_PROXY_PASSWORD, STR("flag"), SOURCE_FLAG);
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD=two");
    expect("reloaded: no option changed");
    assert_string_equal(config.proxy.password, "flag");
}

static void the_instance_keeps_its_name(void **state)
{
    char id[64];
    start("PG_PROXY_PASSWORD=one");
    snprintf(id, sizeof id, "%s", config.instance_id);
    write_dotenv("PG_PROXY_PASSWORD=two");
    expect("reloaded: PG_PROXY_PASSWORD changed");
    assert_string_equal(config.instance_id, id);
    write_dotenv("PG_PROXY_PASSWORD=two\nELECTRIC_INSTANCE_ID=other");
    expect("reload refused: ELECTRIC_INSTANCE_ID changed and needs a restart, nothing changed");
}

/* As when a certificate cannot be loaded. */
static void who_applies_it_can_refuse(void **state)
{
    struct reload r;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    start("PG_PROXY_PASSWORD=one");
    write_dotenv("PG_PROXY_PASSWORD=two");
    reload_read(&r, &source, &settings, &config);
    assert_false(reload_is_refused(&r));
    assert_string_equal(r.config.proxy.password, "two");
    reload_refuse(&r, "cannot use it");
    reload_put_outcome(&r, &text);
    assert_string_equal(buf_cstr(&text), "reload refused: cannot use it, nothing changed");
    reload_finish(&r, &settings, &config);
    assert_string_equal(config.proxy.password, "one");
    expect("reloaded: PG_PROXY_PASSWORD changed");
}

int main(void)
{
#define RELOAD_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        RELOAD_TEST(what_reloads_is_put_in_place),
        RELOAD_TEST(what_needs_a_restart_refuses_the_whole),
        RELOAD_TEST(faults_refuse_the_whole_and_are_named),
        RELOAD_TEST(a_broken_dotenv_changes_nothing),
        RELOAD_TEST(a_secret_file_is_read_anew),
        RELOAD_TEST(a_flag_stays_what_it_was),
        RELOAD_TEST(the_instance_keeps_its_name),
        RELOAD_TEST(who_applies_it_can_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
