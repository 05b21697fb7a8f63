/* The scheduler's events: read whole or followed, filtered by service, printed. */
#pragma once

#include "cli/cli.h"
#include "lib/api/views.h"

struct event_list {
    struct api_event *items;
    size_t count;
};

/* The last `most` events of the service (of everything with `service` NULL). */
int events_fetch(struct cli *cli, const char *namespace_name, const char *service, size_t most,
                 struct event_list *ret_list, struct error *error);
void event_list_release(struct event_list *list);
void events_print_table(const struct cli *cli, const struct event_list *list);
