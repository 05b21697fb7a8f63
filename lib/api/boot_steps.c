#include "lib/api/boot_steps.h"

#include <stdio.h>

const char *const api_boot_step_names[] = {"pull",  "verify",       "import", "queue", "create",
                                           "start", "first_packet", "ready",  NULL};

#define STEP(step, name)                                                                           \
    JSON_FIELD(struct api_boot_steps, us[step], name, JSON_UINT, .flags = JSON_OMIT_EMPTY)
static const struct json_field fields[] = {
    STEP(BOOT_STEP_PULL, "pull_us"),
    STEP(BOOT_STEP_VERIFY, "verify_us"),
    STEP(BOOT_STEP_IMPORT, "import_us"),
    STEP(BOOT_STEP_QUEUE, "queue_us"),
    STEP(BOOT_STEP_CREATE, "create_us"),
    STEP(BOOT_STEP_START, "start_us"),
    STEP(BOOT_STEP_FIRST_PACKET, "first_packet_us"),
    STEP(BOOT_STEP_READY, "ready_us"),
    JSON_FIELD_END,
};
const struct json_record api_boot_steps_record = {sizeof(struct api_boot_steps), fields};

/* Those from `first` to before `end`, with `lead` in front where there are any. */
static size_t append_steps(const struct api_boot_steps *steps, size_t first, size_t end,
                           const char *lead, char *ret_text, size_t used, size_t size)
{
    for (size_t i = first; i < end && used < size; i++) {
        double ms = (double)steps->us[i] / 1000;
        const char *name = i == BOOT_STEP_FIRST_PACKET ? "first packet" : api_boot_step_names[i];
        if (steps->us[i] == 0)
            continue;
        int length =
            snprintf(ret_text + used, size - used, "%s%s %.*f ms", lead, name, ms < 10 ? 1 : 0, ms);
        used += length > 0 ? (size_t)length : 0;
        lead = ", ";
    }
    return used;
}

void api_boot_steps_format(const struct api_boot_steps *steps, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    size_t used = append_steps(steps, BOOT_STEP_QUEUE, BOOT_STEPS, "", ret_text, 0, size);
    append_steps(steps, 0, BOOT_STEP_QUEUE, used > 0 ? "; before that " : "", ret_text, used, size);
}
