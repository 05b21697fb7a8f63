#include "cli/signing.h"

#include <stdio.h>
#include <string.h>

#include "cli/image_walk.h"
#include "cli/keys.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/xalloc.h"

const char *const signing_form_names[] = {"both", "simple", "bundle", NULL};

/* One run: who signs, and how. */
struct signing {
    struct registry *registry;
    const struct private_key *key;
    struct trusted_key public_half;
    unsigned forms;
    uint64_t now; /* seconds since 1970 */
    struct signing_result result;
};

unsigned signing_forms_parse(const char *name)
{
    if (name == NULL || strcmp(name, "both") == 0)
        return SIGNING_BOTH;
    return strcmp(name, "simple") == 0 ? SIGNING_SIMPLE : SIGNING_BUNDLE;
}

/* The forms in which this key's signature is there and holds; `own` gets those of the simple form.
 */
static int find_forms(struct signing *signing, const char *digest, unsigned *ret_forms,
                      struct json_strings *own, struct error *error)
{
    struct image_chain found = {0};
    unsigned forms = 0;
    if (registry_fetch_signatures(signing->registry, digest, &found, error) < 0) {
        image_chain_release(&found);
        return -1;
    }
    for (size_t i = 0; i < found.signature_count; i++) {
        const struct image_signature *signature = &found.signatures[i];
        if (image_signature_check(signature, &signing->public_half, 1, NULL, NULL) < 0)
            continue;
        forms |= signature->kind == SIGNATURE_SIMPLE ? SIGNING_SIMPLE : SIGNING_BUNDLE;
        if (signature->kind == SIGNATURE_SIMPLE)
            json_strings_add(own, signature->signature);
    }
    image_chain_release(&found);
    *ret_forms = forms;
    return 0;
}

/* The signature manifest that is there already, without the key's own; none is no error. */
static int existing_signatures(struct registry *registry, const char *tag,
                               const struct json_strings *own, char **ret_manifest,
                               struct error *error)
{
    struct error reason = ERROR_INIT;
    struct registry_manifest manifest = {0};
    if (registry_get_manifest(registry, tag, &manifest, &reason) < 0)
        return reason.code == ERROR_NOT_FOUND ? 0 : error_copy(error, &reason);
    int result = signature_manifest_drop(manifest.bytes, manifest.length, own, ret_manifest, error);
    free(manifest.bytes);
    return result;
}

static int push_signature(struct registry *registry, const char *tag,
                          const struct signature_image *image, struct error *error)
{
    if (registry_push_blob(registry, image->payload_digest, image->payload_length, NULL,
                           image->payload, error) < 0 ||
        registry_push_blob(registry, image->config_digest, image->config_length, NULL,
                           image->config, error) < 0)
        return -1;
    return registry_push_manifest(registry, tag, OCI_MANIFEST_TYPE, image->manifest,
                                  image->manifest_length, error);
}

static int sign_simple(struct signing *signing, const char *digest, const struct json_strings *own,
                       struct error *error)
{
    char tag[SIGNATURE_TAG_MAX];
    AUTO_FREE char *existing = NULL;
    struct signature_image image;
    AUTO_FREE char *reference = registry_docker_reference(signing->registry);
    signature_tag(digest, tag);
    if (existing_signatures(signing->registry, tag, own, &existing, error) < 0 ||
        signature_image_create(signing->key, reference, digest, signing->now, existing,
                               existing != NULL ? strlen(existing) : 0, &image, error) < 0)
        return -1;
    int result = push_signature(signing->registry, tag, &image, error);
    signature_image_release(&image);
    return result;
}

static int sign_bundle(struct signing *signing, const struct oci_descriptor *subject,
                       struct error *error)
{
    char digest[DIGEST_TEXT_MAX];
    AUTO_FREE char *statement =
        bundle_statement(subject->digest, PREDICATE_SIGNATURE, "{}", signing->now);
    AUTO_FREE char *bundle = NULL;
    if (bundle_create(signing->key, statement, &bundle, error) < 0)
        return -1;
    return registry_push_referrer(signing->registry, subject, BUNDLE_TYPE, bundle, strlen(bundle),
                                  PREDICATE_SIGNATURE, digest, error);
}

static int sign_subject(struct signing *signing, const struct oci_descriptor *subject,
                        struct error *error)
{
    struct json_strings own = {0};
    unsigned there = 0;
    int result = find_forms(signing, subject->digest, &there, &own, error);
    unsigned missing = signing->forms & SIGNING_BOTH;
    if ((signing->forms & SIGNING_RENEW) == 0)
        missing &= ~there;
    if (result == 0 && (missing & SIGNING_SIMPLE) != 0)
        result = sign_simple(signing, subject->digest, &own, error);
    if (result == 0 && (missing & SIGNING_BUNDLE) != 0)
        result = sign_bundle(signing, subject, error);
    json_strings_release(&own);
    if (result < 0)
        return -1;
    signing->result.made += ((missing & SIGNING_SIMPLE) != 0) + ((missing & SIGNING_BUNDLE) != 0);
    signing->result.subjects++;
    return 0;
}

int signing_sign(struct registry *registry, const struct private_key *key, const char *reference,
                 unsigned forms, struct signing_result *ret_result, struct error *error)
{
    struct image_walk walk;
    if (image_walk(registry, reference, &walk, error) < 0)
        return -1;
    struct signing signing = {
        .registry = registry,
        .key = key,
        .public_half = {.key = private_key_public(key)},
        .forms = forms,
        .now = clock_wall_ms(clock_system()) / 1000,
    };
    int result = 0;
    public_key_id(signing.public_half.key, signing.result.key_id);
    memcpy(signing.result.digest, walk.nodes[0].descriptor.digest, DIGEST_TEXT_MAX);
    for (size_t i = 0; i < walk.count && result == 0; i++) {
        const struct oci_descriptor *subject = &walk.nodes[i].descriptor;
        result = sign_subject(&signing, subject, error);
        if (result < 0)
            error_wrap(error, "sign %s", subject->digest);
    }
    public_key_destroy(signing.public_half.key);
    image_walk_release(&walk);
    if (result == 0)
        *ret_result = signing.result;
    return result;
}

static void print_signed(struct cli *cli, const char *name, const struct signing_result *result)
{
    const char *outcome = result->made > 0 ? "signed" : "unchanged";
    if (!cli_wants_document(cli)) {
        printf("%s: %s by key %s\n%s\n", name, result->made > 0 ? "signed" : "already signed",
               result->key_id, result->digest);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "digest", json_object_new_string(result->digest));
    json_object_object_add(document, "result", json_object_new_string(outcome));
    json_object_object_add(document, "key_id", json_object_new_string(result->key_id));
    json_object_object_add(document, "subjects", json_object_new_int64((int64_t)result->subjects));
    json_object_object_add(document, "made", json_object_new_int64((int64_t)result->made));
    cli_print_document(cli, document);
}

int sign_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX];
    struct registry registry;
    struct private_key *key = NULL;
    struct signing_result signed_image;
    if (registry_init(&registry, cli, cli_argument(cli, 0), error) < 0 ||
        keys_load_private(invocation_text(cli->invocation, "key"), &key, error) < 0)
        return -1;
    image_reference_format(&registry.image, name);
    unsigned forms = signing_forms_parse(invocation_text(cli->invocation, "format"));
    if (invocation_has(cli->invocation, "renew"))
        forms |= SIGNING_RENEW;
    int result =
        signing_sign(&registry, key, registry_reference(&registry), forms, &signed_image, error);
    if (result == 0)
        print_signed(cli, name, &signed_image);
    else
        error_wrap(error, "sign %s", name);
    private_key_destroy(key);
    return result;
}
