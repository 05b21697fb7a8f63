/* A request's Range: what it yields lies within the body. The first line is the body's size. */
#include "registry/byte_range.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *first = fuzz_line(&bytes, &length);
    AUTO_FREE char *header = fuzz_text(bytes, length);
    uint64_t size = strtoull(first, NULL, 10), offset = 7, part = 8;
    enum byte_range range = byte_range_parse(header, size, &offset, &part);
    if (range != BYTE_RANGE_PART) {
        EXPECT(offset == 7 && part == 8);
        return 0;
    }
    EXPECT(part > 0 && part <= size && offset < size && offset <= size - part);
    /* The part that was chosen, asked for by its own numbers, is the same part. */
    AUTO_FREE char *again = xasprintf("bytes=%llu-%llu", (unsigned long long)offset,
                                      (unsigned long long)(offset + part - 1));
    uint64_t offset_again = 0, part_again = 0;
    if (offset + part - 1 <= INT64_MAX) {
        EXPECT(byte_range_parse(again, size, &offset_again, &part_again) == BYTE_RANGE_PART);
        EXPECT(offset_again == offset && part_again == part);
    }
    return 0;
}
