/* QMP: what messages say, and a connection whose other end breaks every rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/qmp.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

static struct qmp_message decode(const char *line)
{
    struct qmp_message message = {0};
    struct error error = ERROR_INIT;
    if (qmp_decode(line, strlen(line), &message, &error) < 0)
        fail_msg("%s", error.message);
    qmp_message_release(&message);
    return message;
}

static void messages_are_told_apart(void **state)
{
    (void)state;
    struct qmp_message message = decode("{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r");
    assert_int_equal(message.kind, QMP_GREETING);
    message = decode("{\"return\": {}, \"id\": 7}");
    assert_int_equal(message.kind, QMP_RETURN);
    assert_int_equal(message.id, 7);
    message =
        decode("{\"id\": 8, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\\nway\"}}");
    assert_int_equal(message.kind, QMP_ERROR);
    assert_int_equal(message.id, 8);
    assert_string_equal(message.text, "no?way");
}

static void reasons_of_a_shutdown_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum qmp_reason reason;
    } reasons[] = {
        {"guest-shutdown", QMP_REASON_GUEST_SHUTDOWN},
        {"guest-reset", QMP_REASON_GUEST_RESET},
        {"guest-panic", QMP_REASON_GUEST_PANIC},
        {"host-qmp-quit", QMP_REASON_HOST},
        {"host-signal", QMP_REASON_HOST},
        {"subsystem-reset", QMP_REASON_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(reasons); i++) {
        AUTO_FREE char *line =
            xasprintf("{\"timestamp\": {\"seconds\": 1}, \"event\": \"SHUTDOWN\","
                      " \"data\": {\"guest\": true, \"reason\": \"%s\"}}",
                      reasons[i].word);
        struct qmp_message message = decode(line);
        assert_int_equal(message.kind, QMP_EVENT);
        assert_int_equal(message.event, QMP_EVENT_SHUTDOWN);
        assert_int_equal(message.reason, reasons[i].reason);
    }
    assert_int_equal(decode("{\"event\": \"GUEST_PANICKED\"}").event, QMP_EVENT_PANICKED);
    assert_int_equal(decode("{\"event\": \"RTC_CHANGE\", \"data\": 3}").event, QMP_EVENT_OTHER);
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "{}",
        "[]",
        "7",
        "null",
        "{\"QMP\": 1}",
        "{\"event\": 1}",
        "{\"event\": \"\"}",
        "{",
        "\x80",
        "{\"error\": \"x\"}",
        "{\"return\": {}} {\"return\": {}}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        struct qmp_message message;
        struct error error = ERROR_INIT;
        if (qmp_decode(lines[i], strlen(lines[i]), &message, &error) == 0)
            fail_msg("taken: %s", lines[i]);
        assert_int_equal(error.code, ERROR_PROTOCOL);
    }
}

static void odd_numbers_are_nobodys(void **state)
{
    (void)state;
    assert_int_equal(decode("{\"return\": {}, \"id\": -1}").id, 0);
    assert_int_equal(decode("{\"return\": {}, \"id\": \"1\"}").id, 0);
    assert_int_equal(decode("{\"return\": {}}").id, 0);
}

/* ---- a connection ---- */

struct peer {
    struct qmp qmp;
    int other; /* QEMU's end */
    size_t messages;
    struct qmp_message last;
};

static int connect_peer(void **state)
{
    struct peer *peer = xcalloc(1, sizeof *peer);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return -1;
    peer->qmp = (struct qmp){.descriptor = ends[0]};
    peer->other = ends[1];
    *state = peer;
    return 0;
}

static int close_peer(void **state)
{
    struct peer *peer = *state;
    qmp_close(&peer->qmp);
    if (peer->other >= 0)
        close(peer->other);
    free(peer);
    return 0;
}

static void take(void *context, struct qmp_message *message)
{
    struct peer *peer = context;
    peer->messages++;
    peer->last = *message;
}

static int receive(struct peer *peer)
{
    return qmp_receive(&peer->qmp, take, peer, NULL);
}

static void say(struct peer *peer, const char *text)
{
    assert_int_equal(write(peer->other, text, strlen(text)), strlen(text));
}

static void lines_come_in_pieces(void **state)
{
    struct peer *peer = *state;
    assert_int_equal(receive(peer), 1); /* nothing is there */
    say(peer, "{\"return\": {}, \"id\": 1}\r\n{\"return\"");
    assert_int_equal(receive(peer), 1);
    assert_int_equal(peer->messages, 1);
    say(peer, ": {}, \"id\": 2}\n");
    assert_int_equal(receive(peer), 1);
    assert_int_equal(peer->messages, 2);
    assert_int_equal(peer->last.id, 2);
    assert_null(peer->qmp.input.data); /* an idle connection holds nothing */
}

static void a_command_is_one_line(void **state)
{
    struct peer *peer = *state;
    char text[256] = "";
    assert_int_equal(qmp_send(&peer->qmp, 5, "cont", NULL, NULL), 0);
    assert_true(read(peer->other, text, sizeof text - 1) > 0);
    assert_string_equal(text, "{\"execute\":\"cont\",\"arguments\":{},\"id\":5}\n");
}

static void one_that_reads_nothing_is_not_waited_for(void **state)
{
    struct peer *peer = *state;
    struct error error = ERROR_INIT;
    int result = 0;
    for (int i = 0; i < 100000 && result == 0; i++)
        result = qmp_send(&peer->qmp, 5, "query-status", NULL, &error);
    assert_int_equal(result, -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
}

static void a_line_without_end_is_an_end(void **state)
{
    struct peer *peer = *state;
    char text[4096];
    int result = 1;
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 2 * QMP_LINE_MAX / sizeof text && result > 0; i++) {
        assert_int_equal(write(peer->other, text, sizeof text), sizeof text);
        result = receive(peer);
    }
    assert_int_equal(result, -1);
}

static void nonsense_is_an_end(void **state)
{
    struct peer *peer = *state;
    say(peer, "{\"return\": {}, \"id\": 1}\nhello\n{\"return\": {}, \"id\": 2}\n");
    assert_int_equal(receive(peer), -1);
    assert_int_equal(peer->messages, 1);
}

static void a_closed_one_is_told(void **state)
{
    struct peer *peer = *state;
    struct error error = ERROR_INIT;
    say(peer, "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n");
    close(peer->other);
    peer->other = -1;
    assert_int_equal(receive(peer), 1);
    assert_int_equal(peer->last.reason, QMP_REASON_GUEST_RESET);
    assert_int_equal(receive(peer), 0);
    assert_int_equal(qmp_send(&peer->qmp, 5, "cont", NULL, &error), -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_told_apart),
        cmocka_unit_test(reasons_of_a_shutdown_are_told_apart),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(odd_numbers_are_nobodys),
        cmocka_unit_test_setup_teardown(lines_come_in_pieces, connect_peer, close_peer),
        cmocka_unit_test_setup_teardown(a_command_is_one_line, connect_peer, close_peer),
        cmocka_unit_test_setup_teardown(one_that_reads_nothing_is_not_waited_for, connect_peer,
                                        close_peer),
        cmocka_unit_test_setup_teardown(a_line_without_end_is_an_end, connect_peer, close_peer),
        cmocka_unit_test_setup_teardown(nonsense_is_an_end, connect_peer, close_peer),
        cmocka_unit_test_setup_teardown(a_closed_one_is_told, connect_peer, close_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
