/* What may be attached to an image, and what of it is signed. */
#include "tests/unit/image-format/fixture.h"

#include "image-format/attachment.h"

#define HEX    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX
#define SLSA   "{\"buildDefinition\":{},\"runDetails\":{}}"
#define STATEMENT(hex, type, predicate)                                                            \
    "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"digest\":{\"sha256\":\"" hex   \
    "\"}}],\"predicateType\":\"" type "\",\"predicate\":" predicate "}"

static void documents_are_known_by_what_they_must_have(void **state)
{
    (void)state;
    static const struct {
        enum attachment_type type;
        const char *text;
        const char *media_type, *predicate_type;
    } cases[] = {
        {ATTACHMENT_SPDX, "{\"spdxVersion\":\"SPDX-2.3\"}", "application/spdx+json",
         "https://spdx.dev/Document"},
        {ATTACHMENT_SPDX, "{\"@context\":\"https://spdx.org/rdf/3.0.1/spdx-context.jsonld\"}",
         "application/spdx+json", "https://spdx.dev/Document"},
        {ATTACHMENT_CYCLONEDX, "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.6\"}",
         "application/vnd.cyclonedx+json", "https://cyclonedx.org/bom"},
        {ATTACHMENT_SLSA, SLSA, "application/vnd.in-toto+json", "https://slsa.dev/provenance/v1"},
        {ATTACHMENT_SLSA, STATEMENT(HEX, "https://slsa.dev/provenance/v1", SLSA),
         "application/vnd.in-toto+json", "https://slsa.dev/provenance/v1"},
        {ATTACHMENT_SLSA, STATEMENT(HEX, "https://slsa.dev/provenance/v0.2", "{}"),
         "application/vnd.in-toto+json", "https://slsa.dev/provenance/v0.2"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct attachment attachment;
        struct bundle_claims claims;
        struct error error = ERROR_INIT;
        if (attachment_read(cases[i].type, cases[i].text, strlen(cases[i].text), DIGEST,
                            &attachment, &error) < 0)
            fail_msg("%s: %s", cases[i].text, error.message);
        assert_string_equal(attachment.media_type, cases[i].media_type);
        assert_string_equal(attachment.predicate_type, cases[i].predicate_type);
        assert_int_equal(bundle_check_statement(attachment.statement, strlen(attachment.statement),
                                                DIGEST, &claims, NULL),
                         0);
        assert_string_equal(claims.predicate_type, cases[i].predicate_type);
        assert_non_null(attachment_describe(attachment.media_type));
        assert_non_null(attachment_describe(attachment.predicate_type));
        attachment_release(&attachment);
    }
}

static void an_sbom_is_pushed_byte_for_byte(void **state)
{
    (void)state;
    static const char text[] = "{ \"spdxVersion\":\n\"SPDX-2.2\" }\n";
    struct attachment attachment;
    assert_int_equal(
        attachment_read(ATTACHMENT_SPDX, text, strlen(text), DIGEST, &attachment, NULL), 0);
    assert_string_equal(attachment.content, text);
    assert_non_null(strstr(attachment.statement, text));
    attachment_release(&attachment);
}

static void what_is_not_as_it_is_called_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum attachment_type type;
        const char *text, *message;
    } cases[] = {
        {ATTACHMENT_SPDX, "{}", "no SPDX document"},
        {ATTACHMENT_SPDX, "{\"spdxVersion\":2}", "no SPDX document"},
        {ATTACHMENT_SPDX, "[]", "not a JSON object"},
        {ATTACHMENT_SPDX, "null", "not a JSON object"},
        {ATTACHMENT_SPDX, "SPDXVersion: SPDX-2.3", "not valid JSON"},
        {ATTACHMENT_SPDX, "{\"spdxVersion\":\"SPDX-2.3\",\"a\":{\"b\":1,\"b\":2}}", "a key twice"},
        {ATTACHMENT_CYCLONEDX, "{\"bomFormat\":\"CycloneDX\"}", "no CycloneDX document"},
        {ATTACHMENT_CYCLONEDX, "{\"bomFormat\":\"SPDX\",\"specVersion\":\"1\"}",
         "no CycloneDX document"},
        {ATTACHMENT_SLSA, "{\"buildDefinition\":{}}", "no SLSA v1 provenance"},
        {ATTACHMENT_SLSA, STATEMENT(HEX, "https://slsa.dev/provenance/v1", "[]"),
         "no SLSA v1 provenance"},
        {ATTACHMENT_SLSA, STATEMENT(HEX, "https://slsa.dev/provenance/v1", "{}"),
         "no SLSA v1 provenance"},
        {ATTACHMENT_SLSA, STATEMENT(HEX, "https://cyclonedx.org/bom", "{}"),
         "predicate is \"https://cyclonedx.org/bom\""},
        {ATTACHMENT_SLSA, STATEMENT("00", "https://slsa.dev/provenance/v1", SLSA),
         "is for sha256:00, not for " DIGEST},
        {ATTACHMENT_SLSA, "{\"_type\":\"x\"}", "in-toto statement"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct attachment attachment = {.media_type = "untouched"};
        struct error error = ERROR_INIT;
        assert_int_equal(attachment_read(cases[i].type, cases[i].text, strlen(cases[i].text),
                                         DIGEST, &attachment, &error),
                         -1);
        assert_int_equal(error.code, ERROR_INVALID);
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("expected \"%s\" in \"%s\"", cases[i].message, error.message);
        assert_string_equal(attachment.media_type, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_known_by_what_they_must_have),
        cmocka_unit_test(an_sbom_is_pushed_byte_for_byte),
        cmocka_unit_test(what_is_not_as_it_is_called_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
