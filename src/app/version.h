/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

extern const char busbar_version[]; /* as in meson.build */
