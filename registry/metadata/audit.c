/* All there is, for checks and backups. */
#include <string.h>

#include "lib/text.h"
#include "registry/metadata/metadata_internal.h"

#define PAGE 512

int metadata_read_totals(struct metadata *metadata, struct metadata_totals *ret_totals,
                         struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int found = -1;
    struct database_statement *read = connection_prepare(connection, TOTALS, error);
    if (read != NULL && (found = database_step(read, error)) == 1) {
        *ret_totals = (struct metadata_totals){
            .repositories = (uint64_t)database_column_int(read, 0),
            .used = (uint64_t)database_column_int(read, 1),
            .uploads = (uint64_t)database_column_int(read, 2),
        };
        database_reset(read);
    }
    readers_give(metadata->readers, connection);
    return found == 1 ? 0 : -1;
}

/* The first column of the rows that `which` finds for a text and a limit. */
static int list_texts(struct metadata *metadata, enum statement which, const char *first,
                      uint64_t limit, struct json_strings *ret_texts, struct error *error)
{
    struct json_strings texts = {0};
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int found = -1;
    struct database_statement *list = connection_bind(connection, which, first, NULL, error);
    if (list != NULL) {
        database_bind_int(list, 2, (int64_t)limit);
        while ((found = database_step(list, error)) == 1)
            json_strings_add(&texts, database_column_text(list, 0));
    }
    readers_give(metadata->readers, connection);
    if (found < 0)
        json_strings_release(&texts);
    else
        *ret_texts = texts;
    return found;
}

int metadata_each_digest(struct metadata *metadata, int (*each)(const char *digest, void *data),
                         void *data, struct error *error)
{
    char last[DIGEST_ANY_MAX] = "";
    size_t count;
    int result;
    do {
        struct json_strings digests = {0};
        result = list_texts(metadata, LIST_DIGESTS, last, PAGE, &digests, error);
        for (size_t i = 0; result == 0 && i < digests.count; i++)
            result = each(digests.items[i], data);
        count = digests.count;
        if (count > 0)
            text_copy(last, sizeof last, digests.items[count - 1]);
        json_strings_release(&digests);
    } while (result == 0 && count == PAGE);
    return result;
}

int metadata_list_users(struct metadata *metadata, const char *digest, uint64_t limit,
                        struct json_strings *ret_images, struct error *error)
{
    return list_texts(metadata, LIST_USERS, digest, limit, ret_images, error);
}

static void check_row(struct database_statement *row, struct metadata_check *ret_check)
{
    enum digest_algorithm algorithm;
    char actual[DIGEST_ANY_MAX] = "";
    size_t length;
    const void *bytes = database_column_blob(row, 3, &length);
    ret_check->id = (uint64_t)database_column_int(row, 0);
    text_copy(ret_check->repository, sizeof ret_check->repository, database_column_text(row, 1));
    text_copy(ret_check->digest, sizeof ret_check->digest, database_column_text(row, 2));
    ret_check->size = length;
    if (digest_parse(ret_check->digest, &algorithm))
        digest_of_bytes_as(algorithm, bytes != NULL ? bytes : "", length, actual);
    ret_check->is_whole = strcmp(actual, ret_check->digest) == 0;
}

int metadata_check_manifest(struct metadata *metadata, uint64_t last,
                            struct metadata_check *ret_check, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int found = -1;
    struct database_statement *next = connection_prepare(connection, NEXT_MANIFEST, error);
    if (next != NULL) {
        database_bind_int(next, 1, (int64_t)last);
        found = database_step(next, error);
        if (found == 1) {
            check_row(next, ret_check);
            database_reset(next);
        }
    }
    readers_give(metadata->readers, connection);
    return found;
}
