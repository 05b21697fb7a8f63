/* The file of users: sorted, no name twice, hashes that the check can take, and the same users when
 * it is written again. */
#include "lib/buffer.h"
#include "registry/access/htpasswd.h"
#include "tests/fuzz/fuzz.h"

static void read_again(const struct htpasswd *htpasswd)
{
    struct buffer text AUTO_BUFFER = {0};
    struct htpasswd again = {0};
    for (size_t i = htpasswd->count; i > 0; i--)
        buffer_printf(&text, "%s:%s\r\n", htpasswd->users[i - 1].name, htpasswd->users[i - 1].hash);
    EXPECT(htpasswd_parse("again", buffer_text(&text), text.length, &again, NULL) == 0);
    EXPECT(again.count == htpasswd->count);
    for (size_t i = 0; i < again.count; i++) {
        EXPECT(strcmp(again.users[i].name, htpasswd->users[i].name) == 0);
        EXPECT(strcmp(again.users[i].hash, htpasswd->users[i].hash) == 0);
    }
    htpasswd_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static regex_t grammar;
    AUTO_FREE char *text = xmemdup(bytes, length);
    struct htpasswd htpasswd = {0};
    struct error error = ERROR_INIT;
    if (htpasswd_parse("users", text, length, &htpasswd, &error) < 0) {
        EXPECT(strncmp(error.message, "users:", 6) == 0 && htpasswd.users == NULL);
        return 0;
    }
    for (size_t i = 0; i < htpasswd.count; i++) {
        const struct htpasswd_user *user = &htpasswd.users[i];
        EXPECT(user_name_is_valid(user->name));
        EXPECT(fuzz_matches(&grammar, "^\\$2[aby]\\$(0[4-9]|1[0-5])\\$[./A-Za-z0-9]{53}$",
                            user->hash));
        EXPECT(i == 0 || strcmp(user->name, htpasswd.users[i - 1].name) > 0);
        EXPECT(htpasswd_find(&htpasswd, user->name) == user);
    }
    read_again(&htpasswd);
    htpasswd_release(&htpasswd);
    return 0;
}
