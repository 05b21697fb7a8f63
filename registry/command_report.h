/* What the commands of registry/command_upkeep.c print of a report: tables for people, or its JSON.
 * Main thread only. */
#pragma once

#include "registry/upkeep/upkeep.h"

/* The number under a key; 0 when there is none. */
uint64_t report_number(struct json_object *object, const char *key);

#define BYTES_TEXT_MAX 32
/* "42 B", "41.0 KiB", "3.2 GiB". */
void report_format_bytes(uint64_t bytes, char ret_text[BYTES_TEXT_MAX]);

/* Prints it and returns the exit code: EXIT_FOUND when it says that something is damaged or
 * missing. */
int report_print(enum upkeep_task task, bool dry_run, bool json, struct json_object *report);
int report_print_restore(bool json, struct json_object *report);
