/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for clients of the proxy: which options go together, and the files that they name. */
#pragma once

#include "app/config.h"
#include "base/err.h"

struct tls_server;

/* Settles config->mode; adds faults. load: the files are looked at as well. */
void tls_config_check(const struct settings *settings, bool load, struct config_tls *config,
                      struct faults *faults);

/* Reads the files: *out is the caller's, or NULL when TLS is off. */
MUST_USE int tls_config_load(const struct config_tls *config, struct tls_server **out, struct err *err);
