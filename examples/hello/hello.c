/*
 * hello: the smallest service worth orchestrating. Port 8080 greets and tells its health; port
 * 8081, which is never published, makes it misbehave on request, to see what the platform does:
 *
 *     8080  /         a line with greeting, version and instance
 *           /healthz  200 "ok", or 503 after /fail
 *     8081  /fail     unhealthy from now on
 *           /exit     ends the guest as if its work were done
 *           /crash    panics
 *           /hang     never answers again
 *
 * On its console "log on" and "log off" say whether each request is logged, as LOG=debug does.
 *
 * Built in three versions from this source: HELLO_VERSION names it, HELLO_BROKEN makes one that
 * never becomes healthy.
 */
#include <string.h>

#include <shoal/runtime.h>

#define PORT_PUBLIC    8080
#define PORT_ADMIN     8081
#define GREETING_LIMIT 256

static struct {
    const char *greeting;
    bool healthy;
    bool log_requests;
} hello;

static void exit_guest(void)
{
    shoal_log("hello: ends on request");
    shoal_power_off();
}

static void crash_guest(void)
{
    shoal_panic("hello: crashes on request");
}

static void hang_guest(void)
{
    shoal_log("hello: hangs on request");
    shoal_hang();
}

static void answer_public(const struct shoal_http_request *request,
                          struct shoal_http_response *response)
{
    if (strcmp(request->path, "/") == 0) {
        shoal_http_answer(response, 200, "%s from hello %s instance %s\n", hello.greeting,
                          HELLO_VERSION, shoal_instance_id());
    } else if (strcmp(request->path, "/healthz") == 0) {
        shoal_http_answer(response, hello.healthy ? 200 : 503, "%s\n",
                          hello.healthy ? "ok" : "unhealthy");
    } else {
        shoal_http_answer(response, 404, "not found\n");
    }
    if (hello.log_requests) {
        shoal_log("%s %s %u", request->method, request->path, response->status);
    }
}

static void answer_admin(const struct shoal_http_request *request,
                         struct shoal_http_response *response)
{
    if (strcmp(request->path, "/fail") == 0) {
        hello.healthy = false;
        shoal_log("hello: unhealthy on request");
        shoal_http_answer(response, 200, "unhealthy from now on\n");
    } else if (strcmp(request->path, "/exit") == 0) {
        shoal_http_answer(response, 200, "ending\n");
        shoal_run_after_flush(exit_guest);
    } else if (strcmp(request->path, "/crash") == 0) {
        shoal_http_answer(response, 200, "crashing\n");
        shoal_run_after_flush(crash_guest);
    } else if (strcmp(request->path, "/hang") == 0) {
        shoal_http_answer(response, 200, "hanging\n");
        shoal_run_after_flush(hang_guest);
    } else {
        shoal_http_answer(response, 404, "not found\n");
    }
}

/* What is typed on the console. */
static void take_line(const char *line)
{
    if (strcmp(line, "log on") == 0 || strcmp(line, "log off") == 0) {
        hello.log_requests = line[5] == 'n';
        shoal_log("hello: requests are %s", hello.log_requests ? "logged" : "not logged");
    } else {
        shoal_log("hello: \"%s\" is not known here (known: log on, log off)", line);
    }
}

static int read_arguments(int argc, char **argv)
{
    hello.greeting = "hello";
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--greeting") == 0 && i + 1 < argc) {
            hello.greeting = argv[++i];
        } else if (strncmp(argv[i], "--greeting=", 11) == 0) {
            hello.greeting = argv[i] + 11;
        } else {
            shoal_log("hello: unknown argument or missing value: %s (known: --greeting TEXT)",
                      argv[i]);
            return -1;
        }
    }
    if (strlen(hello.greeting) > GREETING_LIMIT) {
        shoal_log("hello: --greeting is longer than %d bytes", GREETING_LIMIT);
        return -1;
    }
    return 0;
}

static int start(int argc, char **argv)
{
    if (read_arguments(argc, argv) != 0) {
        return -1;
    }
    const char *level = shoal_environment_get("LOG");
    hello.log_requests = level != NULL && strcmp(level, "debug") == 0;
    hello.healthy = !HELLO_BROKEN;
    if (shoal_http_listen(PORT_PUBLIC, answer_public) != 0 ||
        shoal_http_listen(PORT_ADMIN, answer_admin) != 0) {
        shoal_log("hello: cannot listen");
        return -1;
    }
    shoal_console_listen(take_line);
    shoal_log("hello %s listening on %s:%d", HELLO_VERSION, shoal_address(), PORT_PUBLIC);
    return 0;
}

const struct shoal_application shoal_application = {"hello", HELLO_VERSION, start};
