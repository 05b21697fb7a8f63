/* Our use of QEMU's monitor against one that plays false, or is slow: a guest may have taken its
 * QEMU over. The test is the other end of the monitor; its process is one that sleeps. Needs root,
 * for mounts and control groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/guest_user.h"
#include "agent/host/hypervisor_qemu_internal.h"
#include "agent/host/qemu_record.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/xalloc.h"

#define ID       "0001000000f2"
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define WAIT_MS  20000
#define DIGEST   "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct node {
    char folder[32];
    struct hypervisor *hypervisor;
    int peer;           /* of the monitor */
    int ended[2];       /* a pipe: a byte for each end that was told */
    const char *answer; /* to query-status */
    const char *events; /* before that; or NULL */
    bool stops;         /* "stop" is answered */
    bool taken_back;    /* "cont" came */
    pthread_t thread;
};

static void on_ended(void *context, const char *id, enum hypervisor_end end)
{
    const struct node *node = context;
    (void)end;
    assert_string_equal(id, ID);
    assert_int_equal(write(node->ended[1], "e", 1), 1);
}

static int set_up(void **state)
{
    struct node *node = xcalloc(1, sizeof *node);
    struct error error = ERROR_INIT;
    strcpy(node->folder, "/tmp/shoal-test-qemu.XXXXXX");
    struct hypervisor_listener listener = {.ended = on_ended, .context = node};
    assert_non_null(mkdtemp(node->folder));
    assert_int_equal(pipe(node->ended), 0);
    if (hypervisor_qemu_open(node->folder, &listener, &node->hypervisor, &error) < 0)
        fail_msg("%s", error.message);
    node->peer = -1;
    *state = node;
    return 0;
}

static int tear_down(void **state)
{
    struct node *node = *state;
    hypervisor_destroy(node->hypervisor, ID, NULL);
    hypervisor_await_gone(node->hypervisor, ID, NULL);
    hypervisor_close(node->hypervisor);
    cgroups_clean(node->folder);
    if (node->peer >= 0)
        close(node->peer);
    close(node->ended[0]);
    close(node->ended[1]);
    int result = file_remove_tree(node->folder, NULL);
    free(node);
    return result;
}

/* Not longer than the test. */
static void __attribute__((noreturn)) sleep_on(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

static void add_machine(struct node *node)
{
    static const int none[2] = {-1, -1};
    struct qemu_hypervisor *qemu = (struct qemu_hypervisor *)node->hypervisor;
    struct qemu_process process = QEMU_PROCESS_NONE;
    struct qmp monitor = QMP_NONE;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    process.pid = fork();
    if (process.pid == 0)
        sleep_on();
    process.watch = pidfd_open(process.pid, 0);
    monitor.descriptor = ends[0];
    node->peer = ends[1];
    pthread_mutex_lock(&qemu->lock);
    qemu_add_machine(qemu, ID, &process, &monitor, none);
    pthread_mutex_unlock(&qemu->lock);
}

/* False when nobody listens any more. */
static bool say(const struct node *node, const char *text)
{
    size_t length = strlen(text);
    return send(node->peer, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* The number of the next command and its name; false at the end. */
static bool hear(const struct node *node, char ret_name[32], unsigned *ret_number)
{
    char line[512];
    size_t length = 0;
    while (length < sizeof line - 1 && recv(node->peer, line + length, 1, 0) == 1) {
        if (line[length++] != '\n')
            continue;
        line[length] = '\0';
        return sscanf(line, "{\"execute\":\"%31[^\"]\",\"arguments\":{},\"id\":%u}", ret_name,
                      ret_number) == 2;
    }
    return false;
}

static void *play(void *context)
{
    struct node *node = context;
    char name[32];
    unsigned number;
    say(node, GREETING);
    while (hear(node, name, &number)) {
        bool asks_status = strcmp(name, "query-status") == 0;
        if (asks_status && node->events != NULL)
            say(node, node->events);
        node->taken_back = node->taken_back || strcmp(name, "cont") == 0;
        AUTO_FREE char *answer =
            xasprintf("{\"return\": %s, \"id\": %u}\n", asks_status ? node->answer : "{}", number);
        if (strcmp(name, "stop") != 0 || node->stops)
            say(node, answer);
    }
    return NULL;
}

static void begin(struct node *node, const char *answer)
{
    node->answer = answer;
    node->taken_back = false;
    add_machine(node);
    assert_int_equal(pthread_create(&node->thread, NULL, play, node), 0);
}

static void finish(struct node *node)
{
    assert_int_equal(hypervisor_destroy(node->hypervisor, ID, NULL), 0);
    assert_int_equal(hypervisor_await_gone(node->hypervisor, ID, NULL), 0);
    pthread_join(node->thread, NULL);
    close(node->peer);
    node->peer = -1;
}

static void assert_ended(const struct node *node, bool expected)
{
    struct pollfd told = {.fd = node->ended[0], .events = POLLIN};
    assert_int_equal(poll(&told, 1, expected ? WAIT_MS : 0), expected);
}

/* ---- what it says ---- */

static void a_status_that_is_none_harms_nobody(void **state)
{
    static const char *const answers[] = {
        "{\"status\": null}", "{\"status\": {}}", "{}", "null", "[]", "\"running\"", "7",
    };
    struct node *node = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        struct error error = ERROR_INIT;
        begin(node, answers[i]);
        assert_int_equal(hypervisor_pause(node->hypervisor, ID, &error), -1);
        assert_int_equal(error.code, ERROR_PROTOCOL);
        finish(node);
    }
}

static void a_second_greeting_ends_it(void **state)
{
    struct node *node = *state;
    add_machine(node);
    say(node, GREETING);
    say(node, GREETING);
    assert_ended(node, true);
}

/* As many as a guest can cause whose disk is full. */
static void events_that_a_guest_causes_do_not_end_it(void **state)
{
    struct node *node = *state;
    struct error error = ERROR_INIT;
    AUTO_BUFFER struct buffer events = {0};
    for (int i = 0; i < 10000; i++)
        buffer_append_text(&events,
                           "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"\"}}\n");
    node->events = buffer_text(&events);
    node->stops = true;
    begin(node, "{\"status\": \"running\"}");
    if (hypervisor_pause(node->hypervisor, ID, &error) < 0)
        fail_msg("%s", error.message);
    assert_ended(node, false);
    finish(node);
}

static void one_that_does_not_stop_talking_is_ended(void **state)
{
    struct node *node = *state;
    AUTO_FREE char *text = xcalloc(1, 60001);
    memset(text, 'x', 60000);
    AUTO_FREE char *event = xasprintf("{\"event\": \"%s\"}\n", text);
    add_machine(node);
    say(node, GREETING);
    /* Few messages, but long ones. */
    for (int i = 0; i < 20000 && say(node, event); i++)
        ;
    assert_ended(node, true);
}

/* ---- what it does not say ---- */

static void a_pause_that_takes_too_long_is_taken_back(void **state)
{
    struct node *node = *state;
    struct error error = ERROR_INIT;
    begin(node, "{\"status\": \"running\"}");
    ((struct qemu_hypervisor *)node->hypervisor)->command_ms = 300;
    assert_int_equal(hypervisor_pause(node->hypervisor, ID, &error), -1);
    assert_int_equal(error.code, ERROR_TIMEOUT);
    finish(node);
    assert_true(node->taken_back);
}

/* ---- what is left ---- */

static void sockets_that_nobody_listens_at_go_at_a_start(void **state)
{
    struct node *node = *state;
    struct hypervisor_found *found;
    size_t count;
    AUTO_FREE char *monitor = xasprintf("%s/q/" ID ".qmp", node->folder);
    AUTO_FREE char *record = xasprintf("%s/q/" ID ".json.new", node->folder);
    assert_int_equal(file_write(monitor, "", 0, 0600, NULL), 0);
    assert_int_equal(file_write(record, "{", 1, 0600, NULL), 0);
    assert_int_equal(hypervisor_adopt(node->hypervisor, &found, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(found);
    assert_int_equal(access(monitor, F_OK), -1);
    assert_int_equal(access(record, F_OK), -1);
}

/* A process that a record names and that is not as it was. */
static pid_t begin_stranger(const struct node *node, uid_t user)
{
    struct error error = ERROR_INIT;
    struct qemu_record record = {.identity = {.id = ID, .image = DIGEST, .family = "shoal"}};
    AUTO_FREE char *folder = xasprintf("%s/q", node->folder);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setresuid(user, user, user) < 0)
            _exit(1);
        close(ready[0]);
        close(ready[1]);
        sleep_on();
    }
    char byte;
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* it has become that user */
    close(ready[0]);
    record.pid = (uint32_t)pid;
    record.started = process_start_time(pid);
    if (qemu_record_write(folder, &record, &error) < 0)
        fail_msg("%s", error.message);
    return pid;
}

static void adopt_nothing(const struct node *node)
{
    struct hypervisor_found *found;
    size_t count;
    assert_int_equal(hypervisor_adopt(node->hypervisor, &found, &count, NULL), 0);
    assert_int_equal(count, 0);
    free(found);
}

static void what_is_not_as_it_was_is_ended_and_nobody_else(void **state)
{
    struct node *node = *state;
    int status;
    pid_t pid = begin_stranger(node, guest_user_of(ID));
    adopt_nothing(node);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    pid = begin_stranger(node, 65534); /* by chance the same number, after a reboot */
    adopt_nothing(node);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_status_that_is_none_harms_nobody),
        TEST(a_second_greeting_ends_it),
        TEST(events_that_a_guest_causes_do_not_end_it),
        TEST(one_that_does_not_stop_talking_is_ended),
        TEST(a_pause_that_takes_too_long_is_taken_back),
        TEST(sockets_that_nobody_listens_at_go_at_a_start),
        TEST(what_is_not_as_it_was_is_ended_and_nobody_else),
    };
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 0;
    int own = pidfd_open(getpid(), 0);
    if (own < 0) /* valgrind knows none */
        return 0;
    close(own);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
