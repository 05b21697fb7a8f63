/* attach: SBOMs and provenance beside an image that is in the registry. */
#include <stdio.h>
#include <string.h>

#include "cli/image_walk.h"
#include "cli/keys.h"
#include "image-format/attachment.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* One run. */
struct attaching {
    struct cli *cli;
    struct registry registry;
    const char *file;
    enum attachment_type type;
    struct private_key *key; /* NULL: not signed */
    char key_id[KEY_ID_MAX]; /* "" without a key */
    struct oci_descriptor subject;
    struct attachment attachment;
    bool was_there;
    char referrer[DIGEST_TEXT_MAX]; /* "" when it was there already */
};

static enum attachment_type type_named(const char *name)
{
    enum attachment_type type = ATTACHMENT_SPDX;
    while (strcmp(attachment_type_names[type], name) != 0)
        type++;
    return type;
}

/* What it is attached to: the image as a whole, or one architecture's manifest. */
static int find_subject(struct attaching *attaching, struct error *error)
{
    const char *architecture = invocation_text(attaching->cli->invocation, "arch");
    struct image_walk walk;
    if (image_walk(&attaching->registry, registry_reference(&attaching->registry), &walk, error) <
        0)
        return -1;
    const struct oci_descriptor *found = architecture == NULL ? &walk.nodes[0].descriptor : NULL;
    for (size_t i = 0; i < walk.count && found == NULL; i++) {
        const struct oci_descriptor *descriptor = &walk.nodes[i].descriptor;
        if (descriptor->has_platform &&
            strcmp(descriptor->platform.architecture, architecture) == 0)
            found = descriptor;
    }
    int result = 0;
    if (found != NULL)
        json_record_copy(&oci_descriptor_record, found, &attaching->subject);
    else
        result = error_set(error, ERROR_NOT_FOUND, "its index lists nothing for %s", architecture);
    image_walk_release(&walk);
    return result;
}

static int read_file(struct attaching *attaching, struct error *error)
{
    AUTO_FREE char *bytes = NULL;
    size_t length;
    if (file_read(attaching->file, ATTACHMENT_MAX, &bytes, &length, error) < 0)
        return -1;
    if (attachment_read(attaching->type, bytes, length, attaching->subject.digest,
                        &attaching->attachment, error) < 0)
        return error_wrap(error, "%s", attaching->file);
    return 0;
}

/* Whether this key has signed the very same statement already. */
static int find_attestation(struct attaching *attaching, struct error *error)
{
    struct image_chain found = {0};
    struct trusted_key own = {.key = private_key_public(attaching->key)};
    const char *statement = attaching->attachment.statement;
    AUTO_FREE char *payload = base64_encode(statement, strlen(statement));
    int result =
        registry_fetch_signatures(&attaching->registry, attaching->subject.digest, &found, error);
    for (size_t i = 0; i < found.attestation_count && result == 0; i++) {
        if (strstr(found.attestations[i].payload, payload) != NULL &&
            image_signature_check(&found.attestations[i], &own, 1, NULL, NULL) >= 0)
            attaching->was_there = true;
    }
    image_chain_release(&found);
    public_key_destroy(own.key);
    return result;
}

static int push_signed(struct attaching *attaching, struct error *error)
{
    AUTO_FREE char *bundle = NULL;
    if (find_attestation(attaching, error) < 0)
        return -1;
    if (attaching->was_there)
        return 0;
    if (bundle_create(attaching->key, attaching->attachment.statement, &bundle, error) < 0)
        return -1;
    size_t length = strlen(bundle);
    if (length > BUNDLE_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "%s: signed it has %zu bytes, at most %u are carried to nodes: attach it "
                         "without --sign, or split it",
                         attaching->file, length, BUNDLE_MAX);
    return registry_push_referrer(&attaching->registry, &attaching->subject, BUNDLE_TYPE, bundle,
                                  length, attaching->attachment.predicate_type, attaching->referrer,
                                  error);
}

static int push(struct attaching *attaching, struct error *error)
{
    const struct attachment *attachment = &attaching->attachment;
    if (attaching->key != NULL)
        return push_signed(attaching, error);
    return registry_push_referrer(&attaching->registry, &attaching->subject, attachment->media_type,
                                  attachment->content, attachment->content_length, NULL,
                                  attaching->referrer, error);
}

static void print_attached(const struct attaching *attaching, const char *name)
{
    const struct attachment *attachment = &attaching->attachment;
    const char *id = attaching->key_id, *title = attachment_describe(attachment->predicate_type);
    if (!cli_wants_document(attaching->cli)) {
        printf("%s: %s %s%s%s\n%s\n", name, title != NULL ? title : attachment->predicate_type,
               attaching->was_there ? "was attached already" : "attached",
               id[0] != '\0' ? ", signed by key " : ", not signed", id, attaching->subject.digest);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "subject", json_object_new_string(attaching->subject.digest));
    json_object_object_add(document, "type",
                           json_object_new_string(attachment_type_names[attaching->type]));
    json_object_object_add(document, "predicate_type",
                           json_object_new_string(attachment->predicate_type));
    json_object_object_add(document, "result",
                           json_object_new_string(attaching->was_there ? "unchanged" : "attached"));
    if (attaching->referrer[0] != '\0')
        json_object_object_add(document, "digest", json_object_new_string(attaching->referrer));
    if (id[0] != '\0')
        json_object_object_add(document, "key_id", json_object_new_string(id));
    cli_print_document(attaching->cli, document);
}

static int load_key(struct attaching *attaching, struct error *error)
{
    const char *file = invocation_text(attaching->cli->invocation, "sign");
    if (file == NULL)
        return 0;
    if (keys_load_private(file, &attaching->key, error) < 0)
        return -1;
    struct public_key *public = private_key_public(attaching->key);
    public_key_id(public, attaching->key_id);
    public_key_destroy(public);
    return 0;
}

int attach_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX];
    struct attaching attaching = {
        .cli = cli,
        .file = cli_argument(cli, 1),
        .type = type_named(invocation_text(cli->invocation, "type")),
    };
    if (registry_init(&attaching.registry, cli, cli_argument(cli, 0), error) < 0)
        return -1;
    image_reference_format(&attaching.registry.image, name);
    int result = find_subject(&attaching, error);
    if (result < 0)
        error_wrap(error, "%s", name);
    else if (read_file(&attaching, error) < 0 || load_key(&attaching, error) < 0)
        result = -1;
    else if (push(&attaching, error) < 0)
        result = error_wrap(error, "attach to %s", name);
    if (result == 0)
        print_attached(&attaching, name);
    json_record_release(&oci_descriptor_record, &attaching.subject);
    attachment_release(&attaching.attachment);
    private_key_destroy(attaching.key);
    return result;
}
