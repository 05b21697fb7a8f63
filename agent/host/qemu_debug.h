/* QEMU's gdb stub, switched on and off by its monitor, whoever holds that (QMP by libvirt or by
 * us). The stub's socket is made here and handed over: QEMU needs no folder for it. Any thread. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "lib/error.h"

/* Asks one QMP command, `arguments` being JSON, with a descriptor where that is >= 0. `ret_value`
 * is what it returns, the caller's reference; what QEMU refuses is an error. */
struct qemu_monitor {
    int (*ask)(void *context, const char *command, const char *arguments, int descriptor,
               struct json_object **ret_value, struct error *error);
    void *context;
};

/* The stub serves `descriptor`, a stream socket that `listens` or is connected; -1: no stub. */
int qemu_debug(const struct qemu_monitor *monitor, int descriptor, bool listens,
               struct error *error);
