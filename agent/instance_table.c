#include "agent/instance_table.h"

#include <string.h>

#include "agent/instance_boot.h"
#include "agent/instance_table_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

static void act(struct member *member, unsigned actions);

struct member *instance_table_find_member(const struct instance_table *table, const char *id)
{
    struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        if (strcmp(member->instance.id, id) == 0)
            return member;
    }
    return NULL;
}

static void changed(struct instance_table *table)
{
    table->options.on_changed(table->options.data);
}

/* --- the image --- */

static void on_image_state(enum instance_state state, const char *cause, const char *message,
                           void *data)
{
    struct member *member = data;
    instance_image_moved(&member->instance, state, cause, message);
    act(member, 0);
}

static void on_image_ready(const struct image_verified *verified, void *data)
{
    struct member *member = data;
    struct instance *instance = &member->instance;
    member->preparation = NULL;
    struct error error = ERROR_INIT;
    if (instance_boot_fill(&instance->assigned, verified, member->table->options.node,
                           &member->boot, &error) < 0) {
        act(member, instance_image_failed(instance, INSTANCE_CAUSE_IMAGE_INVALID, error.message));
        return;
    }
    memcpy(instance->kernel, verified->config.boot.kernel, sizeof instance->kernel);
    instance->stop_method = instance_boot_stop_method(&verified->config);
    act(member, instance_image_ready(instance));
}

static void on_image_failed(const char *cause, const char *message, void *data)
{
    struct member *member = data;
    member->preparation = NULL;
    act(member, instance_image_failed(&member->instance, cause, message));
}

static void start_preparation(struct member *member)
{
    struct instance_table *table = member->table;
    const struct api_assigned_instance *assigned = &member->instance.assigned;
    if (member->preparation != NULL)
        return;
    member->instance.steps = (struct api_boot_steps){0};
    struct image_preparation_options options = {
        .steps = &member->instance.steps,
        .store = table->options.images,
        .trust = table->options.trust,
        .trust_needed = &table->trust_needed,
        .repository = assigned->repository,
        .digest = assigned->image_digest,
        .architecture = assigned->arch,
        .is_imported = member->instance.image_ready,
        .on_state = on_image_state,
        .on_ready = on_image_ready,
        .on_failed = on_image_failed,
        .data = member,
    };
    member->preparation = image_preparation_start(table->options.loop, &options);
}

/* --- the microVM --- */

static void on_boot_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct member *member = data;
    member->boot_request = 0;
    if (answer->code == ERROR_NONE) {
        act(member, instance_booted(&member->instance));
        return;
    }
    /* Whatever was wrong: the next boot starts from a verified image again. */
    member->instance.image_ready = false;
    if (answer->code == ERROR_INVALID || answer->code == ERROR_UNSUPPORTED)
        act(member, instance_boot_refused(&member->instance, answer->message));
    else
        act(member, instance_boot_failed(&member->instance, answer->message));
}

static void forget_requests(struct member *member)
{
    struct host_client *host = member->table->options.host;
    host_client_forget(host, member->boot_request);
    host_client_forget(host, member->stop_request);
    host_client_forget(host, member->pause_request);
    member->boot_request = member->stop_request = member->pause_request = 0;
}

static void boot(struct member *member)
{
    struct host_message message = {.type = HOST_BOOT, .boot = member->boot};
    /* What is answered still is said of the microVM before this one. */
    forget_requests(member);
    member->boot_request =
        host_client_request(member->table->options.host, &message, on_boot_answer, member);
}

static void on_stop_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct member *member = data;
    member->stop_request = 0;
    if (answer->code == ERROR_NONE)
        return;
    log_warn("the microVM could not be stopped", "id", member->instance.id, "reason",
             answer->message);
    if (answer->code == ERROR_NOT_FOUND)
        act(member, instance_ended(&member->instance, HOST_END_STOPPED, ""));
}

static void ask_end(struct member *member, bool at_once)
{
    const struct instance *instance = &member->instance;
    struct host_client *host = member->table->options.host;
    struct host_message message = {.type = HOST_STOP};
    memcpy(message.stop.id, instance->id, sizeof message.stop.id);
    message.stop.method = at_once ? HOST_STOP_KILL : (uint32_t)instance->stop_method;
    message.stop.grace_ms = at_once ? 0 : instance->assigned.stop.grace_ms;
    instance_explain_end(instance, message.stop.reason, sizeof message.stop.reason);
    host_client_forget(host, member->stop_request);
    member->stop_request = host_client_request(host, &message, on_stop_answer, member);
}

static void on_pause_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct member *member = data;
    member->pause_request = 0;
    act(member, answer->code == ERROR_NONE
                    ? instance_paused(&member->instance)
                    : instance_pause_failed(&member->instance, answer->message));
}

static void on_unpause_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct member *member = data;
    member->pause_request = 0;
    if (answer->code != ERROR_NONE)
        act(member, instance_pause_failed(&member->instance, answer->message));
}

static void ask_pause(struct member *member, bool paused)
{
    struct host_client *host = member->table->options.host;
    struct host_message message = {.type = HOST_PAUSE, .pause = {.paused = paused}};
    memcpy(message.pause.id, member->instance.id, sizeof message.pause.id);
    host_client_forget(host, member->pause_request);
    member->pause_request =
        host_client_request(host, &message, paused ? on_pause_answer : on_unpause_answer, member);
}

/* --- the checks --- */

static void on_ready(bool ready, const char *message, void *data)
{
    struct member *member = data;
    const struct instance *instance = &member->instance;
    bool is_first = instance->boot_ms == 0;
    act(member, ready ? instance_became_ready(&member->instance)
                      : instance_became_unready(&member->instance, message));
    if (is_first && instance->boot_ms > 0)
        member->table->options.on_booted(instance, member->table->options.data);
}

static void on_unhealthy(const char *message, void *data)
{
    struct member *member = data;
    act(member, instance_became_unhealthy(&member->instance, message));
}

static void watch(struct member *member)
{
    struct instance_table *table = member->table;
    struct health_options options = {
        .loop = table->options.loop,
        .http = table->options.http,
        .host = table->options.host,
        .assigned = &member->instance.assigned,
        .was_ready = instance_state(&member->instance) == INSTANCE_READY,
        .has_been_ready = member->instance.boot_ms > 0,
        .boot_age_ms = instance_boot_age(&member->instance),
        .now_wall_ms = clock_wall_ms(table->options.clock),
        .console_folder = table->options.console_folder,
        .on_ready = on_ready,
        .on_unhealthy = on_unhealthy,
        .data = member,
    };
    member->health = health_create(&options);
}

static void unwatch(struct member *member)
{
    health_destroy(member->health);
    member->health = NULL;
}

/* --- doing what the machine asks for --- */

static void on_timer(uv_timer_t *timer)
{
    struct member *member = timer->data;
    if (member->health != NULL)
        instance_saw_miss(&member->instance, health_last_miss(member->health));
    act(member, instance_tick(&member->instance));
}

static void arm(struct member *member)
{
    uint64_t next = instance_next_deadline(&member->instance);
    if (next == UINT64_MAX) {
        uv_timer_stop(&member->timer);
        return;
    }
    uint64_t now = clock_monotonic_ms(member->table->options.clock);
    uv_update_time(member->table->options.loop);
    uv_timer_start(&member->timer, on_timer, next > now ? next - now : 0, 0);
}

static void save(struct member *member)
{
    if (!member->instance.is_assigned)
        return;
    AUTO_FREE char *text = instance_save(&member->instance);
    state_store_put_instance(member->table->options.store, member->instance.id, text);
}

static void act(struct member *member, unsigned actions)
{
    if (actions & INSTANCE_ABANDON) {
        image_preparation_cancel(member->preparation);
        member->preparation = NULL;
    }
    if (actions & INSTANCE_UNWATCH)
        unwatch(member);
    if (actions & INSTANCE_PREPARE)
        start_preparation(member);
    if (actions & INSTANCE_BOOT)
        boot(member);
    if (actions & (INSTANCE_END | INSTANCE_KILL))
        ask_end(member, (actions & INSTANCE_KILL) != 0);
    if (actions & (INSTANCE_PAUSE | INSTANCE_UNPAUSE))
        ask_pause(member, (actions & INSTANCE_PAUSE) != 0);
    if ((actions & INSTANCE_WATCH) && member->health == NULL)
        watch(member);
    arm(member);
    save(member);
    changed(member->table);
}

/* --- members --- */

static struct member *add(struct instance_table *table)
{
    struct member *member = xcalloc(1, sizeof *member);
    member->table = table;
    uv_timer_init(table->options.loop, &member->timer);
    member->timer.data = member;
    LIST_INSERT_HEAD(&table->members, member, link);
    table->count++;
    return member;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct member *member = handle->data;
    instance_finish(&member->instance);
    free(member);
}

static void drop(struct member *member)
{
    struct instance_table *table = member->table;
    image_preparation_cancel(member->preparation);
    unwatch(member);
    forget_requests(member);
    LIST_REMOVE(member, link);
    table->count--;
    uv_close((uv_handle_t *)&member->timer, on_timer_closed);
}

static void forget(struct member *member)
{
    struct instance_table *table = member->table;
    struct host_message message = {.type = HOST_FORGET};
    memcpy(message.forget.id, member->instance.id, sizeof message.forget.id);
    host_client_request(table->options.host, &message, NULL, NULL);
    state_store_remove_instance(table->options.store, member->instance.id);
    log_info("instance forgotten", "id", member->instance.id);
    drop(member);
    changed(table);
}

/* --- start --- */

static void load_one(const char *id, const char *text, void *data)
{
    struct instance_table *table = data;
    struct instance instance;
    struct error error = ERROR_INIT;
    if (instance_load(text, table->options.clock, &instance, &error) < 0) {
        log_error("a stored instance is left out", "id", id, "reason", error.message);
        return;
    }
    add(table)->instance = instance;
}

int instance_table_load(struct instance_table *table, struct error *error)
{
    return state_store_each_instance(table->options.store, load_one, table, error);
}

void instance_table_adopt(struct instance_table *table, const struct host_instance *found)
{
    struct member *member = instance_table_find_member(table, found->id);
    if (member == NULL) {
        log_warn("a microVM runs here that no record names: it is left alone and reported", "id",
                 found->id, "image", found->image);
        member = add(table);
        instance_init(&member->instance, found->id, table->options.clock);
    }
    instance_adopted(&member->instance, found->image, found->uptime_ms,
                     found->state == HOST_INSTANCE_PAUSED);
    instance_debugged(&member->instance, found->debugged != 0);
}

void instance_table_resume(struct instance_table *table, const struct host_welcome *welcome)
{
    table->welcome = welcome;
    struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        act(member, instance_resume(&member->instance));
    }
}

/* --- the assignment --- */

static void apply_one(struct instance_table *table, const struct api_assigned_instance *assigned)
{
    struct member *member = instance_table_find_member(table, assigned->id);
    if (member == NULL) {
        member = add(table);
        instance_init(&member->instance, assigned->id, table->options.clock);
    }
    act(member, instance_assign(&member->instance, assigned));
}

static void forget_over(struct instance_table *table)
{
    struct member *member = LIST_FIRST(&table->members);
    while (member != NULL) {
        struct member *next = LIST_NEXT(member, link);
        if (!member->instance.is_listed && instance_is_over(&member->instance))
            forget(member);
        member = next;
    }
}

void instance_table_apply(struct instance_table *table, const struct api_assignment *assignment)
{
    struct member *member;
    table->trust_needed = (struct trust_need){assignment->term, assignment->trust_revision};
    image_downloads_set_registry(table->options.images, assignment->registry);
    if (assignment->full) {
        LIST_FOREACH(member, &table->members, link)
        {
            member->instance.is_listed = false;
        }
    }
    for (size_t i = 0; i < assignment->instance_count; i++)
        apply_one(table, &assignment->instances[i]);
    for (size_t i = 0; i < assignment->removed.count; i++) {
        member = instance_table_find_member(table, assignment->removed.items[i]);
        if (member != NULL)
            member->instance.is_listed = false;
    }
    if (assignment->full || assignment->removed.count > 0)
        forget_over(table);
}

void instance_table_ended(struct instance_table *table, const struct host_instance *ended)
{
    struct member *member = instance_table_find_member(table, ended->id);
    if (member == NULL) {
        log_warn("a microVM ended that no record names", "id", ended->id);
        return;
    }
    act(member,
        instance_ended(&member->instance, (enum host_end_cause)ended->cause, ended->message));
}

void instance_table_hangs(struct instance_table *table, const struct host_instance *hanging)
{
    struct member *member = instance_table_find_member(table, hanging->id);
    if (member != NULL) {
        instance_hangs(&member->instance, hanging->message);
        act(member, 0);
    }
}

void instance_table_steps_measured(struct instance_table *table,
                                   const struct host_boot_steps *measured)
{
    struct member *member = instance_table_find_member(table, measured->id);
    if (member != NULL)
        instance_steps_measured(&member->instance, measured);
}

/* What its checks said while they did not count is taken back. */
static void judge_anew(struct member *member)
{
    if (member->health != NULL && instance_is_judged(&member->instance)) {
        unwatch(member);
        watch(member);
    }
    act(member, 0);
}

void instance_table_debugged(struct instance_table *table, const char *id, bool debugged)
{
    struct member *member = instance_table_find_member(table, id);
    if (member != NULL) {
        instance_debugged(&member->instance, debugged);
        judge_anew(member);
    }
}

void instance_table_frozen(struct instance_table *table, const char *id, bool frozen)
{
    struct member *member = instance_table_find_member(table, id);
    if (member != NULL) {
        instance_frozen(&member->instance, frozen);
        judge_anew(member);
    }
}

void instance_table_trust_changed(struct instance_table *table)
{
    struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        image_preparation_trust_changed(member->preparation);
    }
}

/* --- life --- */

struct instance_table *instance_table_create(const struct instance_table_options *options)
{
    struct instance_table *table = xcalloc(1, sizeof *table);
    table->options = *options;
    LIST_INIT(&table->members);
    return table;
}

void instance_table_destroy(struct instance_table *table)
{
    if (table == NULL)
        return;
    while (!LIST_EMPTY(&table->members))
        drop(LIST_FIRST(&table->members));
    free(table);
}
