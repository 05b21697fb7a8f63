/*
 * The text of HTTP/1.1: reads a request's head, writes a response's head. Knows no connection.
 * The input is hostile.
 */
#ifndef RUNTIME_HTTP_MESSAGE_H
#define RUNTIME_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_head {
    const char *method; /* NUL-terminated in place, as path and query */
    const char *path;
    const char *query;
    uint64_t body_length;
    bool keep_alive;
    bool chunked;
    bool expects_continue;
    unsigned host_count;
    bool has_length;
    bool minor_zero; /* HTTP/1.0 */
};

/* The length of the head that `data` begins with, the empty line included; 0 when it is not
 * complete yet. */
size_t http_head_find_end(const char *data, size_t length);

/* Parses a complete head, which is changed in place. Returns 0, or the status of the answer that
 * it deserves instead (400, 501, 505); the connection must then be closed. */
unsigned http_head_parse(struct http_head *head, char *data, size_t length);

/* Writes a response's head; returns its length. `connection` is that header's value, NULL for
 * none; `allow` the methods that a 405 names. */
size_t http_head_format(char *text, size_t size, unsigned status, const char *content_type,
                        size_t body_length, const char *connection, const char *allow);

const char *http_status_name(unsigned status);

#endif
