/* The deciding half's end of the channel, against a peer that speaks the same messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host_client.h"
#include "lib/log.h"

struct fixture {
    uv_loop_t loop;
    int peer;
    struct host_client *client;
    bool ends_when_lost;
    int lost;
    int ended;
};

/* What one request got. */
struct got {
    int count;
    uint32_t code;
    uint32_t number;
    int descriptor;
    int released;
};

static void on_instance(const struct host_instance *instance, void *data)
{
    struct fixture *fixture = data;
    fixture->ended += instance->state == HOST_INSTANCE_ENDED;
}

static void on_frontend(const struct host_frontend *frontend, void *data)
{
    (void)frontend;
    (void)data;
}

static void on_lost(void *data)
{
    struct fixture *fixture = data;
    fixture->lost++;
    if (fixture->ends_when_lost) {
        host_client_destroy(fixture->client);
        fixture->client = NULL;
    }
}

static void on_answer(const struct host_answer *answer, int descriptor, void *data)
{
    struct got *got = data;
    got->count++;
    got->code = answer->code;
    got->number = answer->number;
    got->descriptor = descriptor;
}

static void count_release(void *data)
{
    ((struct got *)data)->released++;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    uv_loop_init(&fixture->loop);
    fixture->peer = pair[1];
    struct host_client_options options = {
        .loop = &fixture->loop,
        .channel = pair[0],
        .on_instance = on_instance,
        .on_frontend = on_frontend,
        .on_lost = on_lost,
        .data = fixture,
    };
    *state = fixture;
    return host_client_create(&options, &fixture->client, NULL);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    host_client_destroy(fixture->client);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&fixture->loop);
    if (fixture->peer >= 0)
        close(fixture->peer);
    free(fixture);
    return status;
}

static uint64_t ask(struct fixture *fixture, struct got *got)
{
    struct host_message message = {.type = HOST_SOCKET};
    return host_client_request(fixture->client, &message, on_answer, got);
}

static uint64_t take_request(struct fixture *fixture)
{
    struct host_message message;
    int descriptor;
    assert_int_equal(host_message_receive(fixture->peer, &message, &descriptor, NULL), 1);
    assert_int_equal(message.type, HOST_SOCKET);
    return message.sequence;
}

static void give_answer(struct fixture *fixture, uint64_t sequence, uint32_t number, int descriptor)
{
    struct host_message message = {
        .type = HOST_ANSWER, .sequence = sequence, .answer = {.number = number}};
    assert_int_equal(host_message_send(fixture->peer, &message, descriptor, NULL), 0);
}

static void turn(struct fixture *fixture)
{
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

static void answers_find_their_requests_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    struct got first = {0}, second = {0};
    ask(fixture, &first);
    ask(fixture, &second);
    uint64_t one = take_request(fixture), two = take_request(fixture);
    give_answer(fixture, two, 2, -1);
    give_answer(fixture, one, 1, -1);
    turn(fixture);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.number, 1);
    assert_int_equal(second.count, 1);
    assert_int_equal(second.number, 2);
}

static void a_descriptor_comes_with_its_answer(void **state)
{
    struct fixture *fixture = *state;
    struct got got = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    ask(fixture, &got);
    give_answer(fixture, take_request(fixture), 0, ends[1]);
    close(ends[1]);
    turn(fixture);
    assert_true(got.descriptor >= 0);
    assert_int_equal(write(got.descriptor, "x", 1), 1);
    close(got.descriptor);
    close(ends[0]);
}

static void a_forgotten_request_gets_nothing_and_keeps_no_descriptor(void **state)
{
    struct fixture *fixture = *state;
    struct got got = {0};
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    host_client_forget(fixture->client, ask(fixture, &got));
    give_answer(fixture, take_request(fixture), 0, ends[1]);
    close(ends[1]);
    turn(fixture);
    assert_int_equal(got.count, 0);
    /* All writers are closed. */
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

/* As those of people who wait for a snapshot while the agent is told to end. */
static void what_a_request_holds_is_let_go_once_answered_or_not(void **state)
{
    struct fixture *fixture = *state;
    struct host_message message = {.type = HOST_SOCKET};
    struct got answered = {0}, lost = {0};
    host_client_request_held(fixture->client, &message, on_answer, &answered, count_release);
    host_client_request_held(fixture->client, &message, on_answer, &lost, count_release);
    give_answer(fixture, take_request(fixture), 1, -1);
    turn(fixture);
    host_client_destroy(fixture->client);
    fixture->client = NULL;
    assert_int_equal(answered.count, 1);
    assert_int_equal(answered.released, 0);
    assert_int_equal(lost.count, 0);
    assert_int_equal(lost.released, 1);
}

static void an_answer_to_nothing_is_passed_over(void **state)
{
    struct fixture *fixture = *state;
    struct got got = {0};
    ask(fixture, &got);
    give_answer(fixture, 4711, 9, -1);
    give_answer(fixture, take_request(fixture), 1, -1);
    turn(fixture);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.number, 1);
    assert_int_equal(fixture->lost, 0);
}

static void events_are_handed_on(void **state)
{
    struct fixture *fixture = *state;
    struct host_message message = {.type = HOST_INSTANCE,
                                   .instance = {.state = HOST_INSTANCE_ENDED}};
    assert_int_equal(host_message_send(fixture->peer, &message, -1, NULL), 0);
    turn(fixture);
    assert_int_equal(fixture->ended, 1);
}

static void when_the_peer_goes_every_request_is_answered(void **state)
{
    struct fixture *fixture = *state;
    struct got first = {0}, second = {0}, later = {0};
    ask(fixture, &first);
    ask(fixture, &second);
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    assert_int_equal(first.code, ERROR_UNAVAILABLE);
    assert_int_equal(second.code, ERROR_UNAVAILABLE);
    assert_int_equal(fixture->lost, 1);
    ask(fixture, &later);
    assert_int_equal(later.count, 0);
    turn(fixture);
    assert_int_equal(later.code, ERROR_UNAVAILABLE);
    assert_int_equal(fixture->lost, 1);
}

static void who_ends_with_the_peer_is_not_told_of_failed_requests(void **state)
{
    struct fixture *fixture = *state;
    struct got got = {0};
    fixture->ends_when_lost = true;
    ask(fixture, &got);
    close(fixture->peer);
    fixture->peer = -1;
    turn(fixture);
    assert_int_equal(fixture->lost, 1);
    assert_int_equal(got.count, 0);
}

static void a_peer_that_does_not_read_blocks_nobody_and_bounds_the_queue(void **state)
{
    struct fixture *fixture = *state;
    enum { REQUESTS = 10000 };
    struct got *got = calloc(REQUESTS, sizeof *got);
    for (int i = 0; i < REQUESTS; i++)
        ask(fixture, &got[i]);
    turn(fixture);
    turn(fixture);
    int refused = 0;
    for (int i = 0; i < REQUESTS; i++)
        refused += got[i].code == ERROR_UNAVAILABLE;
    assert_int_equal(got[0].count, 0);
    assert_in_range(refused, 1, REQUESTS / 2);
    assert_int_equal(got[REQUESTS - 1].code, ERROR_UNAVAILABLE);
    /* Those that were taken arrive in order once the peer reads. */
    for (uint64_t i = 1; i <= (uint64_t)(REQUESTS - refused); i++) {
        assert_int_equal(take_request(fixture), i);
        turn(fixture);
    }
    free(got);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answers_find_their_requests_in_any_order),
        TEST(a_descriptor_comes_with_its_answer),
        TEST(a_forgotten_request_gets_nothing_and_keeps_no_descriptor),
        TEST(what_a_request_holds_is_let_go_once_answered_or_not),
        TEST(an_answer_to_nothing_is_passed_over),
        TEST(events_are_handed_on),
        TEST(when_the_peer_goes_every_request_is_answered),
        TEST(who_ends_with_the_peer_is_not_told_of_failed_requests),
        TEST(a_peer_that_does_not_read_blocks_nobody_and_bounds_the_queue),
    };
#undef TEST
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
