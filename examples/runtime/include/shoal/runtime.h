/*
 * The application interface of the example runtime: a library OS that is linked with one service
 * into one bootable kernel. It owns the machine, the console, the network and the life of the
 * guest; the service fills in `shoal_application` and answers requests.
 *
 * Life of a guest: the machine boots, the command line is read, the network comes up, `start` is
 * called once, and from then on the runtime calls the handlers that `start` registered. The byte
 * 0x04 on the console begins the end: nothing new is accepted, open requests are answered, and the
 * machine powers off. A panic is reported to the hypervisor, so it can tell a crash from an end.
 *
 * There is one thread and no preemption: handlers run to completion and must not wait. Everything
 * here is called from `start` or from a handler.
 */
#ifndef SHOAL_RUNTIME_H
#define SHOAL_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of the contract between the platform and the guest (command line, console byte,
 * panic port), found in the kernel's ELF note "Shoal", type 1. */
#define SHOAL_ABI_VERSION 1

/* The largest body of a response, in bytes. */
#define SHOAL_HTTP_BODY_MAX 4096

/* What a service tells the runtime about itself. Exactly one object of the image defines it. */
struct shoal_application {
    const char *name;
    const char *version;
    /* Called once, after the network is up. argv holds the service's own arguments only, argv[0]
     * is the first of them; the strings live as long as the guest. A value other than 0 is a
     * failed start, which ends the guest as a panic. */
    int (*start)(int argc, char **argv);
};

extern const struct shoal_application shoal_application;

/* The instance id given by the platform, "-" without one. */
const char *shoal_instance_id(void);

/* The guest's own address as text, for messages. */
const char *shoal_address(void);

/* The value of `--env=NAME=value`, NULL without one. */
const char *shoal_environment_get(const char *name);

/* Nanoseconds since boot; never goes back. */
uint64_t shoal_clock_nanoseconds(void);

/* 64 random bits. Not for keys: the machine may have no better source than its clock. */
uint64_t shoal_random(void);

/* Writes one line to the console; the newline is added. Long lines are cut at 512 bytes. */
void shoal_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes "panic: ..." to the console, reports the panic to the hypervisor and ends the guest. */
_Noreturn void shoal_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Has `line` called with each line that is typed on the console, without its end; at most 127 bytes
 * of one, longer ones are cut. NULL: nobody listens, as at first. */
void shoal_console_listen(void (*line)(const char *text));

/* Begins the end as the console byte 0x04 does: stop accepting, answer what is open, power off. */
void shoal_stop(void);

/* Calls `action` once the responses written so far have left the machine. There is one place for
 * it: a later call replaces an earlier one that has not run yet. */
void shoal_run_after_flush(void (*action)(void));

/* Ends the guest at once, as a normal end. */
_Noreturn void shoal_power_off(void);

/* Stops the guest from doing anything ever again without ending it: what a hung service looks
 * like from outside. For demonstrations and tests of health checks. */
_Noreturn void shoal_hang(void);

/* ---- HTTP ---- */

struct shoal_http_request {
    const char *method; /* "GET" or "HEAD", "POST" where it is taken: others reach no handler */
    const char *path;   /* begins with '/', without the query */
    const char *query;  /* what follows '?', "" without one */
};

struct shoal_http_response {
    unsigned status;          /* set to 200 before the handler is called */
    const char *content_type; /* set to "text/plain"; must outlive the call */
    size_t body_length;       /* set to 0 */
    char body[SHOAL_HTTP_BODY_MAX];
};

/* Fills in the response. The server adds the length, leaves the body out for HEAD, and keeps or
 * closes the connection. */
typedef void shoal_http_handler(const struct shoal_http_request *request,
                                struct shoal_http_response *response);

/* Serves HTTP/1.1 on a TCP port: keep-alive, pipelining, GET and HEAD, bounded requests. Returns
 * 0, or -1 when the port is taken or no room for another listener is left. */
int shoal_http_listen(uint16_t port, shoal_http_handler *handler);

/* The same, and a POST reaches the handler too, as often as the peer sends it; its body is passed
 * over. Four handlers of a guest may be given so. */
int shoal_http_listen_for_changes(uint16_t port, shoal_http_handler *handler);

/* Sets the status and the body (formatted, cut at SHOAL_HTTP_BODY_MAX). */
void shoal_http_answer(struct shoal_http_response *response, unsigned status, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));

/* ---- Disks ---- */

/* A volume of the service, as a row of sectors. Every call waits until the device has answered, up
 * to 30 s, and nothing else happens in the guest meanwhile: a handler that writes a little and
 * flushes holds the others up for as long as the host's disk takes. Unikernels only: the other
 * forms have no disks. */
struct shoal_disk;

#define SHOAL_DISK_SECTOR 512

/* The disk that the platform calls `device` (a volume's `device`, at most 20 characters); NULL
 * without one. */
struct shoal_disk *shoal_disk_find(const char *device);

uint64_t shoal_disk_sectors(const struct shoal_disk *disk);

/* Reads or writes `count` sectors from `sector` on. Returns 0, or -1: beyond the end, read-only, or
 * the device failed, and then the sectors hold what they held, what was written, or of some the one
 * and of some the other. */
int shoal_disk_read(struct shoal_disk *disk, uint64_t sector, void *data, size_t count);
int shoal_disk_write(struct shoal_disk *disk, uint64_t sector, const void *data, size_t count);

/* What was written before survives the end of this guest and of its host once this returns 0. */
int shoal_disk_flush(struct shoal_disk *disk);

#endif
