/* SPDX-License-Identifier: Apache-2.0 */
#include "app/tls_config.h"

#include "net/tls.h"

static struct tls_options tls_options(const struct config_tls *config)
{
    return (struct tls_options){.cert_file = config->cert,
                                .key_file = config->key,
                                .client_ca_file = config->client_ca,
                                .min_version = config->min_version == TLS_AT_LEAST_1_3 ? TLS_VERSION_1_3
                                                                                       : TLS_VERSION_1_2};
}

/* A set of files is whole or there is none. */
static bool check_set(const struct config_tls *config, struct faults *faults)
{
    if (!config->cert && (config->mode != TLS_DISABLE || config->key || config->client_ca)) {
        faults_add(faults, OPT_TLS_CERT, "not set, although %s is",
                   config->key         ? "BUSBAR_TLS_KEY"
                   : config->client_ca ? "BUSBAR_TLS_CLIENT_CA"
                                       : "BUSBAR_TLS");
        return false;
    }
    if (config->cert && !config->key) {
        faults_add(faults, OPT_TLS_KEY, "not set, although BUSBAR_TLS_CERT is");
        return false;
    }
    if (config->mode == TLS_VERIFY_CA && !config->client_ca) {
        faults_add(faults, OPT_TLS_CLIENT_CA, "not set, although BUSBAR_TLS=verify-ca needs it");
        return false;
    }
    return true;
}

static void check_files(const struct config_tls *config, struct faults *faults)
{
    static const enum option_id option_of[] = {[TLS_FILE_CERT] = OPT_TLS_CERT,
                                               [TLS_FILE_KEY] = OPT_TLS_KEY,
                                               [TLS_FILE_CLIENT_CA] = OPT_TLS_CLIENT_CA};
    struct tls_options files = tls_options(config);
    struct tls_server *tls;
    enum tls_file at;
    struct err err = ERR_INIT;
    if (tls_server_new(&files, &tls, &at, &err) < 0) {
        faults_add(faults, option_of[at], "cannot be used: %s", err.msg);
        return;
    }
    tls_server_unref(tls);
}

void tls_config_check(const struct settings *settings, bool load, struct config_tls *config,
                      struct faults *faults)
{
    if (faults->of[OPT_TLS] || faults->of[OPT_TLS_MIN_VERSION]) {
        return;
    }
    bool told = settings_text(settings, OPT_TLS) != NULL;
    if (told && config->mode == TLS_DISABLE) {
        return; /* files may be named all the same: TLS is off for a while */
    }
    if (!told && config->cert) {
        config->mode = TLS_ALLOW;
    }
    if (check_set(config, faults) && config->cert && load) {
        check_files(config, faults);
    }
}

int tls_config_load(const struct config_tls *config, struct tls_server **out, struct err *err)
{
    struct tls_options files = tls_options(config);
    *out = NULL;
    return config->mode == TLS_DISABLE ? 0 : tls_server_new(&files, out, NULL, err);
}
