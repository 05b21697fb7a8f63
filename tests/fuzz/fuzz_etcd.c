/* What etcd's JSON gateway answers: whatever is read has texts where texts are promised, and a
 * failure is told as one. The first line says whether it is an answer, a watch's line or an error's
 * body. */
#include "scheduler/etcd_messages.h"
#include "tests/fuzz/fuzz.h"

static void check_pairs(const struct etcd_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        EXPECT((pairs[i].key == NULL) == (pairs[i].value == NULL));
        EXPECT(strspn(pairs[i].lease, "0123456789") == strlen(pairs[i].lease));
        EXPECT(pairs[i].revision <= INT64_MAX && pairs[i].create_revision <= INT64_MAX);
    }
}

static void check_answer(const char *text, size_t length)
{
    struct etcd_answer answer = {0};
    struct error error = ERROR_INIT;
    if (etcd_answer_decode(text, length, &answer, &error) < 0) {
        EXPECT(error.code == ERROR_PROTOCOL && error.message[0] != '\0');
        EXPECT(answer.pairs == NULL);
        return;
    }
    EXPECT(strspn(answer.lease, "0123456789") == strlen(answer.lease));
    check_pairs(answer.pairs, answer.pair_count);
    etcd_answer_release(&answer);
}

static void check_watch(const char *text, size_t length)
{
    struct etcd_watch_message message = {0};
    struct error error = ERROR_INIT;
    if (etcd_watch_decode(text, length, &message, &error) < 0) {
        EXPECT(error.code == ERROR_PROTOCOL && error.message[0] != '\0');
        EXPECT(message.events == NULL);
        return;
    }
    check_pairs(message.events, message.event_count);
    for (size_t i = 0; i < message.event_count; i++)
        EXPECT(message.events[i].key != NULL);
    etcd_watch_release(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct error error = ERROR_INIT;
    AUTO_FREE char *kind = fuzz_line(&bytes, &length);
    AUTO_FREE char *text = xmemdup(bytes, length);
    if (strcmp(kind, "answer") == 0)
        check_answer(text, length);
    else if (strcmp(kind, "watch") == 0)
        check_watch(text, length);
    else
        EXPECT(etcd_error_decode(503, text, length, &error) == -1 && error.code != ERROR_NONE);
    return 0;
}
