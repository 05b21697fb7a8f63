/* What an S3 endpoint answers, read as each of the answers that are known. */
#include "registry/storage/s3_xml.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct s3_failure failure;
    struct s3_page page;
    AUTO_FREE char *id = NULL;
    if (s3_xml_read_failure(bytes, length, &failure)) {
        EXPECT(failure.code[0] != '\0');
        EXPECT(strlen(failure.code) < sizeof failure.code);
        EXPECT(strlen(failure.message) < sizeof failure.message);
        EXPECT(s3_xml_check_root(bytes, length, "CopyObjectResult", NULL) < 0);
    }
    if (s3_xml_read_upload_id(bytes, length, &id, NULL) == 0)
        EXPECT(id[0] != '\0');
    if (s3_xml_read_page(bytes, length, &page, NULL) == 0) {
        EXPECT(page.next == NULL || page.next[0] != '\0');
        for (size_t i = 0; i < page.count; i++)
            EXPECT(page.objects[i].key != NULL && page.objects[i].size <= INT64_MAX);
        s3_page_release(&page);
    }
    return 0;
}
