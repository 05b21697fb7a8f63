/* What the program tells about itself: version, help, completion. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/api/protocol.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

/* A daemon's {"version"}, or NULL when it does not answer. */
static char *version_at(struct cli *cli, const char *address)
{
    AUTO_FREE char *url = xasprintf("%s/version", address);
    AUTO_FREE char *text = NULL;
    AUTO_JSON struct json_object *answer = NULL;
    struct json_object *version;
    if (session_fetch(cli_session(cli), "GET", url, &text, NULL) < 0 ||
        json_parse(text, strlen(text), &answer, NULL) < 0 ||
        !json_object_object_get_ex(answer, "version", &version))
        return NULL;
    return xstrdup(json_object_get_string(version));
}

int version_run(struct cli *cli, struct error *error)
{
    (void)error;
    AUTO_FREE char *scheduler = version_at(cli, addresses_current(&cli->settings.schedulers));
    AUTO_FREE char *registry = version_at(cli, cli->settings.registry);
    if (!cli_wants_document(cli)) {
        printf("shoal      %s (protocol %d)\n", SHOAL_VERSION, SHOAL_PROTOCOL);
        printf("scheduler  %s\n", scheduler != NULL ? scheduler : "not reachable");
        printf("registry   %s\n", registry != NULL ? registry : "not reachable");
        return 0;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "shoal", json_object_new_string(SHOAL_VERSION));
    json_object_object_add(document, "protocol", json_object_new_int(SHOAL_PROTOCOL));
    json_object_object_add(document, "scheduler",
                           scheduler != NULL ? json_object_new_string(scheduler) : NULL);
    json_object_object_add(document, "registry",
                           registry != NULL ? json_object_new_string(registry) : NULL);
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
