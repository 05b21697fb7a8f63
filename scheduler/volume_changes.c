#include "scheduler/volume_changes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/volumes.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"
#include "scheduler/changes.h"
#include "scheduler/volume_rules.h"

#define SLOT_MAX 1000000

/* One change on its way. */
struct volume_change {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    struct http_call *call;       /* NULL once it is answered */
    struct api_volume_view volume;
    char snapshot[NAME_MAX_TEXT];
    bool deletes, restores; /* else it takes a snapshot */
    uint32_t left;          /* of the slot's volumes, after a removal */
};

/* ---- what was done ---- */

static const char *event_of(const struct volume_change *asked)
{
    if (asked->snapshot[0] == '\0')
        return "volume_removed";
    return asked->deletes    ? "snapshot_removed"
           : asked->restores ? "volume_restored"
                             : "snapshot_taken";
}

static void tell(struct volume_change *asked, struct change *change)
{
    const struct api_volume_view *volume = &asked->volume;
    bool has_snapshot = asked->snapshot[0] != '\0';
    changes_event(asked->core->changes, change, "service", volume->namespace_name, volume->service,
                  NULL, event_of(asked), NULL, "volume %" PRIu32 "/%s on node %s%s%s", volume->slot,
                  volume->name, volume->node, has_snapshot ? ", snapshot " : "", asked->snapshot);
}

/* The slot need not go where its volumes were, and its node has room for others. */
static void unpin(struct volume_change *asked, struct change *change)
{
    struct model *model = &asked->core->model;
    const struct model_service *service =
        model_service_record(model, asked->volume.namespace_name, asked->volume.service);
    const struct document_volume *pin =
        service != NULL ? model_volume(service, asked->volume.slot) : NULL;
    if (pin != NULL && strcmp(pin->node, asked->volume.node) == 0 &&
        !volume_rules_needs_slot(model, pin))
        change_remove(change, DOCUMENT_VOLUME, pin);
}

static int decide(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct volume_change *asked = data;
    tell(asked, change);
    if (asked->snapshot[0] == '\0' && asked->left == 0)
        unpin(asked, change);
    return 0;
}

static void on_decided(const struct error *error, void *data)
{
    struct volume_change *asked = data;
    if (asked->request != NULL && error != NULL)
        http_request_respond_error(asked->request, error);
    else if (asked->request != NULL)
        http_request_respond_json(asked->request, 200, json_object_new_object());
    free(asked);
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct volume_change *asked = data;
    struct api_volume_answer answer = {0};
    struct error error = ERROR_INIT;
    asked->call = NULL;
    if (http_response_check(response, &error) < 0 ||
        json_parse_record(&api_volume_answer_record, response->body, response->body_length,
                          JSON_LENIENT, &answer, &error) < 0) {
        if (response->failed)
            error_wrap(&error, "the agent of node %s does not answer (does shoal-agent run there?)",
                       asked->volume.node);
        http_request_respond_error(asked->request, &error);
        free(asked);
        return;
    }
    asked->left = answer.left;
    changes_decide(asked->core->changes, decide, on_decided, asked);
}

/* The agent goes on with what it has begun; the event of it is lost. */
static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct volume_change *asked = data;
    if (asked->call == NULL) {
        asked->request = NULL; /* the decision ends by itself */
        return;
    }
    http_client_cancel(asked->call);
    free(asked);
}

/* ---- what is asked ---- */

static bool take_name(const struct http_request *request, const char *parameter, char *ret_name)
{
    const char *text = http_request_parameter(request, parameter);
    return text != NULL && text_is_name(text) && text_copy(ret_name, NAME_MAX_TEXT, text);
}

static int read_volume(const struct http_request *request, struct api_volume_view *ret_volume,
                       struct error *error)
{
    const char *slot_text = http_request_parameter(request, "slot");
    uint64_t slot;
    if (!take_name(request, "namespace", ret_volume->namespace_name) ||
        !take_name(request, "service", ret_volume->service) ||
        !take_name(request, "volume", ret_volume->name) ||
        !text_parse_u64(slot_text, SLOT_MAX, &slot))
        return error_set(error, ERROR_INVALID,
                         "a volume is named NAMESPACE/SERVICE/SLOT/NAME, in names and a number");
    ret_volume->slot = (uint32_t)slot;
    return 0;
}

static int read_snapshot(const struct http_request *request, char *ret_snapshot,
                         struct error *error)
{
    if (http_request_parameter(request, "snapshot") == NULL ||
        take_name(request, "snapshot", ret_snapshot))
        return 0;
    return error_set(error, ERROR_INVALID,
                     "a snapshot's name is made of a to z, 0 to 9 and -, at most %d",
                     NAME_MAX_TEXT - 1);
}

/* Finds the node too, and says whether it may be done. */
static int read_change(struct volume_change *asked, bool removes, struct model_node **ret_node,
                       struct error *error)
{
    struct http_request *request = asked->request;
    struct model *model = &asked->core->model;
    const char *force = http_request_query(request, "force");
    if (read_volume(request, &asked->volume, error) < 0 ||
        read_snapshot(request, asked->snapshot, error) < 0 ||
        volume_rules_find_node(model, &asked->volume, http_request_query(request, "node"), ret_node,
                               error) < 0)
        return -1;
    text_copy(asked->volume.node, sizeof asked->volume.node, (*ret_node)->name);
    asked->deletes = strcmp(http_request_method(request), "DELETE") == 0;
    asked->restores = strstr(http_request_path(request), "/restore/") != NULL;
    bool forced = force != NULL && strcmp(force, "0") != 0;
    return removes ? volume_rules_check_removal(model, &asked->volume, forced, error) : 0;
}

static int ask(struct volume_change *asked, const struct model_node *node, struct error *error)
{
    const struct api_volume_view *volume = &asked->volume;
    bool has_snapshot = asked->snapshot[0] != '\0';
    AUTO_FREE char *path = xasprintf("/v1/volumes/%s/%s/%" PRIu32 "/%s%s%s", volume->namespace_name,
                                     volume->service, volume->slot, volume->name,
                                     !has_snapshot     ? ""
                                     : asked->restores ? "/restore/"
                                                       : "/snapshots/",
                                     asked->snapshot);
    const struct agent_call call = {.method = http_request_method(asked->request), .path = path};
    asked->call = agent_calls_start(asked->core, node, &call, on_answer, asked, error);
    return asked->call != NULL ? 0 : -1;
}

static void begin(struct http_request *request, struct core *core, bool removes)
{
    struct volume_change *asked = xcalloc(1, sizeof *asked);
    struct error error = ERROR_INIT;
    struct model_node *node = NULL;
    asked->core = core;
    asked->request = request;
    if (read_change(asked, removes, &node, &error) < 0 || ask(asked, node, &error) < 0) {
        http_request_respond_error(request, &error);
        free(asked);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, asked);
}

void volume_changes_handle(struct http_request *request, void *data)
{
    begin(request, data, false);
}

void volume_changes_handle_removal(struct http_request *request, void *data)
{
    begin(request, data, true);
}
