/* What a domain's metadata says of a microVM: what is taken is whole, and reads back the same. */
#include "agent/host/domain_metadata.h"
#include "lib/buffer.h"
#include "lib/crypto.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct domain_metadata metadata, again;
    struct microvm_spec spec = {0};
    AUTO_BUFFER struct buffer written = {0};
    AUTO_FREE char *text = xstrndup((const char *)bytes, length);
    if (domain_metadata_parse(text, &metadata) < 0)
        return 0;
    const struct microvm_identity *identity = &metadata.identity;
    EXPECT(strlen(identity->id) == INSTANCE_ID_MAX - 1);
    EXPECT(strlen(metadata.owner) == DOMAIN_OWNER_MAX - 1);
    EXPECT(digest_is_valid(identity->image));
    EXPECT(identity->kernel[0] == '\0' || digest_is_valid(identity->kernel));
    memcpy(spec.id, identity->id, sizeof spec.id);
    memcpy(spec.kernel, identity->kernel, sizeof spec.kernel);
    memcpy(spec.image, identity->image, sizeof spec.image);
    memcpy(spec.address, identity->address, sizeof spec.address);
    memcpy(spec.family, identity->family, sizeof spec.family);
    domain_metadata_append(&spec, metadata.owner, &written);
    if (strpbrk(identity->address, "'\">") != NULL || strpbrk(identity->family, "'\">") != NULL)
        return 0; /* they are written as entities, which are not read */
    EXPECT(domain_metadata_parse(buffer_text(&written), &again) == 0);
    EXPECT(strcmp(again.identity.id, identity->id) == 0);
    EXPECT(strcmp(again.identity.address, identity->address) == 0);
    EXPECT(strcmp(again.identity.family, identity->family) == 0);
    return 0;
}
