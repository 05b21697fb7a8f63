/* Where the figures of microVMs come from: what the kernel says of processes and of links.
 *
 * The parsers are pure and take text of any kind. Any thread. Knows neither guests nor messages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

struct usage_process {
    uint64_t cpu_ns;         /* of all its threads, those that have ended too */
    uint64_t memory;         /* bytes that are resident, shared ones included */
    uint64_t memory_private; /* of them, what is in no file */
};

/* As the host counts: what it received from a tap the guest sent. */
struct usage_link {
    uint64_t received_bytes, received_packets, received_drops;
    uint64_t sent_bytes, sent_packets, sent_drops;
};

#define USAGE_ANY_USER ((uid_t)-1)
/* Of a process of user `user`; ERROR_NOT_FOUND when there is none of that pid, or it is somebody
 * else's by now. */
int usage_read_process(pid_t pid, uid_t user, struct usage_process *ret_process,
                       struct error *error);

/* The text of /proc/PID/statm (proc(5)), in pages of `page_size` bytes. */
bool usage_parse_statm(const char *text, uint64_t page_size, struct usage_process *process);

/* The text of /proc/net/dev for `*at`'s next link: its name and what passed. False at the end;
 * lines of another form are passed over. */
bool usage_next_link(const char **at, char *ret_name, size_t size, struct usage_link *ret_link);

struct usage_machine {
    uint32_t processors;
    uint64_t cpu_ns; /* that they were busy, all together */
    uint64_t memory, memory_available;
};

int usage_read_machine(struct usage_machine *ret_machine, struct error *error);
/* The text of /proc/stat: the processors' line, whose numbers are of `ticks` a second. */
bool usage_parse_cpu(const char *text, uint64_t ticks, struct usage_machine *machine);
/* The text of /proc/meminfo. */
bool usage_parse_meminfo(const char *text, struct usage_machine *machine);
