#include "agent/debug_requests.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX  64

struct debug_request {
    struct debug_target target;
    struct http_request *request; /* NULL: whoever asked is gone */
    char id[INSTANCE_ID_MAX];
    bool stops;
    bool was_on; /* before */
};

static struct json_object *describe(const struct debug_request *debug,
                                    const struct instance *instance)
{
    struct json_object *answer = json_object_new_object();
    AUTO_FREE char *socket = xasprintf("%s/g/%s", debug->target.run_directory, debug->id);
    json_object_object_add(answer, "node", json_object_new_string(debug->target.node));
    json_object_object_add(answer, "socket", json_object_new_string(socket));
    json_object_object_add(answer, "repository",
                           json_object_new_string(instance->assigned.repository));
    json_object_object_add(answer, "image_digest",
                           json_object_new_string(instance->assigned.image_digest));
    json_object_object_add(answer, "architecture", json_object_new_string(instance->assigned.arch));
    return answer;
}

static void switch_stub(struct debug_request *debug, host_answer_callback *callback)
{
    struct host_message message = {.type = HOST_DEBUG, .debug = {.open = !debug->stops}};
    memcpy(message.debug.id, debug->id, sizeof message.debug.id);
    host_client_request_held(debug->target.host, &message, callback, debug, free);
}

static void on_switched(const struct host_answer *answer, int descriptor, void *data)
{
    AUTO_FREE struct debug_request *debug = data;
    struct error error = ERROR_INIT;
    const struct instance *instance = instance_table_find(debug->target.instances, debug->id);
    if (descriptor >= 0)
        close(descriptor);
    if (host_answer_check(answer, &error) == 0 && instance == NULL)
        error_set(&error, ERROR_NOT_FOUND, "instance %s is gone", debug->id);
    if (error.code == ERROR_NONE)
        instance_table_debugged(debug->target.instances, debug->id, !debug->stops);
    if (debug->request == NULL) {
        if (error.code == ERROR_NONE && !debug->stops && !debug->was_on) {
            debug->stops = true;
            switch_stub(TAKE_POINTER(debug), on_switched);
        }
        return;
    }
    if (error.code != ERROR_NONE)
        http_request_respond_error(debug->request, &error);
    else
        http_request_respond_json(debug->request, 200, describe(debug, instance));
}

/* What was asked for is done all the same; but a stub that nobody was told of, while which the
 * guest's liveness does not count, is switched off again. */
static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct debug_request *)data)->request = NULL;
}

/* Whether who asks is on this machine. */
static int check_place(const struct http_request *request, const struct debug_target *target,
                       const char *id, struct error *error)
{
    const char *theirs = http_request_query(request, "boot");
    AUTO_FREE char *ours = NULL;
    if (file_read(BOOT_ID_PATH, BOOT_ID_MAX, &ours, NULL, error) < 0)
        return -1;
    ours[strcspn(ours, "\n")] = '\0';
    if (theirs == NULL || strcmp(theirs, ours) != 0)
        return error_set(error, ERROR_CONFLICT,
                         "instance %s runs on node %s, and is debugged there: log in on that "
                         "machine and run `shoal debug %s`",
                         id, target->node, id);
    return 0;
}

void debug_requests_handle(struct http_request *request, const struct debug_target *target)
{
    struct error error = ERROR_INIT;
    const char *id = http_request_parameter(request, "id");
    const char *stop = http_request_query(request, "stop");
    bool stops = stop != NULL && strcmp(stop, "0") != 0;
    const struct instance *instance = instance_table_find(target->instances, id);
    if (instance == NULL)
        error_set(&error, ERROR_NOT_FOUND, "no instance %.32s on node %s", id, target->node);
    /* gdb's leaving lets a guest go on, and nobody would pause this one again. It is paused once it
     * is ready. */
    else if (!stops && instance->assigned.wanted == API_WANTED_STANDBY)
        error_set(&error, ERROR_CONFLICT,
                  "instance %s is a standby, which stands still: debug one that runs, or wake it "
                  "first (shoal wake %s)",
                  instance->id, instance->assigned.service);
    if (error.code != ERROR_NONE || check_place(request, target, instance->id, &error) < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    struct debug_request *debug = xcalloc(1, sizeof *debug);
    *debug = (struct debug_request){.target = *target, .request = request};
    debug->stops = stops;
    debug->was_on = instance->is_debugged;
    memcpy(debug->id, instance->id, sizeof debug->id);
    http_request_on_abandoned(request, on_abandoned, debug);
    switch_stub(debug, on_switched);
}
