/* YAML text to JSON values with positions. The one door to libyaml.
 *
 * Refused, with line and column: anchors, aliases, tags, duplicate keys, keys that are not
 * strings, documents over 1 MiB, nesting over 32. Plain scalars follow YAML 1.2's core schema
 * (null, true, false, integers, else strings); quoted scalars are strings. Pure; any thread. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

#include "lib/error.h"

struct yaml_documents;

/* `name` stands in front of messages ("service.yaml:3:7: ..."). */
int yaml_parse(const char *name, const char *text, size_t length,
               struct yaml_documents **ret_documents, struct error *error);
size_t yaml_count(const struct yaml_documents *documents);
/* The documents keep the reference. */
struct json_object *yaml_value(const struct yaml_documents *documents, size_t index);
/* Where the value behind a JSON pointer stands; for a pointer to something absent, its nearest
 * present parent. Lines and columns count from 1. */
void yaml_position(const struct yaml_documents *documents, size_t index, const char *pointer,
                   unsigned *ret_line, unsigned *ret_column);
/* Puts "name:line:column: " in front of the message, by error->pointer (for an unknown key the
 * place of the key, else of the value); returns -1. */
int yaml_error_locate(const struct yaml_documents *documents, size_t index, struct error *error);
void yaml_destroy(struct yaml_documents *documents);
