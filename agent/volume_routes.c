#include "agent/volume_routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/api/volumes.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* A request that waits for the host half. */
struct waiting {
    struct http_request *request; /* NULL: whoever asked is gone */
    struct instance_table *instances;
    char frozen[INSTANCE_ID_MAX]; /* until the answer; "": nobody is */
};

/* What was asked for goes on all the same. */
static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct waiting *)data)->request = NULL;
}

static struct waiting *ask(struct http_request *request, struct host_client *host,
                           const struct host_message *message, host_answer_callback *callback)
{
    struct waiting *waiting = xcalloc(1, sizeof *waiting);
    waiting->request = request;
    host_client_request_held(host, message, callback, waiting, free);
    http_request_on_abandoned(request, on_abandoned, waiting);
    return waiting;
}

/* --- the list --- */

static int read_list(int descriptor, char **ret_text, size_t *ret_length, struct error *error)
{
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set(error, ERROR_PROTOCOL, "no list of volumes came");
    if (status.st_size <= 0 || (uint64_t)status.st_size > API_NODE_VOLUMES_LIMIT)
        return error_set(error, ERROR_TOO_LARGE,
                         "the list of its volumes has %lld bytes, and up to %zu can be had",
                         (long long)status.st_size, API_NODE_VOLUMES_LIMIT);
    size_t length = (size_t)status.st_size;
    AUTO_FREE char *text = xmalloc(length);
    if (pread(descriptor, text, length, 0) != (ssize_t)length)
        return error_set_errno(error, errno, "read the list of volumes");
    *ret_text = TAKE_POINTER(text);
    *ret_length = length;
    return 0;
}

static void on_list(const struct host_answer *answer, int descriptor, void *data)
{
    AUTO_FREE struct waiting *waiting = data;
    struct error error = ERROR_INIT;
    AUTO_CLOSE int file = descriptor;
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    if (waiting->request == NULL)
        return;
    if (host_answer_check(answer, &error) < 0 || read_list(file, &text, &length, &error) < 0)
        http_request_respond_error(waiting->request, &error);
    else
        http_request_respond(waiting->request, 200, "application/json", text, length);
}

void volume_routes_list(struct http_request *request, struct host_client *host)
{
    struct host_message message = {.type = HOST_VOLUMES};
    ask(request, host, &message, on_list);
}

/* --- one of them --- */

static void on_changed(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct api_volume_answer done = {.left = answer->number};
    AUTO_FREE struct waiting *waiting = data;
    struct error error = ERROR_INIT;
    if (waiting->frozen[0] != '\0')
        instance_table_frozen(waiting->instances, waiting->frozen, false);
    if (waiting->request == NULL)
        return;
    if (host_answer_check(answer, &error) < 0)
        http_request_respond_error(waiting->request, &error);
    else
        http_request_respond_json(waiting->request, 200,
                                  json_encode(&api_volume_answer_record, &done));
}

static bool take_name(const struct http_request *request, const char *parameter, char *ret_name)
{
    const char *text = http_request_parameter(request, parameter);
    return text != NULL && text_is_name(text) && text_copy(ret_name, NAME_MAX_TEXT, text);
}

static int read_request(const struct http_request *request, enum host_volume_operation operation,
                        struct host_volume_request *asked, struct error *error)
{
    const char *slot_text = http_request_parameter(request, "slot");
    uint64_t slot;
    if (!take_name(request, "namespace", asked->key.namespace_name) ||
        !take_name(request, "service", asked->key.service) ||
        !take_name(request, "volume", asked->key.name) ||
        !text_parse_u64(slot_text, HOST_SLOT_MAX, &slot))
        return error_set(error, ERROR_INVALID,
                         "a volume is named NAMESPACE/SERVICE/SLOT/NAME, in names and a number");
    asked->key.slot = (uint32_t)slot;
    asked->operation = operation;
    if (http_request_parameter(request, "snapshot") != NULL &&
        !take_name(request, "snapshot", asked->snapshot))
        return error_set(error, ERROR_INVALID, "a snapshot's name is made of a to z, 0 to 9 and -");
    return 0;
}

/* Who has the volume. */
struct search {
    const struct host_volume_key *key;
    char id[INSTANCE_ID_MAX]; /* "": nobody that runs */
};

static void look_at(const struct instance *instance, void *data)
{
    struct search *search = data;
    const struct api_assigned_instance *assigned = &instance->assigned;
    if (instance_vm(instance) == INSTANCE_VM_RUNNING && assigned->slot == search->key->slot &&
        assigned->volume_count > 0 && strcmp(assigned->service, search->key->service) == 0 &&
        strcmp(assigned->namespace_name, search->key->namespace_name) == 0)
        memcpy(search->id, instance->id, sizeof search->id);
}

void volume_routes_change(struct http_request *request, struct host_client *host,
                          struct instance_table *instances, enum host_volume_operation operation)
{
    struct host_message message = {.type = HOST_VOLUME};
    struct error error = ERROR_INIT;
    struct search search = {.key = &message.volume.key};
    if (read_request(request, operation, &message.volume, &error) < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    struct waiting *waiting = ask(request, host, &message, on_changed);
    waiting->instances = instances;
    if (operation == HOST_VOLUME_SNAPSHOT)
        instance_table_each(instances, look_at, &search);
    if (search.id[0] == '\0')
        return;
    memcpy(waiting->frozen, search.id, sizeof waiting->frozen);
    instance_table_frozen(instances, search.id, true);
}
