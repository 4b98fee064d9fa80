/* SPDX-License-Identifier: Apache-2.0 */
/* Which TLS options go together, and that a file which cannot be used is the fault of the option that names
 * it. */
#include "app/tls_config.h"

#include "net/tls.h"
#include "net/tls_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char folder[64], cert[200], key[200], ca[200];
static struct settings settings;
static struct config config;
static struct faults faults;

static int group_setup(void **state)
{
    strcpy(folder, "/tmp/busbar-tls-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    struct identity id = identity_new(&(struct certificate_wish){.name = "server"});
    write_cert(folder, "server.crt", &id, cert);
    write_key(folder, "server.key", &id, NULL, key);
    write_cert(folder, "ca.crt", &id, ca);
    identity_free(&id);
    return 0;
}

static int group_teardown(void **state)
{
    unlink(cert);
    unlink(key);
    unlink(ca);
    rmdir(folder);
    return 0;
}

static int teardown(void **state)
{
    config_deinit(&config);
    faults_deinit(&faults);
    settings_deinit(&settings);
    memset(&config, 0, sizeof config);
    return 0;
}

static void set(enum option_id id, const char *text)
{
    if (text) {
        settings_set(&settings, id, str_c(text), SOURCE_ENVIRONMENT);
    }
}

struct tls_setting {
    const char *mode, *cert, *key, *ca, *version;
};

static void read_tls(unsigned command, const struct tls_setting *s)
{
    teardown(NULL);
    set(OPT_DATABASE_URL, "postgresql://u:p@h/d");
    set(OPT_PG_PROXY_PASSWORD, "pw");
    set(OPT_AUTH_MODE, "insecure");
    set(OPT_TLS, s->mode);
    set(OPT_TLS_CERT, s->cert);
    set(OPT_TLS_KEY, s->key);
    set(OPT_TLS_CLIENT_CA, s->ca);
    set(OPT_TLS_MIN_VERSION, s->version);
    settings_read_defaults(&settings, command);
    config_read(&settings, command, &config, &faults);
}

static void good_settings_give_a_mode(void **state)
{
    const struct {
        struct tls_setting given;
        enum tls_mode mode;
        bool loaded;
    } table[] = {
        {{NULL}, TLS_DISABLE, false},
        {{"disable", NULL}, TLS_DISABLE, false},
        {{NULL, cert, key}, TLS_ALLOW, true},
        {{"allow", cert, key}, TLS_ALLOW, true},
        {{"prefer", cert, key}, TLS_ALLOW, true},
        {{"require", cert, key, NULL, "TLSv1.3"}, TLS_REQUIRE, true},
        {{"require", cert, key, ca}, TLS_REQUIRE, true},
        {{"verify-ca", cert, key, ca, "TLSv1.2"}, TLS_VERIFY_CA, true},
        {{"disable", "/nowhere", key, ca}, TLS_DISABLE, false}, /* off for a while: not looked at */
        {{"", cert, key}, TLS_ALLOW, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tls_server *tls;
        struct err err;
        read_tls(FOR_SERVE, &table[i].given);
        assert_int_equal(faults.count, 0);
        assert_int_equal(config.proxy.tls.mode, table[i].mode);
        assert_int_equal(tls_config_load(&config.proxy.tls, &tls, &err), 0);
        assert_int_equal(tls != NULL, table[i].loaded);
        tls_server_unref(tls);
    }
}

static void what_does_not_go_together_is_a_fault(void **state)
{
    const struct {
        struct tls_setting given;
        enum option_id id;
        const char *text;
    } table[] = {
        {{"allow"}, OPT_TLS_CERT, "not set, although BUSBAR_TLS is"},
        {{"verify-ca"}, OPT_TLS_CERT, "not set, although BUSBAR_TLS is"},
        {{NULL, NULL, key}, OPT_TLS_CERT, "not set, although BUSBAR_TLS_KEY is"},
        {{NULL, NULL, NULL, ca}, OPT_TLS_CERT, "not set, although BUSBAR_TLS_CLIENT_CA is"},
        {{NULL, cert}, OPT_TLS_KEY, "not set, although BUSBAR_TLS_CERT is"},
        {{"verify-ca", cert, key}, OPT_TLS_CLIENT_CA, "not set, although BUSBAR_TLS=verify-ca needs it"},
        {{"verify-full", cert, key},
         OPT_TLS,
         "has invalid value: \"verify-full\". Must be one of [\"disable\", \"allow\", \"require\", "
         "\"verify-ca\"]"},
        {{NULL, cert, key, NULL, "TLSv1.1"},
         OPT_TLS_MIN_VERSION,
         "has invalid value: \"TLSv1.1\". Must be one of [\"TLSv1.2\", \"TLSv1.3\"]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        read_tls(FOR_SERVE, &table[i].given);
        assert_int_equal(faults.count, 1);
        assert_string_equal(faults.of[table[i].id], table[i].text);
    }
}

static void a_file_that_cannot_be_used_is_the_fault_of_its_option(void **state)
{
    const struct {
        struct tls_setting given;
        enum option_id id;
    } table[] = {
        {{NULL, "/nowhere", key}, OPT_TLS_CERT},
        {{NULL, cert, "/nowhere"}, OPT_TLS_KEY},
        {{NULL, cert, key, "/nowhere"}, OPT_TLS_CLIENT_CA},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *const paths[] = {"certificate file", "private key file", "client CA file"};
        char expected[200];
        read_tls(FOR_SERVE, &table[i].given);
        assert_int_equal(faults.count, 1);
        snprintf(expected, sizeof expected,
                 "cannot be used: cannot read %s \"/nowhere\": No such file or directory", paths[i]);
        assert_string_equal(faults.of[table[i].id], expected);
        read_tls(FOR_SHOW_CONFIG, &table[i].given); /* may be run by somebody who may not read the key */
        assert_int_equal(faults.count, 0);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_teardown(fn, teardown)
    const struct CMUnitTest tests[] = {
        TEST(good_settings_give_a_mode),
        TEST(what_does_not_go_together_is_a_fault),
        TEST(a_file_that_cannot_be_used_is_the_fault_of_its_option),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
