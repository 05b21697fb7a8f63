#include "agent/host/libvirt_uri.h"

#include <stddef.h>
#include <string.h>

#include "lib/cleanup.h"

static const struct {
    const char *uri;
    enum libvirt_driver driver;
    bool has_socket;
} uris[] = {
    {LIBVIRT_URI_EMBED, LIBVIRT_EMBED, false},
    {"qemu:///system", LIBVIRT_SYSTEM, true},
    {"xen:///system", LIBVIRT_XEN, true},
    {"test:///default", LIBVIRT_TEST, false},
};

/* "?socket=/a/path" and nothing else: a query may also name commands that libvirt runs. */
static bool is_socket(const char *query)
{
    static const char mark[] = "?socket=/";
    return strncmp(query, mark, sizeof mark - 1) == 0 && strpbrk(query + 1, "?&;#% ") == NULL;
}

int libvirt_uri_parse(const char *uri, enum libvirt_driver *ret_driver, struct error *error)
{
    for (size_t i = 0; i < ARRAY_LENGTH(uris); i++) {
        size_t length = strlen(uris[i].uri);
        if (strncmp(uri, uris[i].uri, length) != 0)
            continue;
        if (uri[length] == '\0' || (uris[i].has_socket && is_socket(uri + length))) {
            *ret_driver = uris[i].driver;
            return 0;
        }
    }
    return error_set(error, ERROR_INVALID,
                     "%s: qemu:///embed, qemu:///system or xen:///system is allowed, the latter "
                     "two also with ?socket=PATH",
                     uri);
}

bool libvirt_driver_is_outside(enum libvirt_driver driver)
{
    return driver == LIBVIRT_SYSTEM || driver == LIBVIRT_XEN;
}
