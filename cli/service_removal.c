/* rm: what a service stored stays, unless --volumes. */
#include <stdio.h>

#include "cli/change.h"
#include "cli/format.h"
#include "cli/scheduler.h"
#include "cli/volumes.h"
#include "lib/cleanup.h"

struct removal {
    struct cli *cli;
    const char *service;
    bool with_volumes;
    bool is_over;                /* nothing of it runs any more */
    bool was_gone;               /* before it was asked for: only volumes may be left */
    uint32_t slots;              /* that have volumes, as far as the scheduler knows */
    struct volumes_left volumes; /* removed, or that stay */
};

/* One that is no more may still have left volumes. */
static int ask(struct removal *removal, struct error *error)
{
    struct cli *cli = removal->cli;
    struct api_change_answer answer = {0};
    struct error reason = ERROR_INIT;
    AUTO_JSON struct json_object *document = NULL;
    AUTO_FREE char *path =
        scheduler_service_path(cli->settings.namespace_name, removal->service, "");
    if (session_call(cli_session(cli), "DELETE", path, NULL, &document, &reason) < 0) {
        if (reason.code != ERROR_NOT_FOUND || !removal->with_volumes)
            return error_copy(error, &reason);
        removal->was_gone = true;
        if (volumes_remove_left(cli, removal->service, &removal->volumes, error) < 0)
            return -1;
        return removal->volumes.count > 0 ? 0 : error_copy(error, &reason);
    }
    if (json_decode(&api_change_answer_record, document, JSON_LENIENT, &answer, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    removal->slots = answer.volume_slots;
    return 0;
}

static int wait_for_end(struct removal *removal, struct error *error)
{
    struct cli *cli = removal->cli;
    struct follow follow = {0};
    if (removal->was_gone || invocation_has(cli->invocation, "detach")) {
        removal->is_over = removal->was_gone;
        return 0;
    }
    follow_init(&follow, cli, cli->settings.namespace_name, removal->service);
    if (follow_removal(&follow, error) < 0)
        return -1;
    removal->is_over = !follow.detached;
    if (removal->is_over && removal->with_volumes)
        return volumes_remove_left(cli, removal->service, &removal->volumes, error);
    if (removal->is_over && removal->slots > 0)
        volumes_count_left(cli, removal->service, &removal->volumes);
    return 0;
}

static void print_document(const struct removal *removal)
{
    struct json_object *document = json_object_new_object();
    const char *namespace_name = removal->cli->settings.namespace_name;
    json_object_object_add(document, "namespace", json_object_new_string(namespace_name));
    json_object_object_add(document, "service", json_object_new_string(removal->service));
    json_object_object_add(document, "result",
                           json_object_new_string(removal->is_over ? "removed" : "detached"));
    if (removal->is_over)
        json_object_object_add(document, removal->with_volumes ? "volumes" : "volumes_left",
                               json_object_new_uint64(removal->volumes.count));
    cli_print_document(removal->cli, document);
}

static void print_volumes(const struct removal *removal)
{
    const struct volumes_left *left = &removal->volumes;
    char bytes[FORMAT_MAX];
    format_bytes(left->used, bytes);
    if (!removal->is_over)
        printf("its volumes stay");
    else
        printf("%zu volume%s of it stay%s, with %s on the disk", left->count,
               left->count == 1 ? "" : "s", left->count == 1 ? "s" : "", bytes);
    const char *what = removal->is_over && left->count == 1 ? "it" : "them";
    printf(": deployed again %s finds %s, `shoal rm %s --volumes` removes %s\n", removal->service,
           what, removal->service, what);
}

static void print_text(const struct removal *removal)
{
    size_t count = removal->volumes.count;
    const char *plural = count == 1 ? "" : "s";
    if (removal->was_gone)
        printf("%s: %zu volume%s that it had left removed\n", removal->service, count, plural);
    else if (removal->is_over && removal->with_volumes)
        printf("%s: removed, with %zu volume%s\n", removal->service, count, plural);
    else
        printf("%s: %s\n", removal->service,
               removal->is_over ? "removed" : "its instances are ending");
    if (!removal->with_volumes && (removal->is_over ? count > 0 : removal->slots > 0))
        print_volumes(removal);
}

static int check_whole(const struct removal *removal, struct error *error)
{
    size_t silent = removal->volumes.silent_nodes;
    if (silent == 0 || (removal->slots == 0 && !removal->was_gone))
        return 0;
    return error_set(error, ERROR_UNAVAILABLE,
                     "%zu node%s did not answer and may have more of its volumes: `shoal rm %s "
                     "--volumes` again removes them, once %s back",
                     silent, silent == 1 ? "" : "s", removal->service,
                     silent == 1 ? "it is" : "they are");
}

int remove_run(struct cli *cli, struct error *error)
{
    struct removal removal = {.cli = cli, .service = cli_service_argument(cli, error)};
    if (removal.service == NULL)
        return -1;
    removal.with_volumes = invocation_has(cli->invocation, "volumes");
    if (removal.with_volumes && invocation_has(cli->invocation, "detach"))
        return cli_refuse_usage(cli, error,
                                "--volumes waits until the instances have ended: leave --detach "
                                "out, or remove them later with `shoal rm %s --volumes`",
                                removal.service);
    if (ask(&removal, error) < 0 || wait_for_end(&removal, error) < 0)
        return -1;
    if (cli_wants_document(cli))
        print_document(&removal);
    else
        print_text(&removal);
    return check_whole(&removal, error);
}
