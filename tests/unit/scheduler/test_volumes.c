/* The instances of a slot with volumes go to the node that has them, and to no other. */
#include "scheduler/node_changes.h"
#include "scheduler/plan.h"
#include "scheduler/views.h"
#include "scheduler/volume_rules.h"
#include "tests/unit/scheduler/controller_fixture.h"

static void join_with_volumes(struct fixture *fixture, const char *name)
{
    join(fixture, name);
    attach_volumes(fixture, name);
}

static const char volumes[] = ", \"volumes\": [{\"name\": \"data\", \"size\": \"64Mi\"}]";

static void a_node_whose_agent_attaches_none_takes_none(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join(fixture, "a");
    deploy(fixture, "A", 1);
    assert_int_equal(running_on(fixture, "a"), 0);
    assert_string_equal(service(fixture)->obstacles.items[0].reason, "no_volumes");
}

static void a_slot_stays_on_the_node_that_has_its_volumes(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_string_equal(model_volume_node(service(fixture), 0), "a");
    assert_null(model_volume_node(service(fixture), 1));
    join_with_volumes(fixture, "b");
    deploy(fixture, "B", 2);
    for (int i = 0; i < 6; i++) {
        report(fixture, "a", INSTANCE_READY, 3000, 0);
        report(fixture, "b", INSTANCE_READY, 3000, 0);
        wake_at(fixture, 1000);
    }
    /* Slot 0 stopped first and began again where it was; slot 1 is free to go elsewhere. */
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_string_equal(model_volume_node(service(fixture), 1), "b");
}

static void while_the_node_is_away_the_slot_waits_and_says_for_what(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    fixture->options.freeze_percent = 100;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join_with_volumes(fixture, "b");
    for (int i = 0; i < 12; i++) {
        wake_at(fixture, 5000);
        report(fixture, "b", INSTANCE_READY, 3000, 0);
    }
    assert_true(model_node(&fixture->core.model, "a")->lost);
    assert_int_equal(running_on(fixture, "b"), 0);
    assert_non_null(service(fixture)->no_capacity);
    assert_non_null(strstr(service(fixture)->no_capacity, "the slot's volumes are on node a (b)"));
    assert_non_null(strstr(service(fixture)->no_capacity, "silent: no report of it (a)"));
}

/* ---- room on the nodes' disks ---- */

static int decide_room(struct change *change, void *data, struct error *error)
{
    const struct model_node *known = data;
    (void)error;
    struct document_node *node = change_edit(change, DOCUMENT_NODE, known->document);
    node->volumes = 100 * MIB;
    return 0;
}

static void join_with_room(struct fixture *fixture, const char *name)
{
    join_with_volumes(fixture, name);
    changes_decide(fixture->core.changes, decide_room, NULL,
                   model_node(&fixture->core.model, name));
    settle(fixture);
}

static void no_node_is_promised_more_volumes_than_it_has_room_for(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": \"64Mi\"}],"
                        " \"placement\": {\"spread\": \"none\"}";
    join_with_room(fixture, "a");
    join_with_room(fixture, "b");
    deploy(fixture, "A", 3);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_int_equal(model_node(&fixture->core.model, "a")->used.volumes, 64 * MIB);
    assert_string_equal(service(fixture)->obstacles.items[0].reason, "volume_room");
    assert_non_null(
        strstr(service(fixture)->no_capacity, "disk for volumes: at most 36Mi free of 64Mi asked"));
    join_with_room(fixture, "c");
    wake_at(fixture, 5000);
    assert_int_equal(running_on(fixture, "c"), 1);
}

static void a_volume_grows_where_there_is_room_for_it(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_room(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": \"96Mi\"}]";
    deploy(fixture, "B", 1);
    for (int i = 0; i < 4; i++) {
        wake_at(fixture, 1000);
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    }
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(model_node(&fixture->core.model, "a")->used.volumes, 96 * MIB);
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": \"128Mi\"}]";
    deploy(fixture, "C", 1);
    for (int i = 0; i < 4; i++) {
        wake_at(fixture, 1000);
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    }
    assert_string_equal(service(fixture)->obstacles.items[0].reason, "volume_room");
    assert_int_equal(model_node(&fixture->core.model, "a")->used.volumes, 96 * MIB);
}

/* What the node says of its disk, in a heartbeat. */
static void report_disk(struct fixture *fixture, const char *name, uint64_t used,
                        uint64_t snapshots)
{
    struct model_node *node = model_node(&fixture->core.model, name);
    struct api_status status = {.sequence = fixture->sequence + 1,
                                .base = fixture->sequence,
                                .same_data_plane = true,
                                .term = 1,
                                .assignment_revision = node->assignment_revision,
                                .endpoints_revision = node->endpoints_applied,
                                .volumes_used = used,
                                .snapshots = snapshots};
    fixture->sequence++;
    observation_take(&fixture->core, node, &status);
    settle(fixture);
}

static void a_node_has_no_room_for_what_its_snapshots_take(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = ", \"volumes\": [{\"name\": \"data\", \"size\": \"30Mi\"}]";
    join_with_room(fixture, "a"); /* 100Mi */
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    /* One volume is made yet, the other only promised. */
    report_disk(fixture, "a", 30 * MIB + 20 * MIB, 20 * MIB);
    deploy(fixture, "A", 3);
    assert_non_null(
        strstr(service(fixture)->no_capacity, "disk for volumes: 20Mi free of 30Mi asked"));
    AUTO_JSON struct json_object *view =
        views_node(&fixture->core, model_node(&fixture->core.model, "a"));
    assert_int_equal(json_object_get_int64(json_object_object_get(view, "volumes")), 100 * MIB);
    assert_int_equal(json_object_get_int64(json_object_object_get(view, "volumes_used")), 80 * MIB);
    /* What is there and no record names counts, too. */
    report_disk(fixture, "a", 95 * MIB, 0);
    wake_at(fixture, 5000);
    assert_non_null(
        strstr(service(fixture)->no_capacity, "disk for volumes: 5Mi free of 30Mi asked"));
    report_disk(fixture, "a", 70 * MIB, 10 * MIB);
    wake_at(fixture, 5000);
    assert_int_equal(running_on(fixture, "a"), 3);
}

/* ---- what a volume is to the cluster ---- */

static struct api_volume_view volume_of(const char *name, uint32_t slot, const char *node)
{
    struct api_volume_view view = {.slot = slot};
    strcpy(view.namespace_name, "default");
    strcpy(view.service, name);
    strcpy(view.name, "data");
    strcpy(view.node, node);
    return view;
}

static enum volume_state state_of(struct fixture *fixture, struct api_volume_view view)
{
    volume_rules_judge(&fixture->core.model, &view);
    return view.state;
}

static void assert_kept(struct fixture *fixture, struct api_volume_view view, bool force,
                        const char *reason)
{
    struct error error = ERROR_INIT;
    assert_int_equal(volume_rules_check_removal(&fixture->core.model, &view, force, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, reason));
}

static void assert_removable(struct fixture *fixture, struct api_volume_view view, bool force)
{
    assert_int_equal(volume_rules_check_removal(&fixture->core.model, &view, force, NULL), 0);
}

static int decide_scale(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_scale(&fixture->core, change, "default", "s", 1, &fixture->answer,
                                 error);
}

static int decide_no_replica(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_scale(&fixture->core, change, "default", "s", 0, &fixture->answer,
                                 error);
}

static void a_volume_is_kept_while_its_slot_is_there(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 2);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_int_equal(state_of(fixture, volume_of("s", 1, "a")), VOLUME_KEPT);
    struct api_volume_view used = volume_of("s", 1, "a");
    strcpy(used.instance, "000100000002");
    assert_int_equal(state_of(fixture, used), VOLUME_IN_USE);
    assert_kept(fixture, volume_of("s", 1, "a"), true, "shoal scale s=1");
    /* What no revision names is of no use to it. */
    struct api_volume_view unknown = volume_of("s", 1, "a");
    strcpy(unknown.name, "former");
    assert_int_equal(state_of(fixture, unknown), VOLUME_UNUSED);
    assert_removable(fixture, unknown, false);
    /* Nor is what another node has of that name. */
    assert_int_equal(state_of(fixture, volume_of("s", 1, "b")), VOLUME_UNUSED);
    assert_removable(fixture, volume_of("s", 1, "b"), false);
    changes_decide(fixture->core.changes, decide_scale, NULL, fixture);
    settle(fixture);
    assert_kept(fixture, volume_of("s", 1, "a"), true, "slot 1"); /* still ending */
    for (int i = 0; i < 4; i++) {
        wake_at(fixture, 1000);
        report(fixture, "a", INSTANCE_STOPPED, 3000, 0);
    }
    assert_int_equal(state_of(fixture, volume_of("s", 1, "a")), VOLUME_UNUSED);
    assert_removable(fixture, volume_of("s", 1, "a"), false);
}

static void what_is_left_of_a_service_takes_force(void **state)
{
    struct fixture *fixture = *state;
    join_with_volumes(fixture, "a");
    assert_int_equal(state_of(fixture, volume_of("gone", 0, "a")), VOLUME_UNUSED);
    assert_kept(fixture, volume_of("gone", 0, "a"), false, "--force");
    assert_removable(fixture, volume_of("gone", 0, "a"), true);
}

/* Also when it is no more. */
static const struct document_volume *record_of(struct fixture *fixture)
{
    const struct model_service *found = model_service_record(&fixture->core.model, "default", "s");
    return found != NULL ? model_volume(found, 0) : NULL;
}

static int decide_removal(struct change *change, void *data, struct error *error)
{
    struct fixture *fixture = data;
    return service_changes_remove(&fixture->core, change, "default", "s", &fixture->answer, error);
}

static void remove_service(struct fixture *fixture)
{
    changes_decide(fixture->core.changes, decide_removal, NULL, fixture);
    settle(fixture);
    for (int i = 0; i < 6; i++) {
        wake_at(fixture, 1000);
        report(fixture, "a", INSTANCE_READY, 3000, 0);
    }
}

/* As the store has it once the scheduler starts again. What ran is no instance of the next service
 * of that name. */
static void assert_known_after_a_start(struct fixture *fixture)
{
    const struct document_volume *known = record_of(fixture);
    const struct sorted *instances = &fixture->core.model.instances;
    struct model model;
    struct document_volume *copy = document_create(DOCUMENT_VOLUME);
    struct document_node *node = document_create(DOCUMENT_NODE);
    *copy = *known;
    strcpy(node->name, known->node);
    strcpy(node->subnet, "10.64.0.0/24");
    model_init(&model);
    model_apply(&model, DOCUMENT_NODE, node, false, 0);
    model_apply(&model, DOCUMENT_VOLUME, copy, false, 0);
    assert_string_equal(
        model_volume_node(model_service_record(&model, known->namespace_name, known->service), 0),
        known->node);
    assert_int_equal(model_node(&model, known->node)->used.volumes, known->bytes);
    assert_int_equal(instances->count, 1);
    const struct model_instance *ended = instances->items[0];
    model_apply(&model, DOCUMENT_INSTANCE, document_copy(DOCUMENT_INSTANCE, ended->document), false,
                0);
    assert_null(model_instance(&model, ended->name)->service);
    model_finish(&model);
}

static void a_service_that_comes_again_finds_its_volumes(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    remove_service(fixture);
    assert_int_equal(fixture->answer.volume_slots, 1);
    assert_null(service(fixture));
    assert_int_equal(model_node(&fixture->core.model, "a")->used.volumes, 64 * MIB);
    assert_known_after_a_start(fixture);
    assert_int_equal(state_of(fixture, volume_of("s", 0, "a")), VOLUME_UNUSED);
    assert_kept(fixture, volume_of("s", 0, "a"), false, "--force");
    join_with_volumes(fixture, "b"); /* which is emptier, and would be taken */
    deploy(fixture, "other", 2);
    assert_int_equal(running_on(fixture, "a"), 1);
    assert_int_equal(running_on(fixture, "b"), 1);
    assert_string_equal(model_volume_node(service(fixture), 0), "a");
}

static int forget_volume(struct change *change, void *data, struct error *error)
{
    (void)error;
    change_remove(change, DOCUMENT_VOLUME, record_of(data));
    return 0;
}

static void what_is_removed_with_its_volumes_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    remove_service(fixture);
    changes_decide(fixture->core.changes, forget_volume, NULL, fixture);
    settle(fixture);
    assert_null(model_service_record(&fixture->core.model, "default", "s"));
    assert_int_equal(model_node(&fixture->core.model, "a")->used.volumes, 0);
}

static void a_record_is_void_when_no_slot_needs_it_and_its_node_has_none(void **state)
{
    struct fixture *fixture = *state;
    struct model *model = &fixture->core.model;
    struct api_volume_view present[] = {volume_of("r", 0, "a"), volume_of("s", 0, "a"),
                                        volume_of("s", 0, "b")};
    struct api_volume_node nodes[] = {{.node = "b"}, {.node = "a"}};
    struct api_volumes all = {
        .volumes = present, .volume_count = 3, .nodes = nodes, .node_count = 2};
    struct api_volumes none = {
        .volumes = present, .volume_count = 1, .nodes = nodes, .node_count = 2};
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    assert_false(volume_rules_is_void(model, model_volume(service(fixture), 0), &none));
    remove_service(fixture);
    const struct document_volume *record = record_of(fixture);
    assert_false(volume_rules_is_void(model, record, &all));
    assert_true(volume_rules_is_void(model, record, &none));
    strcpy(nodes[1].reason, "it does not answer");
    assert_false(volume_rules_is_void(model, record, &none));
    /* Another node's of that name is not the slot's. */
    nodes[1].reason[0] = '\0';
    strcpy(present[1].node, "b");
    assert_true(volume_rules_is_void(model, record, &all));
    struct document_volume gone = *record;
    strcpy(gone.node, "z");
    assert_true(volume_rules_is_void(model, &gone, &(struct api_volumes){0}));
}

static void the_node_is_the_slots_or_has_to_be_named(void **state)
{
    struct fixture *fixture = *state;
    struct model *model = &fixture->core.model;
    struct model_node *node = NULL;
    struct error error = ERROR_INIT;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    struct api_volume_view volume = volume_of("s", 0, "");
    assert_int_equal(volume_rules_find_node(model, &volume, NULL, &node, NULL), 0);
    assert_string_equal(node->name, "a");
    volume.slot = 7;
    assert_int_equal(volume_rules_find_node(model, &volume, "", &node, &error), -1);
    assert_non_null(strstr(error.message, "--node"));
    assert_int_equal(volume_rules_find_node(model, &volume, "z", &node, &error), -1);
    assert_non_null(strstr(error.message, "no node z"));
    assert_int_equal(volume_rules_find_node(model, &volume, "a", &node, NULL), 0);
}

static void a_volume_does_not_shrink(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    deploy_prepare(fixture, "s", "B", 1);
    fixture->spec.volumes[0].size = 32 * MIB;
    assert_int_equal(service_changes_check(&fixture->core, &fixture->spec, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.pointer, "/volumes/0/size");
    assert_non_null(strstr(error.message, "64Mi"));
    fixture->spec.volumes[0].size = 128 * MIB;
    assert_int_equal(service_changes_check(&fixture->core, &fixture->spec, NULL), 0);
    fixture->spec.volumes[0].size = 32 * MIB;
    strcpy(fixture->spec.volumes[0].name, "other");
    assert_int_equal(service_changes_check(&fixture->core, &fixture->spec, NULL), 0);
}

static int decide_cordon(struct change *change, void *data, struct error *error)
{
    (void)error;
    const struct model_node *known = data;
    ((struct document_node *)change_edit(change, DOCUMENT_NODE, known->document))->eligibility =
        NODE_DRAINING;
    return 0;
}

static void a_drained_node_says_which_slots_wait_for_it_and_is_not_removed_lightly(void **state)
{
    struct fixture *fixture = *state;
    struct error error = ERROR_INIT;
    struct change change = {0};
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    join_with_volumes(fixture, "b");
    struct model_node *node = model_node(&fixture->core.model, "a");
    changes_decide(fixture->core.changes, decide_cordon, NULL, node);
    settle(fixture);
    for (int i = 0; i < 6; i++) {
        report(fixture, "a", INSTANCE_READY, 3000, 0);
        report(fixture, "b", INSTANCE_READY, 3000, 0);
        wake_at(fixture, 1000);
    }
    assert_int_equal(node->document->eligibility, NODE_CORDONED);
    assert_int_equal(model_node_leaving(node), 0);
    assert_int_equal(model_node_volume_slots(node), 1);
    assert_int_equal(model_node_volume_slots(model_node(&fixture->core.model, "b")), 0);
    assert_non_null(strstr(service(fixture)->no_capacity, "the slot's volumes are on node a (b)"));
    assert_int_equal(node_changes_remove(&fixture->core, &change, "a", false, &error), -1);
    assert_int_equal(error.code, ERROR_CONFLICT);
    assert_non_null(strstr(error.message, "volumes of 1 slot,"));
    assert_int_equal(node_changes_remove(&fixture->core, &change, "a", true, &error), 0);
    change_finish(&change);
    changes_decide(fixture->core.changes, decide_no_replica, NULL, fixture);
    settle(fixture);
    assert_int_equal(model_node_volume_slots(node), 0);
}

static void a_plan_knows_where_a_service_comes_again(void **state)
{
    struct fixture *fixture = *state;
    struct api_plan plan = {0};
    fixture->settings = volumes;
    join_with_volumes(fixture, "a");
    deploy(fixture, "A", 1);
    report(fixture, "a", INSTANCE_READY, 3000, 0);
    remove_service(fixture);
    join_with_volumes(fixture, "b");
    changes_decide(fixture->core.changes, decide_cordon, NULL,
                   model_node(&fixture->core.model, "a"));
    settle(fixture);
    struct service_apply apply = {&fixture->spec, fixture->revision};
    assert_int_equal(plan_make(&fixture->core, &apply, &plan, NULL), 0);
    assert_true(plan.is_new);
    assert_int_equal(plan.waiting, 1); /* for a */
    json_record_release(&api_plan_record, &plan);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_whose_agent_attaches_none_takes_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slot_stays_on_the_node_that_has_its_volumes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(while_the_node_is_away_the_slot_waits_and_says_for_what,
                                        set_up, tear_down),
        TEST(no_node_is_promised_more_volumes_than_it_has_room_for),
        TEST(a_volume_grows_where_there_is_room_for_it),
        TEST(a_node_has_no_room_for_what_its_snapshots_take),
        TEST(a_volume_is_kept_while_its_slot_is_there),
        TEST(what_is_left_of_a_service_takes_force),
        TEST(a_service_that_comes_again_finds_its_volumes),
        TEST(a_plan_knows_where_a_service_comes_again),
        TEST(what_is_removed_with_its_volumes_leaves_nothing),
        TEST(a_record_is_void_when_no_slot_needs_it_and_its_node_has_none),
        TEST(the_node_is_the_slots_or_has_to_be_named),
        TEST(a_volume_does_not_shrink),
        TEST(a_drained_node_says_which_slots_wait_for_it_and_is_not_removed_lightly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
