/* What may boot: the chain from the pinned digest to the kernel, and the signature on it. */
#include "tests/unit/image-format/chain_fixture.h"

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
        TEST(a_policy_judges_before_and_after_the_image_is_read),
        TEST(a_key_in_both_forms_is_one_key_and_its_signed_time_counts),
        TEST(what_a_policy_only_warns_of_is_verified_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
