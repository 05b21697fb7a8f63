/* Lines of guests' logs as agents send them, and positions in logs: what is read is written again
 * as it was. The first byte says whether an instance is expected. */
#include "lib/api/log_position.h"
#include "tests/fuzz/fuzz.h"

static void check_position(const char *text, size_t length)
{
    struct api_log_position position, again;
    char written[API_LOG_POSITION_MAX];
    if (!api_log_position_parse(text, length, &position))
        return;
    api_log_position_write(&position, written);
    EXPECT(api_log_position_parse(written, strlen(written), &again));
    EXPECT(memcmp(&position, &again, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct api_log_line line;
    AUTO_BUFFER struct buffer text = {0};
    if (length == 0)
        return 0;
    const char *start = (const char *)bytes + 1;
    bool has_instance = (bytes[0] & 1) != 0;
    check_position(start, length - 1);
    if (!api_log_line_parse(start, length - 1, has_instance, &line))
        return 0;
    EXPECT(line.text + line.length == start + length - 1);
    EXPECT((line.instance[0] != '\0') == has_instance);
    api_log_line_write(&line, &text);
    struct api_log_line again;
    EXPECT(api_log_line_parse(text.data, text.length - 1, has_instance, &again));
    EXPECT(again.time_ms == line.time_ms && again.kind == line.kind &&
           again.length == line.length && memcmp(again.text, line.text, line.length) == 0);
    return 0;
}
