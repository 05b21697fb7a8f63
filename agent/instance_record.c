/* An instance's record in the agent's local state. */
#include <string.h>

#include "agent/instance.h"
#include "lib/cleanup.h"

static const char *const stop_method_names[] = {"kill", "console", "acpi", NULL};

static const struct json_field fields[] = {
    JSON_FIELD(struct instance, id, "id", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_instance_id),
    JSON_FIELD(struct instance, assigned, "assigned", JSON_OBJECT,
               .present_offset = offsetof(struct instance, is_assigned),
               .record = &api_assigned_instance_record),
    JSON_FIELD(struct instance, phase, "phase", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = instance_phase_names),
    JSON_FIELD(struct instance, cause, "cause", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct instance, message, "message", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct instance, restarts, "restarts", JSON_UINT),
    JSON_FIELD(struct instance, history.attempts, "attempts", JSON_UINT),
    JSON_FIELD(struct instance, stop_method, "stop_method", JSON_ENUM, .names = stop_method_names),
    JSON_FIELD(struct instance, kernel, "kernel", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct instance, boot_ms, "boot_ms", JSON_UINT),
    JSON_FIELD(struct instance, steps, "boot_steps", JSON_OBJECT, .record = &api_boot_steps_record),
    JSON_FIELD(struct instance, state_since_wall_ms, "state_since", JSON_UINT),
    JSON_FIELD(struct instance, record.saved_ms, "saved", JSON_UINT),
    JSON_FIELD(struct instance, record.last_restart_age_ms, "last_restart_age", JSON_UINT),
    JSON_FIELD(struct instance, record.restart_in_ms, "restart_in", JSON_UINT),
    JSON_FIELD_END,
};
const struct json_record instance_record = {sizeof(struct instance), fields};

/* The same moment on the other clock; never in the future. */
static uint64_t translate(uint64_t moment, uint64_t now, uint64_t other_now)
{
    uint64_t age = now > moment ? now - moment : 0;
    return other_now > age ? other_now - age : 0;
}

char *instance_save(struct instance *instance)
{
    uint64_t now = clock_monotonic_ms(instance->clock), wall = clock_wall_ms(instance->clock);
    instance->state_since_wall_ms = translate(instance->state_since_ms, now, wall);
    instance->record = (struct instance_ages){
        .saved_ms = now,
        .last_restart_age_ms = now - instance->history.last_ms,
        .restart_in_ms = instance->restart_at_ms > now ? instance->restart_at_ms - now : 0,
    };
    return json_record_text(&instance_record, instance);
}

/* What has passed since a record was saved, by the clock that nobody sets: exactly, unless the host
 * was rebooted meanwhile; then at least so much. */
static uint64_t elapsed_since(uint64_t saved, uint64_t now)
{
    return now >= saved ? now - saved : now;
}

/* A moment before the host's boot is a negative one: only differences to it are looked at. */
static void recall_restarts(struct instance *instance, uint64_t now)
{
    const struct instance_ages *record = &instance->record;
    uint64_t elapsed = elapsed_since(record->saved_ms, now);
    instance->history.last_ms = now - record->last_restart_age_ms - elapsed;
    if (record->restart_in_ms > elapsed)
        instance->restart_at_ms = now + record->restart_in_ms - elapsed;
}

int instance_load(const char *text, const struct clock *clock, struct instance *ret_instance,
                  struct error *error)
{
    struct instance instance = {.clock = clock, .is_recalled = true};
    if (json_parse_record(&instance_record, text, strlen(text), JSON_LENIENT, &instance, error) < 0)
        return error_wrap(error, "the stored record of an instance");
    uint64_t now = clock_monotonic_ms(clock), wall = clock_wall_ms(clock);
    instance.state_since_ms = translate(instance.state_since_wall_ms, wall, now);
    recall_restarts(&instance, now);
    *ret_instance = instance;
    return 0;
}
