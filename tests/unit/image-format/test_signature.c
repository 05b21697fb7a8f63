/* Signatures as cosign makes and reads them. */
#include "tests/unit/image-format/fixture.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct trusted_key trusted_key(const struct private_key *key, const char *name)
{
    struct trusted_key trusted = {.key = private_key_public(key)};
    snprintf(trusted.name, sizeof trusted.name, "%s", name);
    public_key_id(trusted.key, trusted.id);
    return trusted;
}

static void the_tag_is_made_of_the_digest(void **state)
{
    (void)state;
    char tag[SIGNATURE_TAG_MAX];
    signature_tag(DIGEST, tag);
    assert_string_equal(
        tag, "sha256-ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.sig");
}

static void the_payload_has_cosigns_exact_bytes(void **state)
{
    (void)state;
    AUTO_FREE char *payload = signature_payload("127.0.0.1:5000/default/hello", DIGEST, 0);
    assert_string_equal(payload, "{\"critical\":{\"identity\":{\"docker-reference\":"
                                 "\"127.0.0.1:5000/default/hello\"},\"image\":{"
                                 "\"docker-manifest-digest\":\"" DIGEST "\"},\"type\":"
                                 "\"cosign container image signature\"},\"optional\":null}");
}

static void the_time_is_what_the_signer_says_in_any_form_in_use(void **state)
{
    (void)state;
    static const struct {
        const char *optional;
        uint64_t seconds;
    } cases[] = {
        {"{\"creator\":\"containers/image\",\"timestamp\":1700000000}", 1700000000},
        {"{\"timestamp\":\"1700000000\"}", 1700000000},
        {"{\"timestamp\":-5}", 0},
        {"{\"timestamp\":1.5}", 0},
        {"{\"timestamp\":\"soon\"}", 0},
        {"{\"timestamp\":{}}", 0},
        {"[]", 0},
        {"null", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO_JSON struct json_object *optional = NULL;
        assert_int_equal(json_parse(cases[i].optional, strlen(cases[i].optional), &optional, NULL),
                         0);
        assert_int_equal(signature_timestamp(optional), cases[i].seconds);
    }
    AUTO_FREE char *payload = signature_payload("r/hello", DIGEST, 1700000000);
    assert_non_null(
        strstr(payload, "\"optional\":{\"creator\":\"shoal\",\"timestamp\":1700000000}}"));
}

static void a_signature_image_is_read_back_and_checks(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL);
    struct trusted_key trusted = trusted_key(key, "shoal");
    struct signature_image image;
    assert_int_equal(signature_image_create(key, "r/hello", DIGEST, 0, NULL, 0, &image, NULL), 0);
    struct signature_entry *entries;
    size_t count;
    assert_int_equal(
        signature_entries_parse(image.manifest, image.manifest_length, &entries, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].payload_digest, image.payload_digest);
    assert_int_equal(entries[0].payload_size, image.payload_length);
    assert_string_equal(entries[0].key_id, trusted.id);
    assert_int_equal(signature_check(image.payload, image.payload_length, entries[0].signature,
                                     &trusted, 1, DIGEST, NULL, NULL),
                     0);
    signature_entries_free(entries, count);
    signature_image_release(&image);
    public_key_destroy(trusted.key);
    private_key_destroy(key);
}

static void the_manifest_is_an_oci_image_whose_config_lists_the_payload(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL);
    struct signature_image image;
    struct oci_manifest manifest = {0};
    assert_int_equal(signature_image_create(key, "r/hello", DIGEST, 0, NULL, 0, &image, NULL), 0);
    assert_int_equal(json_parse_record(&oci_manifest_record, image.manifest, image.manifest_length,
                                       JSON_STRICT, &manifest, NULL),
                     0);
    assert_string_equal(manifest.config.media_type, "application/vnd.oci.image.config.v1+json");
    assert_string_equal(manifest.config.digest, image.config_digest);
    assert_int_equal(manifest.config.size, image.config_length);
    assert_string_equal(manifest.layers[0].media_type, COSIGN_PAYLOAD_TYPE);
    assert_non_null(strstr(image.config, image.payload_digest));
    struct json_object *config = NULL;
    assert_int_equal(json_parse(image.config, image.config_length, &config, NULL), 0);
    json_object_put(config);
    json_record_release(&oci_manifest_record, &manifest);
    signature_image_release(&image);
    private_key_destroy(key);
}

static void a_second_key_adds_its_signature(void **state)
{
    (void)state;
    struct private_key *first = private_key_generate(NULL), *second = private_key_generate(NULL);
    struct trusted_key keys[] = {trusted_key(first, "a"), trusted_key(second, "b")};
    struct signature_image one, two;
    assert_int_equal(signature_image_create(first, "r/hello", DIGEST, 0, NULL, 0, &one, NULL), 0);
    assert_int_equal(signature_image_create(second, "r/hello", DIGEST, 0, one.manifest,
                                            one.manifest_length, &two, NULL),
                     0);
    struct signature_entry *entries;
    size_t count;
    assert_int_equal(
        signature_entries_parse(two.manifest, two.manifest_length, &entries, &count, NULL), 0);
    assert_int_equal(count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(entries[i].key_id, keys[i].id);
        assert_int_equal(signature_check(two.payload, two.payload_length, entries[i].signature,
                                         keys, 2, DIGEST, NULL, NULL),
                         i);
    }
    /* Without the first, the second is left. */
    struct json_strings dropped = {0};
    AUTO_FREE char *rest = NULL;
    json_strings_add(&dropped, entries[0].signature);
    assert_int_equal(
        signature_manifest_drop(two.manifest, two.manifest_length, &dropped, &rest, NULL), 0);
    json_strings_release(&dropped);
    signature_entries_free(entries, count);
    assert_int_equal(signature_entries_parse(rest, strlen(rest), &entries, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].key_id, keys[1].id);
    public_key_destroy(keys[0].key);
    public_key_destroy(keys[1].key);
    signature_entries_free(entries, count);
    signature_image_release(&one);
    signature_image_release(&two);
    private_key_destroy(first);
    private_key_destroy(second);
}

static char *sign(const struct private_key *key, const char *payload)
{
    unsigned char *der;
    size_t length = 0;
    assert_int_equal(signature_create(key, payload, strlen(payload), &der, &length, NULL), 0);
    char *text = base64_encode(der, length);
    free(der);
    return text;
}

static void assert_check_fails(const struct private_key *key, const struct trusted_key *trusted,
                               const char *signed_payload, const char *shown_payload,
                               const char *message)
{
    AUTO_FREE char *signature = sign(key, signed_payload);
    struct error error = ERROR_INIT;
    assert_true(signature_check(shown_payload, strlen(shown_payload), signature, trusted, 1, DIGEST,
                                NULL, &error) < 0);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

static void a_signature_counts_only_for_its_payload_key_digest_and_kind(void **state)
{
    (void)state;
    struct private_key *key = private_key_generate(NULL), *stranger = private_key_generate(NULL);
    struct trusted_key trusted = trusted_key(key, "shoal");
    AUTO_FREE char *good = signature_payload("r/hello", DIGEST, 0);
    AUTO_FREE char *other = signature_payload("r/hello", OTHER, 0);
    assert_check_fails(key, &trusted, other, good, "none of the 1 trusted keys");
    assert_check_fails(stranger, &trusted, good, good, "none of the 1 trusted keys");
    assert_check_fails(key, &trusted, other, other, "is for " OTHER);
    AUTO_FREE char *attestation = xasprintf(
        "{\"critical\":{\"image\":{\"docker-manifest-digest\":\"%s\"},\"type\":\"x\"}}", DIGEST);
    assert_check_fails(key, &trusted, attestation, attestation, "no container image signature");
    assert_check_fails(key, &trusted, "{}", "{}", "signature payload");
    assert_check_fails(key, &trusted, "not json", "not json", "signature payload");
    struct error error = ERROR_INIT;
    assert_int_equal(signature_check(good, strlen(good), "***", &trusted, 1, DIGEST, NULL, &error),
                     -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    public_key_destroy(trusted.key);
    private_key_destroy(key);
    private_key_destroy(stranger);
}

/* As cosign does it: its payload, signed by the OpenSSL tool, base64 in the annotation. */
static void a_signature_made_by_openssl_checks(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    AUTO_FREE char *script = xasprintf(
        "cd %s && openssl ecparam -name prime256v1 -genkey -noout -out key 2>/dev/null && "
        "openssl ec -in key -pubout -out pub 2>/dev/null && "
        "openssl dgst -sha256 -sign key payload | openssl base64 -A > signature",
        folder);
    AUTO_FREE char *payload = signature_payload("registry.example/hello", DIGEST, 0);
    write_file(folder, "payload", payload, strlen(payload));
    assert_int_equal(system(script), 0);
    AUTO_FREE char *pem_path = xasprintf("%s/pub", folder);
    AUTO_FREE char *signature_path = xasprintf("%s/signature", folder);
    AUTO_FREE char *pem = NULL;
    AUTO_FREE char *signature = NULL;
    size_t length = 0;
    assert_int_equal(file_read(pem_path, 4096, &pem, &length, NULL), 0);
    assert_int_equal(file_read(signature_path, 4096, &signature, NULL, NULL), 0);
    struct trusted_key trusted;
    assert_int_equal(trusted_key_parse("openssl", pem, length, &trusted, NULL), 0);
    assert_int_equal(
        signature_check(payload, strlen(payload), signature, &trusted, 1, DIGEST, NULL, NULL), 0);
    public_key_destroy(trusted.key);
    remove_folder(folder);
}

static void only_signature_layers_of_sane_size_are_listed(void **state)
{
    (void)state;
#define LAYER(type, size, annotations)                                                             \
    "{\"mediaType\":\"" type "\",\"digest\":\"" DIGEST "\",\"size\":" size annotations "}"
#define SIGNED ",\"annotations\":{\"" COSIGN_SIGNATURE_ANNOTATION "\":\"AAAA\""
    static const char manifest[] =
        "{\"schemaVersion\":2,\"layers\":[" LAYER("text/plain", "5", SIGNED "}") "," LAYER(
            COSIGN_PAYLOAD_TYPE, "5",
            "") "," LAYER(COSIGN_PAYLOAD_TYPE, "99999999",
                          SIGNED "}") "," LAYER(COSIGN_PAYLOAD_TYPE, "5",
                                                SIGNED ",\"" SIGNATURE_KEY_ANNOTATION
                                                       "\":\"\\u001b[2J\"}") "]}";
    struct signature_entry *entries;
    size_t count;
    assert_int_equal(signature_entries_parse(manifest, strlen(manifest), &entries, &count, NULL),
                     0);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].signature, "AAAA");
    assert_string_equal(entries[0].key_id, "");
    signature_entries_free(entries, count);
    assert_int_equal(signature_entries_parse("[]", 2, &entries, &count, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tag_is_made_of_the_digest),
        cmocka_unit_test(the_payload_has_cosigns_exact_bytes),
        cmocka_unit_test(the_time_is_what_the_signer_says_in_any_form_in_use),
        cmocka_unit_test(a_signature_image_is_read_back_and_checks),
        cmocka_unit_test(the_manifest_is_an_oci_image_whose_config_lists_the_payload),
        cmocka_unit_test(a_second_key_adds_its_signature),
        cmocka_unit_test(a_signature_counts_only_for_its_payload_key_digest_and_kind),
        cmocka_unit_test(a_signature_made_by_openssl_checks),
        cmocka_unit_test(only_signature_layers_of_sane_size_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
