/* From a pinned digest to what may boot: what lies here is proven at every use, and what does not
 * hold any more is had anew, or nothing boots. */
#include "tests/unit/agent/pulls_fixture.h"
#include "tests/unit/image-format/fixture.h"

#include "agent/image_preparation.h"

struct prepared {
    struct world *world;
    struct packed_image image; /* with an index, which a trusted key signed */
    struct private_key *key;
    struct trusted_key trusted;
    struct trust trust;
    struct trust_need needed;
    struct api_boot_steps steps;
    struct scripted *index, *config, *kernel; /* what the registry answers */
    char *chain;                              /* its folder on the node */
    char *imported;                           /* the host half's kernel */
    bool is_over, is_ready, was_told;
    char cause[CAUSE_MAX];
    char message[ERROR_MESSAGE_MAX];
};

/* --- the registry --- */

static struct scripted *serve(struct prepared *prepared, const char *kind, const char *name,
                              const char *type, const char *bytes, size_t length)
{
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/%s/%s", kind, name);
    return script_add(prepared->world->registry, path, type, bytes, length);
}

static void serve_signature(struct prepared *prepared, const char *digest)
{
    struct signature_image image;
    char tag[SIGNATURE_TAG_MAX];
    assert_int_equal(
        signature_image_create(prepared->key, "r/hello", digest, 0, NULL, 0, &image, NULL), 0);
    signature_tag(digest, tag);
    serve(prepared, "manifests", tag, OCI_MANIFEST_TYPE, image.manifest, image.manifest_length);
    serve(prepared, "blobs", image.payload_digest, "application/octet-stream", image.payload,
          image.payload_length);
    signature_image_release(&image);
}

static struct scripted *serve_blob(struct prepared *prepared, const struct packed_blob *blob)
{
    return serve(prepared, "blobs", blob->digest, "application/octet-stream", blob->bytes,
                 blob->size);
}

static const char *digest_of(const struct prepared *prepared)
{
    return prepared->image.index.digest;
}

static int open_prepared(void **state)
{
    struct prepared *prepared = xcalloc(1, sizeof *prepared);
    set_up((void **)&prepared->world);
    prepared->image = packed_fixture(1);
    packed_image_add_index(&prepared->image);
    prepared->key = private_key_generate(NULL);
    prepared->trusted.key = private_key_public(prepared->key);
    public_key_id(prepared->trusted.key, prepared->trusted.id);
    prepared->trust =
        (struct trust){.keys = &prepared->trusted, .key_count = 1, .term = 1, .revision = 1};
    prepared->needed = (struct trust_need){1, 1};
    const struct packed_manifest *index = &prepared->image.index;
    const struct packed_manifest *manifest = &prepared->image.manifests[0];
    const struct packed_blob *kernel = fixture_blob(&prepared->image, SHOAL_KERNEL_TYPE);
    prepared->index =
        serve(prepared, "manifests", index->digest, OCI_INDEX_TYPE, index->bytes, index->length);
    serve(prepared, "manifests", manifest->digest, OCI_MANIFEST_TYPE, manifest->bytes,
          manifest->length);
    prepared->config = serve_blob(prepared, fixture_blob(&prepared->image, SHOAL_CONFIG_TYPE));
    prepared->kernel = serve_blob(prepared, kernel);
    serve_signature(prepared, index->digest);
    prepared->chain = xasprintf("%s/%s-amd64", prepared->world->folder, digest_hex(index->digest));
    prepared->imported =
        xasprintf("%s/host/images/%s", prepared->world->folder, digest_hex(kernel->digest));
    *state = prepared;
    return 0;
}

static int close_prepared(void **state)
{
    struct prepared *prepared = *state;
    void *world = prepared->world;
    tear_down(&world);
    packed_image_release(&prepared->image);
    public_key_destroy(prepared->trusted.key);
    private_key_destroy(prepared->key);
    free(prepared->chain);
    free(prepared->imported);
    free(prepared);
    return 0;
}

/* --- a preparation --- */

static void on_preparing(enum instance_state instance, const char *cause, const char *message,
                         void *data)
{
    struct prepared *prepared = data;
    (void)instance;
    if (cause[0] == '\0')
        return;
    snprintf(prepared->cause, sizeof prepared->cause, "%s", cause);
    snprintf(prepared->message, sizeof prepared->message, "%s", message);
    prepared->was_told = true;
}

static void on_ready(const struct image_verified *verified, void *data)
{
    struct prepared *prepared = data;
    const struct image_part *kernel = image_verified_part(verified, IMAGE_PART_KERNEL);
    assert_string_equal(kernel->digest, fixture_blob(&prepared->image, SHOAL_KERNEL_TYPE)->digest);
    prepared->is_ready = prepared->is_over = true;
}

static void on_failed(const char *cause, const char *message, void *data)
{
    on_preparing(INSTANCE_FAILED, cause, message, data);
    ((struct prepared *)data)->is_over = true;
}

static struct image_preparation *start(struct prepared *prepared)
{
    struct image_preparation_options options = {
        .store = prepared->world->downloads,
        .trust = &prepared->trust,
        .trust_needed = &prepared->needed,
        .repository = REPO,
        .digest = digest_of(prepared),
        .architecture = "amd64",
        .steps = &prepared->steps,
        .on_state = on_preparing,
        .on_ready = on_ready,
        .on_failed = on_failed,
        .data = prepared,
    };
    prepared->is_over = prepared->is_ready = prepared->was_told = false;
    prepared->cause[0] = prepared->message[0] = '\0';
    return image_preparation_start(&prepared->world->registry->harness.loop, &options);
}

static void expect_ready(struct prepared *prepared)
{
    start(prepared);
    assert_true(harness_wait(&prepared->world->registry->harness, &prepared->is_over));
    if (!prepared->is_ready)
        fail_msg("%s: %s", prepared->cause, prepared->message);
}

static void expect_failed(struct prepared *prepared, const char *cause, const char *message)
{
    start(prepared);
    assert_true(harness_wait(&prepared->world->registry->harness, &prepared->is_over));
    assert_false(prepared->is_ready);
    assert_string_equal(prepared->cause, cause);
    if (strstr(prepared->message, message) == NULL)
        fail_msg("%s", prepared->message);
}

/* Another byte in the middle of a file. */
static void alter(const char *path, mode_t mode)
{
    AUTO_FREE char *bytes = NULL;
    size_t length;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &length, NULL), 0);
    bytes[length / 2] ^= 1;
    assert_int_equal(file_write(path, bytes, length, mode, NULL), 0);
}

/* --- what is promised --- */

static void what_is_here_and_holds_needs_no_registry(void **state)
{
    struct prepared *prepared = *state;
    expect_ready(prepared);
    prepared->index->failures = prepared->config->failures = prepared->kernel->failures = 1000;
    expect_ready(prepared);
    assert_int_equal(prepared->index->requests, 1);
    assert_int_equal(prepared->kernel->requests, 1);
}

static void a_chain_that_was_altered_is_fetched_anew(void **state)
{
    struct prepared *prepared = *state;
    static const char *const files[] = {"index", "manifest", "config", "signatures.json", "pinned"};
    expect_ready(prepared);
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", prepared->chain, files[i]);
        alter(path, 0600);
        expect_ready(prepared);
        assert_int_equal(prepared->index->requests, 2 + i);
    }
    assert_int_equal(prepared->kernel->requests, 1);
}

static void an_altered_chain_boots_nothing_without_a_registry(void **state)
{
    struct prepared *prepared = *state;
    AUTO_FREE char *path = xasprintf("%s/config", prepared->chain);
    expect_ready(prepared);
    alter(path, 0600);
    prepared->index->failures = 1000;
    struct image_preparation *waiting = start(prepared);
    assert_true(harness_wait(&prepared->world->registry->harness, &prepared->was_told));
    assert_string_equal(prepared->cause, "registry_unreachable");
    assert_false(prepared->is_over);
    image_preparation_cancel(waiting);
}

static void a_kernel_that_was_altered_is_pulled_anew(void **state)
{
    struct prepared *prepared = *state;
    expect_ready(prepared);
    alter(prepared->imported, 0444);
    expect_ready(prepared);
    assert_int_equal(prepared->index->requests, 1);
    assert_int_equal(prepared->kernel->requests, 2);
    /* The same by anybody else's hand. */
    assert_int_equal(chown(prepared->imported, 65200, 65200), 0);
    expect_ready(prepared);
    assert_int_equal(prepared->kernel->requests, 3);
}

static void a_registry_that_lies_is_refused(void **state)
{
    struct prepared *prepared = *state;
    prepared->kernel->bytes[7] ^= 1;
    expect_failed(prepared, "signature_rejected", "altered bytes");
    assert_non_null(strstr(prepared->message, "signed by key"));
    prepared->kernel->bytes[7] ^= 1;
    assert_int_equal(file_remove_tree(prepared->chain, NULL), 0);
    prepared->config->bytes[7] ^= 1;
    expect_failed(prepared, "signature_rejected", "altered bytes");
    assert_int_equal(access(prepared->chain, F_OK), -1);
    prepared->config->bytes[7] ^= 1;
    prepared->index->bytes[7] ^= 1;
    expect_failed(prepared, "signature_rejected", digest_of(prepared));
    assert_int_equal(access(prepared->imported, F_OK), -1);
}

static void every_boot_is_judged_by_the_keys_of_now(void **state)
{
    struct prepared *prepared = *state;
    expect_ready(prepared);
    prepared->trust.key_count = 0;
    prepared->trust.revision++;
    expect_failed(prepared, "signature_rejected", "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_prepared, close_prepared)
    const struct CMUnitTest tests[] = {
        TEST(what_is_here_and_holds_needs_no_registry),
        TEST(a_chain_that_was_altered_is_fetched_anew),
        TEST(an_altered_chain_boots_nothing_without_a_registry),
        TEST(a_kernel_that_was_altered_is_pulled_anew),
        TEST(a_registry_that_lies_is_refused),
        TEST(every_boot_is_judged_by_the_keys_of_now),
    };
    return geteuid() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
