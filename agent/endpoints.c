#include "agent/endpoints.h"

#include <stdio.h>
#include <string.h>

#include "lib/xalloc.h"

static void set_frontend(struct api_endpoints *endpoints, const struct api_frontend *frontend)
{
    size_t i = 0;
    while (i < endpoints->frontend_count && endpoints->frontends[i].publish != frontend->publish)
        i++;
    if (i < endpoints->frontend_count) {
        json_record_release(&api_frontend_record, &endpoints->frontends[i]);
    } else {
        endpoints->frontends = xreallocarray(endpoints->frontends, endpoints->frontend_count + 1,
                                             sizeof *endpoints->frontends);
        endpoints->frontend_count++;
    }
    endpoints->frontends[i] = (struct api_frontend){0};
    json_record_copy(&api_frontend_record, frontend, &endpoints->frontends[i]);
}

void endpoints_merge(struct api_endpoints *current, const struct api_endpoints *update)
{
    if (update->full) {
        json_record_release(&api_endpoints_record, current);
        *current = (struct api_endpoints){0};
        json_record_copy(&api_endpoints_record, update, current);
        return;
    }
    memcpy(current->cluster, update->cluster, sizeof current->cluster);
    current->term = update->term;
    current->revision = update->revision;
    for (size_t i = 0; i < update->frontend_count; i++)
        set_frontend(current, &update->frontends[i]);
}

static struct host_message frontend_message(const struct api_frontend *frontend)
{
    struct host_message message = {.type = HOST_PROXY_FRONTEND};
    snprintf(message.proxy_frontend.name, sizeof message.proxy_frontend.name, "%s.%s",
             frontend->namespace_name, frontend->service);
    message.proxy_frontend.publish = frontend->publish;
    message.proxy_frontend.mode = (uint32_t)frontend->mode;
    return message;
}

static struct host_message server_message(const struct api_server *server)
{
    struct host_message message = {.type = HOST_PROXY_SERVER};
    memcpy(message.proxy_server.id, server->id, sizeof message.proxy_server.id);
    memcpy(message.proxy_server.address, server->address, sizeof message.proxy_server.address);
    message.proxy_server.port = server->port;
    message.proxy_server.state = (uint32_t)server->state;
    message.proxy_server.weight = server->has_weight ? server->weight : 1;
    return message;
}

struct host_message *endpoints_messages(const struct api_endpoints *endpoints, size_t *ret_count)
{
    size_t count = 2;
    for (size_t i = 0; i < endpoints->frontend_count; i++)
        count += 1 + endpoints->frontends[i].server_count;
    struct host_message *messages = xcalloc(count, sizeof *messages);
    size_t at = 0;
    messages[at].type = HOST_PROXY_BEGIN;
    messages[at++].proxy.revision = endpoints->revision;
    for (size_t i = 0; i < endpoints->frontend_count; i++) {
        const struct api_frontend *frontend = &endpoints->frontends[i];
        messages[at++] = frontend_message(frontend);
        for (size_t j = 0; j < frontend->server_count; j++)
            messages[at++] = server_message(&frontend->servers[j]);
    }
    messages[at].type = HOST_PROXY_COMMIT;
    messages[at++].proxy.revision = endpoints->revision;
    *ret_count = at;
    return messages;
}

static bool contains(const struct json_strings *strings, const char *text)
{
    for (size_t i = 0; i < strings->count; i++) {
        if (strcmp(strings->items[i], text) == 0)
            return true;
    }
    return false;
}

void endpoints_draining(const struct api_endpoints *endpoints, struct json_strings *ret_ids)
{
    struct json_strings ids = {0};
    for (size_t i = 0; i < endpoints->frontend_count; i++) {
        const struct api_frontend *frontend = &endpoints->frontends[i];
        for (size_t j = 0; j < frontend->server_count; j++) {
            const struct api_server *server = &frontend->servers[j];
            if (server->state == API_SERVER_DRAIN && !contains(&ids, server->id))
                json_strings_add(&ids, server->id);
        }
    }
    *ret_ids = ids;
}
