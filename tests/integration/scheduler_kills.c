/* A scheduler that is killed again and again while people and agents write to it, for
 * tests/integration/scheduler_kill.sh:
 *
 *   scheduler_kills ROUNDS SEED PORT SERVICES COMMAND [ARGUMENT...]
 *
 * In each round it starts COMMAND, a scheduler on PORT that has the services s0, s1, ... already,
 * lets its writers go, kills the scheduler by SIGKILL somewhere among their commits, starts it
 * anew, and looks: what was acknowledged is there, what was not is there whole or not at all, no id
 * and no address was given out twice, no node lost its subnet. Ends with 1 when something was not
 * so. */
#include <json-c/json.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "tests/integration/raw_http.h"
#include "tests/integration/storm.h"

enum {
    POLICIES = 12,
    POLICY_WRITERS = 2,
    NODES = 4,
    SERVICES_MAX = 8,
    REPLICAS_MOST = 40,
    WRITES_BEFORE_KILL = 60, /* at most, and as many as a kill waits for a few seconds */
    KILL_WITHIN_US = 60000,  /* behind the last of them */
    STARTS_WITHIN_S = 60,
    INSTANCES_MOST = 2000000,
};
#define NOTHING 0 /* the value of what is not there */

/* Something that is written again and again, each time another value. */
struct subject {
    uint64_t acknowledged;
    uint64_t pending; /* sent, and not answered */
    bool is_pending;
};

/* What an id stood for when it was first seen; it must stand for it for good. */
struct binding {
    char text[256];
};

struct run {
    uint16_t port;
    uint64_t random;
    pid_t scheduler;
    unsigned service_count;
    struct subject policies[POLICIES];
    struct subject nodes[NODES]; /* their memory */
    struct subject services[SERVICES_MAX];
    char subnets[NODES][32];
    struct binding *bindings; /* by the counter of the id */
    uint32_t highest;
    atomic_uint_fast64_t writes;
    uint64_t wrong;
    pthread_mutex_t mutex; /* of `wrong` and what is printed */
};

struct writer {
    struct run *run;
    pthread_t thread;
    unsigned number;
    uint64_t random;
    struct raw_client http;
};

__attribute__((format(printf, 2, 3))) static void complain(struct run *run, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&run->mutex);
    run->wrong++;
    vprintf(format, arguments);
    putchar('\n');
    pthread_mutex_unlock(&run->mutex);
    va_end(arguments);
}

/* --- asking --- */

/* The status; -1 when the scheduler is gone. */
static int ask(struct raw_client *http, const char *method, const char *target, const char *body,
               struct json_object **ret_answer)
{
    struct raw_answer answer = {0};
    if (raw_client_connect(http) < 0 ||
        raw_client_ask(http, method, target, "", body, body != NULL ? strlen(body) : 0, &answer) <
            0)
        return -1;
    int status = answer.status;
    if (ret_answer != NULL)
        json_parse(answer.body, answer.length, ret_answer, NULL);
    raw_answer_finish(&answer);
    return status;
}

/* Writes a value of the subject; false when the scheduler is gone. */
static bool write_value(struct writer *writer, struct subject *subject, uint64_t value,
                        const char *method, const char *target, const char *body,
                        struct json_object **ret_answer)
{
    subject->pending = value;
    subject->is_pending = true;
    int status = ask(&writer->http, method, target, body, ret_answer);
    if (status < 0)
        return false;
    subject->is_pending = false;
    if (status >= 200 && status < 300)
        subject->acknowledged = value;
    else
        complain(writer->run, "%s %s answered %d", method, target, status);
    writer->run->writes++;
    return true;
}

static const char *text_in(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : "";
}

static uint64_t number_in(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

static struct json_object *list_in(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

static size_t length_of(struct json_object *list)
{
    return list != NULL ? json_object_array_length(list) : 0;
}

/* --- writers --- */

static void *write_policies(void *data)
{
    struct writer *writer = data;
    bool going = true;
    while (going) {
        uint64_t random = storm_next(&writer->random);
        size_t index = random % (POLICIES / POLICY_WRITERS) * POLICY_WRITERS + writer->number;
        struct subject *subject = &writer->run->policies[index];
        uint64_t value = random >> 32 | 1;
        AUTO_FREE char *target = xasprintf("/v1/policies/kill-%zu", index);
        AUTO_FREE char *body = xasprintf("{\"name\": \"kill-%zu\", \"match\": [\"kill/x%llu\"]}",
                                         index, (unsigned long long)value);
        if (subject->acknowledged != NOTHING && random % 4 == 0)
            going = write_value(writer, subject, NOTHING, "DELETE", target, NULL, NULL);
        else
            going = write_value(writer, subject, value, "PUT", target, body, NULL);
    }
    return NULL;
}

static void *write_scales(void *data)
{
    struct writer *writer = data;
    bool going = true;
    while (going) {
        uint64_t random = storm_next(&writer->random);
        unsigned index = (unsigned)(random >> 8) % writer->run->service_count;
        AUTO_FREE char *target = xasprintf("/v1/namespaces/default/services/s%u/scale", index);
        uint64_t replicas = random % REPLICAS_MOST;
        AUTO_FREE char *body = xasprintf("{\"replicas\": %llu}", (unsigned long long)replicas);
        going =
            write_value(writer, &writer->run->services[index], replicas, "PUT", target, body, NULL);
    }
    return NULL;
}

/* An agent of a node: joins, fetches its assignment, says that all of it is as it should be. */
static bool join(struct writer *writer, unsigned node, const char *epoch, char ret_cluster[64])
{
    AUTO_JSON struct json_object *answer = NULL;
    uint64_t memory = (UINT64_C(4) << 30) + storm_next(&writer->random) % 100000;
    AUTO_FREE char *target = xasprintf("/v1/nodes/n%u/join", node);
    AUTO_FREE char *body = xasprintf(
        "{\"node\": \"n%u\", \"epoch\": \"%s\", \"cluster\": \"\", \"address\": \"127.0.0.1:1\","
        " \"machines\": [{\"arch\": \"amd64\", \"accel\": \"tcg\", \"families\": []}],"
        " \"memory\": %llu, \"vcpus\": 1000, \"overhead\": 0, \"labels\": {}, \"subnet\": \"\"}",
        node, epoch, (unsigned long long)memory);
    if (!write_value(writer, &writer->run->nodes[node], memory, "POST", target, body, &answer))
        return false;
    char *subnet = writer->run->subnets[node];
    const char *given = text_in(answer, "subnet");
    if (subnet[0] != '\0' && strcmp(subnet, given) != 0)
        complain(writer->run, "n%u had subnet %s and now has %s", node, subnet, given);
    snprintf(subnet, sizeof writer->run->subnets[node], "%s", given);
    snprintf(ret_cluster, 64, "%s", text_in(answer, "cluster"));
    return true;
}

static struct json_object *observe(struct json_object *assignment)
{
    struct json_object *seen = json_object_new_array();
    struct json_object *instances = list_in(assignment, "instances");
    for (size_t i = 0; i < length_of(instances); i++) {
        struct json_object *assigned = json_object_array_get_idx(instances, i);
        struct json_object *one = json_object_new_object();
        bool runs = strcmp(text_in(assigned, "wanted"), "run") == 0;
        json_object_object_add(one, "id", json_object_new_string(text_in(assigned, "id")));
        json_object_object_add(one, "state", json_object_new_string(runs ? "ready" : "stopped"));
        json_object_array_add(seen, one);
    }
    return seen;
}

static bool report(struct writer *writer, unsigned node, const char *epoch, const char *cluster,
                   uint64_t sequence)
{
    AUTO_JSON struct json_object *assignment = NULL;
    AUTO_JSON struct json_object *status = json_object_new_object();
    AUTO_FREE char *target = xasprintf("/v1/nodes/n%u/assignment", node);
    int answered = ask(&writer->http, "GET", target, NULL, &assignment);
    if (answered != 200)
        return answered >= 0;
    AUTO_FREE char *name = xasprintf("n%u", node);
    uint64_t revision = number_in(assignment, "revision");
    json_object_object_add(status, "cluster", json_object_new_string(cluster));
    json_object_object_add(status, "node", json_object_new_string(name));
    json_object_object_add(status, "epoch", json_object_new_string(epoch));
    json_object_object_add(status, "sequence", json_object_new_uint64(sequence));
    json_object_object_add(status, "term", json_object_new_uint64(number_in(assignment, "term")));
    json_object_object_add(status, "assignment_revision", json_object_new_uint64(revision));
    json_object_object_add(status, "endpoints_revision", json_object_new_uint64(INT64_MAX));
    json_object_object_add(status, "instances", observe(assignment));
    AUTO_FREE char *body = json_text(status);
    AUTO_FREE char *post = xasprintf("/v1/nodes/n%u/status", node);
    int taken = ask(&writer->http, "POST", post, body, NULL);
    if (taken >= 0 && taken != 200)
        complain(writer->run, "a status of n%u was answered by %d", node, taken);
    return taken >= 0;
}

static void *write_statuses(void *data)
{
    struct writer *writer = data;
    char clusters[NODES][64], epochs[NODES][17];
    uint64_t sequence = 0;
    for (unsigned node = 0; node < NODES; node++) {
        snprintf(epochs[node], sizeof epochs[node], "%016llx",
                 (unsigned long long)storm_next(&writer->random));
        if (!join(writer, node, epochs[node], clusters[node]))
            return NULL;
    }
    for (unsigned node = 0;; node = (node + 1) % NODES) {
        bool again = storm_next(&writer->random) % 8 == 0;
        if (again && !join(writer, node, epochs[node], clusters[node]))
            return NULL;
        if (!report(writer, node, epochs[node], clusters[node], ++sequence))
            return NULL;
    }
}

/* --- looking --- */

static void settle(struct run *run, struct subject *subject, const char *name, unsigned number,
                   uint64_t found)
{
    bool is_fine =
        found == subject->acknowledged || (subject->is_pending && found == subject->pending);
    if (!is_fine)
        complain(run, "%s%u is %llu: acknowledged was %llu%s", name, number,
                 (unsigned long long)found, (unsigned long long)subject->acknowledged,
                 subject->is_pending ? ", and another one pending" : "");
    *subject = (struct subject){.acknowledged = found};
}

static void look_at_policies(struct run *run, struct raw_client *http)
{
    AUTO_JSON struct json_object *answer = NULL;
    uint64_t found[POLICIES] = {NOTHING};
    if (ask(http, "GET", "/v1/policies", NULL, &answer) != 200)
        complain(run, "policies cannot be read");
    struct json_object *list = list_in(answer, "policies");
    for (size_t i = 0; i < length_of(list); i++) {
        struct json_object *policy = json_object_array_get_idx(list, i);
        struct json_object *match = list_in(policy, "match");
        unsigned index;
        unsigned long long value;
        if (sscanf(text_in(policy, "name"), "kill-%u", &index) == 1 && index < POLICIES &&
            length_of(match) == 1 &&
            sscanf(json_object_get_string(json_object_array_get_idx(match, 0)), "kill/x%llu",
                   &value) == 1)
            found[index] = value;
    }
    for (unsigned i = 0; i < POLICIES; i++)
        settle(run, &run->policies[i], "policy kill-", i, found[i]);
}

static void look_at_nodes(struct run *run, struct raw_client *http)
{
    AUTO_JSON struct json_object *answer = NULL;
    uint64_t found[NODES] = {NOTHING};
    if (ask(http, "GET", "/v1/nodes", NULL, &answer) != 200)
        complain(run, "nodes cannot be read");
    struct json_object *list = list_in(answer, "nodes");
    for (size_t i = 0; i < length_of(list); i++) {
        struct json_object *node = json_object_array_get_idx(list, i);
        unsigned index;
        if (sscanf(text_in(node, "name"), "n%u", &index) == 1 && index < NODES)
            found[index] = number_in(node, "memory");
    }
    for (unsigned i = 0; i < NODES; i++)
        settle(run, &run->nodes[i], "memory of n", i, found[i]);
}

static void look_at_services(struct run *run, struct raw_client *http)
{
    for (unsigned i = 0; i < run->service_count; i++) {
        AUTO_JSON struct json_object *answer = NULL;
        AUTO_FREE char *target = xasprintf("/v1/namespaces/default/services/s%u", i);
        if (ask(http, "GET", target, NULL, &answer) != 200)
            complain(run, "s%u cannot be read", i);
        settle(run, &run->services[i], "replicas of s", i, number_in(answer, "replicas"));
    }
}

static bool is_over(const char *state)
{
    return strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0;
}

/* `highest`: the last counter that was seen before the kill. */
static void look_at_instance(struct run *run, struct json_object *instance, uint32_t highest)
{
    const char *id = text_in(instance, "id");
    if (strlen(id) != 12)
        return; /* a slot that waits for room */
    uint32_t counter = (uint32_t)strtoul(id + 4, NULL, 16);
    struct binding now;
    snprintf(now.text, sizeof now.text, "%s slot %llu at %s on %s", text_in(instance, "service"),
             (unsigned long long)number_in(instance, "slot"), text_in(instance, "address"),
             text_in(instance, "node"));
    if (counter >= INSTANCES_MOST) {
        complain(run, "more instances than can be remembered: %s", id);
        return;
    }
    struct binding *before = &run->bindings[counter];
    if (before->text[0] != '\0' && strcmp(before->text, now.text) != 0)
        complain(run, "id %s was %s and now is %s", id, before->text, now.text);
    if (before->text[0] == '\0' && counter < highest)
        /* It was made before the kill and not seen then: nobody else may have been it. */
        return;
    *before = now;
    if (counter > run->highest)
        run->highest = counter;
}

static void look_at_instances(struct run *run, struct raw_client *http)
{
    AUTO_JSON struct json_object *answer = NULL;
    AUTO_JSON struct json_object *addresses = json_object_new_object();
    uint32_t highest = run->highest;
    if (ask(http, "GET", "/v1/instances", NULL, &answer) != 200)
        complain(run, "instances cannot be read");
    struct json_object *list = list_in(answer, "instances");
    for (size_t i = 0; i < length_of(list); i++) {
        struct json_object *instance = json_object_array_get_idx(list, i);
        const char *address = text_in(instance, "address");
        look_at_instance(run, instance, highest);
        if (address[0] == '\0' || is_over(text_in(instance, "state")))
            continue;
        if (json_object_object_get_ex(addresses, address, NULL))
            complain(run, "address %s was given to two instances", address);
        json_object_object_add(addresses, address, NULL);
    }
}

/* --- rounds --- */

static bool answers(uint16_t port)
{
    struct raw_client http;
    raw_client_init(&http, port);
    int status = ask(&http, "GET", "/healthz", NULL, NULL);
    raw_client_close(&http, false);
    return status == 200;
}

static bool start_scheduler(struct run *run, char **command)
{
    run->scheduler = fork();
    if (run->scheduler == 0) {
        execv(command[0], command);
        _exit(127);
    }
    for (int i = 0; i < STARTS_WITHIN_S * 200; i++) {
        if (answers(run->port))
            return true;
        if (waitpid(run->scheduler, NULL, WNOHANG) == run->scheduler)
            break;
        usleep(5000);
    }
    complain(run, "the scheduler did not start");
    return false;
}

static void end_scheduler(struct run *run, int signal_number)
{
    kill(run->scheduler, signal_number);
    waitpid(run->scheduler, NULL, 0);
}

static void write_until_killed(struct run *run)
{
    static void *(*const work[])(void *) = {write_policies, write_policies, write_scales,
                                            write_statuses};
    struct writer writers[ARRAY_LENGTH(work)];
    for (size_t i = 0; i < ARRAY_LENGTH(work); i++) {
        writers[i] =
            (struct writer){.run = run, .number = (unsigned)i, .random = storm_next(&run->random)};
        raw_client_init(&writers[i].http, run->port);
        pthread_create(&writers[i].thread, NULL, work[i], &writers[i]);
    }
    uint64_t target = run->writes + storm_next(&run->random) % WRITES_BEFORE_KILL;
    for (int i = 0; i < 5000 && run->writes < target; i++)
        usleep(1000);
    usleep((useconds_t)(storm_next(&run->random) % KILL_WITHIN_US));
    end_scheduler(run, SIGKILL);
    for (size_t i = 0; i < ARRAY_LENGTH(work); i++) {
        pthread_join(writers[i].thread, NULL);
        raw_client_close(&writers[i].http, false);
    }
}

static void look(struct run *run)
{
    struct raw_client http;
    raw_client_init(&http, run->port);
    look_at_policies(run, &http);
    look_at_nodes(run, &http);
    look_at_services(run, &http);
    look_at_instances(run, &http);
    raw_client_close(&http, false);
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    unsigned rounds = (unsigned)strtoul(argv[1], NULL, 10), done = 0;
    struct run run = {.random = strtoull(argv[2], NULL, 10),
                      .port = (uint16_t)strtoul(argv[3], NULL, 10),
                      .service_count = (unsigned)strtoul(argv[4], NULL, 10)};
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&run.mutex, NULL);
    run.bindings = xcalloc(INSTANCES_MOST, sizeof *run.bindings);
    bool runs = start_scheduler(&run, &argv[5]);
    if (runs)
        for (unsigned i = 0; i < run.service_count; i++)
            run.services[i].acknowledged = 1;
    while (runs && run.wrong == 0 && done < rounds) {
        write_until_killed(&run);
        done++;
        runs = start_scheduler(&run, &argv[5]);
        if (runs)
            look(&run);
    }
    if (runs)
        end_scheduler(&run, SIGTERM);
    printf("%u kills, %llu acknowledged writes, %u instances seen, %llu wrong\n", done,
           (unsigned long long)run.writes, run.highest, (unsigned long long)run.wrong);
    free(run.bindings);
    return run.wrong > 0;
}
