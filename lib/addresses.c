#include "lib/addresses.h"

#include <stdio.h>
#include <string.h>

int address_normalize(const char *text, const char *what, char ret_address[ADDRESS_TEXT_MAX],
                      struct error *error)
{
    bool has_scheme = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    char address[ADDRESS_TEXT_MAX];
    int length = snprintf(address, sizeof address, "%s%s", has_scheme ? "" : "http://", text);
    while (length > 0 && (size_t)length < sizeof address && address[length - 1] == '/')
        address[--length] = '\0';
    const char *host = strstr(address, "://");
    if ((size_t)length >= sizeof address || host == NULL || host[3] == '\0' ||
        strpbrk(host + 3, " \t\r\n/?#@,") != NULL)
        return error_set(error, ERROR_INVALID,
                         "%s: \"%s\" is not an address such as http://127.0.0.1:7000", what, text);
    strcpy(ret_address, address);
    return 0;
}

static bool has_url(const struct addresses *addresses, const char *url)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (strcmp(addresses->urls[i], url) == 0)
            return true;
    }
    return false;
}

int addresses_parse(const char *text, const char *what, struct addresses *ret_addresses,
                    struct error *error)
{
    struct addresses addresses = {0};
    for (const char *rest = text; rest != NULL;) {
        size_t length = strcspn(rest, ",");
        char one[ADDRESS_TEXT_MAX], url[ADDRESS_TEXT_MAX];
        /* What is too long is refused below, by its beginning. */
        snprintf(one, sizeof one, "%.*s", (int)length, rest);
        if (length >= sizeof one)
            return error_set(error, ERROR_INVALID, "%s: \"%s...\" is too long for an address", what,
                             one);
        if (address_normalize(one, what, url, error) < 0)
            return -1;
        if (addresses.count == ADDRESSES_MAX)
            return error_set(error, ERROR_TOO_LARGE, "%s: more than %d addresses", what,
                             ADDRESSES_MAX);
        if (!has_url(&addresses, url))
            strcpy(addresses.urls[addresses.count++], url);
        rest = rest[length] == ',' ? rest + length + 1 : NULL;
    }
    *ret_addresses = addresses;
    return 0;
}

void addresses_format(const struct addresses *addresses, char ret_text[ADDRESSES_TEXT_MAX])
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < addresses->count; i++)
        used += (size_t)snprintf(ret_text + used, ADDRESSES_TEXT_MAX - used, "%s%s",
                                 i > 0 ? "," : "", addresses->urls[i]);
}

const char *addresses_current(const struct addresses *addresses)
{
    return addresses->urls[addresses->current];
}

void addresses_move(struct addresses *addresses)
{
    addresses->current = (addresses->current + 1) % addresses->count;
}
