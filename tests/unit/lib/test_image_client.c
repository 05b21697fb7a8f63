/* From a registry to a chain that verifies. */
#include "tests/unit/image-format/fixture.h"
#include "tests/unit/lib/registry_fixture.h"

#include "lib/image_client.h"

#define REPO "default/hello"

struct world {
    struct scripted_registry *registry;
    struct packed_image image; /* with an index */
    struct private_key *key;
    struct trusted_key trusted;
    /* What the last call ended with. */
    struct image_chain chain;
    struct image_resolved resolved;
};

static void serve_manifest(struct world *world, const char *reference, const char *type,
                           const char *bytes, size_t length)
{
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/manifests/%s", reference);
    script_add(world->registry, path, type, bytes, length);
}

static struct scripted *serve_blob(struct world *world, const char *digest, const char *bytes,
                                   size_t length)
{
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", digest);
    return script_add(world->registry, path, "application/octet-stream", bytes, length);
}

static void serve_signature(struct world *world, const char *digest)
{
    struct signature_image image;
    char tag[SIGNATURE_TAG_MAX];
    assert_int_equal(
        signature_image_create(world->key, "r/hello", digest, 0, NULL, 0, &image, NULL), 0);
    signature_tag(digest, tag);
    serve_manifest(world, tag, OCI_MANIFEST_TYPE, image.manifest, image.manifest_length);
    serve_blob(world, image.payload_digest, image.payload, image.payload_length);
    signature_image_release(&image);
}

/* The manifest that carries a bundle about `digest`, and its bytes; what a list of referrers says
 * of it. */
static char *serve_bundle(struct world *world, const char *digest, const char *predicate_type)
{
    struct oci_descriptor subject = {.media_type = OCI_INDEX_TYPE, .size = 1};
    struct oci_descriptor content = {.media_type = BUNDLE_TYPE};
    AUTO_FREE char *statement = bundle_statement(digest, predicate_type, "{}", 0);
    AUTO_FREE char *bundle = NULL;
    char referrer_digest[DIGEST_TEXT_MAX];
    assert_int_equal(bundle_create(world->key, statement, &bundle, NULL), 0);
    strcpy(subject.digest, digest);
    content.size = strlen(bundle);
    digest_of_bytes(bundle, content.size, content.digest);
    AUTO_FREE char *referrer = bundle_referrer(&subject, &content, predicate_type);
    digest_of_bytes(referrer, strlen(referrer), referrer_digest);
    serve_manifest(world, referrer_digest, OCI_MANIFEST_TYPE, referrer, strlen(referrer));
    serve_blob(world, content.digest, bundle, content.size);
    return xasprintf("{\"mediaType\":\"" OCI_MANIFEST_TYPE "\",\"digest\":\"%s\",\"size\":%zu,"
                     "\"artifactType\":\"" BUNDLE_TYPE "\"}",
                     referrer_digest, strlen(referrer));
}

static void serve_index(struct world *world, const char *path, const char *entries)
{
    AUTO_FREE char *index = xasprintf("{\"schemaVersion\":2,\"manifests\":[%s]}", entries);
    script_add(world->registry, path, OCI_INDEX_TYPE, index, strlen(index));
}

static void serve_referrers(struct world *world, const char *digest, const char *entries)
{
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/referrers/%s", digest);
    serve_index(world, path, entries);
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->registry = script_open(2);
    world->image = packed_fixture(1);
    packed_image_add_index(&world->image);
    world->key = private_key_generate(NULL);
    world->trusted.key = private_key_public(world->key);
    public_key_id(world->trusted.key, world->trusted.id);
    const struct packed_manifest *index = &world->image.index;
    const struct packed_manifest *manifest = &world->image.manifests[0];
    const struct packed_blob *config = fixture_blob(&world->image, SHOAL_CONFIG_TYPE);
    serve_manifest(world, "1.0", OCI_INDEX_TYPE, index->bytes, index->length);
    serve_manifest(world, index->digest, OCI_INDEX_TYPE, index->bytes, index->length);
    serve_manifest(world, manifest->digest, OCI_MANIFEST_TYPE, manifest->bytes, manifest->length);
    serve_blob(world, config->digest, config->bytes, config->size);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    script_close(world->registry);
    packed_image_release(&world->image);
    image_chain_release(&world->chain);
    public_key_destroy(world->trusted.key);
    private_key_destroy(world->key);
    free(world);
    return 0;
}

static void note_end(struct world *world, const struct error *error)
{
    struct scripted_registry *registry = world->registry;
    registry->done = true;
    registry->code = error != NULL ? error->code : ERROR_NONE;
    snprintf(registry->message, sizeof registry->message, "%s",
             error != NULL ? error->message : "");
}

static void on_resolved(const struct image_resolved *resolved, void *data)
{
    struct world *world = data;
    world->resolved = *resolved;
    note_end(world, resolved->error);
}

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct world *world = data;
    image_chain_release(&world->chain);
    assert_int_equal(error == NULL, chain != NULL);
    if (chain != NULL) {
        world->chain = *chain;
        *chain = (struct image_chain){0};
    }
    note_end(world, error);
}

static void fetch(struct world *world, const char *digest, const char *architecture)
{
    image_client_fetch_chain(world->registry->client, REPO, digest, architecture, on_chain, world);
}

static int verify(struct world *world, struct error *error)
{
    const struct image_rules rules = {.keys = &world->trusted, .key_count = 1};
    struct image_verified verified;
    if (image_chain_verify(&world->chain, &rules, "amd64", &verified, error) < 0)
        return -1;
    image_verified_release(&verified);
    return 0;
}

static void a_tag_resolves_to_a_digest_and_its_architectures(void **state)
{
    struct world *world = *state;
    image_client_resolve(world->registry->client, REPO, "1.0", on_resolved, world);
    script_assert_ok(world->registry);
    assert_string_equal(world->resolved.digest, world->image.index.digest);
    assert_int_equal(world->resolved.architecture_count, 1);
    assert_string_equal(world->resolved.architectures[0], "amd64");
    image_client_resolve(world->registry->client, REPO, world->image.manifests[0].digest,
                         on_resolved, world);
    script_assert_ok(world->registry);
    assert_string_equal(world->resolved.digest, world->image.manifests[0].digest);
    assert_int_equal(world->resolved.architecture_count, 1);
    assert_string_equal(world->resolved.architectures[0], "amd64");
}

static void what_does_not_resolve_says_why(void **state)
{
    struct world *world = *state;
    image_client_resolve(world->registry->client, REPO, "2.0", on_resolved, world);
    script_assert_error(world->registry, ERROR_NOT_FOUND, "default/hello:2.0");
    static const char other[] = "{\"schemaVersion\":2,\"config\":{\"mediaType\":"
                                "\"application/vnd.docker.container.image.v1+json\",\"digest\":"
                                "\"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
                                "f20015ad\",\"size\":2},\"layers\":[]}";
    serve_manifest(world, "linux", OCI_MANIFEST_TYPE, other, strlen(other));
    image_client_resolve(world->registry->client, REPO, "linux", on_resolved, world);
    script_assert_error(world->registry, ERROR_INVALID, "not a unikernel image");
    static const char empty[] = "{\"schemaVersion\":2,\"manifests\":[]}";
    serve_manifest(world, "empty", OCI_INDEX_TYPE, empty, strlen(empty));
    image_client_resolve(world->registry->client, REPO, "empty", on_resolved, world);
    script_assert_error(world->registry, ERROR_INVALID, "its index lists none");
}

static void a_chain_is_fetched_with_the_signature_of_the_index(void **state)
{
    struct world *world = *state;
    serve_signature(world, world->image.index.digest);
    fetch(world, world->image.index.digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(verify(world, NULL), 0);
}

static void a_signature_of_the_child_is_found_as_well(void **state)
{
    struct world *world = *state;
    serve_signature(world, world->image.manifests[0].digest);
    fetch(world, world->image.index.digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(verify(world, NULL), 0);
}

static void a_plain_manifest_is_a_chain_too(void **state)
{
    struct world *world = *state;
    serve_signature(world, world->image.manifests[0].digest);
    fetch(world, world->image.manifests[0].digest, "amd64");
    script_assert_ok(world->registry);
    assert_null(world->chain.index);
    assert_int_equal(verify(world, NULL), 0);
}

static void a_bundle_among_the_referrers_signs_as_well(void **state)
{
    struct world *world = *state;
    const char *digest = world->image.index.digest;
    AUTO_FREE char *entry = serve_bundle(world, digest, PREDICATE_SIGNATURE);
    AUTO_FREE char *entries = xasprintf("{\"mediaType\":\"" OCI_MANIFEST_TYPE
                                        "\",\"digest\":\"%s\",\"size\":9,\"artifactType\":"
                                        "\"application/spdx+json\"},%s",
                                        digest, entry);
    serve_referrers(world, digest, entries);
    fetch(world, digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(world->chain.signatures[0].kind, SIGNATURE_BUNDLE);
    assert_int_equal(verify(world, NULL), 0);
}

static void a_registry_without_the_list_has_a_tag_for_it(void **state)
{
    struct world *world = *state;
    const char *digest = world->image.manifests[0].digest;
    AUTO_FREE char *entry = serve_bundle(world, digest, PREDICATE_SIGNATURE);
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/manifests/sha256-%s", digest_hex(digest));
    serve_index(world, path, entry);
    fetch(world, world->image.index.digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 1);
    assert_string_equal(world->chain.signatures[0].signed_digest, digest);
    assert_int_equal(verify(world, NULL), 0);
}

static void an_attestation_is_carried_and_signs_nothing(void **state)
{
    struct world *world = *state;
    struct error error = ERROR_INIT;
    struct image_proofs proofs;
    const char *digest = world->image.index.digest;
    AUTO_FREE char *entry = serve_bundle(world, digest, "https://slsa.dev/provenance/v1");
    serve_referrers(world, digest, entry);
    fetch(world, digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 0);
    assert_int_equal(world->chain.attestation_count, 1);
    assert_int_equal(verify(world, &error), -1);
    assert_non_null(strstr(error.message, "is unsigned"));
    image_chain_prove(&world->chain, &world->trusted, 1, &proofs);
    assert_int_equal(proofs.count, 1);
    assert_string_equal(proofs.items[0].predicate_type, "https://slsa.dev/provenance/v1");
    image_proofs_release(&proofs);
}

static void attestations_push_no_signature_out(void **state)
{
    struct world *world = *state;
    const char *digest = world->image.index.digest;
    AUTO_FREE char *attestation = serve_bundle(world, digest, "https://slsa.dev/provenance/v1");
    AUTO_FREE char *signature = serve_bundle(world, digest, PREDICATE_SIGNATURE);
    attestation[strlen(attestation) - 1] = '\0'; /* for its annotations */
    struct buffer AUTO_BUFFER entries = {0};
    for (int i = 0; i <= SIGNATURES_MAX; i++)
        buffer_printf(&entries,
                      "%s,\"annotations\":{\"" BUNDLE_PREDICATE_ANNOTATION
                      "\":\"https://slsa.dev/provenance/v1\"}},",
                      attestation);
    buffer_append_text(&entries, signature);
    serve_referrers(world, digest, buffer_text(&entries));
    fetch(world, digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(world->chain.attestation_count, SIGNATURES_MAX);
    assert_int_equal(verify(world, NULL), 0);
}

static void a_list_of_referrers_that_is_none_is_told(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/referrers/%s", world->image.index.digest);
    script_add(world->registry, path, OCI_INDEX_TYPE, "[]", 2);
    fetch(world, world->image.index.digest, "amd64");
    script_assert_error(world->registry, ERROR_PROTOCOL, "has no list of manifests");
}

static void without_signatures_the_chain_comes_and_does_not_verify(void **state)
{
    struct world *world = *state;
    struct error error = ERROR_INIT;
    fetch(world, world->image.index.digest, "amd64");
    script_assert_ok(world->registry);
    assert_int_equal(world->chain.signature_count, 0);
    assert_int_equal(verify(world, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, "is unsigned"));
}

static void an_architecture_that_is_not_there_is_not_found(void **state)
{
    struct world *world = *state;
    fetch(world, world->image.index.digest, "arm64");
    script_assert_error(world->registry, ERROR_NOT_FOUND,
                        "nothing for arm64: there is unikernel/amd64");
}

static void an_altered_config_blob_is_refused(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < world->registry->count; i++) {
        struct scripted *answer = &world->registry->script[i];
        if (strstr(answer->path, fixture_blob(&world->image, SHOAL_CONFIG_TYPE)->digest) != NULL)
            answer->bytes[10] ^= 1;
    }
    fetch(world, world->image.index.digest, "amd64");
    script_assert_error(world->registry, ERROR_SIGNATURE, "altered bytes: expected sha256:");
}

static void never(const struct error *error, struct image_chain *chain, void *data)
{
    (void)error;
    (void)chain;
    (void)data;
    fail();
}

static void never_resolved(const struct image_resolved *resolved, void *data)
{
    (void)resolved;
    (void)data;
    fail();
}

static void a_destroyed_client_forgets_what_it_fetched(void **state)
{
    struct world *world = *state;
    struct oci_client *client = world->registry->client;
    for (size_t i = 0; i < world->registry->count; i++)
        world->registry->script[i].failures = 1; /* the second attempt never comes */
    image_client_fetch_chain(client, REPO, world->image.index.digest, "amd64", never, NULL);
    image_client_resolve(client, REPO, "1.0", never_resolved, NULL);
    for (int i = 0; i < 3; i++)
        uv_run(&world->registry->harness.loop, UV_RUN_NOWAIT);
    oci_client_destroy(client);
    world->registry->client = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_tag_resolves_to_a_digest_and_its_architectures),
        TEST(what_does_not_resolve_says_why),
        TEST(a_chain_is_fetched_with_the_signature_of_the_index),
        TEST(a_signature_of_the_child_is_found_as_well),
        TEST(a_plain_manifest_is_a_chain_too),
        TEST(a_bundle_among_the_referrers_signs_as_well),
        TEST(a_registry_without_the_list_has_a_tag_for_it),
        TEST(an_attestation_is_carried_and_signs_nothing),
        TEST(attestations_push_no_signature_out),
        TEST(a_list_of_referrers_that_is_none_is_told),
        TEST(without_signatures_the_chain_comes_and_does_not_verify),
        TEST(an_architecture_that_is_not_there_is_not_found),
        TEST(an_altered_config_blob_is_refused),
        TEST(a_destroyed_client_forgets_what_it_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
