#include "registry/access/form.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* In place. */
static bool decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        unsigned char byte = (unsigned char)*from;
        if (*from == '+') {
            byte = ' ';
        } else if (*from == '%') {
            int high = hex_value(from[1]), low = high >= 0 ? hex_value(from[2]) : -1;
            if (low < 0 || (high | low) == 0)
                return false;
            byte = (unsigned char)(high << 4 | low);
            from += 2;
        }
        *to++ = (char)byte;
    }
    *to = '\0';
    return true;
}

bool form_get(const char *body, size_t length, const char *key, char **ret_value)
{
    const char *end = body + length;
    size_t key_length = strlen(key);
    while (body < end) {
        const char *separator = memchr(body, '&', (size_t)(end - body));
        const char *item_end = separator != NULL ? separator : end;
        size_t item_length = (size_t)(item_end - body);
        if (item_length > key_length && memcmp(body, key, key_length) == 0 &&
            body[key_length] == '=') {
            const char *value = body + key_length + 1;
            if (memchr(value, '\0', (size_t)(item_end - value)) != NULL)
                return false;
            AUTO_FREE char *copy = xstrndup(value, (size_t)(item_end - value));
            if (!decode(copy))
                return false;
            *ret_value = TAKE_POINTER(copy);
            return true;
        }
        body = item_end + 1;
    }
    return false;
}
