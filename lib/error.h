/* Errors: a code that programs test, a message that people read.
 *
 * A function that can fail takes a `struct error *` as its last argument, returns 0 or -1 and
 * leaves its outputs untouched on failure. The message names the thing and the remedy; callers add
 * context on the way up with error_wrap ("boot hello/0001000003f2: create domain: ..."). The
 * pointer may be NULL where the caller does not care. Any thread; a struct belongs to one. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

enum error_code {
    ERROR_NONE,
    ERROR_INTERNAL,     /* a bug, or a dependency that broke its contract */
    ERROR_INVALID,      /* what was asked for makes no sense as written */
    ERROR_UNSUPPORTED,  /* known, but not supported yet */
    ERROR_NOT_FOUND,    /* it does not exist */
    ERROR_CONFLICT,     /* it changed in between, or exists already */
    ERROR_DENIED,       /* not allowed */
    ERROR_SIGNATURE,    /* an image whose signature or digest does not hold */
    ERROR_POLICY,       /* an image that no policy, or not its policy, lets boot */
    ERROR_UNAVAILABLE,  /* a peer cannot be reached or is not ready: worth trying again */
    ERROR_NO_LEADER,    /* no scheduler leads: nothing was done, worth trying again */
    ERROR_UNKNOWN,      /* who was asked is gone: it may have been done or not */
    ERROR_TIMEOUT,      /* a deadline passed: worth trying again */
    ERROR_IO,           /* the local system refused: disk, descriptor, process */
    ERROR_TOO_LARGE,    /* over a limit; the message says which */
    ERROR_STORAGE_FULL, /* a disk or a quota is full */
    ERROR_NO_CAPACITY,  /* no node has room for it */
    ERROR_STALE,        /* an older term, revision or sequence than one already seen */
    ERROR_COMPACTED,    /* what came after that revision or sequence is not kept: read anew */
    ERROR_PROTOCOL,     /* the two sides speak different versions */
    ERROR_FAILED,       /* the work was done and failed: a rollout that rolled back */
};

#define ERROR_MESSAGE_MAX 2048
#define ERROR_POINTER_MAX 256

struct error {
    enum error_code code;
    char message[ERROR_MESSAGE_MAX];
    /* JSON pointer (RFC 6901) to the offending value of a document, or empty. */
    char pointer[ERROR_POINTER_MAX];
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        ERROR_NONE, "", ""                                                                         \
    }

/* Sets code and message (cut at ERROR_MESSAGE_MAX, and printable: '?' for control characters and
 * broken UTF-8), clears the pointer; returns -1. */
int error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same about one place of a document: its JSON pointer ("/ports/0/port"). */
int error_set_at(struct error *error, enum error_code code, const char *pointer, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
/* As error_set, with ": <strerror>" behind; the code is chosen from `number` (ENOENT: not found,
 * ENOSPC: storage_full, the rest: io). Returns -1. */
int error_set_errno(struct error *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "<context>: " in front of the message; returns -1. */
int error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Copies `from` to `to` (either may be NULL); returns -1. */
int error_copy(struct error *to, const struct error *from);

/* The wire name of a code ("not_found"); never NULL. */
const char *error_code_name(enum error_code code);
/* The code of a wire name; ERROR_INTERNAL for a name this version does not know. */
enum error_code error_code_from_name(const char *name);
/* The HTTP status that carries a code, and the code that a status without a body stands for. */
int error_http_status(enum error_code code);
enum error_code error_code_from_http_status(int status);
/* {"error": {"code", "message", "detail": {"pointer"}}}; the caller owns the object. */
struct json_object *error_to_json(const struct error *error);
/* Reads that form; false when `object` is not one. */
bool error_from_json(struct json_object *object, struct error *ret_error);
