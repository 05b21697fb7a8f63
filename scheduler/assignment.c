#include "scheduler/assignment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define NODE_PREFIX 24

static bool has_probe_port(const struct document_revision *revision, const struct api_probe *probe)
{
    const char *name = api_probe_port(probe);
    return name == NULL ||
           api_port_find(revision->template.ports, revision->template.port_count, name) != NULL;
}

static bool choose_probe(const struct document_revision *revision, bool has_own,
                         const struct api_probe *own, bool has_image, const struct api_probe *image,
                         struct api_probe *ret_probe)
{
    if (has_own && has_probe_port(revision, own))
        *ret_probe = *own;
    else if (has_image && has_probe_port(revision, image))
        *ret_probe = *image;
    else
        return false;
    return true;
}

void assignment_health(const struct model_service *service,
                       const struct document_revision *revision, struct api_health *ret_health)
{
    const struct api_health *own = &service->document->spec.health;
    const struct api_health *image = &revision->health;
    *ret_health = (struct api_health){0};
    ret_health->has_readiness =
        choose_probe(revision, own->has_readiness, &own->readiness, image->has_readiness,
                     &image->readiness, &ret_health->readiness);
    ret_health->has_liveness =
        choose_probe(revision, own->has_liveness, &own->liveness, image->has_liveness,
                     &image->liveness, &ret_health->liveness);
}

static const struct document_revision *revision_of(const struct model_instance *instance)
{
    if (instance->service == NULL || instance->service->document == NULL)
        return NULL;
    return model_revision(instance->service, instance->document->revision);
}

/* The port that a revision or a manifest means by what the other one calls `wanted`. One that is
 * named anew between revisions keeps its number: both sides of a rollout go on being served. */
static const struct api_port *counterpart(const struct api_port *ports, size_t count,
                                          const struct api_port *wanted)
{
    const struct api_port *port = api_port_find(ports, count, wanted->name);
    for (size_t i = 0; i < count && port == NULL; i++) {
        if (ports[i].port == wanted->port)
            port = &ports[i];
    }
    return port;
}

/* Ports as the guest has them, with what the settings say of them now. */
static void fill_ports(const struct model_service *service,
                       const struct document_revision *revision,
                       struct api_assigned_instance *assigned)
{
    const struct api_service_spec *spec = &service->document->spec;
    size_t count = revision->template.port_count;
    assigned->ports = count > 0 ? xcalloc(count, sizeof *assigned->ports) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct api_port *port = &assigned->ports[assigned->port_count++];
        *port = revision->template.ports[i];
        const struct api_port *own = counterpart(spec->ports, spec->port_count, port);
        if (own == NULL)
            continue;
        port->publish = port->is_private ? 0 : own->publish;
        if (own->has_mode) {
            port->has_mode = true;
            port->mode = own->mode;
        }
    }
}

void assignment_gateway(const char *address, char ret_gateway[ADDRESS_MAX])
{
    text_copy(ret_gateway, ADDRESS_MAX, address);
    char *dot = strrchr(ret_gateway, '.');
    if (dot != NULL)
        strcpy(dot, ".1");
}

/* Lists are lent: what is filled so is written, and not released. Ports are its own. */
static void fill_template(const struct model_instance *instance,
                          const struct document_revision *revision,
                          struct api_assigned_instance *assigned)
{
    const struct document_template *template = &revision->template;
    assigned->args = template->args;
    assigned->env = template->env;
    assigned->resources = template->resources;
    assigned->boot_timeout_ms = template->boot_timeout_ms;
    assigned->stop = template->stop;
    assigned->restart = instance->service->document->spec.restart;
    text_copy(assigned->repository, sizeof assigned->repository, revision->repository);
    text_copy(assigned->image_digest, sizeof assigned->image_digest, template->image_digest);
    /* A job's instance is judged by its end: nobody connects to it, nothing checks it. */
    if (model_is_job(instance->service)) {
        assigned->boot_timeout_ms = 0;
        return;
    }
    assigned->volumes = template->volumes;
    assigned->volume_count = template->volume_count;
    assignment_health(instance->service, revision, &assigned->health);
    fill_ports(instance->service, revision, assigned);
}

/* For who is only to stop: settings that an agent can read, however little they matter. */
static void fill_defaults(struct api_assigned_instance *assigned)
{
    struct api_service_spec spec = {0};
    api_service_spec_set_defaults(&spec);
    assigned->boot_timeout_ms = spec.boot_timeout_ms;
    assigned->restart = spec.restart;
    assigned->stop = spec.stop;
}

static void fill_instance(const struct model_instance *instance,
                          struct api_assigned_instance *assigned)
{
    const struct document_instance *document = instance->document;
    const struct document_revision *revision = revision_of(instance);
    text_copy(assigned->id, sizeof assigned->id, document->id);
    text_copy(assigned->namespace_name, sizeof assigned->namespace_name, document->namespace_name);
    text_copy(assigned->service, sizeof assigned->service, document->service);
    text_copy(assigned->arch, sizeof assigned->arch, document->arch);
    text_copy(assigned->address, sizeof assigned->address, document->address);
    assignment_gateway(document->address, assigned->gateway);
    assigned->prefix = NODE_PREFIX;
    assigned->slot = document->slot;
    assigned->revision = document->revision;
    /* Without its revision nothing could boot it. */
    assigned->wanted = document->wish == WISH_STOP || revision == NULL ? API_WANTED_STOP
                       : document->standby                             ? API_WANTED_STANDBY
                                                                       : API_WANTED_RUN;
    if (assigned->wanted == API_WANTED_STOP)
        text_copy(assigned->stop_cause, sizeof assigned->stop_cause,
                  document_text(document->cause));
    if (revision != NULL)
        fill_template(instance, revision, assigned);
    else
        fill_defaults(assigned);
}

/* --- what a node will need soon --- */

static bool has_platform(const struct document_revision *revision, const char *architecture)
{
    for (size_t i = 0; i < revision->platform_count; i++) {
        if (strcmp(revision->platforms[i].arch, architecture) == 0)
            return true;
    }
    return false;
}

/* What the instance is being replaced by, where that has another image; else NULL. */
static const struct document_revision *next_revision(const struct model_instance *instance)
{
    const struct document_revision *own = revision_of(instance);
    if (own == NULL || model_instance_has_ended(instance) || model_is_job(instance->service))
        return NULL;
    const struct document_rollout *rollout = model_rollout(instance->service);
    const struct document_revision *next =
        model_revision(instance->service, model_target(instance->service));
    if (next == NULL || rollout->phase == ROLLOUT_FAILED || next->revoked[0] != '\0' ||
        strcmp(next->template.image_digest, own->template.image_digest) == 0)
        return NULL;
    return has_platform(next, instance->document->arch) ? next : NULL;
}

static bool is_named(const struct api_assignment *header, const char *digest, const char *arch)
{
    for (size_t i = 0; i < header->prefetch_count; i++) {
        if (strcmp(header->prefetch[i].digest, digest) == 0 &&
            strcmp(header->prefetch[i].arch, arch) == 0)
            return true;
    }
    return false;
}

void assignment_fill_prefetch(const struct model_node *node, struct api_assignment *header)
{
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        const struct document_revision *next = next_revision(instance);
        const char *arch = instance->document->arch;
        if (next == NULL || is_named(header, next->template.image_digest, arch))
            continue;
        if (header->prefetch_count == API_PREFETCH_MAX)
            return;
        if (header->prefetch == NULL)
            header->prefetch = xcalloc(API_PREFETCH_MAX, sizeof *header->prefetch);
        struct api_prefetch *prefetch = &header->prefetch[header->prefetch_count++];
        text_copy(prefetch->repository, sizeof prefetch->repository, next->repository);
        text_copy(prefetch->digest, sizeof prefetch->digest, next->template.image_digest);
        text_copy(prefetch->arch, sizeof prefetch->arch, arch);
    }
}

/* --- a node's assignment --- */

void assignment_append_instance(struct buffer *text, const struct model_instance *instance)
{
    struct api_assigned_instance assigned = {0};
    fill_instance(instance, &assigned);
    json_record_append(text, &api_assigned_instance_record, &assigned);
    free(assigned.ports);
}

static void append_orphan(struct buffer *text, const char *id)
{
    struct api_assigned_instance orphan = {.wanted = API_WANTED_STOP};
    text_copy(orphan.id, sizeof orphan.id, id);
    strcpy(orphan.namespace_name, "default");
    strcpy(orphan.service, "orphan");
    fill_defaults(&orphan);
    json_record_append(text, &api_assigned_instance_record, &orphan);
}

static void append_instances(struct buffer *text, struct assignment_texts *texts,
                             const struct model_node *node, uint64_t after)
{
    const char *comma = "";
    buffer_append_text(text, ",\"instances\":[");
    for (size_t i = 0; i < node->instances.count; i++) {
        const struct model_instance *instance = node->instances.items[i];
        /* The whole has what is not published yet, too: what it lacks is stopped. */
        if ((after > 0 && instance->assigned_revision <= after) ||
            model_instance_has_ended(instance))
            continue;
        buffer_append_text(text, comma);
        assignment_append_common(text, texts, instance);
        comma = ",";
    }
    for (size_t i = 0; i < node->orphans.count && node->orphans_revision > after; i++) {
        buffer_append_text(text, comma);
        append_orphan(text, node->orphans.items[i]);
        comma = ",";
    }
    buffer_append_text(text, "]");
}

static void append_removed(struct buffer *text, const struct model_node *node, uint64_t after)
{
    const char *begin = ",\"removed\":[\"";
    for (size_t i = 0; i < REMOVED_KEPT; i++) {
        if (node->removed[i].revision <= after)
            continue;
        buffer_printf(text, "%s%s\"", begin, node->removed[i].id);
        begin = ",\"";
    }
    if (begin[2] != 'r')
        buffer_append_text(text, "]");
}

void assignment_append(struct buffer *text, struct assignment_texts *texts,
                       const struct model_node *node, uint64_t after,
                       const struct api_assignment *header)
{
    json_record_append(text, &api_assignment_record, header);
    /* Behind its last member, an empty list of instances. */
    static const char end[] = ",\"instances\":[]}";
    text->length -= sizeof end - 1;
    append_instances(text, texts, node, after);
    if (after > 0)
        append_removed(text, node, after);
    buffer_append_text(text, "}");
}

/* --- endpoints --- */

/* Ready while its node says so; what a silent node said last goes on to count (its data plane and
 * guests may be well), and after a start so does what was written. */
static bool is_in_endpoints(const struct model_instance *instance, enum api_server_state *ret_state)
{
    const struct document_instance *document = instance->document;
    enum instance_state state = instance->observed.state;
    bool silent = instance->node == NULL || instance->node->silent;
    if (model_instance_has_ended(instance) || instance_state_is_over(state))
        return false;
    if (document->wish == WISH_RUN) {
        *ret_state = API_SERVER_READY;
        return state == INSTANCE_READY && !document->standby;
    }
    *ret_state = API_SERVER_DRAIN;
    bool lost = instance->node == NULL || instance->node->lost;
    if (lost || (silent && document->wish == WISH_STOP))
        return false;
    /* One that was replaced while its node was lost drains when that is back. */
    bool drains = document->wish == WISH_DRAIN || !instance->reported;
    return instance->in_endpoints || (drains && state == INSTANCE_READY);
}

/* It may be in the endpoints of the process before: that it became ready is written up to a second
 * after its node said so. */
static bool may_be_served(const struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    enum instance_state state = instance->observed.state;
    return !instance->reported && !model_instance_has_ended(instance) && !document->standby &&
           document->wish != WISH_STOP && state != INSTANCE_READY && !instance_state_is_over(state);
}

bool assignment_hides_endpoints(const struct model_node *node)
{
    if (node->reported || node->silent || node->document->lost)
        return false;
    for (size_t i = 0; i < node->instances.count; i++) {
        if (may_be_served(node->instances.items[i]))
            return true;
    }
    return false;
}

static const struct api_port *port_of(const struct model_instance *instance,
                                      const struct api_port *published)
{
    const struct document_revision *revision = revision_of(instance);
    if (revision == NULL)
        return NULL;
    const struct document_template *template = &revision->template;
    const struct api_port *port = counterpart(template->ports, template->port_count, published);
    return port != NULL && !port->is_private ? port : NULL;
}

/* What the canaries that have a weight are of; NULL: there are none. */
static const struct document_revision *judged_revision(const struct model_service *service)
{
    const struct document_rollout *rollout = model_rollout(service);
    if (!service->document->spec.rollout.has_canary_weight || model_canaries(service) == 0)
        return NULL;
    return model_revision(service, rollout->to);
}

/* Gives the canaries `percent` of what is new, and the others the rest, as near as whole numbers
 * come. Without one of either kind all are alike: nobody is turned away. */
static void weigh_servers(struct api_frontend *frontend, const bool *canaries, uint32_t percent)
{
    uint64_t canary_count = 0, other_count = 0;
    for (size_t i = 0; i < frontend->server_count; i++) {
        bool ready = frontend->servers[i].state == API_SERVER_READY;
        canary_count += ready && canaries[i];
        other_count += ready && !canaries[i];
    }
    if (canary_count == 0 || other_count == 0)
        return;
    uint64_t canary = percent * other_count, other = (100 - percent) * canary_count;
    uint64_t most = canary > other ? canary : other;
    for (size_t i = 0; i < frontend->server_count; i++) {
        uint64_t part = canaries[i] ? canary : other;
        uint64_t weight = (part * API_SERVER_WEIGHT_MAX + most / 2) / most;
        frontend->servers[i].has_weight = frontend->servers[i].state == API_SERVER_READY;
        frontend->servers[i].weight = weight == 0 && part > 0 ? 1 : (uint32_t)weight;
    }
}

static void fill_servers(struct model_service *service, const struct api_port *published,
                         struct api_frontend *frontend)
{
    const struct document_revision *judged = judged_revision(service);
    AUTO_FREE bool *canaries = xcalloc(service->instances.count + 1, sizeof *canaries);
    frontend->servers = xcalloc(service->instances.count + 1, sizeof *frontend->servers);
    frontend->mode = published->mode;
    for (size_t i = 0; i < service->instances.count; i++) {
        struct model_instance *instance = service->instances.items[i];
        const struct api_port *port = port_of(instance, published);
        enum api_server_state state;
        if (port == NULL)
            continue;
        if (!published->has_mode)
            frontend->mode = port->mode;
        if (!is_in_endpoints(instance, &state))
            continue;
        canaries[frontend->server_count] =
            model_same_template(service, instance->document->revision, judged);
        struct api_server *server = &frontend->servers[frontend->server_count++];
        text_copy(server->id, sizeof server->id, instance->name);
        text_copy(server->address, sizeof server->address, instance->document->address);
        server->port = port->port;
        server->state = state;
    }
    if (judged != NULL)
        weigh_servers(frontend, canaries, service->document->spec.rollout.canary_weight);
}

static void add_frontends(struct model_service *service, struct api_endpoints *endpoints)
{
    const struct api_service_spec *spec = &service->document->spec;
    for (size_t i = 0; i < spec->port_count; i++) {
        const struct api_port *port = &spec->ports[i];
        if (port->publish == 0)
            continue;
        endpoints->frontends = xreallocarray(endpoints->frontends, endpoints->frontend_count + 1,
                                             sizeof *endpoints->frontends);
        struct api_frontend *frontend = &endpoints->frontends[endpoints->frontend_count++];
        *frontend = (struct api_frontend){.publish = port->publish};
        text_copy(frontend->namespace_name, sizeof frontend->namespace_name,
                  service->document->namespace_name);
        text_copy(frontend->service, sizeof frontend->service, service->document->service);
        fill_servers(service, port, frontend);
    }
}

void assignment_fill_endpoints(struct model *model, struct api_endpoints *endpoints)
{
    for (size_t i = 0; i < model->services.count; i++) {
        struct model_service *service = model->services.items[i];
        if (service->document != NULL)
            add_frontends(service, endpoints);
    }
}

static bool publishes(const struct model_service *service)
{
    const struct api_service_spec *spec = &service->document->spec;
    for (size_t i = 0; i < spec->port_count; i++) {
        if (spec->ports[i].publish != 0)
            return true;
    }
    return false;
}

static void note_instance(struct model_instance *instance, bool is_published, uint64_t revision,
                          uint64_t now_ms)
{
    enum api_server_state state;
    bool is_in = is_published && is_in_endpoints(instance, &state);
    if ((instance->in_endpoints && !is_in) || instance->left_revision == UINT64_MAX)
        instance->left_revision = revision;
    instance->in_endpoints = is_in;
    if (instance->document->wish != WISH_DRAIN || instance->drain_since_ms != 0)
        return;
    instance->drain_since_ms = now_ms;
    instance->drain_revision = revision;
    model_touch_service(instance->service);
}

void assignment_note_endpoints(struct model *model, uint64_t revision, uint64_t now_ms)
{
    for (size_t i = 0; i < model->services.count; i++) {
        struct model_service *service = model->services.items[i];
        bool is_published = service->document != NULL && publishes(service);
        if (!is_published && !service->in_endpoints && service->draining == 0)
            continue;
        for (size_t j = 0; j < service->instances.count; j++)
            note_instance(service->instances.items[j], is_published, revision, now_ms);
        service->in_endpoints = is_published;
    }
}
