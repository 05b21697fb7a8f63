/* What daemons say to each other and what the scheduler's store holds: whatever is read is written
 * and read alike, and a copy is the same. What a sender always says and this one left out may be
 * refused when it is read again. The first line names the message. */
#include "lib/api/agent.h"
#include "lib/api/figures.h"
#include "lib/api/images.h"
#include "lib/api/views.h"
#include "lib/api/volumes.h"
#include "scheduler/documents.h"
#include "tests/fuzz/fuzz.h"

static const struct {
    const char *name;
    const struct json_record *record;
} messages[] = {
    {"join", &api_join_record},
    {"join_answer", &api_join_answer_record},
    {"status", &api_status_record},
    {"status_answer", &api_status_answer_record},
    {"node_request", &api_node_request_record},
    {"assignment", &api_assignment_record},
    {"node_images", &api_node_images_record},
    {"endpoints", &api_endpoints_record},
    {"trust", &api_trust_record},
    {"scale", &api_scale_request_record},
    {"rollback", &api_rollback_request_record},
    {"change_answer", &api_change_answer_record},
    {"service_view", &api_service_view_record},
    {"instance_view", &api_instance_view_record},
    {"node_view", &api_node_view_record},
    {"cluster_stats", &api_cluster_stats_record},
    {"instance_stats", &api_instance_stats_record},
    {"verdict_request", &api_verdict_request_record},
    {"node_volumes", &api_node_volumes_record},
    {"volumes", &api_volumes_record},
};

/* Documents are called by the prefix of their keys. */
static const struct json_record *find_record(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++) {
        if (strcmp(messages[i].name, name) == 0)
            return messages[i].record;
    }
    for (enum document_kind kind = 0; kind < DOCUMENT_KINDS; kind++) {
        if (strcmp(document_prefix(kind), name) == 0)
            return document_record(kind);
    }
    return NULL;
}

static void expect_same(const struct json_record *record, const void *value, const char *text)
{
    AUTO_FREE char *again = json_record_text(record, value);
    EXPECT(strcmp(text, again) == 0);
}

static void check_read_again(const struct json_record *record, const void *value)
{
    AUTO_FREE char *text = json_record_text(record, value);
    AUTO_FREE void *again = xcalloc(1, record->size);
    AUTO_FREE void *copy = xcalloc(1, record->size);
    struct error error = ERROR_INIT;
    if (json_parse_record(record, text, strlen(text), JSON_LENIENT, again, &error) < 0)
        EXPECT(error.code == ERROR_INVALID);
    else
        expect_same(record, again, text);
    json_record_copy(record, value, copy);
    expect_same(record, copy, text);
    json_record_release(record, again);
    json_record_release(record, copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *name = fuzz_line(&bytes, &length);
    AUTO_FREE char *text = xmemdup(bytes, length);
    const struct json_record *record = find_record(name);
    struct error error = ERROR_INIT;
    if (record == NULL)
        return 0;
    AUTO_FREE void *value = xcalloc(1, record->size);
    if (json_parse_record(record, text, length, JSON_LENIENT, value, &error) < 0) {
        EXPECT(error.message[0] != '\0' && error.code != ERROR_INTERNAL);
        return 0;
    }
    check_read_again(record, value);
    json_record_release(record, value);
    return 0;
}
