#include "scheduler/views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/capacity.h"
#include "scheduler/leadership.h"
#include "scheduler/views_jobs.h"

static uint64_t age(uint64_t now, uint64_t since)
{
    return since != 0 && now > since ? now - since : 0;
}

static struct json_object *list_of(const char *name, struct json_object *items)
{
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, name, items);
    return object;
}

/* --- rollouts --- */

static void fill_rollout(const struct core *core, const struct model_service *service,
                         const struct document_rollout *rollout, struct api_rollout_view *view)
{
    uint64_t wall = core_wall(core);
    bool last = rollout == model_rollout(service);
    bool running = !rollout_phase_is_over(rollout->phase);
    *view = (struct api_rollout_view){.number = rollout->number,
                                      .from = rollout->from,
                                      .to = rollout->to,
                                      .phase = rollout->phase};
    text_copy(view->kind, sizeof view->kind, rollout->kind);
    text_copy(view->reason, sizeof view->reason, rollout->reason);
    view->age_ms = age(wall, rollout->started_ms);
    view->duration_ms = running ? 0 : age(rollout->ended_ms, rollout->started_ms);
    if (!last)
        return;
    view->wanted = service->document->replicas;
    view->updated = service->counts.updated;
    view->healthy = service->counts.healthy;
    view->old = service->counts.old;
    view->failures = service->failures;
    view->canary = running && rollout->phase != ROLLOUT_ROLLING_BACK ? model_canaries(service) : 0;
    view->held =
        rollout->phase == ROLLOUT_PAUSED || (rollout->phase == ROLLOUT_AWAITING_PROMOTION &&
                                             !service->document->spec.rollout.auto_promote);
    if (running && rollout->phase != ROLLOUT_ROLLING_BACK && service->progress[0] != '\0')
        text_copy(view->reason, sizeof view->reason, service->progress);
    view->no_capacity = service->no_capacity != NULL;
    if (running && view->no_capacity)
        snprintf(view->reason, sizeof view->reason, "%.*s", (int)sizeof view->reason - 1,
                 service->no_capacity);
}

struct json_object *views_rollouts(const struct core *core, const struct model_service *service)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < service->rollout_count; i++) {
        struct api_rollout_view view;
        fill_rollout(core, service, service->rollouts[i], &view);
        json_object_array_add(list, json_encode(&api_rollout_view_record, &view));
    }
    return list_of("rollouts", list);
}

/* --- services --- */

static void fill_warning(const struct document_revision *revision, char ret_warning[REASON_MAX])
{
    text_copy(ret_warning, REASON_MAX,
              revision->revoked[0] != '\0' ? revision->revoked : revision->warning);
}

/* The spec that applies: the settings as they are, and the template of the revision in use. */
static struct json_object *spec_in_use(const struct model_service *service,
                                       const struct document_revision *revision)
{
    struct api_service_spec spec;
    json_record_copy(&api_service_spec_record, &service->document->spec, &spec);
    spec.has_replicas = true;
    spec.replicas = service->document->replicas;
    if (revision != NULL) {
        struct document_template template;
        json_record_copy(&document_template_record, &revision->template, &template);
        json_strings_release(&spec.args);
        json_map_release(&spec.env);
        free(spec.volumes);
        spec.volumes = template.volumes;
        spec.volume_count = template.volume_count;
        template.volumes = NULL;
        template.volume_count = 0;
        spec.args = template.args;
        spec.env = template.env;
        template.args = (struct json_strings){0};
        template.env = (struct json_map){0};
        spec.boot_timeout_ms = template.boot_timeout_ms;
        spec.stop = template.stop;
        spec.resources = template.resources;
        text_copy(spec.arch, sizeof spec.arch, template.arch);
        text_copy(spec.image, sizeof spec.image, revision->image);
        json_record_release(&document_template_record, &template);
    }
    struct json_object *object = api_service_spec_encode(&spec);
    api_service_spec_release(&spec);
    return object;
}

struct json_object *views_service(const struct core *core, const struct model_service *service,
                                  bool with_spec)
{
    const struct document_service *document = service->document;
    const struct document_rollout *rollout = model_rollout(service);
    const struct document_revision *revision = model_revision(service, model_target(service));
    struct api_service_view view = {.replicas = document->replicas};
    text_copy(view.namespace_name, sizeof view.namespace_name, document->namespace_name);
    text_copy(view.service, sizeof view.service, document->service);
    view.age_ms = age(core_wall(core), document->created_ms);
    view.standby = document->spec.standby;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        view.ready += model_instance_is_ready(instance);
        view.standby_ready += model_instance_is_standby(instance);
    }
    if (revision != NULL) {
        view.revision = revision->number;
        text_copy(view.image, sizeof view.image, revision->image);
        text_copy(view.image_digest, sizeof view.image_digest, revision->template.image_digest);
        fill_warning(revision, view.warning);
    }
    if (rollout != NULL) {
        view.has_rollout = true;
        fill_rollout(core, service, rollout, &view.rollout);
    }
    views_fill_job(core, service, &view);
    if (with_spec) {
        view.spec = spec_in_use(service, revision);
        view.obstacles = service->obstacles; /* lent */
    }
    struct json_object *object = json_encode(&api_service_view_record, &view);
    view.obstacles = (struct api_obstacles){0};
    json_record_release(&api_service_view_record, &view);
    return object;
}

struct json_object *views_services(const struct core *core, const char *namespace_name)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < core->model.services.count; i++) {
        const struct model_service *service = core->model.services.items[i];
        if (service->document != NULL &&
            strcmp(service->document->namespace_name, namespace_name) == 0)
            json_object_array_add(list, views_service(core, service, false));
    }
    return list_of("services", list);
}

struct json_object *views_comparable_revision(const struct document_revision *revision)
{
    struct json_object *object = json_encode(&document_template_record, &revision->template);
    json_object_object_add(object, "image", json_object_new_string(revision->image));
    return object;
}

struct json_object *views_revisions(const struct core *core, const struct model_service *service)
{
    struct json_object *before = NULL;
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < service->revision_count; i++) {
        const struct document_revision *revision = service->revisions[i];
        struct api_revision_view view = {.number = revision->number};
        text_copy(view.image, sizeof view.image, revision->image);
        text_copy(view.image_digest, sizeof view.image_digest, revision->template.image_digest);
        text_copy(view.template_digest, sizeof view.template_digest, revision->template_digest);
        text_copy(view.signed_by, sizeof view.signed_by, revision->signed_by);
        fill_warning(revision, view.warning);
        view.current = revision->number == model_target(service);
        view.age_ms = age(core_wall(core), revision->created_ms);
        struct json_object *now = views_comparable_revision(revision);
        struct api_plan differences = {0};
        if (before != NULL) {
            view.before = service->revisions[i - 1]->number;
            api_plan_compare(&differences, before, now);
        }
        view.changes = differences.changes;
        view.change_count = differences.change_count;
        json_object_array_add(list, json_encode(&api_revision_view_record, &view));
        json_record_release(&api_plan_record, &differences);
        json_object_put(before);
        before = now;
    }
    json_object_put(before);
    return list_of("revisions", list);
}

/* --- instances --- */

static bool is_healthy(const struct core *core, const struct model_instance *instance)
{
    return model_instance_is_ready(instance) && instance->service != NULL &&
           core_now(core) >= instance->ready_since_ms +
                                 instance->service->document->spec.rollout.min_healthy_time_ms;
}

/* A standby hears of no node: that one is lost it knows by what the leader wrote. */
static bool is_lost_elsewhere(const struct core *core, const struct model_node *node)
{
    return core->leadership != NULL && node != NULL && node->document->lost &&
           leadership_phase(core->leadership) != LEADERSHIP_LEADING;
}

static void append_instance(const struct core *core, const struct model_instance *instance,
                            struct buffer *text)
{
    const struct document_instance *document = instance->document;
    const struct document_observed *observed = &instance->observed;
    struct api_instance_view view = {.slot = document->slot, .revision = document->revision};
    if (instance->service != NULL && model_is_job(instance->service))
        view.run = document->rollout;
    text_copy(view.id, sizeof view.id, document->id);
    text_copy(view.namespace_name, sizeof view.namespace_name, document->namespace_name);
    text_copy(view.service, sizeof view.service, document->service);
    text_copy(view.node, sizeof view.node, document->node);
    text_copy(view.address, sizeof view.address, document->address);
    view.wanted = document->wish == WISH_STOP ? API_WANTED_STOP
                  : document->standby         ? API_WANTED_STANDBY
                                              : API_WANTED_RUN;
    view.state = model_instance_state(instance);
    if (is_lost_elsewhere(core, instance->node) && !instance_state_is_over(view.state))
        view.state = INSTANCE_UNKNOWN;
    /* The agent does not know that its instance is being drained. */
    if (document->wish == WISH_DRAIN &&
        (view.state == INSTANCE_READY || view.state == INSTANCE_RUNNING))
        view.state = INSTANCE_DRAINING;
    view.healthy = is_healthy(core, instance);
    text_copy(view.cause, sizeof view.cause, document_text(observed->cause));
    text_copy(view.message, sizeof view.message, document_text(observed->message));
    if (view.message[0] == '\0')
        text_copy(view.message, sizeof view.message, document_text(document->why));
    if (view.cause[0] == '\0')
        text_copy(view.cause, sizeof view.cause, document_text(document->cause));
    /* How it ended is written with that it has; what its node said of it may be lost in a crash. */
    if (view.cause[0] == '\0' && document->outcome == JOB_OUTCOME_SUCCEEDED)
        text_copy(view.cause, sizeof view.cause, INSTANCE_CAUSE_COMPLETED);
    else if (view.cause[0] == '\0')
        text_copy(view.cause, sizeof view.cause, job_outcome_names[document->outcome]);
    view.restarts = observed->restarts;
    view.age_ms = age(core_wall(core), document->created_ms);
    if (observed->uptime_ms != 0 && !instance_state_is_over(view.state))
        view.uptime_ms = observed->uptime_ms + age(core_now(core), instance->received_ms);
    view.boot_ms = observed->boot_ms;
    text_copy(view.accel, sizeof view.accel, observed->accel);
    json_record_append(text, &api_instance_view_record, &view);
}

char *views_instance(const struct core *core, const struct model_instance *instance)
{
    struct buffer text = {0};
    append_instance(core, instance, &text);
    return buffer_take(&text);
}

/* A list in the making. */
struct page {
    const struct core *core;
    const struct views_page *asked;
    struct buffer text;
    size_t count;
};

static bool is_full(const struct page *page)
{
    return page->asked->limit != 0 && page->count == page->asked->limit;
}

static void begin_item(struct page *page)
{
    if (page->count++ > 0)
        buffer_append(&page->text, ",", 1);
}

static bool is_asked(const struct page *page, const char *namespace_name, const char *service)
{
    const struct views_page *asked = page->asked;
    return (asked->namespace_name == NULL || strcmp(namespace_name, asked->namespace_name) == 0) &&
           (asked->service == NULL || strcmp(service, asked->service) == 0);
}

static void add_instances(struct page *page, const struct sorted *instances)
{
    size_t at = page->asked->after != NULL ? sorted_behind(instances, page->asked->after) : 0;
    for (; at < instances->count && !is_full(page); at++) {
        const struct model_instance *instance = instances->items[at];
        if (!is_asked(page, instance->document->namespace_name, instance->document->service))
            continue;
        begin_item(page);
        append_instance(page->core, instance, &page->text);
    }
}

/* Slots that wait for room have no instance yet, and so no id: they are shown as pending. */
static void add_waiting(struct page *page, const struct model_service *service)
{
    const struct document_service *document = service->document;
    AUTO_FREE bool *held = xcalloc(document->replicas + 1, sizeof *held);
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (instance->document->slot < document->replicas && !instance->document->standby &&
            instance->document->wish == WISH_RUN)
            held[instance->document->slot] = true;
    }
    for (uint32_t slot = 0; slot < document->replicas; slot++) {
        struct api_instance_view view = {
            .slot = slot, .revision = model_target(service), .state = INSTANCE_PENDING};
        if (held[slot])
            continue;
        text_copy(view.namespace_name, sizeof view.namespace_name, document->namespace_name);
        text_copy(view.service, sizeof view.service, document->service);
        strcpy(view.cause, "no_capacity");
        snprintf(view.message, sizeof view.message, "%.*s", (int)sizeof view.message - 1,
                 service->no_capacity);
        begin_item(page);
        json_record_append(&page->text, &api_instance_view_record, &view);
    }
}

char *views_instances(const struct core *core, const struct views_page *asked)
{
    struct page page = {.core = core, .asked = asked};
    const struct model *model = &core->model;
    const struct model_service *only =
        asked->namespace_name != NULL && asked->service != NULL
            ? model_service(model, asked->namespace_name, asked->service)
            : NULL;
    buffer_append_text(&page.text, "{\"instances\":[");
    add_instances(&page, only != NULL ? &only->instances : &model->instances);
    for (size_t i = 0; i < model->services.count && !is_full(&page); i++) {
        const struct model_service *service = model->services.items[i];
        if (service->document != NULL && service->no_capacity != NULL &&
            is_asked(&page, service->document->namespace_name, service->document->service))
            add_waiting(&page, service);
    }
    buffer_append_text(&page.text, "]}");
    return buffer_take(&page.text);
}

/* --- nodes and keys --- */

/* Of a node that drains: how far it is, and what stands in its way. */
static void fill_drain(const struct core *core, const struct model_node *node,
                       struct api_node_view *view)
{
    uint64_t deadline_ms = node->drain_since_ms + node->document->drain_deadline_ms;
    if (node->document->drain_deadline_ms > 0 && deadline_ms > core_now(core))
        view->drain_left_ms = deadline_ms - core_now(core);
    for (size_t i = 0; i < node->instances.count && view->waiting[0] == '\0'; i++) {
        const struct model_instance *instance = node->instances.items[i];
        const struct model_service *service = instance->service;
        if (service != NULL && service->no_capacity != NULL && !model_instance_has_ended(instance))
            snprintf(view->waiting, sizeof view->waiting, "%s: %.400s", service->name,
                     service->no_capacity);
    }
}

struct json_object *views_node(const struct core *core, const struct model_node *node)
{
    const struct document_node *document = node->document;
    /* Lists are lent to the view: it is not released. */
    struct api_node_view view = {.machines = document->machines,
                                 .machine_count = document->machine_count,
                                 .memory = document->memory,
                                 .vcpus = document->vcpus,
                                 .labels = document->labels,
                                 .frontends = node->frontends,
                                 .frontend_count = node->frontend_count};
    text_copy(view.name, sizeof view.name, node->name);
    view.state = is_lost_elsewhere(core, node) ? NODE_LOST : model_node_state(node);
    view.eligibility = document->eligibility;
    text_copy(view.reason, sizeof view.reason, document->eligibility_reason);
    if (document->eligibility != NODE_ELIGIBLE) {
        view.leaving = model_node_leaving(node);
        view.volume_slots = model_node_volume_slots(node);
    }
    if (document->eligibility == NODE_DRAINING)
        fill_drain(core, node, &view);
    text_copy(view.address, sizeof view.address, document->address);
    text_copy(view.subnet, sizeof view.subnet, document->subnet);
    text_copy(view.hypervisor, sizeof view.hypervisor, document->hypervisor);
    text_copy(view.hypervisor_uri, sizeof view.hypervisor_uri, document->hypervisor_uri);
    capacity_used(node, &view.memory_used, &view.vcpus_used, &view.instances);
    view.volumes = document->volumes;
    view.volumes_used = capacity_volumes_used(node);
    view.heartbeat_age_ms = age(core_now(core), node->heard_ms);
    view.host_silent_ms = node->host_silent_ms;
    return json_encode(&api_node_view_record, &view);
}

static struct json_object *view_rescheduling(const struct core *core)
{
    const struct model *model = &core->model;
    struct api_rescheduling_view view = {
        .frozen = model->frozen,
        .suspect = model->suspect_nodes,
        .eligible = model->suspect_nodes + model->ready_nodes,
        .waiting = (uint32_t)model->rescheduling.count,
        .rate = rescheduling_rate(core->options->reschedule_rate, model->ready_nodes)};
    return json_encode(&api_rescheduling_view_record, &view);
}

struct json_object *views_nodes(const struct core *core)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < core->model.nodes.count; i++)
        json_object_array_add(list, views_node(core, core->model.nodes.items[i]));
    struct json_object *nodes = list_of("nodes", list);
    json_object_object_add(nodes, "rescheduling", view_rescheduling(core));
    return nodes;
}

struct json_object *views_policies(const struct core *core)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < core->model.policies.count; i++) {
        const struct model_policy *policy = core->model.policies.items[i];
        json_object_array_add(list, json_encode(&api_policy_record, policy->document));
    }
    return list_of("policies", list);
}

struct json_object *views_keys(const struct core *core)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < core->model.keys.count; i++) {
        const struct model_key *key = core->model.keys.items[i];
        json_object_array_add(list, json_encode(&api_key_record, key->document));
    }
    return list_of("keys", list);
}
