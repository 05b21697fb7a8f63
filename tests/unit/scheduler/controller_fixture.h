/* What the tests of the controller share: a scheduler without HTTP over a real store, a clock of
 * its own, and nodes that report what they are told to. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/assignment.h"
#include "scheduler/capacity.h"
#include "scheduler/controller.h"
#include "scheduler/observation.h"
#include "scheduler/publication.h"
#include "scheduler/service_changes.h"
#include "scheduler/store_sqlite.h"

#define MIB (UINT64_C(1) << 20)

struct fixture {
    struct core core;
    struct clock clock;
    uint64_t now_ms;
    uint64_t wall_offset_ms;
    uv_loop_t loop;
    char directory[64];
    struct scheduler_options options;
    uint64_t sequence;
    bool is_idle;
    bool leads;
    bool lags;            /* the data plane has not applied the latest endpoints */
    bool uncounted;       /* it has, and nobody has counted its open connections yet */
    const char *settings; /* further JSON of what is deployed; NULL: none */
    struct document_revision *revision;
    struct api_service_spec spec;
    struct api_change_answer answer;
};

static inline uint64_t test_now(const struct clock *clock)
{
    const struct fixture *fixture =
        (const void *)((const char *)clock - offsetof(struct fixture, clock));
    return fixture->now_ms;
}

static inline uint64_t test_wall(const struct clock *clock)
{
    const struct fixture *fixture =
        (const void *)((const char *)clock - offsetof(struct fixture, clock));
    return fixture->now_ms + fixture->wall_offset_ms;
}

static inline void on_applied(void *data)
{
    struct fixture *fixture = data;
    publication_update(fixture->core.publication);
    controller_wake(fixture->core.controller);
}

static inline void on_idle(void *data)
{
    ((struct fixture *)data)->is_idle = true;
}

/* Until nothing is on its way to the store for a while: every commit that a step causes has come
 * back, however long the disk takes. */
static inline void settle(struct fixture *fixture)
{
    for (int quiet = 0, turns = 0; quiet < 20 && turns < 30000; turns++) {
        uv_sleep(1);
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        fixture->is_idle = false;
        changes_when_idle(fixture->core.changes, on_idle, fixture);
        quiet = fixture->is_idle ? quiet + 1 : 0;
    }
}

static inline void on_lead(bool leading, void *data)
{
    *(bool *)data = leading;
}

static inline void lead(struct fixture *fixture)
{
    store_lead(fixture->core.store, NULL, on_lead, &fixture->leads);
    while (!fixture->leads)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static inline int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    struct core *core = &fixture->core;
    strcpy(fixture->directory, "/tmp/shoal-controller.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    uv_loop_init(&fixture->loop);
    fixture->now_ms = 1000000;
    fixture->clock = (struct clock){test_now, test_wall};
    fixture->options = (struct scheduler_options){.registry = "http://127.0.0.1:5000",
                                                  .network = "10.64.0.0/10",
                                                  .lease_ms = 10000,
                                                  .replace_after_ms = 30000};
    struct store_sqlite_options store = {fixture->directory, false};
    core->options = &fixture->options;
    core->loop = &fixture->loop;
    core->clock = &fixture->clock;
    core->wakeups = wakeup_source_loop(&fixture->loop);
    core->revision_base = UINT64_C(1) << 32;
    assert_int_equal(store_sqlite_open(&fixture->loop, &store, &core->store, NULL), 0);
    lead(fixture);
    model_init(&core->model);
    core->changes = changes_create(
        &(struct changes_options){core->store, &core->model, core->clock, on_applied, fixture});
    core->publication = publication_create(core);
    core->controller = controller_create(core);
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    controller_stop(fixture->core.controller);
    settle(fixture);
    controller_destroy(fixture->core.controller);
    publication_stop(fixture->core.publication);
    store_destroy(fixture->core.store);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    publication_destroy(fixture->core.publication);
    changes_destroy(fixture->core.changes);
    model_finish(&fixture->core.model);
    document_free(DOCUMENT_REVISION, fixture->revision);
    api_service_spec_release(&fixture->spec);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static inline int decide_node(struct change *change, void *data, struct error *error)
{
    (void)error;
    const char *name = data;
    struct document_node *node = document_create(DOCUMENT_NODE);
    text_copy(node->name, sizeof node->name, name);
    snprintf(node->subnet, sizeof node->subnet, "10.64.%d.0/24", name[0] - 'a');
    node->machines = xcalloc(1, sizeof *node->machines);
    node->machine_count = 1;
    strcpy(node->machines[0].arch, "amd64");
    strcpy(node->machines[0].accel, "tcg");
    node->memory = 1024 * MIB;
    node->vcpus = 4;
    change_put(change, DOCUMENT_NODE, node);
    return 0;
}

static inline void keep_text(enum publication_news news, const char *text, void *data)
{
    assert_int_equal(news, PUBLICATION_DOCUMENT);
    *(char **)data = xstrdup(text);
}

/* What a node is told that has `after`; 0: nothing yet. The caller frees it. */
static inline char *assignment_of(struct fixture *fixture, const char *name, uint64_t after)
{
    char *text = NULL;
    struct publication_poll poll = {
        .kind = PUBLICATION_ASSIGNMENT,
        .has_after = after != 0,
        .after = after,
        .term = store_identity(fixture->core.store)->term,
        .answer = keep_text,
        .data = &text,
    };
    publication_poll(fixture->core.publication, model_node(&fixture->core.model, name), &poll);
    assert_non_null(text);
    return text;
}

/* No connection is open to what drains. */
static inline void count_draining(const struct fixture *fixture, struct api_status *status)
{
    const struct sorted *all = &fixture->core.model.instances;
    status->draining = xcalloc(all->count + 1, sizeof *status->draining);
    for (size_t i = 0; i < all->count && !fixture->lags && !fixture->uncounted; i++) {
        const struct model_instance *instance = all->items[i];
        if (instance->document->wish == WISH_DRAIN)
            text_copy(status->draining[status->draining_count++].id, INSTANCE_ID_MAX,
                      instance->name);
    }
}

/* A status that says `state` of every instance that the node is to run, and stopped of the rest. */
static inline void report(struct fixture *fixture, const char *name, enum instance_state state,
                          uint64_t age_ms, uint32_t restarts)
{
    struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = ++fixture->sequence,
                                .term = 1,
                                .assignment_revision = node->assignment_revision,
                                .endpoints_revision = fixture->lags ? 0 : UINT64_MAX};
    status.instances = xcalloc(node->instances.count + 1, sizeof *status.instances);
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        struct api_observed_instance *seen = &status.instances[status.instance_count];
        if (model_instance_has_ended(instance))
            continue;
        bool stops = instance->document->wish == WISH_STOP;
        text_copy(seen->id, sizeof seen->id, instance->name);
        seen->state = stops ? INSTANCE_STOPPED : state;
        seen->state_age_ms = age_ms;
        seen->restarts = restarts;
        if (restarts > 0)
            strcpy(seen->cause, "guest_exit");
        status.instance_count++;
    }
    count_draining(fixture, &status);
    observation_take(&fixture->core, node, &status);
    json_record_release(&api_status_record, &status);
    settle(fixture);
}

static inline void join(struct fixture *fixture, const char *name)
{
    changes_decide(fixture->core.changes, decide_node, NULL, (void *)name);
    settle(fixture);
    report(fixture, name, INSTANCE_READY, 0, 0);
}

static inline int decide_features(struct change *change, void *data, struct error *error)
{
    const struct model_node *known = data;
    (void)error;
    struct document_node *node = change_edit(change, DOCUMENT_NODE, known->document);
    json_strings_add(&node->features, "volumes");
    return 0;
}

/* From now on the node's agent attaches volumes. */
static inline void attach_volumes(struct fixture *fixture, const char *name)
{
    changes_decide(fixture->core.changes, decide_features, NULL,
                   model_node(&fixture->core.model, name));
    settle(fixture);
}

static inline int decide_deploy(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    struct service_apply apply = {&fixture->spec, fixture->revision};
    return service_changes_apply(&fixture->core, change, &apply, &fixture->answer, error);
}

/* The spec and the revision of a service, to be applied by decide_deploy. */
static inline void deploy_prepare(struct fixture *fixture, const char *name, const char *digest,
                                  uint32_t replicas)
{
    AUTO_FREE char *json =
        xasprintf("{\"service\": \"%s\", \"image\": \"i\", \"reschedule\": {\"attempts\": 1},"
                  " \"ports\": [{\"name\": \"http\", \"port\": 8080, \"publish\": 80}]%s}",
                  name, fixture->settings != NULL ? fixture->settings : "");
    AUTO_JSON struct json_object *object = NULL;
    document_free(DOCUMENT_REVISION, fixture->revision);
    api_service_spec_release(&fixture->spec);
    json_parse(json, strlen(json), &object, NULL);
    assert_int_equal(api_service_spec_decode(object, &fixture->spec, NULL), 0);
    fixture->spec.has_replicas = true;
    fixture->spec.replicas = replicas;
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    strcpy(revision->namespace_name, "default");
    text_copy(revision->service, sizeof revision->service, name);
    text_copy(revision->image, sizeof revision->image, fixture->spec.image);
    text_copy(revision->template_digest, sizeof revision->template_digest, digest);
    revision->template.resources = (struct api_resources){32 * MIB, 1};
    revision->template.stop = fixture->spec.stop;
    revision->template.ports = xcalloc(1, sizeof *revision->template.ports);
    revision->template.port_count = 1;
    if (fixture->spec.volume_count > 0) {
        revision->template.volumes = xcalloc(1, sizeof *revision->template.volumes);
        revision->template.volumes[revision->template.volume_count++] = fixture->spec.volumes[0];
    }
    revision->template.ports[0] = (struct api_port){.name = "http", .port = 8080};
    revision->platforms = xcalloc(1, sizeof *revision->platforms);
    revision->platform_count = 1;
    strcpy(revision->platforms[0].arch, "amd64");
    fixture->revision = revision;
}

static inline void deploy(struct fixture *fixture, const char *digest, uint32_t replicas)
{
    deploy_prepare(fixture, "s", digest, replicas);
    changes_decide(fixture->core.changes, decide_deploy, NULL, fixture);
    settle(fixture);
}

static inline struct model_service *service(struct fixture *fixture)
{
    return model_service(&fixture->core.model, "default", "s");
}

static inline size_t running_on(struct fixture *fixture, const char *name)
{
    const struct model_node *node = model_node(&fixture->core.model, name);
    size_t count = 0;
    for (size_t i = 0; i < node->instances.count; i++)
        count += ((struct model_instance *)node->instances.items[i])->document->wish == WISH_RUN;
    return count;
}

static inline size_t servers(struct fixture *fixture, enum api_server_state state)
{
    struct api_endpoints endpoints = {0};
    size_t count = 0;
    assignment_fill_endpoints(&fixture->core.model, &endpoints);
    for (size_t i = 0; i < endpoints.frontend_count; i++) {
        for (size_t j = 0; j < endpoints.frontends[i].server_count; j++)
            count += endpoints.frontends[i].servers[j].state == state;
    }
    json_record_release(&api_endpoints_record, &endpoints);
    return count;
}

static inline void wake_at(struct fixture *fixture, uint64_t later_ms)
{
    fixture->now_ms += later_ms;
    controller_wake(fixture->core.controller);
    settle(fixture);
}

static inline enum rollout_phase phase(struct fixture *fixture)
{
    return model_rollout(service(fixture))->phase;
}
