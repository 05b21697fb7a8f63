#include "tests/sim/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/job_changes.h"
#include "scheduler/node_changes.h"
#include "scheduler/service_changes.h"
#include "tests/sim/guest.h"
#include "tests/sim/node.h"
#include "tests/sim/process.h"
#include "tests/sim/store.h"

#define MIB (UINT64_C(1) << 20)

/* What is known of a service by what was answered. */
struct promise {
    bool known;
    bool removed;
    uint64_t uid;
    uint32_t revisions, rollouts, replicas;
};

struct users {
    struct promise promises[USERS_SERVICES];
    unsigned waiting[USERS_SERVICES]; /* for an answer: it may be done before that, or not */
};

struct request {
    struct world *world;
    struct process *process; /* that was asked */
    enum user_action action;
    unsigned index;
    char service[NAME_MAX_TEXT];
    struct api_service_spec spec;
    struct document_revision *revision;
    uint32_t number;
    bool has_volume;
    struct api_change_answer answer;
};

struct users *users_create(void)
{
    return xcalloc(1, sizeof(struct users));
}

void users_destroy(struct users *users)
{
    free(users);
}

/* --- what is deployed --- */

static bool is_job(const struct request *request)
{
    return request->index >= USERS_SERVICES - USERS_JOBS;
}

static void take_spec(struct request *request, struct buffer *text)
{
    AUTO_JSON struct json_object *object = NULL;
    struct error error = ERROR_INIT;
    if (json_parse(buffer_text(text), text->length, &object, &error) < 0 ||
        api_service_spec_decode(object, &request->spec, &error) < 0)
        world_fail(request->world, "a spec of the simulation is wrong: %s in %s", error.message,
                   buffer_text(text));
}

static void make_job(struct request *request, struct draw *draw)
{
    static const char *const concurrencies[] = {"forbid", "allow", "replace"};
    AUTO_BUFFER struct buffer text = {0};
    buffer_printf(&text,
                  "{\"service\": \"%s\", \"image\": \"i\", \"type\": \"job\", \"completions\": %u, "
                  "\"parallelism\": %u, \"retries\": %u, \"concurrency\": \"%s\"",
                  request->service, (unsigned)draw_between(draw, 1, 5),
                  (unsigned)draw_between(draw, 1, 3), (unsigned)draw_below(draw, 4),
                  concurrencies[draw_below(draw, 3)]);
    if (draw_chance(draw, 300))
        buffer_printf(&text, ", \"deadline\": \"%us\"", (unsigned)draw_between(draw, 5, 40));
    if (draw_chance(draw, 300))
        buffer_append_text(&text, ", \"schedule\": \"* * * * *\"");
    buffer_printf(&text,
                  ", \"reschedule\": {\"backoff\": \"500ms\", \"max_backoff\": \"4s\"}, "
                  "\"history\": %u}",
                  (unsigned)draw_between(draw, 2, 5));
    take_spec(request, &text);
}

static void make_spec(struct request *request, struct draw *draw)
{
    AUTO_BUFFER struct buffer text = {0};
    unsigned surge = (unsigned)draw_below(draw, 3);
    unsigned unavailable = (unsigned)draw_between(draw, surge == 0, 2);
    buffer_printf(&text, "{\"service\": \"%s\", \"image\": \"i\"", request->service);
    if (draw_chance(draw, 300))
        buffer_printf(&text, ", \"priority\": %u", (unsigned)draw_below(draw, 101));
    if (draw_chance(draw, 700))
        buffer_printf(&text, ", \"replicas\": %u", (unsigned)draw_below(draw, 7));
    if (!request->has_volume && draw_chance(draw, 250))
        buffer_printf(&text, ", \"standby\": %u", (unsigned)draw_between(draw, 1, 2));
    if (draw_chance(draw, 800))
        buffer_printf(&text, ", \"ports\": [{\"name\": \"http\", \"port\": 8080, \"publish\": %u}]",
                      8000 + request->index);
    buffer_printf(&text,
                  ", \"restart\": {\"attempts\": %u, \"backoff\": \"500ms\", \"max_backoff\": "
                  "\"4s\"}, \"reschedule\": {\"attempts\": %u, \"backoff\": \"1s\", "
                  "\"max_backoff\": \"10s\"}",
                  (unsigned)draw_below(draw, 3), (unsigned)draw_between(draw, 1, 3));
    buffer_printf(&text,
                  ", \"rollout\": {\"max_surge\": %u, \"max_unavailable\": %u, "
                  "\"min_healthy_time\": \"%us\", \"progress_deadline\": \"%us\", "
                  "\"auto_rollback\": %s",
                  surge, unavailable, (unsigned)draw_below(draw, 4),
                  (unsigned)draw_between(draw, 10, 30), draw_chance(draw, 850) ? "true" : "false");
    if (!request->has_volume && draw_chance(draw, 300))
        buffer_printf(&text, ", \"canary\": %u, \"auto_promote\": %s, \"canary_time\": \"%us\"",
                      (unsigned)draw_between(draw, 1, 3), draw_chance(draw, 400) ? "true" : "false",
                      (unsigned)draw_below(draw, 5));
    buffer_printf(&text, "}, \"history\": %u, \"placement\": {\"spread\": \"%s\"",
                  (unsigned)draw_between(draw, 2, 5), draw_chance(draw, 700) ? "node" : "none");
    if (draw_chance(draw, 200))
        buffer_printf(&text, ", \"constraints\": [\"label.zone %s even\"]",
                      draw_chance(draw, 500) ? "==" : "!=");
    if (draw_chance(draw, 150))
        buffer_printf(&text, ", \"max_per_node\": %u", (unsigned)draw_between(draw, 1, 3));
    buffer_append_text(&text, "}");
    if (request->has_volume)
        buffer_append_text(&text, ", \"volumes\": [{\"name\": \"data\", \"size\": \"64Mi\"}]");
    buffer_append_text(&text, "}");
    take_spec(request, &text);
}

/* A digest of the template's JSON that is good enough to tell templates apart. */
static void set_template_digest(struct document_revision *revision)
{
    AUTO_FREE char *text = json_record_text(&document_template_record, &revision->template);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    snprintf(revision->template_digest, sizeof revision->template_digest, "sha256:%048u%016llx", 0,
             (unsigned long long)hash);
}

static void make_revision(struct request *request, struct draw *draw)
{
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    struct document_template *template = &revision->template;
    enum guest_image image =
        draw_chance(draw, 600) ? IMAGE_GOOD : (enum guest_image)draw_below(draw, GUEST_IMAGES);
    text_copy(revision->namespace_name, sizeof revision->namespace_name, "default");
    text_copy(revision->service, sizeof revision->service, request->service);
    snprintf(template->image_digest, sizeof template->image_digest, "sha256:%u%062llu0",
             (unsigned)image, (unsigned long long)draw_below(draw, 3));
    template->resources = (struct api_resources){draw_between(draw, 1, 8) * 32 * MIB,
                                                 (uint32_t)draw_between(draw, 1, 2)};
    template->boot_timeout_ms = draw_between(draw, 5, 10) * 1000;
    template->stop = (struct api_stop){draw_below(draw, 4) * 2000, 1000};
    if (request->has_volume) {
        template->volumes = xcalloc(1, sizeof *template->volumes);
        template->volume_count = 1;
        text_copy(template->volumes[0].name, sizeof template->volumes[0].name, "data");
        template->volumes[0].size = 64 * MIB;
    }
    template->ports = xcalloc(1, sizeof *template->ports);
    template->port_count = 1;
    text_copy(template->ports[0].name, sizeof template->ports[0].name, "http");
    template->ports[0].port = 8080;
    revision->platforms = xcalloc(1, sizeof *revision->platforms);
    revision->platform_count = 1;
    text_copy(revision->platforms[0].arch, sizeof revision->platforms[0].arch, "amd64");
    set_template_digest(revision);
    request->revision = revision;
}

/* --- asking --- */

static int decide_revoke(struct request *request, struct change *change, struct error *error)
{
    const struct core *core = process_core(request->process);
    const struct model_service *service = model_service(&core->model, "default", request->service);
    const struct document_revision *known = service != NULL && service->document != NULL
                                                ? model_revision(service, model_target(service))
                                                : NULL;
    if (known == NULL)
        return error_set(error, ERROR_NOT_FOUND, "there is nothing to revoke");
    struct document_revision *revision = change_edit(change, DOCUMENT_REVISION, known);
    text_copy(revision->revoked, sizeof revision->revoked, "key k was removed");
    return 0;
}

static int decide(struct change *change, void *data, struct error *error)
{
    struct request *request = data;
    struct core *core = process_core(request->process);
    /* What is queued in a process that is killed is not decided any more. */
    if (process_is_gone(request->process))
        return error_set(error, ERROR_UNAVAILABLE, "the scheduler is gone");
    struct service_apply apply = {&request->spec, request->revision};
    if (is_job(request) && request->action == USER_SCALE)
        return job_changes_run(core, change, "default", request->service, &request->answer, error);
    if (is_job(request) && request->action == USER_RESTART)
        return job_changes_stop(core, change, "default", request->service, 0, &request->answer,
                                error);
    switch (request->action) {
    case USER_DEPLOY:
        return service_changes_apply(core, change, &apply, &request->answer, error);
    case USER_SCALE:
        return service_changes_scale(core, change, "default", request->service, request->number,
                                     &request->answer, error);
    case USER_ROLLBACK:
        return service_changes_rollback(core, change, "default", request->service, request->number,
                                        &request->answer, error);
    case USER_RESTART:
        return service_changes_restart(core, change, "default", request->service, &request->answer,
                                       error);
    case USER_REMOVE:
        return service_changes_remove(core, change, "default", request->service, &request->answer,
                                      error);
    case USER_PAUSE:
        return service_changes_pause(core, change, "default", request->service, &request->answer,
                                     error);
    case USER_RESUME:
        return service_changes_resume(core, change, "default", request->service, &request->answer,
                                      error);
    case USER_PROMOTE:
        return service_changes_promote(core, change, "default", request->service, &request->answer,
                                       error);
    case USER_ABORT:
        return service_changes_abort(core, change, "default", request->service, &request->answer,
                                     error);
    case USER_REVOKE:
    case USER_ACTIONS:
        break;
    }
    return decide_revoke(request, change, error);
}

/* --- what was answered --- */

static void note_answer(struct request *request)
{
    struct world *world = request->world;
    const struct core *core = process_core(request->process);
    struct promise *promise = &world->users->promises[request->index];
    const struct model_service *service = model_service(&core->model, "default", request->service);
    char key[STORE_KEY_MAX];
    if (service == NULL || service->document == NULL) {
        if (request->action != USER_REMOVE)
            world_fail(world, "%s was answered and is not there", request->service);
        return;
    }
    const struct document_service *document = service->document;
    document_key(DOCUMENT_SERVICE, document, key, sizeof key);
    if (disk_find(world->disk, key) == NULL)
        world_fail(world, "%s was answered and is not on the disk", key);
    *promise = (struct promise){.known = true,
                                .removed = document->deleting,
                                .uid = document->uid,
                                .revisions = document->revisions,
                                .rollouts = document->rollouts,
                                .replicas = document->replicas};
}

static void on_decided(const struct error *error, void *data)
{
    struct request *request = data;
    world_trace(request->world, "user: %s: %s", request->service,
                error != NULL ? error->message : request->answer.message);
    request->world->users->waiting[request->index]--;
    /* What a leader that is gone was asked for, may be done or not. */
    if (process_is_gone(request->process))
        request->world->users->promises[request->index].known = false;
    else if (error == NULL)
        note_answer(request);
    document_free(DOCUMENT_REVISION, request->revision);
    api_service_spec_release(&request->spec);
    free(request);
}

void users_act(struct world *world, enum user_action action, unsigned service, uint64_t what)
{
    static const char *const names[] = {"deploy", "scale",  "rollback", "restart", "remove",
                                        "pause",  "resume", "promote",  "abort",   "revoke"};
    struct process *process = process_leader(world);
    struct draw draw = {what};
    if (process == NULL)
        return;
    struct request *request = xcalloc(1, sizeof *request);
    request->world = world;
    request->process = process;
    request->action = action;
    request->index = service;
    snprintf(request->service, sizeof request->service, "s%u", service);
    if (action == USER_DEPLOY) {
        /* One service has volumes, most of the time. */
        request->has_volume = service == 0 && draw_chance(&draw, 800);
        if (is_job(request))
            make_job(request, &draw);
        else
            make_spec(request, &draw);
        make_revision(request, &draw);
    } else if (action == USER_SCALE) {
        request->number = (uint32_t)draw_below(&draw, 8);
    } else if (action == USER_ROLLBACK) {
        request->number = (uint32_t)draw_below(&draw, 4);
    }
    world_trace(world, "user: %s %s %u", names[action], request->service, request->number);
    world->users->waiting[service]++;
    changes_decide(process_core(process)->changes, decide, on_decided, request);
}

/* --- nodes --- */

struct node_request {
    struct world *world;
    struct process *process;
    enum user_node_action action;
    char node[NAME_MAX_TEXT];
    uint64_t deadline_ms;
    bool forces;
};

static int decide_node(struct change *change, void *data, struct error *error)
{
    static const enum node_eligibility wanted[] = {NODE_CORDONED, NODE_ELIGIBLE, NODE_DRAINING};
    const struct node_request *request = data;
    struct core *core = process_core(request->process);
    if (process_is_gone(request->process))
        return error_set(error, ERROR_UNAVAILABLE, "the scheduler is gone");
    if (request->action == USER_GIVE_UP)
        return node_changes_give_up(core, request->node, error);
    if (request->action == USER_REMOVE_NODE)
        return node_changes_remove(core, change, request->node, request->forces, error);
    struct api_node_request asked = {.reason = "because", .deadline_ms = request->deadline_ms};
    return node_changes_set_eligibility(core, change, request->node, wanted[request->action],
                                        &asked, error);
}

static void on_node_decided(const struct error *error, void *data)
{
    struct node_request *request = data;
    world_trace(request->world, "user: %s: %s", request->node,
                error != NULL ? error->message : "done");
    free(request);
}

void users_act_on_node(struct world *world, enum user_node_action action, const char *node,
                       uint64_t what)
{
    static const char *const names[] = {"cordon", "uncordon", "drain", "give up", "remove"};
    struct process *process = process_leader(world);
    struct draw draw = {what};
    if (process == NULL)
        return;
    struct node_request *request = xcalloc(1, sizeof *request);
    *request = (struct node_request){.world = world, .process = process, .action = action};
    text_copy(request->node, sizeof request->node, node);
    request->forces = draw_chance(&draw, 500);
    if (action == USER_DRAIN && draw_chance(&draw, 500))
        request->deadline_ms = draw_between(&draw, 1, 30) * 1000;
    world_trace(world, "user: %s %s, %llu ms", names[action], node,
                (unsigned long long)request->deadline_ms);
    changes_decide(process_core(process)->changes, decide_node, on_node_decided, request);
}

/* It was removed, and this start of its agent may not join again. */
static bool is_shut_out(const struct core *core, const struct node *node)
{
    const struct model_removed_node *removed = model_removed_node(&core->model, node->name);
    return removed != NULL && strcmp(removed->document->epoch, node->epoch) == 0;
}

void users_help(struct world *world)
{
    const struct core *core = process_truth(world);
    for (unsigned i = 0; core != NULL && i < USERS_SERVICES; i++) {
        char name[NAME_MAX_TEXT];
        snprintf(name, sizeof name, "s%u", i);
        const struct model_service *service = model_service(&core->model, "default", name);
        const struct document_rollout *rollout = service != NULL ? model_rollout(service) : NULL;
        if (rollout != NULL && rollout->phase == ROLLOUT_PAUSED)
            users_act(world, USER_RESUME, i, 0);
        else if (rollout != NULL && rollout->phase == ROLLOUT_AWAITING_PROMOTION)
            users_act(world, USER_PROMOTE, i, 0);
    }
    for (size_t i = 0; core != NULL && i < core->model.nodes.count; i++) {
        const struct model_node *node = core->model.nodes.items[i];
        if (node->document != NULL && node->document->eligibility != NODE_ELIGIBLE)
            users_act_on_node(world, USER_UNCORDON, node->name, 0);
    }
    for (size_t i = 0; core != NULL && i < world->node_count; i++) {
        if (!is_shut_out(core, world->nodes[i]))
            continue;
        world_trace(world, "user: starts the agent of %s anew", world->nodes[i]->name);
        node_kill_agent(world->nodes[i]);
        node_start_agent(world->nodes[i]);
    }
}

void users_restored(struct world *world)
{
    for (unsigned i = 0; i < USERS_SERVICES; i++)
        world->users->promises[i].known = false;
}

void users_check(struct world *world, const struct core *core)
{
    for (unsigned i = 0; i < USERS_SERVICES; i++) {
        const struct promise *promise = &world->users->promises[i];
        char name[NAME_MAX_TEXT];
        snprintf(name, sizeof name, "s%u", i);
        const struct model_service *service = model_service(&core->model, "default", name);
        const struct document_service *document = service != NULL ? service->document : NULL;
        if (!promise->known || world->users->waiting[i] > 0)
            continue;
        if (promise->removed) {
            if (document != NULL && document->uid == promise->uid && !document->deleting)
                world_fail(world, "service %s was removed, and is there again", name);
            continue;
        }
        if (document == NULL || document->uid != promise->uid) {
            world_fail(world, "service %s was acknowledged and is lost", name);
            continue;
        }
        if (document->revisions < promise->revisions || document->rollouts < promise->rollouts ||
            document->replicas != promise->replicas)
            world_fail(world,
                       "service %s was acknowledged with revision %u, rollout %u, %u replicas and "
                       "has %u, %u, %u",
                       name, promise->revisions, promise->rollouts, promise->replicas,
                       document->revisions, document->rollouts, document->replicas);
    }
}
