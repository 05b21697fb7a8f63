/* What is written down of a QEMU that was started, so that the next host half knows whose it is:
 * one file <folder>/<id>.json a microVM, root's. A file is believed only where the process agrees:
 * pid and start time, its control group, its arguments. Any thread, one at a time for one id. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/microvm.h"
#include "lib/error.h"

struct qemu_record {
    struct microvm_identity identity;
    uint32_t pid;
    uint64_t started; /* process_start_time */
};

int qemu_record_write(const char *folder, const struct qemu_record *record, struct error *error);
/* ERROR_INVALID for one that is not whole, or of another id than its name says. */
int qemu_record_read(const char *folder, const char *id, struct qemu_record *ret_record,
                     struct error *error);
void qemu_record_remove(const char *folder, const char *id);
/* The ids that there are records of; the caller frees. */
size_t qemu_record_list(const char *folder, char (**ret_ids)[INSTANCE_ID_MAX]);
