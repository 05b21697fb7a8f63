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

void api_boot_steps_format(const struct api_boot_steps *steps, char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < BOOT_STEPS && used < size; i++) {
        double ms = (double)steps->us[i] / 1000;
        const char *name = i == BOOT_STEP_FIRST_PACKET ? "first packet" : api_boot_step_names[i];
        if (steps->us[i] == 0)
            continue;
        int length = snprintf(ret_text + used, size - used, "%s%s %.*f ms", used > 0 ? ", " : "",
                              name, ms < 10 ? 1 : 0, ms);
        used += length > 0 ? (size_t)length : 0;
    }
}
