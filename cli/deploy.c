/* validate, diff and deploy. */
#include <stdio.h>
#include <string.h>

#include "cli/change.h"
#include "cli/plan.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/manifest.h"
#include "lib/xalloc.h"

static int load_manifest(struct cli *cli, struct manifest **ret_manifest, struct error *error)
{
    const char *path = invocation_text(cli->invocation, "file");
    bool standard_input = strcmp(path, "-") == 0;
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(standard_input ? "/dev/stdin" : path, MANIFEST_SIZE_MAX, &text, &length, error) <
        0)
        return -1;
    return manifest_parse(standard_input ? "standard input" : path, text, length,
                          cli->settings.namespace_name, ret_manifest, error);
}

/* What a person can do about an image that may not boot. */
static void explain_refused_image(struct cli *cli, const char *image, struct error *error)
{
    struct view_list AUTO_VIEWS keys = {0};
    if (error != NULL && strstr(error->message, "MANIFEST_UNKNOWN") != NULL) {
        struct error missing = *error;
        error_set(error, missing.code,
                  "%s\nPush it first (`shoal image list --remote` tells what is there):\n"
                  "  shoal push %s --sign shoal.key",
                  missing.message, image);
        return;
    }
    if (error == NULL || error->code != ERROR_SIGNATURE ||
        strstr(error->message, "`shoal ") != NULL || strstr(error->message, "shoal trust") != NULL)
        return;
    struct error refusal = *error;
    if (scheduler_keys(cli, &keys, NULL) == 0 && keys.count == 0)
        error_set(error, ERROR_SIGNATURE,
                  "%s\nNo key is trusted yet, so nothing may boot. Make one and trust it:\n"
                  "  shoal keygen shoal\n  shoal trust add shoal.pub",
                  refusal.message);
    else
        error_set(error, ERROR_SIGNATURE,
                  "%s\nSign it with a trusted key (`shoal trust list`):\n"
                  "  shoal push %s --sign shoal.key",
                  refusal.message, image);
}

/* `query` is "", "?dry_run=1" or "?plan=1". */
static int apply(struct cli *cli, const struct manifest *manifest, size_t index, const char *query,
                 struct json_object **ret_answer, struct error *error)
{
    const struct api_service_spec *spec = manifest_spec(manifest, index);
    AUTO_FREE char *path = scheduler_service_path(spec->namespace_name, spec->service, query);
    if (session_call(cli_session(cli), "PUT", path, manifest_document(manifest, index), ret_answer,
                     error) == 0)
        return 0;
    manifest_error_locate(manifest, index, error);
    explain_refused_image(cli, spec->image, error);
    return -1;
}

static int apply_dry(struct cli *cli, const struct manifest *manifest, struct error *error)
{
    for (size_t i = 0; i < manifest_count(manifest); i++) {
        if (apply(cli, manifest, i, "?dry_run=1", NULL, error) < 0)
            return -1;
    }
    return 0;
}

static void print_valid(struct cli *cli, const struct manifest *manifest)
{
    struct json_object *services = json_object_new_array();
    for (size_t i = 0; i < manifest_count(manifest); i++) {
        const struct api_service_spec *spec = manifest_spec(manifest, i);
        json_object_array_add(services, api_service_spec_encode(spec));
        if (!cli_wants_document(cli))
            printf("%s/%s: valid\n", spec->namespace_name, spec->service);
    }
    if (!cli_wants_document(cli)) {
        json_object_put(services);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "services", services);
    cli_print_document(cli, document);
}

int validate_run(struct cli *cli, struct error *error)
{
    struct manifest *manifest;
    if (load_manifest(cli, &manifest, error) < 0)
        return -1;
    int result = 0;
    if (invocation_has(cli->invocation, "cluster"))
        result = apply_dry(cli, manifest, error);
    if (result == 0)
        print_valid(cli, manifest);
    manifest_destroy(manifest);
    return result;
}

/* Applies each service, so that they roll at the same time. */
static int apply_all(struct cli *cli, const struct manifest *manifest, struct change *changes,
                     struct error *error)
{
    /* With several, one that cannot be applied keeps the others from being changed. */
    if (manifest_count(manifest) > 1 && apply_dry(cli, manifest, error) < 0)
        return -1;
    for (size_t i = 0; i < manifest_count(manifest); i++) {
        const struct api_service_spec *spec = manifest_spec(manifest, i);
        AUTO_JSON struct json_object *answer = NULL;
        if (apply(cli, manifest, i, "", &answer, error) < 0 ||
            change_begin(&changes[i], cli, spec->namespace_name, spec->service, answer, error) < 0)
            return -1;
    }
    return 0;
}

/* The first failure is the one reported; the others are told at once. */
static int wait_all(struct change *changes, size_t count, struct error *error)
{
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        struct error reason = ERROR_INIT;
        if (change_wait(&changes[i], &reason) == 0)
            continue;
        if (result == 0)
            error_copy(error, &reason);
        else
            fprintf(stderr, "shoal: %s\n", reason.message);
        result = -1;
    }
    return result;
}

static void print_changes(struct cli *cli, const struct change *changes, size_t count)
{
    struct json_object *services = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        if (cli_wants_document(cli))
            json_object_array_add(services, change_document(&changes[i]));
        else
            change_print(&changes[i]);
    }
    if (!cli_wants_document(cli)) {
        json_object_put(services);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "services", services);
    cli_print_document(cli, document);
}

static int fetch_plans(struct cli *cli, const struct manifest *manifest, struct json_object *plans,
                       struct error *error)
{
    for (size_t i = 0; i < manifest_count(manifest); i++) {
        struct json_object *plan = NULL;
        if (apply(cli, manifest, i, "?plan=1", &plan, error) < 0)
            return -1;
        json_object_array_add(plans, plan);
    }
    return 0;
}

/* How the plans are told. */
typedef int plan_teller(struct cli *cli, struct json_object *plans, struct error *error);

static int plan_all(struct cli *cli, const struct manifest *manifest, plan_teller *tell,
                    struct error *error)
{
    struct json_object *plans = json_object_new_array();
    if (fetch_plans(cli, manifest, plans, error) < 0) {
        json_object_put(plans);
        return -1;
    }
    return tell(cli, plans, error);
}

int deploy_run(struct cli *cli, struct error *error)
{
    struct manifest *manifest;
    if (load_manifest(cli, &manifest, error) < 0)
        return -1;
    if (invocation_has(cli->invocation, "plan")) {
        int planned = plan_all(cli, manifest, plan_print, error);
        manifest_destroy(manifest);
        return planned;
    }
    size_t count = manifest_count(manifest);
    AUTO_FREE struct change *changes = xcalloc(count, sizeof *changes);
    int result = apply_all(cli, manifest, changes, error);
    if (result == 0) {
        result = wait_all(changes, count, error);
        print_changes(cli, changes, count);
    }
    manifest_destroy(manifest);
    return result;
}

int diff_run(struct cli *cli, struct error *error)
{
    struct manifest *manifest;
    if (load_manifest(cli, &manifest, error) < 0)
        return -1;
    int result = plan_all(cli, manifest, plan_print_differences, error);
    manifest_destroy(manifest);
    return result;
}
