/* JSON as YAML for people, for -o yaml. Texts that YAML could take for something else are quoted
 * as JSON does, which YAML reads alike. Pure. */
#pragma once

#include <json-c/json.h>

#include "lib/buffer.h"

void yaml_text_append(struct buffer *text, struct json_object *value);
