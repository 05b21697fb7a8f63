/* What the tests of chains share: an image with an index that a trusted key signed. */
#pragma once

#include "tests/unit/image-format/fixture.h"

struct world {
    struct private_key *key, *stranger;
    struct trusted_key trusted;
    struct packed_image image;
    struct image_chain chain;
};

static inline void add_signature(struct image_chain *chain, const struct private_key *key,
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

static inline void add_bundle(struct image_chain *chain, const struct private_key *key,
                              const char *digest, const char *predicate_type)
{
    AUTO_FREE char *statement = bundle_statement(digest, predicate_type, "{}", 1700000000);
    AUTO_FREE char *bundle = NULL;
    assert_int_equal(bundle_create(key, statement, &bundle, NULL), 0);
    image_chain_add_bundle(chain, bundle, strlen(bundle), digest);
}

static inline void drop_signatures(struct image_chain *chain)
{
    for (size_t i = 0; i < chain->signature_count; i++) {
        free(chain->signatures[i].payload);
        free(chain->signatures[i].signature);
    }
    free(chain->signatures);
    chain->signatures = NULL;
    chain->signature_count = 0;
}

static inline struct image_chain chain_of(const struct packed_image *image)
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
static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline void assert_verified(struct world *world)
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

static inline void assert_refused(struct world *world, enum error_code code, const char *first,
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
