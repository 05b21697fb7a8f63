#include "cli/affected.h"

#include <stdio.h>

#include "cli/table.h"

int affected_read(struct json_object *document, struct api_trust_answer *ret_answer,
                  struct error *error)
{
    *ret_answer = (struct api_trust_answer){0};
    if (json_decode(&api_trust_answer_record, document, JSON_LENIENT, ret_answer, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    return 0;
}

static const char *consequence(const struct api_affected *service, bool revoked, bool dry_run)
{
    if (service->is_unknown)
        return "not known";
    if (revoked && service->on_revoke == API_ON_REVOKE_STOP)
        return dry_run ? "would be stopped" : "is stopped";
    if (service->instances == 0)
        return dry_run ? "would not boot" : "does not boot";
    return dry_run ? "would go on, but not boot again" : "goes on, but does not boot again";
}

void affected_print(const struct api_trust_answer *answer, bool revoked)
{
    for (size_t i = 0; i < answer->service_count; i++) {
        const struct api_affected *service = &answer->services[i];
        struct buffer AUTO_BUFFER reason = {0};
        text_append_safe(&reason, service->reason);
        printf("  %s/%s revision %u (%u running): %s: %s\n", service->namespace_name,
               service->service, service->revision, service->instances,
               consequence(service, revoked, answer->dry_run), buffer_text(&reason));
    }
}
