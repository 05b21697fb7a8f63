/* up: registry, scheduler and one agent on this machine, in the background. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cluster.h"
#include "cli/progress.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define WAIT_DEFAULT_MS 60000
#define PROBE_MS        1000
#define POLL_MS         50
#define STOP_GRACE_MS   15000

struct up {
    struct cli *cli;
    struct cluster cluster;
    struct progress progress;
    struct daemon_record records[CLUSTER_DAEMONS];
    bool started[CLUSTER_DAEMONS];         /* by this run */
    uint64_t log_lengths[CLUSTER_DAEMONS]; /* before that */
};

/* Someone else's listener would answer in our daemon's place. */
static int check_port(struct up *up, enum cluster_daemon which, struct error *error)
{
    AUTO_FREE char *url = cluster_url(up->cluster.ports[which]);
    struct error reason = ERROR_INIT;
    if (session_probe(cli_session(up->cli), url, PROBE_MS, &reason) < 0 &&
        reason.code == ERROR_UNAVAILABLE)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "port %u, which %s wants, is in use by another program: stop it, or choose a "
                     "port with --%s-port",
                     up->cluster.ports[which], cluster_daemon_names[which],
                     cluster_daemon_names[which]);
}

static bool has_option(const struct daemon_record *record, const char *option, const char *value)
{
    for (size_t i = 0; i + 1 < record->command.count; i++) {
        if (strcmp(record->command.items[i], option) == 0)
            return strcmp(record->command.items[i + 1], value) == 0;
    }
    return false;
}

/* A daemon that runs goes on as it was started, whatever is asked for now. */
static void note_ignored(const struct up *up, enum cluster_daemon which,
                         const struct daemon_record *record)
{
    const char *name = cluster_daemon_names[which];
    AUTO_FREE char *port_option = xasprintf("%s-port", name);
    AUTO_FREE char *port = xasprintf("%u", up->cluster.ports[which]);
    bool is_agent = which == CLUSTER_AGENT;
    bool asks_port = invocation_has(up->cli->invocation, port_option);
    const struct {
        const char *option, *own; /* of `up`, and the daemon's for it */
        const char *value;        /* NULL: it was not asked for */
    } asked[] = {
        {port_option, "--port", asks_port ? port : NULL},
        {"node", "--node", is_agent ? invocation_text(up->cli->invocation, "node") : NULL},
        {"accelerator", "--accelerator",
         is_agent ? invocation_text(up->cli->invocation, "accelerator") : NULL},
        {"hypervisor", "--hypervisor",
         is_agent ? invocation_text(up->cli->invocation, "hypervisor") : NULL},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(asked); i++) {
        if (asked[i].value != NULL && !has_option(record, asked[i].own, asked[i].value))
            fprintf(stderr,
                    "shoal: the %s runs already, and was not started with --%s %s: `shoal down` "
                    "first to change that.\n",
                    name, asked[i].option, asked[i].value);
    }
}

static int start(struct up *up, enum cluster_daemon which, struct error *error)
{
    const char *name = cluster_daemon_names[which];
    struct daemon_record *record = &up->records[which];
    AUTO_FREE char *log = cluster_log(&up->cluster, which);
    if (daemon_record_read(up->cluster.run, name, record)) {
        if (daemon_is_alive(record)) {
            note_ignored(up, which, record);
            up->cluster.ports[which] = (uint16_t)record->port;
            if (which == CLUSTER_AGENT)
                strcpy(up->cluster.node, record->node);
            return 0;
        }
        daemon_record_release(record);
    }
    *record = (struct daemon_record){.port = up->cluster.ports[which]};
    if (which == CLUSTER_AGENT)
        strcpy(record->node, up->cluster.node);
    up->log_lengths[which] = daemon_log_length(log);
    if (check_port(up, which, error) < 0 ||
        cluster_command(&up->cluster, which, &record->command, error) < 0 ||
        daemon_start(record, log, error) < 0)
        return -1;
    up->started[which] = true;
    return daemon_record_write(up->cluster.run, name, record, error);
}

/* Whether it serves: /healthz, and for the agent its node, which the scheduler must call ready. */
static bool is_ready(struct up *up, enum cluster_daemon which)
{
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u/healthz", up->cluster.ports[which]);
    if (session_probe(cli_session(up->cli), url, PROBE_MS, NULL) < 0)
        return false;
    if (which != CLUSTER_AGENT)
        return true;
    struct view_list AUTO_VIEWS nodes = {0};
    if (scheduler_nodes(up->cli, &nodes, NULL) < 0)
        return false;
    const struct api_node_view *views = nodes.items;
    for (size_t i = 0; i < nodes.count; i++) {
        if (strcmp(views[i].name, up->cluster.node) == 0 && views[i].state == NODE_READY)
            return true;
    }
    return false;
}

static int fail_with_log(struct up *up, enum cluster_daemon which, const char *why,
                         struct error *error)
{
    AUTO_FREE char *log = cluster_log(&up->cluster, which);
    AUTO_FREE char *tail = daemon_log_tail(log, up->log_lengths[which]);
    return error_set(error, ERROR_UNAVAILABLE, "shoal-%s %s. The end of %s:\n%s",
                     cluster_daemon_names[which], why, log, tail);
}

static int wait_for(struct up *up, enum cluster_daemon which, struct error *error)
{
    uint64_t limit = invocation_duration(up->cli->invocation, "timeout", WAIT_DEFAULT_MS);
    uint64_t end = clock_monotonic_ms(clock_system()) + limit;
    while (!is_ready(up, which)) {
        waitpid((pid_t)up->records[which].pid, NULL, WNOHANG);
        if (!daemon_is_alive(&up->records[which]))
            return fail_with_log(up, which, "ended", error);
        if (clock_monotonic_ms(clock_system()) >= end)
            return fail_with_log(up, which, "does not get ready", error);
        session_sleep(cli_session(up->cli), POLL_MS);
    }
    return 0;
}

static void use_scheduler(struct cli *cli, uint16_t port)
{
    AUTO_FREE char *url = cluster_url(port);
    addresses_parse(url, "up", &cli->settings.schedulers, NULL);
}

static int bring_up(struct up *up, struct error *error)
{
    for (int i = 0; i < CLUSTER_DAEMONS; i++) {
        if (start(up, (enum cluster_daemon)i, error) < 0)
            return -1;
        /* From here on calls go to the cluster that is being started, whatever the context says. */
        if (i == CLUSTER_SCHEDULER)
            use_scheduler(up->cli, up->cluster.ports[i]);
        progress_show(&up->progress, "shoal-%s: %s, port %u", cluster_daemon_names[i],
                      up->started[i] ? "started" : "runs already", up->cluster.ports[i]);
        if (wait_for(up, (enum cluster_daemon)i, error) < 0)
            return -1;
    }
    return 0;
}

static void take_down_again(struct up *up)
{
    for (int i = CLUSTER_DAEMONS - 1; i >= 0; i--) {
        if (!up->started[i])
            continue;
        daemon_stop(&up->records[i], STOP_GRACE_MS);
        daemon_record_remove(up->cluster.run, cluster_daemon_names[i]);
    }
}

static int write_context(const struct up *up, struct error *error)
{
    AUTO_FREE char *scheduler = cluster_url(up->cluster.ports[CLUSTER_SCHEDULER]);
    AUTO_FREE char *registry = cluster_url(up->cluster.ports[CLUSTER_REGISTRY]);
    return context_write("local", scheduler, registry, error);
}

static void print_up(struct up *up)
{
    const struct cluster *cluster = &up->cluster;
    bool anything = false;
    for (int i = 0; i < CLUSTER_DAEMONS; i++)
        anything = anything || up->started[i];
    if (!cli_wants_document(up->cli)) {
        printf("%s: registry on port %u, scheduler on %u, node %s is ready\n",
               anything ? "The cluster is up" : "The cluster runs already",
               cluster->ports[CLUSTER_REGISTRY], cluster->ports[CLUSTER_SCHEDULER], cluster->node);
        printf("State in %s, logs in %s\n", cluster->state, cluster->log);
        return;
    }
    AUTO_FREE char *scheduler = cluster_url(cluster->ports[CLUSTER_SCHEDULER]);
    AUTO_FREE char *registry = cluster_url(cluster->ports[CLUSTER_REGISTRY]);
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "result",
                           json_object_new_string(anything ? "started" : "unchanged"));
    json_object_object_add(document, "scheduler", json_object_new_string(scheduler));
    json_object_object_add(document, "registry", json_object_new_string(registry));
    json_object_object_add(document, "node", json_object_new_string(cluster->node));
    json_object_object_add(document, "state", json_object_new_string(cluster->state));
    json_object_object_add(document, "run", json_object_new_string(cluster->run));
    json_object_object_add(document, "log", json_object_new_string(cluster->log));
    cli_print_document(up->cli, document);
}

int up_run(struct cli *cli, struct error *error)
{
    struct up up = {.cli = cli};
    if (cluster_open(&up.cluster, cli, true, error) < 0)
        return -1;
    progress_init(&up.progress);
    int result = bring_up(&up, error);
    progress_finish(&up.progress);
    if (result < 0)
        take_down_again(&up);
    else
        result = cluster_keep_choices(&up.cluster, up.started[CLUSTER_AGENT], error) < 0
                     ? -1
                     : write_context(&up, error);
    if (result == 0)
        print_up(&up);
    for (int i = 0; i < CLUSTER_DAEMONS; i++)
        daemon_record_release(&up.records[i]);
    cluster_close(&up.cluster);
    return result;
}
