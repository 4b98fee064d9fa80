/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that bind the AUTH_ options together: what each mode requires, and whether the key fits; and how
 * they become the rules by which tokens are checked.
 */
#pragma once

#include "app/config.h"

/* After the single options were read into *auth: fills auth->key or adds faults. */
void auth_config_check(const struct settings *settings, struct config_auth *auth, struct faults *faults);

/*
 * What tokens are checked by. Cannot fail for a configuration without faults. Copies all it needs: after a
 * reload make it anew.
 */
MUST_USE int auth_rules_new(const struct config_auth *auth, struct token_rules **out_rules, struct err *err);
