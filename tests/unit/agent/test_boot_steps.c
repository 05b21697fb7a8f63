#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/boot_histogram.h"
#include "agent/host/first_packet.h"
#include "agent/instance.h"
#include "lib/cleanup.h"

/* --- what the bridge tells --- */

struct neighbour_message {
    struct nlmsghdr header;
    struct ndmsg neighbour;
    struct rtattr first;
    uint32_t number;
    struct rtattr attribute;
    unsigned char mac[6];
    unsigned char padding[2];
};

/* As the kernel writes it, with another attribute before the address. */
static struct neighbour_message learned(void)
{
    return (struct neighbour_message){
        .header = {.nlmsg_len = sizeof(struct neighbour_message), .nlmsg_type = RTM_NEWNEIGH},
        .neighbour = {.ndm_family = AF_BRIDGE, .ndm_state = NUD_REACHABLE, .ndm_ifindex = 7},
        .first = {.rta_len = RTA_LENGTH(4), .rta_type = NDA_MASTER},
        .attribute = {.rta_len = RTA_LENGTH(6), .rta_type = NDA_LLADDR},
        .mac = {0x52, 0x01, 0x00, 0x00, 0x03, 0xf2},
    };
}

static bool next(const struct neighbour_message *messages, size_t length, size_t *at,
                 char ret_mac[18])
{
    return first_packet_next(messages, length, at, ret_mac);
}

static void an_address_that_the_bridge_learned_is_told(void **state)
{
    (void)state;
    struct neighbour_message messages[2] = {learned(), learned()};
    messages[1].mac[5] = 0xf3;
    char mac[18];
    size_t at = 0;
    assert_true(next(messages, sizeof messages, &at, mac));
    assert_string_equal(mac, "52:01:00:00:03:f2");
    assert_true(next(messages, sizeof messages, &at, mac));
    assert_string_equal(mac, "52:01:00:00:03:f3");
    assert_false(next(messages, sizeof messages, &at, mac));
}

static void what_nobody_said_is_passed_over(void **state)
{
    (void)state;
    struct neighbour_message messages[5] = {learned(), learned(), learned(), learned(), learned()};
    char mac[18];
    size_t at = 0;
    messages[0].neighbour.ndm_state = NUD_PERMANENT; /* the port's own */
    messages[1].neighbour.ndm_family = AF_INET;      /* the host's neighbour */
    messages[2].header.nlmsg_type = RTM_DELNEIGH;
    messages[3].attribute.rta_type = NDA_DST;
    messages[4].mac[0] = 0x62;
    assert_true(next(messages, sizeof messages, &at, mac));
    assert_string_equal(mac, "62:01:00:00:03:f2");
}

static void broken_messages_end_the_reading(void **state)
{
    (void)state;
    struct neighbour_message message = learned();
    char mac[18];
    for (size_t length = 0; length < sizeof message - sizeof message.padding; length++) {
        AUTO_FREE void *part = malloc(length + 1); /* so that a read beyond it is seen */
        size_t at = 0;
        memcpy(part, &message, length);
        assert_false(first_packet_next(part, length, &at, mac));
    }
    size_t at = 0;
    message.header.nlmsg_len = 3;
    assert_false(next(&message, sizeof message, &at, mac));
    message = learned();
    at = 0;
    message.first.rta_len = 0;
    assert_false(next(&message, sizeof message, &at, mac));
    message = learned();
    at = 0;
    message.first.rta_len = UINT16_MAX;
    assert_false(next(&message, sizeof message, &at, mac));
}

/* --- an instance's boot --- */

static uint64_t now_ms = 1000;

static uint64_t fake_now(const struct clock *clock)
{
    (void)clock;
    return now_ms;
}

static const struct clock fake_clock = {fake_now, fake_now};

/* Booting since 1000, its image prepared in 3 ms. */
static struct instance booting(void)
{
    struct instance instance;
    struct api_assigned_instance assigned = {
        .id = "0001000003f2",
        .namespace_name = "default",
        .service = "hello",
        .wanted = API_WANTED_RUN,
        .restart = {.backoff_ms = 1000, .max_backoff_ms = 1000, .reset_after_ms = 1000}};
    now_ms = 1000;
    instance_init(&instance, "0001000003f2", &fake_clock);
    instance_assign(&instance, &assigned);
    instance.steps.us[BOOT_STEP_VERIFY] = 3000;
    instance_image_ready(&instance);
    return instance;
}

static const struct host_boot_steps measured = {
    .queue_us = 500, .create_us = 20000, .start_us = 2500, .first_packet_us = 9000};

static void the_steps_add_up_to_the_boot(void **state)
{
    (void)state;
    struct instance instance = booting();
    struct host_boot_steps started = measured;
    started.first_packet_us = 0;
    instance_steps_measured(&instance, &started);
    instance_booted(&instance);
    instance_steps_measured(&instance, &measured);
    now_ms = 1040;
    instance_became_ready(&instance);
    assert_int_equal(instance.boot_ms, 40);
    assert_int_equal(instance.steps.us[BOOT_STEP_VERIFY], 3000);
    assert_int_equal(instance.steps.us[BOOT_STEP_READY], 40000 - 32000);
    instance_finish(&instance);
}

static void a_first_packet_that_is_told_late_counts(void **state)
{
    (void)state;
    struct instance instance = booting();
    struct host_boot_steps started = measured;
    started.first_packet_us = 0;
    instance_steps_measured(&instance, &started);
    instance_booted(&instance);
    now_ms = 1040;
    instance_became_ready(&instance);
    assert_int_equal(instance.steps.us[BOOT_STEP_READY], 17000);
    instance_steps_measured(&instance, &measured);
    assert_int_equal(instance.steps.us[BOOT_STEP_FIRST_PACKET], 9000);
    assert_int_equal(instance.steps.us[BOOT_STEP_READY], 8000);
    instance_finish(&instance);
}

static void steps_survive_a_restart_of_the_agent(void **state)
{
    (void)state;
    struct instance instance = booting(), again;
    instance_booted(&instance);
    instance_steps_measured(&instance, &measured);
    AUTO_FREE char *text = instance_save(&instance);
    struct error error = ERROR_INIT;
    if (instance_load(text, &fake_clock, &again, &error) < 0)
        fail_msg("%s: %s", error.message, text);
    assert_int_equal(again.steps.us[BOOT_STEP_CREATE], 20000);
    instance_finish(&instance);
    instance_finish(&again);
}

static void the_scheduler_hears_of_them_once(void **state)
{
    (void)state;
    struct instance instance = booting();
    struct api_observed_instance observed;
    instance_steps_measured(&instance, &measured);
    instance_booted(&instance);
    instance_observe(&instance, "tcg", &observed);
    assert_false(observed.has_steps);
    now_ms = 1040;
    instance_became_ready(&instance);
    instance_observe(&instance, "tcg", &observed);
    assert_true(observed.has_steps);
    assert_int_equal(observed.steps.us[BOOT_STEP_CREATE], 20000);
    now_ms += 60000;
    instance_observe(&instance, "tcg", &observed);
    assert_false(observed.has_steps);
    instance_finish(&instance);
}

/* --- for people and for Prometheus --- */

static void the_text_leaves_out_what_took_nothing(void **state)
{
    (void)state;
    struct api_boot_steps steps = {0};
    char text[API_BOOT_STEPS_TEXT_MAX];
    api_boot_steps_format(&steps, text, sizeof text);
    assert_string_equal(text, "");
    steps.us[BOOT_STEP_CREATE] = 20400;
    steps.us[BOOT_STEP_FIRST_PACKET] = 9130;
    api_boot_steps_format(&steps, text, sizeof text);
    assert_string_equal(text, "create 20 ms, first packet 9.1 ms");
    steps.us[BOOT_STEP_PULL] = 100400;
    api_boot_steps_format(&steps, text, sizeof text);
    assert_string_equal(text, "create 20 ms, first packet 9.1 ms; before that pull 100 ms");
    for (size_t i = 0; i < BOOT_STEPS; i++)
        steps.us[i] = UINT64_MAX;
    api_boot_steps_format(&steps, text, 20);
    assert_true(strlen(text) < 20);
}

static void boots_are_counted_by_size(void **state)
{
    (void)state;
    struct boot_histogram histogram = {0};
    struct api_boot_steps steps = {0};
    AUTO_BUFFER struct buffer text = {0};
    steps.us[BOOT_STEP_CREATE] = 20000;
    boot_histogram_add(&histogram, &steps, 40); /* its first packet was not heard */
    steps.us[BOOT_STEP_FIRST_PACKET] = 9000;
    boot_histogram_add(&histogram, &steps, 3000);
    boot_histogram_append(&histogram, &text);
    static const char *const lines[] = {
        "\nshoal_boot_seconds_bucket{le=\"0.025\"} 0\n",
        "\nshoal_boot_seconds_bucket{le=\"0.05\"} 1\n",
        "\nshoal_boot_seconds_bucket{le=\"2.5\"} 1\n",
        "\nshoal_boot_seconds_bucket{le=\"10\"} 2\n",
        "\nshoal_boot_seconds_bucket{le=\"+Inf\"} 2\n",
        "\nshoal_boot_seconds_sum 3.040000\n",
        "\nshoal_boot_step_seconds_count{step=\"create\"} 2\n",
        "\nshoal_boot_step_seconds_bucket{step=\"create\",le=\"0.025\"} 2\n",
        "\nshoal_boot_step_seconds_count{step=\"first_packet\"} 1\n",
        "\nshoal_boot_step_seconds_sum{step=\"first_packet\"} 0.009000\n",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        assert_non_null(strstr(buffer_text(&text), lines[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_the_bridge_learned_is_told),
        cmocka_unit_test(what_nobody_said_is_passed_over),
        cmocka_unit_test(broken_messages_end_the_reading),
        cmocka_unit_test(the_steps_add_up_to_the_boot),
        cmocka_unit_test(a_first_packet_that_is_told_late_counts),
        cmocka_unit_test(steps_survive_a_restart_of_the_agent),
        cmocka_unit_test(the_scheduler_hears_of_them_once),
        cmocka_unit_test(the_text_leaves_out_what_took_nothing),
        cmocka_unit_test(boots_are_counted_by_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
