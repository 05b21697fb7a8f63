/* Lists: repositories, tags, referrers, uploads. */
#include "lib/cleanup.h"
#include "registry/metadata/metadata_internal.h"

int metadata_has_repository(struct metadata *metadata, const char *repository, struct error *error)
{
    return metadata_look(metadata, HAS_REPOSITORY, repository, NULL, error);
}

int metadata_get_used(struct metadata *metadata, const char *repository, uint64_t *ret_bytes,
                      struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    int result = metadata_read_used(connection, repository, ret_bytes, error);
    readers_give(metadata->readers, connection);
    return result;
}

/* Collects the first column of every row. */
static int collect(struct database_statement *statement, struct json_strings *ret_names,
                   struct error *error)
{
    struct json_strings names = {0};
    int result;
    while ((result = database_step(statement, error)) == 1)
        json_strings_add(&names, database_column_text(statement, 0));
    if (result < 0)
        json_strings_release(&names);
    else
        *ret_names = names;
    return result;
}

int metadata_list_tags(struct metadata *metadata, const char *repository, const char *last,
                       uint64_t limit, struct json_strings *ret_names, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *list =
        connection_bind(connection, LIST_TAGS, repository, last, error);
    int result = -1;
    if (list != NULL) {
        database_bind_int(list, 3, (int64_t)limit);
        result = collect(list, ret_names, error);
    }
    readers_give(metadata->readers, connection);
    return result;
}

int metadata_list_repositories(struct metadata *metadata, const char *last, uint64_t limit,
                               struct json_strings *ret_names, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *list =
        connection_bind(connection, LIST_REPOSITORIES, last, NULL, error);
    int result = -1;
    if (list != NULL) {
        database_bind_int(list, 2, (int64_t)limit);
        result = collect(list, ret_names, error);
    }
    readers_give(metadata->readers, connection);
    return result;
}

int metadata_list_uploads(struct metadata *metadata, uint64_t created, const char *last,
                          uint64_t limit, struct json_strings *ret_ids, struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *list = connection_bind(connection, LIST_UPLOADS, last, NULL, error);
    int result = -1;
    if (list != NULL) {
        database_bind_int(list, 2, (int64_t)created);
        database_bind_int(list, 3, (int64_t)limit);
        result = collect(list, ret_ids, error);
    }
    readers_give(metadata->readers, connection);
    return result;
}

static int each_tag(struct database_statement *rows,
                    bool (*each)(const struct metadata_tag *tag, void *data), void *data,
                    struct error *error)
{
    int result;
    while ((result = database_step(rows, error)) == 1) {
        const struct metadata_tag tag = {.name = database_column_text(rows, 0),
                                         .digest = database_column_text(rows, 1),
                                         .set_at = (uint64_t)database_column_int(rows, 2)};
        if (each(&tag, data))
            continue;
        database_reset(rows);
        return 0;
    }
    return result;
}

int metadata_each_tag(struct metadata *metadata, const char *repository,
                      bool (*each)(const struct metadata_tag *tag, void *data), void *data,
                      struct error *error)
{
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *rows =
        connection_bind(connection, EACH_TAG, repository, NULL, error);
    int result = rows == NULL ? -1 : each_tag(rows, each, data, error);
    readers_give(metadata->readers, connection);
    return result;
}

static int each_referrer(struct database_statement *rows,
                         bool (*each)(const struct metadata_referrer *referrer, void *data),
                         void *data, struct error *error)
{
    int result;
    while ((result = database_step(rows, error)) == 1) {
        const struct metadata_referrer referrer = {
            .digest = database_column_text(rows, 0),
            .media_type = database_column_text(rows, 1),
            .size = (uint64_t)database_column_int(rows, 2),
            .artifact_type = database_column_text(rows, 3),
            .annotations = database_column_text(rows, 4),
            .id = (uint64_t)database_column_int(rows, 5),
        };
        if (each(&referrer, data))
            continue;
        database_reset(rows);
        return 0;
    }
    return result;
}

int metadata_list_referrers(struct metadata *metadata, const char *repository, const char *subject,
                            const char *artifact_type, uint64_t last,
                            bool (*each)(const struct metadata_referrer *referrer, void *data),
                            void *data, struct error *error)
{
    enum statement which = artifact_type != NULL ? LIST_REFERRERS_OF_TYPE : LIST_REFERRERS;
    struct connection *connection = readers_take(metadata->readers, error);
    if (connection == NULL)
        return -1;
    struct database_statement *rows =
        connection_bind(connection, which, repository, subject, error);
    int result = -1;
    if (rows != NULL) {
        database_bind_int(rows, 3, (int64_t)last);
        if (artifact_type != NULL)
            database_bind_text(rows, 4, artifact_type);
        result = each_referrer(rows, each, data, error);
    }
    readers_give(metadata->readers, connection);
    return result;
}
