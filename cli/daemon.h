/* One daemon in the background: started by `up`, found again by its record, stopped by `down`.
 *
 * The record <run>/<name>.json holds pid, the process's start time (pids are used again), port and
 * command line. Blocking. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buffer.h"
#include "lib/error.h"
#include "lib/json.h"

struct daemon_record {
    uint64_t pid;
    uint64_t start; /* field 22 of /proc/PID/stat */
    uint32_t port;
    char node[64]; /* agent only */
    struct json_strings command;
};

void daemon_record_release(struct daemon_record *record);
/* False when there is none that can be read. */
bool daemon_record_read(const char *run, const char *name, struct daemon_record *ret_record);
int daemon_record_write(const char *run, const char *name, const struct daemon_record *record,
                        struct error *error);
void daemon_record_remove(const char *run, const char *name);
/* The process of the record is there, and is no zombie: a part of it may still hold its locks. */
bool daemon_is_alive(const struct daemon_record *record);

/* The program beside this one, else in PATH; the caller frees it. NULL when there is none. */
char *daemon_find_program(const char *name);
/* Runs a program to its end, for what it says on standard output, and on standard error as well
 * where `with_errors`. */
int daemon_run_program(char *const *arguments, bool with_errors, struct buffer *ret_output,
                       int *ret_status, struct error *error);
/* Starts record->command in a session of its own, output appended to `log`; fills pid and start. */
int daemon_start(struct daemon_record *record, const char *log, struct error *error);
/* SIGTERM, after `grace_ms` SIGKILL; returns when it is gone. */
void daemon_stop(const struct daemon_record *record, uint64_t grace_ms);
/* How long the log is now, and the last lines behind `from` for a message (free them). */
uint64_t daemon_log_length(const char *log);
char *daemon_log_tail(const char *log, uint64_t from);
