/* policy apply, list, rm, test. */
#include <stdio.h>
#include <string.h>

#include "cli/affected.h"
#include "cli/lists.h"
#include "cli/scheduler.h"
#include "image-format/policy.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "lib/yaml.h"

#define FILE_MAX     (1u << 20) /* bytes */
#define POLICIES_MAX 256        /* in a file */

/* --- apply --- */

struct policy_file {
    struct yaml_documents *documents;
    size_t count;
    struct {
        char name[NAME_MAX_TEXT];
        enum api_policy_mode mode;
        struct json_object *body; /* as it is sent */
    } policies[POLICIES_MAX];
};

static void file_release(struct policy_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        json_object_put(file->policies[i].body);
    yaml_destroy(file->documents);
    free(file);
}

static int read_policy(struct policy_file *file, size_t index, struct error *error)
{
    struct json_object *body = NULL;
    struct api_policy policy;
    json_object_deep_copy(yaml_value(file->documents, index), &body, NULL);
    if (api_policy_decode(body, &policy, error) < 0) {
        json_object_put(body);
        return -1;
    }
    strcpy(file->policies[index].name, policy.name);
    file->policies[index].mode = policy.mode;
    file->policies[index].body = body;
    file->count++;
    int result = policy_check(&policy, error);
    for (size_t i = 0; i < index && result == 0; i++) {
        if (strcmp(file->policies[i].name, policy.name) != 0)
            continue;
        result =
            error_set(error, ERROR_INVALID, "the policy %s stands in this file twice", policy.name);
        if (error != NULL)
            strcpy(error->pointer, "/name");
    }
    json_record_release(&api_policy_record, &policy);
    return result;
}

static int read_policies(struct policy_file *file, const char *name, struct error *error)
{
    size_t count = yaml_count(file->documents);
    if (count == 0)
        return error_set(error, ERROR_INVALID,
                         "%s: no policy in it: one needs at least \"name\" and \"match\"", name);
    if (count > POLICIES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%s: %zu policies, at most %d fit one file", name,
                         count, POLICIES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (read_policy(file, i, error) < 0)
            return yaml_error_locate(file->documents, i, error);
    }
    return 0;
}

static int load(struct cli *cli, struct policy_file **ret_file, struct error *error)
{
    const char *path = invocation_text(cli->invocation, "file");
    bool standard_input = strcmp(path, "-") == 0;
    const char *name = standard_input ? "standard input" : path;
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(standard_input ? "/dev/stdin" : path, FILE_MAX, &text, &length, error) < 0)
        return -1;
    struct policy_file *file = xcalloc(1, sizeof *file);
    if (yaml_parse(name, text, length, &file->documents, error) < 0) {
        free(file);
        return -1;
    }
    if (read_policies(file, name, error) < 0) {
        file_release(file);
        return -1;
    }
    *ret_file = file;
    return 0;
}

static char *policy_path(const char *name)
{
    AUTO_FREE char *segment = http_encode_segment(name);
    return xasprintf("/v1/policies/%s", segment);
}

/* Takes the place of the document in `list`, or prints. */
static int tell_change(struct cli *cli, const char *name, const char *what,
                       struct json_object *document, struct json_object *list, struct error *error)
{
    struct api_trust_answer answer;
    if (affected_read(document, &answer, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        json_object_object_add(document, "name", json_object_new_string(name));
        json_object_array_add(list, json_object_get(document));
    } else {
        printf("%s: %s\n", name, answer.changed ? what : "no change");
        affected_print(&answer, false);
    }
    json_record_release(&api_trust_answer_record, &answer);
    return 0;
}

static int apply_one(struct cli *cli, const struct policy_file *file, size_t index,
                     struct json_object *list, struct error *error)
{
    AUTO_FREE char *path = policy_path(file->policies[index].name);
    AUTO_FREE char *what =
        xasprintf("applied (%s)", api_policy_mode_names[file->policies[index].mode]);
    AUTO_JSON struct json_object *answer = NULL;
    if (session_call(cli_session(cli), "PUT", path, file->policies[index].body, &answer, error) <
        0) {
        if (error != NULL && error->pointer[0] != '\0')
            yaml_error_locate(file->documents, index, error);
        return -1;
    }
    return tell_change(cli, file->policies[index].name, what, answer, list, error);
}

static void print_list(struct cli *cli, struct json_object *list)
{
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "policies", list);
    cli_print_document(cli, document);
}

int policy_apply_run(struct cli *cli, struct error *error)
{
    struct policy_file *file;
    if (load(cli, &file, error) < 0)
        return -1;
    struct json_object *list = json_object_new_array();
    int result = 0;
    for (size_t i = 0; i < file->count && result == 0; i++)
        result = apply_one(cli, file, i, list, error);
    if (result == 0 && cli_wants_document(cli))
        print_list(cli, json_object_get(list));
    json_object_put(list);
    file_release(file);
    return result;
}

/* --- list, rm --- */

static void cell_of_list(struct table *table, const struct json_strings *list, const char *none)
{
    AUTO_BUFFER struct buffer text = {0};
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? "," : "", list->items[i]);
    table_cell(table, "%s", list->count > 0 ? buffer_text(&text) : none);
}

static void add_row(struct table *table, const struct api_policy *policy)
{
    AUTO_BUFFER struct buffer types = {0};
    char age[TEXT_DURATION_MAX] = "";
    for (size_t i = 0; i < policy->attestation_count; i++)
        buffer_printf(&types, "%s%s", i > 0 ? "," : "", policy->attestations[i].type);
    if (policy->max_age_ms > 0)
        text_format_duration(policy->max_age_ms, age, sizeof age);
    table_cell(table, "%s", policy->name);
    cell_of_list(table, &policy->match, "");
    table_cell(table, "%u", policy->require);
    cell_of_list(table, &policy->keys, "any trusted");
    table_cell(table, "%s", buffer_text(&types));
    table_cell(table, "%s", age);
    table_cell(table, "%s", api_policy_mode_names[policy->mode]);
    table_cell(table, "%s", api_on_revoke_names[policy->on_revoke]);
    cell_of_list(table, &policy->families, "");
    cell_of_list(table, &policy->registries, "");
}

int policy_list_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {{"NAME", false, false},
                                                  {"MATCH", false, false},
                                                  {"REQUIRE", true, false},
                                                  {"KEYS", false, false},
                                                  {"ATTESTATIONS", false, false},
                                                  {"MAX AGE", false, false},
                                                  {"MODE", false, false},
                                                  {"ON REVOKE", false, false},
                                                  {"FAMILIES", false, true},
                                                  {"REGISTRIES", false, true},
                                                  {NULL, false, false}};
    struct view_list AUTO_VIEWS policies = {0};
    if (scheduler_list(cli, "/v1/policies", "policies", &api_policy_record, &policies, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, json_object_get(policies.document));
        return 0;
    }
    struct table *table = table_create(columns);
    const struct api_policy *items = policies.items;
    for (size_t i = 0; i < policies.count; i++)
        add_row(table, &items[i]);
    lists_print_table(cli, table);
    if (policies.count == 0)
        fprintf(stderr, "shoal: no policy: one signature by any trusted key is enough to boot\n");
    return 0;
}

int policy_remove_run(struct cli *cli, struct error *error)
{
    const char *name = cli_argument(cli, 0);
    AUTO_FREE char *path = policy_path(name);
    AUTO_JSON struct json_object *answer = NULL;
    AUTO_JSON struct json_object *list = json_object_new_array();
    if (session_call(cli_session(cli), "DELETE", path, NULL, &answer, error) < 0 ||
        tell_change(cli, name, "removed", answer, list, error) < 0)
        return -1;
    if (cli_wants_document(cli))
        print_list(cli, json_object_get(list));
    return 0;
}

/* --- test --- */

static void say_list(const char *label, const struct json_strings *list, const char *none)
{
    for (size_t i = 0; i < list->count; i++) {
        struct buffer AUTO_BUFFER text = {0};
        text_append_safe(&text, list->items[i]);
        printf("  %-13s %s\n", i == 0 ? label : "", buffer_text(&text));
    }
    if (list->count == 0 && none != NULL)
        printf("  %-13s %s\n", label, none);
}

static void print_verdict(const struct api_verdict *verdict)
{
    printf("%s (%s): %s\n", verdict->image, verdict->digest, api_verdict_names[verdict->outcome]);
    for (size_t i = 0; i < verdict->platform_count; i++) {
        const struct api_platform_verdict *platform = &verdict->platforms[i];
        printf("%s%s%s: %s\n", platform->arch, platform->family[0] != '\0' ? ", " : "",
               platform->family, api_verdict_names[platform->outcome]);
        printf("  %-13s %s\n", "policy", platform->policy[0] != '\0' ? platform->policy : "none");
        say_list("because", &platform->reasons, NULL);
        say_list("signed by", &platform->signed_by, "no trusted key");
        say_list("attestations", &platform->attestations, NULL);
    }
}

/* The first platform that is refused says why. */
static int refuse(const struct api_verdict *verdict, struct error *error)
{
    for (size_t i = 0; i < verdict->platform_count; i++) {
        const struct api_platform_verdict *platform = &verdict->platforms[i];
        if (platform->outcome != POLICY_REFUSED)
            continue;
        return error_set(error, ERROR_POLICY, "image %s may not boot (%s)%s%s: %s", verdict->image,
                         platform->arch, platform->policy[0] != '\0' ? ", policy " : "",
                         platform->policy,
                         platform->reasons.count > 0 ? platform->reasons.items[0] : "refused");
    }
    return error_set(error, ERROR_POLICY, "image %s may not boot", verdict->image);
}

int policy_test_run(struct cli *cli, struct error *error)
{
    AUTO_JSON struct json_object *body = json_object_new_object();
    AUTO_JSON struct json_object *answer = NULL;
    struct api_verdict verdict = {0};
    json_object_object_add(body, "image", json_object_new_string(cli_argument(cli, 0)));
    json_object_object_add(body, "namespace", json_object_new_string(cli->settings.namespace_name));
    if (session_call(cli_session(cli), "POST", "/v1/verdicts", body, &answer, error) < 0)
        return -1;
    if (json_decode(&api_verdict_record, answer, JSON_LENIENT, &verdict, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    if (cli_wants_document(cli))
        cli_print_document(cli, json_object_get(answer));
    else
        print_verdict(&verdict);
    int result = verdict.outcome == POLICY_REFUSED ? refuse(&verdict, error) : 0;
    json_record_release(&api_verdict_record, &verdict);
    return result;
}
