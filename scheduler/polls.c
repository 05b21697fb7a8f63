/* Long polls as requests: what publication.c answers now or later, over HTTP. */
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/publication.h"

struct waiting {
    struct http_request *request;
    struct publication_wait *wait; /* NULL while publication_poll runs */
};

static void answer_compacted(struct http_request *request)
{
    struct error error;
    error_set(&error, ERROR_COMPACTED,
              "this revision is not of our history: fetch the whole document, without `after`");
    http_request_respond_error(request, &error);
}

static void on_answer(enum publication_news news, const char *text, void *data)
{
    struct waiting *waiting = data;
    switch (news) {
    case PUBLICATION_DOCUMENT:
        http_request_respond(waiting->request, 200, "application/json", text, strlen(text));
        break;
    case PUBLICATION_UNCHANGED:
        http_request_respond(waiting->request, 204, NULL, NULL, 0);
        break;
    case PUBLICATION_COMPACTED:
        answer_compacted(waiting->request);
        break;
    }
    free(waiting);
}

static void on_abandoned(struct http_request *request, void *data)
{
    struct waiting *waiting = data;
    (void)request;
    publication_forget(waiting->wait);
    free(waiting);
}

void publication_poll_request(struct core *core, struct http_request *request,
                              struct model_node *node, enum publication_kind kind)
{
    const char *after = http_request_query(request, "after");
    const char *term = http_request_query(request, "term");
    struct publication_poll poll = {.kind = kind,
                                    .has_after = after != NULL,
                                    .term = store_identity(core->store)->term,
                                    .answer = on_answer};
    if ((after != NULL && !text_parse_u64(after, UINT64_MAX, &poll.after)) ||
        (term != NULL && !text_parse_u64(term, UINT64_MAX, &poll.term))) {
        struct error error;
        error_set(&error, ERROR_INVALID, "after and term are numbers");
        http_request_respond_error(request, &error);
        return;
    }
    struct waiting *waiting = xcalloc(1, sizeof *waiting);
    waiting->request = request;
    poll.data = waiting;
    struct publication_wait *wait = publication_poll(core->publication, node, &poll);
    if (wait == NULL)
        return;
    waiting->wait = wait;
    http_request_on_abandoned(request, on_abandoned, waiting);
}
