/* SPDX-License-Identifier: Apache-2.0 */
#include "app/settings.h"

#include "app/files.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

enum { FAULT_LIMIT = 4096, QUOTED_LIMIT = 200, SECRET_FILE_LIMIT = 64 * 1024 };

static void wipe_text(char **text)
{
    if (*text) {
        mem_wipe(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

void settings_deinit(struct settings *s)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        wipe_text(&s->of[id].text);
        wipe_text(&s->of[id].file);
        s->of[id].source = SOURCE_UNSET;
        s->of[id].file_source = SOURCE_UNSET;
    }
}

static void set(char **text, enum setting_source *source, struct str new_text, enum setting_source new_source)
{
    if (new_source >= *source) {
        wipe_text(text);
        *text = mem_strndup(new_text.n ? new_text.p : "", new_text.n);
        *source = new_source;
    }
}

void settings_set(struct settings *s, enum option_id id, struct str text, enum setting_source source)
{
    struct setting *setting = &s->of[id];
    if (options[id].repeats && setting->source == source && source == SOURCE_FLAG) {
        CLEANUP(buf_deinit) struct buf both = BUF_INIT(1024 * 1024);
        buf_printf(&both, "%s\n%.*s", setting->text, STR_ARG(text));
        set(&setting->text, &setting->source, buf_str(&both), source);
        return;
    }
    set(&setting->text, &setting->source, text, source);
}

void settings_set_file(struct settings *s, enum option_id id, struct str path, enum setting_source source)
{
    set(&s->of[id].file, &s->of[id].file_source, path, source);
}

static bool names_file_of(const struct option *o, struct str name)
{
    size_t n = strlen(o->variable);
    return o->secret && str_starts_with(name, str_c(o->variable)) &&
           str_eq((struct str){name.p + n, name.n - n}, STR("_FILE"));
}

void settings_set_variable(struct settings *s, unsigned command, struct str name, struct str value,
                           enum setting_source source)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *o = &options[id];
        if (!o->variable || !(o->commands & command)) {
            continue;
        }
        if (str_eq(str_c(o->variable), name)) {
            settings_set(s, (enum option_id)id, value, source);
        } else if (names_file_of(o, name)) {
            settings_set_file(s, (enum option_id)id, value, source);
        }
    }
}

const char *settings_text(const struct settings *s, enum option_id id)
{
    const char *text = s->of[id].text;
    return text && *text == '\0' && options[id].empty_is_unset ? NULL : text;
}

void settings_read_environment(struct settings *s, unsigned command)
{
    for (char **entry = environ; entry && *entry; entry++) {
        struct str value = str_c(*entry);
        struct str name = str_cut(&value, '=');
        settings_set_variable(s, command, name, value, SOURCE_ENVIRONMENT);
    }
}

/* Files written by an editor or by echo end with a line break that is not meant. */
static struct str without_line_break(struct str text)
{
    if (text.n && text.p[text.n - 1] == '\n') {
        text.n--;
        text.n -= text.n && text.p[text.n - 1] == '\r';
    }
    return text;
}

static void use_content(struct setting *setting, enum option_id id, struct str content, struct faults *faults)
{
    if (content.n == 0) {
        faults_add(faults, id, "is empty in the file %s", setting->file);
    } else if (memchr(content.p, '\0', content.n)) {
        faults_add(faults, id, "has a zero byte in the file %s", setting->file);
    } else {
        set(&setting->text, &setting->source, content, setting->file_source);
    }
}

static void read_file(struct setting *setting, enum option_id id, struct faults *faults)
{
    struct buf content = BUF_INIT(SECRET_FILE_LIMIT);
    struct err err = ERR_INIT;
    if (file_read(setting->file, &content, &err) < 0) {
        faults_add(faults, id, "cannot be had: %s", err.msg);
        faults_advise(faults, id, NULL);
    } else {
        use_content(setting, id, without_line_break(buf_str(&content)), faults);
    }
    if (content.p) {
        mem_wipe(content.p, content.cap);
    }
    buf_deinit(&content);
}

void settings_read_files(struct settings *s, struct faults *faults)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        struct setting *setting = &s->of[id];
        if (!setting->file || !*setting->file) {
            continue;
        }
        if (settings_text(s, (enum option_id)id)) {
            faults_add(faults, (enum option_id)id, "is set twice: also by %s_FILE", options[id].variable);
            faults_advise(faults, (enum option_id)id, "Set one of the two.");
        } else {
            setting->source = SOURCE_UNSET; /* an empty text gives way, whatever its source */
            read_file(setting, (enum option_id)id, faults);
        }
    }
}

/* An empty text where empty counts as unset gives way to the default, whatever its source. */
void settings_read_defaults(struct settings *s, unsigned command)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *o = &options[id];
        const char *text = command == FOR_DEV && o->dev_value ? o->dev_value : o->value;
        if (!(o->commands & command) || !text || settings_text(s, (enum option_id)id)) {
            continue;
        }
        s->of[id].source = SOURCE_UNSET;
        settings_set(s, (enum option_id)id, str_c(text), SOURCE_DEFAULT);
    }
}

const char *setting_source_name(enum setting_source source)
{
    static const char *const names[] = {[SOURCE_UNSET] = "unset",
                                        [SOURCE_DEFAULT] = "default",
                                        [SOURCE_FILE] = ".env",
                                        [SOURCE_ENVIRONMENT] = "environment",
                                        [SOURCE_FLAG] = "flag"};
    return names[source];
}

void setting_put_source(const struct setting *setting, struct buf *out)
{
    buf_put_c(out, setting_source_name(setting->source));
    if (setting->file && *setting->file) {
        buf_put_c(out, ", file ");
        put_quoted(out, str_c(setting->file));
    }
}

void faults_deinit(struct faults *f)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        free(f->of[id]);
        free(f->advice[id]);
    }
    free(f->file);
    *f = (struct faults)FAULTS_INIT;
}

static const char *allowed_values(const struct option *o)
{
    switch (o->type) {
    case TYPE_BOOL:
        return "Allowed: true, yes, on, 1, false, no, off, 0.";
    case TYPE_PORT:
        return "Allowed: a port from 1 to 65535.";
    case TYPE_SIZE:
        return "Allowed: a number above 0 with an optional unit: k, m, g (powers of 1000) or K, M, G (of "
               "1024).";
    case TYPE_DURATION:
        return "Allowed: a time with an optional unit, ms, s, min, h or d; a number alone counts seconds.";
    case TYPE_TEXT:
    case TYPE_COUNT:
    case TYPE_MODE:
    case TYPE_CHOICE:
    case TYPE_URL:
    case TYPE_PROXY_PORT:
    case TYPE_ADDRESS:
    case TYPE_NETWORKS:
    case TYPE_FEATURES:
    case TYPE_IGNORED:
        return NULL;
    }
    return NULL;
}

void faults_add(struct faults *f, enum option_id id, const char *fmt, ...)
{
    if (f->of[id]) {
        return;
    }
    const char *advice = options[id].hint ? options[id].hint : allowed_values(&options[id]);
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(FAULT_LIMIT);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    f->of[id] = mem_strdup(buf_cstr(&text));
    f->advice[id] = advice ? mem_strdup(advice) : NULL;
    f->count++;
}

void faults_advise(struct faults *f, enum option_id id, const char *advice)
{
    free(f->advice[id]);
    f->advice[id] = advice ? mem_strdup(advice) : NULL;
}

void faults_add_file(struct faults *f, const char *text)
{
    if (!f->file) {
        f->file = mem_strdup(text);
        f->count++;
    }
}

/* Indents the further lines of a fault or an advice (a sample key has several). */
static void put_lines(struct buf *out, const char *text)
{
    for (; *text; text++) {
        buf_put_byte(out, *text);
        if (*text == '\n' && text[1] != '\n' && text[1] != '\0') {
            buf_put_c(out, "    ");
        }
    }
    buf_put_byte(out, '\n');
}

static void put_fault(const struct faults *f, const struct settings *s, int id, struct buf *out)
{
    const struct option *o = &options[id];
    buf_printf(out, "  * %s ", option_label(o));
    put_lines(out, f->of[id]);
    const struct setting *setting = &s->of[id];
    if (setting->file && *setting->file) {
        buf_printf(out, "    Given by %s_FILE%s.\n", o->variable,
                   setting->file_source == SOURCE_FILE ? " in the file .env" : "");
    } else if (setting->source == SOURCE_FLAG && o->flag) {
        buf_printf(out, "    Given by %s.\n", o->flag);
    } else if (setting->source == SOURCE_FILE) {
        buf_put_c(out, "    Given in the file .env.\n");
    }
    if (f->advice[id]) {
        buf_put_c(out, "    ");
        put_lines(out, f->advice[id]);
    }
    buf_put_byte(out, '\n');
}

void faults_write(const struct faults *f, const struct settings *s, struct buf *out)
{
    buf_put_c(out, "CONFIGURATION ERROR\n\n"
                   "The following required configuration options have invalid or missing values:\n\n");
    if (f->file) {
        buf_printf(out, "  * %s\n\n", f->file);
    }
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (f->of[id]) {
            put_fault(f, s, id, out);
        }
    }
    buf_put_c(out, "All options: busbar serve --help, or docs/config.md.\n");
}

void put_quoted(struct buf *out, struct str value)
{
    buf_put_byte(out, '"');
    for (size_t i = 0; i < value.n && i < QUOTED_LIMIT; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c == '"' || c == '\\') {
            buf_put_byte(out, '\\');
        }
        if (c < ' ' || c == 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_put_byte(out, (char)c);
        }
    }
    buf_put_c(out, value.n > QUOTED_LIMIT ? "…\"" : "\"");
}
