#include "image-format/attachment.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

const char *const attachment_type_names[] = {"spdx", "cyclonedx", "slsa", NULL};

#define SLSA_PREFIX "https://slsa.dev/provenance/"

static const struct attachment_kind {
    const char *media_type;
    const char *predicate_type;
    const char *predicate_prefix; /* of its versions */
    const char *title;
} kinds[] = {
    [ATTACHMENT_SPDX] = {"application/spdx+json", "https://spdx.dev/Document",
                         "https://spdx.dev/Document", "SBOM (SPDX)"},
    [ATTACHMENT_CYCLONEDX] = {"application/vnd.cyclonedx+json", "https://cyclonedx.org/bom",
                              "https://cyclonedx.org/bom", "SBOM (CycloneDX)"},
    [ATTACHMENT_SLSA] = {IN_TOTO_TYPE, SLSA_PREFIX "v1", SLSA_PREFIX, "provenance (SLSA)"},
};

/* The member's text; NULL when it is not there or no text. */
static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

static bool has_object(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) &&
           json_object_is_type(value, json_type_object);
}

static bool begins_with(const char *text, const char *prefix)
{
    return text != NULL && strncmp(text, prefix, strlen(prefix)) == 0;
}

static int check_kind(enum attachment_type type, struct json_object *document, struct error *error)
{
    const char *format = text_of(document, "bomFormat");
    switch (type) {
    case ATTACHMENT_SPDX:
        if (begins_with(text_of(document, "spdxVersion"), "SPDX-") ||
            begins_with(text_of(document, "@context"), "https://spdx.org/"))
            return 0;
        return error_set(error, ERROR_INVALID,
                         "no SPDX document in JSON: it has no \"spdxVersion\": \"SPDX-…\"");
    case ATTACHMENT_CYCLONEDX:
        if (format != NULL && strcmp(format, "CycloneDX") == 0 &&
            text_of(document, "specVersion") != NULL)
            return 0;
        return error_set(
            error, ERROR_INVALID,
            "no CycloneDX document in JSON: it has no \"bomFormat\": \"CycloneDX\" with "
            "a \"specVersion\"");
    case ATTACHMENT_SLSA:
        break;
    }
    if (has_object(document, "buildDefinition") && has_object(document, "runDetails"))
        return 0;
    return error_set(error, ERROR_INVALID,
                     "no SLSA v1 provenance: it has no \"buildDefinition\" and \"runDetails\", and "
                     "is no in-toto statement that has");
}

/* A whole statement, which is taken as it is. */
static int take_statement(const char *bytes, size_t length, struct json_object *document,
                          const char *digest, struct attachment *attachment, struct error *error)
{
    struct bundle_claims claims;
    struct json_object *predicate = NULL;
    if (bundle_check_statement(bytes, length, digest, &claims, error) < 0)
        return -1;
    if (!begins_with(claims.predicate_type, SLSA_PREFIX))
        return error_set(error, ERROR_INVALID, "the statement's predicate is \"%.200s\", not %sv1",
                         claims.predicate_type, SLSA_PREFIX);
    json_object_object_get_ex(document, "predicate", &predicate);
    if (strcmp(claims.predicate_type, SLSA_PREFIX "v1") == 0 &&
        check_kind(ATTACHMENT_SLSA, predicate, error) < 0)
        return -1;
    memcpy(attachment->predicate_type, claims.predicate_type, sizeof attachment->predicate_type);
    attachment->statement = xstrndup(bytes, length);
    return 0;
}

static int take_document(enum attachment_type type, const char *bytes, size_t length,
                         struct json_object *document, const char *digest,
                         struct attachment *attachment, struct error *error)
{
    if (type == ATTACHMENT_SLSA && text_of(document, "_type") != NULL)
        return take_statement(bytes, length, document, digest, attachment, error);
    if (check_kind(type, document, error) < 0)
        return -1;
    AUTO_FREE char *predicate = xstrndup(bytes, length);
    strcpy(attachment->predicate_type, kinds[type].predicate_type);
    attachment->statement = bundle_statement(digest, attachment->predicate_type, predicate, 0);
    return 0;
}

int attachment_read(enum attachment_type type, const char *bytes, size_t length, const char *digest,
                    struct attachment *ret_attachment, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    struct attachment attachment = {.media_type = kinds[type].media_type};
    if (length > ATTACHMENT_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%zu bytes, at most %u are attached", length,
                         ATTACHMENT_MAX);
    if (json_parse(bytes, length, &document, error) < 0 ||
        json_check_unique(bytes, length, document, error) < 0)
        return -1;
    if (!json_object_is_type(document, json_type_object))
        return error_set(error, ERROR_INVALID, "the document is not a JSON object");
    if (take_document(type, bytes, length, document, digest, &attachment, error) < 0)
        return -1;
    /* Provenance says what it is about, so it is a statement when nobody signs it, too. */
    attachment.content =
        type == ATTACHMENT_SLSA ? xstrdup(attachment.statement) : xstrndup(bytes, length);
    attachment.content_length = strlen(attachment.content);
    *ret_attachment = attachment;
    return 0;
}

void attachment_release(struct attachment *attachment)
{
    free(attachment->content);
    free(attachment->statement);
    *attachment = (struct attachment){0};
}

const char *attachment_describe(const char *type)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (strcmp(type, kinds[i].media_type) == 0 || begins_with(type, kinds[i].predicate_prefix))
            return kinds[i].title;
    }
    return NULL;
}
