/* A chunk's Content-Range: where it begins and ends, and no number that could overflow. */
#include "registry/byte_range.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *header = fuzz_text(bytes, length);
    uint64_t start = 7, end = 8;
    if (!byte_range_parse_chunk(header, &start, &end)) {
        EXPECT(start == 7 && end == 8);
        return 0;
    }
    EXPECT(start < end && end <= (uint64_t)INT64_MAX + 1);
    AUTO_FREE char *again =
        xasprintf("%llu-%llu", (unsigned long long)start, (unsigned long long)(end - 1));
    uint64_t start_again = 0, end_again = 0;
    EXPECT(byte_range_parse_chunk(again, &start_again, &end_again));
    EXPECT(start_again == start && end_again == end);
    return 0;
}
