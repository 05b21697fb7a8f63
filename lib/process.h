/* What the kernel tells of a process, proc(5). Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_stat {
    char state; /* 'Z' and 'X': it has ended, 'T': it is stopped */
    pid_t parent;
    uint64_t start; /* clock ticks since the machine's start: with the pid, a process's identity */
};

/* False where there is none of that pid; `ret_stat` is untouched then. */
bool process_stat_read(pid_t pid, struct process_stat *ret_stat);
/* Its `start`; 0 where there is none. */
uint64_t process_start_time(pid_t pid);
