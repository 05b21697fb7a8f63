#include "lib/process.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define STAT_MAX 4096

/* proc(5), /proc/PID/stat: fields are numbered from 1. */
#define FIELD_STATE  3
#define FIELD_PARENT 4
#define FIELD_START  22

bool process_stat_read(pid_t pid, struct process_stat *ret_stat)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    struct process_stat stat = {0};
    if (pid <= 0 || file_read(path, STAT_MAX, &text, NULL, NULL) < 0)
        return false;
    /* The name, field 2, stands in parentheses and may hold anything. */
    const char *at = strrchr(text, ')');
    for (int field = FIELD_STATE; field <= FIELD_START && at != NULL; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field == FIELD_STATE)
            stat.state = at[1];
        else if (at != NULL && field == FIELD_PARENT)
            stat.parent = (pid_t)strtol(at + 1, NULL, 10);
        else if (at != NULL && field == FIELD_START)
            stat.start = strtoull(at + 1, NULL, 10);
    }
    if (at == NULL)
        return false;
    *ret_stat = stat;
    return true;
}

uint64_t process_start_time(pid_t pid)
{
    struct process_stat stat;
    return process_stat_read(pid, &stat) ? stat.start : 0;
}
