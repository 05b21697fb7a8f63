/* What a QEMU says on its monitor, which a guest may have taken over: a line is a message of a
 * known kind with a printable text, or ends the connection. */
#include "agent/host/qmp.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct error error = ERROR_INIT;
    struct qmp_message message = {0};
    AUTO_FREE char *line = xmemdup(bytes, length);
    if (qmp_decode(line, length, &message, &error) < 0) {
        EXPECT(error.code == ERROR_PROTOCOL && message.value == NULL);
        return 0;
    }
    EXPECT(message.kind <= QMP_EVENT && message.event <= QMP_EVENT_RESUME);
    EXPECT(message.kind == QMP_EVENT || message.event == QMP_EVENT_OTHER);
    EXPECT(message.reason <= QMP_REASON_HOST);
    EXPECT(strnlen(message.text, sizeof message.text) < sizeof message.text);
    for (const char *at = message.text; *at != '\0'; at += text_character_length(at))
        EXPECT(text_character_length(at) > 0);
    qmp_message_release(&message);
    return 0;
}
