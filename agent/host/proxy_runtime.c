#include "agent/host/proxy_runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define ADMIN_MAINTENANCE 0x01
#define ADMIN_DRAIN       0x08
#define ANSWER_MAX        (8U << 20)
/* HAProxy cuts a command line at its buffer's size (16 KiB). */
#define COMMANDS_MAX 12288

static int connect_to(const char *path, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 3};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, ERROR_INVALID, "HAProxy's socket path %s is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    AUTO_CLOSE int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 ||
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
        connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(error, errno, "connect to HAProxy at %s", path);
    return TAKE_DESCRIPTOR(connection);
}

int proxy_runtime_command(const char *socket_path, const char *commands, struct buffer *ret_answer,
                          struct error *error)
{
    AUTO_CLOSE int connection = connect_to(socket_path, error);
    if (connection < 0)
        return -1;
    AUTO_FREE char *line = xasprintf("%s\n", commands);
    if (send(connection, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        return error_set_errno(error, errno, "send to HAProxy at %s", socket_path);
    char chunk[16384];
    for (;;) {
        ssize_t got = recv(connection, chunk, sizeof chunk, 0);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read HAProxy's answer at %s", socket_path);
        if (ret_answer->length + (size_t)got > ANSWER_MAX)
            return error_set(error, ERROR_TOO_LARGE, "HAProxy's answer at %s", socket_path);
        buffer_append(ret_answer, chunk, (size_t)got);
    }
}

/* be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight ...
 * srv_port (19th) */
bool proxy_runtime_parse_server(const char *line, struct proxy_runtime_server *ret_server)
{
    AUTO_FREE char *copy = xstrdup(line);
    char *fields[20] = {0}, *rest = NULL;
    size_t count = 0;
    for (char *field = strtok_r(copy, " ", &rest); field != NULL && count < ARRAY_LENGTH(fields);
         field = strtok_r(NULL, " ", &rest))
        fields[count++] = field;
    struct proxy_runtime_server server = {0};
    uint64_t admin, weight, port;
    if (count < 19 || fields[3][0] != 'i' ||
        !text_copy(server.id, sizeof server.id, fields[3] + 1) ||
        !text_copy(server.address, sizeof server.address, fields[4]) ||
        !text_parse_u64(fields[6], UINT32_MAX, &admin) ||
        !text_parse_u64(fields[7], UINT32_MAX, &weight) ||
        !text_parse_u64(fields[18], UINT16_MAX, &port))
        return false;
    server.admin = (uint32_t)admin;
    server.weight = (uint32_t)weight;
    server.port = (uint32_t)port;
    *ret_server = server;
    return true;
}

struct server_list {
    struct proxy_runtime_server *servers;
    size_t count;
};

static int list_servers(const char *socket_path, struct server_list *list, struct error *error)
{
    AUTO_BUFFER struct buffer answer = {0};
    if (proxy_runtime_command(socket_path, "show servers state port", &answer, error) < 0)
        return -1;
    AUTO_FREE char *text = buffer_take(&answer);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        struct proxy_runtime_server server;
        if (!proxy_runtime_parse_server(line, &server))
            continue;
        list->servers = xreallocarray(list->servers, list->count + 1, sizeof *list->servers);
        list->servers[list->count++] = server;
    }
    return 0;
}

static const struct proxy_server *find_wanted(const struct proxy_frontend *frontend, const char *id)
{
    for (size_t i = 0; i < frontend->server_count; i++) {
        if (strcmp(frontend->servers[i].id, id) == 0)
            return &frontend->servers[i];
    }
    return NULL;
}

static const struct proxy_runtime_server *find_present(const struct server_list *list,
                                                       const char *id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->servers[i].id, id) == 0)
            return &list->servers[i];
    }
    return NULL;
}

static void append_changes(const struct proxy_server *wanted,
                           const struct proxy_runtime_server *present, struct buffer *commands)
{
    if (present == NULL)
        buffer_printf(commands, "add server port/i%s %s:%" PRIu32 " weight %" PRIu32 ";",
                      wanted->id, wanted->address, wanted->port, wanted->weight);
    else if (strcmp(present->address, wanted->address) != 0 || present->port != wanted->port)
        buffer_printf(commands, "set server port/i%s addr %s port %" PRIu32 ";", wanted->id,
                      wanted->address, wanted->port);
    if (present != NULL && !wanted->drain && present->weight != wanted->weight)
        buffer_printf(commands, "set server port/i%s weight %" PRIu32 ";", wanted->id,
                      wanted->weight);
    /* A new server is in maintenance. */
    uint32_t admin = present != NULL ? present->admin : ADMIN_MAINTENANCE;
    if (wanted->drain && admin != ADMIN_DRAIN)
        buffer_printf(commands, "set server port/i%s state drain;", wanted->id);
    else if (!wanted->drain && admin != 0)
        buffer_printf(commands, "set server port/i%s state ready;", wanted->id);
}

/* Runs what is collected when there is much of it, or at the end. */
static int run_collected(const char *socket_path, struct buffer *commands, bool all,
                         struct error *error)
{
    if (commands->length == 0 || (!all && commands->length < COMMANDS_MAX))
        return 0;
    AUTO_BUFFER struct buffer answer = {0};
    int result = proxy_runtime_command(socket_path, buffer_text(commands), &answer, error);
    log_debug("HAProxy changed", "commands", buffer_text(commands), "answer", buffer_text(&answer));
    buffer_clear(commands);
    return result;
}

/* What is not wanted gets nothing new, loses what it has, and goes. */
static void append_removal(const char *id, struct buffer *commands)
{
    buffer_printf(commands,
                  "set server port/i%s state maint;shutdown sessions server port/i%s;"
                  "del server port/i%s;",
                  id, id, id);
}

static int change_all(const char *socket_path, const struct proxy_frontend *frontend,
                      const struct server_list *list, struct error *error)
{
    AUTO_BUFFER struct buffer commands = {0};
    for (size_t i = 0; i < frontend->server_count; i++) {
        append_changes(&frontend->servers[i], find_present(list, frontend->servers[i].id),
                       &commands);
        if (run_collected(socket_path, &commands, false, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (find_wanted(frontend, list->servers[i].id) == NULL)
            append_removal(list->servers[i].id, &commands);
        if (run_collected(socket_path, &commands, false, error) < 0)
            return -1;
    }
    return run_collected(socket_path, &commands, true, error);
}

/* Whether HAProxy now has what is wanted; servers on their way out are `pending`. */
static int check_result(const struct proxy_frontend *frontend, const struct server_list *list,
                        bool *ret_pending, struct error *error)
{
    bool pending = false;
    for (size_t i = 0; i < frontend->server_count; i++) {
        const struct proxy_server *wanted = &frontend->servers[i];
        const struct proxy_runtime_server *present = find_present(list, wanted->id);
        if (present == NULL || present->admin != (wanted->drain ? ADMIN_DRAIN : 0U) ||
            (!wanted->drain && present->weight != wanted->weight) ||
            present->port != wanted->port || strcmp(present->address, wanted->address) != 0)
            return error_set(error, ERROR_INTERNAL,
                             "HAProxy did not take over instance %s behind port %" PRIu32,
                             wanted->id, frontend->publish);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (find_wanted(frontend, list->servers[i].id) != NULL)
            continue;
        if ((list->servers[i].admin & ADMIN_MAINTENANCE) == 0)
            return error_set(error, ERROR_INTERNAL,
                             "HAProxy did not let go of instance %s behind port %" PRIu32,
                             list->servers[i].id, frontend->publish);
        pending = true;
    }
    *ret_pending = pending;
    return 0;
}

int proxy_runtime_apply(const char *socket_path, const struct proxy_frontend *frontend,
                        bool *ret_pending, struct error *error)
{
    struct server_list before = {0}, after = {0};
    int result = list_servers(socket_path, &before, error);
    if (result == 0)
        result = change_all(socket_path, frontend, &before, error);
    if (result == 0)
        result = list_servers(socket_path, &after, error);
    if (result == 0)
        result = check_result(frontend, &after, ret_pending, error);
    free(before.servers);
    free(after.servers);
    return result;
}

/* bkname/svname bkid/svid addr port - purge_delay used_cur ... */
int proxy_runtime_count(const char *socket_path, const char *id, uint32_t *total,
                        struct error *error)
{
    AUTO_BUFFER struct buffer answer = {0};
    char name[32];
    if (proxy_runtime_command(socket_path, "show servers conn port", &answer, error) < 0)
        return -1;
    snprintf(name, sizeof name, "port/i%s ", id);
    const char *line = strstr(buffer_text(&answer), name);
    for (int field = 0; line != NULL && field < 6; field++) {
        line = strchr(line, ' ');
        if (line != NULL)
            line++;
    }
    if (line != NULL)
        *total += (uint32_t)strtoul(line, NULL, 10);
    return 0;
}
