/* QMP, the language of QEMU's monitor: messages, and one connection that is read without blocking.
 *
 * What comes is not trusted: a guest may have taken its QEMU over. A line is bounded, a line that
 * is none of QMP's ends the connection, and no more is read at a time than a little. Knows nothing
 * of microVMs. A connection belongs to one thread, but for qmp_send. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/error.h"

#define QMP_LINE_MAX ((size_t)64 << 10)
#define QMP_TEXT_MAX 256

enum qmp_kind {
    QMP_GREETING,
    QMP_RETURN, /* a command worked */
    QMP_ERROR,  /* it did not: `text` says why */
    QMP_EVENT,
};

enum qmp_event {
    QMP_EVENT_OTHER,
    QMP_EVENT_SHUTDOWN,
    QMP_EVENT_PANICKED,
    QMP_EVENT_STOP,
    QMP_EVENT_RESUME,
};

/* Why it shuts down. */
enum qmp_reason {
    QMP_REASON_OTHER,
    QMP_REASON_GUEST_SHUTDOWN,
    QMP_REASON_GUEST_RESET,
    QMP_REASON_GUEST_PANIC,
    QMP_REASON_HOST, /* by a command or a signal */
};

struct qmp_message {
    enum qmp_kind kind;
    uint64_t id; /* of the command that is answered; 0: none */
    enum qmp_event event;
    enum qmp_reason reason;
    char text[QMP_TEXT_MAX];   /* printable */
    struct json_object *value; /* QMP_RETURN: what it returns; owned by the message */
};

/* One line without its end. ERROR_PROTOCOL when it is no message. */
int qmp_decode(const char *line, size_t length, struct qmp_message *ret_message,
               struct error *error);
void qmp_message_release(struct qmp_message *message);

struct qmp {
    int descriptor; /* -1: not connected */
    struct buffer input;
    uint64_t received; /* bytes, so far */
};
#define QMP_NONE ((struct qmp){.descriptor = -1})

/* Connects to a monitor's socket, which may not have been accepted yet. */
int qmp_connect(const char *path, struct qmp *ret_qmp, struct error *error);
void qmp_close(struct qmp *qmp);
/* {"execute": command, "arguments": arguments, "id": id}; `arguments` is JSON text or NULL, id
 * above 0. ERROR_UNAVAILABLE when QEMU does not take it now. Any thread, one at a time. */
int qmp_send(const struct qmp *qmp, uint64_t id, const char *command, const char *arguments,
             struct error *error);
/* The same with a descriptor (-1: none), which stays the caller's. */
int qmp_send_with(const struct qmp *qmp, uint64_t id, const char *command, const char *arguments,
                  int descriptor, struct error *error);
/* Reads what is there, a little of it at most, and gives each message to `take`, which may not
 * close the connection. 1: it goes on, 0: QEMU has closed it, -1: ERROR_PROTOCOL, and it is of no
 * more use. */
int qmp_receive(struct qmp *qmp, void (*take)(void *context, struct qmp_message *message),
                void *context, struct error *error);
