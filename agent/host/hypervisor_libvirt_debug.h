/* The gdb stub of a domain. Any thread. */
#pragma once

#include <libvirt/libvirt.h>
#include <stdbool.h>

#include "lib/error.h"

/* As hypervisor_debug. */
int libvirt_debug(virDomainPtr domain, int descriptor, bool listens, struct error *error);
