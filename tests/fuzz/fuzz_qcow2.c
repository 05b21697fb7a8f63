/* Headers of qcow2 disks: what is taken names no other file, and has a size. */
#include "image-format/qcow2.h"
#include "tests/fuzz/fuzz.h"

static bool is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE uint8_t *exact = xmemdup(bytes, length);
    struct error error = ERROR_INIT;
    uint64_t size = 0;
    size_t seen = length < QCOW2_HEAD_MAX ? length : QCOW2_HEAD_MAX;
    if (qcow2_check(exact, seen, length, &size, &error) < 0) {
        EXPECT(error.message[0] != '\0' && size == 0);
        return 0;
    }
    EXPECT(qcow2_is(exact, length) && length >= 80);
    EXPECT(size > 0 && size <= QCOW2_SIZE_MAX);
    EXPECT(is_zero(exact + 8, 12));                   /* backing file */
    EXPECT(is_zero(exact + 32, 4));                   /* encryption */
    EXPECT(is_zero(exact + 60, 4));                   /* snapshots */
    EXPECT(exact[7] == 2 || (exact[79] & 0x07) == 0); /* dirty, corrupt, data file */
    return 0;
}
