/* A fleet for a real scheduler on loopback: N simulated nodes that speak the agents' protocol, and
 * people who deploy and read meanwhile. Instances "boot" at once: what is measured is the
 * scheduler.
 *
 *   scheduler_load PORT PID IMAGE NODES SERVICES REPLICAS PATIENCE_MS
 *
 * In this order: the nodes join; SERVICES services of REPLICAS instances are deployed, and every
 * instance is assigned to its node and reported ready; one service more; statuses as fast as they
 * are taken; a node falls silent and its instances are placed elsewhere. An instance counts as
 * placed when its node has been told of it, which is after it was committed.
 *
 * Each node holds one long poll. Statuses of all nodes share some connections, as one process may
 * not open as many as there are agents. Reads are sent every 5 ms, in turns of a service, an
 * instance, a node and /healthz; one that is answered late also counts for those that it held up.
 *
 * Prints one line a figure: name and value. Ends with 1 and a message when anything goes wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lib/api/agent.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "tests/bench/load_connection.h"
#include "tests/bench/load_process.h"
#include "tests/bench/load_times.h"

#define STATUS_CONNECTIONS 64
#define DEPLOY_CONNECTIONS 32
#define JOIN_CONNECTIONS   64
#define READ_EVERY_MS      5
#define SLICE_MS           10
#define PATIENCE_MS        600000
#define HEARTBEATS_MS      3000
#define EPOCH              "00000000000000aa"
#define NODE_MEMORY        ((uint64_t)256 << 30)
#define NODE_VCPUS         4096

struct instance {
    char id[INSTANCE_ID_MAX];
    bool told; /* that it is ready */
};

struct node {
    char name[32];
    struct load *load;
    struct connection poll;
    uint64_t after; /* revision of the assignment it has */
    uint64_t trust;
    uint64_t sequence;
    uint64_t base; /* of the next status; 0: it says everything */
    uint64_t sent_ms;
    struct instance *instances;
    size_t count, capacity;
    size_t untold;
    bool joined, silent, queued, in_flight;
    uint64_t heard_us; /* the last status that was taken */
};

struct load {
    uv_loop_t loop;
    uv_timer_t slice, reader;
    struct load_target target;
    const char *image;
    long pid;
    struct node *nodes;
    size_t node_count, joined, next_join, slice_at;
    char cluster[CLUSTER_ID_MAX];
    uint64_t term, heartbeat_ms;
    /* Nodes that have a status to send. */
    struct node **queue;
    size_t queue_first, queue_count;
    struct connection statuses[STATUS_CONNECTIONS];
    struct connection deploys[DEPLOY_CONNECTIONS];
    struct connection joins[JOIN_CONNECTIONS];
    struct connection read;
    struct connection late; /* for what comes long after the deploys: idle ones are closed */
    bool floods;            /* every node has something to say at any time */
    uint64_t heartbeats;
    size_t services, replicas, next_service, deployed;
    size_t placed, ready;
    struct load_times reads;
    unsigned read_turn;
    char some_instance[INSTANCE_ID_MAX];
};

static struct load *load_of(const struct connection *connection)
{
    return connection->owner;
}

/* Who asked by it last. */
static struct node *node_of(const struct connection *connection)
{
    return connection->asker;
}

static void say(const char *name, double value)
{
    printf("%s %.3f\n", name, value);
    fflush(stdout);
}

/* --- assignments --- */

/* The little that a fleet needs to know of an assignment. */
struct assigned {
    char id[INSTANCE_ID_MAX];
    enum api_wanted wanted;
};
static const struct json_field assigned_fields[] = {
    JSON_FIELD(struct assigned, id, "id", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct assigned, wanted, "wanted", JSON_ENUM, .names = api_wanted_names),
    JSON_FIELD_END,
};
static const struct json_record assigned_record = {sizeof(struct assigned), assigned_fields};

struct assignment {
    uint64_t revision;
    uint64_t trust_revision;
    bool full;
    struct assigned *instances;
    size_t count;
    struct json_strings removed;
};
static const struct json_field assignment_fields[] = {
    JSON_FIELD(struct assignment, revision, "revision", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct assignment, trust_revision, "trust_revision", JSON_UINT),
    JSON_FIELD(struct assignment, full, "full", JSON_BOOL),
    JSON_FIELD_LIST(struct assignment, instances, count, "instances", &assigned_record),
    JSON_FIELD(struct assignment, removed, "removed", JSON_STRINGS),
    JSON_FIELD_END,
};
static const struct json_record assignment_record = {sizeof(struct assignment), assignment_fields};

static void want_status(struct node *node);

static struct instance *find_instance(struct node *node, const char *id)
{
    for (size_t i = node->count; i-- > 0;) {
        if (strcmp(node->instances[i].id, id) == 0)
            return &node->instances[i];
    }
    return NULL;
}

static void add_instance(struct load *load, struct node *node, const char *id)
{
    if (node->count == node->capacity) {
        node->capacity = node->capacity > 0 ? 2 * node->capacity : 16;
        node->instances = xreallocarray(node->instances, node->capacity, sizeof *node->instances);
    }
    struct instance *instance = &node->instances[node->count++];
    *instance = (struct instance){.told = false};
    text_copy(instance->id, sizeof instance->id, id);
    if (load->some_instance[0] == '\0')
        text_copy(load->some_instance, sizeof load->some_instance, id);
    node->untold++;
    load->placed++;
}

static void poll_assignment(struct node *node);

static void on_assignment(struct connection *connection, int status, const char *body,
                          size_t length)
{
    struct node *node = node_of(connection);
    struct assignment assignment = {0};
    struct error error = ERROR_INIT;
    if (status == 204) {
        poll_assignment(node);
        return;
    }
    if (status != 200)
        load_fail("assignment of %s: status %d: %.300s", node->name, status, body);
    if (json_parse_record(&assignment_record, body, length, JSON_LENIENT, &assignment, &error) < 0)
        load_fail("assignment of %s: %s", node->name, error.message);
    node->after = assignment.revision;
    node->trust = assignment.trust_revision;
    for (size_t i = 0; i < assignment.count; i++) {
        const struct assigned *assigned = &assignment.instances[i];
        if (assigned->wanted == API_WANTED_RUN && find_instance(node, assigned->id) == NULL)
            add_instance(load_of(connection), node, assigned->id);
    }
    json_record_release(&assignment_record, &assignment);
    want_status(node);
    poll_assignment(node);
}

static void poll_assignment(struct node *node)
{
    char path[128];
    if (node->after == 0)
        snprintf(path, sizeof path, "/v1/nodes/%s/assignment", node->name);
    else
        snprintf(path, sizeof path, "/v1/nodes/%s/assignment?after=%" PRIu64, node->name,
                 node->after);
    connection_ask(&node->poll, on_assignment, "GET", path, "");
}

/* --- statuses --- */

static void send_statuses(struct load *load);

static void want_status(struct node *node)
{
    struct load *load = node->load;
    if (node->queued || node->in_flight || node->silent)
        return;
    node->queued = true;
    load->queue[(load->queue_first + load->queue_count++) % load->node_count] = node;
    send_statuses(load);
}

static void tell_again(struct instance *instance, struct node *node)
{
    node->untold += instance->told;
    node->load->ready -= instance->told;
    instance->told = false;
}

static void on_status(struct connection *connection, int status, const char *body, size_t length)
{
    struct load *load = load_of(connection);
    (void)length;
    if (status != 200)
        load_fail("status of %s: %d: %.300s", node_of(connection)->name, status, body);
    struct api_status_answer answer = {0};
    json_parse_record(&api_status_answer_record, body, length, JSON_LENIENT, &answer, NULL);
    if (answer.heartbeat_ms != 0)
        load->heartbeat_ms = answer.heartbeat_ms;
    load->heartbeats++;
    node_of(connection)->heard_us = load_now_us();
    struct node *node = node_of(connection);
    node->in_flight = false;
    node->base = strstr(body, "\"whole\"") == NULL ? node->sequence : 0;
    for (size_t i = 0; i < node->count && node->base == 0; i++)
        tell_again(&node->instances[i], node);
    if (load->floods || node->untold > 0 || node->base == 0)
        want_status(node);
    send_statuses(load);
}

/* Only what changed since the last one. */
static void write_instances(struct load *load, struct node *node, struct buffer *text)
{
    bool first = true;
    for (size_t i = node->count; i-- > 0 && node->untold > 0;) {
        struct instance *instance = &node->instances[i];
        if (instance->told)
            continue;
        buffer_printf(text,
                      "%s{\"id\":\"%s\",\"state\":\"ready\",\"state_age_ms\":5,\"boot_ms\":50,"
                      "\"uptime_ms\":60,\"accel\":\"kvm\"}",
                      first ? "" : ",", instance->id);
        first = false;
        instance->told = true;
        node->untold--;
        load->ready++;
    }
}

static void send_status(struct connection *connection, struct node *node)
{
    struct load *load = load_of(connection);
    AUTO_BUFFER struct buffer text = {0};
    char path[64];
    buffer_printf(&text,
                  "{\"cluster\":\"%s\",\"node\":\"%s\",\"epoch\":\"" EPOCH
                  "\",\"sequence\":%" PRIu64 ",\"term\":%" PRIu64 ",\"assignment\":%" PRIu64
                  ",\"endpoints\":%" PRIu64 ",\"trust\":%" PRIu64 ",\"base\":%" PRIu64
                  ",\"same_data_plane\":true,\"instances\":[",
                  load->cluster, node->name, ++node->sequence, load->term, node->after, UINT64_C(0),
                  node->trust, node->base);
    write_instances(load, node, &text);
    buffer_append_text(&text, "]}");
    snprintf(path, sizeof path, "/v1/nodes/%s/status", node->name);
    connection->asker = node;
    node->in_flight = true;
    node->sent_ms = uv_now(&load->loop);
    connection_ask(connection, on_status, "POST", path, buffer_text(&text));
}

static void send_statuses(struct load *load)
{
    for (size_t i = 0; i < STATUS_CONNECTIONS && load->queue_count > 0; i++) {
        struct connection *connection = &load->statuses[i];
        if (connection->is_busy)
            continue;
        struct node *node = load->queue[load->queue_first];
        load->queue_first = (load->queue_first + 1) % load->node_count;
        load->queue_count--;
        node->queued = false;
        if (!node->silent)
            send_status(connection, node);
    }
}

/* Each node's heartbeat comes when its turn in the round is due. */
static void on_slice(uv_timer_t *timer)
{
    struct load *load = timer->data;
    size_t count = load->node_count * SLICE_MS / load->heartbeat_ms + 1;
    for (size_t i = 0; i < count; i++) {
        struct node *node = &load->nodes[load->slice_at++ % load->node_count];
        if (node->joined && uv_now(&load->loop) - node->sent_ms >= load->heartbeat_ms * 9 / 10)
            want_status(node);
    }
}

/* --- joining --- */

static void join_next(struct connection *connection);

static void on_joined(struct connection *connection, int status, const char *body, size_t length)
{
    struct load *load = load_of(connection);
    struct api_join_answer answer = {0};
    struct error error = ERROR_INIT;
    if (status != 200)
        load_fail("join of %s: status %d: %.300s", node_of(connection)->name, status, body);
    if (json_parse_record(&api_join_answer_record, body, length, JSON_LENIENT, &answer, &error) < 0)
        load_fail("join: %s", error.message);
    text_copy(load->cluster, sizeof load->cluster, answer.cluster);
    load->term = answer.term;
    load->heartbeat_ms = answer.heartbeat_ms;
    load->joined++;
    node_of(connection)->joined = true;
    want_status(node_of(connection));
    poll_assignment(node_of(connection));
    join_next(connection);
}

static void join_next(struct connection *connection)
{
    struct load *load = load_of(connection);
    char path[64], body[640];
    connection->asker = NULL;
    if (load->next_join == load->node_count)
        return;
    struct node *node = &load->nodes[load->next_join++];
    connection->asker = node;
    snprintf(path, sizeof path, "/v1/nodes/%s/join", node->name);
    snprintf(body, sizeof body,
             "{\"node\":\"%s\",\"epoch\":\"" EPOCH "\",\"address\":\"127.0.0.1:1\",\"machines\":"
             "[{\"arch\":\"amd64\",\"accel\":\"kvm\",\"families\":[]},{\"arch\":\"arm64\","
             "\"accel\":\"tcg\",\"families\":[]}],\"memory\":%" PRIu64
             ",\"vcpus\":%d,\"overhead\":16777216,\"labels\":{\"zone\":\"z%zu\"}}",
             node->name, NODE_MEMORY, NODE_VCPUS, load->next_join % 3);
    connection_ask(connection, on_joined, "POST", path, body);
}

/* --- deploying --- */

static void deploy_next(struct connection *connection);

static void on_deployed(struct connection *connection, int status, const char *body, size_t length)
{
    (void)length;
    if (status != 200)
        load_fail("deploy: status %d: %.300s", status, body);
    load_of(connection)->deployed++;
    deploy_next(connection);
}

static void deploy(struct connection *connection, size_t number, size_t replicas)
{
    char path[96], body[640];
    snprintf(path, sizeof path, "/v1/namespaces/default/services/s%05zu", number);
    snprintf(body, sizeof body,
             "{\"service\":\"s%05zu\",\"image\":\"%s\",\"replicas\":%zu,\"arch\":\"amd64\","
             "\"resources\":{\"memory\":\"16Mi\",\"vcpus\":1},\"args\":[\"--greeting\",\"ahoy\"],"
             "\"env\":{\"LOG\":\"info\"},\"rollout\":{\"min_healthy_time\":\"1s\","
             "\"progress_deadline\":\"10m\"}}",
             number, load_of(connection)->image, replicas);
    connection_ask(connection, on_deployed, "PUT", path, body);
}

static void deploy_next(struct connection *connection)
{
    struct load *load = load_of(connection);
    if (load->next_service < load->services)
        deploy(connection, load->next_service++, load->replicas);
}

/* --- reading --- */

static void on_read_answer(struct connection *connection, int status, const char *body,
                           size_t length)
{
    struct load *load = load_of(connection);
    (void)length;
    if (status != 200 && status != 404)
        load_fail("read: status %d: %.300s", status, body);
    uint64_t took = load_now_us() - connection->sent_us;
    load_times_note(&load->reads, took);
    for (; took > READ_EVERY_MS * 1000; load_times_note(&load->reads, took)) /* what it held up */
        took -= READ_EVERY_MS * 1000;
}

static void on_reader(uv_timer_t *timer)
{
    struct load *load = timer->data;
    char path[96];
    if (load->read.is_busy)
        return;
    switch (load->read_turn++ % 4) {
    case 0:
        snprintf(path, sizeof path, "/v1/namespaces/default/services/s%05u",
                 load->read_turn / 4 % (unsigned)load->services);
        break;
    case 1:
        snprintf(path, sizeof path, "/v1/instances/%s",
                 load->some_instance[0] != '\0' ? load->some_instance : "000100000001");
        break;
    case 2:
        snprintf(path, sizeof path, "/v1/nodes/%s",
                 load->nodes[load->read_turn % load->node_count].name);
        break;
    default:
        snprintf(path, sizeof path, "/healthz");
        break;
    }
    connection_ask(&load->read, on_read_answer, "GET", path, "");
}

static void say_reads(struct load *load)
{
    say("reads", (double)load->reads.count);
    say("read_p50_ms", load_times_percentile(&load->reads, 50));
    say("read_p99_ms", load_times_percentile(&load->reads, 99));
    say("read_max_ms", load_times_percentile(&load->reads, 100));
}

/* --- the phases --- */

static void run_until(struct load *load, bool (*is_done)(const struct load *load), const char *what)
{
    uint64_t deadline = load_now_us() + (uint64_t)PATIENCE_MS * 1000;
    while (!is_done(load)) {
        uv_run(&load->loop, UV_RUN_ONCE);
        if (load_now_us() > deadline)
            load_fail("%s: not in %d s: %zu of %zu nodes joined, %zu placed, %zu ready", what,
                      PATIENCE_MS / 1000, load->joined, load->node_count, load->placed,
                      load->ready);
    }
}

static bool all_joined(const struct load *load)
{
    return load->joined == load->node_count;
}

static bool all_deployed(const struct load *load)
{
    return load->deployed == load->services;
}

static bool all_placed(const struct load *load)
{
    return load->placed >= load->services * load->replicas;
}

static bool all_ready(const struct load *load)
{
    return all_placed(load) && load->ready == load->placed && load->queue_count == 0;
}

static void join_all(struct load *load)
{
    uint64_t begin = load_now_us();
    for (size_t i = 0; i < JOIN_CONNECTIONS; i++)
        join_next(&load->joins[i]);
    run_until(load, all_joined, "joining");
    say("join_seconds", (double)(load_now_us() - begin) / 1e6);
}

static void place_all(struct load *load)
{
    double before = load_memory_kib(load->pid), processor = load_processor_seconds(load->pid);
    uint64_t begin = load_now_us();
    uv_timer_start(&load->reader, on_reader, 0, READ_EVERY_MS);
    for (size_t i = 0; i < DEPLOY_CONNECTIONS; i++)
        deploy_next(&load->deploys[i]);
    run_until(load, all_deployed, "deploying");
    say("deploy_seconds", (double)(load_now_us() - begin) / 1e6);
    run_until(load, all_placed, "placing");
    double seconds = (double)(load_now_us() - begin) / 1e6;
    say("place_seconds", seconds);
    say("placements_per_second", (double)load->placed / seconds);
    run_until(load, all_ready, "reporting");
    say("ready_seconds", (double)(load_now_us() - begin) / 1e6);
    say("scheduler_processor_seconds", load_processor_seconds(load->pid) - processor);
    uv_timer_stop(&load->reader);
    say_reads(load);
    say("bytes_per_instance", (load_memory_kib(load->pid) - before) * 1024 / (double)load->placed);
}

static void deploy_one_more(struct load *load)
{
    uint64_t begin = load_now_us();
    deploy(&load->late, load->services, 10);
    size_t wanted = load->placed + 10;
    while (load->placed < wanted && load_now_us() - begin < (uint64_t)PATIENCE_MS * 1000)
        uv_run(&load->loop, UV_RUN_ONCE);
    say("one_more_ms", (double)(load_now_us() - begin) / 1e3);
    if (load->placed < wanted)
        load_fail("the service more was not placed");
}

static void flood(struct load *load)
{
    load->floods = true;
    load->heartbeats = 0;
    uint64_t begin = load_now_us();
    for (size_t i = 0; i < load->node_count; i++)
        want_status(&load->nodes[i]);
    while (load_now_us() - begin < (uint64_t)HEARTBEATS_MS * 1000)
        uv_run(&load->loop, UV_RUN_ONCE);
    say("heartbeats_per_second",
        (double)load->heartbeats / ((double)(load_now_us() - begin) / 1e6));
    load->floods = false;
}

static void lose_a_node(struct load *load, uint64_t patience_ms)
{
    struct node *node = &load->nodes[load->node_count / 2];
    size_t wanted = load->placed + node->count, lost = node->count;
    node->silent = true;
    node->poll.may_end = true;
    uint64_t begin = node->heard_us;
    while (load->placed < wanted && load_now_us() - begin < (uint64_t)PATIENCE_MS * 1000)
        uv_run(&load->loop, UV_RUN_ONCE);
    double took = (double)(load_now_us() - begin) / 1e3;
    if (load->placed < wanted)
        load_fail("only %zu of %zu instances of a lost node were placed elsewhere",
                  load->placed + lost - wanted, lost);
    say("lost_instances", (double)lost);
    say("reschedule_ms", took - (double)patience_ms);
}

static void load_init(struct load *load, char **arguments)
{
    load->pid = atol(arguments[2]);
    load->image = arguments[3];
    load->node_count = strtoul(arguments[4], NULL, 10);
    load->services = strtoul(arguments[5], NULL, 10);
    load->replicas = strtoul(arguments[6], NULL, 10);
    load->heartbeat_ms = 1000;
    if (load->node_count == 0 || load->services == 0)
        load_fail("at least one node and one service are needed");
    uv_loop_init(&load->loop);
    uv_ip4_addr("127.0.0.1", atoi(arguments[1]), &load->target.address);
    uv_timer_init(&load->loop, &load->slice);
    uv_timer_init(&load->loop, &load->reader);
    load->slice.data = load->reader.data = load;
    load->nodes = xcalloc(load->node_count, sizeof *load->nodes);
    load->queue = xcalloc(load->node_count, sizeof(struct node *));
    load->target.loop = &load->loop;
    load->read = (struct connection){.target = &load->target, .owner = load};
    load->late = load->read;
    for (size_t i = 0; i < load->node_count; i++) {
        struct node *node = &load->nodes[i];
        snprintf(node->name, sizeof node->name, "n%05zu", i);
        node->load = load;
        node->poll = load->read;
        node->poll.asker = node;
    }
    for (size_t i = 0; i < STATUS_CONNECTIONS; i++)
        load->statuses[i] = load->read;
    for (size_t i = 0; i < DEPLOY_CONNECTIONS; i++)
        load->deploys[i] = load->read;
    for (size_t i = 0; i < JOIN_CONNECTIONS; i++)
        load->joins[i] = load->read;
}

int main(int count, char **arguments)
{
    if (count != 8) {
        fputs("usage: scheduler_load PORT PID IMAGE NODES SERVICES REPLICAS PATIENCE_MS\n"
              "PATIENCE_MS: from a node's last status until its instances are replaced\n",
              stderr);
        return 2;
    }
    struct load load = {0};
    load_init(&load, arguments);
    join_all(&load);
    uv_timer_start(&load.slice, on_slice, SLICE_MS, SLICE_MS);
    place_all(&load);
    deploy_one_more(&load);
    flood(&load);
    lose_a_node(&load, strtoul(arguments[7], NULL, 10));
    return 0;
}
