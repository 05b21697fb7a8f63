/* Backups of the scheduler's store: what is read of one is written and read alike. */
#include <sys/mman.h>
#include <unistd.h>

#include "scheduler/store_copy.h"
#include "tests/fuzz/fuzz.h"

/* Reads the file to its end; -1: it is no whole copy. `copy` may be NULL. */
static int read_all(const char *path, struct store_copy_header *ret_header, struct store_copy *copy,
                    size_t *ret_documents)
{
    struct store_copy_reader *reader;
    struct error error = ERROR_INIT;
    const char *key, *document;
    int found;
    *ret_documents = 0;
    if (store_copy_open(path, &reader, ret_header, &error) < 0) {
        EXPECT(error.code != ERROR_NONE && error.message[0] != '\0');
        return -1;
    }
    if (copy != NULL)
        EXPECT(store_copy_begin(copy, &ret_header->identity, ret_header->revision, NULL) == 0);
    while ((found = store_copy_next(reader, &key, &document, &error)) > 0) {
        (*ret_documents)++;
        EXPECT(key[0] != '\0' && strlen(key) < STORE_KEY_MAX && document[0] != '\0');
        if (copy != NULL)
            EXPECT(store_copy_add(copy, key, document, NULL) == 0);
    }
    store_copy_close(reader);
    EXPECT(found == 0 || error.message[0] != '\0');
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct store_copy_header header = {0}, again = {0};
    struct store_copy *copy;
    size_t documents, documents_again;
    char path[64], written[64];
    int file = memfd_create("backup", MFD_CLOEXEC);
    EXPECT(file >= 0 && write(file, bytes, length) == (ssize_t)length);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    snprintf(written, sizeof written, "/tmp/shoal-fuzz-backup.%d", (int)getpid());
    if (read_all(path, &header, NULL, &documents) == 0) {
        EXPECT(store_copy_create(written, &copy, NULL) == 0);
        EXPECT(read_all(path, &header, copy, &documents) == 0);
        EXPECT(store_copy_finish(copy, NULL) == 0);
        /* A number as large as it may be in JSON may read otherwise; the documents do not. */
        EXPECT(read_all(written, &again, NULL, &documents_again) == 0);
        EXPECT(documents == documents_again);
        EXPECT(strcmp(header.identity.cluster, again.identity.cluster) == 0 &&
               header.identity.term == again.identity.term && header.revision == again.revision);
        unlink(written);
    }
    close(file);
    return 0;
}
