#include <stdlib.h>
#include <string.h>

#include "image-format/chain.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/core.h"
#include "scheduler/routes.h"
#include "scheduler/views.h"

static void respond_text(struct http_request *request, char *text)
{
    http_request_respond_shared(request, 200, "application/json", text, strlen(text), free, text);
}

void routes_list_instances(struct http_request *request, void *data)
{
    const char *limit = http_request_query(request, "limit");
    uint64_t most = 0;
    if (limit != NULL && (!text_parse_u64(limit, UINT32_MAX, &most) || most == 0)) {
        struct error error;
        error_set(&error, ERROR_INVALID, "limit is how many instances to list: a number above 0");
        http_request_respond_error(request, &error);
        return;
    }
    struct views_page asked = {.namespace_name = http_request_query(request, "namespace"),
                               .service = http_request_query(request, "service"),
                               .after = http_request_query(request, "after"),
                               .limit = most};
    respond_text(request, views_instances(data, &asked));
}

void routes_get_instance(struct http_request *request, void *data)
{
    const struct core *core = data;
    const char *id = http_request_parameter(request, "instance");
    const struct model_instance *instance = model_instance(&core->model, id);
    if (instance != NULL) {
        respond_text(request, views_instance(core, instance));
        return;
    }
    struct error error;
    error_set(&error, ERROR_NOT_FOUND, "there is no instance %.64s: `shoal ps --all` lists them",
              id);
    http_request_respond_error(request, &error);
}

/* --- keys --- */

void routes_list_keys(struct http_request *request, void *data)
{
    http_request_respond_json(request, 200, views_keys(data));
}

/* {"pem": "..."} */
static const struct json_field key_body_fields[] = {
    JSON_FIELD(struct api_key, pem, "pem", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record key_body_record = {sizeof(struct api_key), key_body_fields};

struct key_request {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    struct api_key key;
    struct api_change_answer answer;
};

static int decide_key(struct change *change, void *data, struct error *error)
{
    struct key_request *asked = data;
    struct core *core = asked->core;
    struct api_key *key = &asked->key;
    const struct model_key *known = sorted_find(&core->model.keys, key->name);
    if (known != NULL && strcmp(known->document->id, key->id) == 0)
        return 0;
    /* The other one would go without anybody looking at what runs by it. */
    if (known != NULL)
        return error_set(
            error, ERROR_CONFLICT,
            "another key, %s, is trusted as %s: remove it first (`shoal trust rm %s`), "
            "or add this one under another name (--name)",
            known->document->id, key->name, key->name);
    if (core->model.keys.count >= API_KEYS_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "%d keys are trusted, more are not: remove one first (`shoal trust rm "
                         "NAME`, `shoal trust list`)",
                         API_KEYS_MAX);
    asked->answer.changed = true;
    change_put(change, DOCUMENT_KEY, document_copy(DOCUMENT_KEY, key));
    changes_event(core->changes, change, "key", "", key->name, NULL, "trusted", NULL, "key %s",
                  key->id);
    return 0;
}

static void on_decided(const struct error *error, void *data)
{
    struct key_request *asked = data;
    if (asked->request != NULL && error != NULL)
        http_request_respond_error(asked->request, error);
    else if (asked->request != NULL)
        http_request_respond_json(asked->request, 200,
                                  json_encode(&api_change_answer_record, &asked->answer));
    json_record_release(&api_key_record, &asked->key);
    free(asked);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct key_request *)data)->request = NULL;
}

static void change_key(struct http_request *request, struct core *core, struct api_key *key)
{
    struct key_request *asked = xcalloc(1, sizeof *asked);
    *asked = (struct key_request){.core = core, .request = request, .key = *key};
    http_request_on_abandoned(request, on_abandoned, asked);
    changes_decide(core->changes, decide_key, on_decided, asked);
}

static int read_key(struct http_request *request, struct api_key *ret_key, struct error *error)
{
    const char *name = http_request_parameter(request, "key");
    struct trusted_key parsed = {0};
    size_t length;
    const char *body = http_request_body(request, &length);
    if (!text_is_name(name))
        return error_set(error, ERROR_INVALID, "\"%.64s\" is not a key's name: allowed are %s",
                         name, api_check_name(name));
    if (json_parse_record(&key_body_record, body, length, JSON_STRICT, ret_key, error) < 0)
        return -1;
    if (trusted_key_parse(name, ret_key->pem, strlen(ret_key->pem), &parsed, error) < 0) {
        json_record_release(&key_body_record, ret_key);
        return -1;
    }
    text_copy(ret_key->name, sizeof ret_key->name, name);
    text_copy(ret_key->id, sizeof ret_key->id, parsed.id);
    public_key_destroy(parsed.key);
    return 0;
}

void routes_put_key(struct http_request *request, void *data)
{
    struct api_key key = {0};
    struct error error = ERROR_INIT;
    if (read_key(request, &key, &error) < 0)
        http_request_respond_error(request, &error);
    else
        change_key(request, data, &key);
}
