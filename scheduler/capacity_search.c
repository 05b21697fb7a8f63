/* The placing of instances of one revision: what is asked, what the service has where, and the best
 * place for each. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/capacity.h"
#include "scheduler/volume_rules.h"

struct capacity_search {
    struct capacity *capacity;
    struct model_service *service;
    struct usage_kept kept; /* room that was kept for it when the search began; free to it */
    const struct document_revision *revision;
    uint32_t restart;
    struct placement_request request;
    struct placement_platform platforms[PLACEMENT_PLATFORMS_MAX];
    struct api_constraint constraints[API_CONSTRAINTS_MAX];
    struct placement_affinity affinities[API_CONSTRAINTS_MAX];
    uint32_t ports[PLACEMENT_PORTS_MAX];
    struct placement_search places;
    struct placement_explanation explanation; /* of the last that found no place */
    uint32_t known_number;                    /* of a revision: whether it is of this template */
    bool known_same;
};

static struct model_node *node_of(struct placement_entry *entry)
{
    return (struct model_node *)((char *)entry - offsetof(struct model_node, place));
}

static void fill_placement(struct capacity_search *search, const struct api_placement *placement)
{
    struct placement_request *request = &search->request;
    const char *label = api_label_key(placement->spread);
    request->spread = label != NULL                                     ? PLACEMENT_SPREAD_LABEL
                      : strcmp(placement->spread, API_SPREAD_NONE) == 0 ? PLACEMENT_SPREAD_NONE
                                                                        : PLACEMENT_SPREAD_NODE;
    request->spread_label = label;
    request->distinct_nodes = placement->distinct_nodes;
    request->max_per_node = placement->max_per_node;
    request->constraints = search->constraints;
    request->affinities = search->affinities;
    /* What was stored was parsed when it was deployed: what cannot be parsed now holds nothing up.
     */
    for (size_t i = 0; i < placement->constraints.count && i < API_CONSTRAINTS_MAX; i++)
        request->constraint_count +=
            api_constraint_parse(placement->constraints.items[i],
                                 &search->constraints[request->constraint_count], NULL) == 0;
    for (size_t i = 0; i < placement->affinity_count && i < API_CONSTRAINTS_MAX; i++) {
        struct placement_affinity *affinity = &search->affinities[request->affinity_count];
        affinity->weight = placement->affinity[i].weight;
        request->affinity_count += api_constraint_parse(placement->affinity[i].constraint,
                                                        &affinity->constraint, NULL) == 0;
    }
}

static void fill_request(struct capacity_search *search)
{
    const struct document_revision *revision = search->revision;
    const struct api_service_spec *spec = &search->service->document->spec;
    struct placement_request *request = &search->request;
    *request = (struct placement_request){.memory = revision->template.resources.memory,
                                          .vcpus = revision->template.resources.vcpus,
                                          .platforms = search->platforms,
                                          .ports = search->ports,
                                          .has_volumes = revision->template.volume_count > 0,
                                          .now_ms = search->capacity->now_ms};
    for (size_t i = 0; i < revision->platform_count && i < PLACEMENT_PLATFORMS_MAX; i++)
        search->platforms[request->platform_count++] =
            (struct placement_platform){revision->platforms[i].arch, revision->platforms[i].family};
    for (size_t i = 0; i < spec->port_count && i < PLACEMENT_PORTS_MAX; i++) {
        if (spec->ports[i].publish != 0)
            search->ports[request->port_count++] = spec->ports[i].publish;
    }
    fill_placement(search, &spec->placement);
}

static bool is_of_template(struct capacity_search *search, uint32_t number)
{
    if (number == search->revision->number)
        return true;
    if (number == search->known_number)
        return search->known_same;
    const struct document_revision *revision = model_revision(search->service, number);
    search->known_number = number;
    search->known_same = revision != NULL &&
                         strcmp(revision->template_digest, search->revision->template_digest) == 0;
    return search->known_same;
}

/* Those that are there to stay: what this rollout replaces is not in the way of what replaces it.
 */
static bool stays(struct capacity_search *search, const struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    bool leaves = instance->node == NULL || instance->node->document->eligibility == NODE_DRAINING;
    return document->wish == WISH_RUN && !leaves && !instance->is_moving &&
           !instance_state_is_over(instance->observed.state) &&
           (search->restart == 0 || document->rollout == search->restart) &&
           is_of_template(search, document->revision);
}

/* It failed there, lately or long ago; or its image is there. */
static void like_by_history(struct capacity_search *search, const struct model_instance *instance)
{
    struct model_node *node = instance->node;
    uint64_t now_ms = search->capacity->now_ms, over_ms = instance->over_since_ms;
    if (instance->observed.state == INSTANCE_FAILED && over_ms <= now_ms) {
        int32_t points = placement_failure_points(now_ms - over_ms);
        if (points > 0)
            placement_search_like(&search->places, &node->place, -points);
    } else if (instance->observed.state >= INSTANCE_STARTING && !node->place.node.has_image &&
               is_of_template(search, instance->document->revision)) {
        node->place.node.has_image = true;
        placement_search_like(&search->places, &node->place, PLACEMENT_POINTS_IMAGE);
    }
}

static void take_instances(struct capacity_search *search)
{
    for (size_t i = 0; i < search->service->instances.count; i++) {
        const struct model_instance *instance = search->service->instances.items[i];
        if (instance->node == NULL || instance->node->place.class == NULL)
            continue;
        if (stays(search, instance))
            placement_search_count(&search->places, &instance->node->place);
        like_by_history(search, instance);
    }
}

/* --- affinities that are about single nodes --- */

static bool names_service(const struct api_constraint *constraint, const char *name)
{
    if (constraint->operator== API_OPERATOR_IS_NOT)
        return strcmp(constraint->values.items[0], name) == 0;
    return api_constraint_holds(constraint, name);
}

/* Once a node, however many instances are there: `seen` is the mark of this affinity. */
static void like_by_service(struct capacity_search *search, const struct model_service *other,
                            int32_t points, uint32_t mark)
{
    for (size_t i = 0; i < other->instances.count; i++) {
        const struct model_instance *instance = other->instances.items[i];
        struct model_node *node = instance->node;
        if (node == NULL || node->place.class == NULL || instance->document->wish != WISH_RUN ||
            instance_state_is_over(instance->observed.state) || node->place.node.mark == mark)
            continue;
        node->place.node.mark = mark;
        placement_search_like(&search->places, &node->place, points);
    }
}

static void like_neighbours(struct capacity_search *search,
                            const struct placement_affinity *affinity)
{
    const struct model *model = search->capacity->model;
    const struct document_service *document = search->service->document;
    uint32_t mark = (uint32_t)(affinity - search->affinities) + 1;
    int32_t points = (int32_t)affinity->weight * PLACEMENT_POINTS_WEIGHT;
    if (affinity->constraint.operator== API_OPERATOR_IS_NOT)
        points = -points;
    for (size_t i = 0; i < model->services.count; i++) {
        const struct model_service *other = model->services.items[i];
        if (other->document != NULL && other != search->service &&
            strcmp(other->document->namespace_name, document->namespace_name) == 0 &&
            names_service(&affinity->constraint, other->document->service))
            like_by_service(search, other, points, mark);
    }
}

static void like_names(struct capacity_search *search, const struct placement_affinity *affinity)
{
    const struct sorted *nodes = &search->capacity->model->nodes;
    int32_t points = (int32_t)affinity->weight * PLACEMENT_POINTS_WEIGHT;
    for (size_t i = 0; i < nodes->count; i++) {
        struct model_node *node = nodes->items[i];
        if (node->place.class != NULL && api_constraint_holds(&affinity->constraint, node->name))
            placement_search_like(&search->places, &node->place, points);
    }
}

static void take_affinities(struct capacity_search *search)
{
    for (size_t i = 0; i < search->request.affinity_count; i++) {
        const struct placement_affinity *affinity = &search->affinities[i];
        if (affinity->constraint.subject == API_SUBJECT_SERVICE)
            like_neighbours(search, affinity);
        else if (affinity->constraint.subject == API_SUBJECT_NODE)
            like_names(search, affinity);
    }
}

/* What others made room for is its own; when it waited in vain for too long it is anybody's. */
static void borrow_kept(struct capacity_search *search)
{
    struct model_service *service = search->service;
    search->kept = service->kept;
    if (search->kept.node == NULL)
        return;
    usage_release_room(service);
    capacity_refresh_place(search->kept.node, search->capacity->now_ms);
}

/* Unless it was used up, or came too late, it is kept on. */
static void return_kept(struct capacity_search *search)
{
    const struct usage_kept *kept = &search->kept;
    if (kept->node == NULL || kept->until_ms <= search->capacity->now_ms)
        return;
    usage_keep_room(search->service, kept->node, kept->memory, kept->vcpus, kept->until_ms);
    capacity_refresh_place(kept->node, search->capacity->now_ms);
}

static struct capacity_search *begin(struct capacity *capacity, struct model_service *service,
                                     const struct document_revision *revision, uint32_t restart,
                                     bool is_standby)
{
    struct capacity_search *search = xcalloc(1, sizeof *search);
    search->capacity = capacity;
    search->service = service;
    search->revision = revision;
    search->restart = restart;
    fill_request(search);
    search->request.is_standby = is_standby;
    borrow_kept(search);
    placement_search_begin(&search->places, &capacity->model->places, &search->request);
    take_instances(search);
    take_affinities(search);
    return search;
}

struct capacity_search *capacity_search_begin(struct capacity *capacity,
                                              struct model_service *service,
                                              const struct document_revision *revision,
                                              uint32_t restart)
{
    return begin(capacity, service, revision, restart, false);
}

struct capacity_search *capacity_search_begin_standby(struct capacity *capacity,
                                                      struct model_service *service,
                                                      const struct document_revision *revision)
{
    return begin(capacity, service, revision, 0, true);
}

void capacity_search_count(struct capacity_search *search, const struct document_instance *instance)
{
    struct model_node *node = model_node(search->capacity->model, instance->node);
    if (node != NULL && node->place.class != NULL && is_of_template(search, instance->revision))
        placement_search_count(&search->places, &node->place);
}

void capacity_search_end(struct capacity_search *search)
{
    if (search == NULL)
        return;
    placement_search_end(&search->places);
    return_kept(search);
    for (size_t i = 0; i < search->request.constraint_count; i++)
        api_constraint_release(&search->constraints[i]);
    for (size_t i = 0; i < search->request.affinity_count; i++)
        api_constraint_release(&search->affinities[i].constraint);
    free(search);
}

/* --- a place --- */

/* The best so far of nodes that are looked at one by one. */
struct choice {
    struct model_node *node;
    size_t platform;
    int64_t points;
};

static void consider(struct capacity_search *search, struct model_node *node, struct choice *best)
{
    struct placement_verdict verdict;
    capacity_refresh_place(node, search->capacity->now_ms);
    if (placement_check(&node->place.node, &search->request, &verdict) != PLACEMENT_FITS)
        return;
    int64_t points = placement_search_points(&search->places, &node->place, &verdict);
    if (best->node == NULL || points < best->points)
        *best = (struct choice){node, verdict.platform, points};
}

/* The names that alone may be it; NULL: any. */
static const struct json_strings *names_asked(const struct placement_request *request)
{
    for (size_t i = 0; i < request->constraint_count; i++) {
        const struct api_constraint *constraint = &request->constraints[i];
        if (constraint->subject == API_SUBJECT_NODE &&
            (constraint->operator== API_OPERATOR_IS || constraint->operator== API_OPERATOR_IN))
            return &constraint->values;
    }
    return NULL;
}

static struct choice find_place(struct capacity_search *search)
{
    const struct placement_request *request = &search->request;
    const struct model *model = search->capacity->model;
    const struct json_strings *names = names_asked(request);
    struct choice best = {0};
    if (request->volume_node != NULL) {
        struct model_node *node = model_node(model, request->volume_node);
        if (node != NULL)
            consider(search, node, &best);
        return best;
    }
    for (size_t i = 0; names != NULL && i < names->count; i++) {
        struct model_node *node = model_node(model, names->items[i]);
        if (node != NULL)
            consider(search, node, &best);
    }
    if (names != NULL)
        return best;
    /* What the index says is looked at once more as it is: nothing is promised twice even where a
     * change of a node was not told to the index. */
    for (size_t tries = 0; tries < model->nodes.count; tries++) {
        struct placement_verdict verdict;
        struct placement_entry *entry =
            placement_search_best(&search->places, &best.platform, &best.points);
        if (entry == NULL)
            break;
        capacity_refresh_place(node_of(entry), search->capacity->now_ms);
        if (placement_check(&entry->node, request, &verdict) == PLACEMENT_FITS) {
            best.node = node_of(entry);
            break;
        }
    }
    return best;
}

/* Before anybody is told that no node can: each one is asked as it is now. */
static struct choice look_at_all(struct capacity_search *search)
{
    const struct sorted *nodes = &search->capacity->model->nodes;
    struct choice best = {0};
    search->explanation = (struct placement_explanation){0};
    for (size_t i = 0; i < nodes->count; i++) {
        struct model_node *node = nodes->items[i];
        consider(search, node, &best);
        placement_explain_node(&node->place.node, &search->request, &search->explanation);
    }
    return best;
}

/* What a slot has of its volumes is promised already, where it is. */
static void ask_for_volumes(struct capacity_search *search, uint32_t slot)
{
    struct placement_request *request = &search->request;
    const struct document_volume *present = model_volume(search->service, slot);
    request->volume_node = NULL;
    request->volume_bytes = volume_rules_bytes(&search->revision->template);
    if (!request->has_volumes || present == NULL)
        return;
    request->volume_node = model_volume_node(search->service, slot);
    if (request->volume_node != NULL)
        request->volume_bytes -=
            present->bytes < request->volume_bytes ? present->bytes : request->volume_bytes;
}

int capacity_search_place(struct capacity_search *search, struct document_instance *instance,
                          struct error *error)
{
    ask_for_volumes(search, instance->slot);
    struct choice best = find_place(search);
    if (best.node == NULL) {
        best = look_at_all(search);
        if (best.node == NULL)
            return placement_explain(&search->request, &search->explanation, error);
    }
    text_copy(instance->node, sizeof instance->node, best.node->name);
    text_copy(instance->arch, sizeof instance->arch, search->platforms[best.platform].arch);
    capacity_take_room(search->capacity, best.node, &search->request, instance->address);
    search->kept.node = NULL; /* wherever it went: it waits no more */
    placement_search_count(&search->places, &best.node->place);
    return 0;
}

/* --- better places --- */

/* Of staying: what the place costs without the instance itself. */
static int64_t points_of_staying(struct capacity_search *search, struct model_node *node)
{
    const struct placement_request *request = &search->request;
    struct placement_verdict verdict;
    int64_t itself = request->spread == PLACEMENT_SPREAD_LABEL
                         ? PLACEMENT_POINTS_INSTANCE + PLACEMENT_POINTS_NEIGHBOUR
                         : PLACEMENT_POINTS_INSTANCE;
    if (placement_check_kind(&node->place.node, request, &verdict) != PLACEMENT_FITS)
        return 0;
    return placement_search_points(&search->places, &node->place, &verdict) - itself;
}

struct model_instance *capacity_search_misplaced(struct capacity_search *search,
                                                 struct model_instance *const *instances,
                                                 size_t count)
{
    int64_t most = PLACEMENT_POINTS_INSTANCE / 4 * 3;
    struct model_instance *misplaced = NULL;
    struct choice best = find_place(search);
    if (best.node == NULL || search->request.spread == PLACEMENT_SPREAD_NONE)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct model_node *node = instances[i]->node;
        if (node == NULL || !stays(search, instances[i]))
            continue;
        int64_t gain = points_of_staying(search, node) - best.points;
        if (gain >= most) {
            most = gain + 1;
            misplaced = instances[i];
        }
    }
    return misplaced;
}

/* --- notes --- */

bool capacity_search_keeps_room(const struct capacity_search *search)
{
    return search->kept.node != NULL && search->kept.until_ms > search->capacity->now_ms;
}

const struct placement_request *capacity_search_request(const struct capacity_search *search)
{
    return &search->request;
}

void capacity_search_obstacles(const struct capacity_search *search,
                               struct api_obstacles *ret_obstacles)
{
    const struct placement_explanation *explanation = &search->explanation;
    struct api_obstacles obstacles = {
        xcalloc(explanation->group_count + 1, sizeof *obstacles.items), explanation->group_count};
    for (size_t i = 0; i < obstacles.count; i++) {
        const struct placement_group *group = &explanation->groups[i];
        struct api_obstacle *obstacle = &obstacles.items[i];
        struct buffer text = {0};
        text_copy(obstacle->reason, sizeof obstacle->reason,
                  placement_reason_name(group->verdict.reason));
        placement_group_text(group, &search->request, &text);
        obstacle->message = buffer_take(&text);
        obstacle->nodes = (uint32_t)group->node_count;
        for (size_t n = 0; n < group->node_count && n < PLACEMENT_NAMES_MAX; n++)
            json_strings_add(&obstacle->names, group->names[n]);
    }
    *ret_obstacles = obstacles;
}

static void forget_note(struct model_service *service)
{
    free(service->no_capacity);
    service->no_capacity = NULL;
    json_record_release(&api_obstacles_record, &service->obstacles);
}

void capacity_clear_note(struct model_service *service)
{
    forget_note(service);
    usage_release_room(service);
}

void capacity_search_note(const struct capacity_search *search, struct model_service *service,
                          const struct error *error)
{
    forget_note(service);
    service->no_capacity = xstrdup(error->message);
    capacity_search_obstacles(search, &service->obstacles);
}
