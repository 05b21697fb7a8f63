/* verify: an image in the registry, checked as a node would. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/keys.h"
#include "cli/registry.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* One run: what decides, and what was found so far. */
struct verifying {
    struct cli *cli;
    const char *name;
    struct registry registry;
    struct trusted_key *keys;
    size_t key_count;
    struct image_resolved image;
    struct json_object *architectures, *signatures, *attestations;
};

/* The keys that decide: a file's, or the cluster's. */
static int load_keys(struct cli *cli, struct trusted_key **ret_keys, size_t *ret_count,
                     struct error *error)
{
    const char *file = invocation_text(cli->invocation, "key");
    struct trusted_key *keys;
    if (file != NULL) {
        keys = xcalloc(1, sizeof *keys);
        if (keys_load_public(file, &keys->key, error) < 0) {
            free(keys);
            return -1;
        }
        public_key_id(keys->key, keys->id);
        snprintf(keys->name, sizeof keys->name, "%s", file);
        *ret_keys = keys;
        *ret_count = 1;
        return 0;
    }
    struct view_list AUTO_VIEWS list = {0};
    if (scheduler_keys(cli, &list, error) < 0)
        return -1;
    if (list.count == 0)
        return error_set(error, ERROR_SIGNATURE,
                         "no key is trusted yet, so nothing may boot. Make one and trust it:\n"
                         "  shoal keygen shoal\n  shoal trust add shoal.pub\n"
                         "or check against a key of your own with --key PUB");
    const struct api_key *views = list.items;
    size_t count = 0;
    keys = xcalloc(list.count, sizeof *keys);
    for (size_t i = 0; i < list.count; i++) {
        if (views[i].pem != NULL &&
            trusted_key_parse(views[i].name, views[i].pem, strlen(views[i].pem), &keys[count],
                              NULL) == 0)
            count++;
    }
    *ret_keys = keys;
    *ret_count = count;
    return 0;
}

/* Fetches what a node would, which the client hashes on its way, and drops it. */
static int check_layers(struct registry *registry, const struct image_verified *verified,
                        struct error *error)
{
    char folder[] = "/tmp/shoal-verify.XXXXXX";
    if (mkdtemp(folder) == NULL)
        return error_set_errno(error, errno, "create %s", folder);
    AUTO_FREE char *path = xasprintf("%s/layer", folder);
    int result = 0;
    for (size_t i = 0; i < verified->layer_count && result == 0; i++) {
        const struct image_layer *layer = &verified->layers[i];
        result = registry_pull_blob(registry, layer->digest, layer->size, path, error);
        unlink(path);
    }
    file_remove_tree(folder, NULL);
    progress_finish(&registry->progress);
    return result;
}

static void describe_key(const struct verifying *verifying, const struct image_signature *signature,
                         int key, struct json_object *entry)
{
    const char *id = key >= 0 ? verifying->keys[key].id : signature->key_id;
    json_object_object_add(entry, "key_id", id[0] != '\0' ? json_object_new_string(id) : NULL);
    json_object_object_add(entry, "key_name",
                           key >= 0 ? json_object_new_string(verifying->keys[key].name) : NULL);
}

/* A signature or an attestation: whose, of what, and whether it holds. */
static struct json_object *describe(const struct verifying *verifying,
                                    const struct image_signature *signature)
{
    struct image_proof proof = {.signed_at = 0};
    struct error reason = ERROR_INIT;
    struct json_object *entry = json_object_new_object();
    int key =
        image_signature_check(signature, verifying->keys, verifying->key_count, &proof, &reason);
    json_object_object_add(entry, "subject", json_object_new_string(signature->signed_digest));
    json_object_object_add(
        entry, "form",
        json_object_new_string(signature->kind == SIGNATURE_BUNDLE ? "bundle" : "simple"));
    if (signature->predicate_type[0] != '\0')
        json_object_object_add(entry, "predicate_type",
                               json_object_new_string(signature->predicate_type));
    describe_key(verifying, signature, key, entry);
    json_object_object_add(entry, "holds", json_object_new_boolean(key >= 0));
    if (key < 0)
        json_object_object_add(entry, "reason", json_object_new_string(reason.message));
    if (proof.signed_at > 0)
        json_object_object_add(entry, "signed_at", json_object_new_int64((int64_t)proof.signed_at));
    return entry;
}

/* Those of the index are in each architecture's chain: the first one's are enough. */
static void list(const struct verifying *verifying, const struct image_chain *chain, bool is_first,
                 const struct image_signature *items, size_t count, struct json_object *entries)
{
    for (size_t i = 0; i < count; i++) {
        if (is_first || strcmp(items[i].signed_digest, chain->pinned) != 0)
            json_object_array_add(entries, describe(verifying, &items[i]));
    }
}

static void note_architecture(struct verifying *verifying, const struct image_verified *verified)
{
    struct json_object *entry = json_object_new_object();
    json_object_object_add(entry, "architecture",
                           json_object_new_string(verified->config.architecture));
    json_object_object_add(entry, "manifest_digest",
                           json_object_new_string(verified->manifest_digest));
    const struct image_part *kernel = image_verified_part(verified, IMAGE_PART_KERNEL);
    if (kernel != NULL && kernel->digest[0] != '\0')
        json_object_object_add(entry, "kernel_digest", json_object_new_string(kernel->digest));
    json_object_object_add(entry, "key_name", json_object_new_string(verified->key_name));
    json_object_object_add(entry, "key_id", json_object_new_string(verified->key_id));
    json_object_array_add(verifying->architectures, entry);
    if (cli_wants_document(verifying->cli))
        return;
    bool several = verifying->image.architecture_count > 1;
    printf("%s%s%s: signed by %s (key %s)\n", verifying->name, several ? " for " : "",
           several ? verified->config.architecture : "", verified->key_name, verified->key_id);
}

static int verify_chain(struct verifying *verifying, const struct image_chain *chain,
                        const char *architecture, struct error *error)
{
    const struct image_rules rules = {.keys = verifying->keys, .key_count = verifying->key_count};
    struct image_verified verified;
    if (image_chain_verify(chain, &rules, architecture, &verified, error) < 0)
        return -1;
    int result = check_layers(&verifying->registry, &verified, error);
    if (result == 0)
        note_architecture(verifying, &verified);
    image_verified_release(&verified);
    return result;
}

static int verify_architecture(struct verifying *verifying, const char *architecture, bool is_first,
                               struct error *error)
{
    struct image_chain chain;
    if (registry_fetch_chain(&verifying->registry, verifying->image.digest, architecture, &chain,
                             error) < 0)
        return -1;
    list(verifying, &chain, is_first, chain.signatures, chain.signature_count,
         verifying->signatures);
    list(verifying, &chain, is_first, chain.attestations, chain.attestation_count,
         verifying->attestations);
    int result = verify_chain(verifying, &chain, architecture, error);
    image_chain_release(&chain);
    return result;
}

static int verify_all(struct verifying *verifying, struct error *error)
{
    const char *only = invocation_text(verifying->cli->invocation, "arch");
    struct image_resolved *image = &verifying->image;
    if (registry_resolve(&verifying->registry, image, error) < 0)
        return -1;
    if (only != NULL) {
        image->architecture_count = 1;
        snprintf(image->architectures[0], sizeof image->architectures[0], "%s", only);
    }
    for (size_t i = 0; i < image->architecture_count; i++) {
        if (verify_architecture(verifying, image->architectures[i], i == 0, error) < 0)
            return image->architecture_count > 1 ? error_wrap(error, "%s", image->architectures[i])
                                                 : -1;
    }
    return 0;
}

/* The first architecture's values stand on top as well, where there was one only. Takes the lists.
 */
static void print_document(struct verifying *verifying, const struct error *failure)
{
    struct json_object *document = json_object_new_object();
    struct json_object *first = json_object_array_get_idx(verifying->architectures, 0);
    json_object_object_add(document, "name", json_object_new_string(verifying->name));
    json_object_object_add(document, "digest", json_object_new_string(verifying->image.digest));
    json_object_object_add(document, "verified", json_object_new_boolean(failure == NULL));
    if (failure == NULL) {
        json_object_object_foreach (first, key, value)
            json_object_object_add(document, key, json_object_get(value));
    } else {
        AUTO_JSON struct json_object *wrapped = error_to_json(failure);
        json_object_object_add(document, "error",
                               json_object_get(json_object_object_get(wrapped, "error")));
    }
    json_object_object_add(document, "architectures", json_object_get(verifying->architectures));
    json_object_object_add(document, "signatures", json_object_get(verifying->signatures));
    json_object_object_add(document, "attestations", json_object_get(verifying->attestations));
    cli_print_document(verifying->cli, document);
}

int verify_run(struct cli *cli, struct error *error)
{
    struct verifying verifying = {.cli = cli, .name = cli_argument(cli, 0)};
    struct error failure = ERROR_INIT;
    if (registry_init(&verifying.registry, cli, verifying.name, error) < 0 ||
        load_keys(cli, &verifying.keys, &verifying.key_count, error) < 0)
        return -1;
    verifying.architectures = json_object_new_array();
    verifying.signatures = json_object_new_array();
    verifying.attestations = json_object_new_array();
    int result = verify_all(&verifying, &failure);
    if (result < 0)
        error_wrap(&failure, "%s", verifying.name);
    if (cli_wants_document(cli) && verifying.image.digest[0] != '\0')
        print_document(&verifying, result < 0 ? &failure : NULL);
    else if (result == 0)
        printf("%s\n", verifying.image.digest);
    json_object_put(verifying.architectures);
    json_object_put(verifying.signatures);
    json_object_put(verifying.attestations);
    trusted_keys_free(verifying.keys, verifying.key_count);
    return result < 0 ? error_copy(error, &failure) : 0;
}
