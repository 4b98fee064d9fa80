/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The composition of the service. How the database comes to be ready:
 *
 *   CONNECTING --up--> PREPARING --installed--> READY
 *       ^                  | failed: again after a pause       any of them --down--> CONNECTING
 *       +------------------+ fatal: the service ends
 */
#include "app/serve.h"

#include "app/advice.h"
#include "app/auth_config.h"
#include "app/files.h"
#include "app/foreign_cancel.h"
#include "app/reload.h"
#include "app/signals.h"
#include "app/tls_config.h"
#include "app/version.h"
#include "app/watchman.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/api.h"
#include "hub/hub.h"
#include "net/loop.h"
#include "net/tls.h"
#include "pg/client.h"
#include "pg/install.h"
#include "proxy/proxy.h"
#include "proxy/tunnel.h"
#include "sync/conn.h"
#include "sync/token.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { INSTALL_RETRY_MS = 2000, DOWN_AGAIN_MS = 60000, STOP_MS = 5000, FAREWELL_MS = 1000 };

struct serve {
    const struct serve_input *in;
    const struct serve_hooks *hooks;
    struct loop *loop;
    struct proxy *proxy;
    struct api *api;
    struct tunnels *tunnels; /* NULL: not configured */
    struct api_state api_state;
    struct pg_client *client;
    struct foreign_cancel *foreign_cancel;
    struct token_rules *tokens;
    char log_folder[PATH_MAX];
    struct hub *hub;
    struct sync_server *sync;
    struct install *install;
    struct watchman *watchman;
    uint64_t history_faults; /* noticed by the api */
    struct timer *retry, *watchdog, *drain_timer;
    struct sigwatch *signals[4];
    bool installed; /* the database has been prepared */
    char *secret;   /* what the proxy's sessions are known by, since then */
    bool draining;  /* the end has begun */
    bool cut;       /* and the time for it is over */
    bool announced; /* ready was said once */
    bool suspect;   /* our own connection was lost; whether the database is, the next attempt will tell */
    char logged_down[sizeof((struct err *)0)->msg]; /* the last reason that was logged, and when */
    uint64_t logged_down_ms;
    bool failed;
    struct err err;
};

static void stop_failed(struct serve *sv, const struct err *err)
{
    sv->failed = true;
    sv->err = *err;
    loop_stop(sv->loop);
}

static void not_ready(struct serve *sv, const char *what, const char *why)
{
    if (sv->draining) {
        return; /* and stays so */
    }
    char reason[700];
    snprintf(reason, sizeof reason, "the migrations proxy is not ready: %s%s%s", what, *why ? ": " : "", why);
    sv->api_state.ready = false;
    sv->installed = false;
    snprintf(sv->api_state.reason, sizeof sv->api_state.reason, "%s%s%s", what, *why ? ": " : "", why);
    proxy_set_not_ready(sv->proxy, reason);
    notify_status(sv->in->notify, "%s", reason);
}

/* Told again after a reload: the service manager takes READY for its end. */
static void tell_ready(const struct serve *sv)
{
    if (!sv->api_state.ready) {
        notify_ready(sv->in->notify, "%s", sv->api_state.reason);
        return;
    }
    notify_ready(sv->in->notify, "serving: proxy port %u, http port %u, postgres %s", proxy_port(sv->proxy),
                 api_port(sv->api), sv->api_state.server_version);
}

static void prepare(struct serve *sv);

static void on_retry(void *ctx)
{
    struct serve *sv = ctx;
    if (pg_client_state(sv->client) == PG_CLIENT_UP && !sv->install && !sv->api_state.ready) {
        prepare(sv);
    }
}

static void on_install_failed(struct serve *sv, const struct install_outcome *o)
{
    log_error(NULL, "the database cannot be prepared: %s%s%s", o->err.msg, *o->hint ? " hint=" : "", o->hint);
    if (o->fatal) {
        struct err err = o->err;
        err_context(&err, "the database cannot be prepared");
        stop_failed(sv, &err);
        return;
    }
    not_ready(sv, "the database could not be prepared", o->err.msg);
    timer_start(sv->retry, INSTALL_RETRY_MS);
}

static void on_port_told(void *ctx, const struct pg_result *result)
{
    (void)ctx;
    if (!result->ok) {
        log_warning(NULL, "the hints of the database may name another proxy port: %s", result->err.msg);
    }
}

/* The hints of the database's refusals say where the proxy is. */
static void tell_port(struct serve *sv)
{
    char port[8];
    const char *const params[] = {port};
    snprintf(port, sizeof port, "%u", proxy_port(sv->proxy));
    pg_client_query(
        sv->client,
        "INSERT INTO busbar.settings AS s (name, value) VALUES ('proxy_port', $1) ON CONFLICT (name) "
        "DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value",
        params, 1, on_port_told, NULL);
}

/* What the database answered is known, and whether changes come from it. Without them the proxy serves all
 * the same: another instance may have the slot still, or this server may not be made for it. */
static void become_ready(struct serve *sv)
{
    struct api_state *state = &sv->api_state;
    const char *trouble = hub_trouble(sv->hub);
    if (!sv->installed || state->ready || sv->draining || !(hub_is_ready(sv->hub) || trouble)) {
        return;
    }
    proxy_set_ready(sv->proxy, sv->secret, state->guard);
    state->ready = true;
    snprintf(state->reason, sizeof state->reason, "%s", "");
    log_info(NULL, "ready proxy_port=%u http_port=%u postgres=%s guard=%s sync=%s", proxy_port(sv->proxy),
             api_port(sv->api), state->server_version, state->guard ? "on" : "off", trouble ? "off" : "on");
    if (!sv->announced && sv->hooks->ready) {
        sv->hooks->ready(sv->hooks->ctx, proxy_port(sv->proxy), api_port(sv->api));
    }
    sv->announced = true;
    tell_ready(sv);
    watchman_start(sv->watchman, sv->secret);
}

static void on_hub_changed(void *ctx)
{
    become_ready(ctx);
}

static void on_installed(void *ctx, const struct install_outcome *o)
{
    struct serve *sv = ctx;
    struct err err;
    sv->install = NULL;
    if (sv->draining) {
        return;
    }
    if (!o->ready) {
        on_install_failed(sv, o);
        return;
    }
    if (!o->guard) {
        log_warning(NULL,
                    "no event triggers guard the schema (%s): the proxy itself looks for changes before each "
                    "COMMIT; those made elsewhere, or by functions, are found later, as drift. hint: busbar "
                    "check prints what a superuser would run",
                    o->guard_reason);
    }
    free(sv->secret);
    sv->secret = mem_strdup(o->secret);
    sv->installed = true;
    sv->api_state.ready = false;
    sv->api_state.guard = o->guard;
    snprintf(sv->api_state.guard_reason, sizeof sv->api_state.guard_reason, "%s", o->guard_reason);
    snprintf(sv->api_state.server_version, sizeof sv->api_state.server_version, "%s", o->server_version);
    tell_port(sv);
    if (hub_follow(sv->hub, &err) < 0) {
        stop_failed(sv, &err);
        return;
    }
    become_ready(sv);
}

static void prepare(struct serve *sv)
{
    timer_stop(sv->retry);
    if (!sv->api_state.ready) {
        not_ready(sv, "the database is being prepared", "");
    }
    sv->install = install_start(sv->client, &install_embedded, on_installed, sv);
}

/* Attempts go on for ever; the log has each reason once, and again after a while. */
static void log_down(struct serve *sv, const char *message)
{
    uint64_t now = loop_now_ms(sv->loop);
    if (strcmp(message, sv->logged_down) == 0 && now - sv->logged_down_ms < DOWN_AGAIN_MS) {
        return;
    }
    const char *hint = advice_for_connection(message);
    snprintf(sv->logged_down, sizeof sv->logged_down, "%s", message);
    sv->logged_down_ms = now;
    log_warning(NULL, "the database is not reachable, trying again: %s%s%s", message, *hint ? " hint: " : "",
                hint);
}

static void on_client_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct serve *sv = ctx;
    switch (state) {
    case PG_CLIENT_UP:
        log_info(NULL, "connected to the database");
        sv->logged_down[0] = '\0';
        sv->suspect = false;
        prepare(sv);
        return;
    case PG_CLIENT_DOWN:
        watchman_stop(sv->watchman);
        log_down(sv, why->err.msg);
        if (sv->api_state.ready && !sv->suspect) {
            sv->suspect = true; /* clients still try for themselves */
            return;
        }
        not_ready(sv, "the database is not reachable", why->err.msg);
        return;
    case PG_CLIENT_CONNECTING:
        return;
    }
}

static void on_drained(void *ctx)
{
    struct serve *sv = ctx;
    loop_stop(sv->loop);
}

/* What sessions have said may still be on its way through tunnels. */
static void on_sessions_drained(void *ctx)
{
    struct serve *sv = ctx;
    tunnels_await_none(sv->tunnels, on_drained, sv);
}

/* What is told to those in the middle of something has to get through tunnels, while the loop runs. */
static void on_drain_timeout(void *ctx)
{
    struct serve *sv = ctx;
    struct proxy_stats stats;
    if (sv->cut) {
        loop_stop(sv->loop);
        return;
    }
    proxy_read_stats(sv->proxy, &stats);
    log_warning(NULL, "stopping with %llu sessions in the middle of something: the time to drain is over",
                (unsigned long long)stats.sessions);
    sv->cut = true;
    proxy_cut(sv->proxy);
    timer_start(sv->drain_timer, FAREWELL_MS);
}

/* Who is in a transaction may finish it. Whoever asks for /api/status is sent elsewhere. */
static void start_drain(struct serve *sv)
{
    uint64_t limit = sv->in->config->proxy.drain_timeout_ms;
    sv->draining = true;
    watchman_stop(sv->watchman);
    sync_server_stop(sv->sync);
    sv->api_state.ready = false;
    snprintf(sv->api_state.reason, sizeof sv->api_state.reason, "the service is stopping");
    log_info(NULL, "draining: %s; open transactions have %.1f seconds to end", strsignal(SIGTERM),
             (double)limit / 1000);
    notify_stopping(sv->in->notify, "draining: open transactions have %.1f seconds to end",
                    (double)limit / 1000);
    notify_extend_timeout(sv->in->notify, limit + STOP_MS);
    timer_start(sv->drain_timer, limit);
    tunnels_stop(sv->tunnels);
    proxy_drain(sv->proxy, on_sessions_drained, sv);
}

static enum gate_tls gate_tls(const struct config_tls *config)
{
    static const enum gate_tls modes[] = {[TLS_DISABLE] = GATE_TLS_OFF,
                                          [TLS_ALLOW] = GATE_TLS_ALLOWED,
                                          [TLS_REQUIRE] = GATE_TLS_REQUIRED,
                                          [TLS_VERIFY_CA] = GATE_TLS_CLIENT_CERT};
    return modes[config->mode];
}

/* Reads the certificates, whose reference out->tls is the caller's. */
static int policy_of(const struct config *config, struct policy_options *out, struct err *err)
{
    struct tls_server *tls;
    if (tls_config_load(&config->proxy.tls, &tls, err) < 0) {
        return -1;
    }
    if (tls && *tls_server_warning(tls)) {
        log_warning(NULL, "%s", tls_server_warning(tls));
    }
    *out = (struct policy_options){.method = config->proxy.auth == PROXY_AUTH_MD5 ? GATE_MD5 : GATE_SCRAM,
                                   .tls_mode = gate_tls(&config->proxy.tls),
                                   .tls = tls,
                                   .password = config->proxy.password,
                                   .url = config->database.conninfo,
                                   .require_ssl = config->database.require_ssl,
                                   .max_connections = config->proxy.max_connections,
                                   .login_timeout_ms = config->proxy.login_timeout_ms,
                                   .idle_timeout_ms = config->proxy.idle_timeout_ms};
    return 0;
}

static void set_tokens(struct serve *sv, struct token_rules *tokens)
{
    hub_set_tokens(sv->hub, tokens);
    token_rules_free(sv->tokens);
    sv->tokens = tokens;
}

/* Logins from now on go by it, of the proxy's clients and of sync clients; sessions that are open stay. */
static int apply(struct serve *sv, const struct config *config, struct err *err)
{
    struct policy_options policy;
    struct token_rules *tokens;
    if (auth_rules_new(&config->auth, &tokens, err) < 0) {
        return -1;
    }
    if (policy_of(config, &policy, err) < 0) {
        token_rules_free(tokens);
        return -1;
    }
    int rc = proxy_set_policy(sv->proxy, &policy, err);
    tls_server_unref(policy.tls);
    if (rc < 0) {
        token_rules_free(tokens);
        return rc;
    }
    set_tokens(sv, tokens);
    return 0;
}

static void reload(struct serve *sv)
{
    const struct serve_input *in = sv->in;
    struct reload r;
    struct err err;
    if (sv->draining) {
        log_warning(NULL, "reload refused: the service is stopping, nothing changed");
        return;
    }
    if (sv->announced) {
        notify_reloading(in->notify);
    }
    reload_read(&r, in->source, in->settings, in->config);
    if (!reload_is_refused(&r) && apply(sv, &r.config, &err) < 0) {
        reload_refuse(&r, err.msg);
    }
    reload_finish(&r, in->settings, in->config);
    if (sv->announced) {
        tell_ready(sv);
    }
}

static void on_watchdog(void *ctx)
{
    struct serve *sv = ctx;
    notify_watchdog(sv->in->notify);
    timer_start(sv->watchdog, sv->in->notify->watchdog_ms / 2);
}

static void on_signal(void *ctx, int signum)
{
    struct serve *sv = ctx;
    struct err err;
    if (signum == SIGCHLD) {
        if (sv->hooks->child && sv->hooks->child(sv->hooks->ctx, &err) < 0) {
            stop_failed(sv, &err);
        }
        return;
    }
    if (signum == SIGHUP) {
        reload(sv);
        return;
    }
    if (signum == SIGTERM && !sv->draining) {
        start_drain(sv);
        return;
    }
    log_info(NULL, "stopping: %s", strsignal(signum));
    notify_stopping(sv->in->notify, "stopping: %s", strsignal(signum));
    loop_stop(sv->loop);
}

static void fill_numbers(void *ctx, struct proxy_stats *out_proxy, struct sync_stats *out_sync)
{
    const struct serve *sv = ctx;
    proxy_read_stats(sv->proxy, out_proxy);
    hub_read_stats(sv->hub, out_sync);
    out_sync->clients_dropped = sync_server_dropped(sv->sync);
}

static uint64_t history_faults(void *ctx)
{
    struct serve *sv = ctx;
    struct proxy_stats stats;
    proxy_read_stats(sv->proxy, &stats);
    return sv->history_faults + stats.history_faults;
}

/* --- start and end --- */

static struct listen_options listen_on(const struct config *config, uint16_t port, const int *inherited,
                                       size_t inherited_n)
{
    return (struct listen_options){.address = config->listen,
                                   .ipv6 = config->use_ipv6,
                                   .port = port,
                                   .reuse_port = config->reuseport,
                                   .inherited = inherited,
                                   .inherited_n = inherited_n};
}

static int open_sync(struct serve *sv, struct err *err)
{
    const struct config *config = sv->in->config;
    struct hub_options hub = {.feed = {.url = config->database.conninfo,
                                       .require_ssl = config->database.require_ssl,
                                       .window = config->wal_window},
                              .client = sv->client,
                              .changed = on_hub_changed,
                              .ctx = sv};
    hub.feed.folder = sv->log_folder;
    if (path_printf(sv->log_folder, sizeof sv->log_folder, err, "%s/log", config->data) < 0 ||
        auth_rules_new(&config->auth, &sv->tokens, err) < 0) {
        return -1;
    }
    hub.tokens = sv->tokens;
    sv->hub = hub_new(sv->loop, &hub);
    struct sync_server_options sync = {
        .service = &client_service, .hub = sv->hub, .instance = str_c(config->instance_id)};
    sv->sync = sync_server_new(sv->loop, api_server(sv->api), &sync);
    return 0;
}

static int open_ports(struct serve *sv, struct err *err)
{
    const struct config *config = sv->in->config;
    const struct inherited_split *sockets = sv->in->sockets;
    struct proxy_options proxy = {.listen =
                                      listen_on(config, config->proxy.port, sockets->proxy, sockets->proxy_n),
                                  .proxy_protocol = config->proxy.proxy_protocol,
                                  .workers = config->proxy.workers,
                                  .cancel_elsewhere = foreign_cancel_send,
                                  .cancel_ctx = sv->foreign_cancel};
    proxy.listen.socket_folder = config->proxy.socket_folder;
    proxy.listen.socket_mode = config->proxy.socket_mode;
    struct api_options api = {.http.listen =
                                  listen_on(config, config->http_port, sockets->http, sockets->http_n),
                              .client = sv->client,
                              .state = &sv->api_state,
                              .version = busbar_version,
                              .fill = fill_numbers,
                              .history_faults = &sv->history_faults,
                              .ctx = sv};
    if (policy_of(config, &proxy.policy, err) < 0) {
        return -1;
    }
    int rc = proxy_new(sv->loop, &proxy, &sv->proxy, err);
    tls_server_unref(proxy.policy.tls); /* the proxy holds its own reference */
    if (rc < 0) {
        return err_context(err, "PG_PROXY_PORT");
    }
    if (api_new(sv->loop, &api, &sv->api, err) < 0) {
        return err_context(err, "HTTP_PORT");
    }
    if (config->proxy.tunnel) {
        sv->tunnels = tunnels_new(sv->loop, api_server(sv->api), sv->proxy);
    }
    return open_sync(sv, err);
}

static void close_all(struct serve *sv)
{
    signals_hold(); /* until whoever called us has put his own things away */
    for (size_t i = 0; i < ARRAY_LEN(sv->signals); i++) {
        sigwatch_free(sv->signals[i]);
    }
    install_cancel(sv->install);
    watchman_free(sv->watchman);
    api_free(sv->api);
    tunnels_free(sv->tunnels);
    sync_server_free(sv->sync);
    hub_free(sv->hub);
    token_rules_free(sv->tokens);
    foreign_cancel_free(sv->foreign_cancel);
    proxy_free(sv->proxy);
    pg_client_free(sv->client);
    timer_free(sv->retry);
    timer_free(sv->drain_timer);
    timer_free(sv->watchdog);
    loop_free(sv->loop);
    if (sv->secret) {
        mem_wipe(sv->secret, strlen(sv->secret));
        free(sv->secret);
    }
    findings_deinit(&sv->api_state.drift);
    findings_deinit(&sv->api_state.unusable);
}

/* A client costs two descriptors; the usual soft limit of 1024 is for programs that use select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void watch_signals(struct serve *sv)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGCHLD, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        if (signals[i] != SIGHUP || sv->in->source) {
            sv->signals[i] = sigwatch_new(sv->loop, signals[i], on_signal, sv);
        }
    }
    signals_release();
}

static void start_watchdog(struct serve *sv)
{
    sv->watchdog = timer_new(sv->loop, on_watchdog, sv);
    if (sv->in->notify->watchdog_ms) {
        on_watchdog(sv);
    }
}

int serve_run(const struct serve_input *input, const struct serve_hooks *hooks, struct err *err)
{
    struct serve sv = {.in = input, .hooks = hooks, .loop = loop_new()};
    struct pg_client_options client = {.url = input->config->database.conninfo,
                                       .require_ssl = input->config->database.require_ssl,
                                       .application_name = "busbar"};
    raise_descriptor_limit();
    watch_signals(&sv);
    start_watchdog(&sv);
    sv.retry = timer_new(sv.loop, on_retry, &sv);
    sv.drain_timer = timer_new(sv.loop, on_drain_timeout, &sv);
    sv.client = pg_client_new(sv.loop, &client, on_client_state, &sv);
    sv.foreign_cancel = foreign_cancel_new(sv.client);
    sv.watchman = watchman_new(sv.loop, &(struct watchman_options){.config = input->config,
                                                                   .client = sv.client,
                                                                   .drift = &sv.api_state.drift,
                                                                   .unusable = &sv.api_state.unusable,
                                                                   .history_faults = history_faults,
                                                                   .ctx = &sv});
    snprintf(sv.api_state.reason, sizeof sv.api_state.reason, "starting up");
    if (open_ports(&sv, err) == 0) {
        if (hooks->child) {
            on_signal(&sv, SIGCHLD); /* a child may have gone before it was watched */
        }
        if (!sv.failed) {
            loop_run(sv.loop);
        }
    } else {
        sv.failed = true;
        sv.err = *err;
    }
    close_all(&sv);
    if (sv.failed) {
        *err = sv.err;
        return -1;
    }
    log_info(NULL, "stopped");
    return 0;
}
