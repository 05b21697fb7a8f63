/* What a change of keys or policies does to what is deployed, told to people. */
#pragma once

#include "cli/cli.h"
#include "lib/api/policy.h"

/* Reads the scheduler's answer; release it by api_trust_answer_record. */
int affected_read(struct json_object *document, struct api_trust_answer *ret_answer,
                  struct error *error);
/* A line a service, on standard output. `revoked`: a key went, so that on_revoke counts. */
void affected_print(const struct api_trust_answer *answer, bool revoked);
