/* Sigstore bundles: what cosign 2.5 and later signs images with. */
#include "tests/unit/image-format/fixture.h"

#include "image-format/bundle.h"
#include "lib/buffer.h"

#define DIGEST  "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER   "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define IN_TOTO "application/vnd.in-toto+json"

struct world {
    struct private_key *key, *stranger;
    struct trusted_key trusted;
};

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->key = private_key_generate(NULL);
    world->stranger = private_key_generate(NULL);
    world->trusted.key = private_key_public(world->key);
    public_key_id(world->trusted.key, world->trusted.id);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    public_key_destroy(world->trusted.key);
    private_key_destroy(world->key);
    private_key_destroy(world->stranger);
    free(world);
    return 0;
}

/* A bundle of any statement, signed over what DSSE says is signed, written here a second time. */
static char *bundle_of(const struct private_key *key, const char *statement, const char *type)
{
    AUTO_FREE char *signed_text =
        xasprintf("DSSEv1 %zu %s %zu %s", strlen(type), type, strlen(statement), statement);
    AUTO_FREE unsigned char *der = NULL;
    size_t length = 0;
    assert_int_equal(signature_create(key, signed_text, strlen(signed_text), &der, &length, NULL),
                     0);
    AUTO_FREE char *payload = base64_encode(statement, strlen(statement));
    AUTO_FREE char *signature = base64_encode(der, length);
    return xasprintf("{\"mediaType\":\"" BUNDLE_TYPE "\",\"verificationMaterial\":{\"publicKey\":"
                     "{\"hint\":\"\"}},\"dsseEnvelope\":{\"payload\":\"%s\",\"payloadType\":\"%s\","
                     "\"signatures\":[{\"sig\":\"%s\"}]}}",
                     payload, type, signature);
}

static char *replaced(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    assert_non_null(at);
    return xasprintf("%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
}

static void assert_refused(const struct world *world, const char *bundle, const char *message)
{
    struct bundle_claims claims = {.key_id = "untouched"};
    struct error error = ERROR_INIT;
    assert_true(bundle_check(bundle, strlen(bundle), &world->trusted, 1, DIGEST, &claims, &error) <
                0);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
    assert_string_equal(claims.key_id, "untouched");
}

static void assert_statement_refused(const struct world *world, const char *statement,
                                     const char *message)
{
    AUTO_FREE char *bundle = bundle_of(world->key, statement, IN_TOTO);
    assert_refused(world, bundle, message);
}

static char *signed_bundle(const struct private_key *key, const char *digest)
{
    AUTO_FREE char *statement = bundle_statement(digest, PREDICATE_SIGNATURE, "{}", 1700000000);
    char *bundle = NULL;
    assert_int_equal(bundle_create(key, statement, &bundle, NULL), 0);
    return bundle;
}

static void the_statement_is_cosigns(void **state)
{
    (void)state;
    AUTO_FREE char *statement = bundle_statement(DIGEST, PREDICATE_SIGNATURE, "{}", 0);
    assert_string_equal(
        statement,
        "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"digest\":{\"sha256\":"
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}}],"
        "\"predicateType\":\"https://sigstore.dev/cosign/sign/v1\",\"predicate\":{}}");
}

static void a_bundle_of_ours_holds_and_says_what_it_is(void **state)
{
    struct world *world = *state;
    struct bundle_claims claims;
    AUTO_FREE char *bundle = signed_bundle(world->key, DIGEST);
    assert_int_equal(
        bundle_check(bundle, strlen(bundle), &world->trusted, 1, DIGEST, &claims, NULL), 0);
    assert_string_equal(claims.predicate_type, PREDICATE_SIGNATURE);
    assert_string_equal(claims.key_id, world->trusted.id);
    assert_int_equal(claims.signed_at, 1700000000);
}

static void a_bundle_made_by_the_letter_of_the_specifications_holds(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *statement =
        bundle_statement(DIGEST, "https://slsa.dev/provenance/v1", "{\"buildDefinition\":{}}", 0);
    AUTO_FREE char *bundle = bundle_of(world->key, statement, IN_TOTO);
    struct bundle_claims claims;
    assert_int_equal(
        bundle_check(bundle, strlen(bundle), &world->trusted, 1, DIGEST, &claims, NULL), 0);
    assert_string_equal(claims.predicate_type, "https://slsa.dev/provenance/v1");
    assert_string_equal(claims.key_id, "");
    assert_int_equal(claims.signed_at, 0);
}

static void another_key_or_image_does_not_count(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *foreign = signed_bundle(world->stranger, DIGEST);
    AUTO_FREE char *other = signed_bundle(world->key, OTHER);
    assert_refused(world, foreign, "by none of the 1 trusted keys");
    assert_refused(world, other, "is for " OTHER ", not for " DIGEST);
}

static void what_was_altered_does_not_hold(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *honest = bundle_statement(OTHER, PREDICATE_SIGNATURE, "{}", 0);
    AUTO_FREE char *wanted = bundle_statement(DIGEST, PREDICATE_SIGNATURE, "{}", 0);
    AUTO_FREE char *bundle = bundle_of(world->key, honest, IN_TOTO);
    AUTO_FREE char *old = base64_encode(honest, strlen(honest));
    AUTO_FREE char *new = base64_encode(wanted, strlen(wanted));
    AUTO_FREE char *altered = replaced(bundle, old, new);
    assert_refused(world, altered, "by none of the 1 trusted keys");
}

static void a_payload_of_another_type_is_no_statement(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *statement = bundle_statement(DIGEST, PREDICATE_SIGNATURE, "{}", 0);
    AUTO_FREE char *other = bundle_of(world->key, statement, "text/plain");
    AUTO_FREE char *lying = replaced(other, "text/plain", IN_TOTO);
    assert_refused(world, other, "the envelope's payload is \"text/plain\"");
    assert_refused(world, lying, "by none of the 1 trusted keys"); /* the type is signed too */
}

static void forms_that_are_not_read_are_named(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *good = signed_bundle(world->key, DIGEST);
    AUTO_FREE char *old = replaced(good, "bundle.v0.3+json", "bundle+json;version=0.1");
    AUTO_FREE char *keyless = replaced(good, "\"publicKey\":", "\"certificate\":");
    AUTO_FREE char *message = replaced(good, "\"dsseEnvelope\":", "\"messageSignature\":");
    AUTO_FREE char *two = replaced(good, "\"signatures\":[", "\"signatures\":[{\"sig\":\"AA==\"},");
    AUTO_FREE char *none = replaced(good, "\"payload\":\"", "\"payload\":\"*");
    AUTO_FREE char *number = replaced(good, "\"payloadType\":\"" IN_TOTO "\"", "\"payloadType\":7");
    AUTO_FREE char *twice =
        replaced(good, "\"payloadType\":", "\"payloadType\":\"text/plain\",\"payloadType\":");
    assert_refused(world, old, "version=0.1\": supported is " BUNDLE_TYPE);
    assert_refused(world, keyless, "with a certificate (keyless): only keys count");
    assert_refused(world, message, "holds no DSSE envelope");
    assert_refused(world, two, "at most 1");
    assert_refused(world, none, "payload is not base64");
    assert_refused(world, number, "expected a text");
    assert_refused(world, twice, "has a key twice");
    assert_refused(world, "", "not valid JSON");
    assert_refused(world, "[]", "expected a mapping");
}

static void statements_that_mean_several_things_are_refused(void **state)
{
    struct world *world = *state;
#define STATEMENT(type, subjects, predicate)                                                       \
    "{\"_type\":\"" type "\",\"subject\":[" subjects "],\"predicateType\":\"" predicate "\"}"
#define V1           "https://in-toto.io/Statement/v1"
#define SUBJECT(hex) "{\"digest\":{\"sha256\":\"" hex "\"}}"
#define HEX          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert_statement_refused(world,
                             STATEMENT(V1, SUBJECT(HEX) "," SUBJECT("00"), PREDICATE_SIGNATURE),
                             "has 2 subjects: a signature is about one image");
    assert_statement_refused(world, STATEMENT(V1, "", PREDICATE_SIGNATURE), "at least 1");
    assert_statement_refused(world, STATEMENT("https://x/v9", SUBJECT(HEX), PREDICATE_SIGNATURE),
                             "is of type \"https://x/v9\"");
    assert_statement_refused(
        world, STATEMENT(V1, "{\"digest\":{\"sha512\":\"" HEX "\"}}", PREDICATE_SIGNATURE),
        "is for sha256: (none), not for " DIGEST);
    assert_statement_refused(world,
                             STATEMENT(V1,
                                       "{\"digest\":{\"sha256\":\"00\",\"sha256\":\"" HEX "\"}}",
                                       PREDICATE_SIGNATURE),
                             "has a key twice");
    assert_statement_refused(world, STATEMENT(V1, "{\"digest\":\"" HEX "\"}", PREDICATE_SIGNATURE),
                             "expected a mapping");
    AUTO_FREE char *attestation = bundle_of(
        world->key, STATEMENT(V1, SUBJECT("00") "," SUBJECT(HEX), "https://cyclonedx.org/bom"),
        IN_TOTO);
    assert_int_equal(
        bundle_check(attestation, strlen(attestation), &world->trusted, 1, DIGEST, NULL, NULL),
        0); /* an SBOM may be of several things */
}

static void depth_and_size_are_bounded(void **state)
{
    struct world *world = *state;
    AUTO_BUFFER struct buffer deep = {0};
    buffer_append_text(&deep, "{\"mediaType\":");
    for (int i = 0; i < 10000; i++)
        buffer_append_text(&deep, "[");
    assert_refused(world, buffer_text(&deep), "not valid JSON");
    AUTO_BUFFER struct buffer statement = {0};
    buffer_append_text(&statement, "{\"_type\":");
    for (int i = 0; i < 10000; i++)
        buffer_append_text(&statement, "{\"a\":");
    assert_statement_refused(world, buffer_text(&statement), "not valid JSON");
    AUTO_FREE char *giant = xcalloc(1, BUNDLE_MAX + 2);
    memset(giant, ' ', BUNDLE_MAX + 1);
    assert_refused(world, giant, "at most 4194304 are read");
}

static void the_referrer_is_written_as_cosign_writes_it(void **state)
{
    (void)state;
    struct oci_descriptor subject = {.media_type = OCI_INDEX_TYPE, .digest = DIGEST, .size = 12};
    struct oci_descriptor content = {.media_type = BUNDLE_TYPE, .digest = OTHER, .size = 34};
    AUTO_FREE char *text = bundle_referrer(&subject, &content, PREDICATE_SIGNATURE);
    assert_string_equal(
        text, "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST_TYPE "\",\"artifactType\":"
              "\"" BUNDLE_TYPE "\",\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\","
              "\"digest\":\"" OCI_EMPTY_DIGEST "\",\"size\":2},\"layers\":[{\"mediaType\":"
              "\"" BUNDLE_TYPE "\",\"digest\":\"" OTHER "\",\"size\":34}],\"subject\":{"
              "\"mediaType\":\"" OCI_INDEX_TYPE "\",\"digest\":\"" DIGEST "\",\"size\":12},"
              "\"annotations\":{\"dev.sigstore.bundle.content\":\"dsse-envelope\","
              "\"dev.sigstore.bundle.predicateType\":\"" PREDICATE_SIGNATURE "\"}}");
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(OCI_EMPTY, strlen(OCI_EMPTY), digest);
    assert_string_equal(digest, OCI_EMPTY_DIGEST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_statement_is_cosigns),
        TEST(a_bundle_of_ours_holds_and_says_what_it_is),
        TEST(a_bundle_made_by_the_letter_of_the_specifications_holds),
        TEST(another_key_or_image_does_not_count),
        TEST(what_was_altered_does_not_hold),
        TEST(a_payload_of_another_type_is_no_statement),
        TEST(forms_that_are_not_read_are_named),
        TEST(statements_that_mean_several_things_are_refused),
        TEST(depth_and_size_are_bounded),
        TEST(the_referrer_is_written_as_cosign_writes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
