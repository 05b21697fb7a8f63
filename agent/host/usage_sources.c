#include "agent/host/usage_sources.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"

#define LINK_COLUMNS 16
/* /proc/stat has a line for each processor and a number for each interrupt. */
#define MACHINE_TEXT_MAX (1u << 20)

bool usage_parse_statm(const char *text, uint64_t page_size, struct usage_process *process)
{
    uint64_t size, resident, shared;
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3 ||
        resident > UINT64_MAX / page_size || shared > resident)
        return false;
    process->memory = resident * page_size;
    process->memory_private = (resident - shared) * page_size;
    return true;
}

/* One line of /proc/net/dev: "  name: 8 numbers received, 8 sent". */
static bool parse_link(const char *line, char *ret_name, size_t size, struct usage_link *ret_link)
{
    uint64_t columns[LINK_COLUMNS];
    line += strspn(line, " ");
    size_t length = strcspn(line, ":\n ");
    if (line[length] != ':' || length == 0 || length >= size)
        return false;
    const char *at = line + length + 1;
    for (size_t i = 0; i < LINK_COLUMNS; i++) {
        char *end;
        at += strspn(at, " ");
        if (*at < '0' || *at > '9')
            return false;
        columns[i] = strtoull(at, &end, 10);
        at = end;
    }
    memcpy(ret_name, line, length);
    ret_name[length] = '\0';
    *ret_link = (struct usage_link){
        .received_bytes = columns[0],
        .received_packets = columns[1],
        .received_drops = columns[3],
        .sent_bytes = columns[8],
        .sent_packets = columns[9],
        .sent_drops = columns[11],
    };
    return true;
}

bool usage_next_link(const char **at, char *ret_name, size_t size, struct usage_link *ret_link)
{
    while (**at != '\0') {
        const char *line = *at;
        size_t length = strcspn(line, "\n");
        *at = line + length + (line[length] == '\n' ? 1 : 0);
        if (parse_link(line, ret_name, size, ret_link))
            return true;
    }
    return false;
}

static int read_memory(pid_t pid, uid_t user, struct usage_process *process, struct error *error)
{
    char path[64], text[256];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    AUTO_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) < 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no process %d", (int)pid);
    if (user != USAGE_ANY_USER && status.st_uid != user)
        return error_set(error, ERROR_NOT_FOUND, "process %d belongs to user %u", (int)pid,
                         (unsigned)status.st_uid);
    ssize_t length = read(file, text, sizeof text - 1);
    if (length <= 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no process %d any more", (int)pid);
    text[length] = '\0';
    if (!usage_parse_statm(text, (uint64_t)sysconf(_SC_PAGESIZE), process))
        return error_set(error, ERROR_PROTOCOL, "%s is not as expected", path);
    return 0;
}

int usage_read_process(pid_t pid, uid_t user, struct usage_process *ret_process,
                       struct error *error)
{
    struct usage_process process = {0};
    struct timespec spent;
    clockid_t clock;
    if (pid <= 0 || read_memory(pid, user, &process, error) < 0)
        return pid <= 0 ? error_set(error, ERROR_NOT_FOUND, "there is no process") : -1;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) < 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no process %d any more", (int)pid);
    process.cpu_ns = (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
    *ret_process = process;
    return 0;
}

/* --- the machine --- */

/* "cpu  user nice system idle iowait irq softirq steal ...", and a line "cpuN" for each. */
bool usage_parse_cpu(const char *text, uint64_t ticks, struct usage_machine *machine)
{
    uint64_t user, nice, system, idle, waiting, irq, softirq;
    uint32_t processors = 0;
    if (sscanf(text,
               "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64,
               &user, &nice, &system, &idle, &waiting, &irq, &softirq) != 7)
        return false;
    for (const char *line = strchr(text, '\n'); line != NULL; line = strchr(line + 1, '\n'))
        processors += strncmp(line + 1, "cpu", 3) == 0;
    if (processors == 0 || ticks == 0)
        return false;
    machine->processors = processors;
    machine->cpu_ns = (user + nice + system + irq + softirq) * (1000000000u / ticks);
    return true;
}

/* "MemTotal:       24576000 kB" */
static bool parse_kilobytes(const char *text, const char *name, uint64_t *ret_bytes)
{
    const char *line = strstr(text, name);
    uint64_t kilobytes;
    if (line == NULL || sscanf(line + strlen(name), " %" SCNu64 " kB", &kilobytes) != 1)
        return false;
    *ret_bytes = kilobytes * 1024;
    return true;
}

bool usage_parse_meminfo(const char *text, struct usage_machine *machine)
{
    return parse_kilobytes(text, "MemTotal:", &machine->memory) &&
           parse_kilobytes(text, "MemAvailable:", &machine->memory_available);
}

int usage_read_machine(struct usage_machine *ret_machine, struct error *error)
{
    struct usage_machine machine = {0};
    AUTO_FREE char *stat = NULL;
    AUTO_FREE char *meminfo = NULL;
    if (file_read("/proc/stat", MACHINE_TEXT_MAX, &stat, NULL, error) < 0 ||
        file_read("/proc/meminfo", MACHINE_TEXT_MAX, &meminfo, NULL, error) < 0)
        return -1;
    if (!usage_parse_cpu(stat, (uint64_t)sysconf(_SC_CLK_TCK), &machine) ||
        !usage_parse_meminfo(meminfo, &machine))
        return error_set(error, ERROR_PROTOCOL, "/proc/stat or /proc/meminfo is not as expected");
    *ret_machine = machine;
    return 0;
}
