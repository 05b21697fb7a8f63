/* Which of libvirt's drivers a URI names. Pure; no libvirt. */
#pragma once

#include <stdbool.h>

#include "lib/error.h"

#define LIBVIRT_URI_EMBED "qemu:///embed"

enum libvirt_driver {
    LIBVIRT_EMBED,  /* QEMU, in this process */
    LIBVIRT_SYSTEM, /* QEMU, by the machine's own libvirt daemon */
    LIBVIRT_XEN,
    LIBVIRT_TEST, /* libvirt's own pretence; for tests of ours */
};

/* ERROR_INVALID for any but qemu:///embed, qemu:///system, xen:///system (these two with
 * "?socket=PATH" where the daemon's socket is elsewhere) and test:///default. Other machines'
 * hypervisors are theirs. */
int libvirt_uri_parse(const char *uri, enum libvirt_driver *ret_driver, struct error *error);

/* Whether a daemon of the host starts the microVMs: it sees neither the namespaces nor the mounts
 * that are only this process's. */
bool libvirt_driver_is_outside(enum libvirt_driver driver);
