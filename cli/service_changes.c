/* scale, wake, restart, rollback, pause, resume, promote, abort. */
#include <stdio.h>
#include <string.h>

#include "cli/change.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Sends the change, waits for it, tells its end. `replicas`: it starts no rollout. */
static int change_service(struct cli *cli, const char *service, const char *method,
                          const char *rest, struct json_object *body, bool replicas,
                          struct error *error)
{
    AUTO_FREE char *path = scheduler_service_path(cli->settings.namespace_name, service, rest);
    AUTO_JSON struct json_object *answer = NULL;
    struct change change;
    if (session_call(cli_session(cli), method, path, body, &answer, error) < 0 ||
        change_begin(&change, cli, cli->settings.namespace_name, service, answer, error) < 0)
        return -1;
    int result = replicas && change.answer.rollout == 0 ? change_wait_replicas(&change, error)
                                                        : change_wait(&change, error);
    if (cli_wants_document(cli))
        cli_print_document(cli, change_document(&change));
    else if (result == 0)
        change_print(&change);
    return result;
}

int scale_run(struct cli *cli, struct error *error)
{
    const char *argument = cli_argument(cli, 0), *equals = strchr(argument, '=');
    uint64_t replicas;
    if (equals == NULL || !text_parse_u64(equals + 1, API_REPLICAS_MAX, &replicas))
        return cli_refuse_usage(cli, error,
                                "\"%s\": expected SERVICE=N, N from 0 to %d, as in `shoal scale "
                                "hello=5`",
                                argument, API_REPLICAS_MAX);
    AUTO_FREE char *service = xstrndup(argument, (size_t)(equals - argument));
    if (!text_is_name(service))
        return cli_refuse_usage(cli, error, "\"%s\" is not the name of a service", service);
    struct api_scale_request request = {.replicas = (uint32_t)replicas};
    AUTO_JSON struct json_object *body = json_encode(&api_scale_request_record, &request);
    return change_service(cli, service, "PUT", "/scale", body, true, error);
}

int wake_run(struct cli *cli, struct error *error)
{
    const char *argument = cli_argument(cli, 0), *equals = strchr(argument, '=');
    uint64_t count = 1;
    if (equals != NULL && (!text_parse_u64(equals + 1, API_REPLICAS_MAX, &count) || count == 0))
        return cli_refuse_usage(cli, error, "\"%s\": expected SERVICE or SERVICE=N, N from 1 to %d",
                                argument, API_REPLICAS_MAX);
    AUTO_FREE char *service =
        equals != NULL ? xstrndup(argument, (size_t)(equals - argument)) : xstrdup(argument);
    if (!text_is_name(service))
        return cli_refuse_usage(cli, error, "\"%s\" is not the name of a service", service);
    struct api_wake_request request = {.count = (uint32_t)count};
    AUTO_JSON struct json_object *body = json_encode(&api_wake_request_record, &request);
    return change_service(cli, service, "POST", "/wake", body, true, error);
}

int restart_run(struct cli *cli, struct error *error)
{
    const char *service = cli_service_argument(cli, error);
    if (service == NULL)
        return -1;
    AUTO_JSON struct json_object *body = json_object_new_object();
    return change_service(cli, service, "POST", "/restart", body, false, error);
}

int rollback_run(struct cli *cli, struct error *error)
{
    const char *service = cli_service_argument(cli, error);
    if (service == NULL)
        return -1;
    struct api_rollback_request request = {
        .to = (uint32_t)invocation_number(cli->invocation, "to", 0)};
    AUTO_JSON struct json_object *body = json_encode(&api_rollback_request_record, &request);
    return change_service(cli, service, "POST", "/rollback", body, false, error);
}

/* Tells the rollout that runs what to do. */
static int steer_rollout(struct cli *cli, const char *verb, bool waits, struct error *error)
{
    const char *service = cli_service_argument(cli, error);
    if (service == NULL)
        return -1;
    AUTO_FREE char *rest = xasprintf("/%s", verb);
    AUTO_FREE char *path = scheduler_service_path(cli->settings.namespace_name, service, rest);
    AUTO_JSON struct json_object *body = json_object_new_object();
    AUTO_JSON struct json_object *answer = NULL;
    struct change change;
    if (session_call(cli_session(cli), "POST", path, body, &answer, error) < 0 ||
        change_begin(&change, cli, cli->settings.namespace_name, service, answer, error) < 0)
        return -1;
    change.aborts = strcmp(verb, "abort") == 0;
    change.succeeded = !waits;
    int result = waits ? change_wait(&change, error) : 0;
    if (cli_wants_document(cli))
        cli_print_document(cli, change_document(&change));
    else if (!waits)
        printf("%s: %s\n", service, change.answer.message);
    else if (result == 0)
        change_print(&change);
    return result;
}

int pause_run(struct cli *cli, struct error *error)
{
    return steer_rollout(cli, "pause", false, error);
}

int resume_run(struct cli *cli, struct error *error)
{
    return steer_rollout(cli, "resume", true, error);
}

int promote_run(struct cli *cli, struct error *error)
{
    return steer_rollout(cli, "promote", true, error);
}

int abort_run(struct cli *cli, struct error *error)
{
    return steer_rollout(cli, "abort", true, error);
}
