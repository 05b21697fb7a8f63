#include "agent/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_http.h"
#include "agent/data_plane.h"
#include "agent/host/hypervisors.h"
#include "agent/image_keeper.h"
#include "agent/scheduler_link.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define NETWORK_RETRY_MS 2000

struct agent {
    const struct agent_options *options;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t network_retry;
    struct http_client *http;
    struct host_client *host;
    struct state_store *store;
    struct trust *trust;
    const struct registry_logins *logins;
    char *chains_folder, *staging_folder, *consoles_folder;
    struct image_keeper *keeper;
    struct image_downloads *images;
    struct instance_table *instances;
    struct image_prefetch *prefetch;
    struct figures *figures;
    struct data_plane *data_plane;
    struct scheduler_link *link;
    struct agent_http *server;
    struct host_welcome welcome;
    struct api_join_answer cluster; /* of the last join; cluster "" before the first */
    struct freshness applied[SCHEDULER_DOCUMENTS];
    bool is_resumed; /* the guests' network is there, instances have gone on */
    bool is_welcome;
    bool is_stopping;
    int exit_code;
};

static void stop(struct agent *agent);

static void on_changed(void *data)
{
    struct agent *agent = data;
    if (agent->link != NULL)
        scheduler_link_changed(agent->link);
}

/* --- the local state --- */

static void keep(struct agent *agent, const char *key, const struct json_record *record,
                 const void *value)
{
    AUTO_FREE char *text = json_record_text(record, value);
    state_store_put(agent->store, key, text);
}

/* 1: read, 0: there is none. */
static int recall(struct agent *agent, const char *key, const struct json_record *record,
                  void *ret_value, struct error *error)
{
    AUTO_FREE char *text = NULL;
    if (state_store_get(agent->store, key, &text, error) < 0)
        return -1;
    if (text == NULL)
        return 0;
    if (json_parse_record(record, text, strlen(text), JSON_LENIENT, ret_value, error) < 0)
        return error_wrap(error, "stored %s", key);
    return 1;
}

static struct freshness freshness(const char *cluster, uint64_t term, uint64_t revision)
{
    struct freshness freshness = {.term = term, .revision = revision};
    snprintf(freshness.cluster, sizeof freshness.cluster, "%s", cluster);
    return freshness;
}

static int recall_trust(struct agent *agent, struct error *error)
{
    struct api_trust trust = {0};
    int found = recall(agent, STATE_TRUST, &api_trust_record, &trust, error);
    if (found == 1) {
        agent->applied[SCHEDULER_TRUST] = freshness(trust.cluster, trust.term, trust.revision);
        trust_apply(agent->trust, &trust);
        json_record_release(&api_trust_record, &trust);
    }
    return found < 0 ? -1 : 0;
}

static int recall_assignment(struct agent *agent, struct error *error)
{
    struct api_assignment assignment = {0};
    int found = recall(agent, STATE_ASSIGNMENT, &api_assignment_record, &assignment, error);
    if (found == 1) {
        agent->applied[SCHEDULER_ASSIGNMENT] =
            freshness(assignment.cluster, assignment.term, assignment.revision);
        /* Without instances and not full: registry and the trust that is needed. */
        instance_table_apply(agent->instances, &assignment);
        json_record_release(&api_assignment_record, &assignment);
    }
    return found < 0 ? -1 : 0;
}

static int recall_all(struct agent *agent, struct error *error)
{
    if (recall(agent, STATE_CLUSTER, &api_join_answer_record, &agent->cluster, error) < 0 ||
        recall_trust(agent, error) < 0 || recall_assignment(agent, error) < 0)
        return -1;
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++) {
        if (agent->applied[i].cluster[0] == '\0')
            agent->applied[i] = freshness(agent->cluster.cluster, 0, 0);
    }
    return instance_table_load(agent->instances, error);
}

/* The data plane gets what it had: guests stay reachable without a scheduler. */
static void recall_endpoints(struct agent *agent)
{
    struct api_endpoints endpoints = {0};
    struct error error = ERROR_INIT;
    int found = recall(agent, STATE_ENDPOINTS, &api_endpoints_record, &endpoints, &error);
    if (found < 0)
        log_error("stored endpoints are left out", "reason", error.message);
    if (found != 1)
        return;
    agent->applied[SCHEDULER_ENDPOINTS] =
        freshness(endpoints.cluster, endpoints.term, endpoints.revision);
    data_plane_apply(agent->data_plane, &endpoints);
    json_record_release(&api_endpoints_record, &endpoints);
}

/* --- what the scheduler says --- */

static bool boots_on(const struct family *family, const char *architecture)
{
    for (size_t i = 0; i < FAMILY_BOOTS_MAX && family->boots[i].architecture != NULL; i++) {
        if (strcmp(family->boots[i].architecture, architecture) == 0)
            return family->refused == NULL;
    }
    return false;
}

/* `why`: its guests are not helped by the processor; "" for nothing to say. */
static void fill_machine(struct api_machine *machine, const struct host_machine *host,
                         const char *why)
{
    const struct family *family;
    memcpy(machine->arch, host->arch, sizeof machine->arch);
    memcpy(machine->accel, host->accel, sizeof machine->accel);
    machine->why = why[0] != '\0' ? xstrdup(why) : NULL;
    for (size_t i = 0; (family = family_at(i)) != NULL; i++) {
        if (boots_on(family, machine->arch))
            json_strings_add(&machine->families, family->name);
    }
}

static void fill_join(struct api_join *join, void *data)
{
    struct agent *agent = data;
    const struct agent_options *options = agent->options;
    snprintf(join->address, sizeof join->address, "%s:%u", options->address,
             agent_http_port(agent->server));
    join->machines = xcalloc(HOST_MACHINES_MAX, sizeof *join->machines);
    join->machine_count = agent->welcome.machine_count;
    for (uint32_t i = 0; i < agent->welcome.machine_count; i++)
        fill_machine(&join->machines[i], &agent->welcome.machines[i],
                     i == 0 ? agent->welcome.accel_reason : "");
    text_copy(join->hypervisor, sizeof join->hypervisor, options->hypervisor);
    if (strcmp(options->hypervisor, HYPERVISOR_LIBVIRT) == 0)
        text_copy(join->hypervisor_uri, sizeof join->hypervisor_uri, options->hypervisor_uri);
    join->memory = options->memory > 0 ? options->memory : agent->welcome.memory;
    join->vcpus = options->vcpus > 0 ? options->vcpus : agent->welcome.vcpus;
    join->overhead = agent->welcome.overhead;
    for (size_t i = 0; i < options->labels.count; i++)
        json_map_set(&join->labels, options->labels.items[i].key, options->labels.items[i].value);
    join->volumes = agent->welcome.volumes;
    json_strings_add(&join->features, "volumes");
    json_strings_add(&join->features, API_FEATURE_STANDBY);
    memcpy(join->subnet, agent->cluster.subnet, sizeof join->subnet);
}

static void fill_status(struct api_status *status, void *data)
{
    struct agent *agent = data;
    instance_table_observe(agent->instances, status);
    data_plane_observe(agent->data_plane, status);
    status->volumes_used = agent->welcome.volumes_used;
    status->snapshots = agent->welcome.snapshots;
    status->trust_revision = agent->trust->revision;
    status->host_silent_ms = host_client_silence(agent->host);
}

static void on_assignment(const struct api_assignment *assignment, void *data)
{
    struct agent *agent = data;
    log_info("assignment", "term", LOG_NUMBER(assignment->term), "revision",
             LOG_NUMBER(assignment->revision), "full", assignment->full ? "yes" : "no", "instances",
             LOG_NUMBER(assignment->instance_count), "removed",
             LOG_NUMBER(assignment->removed.count));
    instance_table_apply(agent->instances, assignment);
    image_prefetch_apply(agent->prefetch, assignment);
    struct api_assignment header = *assignment;
    header.full = false;
    header.instances = NULL;
    header.instance_count = 0;
    header.prefetch = NULL;
    header.prefetch_count = 0;
    header.removed = (struct json_strings){0};
    keep(agent, STATE_ASSIGNMENT, &api_assignment_record, &header);
}

static void on_endpoints(const struct api_endpoints *endpoints, void *data)
{
    struct agent *agent = data;
    data_plane_apply(agent->data_plane, endpoints);
    struct api_endpoints whole = *data_plane_endpoints(agent->data_plane);
    whole.full = true;
    keep(agent, STATE_ENDPOINTS, &api_endpoints_record, &whole);
}

static void on_trust(const struct api_trust *trust, void *data)
{
    struct agent *agent = data;
    trust_apply(agent->trust, trust);
    keep(agent, STATE_TRUST, &api_trust_record, trust);
    instance_table_trust_changed(agent->instances);
    image_prefetch_trust_changed(agent->prefetch);
}

/* --- the guests' network, and what needs it --- */

static void ask_for_network(struct agent *agent);
static void start_link(struct agent *agent);

static void on_network_retry(uv_timer_t *timer)
{
    ask_for_network(timer->data);
}

static void on_network(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct agent *agent = data;
    if (agent->is_stopping)
        return;
    if (answer->code != ERROR_NONE) {
        log_error("the guests' network cannot be made, trying again", "subnet",
                  agent->cluster.subnet, "reason", answer->message);
        uv_timer_start(&agent->network_retry, on_network_retry, NETWORK_RETRY_MS, 0);
        start_link(agent);
        return;
    }
    if (!agent->is_resumed) {
        agent->is_resumed = true;
        instance_table_resume(agent->instances, &agent->welcome);
        image_keeper_begin(agent->keeper, agent->images, agent->instances, agent->prefetch);
        recall_endpoints(agent);
    }
    start_link(agent);
    scheduler_link_begin(agent->link);
}

static void ask_for_network(struct agent *agent)
{
    struct host_message message = {.type = HOST_NETWORK};
    memcpy(message.network.subnet, agent->cluster.subnet, sizeof message.network.subnet);
    uv_timer_stop(&agent->network_retry);
    host_client_request(agent->host, &message, on_network, agent);
}

static void on_joined(const struct api_join_answer *answer, void *data)
{
    struct agent *agent = data;
    agent->cluster = *answer;
    keep(agent, STATE_CLUSTER, &api_join_answer_record, answer);
    ask_for_network(agent);
}

/* The first status goes out when it is known which guests are still there. */
static void start_link(struct agent *agent)
{
    if (agent->link != NULL)
        return;
    struct scheduler_link_options options = {
        .loop = &agent->loop,
        .http = agent->http,
        .schedulers = &agent->options->schedulers,
        .node = agent->options->node,
        .fill_join = fill_join,
        .fill_status = fill_status,
        .on_joined = on_joined,
        .on_assignment = on_assignment,
        .on_endpoints = on_endpoints,
        .on_trust = on_trust,
        .data = agent,
    };
    memcpy(options.applied, agent->applied, sizeof options.applied);
    agent->link = scheduler_link_create(&options);
}

/* --- start --- */

static bool is_joined(void *data)
{
    const struct agent *agent = data;
    return agent->link != NULL && scheduler_link_is_joined(agent->link);
}

static int start_http(struct agent *agent, struct error *error)
{
    struct agent_http_options options = {
        .loop = &agent->loop,
        .address = agent->options->address,
        .port = agent->options->port,
        .console_folder = agent->consoles_folder,
        .node = agent->options->node,
        .run_directory = agent->options->run,
        .instances = agent->instances,
        .figures = agent->figures,
        .images = image_keeper_cache(agent->keeper),
        .host = agent->host,
        .is_joined = is_joined,
        .data = agent,
    };
    return agent_http_create(&options, &agent->server, error);
}

static void fail(struct agent *agent, const struct error *error)
{
    log_error("the agent cannot start", "reason", error->message);
    agent->exit_code = 1;
    stop(agent);
}

static void on_welcome(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct agent *agent = data;
    struct error error = ERROR_INIT;
    if (agent->is_stopping)
        return;
    if (host_answer_check(answer, &error) < 0 || start_http(agent, &error) < 0) {
        fail(agent, &error);
        return;
    }
    agent->welcome = answer->welcome;
    agent->is_welcome = true;
    log_info("agent started", "node", agent->options->node, "accel",
             agent->welcome.machine_count > 0 ? agent->welcome.machines[0].accel : "none", "why",
             agent->welcome.accel_reason, "memory", LOG_NUMBER(agent->welcome.memory), "vcpus",
             LOG_NUMBER(agent->welcome.vcpus), "port", LOG_NUMBER(agent_http_port(agent->server)));
    if (agent->cluster.subnet[0] != '\0')
        ask_for_network(agent);
    else
        start_link(agent);
}

static void on_host_instance(const struct host_instance *instance, void *data)
{
    struct agent *agent = data;
    if (instance->state == HOST_INSTANCE_ENDED) {
        figures_forget(agent->figures, instance->id);
        instance_table_ended(agent->instances, instance);
    } else if (instance->state == HOST_INSTANCE_HANGS) {
        instance_table_hangs(agent->instances, instance);
    } else if (!agent->is_welcome) {
        instance_table_adopt(agent->instances, instance);
    }
}

static void on_host_frontend(const struct host_frontend *frontend, void *data)
{
    struct agent *agent = data;
    data_plane_frontend(agent->data_plane, frontend);
}

static void on_host_usage(const struct host_usage *usage, void *data)
{
    struct agent *agent = data;
    figures_take(agent->figures, usage);
}

static void on_host_images(const struct host_images *images, void *data)
{
    struct agent *agent = data;
    image_keeper_found(agent->keeper, images);
}

static void on_host_boot_steps(const struct host_boot_steps *steps, void *data)
{
    struct agent *agent = data;
    instance_table_steps_measured(agent->instances, steps);
}

static void on_booted(const struct instance *instance, void *data)
{
    struct agent *agent = data;
    figures_take_boot(agent->figures, &instance->steps, instance->boot_ms);
}

static void on_host_node(const struct host_node *node, void *data)
{
    struct agent *agent = data;
    figures_take_node(agent->figures, node);
    agent->welcome.volumes_used = node->volumes_used;
    agent->welcome.snapshots = node->snapshots;
}

static void on_host_lost(void *data)
{
    struct agent *agent = data;
    if (!agent->is_stopping)
        log_info("the host half is gone: the deciding half ends, guests stay");
    stop(agent);
}

/* Images of instances that are to boot now go before those that will be needed. */
static bool has_waiting_instances(void *data)
{
    const struct agent *agent = data;
    return instance_table_count(agent->instances, INSTANCE_FETCHING) > 0 ||
           instance_table_count(agent->instances, INSTANCE_VERIFYING) > 0;
}

static int open_parts(struct agent *agent, struct error *error)
{
    const struct agent_options *options = agent->options;
    AUTO_FREE char *database = xasprintf("%s/%s/agent.db", options->state, AGENT_DECISIONS_FOLDER);
    struct host_client_options host = {
        .loop = &agent->loop,
        .channel = options->decider_channel,
        .on_instance = on_host_instance,
        .on_frontend = on_host_frontend,
        .on_usage = on_host_usage,
        .on_images = on_host_images,
        .on_node = on_host_node,
        .on_boot_steps = on_host_boot_steps,
        .on_lost = on_host_lost,
        .on_silence = on_changed,
        .data = agent,
    };
    if (state_store_open(database, &agent->store, error) < 0 ||
        host_client_create(&host, &agent->host, error) < 0)
        return -1;
    agent->http = http_client_create(&agent->loop);
    struct image_keeper_options keeper = {
        .loop = &agent->loop,
        .clock = clock_system(),
        .host = agent->host,
        .store = agent->store,
        .chains_directory = agent->chains_folder,
        .has_limit = options->has_image_cache,
        .limit = options->image_cache,
        .age_ms = options->image_age_ms,
    };
    agent->keeper = image_keeper_create(&keeper);
    struct image_downloads_options images = {
        .loop = &agent->loop,
        .http = agent->http,
        .host = agent->host,
        .chains_directory = agent->chains_folder,
        .staging_directory = agent->staging_folder,
        .logins = agent->logins,
        .cache = image_keeper_cache(agent->keeper),
        .unpacks_again = options->trust_directory != NULL,
    };
    agent->images = image_downloads_create(&images);
    struct instance_table_options instances = {
        .loop = &agent->loop,
        .clock = clock_system(),
        .http = agent->http,
        .host = agent->host,
        .images = agent->images,
        .trust = agent->trust,
        .store = agent->store,
        .node = options->node,
        .console_folder = agent->consoles_folder,
        .on_changed = on_changed,
        .on_booted = on_booted,
        .data = agent,
    };
    agent->instances = instance_table_create(&instances);
    struct image_prefetch_options prefetch = {
        .loop = &agent->loop,
        .clock = clock_system(),
        .downloads = agent->images,
        .trust = agent->trust,
        .is_busy = has_waiting_instances,
        .data = agent,
    };
    agent->prefetch = image_prefetch_create(&prefetch);
    struct data_plane_options plane = {
        .loop = &agent->loop, .host = agent->host, .on_changed = on_changed, .data = agent};
    agent->data_plane = data_plane_create(&plane);
    return recall_all(agent, error);
}

/* --- the end --- */

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    stop(signal->data);
}

static void stop(struct agent *agent)
{
    if (agent->is_stopping)
        return;
    agent->is_stopping = true;
    for (size_t i = 0; i < ARRAY_LENGTH(agent->signals); i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
    uv_close((uv_handle_t *)&agent->network_retry, NULL);
    agent_http_destroy(agent->server, NULL, NULL);
    scheduler_link_destroy(agent->link);
    agent->link = NULL;
    instance_table_destroy(agent->instances);
    data_plane_destroy(agent->data_plane);
    image_keeper_destroy(agent->keeper);
    image_prefetch_destroy(agent->prefetch);
    image_downloads_destroy(agent->images);
    if (agent->http != NULL)
        http_client_destroy(agent->http);
    host_client_destroy(agent->host);
}

static void init(struct agent *agent, const struct agent_options *options, struct trust *trust)
{
    agent->options = options;
    agent->trust = trust;
    agent->chains_folder = xasprintf("%s/%s", options->state, AGENT_CHAINS_FOLDER);
    agent->staging_folder = xasprintf("%s/%s", options->state, AGENT_STAGING_FOLDER);
    agent->consoles_folder = xasprintf("%s/%s", options->state, AGENT_CONSOLES_FOLDER);
    uv_loop_init(&agent->loop);
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_LENGTH(agent->signals); i++) {
        uv_signal_init(&agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&agent->loop, &agent->network_retry);
    agent->network_retry.data = agent;
}

int agent_run(const struct agent_options *options, struct trust *trust,
              const struct registry_logins *logins)
{
    struct agent *agent = xcalloc(1, sizeof *agent);
    struct error error = ERROR_INIT;
    init(agent, options, trust);
    agent->logins = logins;
    agent->figures = figures_create();
    if (open_parts(agent, &error) < 0) {
        fail(agent, &error);
    } else {
        struct host_message hello = {.type = HOST_HELLO};
        host_client_request(agent->host, &hello, on_welcome, agent);
    }
    uv_run(&agent->loop, UV_RUN_DEFAULT);
    state_store_close(agent->store);
    figures_destroy(agent->figures);
    uv_loop_close(&agent->loop);
    int exit_code = agent->exit_code;
    free(agent->chains_folder);
    free(agent->staging_folder);
    free(agent->consoles_folder);
    free(agent);
    return exit_code;
}
