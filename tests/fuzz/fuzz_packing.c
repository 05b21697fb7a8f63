/* Layers of other tools' images: whatever the bytes are, at most the wanted files come out. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_WANTED 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_CLOSE int kernel = memfd_create("kernel", MFD_CLOEXEC);
    AUTO_CLOSE int initrd = memfd_create("initrd", MFD_CLOEXEC);
    AUTO_CLOSE int stream = memfd_create("stream", MFD_CLOEXEC);
    struct packing_wanted wanted[] = {
        {.path = "/unikraft/bin/kernel", .to = kernel, .size_max = SIZE_MAX_WANTED},
        {.path = "/unikraft/bin/initrd", .to = initrd, .size_max = SIZE_MAX_WANTED},
    };
    uint64_t total = PACKING_TOTAL_MAX;
    if (packing_extract_bytes(data, size, &total, wanted, 2, NULL) == 0) {
        for (int i = 0; i < 2; i++)
            EXPECT(wanted[i].size <= SIZE_MAX_WANTED &&
                   lseek(wanted[i].to, 0, SEEK_END) <= SIZE_MAX_WANTED);
    }
    if (write(stream, data, size) == (ssize_t)size && lseek(stream, 0, SEEK_SET) == 0) {
        AUTO_CLOSE int out = memfd_create("out", MFD_CLOEXEC);
        if (packing_unpack_zstd(stream, 100, out, NULL, NULL) == 0)
            EXPECT(lseek(out, 0, SEEK_END) == 100);
    }
    return 0;
}
