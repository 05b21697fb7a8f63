#include "cli/ports.h"

#include <stdio.h>

#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/buffer.h"
#include "lib/text.h"

const char *ports_unbound(const struct api_node_view *node, uint32_t publish)
{
    for (size_t i = 0; i < node->frontend_count; i++) {
        if (node->frontends[i].publish == publish && !node->frontends[i].bound)
            return node->frontends[i].message;
    }
    return NULL;
}

static void warn_port(const struct view_list *nodes, const char *service, uint32_t publish)
{
    const struct api_node_view *views = nodes->items;
    for (size_t i = 0; publish != 0 && i < nodes->count; i++) {
        const char *why = ports_unbound(&views[i], publish);
        struct buffer AUTO_BUFFER text = {0};
        if (why == NULL)
            continue;
        text_append_safe(&text, why);
        fprintf(stderr, "shoal: %s: port %u does not answer on node %s: %s\n", service, publish,
                views[i].name, buffer_text(&text));
    }
}

void ports_warn(struct cli *cli, const char *namespace_name, const char *service)
{
    struct view_list AUTO_VIEWS nodes = {0};
    struct api_service_view view = {0};
    struct api_service_spec spec = {0};
    if (scheduler_nodes(cli, &nodes, NULL) < 0 ||
        scheduler_service(cli, namespace_name, service, &view, NULL, NULL) < 0)
        return;
    if (view.spec != NULL && api_service_spec_decode(view.spec, &spec, NULL) == 0) {
        for (size_t i = 0; i < spec.port_count; i++)
            warn_port(&nodes, service, spec.ports[i].publish);
        api_service_spec_release(&spec);
    }
    json_record_release(&api_service_view_record, &view);
}
