/* The settings' file: what is accepted lies within the limits that the rest counts on. */
#include <sys/mman.h>

#include "registry/settings.h"
#include "tests/fuzz/fuzz.h"

static void check(struct registry_settings *settings)
{
    struct error error = ERROR_INIT;
    EXPECT(settings->listen.port <= UINT16_MAX);
    EXPECT(memchr(settings->listen.address, '\0', sizeof settings->listen.address) != NULL);
    EXPECT(settings->limits.connections >= 1);
    EXPECT(registry_settings_check(settings, &error) == 0 || error.message[0] != '\0');
    struct policies policies;
    uint64_t quota;
    policies_copy(settings->policies, settings->policy_count, &policies);
    EXPECT(policies.count == settings->policy_count);
    policies_quota(&policies, "default/hello", &quota);
    policies_tag_is_immutable(&policies, "default/hello", "1.0");
    policies_retention(&policies, "default/hello");
    policies_release(&policies);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_CLOSE int file = memfd_create("settings", MFD_CLOEXEC);
    AUTO_FREE char *path = xasprintf("/proc/self/fd/%d", file);
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    EXPECT(file >= 0 && write(file, bytes, length) == (ssize_t)length);
    if (registry_settings_load(path, &settings, &error) < 0) {
        EXPECT(strstr(error.message, path) != NULL);
        return 0;
    }
    check(&settings);
    registry_settings_release(&settings);
    return 0;
}
