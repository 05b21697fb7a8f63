/* The sockets that servers listen on. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/http_server_internal.h"

#define BACKLOG 512

static int parse_address(const struct http_server_options *options,
                         struct sockaddr_storage *address, socklen_t *length, struct error *error)
{
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, options->address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(options->port);
        *length = sizeof *four;
    } else if (inet_pton(AF_INET6, options->address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(options->port);
        *length = sizeof *six;
    } else {
        return error_set(error, ERROR_INVALID, "\"%s\" is not a numeric address such as 127.0.0.1",
                         options->address);
    }
    return 0;
}

uint16_t http_server_port_of(int descriptor)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static int listen_on_address(const struct http_server_options *options, int *ret_descriptor,
                             struct error *error)
{
    struct sockaddr_storage address;
    socklen_t length = 0;
    int on = 1;
    if (parse_address(options, &address, &length, error) < 0)
        return -1;
    AUTO_CLOSE int descriptor =
        socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create a socket");
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ss_family == AF_INET6)
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(descriptor, (struct sockaddr *)&address, length) < 0 ||
        listen(descriptor, BACKLOG) < 0) {
        if (errno == EADDRINUSE)
            return error_set(error, ERROR_CONFLICT,
                             "%s:%u is taken by another program: stop it or choose another port",
                             options->address, options->port);
        return error_set_errno(error, errno, "listen on %s:%u", options->address, options->port);
    }
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

/* --- a UNIX socket --- */

static int fill_path(const char *path, struct sockaddr_un *address, struct error *error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path)
        return error_set(error, ERROR_INVALID,
                         "%s is longer than the %zu bytes that a socket's path may have: choose a "
                         "shorter folder",
                         path, sizeof address->sun_path - 1);
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

/* A socket that is left from a server that is gone: nobody accepts there. */
static int remove_stale(const struct sockaddr_un *address, struct error *error)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : error_set_errno(error, errno, "%s", address->sun_path);
    AUTO_CLOSE int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!S_ISSOCK(status.st_mode) ||
        connect(probe, (const struct sockaddr *)address, sizeof *address) == 0)
        return error_set(error, ERROR_CONFLICT, "%s is in use", address->sun_path);
    if (unlink(address->sun_path) < 0)
        return error_set_errno(error, errno, "remove the old socket %s", address->sun_path);
    return 0;
}

static int listen_on_path(const char *path, int *ret_descriptor, struct error *error)
{
    struct sockaddr_un address;
    if (fill_path(path, &address, error) < 0 || remove_stale(&address, error) < 0)
        return -1;
    AUTO_CLOSE int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create a socket");
    /* Its owner's from the first moment on: nobody connects before it listens. */
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(path, 0600) < 0 || listen(descriptor, BACKLOG) < 0)
        return error_set_errno(error, errno, "listen on %s", path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

int http_server_listen(const struct http_server_options *options, int *ret_descriptor,
                       struct error *error)
{
    if (options->listen_unix != NULL)
        return listen_on_path(options->listen_unix, ret_descriptor, error);
    return listen_on_address(options, ret_descriptor, error);
}
