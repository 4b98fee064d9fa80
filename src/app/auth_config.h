/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that bind the AUTH_ options together: what each mode requires, and whether the key fits. */
#pragma once

#include "app/config.h"

/* After the single options were read into *auth: fills auth->key or adds faults. */
void auth_config_check(const struct settings *settings, struct config_auth *auth, struct faults *faults);
