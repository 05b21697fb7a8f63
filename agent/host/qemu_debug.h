/* QEMU's gdb stub, switched on and off by its monitor, whoever holds that (QMP by libvirt or by
 * us). The stub's socket is made here and handed over: QEMU needs no folder for it. Any thread. */
#pragma once

#include <stdbool.h>

#include "lib/error.h"

/* Sends one QMP command, with a descriptor where that is >= 0. `ret_answer` (the caller frees) is
 * the whole answer, {"return": ...} or {"error": ...}. */
struct qemu_monitor {
    int (*command)(void *context, const char *text, int descriptor, char **ret_answer,
                   struct error *error);
    void *context;
};

/* The stub serves `descriptor`, a stream socket that `listens` or is connected; -1: no stub. */
int qemu_debug(const struct qemu_monitor *monitor, int descriptor, bool listens,
               struct error *error);
