/* status and inspect: everything about one object. */
#include <stdio.h>
#include <string.h>

#include "cli/events.h"
#include "cli/format.h"
#include "cli/jobs.h"
#include "cli/lists.h"
#include "cli/plan.h"
#include "cli/ports.h"
#include "cli/rollout_text.h"
#include "cli/scheduler.h"
#include "image-format/layout.h"
#include "lib/api/causes.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define STATUS_EVENTS 10

/* What `status` shows. */
struct picture {
    struct api_service_view service;
    struct json_object *document;
    struct view_list instances;
    struct view_list nodes;
    struct event_list events;
};

static void picture_release(struct picture *picture)
{
    json_record_release(&api_service_view_record, &picture->service);
    json_object_put(picture->document);
    view_list_release(&picture->instances);
    view_list_release(&picture->nodes);
    event_list_release(&picture->events);
}

static int picture_fetch(struct cli *cli, const char *service, struct picture *picture,
                         struct error *error)
{
    const char *namespace_name = cli->settings.namespace_name;
    if (scheduler_service(cli, namespace_name, service, &picture->service, &picture->document,
                          error) < 0 ||
        scheduler_instances(cli, namespace_name, service, &picture->instances, error) < 0 ||
        scheduler_nodes(cli, &picture->nodes, error) < 0)
        return -1;
    return events_fetch(cli, namespace_name, service, STATUS_EVENTS, &picture->events, error);
}

static void say(const char *title, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const char *title, const char *format, ...)
{
    struct buffer AUTO_BUFFER safe = {0};
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = xvasprintf(format, arguments);
    va_end(arguments);
    text_append_safe(&safe, text);
    printf("%-10s %s\n", title, buffer_text(&safe));
}

static void print_job(const struct api_service_view *job)
{
    const struct api_run_view *run = &job->run;
    char next[FORMAT_MAX], counts[128];
    jobs_describe_next(job, next, sizeof next);
    if (job->schedule[0] != '\0')
        say("Schedule", "%s (UTC), next at %s", job->schedule, next);
    if (!job->has_run)
        return;
    jobs_describe_run(run, counts, sizeof counts);
    bool tells = run->reason[0] != '\0' && run->phase != RUN_SUCCEEDED;
    say("Run", "%u (%s, revision %u): %s, %s%s%s", run->number, run->kind, run->revision,
        run_phase_names[run->phase], counts, tells ? ": " : "", tells ? run->reason : "");
}

static void print_service(const struct api_service_view *service)
{
    char digest[FORMAT_MAX], age[FORMAT_MAX];
    format_digest(service->image_digest, digest);
    text_format_age(service->age_ms, age, sizeof age);
    say(service->type == API_TYPE_JOB ? "Job" : "Service", "%s/%s, for %s", service->namespace_name,
        service->service, age);
    say("Image", "%s (%s)", service->image, digest);
    say("Revision", "%u", service->revision);
    if (service->warning[0] != '\0')
        say("Warning", "%s", service->warning);
    if (service->type == API_TYPE_JOB) {
        print_job(service);
        return;
    }
    say("Replicas", "%u wanted, %u ready", service->replicas, service->ready);
    if (service->standby > 0)
        say("Standbys", "%u wanted, %u ready", service->standby, service->standby_ready);
    if (!service->has_rollout)
        return;
    const struct api_rollout_view *rollout = &service->rollout;
    struct buffer AUTO_BUFFER text = {0};
    bool back = strcmp(rollout->kind, "rollback") == 0;
    rollout_text_describe(rollout, &text);
    say("Rollout", "%u (%s %s revision %u): %s", rollout->number, rollout->kind, back ? "to" : "of",
        rollout->to, buffer_text(&text));
}

/* Published ports, and the nodes that could not bind them. */
static void print_ports(const struct picture *picture)
{
    struct api_service_spec spec = {0};
    if (picture->service.spec == NULL ||
        api_service_spec_decode(picture->service.spec, &spec, NULL) < 0)
        return;
    const struct api_node_view *nodes = picture->nodes.items;
    for (size_t i = 0; i < spec.port_count; i++) {
        const struct api_port *port = &spec.ports[i];
        if (port->publish == 0)
            continue;
        say("Port", "%u -> %s %u (%s)", port->publish, port->name, port->port,
            api_port_mode_names[port->mode]);
        for (size_t j = 0; j < picture->nodes.count; j++) {
            const char *why = ports_unbound(&nodes[j], port->publish);
            if (why != NULL)
                say("", "not bound on node %s: %s", nodes[j].name, why);
        }
    }
    api_service_spec_release(&spec);
}

static uint32_t count_unknown(const struct view_list *instances, const char *node)
{
    const struct api_instance_view *views = instances->items;
    uint32_t count = 0;
    for (size_t i = 0; i < instances->count; i++)
        count += views[i].state == INSTANCE_UNKNOWN && strcmp(views[i].node, node) == 0;
    return count;
}

/* Nodes that have not reported for a while, of those that have instances of it. */
static void print_silence(const struct picture *picture)
{
    const struct api_node_view *nodes = picture->nodes.items;
    for (size_t i = 0; i < picture->nodes.count; i++) {
        uint32_t unknown = count_unknown(&picture->instances, nodes[i].name);
        char silence[FORMAT_MAX];
        if (unknown == 0 || nodes[i].state == NODE_READY)
            continue;
        format_span(nodes[i].heartbeat_age_ms, silence);
        say("Silent", "node %s for %s%s: %u instance%s there %s unknown", nodes[i].name, silence,
            nodes[i].state == NODE_LOST ? ", lost" : "", unknown, unknown == 1 ? "" : "s",
            unknown == 1 ? "is" : "are");
    }
}

/* What the instances' messages say beyond the table. */
static void print_messages(const struct view_list *instances, bool has_obstacles)
{
    const struct api_instance_view *views = instances->items;
    for (size_t i = 0; i < instances->count; i++) {
        if (strcmp(views[i].cause, "no_capacity") == 0 && has_obstacles)
            continue; /* told once for all */
        if (strcmp(views[i].cause, INSTANCE_CAUSE_COMPLETED) == 0)
            continue; /* as it should */
        if (views[i].message[0] != '\0' && lists_is_chosen(&views[i], LISTS_TOLD))
            say(views[i].id, "%s%s%s", views[i].cause, views[i].cause[0] != '\0' ? ": " : "",
                views[i].message);
    }
}

/* What was stopped as it should be is no news, and with each rollout there is more of it. */
static void print_left_out(const char *service, const struct view_list *instances)
{
    const struct api_instance_view *views = instances->items;
    size_t count = 0;
    for (size_t i = 0; i < instances->count; i++)
        count += !lists_is_chosen(&views[i], LISTS_TOLD);
    if (count > 0)
        printf("and %zu that %s stopped: `shoal ps %s --all`\n", count, count == 1 ? "was" : "were",
               service);
}

/* Instances that wait for a place, and what is in the way on each node. */
static void print_obstacles(const struct picture *picture)
{
    const struct api_instance_view *views = picture->instances.items;
    size_t waiting = 0;
    if (picture->service.obstacles.count == 0)
        return;
    for (size_t i = 0; i < picture->instances.count; i++)
        waiting += strcmp(views[i].cause, "no_capacity") == 0;
    if (picture->service.type == API_TYPE_JOB) /* nobody knows yet how many it will take */
        puts("\nIts run finds no node:");
    else
        printf("\n%zu instance%s no node:\n", waiting, waiting == 1 ? " finds" : "s find");
    plan_print_obstacles("  ", &picture->service.obstacles);
}

static struct json_object *picture_document(const struct picture *picture)
{
    struct json_object *document = json_object_new_object();
    struct json_object *events = json_object_new_array();
    struct json_object *instances;
    json_object_object_get_ex(picture->instances.document, "instances", &instances);
    for (size_t i = 0; i < picture->events.count; i++)
        json_object_array_add(events, json_encode(&api_event_record, &picture->events.items[i]));
    json_object_object_add(document, "service", json_object_get(picture->document));
    json_object_object_add(document, "instances", json_object_get(instances));
    json_object_object_add(document, "events", events);
    return document;
}

int status_run(struct cli *cli, struct error *error)
{
    struct picture picture = {0};
    const char *service = cli_service_argument(cli, error);
    if (service == NULL || picture_fetch(cli, service, &picture, error) < 0) {
        picture_release(&picture);
        return -1;
    }
    if (cli_wants_document(cli)) {
        cli_print_document(cli, picture_document(&picture));
    } else {
        print_service(&picture.service);
        print_ports(&picture);
        print_silence(&picture);
        nodes_print_rescheduling(&picture.nodes);
        puts("\nInstances");
        lists_print_instances(cli, &picture.instances, LISTS_TOLD);
        print_left_out(service, &picture.instances);
        print_messages(&picture.instances, picture.service.obstacles.count > 0);
        print_obstacles(&picture);
        puts("\nLast events");
        events_print_table(cli, &picture.events);
    }
    picture_release(&picture);
    return 0;
}

/* The object of `key`'s list whose `member` is `name`. */
static int inspect_in_list(struct cli *cli, const char *path, const char *key, const char *member,
                           const char *name, struct json_object **ret_object, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *items, *value;
    if (session_get(cli_session(cli), path, &document, error) < 0)
        return -1;
    if (!json_object_object_get_ex(document, key, &items))
        return error_set(error, ERROR_PROTOCOL, "the scheduler's answer has no list \"%s\"", key);
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct json_object *item = json_object_array_get_idx(items, i);
        if (json_object_object_get_ex(item, member, &value) &&
            strcmp(json_object_get_string(value), name) == 0) {
            *ret_object = json_object_get(item);
            return 0;
        }
    }
    return error_set(error, ERROR_NOT_FOUND, "there is no %.*s %s", (int)strlen(key) - 1, key,
                     name);
}

static int inspect_service(struct cli *cli, const char *name, struct json_object **ret_object,
                           struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(cli->settings.namespace_name, name, "");
    return session_get(cli_session(cli), path, ret_object, error);
}

/* What its node knows besides: how its boot went, and what it uses. Nothing of it where the node
 * does not answer. */
static void add_stats(struct cli *cli, const char *path, struct json_object *instance)
{
    static const char *const keys[] = {"boot_steps", "figures"};
    AUTO_FREE char *stats_path = xasprintf("%s/stats", path);
    AUTO_JSON struct json_object *stats = NULL;
    if (session_get(cli_session(cli), stats_path, &stats, NULL) < 0)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        struct json_object *value;
        if (json_object_object_get_ex(stats, keys[i], &value))
            json_object_object_add(instance, keys[i], json_object_get(value));
    }
}

static int inspect_instance(struct cli *cli, const char *name, struct json_object **ret_object,
                            struct error *error)
{
    AUTO_FREE char *segment = http_encode_segment(name);
    AUTO_FREE char *path = xasprintf("/v1/instances/%s", segment);
    if (session_get(cli_session(cli), path, ret_object, error) < 0)
        return -1;
    add_stats(cli, path, *ret_object);
    return 0;
}

static int inspect_node(struct cli *cli, const char *name, struct json_object **ret_object,
                        struct error *error)
{
    AUTO_FREE char *path = scheduler_node_path(name, "");
    return session_get(cli_session(cli), path, ret_object, error);
}

static int inspect_policy(struct cli *cli, const char *name, struct json_object **ret_object,
                          struct error *error)
{
    AUTO_FREE char *segment = http_encode_segment(name);
    AUTO_FREE char *path = xasprintf("/v1/policies/%s", segment);
    return session_get(cli_session(cli), path, ret_object, error);
}

static int inspect_image(struct cli *cli, const char *name, struct json_object **ret_object,
                         struct error *error)
{
    AUTO_FREE char *folder = image_store_path();
    struct image_reference reference;
    struct packed_image image;
    char canonical[IMAGE_TEXT_MAX];
    if (image_reference_parse(name, cli->settings.namespace_name, &reference, error) < 0)
        return -1;
    image_reference_format(&reference, canonical);
    if (layout_find(folder, canonical, &image, error) < 0)
        return -1;
    struct json_object *object = json_object_new_object();
    struct json_object *manifests = json_object_new_array();
    for (size_t i = 0; i < image.manifest_count; i++) {
        struct json_object *manifest = NULL;
        if (json_parse(image.manifests[i].bytes, image.manifests[i].length, &manifest, NULL) == 0)
            json_object_array_add(manifests, manifest);
    }
    json_object_object_add(object, "name", json_object_new_string(canonical));
    json_object_object_add(object, "digest",
                           json_object_new_string(packed_image_top(&image)->digest));
    json_object_object_add(object, "manifests", manifests);
    packed_image_release(&image);
    *ret_object = object;
    return 0;
}

int inspect_run(struct cli *cli, struct error *error)
{
    const char *noun = cli->invocation->command->noun;
    const char *kind = noun != NULL ? noun : cli_argument(cli, 0);
    const char *name = cli_argument(cli, noun != NULL ? 0 : 1);
    struct json_object *object = NULL;
    int result;
    if (strcmp(kind, "service") == 0)
        result = inspect_service(cli, name, &object, error);
    else if (strcmp(kind, "instance") == 0)
        result = inspect_instance(cli, name, &object, error);
    else if (strcmp(kind, "node") == 0)
        result = inspect_node(cli, name, &object, error);
    else if (strcmp(kind, "key") == 0)
        result = inspect_in_list(cli, "/v1/keys", "keys", "name", name, &object, error);
    else if (strcmp(kind, "policy") == 0)
        result = inspect_policy(cli, name, &object, error);
    else if (strcmp(kind, "image") == 0)
        result = inspect_image(cli, name, &object, error);
    else
        result = cli_refuse_usage(cli, error,
                                  "nothing of kind \"%s\" can be inspected: allowed are service, "
                                  "instance, node, key, policy, image (and by `shoal volume "
                                  "inspect` a volume)",
                                  kind);
    if (result == 0)
        cli_print_document(cli, object);
    return result;
}
