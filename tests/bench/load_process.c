#include "tests/bench/load_process.h"

#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tests/bench/load_connection.h"

double load_memory_kib(long pid)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    if (file == NULL)
        load_fail("no process %ld", pid);
    while (fgets(line, sizeof line, file) != NULL)
        sscanf(line, "VmRSS: %lf", &kib);
    return kib;
}

double load_processor_seconds(long pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        load_fail("no process %ld", pid);
    const char *behind_name = strrchr(text, ')');
    if (behind_name == NULL ||
        sscanf(behind_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
        load_fail("%s is not understood", path);
    return (double)(user + system) / 100;
}
