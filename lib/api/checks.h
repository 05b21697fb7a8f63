/* What `shoal-agent --probe` finds of its machine, and `shoal doctor` besides: one check a line. */
#pragma once

#include <stddef.h>

#include "lib/json.h"

enum api_check_state {
    API_CHECK_OK,
    API_CHECK_WARNING, /* it works, but not as well as it could */
    API_CHECK_FAILED,  /* something that is needed is missing */
    API_CHECK_SKIPPED, /* it could not be tried */
};
extern const char *const api_check_state_names[];

struct api_check {
    char name[32];
    enum api_check_state state;
    char *detail; /* what was found */
    char *remedy; /* what mends it; NULL: nothing to mend */
};

struct api_checks {
    struct api_check *checks;
    size_t check_count;
};

extern const struct json_record api_checks_record;

/* Appends one; `remedy` may be NULL. */
void api_checks_add(struct api_checks *checks, const char *name, enum api_check_state state,
                    const char *remedy, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));
