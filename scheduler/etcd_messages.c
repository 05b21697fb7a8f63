#include "scheduler/etcd_messages.h"

#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* google.golang.org/grpc/codes, which the gateway puts beside the message. */
enum grpc_code {
    GRPC_CANCELED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

/* --- reading members --- */

static struct json_object *member(struct json_object *object, const char *key, enum json_type type)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
        return NULL;
    return value;
}

static const char *member_text(struct json_object *object, const char *key)
{
    struct json_object *value = member(object, key, json_type_string);
    return value != NULL ? json_object_get_string(value) : NULL;
}

static uint64_t member_number(struct json_object *object, const char *key)
{
    const char *text = member_text(object, key);
    uint64_t number;
    return text != NULL && text_parse_u64(text, INT64_MAX, &number) ? number : 0;
}

static bool member_bool(struct json_object *object, const char *key)
{
    return json_object_get_boolean(member(object, key, json_type_boolean));
}

/* A member that is absent is empty. */
static int member_bytes(struct json_object *object, const char *key, char **ret_text,
                        struct error *error)
{
    unsigned char *bytes = NULL;
    size_t length = 0;
    const char *encoded = member_text(object, key);
    if (encoded == NULL)
        encoded = "";
    if (!base64_decode(encoded, &bytes, &length))
        return error_set(error, ERROR_PROTOCOL, "etcd's answer: its \"%s\" is not base64", key);
    if (memchr(bytes, '\0', length) != NULL) {
        free(bytes);
        return error_set(error, ERROR_PROTOCOL, "etcd's answer: its \"%s\" has a NUL byte", key);
    }
    *ret_text = (char *)bytes;
    return 0;
}

static void copy_lease(char ret_lease[ETCD_LEASE_MAX], struct json_object *object, const char *key)
{
    const char *text = member_text(object, key);
    uint64_t number;
    if (text != NULL && text_parse_u64(text, INT64_MAX, &number))
        text_copy(ret_lease, ETCD_LEASE_MAX, text);
}

static int decode_pair(struct json_object *object, struct etcd_pair *ret_pair, struct error *error)
{
    struct etcd_pair pair = {0};
    if (!json_object_is_type(object, json_type_object))
        return error_set(error, ERROR_PROTOCOL, "etcd's answer: a key without an object");
    if (member_bytes(object, "key", &pair.key, error) < 0)
        return -1;
    if (member_bytes(object, "value", &pair.value, error) < 0) {
        free(pair.key);
        return -1;
    }
    pair.create_revision = member_number(object, "create_revision");
    pair.revision = member_number(object, "mod_revision");
    copy_lease(pair.lease, object, "lease");
    *ret_pair = pair;
    return 0;
}

static void release_pairs(struct etcd_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
    }
    free(pairs);
}

/* --- answers --- */

static int decode_pairs(struct json_object *list, struct etcd_answer *answer, struct error *error)
{
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    answer->pairs = xcalloc(count + 1, sizeof *answer->pairs);
    for (size_t i = 0; i < count; i++) {
        if (decode_pair(json_object_array_get_idx(list, i), &answer->pairs[i], error) < 0)
            return -1;
        answer->pair_count++;
    }
    return 0;
}

/* Each read asked for one key: its pair, or an empty one. */
static int decode_reads(struct json_object *list, struct etcd_answer *answer, struct error *error)
{
    size_t count = json_object_array_length(list);
    answer->pairs = xcalloc(count + 1, sizeof *answer->pairs);
    for (size_t i = 0; i < count; i++) {
        struct json_object *response = json_object_array_get_idx(list, i);
        struct json_object *range = member(response, "response_range", json_type_object);
        if (range == NULL)
            continue;
        struct json_object *found = member(range, "kvs", json_type_array);
        struct etcd_pair *pair = &answer->pairs[answer->pair_count++];
        if (found != NULL && json_object_array_length(found) > 0 &&
            decode_pair(json_object_array_get_idx(found, 0), pair, error) < 0)
            return -1;
    }
    return 0;
}

static int parse_object(const char *text, size_t length, struct json_object **ret_object,
                        struct error *error)
{
    if (json_parse(text, length, ret_object, error) < 0) {
        if (error != NULL)
            error->code = ERROR_PROTOCOL;
        return error_wrap(error, "etcd's answer");
    }
    if (json_object_is_type(*ret_object, json_type_object))
        return 0;
    return error_set(error, ERROR_PROTOCOL, "etcd's answer is not a JSON object");
}

int etcd_answer_decode(const char *text, size_t length, struct etcd_answer *ret_answer,
                       struct error *error)
{
    AUTO_JSON struct json_object *whole = NULL;
    struct etcd_answer answer = {0};
    if (parse_object(text, length, &whole, error) < 0)
        return -1;
    /* What is a stream in gRPC comes wrapped. */
    struct json_object *object = member(whole, "result", json_type_object);
    if (object == NULL)
        object = whole;
    struct json_object *header = member(object, "header", json_type_object);
    if (header == NULL)
        return error_set(error, ERROR_PROTOCOL,
                         "etcd's answer has no header: is this etcd 3.4 or "
                         "later, and its JSON gateway on?");
    answer.revision = member_number(header, "revision");
    answer.succeeded = member_bool(object, "succeeded");
    answer.more = member_bool(object, "more");
    answer.ttl_s = member_number(object, "TTL");
    copy_lease(answer.lease, object, "ID");
    struct json_object *responses = member(object, "responses", json_type_array);
    int result = responses != NULL
                     ? decode_reads(responses, &answer, error)
                     : decode_pairs(member(object, "kvs", json_type_array), &answer, error);
    if (result < 0) {
        etcd_answer_release(&answer);
        return -1;
    }
    *ret_answer = answer;
    return 0;
}

void etcd_answer_release(struct etcd_answer *answer)
{
    release_pairs(answer->pairs, answer->pair_count);
    *answer = (struct etcd_answer){0};
}

/* --- watches --- */

static int decode_events(struct json_object *list, struct etcd_watch_message *message,
                         struct error *error)
{
    size_t count = list != NULL ? json_object_array_length(list) : 0;
    message->events = xcalloc(count + 1, sizeof *message->events);
    for (size_t i = 0; i < count; i++) {
        struct json_object *event = json_object_array_get_idx(list, i);
        struct etcd_pair *pair = &message->events[i];
        const char *type = member_text(event, "type");
        if (decode_pair(member(event, "kv", json_type_object), pair, error) < 0)
            return -1;
        message->event_count++;
        pair->removed = type != NULL && strcmp(type, "DELETE") == 0;
    }
    return 0;
}

int etcd_watch_decode(const char *text, size_t length, struct etcd_watch_message *ret_message,
                      struct error *error)
{
    AUTO_JSON struct json_object *whole = NULL;
    struct etcd_watch_message message = {0};
    if (parse_object(text, length, &whole, error) < 0)
        return -1;
    struct json_object *object = member(whole, "result", json_type_object);
    if (object == NULL)
        return error_set(error, ERROR_PROTOCOL, "etcd ended a watch: %.200s",
                         json_object_to_json_string(whole));
    message.revision = member_number(member(object, "header", json_type_object), "revision");
    message.canceled = member_bool(object, "canceled");
    message.fragment = member_bool(object, "fragment");
    message.compact_revision = member_number(object, "compact_revision");
    if (decode_events(member(object, "events", json_type_array), &message, error) < 0) {
        etcd_watch_release(&message);
        return -1;
    }
    *ret_message = message;
    return 0;
}

void etcd_watch_release(struct etcd_watch_message *message)
{
    release_pairs(message->events, message->event_count);
    *message = (struct etcd_watch_message){0};
}

/* --- errors --- */

static enum error_code code_of_grpc(int code, const char *message)
{
    switch (code) {
    case GRPC_INVALID_ARGUMENT:
        return ERROR_INVALID;
    case GRPC_NOT_FOUND:
        return ERROR_NOT_FOUND;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return ERROR_DENIED;
    case GRPC_RESOURCE_EXHAUSTED:
        return strstr(message, "space") != NULL ? ERROR_STORAGE_FULL : ERROR_UNAVAILABLE;
    case GRPC_OUT_OF_RANGE:
        return ERROR_STALE;
    case GRPC_UNIMPLEMENTED:
        return ERROR_PROTOCOL;
    case GRPC_DEADLINE_EXCEEDED:
        return ERROR_TIMEOUT;
    default: /* canceled, unknown, internal, unavailable */
        return ERROR_UNAVAILABLE;
    }
}

int etcd_error_decode(int status, const char *text, size_t length, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    struct json_object *number;
    if (json_parse(text, length, &object, NULL) < 0 ||
        !json_object_is_type(object, json_type_object))
        return error_set(error, ERROR_UNAVAILABLE, "HTTP status %d: is this etcd 3.4 or later?",
                         status);
    const char *message = member_text(object, "message");
    if (message == NULL)
        message = member_text(object, "error");
    if (message == NULL)
        message = "no message";
    int code = 0;
    if (json_object_object_get_ex(object, "code", &number))
        code = json_object_get_int(number);
    enum error_code found = code_of_grpc(code, message);
    if (found == ERROR_STORAGE_FULL)
        return error_set(error, found,
                         "etcd's storage is full (%s): raise its --quota-backend-bytes, or compact "
                         "and defragment it; then etcdctl alarm disarm",
                         message);
    return error_set(error, found, "%s", message);
}

/* --- requests --- */

static void append_base64(struct buffer *buffer, const char *name, const char *bytes, size_t length)
{
    AUTO_FREE char *encoded = base64_encode(bytes, length);
    buffer_printf(buffer, "\"%s\":\"", name);
    buffer_append_text(buffer, encoded);
    buffer_append_text(buffer, "\"");
}

static void append_key(struct buffer *buffer, const char *name, const char *key)
{
    append_base64(buffer, name, key, strlen(key));
}

char *etcd_range_body(const char *from, const char *end, size_t limit)
{
    return etcd_range_body_at(from, end, limit, 0);
}

char *etcd_range_body_at(const char *from, const char *end, size_t limit, uint64_t revision)
{
    struct buffer body = {0};
    buffer_append_text(&body, "{");
    append_key(&body, "key", from);
    if (end != NULL) {
        buffer_append_text(&body, ",");
        append_key(&body, "range_end", end);
    }
    buffer_printf(&body, ",\"limit\":\"%zu\",\"revision\":\"%" PRIu64 "\"}", limit, revision);
    return buffer_take(&body);
}

char *etcd_watch_body(const char *from, const char *end, uint64_t revision)
{
    struct buffer body = {0};
    buffer_append_text(&body, "{\"create_request\":{");
    append_key(&body, "key", from);
    if (end != NULL) {
        buffer_append_text(&body, ",");
        append_key(&body, "range_end", end);
    }
    buffer_printf(&body, ",\"start_revision\":\"%" PRIu64 "\",\"fragment\":true}}", revision);
    return buffer_take(&body);
}

char *etcd_grant_body(uint64_t ttl_s)
{
    return xasprintf("{\"TTL\":\"%" PRIu64 "\"}", ttl_s);
}

char *etcd_lease_body(const char *lease)
{
    return xasprintf("{\"ID\":\"%s\"}", lease);
}

char *etcd_compaction_body(uint64_t revision)
{
    return xasprintf("{\"revision\":\"%" PRIu64 "\"}", revision);
}

/* --- transactions --- */

static struct buffer *next_item(struct buffer *list)
{
    buffer_append_text(list, list->length > 0 ? ",{" : "{");
    return list;
}

static void add_compare(struct etcd_txn *txn, const char *key, const char *target,
                        const char *field, uint64_t revision)
{
    struct buffer *item = next_item(&txn->compare);
    append_key(item, "key", key);
    buffer_printf(item, ",\"target\":\"%s\",\"%s\":\"%" PRIu64 "\"}", target, field, revision);
}

void etcd_txn_compare_created(struct etcd_txn *txn, const char *key, uint64_t revision)
{
    add_compare(txn, key, "CREATE", "create_revision", revision);
}

void etcd_txn_compare_revision(struct etcd_txn *txn, const char *key, uint64_t revision)
{
    add_compare(txn, key, "MOD", "mod_revision", revision);
}

void etcd_txn_put(struct etcd_txn *txn, const char *key, const char *value, const char *lease)
{
    struct buffer *item = next_item(&txn->success);
    buffer_append_text(item, "\"request_put\":{");
    append_key(item, "key", key);
    buffer_append_text(item, ",");
    append_key(item, "value", value);
    if (lease != NULL)
        buffer_printf(item, ",\"lease\":\"%s\"", lease);
    buffer_append_text(item, "}}");
}

void etcd_txn_delete(struct etcd_txn *txn, const char *key)
{
    struct buffer *item = next_item(&txn->success);
    buffer_append_text(item, "\"request_delete_range\":{");
    append_key(item, "key", key);
    buffer_append_text(item, "}}");
}

void etcd_txn_read(struct etcd_txn *txn, const char *key, bool whole)
{
    struct buffer *item = next_item(&txn->failure);
    buffer_append_text(item, "\"request_range\":{");
    append_key(item, "key", key);
    buffer_append_text(item, whole ? "}}" : ",\"keys_only\":true}}");
}

char *etcd_txn_take(struct etcd_txn *txn)
{
    struct buffer body = {0};
    buffer_append_text(&body, "{\"compare\":[");
    buffer_append_text(&body, buffer_text(&txn->compare));
    buffer_append_text(&body, "],\"success\":[");
    buffer_append_text(&body, buffer_text(&txn->success));
    buffer_append_text(&body, "],\"failure\":[");
    buffer_append_text(&body, buffer_text(&txn->failure));
    buffer_append_text(&body, "]}");
    buffer_finish(&txn->compare);
    buffer_finish(&txn->success);
    buffer_finish(&txn->failure);
    return buffer_take(&body);
}
