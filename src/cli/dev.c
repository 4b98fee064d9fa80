/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busbar dev: the service with a PostgreSQL of its own, unless DATABASE_URL names one. From before that
 * server starts until after it has stopped, SIGINT and SIGTERM are either held or watched: none ends us half
 * way.
 */
#include "app/cluster.h"
#include "app/serve.h"
#include "app/signals.h"
#include "cli/commands.h"
#include "cli/startup.h"

#include <errno.h>
#include <stdio.h>

struct dev {
    const struct config *config;
    struct startup startup;
    struct cluster *cluster; /* NULL: DATABASE_URL was given */
    bool server_died;
};

static void on_note(void *ctx, const char *line)
{
    fprintf(stderr, "busbar dev: %s\n", line);
}

static bool is_cancelled(void *ctx)
{
    return signals_stop_pending();
}

/* How people name the address in a URL or on a command line. */
static const char *shown_host(const struct config *config)
{
    return config->listen ? config->listen : "localhost";
}

static void put_proxy(struct buf *out, const struct config *config, uint16_t port)
{
    bool usual = strcmp(config->proxy.password, options[OPT_PG_PROXY_PASSWORD].dev_value) == 0;
    buf_printf(out, "  Proxy     PGPASSWORD=%s psql -h %s -p %u -U postgres %s\n",
               usual ? config->proxy.password : "\"$PG_PROXY_PASSWORD\"", shown_host(config), (unsigned)port,
               config->database.url.name);
}

static void put_database(struct buf *out, const struct dev *dev)
{
    buf_put_c(out, "  Database  DATABASE_URL=");
    if (dev->cluster) {
        buf_put_c(out, cluster_url(dev->cluster));
    } else {
        database_url_put_masked(&dev->config->database.url, out);
    }
    buf_put_byte(out, '\n');
}

static void put_http(struct buf *out, const struct config *config, uint16_t port)
{
    bool brackets = strchr(shown_host(config), ':') != NULL;
    char base[128];
    snprintf(base, sizeof base, "http://%s%s%s:%u", brackets ? "[" : "", shown_host(config),
             brackets ? "]" : "", (unsigned)port);
    buf_printf(out, "  HTTP      %s\n  Schema    %s/api/migrations?dialect=sqlite\n", base, base);
}

static void put_cluster(struct buf *out, const struct dev *dev)
{
    const struct cluster *c = dev->cluster;
    buf_printf(out, "  Data      %s (PostgreSQL %d%s)\n  Log       %s\n", cluster_data(c), cluster_version(c),
               dev->config->dev.ephemeral ? ", removed at the end" : "", cluster_log(c));
}

static void on_ready(void *ctx, uint16_t proxy_port, uint16_t http_port)
{
    const struct dev *dev = ctx;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    buf_put_c(&out, "\nBusbar is ready.\n\n");
    put_proxy(&out, dev->config, proxy_port);
    put_database(&out, dev);
    put_http(&out, dev->config, http_port);
    if (dev->cluster) {
        put_cluster(&out, dev);
    }
    buf_put_c(&out, "\nStop it with Ctrl-C.\n\n");
    fwrite(out.p, 1, out.n, stdout);
    fflush(stdout);
}

static int on_child(void *ctx, struct err *err)
{
    struct dev *dev = ctx;
    if (!dev->cluster || cluster_check(dev->cluster, err) == 0) {
        return 0;
    }
    dev->server_died = true;
    return -1;
}

static int start_cluster(struct dev *dev, struct config *config, struct err *err)
{
    struct cluster_options wanted = {.data = config->data,
                                     .ephemeral = config->dev.ephemeral,
                                     .pg_bin = config->dev.pg_bin,
                                     .pg_port = config->dev.pg_port,
                                     .note = on_note,
                                     .is_cancelled = is_cancelled};
    if (cluster_start(&wanted, &dev->cluster, err) < 0) {
        return -1;
    }
    config_set_database(config, cluster_socket_url(dev->cluster));
    config_set_data(config, cluster_data(dev->cluster)); /* a temporary one goes with the cluster */
    return 0;
}

/* SIGHUP ends it: that is what closing its terminal means. */
static int run(struct dev *dev, const struct call *call, struct err *err)
{
    struct config *config = call->config;
    struct serve_input input = {
        .config = config, .notify = &dev->startup.notify, .sockets = &dev->startup.sockets};
    struct serve_hooks hooks = {.ready = on_ready, .child = on_child, .ctx = dev};
    if (startup_begin(call, &dev->startup, err) < 0 ||
        (!config->database.url.host && start_cluster(dev, config, err) < 0)) {
        return -1;
    }
    return serve_run(&input, &hooks, err);
}

int dev_command(const struct call *call)
{
    struct err err = ERR_INIT;
    struct dev dev = {.config = call->config, .startup.notify = NOTIFY_INIT};
    signals_hold();
    int result = run(&dev, call, &err);
    bool stopped = result < 0 && err.kind == ERR_SYSTEM && err.code == EINTR && signals_stop_pending();
    if (result < 0 && !stopped) {
        fprintf(stderr, "busbar dev: %s\n", err.msg);
    }
    if (dev.server_died) {
        cluster_note_log(dev.cluster);
    }
    cluster_stop(dev.cluster);
    startup_deinit(&dev.startup);
    return result < 0 && !stopped ? STATUS_FAULT : STATUS_OK;
}
