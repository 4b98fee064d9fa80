/* SPDX-License-Identifier: Apache-2.0 */
#include "app/version.h"

const char busbar_version[] = BUSBAR_VERSION;
