/* Somebody who is attached to a guest's console: one end of a socket whose other end the deciding
 * half has. What the guest writes goes out as it comes; a reader who is too slow misses some, and
 * is told how much. What comes in goes to the guest. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

#include "lib/error.h"

struct console_reader;

struct console_reader_owner {
    /* Bytes for the guest, at most CONSOLE_INPUT_MAX of them; all are taken. */
    void (*input)(void *context, const char *bytes, size_t length);
    /* It left: console_reader_close. */
    void (*gone)(void *context, struct console_reader *reader);
    void *context;
};

#define CONSOLE_INPUT_MAX ((size_t)1024)

/* `ret_peer` is the caller's to hand over. */
int console_reader_create(uv_loop_t *loop, const struct console_reader_owner *owner, int *ret_peer,
                          struct console_reader **ret_reader, struct error *error);
void console_reader_write(struct console_reader *reader, const char *bytes, size_t length);
/* Whether input is taken just now; it is at first. */
void console_reader_listen(struct console_reader *reader, bool listens);
/* Its owner hears no more of it. */
void console_reader_close(struct console_reader *reader);
