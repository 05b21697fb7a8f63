#include "lib/api/checks.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/xalloc.h"

#define CHECKS_MAX 64

const char *const api_check_state_names[] = {"ok", "warning", "failed", "skipped", NULL};

static const struct json_field check_fields[] = {
    JSON_FIELD(struct api_check, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_check, state, "state", JSON_ENUM, .flags = JSON_REQUIRED,
               .names = api_check_state_names),
    JSON_FIELD(struct api_check, detail, "detail", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_check, remedy, "remedy", JSON_TEXT),
    JSON_FIELD_END,
};
static const struct json_record check_record = {sizeof(struct api_check), check_fields};

static const struct json_field checks_fields[] = {
    JSON_FIELD_LIST(struct api_checks, checks, check_count, "checks", &check_record,
                    .flags = JSON_REQUIRED, .max = CHECKS_MAX),
    JSON_FIELD_END,
};
const struct json_record api_checks_record = {sizeof(struct api_checks), checks_fields};

void api_checks_add(struct api_checks *checks, const char *name, enum api_check_state state,
                    const char *remedy, const char *detail, ...)
{
    va_list arguments;
    checks->checks = xreallocarray(checks->checks, checks->check_count + 1, sizeof *checks->checks);
    struct api_check *check = &checks->checks[checks->check_count++];
    *check = (struct api_check){.state = state, .remedy = xstrdup(remedy)};
    snprintf(check->name, sizeof check->name, "%s", name);
    va_start(arguments, detail);
    check->detail = xvasprintf(detail, arguments);
    va_end(arguments);
}
