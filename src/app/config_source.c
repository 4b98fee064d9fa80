/* SPDX-License-Identifier: Apache-2.0 */
#include "app/config_source.h"

#include "app/dotenv.h"

static void copy_flags(const struct settings *flags, struct settings *out)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct setting *flag = &flags->of[id];
        if (flag->source != SOURCE_UNSET) {
            settings_set(out, (enum option_id)id, str_c(flag->text), flag->source);
        }
    }
}

void config_source_read(const struct config_source *source, struct settings *out_settings, struct config *out,
                        struct faults *faults, struct buf *warnings)
{
    copy_flags(source->flags, out_settings);
    settings_read_environment(out_settings, source->command);
    dotenv_read(source->dotenv, source->command, out_settings, faults, warnings);
    settings_read_files(out_settings, faults);
    settings_read_defaults(out_settings, source->command);
    config_read(out_settings, source->command, out, faults);
}
