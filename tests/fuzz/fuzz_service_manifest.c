/* Service manifests as users write them: what is refused is refused with its place, and what is
 * accepted is what the scheduler reads in its JSON form. */
#include "lib/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_service(const struct manifest *manifest, size_t index)
{
    const struct api_service_spec *spec = manifest_spec(manifest, index);
    AUTO_FREE char *sent = json_text(manifest_document(manifest, index));
    AUTO_JSON struct json_object *object = NULL;
    struct api_service_spec again;
    struct error error = ERROR_INIT;
    EXPECT(json_parse(sent, strlen(sent), &object, &error) == 0);
    EXPECT(api_service_spec_decode(object, &again, &error) == 0);
    AUTO_FREE char *one = json_record_text(&api_service_spec_record, spec);
    AUTO_FREE char *other = json_record_text(&api_service_spec_record, &again);
    EXPECT(strcmp(one, other) == 0);
    EXPECT(spec->service[0] != '\0' && spec->namespace_name[0] != '\0' && spec->image[0] != '\0');
    api_service_spec_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = xmemdup(bytes, length);
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    if (manifest_parse("m.yaml", text, length, "default", &manifest, &error) < 0) {
        EXPECT(strncmp(error.message, "m.yaml", 6) == 0 && error.code != ERROR_INTERNAL);
        EXPECT(manifest == NULL);
        return 0;
    }
    for (size_t i = 0; i < manifest_count(manifest); i++)
        check_service(manifest, i);
    manifest_destroy(manifest);
    return 0;
}
