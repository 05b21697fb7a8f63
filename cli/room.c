#include "cli/room.h"

#include "cli/format.h"
#include "cli/scheduler.h"
#include "lib/text.h"

static void describe_wish(struct cli *cli, const char *namespace_name, const char *service,
                          struct buffer *text)
{
    struct api_service_view view = {0};
    struct api_service_spec spec = {0};
    if (scheduler_service(cli, namespace_name, service, &view, NULL, NULL) < 0)
        return;
    if (view.spec != NULL && api_service_spec_decode(view.spec, &spec, NULL) == 0) {
        char memory[TEXT_SIZE_MAX] = "the image's default";
        if (spec.resources.memory > 0)
            text_format_size(spec.resources.memory, memory, sizeof memory);
        buffer_printf(text, "\nEach instance asks for %s memory", memory);
        if (spec.resources.vcpus > 0)
            buffer_printf(text, ", %u vcpu%s", spec.resources.vcpus,
                          spec.resources.vcpus > 1 ? "s" : "");
        if (spec.arch[0] != '\0')
            buffer_printf(text, ", %s", spec.arch);
        buffer_append_text(text, ".");
        api_service_spec_release(&spec);
    }
    json_record_release(&api_service_view_record, &view);
}

static void describe_node(const struct api_node_view *node, struct buffer *text)
{
    char available[FORMAT_MAX], memory[FORMAT_MAX];
    uint64_t used = node->memory_used < node->memory ? node->memory_used : node->memory;
    unsigned vcpus = node->vcpus_used < node->vcpus ? node->vcpus - node->vcpus_used : 0;
    format_bytes(node->memory - used, available);
    format_bytes(node->memory, memory);
    buffer_printf(text, "\n  node %s (%s): %s of %s memory, %u of %u vcpus free", node->name,
                  node->state, available, memory, vcpus, node->vcpus);
    for (size_t i = 0; i < node->machine_count; i++)
        buffer_printf(text, "%s%s", i == 0 ? ", runs " : ", ", node->machines[i].arch);
}

void room_describe(struct cli *cli, const char *namespace_name, const char *service,
                   struct buffer *text)
{
    struct view_list AUTO_VIEWS nodes = {0};
    describe_wish(cli, namespace_name, service, text);
    if (scheduler_nodes(cli, &nodes, NULL) < 0)
        return;
    if (nodes.count == 0)
        buffer_append_text(text, "\nThere is no node: start one with `shoal up` or `shoal-agent`.");
    for (size_t i = 0; i < nodes.count; i++)
        describe_node((const struct api_node_view *)nodes.items + i, text);
}
