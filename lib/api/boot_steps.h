/* Where the time of an instance's last boot went, step by step. The steps from `queue` on add up to
 * the boot itself; those before make its image ready. */
#pragma once

#include "lib/json.h"

enum api_boot_step {
    BOOT_STEP_PULL,   /* its image from the registry, waits for one that does not answer too */
    BOOT_STEP_VERIFY, /* signatures, policies; waits for newer keys too */
    BOOT_STEP_IMPORT, /* the host half takes the image's files in */
    BOOT_STEP_QUEUE,  /* until one of the threads that boot is free */
    BOOT_STEP_CREATE, /* disks, tap, and the hypervisor's process with a paused guest */
    BOOT_STEP_START,  /* console, lease, network: until the guest is told to go */
    BOOT_STEP_FIRST_PACKET, /* until its first frame was let through */
    BOOT_STEP_READY,        /* from then on (or from the start) until its check passed */
    BOOT_STEPS,
};
extern const char *const api_boot_step_names[]; /* "pull", ..., "first_packet", "ready" */

struct api_boot_steps {
    uint64_t us[BOOT_STEPS]; /* microseconds; 0: nothing was to be done, or it is not known */
};

extern const struct json_record api_boot_steps_record; /* {"pull_us": ...} */

/* "create 12 ms, ..., ready 6 ms; before that pull 12 ms, ..."; steps that took nothing are left
 * out. */
#define API_BOOT_STEPS_TEXT_MAX 256
void api_boot_steps_format(const struct api_boot_steps *steps, char *ret_text, size_t size);
