/* trust rm: what runs by a key is told before, or while, the key goes. */
#include <stdio.h>

#include "cli/affected.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/xalloc.h"

static void print_removed(const char *name, const struct api_trust_answer *answer)
{
    if (answer->service_count == 0)
        printf("%s: %s; nothing that is deployed depends on it\n", name,
               answer->dry_run ? "would no longer be trusted" : "no longer trusted");
    else
        printf("%s: %s; what depends on it:\n", name,
               answer->dry_run ? "would no longer be trusted" : "no longer trusted");
    affected_print(answer, true);
}

int trust_remove_run(struct cli *cli, struct error *error)
{
    const char *name = cli_argument(cli, 0);
    bool dry_run = invocation_has(cli->invocation, "dry-run");
    AUTO_FREE char *segment = http_encode_segment(name);
    AUTO_FREE char *path = xasprintf("/v1/keys/%s%s", segment, dry_run ? "?dry_run=1" : "");
    AUTO_JSON struct json_object *document = NULL;
    struct api_trust_answer answer;
    if (session_call(cli_session(cli), "DELETE", path, NULL, &document, error) < 0 ||
        affected_read(document, &answer, error) < 0)
        return -1;
    if (cli_wants_document(cli)) {
        json_object_object_add(document, "name", json_object_new_string(name));
        json_object_object_add(document, "result",
                               json_object_new_string(dry_run ? "unchanged" : "removed"));
        cli_print_document(cli, json_object_get(document));
    } else {
        print_removed(name, &answer);
    }
    json_record_release(&api_trust_answer_record, &answer);
    return 0;
}
