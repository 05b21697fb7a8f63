/* Service manifests: YAML text to the specs of lib/api/service_spec.h, with their places.
 *
 * Owns what a file of manifests is: documents split by `---`, each one service, no service twice.
 * Every refusal reads "file:line:column: what was found, what is allowed". Only the CLI reads
 * manifests; daemons get the JSON form. Pure; any thread. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

#include "lib/api/service_spec.h"
#include "lib/error.h"

#define MANIFEST_SIZE_MAX     (1u << 20) /* bytes of a file */
#define MANIFEST_SERVICES_MAX 256

struct manifest;

/* `name` stands in front of messages; `namespace_name` is for services that name none. */
int manifest_parse(const char *name, const char *text, size_t length, const char *namespace_name,
                   struct manifest **ret_manifest, struct error *error);
void manifest_destroy(struct manifest *manifest);
/* At least 1. */
size_t manifest_count(const struct manifest *manifest);
/* Both belong to the manifest. The document is the JSON a scheduler is sent: the keys as the user
 * wrote them, and the namespace. */
const struct api_service_spec *manifest_spec(const struct manifest *manifest, size_t index);
struct json_object *manifest_document(const struct manifest *manifest, size_t index);
/* A scheduler's refusal of that document: its JSON pointer becomes "file:line:column: " in front
 * of the message. An error that is not about a place of the document is left alone. Returns -1. */
int manifest_error_locate(const struct manifest *manifest, size_t index, struct error *error);
