/* What may boot: the chain from the pinned digest to the kernel, and the signature on it. */
#include "tests/unit/image-format/fixture.h"

#include <sys/stat.h>

struct world {
    struct private_key *key, *stranger;
    struct trusted_key trusted;
    struct packed_image image;
    struct image_chain chain;
};

static void add_signature(struct image_chain *chain, const struct private_key *key,
                          const char *digest)
{
    struct signature_image image;
    struct signature_entry *entries;
    size_t count;
    assert_int_equal(signature_image_create(key, "r/hello", digest, 0, NULL, 0, &image, NULL), 0);
    assert_int_equal(
        signature_entries_parse(image.manifest, image.manifest_length, &entries, &count, NULL), 0);
    image_chain_add_signature(chain, image.payload, image.payload_length, entries[0].signature,
                              digest, entries[0].key_id);
    signature_entries_free(entries, count);
    signature_image_release(&image);
}

static void add_bundle(struct image_chain *chain, const struct private_key *key, const char *digest,
                       const char *predicate_type)
{
    AUTO_FREE char *statement = bundle_statement(digest, predicate_type, "{}", 1700000000);
    AUTO_FREE char *bundle = NULL;
    assert_int_equal(bundle_create(key, statement, &bundle, NULL), 0);
    image_chain_add_bundle(chain, bundle, strlen(bundle), digest);
}

static void drop_signatures(struct image_chain *chain)
{
    for (size_t i = 0; i < chain->signature_count; i++) {
        free(chain->signatures[i].payload);
        free(chain->signatures[i].signature);
    }
    free(chain->signatures);
    chain->signatures = NULL;
    chain->signature_count = 0;
}

static struct image_chain chain_of(const struct packed_image *image)
{
    const struct packed_manifest *top = packed_image_top(image);
    const struct packed_blob *config = fixture_blob(image, SHOAL_CONFIG_TYPE);
    struct image_chain lent = {
        .index = image->has_index ? image->index.bytes : NULL,
        .index_length = image->index.length,
        .manifest = image->manifests[0].bytes,
        .manifest_length = image->manifests[0].length,
        .config = config->bytes,
        .config_length = config->size,
    };
    struct image_chain chain;
    memcpy(lent.pinned, top->digest, sizeof lent.pinned);
    image_chain_copy(&lent, &chain);
    return chain;
}

/* An image with an index, whose index is signed by the trusted key. */
static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->key = private_key_generate(NULL);
    world->stranger = private_key_generate(NULL);
    world->trusted.key = private_key_public(world->key);
    strcpy(world->trusted.name, "shoal");
    public_key_id(world->trusted.key, world->trusted.id);
    world->image = packed_fixture(1);
    packed_image_add_index(&world->image);
    world->chain = chain_of(&world->image);
    add_signature(&world->chain, world->key, world->chain.pinned);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    image_chain_release(&world->chain);
    packed_image_release(&world->image);
    public_key_destroy(world->trusted.key);
    private_key_destroy(world->key);
    private_key_destroy(world->stranger);
    free(world);
    return 0;
}

static void assert_verified(struct world *world)
{
    const struct image_rules rules = {.keys = &world->trusted, .key_count = 1};
    struct image_verified verified;
    struct error error = ERROR_INIT;
    if (image_chain_verify(&world->chain, &rules, "amd64", &verified, &error) < 0)
        fail_msg("%s", error.message);
    assert_string_equal(verified.manifest_digest, world->image.manifests[0].digest);
    assert_string_equal(verified.made_for, "shoal");
    assert_int_equal(verified.part_count, 1);
    assert_int_equal(verified.layer_count, 1);
    const struct image_part *kernel = image_verified_part(&verified, IMAGE_PART_KERNEL);
    assert_non_null(kernel);
    assert_int_equal(kernel->packing, IMAGE_PACKING_NONE);
    assert_string_equal(kernel->digest, fixture_blob(&world->image, SHOAL_KERNEL_TYPE)->digest);
    assert_int_equal(kernel->size, sizeof(struct tiny_kernel));
    assert_string_equal(verified.layers[kernel->layer].digest, kernel->digest);
    assert_string_equal(verified.layers[kernel->layer].media_type, SHOAL_KERNEL_TYPE);
    assert_string_equal(verified.key_name, "shoal");
    assert_string_equal(verified.key_id, world->trusted.id);
    assert_string_equal(verified.config.family, "shoal");
    image_verified_release(&verified);
}

static void assert_refused(struct world *world, enum error_code code, const char *first,
                           const char *second)
{
    const struct image_rules rules = {.keys = &world->trusted, .key_count = 1};
    struct image_verified verified = {.key_name = "untouched"};
    struct error error = ERROR_INIT;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    if (error.code != code || strstr(error.message, first) == NULL ||
        strstr(error.message, second) == NULL)
        fail_msg("expected \"%s\" and \"%s\" in \"%s\"", first, second, error.message);
    assert_string_equal(verified.key_name, "untouched");
}

static void a_signed_index_makes_its_child_trusted(void **state)
{
    assert_verified(*state);
}

static void a_signed_child_is_trusted_as_well(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->key, world->image.manifests[0].digest);
    assert_verified(world);
}

static void a_bundle_counts_as_well(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->chain.pinned, PREDICATE_SIGNATURE);
    assert_verified(world);
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->image.manifests[0].digest, PREDICATE_SIGNATURE);
    assert_verified(world);
}

static void bundles_that_do_not_count_are_told(void **state)
{
    struct world *world = *state;
    char id[KEY_ID_MAX];
    struct public_key *stranger = private_key_public(world->stranger);
    public_key_id(stranger, id);
    public_key_destroy(stranger);
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->stranger, world->chain.pinned, PREDICATE_SIGNATURE);
    assert_refused(world, ERROR_SIGNATURE, "is not signed by a trusted key (signed by key", id);
    drop_signatures(&world->chain);
    image_chain_add_bundle(&world->chain, "{}", 2, world->chain.pinned);
    assert_refused(world, ERROR_SIGNATURE, "a bundle that cannot be read", "mediaType");
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->image.manifests[0].digest, PREDICATE_SIGNATURE);
    strcpy(world->chain.signatures[0].signed_digest, world->chain.pinned);
    assert_refused(world, ERROR_SIGNATURE, "a trusted key, but the signature is for",
                   world->chain.pinned);
}

static void an_attestation_is_no_signature(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->chain.pinned, "https://cyclonedx.org/bom");
    assert_refused(world, ERROR_SIGNATURE, "is unsigned", world->trusted.id);
    /* Nor one that is slipped in among the signatures. */
    world->chain.signatures = world->chain.attestations;
    world->chain.signature_count = 1;
    world->chain.attestations = NULL;
    world->chain.attestation_count = 0;
    assert_refused(world, ERROR_SIGNATURE, "is not signed by a trusted key", world->trusted.id);
}

static void what_holds_is_listed_for_policies(void **state)
{
    struct world *world = *state;
    struct image_proofs proofs;
    const char *child = world->image.manifests[0].digest;
    add_bundle(&world->chain, world->key, child, PREDICATE_SIGNATURE);
    add_bundle(&world->chain, world->stranger, child, PREDICATE_SIGNATURE);
    add_bundle(&world->chain, world->key, child, "https://cyclonedx.org/bom");
    image_chain_prove(&world->chain, &world->trusted, 1, &proofs);
    assert_int_equal(proofs.count, 3);
    assert_int_equal(proofs.items[0].kind, SIGNATURE_SIMPLE);
    assert_string_equal(proofs.items[0].predicate_type, PREDICATE_SIGNATURE);
    assert_string_equal(proofs.items[0].signed_digest, world->chain.pinned);
    assert_int_equal(proofs.items[1].kind, SIGNATURE_BUNDLE);
    assert_string_equal(proofs.items[1].signed_digest, child);
    assert_int_equal(proofs.items[1].signed_at, 1700000000);
    assert_string_equal(proofs.items[2].predicate_type, "https://cyclonedx.org/bom");
    image_proofs_release(&proofs);
}

static void bundles_are_saved_and_loaded(void **state)
{
    struct world *world = *state;
    char dir[] = "/tmp/chain.XXXXXX";
    assert_non_null(mkdtemp(dir));
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->chain.pinned, PREDICATE_SIGNATURE);
    add_bundle(&world->chain, world->key, world->chain.pinned, "https://cyclonedx.org/bom");
    assert_int_equal(image_chain_save(&world->chain, dir, NULL), 0);
    image_chain_release(&world->chain);
    assert_int_equal(image_chain_load(dir, &world->chain, NULL), 0);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(world->chain.attestation_count, 1);
    assert_string_equal(world->chain.attestations[0].predicate_type, "https://cyclonedx.org/bom");
    assert_string_equal(world->chain.attestations[0].key_id, world->trusted.id);
    assert_verified(world);
    file_remove_tree(dir, NULL);
}

static void a_plain_manifest_needs_no_index(void **state)
{
    struct world *world = *state;
    image_chain_release(&world->chain);
    world->image.has_index = false;
    world->chain = chain_of(&world->image);
    world->image.has_index = true;
    assert_null(world->chain.index);
    add_signature(&world->chain, world->key, world->chain.pinned);
    assert_verified(world);
}

static void one_of_several_signatures_is_enough(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->stranger, world->chain.pinned);
    add_signature(&world->chain, world->key, world->chain.pinned);
    assert_verified(world);
}

static void without_a_trusted_key_nothing_is_trusted_and_the_message_mends_it(void **state)
{
    struct world *world = *state;
    const struct image_rules rules = {.keys = NULL};
    struct image_verified verified;
    struct error error = ERROR_INIT;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, world->chain.pinned));
    assert_non_null(strstr(error.message, "`shoal keygen shoal`"));
    assert_non_null(strstr(error.message, "`shoal trust add shoal.pub`"));
}

static void an_unsigned_image_is_refused(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    AUTO_FREE char *message = xasprintf("image %s is unsigned", world->chain.pinned);
    assert_refused(world, ERROR_SIGNATURE, message, world->trusted.id);
}

static void a_strangers_signature_is_refused_with_both_key_ids(void **state)
{
    struct world *world = *state;
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->stranger, world->chain.pinned);
    AUTO_FREE char *message =
        xasprintf("image %s is not signed by a trusted key (signed by key %s; trusted: %s)",
                  world->chain.pinned, world->chain.signatures[0].key_id, world->trusted.id);
    assert_refused(world, ERROR_SIGNATURE, message, "");
    world->chain.signatures[0].key_id[0] = '\0';
    assert_refused(world, ERROR_SIGNATURE, "signed by an unknown key", world->trusted.id);
}

static void an_altered_payload_or_signature_does_not_hold(void **state)
{
    struct world *world = *state;
    struct image_signature *signature = &world->chain.signatures[0];
    signature->payload[signature->payload_length - 2] ^= 1;
    assert_refused(world, ERROR_SIGNATURE, world->trusted.id, "the signature does not hold");
    signature->payload[signature->payload_length - 2] ^= 1;
    assert_verified(world);
    signature->signature[20] = signature->signature[20] == 'A' ? 'B' : 'A';
    assert_refused(world, ERROR_SIGNATURE, world->trusted.id, "the signature does not hold");
}

static void a_signature_for_another_image_does_not_count(void **state)
{
    struct world *world = *state;
    struct packed_image other = packed_fixture(9);
    const char *digest = packed_image_top(&other)->digest;
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->key, digest);
    assert_refused(world, ERROR_SIGNATURE, "is not signed by a trusted key", "");
    /* A registry that shows it under this image's tag. */
    strcpy(world->chain.signatures[0].signed_digest, world->chain.pinned);
    assert_refused(world, ERROR_SIGNATURE, "is not signed by a trusted key", "");
    packed_image_release(&other);
}

static void flip(char *bytes, const char *text)
{
    char *at = strstr(bytes, text);
    assert_non_null(at);
    *at ^= 1;
}

static void altered_bytes_are_named_with_both_digests(void **state)
{
    struct world *world = *state;
    char got[DIGEST_TEXT_MAX];

    flip(world->chain.index, "amd64");
    digest_of_bytes(world->chain.index, world->chain.index_length, got);
    AUTO_FREE char *index_message =
        xasprintf("altered index: expected %s, got %s (signed by key %s)", world->chain.pinned, got,
                  world->trusted.id);
    assert_refused(world, ERROR_SIGNATURE, world->chain.pinned, index_message);
    *strstr(world->chain.index, "`md64") = 'a';
    assert_verified(world);

    flip(world->chain.manifest, "schemaVersion");
    digest_of_bytes(world->chain.manifest, world->chain.manifest_length, got);
    AUTO_FREE char *manifest_message =
        xasprintf("altered manifest: expected %s, got %s", world->image.manifests[0].digest, got);
    assert_refused(world, ERROR_SIGNATURE, world->chain.pinned, manifest_message);
    *strstr(world->chain.manifest, "rchemaVersion") = 's';
    assert_verified(world);

    flip(world->chain.config, "33554432");
    assert_refused(world, ERROR_SIGNATURE, world->chain.pinned, "altered config: expected sha256:");
}

static void a_swapped_manifest_of_a_plain_image_is_altered(void **state)
{
    struct world *world = *state;
    struct packed_image other = packed_fixture(9);
    image_chain_release(&world->chain);
    world->chain = chain_of(&other);
    strcpy(world->chain.pinned, world->image.manifests[0].digest);
    add_signature(&world->chain, world->key, world->image.manifests[0].digest);
    assert_refused(world, ERROR_SIGNATURE, "altered manifest: expected",
                   world->image.manifests[0].digest);
    packed_image_release(&other);
}

static void an_architecture_that_is_not_there_is_not_found(void **state)
{
    struct world *world = *state;
    const struct image_rules rules = {.keys = &world->trusted, .key_count = 1};
    struct image_verified verified;
    struct error error = ERROR_INIT;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "arm64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "nothing for arm64: there is unikernel/amd64"));
    free(world->chain.index);
    world->chain.index = NULL;
    strcpy(world->chain.pinned, world->image.manifests[0].digest);
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->key, world->chain.pinned);
    assert_int_equal(image_chain_verify(&world->chain, &rules, "arm64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "is for amd64, not for arm64"));
}

static struct image_rules rules_of(const struct world *world, const struct api_policy *policy)
{
    return (struct image_rules){.keys = &world->trusted,
                                .key_count = 1,
                                .policies = policy,
                                .policy_count = 1,
                                .registry = "r:5000",
                                .repository = "default/hello",
                                .now_ms = UINT64_C(1700000000) * 1000};
}

static void a_policy_judges_before_and_after_the_image_is_read(void **state)
{
    struct world *world = *state;
    char every[] = "**", linux_family[] = "linux", other[] = "team/*";
    char *match[] = {every}, *elsewhere[] = {other}, *families[] = {linux_family};
    struct api_policy policy = {.name = "p", .match = {match, 1}, .require = 1};
    const struct image_rules rules = rules_of(world, &policy);
    struct image_verified verified;
    struct error error = ERROR_INIT;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), 0);
    assert_int_equal(verified.verdict.outcome, POLICY_ALLOWED);
    assert_string_equal(verified.verdict.policy, "p");
    assert_int_equal(verified.evidence.signature_count, 1);
    assert_string_equal(verified.evidence.signatures[0].key, world->trusted.id);
    image_verified_release(&verified);
    policy.families = (struct json_strings){families, 1};
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_POLICY);
    assert_non_null(strstr(error.message, "policy p: its family is shoal, allowed are linux"));
    policy.match = (struct json_strings){elsewhere, 1};
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_POLICY);
    assert_non_null(strstr(error.message, "no policy matches the repository default/hello"));
}

static void a_key_in_both_forms_is_one_key_and_its_signed_time_counts(void **state)
{
    struct world *world = *state;
    char every[] = "**";
    char *match[] = {every};
    struct api_policy policy = {.name = "p", .match = {match, 1}, .require = 2};
    const struct image_rules rules = rules_of(world, &policy);
    struct image_verified verified;
    struct error error = ERROR_INIT;
    add_bundle(&world->chain, world->key, world->image.manifests[0].digest, PREDICATE_SIGNATURE);
    add_bundle(&world->chain, world->key, world->chain.pinned, "https://spdx.dev/Document");
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_non_null(strstr(error.message, "2 different trusted keys must have signed it; only 1"));
    policy.require = 1;
    policy.max_age_ms = 60000; /* only the bundle says when: right now */
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), 0);
    assert_int_equal(verified.evidence.signature_count, 2);
    assert_int_equal(verified.evidence.statement_count, 1);
    assert_string_equal(verified.evidence.statements[0].type, "https://spdx.dev/Document");
    image_verified_release(&verified);
}

static void what_a_policy_only_warns_of_is_verified_otherwise(void **state)
{
    struct world *world = *state;
    char every[] = "**";
    char *match[] = {every};
    struct api_policy policy = {
        .name = "p", .match = {match, 1}, .require = 1, .mode = API_POLICY_WARN};
    struct image_rules rules = rules_of(world, &policy);
    struct image_verified verified;
    struct error error = ERROR_INIT;
    drop_signatures(&world->chain);
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), 0);
    assert_int_equal(verified.verdict.outcome, POLICY_WARNED);
    assert_string_equal(verified.key_name, "");
    image_verified_release(&verified);
    rules.needs_trusted_key = true;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, "unsigned"));
    rules.needs_trusted_key = false;
    world->chain.config[world->chain.config_length - 3] ^= 1;
    assert_int_equal(image_chain_verify(&world->chain, &rules, "amd64", &verified, &error), -1);
    assert_non_null(strstr(error.message, "altered config"));
}

/* Signs a manifest made from the good one by replacing a text of the same meaning elsewhere. */
static void assert_signed_but_refused(struct world *world, const char *from, const char *to,
                                      enum error_code code, const char *message)
{
    const struct packed_manifest *manifest = &world->image.manifests[0];
    const struct packed_blob *config = fixture_blob(&world->image, SHOAL_CONFIG_TYPE);
    const char *at = strstr(manifest->bytes, from);
    assert_non_null(at);
    image_chain_release(&world->chain);
    world->chain.manifest =
        xasprintf("%.*s%s%s", (int)(at - manifest->bytes), manifest->bytes, to, at + strlen(from));
    world->chain.manifest_length = strlen(world->chain.manifest);
    world->chain.config = xstrndup(config->bytes, config->size);
    world->chain.config_length = config->size;
    digest_of_bytes(world->chain.manifest, world->chain.manifest_length, world->chain.pinned);
    add_signature(&world->chain, world->key, world->chain.pinned);
    assert_refused(world, code, world->chain.pinned, message);
}

static void a_signed_thing_that_is_no_unikernel_is_refused(void **state)
{
    struct world *world = *state;
    const char *kernel = fixture_blob(&world->image, SHOAL_KERNEL_TYPE)->digest;
    assert_signed_but_refused(world, SHOAL_ARTIFACT_TYPE, "application/x", ERROR_INVALID,
                              "is not a unikernel image");
    assert_signed_but_refused(world, SHOAL_CONFIG_TYPE, "application/x", ERROR_INVALID,
                              "is not a unikernel image");
    assert_signed_but_refused(world, OCI_MANIFEST_TYPE, "application/x", ERROR_INVALID,
                              "is not a unikernel image");
    assert_signed_but_refused(world, SHOAL_KERNEL_TYPE, SHOAL_DEBUG_TYPE, ERROR_INVALID,
                              "has the type");
    assert_signed_but_refused(world, SHOAL_KERNEL_TYPE, SHOAL_KERNEL_TYPE "+zstd", ERROR_INVALID,
                              "does not say by the annotation dev.shoal.content.size");
    assert_signed_but_refused(world, "{\"schemaVersion\":2",
                              "{\"manifests\":[],\"schemaVersion\":2", ERROR_INVALID,
                              "an index and a manifest at once");
    AUTO_FREE char *other = xstrdup(kernel);
    other[10] = other[10] == '0' ? '1' : '0';
    assert_signed_but_refused(world, kernel, other, ERROR_INVALID, "is not among the layers");
    assert_signed_but_refused(world, "\"schemaVersion\":2", "\"schemaVersion\":3", ERROR_INVALID,
                              "manifest");
    AUTO_FREE char *size = xasprintf("\"size\":%zu}]", sizeof(struct tiny_kernel));
    assert_signed_but_refused(world, size, "\"size\":0}]", ERROR_INVALID, "out of range");
}

static void a_signed_index_of_another_type_is_refused(void **state)
{
    struct world *world = *state;
    char *at = strstr(world->chain.index, OCI_INDEX_TYPE);
    assert_non_null(at);
    at[0] = 'x';
    digest_of_bytes(world->chain.index, world->chain.index_length, world->chain.pinned);
    drop_signatures(&world->chain);
    add_signature(&world->chain, world->key, world->chain.pinned);
    assert_refused(world, ERROR_INVALID, "expected an index of type", "found \"xpplication/");
}

static void a_chain_is_the_same_after_saving_and_loading(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    AUTO_FREE char *dir = xasprintf("%s/chains/a", folder);
    add_signature(&world->chain, world->stranger, world->image.manifests[0].digest);
    assert_int_equal(image_chain_save(&world->chain, dir, NULL), 0);
    image_chain_release(&world->chain);
    assert_int_equal(image_chain_load(dir, &world->chain, NULL), 0);
    assert_non_null(world->chain.index);
    assert_int_equal(world->chain.signature_count, 2);
    assert_verified(world);

    /* A plain image over it leaves no index of the former one. */
    struct packed_image plain = packed_fixture(1);
    struct image_chain chain = chain_of(&plain), loaded;
    assert_int_equal(image_chain_save(&chain, dir, NULL), 0);
    assert_int_equal(image_chain_load(dir, &loaded, NULL), 0);
    assert_null(loaded.index);
    assert_int_equal(loaded.signature_count, 0);
    image_chain_release(&loaded);
    image_chain_release(&chain);
    packed_image_release(&plain);
    remove_folder(folder);
}

static void a_chain_that_was_not_saved_whole_over_another_is_not_loaded(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    struct image_chain loaded;
    struct error error = ERROR_INIT;
    AUTO_FREE char *config = xasprintf("%s/config", folder);
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
    assert_int_equal(unlink(config), 0);
    assert_int_equal(mkdir(config, 0700), 0); /* no file gets this name */
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), -1);
    assert_int_equal(image_chain_load(folder, &loaded, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/pinned"));
    remove_folder(folder);
}

static void altered_files_on_disk_are_found_by_verifying(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
    image_chain_release(&world->chain);
    write_file(folder, "config", "{}", 2);
    assert_int_equal(image_chain_load(folder, &world->chain, NULL), 0);
    assert_refused(world, ERROR_SIGNATURE, "altered config", "");
    remove_folder(folder);
}

static void a_folder_that_holds_no_whole_chain_is_not_loaded(void **state)
{
    struct world *world = *state;
    static const char *const parts[] = {"pinned", "manifest", "config", "signatures.json"};
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        char *folder = temporary_folder();
        struct image_chain loaded;
        struct error error = ERROR_INIT;
        assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
        AUTO_FREE char *path = xasprintf("%s/%s", folder, parts[i]);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(image_chain_load(folder, &loaded, &error), -1);
        assert_int_equal(error.code, ERROR_NOT_FOUND);
        remove_folder(folder);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_signed_index_makes_its_child_trusted),
        TEST(a_signed_child_is_trusted_as_well),
        TEST(a_bundle_counts_as_well),
        TEST(bundles_that_do_not_count_are_told),
        TEST(an_attestation_is_no_signature),
        TEST(what_holds_is_listed_for_policies),
        TEST(bundles_are_saved_and_loaded),
        TEST(a_plain_manifest_needs_no_index),
        TEST(one_of_several_signatures_is_enough),
        TEST(without_a_trusted_key_nothing_is_trusted_and_the_message_mends_it),
        TEST(an_unsigned_image_is_refused),
        TEST(a_strangers_signature_is_refused_with_both_key_ids),
        TEST(an_altered_payload_or_signature_does_not_hold),
        TEST(a_signature_for_another_image_does_not_count),
        TEST(altered_bytes_are_named_with_both_digests),
        TEST(a_swapped_manifest_of_a_plain_image_is_altered),
        TEST(an_architecture_that_is_not_there_is_not_found),
        TEST(a_signed_thing_that_is_no_unikernel_is_refused),
        TEST(a_signed_index_of_another_type_is_refused),
        TEST(a_chain_is_the_same_after_saving_and_loading),
        TEST(a_chain_that_was_not_saved_whole_over_another_is_not_loaded),
        TEST(altered_files_on_disk_are_found_by_verifying),
        TEST(a_folder_that_holds_no_whole_chain_is_not_loaded),
        TEST(a_policy_judges_before_and_after_the_image_is_read),
        TEST(a_key_in_both_forms_is_one_key_and_its_signed_time_counts),
        TEST(what_a_policy_only_warns_of_is_verified_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
