/* HTTP/1.1 by hand, for tests that want to choose every byte they send: one connection at a time,
 * requests as text, answers read to their end. Blocking, with a limit of 30 s on every read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raw_answer {
    int status;
    char *head; /* status line and headers, with a NUL */
    char *body; /* with a NUL behind it */
    size_t length;
};

struct raw_client {
    uint16_t port;
    int socket; /* -1: not connected */
};

void raw_client_init(struct raw_client *client, uint16_t port);
/* Connects unless it is. -1: nobody listens. */
int raw_client_connect(struct raw_client *client);
/* `is_reset`: by RST instead of FIN. */
void raw_client_close(struct raw_client *client, bool is_reset);
/* -1 when the peer is gone; the connection is closed then. */
int raw_client_send(struct raw_client *client, const void *bytes, size_t length);
/* Reads one answer; -1 when it ends before its end, and closes then. The caller finishes it.
 * `is_head`: the request was a HEAD. Answers 100 are skipped. */
int raw_client_receive(struct raw_client *client, bool is_head, struct raw_answer *ret_answer);
/* Sends a request with a body of `length` bytes (NULL: none) and more header lines ("A: b\r\n"),
 * and reads the answer. */
int raw_client_ask(struct raw_client *client, const char *method, const char *target,
                   const char *headers, const void *body, size_t length,
                   struct raw_answer *ret_answer);

/* A header's value, or NULL; the caller frees it. */
char *raw_answer_header(const struct raw_answer *answer, const char *name);
void raw_answer_finish(struct raw_answer *answer);
