/* What the program tells about itself: version, help, completion. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/api/protocol.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define ABOUT_TIMEOUT_MS 5000

/* A daemon's {"version", ...}, or NULL when it does not answer. */
static struct json_object *about_daemon(struct cli *cli, const char *address)
{
    AUTO_FREE char *url = xasprintf("%s/version", address);
    AUTO_FREE char *text = NULL;
    AUTO_JSON struct json_object *answer = NULL;
    if (session_fetch(cli_session(cli), "GET", url, ABOUT_TIMEOUT_MS, &text, NULL) < 0 ||
        json_parse(text, strlen(text), &answer, NULL) < 0)
        return NULL;
    return TAKE_POINTER(answer);
}

static const char *text_in(struct json_object *object, const char *key, const char *otherwise)
{
    struct json_object *value;
    if (object == NULL || !json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return otherwise;
    return json_object_get_string(value);
}

/* What a phase of a scheduler's life means for who asks. */
static const char *role_of(struct json_object *scheduler)
{
    const char *phase = text_in(scheduler, "phase", "");
    if (strcmp(phase, "leading") == 0)
        return "leads";
    return phase[0] != '\0' ? "stands by" : "";
}

static void print_schedulers(struct cli *cli)
{
    const struct addresses *schedulers = &cli->settings.schedulers;
    for (size_t i = 0; i < schedulers->count; i++) {
        AUTO_JSON struct json_object *scheduler = about_daemon(cli, schedulers->urls[i]);
        const char *version = text_in(scheduler, "version", "not reachable");
        if (schedulers->count == 1)
            printf("scheduler  %s\n", version);
        else
            printf("scheduler  %s  %s  %s\n", schedulers->urls[i], version, role_of(scheduler));
    }
}

static struct json_object *text_or_null(const char *text)
{
    return text != NULL ? json_object_new_string(text) : NULL;
}

/* The first that answers is `scheduler`, as if it were the only one. */
static void add_schedulers(struct cli *cli, struct json_object *document)
{
    const struct addresses *schedulers = &cli->settings.schedulers;
    struct json_object *list = json_object_new_array();
    AUTO_FREE char *first = NULL;
    for (size_t i = 0; i < schedulers->count; i++) {
        AUTO_JSON struct json_object *scheduler = about_daemon(cli, schedulers->urls[i]);
        struct json_object *item = json_object_new_object();
        const char *version = text_in(scheduler, "version", NULL);
        json_object_object_add(item, "address", json_object_new_string(schedulers->urls[i]));
        json_object_object_add(item, "version", text_or_null(version));
        json_object_object_add(item, "phase", text_or_null(text_in(scheduler, "phase", NULL)));
        json_object_object_add(item, "leader", text_or_null(text_in(scheduler, "leader", NULL)));
        json_object_array_add(list, item);
        if (first == NULL && version != NULL)
            first = xstrdup(version);
    }
    json_object_object_add(document, "scheduler", text_or_null(first));
    json_object_object_add(document, "schedulers", list);
}

int version_run(struct cli *cli, struct error *error)
{
    (void)error;
    AUTO_JSON struct json_object *registry = about_daemon(cli, cli->settings.registry);
    if (!cli_wants_document(cli)) {
        printf("shoal      %s (protocol %d)\n", SHOAL_VERSION, SHOAL_PROTOCOL);
        print_schedulers(cli);
        printf("registry   %s\n", text_in(registry, "version", "not reachable"));
        return 0;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "shoal", json_object_new_string(SHOAL_VERSION));
    json_object_object_add(document, "protocol", json_object_new_int(SHOAL_PROTOCOL));
    add_schedulers(cli, document);
    json_object_object_add(document, "registry", text_or_null(text_in(registry, "version", NULL)));
    cli_print_document(cli, document);
    return 0;
}

int help_run(struct cli *cli, struct error *error)
{
    struct buffer AUTO_BUFFER text = {0};
    if (help_words(cli->invocation->arguments, cli->invocation->argument_count, &text, error) < 0) {
        cli->wrong_usage = true;
        return -1;
    }
    fputs(buffer_text(&text), stdout);
    return 0;
}

int completion_run(struct cli *cli, struct error *error)
{
    const char *what = cli_argument(cli, 0);
    if (strcmp(what, "bash") == 0) {
        fputs(completion_bash, stdout);
        return 0;
    }
    if (strcmp(what, "words") != 0)
        return cli_refuse_usage(cli, error, "completion for \"%s\": only bash is known", what);
    struct buffer AUTO_BUFFER candidates = {0};
    complete_words(cli->invocation->arguments + 1, cli->invocation->argument_count - 1,
                   &candidates);
    fputs(buffer_text(&candidates), stdout);
    return 0;
}
